"""A text encoder: from the words of a caption to a vector for each word, which depends on the other words."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from imggen_lib import _validation as validate
from imggen_lib.models.transformer import Positions, TransformerBlock

__all__ = ["TextEncoder", "check_vocabulary", "embed_caption", "joint_blocks"]


@keras.saving.register_keras_serializable(package="imggen_lib")
class TextEncoder(layers.Layer):
    """Turn word numbers into vectors: an embedding of each word, positions, and transformer blocks.

    Number 0 stands for "no word" at the end of a caption. No word attends to it, except that the first position is always
    visible: a row of zeros is the caption without words, which stands for "no condition".

    The encoder is not trained beforehand. It is a part of the network that it conditions, and is trained with it.

    Parameters
    ----------
    vocabulary_size : int
        Number of words; their numbers are 1 to ``vocabulary_size``.
    width : int
        Length of the vectors.
    depth : int
        Number of blocks.
    heads : int
        Of their attention.

    Examples
    --------
    Padding after the last word has no effect, and the order of words has one:

    >>> encoder = TextEncoder(9, 8, depth=1, heads=2)
    >>> words = ops.convert_to_tensor([[3.0, 5, 0, 0], [5.0, 3, 0, 0]])
    >>> vectors, visible = encoder(words)
    >>> vectors.shape == (2, 4, 8), ops.convert_to_numpy(visible)[0].tolist()
    (True, [True, True, False, False])
    >>> bool(ops.any(vectors[0, 0] != vectors[1, 1]))
    True
    """

    def __init__(self, vocabulary_size: int, width: int, *, depth: int = 2, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # bfloat16 would round the numbers of words
        self.vocabulary_size = validate.integer(vocabulary_size, "vocabulary_size")
        self.width = validate.integer(width, "width")
        self.depth = validate.integer(depth, "depth", minimum=0)
        self.heads = validate.integer(heads, "heads")

    def build(self, words_shape: tuple[Any, ...]) -> None:
        """Create the layers."""
        options = {"dtype": self.dtype_policy}
        self.embedding = layers.Embedding(self.vocabulary_size + 1, self.width, name="words", **options)
        self.embedding.build(words_shape)
        self.positions = Positions(name="positions", **options)
        self.blocks = [TransformerBlock(self.heads, name=f"block_{index}", **options) for index in range(self.depth)]
        self.norm = layers.LayerNormalization(epsilon=1e-5, name="norm", **options)
        for layer in (self.positions, *self.blocks, self.norm):
            layer.build((None, words_shape[1], self.width))
        super().build(words_shape)

    def call(self, words: Any) -> tuple[Any, Any]:
        """Return vectors ``(n, length, width)`` and whether each position is visible, bool ``(n, length)``.

        ``words`` is ``(n, length)``, of any numeric dtype.
        """
        numbers = ops.cast(words, "int32")
        visible = ops.logical_or(numbers != 0, ops.arange(words.shape[1]) == 0)
        vectors = self.positions(self.embedding(numbers))
        mask = ops.reshape(visible, (-1, 1, 1, words.shape[1]))
        for block in self.blocks:
            vectors = block(vectors, visible=mask)
        return self.norm(vectors), visible

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        names = ("vocabulary_size", "width", "depth", "heads")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def mean_of_visible(vectors: Any, visible: Any) -> Any:
    """Return the mean vector ``(n, width)`` of the visible positions of each caption."""
    weights = ops.expand_dims(ops.cast(visible, vectors.dtype), -1)
    return ops.sum(vectors * weights, axis=1) / ops.sum(weights, axis=1)


def check_vocabulary(vocabulary_size: int | None, num_classes: int | None) -> None:
    """Check that a network that reads captions has the number of words in a caption.

    Raises
    ------
    ValueError
        If ``vocabulary_size`` is given without ``num_classes``.

    Examples
    --------
    >>> check_vocabulary(9, None)
    Traceback (most recent call last):
        ...
    ValueError: vocabulary_size is given and num_classes is None; expected the number of words in a caption
    """
    if vocabulary_size is not None and num_classes is None:
        raise ValueError("vocabulary_size is given and num_classes is None; expected the number of words in a caption")


def embed_caption(
    words: Any, *, vocabulary_size: int, width: int, depth: int = 2, heads: int = 4, summary: int | None = None
) -> tuple[Any, Any, Any]:
    """Encode captions by a :class:`TextEncoder`, and summarise each of them in one vector.

    Parameters
    ----------
    words : KerasTensor
        ``(n, length)``: word numbers, 0 after the last word.
    vocabulary_size, width, depth, heads : int
        Of the encoder.
    summary : int, optional
        Length of the summarising vector; ``width`` by default.

    Returns
    -------
    vector : KerasTensor
        ``(n, summary)``: a linear function of the mean over the words.
    vectors : KerasTensor
        ``(n, length, width)``, one for each word, 0 after the last word.
    visible : KerasTensor
        bool ``(n, length)``: whether there is a word. The first position counts as one.

    Examples
    --------
    >>> vector, vectors, visible = embed_caption(keras.Input((4,)), vocabulary_size=9, width=8)
    >>> vector.shape, vectors.shape, visible.shape
    ((None, 8), (None, 4, 8), (None, 4))
    """
    encoder = TextEncoder(vocabulary_size, width, depth=depth, heads=heads, name="text")
    vectors, visible = encoder(words)
    vector = layers.Dense(summary or width, name="embed_caption")(mean_of_visible(vectors, visible))
    return vector, vectors * ops.expand_dims(ops.cast(visible, vectors.dtype), -1), visible


def joint_blocks(tokens: Any, embedding: Any, *, depth: int, heads: int, words: Any = None, visible: Any = None) -> Any:
    """Apply transformer blocks to the tokens of an image and, if there is a caption, to its words together with them.

    The embedding modulates every block (adaLN-zero). All blocks share the layer that computes the modulation.

    Parameters
    ----------
    tokens : KerasTensor
        ``(n, N, width)``.
    embedding : KerasTensor
        ``(n, size)``.
    depth, heads : int
        Number of blocks, and heads of their attention.
    words, visible : KerasTensor, optional
        Vectors ``(n, length, width)`` and their mask, from :func:`embed_caption`.

    Returns
    -------
    KerasTensor
        ``(n, N, width)``: the tokens of the image. The blocks are the identity before training.

    References
    ----------
    Bao et al., "All are worth words: a ViT backbone for diffusion models", CVPR 2023, for the condition as tokens.

    Examples
    --------
    >>> tokens, embedding = keras.random.normal((2, 5, 8), seed=0), keras.random.normal((2, 3), seed=1)
    >>> bool(ops.all(joint_blocks(tokens, embedding, depth=2, heads=2) == tokens))
    True
    """
    modulation = layers.Dense(6 * tokens.shape[-1], kernel_initializer="zeros", name="modulation")(ops.silu(embedding))
    mask, first = None, 0
    if words is not None:
        first = words.shape[1]
        tokens = layers.Concatenate(axis=1)([words, tokens])
        seen = ops.concatenate([visible, ops.ones_like(tokens[:, first:, 0], dtype="bool")], axis=1)
        mask = ops.reshape(seen, (-1, 1, 1, tokens.shape[1]))
    for index in range(validate.integer(depth, "depth")):
        block = TransformerBlock(heads, shared_modulation=True, name=f"block_{index}")
        tokens = block(tokens, modulation, visible=mask)
    return tokens[:, first:]
