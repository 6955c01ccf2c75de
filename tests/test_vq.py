"""Vector quantisation against SciPy's distances and k-means, and the token autoencoder against closed forms."""

import keras
import numpy as np
import pytest
import scipy.stats
from helpers import has_changed, random_images, weights_of
from keras import ops
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

from imggen_lib import backend, models

SHAPE = (8, 8, 1)


def quantizer(codebook, **options):
    """A layer with the given codes, all of them in use."""
    codebook = np.asarray(codebook, "float32")
    layer = models.VectorQuantizer(len(codebook), **options)
    layer.build((None, codebook.shape[1]))
    layer.codebook.assign(codebook)
    layer.usage.assign(np.full(len(codebook), 1 / len(codebook)))
    return layer


def autoencoder(shape=SHAPE, *, filters=(4, 4), num_codes=6, code_dim=3, run_eagerly=True, learning_rate=1e-3, **options):
    keras.utils.set_random_seed(0)
    model = models.TokenAutoencoder(
        models.token_encoder(shape, code_dim, filters=filters),
        models.token_decoder(shape, code_dim, filters=filters[::-1]),
        num_codes=num_codes,
        **options,
    )
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), run_eagerly=run_eagerly)
    return model


# -- the layer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(), (4,), (2, 5)])
def test_each_vector_gets_the_nearest_code(grid, rng):
    codebook, vectors = rng.normal(size=(9, 3)), rng.normal(size=(7, *grid, 3))
    codes, tokens = quantizer(codebook)(vectors.astype("float32"))
    expected = cdist(vectors.reshape(-1, 3), codebook).argmin(axis=1).reshape(7, *grid)
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_allclose(codes, codebook[expected], atol=1e-6)
    np.testing.assert_array_equal(models.nearest_code(vectors.astype("float32"), codebook.astype("float32")), expected)


def test_gradient_with_respect_to_vectors_is_the_gradient_at_the_codes(rng):
    layer = quantizer(rng.normal(size=(9, 3)))
    vectors = rng.normal(size=(7, 3)).astype("float32")
    codes = ops.convert_to_numpy(layer(vectors)[0])
    gradient = backend.input_gradient(lambda z: layer(z)[0] ** 3, ops.convert_to_tensor(vectors))
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), 3 * codes**2, rtol=1e-5)


def test_step_moves_usage_and_codes_by_the_moving_average(rng):
    """Against the usual form with averaged counts and averaged sums, whose quotient is the code."""
    codebook, vectors, m = rng.normal(size=(4, 2)), rng.normal(size=(10, 2)), 0.8
    layer = quantizer(codebook, momentum=m, restart_threshold=0.0)
    counts = np.full(4, 0.25)
    sums = codebook * counts[:, np.newaxis]
    for _ in range(3):
        tokens = cdist(vectors, codebook).argmin(axis=1)
        assigned = np.eye(4)[tokens] / len(vectors)
        counts, sums = m * counts + (1 - m) * assigned.sum(axis=0), m * sums + (1 - m) * assigned.T @ vectors
        codebook = sums / counts[:, np.newaxis]
        layer(vectors.astype("float32"), training=True)
        np.testing.assert_allclose(layer.usage, counts, rtol=1e-5)
        np.testing.assert_allclose(layer.codebook, codebook, rtol=1e-4, atol=1e-6)


def test_codes_converge_to_the_centroids_of_k_means(rng):
    clusters = rng.normal(size=(2, 50, 2)) * 0.3 + np.array([[[3.0, 0.0]], [[-1.0, 2.0]]])
    data = clusters.reshape(100, 2).astype("float32")
    layer = models.VectorQuantizer(2, momentum=0.5, seed=1)
    for _ in range(40):
        layer(data, training=True)
    expected, _ = kmeans2(data, clusters.mean(axis=1).astype("float32"), minit="matrix")
    ours = ops.convert_to_numpy(layer.codebook)
    np.testing.assert_allclose(ours[np.argsort(ours[:, 0])], expected[np.argsort(expected[:, 0])], atol=1e-4)
    np.testing.assert_allclose(layer.usage, [0.5, 0.5], atol=1e-4)


def test_unused_codes_become_vectors_of_the_batch_and_others_stay(rng):
    data = rng.normal(size=(20, 2)).astype("float32")
    layer = quantizer([[0.0, 0.0], [100.0, 100.0], [1.0, 1.0], [200.0, 200.0]], momentum=1.0, restart_threshold=0.1)
    layer.usage.assign([0.5, 0.02, 0.03, 0.45])  # 0.1 of a uniform usage is 0.025
    layer(data, training=True)
    codes = ops.convert_to_numpy(layer.codebook)
    np.testing.assert_array_equal(codes[[0, 2, 3]], [[0, 0], [1, 1], [200, 200]])
    assert (data == codes[1]).all(axis=1).any()
    np.testing.assert_allclose(layer.usage, [0.5, 0.25, 0.03, 0.45])


