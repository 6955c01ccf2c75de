"""training.run: budgets, overrides, files, interruption and resumption."""

import os
import re
import signal

import keras
import numpy as np
import pytest

from imggen_lib import datasets, pretrained, recipes, training
from imggen_lib.training import runs

pytestmark = pytest.mark.usefixtures("few_evaluated_images")


class After(keras.callbacks.Callback):
    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.action()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


QUICK = {"dataset": "digits", "num_steps": 3, "batch_size": 8}


def test_run_records_what_a_reader_needs_to_repeat_it(tmp_path):
    path = tmp_path / "vae.keras"
    run = training.run("vae", path, latent_dim=3, seed=4, **QUICK)
    assert run.finished and run.dataset.name == "digits"
    assert pretrained.record(path) == run.record
    record = run.record
    assert (record["model"], record["dataset"], record["seed"], record["steps"]) == ("vae", "digits", 4, 3)
    assert record["settings"] == {"num_steps": 3, "batch_size": 8, "latent_dim": 3}
    assert record["image_shape"] == [8, 8, 1] and record["condition"]["names"] == list("0123456789")
    assert (record["devices"], record["processes"], record["precision"], record["batch_size"]) == (1, 1, "float32", 8)
    assert record["images_seen"] == 24 and record["epochs"] == round(3 / (1437 // 8), 2) and record["seconds"] > 0
    assert re.fullmatch(r"Fréchet distance .* test images of digits; kernel distance .*", record["quality"])
    assert int(run.model.optimizer.iterations) == 3 and run.model.latent_dim == 3
    assert [file.name for file in tmp_path.iterdir()] == ["vae.keras"]


@pytest.mark.parametrize("suffix", ["keras", "npz"])
def test_output_of_a_run_can_be_loaded_and_sampled(tmp_path, suffix):
    path = tmp_path / f"gan.{suffix}"
    run = training.run("conditional_gan", path, **QUICK)
    again = pretrained.load(path)
    np.testing.assert_allclose(again.sample(4, seed=0, labels=3), run.model.sample(4, seed=0, labels=3), atol=5e-3)


def test_same_seed_gives_the_same_model_and_another_seed_another():
    first, second, other = (training.run("vae_2d", seed=seed, evaluate=False, **QUICK).model for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.sample(2, seed=0), second.sample(2, seed=0))
    assert (first.sample(2, seed=0) != other.sample(2, seed=0)).any()


def test_run_without_output_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert training.run("vae_2d", **QUICK).finished
    assert list(tmp_path.iterdir()) == []


def test_recipe_and_dataset_of_your_own_need_no_name():
    rng = np.random.default_rng(0)
    x, none = rng.uniform(size=(20, 8, 8, 1)).astype("float32"), np.zeros(20, int)
    data = datasets.Dataset("mine", x[:16], none[:16], x[16:], none[16:], datasets.Condition("none"))
    recipe = recipes.get("vae_2d").override(num_steps=2, batch_size=4)
    run = training.run(recipe, dataset=data)
    assert run.record["dataset"] == "mine" and run.record["steps"] == 2 and run.record["condition"]["kind"] == "none"


def test_interrupted_run_resumes_to_the_weights_of_an_uninterrupted_one(tmp_path):
    whole = training.run("vae_2d", **QUICK)
    path = tmp_path / "a.keras"
    stopped = training.run("vae_2d", path, callbacks=[After(2, interrupt)], **QUICK)
    assert not stopped.finished and "quality" not in stopped.record
    assert not path.exists() and pretrained.record(tmp_path / "a.partial.keras")["steps"] == 2
    resumed = training.run("vae_2d", path, resume=True, **QUICK)
    assert resumed.finished and resumed.record["steps"] == 3
    assert path.is_file() and not (tmp_path / "a.partial.keras").exists()
    for weight, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6, atol=1e-7)


def test_resume_goes_on_from_a_finished_file_of_seconds(tmp_path):
    path = tmp_path / "a.keras"
    before = training.run("vae_2d", path, dataset="digits", seconds=1).record
    run = training.run("vae_2d", path, dataset="digits", seconds=before["seconds"] + 0.2, resume=True)
    assert run.record["steps"] == int(run.model.optimizer.iterations) > before["steps"]


def test_resume_rejects_other_arguments_and_missing_files(tmp_path):
    path = tmp_path / "a.keras"
    training.run("vae_2d", path, **QUICK)
    for change, message in (
        ({"seed": 1}, "was made with seed 0, not 1"),
        ({"dataset": "fashion_mnist"}, "was made with dataset 'digits', not 'fashion_mnist'"),
        ({"latent_dim": 5}, "was made with settings"),
    ):
        with pytest.raises(ValueError, match=message):
            training.run("vae_2d", path, resume=True, **{**QUICK, **change})
    with pytest.raises(FileNotFoundError, match=r"there is nothing to resume: .*b\.partial\.keras does not exist"):
        training.run("vae_2d", tmp_path / "b.keras", resume=True, **QUICK)
    with pytest.raises(ValueError, match="resume is True and output is None"):
        training.run("vae_2d", resume=True, **QUICK)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"recipe": "dall-e"}, ValueError, "model is 'dall-e'"),
        ({"output": "a.h5"}, ValueError, r"expected a name that ends in \.keras"),
        ({"output": "nowhere/a.keras"}, FileNotFoundError, "the folder nowhere does not exist"),
        ({"dataset": "mnist"}, ValueError, "dataset is 'mnist'; expected one of captioned_marbles"),
        ({"profile": "fast"}, ValueError, "profile is 'fast'"),
        ({"seconds": 0}, ValueError, "seconds is 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"depth": 3}, ValueError, "setting of vae_2d is 'depth'"),
        ({"recipe": "marble_classifier", "dataset": "digits"}, ValueError, "with captions, and digits has classes"),
        ({"recipe": "classifier", "dataset": "captioned_marbles"}, ValueError, "with classes, and captioned_marbles has"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named_before_training(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        training.run(arguments.pop("recipe", "vae_2d"), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_training_is_kept_if_the_evaluation_fails(tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("no score")

    monkeypatch.setattr(runs.evaluation, "evaluate", fail)
    with pytest.raises(ValueError, match="no score"):
        training.run("vae_2d", tmp_path / "a.keras", **QUICK)
    assert pretrained.record(tmp_path / "a.partial.keras")["steps"] == 3


def test_diverged_run_keeps_the_last_good_state(tmp_path):
    with pytest.raises(training.Diverged, match=r"The last good state is in .*a\.partial\.keras"):
        training.run("vae_2d", tmp_path / "a.keras", learning_rate=1e30, **QUICK)
    path = tmp_path / "a.partial.keras"
    assert [file.name for file in tmp_path.iterdir()] == ["a.partial.keras"]
    assert pretrained.record(path)["steps"] == 0 and np.isfinite(pretrained.load(path).sample(2, seed=0)).all()
