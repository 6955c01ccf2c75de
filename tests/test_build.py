"""The build of the book: which pages are executed again, and which errors are found, in a small book."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import book  # noqa: E402

CONFIG = """
title: Small
only_build_toc_files: true
execute: {execute_notebooks: "off"}
"""
FRONT = "# Front\n\nGo to {doc}`chapters/first`.\n"
# Each page waits for a file of the other one, so that neither of them finishes unless both run at the same time.
WAIT = """import pathlib, time
pathlib.Path({own!r}).touch()
end = time.monotonic() + 60
while not pathlib.Path({other!r}).exists():
    assert time.monotonic() < end
    time.sleep(0.1)
"""
# The first page imports toy.used, which imports toy.indirect; it lists toy.plugins and reads two data files, one of them
# in a subprocess.
FIRST = """import subprocess, sys
import numpy as np
from PIL import Image
import toy.used
values = np.load({root!r} + "/data/values.npy")
program = "print(open({root!r} + '/data/words.txt').read())"
print(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout)
print(values.sum() + toy.used.NUMBER)
Image.fromarray(np.full((2, 900), 77, "uint8"))
"""
MODULES = {
    "__init__": "",
    "used": "import toy.indirect\nimport toy.plugins\nNUMBER = toy.indirect.NUMBER",
    "indirect": "NUMBER = 39",
    "unused": "",
    "plugins/__init__": "import pkgutil\nNAMES = [module.name for module in pkgutil.iter_modules(__path__)]",
    "plugins/one": "",
}


def write_page(path, code, text="# Page\n\nSome words.", **metadata):
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code, metadata=metadata)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def write_book(root, *names):
    """Write the settings of a book with a front page and the named notebooks."""
    (root / "_static").mkdir(parents=True)
    (root / "_config.yml").write_text(CONFIG)
    chapters = "".join(f"  - file: chapters/{name}\n" for name in names)
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: intro\nchapters:\n{chapters}")
    (root / "intro.md").write_text("# Front\n")
    (root / "references.bib").write_text("")
    (root / "requirements.lock").write_text("numpy\n")


def run(command, root, *options):
    """Run ``tools/book.py``. Return the exit status and everything that it printed."""
    command = [sys.executable, ROOT / "tools" / "book.py", command, "--root", root, *options]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A book of a front page and two notebooks, whose pages were executed two at a time, and the printed output."""
    root, signals = tmp_path_factory.mktemp("book").resolve(), tmp_path_factory.mktemp("signals")
    write_book(root, "first", "second")
    (root / "intro.md").write_text(FRONT)
    for name, code in MODULES.items():
        (root / "toy" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "toy" / f"{name}.py").write_text(code)
    (root / "data").mkdir()
    np.save(root / "data" / "values.npy", np.array([1, 2]))
    (root / "data" / "words.txt").write_text("seven")
    (root / "data" / "unused.txt").write_text("")
    wait = {name: str(signals / name) for name in ("first", "second")}
    caption = 'Grey, {eval}`f"{values[1]}"`.'
    notes = {"figure": {"name": "fig-grey", "caption": caption}, "image": {"alt": "An even grey."}}
    first = WAIT.format(own=wait["first"], other=wait["second"]) + FIRST.format(root=str(root))
    text = '# Page\n\nThe sum is {eval}`f"{values.sum():.1f}"`.'
    write_page(root / "chapters" / "first.ipynb", first, text, mystnb=notes)
    write_page(root / "chapters" / "second.ipynb", WAIT.format(own=wait["second"], other=wait["first"]))
    status, output = run("execute", root, "--jobs", "2")
    assert status == 0, output
    return root, output


@pytest.fixture(scope="module")
def built(executed):
    """The same book, built."""
    root, _ = executed
    status, output = run("build", root)
    assert status == 0, output
    return root, output


@pytest.fixture
def copied(executed, tmp_path):
    """A copy of the executed book that a test may change. Its pages are not up to date, because their paths differ."""
    shutil.copytree(executed[0], tmp_path / "book", ignore=shutil.ignore_patterns("html", "source"))
    return tmp_path / "book"


def test_two_jobs_execute_two_pages_at_the_same_time_and_the_record_says_so(executed):
    root, output = executed
    assert "2 of 2 pages to execute" in output and "s  chapters/first.ipynb" in output
    runs = json.loads((root / "_build" / "executed" / "runs.json").read_text())
    assert all("2 pages at a time" in run["with"] for run in runs.values()) and len(runs) == 2
    assert json.loads((root / "chapters" / "first.ipynb").read_text())["cells"][1]["outputs"] == []


