r"""Training objective of diffusion models, for images and for any other arrays: the squared error of the velocity.

With the mixture :math:`x_\varphi` and the velocity :math:`v_\varphi` of :mod:`imggen_lib.models.diffusion.schedule`, it is

.. math:: \mathbb{E}_{x, \varepsilon, \varphi} \lVert \hat v(x_\varphi, \varphi) - v_\varphi \rVert^2,

which is least if the network returns the mean velocity, given the noisy data and the angle.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from imggen_lib.models.base import check_network
from imggen_lib.models.blocks import network_inputs
from imggen_lib.models.diffusion import schedule
from imggen_lib.models.guidance import drop_condition

__all__ = ["spaced_angles", "velocity_loss"]


def check_velocity_network(network: keras.Model, num_classes: int | None) -> None:
    """Raise ``ValueError`` unless the network maps data, angles and conditions to something of the data's shape."""
    condition = [] if num_classes is None else [(num_classes,)]
    wanted = "noisy data, angles (1,)" + "".join(f" and conditions {shape}" for shape in condition)
    check_network(
        network,
        lambda inputs, outputs: inputs[1:] == [(1,), *condition] and outputs == inputs[:1],
        f"{wanted} as inputs, and one output of the data's shape: build it with num_classes={num_classes}",
    )


def spaced_angles(n: Any, seed: keras.random.SeedGenerator) -> Any:
    """Return n angles, evenly spaced over [0, pi/2], with one random offset.

    Every angle is uniform, and a batch covers the whole interval, so the loss varies less between batches than with
    independent angles.

    Parameters
    ----------
    n : int or scalar tensor
    seed : keras.random.SeedGenerator

    Returns
    -------
    tensor
        float32 ``(n, 1)``, rising.

    Examples
    --------
    >>> angles = spaced_angles(4, keras.random.SeedGenerator(0))
    >>> [round(float(gap), 4) for gap in angles[1:, 0] - angles[:-1, 0]]
    [0.3927, 0.3927, 0.3927]
    """
    offset = keras.random.uniform((), dtype="float32", seed=seed)
    fraction = (ops.arange(n, dtype="float32") + offset) / ops.cast(n, "float32")
    return ops.reshape(fraction * (math.pi / 2), (-1, 1))


def velocity_loss(
    network: keras.Model,
    clean: Any,
    condition: Any = None,
    *,
    seed: keras.random.SeedGenerator,
    label_dropout: float = 0.0,
    training: bool,
) -> Any:
    """Return the mean squared error of the network's velocity.

    Parameters
    ----------
    network : keras.Model
        From noisy data, angles ``(n, 1)`` and, if there is a condition, conditions ``(n, num_classes)``; to velocities.
    clean : tensor
        ``(n, ...)``, of any number of axes, centred at 0 with a variance of about 1.
    condition : tensor, optional
        float32 ``(n, num_classes)``.
    seed : keras.random.SeedGenerator
        Of angles, noise and label dropout.
    label_dropout : float
        Fraction of the conditions that are set to zero, which stands for "no condition".
    training : bool

    Returns
    -------
    tensor
        A scalar.

    Examples
    --------
    For constant data 0 the velocity is the cosine of the angle times the noise. A network that returns 0 has a loss
    close to the mean of the squared cosine, 1/2:

    >>> data = keras.Input((50,))
    >>> zero = keras.Model([data, keras.Input((1,))], keras.layers.Rescaling(0.0)(data))
    >>> loss = velocity_loss(zero, ops.zeros((200, 50)), seed=keras.random.SeedGenerator(0), training=False)
    >>> round(float(loss), 1)
    0.5
    """
    n = ops.shape(clean)[0]
    angle = spaced_angles(n, seed)
    angle_of_value = ops.reshape(angle, (-1, *[1] * (len(clean.shape) - 1)))
    noise = keras.random.normal(ops.shape(clean), dtype="float32", seed=seed)
    noisy = schedule.mix(clean, noise, angle_of_value)
    predicted = network(network_inputs(noisy, angle, drop_condition(condition, label_dropout, seed)), training=training)
    return ops.mean(ops.square(predicted - schedule.velocity(clean, noise, angle_of_value)))