def test_restarts_revive_a_collapsed_codebook(rng):
    """All codes start far from the data, so one of them gets every vector until the others are restarted."""
    data, far = rng.normal(size=(100, 2)).astype("float32"), np.full((8, 2), 50.0) + np.arange(8)[:, np.newaxis]
    in_use = []
    for threshold in (0.0, 0.1):
        layer = quantizer(far, momentum=0.8, restart_threshold=threshold)
        for _ in range(40):
            tokens = layer(data, training=True)[1]
        in_use.append(len(np.unique(ops.convert_to_numpy(tokens))))
    assert in_use == [1, 8]


def test_first_step_takes_all_codes_from_the_data_as_the_seed_says(rng):
    data, codebooks = rng.normal(size=(50, 2)).astype("float32"), []
    for seed in (0, 0, 1):
        layer = models.VectorQuantizer(5, momentum=1.0, seed=seed)
        layer(data, training=True)
        codebooks.append(ops.convert_to_numpy(layer.codebook))
    assert all((data == code).all(axis=1).any() for code in codebooks[0])
    np.testing.assert_array_equal(codebooks[0], codebooks[1])
    assert (codebooks[0] != codebooks[2]).any()


def test_inference_changes_no_state(rng):
    layer = quantizer(rng.normal(size=(9, 3)))
    before = weights_of(layer)
    layer(rng.normal(size=(7, 3)).astype("float32"))
    assert len(before) == 2 and not has_changed(layer, before)


def test_perplexity_is_the_exponential_of_the_entropy(rng):
    p = rng.dirichlet(np.ones(7), size=3)
    np.testing.assert_allclose(models.perplexity(p.astype("float32")), np.exp(scipy.stats.entropy(p, axis=1)), rtol=1e-5)


def test_layer_is_rebuilt_from_its_configuration():
    layer = models.VectorQuantizer(5, momentum=0.5, restart_threshold=0.2, seed=3, name="codes")
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_codes": 1}, ValueError, "num_codes is 1; expected at least 2"),
        ({"num_codes": 2.5}, TypeError, r"num_codes is 2\.5"),
        ({"num_codes": 4, "momentum": 1.5}, ValueError, r"momentum is 1\.5"),
        ({"num_codes": 4, "restart_threshold": -1.0}, ValueError, "restart_threshold is -1"),
        ({"num_codes": 4, "seed": -1}, ValueError, "seed is -1"),
    ],
)
def test_bad_arguments_of_the_layer_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        models.VectorQuantizer(**arguments)


# -- the autoencoder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "filters", "grid"),
    [((28, 28, 1), (4, 8), (7, 7)), ((64, 64, 3), (4, 4, 4), (8, 8)), ((17, 23, 2), (4, 4), (5, 6))],
)
def test_shape_of_the_tokens(shape, filters, grid):
    model = autoencoder(shape, filters=filters)
    assert model.token_shape == grid and model.image_shape == shape and model.num_codes == 6
    images = random_images(2, shape=shape)
    tokens = model.encode(images)
    assert tokens.shape == (2, *grid) and tokens.dtype == np.int32
    assert model.reconstruct(images).shape == images.shape


def test_tokens_are_the_codes_nearest_to_the_encoders_vectors():
    model, images = autoencoder(), random_images()
    vectors, codebook = ops.convert_to_numpy(model.encoder(images)), ops.convert_to_numpy(model.quantizer.codebook)
    distances = cdist(vectors.reshape(-1, 3), codebook)
    tokens = model.encode(images)
    np.testing.assert_array_equal(tokens.ravel(), distances.argmin(axis=1))
    np.testing.assert_array_equal(model.reconstruct(images), model.decode(tokens))
    share = np.bincount(tokens.ravel(), minlength=6) / tokens.size
    usage = model.code_usage(images)
    assert usage["share"] == np.mean(share > 0)
    assert usage["perplexity"] == pytest.approx(np.exp(scipy.stats.entropy(share)), rel=1e-5)


@pytest.mark.parametrize("std", [None, 0.2])
def test_loss_is_reconstruction_plus_weighted_commitment(std):
    model, images = autoencoder(std=std, commitment=0.7), random_images()
    logs = model.evaluate(images, verbose=0, return_dict=True)
    scale = np.exp(-1) if std is None else std
    log_density = scipy.stats.norm(model.reconstruct(images), scale).logpdf(images)
    assert logs["reconstruction"] == pytest.approx(-log_density.mean(), rel=1e-4)
    vectors, codebook = ops.convert_to_numpy(model.encoder(images)), ops.convert_to_numpy(model.quantizer.codebook)
    distances = cdist(vectors.reshape(-1, 3), codebook).min(axis=1)
    assert logs["commitment"] == pytest.approx(np.mean(distances**2) / 3, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["reconstruction"] + 0.7 * logs["commitment"], rel=1e-5)
    assert logs["perplexity"] == pytest.approx(model.code_usage(images)["perplexity"], rel=1e-5)
    model.fit(images, verbose=0)
    assert (float(model.log_std) == pytest.approx(np.log(scale))) == (std is not None)