def test_the_record_lists_the_files_that_a_page_reads(executed):
    runs = json.loads((executed[0] / "_build" / "executed" / "runs.json").read_text())
    modules = ["toy/__init__.py", "toy/indirect.py", "toy/plugins", "toy/plugins/__init__.py", "toy/used.py"]
    assert runs["chapters/first.ipynb"]["reads"] == ["data/values.npy", "data/words.txt", *modules]
    assert runs["chapters/second.ipynb"]["reads"] == []


FIRST_ONLY, SECOND_ONLY = ["chapters/first.ipynb"], ["chapters/second.ipynb"]


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("toy/used.py", FIRST_ONLY),
        ("toy/indirect.py", FIRST_ONLY),
        ("toy/plugins/two.py", FIRST_ONLY),
        ("data/values.npy", FIRST_ONLY),
        ("data/words.txt", FIRST_ONLY),
        ("chapters/first.ipynb", FIRST_ONLY),
        ("chapters/second.ipynb", SECOND_ONLY),
        ("requirements.lock", FIRST_ONLY + SECOND_ONLY),
        ("toy/unused.py", []),
        ("toy/new.py", []),
        ("data/unused.txt", []),
        ("intro.md", []),
    ],
)
def test_a_page_is_executed_again_only_after_a_change_of_something_that_it_reads(executed, file, stale):
    root, _ = executed
    path = root / file
    before = path.read_bytes() if path.exists() else None
    assert book.stale_pages(root) == []
    path.write_bytes((before or b"") + b" ")
    assert book.stale_pages(root) == stale
    path.unlink()
    if before is not None:
        # A deleted notebook is not a page any more.
        assert book.stale_pages(root) == [name for name in stale if name != file]
        path.write_bytes(before)
    assert book.stale_pages(root) == []


@pytest.mark.parametrize(("variable", "value"), [("IMGGEN_PROFILE", "full"), ("KERAS_BACKEND", "other")])
def test_all_pages_are_executed_again_with_another_profile_or_backend(executed, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert book.stale_pages(executed[0]) == FIRST_ONLY + SECOND_ONLY


def test_execute_runs_only_the_stale_page(executed, monkeypatch, capsys):
    root, _ = executed
    monkeypatch.setenv("PYTHONPATH", str(root))
    (root / "toy" / "indirect.py").write_text("NUMBER = 40")
    assert book.execute(root) == [] and "1 of 2 pages to execute" in capsys.readouterr().out
    (output,) = json.loads((root / "_build" / "executed" / FIRST_ONLY[0]).read_text())["cells"][1]["outputs"][:1]
    assert output["text"] == ["seven\n", "\n", "43\n"]
    assert book.stale_pages(root) == []


def test_the_built_page_has_its_outputs_and_a_line_on_how_it_was_executed(built):
    root, output = built
    assert f"open {root / '_build' / 'html' / 'index.html'}" in output
    html = (root / "_build" / "html" / "chapters" / "first.html").read_text()
    assert "seven" in html and "This page ran in" in html
    assert "The sum is 3.0." in html and "Grey, 2." in html and "eval" not in html
    assert "nothing changed" in run("build", root)[1]


def test_a_missing_page_is_a_problem(copied):
    with (copied / "_toc.yml").open("a") as toc:
        toc.write("  - file: chapters/nowhere\n")
    (problem,) = book.build(copied)
    assert problem.startswith("chapters/nowhere is in _toc.yml")


def test_a_number_of_jobs_below_one_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["book.py", "execute", "--jobs", "0"])
    with pytest.raises(SystemExit, match="2"):
        book.main()
    assert "--jobs must be at least 1, not 0" in capsys.readouterr().err


def test_shards_have_every_page_once_and_are_gathered(tmp_path):
    pages = [f"page{number}" for number in range(3)]
    write_book(tmp_path / "whole", *pages)
    for page in pages:
        write_page(tmp_path / "whole" / "chapters" / f"{page}.ipynb", "print(6 * 7)")
    for folder in ("first", "second"):
        shutil.copytree(tmp_path / "whole", tmp_path / folder)
    assert book.execute(tmp_path / "first", shard=(1, 2)) == []
    assert book.execute(tmp_path / "second", shard=(2, 2)) == []
    executed = {name: tmp_path / name / "_build" / "executed" for name in ("whole", "first", "second")}
    count = {name: len(list(folder.rglob("*.ipynb"))) for name, folder in executed.items()}
    assert (count["first"], count["second"]) == (2, 1)
    assert book.gather(tmp_path / "whole", [executed["first"]]) == ["chapters/page1.ipynb is in no folder"]
    assert book.gather(tmp_path / "whole", [executed["second"]]) == []
    assert book.stale_pages(tmp_path / "whole") == []


