"""An autoencoder whose code is a grid of discrete tokens (VQ-VAE).

The encoder maps an image to a small grid of vectors, each vector is replaced by the nearest of K codes, and the decoder
maps the grid of codes back to an image. The index of a code is a token: an image becomes a grid of integers, of which
another model can learn the distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, check_network, serialize
from imggen_lib.models.blocks import coarse_shape, downsample, predict, upsample
from imggen_lib.models.vae import gaussian_log_density
from imggen_lib.models.vq.quantizer import VectorQuantizer, nearest_code, perplexity

__all__ = ["TokenAutoencoder", "token_decoder", "token_encoder"]

#: Images whose vectors are compared with all codes at a time.
ENCODE_BATCH = 256


def token_encoder(
    image_shape: Sequence[int],
    code_dim: int = 32,
    *,
    filters: Sequence[int] = (64, 128),
    blocks: int = 1,
    name: str = "encoder",
) -> keras.Model:
    """Build the encoder of a :class:`TokenAutoencoder`: strided convolutions, then residual blocks.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size: a border is added if the size cannot be halved as often.
    code_dim : int
        Length of a vector.
    filters : sequence of int
        Channels after each halving.
    blocks : int
        Residual blocks at the smallest size.

    Returns
    -------
    keras.Model
        From images in [0, 1] to vectors ``(n, h, w, code_dim)``, where ``h`` and ``w`` are height and width divided by
        ``2 ** len(filters)``, rounded up.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, ``filters`` is empty, or a number is not positive.

    Examples
    --------
    >>> token_encoder((28, 28, 1)).output_shape, token_encoder((64, 64, 3), filters=(32, 64, 64)).output_shape
    ((None, 7, 7, 32), (None, 8, 8, 32))
    """
    image = keras.Input(validate.image_shape(image_shape), name="image")
    x = downsample(image, filters, blocks)
    vectors = layers.Conv2D(validate.integer(code_dim, "code_dim"), 1, name="to_codes", dtype="float32")(x)
    return keras.Model(image, vectors, name=name)


def token_decoder(
    image_shape: Sequence[int],
    code_dim: int = 32,
    *,
    filters: Sequence[int] = (128, 64),
    blocks: int = 1,
    name: str = "decoder",
) -> keras.Model:
    """Build the decoder of a :class:`TokenAutoencoder`: residual blocks, then transposed convolutions that double the size.

    Parameters
    ----------
    image_shape, code_dim, blocks
        As in :func:`token_encoder`.
    filters : sequence of int
        Channels before each doubling: those of the encoder in reverse order.

    Returns
    -------
    keras.Model
        From codes ``(n, h, w, code_dim)`` to images in [0, 1].

    Raises
    ------
    ValueError
        As in :func:`token_encoder`.

    Examples
    --------
    >>> decoder = token_decoder((28, 28, 1))
    >>> decoder.input_shape, decoder.output_shape
    ((None, 7, 7, 32), (None, 28, 28, 1))
    """
    shape = coarse_shape(image_shape, len(filters))
    codes = keras.Input((*shape, validate.integer(code_dim, "code_dim")), name="codes")
    return keras.Model(codes, upsample(codes, image_shape, filters, blocks), name=name)


def checked_tokens(tokens: ArrayLike, shape: Sequence[int], num_codes: int) -> NDArray[np.int32]:
    """Return tokens as int32 ``(n, *shape)``, or raise an error if they are invalid."""
    array = np.asarray(tokens)
    if array.dtype.kind not in "iu":
        raise TypeError(f"tokens has the dtype {array.dtype}; expected integers")
    if array.shape[1:] != tuple(shape) or array.size == 0:
        raise ValueError(f"tokens has the shape {array.shape}; expected (n, {', '.join(map(str, shape))})")
    if array.min() < 0 or array.max() >= num_codes:
        raise ValueError(f"tokens has values from {array.min()} to {array.max()}; expected 0 to {num_codes - 1}")
    return array.astype(np.int32)


@keras.saving.register_keras_serializable(package="imggen_lib")
class TokenAutoencoder(GenerativeModel):
    r"""An autoencoder with a grid of discrete tokens as its code, the first stage of a model of images.

    The loss, per value of an image and per value of a vector, is

    .. math:: -\frac{1}{D} \log \mathcal{N}\bigl(x;\, \operatorname{decoder}(\hat z),\, \sigma^2\bigr)
              + \beta \, \frac{1}{d} \bigl\|z - \operatorname{sg}(e_k)\bigr\|^2 .

    The first term is the reconstruction error. The second, the commitment loss, keeps the encoder's vectors near their
    codes. The codes themselves follow the vectors by moving averages; see
    :class:`imggen_lib.models.vq.quantizer.VectorQuantizer`. ``fit`` reports both terms and the perplexity of the batch's
    tokens, the effective number of codes in use.

    An autoencoder alone does not model the distribution of token grids. ``sample`` is a baseline: it samples each token
    independently. Train a :class:`imggen_lib.models.vq.token_transformer.TokenTransformer` or a
    :class:`imggen_lib.models.vq.masked.MaskedTokenTransformer` on the tokens to generate images.

    Parameters
    ----------
    encoder : keras.Model
        From images to vectors ``(n, h, w, d)``; see :func:`token_encoder`.
    decoder : keras.Model
        From ``(n, h, w, d)`` to images in [0, 1]; see :func:`token_decoder`.
    num_codes : int
        K, at least 2.
    commitment : float
        :math:`\beta`, at least 0.
    std : float, optional
        :math:`\sigma`, the decoder's standard deviation for each value. None learns one value for all.
    momentum, restart_threshold : float
        Of the codebook.
    seed : int
        Of the restarts of unused codes.

    Attributes
    ----------
    quantizer : VectorQuantizer
    histogram : keras.Variable
        ``(h * w, K)``: the moving average of the share of each token at each position.

    Raises
    ------
    ValueError
        If encoder and decoder do not fit each other, or a number is out of range.

    References
    ----------
    Van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017.

    Examples
    --------
    An image of 64 values becomes four tokens:

    >>> shape, filters = (8, 8, 1), (8, 8)
    >>> encoder, decoder = token_encoder(shape, 4, filters=filters), token_decoder(shape, 4, filters=filters)
    >>> model = TokenAutoencoder(encoder, decoder, num_codes=16)
    >>> model.compile(optimizer="adam")
    >>> images = keras.random.uniform((32, *shape), seed=0)
    >>> history = model.fit(images, verbose=0)
    >>> tokens = model.encode(images)
    >>> tokens.shape, model.decode(tokens).shape, model.sample(3, seed=0).shape
    ((32, 2, 2), (32, 8, 8, 1), (3, 8, 8, 1))
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        num_codes: int = 512,
        commitment: float = 0.25,
        std: float | None = None,
        momentum: float = 0.99,
        restart_threshold: float = 0.1,
        seed: int = 0,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        if num_classes is not None:
            raise ValueError(f"num_classes is {num_classes}; a TokenAutoencoder has no condition: leave it out")
        super().__init__(**kwargs)
        check_network(
            encoder,
            lambda inputs, outputs: len(inputs) == len(outputs) == 1 and len(inputs[0]) == len(outputs[0]) == 3,
            "images to a grid of vectors: use token_encoder",
        )
        shapes = [tuple(encoder.outputs[0].shape[1:])], [tuple(encoder.inputs[0].shape[1:])]
        check_network(
            decoder,
            lambda *found: found == shapes,
            f"{shapes[0]} to {shapes[1]} for this encoder: build encoder and decoder for the same image_shape, code_dim "
            "and number of filters",
        )
        self.encoder = encoder
        self.decoder = decoder
        self.quantizer: VectorQuantizer = VectorQuantizer(
            num_codes, momentum=momentum, restart_threshold=restart_threshold, seed=seed, name="quantizer"
        )
        self.quantizer.build((None, *shapes[0][0]))
        self.commitment = validate.real(commitment, "commitment", minimum=0)
        self.std = None if std is None else validate.real(std, "std", minimum=1e-6)
        log_std = keras.initializers.Constant(-1.0 if self.std is None else math.log(self.std))
        self.log_std = self.add_weight(shape=(), initializer=log_std, trainable=self.std is None, name="log_std")
        rows, columns = self.token_shape
        uniform = keras.initializers.Constant(1 / num_codes)
        self.histogram = self.add_weight(
            shape=(rows * columns, num_codes), initializer=uniform, trainable=False, name="histogram"
        )
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.commitment_tracker = keras.metrics.Mean(name="commitment")
        self.perplexity_tracker = keras.metrics.Mean(name="perplexity")
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.encoder.input_shape[1:])

    @property
    def token_shape(self) -> tuple[int, int]:
        """Rows and columns of the grid of tokens."""
        return tuple(self.encoder.output_shape[1:3])

    @property
    def num_codes(self) -> int:
        """Number of codes, which are numbered from 0."""
        return self.quantizer.num_codes

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the reconstruction error in nats per value of an image, plus the weighted commitment loss."""
        loss, terms, tokens = self.token_loss(images, training=training)
        self.reconstruction_tracker.update_state(terms["reconstruction"])
        self.commitment_tracker.update_state(terms["commitment"])
        share = ops.mean(ops.one_hot(ops.reshape(tokens, (-1,)), self.num_codes), axis=0)
        self.perplexity_tracker.update_state(perplexity(share))
        return loss

    def token_loss(self, images: Any, *, training: bool) -> tuple[Any, dict[str, Any], Any]:
        """Return the loss of a batch, its terms by name, and the tokens ``(n, h, w)``. In training, codes are updated."""
        vectors = self.encoder(images, training=training)
        codes, tokens = self.quantizer(vectors, training=training)
        mean = self.decoder(codes, training=training)
        values = math.prod(self.image_shape)
        terms = {
            "reconstruction": -ops.mean(gaussian_log_density(images, mean, self.log_std)) / values,
            "commitment": ops.mean(ops.square(vectors - ops.stop_gradient(codes))),
        }
        if training:
            self._count(tokens)
        return terms["reconstruction"] + self.commitment * terms["commitment"], terms, tokens

    def _count(self, tokens: Any) -> None:
        """Move the histogram towards the share of each token at each position of a batch."""
        positions, codes = self.histogram.shape
        flat = ops.reshape(tokens, (-1, positions))
        # One segment for each pair of position and token.
        segments = ops.reshape(flat + codes * ops.arange(positions, dtype="int32"), (-1,))
        counts = ops.segment_sum(ops.ones_like(segments, dtype="float32"), segments, num_segments=positions * codes)
        share = ops.reshape(counts, (positions, codes)) / ops.cast(ops.shape(flat)[0], "float32")
        self.histogram.assign(self.quantizer.momentum * self.histogram + (1 - self.quantizer.momentum) * share)

    def tokens_of(self, images: Any) -> Any:
        """Return the tokens of a batch of images, inside a training step: from a tensor to int32 ``(n, h, w)``."""
        return self.quantizer(self.encoder(images, training=False))[1]

    def encode(self, images: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.int32]:
        """Return the tokens of images.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        labels : None
            For the common interface: the model has no condition.

        Returns
        -------
        numpy.ndarray
            int32 ``(n, h, w)``, from 0 to ``num_codes - 1``.

        Raises
        ------
        ValueError
            If the images have another shape or values outside [0, 1], or labels are given.
        """
        checked = validate.images(images, self.image_shape).astype(np.float32)
        self.condition_rows(labels, len(checked))
        vectors, codebook = predict(self.encoder, checked), ops.convert_to_tensor(self.quantizer.codebook)
        parts = []
        for first in range(0, len(vectors), ENCODE_BATCH):
            some = ops.convert_to_tensor(vectors[first : first + ENCODE_BATCH])
            parts.append(ops.convert_to_numpy(nearest_code(some, codebook)))
        return np.concatenate(parts)

    def decode(self, tokens: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Map tokens to images: the mean of the decoder's Gaussian, without pixel noise.

        Parameters
        ----------
        tokens : array_like of int
            ``(n, h, w)``, from 0 to ``num_codes - 1``.
        labels : None
            For the common interface: the model has no condition.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If the tokens have another shape or are out of range, or labels are given.
        TypeError
            If the tokens are not integers.
        """
        checked = checked_tokens(tokens, self.token_shape, self.num_codes)
        self.condition_rows(labels, len(checked))
        return predict(self.decoder, ops.convert_to_numpy(self.quantizer.codebook)[checked])

    def reconstruct(self, images: ArrayLike) -> NDArray[np.float32]:
        """Encode images and decode their tokens. Parameters and errors are those of :meth:`encode`."""
        return self.decode(self.encode(images))

    def code_usage(self, images: ArrayLike) -> dict[str, float]:
        """Return how many codes images use.

        Parameters
        ----------
        images : array_like
            As in :meth:`encode`.

        Returns
        -------
        dict
            ``share``: the share of codes that occur, in (0, 1]; ``perplexity``: the effective number of codes, from 1 to
            ``num_codes``.

        Raises
        ------
        ValueError
            As in :meth:`encode`.
        """
        counts = np.bincount(self.encode(images).ravel(), minlength=self.num_codes)
        share = (counts / counts.sum()).astype(np.float32)
        return {"share": float(np.mean(counts > 0)), "perplexity": float(perplexity(ops.convert_to_tensor(share)))}

    def sample(  # type: ignore[override]  # options by name, where the base class takes any
        self, n: int, *, seed: int, labels: ArrayLike | None = None, prior: str = "histogram"
    ) -> NDArray[np.float32]:
        """Decode independent random tokens. This is a baseline: neighbouring tokens do not fit each other.

        Parameters
        ----------
        n, seed, labels
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`; labels must be None.
        prior : {"histogram", "uniform"}
            Whether each token is sampled from those that the training images had at its position, or from all codes.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If there is no such prior, n is not positive, or labels are given.
        """
        return super().sample(n, seed=seed, labels=labels, prior=prior)

    def _sample(
        self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None, *, prior: str = "histogram"
    ) -> NDArray[np.float32]:
        validate.choice(prior, "prior", ("histogram", "uniform"))
        weights = np.maximum(ops.convert_to_numpy(self.histogram).astype(np.float64), 1e-12)
        cumulative = np.cumsum(weights if prior == "histogram" else np.ones_like(weights), axis=1)
        rows, columns = self.token_shape
        uniform = rng.random((n, rows * columns))
        # The first token whose cumulative probability exceeds a uniform number.
        tokens = [np.searchsorted(one, uniform[:, index] * one[-1], side="right") for index, one in enumerate(cumulative)]
        grid = np.minimum(np.stack(tokens, axis=1), self.num_codes - 1)
        return self.decode(grid.reshape(n, rows, columns))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        networks = {"encoder": serialize(self.encoder), "decoder": serialize(self.decoder)}
        quantizer = {name: getattr(self.quantizer, name) for name in ("num_codes", "momentum", "restart_threshold", "seed")}
        return {**super().get_config(), **networks, **quantizer, "commitment": self.commitment, "std": self.std}
