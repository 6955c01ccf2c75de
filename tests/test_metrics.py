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


def two_sets(n=60, m=80, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 0.8 + 0.5


# The published implementations


@pytest.fixture(scope="module")
def published():
    return json.loads(make_metrics.PATH.read_text())


@pytest.fixture(params=make_metrics.CASES)
def case(request, published):
    """Two sets of features and logits, and what torch-fidelity and prdc make of them."""
    answer = published["cases"][request.param]
    real, fake, logits = make_metrics.features(**make_metrics.CASES[request.param])
    assert [x.sum() for x in (real, fake, logits)] == pytest.approx(answer["sums"]), "NumPy draws other numbers by now"
    return real, fake, logits, answer


def test_frechet_distance_equals_torch_fidelity(case):
    real, fake, _, answer = case
    assert metrics.frechet_distance(real, fake) == pytest.approx(answer["frechet_distance"], abs=1e-4)


def test_kernel_distance_equals_torch_fidelity(case):
    """On its own subsets, drawn as it draws them; and on the whole sets where these have one size, as it needs."""
    real, fake, _, answer = case
    draw, size = np.random.RandomState(2020), make_metrics.SUBSET_SIZE
    pairs = [
        [features[draw.choice(len(features), size, replace=False)] for features in (real, fake)]
        for _ in range(make_metrics.SUBSETS)
    ]
    mean = np.mean([metrics.kernel_distance(*pair) for pair in pairs])
    assert mean == pytest.approx(answer["kernel_distance"]["subsets"], rel=1e-4, abs=1e-4)
    if len(real) == len(fake):
        assert metrics.kernel_distance(real, fake) == pytest.approx(answer["kernel_distance"]["whole"], abs=1e-8)


@pytest.mark.parametrize("splits", make_metrics.SPLITS)
def test_classifier_score_equals_torch_fidelity(case, splits):
    _, _, logits, answer = case
    score = metrics.inception_score(scipy.special.softmax(logits, axis=1), splits=splits)
    assert score == pytest.approx(answer["inception_score"][str(splits)], abs=1e-8)


@pytest.mark.parametrize("neighbours", make_metrics.NEIGHBOURS)
def test_precision_recall_density_and_coverage_equal_torch_fidelity_and_prdc(case, neighbours):
    real, fake, _, answer = case
    precision, recall = metrics.precision_recall(real, fake, neighbours=neighbours)
    density, coverage = metrics.density_coverage(real, fake, neighbours=neighbours)
    ours = {"precision": precision, "recall": recall}
    assert ours == pytest.approx(answer[f"torch-fidelity, {neighbours} neighbours"], abs=1e-6)
    ours |= {"density": density, "coverage": coverage}
    assert ours == pytest.approx(answer[f"prdc, {neighbours} neighbours"], abs=1e-6)


# Kernel distance


def test_kernel_distance_is_the_sum_that_it_is_defined_by():
    a, b = two_sets(6, 9)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    expected = (
        np.mean([kernel(a[i], a[j]) for i in range(6) for j in range(6) if i != j])
        + np.mean([kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
        - 2 * np.mean([kernel(x, y) for x in a for y in b])
    )
    assert metrics.kernel_distance(a, b) == pytest.approx(expected)


def test_kernel_distance_of_two_points_that_all_others_copy():
    """Every pair has the same kernel: k(x, x) + k(y, y) - 2 k(x, y)."""
    a, b = np.full((5, 1), 2.0), np.full((7, 1), -1.0)
    assert metrics.kernel_distance(a, b) == pytest.approx(5**3 + 2**3 - 2 * (-1) ** 3)


def test_kernel_distance_is_zero_on_average_for_one_distribution_and_below_it_half_the_time():
    values = [metrics.kernel_distance(*np.random.default_rng(seed).normal(size=(2, 20, 4))) for seed in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert 0.2 < np.mean(np.array(values) < 0) < 0.8


def test_kernel_distance_sees_a_third_moment_that_the_frechet_distance_does_not():
    """Two sets with the same mean and covariance, one of them skewed."""
    rng = np.random.default_rng(0)
    skewed, even = rng.exponential(size=(4000, 1)), rng.normal(size=(4000, 1))
    skewed, even = ((x - x.mean()) / x.std() for x in (skewed, even))
    assert metrics.frechet_distance(skewed, even) == pytest.approx(0, abs=1e-9)
    # The third moments are 2 and 0, so the cubic term differs by their squared difference.
    assert metrics.kernel_distance(skewed, even) == pytest.approx(np.mean(skewed**3) ** 2, rel=0.1)


def test_the_mean_over_subsets_approaches_the_sum_over_all_pairs():
    a, b = two_sets()
    whole = metrics.kernel_distance(a, b)
    few = metrics.kernel_distance(a, b, subset_size=20, subsets=500, rng=0)
    assert few == metrics.kernel_distance(a, b, subset_size=20, subsets=500, rng=0)
    assert few != metrics.kernel_distance(a, b, subset_size=20, subsets=500, rng=1)
    assert few == pytest.approx(whole, rel=0.1)
    assert metrics.kernel_distance(a, b[:60], subset_size=60, subsets=2, rng=0) == pytest.approx(
        metrics.kernel_distance(a, b[:60])
    )


# Classifier score


@given(st.integers(2, 20), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_classifier_score_of_a_sure_classifier_is_the_number_of_classes_it_finds(classes, copies):
    sure = np.tile(np.eye(classes), (copies, 1))
    assert metrics.inception_score(sure, splits=1) == pytest.approx(classes)
    assert metrics.inception_score(sure, splits=copies) == pytest.approx(classes)
    one_class = np.eye(classes)[np.zeros(copies, int)]
    assert metrics.inception_score(one_class, splits=1) == pytest.approx(1)


def test_classifier_score_of_the_same_answer_for_every_picture_is_one():
    assert metrics.inception_score(np.tile([0.2, 0.3, 0.5], (20, 1))) == pytest.approx(1)


def test_classifier_score_between_its_limits():
    """Two classes, equally frequent, each with certainty p: 2 exp(-H(p))."""
    p = 0.9
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    assert metrics.inception_score([[p, 1 - p], [1 - p, p]], splits=1) == pytest.approx(2 * np.exp(-entropy))


def test_classifier_score_ignores_the_order_unless_it_is_split():
    p = scipy.special.softmax(np.random.default_rng(0).normal(size=(50, 4)), axis=1)
    assert metrics.inception_score(p[::-1], splits=1) == pytest.approx(metrics.inception_score(p, splits=1))
    sorted_by_class = np.repeat(np.eye(5), 10, axis=0)
    assert metrics.inception_score(sorted_by_class, splits=5) == pytest.approx(1)
    assert metrics.inception_score(sorted_by_class, splits=1) == pytest.approx(5)


# Precision, recall, density, coverage


def brute_force(real, fake, k):
    """By loops, as the papers define them."""

    def radii(points):
        return [np.sort(np.linalg.norm(points - point, axis=1))[k] for point in points]

    between = np.linalg.norm(real[:, None] - fake, axis=2)
    in_real = between <= np.array(radii(real))[:, None]
    in_fake = between <= np.array(radii(fake))
    precision, recall = in_real.any(axis=0).mean(), in_fake.any(axis=1).mean()
    return precision, recall, in_real.sum() / (k * len(fake)), in_real.any(axis=1).mean()


@given(st.integers(1, 5), st.integers(6, 30), st.integers(6, 30), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_four_are_what_the_papers_define(d, n, m, k, seed):
    real, fake = two_sets(n, m, d, seed)
    four = *metrics.precision_recall(real, fake, neighbours=k), *metrics.density_coverage(real, fake, neighbours=k)
    assert four == pytest.approx(brute_force(real, fake, k))


@pytest.mark.parametrize("block", [1, 100, 2**22])
def test_blocks_of_any_size_give_the_same(monkeypatch, block):
    real, fake = two_sets()
    functions = (metrics.kernel_distance, metrics.precision_recall, metrics.density_coverage, metrics.nearest_neighbours)
    expected = [function(real, fake) for function in functions]
    monkeypatch.setattr(metrics, "BLOCK", block)
    for function, value in zip(functions, expected, strict=True):
        np.testing.assert_allclose(function(real, fake), value, rtol=1e-12)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_identical_sets_have_all_of_everything(offset):
    """Each ball holds k points of its own set inside it, its centre and k - 1 others: density 1, ties or not."""
    real = two_sets(200)[0] + offset
    for k in (1, 3, 5):
        assert metrics.precision_recall(real, real.copy(), neighbours=k) == (1, 1)
        assert metrics.density_coverage(real, real[::-1], neighbours=k) == (1, 1)


def test_sets_far_apart_have_nothing_in_common():
    real, fake = two_sets()
    assert metrics.precision_recall(real, fake + 100) == (0, 0)
    assert metrics.density_coverage(real, fake + 100) == (0, 0)


def test_exchanging_the_sets_exchanges_precision_and_recall():
    real, fake = two_sets()
    precision, recall = metrics.precision_recall(real, fake)
    assert precision != recall
    assert metrics.precision_recall(fake, real) == (recall, precision)


def test_neither_order_nor_units_nor_position_nor_rotation_matter():
    real, fake = two_sets()
    rng, rotation = np.random.default_rng(1), scipy.stats.ortho_group.rvs(3, random_state=0)
    for function in (metrics.precision_recall, metrics.density_coverage):
        expected = function(real, fake)
        assert function(rng.permutation(real), rng.permutation(fake)) == expected
        for scale in (1e-3, 1e3):
            assert function(scale * real @ rotation + 7, scale * fake @ rotation + 7) == expected


def test_density_and_coverage_of_one_distribution_are_what_counting_says():
    """A generated point is as likely as any to be among the k nearest, so density is 1; coverage is

    1 - (n - 1)...(n - k) / ((2n - 1)...(2n - k)): of the k nearest of all, not all are real.
    """
    n, k = 100, 5
    values = [
        metrics.density_coverage(*np.random.default_rng(seed).normal(size=(2, n, 4)), neighbours=k) for seed in range(200)
    ]
    coverage = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    errors = 4 * np.std(values, axis=0) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, axis=0) - [1, coverage]) < errors).all()
    assert coverage == pytest.approx(1 - 2**-k, abs=0.01)


def test_a_generator_that_draws_one_real_picture_again_and_again_is_precise_and_covers_little():
    real = two_sets(200)[0]
    fake = np.repeat(real[:1], 50, axis=0)
    assert metrics.precision_recall(real, fake) == (1, 1 / 200)
    density, coverage = metrics.density_coverage(real, fake)
    assert coverage < 0.1
    assert density * 5 == pytest.approx(coverage * 200)


def test_one_outlier_enlarges_precision_and_recall_but_not_density():
    """A real picture far from the others has a huge ball: everything within it counts as precise."""
    real = np.vstack([np.random.default_rng(0).normal(size=(200, 2)), [[40.0, 0.0]]])
    fake = np.random.default_rng(1).normal((20, 0), size=(200, 2))
    assert metrics.precision_recall(real, fake)[0] > 0.9
    assert metrics.density_coverage(real, fake)[0] < 0.3


# Nearest neighbours


@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20), st.data())
@settings(max_examples=40, deadline=None)
def test_nearest_neighbours_are_those_of_scipy(d, n, m, data):
    features, gallery = two_sets(n, m, d)
    k = data.draw(st.integers(1, m))
    distances, indices = metrics.nearest_neighbours(features, gallery, neighbours=k)
    expected, at = scipy.spatial.cKDTree(gallery).query(features, k=[*range(1, k + 1)])
    np.testing.assert_allclose(distances, expected)
    np.testing.assert_array_equal(indices, at)


def test_a_copy_is_found_at_distance_zero_also_far_from_the_origin():
    gallery = two_sets()[0] + 1e6
    distances, indices = metrics.nearest_neighbours(gallery[[5, 3]], gallery)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices, [[5], [3]])


