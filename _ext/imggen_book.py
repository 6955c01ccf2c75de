"""What the book needs beyond Sphinx and its extensions: tables of where it has what the five texts have."""

from itertools import groupby
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from myst_parser.mdit_to_docutils.base import default_slugify
from sphinx.util.docutils import SphinxDirective

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


def setup(app):
    """Tell Sphinx."""
    app.add_directive("coverage", Coverage)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
