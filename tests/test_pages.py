"""Rules that every page of the book follows, checked without running it."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "chapters").rglob("*.ipynb"))
names = [path.relative_to(ROOT).as_posix() for path in NOTEBOOKS]
each_page = pytest.mark.parametrize("path", NOTEBOOKS, ids=names)


def cells(path, kind=None):
    return [cell for cell in json.loads(path.read_text())["cells"] if kind in (None, cell["cell_type"])]


def source(cell):
    return "".join(cell["source"])


def config():
    return yaml.safe_load((ROOT / "_config.yml").read_text())


def has_figure(cell):
    # animation.show_film takes its alt text and caption as arguments.
    return re.search(r"plt\.(subplots|figure|imshow|plot)|figures\.show_", source(cell))


def test_every_notebook_is_in_the_table_of_contents():
    toc = (ROOT / "_toc.yml").read_text()
    assert NOTEBOOKS
    assert [name for name in names if f"file: {name.removesuffix('.ipynb')}\n" not in toc] == []


@each_page
def test_page_is_stored_without_outputs_and_with_cell_ids(path):
    ids = [cell["id"] for cell in cells(path)]
    assert len(set(ids)) == len(ids)
    assert [cell["id"] for cell in cells(path, "code") if cell["outputs"] or cell["execution_count"]] == []


@each_page
def test_first_cell_of_a_page_is_the_common_set_up_cell(path):
    first = source(cells(path)[0])
    assert first == source(cells(NOTEBOOKS[0])[0])
    assert f'imggen-lib[pages] @ git+{config()["repository"]["url"]}"' in first
    assert "notebook.setup()" in first


@each_page
def test_page_has_the_common_parts_in_order(path):
    text = "\n".join(source(cell) for cell in cells(path, "markdown"))
    order = ["# ", "On this page", "You will be able to", "You need", "It runs in", "## What to take away"]
    order += ["## Exercises", "## Where to read on"]
    positions = [text.find(part) for part in order]
    assert -1 not in positions, dict(zip(order, positions, strict=True))
    assert positions == sorted(positions)


@each_page
def test_code_cells_have_at_most_40_lines(path):
    assert [cell["id"] for cell in cells(path, "code") if len(source(cell).splitlines()) > 40] == []


@each_page
def test_every_figure_has_a_caption_a_name_and_alt_text(path):
    lacking = []
    for cell in cells(path, "code"):
        notes = cell["metadata"].get("mystnb", {})
        complete = (
            notes.get("figure", {}).get("caption") and notes["figure"].get("name") and notes.get("image", {}).get("alt")
        )
        if has_figure(cell) and not complete:
            lacking.append(cell["id"])
    assert lacking == []


def test_figure_names_are_unique():
    found = [
        cell["metadata"]["mystnb"]["figure"]["name"]
        for path in NOTEBOOKS
        for cell in cells(path, "code")
        if "figure" in cell["metadata"].get("mystnb", {})
    ]
    assert len(set(found)) == len(found)


def test_quoted_values_are_stored_once_and_stored_values_are_quoted():
    stored, quoted = [], set()
    for path in NOTEBOOKS:
        for cell in cells(path, "code"):
            # A name from a loop, such as f"page_{name}_mean", is a pattern for all names that match it.
            names = re.findall(r"""glue\(\s*f?["']([^"']+)["']""", source(cell))
            stored += [re.sub(r"\{.*?\}", "[\\\\w-]+", name) for name in names]
        for cell in cells(path, "markdown"):
            quoted |= set(re.findall(r"\{glue:text\}`([\w-]+)`", source(cell)))
    assert len(set(stored)) == len(stored)
    assert [name for name in quoted if not any(re.fullmatch(key, name) for key in stored)] == []
    assert [key for key in stored if not any(re.fullmatch(key, name) for name in quoted)] == []


def exercises():
    """Yield the check cell, the solution cell and the wrong answers of each exercise."""
    for path in NOTEBOOKS:
        label, check = None, None
        for cell in cells(path):
            text = source(cell)
            if start := re.search(r":label: (ex-[\w-]+)", text):
                label = start[1]
            elif cell["cell_type"] == "code" and "@exercises.check" in text:
                check = text
            elif cell["cell_type"] == "code" and "wrong" in cell["metadata"]:
                yield pytest.param(check, text, cell["metadata"]["wrong"], id=label)


def test_every_page_has_exercises_with_solutions():
    for path in NOTEBOOKS:
        text = "\n".join(source(cell) for cell in cells(path))
        assert len(re.findall(r"\{exercise-start\}", text)) >= 3, path
        assert len(re.findall(r"\{exercise-start\}", text)) == len(re.findall(r"\{solution-start\}", text)), path
        assert text.count("@exercises.check") == sum("wrong" in cell["metadata"] for cell in cells(path)), path


@pytest.mark.parametrize(("check", "solution", "wrong"), exercises())
def test_exercise_accepts_its_solution_and_refuses_missing_and_wrong_answers(check, solution, wrong, capsys):
    namespace = {}
    exec(compile(check, "check", "exec"), namespace)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exec(compile(solution, "solution", "exec"), namespace)
    assert capsys.readouterr().out == "Correct.\n"
    checker = next(name for name in namespace if name.startswith("check_"))
    assert wrong
    for answer in wrong:
        ast.parse(answer, mode="eval")
        with pytest.raises(AssertionError, match="Not yet: ."):
            namespace[checker](eval(answer, namespace))
