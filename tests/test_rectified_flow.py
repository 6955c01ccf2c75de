"""Rectified flow: between Gaussians everything is known in closed form."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from imggen_lib import models
from imggen_lib.models.diffusion.rectified_flow import PREDICTIONS, follow_velocity, velocity_from

MEAN, STD = 0.3, 0.4  # of every value, on the scale [-1, 1]


def exact_velocity(x, t):
    """The mean velocity for independent Gaussian values."""
    variance = (1 - t) ** 2 * STD**2 + t**2
    return -MEAN + (t - (1 - t) * STD**2) / variance * (x - (1 - t) * MEAN)


def dense_network(shape, num_classes=None):
    inputs = [keras.Input(shape), keras.Input((1,))] + ([keras.Input((num_classes,))] if num_classes else [])
    x = keras.layers.Concatenate()([keras.layers.Flatten()(inputs[0]), *inputs[1:]])
    x = keras.layers.Dense(32, activation="silu")(x)
    return keras.Model(inputs, keras.layers.Reshape(shape)(keras.layers.Dense(int(np.prod(shape)))(x)))


@pytest.fixture(scope="module")
def conditional():
    keras.utils.set_random_seed(0)
    return models.RectifiedFlow(dense_network((2, 2, 1), 3), num_classes=3)


def test_flow_between_gaussians_is_the_affine_map():
    """The velocity field moves the quantiles of the noise to those of the data."""
    noise = np.random.default_rng(0).standard_normal((50, 4))
    for method, steps, atol in (("euler", 2000, 2e-3), ("heun", 100, 2e-3)):
        data = follow_velocity(exact_velocity, noise, steps=steps, method=method)
        np.testing.assert_allclose(data, MEAN + STD * noise, atol=atol)


def test_error_of_heun_falls_with_the_square_of_the_step_and_that_of_euler_with_the_step():
    noise = np.random.default_rng(0).standard_normal((50, 4))
    error = {
        (method, steps): np.abs(
            follow_velocity(exact_velocity, noise, steps=steps, method=method) - MEAN - STD * noise
        ).max()
        for method in ("euler", "heun")
        for steps in (20, 40)
    }
    assert 1.7 < error["euler", 20] / error["euler", 40] < 2.4
    assert error["heun", 20] / error["heun", 40] > 2.9
    assert error["heun", 20] < error["euler", 40]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_gives_the_velocity_of_the_line(prediction):
    clean, noise = np.random.default_rng(0).standard_normal((2, 5, 3))
    for t in (0.1, 0.5, 0.9):
        output = {"velocity": noise - clean, "noise": noise, "image": clean}[prediction]
        found = velocity_from(output, (1 - t) * clean + t * noise, t, prediction)
        np.testing.assert_allclose(found, noise - clean, atol=1e-9)
    # At the ends the denominators are bounded.
    assert np.isfinite(velocity_from(clean, noise, 0.0, prediction)).all()
    assert np.isfinite(velocity_from(clean, noise, 1.0, prediction)).all()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_of_a_network_that_returns_zero_is_the_mean_square_of_the_target(prediction):
    zero = keras.Input((20, 20, 1))
    network = keras.Model([zero, keras.Input((1,))], keras.layers.Rescaling(0.0)(zero))
    model = models.RectifiedFlow(network, prediction=prediction)
    images = (1 + np.random.default_rng(0).choice([-1, 1], size=(32, 20, 20, 1))) / 2  # -1 or 1 on the scale [-1, 1]
    expected = {"velocity": 2, "noise": 1, "image": 1}[prediction]
    loss = float(model.generative_loss(ops.convert_to_tensor(images, "float32"), None, training=False))
    assert loss == pytest.approx(expected, rel=0.05)


def test_times_have_the_quantiles_of_their_density():
    network = dense_network((2, 2, 1))
    for density, quantile in (
        ("uniform", stats.uniform.ppf),
        ("logit_normal", lambda q: 1 / (1 + np.exp(-stats.norm.ppf(q)))),
    ):
        model = models.RectifiedFlow(network, time_density=density)
        times = ops.convert_to_numpy(model.times(1000))[:, 0]
        np.testing.assert_allclose(times[1:-1], quantile((np.arange(1000) + 0.5) / 1000)[1:-1], atol=0.02)
        assert (np.diff(times) > 0).all() and times.min() >= 0 and times.max() <= 1


def test_guidance_extrapolates_and_a_negative_condition_replaces_no_condition(conditional):
    noisy = np.random.default_rng(0).standard_normal((2, 2, 2, 1)).astype("float32")
    velocity = {w: conditional.predict_velocity(noisy, 0.5, labels=[0, 1], guidance_scale=w) for w in (0, 1, 3)}
    np.testing.assert_allclose(velocity[3], velocity[0] + 3 * (velocity[1] - velocity[0]), rtol=1e-4, atol=1e-6)
    away = conditional.predict_velocity(noisy, 0.5, labels=[0, 1], guidance_scale=3, negative_labels=[2, 2])
    other = conditional.predict_velocity(noisy, 0.5, labels=[2, 2])
    np.testing.assert_allclose(away, other + 3 * (velocity[1] - other), rtol=1e-4, atol=1e-6)
    # Away from the condition itself there is no direction.
    same = conditional.predict_velocity(noisy, 0.5, labels=[0, 1], guidance_scale=3, negative_labels=[0, 1])
    np.testing.assert_allclose(same, velocity[1], rtol=1e-5, atol=1e-6)


def test_samples_depend_on_seed_and_labels_and_not_on_their_number(conditional):
    images = conditional.sample(3, seed=1, labels=[0, 1, 2])
    np.testing.assert_allclose(conditional.sample(2, seed=1, labels=[0, 1]), images[:2], atol=1e-6)
    assert (images != conditional.sample(3, seed=2, labels=[0, 1, 2])).any()
    negative = conditional.sample(3, seed=1, labels=[0, 1, 2], guidance_scale=2, negative_labels=1)
    assert (negative != conditional.sample(3, seed=1, labels=[0, 1, 2], guidance_scale=2)).any()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_training_on_a_constant_image_gives_that_image(prediction):
    keras.utils.set_random_seed(0)
    model = models.RectifiedFlow(dense_network((2, 2, 1)), prediction=prediction, ema_momentum=0.9)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    image = np.array([0.2, 0.4, 0.6, 0.8], "float32").reshape(1, 2, 2, 1)
    model.fit(np.repeat(image, 64 * 250, axis=0), batch_size=64, verbose=0)
    np.testing.assert_allclose(model.sample(20, seed=0, steps=20).mean(axis=0), image[0], atol=0.06)


def test_a_model_is_rebuilt_from_its_configuration(conditional):
    again = models.RectifiedFlow.from_config(conditional.get_config())
    again.set_weights(conditional.get_weights())
    np.testing.assert_array_equal(again.sample(2, seed=0, labels=1), conditional.sample(2, seed=0, labels=1))


def test_invalid_arguments_are_rejected(conditional):
    network = conditional.network
    with pytest.raises(ValueError, match="build it with num_classes=4"):
        models.RectifiedFlow(network, num_classes=4)
    with pytest.raises(ValueError, match="prediction is 'score'; expected one of velocity, noise, image"):
        models.RectifiedFlow(network, num_classes=3, prediction="score")
    with pytest.raises(ValueError, match="time_density is 'cosine'"):
        models.RectifiedFlow(network, num_classes=3, time_density="cosine")
    with pytest.raises(ValueError, match="method is 'rk4'; expected one of euler, heun"):
        conditional.sample(1, seed=0, method="rk4")
    with pytest.raises(ValueError, match="steps is 0"):
        conditional.sample(1, seed=0, steps=0)
    with pytest.raises(ValueError, match="labels has values from 3 to 3"):
        conditional.sample(1, seed=0, negative_labels=3)
