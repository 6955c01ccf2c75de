"""Sphinx extension of the book: tables and reference pages made from their sources, and details of autodoc."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import signature, stringify_signature

LIBRARY = "imggen_lib"
# Data and the script of the command line, which have no functions for readers.
WITHOUT_REFERENCE = ("data", "__main__")


class MarkdownDirective(SphinxDirective):
    """A directive that writes Markdown, which is parsed like the rest of the page."""

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the Markdown. Its sections become sections of the page."""
        node = nodes.Element()
        self.state.nested_parse(StringList(self.markdown()), self.content_offset, node, match_titles=True)
        return node.children

    def markdown(self) -> list[str]:
        """Return the lines of Markdown."""
        raise NotImplementedError


class Library(MarkdownDirective):
    """The reference of modules and packages: ``{library} convolution noise``. Without arguments, a table of all of them.

    There is one section for each module and each package, with a section for each public module in the package, so a new
    module needs no entry on the page. A section begins with a table of the functions and classes that the module defines.
    The option ``without`` names packages that another page shows.
    """

    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {"without": str.split}

    def markdown(self) -> list[str]:
        """Return sections with ``automodule``, or the table."""
        if not self.arguments:
            rows = [f"| {{py:mod}}`~{name}` | {summary(name)} |" for name in public_modules() if name.count(".") == 1]
            return ["| module | contents |", "|---|---|", *rows]
        lines = []
        for argument in self.arguments[0].split():
            for name in public_modules(f"{LIBRARY}.{argument}"):
                if is_in(name, self.options.get("without", [])):
                    continue
                heading = "#" * (1 + name.count(".") - argument.count("."))
                lines += [f"{heading} `{name.removeprefix(f'{LIBRARY}.')}`", ""]
                lines += ["```{eval-rst}", *table_of_names(name), f".. automodule:: {name}", "```", ""]
        return lines


def public_modules(name: str = LIBRARY) -> list[str]:
    """Return the names of a module and of all public modules in it, sorted, each package before its modules.

    A name is public if no part of it begins with an underscore. The library itself is not in the list.
    """
    module = importlib.import_module(name)
    found = [] if name == LIBRARY else [name]
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not info.name.startswith("_") and info.name not in WITHOUT_REFERENCE:
            found += public_modules(f"{name}.{info.name}")
    return found


def is_in(name: str, packages: list[str]) -> bool:
    """Return whether a module is one of the packages or in one of them.

    >>> is_in("imggen_lib.models.vq.prior", ["models.vq"])
    True
    """
    return any(f"{name}.".startswith(f"{LIBRARY}.{package}.") for package in packages)


def summary(name: str) -> str:
    """Return the first paragraph of a module's docstring on one line, for a cell of a Markdown table."""
    documentation = importlib.import_module(name).__doc__ or ""
    return " ".join(documentation.strip().split("\n\n")[0].split()).replace("|", r"\|")


def table_of_names(name: str) -> list[str]:
    """Return lines of reStructuredText: a table of what a module defines, with the first paragraphs of the docstrings.

    A module with a single function or class has no table.
    """
    module = importlib.import_module(name)
    rows = []
    for key in getattr(module, "__all__", ()):
        item = getattr(module, key)
        if (inspect.isclass(item) or inspect.isroutine(item)) and item.__module__ == name:
            paragraph = " ".join((inspect.getdoc(item) or "").split("\n\n")[0].split())
            # The docstring of a class names its own methods without the class, which the table is not inside.
            paragraph = re.sub(r":(meth|attr):`(\w+)`", rf":\1:`~{key}.\2`", paragraph)
            rows += [f"   * - :py:obj:`~{name}.{key}`", f"     - {paragraph}"]
    if len(rows) < 4:
        return []
    head = [".. list-table::", "   :header-rows: 1", "   :widths: auto", "", "   * - name", "     - summary"]
    return [f".. py:currentmodule:: {name}", "", *head, *rows, ""]


class Needs(MarkdownDirective):
    """A table of the notebooks and the pages that each builds on: those that its first box links to after "You need"."""

    def markdown(self) -> list[str]:
        """Return the table."""
        lines = ["| page | builds on |", "|---|---|"]
        for page, text in notebook_texts(Path(self.env.srcdir)):
            links = ", ".join(f"{{doc}}`/{needed}`" for needed in needed_pages(page, text))
            lines.append(f"| {{doc}}`/{page}` | {links} |")
        return lines


class Exercises(MarkdownDirective):
    """A list of the exercises of all pages, with links."""

    def markdown(self) -> list[str]:
        """Return the list, with a heading for each page."""
        lines = []
        for page, text in notebook_texts(Path(self.env.srcdir)):
            found = re.findall(r"\{exercise-start\} *(.+)\n:label: ([\w-]+)", text)
            if found:
                lines += [f"**{{doc}}`/{page}`**", "", *(f"- {{ref}}`{title} <{label}>`" for title, label in found), ""]
        return lines


