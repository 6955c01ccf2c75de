"""The simplest generative model of pictures: one multivariate normal over all pixels. NumPy only."""

import numpy as np

from imggen_lib import _validation as validate

__all__ = ["GaussianImageModel"]


class GaussianImageModel:
    r"""A multivariate normal fitted to pictures by maximum likelihood.

    .. math:: \log p(x) = -\tfrac12 \left((x - \mu)^\top \Sigma^{-1} (x - \mu) + \log\det\Sigma + d \log 2\pi\right)

    It has the interface of the learned models (``fit``, ``sample``, ``log_prob``) and needs no training but a mean and a
    covariance.

    Parameters
    ----------
    ridge : float
        Added to the diagonal of the covariance: pixels that never change would make it singular.

    Examples
    --------
    >>> pictures = np.random.default_rng(0).uniform(size=(100, 2, 2, 1))
    >>> GaussianImageModel().fit(pictures).sample(3, seed=0).shape
    (3, 2, 2, 1)
    """

    def __init__(self, *, ridge=1e-4):
        self.ridge = validate.real(ridge, "ridge", minimum=1e-12)
        self.mean = self.variances = self.directions = self.image_shape = None

    def fit(self, images):
        """Estimate mean and covariance.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1], n at least 2.

        Returns
        -------
        GaussianImageModel
            Itself.

        Raises
        ------
        ValueError
            If there are fewer than two pictures.
        """
        images = validate.image(images, "images", ndim=4)
        if len(images) < 2:
            raise ValueError(f"images has the shape {images.shape}; a covariance needs at least two pictures")
        self.image_shape = images.shape[1:]
        rows = images.reshape(len(images), -1).astype(np.float64)
        self.mean = rows.mean(axis=0)
        centred = rows - self.mean
        covariance = centred.T @ centred / len(rows)
        variances, self.directions = np.linalg.eigh(covariance)
        self.variances = np.maximum(variances, 0) + self.ridge
        return self

    def sample(self, n, *, seed, labels=None):
        """Draw pictures: scale standard normal numbers along the eigenvectors of the covariance, and add the mean.

        Parameters, returns and errors are those of :meth:`imggen_lib.models.base.GenerativeModel.sample`. Values outside
        [0, 1], which a normal distribution has, are cut off.
        """
        self._check_fitted()
        if labels is not None:
            raise ValueError("GaussianImageModel was fitted without labels and cannot draw a chosen class")
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        noise = rng.standard_normal((validate.integer(n, "n"), self.mean.size))
        rows = self.mean + (noise * np.sqrt(self.variances)) @ self.directions.T
        return np.clip(rows, 0, 1).reshape(n, *self.image_shape).astype(np.float32)

    def log_prob(self, images):
        """Return the log-density of each picture in nats, ``(n,)``.

        Raises
        ------
        ValueError
            If the pictures have another shape than those it was fitted to.
        """
        self._check_fitted()
        images = validate.images(images, self.image_shape)
        coordinates = (images.reshape(len(images), -1) - self.mean) @ self.directions
        squared = (coordinates**2 / self.variances).sum(axis=1)
        return -0.5 * (squared + np.log(2 * np.pi * self.variances).sum())

    def _check_fitted(self):
        if self.mean is None:
            raise ValueError("GaussianImageModel has not seen any pictures yet; call fit(images) first")
