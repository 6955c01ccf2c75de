r"""An autoencoder for latent diffusion: an encoder maps images to small arrays, and a decoder maps these to sharp images.

A VAE weighs reconstruction against the prior so that codes can be sampled from N(0, I). Here a second model generates the
latents, so the Kullback-Leibler term has a small weight and only keeps them from growing. The other terms of the loss
make reconstructions sharp:

.. math:: \mathcal{L} = \lVert x - \hat x \rVert_1 + \beta\, D_{KL}
          + \gamma\, \lVert \phi(x) - \phi(\hat x) \rVert^2 + \delta\, \mathcal{L}_\text{adversarial}(\hat x),

all as means. The features :math:`\phi` come from a network that was trained to recognise the images.

Reference: Rombach et al., "High-resolution image synthesis with latent diffusion models", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, check_network, serialize
from imggen_lib.models.blocks import coarse_shape, downsample, predict, upsample
from imggen_lib.models.gan import discriminator_loss, frozen_call, generator_loss

__all__ = ["Autoencoder", "latent_decoder", "latent_encoder", "patch_discriminator"]

#: Momentum of the moving averages of the latents' mean and variance.
STATISTICS_MOMENTUM = 0.99


def latent_encoder(
    image_shape: Sequence[int],
    *,
    latent_channels: int = 8,
    filters: Sequence[int] = (32, 64, 96),
    blocks: int = 1,
    name: str = "encoder",
) -> keras.Model:
    """Build the encoder: strided convolutions, then residual blocks at the smallest size.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size. A size that cannot be halved that often gets a border of zeros.
    latent_channels : int
    filters : sequence of int
        Channels after each halving.
    blocks : int
        Residual blocks at the smallest size.

    Returns
    -------
    keras.Model
        From images in [0, 1] to mean and log-variance of the latent, each ``(n, height', width', latent_channels)``.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, ``filters`` is empty, or a number is not positive.

    Examples
    --------
    >>> [output.shape for output in latent_encoder((64, 64, 3)).outputs]
    [(None, 8, 8, 8), (None, 8, 8, 8)]
    """
    image = keras.Input(validate.image_shape(image_shape), name="image")
    x = downsample(image, filters, blocks)
    mean = layers.Conv2D(latent_channels, 1, name="mean", dtype="float32")(x)
    # A small variance at the start: the decoder learns from latents with little noise.
    log_variance = layers.Conv2D(
        latent_channels, 1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(-4.0),
        name="log_variance", dtype="float32",
    )(x)  # fmt: skip
    return keras.Model(image, [mean, log_variance], name=name)


def latent_decoder(
    image_shape: Sequence[int],
    *,
    latent_channels: int = 8,
    filters: Sequence[int] = (32, 64, 96),
    blocks: int = 2,
    name: str = "decoder",
) -> keras.Model:
    """Build the decoder: residual blocks at the smallest size, then transposed convolutions that double it.

    Parameters and errors are those of :func:`latent_encoder`; ``filters`` are in the order of the encoder.

    Returns
    -------
    keras.Model
        From latents to images ``(n, height, width, channels)`` in [0, 1].

    Examples
    --------
    >>> latent_decoder((64, 64, 3)).output_shape
    (None, 64, 64, 3)
    """
    latent = keras.Input((*coarse_shape(image_shape, len(filters)), latent_channels), name="latent")
    return keras.Model(latent, upsample(latent, image_shape, filters[::-1], blocks), name=name)


def patch_discriminator(
    image_shape: Sequence[int], *, filters: Sequence[int] = (32, 64), name: str = "discriminator"
) -> keras.Model:
    """Build a discriminator of patches: strided convolutions whose output has one logit for each place of the image.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``.
    filters : sequence of int
        Channels after each halving.

    Returns
    -------
    keras.Model
        From images in [0, 1] to logits ``(n, height', width', 1)``.

    References
    ----------
    Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017.

    Examples
    --------
    >>> patch_discriminator((64, 64, 3)).output_shape
    (None, 16, 16, 1)
    """
    image = keras.Input(validate.image_shape(image_shape), name="image")
    x = layers.Rescaling(2.0, offset=-1.0)(image)
    for level, count in enumerate(filters):
        x = layers.Conv2D(count, 4, strides=2, padding="same", name=f"conv_{level}")(x)
        x = layers.LeakyReLU(0.2)(x)
    return keras.Model(image, layers.Conv2D(1, 3, padding="same", name="logit", dtype="float32")(x), name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class Autoencoder(GenerativeModel):
    """An autoencoder of images whose latents have unit variance when another model uses them.

    The latents' mean and variance of each channel are averaged over the training steps. :meth:`encode` subtracts the mean
    and divides by the standard deviation, and :meth:`decode` undoes it.

    ``sample`` decodes standard normal latents. They have the right variance, but neighbouring places of an image do not
    fit each other. Realistic samples need a model of the latents.

    Parameters
    ----------
    encoder, decoder : keras.Model
        See :func:`latent_encoder` and :func:`latent_decoder`.
    kl_weight : float
        The beta of the Kullback-Leibler term, a mean over all values of a latent.
    perceptual : keras.Model, optional
        From images in [0, 1] to one or several outputs, whose squared differences are added to the loss. It is not trained.
    perceptual_weight : float
    discriminator : keras.Model, optional
        See :func:`patch_discriminator`. It is trained in the same steps, as in :class:`imggen_lib.models.gan.model.GAN`.
    adversarial_weight : float
    seed : int
        Of the noise on the latents in training.

    Raises
    ------
    ValueError
        If the networks do not fit each other, or a number is negative.

    Examples
    --------
    >>> model = Autoencoder(latent_encoder((16, 16, 3), filters=(8, 8)), latent_decoder((16, 16, 3), filters=(8, 8)))
    >>> model.compile(optimizer="adam")
    >>> images = keras.random.uniform((32, 16, 16, 3), seed=0)
    >>> history = model.fit(images, verbose=0)
    >>> model.encode(images).shape, model.reconstruct(images).shape
    ((32, 4, 4, 8), (32, 16, 16, 3))
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        kl_weight: float = 1e-3,
        perceptual: keras.Model | None = None,
        perceptual_weight: float = 1.0,
        discriminator: keras.Model | None = None,
        adversarial_weight: float = 0.05,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("num_classes", None)
        super().__init__(**kwargs)
        image, latent = tuple(encoder.inputs[0].shape[1:]), tuple(encoder.outputs[0].shape[1:])
        check_network(encoder, lambda inputs, outputs: outputs == [latent, latent], "mean and log-variance of a latent")
        check_network(
            decoder,
            lambda inputs, outputs: (inputs, outputs) == ([latent], [image]),
            f"[{latent}] to [{image}] for this encoder: build both for the same image_shape, latent_channels and filters",
        )
        for name, network in (("perceptual", perceptual), ("discriminator", discriminator)):
            if network is not None and tuple(network.inputs[0].shape[1:]) != image:
                raise ValueError(f"the network {name} takes {network.inputs[0].shape[1:]}; expected images of {image}")
        self.encoder = encoder
        self.decoder = decoder
        self.kl_weight = validate.real(kl_weight, "kl_weight", minimum=0)
        self.perceptual: Any = perceptual
        if perceptual is not None:
            perceptual.trainable = False
        self.perceptual_weight = validate.real(perceptual_weight, "perceptual_weight", minimum=0)
        self.discriminator: Any = discriminator
        self.adversarial_weight = validate.real(adversarial_weight, "adversarial_weight", minimum=0)
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        for name, initializer in (("latent_mean", "zeros"), ("latent_variance", "ones")):
            weight = self.add_weight(shape=latent[-1:], initializer=initializer, trainable=False, name=name)
            setattr(self, name, weight)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.kl_tracker = keras.metrics.Mean(name="kl")
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.encoder.inputs[0].shape[1:])

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a latent."""
        return tuple(self.encoder.outputs[0].shape[1:])

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the weighted sum of the terms; see the module."""
        mean, log_variance = self.encoder(images, training=training)
        noise = keras.random.normal(ops.shape(mean), dtype="float32", seed=self.noise)
        latent = mean + ops.exp(0.5 * log_variance) * noise
        reconstruction = self.decoder(latent, training=training)
        if training:
            self._update_statistics(latent)
        error = ops.mean(ops.abs(images - reconstruction))
        kl = 0.5 * ops.mean(ops.square(mean) + ops.exp(log_variance) - log_variance - 1)
        self.reconstruction_tracker.update_state(error)
        self.kl_tracker.update_state(kl)
        loss = error + self.kl_weight * kl
        if self.perceptual is not None:
            loss = loss + self.perceptual_weight * self._perceptual_error(images, reconstruction)
        if self.discriminator is not None:
            loss = loss + self._adversarial_terms(images, reconstruction, training)
        return loss

    def _update_statistics(self, latent: Any) -> None:
        """Move the averages of mean and variance towards those of a batch."""
        latent = ops.stop_gradient(latent)
        mean, variance = ops.moments(latent, axes=(0, 1, 2))
        for average, value in ((self.latent_mean, mean), (self.latent_variance, variance)):
            average.assign(STATISTICS_MOMENTUM * average + (1 - STATISTICS_MOMENTUM) * value)

    def _perceptual_error(self, images: Any, reconstruction: Any) -> Any:
        """Return the mean squared difference of the features, averaged over the outputs of the network."""
        real, ours = (self.perceptual(which, training=False) for which in (images, reconstruction))
        pairs = list(zip(real, ours, strict=True)) if isinstance(real, list | tuple) else [(real, ours)]
        return sum(ops.mean(ops.square(ops.stop_gradient(a) - b)) for a, b in pairs) / len(pairs)

    def _adversarial_terms(self, images: Any, reconstruction: Any, training: bool) -> Any:
        """Return the decoder's loss through the frozen discriminator, and the discriminator's own loss."""
        judged = frozen_call(self.discriminator, reconstruction, training=training)
        real = self.discriminator(images, training=training)
        fake = self.discriminator(ops.stop_gradient(reconstruction), training=training)
        return self.adversarial_weight * generator_loss(judged) + discriminator_loss(real, fake)

    def encode_tensor(self, images: Any) -> Any:
        """Return the scaled mean latents of a tensor of images, without a gradient for the encoder."""
        mean = ops.stop_gradient(self.encoder(images, training=False)[0])
        return (mean - self.latent_mean) / ops.sqrt(self.latent_variance)

    def encode(self, images: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return the mean latent of each image, scaled to a variance of about 1 in each channel.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        labels : None
            For the interface of all families: an autoencoder has no condition.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, *latent_shape)``.

        Raises
        ------
        ValueError
            If the images have another shape or values outside [0, 1], or labels are given.
        """
        images = validate.images(images, self.image_shape).astype("float32")
        self.condition_rows(labels, len(images))
        mean, variance = (ops.convert_to_numpy(value) for value in (self.latent_mean, self.latent_variance))
        return (predict(self.encoder, images)[0] - mean) / np.sqrt(variance)

    def decode(self, latents: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Map scaled latents ``(n, *latent_shape)`` to images, float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If the latents have another shape, or labels are given.
        """
        values = validate.real_array(latents, "latents", ndim=4)
        self.condition_rows(labels, len(values))
        if values.shape[1:] != self.latent_shape:
            raise ValueError(
                f"latents has the shape {values.shape}; expected (n, {', '.join(map(str, self.latent_shape))})"
            )
        mean, variance = (ops.convert_to_numpy(value) for value in (self.latent_mean, self.latent_variance))
        return predict(self.decoder, (values * np.sqrt(variance) + mean).astype("float32"))

    def reconstruct(self, images: ArrayLike) -> NDArray[np.float32]:
        """Encode images and decode their mean latents. Parameters and errors are those of :meth:`encode`."""
        return self.decode(self.encode(images))

    def _sample(self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None) -> NDArray[np.float32]:
        return self.decode(rng.standard_normal((n, *self.latent_shape)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        networks = {
            name: None if getattr(self, name) is None else serialize(getattr(self, name))
            for name in ("encoder", "decoder", "perceptual", "discriminator")
        }
        options = {name: getattr(self, name) for name in ("kl_weight", "perceptual_weight", "adversarial_weight", "seed")}
        return {**super().get_config(), **networks, **options}