def test_a_shard_that_does_not_exist_is_an_error(tmp_path):
    write_book(tmp_path, "page")
    for shard in ("0/2", "3/2", "half"):
        status, output = run("execute", tmp_path, "--shard", shard)
        assert status == 2 and f"--shard is '{shard}'; expected K/N" in output
    assert run("gather", tmp_path)[0] == 2


def test_a_page_with_a_failing_cell_is_a_problem_and_stays_stale(tmp_path):
    write_book(tmp_path, "page")
    write_page(tmp_path / "chapters" / "page.ipynb", "1 / 0")
    assert book.execute(tmp_path) == ["chapters/page.ipynb failed, see above"]
    assert book.stale_pages(tmp_path) == ["chapters/page.ipynb"]
    (problem,) = book.build(tmp_path)
    assert problem.startswith("chapters/page is in _toc.yml")


def test_expressions_in_text_and_captions_become_their_values(tmp_path):
    write_book(tmp_path, "page")
    text = """# Page

{eval}`f"{score:.1f}"`, *{eval}`names["a_b"]`*, {eval}`n`

{eval}`n`. This is no list. {eval}`f"{score:.0f}."`

```{note}
{eval}`f"{-score:.1f}".replace("-", "−")`
```"""
    caption = {"figure": {"name": "fig-score", "caption": 'Score {eval}`f"{score:.2f}"`.'}}
    code = "score, names, n = 2.345, {'a_b': 'a*b_c'}, 7"
    write_page(tmp_path / "chapters" / "page.ipynb", code, text, mystnb=caption)
    assert book.execute(tmp_path) == []
    executed = nbformat.read(tmp_path / "_build" / "executed" / "chapters" / "page.ipynb", as_version=4)
    assert executed.cells[0].source == "# Page\n\n2.3, *a\\*b\\_c*, 7\n\n7\\. This is no list. 2.\n\n```{note}\n−2.3\n```"
    assert executed.cells[1].metadata.mystnb.figure.caption == "Score 2.35."
    assert len(executed.cells) == 2 and executed.cells[1].outputs == []
    assert book.stale_pages(tmp_path) == []


def test_expressions_that_fail_or_are_no_text_or_number_are_problems(tmp_path):
    write_book(tmp_path, "page")
    text = "# Page\n\n{eval}`scor` {eval}`scores` {eval}`scores[0]`"
    write_page(tmp_path / "chapters" / "page.ipynb", "import numpy as np\nscores = np.arange(2.0)", text)
    status, output = run("execute", tmp_path)
    assert status == 1 and "book: chapters/page.ipynb failed, see above" in output
    cell = nbformat.read(tmp_path / "chapters" / "page.ipynb", as_version=4).cells[0].id
    assert f"chapters/page.ipynb, cell {cell}: scor fails with NameError: name 'scor' is not defined" in output
    for expression, value in (("scores", "array([0., 1.])"), ("scores[0]", "np.float64(0.0)")):
        message = f"chapters/page.ipynb, cell {cell}: {expression} is {value}; expected str, int or float"
        assert message in output
    assert book.stale_pages(tmp_path) == ["chapters/page.ipynb"]


def test_warnings_and_dead_links_are_problems(copied):
    links = '<a href="chapters/first.html#nothing">no id</a> <a href="gone.html">no page</a>'
    (copied / "intro.md").write_text(f"# Front\n\n{{doc}}`chapters/nowhere`\n\n{links}\n")
    status, output = run("build", copied)
    assert status == 1
    assert "jupyter-book found warnings" in output
    assert "intro.md" in output
    assert "intro.html has a dead link to chapters/first.html#nothing: the page has no such id" in output
    assert "intro.html has a dead link to gone.html" in output


def test_the_makefile_uses_every_script_of_the_tools_folder():
    makefile = (ROOT / "Makefile").read_text()
    assert [path.name for path in (ROOT / "tools").glob("*.py") if f"tools/{path.name}" not in makefile] == []
