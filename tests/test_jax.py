"""The models on JAX: one process with JAX as Keras's backend loads, samples, trains and saves all families.

Its results are compared with those of this process. Tiny networks and four virtual devices keep it cheap.
"""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import random_images

from imggen_lib import models, pretrained

SHAPE = (8, 8, 1)
FAMILIES = {
    "gan": lambda: models.GAN(
        models.image_generator(SHAPE, 3, filters=(4,)),
        models.image_discriminator(SHAPE, filters=(4,), batch_norm=False, dropout=0.3),
        loss="wasserstein",
        penalty="gradient",
    ),
    "conditional_gan": lambda: models.GAN(
        models.image_generator(SHAPE, 3, filters=(4,), num_classes=3),
        models.image_discriminator(SHAPE, filters=(4,), batch_norm=False, spectral_norm=True, num_classes=3),
        num_classes=3,
        loss="hinge",
        penalty="r1",
    ),
    "plain_gan": lambda: models.GAN(
        models.image_generator(SHAPE, 3, filters=(4,)), models.image_discriminator(SHAPE, filters=(4,))
    ),
    "vae": lambda: models.VAE(
        models.image_encoder(SHAPE, 2, filters=(4,)),
        models.image_generator(SHAPE, 2, filters=(4,), batch_norm=False, num_classes=3, name="decoder"),
        num_classes=3,
    ),
    "pixelcnn": lambda: models.PixelCNN(
        models.pixel_network(SHAPE, filters=8, blocks=2, mixtures=2, num_classes=3), num_classes=3
    ),
    "flow": lambda: models.Flow(models.flow_network(SHAPE, filters=(8,), couplings=1)),
    "diffusion": lambda: models.Diffusion(models.image_unet(SHAPE, num_classes=3, filters=(8,), blocks=1), num_classes=3),
}
TRAINED = ("gan", "conditional_gan", "vae")
DISTRIBUTED = ("plain_gan", "diffusion")
SHIPPED = "vae_2d"

PROGRAM = """
import json, os, pathlib, signal, sys
import keras, numpy as np
from imggen_lib import backend, models, pretrained, training

folder, settings = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
images, labels = np.load(folder / "images.npy"), np.arange(64) % 3
report = {"backend": keras.backend.backend(), "devices": len(keras.distribution.list_devices())}

def changed(model, before):
    return sum(bool((a != b).any()) for a, b in zip(before, model.get_weights())) / len(before)

for path in sorted(folder.glob("*.keras")):
    model, name = keras.saving.load_model(path), path.stem
    np.save(folder / f"{name}.npy", model.sample(4, seed=3))
    if name not in settings["trained"]:
        continue
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    before, snapshots = model.get_weights(), training.Snapshots([0, 4], n=4)
    y = None if model.num_classes is None else labels
    history = model.fit(images, y, batch_size=16, verbose=0, callbacks=[snapshots]).history
    report[name] = {
        "terms": {term: values[0] for term, values in history.items()},
        "changed": changed(model, before),
        "snapshots_differ": float(np.abs(snapshots.images[4] - snapshots.images[0]).max()),
        "last_snapshot_is_final": bool((snapshots.images[4] == model.sample(4, seed=0)).all()),
    }
    model.save(folder / f"{name}_trained.keras")
    np.save(folder / f"{name}_trained.npy", model.sample(4, seed=3))

    # A loss that diverges: the weights are restored.
    before = model.get_weights()
    try:
        model.fit(np.full_like(images, np.nan), y, batch_size=16, verbose=0, callbacks=[training.StopIfDiverged()])
    except training.Diverged:
        report[name]["changed_by_divergence"] = changed(model, before)

# A signal inside a training step, where a Ctrl-C almost always falls: on JAX the model has no weights there.
step, iterations = model.train_function, int(model.optimizer.iterations)

def interrupted(state, iterator):
    result = step(state, iterator)
    os.kill(os.getpid(), signal.SIGINT)
    return result

model.train_function = interrupted
stopping = training.StopOnSignal()
model.fit(images, labels, batch_size=16, verbose=0, callbacks=[stopping])
report["interrupted"] = {
    "stopped": stopping.stopped,
    "steps": int(model.optimizer.iterations) - iterations,
    "changed": changed(model, before),
}

for name in settings["distributed"]:
    for devices in (1, 4):
        losses = []
        note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"])))
        with backend.data_parallel(devices, batch_size=16):
            model = keras.saving.load_model(folder / f"{name}.keras")
            model.compile(optimizer=keras.optimizers.SGD(1e-2))
            y = None if model.num_classes is None else labels
            model.fit(images, y, batch_size=16, shuffle=False, verbose=0, callbacks=[note])
            report[f"{name} on {devices}"] = {
                "devices": len(model.trainable_variables[0].value.sharding.device_set),
                "losses": losses,
                "samples": model.sample(2, seed=0).tolist(),
            }

np.save(folder / "shipped.npy", pretrained.load(settings["shipped"]).sample(2, seed=0))
(folder / "report.json").write_text(json.dumps(report))
"""


