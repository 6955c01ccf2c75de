import numpy as np
import pytest
import scipy.stats
import skimage.util
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from imggen_lib import noise

GREY = np.full((100, 100), 0.5)
ALL = [noise.add_gaussian, noise.add_uniform]
# Every noise with a strength at which it changes nearly all grey pixels, or half of them.
STRENGTHS = {
    noise.add_gaussian: 0.1,
    noise.add_uniform: 0.1,
    noise.add_salt_and_pepper: 0.5,
    noise.add_poisson: 30.5,
    noise.add_speckle: 0.1,
}

# Each noise with its distribution, and with another distribution of the same variance.
gaussian, uniform = scipy.stats.norm(0, 0.2), scipy.stats.uniform(-0.2 * 3**0.5, 2 * 0.2 * 3**0.5)
DISTRIBUTIONS = [(noise.add_gaussian, 0.2, gaussian, uniform), (noise.add_uniform, 0.2 * 3**0.5, uniform, gaussian)]


@pytest.mark.parametrize(("add", "strength", "distribution", "other"), DISTRIBUTIONS)
def test_noise_has_its_distribution_and_not_another_of_equal_variance(add, strength, distribution, other):
    residual = (add(GREY, strength, rng=1) - GREY).ravel()
    assert scipy.stats.kstest(residual, distribution.cdf).pvalue > 0.01
    assert scipy.stats.kstest(residual, other.cdf).pvalue < 1e-6
    # The relative standard error of a sample variance is sqrt((kurtosis - 1) / n), at most 1.5 % here.
    assert residual.var() == pytest.approx(distribution.var(), rel=0.05)


