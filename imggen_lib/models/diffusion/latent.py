"""Latent diffusion: a rectified flow of the latents of an autoencoder, instead of pixels.

Reference: Rombach et al., "High-resolution image synthesis with latent diffusion models", CVPR 2022.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from imggen_lib.models.autoencoder import Autoencoder
from imggen_lib.models.base import serialize
from imggen_lib.models.diffusion.rectified_flow import RectifiedFlow

__all__ = ["LatentDiffusion"]


@keras.saving.register_keras_serializable(package="imggen_lib")
class LatentDiffusion(RectifiedFlow):
    """A rectified flow of the scaled latents of a trained autoencoder, which is not trained further.

    Parameters
    ----------
    network : keras.Model
        As in :class:`imggen_lib.models.diffusion.rectified_flow.RectifiedFlow`, for arrays of the latents' shape.
    autoencoder : Autoencoder
        Trained. Its weights are part of this model and of its files.
    **options
        Of :class:`imggen_lib.models.diffusion.rectified_flow.RectifiedFlow`.

    Raises
    ------
    ValueError
        If the network is not one for the latents.

    Examples
    --------
    >>> from imggen_lib import models
    >>> networks = [build((16, 16, 3), filters=(8, 8)) for build in (models.latent_encoder, models.latent_decoder)]
    >>> autoencoder = models.Autoencoder(*networks)
    >>> network = models.image_transformer(autoencoder.latent_shape, width=8, depth=1, heads=2)
    >>> LatentDiffusion(network, autoencoder).sample(2, seed=0, steps=1).shape
    (2, 16, 16, 3)
    """

    def __init__(self, network: keras.Model, autoencoder: Autoencoder, **options: Any) -> None:
        super().__init__(network, **options)
        if tuple(network.inputs[0].shape[1:]) != autoencoder.latent_shape:
            raise ValueError(
                f"the network takes {tuple(network.inputs[0].shape[1:])} and the autoencoder's latents have the shape "
                f"{autoencoder.latent_shape}; build the network for that shape"
            )
        autoencoder.trainable = False
        self.autoencoder = autoencoder

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return self.autoencoder.image_shape

    def to_data(self, images: Any) -> Any:
        """Return the scaled latents of images."""
        return self.autoencoder.encode_tensor(images)

    def to_images(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Decode latents."""
        return self.autoencoder.decode(data)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "autoencoder": serialize(self.autoencoder)}
