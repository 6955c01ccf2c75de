"""Pages as plain notebooks: each element of MyST becomes the Markdown that it should, and nothing of it is left."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pybtex.database import parse_string

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

import book as book_tool  # noqa: E402
import export  # noqa: E402

PAGE = "chapters/gan/first"
BIBLIOGRAPHY = r"""
@article{one2014, author = {One, Anna}, title = {A}, journal = {J}, year = {2014}, doi = {10.1/x}}
@article{two2015, author = {One, Anna and M{\"u}ller, Bo}, title = {B}, journal = {J}, year = {2015}, eprint = {1503.1}}
@book{three2016, author = {One, Anna and Two, Bo and Three, Cy}, title = {C}, publisher = {P}, year = {2016}}
"""


@pytest.fixture
def book():
    return export.Book(
        titles={PAGE: "First", "chapters/vae/second": "Second", "chapters/outlook/glossary": "Glossary"},
        notebooks=frozenset({PAGE, "chapters/vae/second"}),
        figures={"fig-here": (PAGE, 1), "fig-there": ("chapters/vae/second", 3)},
        entries=dict(parse_string(BIBLIOGRAPHY, "bibtex").entries),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{doc}`../vae/second`", "[Second](../vae/second.ipynb)"),
        ("{doc}`that page </chapters/vae/second>`", "[that page](../vae/second.ipynb)"),
        ("{doc}`../outlook/glossary`", "*Glossary*"),
        ("{term}`generator` and {term}`GANs <GAN>`", "generator and GANs"),
        ("{numref}`fig-here` and {numref}`fig-there`", "Figure 1 and Figure 3 of [Second](../vae/second.ipynb)"),
        ("{cite}`one2014`", "[[One, 2014](https://doi.org/10.1/x)]"),
        ("{cite}`two2015, three2016`", "[[One and Müller, 2015](https://arxiv.org/abs/1503.1); One et al., 2016]"),
        ("{math}`x^2` and {py:func}`imggen_lib.noise.add_gaussian`", "$x^2$ and `noise.add_gaussian`"),
        ("```{math}\nx = 1\n```", "$$\nx = 1\n$$"),
        ("(label)=\n## Heading", "## Heading"),
        (
            "Before.\n\n```{admonition} On this page\n:class: tip\n**You need** {doc}`../vae/second`.\n\nAnd time.\n```",
            "Before.\n\n> **On this page**\n>\n> **You need** [Second](../vae/second.ipynb).\n>\n> And time.",
        ),
        (":::{note}\nShort.\n:::", "> **Note**\n>\n> Short."),
        (
            "Before.\n\n```{figure} ../../_static/live/gan.png\n:alt: Boots.\n"
            "**Boots.** Move a {term}`latent vector`.\n```",
            "Before.\n\n*Live figure, in the HTML edition of the book.* **Boots.** Move a latent vector.",
        ),
        ("```python\nx = {1: 2}\n```", "```python\nx = {1: 2}\n```"),
    ],
)
def test_text_becomes_plain_markdown(book, text, expected):
    assert export.plain_text(text, PAGE, book) == expected


def test_pages_that_are_no_notebooks_are_linked_where_the_book_is_published(book):
    published = export.dataclasses.replace(book, repository="owner/name")
    expected = "[Glossary](https://owner.github.io/name/chapters/outlook/glossary.html)"
    assert export.plain_text("{doc}`../outlook/glossary`", PAGE, published) == expected
    assert export.plain_text("[Glossary](../outlook/glossary.md)", PAGE, published) == expected
    assert export.plain_text("[Glossary](../outlook/glossary.md#fid)", PAGE, published) == expected[:-1] + "#fid)"
    assert export.plain_text("[Glossary](../outlook/glossary.md#fid)", PAGE, book) == "*Glossary*"
    expected = f"*Live figure, [on the published page](https://owner.github.io/name/{PAGE}.html#live-gan).* Move it."
    assert (
        export.plain_text("```{figure} ../../_static/live/gan.png\n:alt: Boots.\nMove it.\n```", PAGE, published)
        == expected
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{doc}`nowhere`", "links to chapters/gan/nowhere"),
        ("{numref}`fig-none`", "refers to the figure fig-none"),
        ("{cite}`nobody1999`", "cites nobody1999"),
        ("{kbd}`A`", "has the role kbd"),
        ("```{mermaid}\nx\n```", "has the directive mermaid"),
    ],
)
def test_what_cannot_be_shown_is_an_error(book, text, message):
    with pytest.raises(export.NotExported, match=message):
        export.plain_text(text, PAGE, book)


def lesson():
    """Return a page with a figure, an exercise and its solution, as it is after its execution."""
    picture = {"mystnb": {"figure": {"name": "fig-here", "caption": "See {doc}`../vae/second`."}}, "tags": ["hide-input"]}
    plot = new_code_cell("plot()", metadata=picture, execution_count=1)
    plot.outputs = [new_output("display_data", {"image/png": "aGVsbG8="})]
    return new_notebook(
        cells=[
            new_markdown_cell("# First"),
            plot,
            new_markdown_cell("```{exercise-start} Double it\n:label: ex\n```\nWrite `double`."),
            new_code_cell("double = ..."),
            new_markdown_cell("```{exercise-end}\n```"),
            new_markdown_cell("````{solution-start} ex\n:label: sol\n:class: dropdown\n````\nMultiply by {math}`2`."),
            new_code_cell("double = lambda x: 2 * x"),
            new_markdown_cell("````{solution-end}\n````"),
            new_markdown_cell("The end."),
        ]
    )


def test_a_page_keeps_its_outputs_and_gets_captions_exercises_and_folded_solutions(book):
    plain = export.plain_notebook(lesson(), PAGE, book)
    nbformat.validate(plain)
    assert [cell.cell_type for cell in plain.cells] == [
        "markdown",
        "code",
        "markdown",
        "markdown",
        "code",
        "markdown",
        "markdown",
    ]
    _, plot, caption, exercise, _, solution, end = plain.cells
    assert plot.outputs[0].data["image/png"] and plot.metadata["jupyter"]["source_hidden"]
    assert caption.source == "*Figure 1.* See [Second](../vae/second.ipynb)."
    assert exercise.source == "**Exercise 1. Double it**\n\nWrite `double`."
    assert solution.source.startswith("<details>\n<summary>Solution</summary>\n\nMultiply by $2$.")
    assert "```python\ndouble = lambda x: 2 * x\n```" in solution.source and solution.source.endswith("</details>")
    assert end.source == "The end." and export.myst_in(plain) == []


def test_exercises_may_begin_and_end_in_the_middle_of_a_cell(book):
    text = "Before.\n\n```{exercise-start} One\n:label: a\n```\nDo it.\n```{exercise-end}\n```\n"
    text += "````{solution-start} a\n:label: b\n````\nSo.\n````{solution-end}\n````\nAfter."
    plain = export.plain_notebook(new_notebook(cells=[new_markdown_cell(text)]), PAGE, book)
    folded = "<details>\n<summary>Solution</summary>\n\nSo.\n\n</details>"
    assert [cell.source for cell in plain.cells] == ["Before.", "**Exercise 1. One**\n\nDo it.", folded, "After."]


def test_the_first_cell_installs_the_library_only_if_the_repository_is_known(book):
    published = export.dataclasses.replace(book, repository="owner/name")
    first = export.plain_notebook(lesson(), PAGE, published).cells[0]
    assert first.source == '%pip install --quiet "imggen-lib[pages] @ git+https://github.com/owner/name"'


def test_the_repository_is_that_of_the_workflow_or_that_of_the_configuration(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    (tmp_path / "_config.yml").write_text("title: Book\n")
    assert book_tool.repository_of(tmp_path) is None
    (tmp_path / "_config.yml").write_text("repository:\n  url: https://github.com/someone/book/\n")
    assert book_tool.repository_of(tmp_path) == "someone/book"
    monkeypatch.setenv("GITHUB_REPOSITORY", "fork/book")
    assert book_tool.repository_of(tmp_path) == "fork/book"
    settings = book_tool.configuration(tmp_path)
    assert settings["repository"] == {"url": "https://github.com/fork/book", "branch": "notebooks"}
    assert list(settings["launch_buttons"]) == ["colab_url"]


def test_without_an_address_there_are_no_launch_buttons(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    (tmp_path / "_config.yml").write_text("title: Book\n")
    assert book_tool.configuration(tmp_path) == {"title": "Book"}


def test_myst_is_found_outside_code():
    text = "{term}`x`\n\n```python\na = '{term}`y`'\n```\n\n(label)=\n\n```{note}\n```"
    found = export.myst_in(new_notebook(cells=[new_markdown_cell(text)]))
    assert found == ["{term}`x`", "(label)=", "```{note}"]
