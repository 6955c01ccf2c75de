"""A killed process and mixed precision: the result of a training must stay the same, up to rounding."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from imggen_lib import backend, datasets, models, pretrained, recipes, training
from imggen_lib.models.text import TextEncoder

SHAPE, STEPS, SAVED_STEP = (8, 8, 1), 12, 6


def new_vae():
    """A small compiled VAE whose learning rate depends on the step, and an empty record."""
    keras.utils.set_random_seed(0)
    decoder = models.image_generator(SHAPE, 2, filters=(4,), batch_norm=False)
    vae = models.VAE(models.image_encoder(SHAPE, 2, filters=(4,)), decoder)
    rate = keras.optimizers.schedules.CosineDecay(1e-2, STEPS)
    vae.compile(optimizer=keras.optimizers.Adam(rate), run_eagerly=True)
    return vae, {"steps": 0, "seconds": 0.0}


def train(model, record, steps, path, callbacks=()):
    digits = datasets.load("digits")
    training.fit(model, digits, record, num_steps=steps, batch_size=16, seed=0, checkpoint=path, callbacks=callbacks)


def train_until_killed(path):
    """Save after SAVED_STEP steps, and end this process by SIGKILL three steps later, without time to save."""

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    model, record = new_vae()
    train(model, record, SAVED_STEP, path)
    pretrained.save(model, path, record)
    train(model, record, STEPS, path, [Kill()])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_training_resumed_after_sigkill_matches_uninterrupted_training(tmp_path):
    """The three lost steps are repeated with the same batches and the same noise. Threads may round in another order."""
    path = tmp_path / "killed.keras"
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_interruption_and_precision as tests; "
    program += "tests.train_until_killed(sys.argv[2])"
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(path)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed, record = pretrained.load(path), pretrained.record(path)
    assert record["steps"] == SAVED_STEP
    train(resumed, record, STEPS, path)
    whole, whole_record = new_vae()
    train(whole, whole_record, STEPS, tmp_path / "whole.keras")
    assert record["steps"] == whole_record["steps"] == STEPS
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def second_loss(build, enabled):
    """Train for two steps; return the model and its second loss.

    Before the first step, the last layer of some networks is zero, so their first loss has no rounding error.
    """
    digits = datasets.load("digits")
    keras.utils.set_random_seed(0)
    with backend.mixed_precision(enabled):
        model = build()
    model.compile(optimizer=keras.optimizers.SGD(1e-3), run_eagerly=True)
    history = model.fit(digits.x_train[:64], digits.y_train[:64], batch_size=64, epochs=2, verbose=0).history
    return model, history["loss"][1]


BUILDERS = {
    "classifier": lambda: models.Classifier(models.image_features(SHAPE, 8, filters=(8, 8)), 10),
    "diffusion": lambda: models.Diffusion(models.image_unet(SHAPE, num_classes=10, filters=(8,), blocks=1), num_classes=10),
    "vae": lambda: new_vae()[0],
}


@pytest.mark.parametrize("name", BUILDERS)
def test_mixed_precision_changes_the_loss_by_rounding_and_keeps_float32_weights(monkeypatch, name):
    monkeypatch.setattr(backend, "_supports_bfloat16", lambda: True)
    _, single = second_loss(BUILDERS[name], enabled=False)
    model, mixed = second_loss(BUILDERS[name], enabled=True)
    assert single != mixed and mixed == pytest.approx(single, rel=0.05)
    assert {weight.dtype for weight in model.weights} <= {"float32", "int32", "uint32", "int64"}
    assert "bfloat16" in {layer.compute_dtype for layer in model._flatten_layers()}
    assert keras.config.dtype_policy().name == "float32"


def test_bfloat16_keeps_the_numbers_of_words():
    """bfloat16 has 8 bits of precision: 773, as a number of this type, would be 772."""
    with backend.mixed_precision(everywhere=True):
        network = models.image_transformer((8, 8, 1), num_classes=2, vocabulary_size=800, width=8, depth=1, heads=2)
    (encoder,) = (layer for layer in network.layers if isinstance(layer, TextEncoder))
    vectors, _ = encoder(np.array([[773.0, 0.0], [772.0, 0.0]], "float32"))
    assert encoder.compute_dtype == "bfloat16"
    assert np.abs(np.subtract(*np.float32(keras.ops.convert_to_numpy(vectors)[:, 0]))).max() > 0.1


def test_a_run_computes_in_bfloat16_on_request():
    quick = {"dataset": "digits", "num_steps": 1, "batch_size": 4, "evaluate": False}
    found = [training.run("vae_2d", **quick, **asked) for asked in ({}, {"bfloat16": True})]
    assert [run.record["precision"] for run in found] == ["float32", "mixed_bfloat16"]
    assert all("float32" in {weight.dtype for weight in run.model.weights} for run in found)


@pytest.mark.parametrize("name", ["token_transformer", "masked_token_transformer"])
def test_tokens_are_sampled_in_bfloat16_as_in_single_precision(name):
    """Sampling calls the layers step by step, outside of Keras's automatic casts. At temperature 0 it is deterministic."""
    options = {"dataset": "digits", "num_steps": 1, "batch_size": 8, "evaluate": False}
    models_of = [training.run(name, **options, bfloat16=asked).model for asked in (False, True)]
    models_of[1].set_weights(models_of[0].get_weights())
    labels = np.arange(10)
    tokens = [model.sample_tokens(10, seed=0, labels=labels, temperature=0.0) for model in models_of]
    assert np.mean(tokens[0] == tokens[1]) > 0.5


def test_recipes_with_an_exact_likelihood_or_a_gan_keep_single_precision():
    assert not any(recipes.get(name).mixed_precision for name in ("pixelcnn", "flow", "gan", "vae"))
    assert recipes.get("diffusion").mixed_precision
