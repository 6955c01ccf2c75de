"""Widgets of a live notebook: sliders for the parameters of a figure, and the controls of a playground."""

from __future__ import annotations

import asyncio
import base64
import html
import inspect
import io
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt

from imggen_lib import _validation as validate
from imggen_lib.notebook.figures import show_images
from imggen_lib.notebook.profile import is_interactive

if TYPE_CHECKING:
    import ipywidgets

    from imggen_lib.notebook.playground import Playground

__all__ = ["Controls", "interactive", "show"]

# With decoding="sync" the browser decodes an image before it shows it, so the figure does not flicker during a run.
_IMAGE = """<img alt="Real and generated points in the plane, and both losses; the line below gives the numbers."
decoding="sync" style="max-width: 100%" src="data:image/png;base64,{}">"""


class Controls:
    """The widgets of a playground: settings, learning rates, three buttons, the figure, and a line with its status.

    Parameters
    ----------
    playground : imggen_lib.notebook.playground.Playground

    Attributes
    ----------
    box : ipywidgets.Widget
        All widgets together.
    settings, rates : dict
        The widgets of the settings and of the learning rates, by the name of the playground's attribute.
    step_button, run_button, reset_button : ipywidgets.Button
        Make ten steps; make steps until the button is pressed again, at most :attr:`MAX_STEPS`; start from the beginning.
    figure, status : ipywidgets.HTML

    Examples
    --------
    A widget starts at the value of its setting, and a new value of the widget changes the setting:

    >>> from imggen_lib.notebook.playground import Playground
    >>> controls = Controls(Playground("bar", width=8, depth=1))
    >>> controls.settings["data"].value
    'bar'
    >>> controls.settings["data"].value = "ring"
    >>> controls.playground.data
    'ring'
    """

    #: The most steps of one run, so that a forgotten playground stops computing.
    MAX_STEPS = 10_000

    def __init__(self, playground: Playground) -> None:
        import ipywidgets

        from imggen_lib.models.gan import LOSSES, PENALTIES
        from imggen_lib.notebook.playground import SOURCES

        self.playground = playground
        self.task: asyncio.Task[None] | None = None
        style = {"layout": {"width": "auto"}, "style": {"description_width": "9em"}}

        def options(name: str, values: Iterable[Any]) -> list[Any]:
            return sorted({*values, getattr(playground, name)})

        choices = {
            "data": list(SOURCES),
            "loss": [(name.replace("_", "-"), name) for name in LOSSES],
            # Text instead of None, because a dropdown shows an empty field for None.
            "penalty": [str(name).lower() for name in PENALTIES],
            "width": options("width", [4, 8, 16, 32, 64]),
            "depth": options("depth", [1, 2, 3]),
            "seed": options("seed", range(10)),
        }
        present = {name: getattr(playground, name) for name in choices} | {"penalty": str(playground.penalty).lower()}
        self.settings: dict[str, ipywidgets.Dropdown] = {
            name: ipywidgets.Dropdown(options=values, value=present[name], description=name, **style)
            for name, values in choices.items()
        }
        rates = [0, *(digit * 10**power for power in (-4, -3, -2) for digit in (1.0, 2.0, 5.0)), 0.1]
        self.rates: dict[str, ipywidgets.SelectionSlider] = {
            name: ipywidgets.SelectionSlider(
                options=[(f"{rate:g}", rate) for rate in options(name, rates)],
                value=getattr(playground, name),
                description=name.replace("_", " "),
                **style,
            )
            for name in ("generator_rate", "discriminator_rate")
        }
        for name, widget in self.settings.items():
            widget.observe(lambda change, name=name: self._change_setting(name, change["new"]), "value")
        for name, widget in self.rates.items():
            widget.observe(lambda change, name=name: setattr(playground, name, change["new"]), "value")
        self.step_button: ipywidgets.Button = ipywidgets.Button(description="Step (10)", tooltip="Make ten training steps")
        self.run_button: ipywidgets.ToggleButton = ipywidgets.ToggleButton(
            description="Run", tooltip="Run or pause the training"
        )
        self.reset_button: ipywidgets.Button = ipywidgets.Button(
            description="Reset", tooltip="Start again with the same settings"
        )
        self.step_button.on_click(lambda button: self._update(playground.step, 10))
        self.run_button.observe(self._toggle, "value")
        self.reset_button.on_click(lambda button: self._update(playground.reset))
        # HTML instead of an Image widget, which cannot have an alt text.
        self.figure: ipywidgets.HTML = ipywidgets.HTML()
        self.status: ipywidgets.HTML = ipywidgets.HTML()

        def grid(widgets: dict[str, ipywidgets.Widget], width: int) -> ipywidgets.GridBox:
            columns = f"repeat(auto-fit, minmax({width}px, 1fr))"
            return ipywidgets.GridBox([*widgets.values()], layout={"grid_template_columns": columns, "max_width": "780px"})

        buttons = ipywidgets.HBox([self.step_button, self.run_button, self.reset_button])
        rows = grid(self.settings, 240), grid(self.rates, 360), buttons
        self.box: ipywidgets.VBox = ipywidgets.VBox([*rows, self.figure, self.status])
        self._show_state()

    def _change_setting(self, name: str, value: Any) -> None:
        self._update(self.playground.change, **{name: None if value == "none" else value})

    def _update(self, action: Callable[..., None], *args: Any, **options: Any) -> None:
        """Apply an action to the playground and show the result. An error stops a run and is shown as the status."""
        from imggen_lib.training.callbacks import Diverged

        try:
            if action == self.playground.step and self.playground.gan.train_function is None:
                self.status.value = "Compiling this model, which takes a few seconds …"
            action(*args, **options)
            self._show_state()
        except Exception as error:
            self.run_button.value = False
            text = str(error) if isinstance(error, Diverged) else traceback.format_exc()
            self.status.value = f"<pre role='alert' style='white-space: pre-wrap'>{html.escape(text)}</pre>"

    def _show_state(self) -> None:
        figure, file = self.playground.plot(), io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
        self.figure.value = _IMAGE.format(base64.b64encode(file.getvalue()).decode())
        self.status.value = self.playground.status()

    def _toggle(self, change: dict[str, Any]) -> None:
        self.run_button.description = "Pause" if change["new"] else "Run"
        if change["new"] and (self.task is None or self.task.done()):
            self.task = asyncio.get_event_loop().create_task(self._run())

    async def _run(self) -> None:
        end = self.playground.steps + self.MAX_STEPS
        while self.run_button.value and self.playground.steps < end:
            self._update(self.playground.step, 2 * self.playground.STEPS_PER_EXECUTION)
            # Lets the kernel handle other widgets between two groups of steps.
            await asyncio.sleep(0.05)
        self.run_button.value = False


