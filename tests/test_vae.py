import keras
import numpy as np
import pytest
import scipy.stats
from helpers import gradients, has_changed, random_images, weights_of
from keras import ops

from imggen_lib import models
from imggen_lib.models.vae import gaussian_log_density, kl_to_standard_normal

SHAPE = (8, 8, 1)
GREYS = np.array([0.1, 0.4, 0.7])


@pytest.fixture(scope="module")
def vae(tiny_vae):
    return tiny_vae()


@pytest.fixture(scope="module")
def conditional_vae(tiny_conditional_vae):
    """Its centres are not zero, as they are before training."""
    model = tiny_conditional_vae()
    model.scaled_centres.assign(np.array([[0, 0], [0.05, -0.1], [9, 9]]))
    return model


def std_of(model):
    return np.exp(float(ops.convert_to_numpy(model.log_std)))


def gaussian_kl(mean, std):
    return 0.5 * (mean**2 + std**2 - 2 * np.log(std) - 1).sum(axis=1)


def constant_decoder(greys, *, latent_dim=2):
    """A decoder whose output ignores the code; with several greys, the class decides which."""
    inputs = latent_dim + (len(greys) if len(greys) > 1 else 0)
    dense = keras.layers.Dense(64, use_bias=len(greys) == 1)
    decoder = keras.Sequential([keras.Input((inputs,)), dense, keras.layers.Reshape(SHAPE)], name="decoder")
    kernel = np.zeros((inputs, 64))
    if len(greys) > 1:
        kernel[latent_dim:] = np.array(greys)[:, None]
        decoder.set_weights([kernel])
    else:
        decoder.set_weights([kernel, np.full(64, greys[0])])
    decoder.trainable = False
    return decoder


def vae_with_constant_decoder(greys=(0.5,), **options):
    """A VAE whose decoder ignores the code, so that log p(x), or log p(x|y), is known exactly."""
    num_classes = len(greys) if len(greys) > 1 else None
    encoder = models.image_encoder(SHAPE, 2, filters=(4,))
    model = models.VAE(encoder, constant_decoder(greys), num_classes=num_classes, **options)
    model.compile(run_eagerly=True)
    return model


# -- the terms of the bound ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, 0.0), (0.0, -2.0), (-0.7, 1.0)])
def test_kl_divergence_equals_its_integral(mean, log_variance):
    q, p = scipy.stats.norm(mean, np.exp(log_variance / 2)), scipy.stats.norm()
    z = np.linspace(-30, 30, 200_001)
    expected = np.trapezoid(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), z)
    ours = kl_to_standard_normal(ops.full((1, 1), mean), ops.full((1, 1), log_variance))
    assert float(ours[0]) == pytest.approx(expected, abs=1e-5)


def test_kl_divergence_is_summed_over_latent_dimensions_for_each_image(rng):
    mean, log_variance = (rng.normal(size=(3, 4)).astype("float32") for _ in range(2))
    parts = [kl_to_standard_normal(mean[:, [i]], log_variance[:, [i]]) for i in range(4)]
    np.testing.assert_allclose(kl_to_standard_normal(mean, log_variance), np.sum(parts, axis=0), rtol=1e-5)


def test_gaussian_log_density_agrees_with_scipy(rng):
    images, mean = rng.normal(size=(2, 3, 4, 5, 2))
    ours = gaussian_log_density(images.astype("float32"), mean.astype("float32"), np.float32(-0.7))
    expected = scipy.stats.norm(mean, np.exp(-0.7)).logpdf(images).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize(("image_shape", "filters"), [((8, 8, 1), (4,)), ((28, 28, 1), (8, 4)), ((16, 32, 3), (4, 4, 4))])
def test_new_encoder_gives_codes_of_variance_one(image_shape, filters, rng):
    mean, log_variance = models.image_encoder(image_shape, 6, filters=filters)(rng.uniform(size=(3, *image_shape)))
    assert mean.shape == log_variance.shape == (3, 6)
    np.testing.assert_array_equal(log_variance, np.zeros((3, 6)))
    assert np.asarray(mean).std() > 0


