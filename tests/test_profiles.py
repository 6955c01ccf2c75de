"""The pages that train longer at full size, run as far as that training with only a few steps of it."""

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
    # What installs the library on Colab is no plain Python.
    return [re.sub(r"%pip.*", "pass", source) for source in code]


PAGES = [page for page in sorted((ROOT / "chapters").glob("*/*.ipynb")) if "profile.choose(" in "\n".join(code_of(page))]


@pytest.fixture
def few_steps(monkeypatch):
    """Return a function after whose call every training ends after a few steps, whatever its budget, and their list."""
    fit, done = keras.Model.fit, []

    class Cap(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            self.model.stop_training = self.steps >= STEPS

        def on_train_end(self, logs=None):
            done.append(self.steps)

    class NoTime(keras.callbacks.Callback):
        """A budget of seconds that is spent at once."""

        def __init__(self, seconds):
            super().__init__()
            self.spent = seconds

    def capped(self, *args, callbacks=(), **options):
        return fit(self, *args, callbacks=[*callbacks, Cap()], **options)

    def cap():
        monkeypatch.setattr(keras.Model, "fit", capped)
        monkeypatch.setattr(training, "TimeBudget", NoTime)

    return cap, done


def test_several_pages_have_a_full_size():
    assert len(PAGES) > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_full_size_of_a_page_trains(page, few_steps, monkeypatch, tmp_path):
    monkeypatch.setenv("IMGGEN_PROFILE", "full")
    monkeypatch.chdir(tmp_path)
    (cap, done), namespace = few_steps, {}
    code = [source for source in code_of(page) if "@exercises.check" not in source]
    chosen = [index for index, source in enumerate(code) if "profile.choose(" in source]
    for index, source in enumerate(code):
        if index == chosen[0]:
            cap()  # what is trained before that is the same in both profiles
        exec(compile(source, f"{page.name}, cell {index}", "exec"), namespace)
        if index >= chosen[-1] and done:
            break
    plt.close("all")
    assert done and max(done) <= STEPS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_with_a_full_size_says_how_long_that_takes_and_that_it_is_an_estimate(page):
    text = page.read_text()
    assert re.search(r"At full size .*estimate", text)
