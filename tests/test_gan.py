import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from helpers import gradients, has_changed, random_images, weights_of
from keras import ops

from imggen_lib import models
from imggen_lib.backend import input_gradient
from imggen_lib.models.gan import discriminator_loss, frozen_call, generator_loss

# -- frozen_call -----------------------------------------------------------------------------------------------------


def test_frozen_call_passes_gradients_to_the_input_and_not_to_the_weights():
    network = models.image_discriminator((8, 8, 1), filters=(4,))
    inputs = ops.convert_to_tensor(random_images(3))

    def frozen(x):
        return frozen_call(network, x, training=True)

    def plain(x):
        with keras.StatelessScope():  # keeps the update of batch statistics inside JAX's transformation
            return network(x, training=True)

    np.testing.assert_allclose(frozen(inputs), plain(inputs), rtol=1e-6)
    np.testing.assert_allclose(input_gradient(frozen, inputs), input_gradient(plain, inputs), rtol=1e-5, atol=1e-8)
    assert not any(gradient.any() for gradient in gradients(lambda: ops.sum(frozen(inputs)), network)[1][0])
    assert any(gradient.any() for gradient in gradients(lambda: ops.sum(network(inputs, training=True)), network)[1][0])


def test_frozen_call_does_not_update_batch_statistics():
    network = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    before = weights_of(network)
    frozen_call(network, ops.ones((4, 2)) * 5, training=True)
    assert not has_changed(network, before)


# -- the loss --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [None, 3])
def test_one_loss_gives_each_network_the_gradient_of_its_own_loss(num_classes):
    """The losses of the two networks are computed separately, on the same latent vectors."""
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,), num_classes=num_classes)
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), num_classes=num_classes)
    gan = models.GAN(generator, discriminator, num_classes=num_classes)
    real, labels = ops.convert_to_tensor(random_images()), np.arange(16) % 3
    state = np.array(gan.noise.state)
    latent = keras.random.normal((16, 3), seed=gan.noise)
    gan.noise.state.assign(state)  # so that the GAN draws the same latent vectors

    def logits(images):
        outputs = discriminator(images, training=True)
        return outputs if num_classes is None else ops.take_along_axis(outputs, labels[:, None], axis=1)

    def fake():
        one_hot = np.eye(3, dtype="float32")[labels]
        return generator(latent if num_classes is None else ops.concatenate([latent, one_hot], axis=1), training=True)

    def loss_of_discriminator():
        return discriminator_loss(logits(real), logits(ops.stop_gradient(fake())))

    given = None if num_classes is None else labels
    loss, ours = gradients(lambda: gan.compute_loss(x=real, y=given), generator, discriminator)
    first, expected = gradients(lambda: generator_loss(logits(fake())), generator)
    second, expected_of_discriminator = gradients(loss_of_discriminator, discriminator)
    assert loss == pytest.approx(first + second, rel=1e-6)
    for network, expected_network in zip(ours, expected + expected_of_discriminator, strict=True):
        assert max(np.abs(gradient).max() for gradient in expected_network) > 1e-3
        for gradient, expected_gradient in zip(network, expected_network, strict=True):
            np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("penalty", ["gradient", "r1"])
def test_a_penalty_has_a_gradient_in_the_discriminator_only(penalty):
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False)
    found = {}
    for weight in (0.0, 5.0):
        gan = models.GAN(generator, discriminator, penalty=penalty, penalty_weight=weight)
        real = ops.convert_to_tensor(random_images())
        loss, found[weight] = gradients(lambda gan=gan, real=real: gan.compute_loss(x=real), generator, discriminator)
        assert np.isfinite(loss)
    for without, penalised in zip(found[0.0][0], found[5.0][0], strict=True):
        np.testing.assert_allclose(without, penalised, rtol=1e-5, atol=1e-8)
    kernels = [(a, b) for a, b in zip(found[0.0][1], found[5.0][1], strict=True) if len(a.shape) > 1]
    assert all(np.abs(a - b).max() > 1e-5 for a, b in kernels)


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [("non_saturating", None), ("minimax", None), ("hinge", "r1"), ("wasserstein", "gradient"), ("relativistic", "r1_r2")],
)
def test_a_gan_with_any_loss_trains_both_networks_and_reports_its_terms(tiny_gan, loss, penalty):
    gan = tiny_gan(loss=loss, penalty=penalty, penalty_weight=2.0)
    parts = [gan.generator, gan.discriminator, gan.average.network]
    before = [weights_of(part) for part in parts]
    history = gan.fit(random_images(32), batch_size=8, verbose=0).history
    assert all(has_changed(part, old) for part, old in zip(parts, before, strict=True))
    assert set(history) == {"loss", "generator_loss", "discriminator_loss", *(["penalty"] if penalty else [])}
    terms = history["generator_loss"][0] + history["discriminator_loss"][0] + 2 * history.get("penalty", [0])[0]
    assert history["loss"][0] == pytest.approx(terms, rel=1e-5)
    copy = models.GAN.from_config(gan.get_config())
    assert (copy.loss_name, copy.penalty, copy.penalty_weight) == (loss, penalty, 2.0)


