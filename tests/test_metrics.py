import json

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import make_metrics

from imggen_lib import metrics


def sample_with(mean, covariance, n=50, seed=0):
    """Return points with exactly this sample mean and sample covariance."""
    points = np.random.default_rng(seed).normal(size=(n, len(mean)))
    points -= points.mean(axis=0)
    whitened = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False).reshape(len(mean), -1))).T
    return np.asarray(mean) + whitened @ np.linalg.cholesky(np.asarray(covariance, float)).T


def random_covariance(d, seed):
    root = np.random.default_rng(seed).normal(size=(d, d))
    return root @ root.T + 0.1 * np.eye(d)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 5), st.floats(0.01, 5))
@settings(max_examples=25, deadline=None)
def test_frechet_distance_of_one_dimensional_gaussians(mean_a, mean_b, std_a, std_b):
    """The closed form is (mean_a - mean_b)^2 + (std_a - std_b)^2."""
    distance = metrics.frechet_distance(sample_with([mean_a], [[std_a**2]]), sample_with([mean_b], [[std_b**2]], seed=1))
    assert distance == pytest.approx((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2, rel=1e-6, abs=1e-6)


def test_frechet_distance_of_diagonal_gaussians_is_sum_over_axes():
    stds_a, stds_b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5])
    a, b = sample_with([0, 0, 0], np.diag(stds_a**2)), sample_with([1, 0, -1], np.diag(stds_b**2), n=80, seed=1)
    assert metrics.frechet_distance(a, b) == pytest.approx(2 + ((stds_a - stds_b) ** 2).sum())