# -- the bound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("greys", [(0.5,), GREYS], ids=["unconditional", "conditional"])
def test_bound_is_likelihood_minus_kl_where_the_decoder_ignores_the_code(greys):
    """Bound and loss are the same quantity, and beta is the weight of the KL term."""
    model, images = vae_with_constant_decoder(greys), random_images(3)
    labels = None if len(greys) == 1 else np.array([0, 1, 2])
    means = np.broadcast_to(np.reshape(greys, (-1, 1, 1, 1)), (3, 1, 1, 1))
    log_likelihood = scipy.stats.norm(means, std_of(model)).logpdf(images).sum(axis=(1, 2, 3))
    kl = gaussian_kl(*model.encode(images, labels=labels))
    bound = model.log_prob_lower_bound(images, seed=0, labels=labels)
    assert bound.shape == (3,) and kl.min() > 0
    np.testing.assert_allclose(bound, log_likelihood - kl, rtol=1e-5)
    for beta in (0.0, 1.0, 4.0):
        model.beta = beta
        logs = model.evaluate(images, labels, verbose=0, return_dict=True)
        assert logs["distortion"] == pytest.approx(-log_likelihood.mean(), rel=1e-5)
        assert logs["rate"] == pytest.approx(kl.mean(), rel=1e-4)
        assert logs["loss"] == pytest.approx(logs["distortion"] + beta * logs["rate"], rel=1e-5)


def test_loss_is_the_negative_bound_where_the_decoder_depends_on_the_code(vae):
    repeated = np.repeat(random_images(1), 4000, axis=0)
    loss = vae.evaluate(repeated, batch_size=1000, verbose=0)[0]
    assert -loss == pytest.approx(vae.log_prob_lower_bound(repeated, seed=0).mean(), rel=0.01)


def linear_vae():
    """x = 0.5 + 0.1 z on one pixel, with noise of standard deviation 0.2: p(x) and p(z|x) are known Gaussians."""
    image = keras.Input((1, 1, 1))
    x = keras.layers.Flatten()(image)
    outputs = [keras.layers.Dense(1, name=name)(x) for name in ("mean", "log_variance")]
    encoder = keras.Model(image, outputs)
    # The posterior has precision 1 + 0.1^2 / 0.2^2 = 1.25 and mean 0.1 (x - 0.5) / 0.2^2 / 1.25 = 2 (x - 0.5).
    encoder.get_layer("mean").set_weights([np.array([[2.0]]), np.array([-1.0])])
    encoder.get_layer("log_variance").set_weights([np.zeros((1, 1)), np.array([-np.log(1.25)])])
    decoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), keras.layers.Reshape((1, 1, 1))])
    decoder.set_weights([np.array([[0.1]]), np.array([0.5])])
    vae = models.VAE(encoder, decoder)
    vae.log_std.assign(np.log(0.2))
    return vae, scipy.stats.norm(0.5, np.sqrt(0.1**2 + 0.2**2))


def test_bound_is_tight_for_the_exact_posterior_and_lower_by_the_kl_for_another():
    vae, truth = linear_vae()
    images = np.repeat(np.float32([0.3, 0.5, 0.9]), 4000).reshape(-1, 1, 1, 1)
    expected = truth.logpdf([0.3, 0.5, 0.9])
    bound = vae.log_prob_lower_bound(images, seed=0).reshape(3, -1)
    np.testing.assert_allclose(bound.mean(axis=1), expected, atol=0.02)
    kernel, bias = vae.encoder.get_layer("mean").get_weights()
    vae.encoder.get_layer("mean").set_weights([kernel, bias + 1])
    # Both Gaussians have variance 0.8, and their means are 1 apart: KL = 1 / (2 * 0.8).
    bound = vae.log_prob_lower_bound(images, seed=0).reshape(3, -1)
    np.testing.assert_allclose(bound.mean(axis=1), expected - 0.625, atol=0.04)


