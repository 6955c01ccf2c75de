"""Execute the pages and build the book: ``python tools/book.py execute`` and ``python tools/book.py build``.

Pages are executed on a copy under ``_build/executed``, which nbmake fills with outputs; the book is built from that copy,
so the notebooks in ``chapters`` never hold any. A page is executed again only if it, the library or the data changed. The
file ``runs.json`` beside the copies says of each page what it was executed from, and with what.
"""

import argparse
import base64
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import bs4
import nbformat
import yaml
from PIL import Image

TIMEOUT = 600
RUNS = "runs.json"
MADE_FROM = "made-from.txt"


def main():
    """Run one of the two commands; the exit status is 0 only if all went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["execute", "build"])
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="the book's folder")
    parser.add_argument("--jobs", type=int, default=1, help="how many pages are executed at a time")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {arguments.jobs}")
    root = arguments.root.resolve()
    problems = execute(root, arguments.jobs) if arguments.command == "execute" else build(root)
    for problem in problems:
        print(f"book: {problem}", file=sys.stderr)
    return 1 if problems else 0


def pages(root):
    """Return the pages of the book in their order, as paths without suffix, from ``_toc.yml``."""
    contents = yaml.safe_load((root / "_toc.yml").read_text())
    found = [contents["root"]]

    def visit(node):
        if isinstance(node, dict):
            if "file" in node:
                found.append(node["file"])
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit({key: value for key, value in contents.items() if key != "root"})
    return found


def execute(root, jobs=1):
    """Execute every page that changed since it was last executed well. Return what went wrong, one line each.

    One page at a time gives the honest times; two use two cores better, and the whole is done sooner.
    """
    notebooks = [root / f"{page}.ipynb" for page in pages(root) if (root / f"{page}.ipynb").is_file()]
    executed = root / "_build" / "executed"
    executed.mkdir(parents=True, exist_ok=True)
    runs = _read_runs(executed)
    surroundings = _digest_of_surroundings(root)

    stale = {}
    for notebook in notebooks:
        name = notebook.relative_to(root).as_posix()
        key = hashlib.sha256(surroundings + notebook.read_bytes()).hexdigest()
        if runs.get(name, {}).get("key") != key or not (executed / name).is_file():
            stale[name] = key
            runs.pop(name, None)
    print(f"book: {len(stale)} of {len(notebooks)} pages to execute", flush=True)
    problems = []
    if stale:
        _execute_copies(root, executed, stale, jobs)
    for name, key in stale.items():
        if _executed_well(executed / name):
            runs[name] = {"key": key, "with": _provenance(jobs), "seconds": seconds(executed / name)}
        else:
            problems.append(f"{name} failed: it did not run through, see above")
    runs = {name: runs[name] for notebook in notebooks if (name := notebook.relative_to(root).as_posix()) in runs}
    (executed / RUNS).write_text(json.dumps(runs, indent=1))
    times = [runs[name]["seconds"] for name in runs]
    for name, run in runs.items():
        print(f"book: {run['seconds']:6.1f} s  {name}")
    if times:
        print(f"book: {sum(times):6.1f} s  together, {sum(times) / len(times):.1f} s on average")
    return problems


def build(root):
    """Build the HTML from the executed pages and check it. Return what went wrong, one line each."""
    executed, source, html = (root / "_build" / name for name in ("executed", "source", "html"))
    made_from = _digest_of_sources(root, executed)
    if (html / MADE_FROM).is_file() and (html / MADE_FROM).read_text() == made_from:
        print(f"book: nothing changed, open {html / 'index.html'}")
        return []
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(html, ignore_errors=True)
    runs = _read_runs(executed)
    for page in pages(root):
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        if (root / f"{page}.md").is_file():
            shutil.copyfile(root / f"{page}.md", source / f"{page}.md")
        elif f"{page}.ipynb" in runs:
            notebook = nbformat.read(executed / f"{page}.ipynb", as_version=4)
            notebook.cells.append(nbformat.v4.new_markdown_cell(_footer(runs[f"{page}.ipynb"])))
            nbformat.write(notebook, source / f"{page}.ipynb")
        else:
            return [f"{page} stands in _toc.yml, and there is no such page, or it was not executed well"]
    for name in ("_config.yml", "_toc.yml", "references.bib"):
        shutil.copyfile(root / name, source / name)
    for folder in filter(Path.is_dir, (root / "_static", root / "_ext")):
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in _measured(root):
        (source / "benchmarks").mkdir(exist_ok=True)
        shutil.copyfile(file, source / "benchmarks" / file.name)
    if problems := quote_figures(root, executed, source):
        return problems

    # -W makes a warning an error, -n warns of every dead reference, --keep-going shows all of them.
    command = [Path(sys.executable).with_name("jupyter-book"), "build", source, "--path-output", root]
    command += ["-W", "-n", "--keep-going", "-q"]
    status = subprocess.run(list(map(str, command)), cwd=root).returncode
    for file in html.rglob("*.html"):
        mend(file)
    problems = check(root, html)
    if status:
        problems.insert(0, "jupyter-book found warnings or errors, see above")
    if not problems:
        (html / MADE_FROM).write_text(made_from)
        print(f"book: {len(pages(root))} pages, open {html / 'index.html'}")
    return problems


def quote_figures(root, executed, source):
    """Put the figures that Markdown pages quote as ``_static/figures/NAME.png`` there, out of the executed pages.

    So the front page shows what this very run has drawn. Returns the names that no page has drawn, one line each.
    """
    drawn = {}
    for notebook in (executed / f"{page}.ipynb" for page in pages(root)):
        for cell in json.loads(notebook.read_text())["cells"] if notebook.is_file() else []:
            name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
            pictures = [
                output["data"]["image/png"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
            ]
            if name and pictures:
                drawn[name] = pictures[0]
    problems = []
    for page in (root / f"{page}.md" for page in pages(root)):
        for name in re.findall(r"_static/figures/([\w-]+)\.png", page.read_text()) if page.is_file() else []:
            if name not in drawn:
                problems.append(f"{page.name} quotes the figure {name}, and no page draws it")
                continue
            (source / "_static" / "figures").mkdir(exist_ok=True)
            image = Image.open(io.BytesIO(base64.b64decode(drawn[name])))
            image.thumbnail((640, 640))
            image.save(source / "_static" / "figures" / f"{name}.png", optimize=True)
    return problems


def mend(file):
    """Mend in a built page what the packages that make it get wrong, and no setting of theirs can change."""
    text = file.read_text()
    # Two extensions add the scripts of Thebe, which this book does not use: the second declares its names again.
    text = re.sub(
        r'<script>const THEBE_JS_URL = .*?</script>\s*<script async="async" src="[^"]*thebe[^"]*"></script>', "", text
    )
    text = re.sub(r"<script>const THEBE_JS_URL = .*?</script>", "", text)
    # Docutils gives the entries of a bibliography a role that ARIA has deprecated, in a list that is none then.
    text = re.sub(r' role="(doc-biblioentry|list)"', "", text)
    file.write_text(text)


def check(root, html):
    """Return what is wrong with a built book: missing pages and dead links inside it."""
    problems = []
    soups = {}
    for page in pages(root):
        file = html / f"{page}.html"
        if file.is_file():
            soups[file.resolve()] = bs4.BeautifulSoup(file.read_text(), "html.parser")
        else:
            problems.append(f"{page} stands in _toc.yml, and {file.name} was not built")
    identifiers = {file: {tag["id"] for tag in soup.find_all(id=True)} for file, soup in soups.items()}
    for file, soup in soups.items():
        page = file.relative_to(html.resolve())
        for tag, attribute in [(tag, name) for name in ("href", "src") for tag in soup.find_all(attrs={name: True})]:
            link = urlsplit(tag[attribute])
            if link.scheme or link.netloc:
                continue
            target = (file.parent / unquote(link.path)).resolve() if link.path else file
            if not target.exists():
                problems.append(f"{page} has a dead link to {tag[attribute]}")
            elif link.fragment and target in identifiers and unquote(link.fragment) not in identifiers[target]:
                problems.append(f"{page} has a dead link to {tag[attribute]}: there is no such place")
    return problems


def seconds(notebook):
    """Return how long the cells of an executed notebook took together, from the times that the kernel noted."""
    total = 0.0
    for cell in json.loads(notebook.read_text())["cells"]:
        times = cell["metadata"].get("execution", {})
        if "iopub.execute_input" in times and "shell.execute_reply" in times:
            begin, end = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
            total += (end - begin).total_seconds()
    return total


def _digest_of_surroundings(root):
    """A digest of all that a page's outputs depend on besides the page: library, data, profile, backend, packages."""
    digest = hashlib.sha256()
    for variable in ("IMGGEN_PROFILE", "KERAS_BACKEND"):
        digest.update(os.environ.get(variable, "").encode() + b"\0")
    files = [file for folder in ("imggen_lib", "data") for file in sorted((root / folder).rglob("*")) if file.is_file()]
    files += [root / "requirements.lock"]
    for file in files:
        if file.suffix != ".pyc" and file.is_file():
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.digest()


