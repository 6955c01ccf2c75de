"""Arguments for several devices, a killed training, mixed precision. tests/test_jax.py trains on several devices."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from imggen_lib import backend, models, pretrained, training
from imggen_lib.models import Classifier, Diffusion, VAE

def program(code, *arguments, **variables):
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("devices", "batch_size", "message"),
    [(0, 8, "devices is 0"), (2.5, 8, "devices is 2.5"), (512, 512, "devices is 512")],
)
def test_devices_that_cannot_be_had_are_refused(devices, batch_size, message):
    with pytest.raises((ValueError, TypeError), match=message):
        backend.data_parallel(devices, batch_size)


def test_more_than_one_device_needs_jax(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match="set KERAS_BACKEND=jax"):
        backend.data_parallel(2, 64)


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    with pytest.raises(ValueError, match="64 pictures cannot be shared equally among 3"):
        backend.data_parallel(3, 64)


TRAINING = """
import os, signal, sys
import keras
from imggen_lib import datasets, models, training
from imggen_lib.models import VAE

path, kept = sys.argv[1], int(sys.argv[2])
digits = datasets.load("digits")
if os.path.exists(path):
    model, record = training.load(path)
else:
    keras.utils.set_random_seed(0)
    shape = digits.image_shape
    decoder = models.image_generator(shape, 2, filters=(4,), batch_norm=False)
    model, record = VAE(models.image_encoder(shape, 2, filters=(4,)), decoder), {"steps": 0, "seconds": 0.0}
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 40)))


save = training.save
# Saved after every step, where usually a minute passes, but not after the one that is the last before the end.
training.Checkpoint.__init__.__kwdefaults__["every"] = 0.0
training.save = lambda model, path, record: save(model, path, record) if record["steps"] <= kept else None


class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if record["steps"] == kept + 3:
            os.kill(os.getpid(), signal.SIGKILL)


training.train(model, digits, record, steps=40, batch_size=16, seed=0, checkpoint=path, callbacks=[Kill()])
"""


def test_a_killed_training_goes_on_from_what_was_kept_and_ends_the_same(tmp_path):
    """SIGKILL leaves no time to save: three steps are lost and done again. Threads may round in another order."""
    whole, killed = tmp_path / "whole.keras", tmp_path / "killed.keras"
    assert program(TRAINING, whole, 1000).returncode == 0
    assert program(TRAINING, killed, 20).returncode == -signal.SIGKILL
    assert training.load(killed)[1]["steps"] == 20
    assert program(TRAINING, killed, 1000).returncode == 0
    (one, facts), (other, others) = training.load(whole), training.load(killed)
    assert facts["steps"] == others["steps"] == 40
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.fixture
def brain_floats(monkeypatch):
    """As on a GPU that is made for them."""
    monkeypatch.setattr(backend, "_has_brain_floats", lambda: True)


def second_loss(build, half, digits):
    keras.utils.set_random_seed(0)
    with backend.mixed_precision(half):
        model = build(digits.image_shape)
    model.compile(optimizer=keras.optimizers.SGD(1e-3))
    history = model.fit(digits.x_train[:64], digits.y_train[:64], batch_size=64, epochs=2, verbose=0).history
    return model, history["loss"][1]  # before the first step, a network that begins with zeros rounds nothing


BUILDERS = {
    "classifier": lambda shape: Classifier(models.image_features(shape, 8, filters=(8, 8)), 10),
    "diffusion": lambda shape: Diffusion(models.image_unet(shape, num_classes=10, filters=(8,), blocks=1)),
    "vae": lambda shape: VAE(
        models.image_encoder(shape, 2, filters=(4,)), models.image_generator(shape, 2, filters=(4,), batch_norm=False)
    ),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_half_precision_changes_a_loss_by_its_rounding_and_no_weight_is_kept_in_it(brain_floats, digits, name):
    _, whole = second_loss(BUILDERS[name], False, digits)
    model, half = second_loss(BUILDERS[name], True, digits)
    assert whole != half and half == pytest.approx(whole, rel=0.05)
    assert {weight.dtype for weight in model.weights} <= {"float32", "int32", "uint32", "int64"}
    assert "bfloat16" in {layer.compute_dtype for layer in model._flatten_layers()}
    assert keras.config.dtype_policy().name == "float32"


def test_half_precision_is_left_alone_where_no_gpu_is_made_for_it(monkeypatch):
    monkeypatch.setattr(backend, "_has_brain_floats", lambda: False)
    with backend.mixed_precision():
        assert keras.config.dtype_policy().name == "float32"


def test_recipes_whose_likelihood_is_exact_keep_single_precision():
    assert not any(recipes.get(name).half for name in ("pixelcnn", "flow", "gan", "vae"))
    assert recipes.get("diffusion").half


@pytest.mark.parametrize("kind", ["quick", "full"])
def test_a_page_chooses_by_the_profile(monkeypatch, kind):
    monkeypatch.setenv("IMGGEN_PROFILE", kind)
    assert profile.choose(quick="quick", full="full") == kind
