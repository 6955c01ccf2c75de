r"""A transformer that generates an image token by token, in reading order.

.. math:: p(t) = \prod_i p(t_i \mid t_1, \ldots, t_{i-1})

It is a language model whose words are the codes of a :class:`imggen_lib.models.vq.autoencoder.TokenAutoencoder`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib.models.vq.network import embed_condition, network_predictor
from imggen_lib.models.vq.prior import TokenPrior, choose_tokens, guided, token_log_probabilities

__all__ = ["TokenTransformer"]


@keras.saving.register_keras_serializable(package="imggen_lib")
class TokenTransformer(TokenPrior):
    """An autoregressive transformer over the tokens of images, with or without a condition.

    Parameters
    ----------
    network, autoencoder, **options
        As in :class:`imggen_lib.models.vq.prior.TokenPrior`; the network must be causal.

    References
    ----------
    Van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017. Esser, Rombach and
    Ommer, "Taming transformers for high-resolution image synthesis", CVPR 2021.

    Examples
    --------
    >>> from imggen_lib import models
    >>> shape, filters = (8, 8, 1), (8, 8)
    >>> encoder, decoder = models.token_encoder(shape, 4, filters=filters), models.token_decoder(shape, 4, filters=filters)
    >>> autoencoder = models.TokenAutoencoder(encoder, decoder, num_codes=16)
    >>> autoencoder.compile(optimizer="adam")
    >>> images = keras.random.uniform((32, *shape), seed=0)
    >>> history = autoencoder.fit(images, verbose=0)

    The second stage learns the distribution of the tokens of the first:

    >>> network = models.token_network(autoencoder.token_shape, autoencoder.num_codes, width=8, depth=1, heads=2)
    >>> model = TokenTransformer(network, autoencoder)
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(images, verbose=0)
    >>> model.log_prob_tokens(autoencoder.encode(images)).shape, model.sample(3, seed=0).shape
    ((32,), (3, 8, 8, 1))
    """

    causal: ClassVar[bool] = True

    def _cross_entropy(self, tokens: Any, condition: Any, *, training: bool) -> Any:
        return ops.mean(self._token_losses(tokens, tokens, condition, training=training))

    def _log_prob_batch(self, tokens: NDArray[np.int32], conditions: list[Any]) -> NDArray[np.float64]:
        return token_log_probabilities(self._guided_logits(tokens, conditions, 1.0), tokens).sum(axis=1)

    def sample(  # type: ignore[override]  # options by name, where the base class takes any
        self,
        n: int,
        *,
        seed: int,
        labels: ArrayLike | None = None,
        guidance_scale: float = 1.0,
        temperature: float = 1.0,
    ) -> NDArray[np.float32]:
        """Generate images: sample the tokens one after the other, then decode them.

        Keys and values of earlier tokens are kept, so each token passes through the network once.

        Parameters
        ----------
        n, seed, labels
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`.
        guidance_scale : float
            At least 0: 0 ignores the labels, 1 uses them, and more extrapolates the logits; see :meth:`logits`.
        temperature : float
            At least 0: 1 samples from the model, less prefers likely tokens, 0 takes the likeliest.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If a number is out of range, the labels do not fit, or there is guidance without a condition.
        """
        return super().sample(n, seed=seed, labels=labels, guidance_scale=guidance_scale, temperature=temperature)

    def _sample_batch(
        self, n: int, rng: np.random.Generator, conditions: list[Any], guidance_scale: float, temperature: float
    ) -> NDArray[np.int32]:
        network = self.average.network
        predictor: Any = network_predictor(network)
        rows, columns = self.token_shape
        uniform = rng.random((n, rows * columns))
        tokens = np.empty((n, rows * columns), np.int32)
        embedded = [embed_condition(network, condition) for condition in conditions]
        caches = [predictor.start(n, vector, prefix) for vector, prefix in embedded]
        previous = np.full((n, 1), self.num_codes, np.int32)
        for index in range(rows * columns):
            token = ops.convert_to_tensor(previous)
            found = [
                predictor.step(token, index, cache, vector) for cache, (vector, _) in zip(caches, embedded, strict=True)
            ]
            logits = ops.convert_to_numpy(guided(found, guidance_scale))
            previous = choose_tokens(logits, uniform[:, index : index + 1], temperature)
            tokens[:, index : index + 1] = previous
        return tokens