def _measured(root):
    """The tables and plots that the benchmarks wrote, which pages may include."""
    return [file for pattern in ("*.md", "*.png") for file in sorted((root / "benchmarks").glob(pattern))]


def _digest_of_sources(root, executed):
    """A digest of all that the HTML is built from."""
    digest = hashlib.sha256()
    files = [Path(__file__), *(root / name for name in ("_config.yml", "_toc.yml", "references.bib", "requirements.lock"))]
    files += [root / f"{page}.md" for page in pages(root)] + sorted((root / "_static").rglob("*")) + [executed / RUNS]
    files += [*(file for file in sorted((root / "_ext").rglob("*")) if file.suffix != ".pyc"), *_measured(root)]
    for file in filter(Path.is_file, files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _execute_copies(root, executed, names, jobs):
    """Run nbmake over copies of the named pages, so many at a time, and keep all with their outputs, also what failed."""
    # Not under _build from the start: nbmake skips every folder of that name.
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / name for name in names]
        for name, copy in zip(names, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy)
        # Settings of its own: those of the project are for its tests.
        settings = Path(folder) / "pytest.ini"
        settings.write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", settings, "--rootdir", folder]
        command += ["--nbmake", "--overwrite", f"--nbmake-timeout={TIMEOUT}", "--verbose", *copies]
        if jobs > 1:
            command += ["-n", jobs, "--dist", "worksteal"]
        subprocess.run(list(map(str, command)), cwd=root)
        for name, copy in zip(names, copies, strict=True):
            (executed / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy, executed / name)


