import keras
import numpy as np
import pytest

from imggen_lib import models


@pytest.mark.parametrize("momentum", [0.0, 0.05, 0.5, 0.999])
def test_moving_average_follows_its_formula(momentum):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    average = models.MovingAverage(network, momentum)
    expected = 0.0
    for step in range(8):
        network.set_weights([np.array([[step + 1.0]])])
        average.update(network)
        m = min(momentum, (1 + step) / (10 + step))
        expected = m * expected + (1 - m) * (step + 1)
    assert float(average.network.get_weights()[0][0, 0]) == pytest.approx(expected, rel=1e-5)
    assert float(average(np.ones((1, 1)))[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_average_of_constant_weights_is_those_weights_and_is_not_trainable():
    network = models.image_generator((8, 8, 1), 3, filters=(4,))
    average = models.MovingAverage(network)
    average.update(network)
    for mean, weight in zip(average.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(mean, weight, rtol=1e-6, atol=1e-8)
    assert average.trainable_variables == []


def test_random_state_of_a_network_is_not_averaged():
    """The state of a dropout layer is an integer; only floating-point weights have a mean."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)])
    average = models.MovingAverage(network, 0.0)
    network(np.random.default_rng(0).normal(size=(32, 4)), training=True)
    average.update(network)
    for mean, weight in zip(average.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(mean, weight)


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_momentum_outside_zero_to_one_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum is"):
        models.MovingAverage(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), momentum)
