import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_lib import noise

GREY = np.full((100, 100), 0.5)
ALL = [noise.add_gaussian, noise.add_uniform]

# Each noise with its law, and a law of the same variance that it must not follow.
gaussian, uniform = scipy.stats.norm(0, 0.2), scipy.stats.uniform(-0.2 * 3**0.5, 2 * 0.2 * 3**0.5)
LAWS = [(noise.add_gaussian, 0.2, gaussian, uniform), (noise.add_uniform, 0.2 * 3**0.5, uniform, gaussian)]


@pytest.mark.parametrize(("add", "size", "law", "other"), LAWS)
def test_noise_follows_its_law_and_not_another_of_the_same_variance(add, size, law, other):
    residual = (add(GREY, size, rng=1) - GREY).ravel()
    assert scipy.stats.kstest(residual, law.cdf).pvalue > 0.01
    assert scipy.stats.kstest(residual, other.cdf).pvalue < 1e-6
    # The sample variance of n values deviates by about sqrt((kurtosis - 1) / n) of itself: at most 1.5 % here.
    assert residual.var() == pytest.approx(law.var(), rel=0.05)


@pytest.mark.parametrize("add", ALL)
def test_noise_is_independent_between_neighbours_and_channels(add):
    residual = add(np.full((100, 100, 3), 0.5), 0.1, rng=0) - 0.5
    pairs = [(residual[1:], residual[:-1]), (residual[:, 1:], residual[:, :-1]), (residual[..., 0], residual[..., 1])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


@pytest.mark.parametrize("add", ALL)
def test_clipping_cuts_to_the_range_and_moves_the_mean(add):
    black = np.zeros((50, 50))
    clipped, free = (add(black, 0.2, rng=0, clip=clip) for clip in (True, False))
    np.testing.assert_array_equal(clipped, np.clip(free, 0, 1))
    assert clipped.min() == 0 and free.min() < 0 and clipped.mean() > 0.04 > abs(free.mean())


@given(st.sampled_from(ALL), st.sampled_from(["float16", "float32", "float64"]), st.sampled_from([(4, 5), (4, 5, 3)]))
@settings(max_examples=20, deadline=None)
def test_shape_dtype_and_input_are_kept(add, dtype, shape):
    image = np.full(shape, 0.25, dtype)
    noisy = add(image, 0.1, rng=0)
    assert noisy.shape == shape and noisy.dtype == dtype
    assert (image == 0.25).all() and (noisy != image).any()


@pytest.mark.parametrize("add", ALL)
def test_a_seed_means_the_same_noise_and_a_generator_goes_on(add):
    np.testing.assert_array_equal(add(GREY, 0.1, rng=7), add(GREY, 0.1, rng=np.random.default_rng(7)))
    assert (add(GREY, 0.1, rng=7) != add(GREY, 0.1, rng=8)).any()
    rng = np.random.default_rng(7)
    assert (add(GREY, 0.1, rng=rng) != add(GREY, 0.1, rng=rng)).any()


@pytest.mark.parametrize("add", ALL)
def test_noise_of_size_zero_changes_nothing(add):
    np.testing.assert_array_equal(add(GREY, 0, rng=0), GREY)


@pytest.mark.parametrize("add", ALL)
@pytest.mark.parametrize(
    ("image", "size", "error"),
    [
        (GREY, -0.1, ValueError),
        (GREY, np.nan, ValueError),
        (GREY, "0.1", TypeError),
        (np.zeros((2, 2), "uint8"), 0.1, TypeError),
        (GREY + 1, 0.1, ValueError),
        (np.zeros(3), 0.1, ValueError),
    ],
)
def test_bad_arguments_are_refused(add, image, size, error):
    with pytest.raises(error):
        add(image, size, rng=0)
