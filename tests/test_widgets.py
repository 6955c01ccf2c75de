import asyncio
import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from imggen_lib.notebook import figures, widgets
from imggen_lib.notebook.playground import Playground


@pytest.fixture(scope="module")
def inference_function():
    playground = Playground(width=8, depth=1)
    playground.step()
    return playground


@pytest.fixture
def panel(compiled):
    compiled.generator_rate = compiled.discriminator_rate = 2e-3
    compiled.change(data="ring", loss="non_saturating", width=8)
    return controls.Controls(compiled)


def test_every_control_has_a_name_and_starts_at_what_is_played(panel):
    widgets = panel.choices | panel.rates
    expected = {name: getattr(panel.playground, name) for name in widgets} | {"penalty": "none"}
    assert {name: widget.value for name, widget in widgets.items()} == expected
    for widget in (*widgets.values(), panel.one, panel.run, panel.again):
        assert widget.description
    assert {*panel.choices} == {"data", "loss", "penalty", "width", "depth", "seed"}


def test_step_makes_ten_steps_and_shows_them(panel):
    before = panel.picture.value
    panel.one.click()
    assert panel.playground.steps == 10 and "Step 10:" in panel.words.value
    assert panel.picture.value != before and 'alt="The game' in panel.picture.value
    picture = base64.b64decode(re.search('base64,([^"]*)"', panel.picture.value)[1])
    assert Image.open(io.BytesIO(picture)).width > 600
    assert plt.get_fignums() == []


def test_a_choice_begins_anew_and_reset_does(panel):
    panel.one.click()
    panel.choices["data"].value = "bar"
    assert (panel.playground.steps, panel.playground.data) == (0, "bar") and "Step 0:" in panel.words.value
    panel.one.click()
    panel.again.click()
    assert panel.playground.steps == 0 and "Step 0:" in panel.words.value
    panel.choices["penalty"].value = "r1"
    assert panel.playground.penalty == "r1"
    panel.choices["penalty"].value = "none"
    assert panel.playground.penalty is None


def test_a_rate_moves_without_a_new_beginning(panel):
    panel.one.click()
    panel.rates["generator_rate"].value = 0.05
    panel.rates["discriminator_rate"].value = 0
    optimizer = panel.playground.gan.optimizer
    assert np.isclose(float(optimizer.learning_rate), 0.05) and float(optimizer.discriminator_rate) == 0
    assert panel.playground.steps == 10


def test_run_plays_until_it_is_paused_and_others_get_their_turn(panel):
    async def reader():
        panel.run.value = True
        assert panel.run.description == "Pause"
        while panel.playground.steps < 60:
            await asyncio.sleep(0.01)
        # In the middle of a run.
        panel.choices["seed"].value = 3
        while panel.playground.steps < 20:
            await asyncio.sleep(0.01)
        panel.run.value = False
        # Pressed twice at once it does not play twice.
        task, panel.run.value, panel.run.value = panel.task, True, False
        assert panel.task is task
        await task
        steps = panel.playground.steps
        await asyncio.sleep(0.1)
        assert panel.playground.steps == steps and panel.run.description == "Run"

    asyncio.run(asyncio.wait_for(reader(), 20))


def test_a_run_that_nobody_pauses_ends(panel, monkeypatch):
    monkeypatch.setattr(panel, "LIMIT", 40)

    async def reader():
        panel.run.value = True
        await panel.task

    asyncio.run(asyncio.wait_for(reader(), 20))
    assert panel.playground.steps == 40 and not panel.run.value


def test_what_goes_wrong_is_shown_and_ends_the_run(panel, monkeypatch):
    panel.playground.generator_rate = panel.playground.discriminator_rate = 1e30

    async def reader():
        panel.run.value = True
        await panel.task

    asyncio.run(asyncio.wait_for(reader(), 20))
    assert not panel.run.value and "diverged" in panel.words.value and "Traceback" not in panel.words.value

    def broken(n):
        raise RuntimeError("<out of order>")

    monkeypatch.setattr(panel.playground, "step", broken)
    panel.one.click()
    assert "Traceback" in panel.words.value and "RuntimeError: &lt;out of order&gt;" in panel.words.value


def test_it_is_shown_only_where_somebody_is_there(panel, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    widgets.show(panel.playground)
    assert shown == [] and plt.get_fignums() == []
    monkeypatch.setattr(plotting, "is_interactive", lambda: True)
    widgets.show(panel.playground)
    assert len(shown) == 1 and shown[0].children[-1].value.startswith("Step 0")
