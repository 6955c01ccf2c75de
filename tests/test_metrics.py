import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_lib import metrics


def sample_with(mean, covariance, n=50, seed=0):
    """Points whose sample mean and sample covariance are exactly these."""
    points = np.random.default_rng(seed).normal(size=(n, len(mean)))
    points -= points.mean(axis=0)
    whitened = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False).reshape(len(mean), -1))).T
    return np.asarray(mean) + whitened @ np.linalg.cholesky(np.asarray(covariance, float)).T


def random_covariance(d, seed):
    root = np.random.default_rng(seed).normal(size=(d, d))
    return root @ root.T + 0.1 * np.eye(d)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 5), st.floats(0.01, 5))
@settings(max_examples=25, deadline=None)
def test_frechet_distance_in_one_dimension(mean_a, mean_b, std_a, std_b):
    """(mean_a - mean_b)^2 + (std_a - std_b)^2."""
    distance = metrics.frechet_distance(sample_with([mean_a], [[std_a**2]]), sample_with([mean_b], [[std_b**2]], seed=1))
    assert distance == pytest.approx((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2, rel=1e-6, abs=1e-6)


def test_frechet_distance_of_diagonal_gaussians_adds_up_over_the_axes():
    stds_a, stds_b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5])
    a, b = sample_with([0, 0, 0], np.diag(stds_a**2)), sample_with([1, 0, -1], np.diag(stds_b**2), n=80, seed=1)
    assert metrics.frechet_distance(a, b) == pytest.approx(2 + ((stds_a - stds_b) ** 2).sum())


@pytest.mark.parametrize("d", [2, 5, 20])
def test_frechet_distance_agrees_with_scipys_matrix_root(d):
    cov_a, cov_b = random_covariance(d, 1), random_covariance(d, 2)
    mean_a, mean_b = np.zeros(d), np.linspace(-1, 1, d)
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * scipy.linalg.sqrtm(cov_a @ cov_b).real)
    distance = metrics.frechet_distance(sample_with(mean_a, cov_a), sample_with(mean_b, cov_b, n=90, seed=3))
    assert distance == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 6), st.integers(2, 20), st.integers(2, 20), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_frechet_distance_is_symmetric_not_negative_and_zero_for_the_same(d, n, m, seed):
    """Also where there are fewer points than dimensions, so that a covariance has no full rank."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 3 + 1
    distance = metrics.frechet_distance(a, b)
    assert distance >= 0
    assert metrics.frechet_distance(b, a) == pytest.approx(distance, rel=1e-6)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_is_unchanged_by_a_rotation_of_both_and_scales_with_the_square():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(40, 4)) @ np.diag([1, 2, 3, 4]) + 1
    rotation = scipy.stats.ortho_group.rvs(4, random_state=0)
    distance = metrics.frechet_distance(a, b)
    assert metrics.frechet_distance(a @ rotation + 7, b @ rotation + 7) == pytest.approx(distance)
    assert metrics.frechet_distance(10 * a, 10 * b) == pytest.approx(100 * distance)


def test_frechet_distance_of_points_on_two_crossed_lines():
    """Covariances diag(s^2, 0) and diag(0, t^2) share no direction: the distance is s^2 + t^2."""
    line = sample_with([0], [[1]])
    zero = np.zeros_like(line)
    distance = metrics.frechet_distance(np.hstack([3 * line, zero]), np.hstack([zero, 2 * line]))
    assert distance == pytest.approx(9 + 4)


def test_frechet_distance_counts_in_double_precision():
    """Features far from zero: in single precision the covariance would lose its digits."""
    a, b = sample_with([1e3], [[1]]), sample_with([1e3], [[4]])
    assert metrics.frechet_distance(a.astype("float32"), b.astype("float32")) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((5, 2)), np.ones((5, 3)), "2 columns and features_b has 3"),
        (np.ones((1, 2)), np.ones((5, 2)), "features_a has 1 row; a covariance needs at least 2"),
        (np.ones((5, 2)), np.full((5, 2), np.nan), "features_b contains NaN"),
        (np.ones(5), np.ones((5, 1)), r"features_a has the shape \(5,\)"),
        (np.ones((0, 2)), np.ones((5, 2)), "features_a is empty"),
    ],
)
def test_frechet_distance_names_bad_features(a, b, message):
    with pytest.raises(ValueError, match=message):
        metrics.frechet_distance(a, b)


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_the_uniform_density_needs_all_bits(levels):
    assert metrics.bits_per_dimension(0.0, 10, levels=levels) == pytest.approx(np.log2(levels))


def test_a_density_that_knows_each_grey_level_needs_no_bits():
    """The density is 256 on an interval of width 1/256 for each of d values."""
    assert metrics.bits_per_dimension(784 * np.log(256), 784) == pytest.approx(0, abs=1e-12)


def test_halving_the_interval_saves_one_bit():
    log_prob = np.array([0.0, 3 * np.log(2), 6 * np.log(2)])
    np.testing.assert_allclose(metrics.bits_per_dimension(log_prob, 3), [8, 7, 6])


def test_bits_of_dequantised_pictures_are_the_entropy_of_their_grey_levels():
    """Two grey levels, with probability 1/4 and 3/4, under their own density."""
    density = np.where(np.repeat([0, 1, 1, 1], 25) == 0, 0.25, 0.75) * 256
    bits = metrics.bits_per_dimension(np.log(density), 1)
    assert bits.mean() == pytest.approx(-(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)))


@pytest.mark.parametrize(("log_prob", "dimensions", "levels"), [(np.nan, 1, 256), (0.0, 0, 256), (0.0, 1, 1), ([], 1, 256)])
def test_bits_per_dimension_refuses_bad_values(log_prob, dimensions, levels):
    with pytest.raises(ValueError):
        metrics.bits_per_dimension(log_prob, dimensions, levels=levels)
