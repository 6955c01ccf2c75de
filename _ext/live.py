"""Live figures: figures that compute in the reader's browser.

::

    ```{figure} ../../_static/live/gan.png
    :alt: Sixteen garments and, below them, a row that changes from a boot into a shirt.
    **The latent space of a GAN.** Move the sliders: the generator of this page computes each image in your browser.
    ```

A figure whose image is ``_static/live/NAME.png``, the still image, is a live figure. The file ``_static/live/NAME.js``, the
script, belongs to it. The option ``alt`` describes the still image. The caption begins with the title of the figure in
bold, which its start button repeats. JupyterLab shows an ordinary figure.

The page shows the still image, the caption and, where scripts run, a start button. The button belongs to ``start.js``, the
only script that the page loads. When the reader presses it, ``start.js`` loads ``live.js``, which loads the figure and
the scripts that the figure needs. All of them are classic scripts, so the figures also work in a page opened from disk.
``live.js`` describes what the script of a figure must provide.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import imagesize
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.directives.patches import Figure
from sphinx.util.docutils import SphinxDirective

FOLDER = "live"


class LiveFigure(nodes.General, nodes.Element):
    """A live figure; its children are the caption."""


class Live(Figure, SphinxDirective):
    """The directive ``{figure}``, which makes a live figure of a still image of one."""

    def run(self) -> list[nodes.Node]:
        """Return the figure.

        Raises
        ------
        docutils.parsers.rst.DirectiveError
            If a file of a live figure, the description of its still image, or the title in its caption is missing.
        """
        still = re.search(rf"(?:^|/)_static/{FOLDER}/(\w+)\.png$", self.arguments[0])
        if still is None:
            return super().run()
        name = still[1]
        for file in (f"{name}.js", f"{name}.png"):
            if not (Path(self.env.srcdir) / "_static" / FOLDER / file).is_file():
                raise self.error(f"the live figure {name} has no file _static/{FOLDER}/{file}")
        figure = LiveFigure(name=name, alt=self.options.get("alt", ""))
        self.set_source_info(figure)
        self.state.nested_parse(self.content, self.content_offset, figure)
        title = next(figure.findall(nodes.strong), None)
        if not figure["alt"] or title is None:
            needed = "the option alt, which describes its image, and a caption with a title in bold"
            raise self.error(f"the live figure {name} needs {needed}")
        figure["title"] = title.astext().rstrip(".")
        return [figure]


def visit_html(self: Any, node: LiveFigure) -> None:
    """Write the figure up to its caption."""
    static = f"{self.builder.get_relative_uri(self.builder.current_docname, 'index').rpartition('/')[0] or '.'}/_static"
    name, alt, title = (self.attval(node[key]) for key in ("name", "alt", "title"))
    # The file has two pixels for each of the page.
    width, height = (
        size // 2 for size in imagesize.get(Path(self.builder.srcdir) / "_static" / FOLDER / f"{node['name']}.png")
    )
    self.body.append(
        f'<figure class="live" id="live-{name}" data-live="{name}" data-folder="{static}/{FOLDER}/">\n'
        f'<img class="live-still" src="{static}/{FOLDER}/{name}.png" alt="{alt}" '
        f'width="{width}" height="{height}" loading="lazy">\n'
        '<div class="live-body" hidden></div>\n'
        f'<button type="button" class="live-start" hidden>Start the live figure: {title}</button>\n'
        '<p class="live-status" role="status"></p>\n'
        "<noscript><p>The live figure needs JavaScript.</p></noscript>\n<figcaption>\n"
    )


def depart_html(self: Any, node: LiveFigure) -> None:
    """Close the figure."""
    self.body.append("</figcaption>\n</figure>\n")


def visit_text(self: Any, node: LiveFigure) -> None:
    """Write only the caption where there are no images."""


def leave_to_figures(app: Sphinx, config: Config) -> None:
    """Remove the scripts and style sheets of live figures from the lists of every page.

    Jupyter Book adds all scripts and style sheets under ``_static`` to every page.
    """
    for files in (config.html_js_files, config.html_css_files):
        files[:] = [file for file in files if not str(file).startswith(f"{FOLDER}/")]


def add_to_page(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Add the script that starts figures, and their style sheet, to the pages that have figures."""
    if tree is not None and next(tree.findall(LiveFigure), None) is not None:
        app.add_js_file(f"{FOLDER}/start.js", loading_method="defer")
        app.add_css_file(f"{FOLDER}/live.css")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, its node and the event handlers."""
    nothing = (visit_text, visit_text)
    app.add_node(LiveFigure, html=(visit_html, depart_html), latex=nothing, text=nothing)
    app.add_directive("figure", Live, override=True)
    app.connect("config-inited", leave_to_figures)
    app.connect("html-page-context", add_to_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