def _executed_well(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code" and cell["source"]]
    ran = all(cell["execution_count"] for cell in cells)
    return ran and not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])


def _read_runs(executed):
    file = executed / RUNS
    return json.loads(file.read_text()) if file.is_file() else {}


def _footer(run):
    """The line at the end of a page that says how its outputs were made."""
    return f'<p class="provenance">This page ran in {run["seconds"]:.0f} seconds: {run["with"]}.</p>'


def _provenance(jobs):
    """What a page was executed with, in words."""
    versions = {name: importlib.metadata.version(name) for name in ("keras", "numpy", "scikit-image")}
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    beside = f", {jobs} pages at a time" if jobs > 1 else ""
    return (
        f"{os.environ.get('IMGGEN_PROFILE', 'quick')} profile, {os.cpu_count()} cores, {_gpus()}, "
        f"Python {platform.python_version()}, Keras {versions['keras']} on {backend} "
        f"{importlib.metadata.version(backend)}, NumPy {versions['numpy']}, scikit-image {versions['scikit-image']}, "
        f"on {time.strftime('%Y-%m-%d')}{beside}"
    )


def _gpus():
    """The names of the GPUs, as NVIDIA's own program tells them."""
    if not shutil.which("nvidia-smi"):
        return "no GPU"
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    return ", ".join(found) or "no GPU"


if __name__ == "__main__":
    sys.exit(main())
