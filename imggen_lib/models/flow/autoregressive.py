"""Invertible layers of a transformer flow: patches, and a map of each patch that depends on the patches before it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from imggen_lib import _validation as validate
from imggen_lib.models.flow.layers import Invertible
from imggen_lib.models.guidance import guide
from imggen_lib.models.transformer import (
    Positions,
    TransformerBlock,
    for_each_token,
    image_to_patches,
    patches_to_image,
)

__all__ = ["AutoregressiveTransform", "Patches"]


@keras.saving.register_keras_serializable(package="imggen_lib")
class Patches(Invertible):
    """Cut an image into square patches in reading order, ``(n, patches, values)``.

    Parameters
    ----------
    patch_size : int
        A divisor of height and width.

    Examples
    --------
    >>> layer, image = Patches(4), keras.random.normal((2, 8, 8, 1), seed=0)
    >>> patches, log_det = layer(image)
    >>> patches.shape == (2, 4, 16), bool(ops.all(layer.invert(patches) == image))
    (True, True)
    """

    def __init__(self, patch_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch_size = validate.integer(patch_size, "patch_size")

    def build(self, x_shape: tuple[Any, ...]) -> None:
        """Remember the shape of the image."""
        self.image_shape = tuple(x_shape[1:])
        super().build(x_shape)

    def call(self, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """Return the patches and a log-determinant of 0."""
        return image_to_patches(x, self.patch_size), ops.zeros_like(x[:, 0, 0, 0])

    def invert(self, y: Any, condition: Any = None) -> Any:
        """Put the patches together."""
        return patches_to_image(y, self.image_shape, self.patch_size)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        return {**super().get_config(), "patch_size": self.patch_size}


@keras.saving.register_keras_serializable(package="imggen_lib")
class AutoregressiveTransform(Invertible):
    r"""Shift and scale each patch by what a causal transformer computes from the patches before it.

    .. math:: y_i = \bigl(x_i - \mu_i(x_{<i})\bigr) \odot e^{-\alpha_i(x_{<i})}, \qquad
              \log\left|\det\right| = -\sum_i \sum \alpha_i(x_{<i})

    All patches are transformed at once, because all :math:`x_{<i}` are known. The inverse
    :math:`x_i = y_i \odot e^{\alpha_i} + \mu_i` goes patch by patch. The first patch is unchanged, so consecutive layers go
    through the patches in opposite directions.

    Parameters
    ----------
    width : int
        Of the tokens.
    depth : int
        Number of transformer blocks.
    heads : int
        Of their attention; a divisor of ``width``.
    backwards : bool
        Whether the last patch comes first.
    scale_bound : float
        Bound of :math:`\alpha`.

    References
    ----------
    Zhai et al., "Normalizing flows are capable generative models", ICML 2025.

    Examples
    --------
    Before training the layer is the identity:

    >>> x = keras.random.normal((2, 3, 4), seed=0)
    >>> y, log_det = AutoregressiveTransform(width=8, depth=1, heads=2)(x)
    >>> bool(ops.all(y == x)), float(ops.max(abs(log_det)))
    (True, 0.0)
    """

    def __init__(
        self,
        width: int,
        *,
        depth: int,
        heads: int,
        backwards: bool = False,
        scale_bound: float = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = validate.integer(width, "width")
        self.depth = validate.integer(depth, "depth")
        self.heads = validate.integer(heads, "heads")
        self.backwards = backwards
        self.scale_bound = validate.real(scale_bound, "scale_bound", minimum=1e-6)

    def build(self, x_shape: tuple[Any, ...], condition_shape: tuple[Any, ...] | None = None) -> None:
        """Create the transformer. Its last layer starts at zero."""
        options = {"dtype": self.dtype_policy}
        tokens_shape = (None, x_shape[1], self.width)
        self.to_tokens = layers.Dense(self.width, name="to_tokens", **options)
        self.to_tokens.build(x_shape)
        self.positions = Positions(name="positions", **options)
        self.positions.build(tokens_shape)
        self.condition_layer: Any = None
        if condition_shape is not None:
            self.condition_layer = layers.Dense(self.width, use_bias=False, name="condition", **options)
            self.condition_layer.build(condition_shape)
        self.blocks = [
            TransformerBlock(self.heads, causal=True, name=f"block_{index}", **options) for index in range(self.depth)
        ]
        self.norm = layers.LayerNormalization(epsilon=1e-5, name="norm", **options)
        for layer in (*self.blocks, self.norm):
            layer.build(tokens_shape)
        self.to_parameters = layers.Dense(2 * x_shape[-1], kernel_initializer="zeros", name="scale_and_shift", **options)
        self.to_parameters.build(tokens_shape)
        super().build(x_shape)

    def _tokens(self, x: Any, positions: Any, condition: Any) -> Any:
        tokens = for_each_token(self.to_tokens, x) + positions
        return tokens if condition is None else tokens + ops.expand_dims(self.condition_layer(condition), 1)

    def _parameters(self, tokens: Any) -> tuple[Any, Any]:
        """Return log-scale and shift of the patch after each token."""
        scale, shift = ops.split(for_each_token(self.to_parameters, self.norm(tokens)), 2, axis=-1)
        return self.scale_bound * ops.tanh(scale / self.scale_bound), shift

    def call(self, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """Return the transformed patches and the log-determinant ``(n,)``."""
        x = ops.flip(x, axis=1) if self.backwards else x
        tokens = self._tokens(x, self.positions.table, condition)
        for block in self.blocks:
            tokens = block(tokens)
        # The parameters of a patch are those after the patch before it; the first patch has none.
        scale, shift = (ops.pad(part[:, :-1], ((0, 0), (1, 0), (0, 0))) for part in self._parameters(tokens))
        y = (x - shift) * ops.exp(-scale)
        return ops.flip(y, axis=1) if self.backwards else y, -ops.sum(scale, axis=(1, 2))

    def compute_output_shape(self, x_shape: Any, condition_shape: Any = None) -> tuple[Any, Any]:
        """Return the shapes of the outputs, so that Keras need not evaluate the layer to build a network."""
        return x_shape, x_shape[:1]

    def invert(self, y: Any, condition: Any = None, *, guidance_scale: Any = None) -> Any:
        r"""Return the patches that are transformed to ``y``, one patch after the other.

        With a ``guidance_scale`` w, a number or a tensor ``(n, 1)``, log-scale and shift are extrapolated as in
        classifier-free guidance, from those without to those with the condition:

        .. math:: \mu = \mu_\emptyset + w\,(\mu_c - \mu_\emptyset) .
        """
        y = ops.flip(y, axis=1) if self.backwards else y
        n, length = ops.shape(y)[0], y.shape[1]
        conditions = [condition]
        if guidance_scale is not None:
            conditions.append(ops.zeros_like(condition))
            guidance_scale = ops.reshape(guidance_scale, (-1, 1, 1))
        caches = [[block.attention.empty_cache(n, length) for block in self.blocks] for _ in conditions]

        def next_patch(index: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            patches, caches = state
            found = []
            for which, blocks in zip(conditions, caches, strict=True):
                position = ops.take(self.positions.table, index, axis=0)
                token = self._tokens(_patch(patches, index), position, which)
                for block, cache in zip(self.blocks, blocks, strict=True):
                    token = block.step(token, index, cache)
                found.append(self._parameters(token))
            scale, shift = found[0]
            if guidance_scale is not None:
                scale, shift = (guide(part, without, guidance_scale) for part, without in zip(*found, strict=True))
            following = _patch(y, index + 1) * ops.exp(scale) + shift
            return ops.slice_update(patches, (0, index + 1, 0), following), caches

        # A loop of the backend: compiled once, and not once for each patch. The first patch of y is that of x.
        x, _ = ops.fori_loop(0, length - 1, next_patch, (y, caches))
        return ops.flip(x, axis=1) if self.backwards else x

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        names = ("width", "depth", "heads", "backwards", "scale_bound")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _patch(patches: Any, index: Any) -> Any:
    """Return one of the patches ``(n, patches, values)`` as ``(n, 1, values)``."""
    return ops.expand_dims(ops.take(patches, index, axis=1), 1)
