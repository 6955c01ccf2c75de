"""Make the still images of the live figures: ``python tools/live_images.py [NAME ...]``.

Each figure is started in Chromium with its first settings. The screenshot of its canvases, in light colours and with two
pixels for each of a page, becomes ``_static/live/NAME.png``, which a page shows before the figure starts. Run it after a
change of a figure or of the weights.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import export_live
from PIL import Image
from playwright.sync_api import sync_playwright

STATIC = Path(__file__).parents[1] / "_static"
#: Scripts that are no figures.
SHARED = ("caption", "live", "photograph", "runtime", "sampler", "start")
#: Milliseconds until a figure that moves by itself shows something.
WAIT = 15_000
#: As _ext/live.py writes it.
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="_static/book.css"><link rel="stylesheet" href="_static/live/live.css">
<style>* {{ box-sizing: border-box }} body {{ margin: 0; background: var(--ground) }}
main {{ max-width: 784px; padding-inline: 1rem }}</style></head>
<body><main class="bd-article"><h1>{name}</h1>
<figure class="live" id="live-{name}" data-live="{name}" data-folder="_static/live/">
<img class="live-still" src="_static/live/{name}.png" alt="{name}"><div class="live-body" hidden></div>
<button type="button" class="live-start" hidden>Start</button><p class="live-status" role="status"></p>
<figcaption><p>A caption.</p></figcaption></figure></main><script src="_static/live/start.js"></script></body></html>"""


def figures() -> list[str]:
    """Return the names of the live figures."""
    return sorted(file.stem for file in (STATIC / "live").glob("*.js") if file.stem not in SHARED)


def prepare(folder: Path) -> None:
    """Copy the files of the live figures into a folder, and add the scripts of the models."""
    shutil.copytree(STATIC, folder / "_static")
    export_live.export(folder / "_static" / "live" / "weights")


def page(folder: Path, name: str) -> str:
    """Write a page with one figure into a folder that was prepared, and return its address."""
    file = folder / f"{name}.html"
    file.write_text(PAGE.format(name=name), encoding="utf-8")
    return file.as_uri()


def main() -> None:
    """Make the images of the named figures, or of all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(figures())}; without a name all of them")
    names = parser.parse_args().names or figures()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        prepare(Path(temporary))
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name in names:
            tab = browser.new_page(viewport={"width": 800, "height": 900}, device_scale_factor=2)
            tab.goto(page(Path(temporary), name))
            tab.click(".live-start")
            tab.wait_for_selector(".live-end", timeout=60_000)
            tab.wait_for_timeout(WAIT)
            file = STATIC / "live" / f"{name}.png"
            tab.locator(".live-stage").screenshot(path=file)
            # A palette makes the file smaller; the differences cannot be seen.
            Image.open(file).convert("RGB").quantize(256, kmeans=3).save(file, optimize=True)
            print(f"live_images: {file.stat().st_size / 1000:5.0f} kB  {file}")
            tab.close()
        browser.close()


if __name__ == "__main__":
    main()
