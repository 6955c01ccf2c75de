"""Export the executed pages as plain notebooks into ``_build/notebooks``: ``python tools/export.py``.

The download buttons of a built book offer the exported notebooks, too.

Colab, GitHub and VS Code show Markdown, but neither roles nor directives of MyST. In an exported page, links, terms,
citations, references to figures, captions, boxes and exercises are plain Markdown, and solutions are folded. The code and
its outputs are those of the executed page, and numbers in the text are already values there.

If the address of the repository is known, from the environment variable ``GITHUB_REPOSITORY`` or from ``_config.yml``, each
page begins with a cell that installs the library from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from book import notebooks, pages, repository_of
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from pybtex.database import Entry, parse_file

ROLE = re.compile(r"\{([a-z:]+)\}`([^`]*)`")
LINK = re.compile(r"\[([^\[\]]+)\]\(([^)#\s]+)\.md(#[^)\s]*)?\)")
DIRECTIVE = re.compile(r"^([`:]{3,})\{([a-z-]+)\}[ ]*(.*?)\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"^:[a-z-]+:.*\n?", re.MULTILINE)
#: Directives that become a quotation, with their title if the page gives none.
BOXES = {
    "admonition": "",
    "note": "Note",
    "tip": "Tip",
    "warning": "Warning",
    "important": "Important",
    "seealso": "See also",
}


class NotExported(Exception):
    """What a page has that no plain notebook can show."""


@dataclasses.dataclass(frozen=True)
class Book:
    """What pages refer to.

    Attributes
    ----------
    titles : dict of str to str
        The title of each page, by its path without suffix.
    notebooks : frozenset of str
        The pages that are exported.
    figures : dict of str to tuple
        For the name of a figure, its page and its number on the page.
    entries : dict of str to Entry
        The bibliography by keys.
    repository : str or None
        ``owner/name`` on GitHub.
    """

    titles: dict[str, str]
    notebooks: frozenset[str]
    figures: dict[str, tuple[str, int]]
    entries: dict[str, Entry]
    repository: str | None = None


def main() -> int:
    """Export all pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the folder of the book")
    root = parser.parse_args().root.resolve()
    try:
        print(f"export: {len(export(root))} notebooks in {root / '_build' / 'notebooks'}")
    except NotExported as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


def export(root: Path) -> list[Path]:
    """Export all executed pages of a book and return the files.

    Raises
    ------
    NotExported
        If a page was not executed, or has something that plain Markdown cannot show.
    """
    folder = root / "_build" / "notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    book, files = read_book(root), []
    for name in notebooks(root):
        page = name.removesuffix(".ipynb")
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(plain_notebook(read_page(root, name), page, book), file)
        files.append(file)
        # What the download button of the built book offers.
        offered = root / "_build" / "html" / "_sources" / name
        if offered.parent.is_dir():
            shutil.copyfile(file, offered)
    return files


def read_page(root: Path, name: str) -> NotebookNode:
    """Return an executed page."""
    file = root / "_build" / "executed" / name
    if not file.is_file():
        raise NotExported(f"{name} was not executed: run tools/book.py execute")
    return nbformat.read(file, as_version=4)


def read_book(root: Path) -> Book:
    """Return titles, figures, bibliography and address of a book."""
    names = notebooks(root)
    titles, figures = {}, {}
    for page in pages(root):
        markdown = root / f"{page}.md"
        if markdown.is_file():
            text = markdown.read_text(encoding="utf-8")
        else:
            executed = read_page(root, f"{page}.ipynb")
            text = "\n".join(cell.source for cell in executed.cells if cell.cell_type == "markdown")
            figures |= {name: (page, number) for number, name in enumerate(figure_names(executed), 1) if name}
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        titles[page] = title[1] if title else page
    entries = parse_file(str(root / "references.bib")).entries if (root / "references.bib").is_file() else {}
    exported = frozenset(name.removesuffix(".ipynb") for name in names)
    return Book(titles, exported, figures, dict(entries), repository_of(root))


def figure(cell: NotebookNode) -> dict[str, str]:
    """Return name and caption of the figure that a cell makes; nothing if it makes none."""
    return dict(cell.metadata.get("mystnb", {}).get("figure", {}))


