import keras
import numpy as np
import pytest
import scipy.special
from helpers import gradients
from keras import ops

from imggen_lib.backend import input_gradient
from imggen_lib.models.gan import losses


def test_non_saturating_losses_are_binary_cross_entropy(rng):
    real, fake = (ops.convert_to_tensor(rng.normal(0, 3, (20, 1)), "float32") for _ in range(2))
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = entropy(np.ones((20, 1)), real) + entropy(np.zeros((20, 1)), fake)
    assert float(losses.discriminator_loss(real, fake)) == pytest.approx(float(expected), rel=1e-5)
    assert float(losses.generator_loss(fake)) == pytest.approx(float(entropy(np.ones((20, 1)), fake)), rel=1e-5)


def test_losses_stay_finite_for_large_logits():
    """-log D = softplus(-logit) grows linearly, where log(sigmoid(logit)) would be log(0)."""
    assert float(losses.generator_loss(ops.full((1, 1), -1000.0))) == pytest.approx(1000)
    assert float(losses.discriminator_loss(ops.full((1, 1), 1000.0), ops.full((1, 1), -1000.0))) == pytest.approx(0)


def test_named_losses_equal_their_formulas(rng):
    real, fake = rng.normal(0, 2, (2, 50, 1))
    d_real, d_fake = (scipy.special.expit(logits) for logits in (real, fake))
    cross_entropy = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    expected = {
        "non_saturating": (-np.log(d_fake).mean(), cross_entropy),
        "minimax": (np.log(1 - d_fake).mean(), cross_entropy),
        "hinge": (-fake.mean(), np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()),
        "wasserstein": (-fake.mean(), fake.mean() - real.mean()),
        "relativistic": (np.log1p(np.exp(real - fake)).mean(), np.log1p(np.exp(fake - real)).mean()),
    }
    assert set(expected) == set(losses.LOSSES)
    real, fake = ops.convert_to_tensor(real, "float32"), ops.convert_to_tensor(fake, "float32")
    for name, (_, of_discriminator) in losses.LOSSES.items():
        assert float(losses.generator_loss_by_name(name, fake, real)) == pytest.approx(expected[name][0], rel=1e-4), name
        assert float(of_discriminator(real, fake)) == pytest.approx(expected[name][1], rel=1e-4), name


@pytest.mark.parametrize("name", losses.LOSSES)
def test_generator_and_discriminator_move_the_logit_of_generated_images_in_opposite_directions(name):
    of_discriminator = losses.LOSSES[name][1]
    real, fake = ops.zeros((3, 1)), ops.convert_to_tensor(np.float32([[-0.5], [0.0], [0.5]]))
    assert (np.asarray(input_gradient(lambda x: losses.generator_loss_by_name(name, x, real), fake)) < 0).all()
    assert (np.asarray(input_gradient(lambda x: of_discriminator(real, x), fake)) > 0).all()
    assert (np.asarray(input_gradient(lambda x: of_discriminator(x, fake), real)) < 0).all()


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 4, 2)])
def test_penalties_of_a_linear_critic_depend_on_the_norm_of_its_slope(shape, rng):
    slope, real, fake = (rng.normal(size=size).astype("float32") for size in (shape[1:], shape, shape))
    norm = np.linalg.norm(slope)

    def critic(x):
        return ops.sum(x * slope, axis=tuple(range(1, len(shape))))[:, None]

    fraction = rng.uniform(size=(5, *[1] * (len(shape) - 1))).astype("float32")
    real, fake = ops.convert_to_tensor(real), ops.convert_to_tensor(fake)
    assert float(losses.gradient_penalty(critic, real, fake, fraction)) == pytest.approx((norm - 1) ** 2, rel=1e-4)
    assert float(losses.r1_penalty(critic, real)) == pytest.approx(norm**2 / 2, rel=1e-4)


def test_penalties_are_evaluated_between_the_images_and_at_real_images(rng):
    """The gradient of |x|^2 / 2 is x itself."""
    real, fake = rng.normal(size=(2, 6, 3)).astype("float32")
    fraction = rng.uniform(size=(6, 1)).astype("float32")
    between = fraction * real + (1 - fraction) * fake
    real, fake = ops.convert_to_tensor(real), ops.convert_to_tensor(fake)

    def critic(x):
        return ops.sum(x**2, axis=1, keepdims=True) / 2

    expected = np.square(np.linalg.norm(between, axis=1) - 1).mean()
    assert float(losses.gradient_penalty(critic, real, fake, fraction)) == pytest.approx(expected, rel=1e-4)
    expected = np.square(np.linalg.norm(real, axis=1)).mean() / 2
    assert float(losses.r1_penalty(critic, real)) == pytest.approx(expected, rel=1e-4)


def test_a_constant_critic_has_a_finite_penalty_with_a_finite_gradient():
    critic = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    penalty, ((kernel, _),) = gradients(
        lambda: losses.gradient_penalty(critic, ops.ones((2, 1)), ops.zeros((2, 1)), 0.5), critic
    )
    assert penalty == pytest.approx(1, abs=1e-4) and np.isfinite(kernel).all()