def test_the_bound_of_one_class_is_that_of_an_unconditional_vae_with_a_shifted_prior(conditional_vae):
    """With the class built into the decoder, the same weights make a plain VAE; only the mean of p(z) differs."""
    centre = np.array([0.5, -1.0])
    np.testing.assert_allclose(conditional_vae.centres[1], centre, rtol=1e-6)
    code = keras.Input((2,))
    one_hot = [ops.zeros_like(code[:, :1]), ops.ones_like(code[:, :1]), ops.zeros_like(code[:, :1])]
    decoder = keras.Model(code, conditional_vae.decoder(ops.concatenate([code, *one_hot], axis=-1)))
    plain = models.VAE(conditional_vae.encoder, decoder)
    plain.log_std.assign(conditional_vae.log_std)
    images = random_images(6)
    mean, std = plain.encode(images)
    shift = gaussian_kl(mean, std) - gaussian_kl(mean - centre, std)
    np.testing.assert_allclose(
        conditional_vae.log_prob_lower_bound(images, seed=3, labels=1),
        plain.log_prob_lower_bound(images, seed=3) + shift,
        rtol=1e-5,
    )
    np.testing.assert_allclose(conditional_vae.encode(images, labels=1)[0], mean - centre, atol=1e-6)
    np.testing.assert_array_equal(conditional_vae.encode(images, labels=1)[1], std)
    np.testing.assert_allclose(conditional_vae.reconstruct(images, labels=1), plain.reconstruct(images), atol=1e-6)
    # The loss draws its noise from the generator of the model, so both get the same state.
    losses = []
    for model, labels in ((plain, None), (conditional_vae, np.full(6, 1))):
        model.noise.state.assign(np.array([7, 0], model.noise.state.dtype))
        losses.append(float(model.compute_loss(images, labels)))
    assert losses[1] == pytest.approx(losses[0] - shift.mean(), rel=1e-5)


# -- training --------------------------------------------------------------------------------------------------------


def test_training_changes_encoder_decoder_and_standard_deviation(tiny_vae):
    vae = tiny_vae()
    before = weights_of(vae.encoder), weights_of(vae.decoder), std_of(vae)
    history = vae.fit(random_images(32), batch_size=8, verbose=0).history
    assert has_changed(vae.encoder, before[0]) and has_changed(vae.decoder, before[1]) and std_of(vae) != before[2]
    assert set(history) == {"loss", "distortion", "rate"}


def test_learned_standard_deviation_is_the_root_mean_squared_error():
    vae = vae_with_constant_decoder(beta=0.0)
    assert any(variable is vae.log_std for variable in vae.trainable_variables)
    vae.compile(optimizer=keras.optimizers.Adam(0.05))
    noisy = np.clip(np.random.default_rng(0).normal(0.5, 0.1, (512, *SHAPE)), 0, 1).astype("float32")
    vae.fit(noisy, batch_size=64, epochs=12, verbose=0)
    assert std_of(vae) == pytest.approx(0.1, rel=0.05)


def test_a_conditional_vae_learns_the_grey_of_each_class_and_leaves_the_class_out_of_the_code():
    keras.utils.set_random_seed(0)
    model = models.VAE(
        models.image_encoder(SHAPE, 2, filters=(4,), hidden=16),
        models.image_generator(SHAPE, 2, filters=(4,), hidden=16, batch_norm=False, num_classes=2, name="decoder"),
        num_classes=2,
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    labels = np.arange(512) % 2
    images = np.broadcast_to(np.float32([0.2, 0.8])[labels].reshape(-1, 1, 1, 1), (512, *SHAPE))
    history = model.fit(images, labels, batch_size=32, epochs=8, verbose=0).history
    for label, grey in enumerate((0.2, 0.8)):
        assert np.abs(model.sample(50, seed=0, labels=label) - grey).mean() < 0.05
    # The same code with the other class gives the other grey.
    moved = model.decode(model.encode(images[:20], labels=labels[:20])[0], labels=1 - labels[:20])
    assert np.abs(moved - images[1:21]).mean() < 0.05
    # A code that carried the class would cost log 2.
    assert history["rate"][-1] < np.log(2) / 2


# -- codes and conditions --------------------------------------------------------------------------------------------


def test_reconstruction_decodes_the_mean_of_the_code(vae, conditional_vae):
    images = random_images(3)
    for model, labels in ((vae, None), (conditional_vae, [0, 1, 2])):
        mean, std = model.encode(images, labels=labels)
        assert mean.shape == std.shape == (3, model.latent_dim) == (3, 2) and (std > 0).all()
        np.testing.assert_array_equal(model.reconstruct(images, labels=labels), model.decode(mean, labels=labels))


def test_the_decoder_receives_the_one_hot_class_behind_the_code(rng):
    images = vae_with_constant_decoder(GREYS).decode(rng.standard_normal((3, 2)), labels=[2, 0, 1])
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), GREYS[[2, 0, 1]], rtol=1e-6)