def figure_names(notebook: NotebookNode) -> list[str]:
    """Return the names of the figures of a page in their order; the first has number 1."""
    return [figure(cell).get("name", "") for cell in notebook.cells if figure(cell)]


# A page


def plain_notebook(notebook: NotebookNode, page: str, book: Book) -> NotebookNode:
    """Return a page as a plain notebook.

    Raises
    ------
    NotExported
        If it has something that plain Markdown cannot show.
    """
    cells = list(plain_cells(pieces(notebook.cells), page, book))
    if book.repository:
        source = f'%pip install --quiet "imggen-lib[pages] @ git+https://github.com/{book.repository}"'
        cells.insert(0, new_code_cell(source, id="install"))
    exported = nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
    if left := myst_in(exported):
        raise NotExported(f"{page} has {left[0]!r}, which plain Markdown cannot show")
    return exported


def myst_in(notebook: NotebookNode) -> list[str]:
    """Return the roles and directives of MyST in the text of a notebook, outside code."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^```(?!\{).*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL)
            found += [
                match[0] for match in re.finditer(r"\{[a-z:-]+\}`[^`]*`|^[`:]{3,}\{.*$|^\([\w-]+\)=$", text, re.MULTILINE)
            ]
    return found


def pieces(cells: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield the cells, of which none begins or ends an exercise or a solution in its middle."""
    boundary = re.compile(
        r"^(?=`{3,}\{(?:exercise|solution)-start\})|(^`{3,}\{(?:exercise|solution)-end\}\n`{3,}[ ]*$)", re.MULTILINE
    )
    for cell in cells:
        parts = (
            [part.strip("\n") for part in boundary.split(cell.source) if part and part.strip()]
            if cell.cell_type == "markdown"
            else []
        )
        if len(parts) < 2:
            yield cell
        else:
            yield from (new_markdown_cell(part, id=f"{cell.id[:50]}-{index}") for index, part in enumerate(parts))


def plain_cells(cells: Iterator[NotebookNode], page: str, book: Book) -> Iterator[NotebookNode]:
    """Yield the cells of a plain notebook."""
    exercises = figures = 0
    for cell in cells:
        if cell.cell_type != "markdown":
            yield plain_code(cell)
            if caption := figure(cell).get("caption"):
                figures += 1
                text = f"*Figure {figures}.* {plain_text(caption, page, book)}"
                yield new_markdown_cell(text, id=f"{cell.id[:50]}-caption")
        elif start := re.match(r"^`{3,}\{exercise-start\} *(.*)\n(?::.*\n)*`{3,}\n?", cell.source):
            exercises += 1
            text = plain_text(cell.source[start.end() :], page, book)
            yield new_markdown_cell(f"**Exercise {exercises}. {start[1]}**\n\n{text}", id=cell.id)
        elif start := re.match(r"^`{3,}\{solution-start\}.*\n(?::.*\n)*`{3,}\n?", cell.source):
            parts = [plain_text(cell.source[start.end() :], page, book), *solution(cells, page, book)]
            text = "\n\n".join(part for part in parts if part)
            yield new_markdown_cell(f"<details>\n<summary>Solution</summary>\n\n{text}\n\n</details>", id=cell.id)
        elif not re.match(r"^`{3,}\{exercise-end\}", cell.source):
            yield new_markdown_cell(plain_text(cell.source, page, book), id=cell.id)


def plain_code(cell: NotebookNode) -> NotebookNode:
    """Return a code cell with its outputs. Code that the book folds is folded in JupyterLab."""
    tags = cell.metadata.get("tags", [])
    metadata = {"jupyter": {"source_hidden": True}} if {"hide-input", "remove-cell"} & set(tags) else {}
    plain = new_code_cell(cell.source, id=cell.id, metadata=metadata, execution_count=cell.execution_count)
    plain.outputs = cell.outputs
    return plain


def solution(cells: Iterator[NotebookNode], page: str, book: Book) -> Iterator[str]:
    """Yield the cells of a solution as Markdown, up to its end."""
    for cell in cells:
        if cell.cell_type == "code":
            yield f"```python\n{cell.source}\n```"
        elif re.match(r"^`{3,}\{solution-end\}", cell.source):
            return
        else:
            yield plain_text(cell.source, page, book)
    raise NotExported(f"{page} has a solution without an end")


