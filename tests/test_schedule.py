"""The formulas of the noise schedule against closed forms: derivative, rotation, and the posterior of DDPM."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from imggen_lib.models.diffusion import schedule

ANGLES = st.floats(0.05, math.pi / 2 - 0.05)


@pytest.fixture
def clean_and_noise(rng):
    return rng.standard_normal((2, 4, 3, 3, 1))


def test_angle_grid_is_equally_spaced_and_ends_at_the_given_angles():
    np.testing.assert_allclose(schedule.angle_grid(4), np.pi / 8 * np.array([4, 3, 2, 1, 0]))
    np.testing.assert_allclose(schedule.angle_grid(2, 1.0, 0.4), [1.0, 0.7, 0.4])


def test_mix_returns_the_image_at_angle_zero_and_the_noise_at_a_right_angle(clean_and_noise):
    clean, noise = clean_and_noise
    np.testing.assert_array_equal(schedule.mix(clean, noise, 0.0), clean)
    np.testing.assert_allclose(schedule.mix(clean, noise, math.pi / 2), noise)


@given(ANGLES)
def test_mix_preserves_a_variance_of_one(angle):
    x, noise = np.random.default_rng(0).standard_normal((2, 20_000))
    assert np.var(schedule.mix(x, noise, angle)) == pytest.approx(1, abs=0.03)


@given(ANGLES)
def test_velocity_is_the_derivative_of_mix(angle):
    x, noise = np.random.default_rng(0).standard_normal((2, 5))
    difference = schedule.mix(x, noise, angle + 1e-5) - schedule.mix(x, noise, angle - 1e-5)
    np.testing.assert_allclose(schedule.velocity(x, noise, angle), difference / 2e-5, atol=1e-8)


@given(ANGLES)
def test_clean_images_and_noise_are_recovered_from_noisy_images(angle):
    x, noise = np.random.default_rng(0).standard_normal((2, 5))
    noisy, velocity = schedule.mix(x, noise, angle), schedule.velocity(x, noise, angle)
    np.testing.assert_allclose(schedule.to_clean(noisy, velocity, angle), x, atol=1e-12)
    np.testing.assert_allclose(schedule.to_noise(noisy, x, angle), noise, atol=1e-12)
    rotated = math.sin(angle) * noisy + math.cos(angle) * velocity
    np.testing.assert_allclose(rotated, noise, atol=1e-12)


def test_log_snr_is_the_logarithm_of_the_ratio_of_variances():
    angles = np.array([0.1, 0.8, 1.5])
    np.testing.assert_allclose(schedule.log_snr(angles), np.log(np.cos(angles) ** 2 / np.sin(angles) ** 2))
    np.testing.assert_allclose(schedule.angle_from_log_snr(schedule.log_snr(angles)), angles)


def test_numpy_arrays_and_keras_tensors_give_equal_numbers(rng):
    x, y = rng.standard_normal((2, 4, 3, 3, 1)).astype("float32")
    angle = rng.uniform(0.1, 1.4, (4, 1, 1, 1)).astype("float32")
    for function in (schedule.mix, schedule.velocity, schedule.to_clean, schedule.to_noise):
        arrays, tensors = function(x, y, angle), function(*map(ops.convert_to_tensor, (x, y, angle)))
        assert isinstance(arrays, np.ndarray) and ops.is_tensor(tensors)
        np.testing.assert_allclose(arrays, ops.convert_to_numpy(tensors), rtol=1e-5, atol=1e-6)
    arrays = schedule.step(x, y, 1.2, 0.7, eta=0.5, new_noise=x)
    tensors = schedule.step(*map(ops.convert_to_tensor, (x, y)), 1.2, 0.7, eta=0.5, new_noise=ops.convert_to_tensor(x))
    np.testing.assert_allclose(arrays, ops.convert_to_numpy(tensors), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("angle", [0.7, np.float64(0.7), np.float32(0.7)])
def test_a_number_as_angle_keeps_the_dtype_of_the_images(angle):
    x = np.ones((2, 2), np.float32)
    assert schedule.mix(x, x, angle).dtype == schedule.step(x, x, angle, 0.3, eta=1, new_noise=x).dtype == np.float32
    assert schedule.extrapolate(x, 0 * x, 1.0, 0.8, 0.5).dtype == np.float32


def test_deterministic_step_with_exact_estimates_lands_on_the_noisy_image(clean_and_noise):
    clean, noise = clean_and_noise
    np.testing.assert_array_equal(schedule.step(clean, noise, 1.4, 0.3), schedule.mix(clean, noise, 0.3))


@given(ANGLES, st.floats(0.1, 0.9))
def test_step_with_eta_one_has_mean_and_variance_of_the_ddpm_posterior(angle, fraction):
    """Ho, Jain and Abbeel (2020), equations 6 and 7."""
    next_angle = fraction * angle
    alpha_bar, next_alpha_bar = math.cos(angle) ** 2, math.cos(next_angle) ** 2
    alpha = alpha_bar / next_alpha_bar
    beta = 1 - alpha
    clean, noisy = np.random.default_rng(0).standard_normal((2, 5))
    mean = math.sqrt(next_alpha_bar) * beta / (1 - alpha_bar) * clean
    mean = mean + math.sqrt(alpha) * (1 - next_alpha_bar) / (1 - alpha_bar) * noisy
    std = math.sqrt((1 - next_alpha_bar) / (1 - alpha_bar) * beta)

    noise = schedule.to_noise(noisy, clean, angle)
    at_mean = schedule.step(clean, noise, angle, next_angle, eta=1, new_noise=np.zeros(5))
    one_above = schedule.step(clean, noise, angle, next_angle, eta=1, new_noise=np.ones(5))
    np.testing.assert_allclose(at_mean, mean, atol=1e-9)
    np.testing.assert_allclose(one_above - at_mean, std, atol=1e-9)


@given(ANGLES, st.floats(0, 0.95), st.floats(0, 1))
def test_step_keeps_the_noise_variance_of_the_next_angle_for_every_eta(angle, fraction, eta):
    next_angle = fraction * angle
    coefficients = [
        schedule.step(0.0, noise, angle, next_angle, eta=eta, new_noise=new_noise)
        for noise, new_noise in ((1.0, 0.0), (0.0, 1.0))
    ]
    assert math.hypot(*coefficients) == pytest.approx(math.sin(next_angle), abs=1e-9)


def test_forward_steps_compose():
    """Two forward steps have the signal and the noise variance of one."""
    signal = schedule.forward_step(schedule.forward_step(1.0, 0.0, 0.2, 0.6), 0.0, 0.6, 1.1)
    assert signal == pytest.approx(schedule.forward_step(1.0, 0.0, 0.2, 1.1))
    first = schedule.forward_step(schedule.forward_step(0.0, 1.0, 0.2, 0.6), 0.0, 0.6, 1.1)
    second = schedule.forward_step(0.0, 1.0, 0.6, 1.1)
    assert math.hypot(first, second) == pytest.approx(schedule.forward_step(0.0, 1.0, 0.2, 1.1))


def test_forward_step_from_clean_images_is_mix(clean_and_noise):
    clean, noise = clean_and_noise
    np.testing.assert_allclose(schedule.forward_step(clean, noise, 0.0, 0.9), schedule.mix(clean, noise, 0.9))


def test_extrapolation_is_exact_for_estimates_linear_in_the_log_snr():
    angles = (1.3, 0.9, 0.4)
    previous, now, after = (float(schedule.log_snr(angle)) for angle in angles)
    found = schedule.extrapolate(3 + 2 * now, 3 + 2 * previous, *angles)
    assert found == pytest.approx(3 + 2 * (now + after) / 2)


def test_a_positive_eta_without_new_noise_is_rejected():
    with pytest.raises(ValueError, match=r"eta is 0.5 and new_noise is None"):
        schedule.step(np.zeros(2), np.zeros(2), 1.0, 0.5, eta=0.5)