@pytest.fixture(scope="module")
def families():
    """One model of each family. Random changes of all weights replace initial values of zero."""
    keras.utils.set_random_seed(0)
    rng, built = np.random.default_rng(0), {name: build() for name, build in FAMILIES.items()}
    for model in built.values():
        for weight in model.weights:
            if weight.dtype == "float32":
                weight.assign(np.asarray(weight) + 0.02 * rng.standard_normal(weight.shape))
    return built


@pytest.fixture(scope="module")
def jax(tmp_path_factory, families):
    """The report of the JAX process, and the folder with the models and samples that it wrote."""
    folder = tmp_path_factory.mktemp("jax")
    np.save(folder / "images.npy", random_images(64))
    for name, model in families.items():
        model.save(folder / f"{name}.keras")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compilation takes most of the time
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    settings = json.dumps({"trained": TRAINED, "distributed": DISTRIBUTED, "shipped": SHIPPED})
    command = [sys.executable, "-c", PROGRAM, str(folder), settings]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    report = json.loads((folder / "report.json").read_text())
    assert report["backend"] == "jax"
    return report | {"folder": folder}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_weights_give_the_same_samples_on_jax(jax, families, name):
    images = np.load(jax["folder"] / f"{name}.npy")
    np.testing.assert_allclose(images, families[name].sample(4, seed=3), atol=1e-4)
    assert images.std() > 0


def test_shipped_weights_give_the_same_samples_on_jax(jax):
    np.testing.assert_allclose(
        np.load(jax["folder"] / "shipped.npy"), pretrained.load(SHIPPED).sample(2, seed=0), atol=1e-4
    )


@pytest.mark.parametrize("name", TRAINED)
def test_models_train_on_jax_with_callbacks(jax, name):
    report = jax[name]
    assert np.isfinite(list(report["terms"].values())).all() and report["changed"] > 0.9
    assert report["snapshots_differ"] > 0 and report["last_snapshot_is_final"]
    assert report["changed_by_divergence"] == 0


@pytest.mark.parametrize("name", ["gan", "conditional_gan"])
def test_the_loss_on_jax_is_the_sum_of_its_terms(jax, name):
    terms = jax[name]["terms"]
    expected = terms["generator_loss"] + terms["discriminator_loss"] + 10 * terms["penalty"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_trained_on_jax_gives_the_same_samples_here(jax, name):
    model = keras.saving.load_model(jax["folder"] / f"{name}_trained.keras")
    assert int(model.optimizer.iterations) == 4
    np.testing.assert_allclose(model.sample(4, seed=3), np.load(jax["folder"] / f"{name}_trained.npy"), atol=1e-4)


def test_a_signal_within_a_step_loses_nothing_on_jax(jax):
    assert jax["interrupted"] == {"stopped": True, "steps": 1, "changed": 1.0}


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_training_on_four_devices_matches_training_on_one(jax, name):
    one, four = jax[f"{name} on 1"], jax[f"{name} on 4"]
    assert jax["devices"] == four["devices"] == 4
    assert len(one["losses"]) == 4 and one["losses"][0] != one["losses"][-1]
    np.testing.assert_allclose(four["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(four["samples"], one["samples"], atol=1e-4)
