"""What holds alike for the families that are trained by a likelihood or by noise: trained, saved, loaded, shipped."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import datasets, models, pretrained, training
from imggen_lib.models import flow
from imggen_lib.models.autoregressive import causal

SHAPE = (8, 8, 1)
TINY = {
    "pixelcnn": lambda: models.PixelCNN(models.pixel_network(SHAPE, filters=8, blocks=2, mixtures=2, num_classes=10)),
    "flow": lambda: models.Flow(models.flow_network(SHAPE, filters=(8,), couplings=1)),
    "diffusion": lambda: models.Diffusion(models.image_unet(SHAPE, num_classes=10, filters=(8,), blocks=1)),
}
LOG_PROB = {
    "pixelcnn": lambda model, images: model.log_prob(images, labels=[1, 2, 3]),
    "flow": lambda model, images: model.log_prob(images, seed=0),
    "diffusion": lambda model, images: model.log_prob_lower_bound(images, seed=0, angles=3),
}


@pytest.mark.parametrize("name", TINY)
def test_a_family_trains_is_saved_and_is_the_same_when_loaded_again(name, digits, tmp_path):
    keras.utils.set_random_seed(0)
    model, record = TINY[name](), {"steps": 0, "seconds": 0.0}
    before = model.get_weights()
    model.compile(optimizer=keras.optimizers.Adam(1e-2), run_eagerly=True)
    assert training.train(model, digits, record, steps=2, batch_size=8, seed=0, checkpoint=tmp_path / "partial.keras")
    assert any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    training.save(model, tmp_path / "model.keras", record)
    again, kept = training.load(tmp_path / "model.keras")
    assert kept["steps"] == 2
    np.testing.assert_array_equal(again.sample(3, seed=1), model.sample(3, seed=1))
    ours, theirs = (LOG_PROB[name](which, digits.x_test[:3]) for which in (model, again))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert np.isfinite(ours).all() and ours.shape == (3,)


@pytest.mark.parametrize("name", TINY)
def test_the_recipe_fits_into_a_file_that_can_be_shipped(name, tmp_path):
    model = recipes.get(name).build((28, 28, 1), 10, seed=0)
    pretrained.export(model, tmp_path / f"{name}.npz", {"seed": 0})
    assert (tmp_path / f"{name}.npz").stat().st_size < 4e6


def test_the_average_alone_is_shipped_and_training_goes_on_from_it(tmp_path, monkeypatch):
    model = recipes.get("flow").build((28, 28, 1), 10, seed=0)
    for weight in model.average.network.weights:
        weight.assign(weight + 0.25)
    facts = {"seed": 0, "image_shape": [28, 28, 1], "class_names": list("0123456789")}
    (tmp_path / "weights").mkdir()
    pretrained.export(model, tmp_path / "weights" / "flow.npz", facts)
    monkeypatch.setattr(datasets, "resource", tmp_path.joinpath)
    again = pretrained.load("flow")
    for network in (again.average.network, again.network):
        for ours, theirs in zip(network.get_weights(), model.average.network.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces what made variables again")
def test_a_step_is_traced_once(digits, monkeypatch):
    traced = []

    def compute_loss(self, x, y, y_pred, sample_weight, training=True):
        traced.append(x)
        return ops.mean(y_pred[0])

    monkeypatch.setattr(models.Flow, "compute_loss", compute_loss)
    model = TINY["flow"]()
    model.compile(optimizer="adam")
    model.fit(digits.x_train[:16], batch_size=8, verbose=0)
    assert len(traced) == 1