# Text


def plain_text(text: str, page: str, book: Book) -> str:
    """Return Markdown without roles and directives."""
    text = DIRECTIVE.sub(lambda match: box(match[2], match[3], match[4], page, book), text)
    text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.MULTILINE)
    text = ROLE.sub(lambda match: plain_role(match[1], match[2], page, book), text)
    return LINK.sub(lambda match: link(match[1], resolve(page, match[2]), page, book, match[3] or ""), text).strip()


def box(name: str, title: str, body: str, page: str, book: Book) -> str:
    """Return a directive as plain Markdown: formulas between dollars, boxes as quotations, a live figure as its caption."""
    body = OPTION.sub("", body).strip()
    if name == "math":
        return f"$$\n{body}\n$$"
    live = re.search(r"_static/live/(\w+)\.png$", title) if name == "figure" else None
    if live:
        published = address(page, book)
        where = f"[on the published page]({published}#live-{live[1]})" if published else "in the HTML edition of the book"
        return f"*Live figure, {where}.* {body}"
    if name not in BOXES:
        raise NotExported(f"{page} has the directive {name}, which is not exported")
    lines = [f"**{title or BOXES[name]}**", "", *body.split("\n")]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def plain_role(role: str, text: str, page: str, book: Book) -> str:
    """Return a role as plain Markdown."""
    shown, target = re.match(r"^(.*?)(?:\s*<([^>]+)>)?$", text, re.DOTALL).groups()
    if role == "doc":
        other = resolve(page, target or shown)
        if other not in book.titles:
            raise NotExported(f"{page} links to {other}, which is not a page of the book")
        return link(shown if target else book.titles[other], other, page, book)
    if role == "numref":
        other, number = book.figures.get(target or shown, (None, 0))
        if other is None:
            raise NotExported(f"{page} refers to the figure {target or shown}, which no page has")
        return f"Figure {number}" if other == page else f"Figure {number} of {link(book.titles[other], other, page, book)}"
    if role in ("cite", "cite:p", "cite:t"):
        return f"[{'; '.join(citation(key.strip(), page, book) for key in text.split(','))}]"
    if role == "math":
        return f"${text}$"
    if role == "term":
        return shown
    if role.startswith("py:"):
        return f"`{shown.lstrip('~').removeprefix('imggen_lib.')}`"
    raise NotExported(f"{page} has the role {role}, which is not exported")


def link(text: str, other: str, page: str, book: Book, section: str = "") -> str:
    """Return a link to another page: to its notebook, or else to a section of the published page, or the text alone."""
    if other in book.notebooks:
        return f"[{text}]({os.path.relpath(other, os.path.dirname(page))}.ipynb)"
    published = address(other, book)
    return f"[{text}]({published}{section})" if published else f"*{text}*"


def address(page: str, book: Book) -> str | None:
    """Return the address of a page of the published book, or None if the repository is not known."""
    if not book.repository:
        return None
    owner, name = book.repository.split("/")
    return f"https://{owner}.github.io/{name}/{page}.html"


def resolve(page: str, target: str) -> str:
    """Return the path of a page that another page names, relative to itself or, with a slash, to the book.

    >>> resolve("chapters/gan/first_gan", "../vae/first_vae")
    'chapters/vae/first_vae'
    """
    return target.lstrip("/") if target.startswith("/") else os.path.normpath(os.path.join(os.path.dirname(page), target))


def citation(key: str, page: str, book: Book) -> str:
    """Return author and year of an entry of the bibliography, with a link if it has an address."""
    if key not in book.entries:
        raise NotExported(f"{page} cites {key}, which references.bib does not have")
    entry = book.entries[key]
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [" ".join(str(part) for part in person.rich_last_names) for person in people]
    who = (
        names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} et al." if names else key
    )
    fields = entry.fields
    where = fields.get("url") or (f"https://doi.org/{fields['doi']}" if "doi" in fields else None)
    if where is None and "eprint" in fields:
        where = f"https://arxiv.org/abs/{fields['eprint']}"
    text = f"{who}, {fields['year']}"
    return f"[{text}]({where})" if where else text


if __name__ == "__main__":
    sys.exit(main())
