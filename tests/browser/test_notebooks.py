"""The exported notebooks of the built book: plain Markdown, and code whose names are all defined."""

import subprocess
import sys

import nbformat
import pytest
from inspection import ROOT, book, export

NOTEBOOKS = ROOT / "_build" / "notebooks"
each_notebook = pytest.mark.parametrize("name", book.notebooks(ROOT))


@each_notebook
def test_an_export_has_no_myst_and_all_outputs(name):
    exported, executed = (nbformat.read(folder / name, 4) for folder in (NOTEBOOKS, ROOT / "_build" / "executed"))
    nbformat.validate(exported)
    assert export.myst_in(exported) == []
    assert not [cell.source for cell in exported.cells if cell.cell_type == "markdown" and "]()" in cell.source]
    solved = sum(len(cell.outputs) for cell in exported.cells if cell.cell_type == "code")
    assert 0 < solved <= sum(len(cell.outputs) for cell in executed.cells if cell.cell_type == "code")


def test_the_code_of_the_exports_has_no_undefined_name():
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,E9", str(NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len(list(NOTEBOOKS.rglob("*.ipynb"))) == len(book.notebooks(ROOT))


def test_the_download_button_offers_the_export():
    for name in book.notebooks(ROOT):
        assert (ROOT / "_build" / "html" / "_sources" / name).read_bytes() == (NOTEBOOKS / name).read_bytes()
