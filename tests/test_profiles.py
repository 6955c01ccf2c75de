"""The pages that train longer in the profile "full", run up to the end of that training, with a few steps of it."""

import json
import re
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import pytest

from imggen_lib import training

ROOT = Path(__file__).parent.parent
STEPS = 2


def code_of(page):
    cells = json.loads(page.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    # The line that installs the library on Colab is an IPython command.
    return [re.sub(r"%pip.*", "pass", source) for source in code]


PAGES = [page for page in sorted((ROOT / "chapters").glob("*/*.ipynb")) if "profile.choose(" in "\n".join(code_of(page))]


@pytest.fixture
def few_steps(monkeypatch):
    """Return a function that limits all later calls of ``fit`` to a few steps, and the list of their numbers of steps."""
    fit, done = keras.Model.fit, []

    class Cap(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            self.model.stop_training = self.steps >= STEPS

        def on_train_end(self, logs=None):
            done.append(self.steps)

    class SpentBudget(keras.callbacks.Callback):
        """Replaces TimeBudget; the budget counts as used up."""

        def __init__(self, seconds):
            super().__init__()
            self.spent = seconds

    def capped(self, *args, callbacks=(), **options):
        self.run_eagerly = True  # so few steps take less time than the compilation of a step
        return fit(self, *args, callbacks=[*callbacks, Cap()], **options)

    def cap():
        monkeypatch.setattr(keras.Model, "fit", capped)
        monkeypatch.setattr(training, "TimeBudget", SpentBudget)

    return cap, done


def test_several_pages_have_a_full_profile():
    assert len(PAGES) > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_trains_in_the_full_profile(page, few_steps, monkeypatch, tmp_path):
    monkeypatch.setenv("IMGGEN_PROFILE", "full")
    monkeypatch.chdir(tmp_path)
    (cap, done), namespace = few_steps, {}
    code = [source for source in code_of(page) if "@exercises.check" not in source]
    chosen = [index for index, source in enumerate(code) if "profile.choose(" in source]
    for index, source in enumerate(code):
        if index == chosen[0]:
            cap()  # earlier training is the same in both profiles
        exec(compile(source, f"{page.name}, cell {index}", "exec"), namespace)
        if index >= chosen[-1] and done:
            break
    plt.close("all")
    assert done and max(done) <= STEPS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_with_a_full_profile_states_an_estimate_of_its_time(page):
    text = page.read_text()
    assert re.search(r"At full size .*estimate", text)