def test_training_updates_the_codebook_and_evaluation_no_weight():
    model, images = autoencoder(), random_images()
    before = weights_of(model)
    model.evaluate(images, verbose=0)
    assert not has_changed(model, before)
    codes, encoder = weights_of(model.quantizer), weights_of(model.encoder)
    model.fit(images, verbose=0)
    assert has_changed(model.quantizer, codes) and has_changed(model.encoder, encoder)
    assert not any(variable is model.quantizer.codebook for variable in model.trainable_variables)


def test_histogram_holds_the_share_of_each_token_at_each_position():
    model = autoencoder(momentum=0.0, restart_threshold=0.0, learning_rate=0.0)
    images = random_images(12)
    tokens = model.encode(images).reshape(12, 4)
    model.fit(images, batch_size=12, verbose=0)
    expected = [np.bincount(tokens[:, position], minlength=6) / 12 for position in range(4)]
    np.testing.assert_allclose(model.histogram, expected, atol=1e-6)


def test_samples_decode_tokens_of_the_histogram():
    model, grid = autoencoder(), np.array([[5, 0], [2, 2]])
    model.histogram.assign(np.eye(6)[grid.ravel()])
    np.testing.assert_array_equal(model.sample(2, seed=0), model.decode(np.stack([grid, grid])))
    uniform = model.sample(40, seed=0, prior="uniform")
    assert len(np.unique(uniform.reshape(40, -1), axis=0)) > 20
    np.testing.assert_allclose(model.sample(3, seed=0, prior="uniform"), uniform[:3], atol=1e-6)


def test_images_are_reconstructed_from_one_token_each():
    """As many codes as different images."""
    greys = np.array([0.1, 0.35, 0.6, 0.9], "float32")
    images = np.broadcast_to(greys[:, np.newaxis, np.newaxis, np.newaxis], (4, *SHAPE)).copy()
    model = autoencoder(filters=(8, 8, 8), num_codes=4, momentum=0.5, run_eagerly=False, learning_rate=1e-2)
    assert model.token_shape == (1, 1)
    model.fit(np.tile(images, (64, 1, 1, 1)), batch_size=32, epochs=16, verbose=0)
    assert len(np.unique(model.encode(images))) == 4
    means = model.reconstruct(images).mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(np.abs(means[:, np.newaxis] - greys).argmin(axis=1), [0, 1, 2, 3])


def test_keras_file_gives_back_the_same_model(tmp_path):
    model, images = autoencoder(std=0.3, commitment=0.5, momentum=0.9, restart_threshold=0.2, seed=4), random_images()
    model.fit(images, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.encode(images), model.encode(images))
    np.testing.assert_allclose(again.sample(3, seed=0), model.sample(3, seed=0), atol=1e-6)
    names = ("commitment", "std", "num_codes", "momentum", "restart_threshold", "seed")
    assert [again.get_config()[name] for name in names] == [0.5, 0.3, 6, 0.9, 0.2, 4]


def test_networks_must_fit_each_other():
    encoder, decoder = models.token_encoder(SHAPE, 3, filters=(4,)), models.token_decoder(SHAPE, 4, filters=(4,))
    with pytest.raises(ValueError, match=r"\(4, 4, 3\).* for this encoder: build encoder and decoder for the same"):
        models.TokenAutoencoder(encoder, decoder)
    with pytest.raises(ValueError, match="expected images to a grid of vectors: use token_encoder"):
        models.TokenAutoencoder(models.image_encoder(SHAPE, 3, filters=(4,)), decoder)
    with pytest.raises(ValueError, match="num_classes is 3; a TokenAutoencoder has no condition"):
        autoencoder(num_classes=3)
    with pytest.raises(ValueError, match="filters is empty"):
        models.token_encoder(SHAPE, filters=())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.decode(np.zeros((1, 2, 2))), TypeError, "tokens has the dtype float64; expected integers"),
        (lambda m: m.decode(np.zeros((1, 4), int)), ValueError, r"tokens has the shape \(1, 4\); expected \(n, 2, 2\)"),
        (lambda m: m.decode(np.full((1, 2, 2), 6)), ValueError, "tokens has values from 6 to 6; expected 0 to 5"),
        (lambda m: m.encode(np.full((1, *SHAPE), 2.0)), ValueError, r"expected \[0, 1\]"),
        (lambda m: m.encode(random_images(1), labels=[0]), ValueError, "takes no labels"),
        (
            lambda m: m.sample(1, seed=0, prior="normal"),
            ValueError,
            "prior is 'normal'; expected one of histogram, uniform",
        ),
        (lambda m: autoencoder(commitment=-1.0), ValueError, "commitment is -1"),
        (lambda m: autoencoder(std=0.0), ValueError, "std is 0"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(autoencoder())