def show(playground: Playground) -> None:
    """Show a playground with its controls in a live notebook.

    Elsewhere, for example where pytest executes the page, it plots the playground once, as a check, and shows nothing.

    Parameters
    ----------
    playground : imggen_lib.notebook.playground.Playground

    See Also
    --------
    interactive : sliders for the parameters of a function.

    Examples
    --------
    >>> from imggen_lib.notebook.playground import Playground
    >>> show(Playground("bar", width=8, depth=1))
    """
    if is_interactive():
        from IPython.display import display

        display(Controls(playground).box)
    else:
        plt.close(playground.plot())


def interactive(function: Callable[..., Any], **sliders: tuple[float, ...] | list[Any]) -> None:
    """Show the result of a function with a slider for each parameter, in a live notebook.

    In a live notebook (JupyterLab, Colab, VS Code) the function is called again whenever a slider moves. Elsewhere, for
    example where pytest executes the page for the book, it is called once, as a check, and nothing is shown: the built
    page has a static figure in its place.

    Parameters
    ----------
    function : callable
        Takes the values of the sliders by name. Each parameter has a default, at which its slider starts. Returns an image
        ``(height, width[, channels])`` in [0, 1], a list of images to show in a row, or the matplotlib figure that it
        plotted.
    **sliders : tuple or list
        ``(lowest, highest)`` or ``(lowest, highest, step)``, integers or floats; or a list of values to choose from.

    Raises
    ------
    ValueError
        If a slider is not a parameter of ``function``, or a parameter has no default.

    See Also
    --------
    ipywidgets.interactive : the function that creates the sliders.

    Examples
    --------
    >>> import numpy as np
    >>> interactive(lambda grey=0.5: np.full((8, 8), grey), grey=(0.0, 1.0, 0.1))
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    for name in sliders:
        validate.choice(name, "slider", defaults)
    for name, default in defaults.items():
        if default is inspect.Parameter.empty:
            raise ValueError(f"the parameter {name} has no default; give it one, at which its slider starts")

    def call(**values: Any) -> None:
        result = function(**values)
        if not (result is None or isinstance(result, plt.Figure)):
            images = result if isinstance(result, list) else [result]
            show_images(images, columns=len(images), scale=min(3.4, 6.8 / len(images)))

    if is_interactive():
        import ipywidgets
        from IPython.display import display

        # ipywidgets reads the defaults from the signature; without them a slider would start in the middle.
        call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        display(ipywidgets.interactive(call, **sliders))
    else:
        before = plt.get_fignums()
        call()
        for number in set(plt.get_fignums()) - set(before):
            plt.close(number)
