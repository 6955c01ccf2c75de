"""Discrete tokens and pixels after the same seconds of training: 30 seconds each, three seeds. Takes six minutes.

The first model is an autoencoder with 16 tokens and a causal transformer over them, trained in the same steps; the second
is a PixelCNN. Both generate marbles of 16x16 pixels. See ``marble_race.py``. Writes the table beside this file.
"""

from __future__ import annotations

from pathlib import Path

import marble_race

from imggen_lib import models

TABLE = Path(__file__).with_suffix(".md")
SIZE = 16
POINTS = (15, 30)


def token_transformer(seed: int) -> models.TokenTransformer:
    """Build an autoencoder with 4x4 tokens of 128 codes and a causal transformer."""
    shape, filters = (SIZE, SIZE, 3), (32, 64)
    autoencoder = models.TokenAutoencoder(
        models.token_encoder(shape, 16, filters=filters),
        models.token_decoder(shape, 16, filters=filters[::-1]),
        num_codes=128,
        seed=seed,
    )
    network = models.token_network(autoencoder.token_shape, autoencoder.num_codes, width=64, depth=2)
    return models.TokenTransformer(
        network, autoencoder, train_autoencoder=True, ema_momentum=marble_race.EMA_MOMENTUM, seed=seed
    )


def pixelcnn(seed: int) -> models.PixelCNN:
    """Build a small PixelCNN of colour images."""
    network = models.pixel_network((SIZE, SIZE, 3), filters=24, blocks=4, mixtures=4)
    return models.PixelCNN(network, ema_momentum=marble_race.EMA_MOMENTUM)


CONTESTANTS = {
    "tokens": marble_race.Contestant("autoencoder and transformer of 16 tokens", token_transformer, 4e-3),
    "pixels": marble_race.Contestant("PixelCNN", pixelcnn, 6e-3),
}

if __name__ == "__main__":
    marble_race.main(TABLE, __doc__.partition("\n")[0], CONTESTANTS, size=SIZE, points=POINTS, num_images=1000)