def notebook_texts(source: Path) -> list[tuple[str, str]]:
    """Return the notebooks of the book in their order, each with its text."""
    contents = (source / "_toc.yml").read_text()
    pages = [found for found in re.findall(r"file: (\S+)", contents) if (source / f"{found}.ipynb").is_file()]
    return [
        (page, "\n".join("".join(cell["source"]) for cell in json.loads((source / f"{page}.ipynb").read_text())["cells"]))
        for page in pages
    ]


def needed_pages(page: str, text: str) -> list[str]:
    """Return the pages that the first box of a page links to between "You need" and "It runs in".

    >>> needed_pages("chapters/gan/first_gan", "**You need** sums ([bound](../vae/bound.ipynb)). **It runs in** a minute.")
    ['chapters/vae/bound']
    """
    found = re.search(r"\*\*You need\*\*(.*?)\*\*It runs in", text, re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)\.ipynb", found[1] if found else "")
    paths = [os.path.normpath(os.path.join(os.path.dirname(page), target)) for target in targets]
    return list(dict.fromkeys(paths))


def show_constructor(
    app: Sphinx, what: str, name: str, item: Any, options: Any, shown: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Show the arguments of ``__init__``, which Keras's classes hide behind ``*args, **kwargs``."""
    if what == "class" and shown == "(*args, **kwargs)":
        arguments = signature(item.__init__, bound_method=True)
        return stringify_signature(arguments, show_annotation=False, show_return_annotation=False), returns
    return None


def skip_private(app: Sphinx, what: str, name: str, item: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a module defines but does not name in ``__all__``."""
    module = importlib.import_module(app.env.temp_data["autodoc:module"])
    return True if what == "module" and name not in getattr(module, "__all__", ()) else None


def keep_colons(app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Prevent napoleon from taking the text before a colon, in the description of a constant or property, for its type."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"


def list_other_names(app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Add, after the first paragraph, the names that a package re-exports and the methods that a class inherits."""
    sentences = []
    if what == "module":
        exported = [getattr(item, key) for key in getattr(item, "__all__", ())]
        links = [link("obj", one) for one in exported if getattr(one, "__module__", name) != name]
        if links:
            sentences.append(f"Also exported from here: {', '.join(links)}.")
    elif what == "class":
        described = {*vars(item), *options["exclude-members"]}
        for base in item.__mro__[1:]:
            if not base.__module__.startswith(f"{LIBRARY}."):
                continue
            inherited = [key for key, one in vars(base).items() if key not in described and key[0] != "_" and one.__doc__]
            inherited = [key for key in inherited if callable(getattr(base, key)) or isinstance(vars(base)[key], property)]
            if inherited:
                links = [f":py:obj:`~{base.__module__}.{base.__qualname__}.{key}`" for key in inherited]
                sentences.append(f"Inherited from {link('class', base)}: {', '.join(links)}.")
            described |= set(vars(base))
    if sentences:
        end = lines.index("") if "" in lines else len(lines)
        lines[end:end] = ["", " ".join(sentences)]


def resolve_other_names(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> Any:
    """Resolve references to names that a package re-exports and to methods that a class inherits.

    ``:func:`imggen_lib.training.run``` leads to the module that defines the function, and ``:meth:`sample```, in a model
    family, to the base class.
    """
    if node["refdomain"] != "py":
        return None
    context = [part for part in (node.get("py:module"), node.get("py:class")) if part]
    for length in range(len(context), -1, -1):
        name = defined_as(".".join([*context[:length], node["reftarget"]]))
        if name:
            return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, content)
    return None


def defined_as(name: str) -> str | None:
    """Return the full name of an object in the module that defines it, or None if the library has no such object."""
    parts = name.split(".")
    if parts[0] != LIBRARY:
        return None
    item: Any = importlib.import_module(LIBRARY)
    for index, part in enumerate(parts[1:], 1):
        if inspect.isclass(item):
            # A method or property, which must be the last part of the name.
            owners = [base for base in item.__mro__ if part in vars(base) and index == len(parts) - 1]
            return f"{owners[0].__module__}.{owners[0].__qualname__}.{part}" if owners else None
        if not hasattr(item, part):
            return None
        item = getattr(item, part)
    return f"{item.__module__}.{item.__qualname__}" if hasattr(item, "__qualname__") else None


def link(role: str, item: Any) -> str:
    """Return a reference to a class or function at the place where it is defined."""
    return f":py:{role}:`~{item.__module__}.{item.__qualname__}`"


def number_by_page(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Number figures and tables from 1 on each page; Sphinx counts through all pages of a part without numbers."""
    for kinds in env.toc_fignumbers.values():
        for numbers in kinds.values():
            numbers.update({label: (number,) for number, label in enumerate(numbers, start=1)})
    return []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives and the event handlers."""
    app.add_directive("library", Library)
    app.add_directive("needs", Needs)
    app.add_directive("exercises", Exercises)
    app.connect("autodoc-skip-member", skip_private)
    app.connect("autodoc-process-signature", show_constructor)
    app.connect("missing-reference", resolve_other_names)
    # After Sphinx has counted, with the priority 500.
    app.connect("env-get-updated", number_by_page, priority=800)
    # Before napoleon, which has the priority 500.
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", list_other_names, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