def test_a_conditional_gan_learns_the_grey_of_each_class(tiny_conditional_gan):
    gan = tiny_conditional_gan(ema_momentum=0.9)
    gan.compile(optimizer=keras.optimizers.Adam(5e-3, beta_1=0.5), steps_per_execution=24)
    labels = np.arange(768) % 3
    grey = (0.1 + 0.4 * labels)[:, None, None, None] * np.ones((1, 8, 8, 1))
    gan.fit(grey.astype("float32"), labels, batch_size=32, epochs=8, verbose=0)
    for label in range(3):
        assert gan.sample(32, seed=0, labels=label).mean() == pytest.approx(0.1 + 0.4 * label, abs=0.12)


def test_a_spectrally_normalised_gan_trains_stays_normalised_and_is_saved(tmp_path):
    keras.utils.set_random_seed(0)
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False, spectral_norm=True)
    gan = models.GAN(generator, discriminator, loss="hinge")
    gan.compile(optimizer=keras.optimizers.Adam(1e-3), steps_per_execution=30)
    gan.fit(random_images(480), batch_size=8, verbose=0)
    discriminator(random_images(), training=True)
    for layer in discriminator.layers:
        if isinstance(layer, keras.layers.SpectralNormalization):
            matrix = np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1])
            assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=0.05)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(loaded.sample(2, seed=0), gan.sample(2, seed=0))


def gan_on_the_line(mean, std, *, train_generator, **options):
    """A trained GAN on the line: the generator is x = mean + std z, the discriminator a logit w0 + w1 x + w2 x^2.

    The data are standard normal. The log-ratio of two Gaussian densities is such a polynomial, so the optimal
    discriminator is among these.
    """
    latent, x = keras.Input((1,)), keras.Input((1,))
    generator = keras.Model(latent, keras.layers.Dense(1)(latent))
    generator.set_weights([np.array([[std]]), np.array([mean])])
    generator.trainable = train_generator
    powers = keras.layers.Concatenate()([x, keras.layers.Multiply()([x, x])])
    discriminator = keras.Model(x, keras.layers.Dense(1, kernel_initializer="zeros")(powers))
    gan = models.GAN(generator, discriminator, **options)
    rate = keras.optimizers.schedules.CosineDecay(0.03, 1200)
    gan.compile(optimizer=keras.optimizers.Adam(rate, beta_1=0.5), steps_per_execution=100)
    data = np.random.default_rng(0).standard_normal((1200 * 256, 1)).astype("float32")
    gan.fit(data, batch_size=256, verbose=0)
    return gan


def test_the_optimal_discriminator_is_the_ratio_of_densities():
    gan = gan_on_the_line(1.0, 0.7, train_generator=False)
    x = np.linspace(-3, 3, 61)
    p, q = scipy.stats.norm.pdf(x), scipy.stats.norm.pdf(x, 1.0, 0.7)
    found = scipy.special.expit(models.predict(gan.discriminator, x[:, None])[:, 0])
    enough_data = p + q > 0.05
    np.testing.assert_allclose(found[enough_data], (p / (p + q))[enough_data], atol=0.02)


