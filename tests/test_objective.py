"""The velocity loss: angles, closed forms for known networks, label dropout, data of any number of axes."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib.models import vector_network
from imggen_lib.models.diffusion.objective import spaced_angles, velocity_loss


def seed_generator():
    return keras.random.SeedGenerator(0)


def constant_network(shape, factor=0.0):
    data = keras.Input(shape)
    return keras.Model([data, keras.Input((1,))], keras.layers.Rescaling(factor)(data))


def test_angles_are_evenly_spaced_and_uniform():
    generator = seed_generator()
    angles = np.concatenate([ops.convert_to_numpy(spaced_angles(8, generator)) for _ in range(200)], axis=1)
    np.testing.assert_allclose(np.diff(angles, axis=0), np.pi / 16, atol=1e-6)
    assert angles.min() >= 0 and angles.max() < np.pi / 2
    assert abs(angles.mean() - np.pi / 4) < 5 * np.pi / 16 / np.sqrt(12 * 200)


@pytest.mark.parametrize("shape", [(400,), (20, 20, 1), (5, 80)])
def test_loss_of_zero_velocity_is_the_mean_square_of_the_velocity(shape):
    """For data of 0 or of variance 1, the mean square of the velocity is 1/2 or 1."""
    noise = np.random.default_rng(0).standard_normal((64, *shape)).astype("float32")
    for clean, expected in ((0 * noise, 0.5), (noise, 1.0)):
        loss = velocity_loss(constant_network(shape), ops.convert_to_tensor(clean), seed=seed_generator(), training=False)
        assert float(loss) == pytest.approx(expected, rel=0.05)


def test_least_loss_for_standard_normal_data_is_that_of_zero_velocity():
    """Noisy data say nothing about the velocity then: both are rotations of the same two independent numbers."""
    clean = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((256, 200)).astype("float32"))
    losses = [
        float(velocity_loss(constant_network((200,), factor), clean, seed=seed_generator(), training=False))
        for factor in (-0.3, 0.0, 0.3)
    ]
    assert losses[1] < min(losses[0], losses[2])


@pytest.mark.parametrize("dropout", [0.0, 0.4, 1.0])
def test_label_dropout_sets_that_fraction_of_conditions_to_zero(dropout):
    data, angle, condition = keras.Input((1,)), keras.Input((1,)), keras.Input((3,))
    # A network whose output is large if the condition is kept, and zero otherwise.
    total = 100 * ops.sum(condition, axis=-1, keepdims=True) + 0 * data + 0 * angle
    network = keras.Model([data, angle, condition], total)
    rows = ops.convert_to_tensor(np.eye(3, dtype="float32")[np.arange(3000) % 3])
    options = {"seed": seed_generator(), "label_dropout": dropout, "training": False}
    loss = float(velocity_loss(network, ops.zeros((3000, 1)), rows, **options))
    assert loss / 100**2 == pytest.approx(1 - dropout, abs=0.04)


def test_vector_network_is_zero_before_training_and_depends_on_all_inputs_later():
    network = vector_network(4, num_classes=3, width=16, blocks=2)
    inputs = [np.ones((2, 4), "float32"), np.full((2, 1), 0.3, "float32"), np.eye(3, dtype="float32")[:2]]
    assert not ops.convert_to_numpy(network(inputs)).any()
    for index, weight in enumerate(network.weights):
        weight.assign(weight + 0.3 * keras.random.normal(weight.shape, seed=index))
    before = ops.convert_to_numpy(network(inputs))
    for index in range(3):
        changed = [array + (0.5 if which == index else 0) for which, array in enumerate(inputs)]
        assert np.abs(ops.convert_to_numpy(network(changed)) - before).max() > 1e-3
    with pytest.raises(ValueError, match="width is 0"):
        vector_network(4, width=0)
