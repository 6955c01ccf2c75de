"""The controls of a playground: widgets for a live notebook, which call nothing but what the playground offers."""

import asyncio
import base64
import html
import inspect
import io
import traceback

import matplotlib.pyplot as plt

from imggen_lib import _validation as validate
from imggen_lib.models.gan.losses import LOSSES, PENALTIES
from imggen_lib.notebook.figures import show_images
from imggen_lib.notebook.playground import SOURCES, Playground
from imggen_lib.notebook.profile import is_interactive
from imggen_lib.training.callbacks import Diverged

#: Decoded before it is shown, so that nothing flickers while the game runs.
_PICTURE = """<img alt="The game in the plane and both losses so far; the line below says in words where it stands."
decoding="sync" style="max-width: 100%" src="data:image/png;base64,{}">"""


class Controls:
    """The widgets of a playground: its choices and rates, three buttons, the picture, and a line that says it in words.

    Parameters
    ----------
    playground : Playground

    Attributes
    ----------
    box : ipywidgets.Widget
        All of them.
    choices, rates : dict
        The widgets by the name of what they set.
    one, run, again : ipywidgets.Button
        Ten steps; steps until it is pressed again, at most :data:`LIMIT`; a new beginning.

    Examples
    --------
    >>> controls = Controls(Playground("bar", width=8, depth=1))
    >>> controls.choices["data"].value
    'bar'
    """

    #: So that a forgotten playground does not compute for ever.
    LIMIT = 10_000

    def __init__(self, playground):
        import ipywidgets

        self.playground, self.task = playground, None
        look = {"layout": {"width": "auto"}, "style": {"description_width": "9em"}}

        def options(name, values):
            return sorted({*values, getattr(playground, name)})

        names = {
            "data": list(SOURCES),
            "loss": [(name.replace("_", "-"), name) for name in LOSSES],
            # A dropdown shows nothing for None.
            "penalty": [str(name).lower() for name in PENALTIES],
            "width": options("width", [4, 8, 16, 32, 64]),
            "depth": options("depth", [1, 2, 3]),
            "seed": options("seed", range(10)),
        }
        now = {name: getattr(playground, name) for name in names} | {"penalty": str(playground.penalty).lower()}
        self.choices = {
            name: ipywidgets.Dropdown(options=values, value=now[name], description=name, **look)
            for name, values in names.items()
        }
        steps = [0, *(digit * 10**power for power in (-4, -3, -2) for digit in (1.0, 2.0, 5.0)), 0.1]
        self.rates = {
            name: ipywidgets.SelectionSlider(
                options=[(f"{rate:g}", rate) for rate in options(name, steps)],
                value=getattr(playground, name),
                description=name.replace("_", " "),
                **look,
            )
            for name in ("generator_rate", "discriminator_rate")
        }
        for name, widget in self.choices.items():
            widget.observe(lambda change, name=name: self._choose(name, change["new"]), "value")
        for name, widget in self.rates.items():
            widget.observe(lambda change, name=name: setattr(playground, name, change["new"]), "value")
        self.one = ipywidgets.Button(description="Step (10)", tooltip="Make ten steps")
        self.run = ipywidgets.ToggleButton(description="Run", tooltip="Run or pause the game")
        self.again = ipywidgets.Button(description="Reset", tooltip="Begin anew with the same choices")
        self.one.on_click(lambda button: self._do(playground.step, 10))
        self.run.observe(self._toggle, "value")
        self.again.on_click(lambda button: self._do(playground.reset))
        # Not an Image, which can have no text for those who cannot see it.
        self.picture, self.words = ipywidgets.HTML(), ipywidgets.HTML()

        def grid(widgets, width):
            columns = f"repeat(auto-fit, minmax({width}px, 1fr))"
            return ipywidgets.GridBox([*widgets.values()], layout={"grid_template_columns": columns, "max_width": "780px"})

        rows = grid(self.choices, 240), grid(self.rates, 360), ipywidgets.HBox([self.one, self.run, self.again])
        self.box = ipywidgets.VBox([*rows, self.picture, self.words])
        self._do(lambda: None)

    def _choose(self, name, value):
        self._do(self.playground.change, **{name: None if value == "none" else value})

    def _do(self, action, *args, **options):
        """Change the game and show it; what goes wrong ends a run and is shown in place of the words."""
        try:
            if action == self.playground.step and self.playground.gan.train_function is None:
                self.words.value = "Compiling this game, which takes a few seconds …"
            action(*args, **options)
            figure, file = self.playground.draw(), io.BytesIO()
            figure.savefig(file, format="png")
            plt.close(figure)
            self.picture.value = _PICTURE.format(base64.b64encode(file.getvalue()).decode())
            self.words.value = self.playground.describe()
        except Exception as error:
            self.run.value = False
            text = str(error) if isinstance(error, Diverged) else traceback.format_exc()
            self.words.value = f"<pre role='alert' style='white-space: pre-wrap'>{html.escape(text)}</pre>"

    def _toggle(self, change):
        self.run.description = "Pause" if change["new"] else "Run"
        if change["new"] and (self.task is None or self.task.done()):
            self.task = asyncio.get_event_loop().create_task(self._play())

    async def _play(self):
        end = self.playground.steps + self.LIMIT
        while self.run.value and self.playground.steps < end:
            self._do(self.playground.step, 2 * Playground.GROUP)
            # Meanwhile the kernel hears what else the reader does.
            await asyncio.sleep(0.05)
        self.run.value = False


