import asyncio
import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from imggen_lib.notebook import widgets
from imggen_lib.notebook.playground import Playground


@pytest.fixture(scope="module")
def compiled():
    playground = Playground(width=8, depth=1)
    playground.step()
    return playground


@pytest.fixture
def panel(compiled):
    compiled.generator_rate = compiled.discriminator_rate = 2e-3
    compiled.change(data="ring", loss="non_saturating", width=8)
    return widgets.Controls(compiled)


def test_every_widget_has_a_description_and_starts_at_the_value_of_the_playground(panel):
    by_name = panel.settings | panel.rates
    expected = {name: getattr(panel.playground, name) for name in by_name} | {"penalty": "none"}
    assert {name: widget.value for name, widget in by_name.items()} == expected
    for widget in (*by_name.values(), panel.step_button, panel.run_button, panel.reset_button):
        assert widget.description
    assert {*panel.settings} == {"data", "loss", "penalty", "width", "depth", "seed"}


def test_the_step_button_makes_ten_steps_and_updates_the_figure(panel):
    before = panel.figure.value
    panel.step_button.click()
    assert panel.playground.steps == 10 and "Step 10:" in panel.status.value
    assert panel.figure.value != before and 'alt="Real and generated points' in panel.figure.value
    image = base64.b64decode(re.search('base64,([^"]*)"', panel.figure.value)[1])
    assert Image.open(io.BytesIO(image)).width > 600
    assert plt.get_fignums() == []


def test_a_new_setting_and_the_reset_button_start_from_the_beginning(panel):
    panel.step_button.click()
    panel.settings["data"].value = "bar"
    assert (panel.playground.steps, panel.playground.data) == (0, "bar") and "Step 0:" in panel.status.value
    panel.step_button.click()
    panel.reset_button.click()
    assert panel.playground.steps == 0 and "Step 0:" in panel.status.value
    panel.settings["penalty"].value = "r1"
    assert panel.playground.penalty == "r1"
    panel.settings["penalty"].value = "none"
    assert panel.playground.penalty is None


def test_a_new_learning_rate_keeps_the_state(panel):
    panel.step_button.click()
    panel.rates["generator_rate"].value = 0.05
    panel.rates["discriminator_rate"].value = 0
    optimizer = panel.playground.gan.optimizer
    assert np.isclose(float(optimizer.learning_rate), 0.05) and float(optimizer.discriminator_rate) == 0
    assert panel.playground.steps == 10


def test_run_continues_until_paused_and_other_widgets_work_meanwhile(panel):
    async def reader():
        panel.run_button.value = True
        assert panel.run_button.description == "Pause"
        while panel.playground.steps < 60:
            await asyncio.sleep(0.01)
        # A change during a run restarts the training.
        panel.settings["seed"].value = 3
        while panel.playground.steps < 20:
            await asyncio.sleep(0.01)
        panel.run_button.value = False
        # Pressing the button again before the task ends does not start a second task.
        task, panel.run_button.value, panel.run_button.value = panel.task, True, False
        assert panel.task is task
        await task
        steps = panel.playground.steps
        await asyncio.sleep(0.1)
        assert panel.playground.steps == steps and panel.run_button.description == "Run"

    asyncio.run(asyncio.wait_for(reader(), 20))


def test_a_run_ends_after_the_largest_number_of_steps(panel, monkeypatch):
    monkeypatch.setattr(panel, "MAX_STEPS", 40)

    async def reader():
        panel.run_button.value = True
        await panel.task

    asyncio.run(asyncio.wait_for(reader(), 20))
    assert panel.playground.steps == 40 and not panel.run_button.value


def test_an_error_stops_the_run_and_is_shown_as_the_status(panel, monkeypatch):
    panel.playground.generator_rate = panel.playground.discriminator_rate = 1e30

    async def reader():
        panel.run_button.value = True
        await panel.task

    asyncio.run(asyncio.wait_for(reader(), 20))
    assert not panel.run_button.value and "diverged" in panel.status.value and "Traceback" not in panel.status.value

    def broken(n):
        raise RuntimeError("<broken>")

    monkeypatch.setattr(panel.playground, "step", broken)
    panel.step_button.click()
    assert "Traceback" in panel.status.value and "RuntimeError: &lt;broken&gt;" in panel.status.value


def test_controls_are_shown_only_in_an_interactive_notebook(panel, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    widgets.show(panel.playground)
    assert shown == [] and plt.get_fignums() == []
    monkeypatch.setattr(widgets, "is_interactive", lambda: True)
    widgets.show(panel.playground)
    assert len(shown) == 1 and shown[0].children[-1].value.startswith("Step 0")
