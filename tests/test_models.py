import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops

from imggen_lib import models, pretrained, training
from imggen_lib.backend import input_gradient
from imggen_lib.models import gan as gan_room
from imggen_lib.models.gan import losses as gan_losses
from imggen_lib.models import vae as vae_room


def pictures(n=16, seed=0, shape=(8, 8, 1)):
    return np.random.default_rng(seed).uniform(size=(n, *shape)).astype("float32")


def snapshot(network):
    return [np.array(weight) for weight in network.get_weights()]


def moved(network, before):
    return any((now != then).any() for now, then in zip(snapshot(network), before, strict=True))


# -- the interface ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generators(tiny_gan, tiny_conditional_gan, tiny_vae):
    return {
        "GAN": tiny_gan(),
        "ConditionalGAN": tiny_conditional_gan(),
        "VAE": tiny_vae(),
        "GaussianImageModel": models.GaussianImageModel().fit(pictures()),
    }


@pytest.mark.parametrize("name", ["GAN", "ConditionalGAN", "VAE", "GaussianImageModel"])
def test_samples_are_pictures_fixed_by_their_seed(generators, name):
    model = generators[name]
    images = model.sample(5, seed=3)
    assert images.shape == (5, 8, 8, 1) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(images, model.sample(5, seed=3))
    assert np.abs(images - model.sample(5, seed=4)).max() > 1e-3


@pytest.mark.parametrize("name", ["GAN", "ConditionalGAN", "VAE", "GaussianImageModel"])
def test_fewer_samples_are_the_first_of_more(generators, name):
    np.testing.assert_allclose(generators[name].sample(3, seed=3), generators[name].sample(7, seed=3)[:3], atol=1e-6)


@pytest.mark.parametrize("name", ["GAN", "VAE", "GaussianImageModel"])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0, "seed": 0}, ValueError, "n is 0"),
        ({"n": 2.0, "seed": 0}, TypeError, "n is 2.0"),
        ({"n": 2, "seed": -1}, ValueError, "seed is -1"),
        ({"n": 2, "seed": None}, TypeError, "seed is None"),
        ({"n": 2, "seed": 0, "labels": [0, 1]}, ValueError, "without labels"),
    ],
)
def test_bad_arguments_of_sample_are_named(generators, name, arguments, error, message):
    with pytest.raises(error, match=message):
        generators[name].sample(**arguments)


def test_a_model_that_does_not_say_how_it_draws_is_named():
    class Mute(models.GenerativeModel):
        pass

    with pytest.raises(NotImplementedError, match="Mute does not say how it draws"):
        Mute().sample(1, seed=0)


@pytest.mark.parametrize("name", ["GAN", "ConditionalGAN", "VAE"])
def test_a_saved_model_draws_the_same_pictures(generators, name, tmp_path):
    generators[name].save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(generators[name])
    np.testing.assert_array_equal(loaded.sample(4, seed=0), generators[name].sample(4, seed=0))


# -- GAN -------------------------------------------------------------------------------------------------------------