def test_the_label_enters_through_centres_and_decoder_only(tiny_conditional_vae, rng):
    """With zero centres and zero decoder weights for the class, the label has no effect."""
    model, codes, images = tiny_conditional_vae(), rng.standard_normal((4, 2)), random_images(4)
    assert np.abs(model.decode(codes, labels=0) - model.decode(codes, labels=2)).max() > 1e-3
    dense = model.decoder.get_layer("dense_0")
    kernel, bias = dense.get_weights()
    kernel[2:] = 0
    dense.set_weights([kernel, bias])
    np.testing.assert_array_equal(model.decode(codes, labels=0), model.decode(codes, labels=2))
    bounds = [model.log_prob_lower_bound(images, seed=0, labels=label) for label in (0, 2)]
    np.testing.assert_array_equal(*bounds)


def test_the_centre_of_a_caption_is_the_sum_of_the_centres_of_its_words(conditional_vae):
    caption = np.array([[1.0, 1.0, 0.0]] * 2)
    images = random_images(2)
    position = conditional_vae.encoder(images)[0]
    expected = position - conditional_vae.centres[0] - conditional_vae.centres[1]
    np.testing.assert_allclose(conditional_vae.encode(images, labels=caption)[0], expected, atol=1e-5)


def test_options_are_saved_and_a_loaded_model_has_the_same_bound(tiny_conditional_vae, tmp_path):
    model, images = tiny_conditional_vae(beta=2.0, seed=5), random_images(6)
    model.fit(images, np.arange(6) % 3, verbose=0)
    model.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert (loaded.num_classes, loaded.latent_dim, loaded.beta, loaded.seed) == (3, 2, 2.0, 5)
    np.testing.assert_array_equal(loaded.centres, model.centres)
    bounds = [each.log_prob_lower_bound(images, seed=0, labels=2) for each in (loaded, model)]
    np.testing.assert_array_equal(*bounds)


def test_an_unconditional_vae_has_no_centres_and_takes_no_labels(vae):
    assert vae.centres is None and len(vae.weights) == len(vae.encoder.weights) + len(vae.decoder.weights) + 1
    with pytest.raises(ValueError, match="takes no labels"):
        vae.encode(random_images(2), labels=[0, 1])


def test_networks_that_do_not_fit_each_other_are_refused():
    encoder = models.image_encoder(SHAPE, 2, filters=(4,))

    def decoder(shape=SHAPE, latent_dim=2, num_classes=None):
        return models.image_generator(shape, latent_dim, filters=(4,), batch_norm=False, num_classes=num_classes)

    for network, num_classes in (
        (decoder(latent_dim=3), None),
        (decoder(shape=(8, 8, 3)), None),
        (decoder(num_classes=3), None),
        (decoder(), 3),
        (decoder(num_classes=4), 3),
    ):
        with pytest.raises(ValueError, match="for the same image_shape, latent_dim and num_classes"):
            models.VAE(encoder, network, num_classes=num_classes)
    with pytest.raises(ValueError, match="expected two outputs of one shape"):
        models.VAE(models.image_features(SHAPE, 2), decoder())
    with pytest.raises(ValueError, match="beta is -1"):
        models.VAE(encoder, decoder(), beta=-1)
    with pytest.raises(ValueError, match="seed is -1"):
        models.VAE(encoder, decoder(), seed=-1)


# -- a learned prior -------------------------------------------------------------------------------------------------

CODE_MEAN, CODE_STD = np.array([1.5, -0.5], "float32"), np.array([0.4, 0.8], "float32")


def exact_prior():
    """The network whose output is the mean velocity for independent Gaussian codes."""
    code, angle = keras.Input((2,)), keras.Input((1,))
    cosine, sine = ops.cos(angle), ops.sin(angle)
    scaled = (code - cosine * CODE_MEAN) / (cosine**2 * CODE_STD**2 + sine**2)
    clean, noise = cosine * CODE_STD**2 * scaled + CODE_MEAN, sine * scaled
    return keras.Model([code, angle], cosine * noise - sine * clean)


