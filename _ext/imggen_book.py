"""What the book needs beyond Sphinx and its extensions: tables of coverage, and docstrings as this library writes them."""

from itertools import groupby
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from myst_parser.mdit_to_docutils.base import default_slugify
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import signature, stringify_signature

COVERAGE = Path(__file__).with_name("coverage.yml")


class Coverage(SphinxDirective):
    """The table of what one of the five texts has, in its order, and where the book has it: ``{coverage} A``."""

    required_arguments = 1

    def run(self):
        """Write the table in Markdown, and have it read like the rest of the page."""
        coverage = yaml.safe_load(COVERAGE.read_text())
        rows = ["| section | what is there | in this book |", "|---|---|---|"]
        for part, said in parts_of(coverage, self.arguments[0]):
            what = f"*Put right:* {part['what']}" if part.get("mistake") else part["what"]
            pages = groupby(part["where"], key=lambda place: place["page"])
            places = [self._link(page, [place.get("at") for place in group]) for page, group in pages]
            rows.append(f"| {'; '.join(said)} | {what} | {'<br>'.join(places)} |")
        node = nodes.Element()
        self.state.nested_parse(StringList(rows), self.content_offset, node)
        return node.children

    def _link(self, page, headings):
        """Name a page, and headings on it, by their own titles; a dead one is a warning of Sphinx's."""
        file = self.env.doc2path(f"chapters/{page}", base=False)
        links = [f"[](/{file}#{default_slugify(heading.replace('`', ''))})" for heading in headings if heading]
        return f"{{doc}}`/chapters/{page}`" + (f": {'; '.join(links)}" if links else "")


def parts_of(coverage, letter):
    """Return the parts that one text has, in its order, mistakes last in their section, each with the sections in words."""
    sections = coverage["texts"][letter]["sections"]
    order = list(sections)
    parts = [part for part in coverage["parts"] if letter in part["in"]]
    parts.sort(key=lambda part: (order.index(part["in"][letter][0]), part.get("mistake", False)))
    return [(part, [f"{sections[number]} ({number})" for number in part["in"][letter]]) for part in parts]


def show_constructor(app, what, name, thing, options, shown, returns):
    """Show the arguments of ``__init__``, which Keras's classes hide behind ``*args, **kwargs``."""
    if what == "class" and shown == "(*args, **kwargs)":
        return stringify_signature(signature(thing.__init__, bound_method=True)), returns
    return None


def keep_colons(app, what, name, thing, options, lines):
    """Keep what stands before a colon, in the description of a constant or property, from being taken for its type."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"


def say_what_else(app, what, name, thing, options, lines):
    """Say after the first paragraph which names of others a room hands on, and what a class has from one of ours."""
    said = []
    if what == "module":
        handed_on = [getattr(thing, key) for key in getattr(thing, "__all__", ())]
        said = [link("obj", one) for one in handed_on if getattr(one, "__module__", name) != name]
        said = [f"Also to be had from here: {', '.join(said)}."] if said else []
    elif what == "class":
        seen = {*vars(thing), *options["exclude-members"]}
        for base in thing.__mro__[1:]:
            if not base.__module__.startswith("imggen_lib."):
                continue
            new = [key for key, one in vars(base).items() if key not in seen and key[0] != "_" and one.__doc__]
            new = [key for key in new if callable(getattr(base, key)) or isinstance(vars(base)[key], property)]
            if new:
                methods = ", ".join(f":py:obj:`~{base.__module__}.{base.__qualname__}.{key}`" for key in new)
                said.append(f"{'from' if said else 'From'} {link('class', base)} it has {methods}")
            seen |= set(vars(base))
        said = ["; ".join(said) + "."] if said else []
    if said:
        end = lines.index("") if "" in lines else len(lines)
        lines[end:end] = ["", *said]


def link(role, thing):
    """Refer to a thing where it is defined, by its own name."""
    return f":py:{role}:`~{thing.__module__}.{thing.__qualname__}`"


def setup(app):
    """Tell Sphinx."""
    app.add_directive("coverage", Coverage)
    app.connect("autodoc-process-signature", show_constructor)
    # Before napoleon, which comes at 500.
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", say_what_else, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
