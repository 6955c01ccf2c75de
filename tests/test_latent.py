"""The autoencoder for latents, latent diffusion, the diffusion transformer and the text encoder."""

import keras
import numpy as np
import pytest
from helpers import gradients, has_changed, random_images, weights_of
from keras import ops

from imggen_lib import models

SHAPE = (8, 8, 3)


def build(seed=0, *, eager=True, **options):
    keras.utils.set_random_seed(seed)
    networks = [make(SHAPE, latent_channels=4, filters=(8, 8)) for make in (models.latent_encoder, models.latent_decoder)]
    model = models.Autoencoder(*networks, **options)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), run_eagerly=eager)
    return model


def randomise(network):
    for index, weight in enumerate(network.weights):
        if weight.dtype == "float32":
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape, seed=index))


# -- the autoencoder -------------------------------------------------------------------------------------------------


def test_scaled_latents_have_unit_variance_after_training_and_decoding_undoes_the_scaling():
    model, images = build(eager=False), random_images(64, shape=SHAPE)
    model.fit(np.tile(images, (100, 1, 1, 1)), batch_size=16, verbose=0)
    latents = model.encode(images)
    assert latents.shape == (64, 2, 2, 4) and model.latent_shape == (2, 2, 4)
    np.testing.assert_allclose(latents.mean(axis=(0, 1, 2)), 0, atol=0.3)
    np.testing.assert_allclose(latents.std(axis=(0, 1, 2)), 1, atol=0.35)
    whole = model.decoder(model.encoder(images)[0])
    np.testing.assert_allclose(model.reconstruct(images), whole, atol=1e-5)
    np.testing.assert_allclose(model.encode_tensor(ops.convert_to_tensor(images)), latents, atol=1e-4)


def test_training_lowers_the_error_of_reconstructions_and_evaluate_changes_nothing():
    model, images = build(eager=False), random_images(32, shape=(1, 1, 3)) * np.ones((32, 8, 8, 1), "float32")
    before = np.abs(model.reconstruct(images) - images).mean()
    model.fit(np.tile(images, (100, 1, 1, 1)), batch_size=16, verbose=0)
    assert np.abs(model.reconstruct(images) - images).mean() < 0.5 * before
    weights = weights_of(model)
    model.evaluate(images, verbose=0)
    assert not has_changed(model, weights)


def test_loss_is_the_weighted_sum_of_its_terms():
    images = ops.convert_to_tensor(random_images(4, shape=SHAPE))
    losses = {}
    for weight in (0.0, 1.0, 3.0):
        model = build(kl_weight=weight)
        losses[weight] = float(model.generative_loss(images, None, training=False))
    assert losses[3.0] - losses[0.0] == pytest.approx(3 * (losses[1.0] - losses[0.0]), rel=1e-3)
    features = models.image_features(SHAPE, 4, filters=(4,))
    plain, perceptual = (
        float(build(kl_weight=0, perceptual=network, perceptual_weight=2.0).generative_loss(images, None, training=False))
        for network in (None, features)
    )
    model = build(kl_weight=0)
    mean, log_variance = model.encoder(images)
    noise = keras.random.normal(mean.shape, seed=keras.random.SeedGenerator(0))
    reconstruction = model.decoder(mean + ops.exp(0.5 * log_variance) * noise)
    expected = float(ops.mean(ops.square(features(images) - features(reconstruction))))
    assert perceptual - plain == pytest.approx(2 * expected, rel=1e-3, abs=1e-6)


def test_the_discriminator_is_trained_and_the_decoder_receives_its_gradient():
    discriminator = models.patch_discriminator(SHAPE, filters=(4,))
    model = build(kl_weight=0, discriminator=discriminator, adversarial_weight=1.0)
    without = build(kl_weight=0)
    images = ops.convert_to_tensor(random_images(4, shape=SHAPE))
    found = {}
    for name, which in (("with", model), ("without", without)):
        loss = lambda which=which: which.compute_loss(images, training=True)  # noqa: E731
        found[name] = gradients(loss, which.decoder)[1][0]
    assert any(np.abs(a - b).max() > 1e-6 for a, b in zip(found["with"], found["without"], strict=True))
    before = weights_of(discriminator)
    model.fit(random_images(8, shape=SHAPE), batch_size=4, verbose=0)
    assert has_changed(discriminator, before)