@pytest.mark.parametrize("add", STRENGTHS)
def test_noise_is_uncorrelated_between_neighbours_and_channels(add):
    residual = add(np.full((100, 100, 3), 0.5), STRENGTHS[add], rng=0) - 0.5
    pairs = [(residual[1:], residual[:-1]), (residual[:, 1:], residual[:, :-1]), (residual[..., 0], residual[..., 1])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


@pytest.mark.parametrize("add", ALL)
def test_clipping_at_black_raises_the_mean(add):
    black = np.zeros((50, 50))
    clipped, unclipped = (add(black, 0.2, rng=0, clip=clip) for clip in (True, False))
    np.testing.assert_array_equal(clipped, np.clip(unclipped, 0, 1))
    assert clipped.min() == 0 and unclipped.min() < 0 and clipped.mean() > 0.04 > abs(unclipped.mean())


@given(
    st.sampled_from(list(STRENGTHS)),
    st.sampled_from(["float16", "float32", "float64"]),
    st.sampled_from([(4, 5), (4, 5, 3)]),
)
@settings(max_examples=30, deadline=None)
def test_shape_and_dtype_are_kept_and_input_is_not_changed(add, dtype, shape):
    image = np.full(shape, 0.25, dtype)
    noisy = add(image, STRENGTHS[add], rng=0)
    assert noisy.shape == shape and noisy.dtype == dtype
    assert (image == 0.25).all() and (noisy != image).any()


@pytest.mark.parametrize("add", STRENGTHS)
def test_seed_repeats_noise_and_generator_advances(add):
    strength = STRENGTHS[add]
    np.testing.assert_array_equal(add(GREY, strength, rng=7), add(GREY, strength, rng=np.random.default_rng(7)))
    assert (add(GREY, strength, rng=7) != add(GREY, strength, rng=8)).any()
    rng = np.random.default_rng(7)
    assert (add(GREY, strength, rng=rng) != add(GREY, strength, rng=rng)).any()


@pytest.mark.parametrize("add", [*ALL, noise.add_salt_and_pepper, noise.add_speckle])
def test_noise_of_strength_zero_changes_nothing(add):
    np.testing.assert_array_equal(add(GREY, 0, rng=0), GREY)


@pytest.mark.parametrize("add", ALL)
@pytest.mark.parametrize(
    ("image", "strength", "error"),
    [
        (GREY, -0.1, ValueError),
        (GREY, np.nan, ValueError),
        (GREY, "0.1", TypeError),
        (np.zeros((2, 2), "uint8"), 0.1, TypeError),
        (GREY + 1, 0.1, ValueError),
        (np.zeros(3), 0.1, ValueError),
    ],
)
def test_invalid_arguments_raise(add, image, strength, error):
    with pytest.raises(error):
        add(image, strength, rng=0)


@pytest.mark.parametrize("add", [*ALL, noise.add_poisson, noise.add_speckle])
def test_clipping_is_off_by_default(add):
    white = np.ones((50, 50))
    clipped, unclipped = (add(white, 0.2, rng=0, clip=clip) for clip in (True, False))
    np.testing.assert_array_equal(clipped, np.clip(unclipped, 0, 1))
    np.testing.assert_array_equal(add(white, 0.2, rng=0), unclipped)
    assert clipped.max() == 1 < unclipped.max()


def within(value, expected, error, errors=5.0):
    """Return whether a value differs from the expected one by at most five standard errors."""
    return abs(value - expected) <= errors * error + 1e-12


# Mean and variance for a pixel of value x in closed form.
MOMENTS = [
    (noise.add_gaussian, {"std": 0.3}, lambda x: x, lambda x: 0.3**2),
    (noise.add_uniform, {"half_width": 0.3}, lambda x: x, lambda x: 0.3**2 / 3),
    (noise.add_poisson, {"photons": 0.7}, lambda x: x, lambda x: x / 0.7),
    (noise.add_poisson, {"photons": 40}, lambda x: x, lambda x: x / 40),
    (noise.add_poisson, {"photons": 1e6}, lambda x: x, lambda x: x / 1e6),
    (noise.add_speckle, {"std": 0.25}, lambda x: x, lambda x: 0.25**2 * x**2),
    (
        noise.add_salt_and_pepper,
        {"amount": 0.2, "salt_share": 0.7},
        lambda x: 0.8 * x + 0.14,
        lambda x: 0.8 * x**2 + 0.14 - (0.8 * x + 0.14) ** 2,
    ),
    (noise.add_salt_and_pepper, {"amount": 0.4}, lambda x: 0.6 * x + 0.2, lambda x: 0.24 * (x**2 - x) + 0.16),
]


@pytest.mark.parametrize("x", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("add", "options", "mean", "variance"), MOMENTS)
def test_mean_and_variance_match_closed_form(add, options, mean, variance, x):
    values = add(np.full((400, 400), x), rng=3, **options)
    centred = values - values.mean()
    fourth = np.mean(centred**4)
    assert within(values.mean(), mean(x), values.std() / np.sqrt(values.size))
    # The variance of a sample variance is (fourth moment - variance squared) / n.
    assert within(values.var(), variance(x), np.sqrt(max(fourth - values.var() ** 2, 0) / values.size))


def test_photon_counts_are_poisson_and_not_rounded_gaussian_of_equal_moments():
    counts = np.rint(noise.add_poisson(np.full((300, 300), 0.25), 16, rng=0) * 16).astype(int).ravel()
    observed = np.bincount(np.minimum(counts, 11), minlength=12)

    def p_value(distribution, continuity_correction=0.0):
        """Return the chi-square p-value of the counts 0, 1, ..., 10 and more than 10."""
        edges = np.concatenate([[-np.inf], np.arange(11) + continuity_correction, [np.inf]])
        return scipy.stats.chisquare(observed, counts.size * np.diff(distribution.cdf(edges))).pvalue

    assert p_value(scipy.stats.poisson(4)) > 0.01
    assert p_value(scipy.stats.norm(4, 2), continuity_correction=0.5) < 1e-6
    assert p_value(scipy.stats.poisson(4.1)) < 1e-6


def test_salt_and_pepper_fractions_are_binomial_and_other_pixels_are_unchanged():
    image = np.random.default_rng(0).uniform(0.1, 0.9, (400, 400))
    noisy = noise.add_salt_and_pepper(image, 0.3, rng=1, salt_share=0.2)
    salt, pepper = noisy == 1, noisy == 0
    np.testing.assert_array_equal(noisy[~salt & ~pepper], image[~salt & ~pepper])
    assert scipy.stats.binomtest(int(salt.sum()), salt.size, 0.06).pvalue > 0.01
    assert scipy.stats.binomtest(int(pepper.sum()), pepper.size, 0.24).pvalue > 0.01
    # The number of replaced pixels in blocks of 100 is binomial, so its variance is n p (1 - p).
    replaced = (salt | pepper).reshape(40, 10, 40, 10).sum(axis=(1, 3)).ravel()
    assert replaced.var() == pytest.approx(100 * 0.3 * 0.7, rel=0.1)


@pytest.mark.parametrize(("share", "value"), [(0, 0), (1, 1)])
def test_amount_one_replaces_all_pixels_by_salt_or_pepper_alone(share, value):
    np.testing.assert_array_equal(noise.add_salt_and_pepper(GREY, 1, rng=0, salt_share=share), np.full_like(GREY, value))


def test_speckle_divided_by_brightness_is_gaussian():
    ramp = np.linspace(0.05, 1, 200 * 200).reshape(200, 200)
    residual = noise.add_speckle(ramp, 0.2, rng=0) - ramp
    gaussian = scipy.stats.norm(0, 0.2)
    assert scipy.stats.kstest((residual / ramp).ravel(), gaussian.cdf).pvalue > 0.01
    assert scipy.stats.kstest((residual / np.sqrt(np.mean(ramp**2))).ravel(), gaussian.cdf).pvalue < 1e-6


# 64 distinct values, so that scikit-image uses 64 photons; every value in the same number of pixels.
RAMP = np.tile(np.arange(64) / 63, (500, 1))
SCIKIT_IMAGE = [
    (noise.add_gaussian, 0.2, {"mode": "gaussian", "var": 0.04}, 0.22),
    (noise.add_salt_and_pepper, 0.3, {"mode": "s&p", "amount": 0.3}, 0.36),
    (noise.add_poisson, 64, {"mode": "poisson"}, 48),
    (noise.add_speckle, 0.2, {"mode": "speckle", "var": 0.04}, 0.22),
]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("add", "strength", "their_options", "other_strength"), SCIKIT_IMAGE)
def test_noise_has_same_distribution_as_scikit_image(add, strength, their_options, other_strength, clip):
    clipping = {} if add is noise.add_salt_and_pepper else {"clip": clip}
    theirs = skimage.util.random_noise(RAMP, rng=1, clip=clip, **their_options) - RAMP
    for our_strength, same in ((strength, True), (other_strength, False)):
        ours = add(RAMP, our_strength, rng=2, **clipping) - RAMP
        # 32,000 values each are enough to distinguish a slightly different strength.
        p_value = scipy.stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue
        assert p_value > 0.01 if same else p_value < 1e-3
    # The mean of each column, which is the mean at one brightness.
    ours = add(RAMP, strength, rng=2, **clipping) - RAMP
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / len(RAMP))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 4.5 * error + 1e-12).all()