def gradients(function, *parts):
    """The value of a function without arguments, and for each network its gradients by the network's weights."""
    variables = [part.trainable_variables for part in parts]
    if keras.backend.backend() == "jax":
        import jax

        def at(values):
            pairs = [pair for some, new in zip(variables, values, strict=True) for pair in zip(some, new, strict=True)]
            with keras.StatelessScope(state_mapping=pairs):
                return function()

        value, found = jax.value_and_grad(at)([[variable.value for variable in some] for some in variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        values = [[variable.value for variable in some] for some in variables]
        found = tape.gradient(value, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return float(value), [[np.asarray(gradient) for gradient in some] for some in found]


def test_one_loss_gives_each_network_the_gradient_of_its_own_loss_alone():
    """The heart of the GAN: held against each network's own loss alone, on the same latent vectors."""
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,))
    gan = models.GAN(generator, discriminator)
    real = ops.convert_to_tensor(pictures())
    state = np.array(gan.noise.state)
    # The latent vectors that compute_loss is going to draw.
    latent = keras.random.normal((len(real), 3), seed=gan.noise)
    gan.noise.state.assign(state)

    loss, ours = gradients(lambda: gan.compute_loss(x=real, y_pred=gan(real, training=True)), generator, discriminator)

    def for_generator():
        return gan_room.generator_loss(discriminator(generator(latent, training=True), training=True))

    def for_discriminator():
        fake = ops.stop_gradient(generator(latent, training=True))
        return gan_room.discriminator_loss(discriminator(real, training=True), discriminator(fake, training=True))

    of_generator, theirs = gradients(for_generator, generator)
    of_discriminator, others = gradients(for_discriminator, discriminator)
    assert loss == pytest.approx(of_generator + of_discriminator, rel=1e-6)
    for network_ours, network_theirs in zip(ours, theirs + others, strict=True):
        assert max(np.abs(gradient).max() for gradient in network_theirs) > 1e-3
        for a, b in zip(network_ours, network_theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_the_losses_are_binary_cross_entropy(rng):
    real, fake = (ops.convert_to_tensor(rng.normal(0, 3, (20, 1)), "float32") for _ in range(2))
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = entropy(np.ones((20, 1)), real) + entropy(np.zeros((20, 1)), fake)
    assert float(gan_room.discriminator_loss(real, fake)) == pytest.approx(float(expected), rel=1e-5)
    assert float(gan_room.generator_loss(fake)) == pytest.approx(float(entropy(np.ones((20, 1)), fake)), rel=1e-5)


def test_the_losses_stay_finite_where_the_discriminator_is_certain():
    """-log D = softplus(-logit) grows like the logit itself, where log(sigmoid) would be log(0)."""
    assert float(gan_room.generator_loss(ops.full((1, 1), -1000.0))) == pytest.approx(1000)
    assert float(gan_room.discriminator_loss(ops.full((1, 1), 1000.0), ops.full((1, 1), -1000.0))) == pytest.approx(0)


def test_a_frozen_call_passes_the_gradient_to_its_input_and_not_to_its_weights():
    network = models.image_discriminator((8, 8, 1), filters=(4,))
    inputs = ops.convert_to_tensor(pictures(3))

    def frozen(x):
        return gan_room.frozen_call(network, x, training=True)

    def plain(x):
        with keras.StatelessScope():  # keeps what batch normalisation notes from leaving JAX's transformation
            return network(x, training=True)

    np.testing.assert_allclose(frozen(inputs), plain(inputs), rtol=1e-6)
    np.testing.assert_allclose(input_gradient(frozen, inputs), input_gradient(plain, inputs), rtol=1e-5, atol=1e-8)
    assert not any(gradient.any() for gradient in gradients(lambda: ops.sum(frozen(inputs)), network)[1][0])
    assert any(gradient.any() for gradient in gradients(lambda: ops.sum(network(inputs, training=True)), network)[1][0])


def test_a_frozen_call_leaves_batch_statistics_alone():
    network = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    before = snapshot(network)
    gan_room.frozen_call(network, ops.ones((4, 2)) * 5, training=True)
    assert not moved(network, before)


def test_training_moves_both_networks_and_the_average(tiny_gan):
    gan = tiny_gan()
    parts = [gan.generator, gan.discriminator, gan.average.network]
    before = [snapshot(part) for part in parts]
    history = gan.fit(pictures(32), batch_size=8, epochs=2, verbose=0).history
    assert all(moved(part, then) for part, then in zip(parts, before, strict=True))
    assert set(history) == {"loss", "generator_loss", "discriminator_loss"}
    total = np.add(history["generator_loss"], history["discriminator_loss"])
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)


def test_evaluation_moves_nothing(tiny_gan):
    gan = tiny_gan()
    before = snapshot(gan)
    assert np.isfinite(gan.evaluate(pictures(), verbose=0)).all()
    assert not moved(gan, before)


def test_a_gan_learns_pictures_that_are_all_the_same_grey(tiny_gan):
    gan = tiny_gan(ema_momentum=0.9)
    gan.compile(optimizer=keras.optimizers.Adam(5e-3, beta_1=0.5))
    grey = np.full((1024, 8, 8, 1), 0.2, "float32")
    before = np.abs(gan.sample(64, seed=0) - 0.2).mean()
    gan.fit(grey, batch_size=32, epochs=8, verbose=0)
    assert before > 0.2 and np.abs(gan.sample(64, seed=0) - 0.2).mean() < 0.1


@pytest.mark.parametrize("momentum", [0.0, 0.05, 0.5, 0.999])
def test_the_moving_average_follows_its_formula(momentum):
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


def test_the_moving_average_of_a_network_at_rest_is_that_network(tiny_gan):
    gan = tiny_gan()
    before = snapshot(gan.generator)
    gan.average.update(gan.generator)
    for mean, weight in zip(gan.average.network.get_weights(), before, strict=True):
        np.testing.assert_allclose(mean, weight, rtol=1e-6, atol=1e-8)
    assert gan.average.trainable_variables == []


def test_a_gan_refuses_networks_that_do_not_fit():
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    with pytest.raises(ValueError, match=r"pictures of shape \(8, 8, 1\) and the discriminator takes \(8, 8, 3\)"):
        models.GAN(generator, models.image_discriminator((8, 8, 3), filters=(4,)))
    with pytest.raises(ValueError, match="expected one logit"):
        models.GAN(generator, models.image_features((8, 8, 1), 5))


def test_generate_refuses_vectors_of_another_length(generators):
    with pytest.raises(ValueError, match=r"latent has the shape \(2, 4\); expected \(n, 3\)"):
        generators["GAN"].generate(np.zeros((2, 4)))


# -- GAN: losses and penalties ---------------------------------------------------------------------------------------


def test_the_pairs_of_losses_equal_their_formulas(rng):
    real, fake = rng.normal(0, 2, (2, 50, 1))
    d_real, d_fake = (scipy.special.expit(logits) for logits in (real, fake))
    cross_entropy = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    expected = {
        "non_saturating": (-np.log(d_fake).mean(), cross_entropy),
        "minimax": (np.log(1 - d_fake).mean(), cross_entropy),
        "hinge": (-fake.mean(), np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()),
        "wasserstein": (-fake.mean(), fake.mean() - real.mean()),
    }
    assert set(expected) == set(gan_losses.LOSSES)
    real, fake = ops.convert_to_tensor(real, "float32"), ops.convert_to_tensor(fake, "float32")
    for name, (of_generator, of_discriminator) in gan_losses.LOSSES.items():
        assert float(of_generator(fake)) == pytest.approx(expected[name][0], rel=1e-4), name
        assert float(of_discriminator(real, fake)) == pytest.approx(expected[name][1], rel=1e-4), name


@pytest.mark.parametrize("name", gan_losses.LOSSES)
def test_every_generator_wants_a_higher_verdict_and_every_discriminator_a_lower_one(name):
    """The two losses of a pair oppose each other: the mistake of a document was that they did not."""
    of_generator, of_discriminator = gan_losses.LOSSES[name]
    real, fake = ops.zeros((3, 1)), ops.convert_to_tensor(np.float32([[-0.5], [0.0], [0.5]]))
    assert (np.asarray(input_gradient(of_generator, fake)) < 0).all()
    assert (np.asarray(input_gradient(lambda x: of_discriminator(real, x), fake)) > 0).all()
    assert (np.asarray(input_gradient(lambda x: of_discriminator(x, fake), real)) < 0).all()


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 4, 2)])
def test_penalties_of_a_linear_critic_are_those_of_the_length_of_its_slope(shape, rng):
    slope, real, fake = (rng.normal(size=size).astype("float32") for size in (shape[1:], shape, shape))
    length = np.linalg.norm(slope)

    def critic(x):
        return ops.sum(x * slope, axis=tuple(range(1, len(shape))))[:, None]

    share = rng.uniform(size=(5, *[1] * (len(shape) - 1))).astype("float32")
    real, fake = ops.convert_to_tensor(real), ops.convert_to_tensor(fake)
    assert float(gan_losses.gradient_penalty(critic, real, fake, share)) == pytest.approx((length - 1) ** 2, rel=1e-4)
    assert float(gan_losses.r1_penalty(critic, real)) == pytest.approx(length**2 / 2, rel=1e-4)


