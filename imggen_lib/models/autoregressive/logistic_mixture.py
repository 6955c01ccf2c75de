r"""The distribution of one pixel: a mixture of logistic distributions over 256 levels, as in PixelCNN++.

Each of K components has one mixture weight for the whole pixel, and one mean :math:`\mu` and one scale s per channel. In a
component the channels are independent, except that the mean of a channel depends linearly on the earlier channels of the
pixel, with coefficients in (-1, 1). For green and blue the means are

.. math:: \mu_g + \alpha\, r, \qquad \mu_b + \beta\, r + \gamma\, g.

Reference: Salimans et al., "PixelCNN++: improving the PixelCNN with discretized logistic mixture likelihood and other
modifications", ICLR 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from imggen_lib.models.blocks import LEVELS

__all__ = ["LOG_SCALES", "levels_to_values", "parameters_per_component", "pixel_log_probability", "sample_pixel"]

#: Range of the logarithms of the scales. A component is not narrower than a level; and not infinitely wide, which would be
#: optimal for pixels that are always black or white.
LOG_SCALES = (-7.0, 7.0)


def levels_to_values(levels: Any) -> Any:
    """Map levels from 0 to 255 to values from -1 to 1.

    Examples
    --------
    >>> [levels_to_values(level) for level in (0, 255)]
    [-1.0, 1.0]
    """
    return 2 * levels / (LEVELS - 1) - 1


def parameters_per_component(channels: int) -> int:
    """Return how many parameters a mixture component has: a logit, C means, C log-scales and C (C - 1) / 2 coefficients.

    Examples
    --------
    >>> parameters_per_component(1), parameters_per_component(3)
    (3, 10)
    """
    return 1 + 2 * channels + channels * (channels - 1) // 2


class _Mixture(NamedTuple):
    """The parameters of a mixture; every array is ``(..., K)``."""

    logits: Any
    means: list[Any]  # one for each channel
    log_scales: list[Any]  # one for each channel
    coefficients: list[list[Any]]  # for each channel, one for each earlier channel

    def mean(self, channel: int, earlier: Sequence[Any]) -> Any:
        """Return the means of a channel, given the values ``(..., 1)`` of the earlier channels."""
        mean = self.means[channel]
        for coefficient, value in zip(self.coefficients[channel], earlier, strict=True):
            mean = mean + coefficient * value
        return mean


def _split(distribution: Any, channels: int, tanh: Callable[[Any], Any]) -> _Mixture:
    """Split a network's output, a tensor or an array, into the parameters of the mixture."""
    width, size = distribution.shape[-1], parameters_per_component(channels)
    if width % size:
        raise ValueError(
            f"the distribution has {width} parameters per pixel; expected a multiple of {size} for images with {channels} "
            "channels"
        )
    k = width // size
    logits, *parts = (distribution[..., k * index : k * (index + 1)] for index in range(size))
    means, log_scales, others = parts[:channels], parts[channels : 2 * channels], iter(parts[2 * channels :])
    coefficients = [[tanh(next(others)) for _ in range(channel)] for channel in range(channels)]
    return _Mixture(logits, means, log_scales, coefficients)


