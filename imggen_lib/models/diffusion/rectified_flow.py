r"""Rectified flow: diffusion along straight lines from images to noise.

At the time t in [0, 1] the noisy image is a mixture on the line between the clean image x and the noise
:math:`\varepsilon`, and its velocity is constant along that line:

.. math:: x_t = (1 - t)\, x + t\, \varepsilon, \qquad v = \frac{\mathrm{d} x_t}{\mathrm{d} t} = \varepsilon - x .

A network predicts the velocity, the noise or the clean image; each determines the two others:

.. math:: v = \frac{\varepsilon - x_t}{1 - t} = \frac{x_t - x}{t} .

Sampling solves :math:`\mathrm{d}x = \hat v\,\mathrm{d}t` from t = 1 down to 0. The mean velocity does not follow one line,
so the solution curves, but less than with other mixtures, and few steps are enough.

References: Liu, Gong and Liu, "Flow straight and fast: learning to generate and transfer data with rectified flow", ICLR
2023. Lipman et al., "Flow matching for generative modeling", ICLR 2023. Esser et al., "Scaling rectified flow transformers
for high-resolution image synthesis", ICML 2024, for the logit-normal density of the time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import network_inputs, predict
from imggen_lib.models.diffusion.objective import check_velocity_network
from imggen_lib.models.guidance import GuidedModel, drop_condition

__all__ = ["PREDICTIONS", "TIME_DENSITIES", "RectifiedFlow", "follow_velocity", "velocity_from"]

#: What a network can predict.
PREDICTIONS = ("velocity", "noise", "image")
#: How the times of training are distributed: evenly over [0, 1], or as the sigmoid of a standard normal number, which is
#: most often in the middle, where predictions are hardest.
TIME_DENSITIES = ("uniform", "logit_normal")
#: The smallest denominator in :func:`velocity_from`.
SMALLEST = 0.02


def velocity_from(output: Any, noisy: Any, time: Any, prediction: str) -> Any:
    """Return the velocity that follows from what the network predicted.

    Parameters
    ----------
    output, noisy : array or tensor
        Of one shape.
    time : float or array
        In [0, 1]; broadcasts against them.
    prediction : str
        One of ``PREDICTIONS``. For noise and image, the denominator is at least 0.02.

    Returns
    -------
    array or tensor

    Examples
    --------
    On the line from the image 2 to the noise -1, all three agree:

    >>> noisy = 0.75 * 2 + 0.25 * -1
    >>> outputs = {"velocity": -3.0, "noise": -1.0, "image": 2.0}
    >>> [velocity_from(output, noisy, 0.25, name) for name, output in outputs.items()]
    [-3.0, -3.0, -3.0]
    """
    if validate.choice(prediction, "prediction", PREDICTIONS) == "velocity":
        return output
    if prediction == "noise":
        return (output - noisy) / max(1 - time, SMALLEST)
    return (noisy - output) / max(time, SMALLEST)


def follow_velocity(
    velocity: Callable[[NDArray[np.float32], float], NDArray[Any]],
    noise: NDArray[Any],
    *,
    steps: int,
    method: str = "heun",
) -> NDArray[np.float32]:
    """Take noise at time 1 to data at time 0 along a velocity, in equal steps.

    Parameters
    ----------
    velocity : callable
        From data ``(n, ...)`` and the time to velocities.
    noise : numpy.ndarray
        Standard Gaussian noise.
    steps : int
    method : {"euler", "heun"}
        Euler's method uses the velocity at the beginning of a step. Heun's uses the mean of those at both ends:
        it evaluates the velocity twice in every step but the last, and its error falls with the square of the step.

    Returns
    -------
    numpy.ndarray
        float32, of the shape of ``noise``.

    Raises
    ------
    ValueError
        If ``steps`` is not positive or there is no such method.

    Examples
    --------
    For data that are all 3, the velocity from any point leads straight to 3, in a single step:

    >>> follow_velocity(lambda x, t: (x - 3) / t, np.array([[-1.0], [0.5]]), steps=1).ravel()
    array([3., 3.], dtype=float32)
    """
    validate.choice(method, "method", ("euler", "heun"))
    x = noise.astype(np.float32)
    times = np.linspace(1, 0, validate.integer(steps, "steps") + 1)
    for time, next_time in itertools.pairwise(times.tolist()):
        slope = velocity(x, time)
        ahead = x + (next_time - time) * slope
        # At time 0 there is no further velocity to average with: a network that predicts the image divides by the time.
        if method == "heun" and next_time > 0:
            ahead = x + (next_time - time) * 0.5 * (slope + velocity(ahead.astype(np.float32), next_time))
        x = ahead.astype(np.float32)
    return x


@keras.saving.register_keras_serializable(package="imggen_lib")
class RectifiedFlow(GuidedModel):
    """A rectified flow of images, with or without a condition.

    Parameters
    ----------
    network : keras.Model
        From noisy data, angles ``(n, 1)`` in [0, pi/2] (the time times pi/2) and, in a conditional model, conditions
        ``(n, num_classes)``, which are all zero for "no condition"; to predictions of the data's shape. See
        :func:`imggen_lib.models.diffusion.unet.image_unet` and
        :func:`imggen_lib.models.diffusion.transformer.image_transformer`.
    num_classes : int, optional
        Size of the condition.
    prediction : str
        What the network predicts, one of ``PREDICTIONS``. The loss is the mean squared error of it.
    time_density : str
        One of ``TIME_DENSITIES``.
    **options
        ``label_dropout``, ``ema_momentum`` and ``seed``, as in :class:`imggen_lib.models.guidance.GuidedModel`.

    Raises
    ------
    ValueError
        If the network does not fit ``num_classes``, a name is unknown, or a number is out of range.

    Examples
    --------
    >>> from imggen_lib import models
    >>> model = RectifiedFlow(models.image_unet((8, 8, 1), filters=(8,), blocks=1))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(keras.random.uniform((32, 8, 8, 1), seed=0), verbose=0)
    >>> model.sample(3, seed=0, steps=2).shape
    (3, 8, 8, 1)
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        num_classes: int | None = None,
        prediction: str = "velocity",
        time_density: str = "uniform",
        **options: Any,
    ) -> None:
        check_velocity_network(network, num_classes)
        super().__init__(network, num_classes=num_classes, **options)
        self.prediction = validate.choice(prediction, "prediction", PREDICTIONS)
        self.time_density = validate.choice(time_density, "time_density", TIME_DENSITIES)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.network.inputs[0].shape[1:])

    def to_data(self, images: Any) -> Any:
        """Return what is modelled, given images in [0, 1] as a tensor: here, the images on the scale [-1, 1]."""
        return 2 * images - 1

    def to_images(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Invert :meth:`to_data`, for sampled arrays."""
        return np.asarray((data + 1) / 2, np.float32)

    def times(self, n: Any) -> Any:
        """Return n random times ``(n, 1)`` of the time density, spread evenly over its quantiles."""
        offset = keras.random.uniform((), dtype="float32", seed=self.noise)
        quantile = (ops.arange(n, dtype="float32") + offset) / ops.cast(n, "float32")
        if self.time_density == "logit_normal":
            # At the ends the normal quantile is infinite.
            quantile = ops.clip(quantile, 1e-4, 1 - 1e-4)
            quantile = ops.sigmoid(math.sqrt(2) * ops.erfinv(2 * quantile - 1))
        return ops.reshape(quantile, (-1, 1))

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean squared error of the prediction at random times."""
        clean = self.to_data(images)
        n = ops.shape(clean)[0]
        time = self.times(n)
        t = ops.reshape(time, (-1, *[1] * (len(clean.shape) - 1)))
        noise = keras.random.normal(ops.shape(clean), dtype="float32", seed=self.noise)
        condition = drop_condition(condition, self.label_dropout, self.noise)
        inputs = network_inputs((1 - t) * clean + t * noise, time * (math.pi / 2), condition)
        target = {"velocity": noise - clean, "noise": noise, "image": clean}[self.prediction]
        return ops.mean(ops.square(self.network(inputs, training=training) - target))

    def predict_velocity(
        self,
        noisy: NDArray[Any],
        time: float,
        *,
        labels: ArrayLike | None = None,
        guidance_scale: float = 1.0,
        negative_labels: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        r"""Return the velocity of noisy data by the averaged network, with classifier-free guidance.

        .. math:: v = v_\text{negative} + w\,(v_\text{cond} - v_\text{negative}),

        where the negative condition is "no condition" unless ``negative_labels`` are given.

        Parameters
        ----------
        noisy : numpy.ndarray
            ``(n, ...)``.
        time : float
            The same for all.
        labels, guidance_scale, negative_labels
            As in :meth:`sample`.
        """
        guidance_scale = validate.real(guidance_scale, "guidance_scale", minimum=0)
        n = len(noisy)
        angles = np.full((n, 1), time * math.pi / 2, np.float32)

        def velocity(condition: NDArray[np.float32] | None) -> NDArray[np.float32]:
            inputs = network_inputs(noisy, angles, self.rows_or_zeros(condition, n))
            return velocity_from(predict(self.average.network, inputs), noisy, time, self.prediction)

        condition, negative = (self.condition_rows(rows, n) for rows in (labels, negative_labels))
        return self.guided(velocity, condition, guidance_scale, negative)

    def sample(  # type: ignore[override]  # options by name, where the base class takes any
        self,
        n: int,
        *,
        seed: int,
        labels: ArrayLike | None = None,
        steps: int = 10,
        guidance_scale: float = 1.0,
        negative_labels: ArrayLike | None = None,
        method: str = "heun",
    ) -> NDArray[np.float32]:
        """Generate images: from noise at time 1, step by step to time 0.

        Parameters
        ----------
        n, seed, labels
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`.
        steps, method
            As in :func:`follow_velocity`.
        guidance_scale : float
            The w of classifier-free guidance, at least 0: 0 ignores the labels, 1 uses them, and more extrapolates.
        negative_labels : array_like, optional
            In the forms of ``labels``: the condition that guidance moves away from, instead of "no condition". It has no
            effect with a guidance scale of 1.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If a number is out of range, there is no such method, or labels do not fit.
        """
        negative = self.condition_rows(negative_labels, validate.integer(n, "n"))
        options = {"steps": steps, "guidance_scale": guidance_scale, "negative": negative, "method": method}
        return super().sample(n, seed=seed, labels=labels, **options)

    def _sample(
        self,
        n: int,
        rng: np.random.Generator,
        condition: NDArray[np.float32] | None,
        *,
        steps: int = 10,
        guidance_scale: float = 1.0,
        negative: NDArray[np.float32] | None = None,
        method: str = "heun",
    ) -> NDArray[np.float32]:
        options: dict[str, Any] = {"labels": condition, "guidance_scale": guidance_scale, "negative_labels": negative}

        def velocity(noisy: NDArray[np.float32], time: float) -> NDArray[np.float32]:
            return self.predict_velocity(noisy, time, **options)

        noise = rng.standard_normal((n, *self.network.inputs[0].shape[1:]))
        return self.to_images(follow_velocity(velocity, noise, steps=steps, method=method))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "prediction": self.prediction, "time_density": self.time_density}