def test_each_penalty_looks_where_it_should(rng):
    """The slope of |x|^2 / 2 is x itself."""
    real, fake = rng.normal(size=(2, 6, 3)).astype("float32")
    share = rng.uniform(size=(6, 1)).astype("float32")
    between = share * real + (1 - share) * fake
    real, fake = ops.convert_to_tensor(real), ops.convert_to_tensor(fake)

    def critic(x):
        return ops.sum(x**2, axis=1, keepdims=True) / 2

    expected = np.square(np.linalg.norm(between, axis=1) - 1).mean()
    assert float(gan_losses.gradient_penalty(critic, real, fake, share)) == pytest.approx(expected, rel=1e-4)
    expected = np.square(np.linalg.norm(real, axis=1)).mean() / 2
    assert float(gan_losses.r1_penalty(critic, real)) == pytest.approx(expected, rel=1e-4)


def test_a_flat_critic_has_a_finite_penalty_with_a_finite_gradient():
    critic = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    penalty, ((slope, _),) = gradients(
        lambda: gan_losses.gradient_penalty(critic, ops.ones((2, 1)), ops.zeros((2, 1)), 0.5), critic
    )
    assert penalty == pytest.approx(1, abs=1e-4) and np.isfinite(slope).all()


@pytest.mark.parametrize("penalty", ["gradient", "r1"])
def test_a_penalty_is_felt_by_the_discriminator_alone(penalty):
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False)
    found = {}
    for weight in (0.0, 5.0):
        gan = models.GAN(generator, discriminator, penalty=penalty, penalty_weight=weight)
        real = ops.convert_to_tensor(pictures())
        loss, found[weight] = gradients(
            lambda gan=gan, real=real: gan.compute_loss(x=real, y_pred=gan(real, training=True)), generator, discriminator
        )
        assert np.isfinite(loss)
    for without, punished in zip(found[0.0][0], found[5.0][0], strict=True):
        np.testing.assert_allclose(without, punished, rtol=1e-5, atol=1e-8)
    kernels = [(a, b) for a, b in zip(found[0.0][1], found[5.0][1], strict=True) if len(a.shape) > 1]
    assert all(np.abs(a - b).max() > 1e-5 for a, b in kernels)


@pytest.mark.parametrize(("loss", "penalty"), [("hinge", "r1"), ("wasserstein", "gradient"), ("minimax", None)])
def test_a_gan_with_any_loss_trains_saves_and_says_what_it_lost(tiny_gan, tmp_path, loss, penalty):
    gan = tiny_gan(loss=loss, penalty=penalty, penalty_weight=2.0)
    parts = [gan.generator, gan.discriminator]
    before = [snapshot(part) for part in parts]
    history = gan.fit(pictures(32), batch_size=8, verbose=0).history
    assert all(moved(part, then) for part, then in zip(parts, before, strict=True))
    terms = history["generator_loss"][0] + history["discriminator_loss"][0] + 2 * history.get("penalty", [0])[0]
    assert history["loss"][0] == pytest.approx(terms, rel=1e-5)
    assert ("penalty" in history) == (penalty is not None)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert (loaded.game, loaded.penalty, loaded.penalty_weight) == (loss, penalty, 2.0)


def test_a_spectrally_normalised_gan_trains_and_stays_normalised(tmp_path):
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False, spectral_norm=True)
    gan = models.GAN(generator, discriminator, loss="hinge")
    gan.compile(optimizer=keras.optimizers.Adam(1e-3), steps_per_execution=30)
    gan.fit(pictures(480), batch_size=8, verbose=0)
    gan(pictures(), training=True)
    for layer in discriminator.layers:
        if isinstance(layer, keras.layers.SpectralNormalization):
            matrix = np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1])
            assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=0.05)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(loaded.sample(2, seed=0), gan.sample(2, seed=0))


def line_game(mean, std, *, learns, **options):
    """A GAN on the line: the generator is x = mean + std z, the discriminator a logit w0 + w1 x + w2 x^2.

    The data are standard normal. For Gaussians log p - log q is such a polynomial, so the best one is among these.
    """
    latent, x = keras.Input((1,)), keras.Input((1,))
    generator = keras.Model(latent, keras.layers.Dense(1)(latent))
    generator.set_weights([np.array([[std]]), np.array([mean])])
    generator.trainable = learns
    logit = keras.layers.Dense(1, kernel_initializer="zeros")(
        keras.layers.Concatenate()([x, keras.layers.Multiply()([x, x])])
    )
    gan = models.GAN(generator, keras.Model(x, logit), **options)
    rate = keras.optimizers.schedules.CosineDecay(0.03, 1200)
    gan.compile(optimizer=keras.optimizers.Adam(rate, beta_1=0.5), steps_per_execution=100)
    data = np.random.default_rng(0).standard_normal((1200 * 256, 1)).astype("float32")
    gan.fit(data, batch_size=256, verbose=0)
    return gan


