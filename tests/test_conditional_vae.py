import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from imggen_lib import models, training

SHAPE = (8, 8, 1)


def build(**options):
    keras.utils.set_random_seed(0)
    vae = models.ConditionalVAE(
        models.image_encoder(SHAPE, 2, filters=(4,)),
        models.image_generator(SHAPE, 2, filters=(4,), batch_norm=False, num_classes=3, name="decoder"),
        **options,
    )
    vae.compile(optimizer=keras.optimizers.Adam(1e-3), run_eagerly=True)
    return vae


def pictures(n=6):
    return np.random.default_rng(0).uniform(size=(n, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def vae():
    return build()


def grey_by_class():
    """A decoder that draws a grey which the class decides, and nothing of the code: then log p(x|y) is known."""
    decoder = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(64, use_bias=False, name="grey"), keras.layers.Reshape(SHAPE)],
        name="decoder",
    )
    kernel = np.zeros((5, 64))
    kernel[2:] = np.array([0.1, 0.4, 0.7])[:, None]
    decoder.set_weights([kernel])
    model = models.ConditionalVAE(models.image_encoder(SHAPE, 2, filters=(4,)), decoder)
    model.compile(run_eagerly=True)
    return model


def test_it_knows_its_classes_and_the_length_of_its_code(vae):
    assert (vae.num_classes, vae.latent_dim) == (3, 2)


def test_samples_are_pictures_fixed_by_their_seed_and_their_class(vae):
    images = vae.sample(5, seed=3, labels=1)
    assert images.shape == (5, *SHAPE) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(images, vae.sample(5, seed=3, labels=[1] * 5))
    assert np.abs(images - vae.sample(5, seed=4, labels=1)).max() > 1e-3
    assert np.abs(images - vae.sample(5, seed=3, labels=2)).max() > 1e-3


def test_without_labels_the_classes_are_drawn_evenly_and_fewer_are_the_first_of_more():
    model = grey_by_class()
    few, many = model.sample(30, seed=0), model.sample(3000, seed=0)
    np.testing.assert_allclose(few, many[:30], atol=1e-6)
    greys, counts = np.unique(np.round(many.mean(axis=(1, 2, 3)), 3), return_counts=True)
    np.testing.assert_allclose(greys, [0.1, 0.4, 0.7])
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def test_the_decoder_is_told_the_class_as_a_one_behind_the_code():
    model = grey_by_class()
    drawn = model.decode(np.random.default_rng(0).standard_normal((3, 2)), [2, 0, 1])
    np.testing.assert_allclose(drawn.mean(axis=(1, 2, 3)), [0.7, 0.1, 0.4], rtol=1e-6)


