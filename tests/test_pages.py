"""Rules that every page of the book follows, checked without running it."""

import ast
import builtins
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import book  # noqa: E402

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
    assert "notebook.setup()" in first


@each_page
def test_page_has_the_common_parts_in_order(path):
    text = "\n".join(source(cell) for cell in cells(path, "markdown"))
    order = ["# ", "On this page", "You will be able to", "You need", "It runs in", "## Summary"]
    order += ["## Exercises", "## Further reading"]
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


@each_page
def test_links_to_other_pages_are_markdown_and_folded_code_is_folded_in_jupyterlab_too(path):
    assert [cell["id"] for cell in cells(path, "markdown") if "{doc}" in source(cell)] == []
    folded = [cell for cell in cells(path, "code") if {"hide-input", "remove-cell"} & set(cell["metadata"].get("tags", []))]
    assert [cell["id"] for cell in folded if not cell["metadata"].get("jupyter", {}).get("source_hidden")] == []


def test_figure_names_are_unique():
    found = [
        cell["metadata"]["mystnb"]["figure"]["name"]
        for path in NOTEBOOKS
        for cell in cells(path, "code")
        if "figure" in cell["metadata"].get("mystnb", {})
    ]
    assert len(set(found)) == len(found)


def test_labels_of_exercises_and_solutions_are_unique():
    labels = [
        label for path in NOTEBOOKS for cell in cells(path) for label in re.findall(r"^:label: (\S+)", source(cell), re.M)
    ]
    assert sorted(labels) == sorted(set(labels))


@each_page
def test_every_term_is_in_the_glossary(path):
    entries = (ROOT / "chapters" / "outlook" / "glossary.md").read_text().split("```{glossary}")[1].splitlines()
    known = {line.strip().lower() for line in entries if line and not line.startswith((" ", "`"))}
    text = "\n".join(source(cell) for cell in cells(path, "markdown"))
    quoted = {
        " ".join(re.sub(r".*<(.*)>", r"\1", term, flags=re.S).split()) for term in re.findall(r"\{term\}`([^`]+)`", text)
    }
    assert {term for term in quoted if term.lower() not in known} == set()


def bindings(code, cell):
    """Return the names that code binds outside functions, each with its place, and the names whose items it assigns.

    The place of an import is the imported name, so that the same import in two cells is one binding.
    """
    # Lines for IPython, such as %pip, are not Python.
    waiting = [ast.parse(re.sub(r"(?m)^(\s*)[%!].*", r"\1pass", code))]
    bound, changed = set(), set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                bound.add((name, f"{getattr(node, 'module', '')} {name if alias.asname is None else alias.name}"))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add((node.name, (cell, node.lineno)))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            bound.add((node.id, (cell, node.lineno, node.col_offset)))
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            changed.add(next(part.id for part in ast.walk(node) if isinstance(part, ast.Name)))
        # Names in functions and comprehensions are local.
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.comprehension)):
            waiting.extend(ast.iter_child_nodes(node))
    return bound, changed