def test_the_best_discriminator_is_the_share_of_the_real_density():
    gan = line_game(1.0, 0.7, learns=False)
    x = np.linspace(-3, 3, 61)
    p, q = scipy.stats.norm.pdf(x), scipy.stats.norm.pdf(x, 1.0, 0.7)
    found = scipy.special.expit(gan.predict(x[:, None].astype("float32"), verbose=0)[:, 0])
    # Judged where there is anything to see.
    seen = p + q > 0.05
    np.testing.assert_allclose(found[seen], (p / (p + q))[seen], atol=0.02)


@pytest.mark.parametrize("loss", ["non_saturating", "minimax"])
def test_at_the_equilibrium_the_value_of_the_game_is_minus_log_4(loss):
    gan = line_game(1.0, 0.7, learns=True, loss=loss, penalty="r1", penalty_weight=0.1, ema_momentum=0.99)
    std, mean = (float(weight.squeeze()) for weight in gan.average.network.get_weights())
    assert mean == pytest.approx(0, abs=0.1) and abs(std) == pytest.approx(1, abs=0.1)
    rng = np.random.default_rng(1)
    real, fake = rng.standard_normal((20_000, 1)), mean + std * rng.standard_normal((20_000, 1))
    logits = (gan.predict(x.astype("float32"), batch_size=4096, verbose=0) for x in (real, fake))
    assert -float(gan_losses.discriminator_loss(*logits)) == pytest.approx(-np.log(4), abs=0.02)


def test_a_gan_names_what_it_cannot_play():
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    plain = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False)
    for options, message in (
        ({"loss": "bce"}, "loss is 'bce'; expected one of non_saturating, minimax, hinge, wasserstein"),
        ({"penalty": "r2"}, "penalty is 'r2'; expected one of None, gradient, r1"),
        ({"penalty": "r1", "penalty_weight": -1}, "penalty_weight is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            models.GAN(generator, plain, **options)
    with pytest.raises(ValueError, match="build the discriminator with batch_norm=False"):
        models.GAN(generator, models.image_discriminator((8, 8, 1), filters=(4,)), penalty="gradient")


# -- conditional GAN -------------------------------------------------------------------------------------------------


def test_one_loss_gives_each_conditional_network_the_gradient_of_its_own_loss_alone():
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,), num_classes=3)
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), num_classes=3)
    gan = models.ConditionalGAN(generator, discriminator)
    real, labels = ops.convert_to_tensor(pictures()), np.arange(16) % 3
    state = np.array(gan.noise.state)
    latent = keras.random.normal((16, 3), seed=gan.noise)
    gan.noise.state.assign(state)

    def together():
        return gan.compute_loss(x=real, y=labels, y_pred=gan(real, training=True))

    def verdict(images):
        return ops.take_along_axis(discriminator(images, training=True), labels[:, None], axis=1)[:, 0]

    def fake():
        return generator(ops.concatenate([latent, np.eye(3, dtype="float32")[labels]], axis=1), training=True)

    def for_discriminator():
        return gan_room.discriminator_loss(verdict(real), verdict(ops.stop_gradient(fake())))

    loss, ours = gradients(together, generator, discriminator)
    of_generator, theirs = gradients(lambda: gan_room.generator_loss(verdict(fake())), generator)
    of_discriminator, others = gradients(for_discriminator, discriminator)
    assert loss == pytest.approx(of_generator + of_discriminator, rel=1e-6)
    for network_ours, network_theirs in zip(ours, theirs + others, strict=True):
        for a, b in zip(network_ours, network_theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_the_label_decides_what_is_drawn_and_the_seed_the_rest(generators):
    gan = generators["ConditionalGAN"]
    labels = np.array([0, 2, 1, 2])
    images = gan.sample(4, seed=0, labels=labels)
    np.testing.assert_array_equal(images, gan.sample(4, seed=0, labels=labels.tolist()))
    for label in range(3):
        all_the_same = gan.sample(4, seed=0, labels=label)
        np.testing.assert_allclose(images[labels == label], all_the_same[labels == label], atol=1e-6)
        assert np.abs(images - all_the_same)[labels != label].max() > 1e-4


def test_without_labels_the_classes_are_drawn_uniformly(generators):
    gan = generators["ConditionalGAN"]
    seen = []
    plain, gan.generate = gan.generate, lambda latent, labels: seen.extend(labels) or plain(latent[:1], labels[:1])
    try:
        gan.sample(3000, seed=0)
    finally:
        del gan.generate
    np.testing.assert_allclose(np.bincount(seen, minlength=3), 1000, atol=100)


def test_a_conditional_gan_learns_which_class_is_dark(tiny_conditional_gan):
    gan = tiny_conditional_gan(ema_momentum=0.9)
    gan.compile(optimizer=keras.optimizers.Adam(5e-3, beta_1=0.5), steps_per_execution=24)
    labels = np.arange(768) % 3
    grey = (0.1 + 0.4 * labels)[:, None, None, None] * np.ones((1, 8, 8, 1))
    gan.fit(grey.astype("float32"), labels, batch_size=32, epochs=8, verbose=0)
    for label in range(3):
        assert gan.sample(32, seed=0, labels=label).mean() == pytest.approx(0.1 + 0.4 * label, abs=0.12)


def test_a_loaded_conditional_gan_has_its_classes_and_trains_on(tiny_conditional_gan, tmp_path):
    gan = tiny_conditional_gan(loss="hinge", penalty="r1")
    gan.fit(pictures(), np.arange(16) % 3, verbose=0)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert (loaded.num_classes, loaded.latent_dim, loaded.game) == (3, 3, "hinge")
    np.testing.assert_array_equal(loaded.sample(3, seed=0, labels=2), gan.sample(3, seed=0, labels=2))
    loaded.fit(pictures(), np.arange(16) % 3, verbose=0)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((8, 8, 8, 1), "uint8"), TypeError, "x has the dtype uint8; .*img_as_float32"),
        (np.full((8, 8, 8, 1), 255.0), ValueError, "x has values from 255 to 255; expected"),
        (np.full((8, 8, 8, 1), -1.0), ValueError, "x has values from -1 to -1; expected"),
    ],
)
def test_pictures_on_another_scale_are_refused_before_training(tiny_vae, images, error, message):
    with pytest.raises(error, match=message):
        tiny_vae().fit(images, verbose=0)


