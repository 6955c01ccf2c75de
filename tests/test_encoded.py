"""Training on latents and tokens that a trained autoencoder computes once, instead of in every epoch."""

import numpy as np
import pytest
from helpers import random_images

from imggen_lib import datasets, models, training
from imggen_lib.training import loop
from imggen_lib.training.encoded import Encoded

SHAPE = (16, 16, 3)


def latent_diffusion():
    networks = [build(SHAPE, filters=(8, 8)) for build in (models.latent_encoder, models.latent_decoder)]
    autoencoder = models.Autoencoder(*networks, seed=0)
    network = models.image_transformer(autoencoder.latent_shape, width=8, depth=1, heads=2)
    return models.LatentDiffusion(network, autoencoder, seed=0)


def token_transformer():
    autoencoder = models.TokenAutoencoder(
        models.token_encoder(SHAPE, 4, filters=(8, 8)), models.token_decoder(SHAPE, 4, filters=(8, 8)), num_codes=8, seed=0
    )
    network = models.token_network(autoencoder.token_shape, 8, width=8, depth=1, heads=2)
    return models.TokenTransformer(network, autoencoder, seed=0)


def test_each_image_is_encoded_once():
    images, seen = np.arange(10.0), []

    def encode(found):
        seen.extend(found.tolist())
        return -found

    codes = Encoded(images, encode)
    assert len(codes) == 10
    for rows in ([3, 1], [1, 4], [4, 3], [9, 0]):
        assert codes[np.array(rows)].tolist() == [-row for row in rows]
    assert seen == [3, 1, 4, 9, 0]


@pytest.mark.parametrize("build", [latent_diffusion, token_transformer])
def test_training_on_codes_is_training_on_images(build, monkeypatch):
    images, labels = random_images(12, shape=SHAPE), np.zeros(12, np.int64)
    data = datasets.Dataset("few", images, labels, images, labels, datasets.Condition("none"))
    start, trained = build(), []
    for encoded in (Encoded, lambda images, encode: images):
        monkeypatch.setattr(loop, "Encoded", encoded)
        model = build()
        model.set_weights(start.get_weights())
        model.compile(optimizer="adam")
        training.fit(model, data, {"steps": 0, "seconds": 0.0}, num_steps=7, batch_size=4, seed=0)
        trained.append(model.network.get_weights())
    for with_codes, with_images in zip(*trained, strict=True):
        np.testing.assert_allclose(with_codes, with_images, atol=1e-5)
    assert any(np.abs(new - old).max() > 1e-4 for new, old in zip(trained[0], start.network.get_weights(), strict=True))
