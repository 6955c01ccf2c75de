import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_lib import restoration
from imggen_lib.restoration import Downscaled, Masked

TAU = 0.2  # standard deviation of a pixel in the priors below, on the scale of [-1, 1]


def gaussian(covariance):
    """Return the exact denoiser of pictures whose pixels are normal with the mean 0, as restore takes it."""

    def denoise(x, angle):
        c, s = math.cos(angle), math.sin(angle)
        gain = c * covariance @ np.linalg.inv(c * c * covariance + s * s * np.eye(len(covariance)))
        return (x.reshape(len(x), -1) @ gain.T.astype(np.float32)).reshape(x.shape)

    return denoise


def grey(x, angle):
    return 0 * x


def drawn(denoise, value, operator, shape, n=4000, **options):
    """Restore n times from one measured value; return rows of pixels on the scale of [-1, 1]."""
    measured = np.full((n, *shape, 1), (value + 1) / 2, np.float32)
    return 2 * restoration.restore(denoise, measured, operator, seed=0, **options).reshape(n, -1) - 1


def pair(correlation):
    return TAU**2 * np.array([[1, correlation], [correlation, 1]])


LEFT_IS_MISSING = Masked(np.array([[True, False]]))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["some", "blocks"]))
@settings(max_examples=20, deadline=None)
def test_the_pseudo_inverse_is_one_and_filling_changes_nothing_else(seed, kind):
    rng = np.random.default_rng(seed)
    operator = Masked(rng.random((3, 6, 6)) < 0.5) if kind == "some" else Downscaled(3)
    x, y = rng.random((2, 3, 6, 6, 2))
    seen = operator.pseudo_inverse(operator.measure(x))
    np.testing.assert_allclose(operator.pseudo_inverse(operator.measure(seen)), seen)  # a projection,
    assert np.sum(seen * (y - operator.pseudo_inverse(operator.measure(y)))) == pytest.approx(0, abs=1e-12)  # and orthogonal
    filled = operator.project(operator.measure(x), y)
    np.testing.assert_allclose(operator.measure(filled), operator.measure(x), atol=1e-12)
    assert filled.min() >= -1e-12 and filled.max() <= 1 + 1e-12
    np.testing.assert_allclose(operator.project(operator.measure(x), x), x, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"eta": 0}, {"repeats": 3}, {"first_angle": 0.5, "start": 0.2}])
def test_what_was_measured_comes_back_exactly(options):
    rng = np.random.default_rng(0)
    x = rng.random((2, 8, 8, 3)).astype(np.float32)
    operator = Masked(restoration.missing_blocks((8, 8), 1, 4, rng=0))
    found = restoration.restore(lambda x, a: np.sin(9 * x), operator.measure(x), operator, seed=0, steps=3, **options)
    np.testing.assert_array_equal(operator.measure(found), operator.measure(x))
    small = Downscaled(4).measure(x)
    found = restoration.restore(lambda x, a: np.sin(9 * x), small, Downscaled(4), seed=0, steps=3, **options)
    np.testing.assert_allclose(Downscaled(4).measure(found), small, atol=1e-6)
    assert found.shape == x.shape and found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1


def test_without_damage_nothing_changes():
    x = np.random.default_rng(0).random((2, 5, 4, 1)).astype(np.float32)
    for operator in (Masked(np.zeros((5, 4), bool)), Downscaled(1)):
        np.testing.assert_allclose(restoration.restore(grey, x, operator, seed=0, steps=2), x, atol=1e-7)


def test_with_nothing_measured_the_prior_is_drawn():
    nothing = Masked(np.ones((1, 2), bool))
    rows = drawn(gaussian(pair(0.8)), 0.9, nothing, (1, 2), eta=0, steps=500)
    np.testing.assert_allclose(np.cov(rows.T), pair(0.8), atol=0.06 * TAU**2)
    assert np.abs(rows.mean(axis=0)).max() < 0.05 * TAU


def test_a_pixel_that_has_nothing_to_do_with_the_measured_one_keeps_its_law():
    rows = drawn(gaussian(pair(0)), 2 * TAU, LEFT_IS_MISSING, (1, 2), eta=0, steps=300)
    assert rows[:, 0].mean() == pytest.approx(0, abs=0.05 * TAU)
    assert rows[:, 0].std() == pytest.approx(TAU, rel=0.05)


def test_correlated_pixels_one_pass_hears_too_little_and_repeats_mend_it():
    # Of the hidden pixel, given the visible one at +TAU, the mean is 0.8 TAU and the standard deviation 0.6 TAU.
    once = drawn(gaussian(pair(0.8)), TAU, LEFT_IS_MISSING, (1, 2), steps=60)[:, 0] / TAU
    often = drawn(gaussian(pair(0.8)), TAU, LEFT_IS_MISSING, (1, 2), steps=60, repeats=20)[:, 0] / TAU
    assert 0.3 < once.mean() < 0.6
    assert often.mean() == pytest.approx(0.8, abs=0.04)
    assert 0.4 < often.std() < 0.65