@pytest.mark.parametrize("weights", [{"sample_weight": np.ones(8)}, {"class_weight": {0: 1.0}}])
def test_weights_of_samples_are_refused_since_no_loss_uses_them(tiny_vae, weights):
    with pytest.raises(ValueError, match="leave them out"):
        tiny_vae().fit(np.zeros((8, 8, 8, 1)), verbose=0, **weights)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (3, ValueError, "labels holds 3 to 3; expected classes from 0 to 2"),
        ([0, -1], ValueError, "labels holds -1 to 0"),
        ([0, 1, 2], ValueError, r"labels has the shape \(3,\); expected one class, or \(2,\)"),
        ([0.0, 1.0], TypeError, "labels has the dtype float64"),
        ("shoe", TypeError, "expected whole numbers"),
    ],
)
def test_labels_that_are_no_classes_are_refused(generators, labels, error, message):
    with pytest.raises(error, match=message):
        generators["ConditionalGAN"].sample(2, seed=0, labels=labels)
    if not np.isscalar(labels):
        with pytest.raises(error, match=message.replace("or \\(2,", "or \\(3,") if len(labels) == 2 else "labels"):
            generators["ConditionalGAN"].fit(pictures(len(labels)), np.array(labels) + (len(labels) == 3), verbose=0)


def test_a_conditional_gan_is_trained_with_labels(tiny_conditional_gan):
    with pytest.raises(ValueError, match=r"expected fit\(images, labels\)"):
        tiny_conditional_gan().fit(pictures(), verbose=0)


def test_a_conditional_gan_refuses_networks_without_classes():
    conditional = models.image_discriminator((8, 8, 1), filters=(4,), num_classes=3)
    with pytest.raises(ValueError, match="takes 3 numbers and the discriminator has 3 classes"):
        models.ConditionalGAN(models.image_generator((8, 8, 1), 3, filters=(4,)), conditional)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,), num_classes=3)
    with pytest.raises(ValueError, match=r"output is \(1,\); expected one logit for each class"):
        models.ConditionalGAN(generator, models.image_discriminator((8, 8, 1), filters=(4,)))
    with pytest.raises(ValueError, match="build both for the same image_shape"):
        models.ConditionalGAN(generator, models.image_discriminator((8, 8, 3), filters=(4,), num_classes=3))


# -- VAE -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, 0.0), (0.0, -2.0), (-0.7, 1.0)])
def test_the_kl_term_equals_the_integral_that_it_stands_for(mean, log_variance):
    q, p = scipy.stats.norm(mean, np.exp(log_variance / 2)), scipy.stats.norm()
    z = np.linspace(-30, 30, 200_001)
    expected = np.trapezoid(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), z)
    ours = vae_room.kl_to_standard_normal(ops.full((1, 1), mean), ops.full((1, 1), log_variance))
    assert float(ours[0]) == pytest.approx(expected, abs=1e-5)


def test_the_kl_term_adds_up_over_the_latent_numbers_and_not_over_the_batch(rng):
    mean, log_variance = (rng.normal(size=(3, 4)).astype("float32") for _ in range(2))
    parts = [vae_room.kl_to_standard_normal(mean[:, [i]], log_variance[:, [i]]) for i in range(4)]
    np.testing.assert_allclose(vae_room.kl_to_standard_normal(mean, log_variance), np.sum(parts, axis=0), rtol=1e-5)


def test_the_gaussian_log_density_agrees_with_scipy(rng):
    images, mean = rng.normal(size=(2, 3, 4, 5, 2))
    ours = vae_room.gaussian_log_density(images.astype("float32"), mean.astype("float32"), np.float32(-0.7))
    expected = scipy.stats.norm(mean, np.exp(-0.7)).logpdf(images).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def constant_vae(value=0.5, **options):
    """A VAE whose decoder draws one grey whatever the code, so that log p(x) is known exactly."""
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(64, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(value)),
            keras.layers.Reshape((8, 8, 1)),
        ]
    )
    decoder.trainable = False
    return models.VAE(models.image_encoder((8, 8, 1), 2, filters=(4,)), decoder, **options)


def test_the_bound_is_the_likelihood_minus_the_kl_term_where_the_decoder_ignores_the_code():
    vae, images = constant_vae(), pictures(6)
    log_std = float(ops.convert_to_numpy(vae.log_std))
    log_likelihood = scipy.stats.norm(0.5, np.exp(log_std)).logpdf(images).sum(axis=(1, 2, 3))
    mean, std = vae.encode(images)
    kl = 0.5 * (mean**2 + std**2 - 2 * np.log(std) - 1).sum(axis=1)
    bound = vae.log_prob_lower_bound(images, seed=0)
    np.testing.assert_allclose(bound, log_likelihood - kl, rtol=1e-5)
    assert (bound <= log_likelihood).all() and bound.shape == (6,)


