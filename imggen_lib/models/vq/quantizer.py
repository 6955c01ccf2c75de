r"""Vector quantisation: each vector is replaced by the nearest of K codes, and its index is a token.

The nearest code is a step function of the vector, so its derivative is zero almost everywhere. The straight-through
estimator uses the identity for the gradient instead:

.. math:: k = \arg\min_j \|z - e_j\|^2, \qquad
          \hat z = z + \operatorname{sg}(e_k - z), \qquad \frac{\partial \hat z}{\partial z} := I,

where sg (stop gradient) is the identity whose derivative is taken as zero. No gradient reaches the codes. They are learned
by exponential moving averages: each code moves to the mean of the vectors that are assigned to it, as in k-means.

Reference: van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from imggen_lib import _validation as validate

__all__ = ["VectorQuantizer", "nearest_code", "perplexity", "straight_through"]

#: Lower bound of the usage of a code, which is a divisor.
SMALLEST_USAGE = 1e-12


def nearest_code(vectors: Any, codebook: Any) -> Any:
    """Return the index of the nearest code of each vector, by Euclidean distance; the first of several.

    Parameters
    ----------
    vectors : tensor
        ``(..., d)``.
    codebook : tensor
        ``(K, d)``.

    Returns
    -------
    tensor
        int32 ``(...)``, from 0 to K - 1.

    Examples
    --------
    >>> codebook = ops.convert_to_tensor([[0.0, 0], [1, 1]])
    >>> ops.convert_to_numpy(nearest_code(ops.convert_to_tensor([[0.4, 0.4], [0.6, 0.6]]), codebook)).tolist()
    [0, 1]
    """
    # The squared length of the vector itself is the same for all codes.
    distances = ops.sum(ops.square(codebook), axis=-1) - 2 * ops.matmul(vectors, ops.transpose(codebook))
    return ops.cast(ops.argmin(distances, axis=-1), "int32")


def straight_through(vectors: Any, codes: Any) -> Any:
    r"""Return ``codes``, with the gradient of the identity with respect to ``vectors``: the straight-through estimator.

    .. math:: \hat z = z + \operatorname{sg}(e - z)

    Parameters
    ----------
    vectors, codes : tensor
        Of one shape.

    Returns
    -------
    tensor
        Of that shape; equal to ``codes`` up to rounding.

    References
    ----------
    Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic neurons for conditional
    computation", arXiv:1308.3432, 2013.

    Examples
    --------
    The function below is the square of the code 3, wherever the vector is. Its gradient is that of the square at 3:

    >>> from imggen_lib import backend
    >>> vector, code = ops.convert_to_tensor([2.5]), ops.convert_to_tensor([3.0])
    >>> float(backend.input_gradient(lambda z: straight_through(z, code) ** 2, vector)[0])
    6.0
    """
    return vectors + ops.stop_gradient(codes - vectors)


def perplexity(probabilities: Any) -> Any:
    r"""Return the perplexity of a distribution: the number of equally likely outcomes that have the same entropy.

    .. math:: \exp\Bigl(-\sum_k p_k \log p_k\Bigr)

    Parameters
    ----------
    probabilities : tensor
        ``(..., K)``, summing to 1.

    Returns
    -------
    tensor
        ``(...)``, from 1 to K.

    Examples
    --------
    >>> [round(float(perplexity(ops.convert_to_tensor(p))), 2) for p in ([0.25] * 4, [0.5, 0.5, 0, 0], [1.0, 0, 0, 0])]
    [4.0, 2.0, 1.0]
    """
    return ops.exp(-ops.sum(probabilities * ops.log(ops.maximum(probabilities, 1e-30)), axis=-1))


@keras.saving.register_keras_serializable(package="imggen_lib")
class VectorQuantizer(layers.Layer):
    r"""Replace each vector by the nearest of K codes, which follow the vectors.

    With ``training=True``, each step moves the usage :math:`u_k` and the code :math:`e_k` towards the share :math:`f_k` of
    the batch's vectors that are assigned to the code and the mean :math:`\bar z_k` of these vectors:

    .. math:: u_k \leftarrow m\,u_k + (1 - m)\,f_k, \qquad
              e_k \leftarrow e_k + \frac{(1 - m)\,f_k}{u_k}\,(\bar z_k - e_k),

    so :math:`e_k` is the average of all vectors assigned so far, with weights that decay by m in each step.

    Before that, unused codes are restarted: a code whose usage is below ``restart_threshold / K`` becomes a random vector
    of the batch, with the usage 1 / K. In the first step all codes are unused, so the codebook starts with vectors of the
    data. With m = 0.99 and a threshold of 0.1, a code is restarted again if no vector is assigned to it in 230 steps.

    Parameters
    ----------
    num_codes : int
        K, at least 2.
    momentum : float
        m, in [0, 1].
    restart_threshold : float
        In [0, 1], relative to a usage of 1 / K. With 0 no code is ever restarted, and the first codes are standard normal.
    seed : int
        Of the restarts.

    Attributes
    ----------
    codebook : keras.Variable
        ``(K, d)``, the codes.
    usage : keras.Variable
        ``(K,)``, the moving average of the share of vectors assigned to each code.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017, appendix A.1, for the
    moving averages. Dhariwal et al., "Jukebox: a generative model for music", arXiv:2005.00341, 2020, for the restarts.

    Examples
    --------
    Two codes find the two values of the data. The second result is the token of each vector:

    >>> layer, data = VectorQuantizer(2, momentum=0.5), ops.convert_to_tensor([[0.0], [8.0], [8.0], [0.0]])
    >>> for _ in range(20):
    ...     codes, tokens = layer(data, training=True)
    >>> codes, tokens = layer(data)
    >>> [round(code, 3) for code in ops.convert_to_numpy(codes)[:, 0].tolist()]
    [0.0, 8.0, 8.0, 0.0]
    """

    def __init__(
        self, num_codes: int, *, momentum: float = 0.99, restart_threshold: float = 0.1, seed: int = 0, **kwargs: Any
    ) -> None:
        # Distances between vectors and small moves of the codes need single precision.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.num_codes = validate.integer(num_codes, "num_codes", minimum=2)
        self.momentum = validate.real(momentum, "momentum", minimum=0, maximum=1)
        self.restart_threshold = validate.real(restart_threshold, "restart_threshold", minimum=0, maximum=1)
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.generator = keras.random.SeedGenerator(self.seed)

    def build(self, vectors_shape: tuple[Any, ...]) -> None:
        """Create the codebook. Its variables are state: no optimizer changes them."""
        shape = (self.num_codes, vectors_shape[-1])
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.codebook: Any = self.add_weight(shape=shape, initializer=normal, trainable=False, name="codebook")
        self.usage: Any = self.add_weight(shape=shape[:1], initializer="zeros", trainable=False, name="usage")
        super().build(vectors_shape)

    def call(self, vectors: Any, training: bool = False) -> tuple[Any, Any]:
        """Return the codes ``(..., d)`` with the straight-through gradient, and the tokens, int32 ``(...)``."""
        flat = ops.stop_gradient(ops.reshape(vectors, (-1, vectors.shape[-1])))
        if training:
            self._restart_unused(flat)
        tokens = nearest_code(flat, self.codebook)
        codes = self.codes(tokens)
        if training:
            self._follow(flat, tokens)
        shape = (-1, *vectors.shape[1:-1])
        return straight_through(vectors, ops.reshape(codes, (*shape, vectors.shape[-1]))), ops.reshape(tokens, shape)

    def codes(self, tokens: Any) -> Any:
        """Return the code of each token: from int ``(...)`` to ``(..., d)``."""
        return ops.take(self.codebook, tokens, axis=0)

    def _restart_unused(self, vectors: Any) -> None:
        """Replace unused codes by random vectors of the batch, ``(N, d)``."""
        count = ops.shape(vectors)[0]
        uniform = keras.random.uniform((self.num_codes,), dtype="float32", seed=self.generator)
        chosen = ops.minimum(ops.cast(uniform * ops.cast(count, "float32"), "int32"), count - 1)
        unused = self.usage * self.num_codes < self.restart_threshold
        replacements = ops.take(vectors, chosen, axis=0)
        # JAX's `where` takes the value of a variable, and not the variable.
        self.codebook.assign(ops.where(ops.expand_dims(unused, -1), replacements, ops.convert_to_tensor(self.codebook)))
        self.usage.assign(ops.where(unused, 1 / self.num_codes, ops.convert_to_tensor(self.usage)))

    def _follow(self, vectors: Any, tokens: Any) -> None:
        """Move usage and codes towards those of a batch: vectors ``(N, d)`` and their tokens ``(N,)``."""
        count = ops.cast(ops.shape(vectors)[0], "float32")
        share = ops.segment_sum(ops.ones_like(vectors[:, 0]), tokens, num_segments=self.num_codes) / count
        sums = ops.segment_sum(vectors, tokens, num_segments=self.num_codes) / count
        usage = self.momentum * self.usage + (1 - self.momentum) * share
        # sums is share times the mean of the vectors. A code without vectors does not move.
        towards_mean = sums - ops.expand_dims(share, -1) * self.codebook
        step = (1 - self.momentum) / ops.expand_dims(ops.maximum(usage, SMALLEST_USAGE), -1)
        self.codebook.assign(self.codebook + step * towards_mean)
        self.usage.assign(usage)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        names = ("num_codes", "momentum", "restart_threshold", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