def show(playground):
    """Show a playground with its controls, where somebody is there to use them.

    Where nobody is, as when pytest executes the page, its picture is drawn once, to see that it can be, and not shown.

    Parameters
    ----------
    playground : Playground

    See Also
    --------
    interactive : the same for a single function.

    Examples
    --------
    >>> show(Playground("bar", width=8, depth=1))
    """
    if is_interactive():
        from IPython.display import display

        display(Controls(playground).box)
    else:
        plt.close(playground.draw())


def interactive(draw, **sliders):
    """Let the reader move a picture's numbers by sliders, where somebody is there to move them.

    In a live notebook (JupyterLab, Colab, VS Code) this shows one slider for each name and draws again whenever one moves.
    Where pytest executes the page, as it does for the book, and outside a notebook, it draws once, to see that it can,
    and shows nothing: the built page holds a static sequence in its place and no widget.

    Parameters
    ----------
    draw : callable
        Takes the sliders' values by name, each with a default where its slider starts. Returns a picture ``(height,
        width[, channels])`` in [0, 1], a list of such pictures to show side by side, or the figure that it drew.
    **sliders : tuple or list
        ``(lowest, highest)`` or ``(lowest, highest, step)``, whole numbers or not; or a list of values to choose from.

    Raises
    ------
    ValueError
        If a slider is no parameter of ``draw``, or a parameter has no default.

    See Also
    --------
    ipywidgets.interactive : what makes the sliders.

    Examples
    --------
    >>> interactive(lambda grey=0.5: np.full((8, 8), grey), grey=(0.0, 1.0, 0.1))
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(draw).parameters.items()}
    for name in sliders:
        validate.choice(name, "slider", defaults)
    for name, default in defaults.items():
        if default is inspect.Parameter.empty:
            raise ValueError(f"{name} has no default in draw; expected one, where the slider starts")

    def show(**values):
        drawn = draw(**values)
        if not (drawn is None or isinstance(drawn, plt.Figure)):
            pictures = drawn if isinstance(drawn, list) else [drawn]
            show_images(pictures, columns=len(pictures), scale=min(3.4, 6.8 / len(pictures)))

    if is_interactive():
        import ipywidgets
        from IPython.display import display

        # A default, not the middle, is where a slider starts: interactive reads it from draw's signature.
        show.__signature__ = inspect.signature(draw)
        display(ipywidgets.interactive(show, **sliders))
    else:
        before = plt.get_fignums()
        show()
        for number in set(plt.get_fignums()) - set(before):
            plt.close(number)
