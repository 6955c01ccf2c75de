"""The common part of both transformers over tokens: the first stage, the condition, guidance, and sampling from logits."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax

from imggen_lib import _validation as validate
from imggen_lib.models.base import check_network, serialize
from imggen_lib.models.blocks import network_inputs, predict
from imggen_lib.models.guidance import GuidedModel, drop_condition, guide
from imggen_lib.models.vq.autoencoder import TokenAutoencoder, checked_tokens
from imggen_lib.models.vq.network import network_predictor

__all__ = ["TokenPrior", "choose_tokens", "token_log_probabilities"]

#: Images that are sampled at a time.
SAMPLE_BATCH = 250


def choose_tokens(
    logits: NDArray[np.floating], uniform: NDArray[np.floating], temperature: float = 1.0
) -> NDArray[np.int32]:
    r"""Sample from categorical distributions: return the first token whose cumulative probability exceeds a uniform number.

    .. math:: p_k \propto e^{l_k / T}

    Parameters
    ----------
    logits : numpy.ndarray
        ``(..., K)``.
    uniform : numpy.ndarray
        ``(...)``, in [0, 1).
    temperature : float
        T, at least 0: 1 samples from the distribution, less prefers likely tokens, 0 takes the likeliest.

    Returns
    -------
    numpy.ndarray
        int32 ``(...)``.

    Examples
    --------
    >>> logits = np.log([0.1, 0.2, 0.7])
    >>> [int(choose_tokens(logits, np.array(u))) for u in (0.05, 0.25, 0.35)]
    [0, 1, 2]
    """
    if temperature == 0:
        return np.argmax(logits, axis=-1).astype(np.int32)
    cumulative = np.cumsum(softmax(logits.astype(np.float64) / temperature, axis=-1), axis=-1)
    below = cumulative <= np.asarray(uniform)[..., np.newaxis] * cumulative[..., -1:]
    return np.minimum(below.sum(axis=-1), logits.shape[-1] - 1).astype(np.int32)


def token_log_probabilities(logits: NDArray[np.floating], tokens: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the log-probability of each token, in nats.

    Parameters
    ----------
    logits : numpy.ndarray
        ``(..., K)``.
    tokens : numpy.ndarray
        int ``(...)``, from 0 to K - 1.

    Returns
    -------
    numpy.ndarray
        ``(...)``.

    Examples
    --------
    >>> float(token_log_probabilities(np.zeros((1, 4)), np.array([2]))[0].round(4)) == round(-math.log(4), 4)
    True
    """
    log_p = log_softmax(logits.astype(np.float64), axis=-1)
    return np.take_along_axis(log_p, tokens[..., np.newaxis], axis=-1)[..., 0]


