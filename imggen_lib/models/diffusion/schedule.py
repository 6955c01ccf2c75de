r"""Noise schedule of variance-preserving diffusion, parametrised by an angle.

At the angle :math:`\varphi \in [0, \pi/2]` the noisy image is a mixture of the clean image x, in [-1, 1], and standard
Gaussian noise :math:`\varepsilon`. Its derivative with respect to the angle is called the velocity:

.. math:: x_\varphi = \cos\varphi \; x + \sin\varphi \; \varepsilon, \qquad
          v_\varphi = \frac{\mathrm{d} x_\varphi}{\mathrm{d}\varphi} = \cos\varphi \; \varepsilon - \sin\varphi \; x.

Noisy image and velocity are a rotation of clean image and noise. The inverse rotation is

.. math:: x = \cos\varphi \; x_\varphi - \sin\varphi \; v_\varphi, \qquad
          \varepsilon = \sin\varphi \; x_\varphi + \cos\varphi \; v_\varphi,

so a network that predicts one of x, :math:`\varepsilon` and v predicts all three. In the notation of DDPM,

=================================================  ==================================================
DDPM                                               angle
=================================================  ==================================================
:math:`\sqrt{\bar\alpha_t}`                        :math:`\cos\varphi`
:math:`\sqrt{1 - \bar\alpha_t}`                    :math:`\sin\varphi`
signal-to-noise ratio                              :math:`1 / \tan^2\varphi`
:math:`\sqrt{\alpha_t}`, from t - 1 to t           :math:`\cos\varphi_t / \cos\varphi_{t-1}`
:math:`\epsilon_\theta`, the predicted noise       :func:`to_noise` of the predicted clean image
=================================================  ==================================================

Training, sampler, likelihood bound and restoration import these functions. They use NumPy for NumPy arrays and numbers, and
Keras, imported on demand, for tensors. If the angle is a Python number, the result has the dtype of the images.

References
----------
Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020. Salimans and Ho, "Progressive distillation
for fast sampling of diffusion models", ICLR 2022, appendix D, for the velocity and the angle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "angle_from_log_snr", "angle_grid", "extrapolate", "forward_step", "log_snr", "mix", "renew_noise", "step", "to_clean",
    "to_noise", "velocity",
]  # fmt: skip


def angle_grid(steps: int, start: float = math.pi / 2, stop: float = 0.0) -> NDArray[np.float64]:
    """Return the ``steps + 1`` equally spaced angles that a sampler visits, from ``start`` down to ``stop``.

    Examples
    --------
    >>> np.degrees(angle_grid(3)).round()
    array([90., 60., 30.,  0.])
    """
    return np.linspace(start, stop, steps + 1)


def mix(clean: Any, noise: Any, angle: Any) -> Any:
    r"""Return the noisy images :math:`\cos\varphi \; x + \sin\varphi \; \varepsilon`.

    Parameters
    ----------
    clean, noise : array or tensor of shape (n, height, width, channels)
        Clean images in [-1, 1] and standard Gaussian noise.
    angle : float, or array or tensor that broadcasts against the images
        In [0, pi/2]: 0 gives the images, pi/2 gives the noise.

    Returns
    -------
    array or tensor
        Of the shape of the images.

    Examples
    --------
    The schedule preserves variance: independent signals of variance 1 stay at variance 1.

    >>> x, noise = np.random.default_rng(0).standard_normal((2, 1, 100, 100, 1))
    >>> float(np.var(mix(x, noise, 0.7)).round(1))
    1.0
    """
    return _cos(angle) * clean + _sin(angle) * noise


def velocity(clean: Any, noise: Any, angle: Any) -> Any:
    """Return the derivative of :func:`mix` with respect to the angle: the target of v-prediction.

    Parameters and result are as in :func:`mix`.

    Examples
    --------
    >>> x, noise, h = 0.5, -1.0, 1e-6
    >>> difference = mix(x, noise, 0.7 + h) - mix(x, noise, 0.7 - h)
    >>> bool(np.isclose(velocity(x, noise, 0.7), difference / (2 * h)))
    True
    """
    return _cos(angle) * noise - _sin(angle) * clean


def to_clean(noisy: Any, velocity: Any, angle: Any) -> Any:
    """Return the clean images that belong to noisy images and their velocity.

    Parameters and result are as in :func:`mix`.

    Examples
    --------
    >>> x, noise = 0.5, -1.0
    >>> round(to_clean(mix(x, noise, 1.1), velocity(x, noise, 1.1), 1.1), 6)
    0.5
    """
    return _cos(angle) * noisy - _sin(angle) * velocity


def to_noise(noisy: Any, clean: Any, angle: Any) -> Any:
    """Return the noise that belongs to noisy images and their clean images; the angle must be positive.

    Parameters and result are as in :func:`mix`.

    Examples
    --------
    >>> round(to_noise(mix(0.5, -1.0, 1.1), 0.5, 1.1), 6)
    -1.0
    """
    return (noisy - _cos(angle) * clean) / _sin(angle)


def log_snr(angle: Any) -> Any:
    r"""Return the logarithm of the signal-to-noise ratio, :math:`-2 \log\tan\varphi`, for angles inside (0, pi/2).

    Parameters
    ----------
    angle : float or numpy.ndarray

    Examples
    --------
    At 45 degrees signal and noise have the same variance:

    >>> round(float(log_snr(math.pi / 4)), 6)
    0.0
    """
    return -2 * np.log(np.tan(angle))


def angle_from_log_snr(value: Any) -> Any:
    """Return the angle at which :func:`log_snr` has this value.

    Examples
    --------
    >>> round(float(angle_from_log_snr(log_snr(0.3))), 6)
    0.3
    """
    return np.arctan(np.exp(-value / 2))


def forward_step(noisy: Any, new_noise: Any, angle: float, next_angle: float) -> Any:
    r"""Add noise to noisy images, which takes them from one angle to a larger one: a step of the forward process.

    .. math:: x_{\varphi'} = a\, x_\varphi + \sqrt{1 - a^2}\; \varepsilon', \qquad a = \cos\varphi' / \cos\varphi

    Parameters
    ----------
    noisy : array or tensor
        Noisy images at ``angle``.
    new_noise : array or tensor
        Standard Gaussian noise, independent of that in ``noisy``.
    angle, next_angle : float
        With 0 <= angle <= next_angle <= pi/2, and angle < pi/2.

    Examples
    --------
    From angle 0, where the images are clean, it is :func:`mix`:

    >>> bool(np.isclose(forward_step(0.5, -1.0, 0.0, 0.7), mix(0.5, -1.0, 0.7)))
    True
    """
    signal, noise_std = _forward_coefficients(angle, next_angle)
    return signal * noisy + noise_std * new_noise


def renew_noise(noise: Any, new_noise: Any, angle: float, next_angle: float, eta: float) -> Any:
    """Return noise of which a sampling step from ``angle`` to ``next_angle`` has replaced a part; its variance stays 1.

    See :func:`step`, which applies it, for the parameters.

    Examples
    --------
    A step to angle 0 with ``eta=1`` replaces all of it:

    >>> round(renew_noise(5.0, 2.0, 0.4, 0.0, eta=1.0), 6)
    2.0
    """
    _, forward_std = _forward_coefficients(next_angle, angle)
    # The minimum guards against rounding: the ratio is exactly 1 if next_angle is 0 or angle is pi/2.
    replaced = eta * min(forward_std / math.sin(angle), 1.0)
    return math.sqrt(1 - replaced**2) * noise + replaced * new_noise


def step(clean: Any, noise: Any, angle: float, next_angle: float, *, eta: float = 0.0, new_noise: Any = None) -> Any:
    r"""Take a sampling step to a smaller angle, given estimates of the clean images and of the noise.

    The estimates are mixed again at the next angle. A part of the noise is replaced by new noise of the standard deviation

    .. math:: \sigma = \eta \; \frac{\sin\varphi'}{\sin\varphi} \sqrt{1 - \frac{\cos^2\varphi}{\cos^2\varphi'}} .

    With :math:`\eta = 0` this is DDIM, which solves the differential equation
    :math:`\mathrm{d}x = v\,\mathrm{d}\varphi`. With :math:`\eta = 1` it is DDPM: :math:`\sigma^2` is the variance
    :math:`\tilde\beta_t` of the posterior :math:`q(x_{t-1} \mid x_t, x_0)`.

    Parameters
    ----------
    clean, noise : array or tensor
        Estimates at ``angle``.
    angle, next_angle : float
        With pi/2 >= angle > next_angle >= 0.
    eta : float
        Stochasticity, in [0, 1].
    new_noise : array or tensor, optional
        Standard Gaussian noise; needed if ``eta`` is positive.

    Returns
    -------
    array or tensor
        Noisy images at ``next_angle``.

    Raises
    ------
    ValueError
        If ``eta`` is positive and ``new_noise`` is missing.

    References
    ----------
    Song, Meng and Ermon, "Denoising diffusion implicit models", ICLR 2021, equations 12 and 16.

    Examples
    --------
    With the true clean images and noise, a step lands on the true noisy images, however large it is:

    >>> bool(np.isclose(step(0.5, -1.0, 1.5, 0.2), mix(0.5, -1.0, 0.2)))
    True
    """
    if eta:
        if new_noise is None:
            raise ValueError(
                f"eta is {eta:g} and new_noise is None; expected standard Gaussian noise: pass it, or set eta=0"
            )
        noise = renew_noise(noise, new_noise, angle, next_angle, eta)
    return mix(clean, noise, next_angle)


def extrapolate(clean: Any, previous_clean: Any, previous_angle: float, angle: float, next_angle: float) -> Any:
    """Extrapolate the last two estimates of the clean images to the middle of the next step, linearly in the log-SNR.

    A step with this estimate is of second order and needs no additional network evaluation.

    Parameters
    ----------
    clean, previous_clean : array or tensor
        Estimates at ``angle`` and at ``previous_angle``.
    previous_angle, angle, next_angle : float
        With pi/2 > previous_angle > angle > next_angle > 0: at the ends the log-SNR is infinite.

    References
    ----------
    Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models", Machine Intelligence
    Research 22, 2025, algorithm 2 (2M).

    Examples
    --------
    >>> angles = angle_from_log_snr(np.array([0.0, 1.0, 2.0]))
    >>> round(float(extrapolate(11.0, 10.0, *angles)), 6)
    11.5
    """
    last_step = log_snr(angle) - log_snr(previous_angle)
    next_step = log_snr(next_angle) - log_snr(angle)
    return clean + (clean - previous_clean) * float(next_step / (2 * last_step))


def _forward_coefficients(angle: float, next_angle: float) -> tuple[float, float]:
    """Return signal scale and noise standard deviation of the forward step from ``angle`` to the larger ``next_angle``."""
    # The square of the second is 1 - signal**2, without the cancellation in a short step.
    variance = math.sin(next_angle - angle) * math.sin(next_angle + angle) / math.cos(angle) ** 2
    return math.cos(next_angle) / math.cos(angle), math.sqrt(variance)


def _cos(angle: Any) -> Any:
    return _functions(angle).cos(angle)


def _sin(angle: Any) -> Any:
    return _functions(angle).sin(angle)


def _functions(angle: Any) -> Any:
    """Return the module whose functions fit the type of the angle: :mod:`math`, NumPy, or Keras's operations."""
    if isinstance(angle, int | float):
        return math
    if isinstance(angle, np.ndarray | np.generic):
        return np
    from keras import ops

    return ops
