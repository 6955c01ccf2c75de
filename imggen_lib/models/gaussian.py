"""The simplest generative model of images: one multivariate normal distribution over all pixels. NumPy only."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = ["GaussianImageModel"]


class GaussianImageModel:
    r"""A multivariate normal distribution fitted to images by maximum likelihood.

    .. math:: \log p(x) = -\tfrac12 \left((x - \mu)^\top \Sigma^{-1} (x - \mu) + \log\det\Sigma + d \log 2\pi\right)

    It has the interface of the learned models (``fit``, ``sample``, ``log_prob``). Fitting computes the mean and the
    covariance of the pixels.

    Parameters
    ----------
    ridge : float
        Added to the diagonal of the covariance, which pixels of constant value would make singular.

    Attributes
    ----------
    num_classes : None
        The model is unconditional.
    image_shape : tuple of int or None
        Height, width and channels; None before ``fit``.

    References
    ----------
    Bishop, "Pattern recognition and machine learning", Springer, 2006, section 2.3.4.

    Examples
    --------
    Two pixels that are always equal in the data are nearly equal in the samples:

    >>> images = np.repeat(np.random.default_rng(0).uniform(size=(100, 1, 1, 1)), 2, axis=2)
    >>> samples = GaussianImageModel(ridge=1e-8).fit(images).sample(3, seed=0)
    >>> bool(np.allclose(samples[:, 0, 0], samples[:, 0, 1], atol=1e-3))
    True
    """

    task: ClassVar[str] = "generation"
    num_classes: ClassVar[None] = None

    def __init__(self, *, ridge: float = 1e-4) -> None:
        self.ridge: float = validate.real(ridge, "ridge", minimum=1e-12)
        self.image_shape: tuple[int, int, int] | None = None

    def fit(self, images: ArrayLike) -> GaussianImageModel:
        """Estimate mean and covariance.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1], n at least 2.

        Returns
        -------
        GaussianImageModel
            The model itself.

        Raises
        ------
        ValueError
            If there are fewer than two images.
        """
        array = validate.image(images, "images", ndim=4)
        if len(array) < 2:
            raise ValueError(f"images has the shape {array.shape}; a covariance needs at least two images")
        rows = array.reshape(len(array), -1).astype(np.float64)
        self.mean: NDArray[np.float64] = rows.mean(axis=0)
        centred = rows - self.mean
        variances, directions = np.linalg.eigh(centred.T @ centred / len(rows))
        self.directions: NDArray[np.float64] = directions
        self.variances: NDArray[np.float64] = np.maximum(variances, 0) + self.ridge
        self.image_shape = array.shape[1:]
        return self

    def sample(self, n: int, *, seed: int, labels: None = None) -> NDArray[np.float32]:
        """Generate images: standard normal values, scaled along the eigenvectors of the covariance, plus the mean.

        Parameters, return value and errors are those of :meth:`imggen_lib.models.base.GenerativeModel.sample`. Values
        outside [0, 1] are clipped.
        """
        shape = self._fitted_shape(labels)
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        noise = rng.standard_normal((validate.integer(n, "n"), self.mean.size))
        rows = self.mean + (noise * np.sqrt(self.variances)) @ self.directions.T
        return np.clip(rows, 0, 1).reshape(n, *shape).astype(np.float32)

    def log_prob(self, images: ArrayLike, *, labels: None = None) -> NDArray[np.float64]:
        """Return the log-density of each image in nats, ``(n,)``.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        labels : None
            Part of the common interface; the model is unconditional.

        Raises
        ------
        ValueError
            If the images have another shape than those of ``fit``, or labels are given.
        """
        array = validate.images(images, self._fitted_shape(labels))
        coordinates = (array.reshape(len(array), -1) - self.mean) @ self.directions
        squared = (coordinates**2 / self.variances).sum(axis=1)
        return -0.5 * (squared + np.log(2 * np.pi * self.variances).sum())

    def _fitted_shape(self, labels: None) -> tuple[int, int, int]:
        if self.image_shape is None:
            raise ValueError("GaussianImageModel is not fitted; call fit(images) first")
        if labels is not None:
            raise ValueError("GaussianImageModel is unconditional, so it takes no labels: leave them out")
        return self.image_shape