def test_the_mirrored_measurement_gives_the_mirrored_mean():
    denoise = gaussian(pair(0.8))
    up, down = (drawn(denoise, sign * TAU, LEFT_IS_MISSING, (1, 2))[:, 0].mean() for sign in (1, -1))
    assert up == pytest.approx(-down, abs=0.05 * TAU)


def test_details_independent_of_the_measured_mean_have_their_conditional_law():
    # All four pixels alike: by symmetry, the deviations from their mean have nothing to do with the mean.
    covariance = TAU**2 * (np.eye(4) + np.ones((4, 4))) / 2
    rows = drawn(gaussian(covariance), 0.5 * TAU, Downscaled(2), (1, 1), eta=0, steps=500)
    np.testing.assert_allclose(rows.mean(axis=1), 0.5 * TAU, atol=1e-6)
    conditional = covariance - covariance.sum(1)[:, None] * covariance.sum(1) / covariance.sum()
    np.testing.assert_allclose(np.cov(rows.T), conditional, atol=0.05 * TAU**2)


@pytest.mark.parametrize(("operator", "shape"), [(Masked(np.zeros((2, 2), bool)), (2, 2)), (Downscaled(2), (1, 1))])
def test_noise_in_the_measurement_is_weighed_against_the_prior(operator, shape):
    covariance = TAU**2 * (np.eye(4) + np.ones((4, 4))) / 2
    std = 0.1  # of values in [0, 1]: twice that on the scale of [-1, 1]
    rows = drawn(gaussian(covariance), TAU, operator, shape, std=std, steps=150, first_angle=0.5)
    means = rows.mean(axis=1)
    # The measured mean, of four noisy pixels or of one noisy block, is all that counts for the mean.
    noise = (2 * std) ** 2 / (4 if shape == (2, 2) else 1)
    prior = covariance.mean()
    assert means.mean() == pytest.approx(TAU * prior / (prior + noise), abs=0.05 * TAU)
    assert means.var() == pytest.approx(prior * noise / (prior + noise), rel=0.12)


def test_damage_is_where_it_is_said_to_be():
    for seed in range(10):
        scratch = restoration.scratches((20, 30), 1, rng=seed)
        assert scratch.any(axis=0).all() or scratch.any(axis=1).all(), "from side to side"
        assert scratch.mean() < 0.2
    thin, wide = (restoration.scratches((40, 40), 2, rng=1, width=width) for width in (1, 3))
    assert wide[thin].all() and wide.sum() > 2 * thin.sum()
    block = restoration.missing_blocks((9, 12), 1, 5, rng=0)
    rows, columns = np.nonzero(block)
    assert block.sum() == 25 and np.ptp(rows) == np.ptp(columns) == 4
    assert restoration.missing_blocks((5, 5), 1, 5, rng=0).all() and not restoration.scratches((5, 5), 0, rng=0).any()


def test_a_diffusion_model_becomes_a_denoiser():
    class Model:
        def predict_velocity(self, pictures, angle, labels, guidance):
            self.asked = labels, guidance
            return (math.cos(angle) * pictures - 0.3) / math.sin(angle)

    model = Model()
    guess = restoration.denoiser(model, labels=3, guidance_scale=2.0)(np.full(4, 0.7), 1.0)
    np.testing.assert_allclose(guess, 0.3)
    assert model.asked == (3, 2.0)


PICTURES = np.zeros((2, 4, 4, 1))
WRONG = [
    (lambda: restoration.restore(grey, PICTURES, Masked(np.zeros((4, 5), bool)), seed=0), "masks"),
    (lambda: restoration.restore(grey, PICTURES, Masked(np.zeros((3, 4, 4), bool)), seed=0), "as many masks as pictures"),
    (lambda: restoration.restore(grey, PICTURES + 2, Downscaled(2), seed=0), "measured has values"),
    (lambda: restoration.restore(grey, PICTURES, Downscaled(2), seed=0, start=np.zeros((2, 4, 4, 1))), "start"),
    (lambda: restoration.restore(grey, PICTURES, Downscaled(2), seed=0, start=np.nan), "start contains NaN"),
    (lambda: Downscaled(2).measure(PICTURES[0]), "expected 4 dimensions"),
    (lambda: restoration.restore(lambda x, a: x[:1], PICTURES, Downscaled(2), seed=0), "the denoiser made"),
    (lambda: restoration.restore(grey, PICTURES, Downscaled(2), seed=0, std=0.5, first_angle=0.1), "more than"),
    (lambda: Downscaled(3).measure(PICTURES), "4x4.*factor 3: crop or pad"),
    (lambda: Masked(np.zeros(4, bool)), "height, width"),
    (lambda: restoration.missing_blocks((8, 8), 1, 9, rng=0), "at most 8"),
    (lambda: restoration.scratches((8, 8, 1), 1, rng=0), "two whole numbers, for height and width"),
    (lambda: restoration.scratches((1, 8), 1, rng=0), "at least 2"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_what_is_wrong_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_mask_is_of_truth_values():
    with pytest.raises(TypeError, match="expected bool, True where a pixel is missing"):
        Masked(np.zeros((4, 4)))
