r"""Transformers: attention as a weighted average, blocks made of it, and their evaluation token by token.

A sequence of N tokens, each a vector, is ``(n, N, width)``. Attention compares a query with the keys of all tokens and
averages their values,

.. math:: \operatorname{attend}(Q, K, V) = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V,

where d is the length of a query. With a causal mask, a token averages over itself and earlier tokens only. A new token then
changes nothing before it, so keys and values are computed once and kept in a cache.

Reference: Vaswani et al., "Attention is all you need", NeurIPS 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import _validation as validate

__all__ = [
    "Attention", "Positions", "TransformerBlock", "attend", "image_to_patches", "patches_to_image",
]  # fmt: skip

#: Keys and values of a sequence, each ``(n, heads, length, head_width)``; zeros for tokens that are still to come.
Cache = dict[str, Any]


def attend(queries: Any, keys: Any, values: Any, *, mask: Any = None) -> Any:
    r"""Return for each query the average of the values, weighted by the softmax of its scaled products with the keys.

    Parameters
    ----------
    queries : tensor
        ``(..., N, d)``.
    keys : tensor
        ``(..., M, d)``.
    values : tensor
        ``(..., M, e)``.
    mask : array_like of bool, optional
        ``(N, M)``, or broadcastable to ``(..., N, M)``: False where a query must not attend to a key.

    Returns
    -------
    tensor
        ``(..., N, e)``.

    Examples
    --------
    A query that agrees with one key much more than with the other returns the value of that key. A query of zeros returns
    the mean:

    >>> keys, values = ops.convert_to_tensor([[1.0, 0], [0, 1]]), ops.convert_to_tensor([[10.0], [20]])
    >>> [round(float(attend(ops.convert_to_tensor([[0.0, q]]), keys, values)[0, 0]), 3) for q in (0, 20)]
    [15.0, 20.0]
    """
    scores = ops.matmul(queries, ops.swapaxes(keys, -1, -2)) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    # Keras warns about the softmax of a single score, which is 1.
    weights = ops.softmax(scores, axis=-1) if keys.shape[-2] != 1 else ops.ones_like(scores)
    return ops.matmul(weights, values)


def image_to_patches(images: Any, patch_size: int) -> Any:
    """Cut images into square patches, in reading order. Each patch becomes one vector.

    Parameters
    ----------
    images : tensor
        ``(n, height, width, channels)``, height and width divisible by ``patch_size``.
    patch_size : int

    Returns
    -------
    tensor
        ``(n, patches, patch_size**2 * channels)``.

    Examples
    --------
    >>> image_to_patches(ops.reshape(ops.arange(8), (1, 2, 4, 1)), 2)[0].numpy().tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    height, width, channels = images.shape[1:]
    p = patch_size
    grid = ops.reshape(images, (-1, height // p, p, width // p, p, channels))
    return ops.reshape(ops.transpose(grid, (0, 1, 3, 2, 4, 5)), (-1, height * width // p**2, p * p * channels))


def patches_to_image(patches: Any, image_shape: Sequence[int], patch_size: int) -> Any:
    """Invert :func:`image_to_patches`.

    Parameters
    ----------
    patches : tensor
        ``(n, patches, patch_size**2 * channels)``.
    image_shape : tuple of int
        ``(height, width, channels)``.
    patch_size : int

    Returns
    -------
    tensor
        ``(n, height, width, channels)``.

    Examples
    --------
    >>> image = ops.reshape(ops.arange(48), (1, 4, 4, 3))
    >>> bool(ops.all(patches_to_image(image_to_patches(image, 2), (4, 4, 3), 2) == image))
    True
    """
    height, width, channels = image_shape
    p = patch_size
    grid = ops.reshape(patches, (-1, height // p, width // p, p, p, channels))
    return ops.reshape(ops.transpose(grid, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))


def as_rows(tokens: Any) -> Any:
    """Return tokens ``(n, N, width)`` as the rows of one matrix.

    A dense layer takes both and gives the same result, but TensorFlow's graph for three axes is many times larger.
    """
    return ops.reshape(tokens, (-1, tokens.shape[-1]))


def for_each_token(function: Callable[[Any], Any], tokens: Any) -> Any:
    """Apply a function of rows, such as a dense layer, to each token: from ``(n, N, width)`` to ``(n, N, new_width)``."""
    rows = function(as_rows(tokens))
    return ops.reshape(rows, (-1, tokens.shape[1], rows.shape[-1]))


def causal_mask(length: int) -> np.ndarray:
    """Return a bool ``(length, length)`` that is True where the column (a key) is not after the row (a query)."""
    return np.tri(length, dtype=bool)


@keras.saving.register_keras_serializable(package="imggen_lib")
class Positions(layers.Layer):
    """Add a learned vector to each token, so that attention, which ignores the order of tokens, can use their positions.

    Examples
    --------
    >>> tokens = ops.zeros((1, 2, 4))
    >>> first, second = Positions()(tokens)[0]
    >>> bool(ops.any(first != second))
    True
    """

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Create a vector for each position."""
        self.table = self.add_weight(shape=input_shape[1:], initializer=keras.initializers.RandomNormal(0.02), name="table")
        super().build(input_shape)

    def call(self, tokens: Any) -> Any:
        """Return ``(n, N, width)``."""
        return tokens + self.table


@keras.saving.register_keras_serializable(package="imggen_lib")
class Attention(layers.Layer):
    """Multi-head attention: queries, keys and values are linear functions of the tokens, cut into heads.

    Each head attends with its own part of the vectors; a linear layer combines the heads.

    Parameters
    ----------
    heads : int
        A divisor of the tokens' width.
    causal : bool
        Whether a token attends only to itself and earlier tokens.

    Raises
    ------
    ValueError
        When built, if the width is not a multiple of ``heads``.

    Examples
    --------
    Without positions, attention is equivariant: tokens in another order give the outputs in that order.

    >>> layer, tokens = Attention(2), keras.random.normal((1, 3, 4), seed=0)
    >>> outputs, reversed_outputs = layer(tokens), layer(ops.flip(tokens, axis=1))
    >>> bool(ops.all(abs(ops.flip(reversed_outputs, axis=1) - outputs) < 1e-6))
    True
    """

    def __init__(self, heads: int, *, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = validate.integer(heads, "heads")
        self.causal = causal

    def build(self, tokens_shape: tuple[Any, ...], context_shape: tuple[Any, ...] | None = None) -> None:
        """Create the four linear layers."""
        width = tokens_shape[-1]
        if width % self.heads:
            raise ValueError(f"the tokens have {width} values and heads is {self.heads}; expected a divisor of {width}")
        self.head_width = width // self.heads
        for name, shape in (
            ("query", tokens_shape),
            ("key", context_shape or tokens_shape),
            ("value", context_shape or tokens_shape),
            ("output_layer", tokens_shape),
        ):
            layer = layers.Dense(width, name=name, dtype=self.dtype_policy)
            layer.build(shape)
            setattr(self, name, layer)
        super().build(tokens_shape)

    def call(self, tokens: Any, context: Any = None, visible: Any = None) -> Any:
        """Return ``(n, N, width)``. With a context ``(n, M, width_c)``, keys and values are those of the context.

        ``visible`` is the mask of :func:`attend`. (Keras gives the name ``mask`` a meaning of its own.)
        """
        source = tokens if context is None else context
        mask = causal_mask(tokens.shape[1]) if self.causal else visible
        queries, keys, values = (
            self._heads(layer, x) for layer, x in ((self.query, tokens), (self.key, source), (self.value, source))
        )
        return self._combine(attend(queries, keys, values, mask=mask))

    def empty_cache(self, n: Any, length: int) -> Cache:
        """Return the cache of a built layer before the first token of n sequences of that length."""
        shape = (n, self.heads, length, self.head_width)
        return {name: ops.zeros(shape, dtype=self.compute_dtype) for name in ("keys", "values")}

    def step(self, token: Any, index: Any, cache: Cache) -> Any:
        """Return the output for one token ``(n, 1, width)`` of a causal layer, and write its key and value to the cache.

        All shapes are the same for each token, so the step can be the body of a compiled loop.

        Parameters
        ----------
        token : tensor
            ``(n, 1, width)``.
        index : int or scalar tensor
            Position of the token. The tokens before it must be in the cache.
        cache : dict
            From :meth:`empty_cache`.

        Examples
        --------
        >>> layer, tokens = Attention(2, causal=True), keras.random.normal((1, 3, 4), seed=0)
        >>> whole, cache = layer(tokens), layer.empty_cache(1, length=3)
        >>> steps = [layer.step(tokens[:, i : i + 1], i, cache) for i in range(3)]
        >>> bool(ops.all(abs(ops.concatenate(steps, axis=1) - whole) < 1e-6))
        True
        """
        for name, layer in (("keys", self.key), ("values", self.value)):
            cache[name] = ops.slice_update(cache[name], (0, 0, index, 0), self._heads(layer, token))
        visible = ops.arange(cache["keys"].shape[2], dtype="int32") <= ops.cast(index, "int32")
        return self._combine(attend(self._heads(self.query, token), cache["keys"], cache["values"], mask=visible))

    def _heads(self, layer: Any, tokens: Any) -> Any:
        """Apply a linear layer to tokens ``(n, N, width)`` and cut the result into ``(n, heads, N, head_width)``."""
        vectors = layer(as_rows(tokens))
        return ops.transpose(ops.reshape(vectors, (-1, tokens.shape[1], self.heads, self.head_width)), (0, 2, 1, 3))

    def _combine(self, attended: Any) -> Any:
        """From ``(n, heads, N, head_width)`` to the output ``(n, N, width)``."""
        width = self.heads * self.head_width
        joined = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, width))
        return ops.reshape(self.output_layer(joined), (-1, attended.shape[2], width))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        return {**super().get_config(), "heads": self.heads, "causal": self.causal}


@keras.saving.register_keras_serializable(package="imggen_lib")
class TransformerBlock(layers.Layer):
    r"""Attention between tokens, then two dense layers at each token; both normalised before and added to their input.

    With a condition c, each of the two branches b is modulated by adaptive layer normalisation,

    .. math:: x \leftarrow x + g(c) \odot b\bigl((1 + s(c)) \odot \operatorname{norm}(x) + t(c)\bigr),

    where g, s and t are linear functions of silu(c) that start at zero (adaLN-zero), so the block starts as the identity.
    These functions have half as many weights as the rest of the block. Several blocks can share them: then the condition is
    the values of g, s and t, computed once, and each block adds a learned vector of its own to them.

    Parameters
    ----------
    heads : int
        Of the attention.
    causal : bool
        Whether a token attends only to itself and earlier tokens.
    expansion : int
        Hidden units of the dense layers, as a multiple of the width.
    shared_modulation : bool
        Whether the condition is the modulation ``(n, 6 * width)`` that several blocks share.

    References
    ----------
    Peebles and Xie, "Scalable diffusion models with transformers", ICCV 2023, for adaLN-zero. Chen et al., "PixArt-alpha:
    fast training of diffusion transformer for photorealistic text-to-image synthesis", ICLR 2024, for sharing.

    Examples
    --------
    >>> tokens, condition = keras.random.normal((2, 5, 8), seed=0), ops.ones((2, 8))
    >>> bool(ops.all(TransformerBlock(2)(tokens, condition) == tokens))
    True
    """

    def __init__(
        self, heads: int, *, causal: bool = False, expansion: int = 4, shared_modulation: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.heads = validate.integer(heads, "heads")
        self.causal = causal
        self.expansion = validate.integer(expansion, "expansion")
        self.shared_modulation = shared_modulation

    def build(self, tokens_shape: tuple[Any, ...], condition_shape: tuple[Any, ...] | None = None) -> None:
        """Create the layers; those of the modulation only if there is a condition."""
        width, options = tokens_shape[-1], {"dtype": self.dtype_policy}
        self.modulation: Any = None
        if condition_shape is not None and self.shared_modulation:
            if condition_shape[-1] != 6 * width:
                raise ValueError(f"the condition has {condition_shape[-1]} values; expected 6 times the width {width}")
            self.offset = self.add_weight(shape=(6 * width,), initializer="zeros", name="offset")
        elif condition_shape is not None:
            self.modulation = layers.Dense(6 * width, kernel_initializer="zeros", name="modulation", **options)
            self.modulation.build(condition_shape)
        affine = condition_shape is None
        for name in ("norm_attention", "norm_dense"):
            norm = layers.LayerNormalization(epsilon=1e-5, center=affine, scale=affine, name=name, **options)
            norm.build(tokens_shape)
            setattr(self, name, norm)
        self.attention = Attention(self.heads, causal=self.causal, name="attention", **options)
        self.attention.build(tokens_shape)
        self.dense_1 = layers.Dense(self.expansion * width, activation="gelu", name="dense_1", **options)
        self.dense_1.build(tokens_shape)
        self.dense_2 = layers.Dense(width, name="dense_2", **options)
        self.dense_2.build((*tokens_shape[:-1], self.expansion * width))
        super().build(tokens_shape)

    def call(self, tokens: Any, condition: Any = None, visible: Any = None) -> Any:
        """Return ``(n, N, width)``; the condition is ``(n, size)``, or None; ``visible`` is the mask of :func:`attend`."""
        return self._apply(tokens, condition, lambda vectors: self.attention(vectors, visible=visible))

    def compute_output_shape(self, tokens_shape: Any, condition_shape: Any = None, visible_shape: Any = None) -> Any:
        """Return the shape of the tokens, so that Keras need not evaluate a block to build a network."""
        return tokens_shape

    def step(self, token: Any, index: Any, cache: Cache, condition: Any = None) -> Any:
        """Return the output for one token ``(n, 1, width)`` of a causal block; see :meth:`Attention.step`."""
        return self._apply(token, condition, lambda vectors: self.attention.step(vectors, index, cache))

    def _apply(self, x: Any, condition: Any, attention: Any) -> Any:

        def dense(y: Any) -> Any:
            return for_each_token(lambda rows: self.dense_2(self.dense_1(rows)), y)

        branches = ((self.norm_attention, attention), (self.norm_dense, dense))
        if condition is None:
            for norm, branch in branches:
                x = x + branch(norm(x))
            return x
        modulation = condition + self.offset if self.shared_modulation else self.modulation(ops.silu(condition))
        parts = ops.split(ops.expand_dims(modulation, 1), 6, axis=-1)
        for (norm, branch), (scale, shift, gate) in zip(branches, (parts[:3], parts[3:]), strict=True):
            x = x + gate * branch((1 + scale) * norm(x) + shift)
        return x

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        names = ("heads", "causal", "expansion", "shared_modulation")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
