"""The transformer that predicts tokens: causal, from the tokens before, or bidirectional, from the known tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from imggen_lib import _validation as validate
from imggen_lib.backend import compiled_method
from imggen_lib.models.blocks import network_inputs
from imggen_lib.models.transformer import Cache, Positions, TransformerBlock, for_each_token

__all__ = ["TokenPredictor", "token_network"]


@keras.saving.register_keras_serializable(package="imggen_lib")
class TokenPredictor(layers.Layer):
    r"""A transformer from tokens to the logits of a token at each position.

    Besides the codes from 0 to K - 1 there is one more token, K. If ``causal``, it stands for the beginning: the logits at
    position i are computed from K and the tokens before i. Otherwise it is the mask of an unknown token, and the logits at
    each position are computed from the tokens at all positions.

    There are two ways to condition, which can be combined. A vector is added to each token and modulates each block by
    adaptive normalisation. A prefix, a sequence of vectors, is put before the tokens, which then attend to it.

    Parameters
    ----------
    num_codes : int
        K.
    width : int
        Length of the vector of a token.
    depth, heads : int
        Number of transformer blocks, and heads of their attention.
    causal : bool
        Whether position i depends only on the tokens before it.

    Examples
    --------
    The logits at a position do not depend on the token there, nor on later ones:

    >>> layer = TokenPredictor(4, width=8, depth=1, heads=2, causal=True)
    >>> first, second = layer(ops.convert_to_tensor([[1, 2, 3]])), layer(ops.convert_to_tensor([[1, 0, 0]]))
    >>> [bool(ops.all(first[:, i] == second[:, i])) for i in range(3)]
    [True, True, False]
    """

    def __init__(self, num_codes: int, *, width: int, depth: int, heads: int, causal: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_codes = validate.integer(num_codes, "num_codes", minimum=2)
        self.width = validate.integer(width, "width")
        self.depth = validate.integer(depth, "depth")
        self.heads = validate.integer(heads, "heads")
        self.causal = causal

    def build(
        self,
        tokens_shape: tuple[Any, ...],
        vector_shape: tuple[Any, ...] | None = None,
        prefix_shape: tuple[Any, ...] | None = None,
    ) -> None:
        """Create the table of tokens, the positions, the blocks and the last layer."""
        options = {"dtype": self.dtype_policy}
        shape = (None, tokens_shape[1], self.width)
        self.table: Any = self.add_weight(
            shape=(self.num_codes + 1, self.width), initializer=keras.initializers.RandomNormal(stddev=0.02), name="table"
        )
        self.positions = Positions(name="positions", **options)
        self.positions.build(shape)
        self.blocks = [
            TransformerBlock(self.heads, causal=self.causal, name=f"block_{index}", **options)
            for index in range(self.depth)
        ]
        for block in self.blocks:
            block.build(shape, vector_shape)
        self.norm = layers.LayerNormalization(epsilon=1e-5, name="norm", **options)
        self.norm.build(shape)
        self.to_logits = layers.Dense(self.num_codes, name="logits", dtype="float32")
        self.to_logits.build(shape)
        super().build(tokens_shape)

    def call(self, tokens: Any, vector: Any = None, prefix: Any = None) -> Any:
        """Return the logits ``(n, N, K)``.

        ``tokens`` is int ``(n, N)``; ``vector`` is ``(n, width)`` and ``prefix`` is ``(n, M, width)``, or None.
        """
        if self.causal:
            # The token before each position; the first position has the beginning before it.
            tokens = ops.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=self.num_codes)
        x = self._vectors(tokens, self.positions.table, vector)
        length = x.shape[1]
        if prefix is not None:
            x = ops.concatenate([ops.cast(prefix, x.dtype), x], axis=1)
        for block in self.blocks:
            x = block(x, vector)
        return for_each_token(self.to_logits, self.norm(x[:, -length:]))

    def compute_output_shape(self, tokens_shape: Any, vector_shape: Any = None, prefix_shape: Any = None) -> Any:
        """Return the shape of the logits, so that Keras need not evaluate the layer to build a network."""
        return (*tokens_shape, self.num_codes)

    def start(self, n: int, vector: Any = None, prefix: Any = None) -> list[Cache]:
        """Return the caches of a causal predictor's blocks for n sequences before their first tokens; see :meth:`step`."""
        before = 0 if prefix is None else prefix.shape[1]
        length = before + self.positions.table.shape[0]
        caches = [block.attention.empty_cache(n, length) for block in self.blocks]
        for index in range(before):
            self._through_blocks(prefix[:, index : index + 1], index, caches, vector)
        return caches

    def step(self, previous: Any, index: int, caches: list[Cache], vector: Any = None) -> Any:
        """Return the logits ``(n, 1, K)`` at a position of a causal predictor, given the token before it, int ``(n, 1)``.

        The positions go from 0 up, and the token before the first is K.

        Examples
        --------
        >>> layer, tokens = TokenPredictor(4, width=8, depth=1, heads=2, causal=True), ops.convert_to_tensor([[1, 2, 3]])
        >>> whole, caches = layer(tokens), layer.start(1)
        >>> before = ops.convert_to_tensor([[4, 1, 2]])
        >>> steps = [layer.step(before[:, i : i + 1], i, caches) for i in range(3)]
        >>> bool(ops.all(abs(ops.concatenate(steps, axis=1) - whole) < 1e-5))
        True
        """
        x = self._vectors(previous, self.positions.table[index : index + 1], vector)
        # A prefix comes before the tokens.
        before = caches[0]["keys"].shape[2] - self.positions.table.shape[0]
        return for_each_token(self.to_logits, self.norm(self._through_blocks(x, before + index, caches, vector)))

    def _vectors(self, tokens: Any, positions: Any, vector: Any) -> Any:
        # A step is called outside of Keras's automatic casts.
        x = ops.cast(ops.take(self.table, tokens, axis=0) + positions, self.compute_dtype)
        return x if vector is None else x + ops.expand_dims(vector, 1)

    def _through_blocks(self, x: Any, index: int, caches: list[Cache], vector: Any) -> Any:
        """Return the output of the blocks for one token, and write its keys and values to the caches."""
        x, caches[:] = compiled_method(self, "blocks_step")(x, ops.convert_to_tensor(index, "int32"), list(caches), vector)
        return x

    def blocks_step(self, x: Any, index: Any, caches: list[Cache], vector: Any) -> tuple[Any, list[Cache]]:
        """Return the output of the blocks for one token, and new caches."""
        caches = [dict(cache) for cache in caches]
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block.step(x, index, cache, vector)
        return x, caches

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        names = ("num_codes", "width", "depth", "heads", "causal")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def token_network(
    token_shape: Sequence[int],
    num_codes: int,
    *,
    causal: bool = True,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    num_classes: int | None = None,
    condition_embedding: Callable[[Any], Any] | None = None,
    name: str = "token_network",
) -> keras.Model:
    """Build the network of a transformer over the tokens of images.

    Parameters
    ----------
    token_shape : tuple of int
        Rows and columns of the grid of tokens.
    num_codes : int
        K, the number of codes.
    causal : bool
        True for a :class:`imggen_lib.models.vq.token_transformer.TokenTransformer`, False for a
        :class:`imggen_lib.models.vq.masked.MaskedTokenTransformer`.
    width, depth, heads : int
        Of the transformer; see :class:`TokenPredictor`.
    num_classes : int, optional
        Size of the condition.
    condition_embedding : callable, optional
        A layer, a model or a function from the condition ``(n, num_classes)`` to a vector ``(n, width)``, a prefix
        ``(n, M, width)``, or a tuple of both. The condition may be a sequence of word ids, as floats. All zeros should mean
        "no condition". By default it is a linear layer without bias to a vector.

    Returns
    -------
    keras.Model
        From tokens, int32 ``(n, rows * columns)`` from 0 to K in reading order, and, if ``num_classes`` is given,
        conditions ``(n, num_classes)``; to logits ``(n, rows * columns, K)``.

    Raises
    ------
    ValueError
        If a number is not positive, ``width`` is not a multiple of ``heads``, or the embedding has another shape.

    Examples
    --------
    >>> network = token_network((7, 7), 256, width=32, depth=2, num_classes=10)
    >>> [tensor.shape for tensor in network.inputs], network.output_shape
    ([(None, 49), (None, 10)], (None, 49, 256))

    A condition of four word ids becomes a prefix of four vectors:

    >>> def words(ids):
    ...     return keras.layers.Embedding(100, 32, name="words")(ids)
    >>> token_network((7, 7), 256, width=32, depth=2, num_classes=4, condition_embedding=words).output_shape
    (None, 49, 256)
    """
    rows, columns = validate.pair(token_shape, "token_shape")
    tokens = keras.Input((rows * columns,), dtype="int32", name="tokens")
    condition, vector, prefix = None, None, None
    if validate.condition_size(num_classes):
        condition = keras.Input((num_classes,), dtype="float32", name="condition")
        if condition_embedding is None:
            condition_embedding = layers.Dense(width, use_bias=False, name="condition_embedding")
        found = condition_embedding(condition)
        vector, prefix = vector_and_prefix(found if isinstance(found, tuple | list) else [found])
        shapes = [tuple(tensor.shape) for tensor in (vector, prefix) if tensor is not None]
        if not shapes or any(shape[-1] != width for shape in shapes):
            raise ValueError(
                f"condition_embedding returns {shapes}; expected a vector (n, {width}), a prefix (n, M, {width}), or both"
            )
    predictor = TokenPredictor(num_codes, width=width, depth=depth, heads=heads, causal=causal, name="predictor")
    logits = predictor(tokens, vector, prefix)
    return keras.Model(network_inputs(tokens, condition), logits, name=name)


def vector_and_prefix(tensors: Sequence[Any]) -> tuple[Any, Any]:
    """Return the vector and the prefix among the outputs of a condition's embedding; None for a missing one."""
    ranks = {len(tensor.shape): tensor for tensor in tensors}
    return ranks.get(2), ranks.get(3)


def network_predictor(network: keras.Model) -> TokenPredictor | None:
    """Return the predictor in a network that :func:`token_network` built; None in another network."""
    return next((layer for layer in network.layers if isinstance(layer, TokenPredictor)), None)


def embed_condition(network: keras.Model, condition: Any) -> tuple[Any, Any]:
    """Return vector and prefix that the network's predictor receives for conditions ``(n, num_classes)`` or None."""
    if condition is None:
        return None, None
    predictor: Any = network_predictor(network)
    _, *embedded = keras.tree.flatten(predictor.input)
    embedding = keras.Model(network.inputs[1], embedded)
    # Keras returns one tensor, and not a list, if there is only one.
    return vector_and_prefix(keras.tree.flatten(embedding(ops.convert_to_tensor(condition), training=False)))
