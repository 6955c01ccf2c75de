r"""Diffusion model: a network is trained to predict the velocity of noisy images, and a sampler reverses the noising.

The formulas of the noise schedule are in :mod:`imggen_lib.models.diffusion.schedule`, the loss in
:mod:`imggen_lib.models.diffusion.objective`, the sampler in :mod:`imggen_lib.models.diffusion.sampler`. The network learns
the mean velocity, given the noisy image. Sampling solves the differential equation
:math:`\mathrm{d}x = \hat v(x, \varphi)\,\mathrm{d}\varphi` from :math:`\pi/2` down to 0.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import network_inputs, predict
from imggen_lib.models.diffusion import schedule
from imggen_lib.models.diffusion.objective import check_velocity_network, velocity_loss
from imggen_lib.models.diffusion.sampler import reverse_diffusion
from imggen_lib.models.guidance import GuidedModel

__all__ = ["Diffusion"]

#: The likelihood bound integrates from this angle on, where the noise is an eighth of a step of 8 bits.
MIN_ANGLE = 1e-3


@keras.saving.register_keras_serializable(package="imggen_lib")
class Diffusion(GuidedModel):
    r"""A diffusion model with v-prediction, with or without a condition.

    In training every image gets its own angle, and the angles of a batch are spaced evenly over [0, pi/2]. A conditional
    model is trained without the condition for a fraction of the images, so that one network predicts both the conditional
    and the unconditional velocity. Classifier-free guidance extrapolates from the second to the first:

    .. math:: v = v_\text{uncond} + w\,(v_\text{cond} - v_\text{uncond}).

    Parameters
    ----------
    network : keras.Model
        From noisy images (data in [-1, 1]), angles ``(n, 1)`` and, in a conditional model, conditions ``(n, num_classes)``,
        which are all zero for an unconditional prediction; to velocities. See
        :func:`imggen_lib.models.diffusion.unet.image_unet`.
    num_classes : int, optional
        Size of the condition: the number of classes, or of values that encode a caption.
    **options
        ``label_dropout``, ``ema_momentum`` and ``seed``, as in :class:`imggen_lib.models.guidance.GuidedModel`.

    Raises
    ------
    ValueError
        If the network does not fit ``num_classes``, or a number is out of range.

    References
    ----------
    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020. Salimans and Ho, "Progressive
    distillation for fast sampling of diffusion models", ICLR 2022. Ho and Salimans, "Classifier-free diffusion guidance",
    arXiv:2207.12598, 2022.

    Examples
    --------
    Before training the U-Net outputs 0. For grey images, which are 0 on the scale [-1, 1], the velocity is
    :math:`\cos\varphi \; \varepsilon`, so the loss is close to the mean of :math:`\cos^2\varphi`, which is 1/2:

    >>> from imggen_lib import models
    >>> model = Diffusion(models.image_unet((8, 8, 1), filters=(8,), blocks=1))
    >>> loss = model.compute_loss(keras.ops.full((256, 8, 8, 1), 0.5), training=False)
    >>> round(float(loss), 1)
    0.5
    >>> model.sample(3, seed=0, steps=2).shape
    (3, 8, 8, 1)
    """

    def __init__(self, network: keras.Model, *, num_classes: int | None = None, **options: Any) -> None:
        check_velocity_network(network, num_classes)
        super().__init__(network, num_classes=num_classes, **options)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.network.inputs[0].shape[1:])

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return :func:`imggen_lib.models.diffusion.objective.velocity_loss` of the images on the scale [-1, 1]."""
        options = {"seed": self.noise, "label_dropout": self.label_dropout, "training": training}
        return velocity_loss(self.network, 2 * images - 1, condition, **options)

    def predict_velocity(
        self, noisy: NDArray[Any], angle: float, *, labels: ArrayLike | None = None, guidance_scale: float = 1.0
    ) -> NDArray[np.float32]:
        """Predict the velocity of noisy images with the averaged network.

        Parameters
        ----------
        noisy : numpy.ndarray
            ``(n, height, width, channels)``, where clean images are in [-1, 1].
        angle : float
            The same for all images.
        labels : array_like, optional
            As in :meth:`sample`; without labels the prediction is unconditional.
        guidance_scale : float
            The w of classifier-free guidance, at least 0: 0 is unconditional, 1 conditional, and more extrapolates. It has
            an effect only with labels.

        Returns
        -------
        numpy.ndarray
            float32, of the shape of ``noisy``.

        Raises
        ------
        ValueError
            If the labels do not fit, or ``guidance_scale`` is negative.
        """
        guidance_scale = validate.real(guidance_scale, "guidance_scale", minimum=0)
        n = len(noisy)
        angles = np.full((n, 1), angle, np.float32)

        def velocity(condition: NDArray[np.float32] | None) -> NDArray[np.float32]:
            return predict(self.average.network, network_inputs(noisy, angles, self.rows_or_zeros(condition, n)))

        return self.guided(velocity, self.condition_rows(labels, n), guidance_scale)

    def sample(  # type: ignore[override]  # options by name, where the base class takes any
        self,
        n: int,
        *,
        seed: int,
        labels: ArrayLike | None = None,
        steps: int = 14,
        guidance_scale: float = 1.0,
        eta: float = 0.0,
        order: int = 2,
    ) -> NDArray[np.float32]:
        """Generate images: from noise, step by step down to the angle 0.

        Parameters
        ----------
        n, seed, labels
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`.
        steps : int
            Equal steps of the angle. Each evaluates the network once, or twice with guidance. On Fashion-MNIST more than
            the default did not improve the Fréchet distance.
        guidance_scale : float
            See :meth:`predict_velocity`.
        eta : float
            Stochasticity, in [0, 1]: 0 solves the differential equation (DDIM), 1 is the sampler of DDPM. If it is
            positive, the noise added in the steps depends on n: a smaller n does not give the first images of a larger n.
        order : int
            1 uses the network's estimate of the clean images at the beginning of each step; 2 extrapolates the last two
            estimates to its middle, which is more accurate at the same cost. With a positive ``eta`` the order is 1.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If a number is out of range, or the labels do not fit.
        """
        options = {"steps": steps, "guidance_scale": guidance_scale, "eta": eta, "order": order}
        return super().sample(n, seed=seed, labels=labels, **options)

    def _sample(
        self,
        n: int,
        rng: np.random.Generator,
        condition: NDArray[np.float32] | None,
        *,
        guidance_scale: float = 1.0,
        **options: Any,
    ) -> NDArray[Any]:
        def velocity(noisy: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
            return self.predict_velocity(noisy, angle, labels=condition, guidance_scale=guidance_scale)

        noise = rng.standard_normal((n, *self.image_shape))
        return (reverse_diffusion(velocity, noise, rng=rng, **options) + 1) / 2

    def log_prob_lower_bound(
        self, images: ArrayLike, *, seed: int, labels: ArrayLike | None = None, angles: int = 64
    ) -> NDArray[np.float64]:
        r"""Return a lower bound on the log-density of each image, in nats.

        With :math:`\lambda = -2\log\tan\varphi`, the logarithm of the signal-to-noise ratio,

        .. math:: \log p(x) \ge -D_{KL}(q(x_{\pi/2} \mid x) \,\|\, \mathcal{N}(0, I))
                  - \frac12 \int e^{\lambda}\, \mathbb{E}\lVert x - \hat x(x_\varphi) \rVert^2 \,\mathrm{d}\lambda
                  + \mathbb{E}[\log p(x \mid x_0)] .

        The integral ends a thousandth short of the angles 0 and pi/2. It is estimated at values of :math:`\lambda` that are
        spaced evenly.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        seed : int
            Of noise and angles.
        labels : array_like, optional
            As in :meth:`sample`; without labels it is the bound of the unconditional model.
        angles : int
            How many network evaluations per image.

        Returns
        -------
        numpy.ndarray
            float64 ``(n,)``. It bounds a density: for :func:`imggen_lib.metrics.bits_per_dimension`, dequantise the images.

        Raises
        ------
        ValueError
            If the images have another shape, or the labels do not fit.

        References
        ----------
        Kingma et al., "Variational diffusion models", NeurIPS 2021, equations 11 to 17.
        """
        checked = validate.images(images, self.image_shape)
        condition = self.condition_rows(labels, len(checked))
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        count = validate.integer(angles, "angles")
        clean, size = 2 * checked.astype(np.float32) - 1, checked[0].size

        highest, lowest = schedule.log_snr(MIN_ANGLE), -schedule.log_snr(MIN_ANGLE)
        diffusion = np.zeros(len(clean))
        for fraction in (np.arange(count) + rng.uniform()) / count:
            log_snr = highest + fraction * (lowest - highest)
            angle = schedule.angle_from_log_snr(log_snr)
            noise = rng.standard_normal(clean.shape).astype(np.float32)
            noisy = schedule.mix(clean, noise, angle)
            predicted = schedule.to_clean(noisy, self.predict_velocity(noisy, angle, labels=condition), angle)
            diffusion += 0.5 * np.exp(log_snr) * _squared_norms(clean - predicted) * (highest - lowest) / count
        # At MIN_ANGLE, the density of the image, given the noisy image, is a Gaussian around the scaled noisy image.
        reconstruction = -0.5 * size * (1 + np.log(2 * np.pi) - highest)
        # At the other end, the noisy image is Gaussian with a small mean and a variance slightly below 1.
        signal = schedule.mix(1.0, 0.0, math.pi / 2 - MIN_ANGLE) ** 2
        prior = 0.5 * (signal * _squared_norms(clean) - size * (signal + np.log1p(-signal)))
        # The density of an image in [0, 1], where volumes are smaller than in [-1, 1].
        return reconstruction - prior - diffusion + size * np.log(2)


def _squared_norms(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of squares of each image, in double precision."""
    return np.square(images, dtype=np.float64).sum(axis=(1, 2, 3))