def pixel_log_probability(images: Any, distribution: Any) -> Any:
    r"""Return the log-probability of each pixel under a discretised mixture of logistic distributions.

    A logistic distribution has the cumulative distribution function :math:`\sigma((x - \mu) / s)`. The probability of a
    level is the difference of its values at :math:`x + \frac{1}{255}` and :math:`x - \frac{1}{255}`; level 0 receives all
    that is below, level 255 all that is above. In a component, the probability of a pixel is the product over the channels.

    Parameters
    ----------
    images : tensor
        ``(n, height, width, channels)`` on the scale [-1, 1], on the 256 levels.
    distribution : tensor
        The network's output ``(n, height, width, K * p)`` with p = :func:`parameters_per_component`: K logits of the
        mixture weights; K means for each channel; K log-scales for each channel; and K coefficients, before tanh, for each
        pair of a channel and an earlier channel, in the order (1, 0), (2, 0), (2, 1), ...

    Returns
    -------
    tensor
        ``(n, height, width)``, in nats.

    Raises
    ------
    ValueError
        If the number of parameters does not fit the number of channels.

    References
    ----------
    Salimans et al., "PixelCNN++", ICLR 2017, section 2.1 and 2.2.

    Examples
    --------
    The probabilities of all levels sum to 1:

    >>> levels = ops.reshape(levels_to_values(ops.arange(256, dtype="float32")), (256, 1, 1, 1))
    >>> one_component = ops.tile(ops.reshape([0.0, 0.3, -2.0], (1, 1, 1, 3)), (256, 1, 1, 1))
    >>> round(float(ops.sum(ops.exp(pixel_log_probability(levels, one_component)))), 4)
    1.0
    """
    channels = images.shape[-1]
    mixture = _split(distribution, channels, ops.tanh)
    values = ops.split(images, channels, axis=-1)
    log_p = ops.log_softmax(mixture.logits, axis=-1)
    for channel, (value, log_scale) in enumerate(zip(values, mixture.log_scales, strict=True)):
        log_p = log_p + _level_log_probability(value, mixture.mean(channel, values[:channel]), log_scale)
    return ops.logsumexp(log_p, axis=-1)


def _level_log_probability(value: Any, mean: Any, log_scale: Any) -> Any:
    """Return the log-probability of a level, given by its value ``(..., 1)``, under each component: ``(..., K)``."""
    log_scale = ops.clip(log_scale, *LOG_SCALES)
    centred, inverse_scale = value - mean, ops.exp(-log_scale)
    half = 1 / (LEVELS - 1)
    upper, lower = (centred + half) * inverse_scale, (centred - half) * inverse_scale
    # The logarithm of the difference of two sigmoids, in a form that keeps small differences.
    inside = -ops.softplus(-upper) - ops.softplus(lower) + ops.log(-ops.expm1(-2 * half * inverse_scale))
    lowest, highest = -ops.softplus(-upper), -ops.softplus(lower)
    return ops.where(value < -0.999, lowest, ops.where(value > 0.999, highest, inside))


def sample_pixel(
    distribution: NDArray[np.floating], gumbel: NDArray[np.floating], logistic: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Sample one pixel of n images: first the mixture component, then the channels in order. NumPy only.

    Parameters
    ----------
    distribution : numpy.ndarray
        ``(n, K * p)``, as in :func:`pixel_log_probability`.
    gumbel : numpy.ndarray
        ``(n, K)``, from the standard Gumbel distribution. The largest sum of logit and Gumbel noise is at a component with
        the probability of that component (the Gumbel-max trick).
    logistic : numpy.ndarray
        ``(n, channels)``, from the standard logistic distribution.

    Returns
    -------
    numpy.ndarray
        ``(n, channels)`` values in [-1, 1], on the 256 levels.

    Examples
    --------
    A narrow component at 0.2 gives the nearest level, 153 of 255:

    >>> value = sample_pixel(np.array([[0.0, 0.2, -7.0]]), np.zeros((1, 1)), np.zeros((1, 1)))
    >>> round((value.item() + 1) / 2 * 255)
    153
    """
    channels = logistic.shape[-1]
    mixture = _split(distribution, channels, np.tanh)
    component = (mixture.logits + gumbel).argmax(axis=-1)[:, np.newaxis]
    values: list[NDArray[np.floating]] = []
    for channel, log_scales in enumerate(mixture.log_scales):
        mean, log_scale = (
            np.take_along_axis(array, component, axis=-1) for array in (mixture.mean(channel, values), log_scales)
        )
        continuous = mean + np.exp(np.clip(log_scale, *LOG_SCALES)) * logistic[:, channel : channel + 1]
        # Later channels are conditioned on the level, as in the likelihood.
        level = np.clip(np.round((continuous + 1) / 2 * (LEVELS - 1)), 0, LEVELS - 1)
        values.append(levels_to_values(level))
    return np.concatenate(values, axis=-1)
