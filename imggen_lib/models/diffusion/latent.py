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
    """A rectified flow of the scaled latents of an autoencoder.

    The flow's loss has no gradient for the autoencoder. Both can be trained in the same steps, or first the autoencoder
    and then the flow, with ``train_autoencoder=False``.

    Parameters
    ----------
    network : keras.Model
        As in :class:`imggen_lib.models.diffusion.rectified_flow.RectifiedFlow`, for arrays of the latents' shape.
    autoencoder : Autoencoder
        Its weights are part of this model and of its files.
    train_autoencoder : bool
        Whether to add the autoencoder's own loss. Otherwise its weights do not change.
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

    def __init__(
        self, network: keras.Model, autoencoder: Autoencoder, *, train_autoencoder: bool = False, **options: Any
    ) -> None:
        super().__init__(network, **options)
        if tuple(network.inputs[0].shape[1:]) != autoencoder.latent_shape:
            raise ValueError(
                f"the network takes {tuple(network.inputs[0].shape[1:])} and the autoencoder's latents have the shape "
                f"{autoencoder.latent_shape}; build the network for that shape"
            )
        autoencoder.trainable = train_autoencoder
        self.train_autoencoder = train_autoencoder
        self.autoencoder = autoencoder

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return self.autoencoder.image_shape

    @property
    def code_shape(self) -> tuple[int, ...] | None:
        """Shape of the latents, which training accepts instead of images if the autoencoder is not trained."""
        return None if self.train_autoencoder else self.autoencoder.latent_shape

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the loss of the flow in the latents, and that of the autoencoder if it is trained."""
        loss = super().generative_loss(images, condition, training=training)
        if self.train_autoencoder:
            loss = loss + self.autoencoder.generative_loss(images, None, training=training)
        return loss

    def to_data(self, images: Any) -> Any:
        """Return the scaled latents of images. Latents, which training computes once, are returned as they are."""
        if tuple(images.shape[1:]) == self.code_shape:
            return images
        return self.autoencoder.encode_tensor(images)

    def to_images(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Decode latents."""
        return self.autoencoder.decode(data)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        own = {"autoencoder": serialize(self.autoencoder), "train_autoencoder": self.train_autoencoder}
        return {**super().get_config(), **own}