def test_autoencoder_is_the_same_after_saving_and_refuses_what_does_not_fit(tmp_path):
    model, images = build(discriminator=models.patch_discriminator(SHAPE, filters=(4,))), random_images(4, shape=SHAPE)
    model.fit(images, verbose=0)
    model.save(tmp_path / "autoencoder.keras")
    again = keras.saving.load_model(tmp_path / "autoencoder.keras")
    np.testing.assert_allclose(again.encode(images), model.encode(images), atol=1e-5)
    np.testing.assert_allclose(again.sample(2, seed=1), model.sample(2, seed=1), atol=1e-6)
    with pytest.raises(ValueError, match="filters is empty"):
        models.latent_decoder((8, 8, 1), filters=())
    with pytest.raises(ValueError, match="build both for the same image_shape"):
        models.Autoencoder(model.encoder, models.latent_decoder((16, 16, 3), filters=(8, 8)))
    with pytest.raises(ValueError, match=r"latents has the shape \(1, 3, 3, 4\); expected \(n, 2, 2, 4\)"):
        model.decode(np.zeros((1, 3, 3, 4)))
    with pytest.raises(ValueError, match="discriminator takes"):
        build(discriminator=models.patch_discriminator((16, 16, 3)))


# -- latent diffusion ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def latent_diffusion():
    autoencoder = build()
    randomise(autoencoder.encoder)
    network = models.image_transformer(autoencoder.latent_shape, num_classes=3, patch_size=1, width=8, depth=1, heads=2)
    randomise(network)
    model = models.LatentDiffusion(network, autoencoder, num_classes=3)
    model.compile(optimizer="adam", run_eagerly=True)
    return model


def test_latent_diffusion_trains_the_network_and_not_the_autoencoder(latent_diffusion):
    parts = latent_diffusion.network, latent_diffusion.autoencoder
    before = [weights_of(part) for part in parts]
    latent_diffusion.fit(random_images(8, shape=SHAPE), np.arange(8) % 3, batch_size=4, verbose=0)
    assert [has_changed(part, old) for part, old in zip(parts, before, strict=True)] == [True, False]


def test_latent_diffusion_can_train_its_autoencoder_without_changing_its_gradient():
    autoencoder = build()
    network = models.image_transformer(autoencoder.latent_shape, patch_size=1, width=8, depth=1, heads=2)
    model = models.LatentDiffusion(network, autoencoder, train_autoencoder=True)
    images = ops.convert_to_tensor(random_images(4, shape=SHAPE))
    alone, both = build(), model
    found = [
        gradients(lambda which=which: which.generative_loss(images, None, training=False), *parts)[1]
        for which, parts in ((alone, (alone.decoder, alone.encoder)), (both, (autoencoder.decoder, autoencoder.encoder)))
    ]
    for ours, theirs in zip(*found, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)
    model.compile(optimizer="adam", run_eagerly=True)
    before = weights_of(autoencoder)
    model.fit(random_images(4, shape=SHAPE), batch_size=4, verbose=0)
    assert has_changed(autoencoder, before)


def test_latent_diffusion_decodes_what_it_samples_and_is_the_same_after_saving(latent_diffusion, tmp_path):
    images = latent_diffusion.sample(3, seed=0, labels=[0, 1, 2], steps=2)
    assert images.shape == (3, *SHAPE) and latent_diffusion.image_shape == SHAPE
    np.testing.assert_allclose(latent_diffusion.sample(2, seed=0, labels=[0, 1], steps=2), images[:2], atol=1e-5)
    latent_diffusion.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.sample(3, seed=0, labels=[0, 1, 2], steps=2), images, atol=1e-5)


def test_latent_diffusion_needs_a_network_for_the_latents():
    with pytest.raises(ValueError, match=r"the autoencoder's latents have the shape \(2, 2, 4\)"):
        models.LatentDiffusion(models.image_transformer((4, 4, 4), width=8, depth=1, heads=2), build())


# -- the transformer and the text encoder ----------------------------------------------------------------------------