def test_two_classes_of_one_grey_each_are_learnt_and_each_is_decoded_as_asked():
    keras.utils.set_random_seed(0)
    model = models.ConditionalVAE(
        models.image_encoder(SHAPE, 2, filters=(4,), hidden=16),
        models.image_generator(SHAPE, 2, filters=(4,), hidden=16, batch_norm=False, num_classes=2, name="decoder"),
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    labels = np.arange(512) % 2
    images = np.broadcast_to(np.float32([0.2, 0.8])[labels].reshape(-1, 1, 1, 1), (512, *SHAPE))
    history = model.fit(images, labels, batch_size=32, epochs=8, verbose=0).history
    assert set(history) == {"loss", "distortion", "rate"}
    for label, grey in enumerate((0.2, 0.8)):
        assert np.abs(model.sample(50, seed=0, labels=label) - grey).mean() < 0.05
    # Same code, other class: the other grey.
    moved = model.decode(model.encode(images[:20], labels[:20])[0], 1 - labels[:20])
    assert np.abs(moved - images[1:21]).mean() < 0.05
    # To tell the class in the code would cost log 2.
    assert history["rate"][-1] < np.log(2) / 2


def test_the_class_does_not_leak_past_weights_that_are_zero(vae):
    model = build()
    dense = next(layer for layer in model.decoder.layers if isinstance(layer, keras.layers.Dense))
    kernel, bias = dense.get_weights()
    kernel[2:] = 0  # and centres are zero before training
    dense.set_weights([kernel, bias])
    codes, images = np.random.default_rng(0).standard_normal((4, 2)), pictures(4)
    np.testing.assert_array_equal(model.decode(codes, 0), model.decode(codes, 2))
    bounds = [model.log_prob_lower_bound(images, label, seed=0) for label in (0, 2)]
    np.testing.assert_array_equal(*bounds)
    assert np.abs(vae.decode(codes, 0) - vae.decode(codes, 2)).max() > 1e-3


def test_with_one_known_class_it_is_a_vae_whose_codes_lie_around_the_centre_of_the_class():
    """A decoder with the class built in makes a plain VAE of the same weights; the bounds differ by where p(z) lies."""
    vae = build()
    vae.scaled_centres.assign(np.array([[0, 0], [0.05, -0.1], [9, 9]]))
    centre = np.array([0.5, -1.0])
    np.testing.assert_allclose(vae.centres[1], centre, rtol=1e-6)
    code = keras.Input((2,))
    told = ops.concatenate(
        [code, ops.zeros_like(code[:, :1]), ops.ones_like(code[:, :1]), ops.zeros_like(code[:, :1])], axis=-1
    )
    plain = models.VAE(vae.encoder, keras.Model(code, vae.decoder(told)))
    plain.log_std.assign(vae.log_std)
    images = pictures()
    mean, std = plain.encode(images)
    nearer = 0.5 * (mean**2 - (mean - centre) ** 2).sum(axis=1)
    expected = plain.log_prob_lower_bound(images, seed=3) + nearer
    np.testing.assert_allclose(vae.log_prob_lower_bound(images, 1, seed=3), expected, rtol=1e-5)
    np.testing.assert_allclose(vae.reconstruct(images, 1), plain.reconstruct(images), atol=1e-6)
    np.testing.assert_allclose(vae.encode(images, 1)[0], mean - centre, atol=1e-6)
    np.testing.assert_array_equal(vae.encode(images, 1)[1], std)
    # The same in the loss, which training sees, for codes without noise:
    drawn = vae.encoder(images)
    of_plain = plain.compute_loss(images, None, (plain.decoder(drawn[0]), *drawn))
    ours = vae.compute_loss(images, np.full(len(images), 1), (drawn[0], *drawn))
    assert float(ours) == pytest.approx(float(of_plain) - nearer.mean(), rel=1e-5)


def test_the_bound_is_the_likelihood_of_the_class_minus_the_kl_term_where_the_code_is_ignored():
    model, images, labels = grey_by_class(), pictures(3), np.array([0, 1, 2])
    std = np.exp(float(ops.convert_to_numpy(model.log_std)))
    greys = np.array([0.1, 0.4, 0.7]).reshape(3, 1, 1, 1)
    log_likelihood = scipy.stats.norm(greys, std).logpdf(images).sum(axis=(1, 2, 3))
    mean, code_std = model.encode(images, labels)
    kl = 0.5 * (mean**2 + code_std**2 - 2 * np.log(code_std) - 1).sum(axis=1)
    bound = model.log_prob_lower_bound(images, labels, seed=0)
    np.testing.assert_allclose(bound, log_likelihood - kl, rtol=1e-5)
    loss = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert loss["loss"] == pytest.approx(-bound.mean(), rel=1e-5)
    assert loss["loss"] == pytest.approx(loss["distortion"] + loss["rate"], rel=1e-5)


def test_beta_weighs_the_rate():
    images, labels = pictures(), np.arange(6) % 3
    logs = [build(beta=beta).evaluate(images, labels, verbose=0, return_dict=True) for beta in (0.0, 4.0)]
    assert logs[1]["loss"] == pytest.approx(logs[1]["distortion"] + 4 * logs[1]["rate"], rel=1e-5)
    assert logs[0]["loss"] == pytest.approx(logs[0]["distortion"], rel=1e-5)


def test_a_saved_and_loaded_model_draws_the_same_pictures_and_has_the_same_bound(tmp_path):
    model, images = build(beta=2.0, seed=5), pictures()
    model.fit(images, np.arange(6) % 3, verbose=0)
    training.save(model, tmp_path / "model.keras", {"steps": 1})
    loaded, record = training.load(tmp_path / "model.keras")
    assert type(loaded) is models.ConditionalVAE and record == {"steps": 1}
    assert (loaded.num_classes, loaded.beta, loaded.seed) == (3, 2.0, 5)
    np.testing.assert_array_equal(loaded.sample(6, seed=0), model.sample(6, seed=0))
    bounds = [each.log_prob_lower_bound(images, 2, seed=0) for each in (loaded, model)]
    np.testing.assert_array_equal(*bounds)


def test_it_trains_on_the_rows_of_batches_that_the_command_line_uses(digits, tmp_path):
    keras.utils.set_random_seed(0)
    model = models.ConditionalVAE(
        models.image_encoder(SHAPE, 2, filters=(4,)),
        models.image_generator(SHAPE, 2, filters=(4,), batch_norm=False, num_classes=10, name="decoder"),
    )
    model.compile(optimizer="adam", run_eagerly=True)
    record = {"steps": 0, "seconds": 0.0}
    options = {"batch_size": 8, "seed": 0, "checkpoint": tmp_path / "partial.keras"}
    assert training.train(model, digits, record, steps=3, **options)
    assert record["steps"] == 3


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (3, ValueError, "labels holds 3 to 3; expected classes from 0 to 2"),
        ([0, -1], ValueError, "labels holds -1 to 0"),
        ([0, 1, 2], ValueError, r"labels has the shape \(3,\); expected one class, or \(2,\)"),
        ([0.0, 1.0], TypeError, "labels has the dtype float64"),
    ],
)
def test_labels_that_are_no_classes_are_named(vae, labels, error, message):
    images = pictures(2)
    for ask in (
        lambda: vae.sample(2, seed=0, labels=labels),
        lambda: vae.decode(np.zeros((2, 2)), labels),
        lambda: vae.encode(images, labels),
        lambda: vae.log_prob_lower_bound(images, labels, seed=0),
    ):
        with pytest.raises(error, match=message):
            predict()


def test_training_refuses_labels_that_are_missing_or_no_classes(vae):
    with pytest.raises(ValueError, match=r"expected fit\(images, labels\)"):
        vae.fit(pictures(), verbose=0)
    with pytest.raises(ValueError, match="labels holds 0 to 5; expected classes from 0 to 2"):
        vae.fit(pictures(), np.arange(6), verbose=0)


def test_it_refuses_what_does_not_fit(vae):
    encoder = models.image_encoder(SHAPE, 2, filters=(4,))
    with pytest.raises(ValueError, match="one for each class, two at least"):
        models.ConditionalVAE(encoder, models.image_generator(SHAPE, 2, filters=(4,), batch_norm=False))
    with pytest.raises(ValueError, match="build both for the same image_shape"):
        models.ConditionalVAE(encoder, models.image_generator((8, 8, 3), 2, filters=(4,), num_classes=3))
    with pytest.raises(ValueError, match=r"codes has the shape \(1, 5\); expected \(n, 2\)"):
        vae.decode(np.zeros((1, 5)), 0)