# What cannot be measured

SETS = (metrics.kernel_distance, metrics.precision_recall, metrics.density_coverage, metrics.nearest_neighbours)


@pytest.mark.parametrize("function", SETS)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((9, 2)), np.ones((9, 3)), "has 2 columns and .* has 3; expected the same"),
        (np.ones((9, 2)), np.full((9, 2), np.nan), "contains NaN"),
        (np.ones(9), np.ones((9, 1)), r"has the shape \(9,\); expected 2 dimensions"),
        (np.ones((9, 2)), np.ones((0, 2)), "is empty"),
    ],
)
def test_bad_features_are_named(function, a, b, message):
    with pytest.raises(ValueError, match=message):
        function(a, b)
    with pytest.raises(TypeError, match="real numbers"):
        function(np.full((9, 2), "a"), np.ones((9, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: metrics.kernel_distance(x[:1], x), "features_a has 1 row; an estimate without bias needs at least 2"),
        (lambda x: metrics.kernel_distance(x, x, subset_size=10), "features_a has 9 rows; .* at least 10"),
        (lambda x: metrics.kernel_distance(x, x, subset_size=1), "subset_size is 1; expected at least 2"),
        (lambda x: metrics.kernel_distance(x, x, subset_size=5, subsets=0), "subsets is 0"),
        (lambda x: metrics.precision_recall(x[:3], x), "features_real has 3 rows; a ball to neighbour 3 needs at least 4"),
        (lambda x: metrics.precision_recall(x, x[:3]), "features_fake has 3 rows"),
        (lambda x: metrics.precision_recall(x, x, neighbours=0), "neighbours is 0"),
        (lambda x: metrics.density_coverage(x[:5], x), "features_real has 5 rows"),
        (lambda x: metrics.density_coverage(x, x, neighbours=-1), "neighbours is -1"),
        (lambda x: metrics.nearest_neighbours(x, x, neighbours=10), "gallery has 9 rows; .* at least 10"),
        (lambda x: metrics.inception_score(x), "a row that is no distribution"),
        (lambda x: metrics.inception_score([[1.5, -0.5]], splits=1), "a row that is no distribution"),
        (
            lambda x: metrics.inception_score(np.eye(3)),
            "3 rows; a division into 10 parts needs at least 10",
        ),
        (lambda x: metrics.inception_score(np.eye(3), splits=0), "splits is 0"),
    ],
)
def test_too_few_rows_and_bad_options_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((9, 2)))


def test_numbers_that_are_no_whole_numbers_are_named():
    x = np.ones((9, 2))
    for call in (metrics.precision_recall, metrics.density_coverage, metrics.nearest_neighbours):
        with pytest.raises(TypeError, match="neighbours is 2.5"):
            call(x, x, neighbours=2.5)
    with pytest.raises(TypeError, match="subset_size is 2.5"):
        metrics.kernel_distance(x, x, subset_size=2.5)


# Likelihood


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
