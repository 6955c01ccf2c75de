"""How far two sets of pictures are apart, measured on features: NumPy only, no network.

Features are rows: ``(n, d)`` for n pictures. Which network they come from decides what a distance means, so a distance
is comparable only under the same features and the same number of pictures.
"""

import numpy as np

from imggen_lib import _validation as validate

# How many numbers a block of a table of all pairs holds: 32 MB in double precision, whatever the number of pictures.
BLOCK = 2**22


def frechet_distance(features_a, features_b):
    r"""Squared Fréchet (2-Wasserstein) distance between the Gaussians fitted to two sets of features.

    .. math:: \lVert \mu_a - \mu_b \rVert^2 + \operatorname{tr}\left(\Sigma_a + \Sigma_b
              - 2 (\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}\right)

    Parameters
    ----------
    features_a, features_b : array_like
        ``(n, d)`` and ``(m, d)``; n and m may differ, and both must be at least 2.

    Returns
    -------
    float
        At least 0, in squared units of the features. It is biased upwards on few samples.

    Raises
    ------
    ValueError
        If the widths differ, a set has fewer than two rows, or a value is not finite.

    References
    ----------
    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", Journal of Multivariate
    Analysis 12, 1982. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium", NeurIPS 2017, introduced it as a measure of generated images.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(points, points + [2, 0, 0]), 6)
    4.0
    """
    a, b = _pair(features_a, features_b)
    _at_least(2, "a covariance", features_a=a, features_b=b)
    (mean_a, cov_a), (mean_b, cov_b) = _mean_and_covariance(a), _mean_and_covariance(b)
    root_a = _square_root(cov_a)
    # The eigenvalues of the symmetric product are real and not negative, up to rounding, which the cut removes.
    cross = np.linalg.eigvalsh(root_a @ cov_b @ root_a)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return float(max((mean_a - mean_b) @ (mean_a - mean_b) + trace, 0))


def kernel_distance(features_a, features_b, *, subset_size=None, subsets=100, rng=None):
    r"""Kernel distance of two sets of features: the squared maximum mean discrepancy, estimated without bias.

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} k(a_i, a_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(b_i, b_j)
              - \frac{2}{nm} \sum_{i, j} k(a_i, b_j), \qquad k(x, y) = \left(\frac{x \cdot y}{d} + 1\right)^3

    Parameters
    ----------
    features_a, features_b : array_like
        ``(n, d)`` and ``(m, d)``; n and m may differ, and both must be at least 2.
    subset_size : int, optional
        Without it, all pairs are summed. With it, the mean over ``subsets`` random subsets of that size is returned, as
        in published tables (1,000 there): an estimate of the sum over all pairs, which is their mean in the long run.
    subsets : int
        How many subsets.
    rng : numpy.random.Generator or int, optional
        Draws the subsets.

    Returns
    -------
    float
        0 on average for two sets from one distribution, whatever n and m, so that it may be slightly negative.

    Raises
    ------
    ValueError
        If the widths differ, a set has too few rows, or a value is not finite.

    References
    ----------
    Gretton et al., "A kernel two-sample test", JMLR 13, 2012. Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, chose
    this kernel: on the Inception network's features it is known as KID.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(500, 3))
    >>> bool(kernel_distance(points[:250], points[250:]) < 0.1 < kernel_distance(points, points + 1))
    True
    """
    a, b = _pair(features_a, features_b)
    size = 2 if subset_size is None else validate.integer(subset_size, "subset_size", minimum=2)
    _at_least(size, "an estimate without bias", features_a=a, features_b=b)
    a, b = (x.astype(np.float64) / np.sqrt(x.shape[1]) for x in (a, b))
    if subset_size is None:
        return _kernel_distance(a, b)
    rng, subsets = np.random.default_rng(rng), range(validate.integer(subsets, "subsets"))
    pairs = ([features[rng.choice(len(features), size, replace=False)] for features in (a, b)] for _ in subsets)
    return float(np.mean([_kernel_distance(*pair) for pair in pairs]))


