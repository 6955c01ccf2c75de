"""Restoration: with Gaussian priors the exact denoiser and the exact posterior are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_lib import restoration
from imggen_lib.restoration import Downscaled, Masked

TAU = 0.2  # standard deviation of a pixel in the priors below, on the scale [-1, 1]


def gaussian_denoiser(covariance):
    """Return the exact denoiser for images whose pixels have a Gaussian distribution with the mean 0."""

    def denoise(noisy, angle):
        c, s = math.cos(angle), math.sin(angle)
        gain = c * covariance @ np.linalg.inv(c * c * covariance + s * s * np.eye(len(covariance)))
        return (noisy.reshape(len(noisy), -1) @ gain.T.astype(np.float32)).reshape(noisy.shape)

    return denoise


def grey_denoiser(noisy, angle):
    return 0 * noisy


def sine_denoiser(noisy, angle):
    """A denoiser whose estimates depend strongly on the noisy image."""
    return np.sin(9 * noisy)


def posterior_samples(denoise, value, operator, shape, n=4000, **options):
    """Restore n images from equal measurements of one value; return rows of pixels on the scale [-1, 1]."""
    measured = np.full((n, *shape, 1), (value + 1) / 2, np.float32)
    return 2 * restoration.restore(denoise, measured, operator, seed=0, **options).reshape(n, -1) - 1


def pair_covariance(correlation):
    return TAU**2 * np.array([[1, correlation], [correlation, 1]])


LEFT_IS_MISSING = Masked(np.array([[True, False]]))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["masked", "downscaled"]))
@settings(max_examples=20, deadline=None)
def test_pseudo_inverse_gives_an_orthogonal_projection_and_project_fits_the_measurement(seed, kind):
    rng = np.random.default_rng(seed)
    operator = Masked(rng.random((3, 6, 6)) < 0.5) if kind == "masked" else Downscaled(3)
    x, y = rng.random((2, 3, 6, 6, 2))
    in_range = operator.pseudo_inverse(operator.measure(x))
    np.testing.assert_allclose(operator.pseudo_inverse(operator.measure(in_range)), in_range)
    in_null_space = y - operator.pseudo_inverse(operator.measure(y))
    assert np.sum(in_range * in_null_space) == pytest.approx(0, abs=1e-12)
    projected = operator.project(operator.measure(x), y)
    np.testing.assert_allclose(operator.measure(projected), operator.measure(x), atol=1e-12)
    assert projected.min() >= -1e-12 and projected.max() <= 1 + 1e-12
    np.testing.assert_allclose(operator.project(operator.measure(x), x), x, atol=1e-9)


def test_gain_is_the_reciprocal_of_the_singular_value():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1, 300, 300, 1))
    for operator in (Masked(np.zeros((300, 300), bool)), Downscaled(3)):
        assert operator.gain * operator.measure(noise).std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("options", [{}, {"eta": 0}, {"resampling_steps": 3}, {"start_angle": 0.5, "initial_images": 0.2}])
def test_restored_images_fit_the_measurement_exactly(options):
    rng = np.random.default_rng(0)
    x = rng.random((2, 8, 8, 3)).astype(np.float32)
    masked = Masked(restoration.missing_blocks((8, 8), 1, 4, rng=0))
    restored = restoration.restore(sine_denoiser, masked.measure(x), masked, seed=0, steps=3, **options)
    np.testing.assert_array_equal(masked.measure(restored), masked.measure(x))
    small = Downscaled(4).measure(x)
    restored = restoration.restore(sine_denoiser, small, Downscaled(4), seed=0, steps=3, **options)
    np.testing.assert_allclose(Downscaled(4).measure(restored), small, atol=1e-6)
    assert restored.shape == x.shape and restored.dtype == np.float32 and restored.min() >= 0 and restored.max() <= 1


def test_without_degradation_the_images_are_unchanged():
    x = np.random.default_rng(0).random((2, 5, 4, 1)).astype(np.float32)
    for operator in (Masked(np.zeros((5, 4), bool)), Downscaled(1)):
        np.testing.assert_allclose(restoration.restore(grey_denoiser, x, operator, seed=0, steps=2), x, atol=1e-7)


def test_without_measured_pixels_samples_have_the_prior_distribution():
    all_missing = Masked(np.ones((1, 2), bool))
    denoise = gaussian_denoiser(pair_covariance(0.8))
    rows = posterior_samples(denoise, 0.9, all_missing, (1, 2), eta=0, steps=500)
    np.testing.assert_allclose(np.cov(rows.T), pair_covariance(0.8), atol=0.06 * TAU**2)
    assert np.abs(rows.mean(axis=0)).max() < 0.05 * TAU


def test_a_pixel_independent_of_the_measured_one_keeps_its_prior_distribution():
    denoise = gaussian_denoiser(pair_covariance(0))
    rows = posterior_samples(denoise, 2 * TAU, LEFT_IS_MISSING, (1, 2), eta=0, steps=300)
    assert rows[:, 0].mean() == pytest.approx(0, abs=0.05 * TAU)
    assert rows[:, 0].std() == pytest.approx(TAU, rel=0.05)


def test_resampling_brings_the_samples_closer_to_the_posterior():
    # Of the missing pixel, given that the other one is TAU, the mean is 0.8 TAU and the standard deviation 0.6 TAU.
    denoise, options = gaussian_denoiser(pair_covariance(0.8)), {"steps": 60}
    once = posterior_samples(denoise, TAU, LEFT_IS_MISSING, (1, 2), **options)[:, 0] / TAU
    often = posterior_samples(denoise, TAU, LEFT_IS_MISSING, (1, 2), resampling_steps=20, **options)[:, 0] / TAU
    assert 0.3 < once.mean() < 0.6
    assert often.mean() == pytest.approx(0.8, abs=0.04)
    assert 0.4 < often.std() < 0.65


def test_the_negated_measurement_gives_the_negated_mean():
    denoise = gaussian_denoiser(pair_covariance(0.8))
    up, down = (posterior_samples(denoise, sign * TAU, LEFT_IS_MISSING, (1, 2))[:, 0].mean() for sign in (1, -1))
    assert up == pytest.approx(-down, abs=0.05 * TAU)


def test_details_independent_of_the_measured_mean_have_their_conditional_distribution():
    # The pixels are exchangeable, so the deviations from their mean are independent of the mean.
    covariance = TAU**2 * (np.eye(4) + np.ones((4, 4))) / 2
    rows = posterior_samples(gaussian_denoiser(covariance), 0.5 * TAU, Downscaled(2), (1, 1), eta=0, steps=500)
    np.testing.assert_allclose(rows.mean(axis=1), 0.5 * TAU, atol=1e-6)
    conditional = covariance - covariance.sum(1)[:, None] * covariance.sum(1) / covariance.sum()
    np.testing.assert_allclose(np.cov(rows.T), conditional, atol=0.05 * TAU**2)


@pytest.mark.parametrize(("operator", "shape"), [(Masked(np.zeros((2, 2), bool)), (2, 2)), (Downscaled(2), (1, 1))])
def test_with_measurement_noise_the_mean_has_its_posterior_distribution(operator, shape):
    covariance = TAU**2 * (np.eye(4) + np.ones((4, 4))) / 2
    noise_std = 0.1  # of values in [0, 1]: twice that on the scale [-1, 1]
    denoise, options = gaussian_denoiser(covariance), {"noise_std": noise_std, "steps": 150, "start_angle": 0.5}
    means = posterior_samples(denoise, TAU, operator, shape, **options).mean(axis=1)
    # The measured mean, of four noisy pixels or of one noisy block, is a sufficient statistic of the mean.
    noise_variance = (2 * noise_std) ** 2 / (4 if shape == (2, 2) else 1)
    prior_variance = covariance.mean()
    total = prior_variance + noise_variance
    assert means.mean() == pytest.approx(TAU * prior_variance / total, abs=0.05 * TAU)
    assert means.var() == pytest.approx(prior_variance * noise_variance / total, rel=0.12)


def test_masks_have_scratches_from_side_to_side_and_square_holes():
    for seed in range(10):
        scratch = restoration.scratches((20, 30), 1, rng=seed)
        assert scratch.any(axis=0).all() or scratch.any(axis=1).all()
        assert scratch.mean() < 0.2
    thin, wide = (restoration.scratches((40, 40), 2, rng=1, width=width) for width in (1, 3))
    assert wide[thin].all() and wide.sum() > 2 * thin.sum()
    block = restoration.missing_blocks((9, 12), 1, 5, rng=0)
    rows, columns = np.nonzero(block)
    assert block.sum() == 25 and np.ptp(rows) == np.ptp(columns) == 4
    assert restoration.missing_blocks((5, 5), 1, 5, rng=0).all()
    assert not restoration.scratches((5, 5), 0, rng=0).any()


def test_denoiser_recovers_the_clean_image_from_an_exact_velocity():
    class ExactModel:
        def predict_velocity(self, noisy, angle, *, labels, guidance_scale):
            self.options = labels, guidance_scale
            return (math.cos(angle) * noisy - 0.3) / math.sin(angle)

    model = ExactModel()
    estimate = restoration.denoiser(model, labels=3, guidance_scale=2.0)(np.full(4, 0.7), 1.0)
    np.testing.assert_allclose(estimate, 0.3)
    assert model.options == (3, 2.0)


IMAGES = np.zeros((2, 4, 4, 1))


def restore_halved(denoise=grey_denoiser, measured=IMAGES, **options):
    return restoration.restore(denoise, measured, Downscaled(2), seed=0, **options)


INVALID = [
    (lambda: restoration.restore(grey_denoiser, IMAGES, Masked(np.zeros((4, 5), bool)), seed=0), "masks"),
    (lambda: restoration.restore(grey_denoiser, IMAGES, Masked(np.zeros((3, 4, 4), bool)), seed=0), "as many masks as"),
    (lambda: restore_halved(measured=IMAGES + 2), "measured has values"),
    (lambda: restore_halved(initial_images=np.zeros((2, 4, 4, 1))), "initial_images has the shape"),
    (lambda: restore_halved(initial_images=np.nan), "initial_images contains NaN"),
    (lambda: restore_halved(lambda noisy, angle: noisy[:1]), "the denoiser returned the shape"),
    (lambda: restore_halved(noise_std=0.5, start_angle=0.1), "start_angle is 0.1; expected more than"),
    (lambda: restore_halved(resampling_steps=0), "resampling_steps is 0"),
    (lambda: restore_halved(eta=2), "eta is 2"),
    (lambda: Downscaled(2).measure(IMAGES[0]), "expected 4 dimensions"),
    (lambda: Downscaled(3).measure(IMAGES), "4x4.*factor 3: crop or pad"),
    (lambda: Masked(np.zeros(4, bool)), "height, width"),
    (lambda: restoration.missing_blocks((8, 8), 1, 9, rng=0), "at most 8"),
    (lambda: restoration.scratches((8, 8, 1), 1, rng=0), "height and width"),
    (lambda: restoration.scratches((1, 8), 1, rng=0), "at least 2"),
]


@pytest.mark.parametrize(("call", "message"), INVALID)
def test_invalid_arguments_are_rejected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_masks_must_be_boolean():
    with pytest.raises(TypeError, match="expected bool, True where a pixel is missing"):
        Masked(np.zeros((4, 4)))
