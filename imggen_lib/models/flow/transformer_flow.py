r"""A transformer flow: a normalizing flow on patches of noisy images, with a denoising step after sampling.

Gaussian noise is added to the images in training, :math:`y = x + \sigma \varepsilon`, and the flow models the density of y,
which is smooth where that of 8-bit images is not. The flow's samples are noisy, too. The mean clean image for a noisy one
follows from the gradient of the log-density (Tweedie's formula):

.. math:: \mathbb{E}[x \mid y] = y + \sigma^2 \, \nabla_y \log p(y) .
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib import backend
from imggen_lib.models.base import check_network
from imggen_lib.models.blocks import network_inputs, predict
from imggen_lib.models.flow.autoregressive import AutoregressiveTransform, Patches
from imggen_lib.models.flow.layers import invertible_layers
from imggen_lib.models.guidance import GuidedModel, drop_condition

__all__ = ["TransformerFlow", "transformer_flow_network"]

#: Images that are sampled, or denoised, at a time.
SAMPLE_BATCH = 250


def transformer_flow_network(
    image_shape: Sequence[int],
    *,
    patch_size: int = 4,
    width: int = 96,
    depth: int = 3,
    heads: int = 4,
    transforms: int = 4,
    num_classes: int | None = None,
    name: str = "transformer_flow",
) -> keras.Model:
    """Build a chain of invertible layers: patches, then autoregressive transforms in alternating direction.

    All layers compute in single precision, whatever Keras's dtype policy is, because the inverse and the density need it.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, height and width divisible by ``patch_size``.
    patch_size : int
        Pixels on a side of a patch.
    width, depth, heads : int
        Of each transform; see :class:`imggen_lib.models.flow.autoregressive.AutoregressiveTransform`.
    transforms : int
        How many.
    num_classes : int, optional
        Size of the condition.

    Returns
    -------
    keras.Model
        From images and, if ``num_classes`` is given, conditions ``(n, num_classes)``; to latent values
        ``(n, patches, values)`` and the log-determinant ``(n,)``.

    Raises
    ------
    ValueError
        If the size cannot be divided into patches, or a number is not positive.

    Examples
    --------
    >>> network = transformer_flow_network((8, 8, 1), width=8, depth=1, heads=2, transforms=2)
    >>> [output.shape for output in network.outputs]
    [(None, 4, 16), (None,)]
    """
    shape = validate.image_shape(image_shape)
    if any(size % validate.integer(patch_size, "patch_size") for size in shape[:2]):
        raise ValueError(f"image_shape is {shape} and patch_size is {patch_size}; expected a divisor of height and width")
    image, condition = keras.Input(shape, name="image", dtype="float32"), None
    if validate.condition_size(num_classes):
        condition = keras.Input((num_classes,), name="condition", dtype="float32")
    x, total = Patches(patch_size, name="patches", dtype="float32")(image)
    for index in range(validate.integer(transforms, "transforms")):
        layer = AutoregressiveTransform(
            width, depth=depth, heads=heads, backwards=index % 2 == 1, name=f"transform_{index}", dtype="float32"
        )
        x, log_det = layer(x, condition)
        total = total + log_det
    return keras.Model(network_inputs(image, condition), [x, total], name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class TransformerFlow(GuidedModel):
    """A normalizing flow on patches of noisy images, with or without classes.

    The likelihood of the *noisy* image is exact. It is not that of the 8-bit image, so it cannot be compared with the bits
    per dimension of :class:`imggen_lib.models.flow.model.Flow`. Denoised samples have no likelihood.

    Parameters
    ----------
    network : keras.Model
        See :func:`transformer_flow_network`.
    image_shape : tuple of int, optional
        Shape of the images, if the network's is larger: a border of grey is added below and to the right.
    num_classes : int, optional
        Size of the condition of a conditional flow, trained by ``fit(images, labels)``; the network must be built with the
        same value.
    noise_std : float
        Standard deviation of the noise on the scale [-1, 1]; positive.
    **options
        ``label_dropout``, ``ema_momentum`` and ``seed``, as in :class:`imggen_lib.models.guidance.GuidedModel`.

    Raises
    ------
    ValueError
        If the network does not fit ``image_shape`` or ``num_classes``, or a number is out of range.

    References
    ----------
    Zhai et al., "Normalizing flows are capable generative models", ICML 2025. Efron, "Tweedie's formula and selection
    bias", Journal of the American Statistical Association 106, 2011.

    Examples
    --------
    >>> network = transformer_flow_network((8, 8, 1), width=8, depth=1, heads=2, transforms=2)
    >>> model = TransformerFlow(network)
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(keras.random.uniform((32, 8, 8, 1), seed=0), verbose=0)
    >>> model.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        image_shape: Sequence[int] | None = None,
        num_classes: int | None = None,
        noise_std: float = 0.1,
        **options: Any,
    ) -> None:
        others = [] if num_classes is None else [(num_classes,)]
        chain = invertible_layers(network)
        check_network(
            network,
            lambda inputs, outputs: bool(chain) and inputs[1:] == others and outputs[1:] == [()],
            "a chain of invertible layers, conditional if num_classes is given: use transformer_flow_network with "
            f"num_classes={num_classes}",
        )
        super().__init__(network, num_classes=num_classes, **options)
        whole = tuple(network.inputs[0].shape[1:])
        self.size = whole if image_shape is None else validate.image_shape(image_shape)
        if self.size[2] != whole[2] or self.size[0] > whole[0] or self.size[1] > whole[1]:
            raise ValueError(f"image_shape is {self.size} and the network takes {whole}; expected no larger image")
        self.border = ((0, 0), (0, whole[0] - self.size[0]), (0, whole[1] - self.size[1]), (0, 0))
        self.noise_std = validate.real(noise_std, "noise_std", minimum=1e-6)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return self.size

    # Networks that are compiled when they are first used. Their weights are those of the average. Keras does not find
    # them in cached properties, so it does not save these weights a second time.

    @functools.cached_property
    def _inverse(self) -> keras.Model:
        return self._network_of(_Inverse(self.average.network), self.network.outputs[0])

    @functools.cached_property
    def _guided_inverse(self) -> keras.Model:
        return self._network_of(_Inverse(self.average.network), self.network.outputs[0], keras.Input((1,), name="scale"))

    @functools.cached_property
    def _denoiser(self) -> keras.Model:
        return self._network_of(_Denoiser(self.average.network, self.noise_std), self.network.inputs[0])

    def _network_of(self, layer: keras.Layer, like: Any, *others: Any) -> keras.Model:
        """Return a network of one layer, from values of the shape of a tensor, the condition, and other inputs."""
        condition = [] if self.num_classes is None else [keras.Input((self.num_classes,), name="condition")]
        inputs = [keras.Input(like.shape[1:], name="values"), *condition, *others]
        return keras.Model(network_inputs(*inputs), layer(*inputs))

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean negative log-density of noisy images, in nats per value, on the scale [-1, 1]."""
        clean = ops.pad(2 * images - 1, self.border)
        noisy = clean + self.noise_std * keras.random.normal(ops.shape(clean), dtype="float32", seed=self.noise)
        condition = drop_condition(condition, self.label_dropout, self.noise)
        latent, log_det = self.network(network_inputs(noisy, condition), training=training)
        return -ops.mean(_normal_log_density(latent) + log_det) / math.prod(self.network.inputs[0].shape[1:])

    def log_prob(self, images: ArrayLike, *, seed: int, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return the exact log-density of each image plus Gaussian noise, in nats, for images on the scale [0, 1].

        If the network's images have a border, its noise is part of the density, and its own log-density is subtracted: the
        mean of the result is a lower bound; see :class:`imggen_lib.models.flow.layers.Augment`.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        seed : int
            Of the noise, of standard deviation ``noise_std / 2`` on the scale [0, 1].
        labels : array_like, optional
            As in :meth:`sample`; without labels it is the density of the model without a condition.

        Returns
        -------
        numpy.ndarray
            ``(n,)``.

        Raises
        ------
        ValueError
            If the images have another shape, or the labels do not fit.
        """
        checked = validate.images(images, self.image_shape)
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        clean = np.pad(2 * checked.astype(np.float32) - 1, self.border)
        noise = rng.standard_normal(clean.shape).astype(np.float32)
        condition = self.rows_or_zeros(self.condition_rows(labels, len(checked)), len(checked))
        noisy = clean + self.noise_std * noise
        latent, log_det = predict(self.average.network, network_inputs(noisy, condition))
        of_border = np.ones_like(noise)
        of_border[:, : self.size[0], : self.size[1]] = 0
        border = -0.5 * of_border * (noise**2 + math.log(2 * math.pi * self.noise_std**2))
        density = ops.convert_to_numpy(_normal_log_density(latent)) + log_det - border.sum(axis=(1, 2, 3))
        # In [0, 1] volumes are smaller than in [-1, 1].
        return density + math.prod(self.size) * math.log(2)

    def denoise(self, noisy: NDArray[np.float32], *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return the mean clean image for each noisy one, by Tweedie's formula.

        Parameters
        ----------
        noisy : numpy.ndarray
            Images of the network's shape, on the scale [-1, 1], with noise of standard deviation ``noise_std``.
        labels : array_like, optional
            As in :meth:`sample`.

        Returns
        -------
        numpy.ndarray
            float32, of the shape of ``noisy``.
        """
        inputs = network_inputs(noisy, self.rows_or_zeros(self.condition_rows(labels, len(noisy)), len(noisy)))
        # The compilation takes as long as the denoising of about a thousand images without it.
        return predict(self._denoiser, inputs, batch_size=SAMPLE_BATCH, compiled=len(noisy) > 1000)

    def generate(
        self, latent: ArrayLike, *, labels: ArrayLike | None = None, guidance_scale: float = 1.0, denoise: bool = True
    ) -> NDArray[np.float32]:
        """Map latent values to images with the inverse of the averaged network.

        Parameters
        ----------
        latent : array_like
            ``(n, patches, values)``.
        labels, guidance_scale, denoise
            As in :meth:`sample`.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)``, in [0, 1] up to the clipping that ``sample`` does.

        Raises
        ------
        ValueError
            If ``latent`` has another shape, the labels do not fit, or ``guidance_scale`` is negative.
        """
        values = validate.real_array(latent, "latent", ndim=3).astype(np.float32)
        shape = tuple(self.network.outputs[0].shape[1:])
        if values.shape[1:] != shape:
            raise ValueError(f"latent has the shape {values.shape}; expected (n, {', '.join(map(str, shape))})")
        guidance_scale = validate.real(guidance_scale, "guidance_scale", minimum=0)
        condition = self.rows_or_zeros(self.condition_rows(labels, len(values)), len(values))
        if condition is None or guidance_scale == 1:
            inverse, scales = self._inverse, None
        else:
            inverse, scales = self._guided_inverse, np.full((len(values), 1), guidance_scale, np.float32)
        images = predict(inverse, network_inputs(values, condition, scales), batch_size=SAMPLE_BATCH)
        if denoise:
            images = self.denoise(images, labels=labels)
        return np.asarray((images[:, : self.size[0], : self.size[1]] + 1) / 2, np.float32)

    def sample(  # type: ignore[override]  # options by name, where the base class takes any
        self,
        n: int,
        *,
        seed: int,
        labels: ArrayLike | None = None,
        guidance_scale: float = 1.0,
        denoise: bool = True,
    ) -> NDArray[np.float32]:
        """Generate images: invert the flow at random latent values, then denoise.

        Parameters
        ----------
        n, seed, labels
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`.
        guidance_scale : float
            At least 0: 0 ignores the labels, 1 uses them, and more extrapolates; see
            :meth:`imggen_lib.models.flow.autoregressive.AutoregressiveTransform.invert`.
        denoise : bool
            Whether to remove the noise that the model was trained with.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If a number is out of range, or the labels do not fit.
        """
        return super().sample(n, seed=seed, labels=labels, guidance_scale=guidance_scale, denoise=denoise)

    def _sample(
        self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None, **options: Any
    ) -> NDArray[np.float32]:
        return self.generate(rng.standard_normal((n, *self.network.outputs[0].shape[1:])), labels=condition, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "image_shape": self.size, "noise_std": self.noise_std}


class _Inverse(keras.Layer):
    """The inverse of a chain of invertible layers: from latent values to noisy images."""

    def __init__(self, chain: keras.Model) -> None:
        super().__init__(dtype="float32")
        self.chain = chain

    def call(self, latent: Any, condition: Any = None, guidance_scale: Any = None) -> Any:
        """Return the images ``(n, height, width, channels)``."""
        for layer in reversed(invertible_layers(self.chain)):
            options = {"guidance_scale": guidance_scale} if isinstance(layer, AutoregressiveTransform) else {}
            latent = layer.invert(latent, condition, **options)
        return latent

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape of the images. Without this method, Keras would evaluate the layer once more."""
        return self.chain.inputs[0].shape


class _Denoiser(keras.Layer):
    """Tweedie's formula: from noisy images to the mean clean images."""

    def __init__(self, chain: keras.Model, noise_std: float) -> None:
        super().__init__(dtype="float32")
        self.chain = chain
        self.noise_std = noise_std

    def call(self, noisy: Any, condition: Any = None) -> Any:
        """Return the images ``(n, height, width, channels)``."""

        def log_density(images: Any) -> Any:
            latent, log_det = self.chain(network_inputs(images, condition), training=False)
            return _normal_log_density(latent) + log_det

        return noisy + self.noise_std**2 * backend.input_gradient(log_density, noisy)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape of the images."""
        return self.chain.inputs[0].shape


def _normal_log_density(z: Any) -> Any:
    """Return the log-density of each row of z under the standard normal distribution, ``(n,)``."""
    return -0.5 * ops.sum(ops.square(z) + math.log(2 * math.pi), axis=(1, 2))