def test_salt_share_matches_salt_vs_pepper_of_scikit_image():
    theirs = skimage.util.random_noise(RAMP, mode="s&p", amount=0.3, salt_vs_pepper=0.8, rng=1)
    ours = noise.add_salt_and_pepper(RAMP, 0.3, rng=2, salt_share=0.8)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=5 * ours.std() * np.sqrt(2 / ours.size))
    assert abs(ours.mean() - noise.add_salt_and_pepper(RAMP, 0.3, rng=2, salt_share=0.2).mean()) > 0.1


def test_white_noise_is_standard_normal_with_flat_spectrum():
    white = noise.white_noise((128, 128, 2), rng=0)
    assert white.shape == (128, 128, 2) and white.dtype == np.float32
    assert scipy.stats.kstest(white.ravel(), scipy.stats.norm.cdf).pvalue > 0.01
    # For white noise the power at each frequency is exponentially distributed with mean 1.
    power = np.abs(np.fft.fft2(white[..., 0])) ** 2 / 128**2
    assert scipy.stats.kstest(power[1:64, 1:].ravel(), scipy.stats.expon.cdf).pvalue > 0.01
    assert abs(np.corrcoef(white[..., 0].ravel(), white[..., 1].ravel())[0, 1]) < 4 / 128


def frequencies(height, width):
    return np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width))


@pytest.mark.parametrize("exponent", [-1, 0, 1, 1.7, 2, 3])
def test_slope_of_power_spectrum_is_minus_exponent(exponent):
    field = noise.power_law_noise((192, 256), exponent, rng=4)
    f, power = frequencies(192, 256).ravel()[1:], np.abs(np.fft.fft2(field)).ravel()[1:] ** 2
    slope, error = np.polyfit(np.log(f), np.log(power), 1, cov=True)
    # The image is real, so every frequency occurs twice and the variance of the slope is twice as large.
    assert slope[0] == pytest.approx(-exponent, abs=5 * np.sqrt(2 * error[0, 0]))
    assert np.sqrt(2 * error[0, 0]) < 0.02


