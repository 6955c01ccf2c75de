"""Diffusion in latents and in pixels after the same seconds of training: 30 seconds each, three seeds. Takes six minutes.

Both models are rectified flows of marbles of 32x32 pixels. The first is a U-Net of the latents of an autoencoder,
trained in the same steps; the second is a U-Net of the pixels. See ``marble_race.py``. Writes the table beside this file.
"""

from __future__ import annotations

from pathlib import Path

import marble_race

from imggen_lib import models

TABLE = Path(__file__).with_suffix(".md")
SHAPE = (32, 32, 3)
POINTS = (30,)


def latent_flow(seed: int) -> models.LatentDiffusion:
    """Build an autoencoder with latents of 8x8x4 and a U-Net of the latents."""
    filters = (24, 48)
    autoencoder = models.Autoencoder(
        models.latent_encoder(SHAPE, latent_channels=4, filters=filters),
        models.latent_decoder(SHAPE, latent_channels=4, filters=filters, blocks=1),
        seed=seed,
    )
    return models.LatentDiffusion(
        models.image_unet(autoencoder.latent_shape, filters=(32, 64), blocks=1),
        autoencoder,
        train_autoencoder=True,
        time_density="logit_normal",
        ema_momentum=marble_race.EMA_MOMENTUM,
        seed=seed,
    )


def pixel_flow(seed: int) -> models.RectifiedFlow:
    """Build a U-Net of the pixels."""
    network = models.image_unet(SHAPE, filters=(32, 64), blocks=1)
    return models.RectifiedFlow(network, time_density="logit_normal", ema_momentum=marble_race.EMA_MOMENTUM, seed=seed)


CONTESTANTS = {
    "latents": marble_race.Contestant("autoencoder and flow in its latents", latent_flow, 3e-3),
    "pixels": marble_race.Contestant("flow in the pixels", pixel_flow, 3e-3),
}

if __name__ == "__main__":
    marble_race.main(TABLE, __doc__.partition("\n")[0], CONTESTANTS, size=SHAPE[0], points=POINTS, num_images=500)