@pytest.mark.parametrize("loss", ["non_saturating", "minimax"])
def test_the_value_function_is_minus_log_4_at_the_equilibrium(loss):
    gan = gan_on_the_line(1.0, 0.7, train_generator=True, loss=loss, penalty="r1", penalty_weight=0.1, ema_momentum=0.99)
    std, mean = (float(weight.squeeze()) for weight in gan.average.network.get_weights())
    assert mean == pytest.approx(0, abs=0.1) and abs(std) == pytest.approx(1, abs=0.1)
    rng = np.random.default_rng(1)
    real, fake = rng.standard_normal((20_000, 1)), mean + std * rng.standard_normal((20_000, 1))
    logits = (models.predict(gan.discriminator, x, batch_size=20_000) for x in (real, fake))
    assert -float(discriminator_loss(*logits)) == pytest.approx(-np.log(4), abs=0.02)


# -- arguments -------------------------------------------------------------------------------------------------------


def test_generate_maps_latent_vectors_with_the_averaged_generator(tiny_gan, tiny_conditional_gan, rng):
    latent = rng.normal(size=(2, 3)).astype("float32")
    gan, conditional = tiny_gan(), tiny_conditional_gan()
    np.testing.assert_allclose(gan.generate(latent), gan.average.network(latent), atol=1e-6)
    inputs = np.hstack([latent, np.eye(3)[[2, 0]]])
    np.testing.assert_allclose(conditional.generate(latent, labels=[2, 0]), conditional.average.network(inputs), atol=1e-6)
    assert (gan.latent_dim, conditional.latent_dim) == (3, 3)
    with pytest.raises(ValueError, match=r"latent has the shape \(2, 4\); expected \(n, 3\)"):
        gan.generate(np.zeros((2, 4)))


def test_networks_that_do_not_fit_each_other_are_refused():
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    discriminator = models.image_discriminator((8, 8, 1), filters=(4,), num_classes=3)
    with pytest.raises(ValueError, match=r"is \(8, 8, 1\) and the discriminator's input shape is \(8, 8, 3\)"):
        models.GAN(generator, models.image_discriminator((8, 8, 3), filters=(4,)))
    with pytest.raises(ValueError, match=r"output shape is \(3,\); expected \(1,\) for num_classes=None"):
        models.GAN(generator, discriminator)
    with pytest.raises(ValueError, match="the generator takes 3 values and num_classes is 3"):
        models.GAN(generator, discriminator, num_classes=3)


def test_unknown_losses_and_penalties_are_refused():
    generator = models.image_generator((8, 8, 1), 3, filters=(4,))
    plain = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False)
    for options, message in (
        ({"loss": "bce"}, "loss is 'bce'; expected one of non_saturating, minimax, hinge, wasserstein"),
        ({"penalty": "r2"}, "penalty is 'r2'; expected one of None, gradient, r1"),
        ({"penalty": "r1", "penalty_weight": -1}, "penalty_weight is -1"),
        ({"ema_momentum": 1.5}, "momentum is 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            models.GAN(generator, plain, **options)
    with pytest.raises(ValueError, match="build the discriminator with batch_norm=False"):
        models.GAN(generator, models.image_discriminator((8, 8, 1), filters=(4,)), penalty="gradient")


@pytest.mark.parametrize("size", [(16, 16), (25, 40)])
def test_an_interpolating_generator_adds_no_grid_to_uniform_features(size, rng):
    network = models.interpolating_generator((*size, 3), 5, filters=(8, 4))
    network.get_layer("features").kernel.assign(np.zeros((3, 3, 4, 4)))  # uniform features, by batch normalisation's offset
    images = network.predict(rng.standard_normal((2, 5)), verbose=0)
    assert images.shape == (2, *size, 3)
    np.testing.assert_allclose(images, np.broadcast_to(images[:1, :1, :1], images.shape), atol=1e-6)


def test_an_interpolating_generator_with_equal_weights_gives_the_same_image_at_every_size(rng):
    small, large = (models.interpolating_generator((size, size, 3), 5, filters=(8, 4)) for size in (8, 64))
    large.set_weights(small.get_weights())
    latent = rng.standard_normal((4, 5))
    shrunk = large.predict(latent, verbose=0).reshape(4, 8, 8, 8, 8, 3).mean(axis=(2, 4))
    difference = np.abs(shrunk - small.predict(latent, verbose=0)).mean()
    assert difference < 0.25 * np.abs(shrunk - np.roll(shrunk, 1, axis=0)).mean()  # less than between two latent vectors