def linear_vae():
    """x = 0.5 + 0.1 z on one pixel, with noise of standard deviation 0.2: then p(x) and p(z|x) are Gaussian, and known."""
    image = keras.Input((1, 1, 1))
    x = keras.layers.Flatten()(image)
    zeros = keras.layers.Dense(1, kernel_initializer="zeros")(x)
    encoder = keras.Model(image, [keras.layers.Dense(1)(x), zeros])
    decoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), keras.layers.Reshape((1, 1, 1))])
    decoder.set_weights([np.array([[0.1]]), np.array([0.5])])
    vae = models.VAE(encoder, decoder)
    vae.log_std.assign(np.log(0.2))
    # The posterior has precision 1 + 0.1^2 / 0.2^2 = 1.25 and mean 0.1 (x - 0.5) / 0.2^2 / 1.25 = 2 (x - 0.5).
    posterior = [np.zeros((1, 1)), np.array([-np.log(1.25)]), np.array([[2.0]]), np.array([-1.0])]
    shapes = [weight.shape for weight in encoder.get_weights()]
    assert shapes == [array.shape for array in posterior]
    by_output = {encoder.outputs[0].name: posterior[2:], encoder.outputs[1].name: posterior[:2]}
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.set_weights(by_output[layer.output.name])
    return vae, scipy.stats.norm(0.5, np.sqrt(0.1**2 + 0.2**2))


def test_the_bound_is_tight_for_the_true_posterior_and_below_the_truth_for_another():
    """In a linear model the bound averaged over codes is log p(x) if q is the posterior, and less by its KL if not."""
    vae, truth = linear_vae()
    images = np.repeat(np.float32([0.3, 0.5, 0.9]), 4000).reshape(-1, 1, 1, 1)
    expected = truth.logpdf([0.3, 0.5, 0.9])
    bound = vae.log_prob_lower_bound(images, seed=0).reshape(3, -1)
    np.testing.assert_allclose(bound.mean(axis=1), expected, atol=0.02)

    wrong_mean = [layer for layer in vae.encoder.layers if isinstance(layer, keras.layers.Dense)]
    for layer in wrong_mean:
        kernel, bias = layer.get_weights()
        if kernel.any():
            layer.set_weights([kernel, bias + 1])
    # Both Gaussians have variance 0.8, and their means are 1 apart: KL = 1 / (2 * 0.8).
    bound = vae.log_prob_lower_bound(images, seed=0).reshape(3, -1)
    np.testing.assert_allclose(bound.mean(axis=1), expected - 0.625, atol=0.04)


def test_the_loss_is_the_negative_bound(tiny_vae):
    vae, images = tiny_vae(), pictures(64)
    repeated = np.repeat(images[:1], 4000, axis=0)
    loss = vae.evaluate(repeated, batch_size=1000, verbose=0, return_dict=True)
    assert loss["loss"] == pytest.approx(loss["distortion"] + loss["rate"], rel=1e-5)
    assert -loss["loss"] == pytest.approx(vae.log_prob_lower_bound(repeated, seed=0).mean(), rel=0.01)


def test_beta_weighs_the_kl_term():
    images = pictures(8)
    losses = {}
    for beta in (0.0, 1.0, 4.0):
        keras.utils.set_random_seed(0)
        vae = constant_vae(beta=beta)
        vae.compile(run_eagerly=True)
        losses[beta] = vae.evaluate(images, verbose=0, return_dict=True)
    rate = losses[1.0]["rate"]
    assert rate > 0
    for beta, logs in losses.items():
        assert logs["loss"] == pytest.approx(losses[0.0]["distortion"] + beta * rate, rel=1e-4)


def test_the_noise_level_is_learned():
    """Its best value is the root mean square of what the decoder gets wrong: 0.1 here."""
    vae = constant_vae(beta=0.0)
    assert any(variable is vae.log_std for variable in vae.trainable_variables)
    vae.compile(optimizer=keras.optimizers.Adam(0.05))
    noisy = np.clip(np.random.default_rng(0).normal(0.5, 0.1, (512, 8, 8, 1)), 0, 1).astype("float32")
    vae.fit(noisy, batch_size=64, epochs=12, verbose=0)
    assert np.exp(float(ops.convert_to_numpy(vae.log_std))) == pytest.approx(0.1, rel=0.05)


def test_training_moves_encoder_decoder_and_noise_level(tiny_vae):
    vae = tiny_vae()
    before = snapshot(vae.encoder), snapshot(vae.decoder), float(ops.convert_to_numpy(vae.log_std))
    history = vae.fit(pictures(32), batch_size=8, verbose=0).history
    assert moved(vae.encoder, before[0]) and moved(vae.decoder, before[1])
    assert float(ops.convert_to_numpy(vae.log_std)) != before[2]
    assert set(history) == {"loss", "distortion", "rate"}


def test_reconstruction_is_the_decoded_mean_of_the_code(generators):
    vae, images = generators["VAE"], pictures(3)
    mean, std = vae.encode(images)
    assert mean.shape == std.shape == (3, 2) and (std > 0).all()
    np.testing.assert_array_equal(vae.reconstruct(images), vae.decode(mean))