def inception_score(probabilities, *, splits=10):
    r"""How sure a classifier is of each picture, and how many classes it sees in all of them.

    .. math:: \exp\left(\frac1n \sum_i D_{KL}\big(p(y \mid x_i) \,\|\, \bar p(y)\big)\right),
              \qquad \bar p(y) = \frac1n \sum_i p(y \mid x_i)

    Parameters
    ----------
    probabilities : array_like
        ``(n, classes)``: what the classifier makes of each picture. Each row sums to 1.
    splits : int
        The score is the mean over that many parts, in the order given, as published: shuffle what is sorted by class.

    Returns
    -------
    float
        From 1 (each picture gets the same answer) to the number of classes (sure of each, and all equally frequent).

    Raises
    ------
    ValueError
        If a row is no distribution, or there are fewer rows than splits.

    References
    ----------
    Salimans et al., "Improved techniques for training GANs", NeurIPS 2016: the inception score, there in 1,000 classes.

    Examples
    --------
    >>> round(inception_score(np.eye(4), splits=1), 6)
    4.0
    """
    p = validate.real_array(probabilities, "probabilities", ndim=2).astype(np.float64)
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("probabilities has a row that is no distribution; expected rows of at least 0 with the sum 1")
    _at_least(validate.integer(splits, "splits"), f"a division into {splits} parts", probabilities=p)
    parts = np.split(p, np.arange(1, splits) * len(p) // splits)
    # The mean divergence is the entropy of the mean less the mean entropy.
    divergences = [_x_log_x(part).sum(axis=1).mean() - _x_log_x(part.mean(axis=0)).sum() for part in parts]
    return float(np.exp(divergences).mean())


def precision_recall(features_real, features_fake, *, neighbours=3):
    """Which share of the generated pictures looks real, and which share of the real ones could have been generated.

    A set of features is taken to fill the balls around its points that reach to the k-th nearest point of the same set.
    Precision is the share of generated points in the balls of the real ones, recall the share of real points in the
    balls of the generated ones.

    Parameters
    ----------
    features_real, features_fake : array_like
        ``(n, d)`` of real pictures and ``(m, d)`` of generated ones; exchanged, precision and recall change places.
    neighbours : int
        The k that sets the radius of each ball; both sets need more points than that.

    Returns
    -------
    precision, recall : float
        In [0, 1]. Both depend on n, m and k: compare them with those of as many real pictures.

    Raises
    ------
    ValueError
        If the widths differ, a set has too few rows, or a value is not finite.

    References
    ----------
    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019.

    Examples
    --------
    A generator that draws only the left half of what there is:

    >>> real = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> precision, recall = precision_recall(real, real[real[:, 0] < 0.5])
    >>> precision, round(recall, 1)
    (1.0, 0.5)
    """
    real, fake, radii, slack = _balls(features_real, features_fake, neighbours)
    fake_radii = _radii(neighbours, features_fake=fake)
    near_real, near_fake = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, distances in _squared_distances(real, fake):
        near_real |= (distances <= radii[rows, np.newaxis] + slack).any(axis=0)
        near_fake[rows] = (distances <= fake_radii + slack).any(axis=1)
    return float(near_real.mean()), float(near_fake.mean())


def density_coverage(features_real, features_fake, *, neighbours=5):
    """How densely generated pictures lie where real ones do, and which share of the real ones has one nearby.

    Both use only the balls around real points, to their k-th nearest real point. Density is the mean number of those
    balls that a generated point lies in, divided by k; coverage is the share of the balls that hold a generated point.
    One odd picture moves them less than it moves precision and recall.

    Parameters
    ----------
    features_real, features_fake : array_like
        ``(n, d)`` of real pictures and ``(m, d)`` of generated ones.
    neighbours : int
        The k that sets the radius of each ball; there must be more real points than that.

    Returns
    -------
    density, coverage : float
        For two large sets of one size from one distribution, density is 1 and coverage 1 - 2**-k on average. Density may
        be larger, where generated points crowd in the densest places; coverage is in [0, 1].

    Raises
    ------
    ValueError
        If the widths differ, there are too few real rows, or a value is not finite.

    References
    ----------
    Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(500, 3))
    >>> density_coverage(points, points)
    (1.0, 1.0)
    """
    real, fake, radii, slack = _balls(features_real, features_fake, neighbours)
    inside = covered = 0
    for rows, distances in _squared_distances(real, fake):
        counts = (distances < radii[rows, np.newaxis] - slack).sum(axis=1)
        inside += counts.sum()
        covered += (counts > 0).sum()
    return float(inside / (neighbours * len(fake))), float(covered / len(real))


def nearest_neighbours(features, gallery, *, neighbours=1):
    """Find, for each row, the nearest rows of a gallery: of a generated picture, the training pictures most like it.

    Parameters
    ----------
    features, gallery : array_like
        ``(n, d)`` and ``(m, d)``.
    neighbours : int
        How many to find, at most m. A row that is in the gallery itself finds itself first.

    Returns
    -------
    distances : numpy.ndarray
        ``(n, neighbours)`` Euclidean distances, nearest first; exactly 0 for a copy.
    indices : numpy.ndarray
        ``(n, neighbours)`` rows of the gallery.

    Raises
    ------
    ValueError
        If the widths differ, the gallery is too small, or a value is not finite.

    Examples
    --------
    >>> distances, indices = nearest_neighbours([[0.0], [9.0]], [[5.0], [10.0], [1.0]])
    >>> distances.ravel(), indices.ravel()
    (array([1., 1.]), array([2, 1]))
    """
    features, gallery = _pair(features, gallery, "features", "gallery")
    _at_least(validate.integer(neighbours, "neighbours"), "that many neighbours", gallery=gallery)
    indices, centre = np.empty((len(features), neighbours), int), gallery.mean(axis=0, dtype=np.float64)
    for rows, distances in _squared_distances(features - centre, gallery - centre):
        least = distances.argmin(axis=1)[:, np.newaxis] if neighbours == 1 else np.argpartition(distances, neighbours - 1)
        indices[rows] = least[:, :neighbours]
    # The few that were found are measured again, from differences: these are exact where squares cancel.
    distances = np.linalg.norm([np.subtract(features, gallery[i], dtype=np.float64) for i in indices.T], axis=2).T
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def bits_per_dimension(log_prob, dimensions, *, levels=256):
    r"""Turn a log-density of images in [0, 1] into bits per pixel value of their stored form.

    A model that sees a grey level of L as a density on [0, 1] spreads it over an interval of width 1 / L, so

    .. math:: \text{bits} = \log_2 L - \frac{\log p(x)}{d \ln 2}

    Parameters
    ----------
    log_prob : array_like
        Log-density (or a bound on it) in nats, of one image or of many.
    dimensions : int
        Values d in one image: height times width times channels.
    levels : int
        Grey levels L of the stored image, 256 for eight bits.

    Returns
    -------
    numpy.ndarray
        Bits per dimension, of the shape of ``log_prob``. It bounds the code length of the stored image only if uniform
        noise of width 1 / L was added before the density was taken (dequantisation).

    Raises
    ------
    ValueError
        If a value is not finite or a count is too small.

    References
    ----------
    Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016.

    Examples
    --------
    The uniform density needs all eight bits:

    >>> float(bits_per_dimension(0.0, 784))
    8.0
    """
    log_prob = validate.real_array(log_prob, "log_prob")
    dimensions = validate.integer(dimensions, "dimensions")
    return np.log2(validate.integer(levels, "levels", minimum=2)) - log_prob / (dimensions * np.log(2))


def _pair(features_a, features_b, name_a="features_a", name_b="features_b"):
    """Check two sets of features."""
    a, b = validate.real_array(features_a, name_a, ndim=2), validate.real_array(features_b, name_b, ndim=2)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{name_a} has {a.shape[1]} columns and {name_b} has {b.shape[1]}; expected the same")
    return a, b


def _at_least(minimum, what, **sets):
    """Refuse a set with too few rows for ``what``."""
    for name, features in sets.items():
        if len(features) < minimum:
            rows = "1 row" if len(features) == 1 else f"{len(features)} rows"
            raise ValueError(f"{name} has {rows}; {what} needs at least {minimum}")


def _mean_and_covariance(features):
    features = features.astype(np.float64)  # a copy; single precision would lose digits
    mean = features.mean(axis=0)
    features -= mean
    return mean, features.T @ features / (len(features) - 1)


def _square_root(covariance):
    """The symmetric square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _x_log_x(p):
    """Multiply p by its logarithm; 0 log 0 is 0."""
    return p * np.log(np.where(p > 0, p, 1))


def _kernel_distance(a, b):
    """The kernel distance over all pairs, of features that were divided by the root of their width."""
    n, m, own = len(a), len(b), [(((x**2).sum(axis=1) + 1) ** 3).sum() for x in (a, b)]
    within = (_kernel_sum(a, a) - own[0]) / (n * (n - 1)) + (_kernel_sum(b, b) - own[1]) / (m * (m - 1))
    return float(within - 2 * _kernel_sum(a, b) / (n * m))


def _kernel_sum(a, b):
    total, step = 0.0, max(1, BLOCK // len(b))
    for start in range(0, len(a), step):
        values = a[start : start + step] @ b.T
        values += 1
        total += np.vdot(values * values, values)
    return total


def _balls(features_real, features_fake, neighbours):
    """Check and centre both sets, and measure the balls around the real points: squared radii, and what rounding costs."""
    real, fake = _pair(features_real, features_fake, "features_real", "features_fake")
    centre = real.mean(axis=0, dtype=np.float64)
    real, fake = real - centre, fake - centre
    # Distances are differences of squares. A tie, as between copies, must not be decided by how these were rounded.
    slack = 1e-12 * max((real**2).sum(axis=1).max(), (fake**2).sum(axis=1).max())
    return real, fake, _radii(neighbours, features_real=real), slack


def _radii(neighbours, **named):
    """Return the squared distance of each point to its k-th nearest; the point itself is the nearest of all."""
    _at_least(validate.integer(neighbours, "neighbours") + 1, f"a ball to neighbour {neighbours}", **named)
    (points,) = named.values()
    blocks = (distances for _, distances in _squared_distances(points, points))
    return np.concatenate([np.partition(block, neighbours, axis=1)[:, neighbours].copy() for block in blocks])


def _squared_distances(rows, columns):
    """Yield the squared distances of all rows to all columns, a block of rows at a time, with the slice it stands for."""
    row_squares, column_squares = (rows**2).sum(axis=1), (columns**2).sum(axis=1)
    step = max(1, BLOCK // len(columns))
    for block in (slice(start, start + step) for start in range(0, len(rows), step)):
        distances = (-2 * rows[block]) @ columns.T
        distances += column_squares
        distances += row_squares[block, np.newaxis]
        yield block, distances