def small_transformer(shape, **options):
    return models.image_transformer(shape, width=8, depth=2, heads=2, **options)


def small_unet(shape, **options):
    return models.image_unet(shape, filters=(8,), blocks=1, **options)


NETWORKS = pytest.mark.parametrize("build", [small_transformer, small_unet])


@NETWORKS
@pytest.mark.parametrize("options", [{}, {"num_classes": 3}, {"num_classes": 5, "vocabulary_size": 7}])
def test_network_is_zero_before_training_and_depends_on_every_input_later(build, options):
    network = build((4, 6, 2), **options)
    inputs = [np.ones((2, 4, 6, 2), "float32"), np.full((2, 1), 0.3, "float32")]
    if options:
        words = np.array([[1, 2, 0, 0, 0], [3, 0, 0, 0, 0]], "float32")
        inputs.append(words if "vocabulary_size" in options else np.eye(3, dtype="float32")[:2])
    assert not ops.convert_to_numpy(network(inputs)).any() and network.output_shape == (None, 4, 6, 2)
    randomise(network)
    before = ops.convert_to_numpy(network(inputs))
    for index in range(len(inputs)):
        changed = [array + (1 if which == index else 0) for which, array in enumerate(inputs)]
        assert np.abs(ops.convert_to_numpy(network(changed)) - before).max() > 1e-4


@NETWORKS
def test_words_after_the_caption_do_not_count_and_a_row_of_zeros_is_finite(build):
    short, long = (build((2, 2, 1), num_classes=n, vocabulary_size=7) for n in (3, 6))
    randomise(long)
    weights = {weight.path: weight for weight in long.weights}
    for weight in short.weights:
        source = ops.convert_to_numpy(weights[weight.path])
        weight.assign(source[: weight.shape[0]] if source.shape != tuple(weight.shape) else source)
    image, angle = np.ones((1, 2, 2, 1), "float32"), np.ones((1, 1), "float32")
    rows = np.array([[4, 2, 0]], "float32"), np.array([[4, 2, 0, 0, 0, 0]], "float32")
    np.testing.assert_allclose(short([image, angle, rows[0]]), long([image, angle, rows[1]]), atol=1e-5)
    assert np.isfinite(ops.convert_to_numpy(long([image, angle, 0 * rows[1]]))).all()


def test_text_encoder_distinguishes_the_order_of_words():
    encoder = models.TextEncoder(9, 8, depth=1, heads=2)
    vectors, visible = encoder(ops.convert_to_tensor([[1.0, 2, 0], [2.0, 1, 0], [0.0, 0, 0]]))
    vectors = ops.convert_to_numpy(vectors)
    assert np.abs(vectors[0, 0] - vectors[1, 1]).max() > 1e-3
    np.testing.assert_array_equal(visible, [[True, True, False], [True, True, False], [True, False, False]])
    again = models.TextEncoder.from_config(encoder.get_config())
    again(ops.zeros((1, 3)))
    again.set_weights(encoder.get_weights())
    np.testing.assert_allclose(again(ops.convert_to_tensor([[1.0, 2, 0]]))[0], vectors[:1], atol=1e-5)


@NETWORKS
def test_networks_refuse_a_vocabulary_without_the_number_of_words(build):
    with pytest.raises(ValueError, match="expected the number of words in a caption"):
        build((4, 4, 1), vocabulary_size=3)


def test_transformer_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="patch_size is 4; expected a divisor"):
        models.image_transformer((6, 8, 1), patch_size=4)


@pytest.mark.parametrize("shared", [False, True])
def test_blocks_with_shared_modulation_start_as_the_identity(shared):
    x = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((2, 3, 8)).astype("float32"))
    block = models.TransformerBlock(2, shared_modulation=shared)
    condition = ops.zeros((2, 48)) if shared else ops.ones((2, 5))
    np.testing.assert_array_equal(block(x, condition), x)
    if shared:
        assert np.abs(ops.convert_to_numpy(block(x, ops.ones((2, 48))) - x)).max() > 0.1
        with pytest.raises(ValueError, match="the condition has 5 values; expected 6 times the width 8"):
            models.TransformerBlock(2, shared_modulation=True)(x, ops.ones((2, 5)))