@pytest.mark.parametrize("d", [2, 5, 20])
def test_frechet_distance_matches_scipy_sqrtm(d):
    cov_a, cov_b = random_covariance(d, 1), random_covariance(d, 2)
    mean_a, mean_b = np.zeros(d), np.linspace(-1, 1, d)
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * scipy.linalg.sqrtm(cov_a @ cov_b).real)
    distance = metrics.frechet_distance(sample_with(mean_a, cov_a), sample_with(mean_b, cov_b, n=90, seed=3))
    assert distance == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 6), st.integers(2, 20), st.integers(2, 20), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_frechet_distance_is_symmetric_nonnegative_and_zero_for_equal_sets(d, n, m, seed):
    """Also with fewer points than dimensions, where the covariance is singular."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 3 + 1
    distance = metrics.frechet_distance(a, b)
    assert distance >= 0
    assert metrics.frechet_distance(b, a) == pytest.approx(distance, rel=1e-6)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_is_invariant_to_rotation_and_scales_quadratically():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(40, 4)) @ np.diag([1, 2, 3, 4]) + 1
    rotation = scipy.stats.ortho_group.rvs(4, random_state=0)
    distance = metrics.frechet_distance(a, b)
    assert metrics.frechet_distance(a @ rotation + 7, b @ rotation + 7) == pytest.approx(distance)
    assert metrics.frechet_distance(10 * a, 10 * b) == pytest.approx(100 * distance)


def test_frechet_distance_of_singular_covariances():
    """For the covariances diag(s^2, 0) and diag(0, t^2) the product is 0, so the distance is s^2 + t^2."""
    line = sample_with([0], [[1]])
    zero = np.zeros_like(line)
    distance = metrics.frechet_distance(np.hstack([3 * line, zero]), np.hstack([zero, 2 * line]))
    assert distance == pytest.approx(9 + 4)


def test_frechet_distance_is_computed_in_double_precision():
    """Features far from zero: in single precision the covariance would be inexact."""
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
def test_frechet_distance_of_invalid_features_raises(a, b, message):
    with pytest.raises(ValueError, match=message):
        metrics.frechet_distance(a, b)


def two_sets(n=60, m=80, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 0.8 + 0.5


# Comparison with published implementations


@pytest.fixture(scope="module")
def published():
    return json.loads(make_metrics.PATH.read_text())


@pytest.fixture(params=make_metrics.CASES)
def case(request, published):
    """Return two sets of features, logits, and the results of torch-fidelity and prdc."""
    expected = published["cases"][request.param]
    real, fake, logits = make_metrics.features(**make_metrics.CASES[request.param])
    assert [x.sum() for x in (real, fake, logits)] == pytest.approx(expected["sums"]), (
        "NumPy generates other random numbers"
    )
    return real, fake, logits, expected


def test_frechet_distance_matches_torch_fidelity(case):
    real, fake, _, expected = case
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected["frechet_distance"], abs=1e-4)


def test_kernel_distance_matches_torch_fidelity(case):
    """On the subsets that torch-fidelity chooses, and on whole sets of equal size, which it requires."""
    real, fake, _, expected = case
    rng, size = np.random.RandomState(2020), make_metrics.SUBSET_SIZE
    pairs = [
        [features[rng.choice(len(features), size, replace=False)] for features in (real, fake)]
        for _ in range(make_metrics.SUBSETS)
    ]
    mean = np.mean([metrics.kernel_distance(*pair) for pair in pairs])
    assert mean == pytest.approx(expected["kernel_distance"]["subsets"], rel=1e-4, abs=1e-4)
    if len(real) == len(fake):
        assert metrics.kernel_distance(real, fake) == pytest.approx(expected["kernel_distance"]["whole"], abs=1e-8)


@pytest.mark.parametrize("splits", make_metrics.SPLITS)
def test_inception_score_matches_torch_fidelity(case, splits):
    _, _, logits, expected = case
    score = metrics.inception_score(scipy.special.softmax(logits, axis=1), splits=splits)
    assert score == pytest.approx(expected["inception_score"][str(splits)], abs=1e-8)


@pytest.mark.parametrize("neighbours", make_metrics.NEIGHBOURS)
def test_precision_recall_density_and_coverage_match_torch_fidelity_and_prdc(case, neighbours):
    real, fake, _, expected = case
    precision, recall = metrics.precision_recall(real, fake, neighbours=neighbours)
    density, coverage = metrics.density_coverage(real, fake, neighbours=neighbours)
    ours = {"precision": precision, "recall": recall}
    assert ours == pytest.approx(expected[f"torch-fidelity, {neighbours} neighbours"], abs=1e-6)
    ours |= {"density": density, "coverage": coverage}
    assert ours == pytest.approx(expected[f"prdc, {neighbours} neighbours"], abs=1e-6)


# Kernel distance


def test_kernel_distance_matches_its_definition():
    a, b = two_sets(6, 9)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    expected = (
        np.mean([kernel(a[i], a[j]) for i in range(6) for j in range(6) if i != j])
        + np.mean([kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
        - 2 * np.mean([kernel(x, y) for x in a for y in b])
    )
    assert metrics.kernel_distance(a, b) == pytest.approx(expected)


def test_kernel_distance_of_constant_sets():
    """If all points of a set are equal, the distance is k(x, x) + k(y, y) - 2 k(x, y)."""
    a, b = np.full((5, 1), 2.0), np.full((7, 1), -1.0)
    assert metrics.kernel_distance(a, b) == pytest.approx(5**3 + 2**3 - 2 * (-1) ** 3)


def test_kernel_distance_of_one_distribution_has_mean_zero_and_both_signs():
    values = [metrics.kernel_distance(*np.random.default_rng(seed).normal(size=(2, 20, 4))) for seed in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert 0.2 < np.mean(np.array(values) < 0) < 0.8


def test_kernel_distance_detects_third_moment_and_frechet_distance_does_not():
    """Both sets have the same mean and covariance; one is skewed."""
    rng = np.random.default_rng(0)
    skewed, symmetric = rng.exponential(size=(4000, 1)), rng.normal(size=(4000, 1))
    skewed, symmetric = ((x - x.mean()) / x.std() for x in (skewed, symmetric))
    assert metrics.frechet_distance(skewed, symmetric) == pytest.approx(0, abs=1e-9)
    # The third moments are 2 and 0, so the cubic term differs by their squared difference.
    assert metrics.kernel_distance(skewed, symmetric) == pytest.approx(np.mean(skewed**3) ** 2, rel=0.1)


def test_mean_over_subsets_approaches_estimate_over_all_pairs():
    a, b = two_sets()
    all_pairs = metrics.kernel_distance(a, b)
    subsets = metrics.kernel_distance(a, b, subset_size=20, subsets=500, rng=0)
    assert subsets == metrics.kernel_distance(a, b, subset_size=20, subsets=500, rng=0)
    assert subsets != metrics.kernel_distance(a, b, subset_size=20, subsets=500, rng=1)
    assert subsets == pytest.approx(all_pairs, rel=0.1)
    assert metrics.kernel_distance(a, b[:60], subset_size=60, subsets=2, rng=0) == pytest.approx(
        metrics.kernel_distance(a, b[:60])
    )


def test_kernel_distance_of_single_precision_features_is_computed_in_double_precision():
    a, b = (x.astype("float32") for x in two_sets())
    expected = metrics.kernel_distance(a.astype("float64"), b.astype("float64"))
    assert metrics.kernel_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_default_number_of_subsets_is_100():
    a, b = two_sets()
    expected = metrics.kernel_distance(a, b, subset_size=5, subsets=100, rng=0)
    assert metrics.kernel_distance(a, b, subset_size=5, rng=0) == expected


# Inception Score


@given(st.integers(2, 20), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_inception_score_of_certain_predictions_is_number_of_predicted_classes(classes, copies):
    certain = np.tile(np.eye(classes), (copies, 1))
    assert metrics.inception_score(certain, splits=1) == pytest.approx(classes)
    assert metrics.inception_score(certain, splits=copies) == pytest.approx(classes)
    one_class = np.eye(classes)[np.zeros(copies, int)]
    assert metrics.inception_score(one_class, splits=1) == pytest.approx(1)


def test_inception_score_of_constant_prediction_is_one():
    assert metrics.inception_score(np.tile([0.2, 0.3, 0.5], (20, 1))) == pytest.approx(1)


def test_inception_score_of_uncertain_predictions():
    """For two equally frequent classes, each predicted with probability p, it is 2 exp(-H(p))."""
    p = 0.9
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    assert metrics.inception_score([[p, 1 - p], [1 - p, p]], splits=1) == pytest.approx(2 * np.exp(-entropy))


def test_inception_score_depends_on_order_only_if_split():
    p = scipy.special.softmax(np.random.default_rng(0).normal(size=(50, 4)), axis=1)
    assert metrics.inception_score(p[::-1], splits=1) == pytest.approx(metrics.inception_score(p, splits=1))
    sorted_by_class = np.repeat(np.eye(5), 10, axis=0)
    assert metrics.inception_score(sorted_by_class, splits=5) == pytest.approx(1)
    assert metrics.inception_score(sorted_by_class, splits=1) == pytest.approx(5)


def test_a_single_row_that_does_not_sum_to_one_raises():
    p = np.full((20, 4), 0.25)
    for value in (0.2515, 0.2485):
        p[7, 2] = value
        with pytest.raises(ValueError, match="not probability distributions"):
            metrics.inception_score(p)
    p[7, 2] = 0.2505
    assert metrics.inception_score(p) == pytest.approx(1, abs=1e-5)


# Precision, recall, density, coverage


def brute_force(real, fake, k):
    """Compute precision, recall, density and coverage from all distances, as the papers define them."""

    def radii(points):
        return [np.sort(np.linalg.norm(points - point, axis=1))[k] for point in points]

    between = np.linalg.norm(real[:, None] - fake, axis=2)
    in_real = between <= np.array(radii(real))[:, None]
    in_fake = between <= np.array(radii(fake))
    precision, recall = in_real.any(axis=0).mean(), in_fake.any(axis=1).mean()
    return precision, recall, in_real.sum() / (k * len(fake)), in_real.any(axis=1).mean()


@given(st.integers(1, 5), st.integers(6, 30), st.integers(6, 30), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_precision_recall_density_and_coverage_match_their_definitions(d, n, m, k, seed):
    real, fake = two_sets(n, m, d, seed)
    four = *metrics.precision_recall(real, fake, neighbours=k), *metrics.density_coverage(real, fake, neighbours=k)
    assert four == pytest.approx(brute_force(real, fake, k))


@pytest.mark.parametrize("block_size", [1, 100, 2**22])
def test_result_does_not_depend_on_block_size(monkeypatch, block_size):
    real, fake = two_sets()
    functions = (metrics.kernel_distance, metrics.precision_recall, metrics.density_coverage, metrics.nearest_neighbours)
    expected = [function(real, fake) for function in functions]
    monkeypatch.setattr(metrics, "_BLOCK_SIZE", block_size)
    for function, value in zip(functions, expected, strict=True):
        np.testing.assert_allclose(function(real, fake), value, rtol=1e-12)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_identical_sets_have_precision_recall_density_and_coverage_one(offset):
    """The interior of each ball contains k points, its centre and k - 1 others, so the density is 1."""
    real = two_sets(200)[0] + offset
    for k in (1, 3, 5):
        assert metrics.precision_recall(real, real.copy(), neighbours=k) == (1, 1)
        assert metrics.density_coverage(real, real[::-1], neighbours=k) == (1, 1)


def test_points_on_the_boundary_of_a_ball_count_for_precision_and_recall_but_not_for_density():
    """The balls around 0 and 1 have the radius 1, and those around 2 and -1 the radius 3."""
    real, fake = [[0.0], [1.0]], [[2.0], [-1.0]]
    assert metrics.precision_recall(real, fake, neighbours=1) == (1, 1)
    assert metrics.density_coverage(real, fake, neighbours=1) == (0, 0)
    assert metrics.precision_recall([[0.0], [3.0]], [[-3.0], [6.0]], neighbours=1) == (1, 1)
    assert metrics.precision_recall(fake, real, neighbours=1) == (1, 1)


def test_distant_sets_have_precision_recall_density_and_coverage_zero():
    real, fake = two_sets()
    assert metrics.precision_recall(real, fake + 100) == (0, 0)
    assert metrics.density_coverage(real, fake + 100) == (0, 0)


def test_swapping_sets_swaps_precision_and_recall():
    real, fake = two_sets()
    precision, recall = metrics.precision_recall(real, fake)
    assert precision != recall
    assert metrics.precision_recall(fake, real) == (recall, precision)


def test_metrics_are_invariant_to_order_scale_translation_and_rotation():
    real, fake = two_sets()
    rng, rotation = np.random.default_rng(1), scipy.stats.ortho_group.rvs(3, random_state=0)
    for function in (metrics.precision_recall, metrics.density_coverage):
        expected = function(real, fake)
        assert function(rng.permutation(real), rng.permutation(fake)) == expected
        for scale in (1e-3, 1e3):
            assert function(scale * real @ rotation + 7, scale * fake @ rotation + 7) == expected


def test_density_and_coverage_of_equal_distributions_match_closed_form():
    """Real and generated points are exchangeable, so the expected density is 1.

    A ball is not covered if the k nearest of all 2n - 1 other points are real, which has the probability
    (n - 1)...(n - k) / ((2n - 1)...(2n - k)).
    """
    n, k = 100, 5
    values = [
        metrics.density_coverage(*np.random.default_rng(seed).normal(size=(2, n, 4)), neighbours=k) for seed in range(200)
    ]
    coverage = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    errors = 4 * np.std(values, axis=0) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, axis=0) - [1, coverage]) < errors).all()
    assert coverage == pytest.approx(1 - 2**-k, abs=0.01)


def test_copies_of_one_real_point_have_precision_one_and_low_recall_and_coverage():
    real = two_sets(200)[0]
    fake = np.repeat(real[:1], 50, axis=0)
    assert metrics.precision_recall(real, fake) == (1, 1 / 200)
    density, coverage = metrics.density_coverage(real, fake)
    assert coverage < 0.1
    assert density * 5 == pytest.approx(coverage * 200)


def test_one_outlier_raises_precision_but_not_density():
    """A real point far from the others has a large ball, which contains generated points."""
    real = np.vstack([np.random.default_rng(0).normal(size=(200, 2)), [[40.0, 0.0]]])
    fake = np.random.default_rng(1).normal((20, 0), size=(200, 2))
    assert metrics.precision_recall(real, fake)[0] > 0.9
    assert metrics.density_coverage(real, fake)[0] < 0.3


# Nearest neighbours


@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20), st.data())
@settings(max_examples=40, deadline=None)
def test_nearest_neighbours_match_scipy_ckdtree(d, n, m, data):
    features, gallery = two_sets(n, m, d)
    k = data.draw(st.integers(1, m))
    distances, indices = metrics.nearest_neighbours(features, gallery, neighbours=k)
    expected_distances, expected_indices = scipy.spatial.cKDTree(gallery).query(features, k=[*range(1, k + 1)])
    np.testing.assert_allclose(distances, expected_distances)
    np.testing.assert_array_equal(indices, expected_indices)


def test_distance_to_copy_is_exactly_zero_far_from_origin():
    gallery = two_sets()[0] + 1e6
    distances, indices = metrics.nearest_neighbours(gallery[[5, 3]], gallery)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices, [[5], [3]])


# Errors

SETS = (metrics.kernel_distance, metrics.precision_recall, metrics.density_coverage, metrics.nearest_neighbours)


@pytest.mark.parametrize("function", SETS)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((9, 2)), np.ones((9, 3)), "has 2 columns and .* has 3; expected the same number"),
        (np.ones((9, 2)), np.full((9, 2), np.nan), "contains NaN"),
        (np.ones(9), np.ones((9, 1)), r"has the shape \(9,\); expected 2 dimensions"),
        (np.ones((9, 2)), np.ones((0, 2)), "is empty"),
    ],
)
def test_invalid_features_raise(function, a, b, message):
    with pytest.raises(ValueError, match=message):
        function(a, b)
    with pytest.raises(TypeError, match="real numbers"):
        function(np.full((9, 2), "a"), np.ones((9, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: metrics.kernel_distance(x[:1], x), "features_a has 1 row; an unbiased estimate needs at least 2"),
        (lambda x: metrics.kernel_distance(x, x, subset_size=10), "features_a has 9 rows; .* at least 10"),
        (lambda x: metrics.kernel_distance(x, x, subset_size=1), "subset_size is 1; expected at least 2"),
        (lambda x: metrics.kernel_distance(x, x, subset_size=5, subsets=0), "subsets is 0"),
        (lambda x: metrics.precision_recall(x[:3], x), "features_real has 3 rows; a ball to neighbour 3 needs at least 4"),
        (lambda x: metrics.precision_recall(x, x[:3]), "features_fake has 3 rows"),
        (lambda x: metrics.precision_recall(x, x, neighbours=0), "neighbours is 0"),
        (lambda x: metrics.density_coverage(x[:5], x), "features_real has 5 rows"),
        (lambda x: metrics.density_coverage(x, x, neighbours=-1), "neighbours is -1"),
        (lambda x: metrics.nearest_neighbours(x, x, neighbours=10), "gallery has 9 rows; .* at least 10"),
        (lambda x: metrics.inception_score(x), "rows that are not probability distributions"),
        (lambda x: metrics.inception_score([[1.5, -0.5]], splits=1), "rows that are not probability distributions"),
        (
            lambda x: metrics.inception_score(np.eye(3)),
            "3 rows; a division into 10 parts needs at least 10",
        ),
        (lambda x: metrics.inception_score(np.eye(3), splits=0), "splits is 0"),
    ],
)
def test_too_few_rows_and_invalid_options_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((9, 2)))


def test_counts_that_are_not_integers_raise():
    x = np.ones((9, 2))
    for call in (metrics.precision_recall, metrics.density_coverage, metrics.nearest_neighbours):
        with pytest.raises(TypeError, match="neighbours is 2.5"):
            call(x, x, neighbours=2.5)
    with pytest.raises(TypeError, match="subset_size is 2.5"):
        metrics.kernel_distance(x, x, subset_size=2.5)


# Bits per dimension


def test_options_are_keyword_only():
    x = np.ones((9, 2))
    for function, arguments in [
        (metrics.kernel_distance, (x, x, 5)),
        (metrics.inception_score, (np.eye(2), 1)),
        (metrics.precision_recall, (x, x, 3)),
        (metrics.density_coverage, (x, x, 3)),
        (metrics.nearest_neighbours, (x, x, 1)),
        (metrics.bits_per_dimension, (0.0, 1, 256)),
    ]:
        with pytest.raises(TypeError, match="positional argument"):
            function(*arguments)


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_uniform_density_needs_log2_of_levels(levels):
    assert metrics.bits_per_dimension(0.0, 10, levels=levels) == pytest.approx(np.log2(levels))


def test_density_concentrated_on_one_grey_level_needs_no_bits():
    """The density is 256 in each of d dimensions, on an interval of width 1/256."""
    assert metrics.bits_per_dimension(784 * np.log(256), 784) == pytest.approx(0, abs=1e-12)


def test_doubling_the_density_in_every_dimension_saves_one_bit():
    log_prob = np.array([0.0, 3 * np.log(2), 6 * np.log(2)])
    np.testing.assert_allclose(metrics.bits_per_dimension(log_prob, 3), [8, 7, 6])


def test_mean_bits_of_dequantised_images_are_entropy_of_grey_levels():
    """Two grey levels with the probabilities 1/4 and 3/4, evaluated under their own density."""
    density = np.where(np.repeat([0, 1, 1, 1], 25) == 0, 0.25, 0.75) * 256
    bits = metrics.bits_per_dimension(np.log(density), 1)
    assert bits.mean() == pytest.approx(-(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)))


@pytest.mark.parametrize(("log_prob", "dimensions", "levels"), [(np.nan, 1, 256), (0.0, 0, 256), (0.0, 1, 1), ([], 1, 256)])
def test_bits_per_dimension_of_invalid_values_raises(log_prob, dimensions, levels):
    with pytest.raises(ValueError):
        metrics.bits_per_dimension(log_prob, dimensions, levels=levels)
