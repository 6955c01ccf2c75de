"""Metrics that compare sets of images by their features, and bits per dimension. NumPy only: features are given as arrays.

A set of n images is an array of features ``(n, d)``, one row for each image; :mod:`imggen_lib.evaluation` computes features
with this book's classifier. The network that computes the features defines the unit of a distance, and most metrics depend
on the number of images. Compare values only for the same features and the same numbers of images.

Except where noted, a function raises ``TypeError`` for features that are not real numbers, and ``ValueError`` if the two
sets have different numbers of columns, a set has too few rows, or a value is NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = [
    "bits_per_dimension", "density_coverage", "frechet_distance", "inception_score", "kernel_distance",
    "nearest_neighbours", "precision_recall",
]  # fmt: skip

Array = NDArray[np.floating]

# Matrices of pairwise distances are computed in blocks of at most this many values: 32 MB in double precision.
_BLOCK_SIZE = 2**22


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    r"""Squared Fréchet (2-Wasserstein) distance between the Gaussians fitted to two sets of features.

    .. math:: \lVert \mu_a - \mu_b \rVert^2 + \operatorname{tr}\left(\Sigma_a + \Sigma_b
              - 2 (\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}\right)

    On the features of the Inception network it is known as FID.

    Parameters
    ----------
    features_a, features_b : array_like
        ``(n, d)`` and ``(m, d)``, with n and m at least 2.

    Returns
    -------
    float
        At least 0, in squared units of the features. For small n and m it is biased upwards.

    References
    ----------
    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", Journal of Multivariate
    Analysis 12, 1982. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium", NeurIPS 2017 (FID).

    Examples
    --------
    Equal covariances leave the squared distance of the means, here 2²:

    >>> points = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(points, points + [2, 0, 0]), 6)
    4.0
    """
    a, b = _feature_pair(features_a, features_b)
    _require_rows(2, "a covariance", features_a=a, features_b=b)
    (mean_a, cov_a), (mean_b, cov_b) = _mean_and_covariance(a), _mean_and_covariance(b)
    root_a = _matrix_square_root(cov_a)
    # The eigenvalues of this symmetric product are at least 0 except for rounding errors.
    eigenvalues = np.linalg.eigvalsh(root_a @ cov_b @ root_a)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(np.maximum(eigenvalues, 0)).sum()
    return float(max((mean_a - mean_b) @ (mean_a - mean_b) + trace, 0))


def kernel_distance(
    features_a: ArrayLike,
    features_b: ArrayLike,
    *,
    subset_size: int | None = None,
    subsets: int = 100,
    rng: np.random.Generator | int | None = None,
) -> float:
    r"""Unbiased estimate of the squared maximum mean discrepancy (MMD) between two sets of features.

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} k(a_i, a_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(b_i, b_j)
              - \frac{2}{nm} \sum_{i, j} k(a_i, b_j), \qquad k(x, y) = \left(\frac{x \cdot y}{d} + 1\right)^3

    On the features of the Inception network it is known as KID.

    Parameters
    ----------
    features_a, features_b : array_like
        ``(n, d)`` and ``(m, d)``, with n and m at least 2.
    subset_size : int, optional
        The default uses all pairs. With a number, the result is the mean over random subsets of that size, as in published
        tables (where it is 1,000). It has the same expected value.
    subsets : int
        Number of subsets.
    rng : numpy.random.Generator or int, optional
        Chooses the subsets.

    Returns
    -------
    float
        Its expected value is 0 for two sets from one distribution, so it can be slightly negative.

    References
    ----------
    Gretton et al., "A kernel two-sample test", JMLR 13, 2012. Bińkowski et al., "Demystifying MMD GANs", ICLR 2018 (KID).

    Examples
    --------
    If all points of a set are equal, the distance is k(x, x) + k(y, y) - 2 k(x, y), here (1 + 1)³ + (0 + 1)³ - 2 · 1:

    >>> kernel_distance([[1.0], [1.0]], [[0.0], [0.0]])
    7.0
    """
    a, b = _feature_pair(features_a, features_b)
    size = 2 if subset_size is None else validate.integer(subset_size, "subset_size", minimum=2)
    _require_rows(size, "an unbiased estimate", features_a=a, features_b=b)
    a, b = (x.astype(np.float64) / np.sqrt(x.shape[1]) for x in (a, b))
    if subset_size is None:
        return _mmd(a, b)
    rng, subsets = np.random.default_rng(rng), validate.integer(subsets, "subsets")
    estimates = []
    for _ in range(subsets):
        subset_a, subset_b = (features[rng.choice(len(features), size, replace=False)] for features in (a, b))
        estimates.append(_mmd(subset_a, subset_b))
    return float(np.mean(estimates))


def inception_score(probabilities: ArrayLike, *, splits: int = 10) -> float:
    r"""Inception Score, computed from the class probabilities that a classifier predicts for generated images.

    .. math:: \exp\left(\frac1n \sum_i D_{KL}\big(p(y \mid x_i) \,\|\, \bar p(y)\big)\right),
              \qquad \bar p(y) = \frac1n \sum_i p(y \mid x_i)

    The classifier defines the score. Published scores use the Inception network, trained on the 1,000 classes of ImageNet.
    In this book the probabilities are those of its own classifier for the ten classes of Fashion-MNIST, so its scores are
    not comparable with published ones. Real images are not used.

    Parameters
    ----------
    probabilities : array_like
        ``(n, classes)``, the predicted distribution for each image. Each row sums to 1.
    splits : int
        The score is the mean over this many consecutive parts, as in the paper. Shuffle images that are sorted by class.

    Returns
    -------
    float
        From 1 (the same prediction for every image) to the number of classes (a certain prediction for every image, and all
        classes equally frequent).

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If a row is not a probability distribution, or there are fewer rows than splits.

    References
    ----------
    Salimans et al., "Improved techniques for training GANs", NeurIPS 2016.

    Examples
    --------
    Certain predictions of four classes give 4, the same images in class order and split into four parts give 1:

    >>> certain = np.repeat(np.eye(4), 5, axis=0)
    >>> round(inception_score(certain, splits=1), 6), round(inception_score(certain, splits=4), 6)
    (4.0, 1.0)
    """
    p = validate.real_array(probabilities, "probabilities", ndim=2).astype(np.float64)
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError(
            "probabilities has rows that are not probability distributions; expected values of at least 0 that sum to 1 in "
            "each row: apply softmax to logits"
        )
    _require_rows(validate.integer(splits, "splits"), f"a division into {splits} parts", probabilities=p)
    parts = np.split(p, np.arange(1, splits) * len(p) // splits)
    # The mean divergence is the entropy of the mean distribution minus the mean entropy.
    divergences = [_x_log_x(part).sum(axis=1).mean() - _x_log_x(part.mean(axis=0)).sum() for part in parts]
    return float(np.exp(divergences).mean())


def precision_recall(features_real: ArrayLike, features_fake: ArrayLike, *, neighbours: int = 3) -> tuple[float, float]:
    """Precision and recall of generated images, estimated with k nearest neighbours.

    The support of a distribution is estimated by the union of balls around its points. The radius of each ball is the
    distance to the k-th nearest other point of the same set. Precision is the fraction of generated points within the
    support of the real ones (fidelity); recall is the fraction of real points within the support of the generated ones
    (diversity).

    Parameters
    ----------
    features_real, features_fake : array_like
        ``(n, d)`` of real and ``(m, d)`` of generated images, with n and m at least ``neighbours + 1``.
    neighbours : int
        k.

    Returns
    -------
    precision, recall : float
        In [0, 1]. Both depend on n, m and k: compare them with the values of as many real images.

    References
    ----------
    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019.

    Examples
    --------
    A generator that covers only the left half of the real distribution:

    >>> real = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> precision, recall = precision_recall(real, real[real[:, 0] < 0.5])
    >>> precision, round(recall, 1)
    (1.0, 0.5)
    """
    real, fake, tolerance = _centred_pair(features_real, features_fake)
    real_radii = _squared_radii(neighbours, features_real=real)
    fake_radii = _squared_radii(neighbours, features_fake=fake)
    in_real_support, in_fake_support = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, distances in _squared_distances(real, fake):
        in_real_support |= (distances <= real_radii[rows, np.newaxis] + tolerance).any(axis=0)
        in_fake_support[rows] = (distances <= fake_radii + tolerance).any(axis=1)
    return float(in_real_support.mean()), float(in_fake_support.mean())


def density_coverage(features_real: ArrayLike, features_fake: ArrayLike, *, neighbours: int = 5) -> tuple[float, float]:
    """Density and coverage of generated images: less sensitive to outliers than precision and recall.

    Both use the balls around real points only; the radius of each is the distance to the k-th nearest other real point.
    Density is the mean number of balls that contain a generated point, divided by k. Coverage is the fraction of balls that
    contain a generated point.

    Parameters
    ----------
    features_real, features_fake : array_like
        ``(n, d)`` of real and ``(m, d)`` of generated images, with n at least ``neighbours + 1``.
    neighbours : int
        k.

    Returns
    -------
    density, coverage : float
        For two large sets of equal size from one distribution, the expected density is 1 and the expected coverage
        1 - 2**-k. Density exceeds 1 if generated points concentrate where real points are dense. Coverage is in [0, 1].

    References
    ----------
    Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020.

    Examples
    --------
    With k = 1 the balls around 0, 1, 2 and 10 have the radii 1, 1, 1 and 8. Both generated points lie in the first two
    balls, so the density is 4 / 2 and half of the balls are covered:

    >>> density_coverage([[0.0], [1.0], [2.0], [10.0]], [[0.4], [0.6]], neighbours=1)
    (2.0, 0.5)
    """
    real, fake, tolerance = _centred_pair(features_real, features_fake)
    radii = _squared_radii(neighbours, features_real=real)
    inside = covered = 0
    for rows, distances in _squared_distances(real, fake):
        counts = (distances < radii[rows, np.newaxis] - tolerance).sum(axis=1)
        inside += counts.sum()
        covered += (counts > 0).sum()
    return float(inside / (neighbours * len(fake))), float(covered / len(real))


def nearest_neighbours(
    features: ArrayLike, gallery: ArrayLike, *, neighbours: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Find the nearest rows of a gallery for each row, such as the training images nearest to a generated image.

    Parameters
    ----------
    features, gallery : array_like
        ``(n, d)`` and ``(m, d)``.
    neighbours : int
        Number of neighbours, at most m. A row that is in the gallery is its own nearest neighbour.

    Returns
    -------
    distances : numpy.ndarray
        ``(n, neighbours)`` Euclidean distances in increasing order; exactly 0 for a copy.
    indices : numpy.ndarray
        ``(n, neighbours)`` row numbers in the gallery.

    Examples
    --------
    >>> distances, indices = nearest_neighbours([[0.0], [9.0]], [[5.0], [10.0], [1.0]], neighbours=2)
    >>> distances
    array([[1., 5.],
           [1., 4.]])
    >>> indices
    array([[2, 0],
           [1, 0]])
    """
    features, gallery = _feature_pair(features, gallery, "features", "gallery")
    _require_rows(validate.integer(neighbours, "neighbours"), "that many neighbours", gallery=gallery)
    indices, centre = np.empty((len(features), neighbours), int), gallery.mean(axis=0, dtype=np.float64)
    for rows, distances in _squared_distances(features - centre, gallery - centre):
        if neighbours == 1:
            indices[rows, 0] = distances.argmin(axis=1)
        else:
            indices[rows] = np.argpartition(distances, neighbours - 1)[:, :neighbours]
    # Differences of squares lose digits, so the distances to the neighbours are computed again from the differences.
    distances = np.linalg.norm([np.subtract(features, gallery[i], dtype=np.float64) for i in indices.T], axis=2).T
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def bits_per_dimension(log_prob: ArrayLike, dimensions: int, *, levels: int = 256) -> Array:
    r"""Convert the log-density of images in [0, 1] to bits per dimension of the stored images.

    A stored image has L grey levels. In [0, 1] each level corresponds to an interval of width 1 / L, so

    .. math:: \text{bits} = \log_2 L - \frac{\log p(x)}{d \ln 2}

    Parameters
    ----------
    log_prob : array_like
        Log-density, or a bound on it, in nats; of one image or of several.
    dimensions : int
        Number d of values in one image: height times width times channels.
    levels : int
        Number L of grey levels of the stored images, 256 for eight bits.

    Returns
    -------
    numpy.ndarray
        Bits per dimension, with the shape of ``log_prob``. The mean bounds the code length of the stored images only if
        the density was evaluated after adding uniform noise of width 1 / L (dequantisation).

    Raises
    ------
    TypeError, ValueError
        If a value is not a finite number, or ``dimensions`` or ``levels`` is not an integer in its range.

    References
    ----------
    Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016.

    Examples
    --------
    A uniform density needs all eight bits. Twice the density in each of the 784 dimensions saves one bit:

    >>> bits_per_dimension([0.0, 784 * np.log(2)], 784)
    array([8., 7.])
    """
    log_prob = validate.real_array(log_prob, "log_prob")
    dimensions = validate.integer(dimensions, "dimensions")
    return np.log2(validate.integer(levels, "levels", minimum=2)) - log_prob / (dimensions * np.log(2))


def _feature_pair(
    features_a: ArrayLike, features_b: ArrayLike, name_a: str = "features_a", name_b: str = "features_b"
) -> tuple[Array, Array]:
    """Return two sets of features as arrays with equal numbers of columns."""
    a, b = validate.real_array(features_a, name_a, ndim=2), validate.real_array(features_b, name_b, ndim=2)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{name_a} has {a.shape[1]} columns and {name_b} has {b.shape[1]}; expected the same number")
    return a, b


def _require_rows(minimum: int, purpose: str, **sets: Array) -> None:
    """Raise ValueError if one of the named sets has fewer rows than ``purpose`` needs."""
    for name, features in sets.items():
        if len(features) < minimum:
            rows = "1 row" if len(features) == 1 else f"{len(features)} rows"
            raise ValueError(f"{name} has {rows}; {purpose} needs at least {minimum}")


def _mean_and_covariance(features: Array) -> tuple[Array, Array]:
    features = features.astype(np.float64)  # a copy, in double precision because the covariance would lose digits
    mean = features.mean(axis=0)
    features -= mean
    return mean, features.T @ features / (len(features) - 1)


def _matrix_square_root(covariance: Array) -> Array:
    """Return the symmetric square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _x_log_x(p: Array) -> Array:
    """Return p log p, with 0 log 0 = 0."""
    return p * np.log(np.where(p > 0, p, 1))


def _mmd(a: Array, b: Array) -> float:
    """Return the unbiased estimate of the squared MMD over all pairs. Features are already divided by the root of d."""
    n, m = len(a), len(b)
    diagonal_a, diagonal_b = ((((x**2).sum(axis=1) + 1) ** 3).sum() for x in (a, b))
    within = (_kernel_sum(a, a) - diagonal_a) / (n * (n - 1)) + (_kernel_sum(b, b) - diagonal_b) / (m * (m - 1))
    return float(within - 2 * _kernel_sum(a, b) / (n * m))


def _kernel_sum(a: Array, b: Array) -> float:
    """Return the sum of the kernel over all pairs of rows."""
    total, step = 0.0, max(1, _BLOCK_SIZE // len(b))
    for start in range(0, len(a), step):
        values = a[start : start + step] @ b.T
        values += 1
        total += float(np.vdot(values * values, values))
    return total


def _centred_pair(features_real: ArrayLike, features_fake: ArrayLike) -> tuple[Array, Array, float]:
    """Return both sets minus the mean of the real one, and the rounding tolerance of their squared distances.

    Squared distances are computed as differences of squares. The tolerance keeps rounding from deciding ties, which occur
    when a point was copied.
    """
    real, fake = _feature_pair(features_real, features_fake, "features_real", "features_fake")
    centre = real.mean(axis=0, dtype=np.float64)
    real, fake = real - centre, fake - centre
    return real, fake, 1e-12 * max((real**2).sum(axis=1).max(), (fake**2).sum(axis=1).max())


def _squared_radii(neighbours: int, **named: Array) -> Array:
    """Return the squared distance of each point to its k-th nearest other point. The set is named for error messages."""
    _require_rows(validate.integer(neighbours, "neighbours") + 1, f"a ball to neighbour {neighbours}", **named)
    (points,) = named.values()
    blocks = (distances for _, distances in _squared_distances(points, points))
    # Each point is its own nearest at index 0, so index k is the k-th nearest other point.
    return np.concatenate([np.partition(block, neighbours, axis=1)[:, neighbours].copy() for block in blocks])


def _squared_distances(rows: Array, columns: Array) -> Iterator[tuple[slice, Array]]:
    """Yield the squared distances of all rows to all columns in blocks of rows, each with its slice of rows."""
    row_squares, column_squares = (rows**2).sum(axis=1), (columns**2).sum(axis=1)
    step = max(1, _BLOCK_SIZE // len(columns))
    for block in (slice(start, start + step) for start in range(0, len(rows), step)):
        distances = (-2 * rows[block]) @ columns.T
        distances += column_squares
        distances += row_squares[block, np.newaxis]
        yield block, distances
