"""JupyterLab as a reader starts it: one page of each part is opened and run by the menu, and must not fail."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from inspection import ROOT, book
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TOKEN = "test"
RUNS = ROOT / "_build" / "executed" / book.RUNS


def quickest_pages():
    """The page of each part that was executed in the shortest time."""
    runs = json.loads(RUNS.read_text()) if RUNS.is_file() else {}
    slowest_first = sorted(runs, key=lambda name: -runs[name]["seconds"])
    return list({Path(name).parent: name for name in slowest_first}.values())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


LIVE_PAGE = "live.ipynb"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """`make lab` over a copy of the pages, on a free port; its address."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "chapters", folder / "chapters")
    live = new_notebook(cells=[new_markdown_cell('The answer is {eval}`f"{answer:.1f}"`.'), new_code_cell("answer = 42")])
    live.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(live, folder / "chapters" / LIVE_PAGE)
    port = free_port()
    options = [f"--port={port}", f"--IdentityProvider.token={TOKEN}", "--no-browser", "--allow-root"]
    options += ["--ServerApp.ip=127.0.0.1", "--LabApp.news_url=", "--expose-app-in-browser"]
    command = ["make", "--silent", "lab", f"PAGES={folder / 'chapters'}", f"OPTIONS={' '.join(options)}"]
    with (folder / "log").open("w") as log:
        # A group of its own, so that make and the server below it end together.
        # Other tests draw without a window; a reader's notebook shows its figures.
        environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
        surroundings = {"env": environment, "stdout": log, "stderr": log, "start_new_session": True}
        server = subprocess.Popen(command, cwd=ROOT, **surroundings)
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=1)
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.5)
        else:
            os.killpg(server.pid, signal.SIGTERM)
            pytest.fail(f"JupyterLab did not start: {(folder / 'log').read_text()[-2000:]}")
        yield address
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


@pytest.mark.parametrize("page", quickest_pages())
def test_a_page_runs_by_the_menu_and_shows_its_pictures(chromium, lab, page):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{lab}/lab/tree/{Path(page).relative_to('chapters')}?token={TOKEN}&reset")
    tab.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
    tab.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=120_000)
    tab.click("text=Run")
    tab.click("text=Run All Cells")
    # The notebook model holds all cells, also those that are not drawn because they are off the screen.
    state = """() => {
      const all = [...window.jupyterapp.shell.currentWidget.content.model.cells];
      const cells = all.filter(c => c.type === 'code' && c.sharedModel.source);
      const outputs = cells.flatMap(c => c.toJSON().outputs);
      return {
        cells: cells.length,
        left: cells.filter(c => !c.executionCount || c.executionState === 'running').length,
        errors: outputs.filter(o => o.output_type === 'error').map(o => o.evalue),
        pictures: outputs.filter(o => o.data && (o.data['image/png'] || o.data['image/svg+xml'])).length,
      };
    }"""
    tab.wait_for_function("() => window.jupyterapp", timeout=30_000)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        tab.wait_for_timeout(1000)
        found = tab.evaluate(state)
        if found["errors"] or (found["cells"] and not found["left"]):
            break
    context.close()
    assert found["errors"] == []
    assert found["cells"] > 0 and found["left"] == 0
    assert found["pictures"] > 0


def test_a_changed_value_changes_the_text_after_run_all(chromium, lab):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{lab}/lab/tree/{LIVE_PAGE}?token={TOKEN}&reset")
    tab.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=120_000)

    def run_all():
        tab.click("text=Run")
        tab.click("text=Run All Cells")

    def text(value):
        return tab.locator(".jp-MarkdownCell", has_text=f"The answer is {value}.")

    run_all()
    text("42.0").wait_for(timeout=60_000)
    tab.evaluate(
        """() => {
          const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
          cells.find(c => c.type === 'code').sharedModel.setSource('answer = 43');
        }"""
    )
    run_all()
    tab.wait_for_timeout(3000)
    # Now and then a second run is needed: executablebooks/jupyterlab-myst, issue 175.
    if not text("43.0").count():
        run_all()
    text("43.0").wait_for(timeout=60_000)
    context.close()