@pytest.mark.parametrize("shape", [(32, 48), (33, 47), (1, 64), (64, 1), (2, 1)])
@pytest.mark.parametrize("exponent", [-2, 0, 1, 3])
def test_spectrum_is_that_of_white_noise_times_gain(shape, exponent):
    """At every frequency but 0, up to one common real factor."""
    field = np.fft.fft2(noise.power_law_noise(shape, exponent, rng=5).astype(np.float64)).ravel()[1:]
    white = np.fft.fft2(noise.white_noise(shape, rng=5).astype(np.float64)).ravel()[1:]
    ratio = field / (white * frequencies(*shape).ravel()[1:] ** (-exponent / 2))
    np.testing.assert_allclose(ratio, ratio[0], rtol=2e-3)
    assert abs(ratio[0].imag) < 1e-3 * ratio[0].real


@given(
    st.tuples(st.integers(1, 20), st.integers(2, 20)),
    st.sampled_from([(), (1,), (3,)]),
    st.floats(-10, 10),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_power_law_noise_has_mean_0_and_variance_1_in_every_channel(shape, channels, exponent, seed):
    field = noise.power_law_noise(shape + channels, exponent, rng=seed)
    assert field.shape == shape + channels and field.dtype == np.float32
    np.testing.assert_allclose(field.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(field.std(axis=(0, 1)), 1, rtol=1e-5)


def test_exponent_zero_is_standardised_white_noise_and_channels_are_independent():
    white = noise.white_noise((64, 64, 3), rng=6)
    field = noise.power_law_noise((64, 64, 3), 0, rng=6)
    standardised = (white - white.mean(axis=(0, 1))) / white.std(axis=(0, 1))
    np.testing.assert_allclose(field, standardised, atol=1e-5)
    clouds = noise.power_law_noise((64, 64, 2), 1, rng=6)
    correlation = np.corrcoef(clouds[..., 0].ravel(), clouds[..., 1].ravel())[0, 1]
    assert abs(correlation) < 0.25  # few low frequencies carry most of the power, so it varies more than for white noise


def test_power_law_noise_is_periodic():
    clouds = noise.power_law_noise((128, 128), 3, rng=7)
    difference = np.diff(clouds, axis=1).std()
    assert (clouds[:, 0] - clouds[:, -1]).std() == pytest.approx(difference, rel=0.3)


@pytest.mark.parametrize("function", [noise.white_noise, lambda shape, rng: noise.power_law_noise(shape, 1, rng=rng)])
def test_seed_repeats_image(function):
    np.testing.assert_array_equal(function((8, 8), rng=1), function((8, 8), rng=np.random.default_rng(1)))
    assert (function((8, 8), rng=1) != function((8, 8), rng=2)).any()


# ---- random invalid input: every function raises the same error ----

ADD = st.sampled_from(list(STRENGTHS))
SIDES = npst.array_shapes(min_dims=2, max_dims=3, max_side=5)
IMAGES = npst.arrays(st.sampled_from([np.float16, np.float32, np.float64]), SIDES, elements=st.floats(0, 1, width=16))
error_cases = settings(max_examples=40, deadline=None)


@given(ADD, npst.arrays(npst.integer_dtypes() | npst.unsigned_integer_dtypes() | npst.boolean_dtypes(), SIDES))
@error_cases
def test_integer_images_raise(add, image):
    with pytest.raises(TypeError, match=r"^image has the dtype .*; expected floats in \[0, 1\]: .*img_as_float32"):
        add(image, STRENGTHS[add], rng=0)


@given(ADD, npst.arrays(npst.complex_number_dtypes() | npst.unicode_string_dtypes() | st.just(np.dtype(object)), SIDES))
@error_cases
def test_images_of_other_dtypes_raise(add, image):
    with pytest.raises(TypeError, match="^image has the dtype .*; expected real numbers"):
        add(image, STRENGTHS[add], rng=0)


@given(ADD, npst.array_shapes(min_dims=0, max_dims=5, max_side=3).filter(lambda shape: len(shape) not in (2, 3)))
@error_cases
def test_images_without_two_or_three_dimensions_raise(add, shape):
    with pytest.raises(ValueError, match=r"^image has the shape \(.*\); expected 2 or 3 dimensions"):
        add(np.full(shape, 0.5), STRENGTHS[add], rng=0)


@given(ADD, npst.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=3).filter(lambda shape: 0 in shape))
@error_cases
def test_empty_images_raise(add, shape):
    with pytest.raises(ValueError, match=r"^image is empty: its shape is \("):
        add(np.zeros(shape), STRENGTHS[add], rng=0)


@given(ADD, IMAGES, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
@error_cases
def test_single_nan_or_infinity_raises(add, image, value, data):
    image.flat[data.draw(st.integers(0, image.size - 1))] = value
    with pytest.raises(ValueError, match="^image contains NaN or infinite values"):
        add(image, STRENGTHS[add], rng=0)


@given(ADD, IMAGES, st.floats(-100, -0.01) | st.floats(1.01, 255), st.data())
@error_cases
def test_single_value_outside_0_to_1_raises(add, image, value, data):
    image.flat[data.draw(st.integers(0, image.size - 1))] = value
    with pytest.raises(ValueError, match=r"^image has values from .*; expected \[0, 1\]: rescale it, or clip it"):
        add(image, STRENGTHS[add], rng=0)


NAMES = dict(zip(STRENGTHS, ["std", "half_width", "amount", "photons", "std"], strict=True))


@given(ADD, st.floats(max_value=-1e-300) | st.sampled_from([np.nan, np.inf]))
@error_cases
def test_negative_or_infinite_strength_raises(add, strength):
    with pytest.raises(ValueError, match=f"^{NAMES[add]} is .*; expected a finite number in "):
        add(GREY, strength, rng=0)


@given(ADD, st.none() | st.text() | st.booleans() | st.complex_numbers() | st.lists(st.floats()) | st.just(np.ones(1)))
@error_cases
def test_strength_that_is_not_a_real_number_raises(add, strength):
    with pytest.raises(TypeError, match=f"^{NAMES[add]} is .*; expected a real number"):
        add(GREY, strength, rng=0)


@pytest.mark.parametrize(
    "options", [{"amount": 1.01}, {"amount": 0.1, "salt_share": -0.1}, {"amount": 0.1, "salt_share": 2}]
)
def test_probabilities_outside_0_to_1_raise(options):
    with pytest.raises(ValueError, match=r"expected a finite number in \[0, 1\]"):
        noise.add_salt_and_pepper(GREY, rng=0, **options)


def test_options_are_keyword_only():
    for add, strength in STRENGTHS.items():
        with pytest.raises(TypeError, match="positional argument"):
            add(GREY, strength, 0)
    with pytest.raises(TypeError, match="positional argument"):
        noise.white_noise((8, 8), 0)
    with pytest.raises(TypeError, match="positional argument"):
        noise.power_law_noise((8, 8), 1, 0)


@pytest.mark.parametrize("photons", [0, 1e-4, 1e16])
def test_photons_out_of_range_raise(photons):
    with pytest.raises(ValueError, match=r"^photons is .*; expected a finite number in \[0.001, 1e\+15\]"):
        noise.add_poisson(GREY, photons, rng=0)


@pytest.mark.parametrize("exponent", [-10.1, 10.1, np.nan])
def test_exponent_out_of_range_raises(exponent):
    with pytest.raises(ValueError, match=r"^exponent is .*; expected a finite number in \[-10, 10\]"):
        noise.power_law_noise((8, 8), exponent, rng=0)


INVALID_SHAPES = [
    (8, TypeError, "^shape is 8; expected "),
    ("88", TypeError, "^shape is '88'; expected "),
    ((8.0, 8), TypeError, "^a size in shape is 8.0; expected a whole number"),
    ((8, None), TypeError, "^a size in shape is None; expected a whole number"),
    ((), ValueError, r"^shape is \(\); expected "),
    ((8,), ValueError, r"^shape is \(8,\); expected "),
    ((1, 8, 8, 1), ValueError, r"^shape is \(1, 8, 8, 1\); expected "),
    ((0, 8), ValueError, "^a size in shape is 0; expected at least 1"),
    ((8, -1), ValueError, "^a size in shape is -1; expected at least 1"),
]


@pytest.mark.parametrize(("shape", "error", "message"), INVALID_SHAPES)
def test_invalid_shapes_raise(shape, error, message):
    for function in (noise.white_noise, lambda shape, rng: noise.power_law_noise(shape, 1, rng=rng)):
        with pytest.raises(error, match=message):
            function(shape, rng=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3)])
def test_power_law_noise_of_one_pixel_raises(shape):
    assert noise.white_noise(shape, rng=0).shape == shape
    with pytest.raises(ValueError, match="expected at least two pixels"):
        noise.power_law_noise(shape, 1, rng=0)