def test_a_loaded_vae_has_the_same_bound(tiny_vae, tmp_path):
    vae = tiny_vae(beta=2.0)
    vae.log_std.assign(-2.0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.beta == 2.0
    images = pictures(4)
    np.testing.assert_array_equal(loaded.log_prob_lower_bound(images, seed=0), vae.log_prob_lower_bound(images, seed=0))


def test_a_vae_refuses_what_does_not_fit(generators):
    encoder = models.image_encoder((8, 8, 1), 2, filters=(4,))
    with pytest.raises(ValueError, match="build both for the same latent_dim"):
        models.VAE(encoder, models.image_generator((8, 8, 1), 3, filters=(4,)))
    with pytest.raises(ValueError, match="build both for the same image_shape"):
        models.VAE(encoder, models.image_generator((8, 8, 3), 2, filters=(4,)))
    with pytest.raises(ValueError, match="beta is -1"):
        models.VAE(encoder, models.image_generator((8, 8, 1), 2, filters=(4,)), beta=-1)
    with pytest.raises(ValueError, match=r"codes has the shape \(1, 3\); expected \(n, 2\)"):
        generators["VAE"].decode(np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"images has the shape \(1, 9, 8, 1\)"):
        generators["VAE"].encode(np.zeros((1, 9, 8, 1)))
    with pytest.raises(TypeError, match="uint8"):
        generators["VAE"].encode(np.zeros((1, 8, 8, 1), "uint8"))


# -- Gaussian --------------------------------------------------------------------------------------------------------


def test_the_gaussians_log_density_agrees_with_scipy():
    images = pictures(40, shape=(2, 3, 1))
    rows = images.reshape(40, -1).astype(float)
    model = models.GaussianImageModel(ridge=0.01).fit(images)
    covariance = np.cov(rows, rowvar=False, bias=True) + 0.01 * np.eye(6)
    expected = scipy.stats.multivariate_normal(rows.mean(axis=0), covariance).logpdf(rows)
    np.testing.assert_allclose(model.log_prob(images), expected, rtol=1e-5)


def test_the_gaussians_samples_have_the_mean_and_covariance_of_the_data():
    rng = np.random.default_rng(0)
    rows = 0.5 + 0.05 * rng.normal(size=(500, 4)) @ np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, -1], [0, 0, 0, 1]])
    samples = models.GaussianImageModel(ridge=1e-12).fit(rows.reshape(-1, 2, 2, 1)).sample(50_000, seed=0).reshape(-1, 4)
    np.testing.assert_allclose(samples.mean(axis=0), rows.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.cov(samples.T), np.cov(rows.T, bias=True), atol=2e-4)


def test_the_gaussian_fitted_by_maximum_likelihood_beats_any_other():
    images = pictures(50, shape=(2, 2, 1))
    fitted = models.GaussianImageModel(ridge=1e-12).fit(images)
    best = fitted.log_prob(images).mean()
    for ridge in (1e-3, 1e-2):
        assert models.GaussianImageModel(ridge=ridge).fit(images).log_prob(images).mean() < best


def test_the_gaussian_names_what_is_wrong():
    with pytest.raises(ValueError, match="call fit"):
        models.GaussianImageModel().sample(1, seed=0)
    with pytest.raises(ValueError, match="call fit"):
        models.GaussianImageModel().log_prob(pictures(2))
    with pytest.raises(ValueError, match="at least two pictures"):
        models.GaussianImageModel().fit(pictures(1))
    with pytest.raises(ValueError, match="ridge is -1"):
        models.GaussianImageModel(ridge=-1)
    with pytest.raises(ValueError, match=r"expected \(n, 8, 8, 1\)"):
        models.GaussianImageModel().fit(pictures(2)).log_prob(pictures(2, shape=(4, 4, 1)))


# -- classifier ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    model = models.Classifier(models.image_features((8, 8, 1), 16, filters=(8, 8)), 10)
    model.compile(optimizer=keras.optimizers.Adam(5e-3))
    return model


def test_a_classifier_learns_the_digits(classifier, digits):
    classifier.fit(digits.x_train, digits.y_train, batch_size=32, epochs=3, verbose=0)
    right = classifier.classify(digits.x_test).argmax(axis=1) == digits.y_test
    assert right.mean() > 0.8
    assert classifier.evaluate(digits.x_test, digits.y_test, verbose=0)[1] == pytest.approx(right.mean(), abs=1e-6)