def wrong_quotations(notebook):
    """Return the quoted names of a page that are not assigned exactly once, or whose items another cell assigns."""
    quoted = [ast.parse(expression, mode="eval") for _, expression in book.quoted_expressions(notebook)]
    names = {node.id for tree in quoted for node in ast.walk(tree) if isinstance(node, ast.Name)}
    bound, changed = set(), {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            new, changed[cell.id] = bindings(cell.source, cell.id)
            bound |= new
    wrong = []
    for name in sorted(names - set(dir(builtins))):
        places = [place for found, place in bound if found == name]
        others = [
            cell for cell, changes in changed.items() if name in changes and cell not in (place[0] for place in places)
        ]
        if len(places) != 1 or others:
            wrong.append(name)
    return wrong


@each_page
def test_names_in_the_text_are_assigned_once_on_the_page(path):
    # JupyterLab evaluates expressions in the text after each run of a cell, and the book after the last cell.
    assert wrong_quotations(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize(
    ("cells_of_code", "wrong"),
    [
        (["score = 1"], []),
        (["score = {}\nscore[0] = 1", "def f():\n    score = 2", "[0 for score in range(2)]"], []),
        (["import score", "import score"], []),
        (["%pip install x\nfor score in range(2):\n    pass"], []),
        ([], ["score"]),
        (["score = 1", "score = 2"], ["score"]),
        (["score = 1\nscore += 1"], ["score"]),
        (["score = 1", "for a, (b, score) in []:\n    pass"], ["score"]),
        (["score = 1", "def score():\n    pass"], ["score"]),
        (["score = 1", "import other as score"], ["score"]),
        (["score = {}", "score[0][1] = 2"], ["score"]),
    ],
)
def test_a_quoted_name_that_is_assigned_twice_is_found(cells_of_code, wrong):
    text = nbformat.v4.new_markdown_cell('The score is {eval}`f"{len(score):.1f}"`.')
    code = [nbformat.v4.new_code_cell(source) for source in cells_of_code]
    assert wrong_quotations(nbformat.v4.new_notebook(cells=[*code, text])) == wrong


def exercises():
    """Yield the code of the exercise, the solution cell, and the right and the wrong answers of each exercise."""
    for path in NOTEBOOKS:
        label, label_of_check, check = None, None, ""
        for cell in cells(path):
            text = source(cell)
            if start := re.search(r":label: (ex-[\w-]+)", text):
                label = start[1]
                check = ""
            elif "{exercise-end}" in text:
                label_of_check, label = label, None
            elif cell["cell_type"] == "code" and label is not None:
                check += f"{text}\n\n"
            elif cell["cell_type"] == "code" and "wrong" in cell["metadata"]:
                metadata = cell["metadata"]
                yield pytest.param(check, text, metadata.get("right", []), metadata["wrong"], id=label_of_check)


@each_page
def test_each_exercise_lists_at_least_three_right_and_three_wrong_answers(path):
    few = {}
    for cell in cells(path, "code"):
        if "wrong" in cell["metadata"]:
            numbers = {kind: len(set(cell["metadata"].get(kind, []))) for kind in ("right", "wrong")}
            if min(numbers.values()) < 3:
                few[cell["id"]] = numbers
    assert few == {}


def test_every_page_has_two_to_four_exercises_with_solutions():
    for path in NOTEBOOKS:
        text = "\n".join(source(cell) for cell in cells(path))
        assert 2 <= len(re.findall(r"\{exercise-start\}", text)) <= 4, path
        assert len(re.findall(r"\{exercise-start\}", text)) == len(re.findall(r"\{solution-start\}", text)), path
        assert text.count("@exercises.check") == sum("wrong" in cell["metadata"] for cell in cells(path)), path


def test_the_code_of_a_check_is_folded_and_the_answer_has_a_cell_of_its_own():
    for path in NOTEBOOKS:
        for cell in cells(path, "code"):
            if "@exercises.check" in source(cell):
                assert "hide-input" in cell["metadata"]["tags"] and cell["metadata"]["jupyter"]["source_hidden"], cell["id"]
                last = ast.parse(source(cell)).body[-1]
                assert isinstance(last, ast.FunctionDef) and last.name.startswith("check_"), cell["id"]


@pytest.mark.parametrize(("check", "solution", "right", "wrong"), list(exercises()))
def test_exercise_accepts_right_answers_and_refuses_missing_and_wrong_ones(check, solution, right, wrong, capsys):
    namespace = {}
    exec(compile(check, "check", "exec"), namespace)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exec(compile(solution, "solution", "exec"), namespace)
    assert capsys.readouterr().out == "Correct.\n"
    checker = next(name for name in namespace if name.startswith("check_"))
    for answer in right:
        ast.parse(answer, mode="eval")
        namespace[checker](eval(answer, namespace))
        assert capsys.readouterr().out == "Correct.\n"
    assert wrong
    for answer in wrong:
        ast.parse(answer, mode="eval")
        with pytest.raises(AssertionError, match="Not yet: ."):
            namespace[checker](eval(answer, namespace))