class TokenPrior(GuidedModel):
    """The base of both transformers over the tokens of a :class:`imggen_lib.models.vq.autoencoder.TokenAutoencoder`.

    A subclass defines whether the network is causal, the loss of a batch of tokens, their log-probability, and how tokens
    are sampled.

    The model keeps a copy of the autoencoder, so its file is complete, and the given autoencoder is not changed. By default
    the copy is frozen: train the autoencoder first. With ``train_autoencoder`` both are trained in the same steps, each by
    its own loss: tokens are integers, so no gradient passes from the transformer to the autoencoder. One run is then
    enough, but the tokens change while the transformer learns them.

    Parameters
    ----------
    network : keras.Model
        See :func:`imggen_lib.models.vq.network.token_network`.
    autoencoder : TokenAutoencoder
        The first stage.
    num_classes : int, optional
        Size of the condition of a conditional model, trained by ``fit(images, labels)``; the network must be built with the
        same value.
    train_autoencoder : bool
        Whether the autoencoder is trained as well.
    **options
        ``label_dropout``, ``ema_momentum`` and ``seed``, as in :class:`imggen_lib.models.guidance.GuidedModel`.

    Raises
    ------
    TypeError
        If ``autoencoder`` is another object.
    ValueError
        If the network does not fit the autoencoder or ``num_classes``, or a number is out of range.

    Examples
    --------
    >>> from imggen_lib import models
    >>> issubclass(models.TokenTransformer, TokenPrior), models.MaskedTokenTransformer.causal
    (True, False)
    """

    #: Whether the network must be causal.
    causal: ClassVar[bool]

    def __init__(
        self,
        network: keras.Model,
        autoencoder: TokenAutoencoder,
        *,
        num_classes: int | None = None,
        train_autoencoder: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(autoencoder, TokenAutoencoder):
            raise TypeError(f"autoencoder is a {type(autoencoder).__name__}; expected a TokenAutoencoder")
        length, codes = math.prod(autoencoder.token_shape), autoencoder.num_codes
        expected = [(length,), *([] if num_classes is None else [(num_classes,)])], [(length, codes)]
        predictor = network_predictor(network)
        check_network(
            network,
            lambda *shapes: shapes == expected and predictor is not None and predictor.causal == self.causal,
            f"{expected[0]} to {expected[1]}: use token_network with the token_shape and num_codes of the autoencoder, "
            f"causal={self.causal} and num_classes={num_classes}",
        )
        super().__init__(network, num_classes=num_classes, **options)
        self.autoencoder: Any = TokenAutoencoder.from_config(autoencoder.get_config())
        self.autoencoder.set_weights(autoencoder.get_weights())
        self.train_autoencoder = bool(train_autoencoder)
        self.autoencoder.trainable = self.train_autoencoder
        if self.train_autoencoder:
            self.token_tracker = keras.metrics.Mean(name="cross_entropy")
            self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return self.autoencoder.image_shape

    @property
    def token_shape(self) -> tuple[int, int]:
        """Rows and columns of the grid of tokens."""
        return self.autoencoder.token_shape

    @property
    def num_codes(self) -> int:
        """Number of codes."""
        return self.autoencoder.num_codes

    @property
    def code_shape(self) -> tuple[int, ...] | None:
        """Shape of the tokens, which training accepts instead of images if the autoencoder is not trained."""
        return None if self.train_autoencoder else self.token_shape

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the cross-entropy in nats per predicted token; plus the autoencoder's loss if it is trained as well."""
        if self.train_autoencoder:
            of_autoencoder, terms, tokens = self.autoencoder.token_loss(images, training=training)
        else:
            tokens = images if tuple(images.shape[1:]) == self.code_shape else self.autoencoder.tokens_of(images)
        tokens = ops.reshape(tokens, (-1, math.prod(self.token_shape)))
        if training:
            condition = drop_condition(condition, self.label_dropout, self.noise)
        loss = self._cross_entropy(tokens, condition, training=training)
        if not self.train_autoencoder:
            return loss
        self.token_tracker.update_state(loss)
        self.reconstruction_tracker.update_state(terms["reconstruction"])
        return loss + of_autoencoder

    def _cross_entropy(self, tokens: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean cross-entropy of the tokens ``(n, N)`` that the network predicts, a scalar tensor."""
        raise NotImplementedError(f"{type(self).__name__} does not define _cross_entropy")

    def _token_losses(self, inputs: Any, tokens: Any, condition: Any, *, training: bool) -> Any:
        """Return the cross-entropy ``(n, N)`` of each token, predicted from the tokens ``inputs``."""
        logits = self.network(network_inputs(inputs, condition), training=training)
        return ops.sparse_categorical_crossentropy(tokens, logits, from_logits=True)

    def logits(
        self, tokens: ArrayLike, *, labels: ArrayLike | None = None, guidance_scale: float = 1.0
    ) -> NDArray[np.float32]:
        r"""Return the prediction of the network with averaged weights, with classifier-free guidance.

        .. math:: l = l_\emptyset + w\,(l_c - l_\emptyset)

        Parameters
        ----------
        tokens : array_like of int
            ``(n, h, w)``, from 0 to ``num_codes``, the additional token.
        labels : array_like, optional
            As in :meth:`sample`; without labels, the logits of the model without a condition.
        guidance_scale : float
            w, at least 0.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, h, w, num_codes)``.

        Raises
        ------
        ValueError
            If the tokens have another shape or are out of range, the labels do not fit, or ``guidance_scale`` is negative.
        TypeError
            If the tokens are not integers.
        """
        checked = checked_tokens(tokens, self.token_shape, self.num_codes + 1)
        conditions = self._conditions(self.condition_rows(labels, len(checked)), len(checked), guidance_scale)
        logits = self._guided_logits(checked.reshape(len(checked), -1), conditions, guidance_scale)
        return logits.reshape(*checked.shape, self.num_codes)

    def _guided_logits(
        self, tokens: NDArray[np.int32], conditions: list[Any], guidance_scale: float
    ) -> NDArray[np.float32]:
        """Return logits ``(n, N, K)`` for tokens ``(n, N)``."""
        network = self.average.network
        return guided([predict(network, network_inputs(tokens, one)) for one in conditions], guidance_scale)

    def _conditions(self, condition: NDArray[np.float32] | None, n: int, guidance_scale: float) -> list[Any]:
        """Return the conditions to evaluate the network with, for :func:`guided`: one, or one and zeros."""
        scale = validate.real(guidance_scale, "guidance_scale", minimum=0)
        if self.num_classes is None:
            if scale != 1:
                raise ValueError(f"guidance_scale is {scale:g} and the model has no condition; expected 1")
            return [None]
        none = self.rows_or_zeros(None, n)
        if condition is None:
            return [none]
        return [condition] if scale == 1 else [condition, none]

    def log_prob_tokens(self, tokens: ArrayLike, *, labels: ArrayLike | None = None, **options: Any) -> NDArray[np.float64]:
        """Return the exact log-probability of each grid of tokens, in nats, without guidance and at temperature 1.

        Parameters
        ----------
        tokens : array_like of int
            ``(n, h, w)``, from 0 to ``num_codes - 1``.
        labels : array_like, optional
            As in :meth:`sample`; without labels, the probability under the model without a condition.
        **options
            Of the subclass.

        Returns
        -------
        numpy.ndarray
            ``(n,)``, at most 0.

        Raises
        ------
        ValueError
            If the tokens have another shape or are out of range, or the labels do not fit.
        TypeError
            If the tokens are not integers.
        """
        checked = checked_tokens(tokens, self.token_shape, self.num_codes)
        flat, condition = checked.reshape(len(checked), -1), self.condition_rows(labels, len(checked))
        parts = []
        # In batches, because the logits are as many times larger than the tokens as there are codes.
        for first in range(0, len(flat), SAMPLE_BATCH):
            rows = slice(first, first + SAMPLE_BATCH)
            conditions = self._conditions(None if condition is None else condition[rows], len(flat[rows]), 1.0)
            parts.append(self._log_prob_batch(flat[rows], conditions, **options))
        return np.concatenate(parts)

    def _log_prob_batch(self, tokens: NDArray[np.int32], conditions: list[Any]) -> NDArray[np.float64]:
        """Return the log-probabilities ``(n,)`` of sequences of tokens ``(n, N)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define _log_prob_batch")

    def sample_tokens(self, n: int, *, seed: int, labels: ArrayLike | None = None, **options: Any) -> NDArray[np.int32]:
        """Generate grids of tokens, those that :meth:`sample` decodes to images.

        Parameters
        ----------
        n, seed, labels, **options
            As in :meth:`sample`.

        Returns
        -------
        numpy.ndarray
            int32 ``(n, h, w)``, from 0 to ``num_codes - 1``.

        Raises
        ------
        ValueError
            As in :meth:`sample`.
        """
        return self._sample_tokens(*self._sampling_arguments(n, seed, labels), **options)

    def _sample(
        self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None, **options: Any
    ) -> NDArray[np.float32]:
        return self.autoencoder.decode(self._sample_tokens(n, rng, condition, **options))

    def _sample_tokens(
        self,
        n: int,
        rng: np.random.Generator,
        condition: NDArray[np.float32] | None,
        *,
        guidance_scale: float = 1.0,
        temperature: float = 1.0,
        **options: Any,
    ) -> NDArray[np.int32]:
        temperature = validate.real(temperature, "temperature", minimum=0)
        parts = []
        for first in range(0, n, SAMPLE_BATCH):
            count = min(SAMPLE_BATCH, n - first)
            some = None if condition is None else condition[first : first + count]
            conditions = self._conditions(some, count, guidance_scale)
            parts.append(self._sample_batch(count, rng, conditions, guidance_scale, temperature, **options))
        return np.concatenate(parts).reshape(n, *self.token_shape)

    def _sample_batch(
        self, n: int, rng: np.random.Generator, conditions: list[Any], guidance_scale: float, temperature: float
    ) -> NDArray[np.int32]:
        """Return n sequences of tokens ``(n, N)``.

        The random numbers must be generated image by image, so that a smaller n gives the first images of a larger n.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define _sample_batch")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        own = {"autoencoder": serialize(self.autoencoder), "train_autoencoder": self.train_autoencoder}
        return {**super().get_config(), **own}


def guided(logits: list[Any], guidance_scale: float) -> Any:
    """Return the only logits, or :func:`imggen_lib.models.guidance.guide` of those with and without a condition."""
    with_condition, *without = logits
    return guide(with_condition, without[0], guidance_scale) if without else with_condition
