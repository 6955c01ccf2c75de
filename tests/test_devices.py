"""Several devices, a killed process and mixed precision: the training result must stay the same, up to rounding."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from imggen_lib import backend, datasets, models
from imggen_lib.training import checkpoint, fit, recipes

# A conditional GAN has all that could differ between devices: batch normalisation, dropout, random latent vectors, labels,
# and a moving average. The four devices are four threads of the CPU.
PROGRAM = """
import json
import keras
import numpy as np
from imggen_lib import backend, models

def arrays(weights):
    return [keras.ops.convert_to_numpy(weight) for weight in weights]

images = np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype("float32")
labels = np.arange(64) % 3
weights, losses = {}, {}
for devices in (1, 4):
    keras.utils.set_random_seed(0)
    with backend.data_parallel(devices, batch_size=16):
        generator = models.image_generator((8, 8, 1), 3, hidden=8, filters=(4,), num_classes=3)
        discriminator = models.image_discriminator((8, 8, 1), filters=(4,), dropout=0.3, num_classes=3)
        model = models.GAN(generator, discriminator, num_classes=3)
        model.compile(optimizer=keras.optimizers.SGD(0.1))
        initial = arrays(model.trainable_weights)
        losses[devices] = model.fit(images, labels, batch_size=16, shuffle=False, verbose=0).history["loss"]
    weights[devices] = arrays(model.weights)
changes = [np.abs(a - b).max() for a, b in zip(initial, arrays(model.trainable_weights))]
differences = [np.abs(a.astype(float) - b.astype(float)).max() for a, b in zip(weights[1], weights[4])]
print(json.dumps({
    "available": len(keras.distribution.list_devices()),
    "used": len(model.trainable_weights[0].value.sharding.device_set),
    "losses": losses,
    "smallest change": float(min(changes)),
    "largest difference": float(max(differences)),
}))
"""


def run_python(program, **variables):
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)


def test_training_on_four_devices_matches_training_on_one():
    """All weights after four steps agree: those of both networks, the moving average, the batch statistics."""
    # Code that is not optimised is compiled in half the time.
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    run = run_python(PROGRAM, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu", XLA_FLAGS=flags)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["available"] == report["used"] == 4
    np.testing.assert_allclose(report["losses"]["4"], report["losses"]["1"], rtol=1e-5)
    assert report["largest difference"] < 2e-6 < 1e-4 < report["smallest change"]


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
    fit(model, digits, record, steps=steps, batch_size=16, seed=0, checkpoint=path, callbacks=callbacks)


def train_until_killed(path):
    """Save after SAVED_STEP steps, and end this process by SIGKILL three steps later, without time to save."""

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    model, record = new_vae()
    train(model, record, SAVED_STEP, path)
    checkpoint.save(model, path, record)
    train(model, record, STEPS, path, [Kill()])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_training_resumed_after_sigkill_matches_uninterrupted_training(tmp_path):
    """The three lost steps are repeated with the same batches and the same noise. Threads may round in another order."""
    path = tmp_path / "killed.keras"
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_devices as t; "
    killed = run_python(program + f"t.train_until_killed({str(path)!r})")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed, record = checkpoint.load(path)
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


def test_recipes_with_an_exact_likelihood_or_a_gan_keep_single_precision():
    assert not any(recipes.get(name).mixed_precision for name in ("pixelcnn", "flow", "gan", "vae"))
    assert recipes.get("diffusion").mixed_precision
