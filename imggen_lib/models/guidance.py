r"""Classifier-free guidance: one network predicts with and without a condition, and sampling extrapolates.

In training the condition of a fraction of the images is set to zero, which stands for "no condition" (label dropout). With
:math:`p_c` the prediction for the condition c and :math:`p_\emptyset` the one without a condition, sampling uses

.. math:: p = p_\emptyset + w\,(p_c - p_\emptyset) .

The guidance scale w is 1 for the conditional model. A larger one moves samples away from what the model generates without a
condition.

Reference: Ho and Salimans, "Classifier-free diffusion guidance", arXiv:2207.12598, 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, serialize
from imggen_lib.models.ema import MovingAverage

__all__ = ["GuidedModel", "drop_condition", "guide"]


def drop_condition(condition: Any, fraction: float, seed: keras.random.SeedGenerator) -> Any:
    """Set random rows of a condition to zero: label dropout.

    Parameters
    ----------
    condition : tensor or None
        ``(n, num_classes)``. None, in a model without a condition, is returned unchanged.
    fraction : float
        Probability that a row is set to zero, in [0, 1].
    seed : keras.random.SeedGenerator

    Returns
    -------
    tensor or None
        ``(n, num_classes)``.

    Examples
    --------
    >>> kept = drop_condition(ops.ones((1000, 2)), 0.2, keras.random.SeedGenerator(0))
    >>> bool(ops.all(kept[:, 0] == kept[:, 1])), round(float(ops.mean(kept)), 1)
    (True, 0.8)
    """
    if condition is None:
        return None
    kept = keras.random.uniform((ops.shape(condition)[0], 1), dtype="float32", seed=seed) >= fraction
    return condition * ops.cast(kept, "float32")


def guide(conditional: Any, unconditional: Any, scale: Any) -> Any:
    """Extrapolate from the prediction without to that with a condition.

    Parameters
    ----------
    conditional, unconditional : array or tensor
        Of one shape.
    scale : float or tensor
        The w of classifier-free guidance.

    Returns
    -------
    array or tensor

    Examples
    --------
    >>> [guide(5.0, 2.0, scale) for scale in (0, 1, 2)]
    [2.0, 5.0, 8.0]
    """
    return unconditional + scale * (conditional - unconditional)


class GuidedModel(GenerativeModel):
    """The base of families with one network that predicts with and without a condition.

    It creates what they share: the moving average of the network's weights, the random numbers of training, and the
    settings of label dropout. A subclass defines the loss and how images are sampled.

    Parameters
    ----------
    network : keras.Model
        Its condition ``(n, num_classes)`` is all zero for "no condition".
    num_classes : int, optional
        Size of the condition; None without a condition.
    label_dropout : float
        Fraction of the images whose condition is set to zero in training, in [0, 1]. Guidance needs it.
    ema_momentum : float
        Momentum of the moving average of the network's weights, in [0, 1].
    seed : int
        Of the random numbers in training.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from imggen_lib import models
    >>> all(issubclass(family, GuidedModel) for family in (models.Diffusion, models.RectifiedFlow, models.TransformerFlow))
    True
    """

    average: MovingAverage

    def __init__(
        self,
        network: keras.Model,
        *,
        num_classes: int | None = None,
        label_dropout: float = 0.1,
        ema_momentum: float = 0.999,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        self.network = network
        self.label_dropout = validate.real(label_dropout, "label_dropout", minimum=0, maximum=1)
        self.average = MovingAverage(network, ema_momentum)
        self.ema_momentum = ema_momentum
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.accepts_guidance = num_classes is not None
        self.built = True

    @property
    def ema_source(self) -> keras.Model:
        """The network: samples come from the average of its weights."""
        return self.network

    def rows_or_zeros(self, condition: NDArray[np.float32] | None, n: int) -> NDArray[np.float32] | None:
        """Return the condition of n images; zeros if a conditional model gets none, and None in another model."""
        if condition is None and self.num_classes is not None:
            return np.zeros((n, self.num_classes), np.float32)
        return condition

    def guided(
        self,
        predict: Callable[[NDArray[np.float32] | None], NDArray[Any]],
        condition: NDArray[np.float32] | None,
        scale: float,
        negative: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Evaluate a function of the condition with guidance.

        Parameters
        ----------
        predict : callable
            From a condition ``(n, num_classes)`` or None to predictions.
        condition : numpy.ndarray or None
            Without a condition there is no guidance, and the prediction is that for the negative condition.
        scale : float
            The w of classifier-free guidance. With 0 and with 1 the function is evaluated once, otherwise twice.
        negative : numpy.ndarray, optional
            What guidance leads away from, instead of "no condition".
        """
        if condition is None or scale == 0:
            return predict(negative)
        conditional = predict(condition)
        return conditional if scale == 1 else guide(conditional, predict(negative), scale)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        options = {name: getattr(self, name) for name in ("label_dropout", "ema_momentum", "seed")}
        return {**super().get_config(), "network": serialize(self.network), **options}
