"""The build of the book: each kind of fault is planted in a small book and must be caught, with the page's name."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
CONFIG = """
title: Small
only_build_toc_files: true
execute: {execute_notebooks: "off"}
"""


@pytest.fixture
def book(tmp_path):
    """A book of one front page and one notebook, in which all is well."""
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n  - file: chapters/page\n")
    (tmp_path / "intro.md").write_text("# Front\n\nGo to {doc}`chapters/page`.\n")
    (tmp_path / "references.bib").write_text("")
    (tmp_path / "_static").mkdir()
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "imggen_lib").mkdir()
    (tmp_path / "imggen_lib" / "room.py").write_text("")
    write_page(tmp_path, "print(6 * 7)")
    return tmp_path


def write_page(root, code, text="# Page\n\nSome words.", **metadata):
    code = nbformat.v4.new_code_cell(code, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), code])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (root / "chapters").mkdir(exist_ok=True)
    nbformat.write(notebook, root / "chapters" / "page.ipynb")


def run(command, root, *options):
    """Return exit status and all that was printed."""
    command = [sys.executable, ROOT / "tools" / "book.py", command, "--root", root, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_a_page_is_executed_once_built_and_executed_again_only_when_something_changed(book):
    status, output = run("execute", book)
    assert (status, "1 of 1 pages to execute" in output) == (0, True)
    assert "s  chapters/page.ipynb" in output
    status, output = run("build", book)
    assert status == 0, output
    assert f"open {book / '_build' / 'html' / 'index.html'}" in output
    html = (book / "_build" / "html" / "chapters" / "page.html").read_text()
    assert "42" in html
    assert "This page ran in" in html
    assert json.loads((book / "chapters" / "page.ipynb").read_text())["cells"][1]["outputs"] == []

    assert "0 of 1 pages to execute" in run("execute", book)[1]
    (book / "imggen_lib" / "room.py").write_text("changed = True")
    assert "1 of 1 pages to execute" in run("execute", book)[1]


def test_two_pages_at_a_time_run_beside_each_other_and_say_so(book):
    # Each page waits for the other one's file, so neither gets through alone.
    wait = """import pathlib, time
pathlib.Path({own!r}).touch()
end = time.monotonic() + 60
while not pathlib.Path({other!r}).exists():
    assert time.monotonic() < end
    time.sleep(0.1)"""
    files = [str(book / name) for name in ("one", "two")]
    write_page(book, wait.format(own=files[0], other=files[1]))
    (book / "chapters" / "page.ipynb").rename(book / "chapters" / "second.ipynb")
    write_page(book, wait.format(own=files[1], other=files[0]))
    with (book / "_toc.yml").open("a") as toc:
        toc.write("  - file: chapters/second\n")
    status, output = run("execute", book, "--jobs", "2")
    assert status == 0, output
    runs = json.loads((book / "_build" / "executed" / "runs.json").read_text())
    assert all("2 pages at a time" in run["with"] for run in runs.values()) and len(runs) == 2


def test_less_than_one_page_at_a_time_is_refused(book):
    status, output = run("execute", book, "--jobs", "0")
    assert (status, "--jobs must be at least 1, not 0" in output) == (2, True)


def test_a_failing_cell_is_caught_and_not_taken_for_executed(book):
    write_page(book, "1 / 0")
    for _ in range(2):
        status, output = run("execute", book)
        assert status == 1
        assert "book: chapters/page.ipynb failed" in output
    status, output = run("build", book)
    assert status == 1
    assert "chapters/page" in output


def test_a_missing_page_is_caught(book):
    run("execute", book)
    with (book / "_toc.yml").open("a") as toc:
        toc.write("  - file: chapters/nowhere\n")
    status, output = run("build", book)
    assert status == 1
    assert "book: chapters/nowhere stands in _toc.yml" in output


def test_a_warning_and_dead_links_are_caught(book):
    (book / "intro.md").write_text('# Front\n\n{doc}`chapters/nowhere`\n\n<a href="chapters/page.html#nothing">there</a>\n')
    write_page(book, "1", '# Page\n\n<a href="../gone.html">gone</a>')
    run("execute", book)
    status, output = run("build", book)
    assert status == 1
    assert "jupyter-book found warnings" in output
    assert "intro.md" in output
    assert "intro.html has a dead link to chapters/page.html#nothing: there is no such place" in output
    assert "chapters/page.html has a dead link to ../gone.html" in output


def test_the_front_page_quotes_a_figure_of_this_run_and_a_figure_that_no_page_draws_is_caught(book):
    code = "import numpy as np\nfrom PIL import Image\n\nImage.fromarray(np.full((2, 900), 77, 'uint8'))"
    notes = {"figure": {"name": "fig-grey", "caption": "Grey."}, "image": {"alt": "An even grey."}}
    write_page(book, code, mystnb=notes)
    quote = "# Front\n\n{doc}`chapters/page`\n\n![An even grey](_static/figures/fig-grey.png)\n"
    (book / "intro.md").write_text(quote)
    run("execute", book)
    status, output = run("build", book)
    assert status == 0, output
    (picture,) = (book / "_build" / "html" / "_images").glob("fig-grey.png")
    pixels = np.asarray(Image.open(picture))
    assert pixels.shape[1] == 640 and np.unique(pixels).tolist() == [77]

    (book / "intro.md").write_text(quote + "\n![White](_static/figures/fig-white.png)\n")
    status, output = run("build", book)
    assert status == 1
    assert "book: intro.md quotes the figure fig-white, and no page draws it" in output


def test_the_whole_of_the_tools_folder_is_what_the_makefile_calls():
    makefile = (ROOT / "Makefile").read_text()
    assert [path.name for path in (ROOT / "tools").glob("*.py") if f"tools/{path.name}" not in makefile] == []
