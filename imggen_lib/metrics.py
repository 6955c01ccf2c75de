"""How far two sets of pictures are apart, measured on features: NumPy only, no network.

Features are rows: ``(n, d)`` for n pictures. Which network they come from decides what a distance means, so a distance
is comparable only under the same features and the same number of pictures.
"""

import numpy as np

from imggen_lib import checks


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
    a, b = _features(features_a, "features_a"), _features(features_b, "features_b")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features_a has {a.shape[1]} columns and features_b has {b.shape[1]}; expected the same")
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    root_a = _square_root(cov_a)
    # The eigenvalues of the symmetric product are real and not negative, up to rounding, which the cut removes.
    cross = np.linalg.eigvalsh(root_a @ cov_b @ root_a)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    mean_gap = a.mean(axis=0) - b.mean(axis=0)
    return float(max(mean_gap @ mean_gap + trace, 0))


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
    log_prob = checks.real_array(log_prob, "log_prob")
    dimensions = checks.integer(dimensions, "dimensions")
    return np.log2(checks.integer(levels, "levels", minimum=2)) - log_prob / (dimensions * np.log(2))


def _features(features, name):
    """Check a set of features, and count in double precision: covariances lose digits otherwise."""
    features = checks.real_array(features, name, ndim=2).astype(np.float64)
    if len(features) < 2:
        raise ValueError(f"{name} has {len(features)} row; a covariance needs at least 2")
    return features


def _square_root(covariance):
    """The symmetric square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
