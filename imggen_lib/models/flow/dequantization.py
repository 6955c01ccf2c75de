r"""From 8-bit images to unbounded real values, and back.

An image of 256 levels has no density, so each level is spread over an interval by a random number u, uniform in [0, 1)
(uniform dequantisation). The result is squeezed away from 0 and 1 and passed through the logit:

.. math:: y = \frac{255\, x + u}{256}, \qquad a = \epsilon + (1 - 2 \epsilon)\, y, \qquad v = \log \frac{a}{1 - a}.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from imggen_lib.models.blocks import LEVELS

__all__ = ["EDGE", "images_to_logits", "logits_to_images"]

#: Epsilon: values are mapped into [EDGE, 1 - EDGE], because the logit is infinite at 0 and 1.
EDGE = 0.05


def images_to_logits(images: Any, uniform: Any) -> tuple[Any, Any]:
    r"""Dequantise images and return their logits, and the log-determinant of that map.

    The derivative of v with respect to y is :math:`(1 - 2 \epsilon) / (a (1 - a))`.

    Parameters
    ----------
    images : array_like or tensor
        ``(n, height, width, channels)`` in [0, 1]. Values between two of the 256 levels are rounded.
    uniform : array_like or tensor
        Uniform random numbers in [0, 1), of the shape of ``images``.

    Returns
    -------
    logits : tensor
        Of the shape of ``images``. In double precision if both inputs are, and the backend has it.
    log_det : tensor
        ``(n,)``: the logarithm of the determinant of the Jacobian from y to the logits.

    References
    ----------
    Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016, on dequantisation. Dinh,
    Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, on the logit.

    Examples
    --------
    The middle of the 256 intervals has the logit 0:

    >>> logits, log_det = images_to_logits(ops.full((1, 1, 1, 1), 127 / 255), ops.full((1, 1, 1, 1), 0.999999))
    >>> round(float(logits[0, 0, 0, 0]), 3), round(float(ops.exp(log_det[0])), 3)
    (0.0, 3.6)
    """
    y = (ops.round((LEVELS - 1) * images) + uniform) / LEVELS
    a = EDGE + (1 - 2 * EDGE) * y
    log_a, log_rest = ops.log(a), ops.log1p(-a)
    slopes = math.log(1 - 2 * EDGE) - log_a - log_rest
    return log_a - log_rest, ops.sum(slopes, axis=(1, 2, 3))


def logits_to_images(logits: Any) -> Any:
    """Invert :func:`images_to_logits`: return images on the 256 levels in [0, 1]. Values outside are clipped.

    Examples
    --------
    The level does not depend on the uniform number that dequantised it:

    >>> images = ops.reshape(ops.convert_to_tensor([0.0, 0.2, 1.0]), (3, 1, 1, 1))
    >>> for u in (0.01, 0.99):
    ...     restored = logits_to_images(images_to_logits(images, ops.full((3, 1, 1, 1), u))[0])
    ...     print(ops.convert_to_numpy(restored).ravel())
    [0.  0.2 1. ]
    [0.  0.2 1. ]
    """
    y = (ops.sigmoid(logits) - EDGE) / (1 - 2 * EDGE)
    return ops.clip(ops.floor(LEVELS * y), 0, LEVELS - 1) / (LEVELS - 1)