def test_codes_sampled_with_the_exact_prior_have_the_distribution_of_the_codes(tiny_vae, monkeypatch):
    model = tiny_vae(prior=exact_prior())
    codes = []
    monkeypatch.setattr(model, "decode", lambda z, labels: codes.append(z) or np.zeros((len(z), *SHAPE)))
    model.sample(5000, seed=0)
    np.testing.assert_allclose(codes[0].mean(axis=0), CODE_MEAN, atol=0.03)
    np.testing.assert_allclose(codes[0].std(axis=0), CODE_STD, rtol=0.05)
    model.sample(5000, seed=0, prior="normal")
    np.testing.assert_allclose([codes[1].mean(axis=0), codes[1].std(axis=0)], [[0, 0], [1, 1]], atol=0.05)


@pytest.mark.parametrize("classes", [None, 3])
def test_the_prior_changes_no_gradient_of_encoder_and_decoder(tiny_vae, classes):
    images = ops.convert_to_tensor(random_images(6))
    labels = None if classes is None else ops.convert_to_tensor(np.arange(6) % 3)
    prior = models.vector_network(2, num_classes=classes, width=8, blocks=1)
    found = []
    for network in (None, prior):
        model = tiny_vae(num_classes=classes, prior=network)
        loss = lambda model=model: model.compute_loss(images, labels)  # noqa: E731
        found.append(gradients(loss, model.encoder, model.decoder, *([] if network is None else [network])))
    (bound, without), (with_prior, groups) = found
    for ours, theirs in zip(without, groups[:2], strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert with_prior > bound and any(np.abs(gradient).max() > 0 for gradient in groups[2])


def test_a_trained_prior_follows_codes_that_the_normal_prior_does_not():
    """The encoder puts all codes on two points. Samples of the learned prior are near them, normal ones are not."""
    keras.utils.set_random_seed(0)
    encoder, decoder = models.image_encoder(SHAPE, 2, filters=(4,)), constant_decoder((0.5,))
    kernel = encoder.get_layer("log_variance")
    kernel.bias.assign([-12.0, -12.0])
    encoder.trainable = False
    prior = models.vector_network(2, width=32, blocks=1)
    model = models.VAE(encoder, decoder, prior=prior, ema_momentum=0.98)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    images = np.repeat(random_images(2, seed=3), 256, axis=0)
    targets = model.encode(images[[0, 256]])[0]
    model.fit(images, batch_size=64, epochs=25, verbose=0)
    sampled = []
    model.decode = lambda codes, labels=None: sampled.append(codes) or np.zeros((len(codes), *SHAPE))
    for prior_name in ("learned", "normal"):
        model.sample(200, seed=0, prior=prior_name)
    learned, normal = (np.linalg.norm(codes[:, None] - targets, axis=2).min(axis=1).mean() for codes in sampled)
    assert learned < 0.3 * normal


def test_a_vae_with_a_prior_is_the_same_after_saving(tiny_vae, tmp_path):
    model = tiny_vae(num_classes=3, prior=models.vector_network(2, num_classes=3, width=8, blocks=1), ema_momentum=0.5)
    model.fit(random_images(6), np.arange(6) % 3, verbose=0)
    model.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.sample(3, seed=1, labels=2), model.sample(3, seed=1, labels=2))
    assert (loaded.sample(3, seed=1, labels=2) != loaded.sample(3, seed=1, labels=2, prior="normal")).any()


def test_missing_and_wrong_priors_are_refused(vae, tiny_vae):
    with pytest.raises(ValueError, match="this VAE was built without one"):
        vae.sample(1, seed=0, prior="learned")
    with pytest.raises(ValueError, match="prior is 'uniform'; expected one of learned, normal"):
        vae.sample(1, seed=0, prior="uniform")
    with pytest.raises(ValueError, match="use vector_network with size=2 and num_classes=None"):
        tiny_vae(prior=models.vector_network(3, width=8, blocks=1))


def test_bad_codes_and_images_are_refused(vae):
    with pytest.raises(ValueError, match=r"codes has the shape \(1, 3\); expected \(n, 2\)"):
        vae.decode(np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"images has the shape \(1, 9, 8, 1\)"):
        vae.encode(np.zeros((1, 9, 8, 1)))
    with pytest.raises(TypeError, match="uint8"):
        vae.log_prob_lower_bound(np.zeros((1, *SHAPE), "uint8"), seed=0)
    with pytest.raises(ValueError, match="seed is -1"):
        vae.log_prob_lower_bound(random_images(1), seed=-1)
