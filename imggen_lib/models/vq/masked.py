r"""A transformer that generates all tokens of an image in a few steps, the most certain ones first.

In training, random tokens are masked, and the network predicts them from the others. The share of masked tokens is
:math:`\cos(\pi u / 2)` with u uniform in [0, 1]. For sampling, all tokens are masked at first. In each step the network
predicts all masked tokens at once, and only those it is most certain of are kept. The same function of the progress u, from
0 to 1, sets how many stay masked, so few tokens are kept while few are known.

Tokens that are kept in one step are sampled independently of each other. With one token per step, in an order given
beforehand, sampling is exact: the model is then an autoregressive one in that order.

Reference: Chang et al., "MaskGIT: masked generative image transformer", CVPR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.vq.prior import TokenPrior, choose_tokens, token_log_probabilities

__all__ = ["MaskedTokenTransformer", "mask_counts", "masked_fraction"]

#: Steps of the sampler, if none are given and there is no order.
STEPS = 8


def masked_fraction(progress: Any) -> Any:
    r"""Return the share of tokens that are masked, :math:`\cos(\pi u / 2)`.

    Parameters
    ----------
    progress : tensor or array_like
        u, in [0, 1]: 0 at the first step of sampling, 1 at the end; uniformly distributed in training.

    Returns
    -------
    tensor
        Of the shape of ``progress``.

    Examples
    --------
    >>> [round(float(masked_fraction(u)), 2) for u in (0.0, 0.5, 1.0)]
    [1.0, 0.71, 0.0]
    """
    return ops.maximum(ops.cos(math.pi / 2 * ops.convert_to_tensor(progress, "float32")), 0.0)


def mask_counts(length: int, steps: int) -> list[int]:
    """Return how many tokens are still masked after each step of sampling. In each step at least one is kept.

    Parameters
    ----------
    length : int
        Number of tokens.
    steps : int
        From 1 to ``length``.

    Returns
    -------
    list of int
        Strictly decreasing, and 0 at the end.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> mask_counts(64, 8)
    [62, 59, 53, 45, 35, 24, 12, 0]
    >>> mask_counts(4, 4)
    [3, 2, 1, 0]
    """
    length = validate.integer(length, "length")
    if validate.integer(steps, "steps") > length:
        raise ValueError(f"steps is {steps}; expected at most the number of tokens, {length}")
    counts, before = [], length
    for step in range(1, steps + 1):
        # The small number is larger than rounding errors of the cosine, such as that of cos(pi / 3) = 1/2.
        planned = math.floor(length * float(masked_fraction(step / steps)) + 1e-4)
        # At least one token is left for each of the steps to come.
        before = min(max(planned, steps - step), before - 1) if step < steps else 0
        counts.append(before)
    return counts


@keras.saving.register_keras_serializable(package="imggen_lib")
class MaskedTokenTransformer(TokenPrior):
    """A transformer that predicts masked tokens of images, with or without a condition, and decodes them in parallel.

    Parameters
    ----------
    network, autoencoder, **options
        As in :class:`imggen_lib.models.vq.prior.TokenPrior`; the network must not be causal.

    References
    ----------
    Chang et al., "MaskGIT: masked generative image transformer", CVPR 2022. Uria, Murray and Larochelle, "A deep and
    tractable density estimator", ICML 2014, for one network as an autoregressive model in any order.

    Examples
    --------
    >>> from imggen_lib import models
    >>> shape, filters = (8, 8, 1), (8, 8)
    >>> encoder, decoder = models.token_encoder(shape, 4, filters=filters), models.token_decoder(shape, 4, filters=filters)
    >>> autoencoder = models.TokenAutoencoder(encoder, decoder, num_codes=16)
    >>> network = models.token_network(autoencoder.token_shape, 16, causal=False, width=8, depth=1, heads=2)
    >>> model = MaskedTokenTransformer(network, autoencoder)
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(keras.random.uniform((32, *shape), seed=0), verbose=0)

    Two steps for four tokens. Compare the number of steps with that of a model that samples token by token:

    >>> model.sample(3, seed=0, steps=2).shape
    (3, 8, 8, 1)
    """

    causal: ClassVar[bool] = False

    def _cross_entropy(self, tokens: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean cross-entropy of the masked tokens. At least one of each image is masked."""
        n, length = ops.shape(tokens)[0], tokens.shape[1]
        progress = keras.random.uniform((n, 1), dtype="float32", seed=self.noise)
        count = ops.maximum(ops.ceil(length * masked_fraction(progress)), 1.0)
        # The rank of independent random numbers is a random order of the tokens.
        rank = ops.argsort(ops.argsort(keras.random.uniform((n, length), dtype="float32", seed=self.noise)))
        masked = ops.cast(rank, "float32") < count
        losses = self._token_losses(ops.where(masked, self.num_codes, tokens), tokens, condition, training=training)
        masked = ops.cast(masked, losses.dtype)
        return ops.sum(masked * losses) / ops.sum(masked)

    def log_prob_tokens(  # type: ignore[override]  # options by name, where the base class takes any
        self, tokens: ArrayLike, *, labels: ArrayLike | None = None, order: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Return the log-probability of each grid of tokens, in nats, if they are sampled one per step in an order.

        The probability depends on the order, because nothing makes the network's predictions consistent between orders.

        Parameters
        ----------
        tokens : array_like of int
            ``(n, h, w)``, from 0 to ``num_codes - 1``.
        labels : array_like, optional
            As in :meth:`sample`; without labels, the probability under the model without a condition.
        order : sequence of int, optional
            Every position from 0 to ``h * w - 1`` once; reading order by default.

        Returns
        -------
        numpy.ndarray
            ``(n,)``, at most 0. The network is evaluated once for each token.

        Raises
        ------
        ValueError
            If the tokens have another shape or are out of range, the labels do not fit, or the order is not one.
        TypeError
            If the tokens are not integers.
        """
        return super().log_prob_tokens(tokens, labels=labels, order=order)

    def _log_prob_batch(
        self, tokens: NDArray[np.int32], conditions: list[Any], *, order: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        known, log_p = np.full_like(tokens, self.num_codes), np.zeros(len(tokens))
        for position in self._checked_order(np.arange(tokens.shape[1]) if order is None else order):
            logits = self._guided_logits(known, conditions, 1.0)[:, position]
            log_p += token_log_probabilities(logits, tokens[:, position])
            known[:, position] = tokens[:, position]
        return log_p

    def _checked_order(self, order: ArrayLike) -> NDArray[np.intp]:
        positions, length = np.asarray(order), math.prod(self.token_shape)
        if positions.dtype.kind not in "iu" or sorted(positions.ravel().tolist()) != list(range(length)):
            raise ValueError(f"order is {order!r}; expected each position from 0 to {length - 1} once")
        return positions.astype(np.intp).ravel()

    def sample(  # type: ignore[override]  # options by name, where the base class takes any
        self,
        n: int,
        *,
        seed: int,
        labels: ArrayLike | None = None,
        guidance_scale: float = 1.0,
        temperature: float = 1.0,
        steps: int | None = None,
        choice_temperature: float = 4.5,
        order: Sequence[int] | None = None,
    ) -> NDArray[np.float32]:
        """Generate images: predict all tokens at once, keep the most certain ones, and repeat; then decode them.

        Parameters
        ----------
        n, seed, labels
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`.
        guidance_scale : float
            At least 0: 0 ignores the labels, 1 uses them, and more extrapolates the logits; see :meth:`logits`.
        temperature : float
            Of the tokens, at least 0: 1 samples from the model, less prefers likely tokens, 0 takes the likeliest.
        steps : int, optional
            Evaluations of the network, from 1 to the number of tokens. By default 8, and with an order one for each token.
        choice_temperature : float
            At least 0. Tokens are ranked by their log-probability plus Gumbel noise of this scale, which falls linearly to
            zero at the last step. With 0 the likeliest are kept, and the images become less diverse and less detailed.
        order : sequence of int, optional
            Every position once: tokens are kept in this order and not by their certainty. With one token per step the model
            is the autoregressive one in this order, whose probabilities are :meth:`log_prob_tokens`.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If a number is out of range, the labels do not fit, the order is not one, or there is guidance without a
            condition.
        """
        return super().sample(
            n,
            seed=seed,
            labels=labels,
            guidance_scale=guidance_scale,
            temperature=temperature,
            steps=steps,
            choice_temperature=choice_temperature,
            order=order,
        )

    def _sample_batch(
        self,
        n: int,
        rng: np.random.Generator,
        conditions: list[Any],
        guidance_scale: float,
        temperature: float,
        *,
        steps: int | None = None,
        choice_temperature: float = 4.5,
        order: Sequence[int] | None = None,
    ) -> NDArray[np.int32]:
        length = math.prod(self.token_shape)
        scale = validate.real(choice_temperature, "choice_temperature", minimum=0)
        if steps is None:
            steps = min(STEPS, length) if order is None else length
        counts = mask_counts(length, steps)
        # Of each image: numbers for the tokens, and numbers for the choice of those that are kept.
        uniform, other = np.moveaxis(rng.random((n, 2, steps, length)), 1, 0)
        gumbel = -np.log(-np.log(np.maximum(other, np.finfo(float).tiny)))
        first = None if order is None else -np.argsort(self._checked_order(order))
        tokens = np.full((n, length), self.num_codes, np.int32)
        for step, count in enumerate(counts):
            logits = self._guided_logits(tokens, conditions, guidance_scale)
            proposed = choose_tokens(logits, uniform[:, step], temperature)
            if first is None:
                noise = scale * (1 - (step + 1) / steps) * gumbel[:, step]
                score = token_log_probabilities(logits, proposed) + noise
            else:
                score = np.broadcast_to(first.astype(float), (n, length))
            score = np.where(tokens == self.num_codes, score, -np.inf)
            # All images have the same number of masked tokens.
            number = int(np.sum(tokens[0] == self.num_codes)) - count
            kept = np.argsort(-score, axis=1, kind="stable")[:, :number]
            np.put_along_axis(tokens, kept, np.take_along_axis(proposed, kept, axis=1), axis=1)
        return tokens