def test_class_probabilities_are_the_softmax_of_the_logits(classifier, digits):
    images = digits.x_test[:20]
    expected = ops.softmax(classifier.predict(images, verbose=0))
    np.testing.assert_allclose(classifier.classify(images), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(classifier.classify(images).sum(axis=1), 1, rtol=1e-5)


def test_a_saved_classifier_gives_the_same_features(classifier, digits, tmp_path):
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(loaded.features(digits.x_test[:5]), classifier.features(digits.x_test[:5]))


def test_features_do_not_depend_on_what_else_is_in_the_batch(classifier, digits):
    alone = np.concatenate([classifier.features(digits.x_test[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(classifier.features(digits.x_test[:50])[:3], alone, atol=1e-5)


def test_a_classifier_names_what_is_wrong(classifier):
    with pytest.raises(ValueError, match=r"pictures of shape \(8, 8, 1\); got \(9, 9, 1\)"):
        classifier.features(np.zeros((1, 9, 9, 1)))
    with pytest.raises(TypeError, match="uint8"):
        classifier.features(np.zeros((1, 8, 8, 1), "uint8"))
    with pytest.raises(ValueError, match="classes is 1"):
        models.Classifier(models.image_features((8, 8, 1), 4), 1)


# -- JAX -------------------------------------------------------------------------------------------------------------


JAX_PROGRAM = """
import json, os, pathlib, signal, sys
import keras, numpy as np
from imggen_lib import datasets, models, pretrained, training

folder = pathlib.Path(sys.argv[1])
digits = datasets.load("digits")
report = {"backend": keras.backend.backend()}
gan = models.GAN(
    models.image_generator((8, 8, 1), 3, filters=(4,)),
    models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False, dropout=0.3),
)
conditional = models.ConditionalGAN(
    models.image_generator((8, 8, 1), 3, filters=(4,), num_classes=3),
    models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False, dropout=0.3, num_classes=3),
)
vae = models.VAE(
    models.image_encoder((8, 8, 1), 2, filters=(4,)),
    models.image_generator((8, 8, 1), 2, filters=(4,), batch_norm=False, name="decoder"),
)
for name, model in (("gan", gan), ("conditionalgan", conditional), ("vae", vae)):
    with np.load(folder / f"{name}.npz") as weights:
        model.set_weights([weights[key] for key in weights.files])
    np.save(folder / f"{name}.npy", model.sample(4, seed=3))
    before = model.get_weights()
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    snapshots = training.Snapshots([0, 4], n=4)
    history = model.fit(digits.x_train[:64], digits.y_train[:64] % 3, batch_size=16, verbose=0, callbacks=[snapshots])
    report[name] = {
        "loss": history.history["loss"][0],
        "moved": sum(bool((a != b).any()) for a, b in zip(before, model.get_weights())) / len(before),
        "snapshots_differ": float(np.abs(snapshots.images[4] - snapshots.images[0]).max()),
        "last_snapshot_is_the_end": bool((snapshots.images[4] == model.sample(4, seed=0)).all()),
    }
    training.save(model, folder / f"{name}_trained.keras", {"steps": 4})
    np.save(folder / f"{name}_trained.npy", model.sample(4, seed=3))

# Every other loss, penalty and normalisation trains; a loss that diverges puts the model back.
for loss, penalty, spectral_norm in (("hinge", "r1", True), ("wasserstein", "gradient", False)):
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    options = {"batch_norm": False, "spectral_norm": spectral_norm, "dropout": 0.3}
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), **options)
    model = models.GAN(generator, discriminator, loss=loss, penalty=penalty)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    before = model.get_weights()
    history = model.fit(digits.x_train[:64], batch_size=16, verbose=0).history
    report[loss] = {
        "terms": {name: values[0] for name, values in history.items()},
        "moved": sum(bool((a != b).any()) for a, b in zip(before, model.get_weights())) / len(before),
    }
    bad, before = np.full((16, 8, 8, 1), np.nan), model.get_weights()
    try:
        model.fit(bad, batch_size=16, verbose=0, callbacks=[training.StopIfDiverged()])
    except training.Diverged as error:
        same = all(bool((a == b).all()) for a, b in zip(before, model.get_weights()))
        report[loss]["diverged"] = [str(error), same]

# A signal in the middle of a training step, where a Ctrl-C almost always falls.
step, record = vae.train_function, {"steps": 0, "seconds": 0.0}

def interrupted(state, iterator):
    result = step(state, iterator)
    os.kill(os.getpid(), signal.SIGINT)
    return result

vae.train_function = interrupted
before = vae.get_weights()
try:
    training.train(vae, digits, record, steps=9, batch_size=16, seed=0, checkpoint=folder / "jax.keras")
    kept = training.load(folder / "jax.keras")[0].get_weights()
    report["interrupted"] = {
        "steps": record["steps"],
        "optimizer": int(vae.optimizer.iterations) - 4,
        "moved": sum(bool((a != b).any()) for a, b in zip(before, kept)) / len(kept),
    }
except Exception as error:
    report["interrupted"] = repr(error)
for name in pretrained.shipped():
    if recipes.get(name).generates:
        np.save(folder / f"shipped_{name}.npy", pretrained.load(name).sample(2, seed=0))
(folder / "report.json").write_text(json.dumps(report))
"""


@pytest.fixture(scope="module")
def jax(tmp_path_factory, generators):
    """What one process with JAX under Keras makes of the weights of this one."""
    folder = tmp_path_factory.mktemp("jax")
    for name in ("GAN", "ConditionalGAN", "VAE"):
        np.savez(folder / f"{name.lower()}.npz", *generators[name].get_weights())
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", JAX_PROGRAM, folder], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads((folder / "report.json").read_text()) | {"folder": folder}


@pytest.mark.parametrize("name", ["GAN", "ConditionalGAN", "VAE"])
def test_the_same_weights_draw_the_same_pictures_on_jax(jax, generators, name):
    assert jax["backend"] == "jax"
    images = np.load(jax["folder"] / f"{name.lower()}.npy")
    np.testing.assert_allclose(images, generators[name].sample(4, seed=3), atol=1e-4)


@pytest.mark.parametrize("name", ["gan", "conditionalgan", "vae"])
def test_models_train_on_jax(jax, name):
    assert np.isfinite(jax[name]["loss"]) and jax[name]["moved"] > 0.9
    assert jax[name]["snapshots_differ"] > 0 and jax[name]["last_snapshot_is_the_end"]


@pytest.mark.parametrize("name", ["hinge", "wasserstein"])
def test_every_loss_and_penalty_trains_on_jax_and_stops_when_it_diverges(jax, name):
    terms = jax[name]["terms"]
    assert np.isfinite(list(terms.values())).all() and jax[name]["moved"] > 0.9
    assert terms["loss"] == pytest.approx(
        terms["generator_loss"] + terms["discriminator_loss"] + 10 * terms.get("penalty", 0), rel=1e-4
    )
    message, same = jax[name]["diverged"]
    assert "training has diverged" in message and same


def test_a_signal_within_a_step_loses_nothing_on_jax(jax):
    assert jax["interrupted"] == {"steps": 1, "optimizer": 1, "moved": 1.0}


@pytest.mark.parametrize("name", ["gan", "conditionalgan", "vae"])
def test_what_jax_has_trained_draws_the_same_pictures_here(jax, name):
    model, record = training.load(jax["folder"] / f"{name}_trained.keras")
    assert record == {"steps": 4} and int(model.optimizer.iterations) == 4
    np.testing.assert_allclose(model.sample(4, seed=3), np.load(jax["folder"] / f"{name}_trained.npy"), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in pretrained.shipped() if recipes.get(name).generates])
def test_shipped_weights_draw_the_same_pictures_on_jax(jax, name):
    ours = pretrained.load(name).sample(2, seed=0)
    np.testing.assert_allclose(np.load(jax["folder"] / f"shipped_{name}.npy"), ours, atol=1e-4)
