"""Transformers over tokens: probabilities that sum to 1, samples that follow them, and grammars that are known."""

import functools
import itertools

import keras
import numpy as np
import pytest
import scipy.stats
from helpers import has_changed, weights_of
from keras import ops
from scipy.special import softmax

from imggen_lib import models, pretrained, training
from imggen_lib.models.vq import prior
from imggen_lib.models.vq.network import embed_condition, network_predictor

FAMILIES = [models.TokenTransformer, models.MaskedTokenTransformer]


def grey_autoencoder(shape, num_codes):
    """An autoencoder whose tokens are grey levels: an image with the values k / (K - 1) has the tokens k."""
    image, codes = keras.Input((*shape, 1), name="image"), keras.Input((*shape, 1), name="codes")
    encoder = keras.Model(image, keras.layers.Rescaling(1.0)(image), name="encoder")
    decoder = keras.Model(codes, keras.layers.Rescaling(1.0)(codes), name="decoder")
    model = models.TokenAutoencoder(encoder, decoder, num_codes=num_codes)
    model.quantizer.codebook.assign(np.linspace(0, 1, num_codes)[:, np.newaxis])
    return model


def to_images(tokens, num_codes):
    return (np.asarray(tokens)[..., np.newaxis] / (num_codes - 1)).astype("float32")


def randomise(model, scale):
    for index, weight in enumerate(model.network.weights):
        weight.assign(weight + scale * keras.random.normal(weight.shape, seed=index))
    model.average.network.set_weights(model.network.get_weights())


def build(family, shape=(1, 3), num_codes=3, *, num_classes=None, embedding=None, width=8, depth=1, scale=0.4, **options):
    """A small model with random weights."""
    keras.utils.set_random_seed(0)
    network = models.token_network(
        shape,
        num_codes,
        causal=family.causal,
        width=width,
        depth=depth,
        heads=2,
        num_classes=num_classes,
        condition_embedding=embedding,
    )
    model = family(network, grey_autoencoder(shape, num_codes), num_classes=num_classes, **options)
    randomise(model, scale)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), run_eagerly=True)
    return model


#: For tests that do not change the model.
shared = functools.cache(build)


def all_sequences(shape, num_codes):
    tokens = np.array(list(itertools.product(range(num_codes), repeat=shape[0] * shape[1])))
    return tokens.reshape(-1, *shape)


def words(ids):
    return keras.layers.Embedding(20, 8, name="words")(ids)


def words_and_vector(ids):
    found = words(ids)
    return found, keras.layers.GlobalAveragePooling1D()(found)


# -- probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [None, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_of_all_sequences_sum_to_one(family, num_classes):
    model = shared(family, (1, 4), 3, num_classes=num_classes)
    sequences = all_sequences((1, 4), 3)
    labels = None if num_classes is None else 1
    for options in [{}] if family.causal else [{}, {"order": [2, 0, 3, 1]}]:
        log_p = model.log_prob_tokens(sequences, labels=labels, **options)
        assert log_p.shape == (81,) and np.exp(log_p).sum() == pytest.approx(1, abs=1e-5)
        assert np.exp(log_p).std() > 1e-3
    if num_classes is not None:
        assert np.abs(log_p - model.log_prob_tokens(sequences, **options)).max() > 0.01


def test_probability_under_masks_depends_on_the_order():
    model, sequences = shared(models.MaskedTokenTransformer), all_sequences((1, 3), 3)
    reading = model.log_prob_tokens(sequences)
    np.testing.assert_array_equal(reading, model.log_prob_tokens(sequences, order=[0, 1, 2]))
    assert np.abs(reading - model.log_prob_tokens(sequences, order=[2, 1, 0])).max() > 0.01


def test_causal_loss_is_the_mean_log_probability():
    model = build(models.TokenTransformer, (2, 2), 5)
    tokens = np.random.default_rng(0).integers(5, size=(16, 2, 2))
    loss = model.evaluate(to_images(tokens, 5), batch_size=16, verbose=0)
    assert loss == pytest.approx(-model.log_prob_tokens(tokens).mean() / 4, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_of_uniform_predictions_is_the_logarithm_of_the_number_of_codes(family):
    model = build(family, (2, 3), 7)
    predictor = network_predictor(model.network)
    predictor.to_logits.kernel.assign(0 * predictor.to_logits.kernel)
    predictor.to_logits.bias.assign(0 * predictor.to_logits.bias)
    images = to_images(np.random.default_rng(0).integers(7, size=(8, 2, 3)), 7)
    assert model.evaluate(images, verbose=0) == pytest.approx(np.log(7), rel=1e-5)


def test_masked_loss_counts_only_masked_tokens():
    """The network predicts known tokens, which it sees, almost surely, and masked tokens uniformly."""
    model = build(models.MaskedTokenTransformer, (1, 6), 4)
    tokens = np.random.default_rng(0).integers(4, size=(200, 1, 6))
    seen = []

    def network(inputs, training):
        seen.append(ops.convert_to_numpy(inputs))
        return 100.0 * ops.one_hot(inputs, 5)[..., :4]

    model.network = network
    loss = float(model.generative_loss(to_images(tokens, 4), None, training=True))
    assert loss == pytest.approx(np.log(4), rel=1e-5)
    masked = seen[0] == 4
    np.testing.assert_array_equal(seen[0][~masked], tokens[:, 0][~masked])
    counts = masked.sum(axis=1)
    assert counts.min() >= 1 and counts.max() == 6
    # The mean of cos(pi u / 2) is 2 / pi, and rounding up adds about half a token.
    assert counts.mean() == pytest.approx(6 * 2 / np.pi + 0.5, abs=0.4)
    assert masked.mean(axis=0).std() < 0.05  # every position alike


# -- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embedding", [None, words, words_and_vector], ids=["vector", "prefix", "both"])
def test_cached_steps_equal_the_whole_sequence(embedding):
    model = build(models.TokenTransformer, (2, 3), 5, num_classes=4, embedding=embedding, depth=2)
    rng = np.random.default_rng(0)
    tokens, condition = rng.integers(5, size=(2, 6)).astype("int32"), rng.integers(1, 20, size=(2, 4)).astype("float32")
    network = model.average.network
    whole = ops.convert_to_numpy(network([tokens, condition]))
    vector, prefix = embed_condition(network, condition)
    assert (vector is None) == (embedding is words) and (prefix is None) == (embedding is None)
    predictor = network_predictor(network)
    caches, before = predictor.start(2, vector, prefix), np.insert(tokens, 0, 5, axis=1)
    steps = [predictor.step(before[:, i : i + 1], i, caches, vector) for i in range(6)]
    np.testing.assert_allclose(np.concatenate([ops.convert_to_numpy(one) for one in steps], axis=1), whole, atol=1e-4)


def test_causal_logits_do_not_see_their_token_and_masked_ones_see_all():
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        model, tokens = shared(family, (1, 5), 4), rng.integers(4, size=(1, 1, 5))
        before = model.logits(tokens)[0, 0]
        tokens[0, 0, 2] = (tokens[0, 0, 2] + 1) % 4
        changed = (np.abs(model.logits(tokens)[0, 0] - before) > 1e-4).any(axis=-1)
        assert changed.tolist() == ([False, False, False, True, True] if family.causal else [True] * 5)


@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_is_linear_in_the_logits(family):
    model = shared(family, num_classes=2)
    tokens = all_sequences((1, 3), 3)
    without, with_label = model.logits(tokens), model.logits(tokens, labels=1)
    assert np.abs(with_label - without).max() > 0.1
    for scale in (0.0, 1.0, 2.5):
        expected = without + scale * (with_label - without)
        np.testing.assert_allclose(model.logits(tokens, labels=1, guidance_scale=scale), expected, atol=1e-4)
    samples = model.sample(20, seed=0, labels=1, guidance_scale=0.0)
    np.testing.assert_array_equal(samples, model.sample(20, seed=0, labels=0, guidance_scale=0.0))


def test_words_condition_the_probabilities():
    model = build(models.MaskedTokenTransformer, num_classes=4, embedding=words_and_vector)
    tokens = all_sequences((1, 3), 3)
    first, second = (model.log_prob_tokens(tokens, labels=np.tile([[1, 2, word, 0]], (27, 1))) for word in (3, 4))
    assert np.abs(first - second).max() > 0.01
    assert model.sample(2, seed=0, labels=[[1, 2, 3, 0], [4, 0, 0, 0]], guidance_scale=2.0).shape == (2, 1, 3, 1)


# -- sampling --------------------------------------------------------------------------------------------------------


def test_choose_tokens_follows_the_probabilities():
    logits = np.log(np.array([0.1, 0.0, 0.3, 0.6]) + 1e-300)
    uniform = (np.arange(1000) + 0.5) / 1000
    tokens = prior.choose_tokens(np.tile(logits, (1000, 1)), uniform)
    assert np.bincount(tokens, minlength=4).tolist() == [100, 0, 300, 600]
    cold = prior.choose_tokens(np.tile(logits, (1000, 1)), uniform, 0.5)
    np.testing.assert_allclose(np.bincount(cold, minlength=4) / 1000, np.array([1, 0, 9, 36]) / 46, atol=1e-3)
    assert set(prior.choose_tokens(np.tile(logits, (1000, 1)), uniform, 0)) == {3}


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_have_the_probabilities_of_the_model(family):
    model = build(family, (1, 3), 2)
    options = {} if family.causal else {"order": [1, 2, 0]}
    expected = np.exp(model.log_prob_tokens(all_sequences((1, 3), 2), **options))
    tokens = model.sample_tokens(2000, seed=0, **options)
    counts = np.bincount(tokens.reshape(-1, 3) @ [4, 2, 1], minlength=8)
    assert scipy.stats.chisquare(counts, 2000 * expected / expected.sum()).pvalue > 0.01


def test_one_token_per_step_in_an_order_is_sequential_sampling_from_the_conditionals():
    model, order, n = shared(models.MaskedTokenTransformer, (2, 3), 5), [4, 0, 5, 2, 1, 3], 7
    uniform = np.random.default_rng(3).random((n, 2, 6, 6))[:, 0]
    tokens = np.full((n, 6), 5)
    for step, position in enumerate(order):
        p = softmax(model.logits(tokens.reshape(n, 2, 3)).reshape(n, 6, 5)[:, position].astype(float), axis=1)
        for row in range(n):
            tokens[row, position] = np.searchsorted(np.cumsum(p[row]), uniform[row, step, position])
    np.testing.assert_array_equal(model.sample_tokens(n, seed=3, order=order), tokens.reshape(n, 2, 3))


@pytest.mark.parametrize("order", [None, [5, 3, 1, 0, 2, 4]])
def test_each_step_keeps_the_planned_number_of_tokens(order, monkeypatch):
    model, seen = shared(models.MaskedTokenTransformer, (2, 3), 5), []
    evaluate = model._guided_logits

    def spy(tokens, *arguments):
        seen.append(tokens.copy())
        return evaluate(tokens, *arguments)

    monkeypatch.setattr(model, "_guided_logits", spy)
    final = model.sample_tokens(4, seed=0, steps=3, order=order).reshape(4, 6)
    assert [(tokens == 5).sum(axis=1).tolist() for tokens in seen] == [[6] * 4, [5] * 4, [3] * 4]
    for tokens in seen:  # what is kept does not change again
        np.testing.assert_array_equal(tokens[tokens != 5], final[tokens != 5])
    if order is not None:
        assert [set(np.flatnonzero(tokens[0] != 5)) for tokens in seen] == [set(), {5}, {5, 3, 1}]


def test_the_likeliest_token_is_kept_first_without_noise(monkeypatch):
    model = shared(models.MaskedTokenTransformer, (1, 5), 4)
    masked = np.full((1, 1, 5), 4)
    p = softmax(model.logits(masked)[0, 0], axis=-1)
    seen = []
    evaluate = model._guided_logits
    monkeypatch.setattr(
        model, "_guided_logits", lambda tokens, *arguments: seen.append(tokens.copy()) or evaluate(tokens, *arguments)
    )
    model.sample_tokens(1, seed=0, steps=5, temperature=0.0, choice_temperature=0.0)
    first = int(np.flatnonzero(seen[1][0] != 4)[0])
    assert first == p.max(axis=1).argmax() and seen[1][0, first] == p[first].argmax()


@pytest.mark.parametrize(("length", "steps"), [(1, 1), (5, 1), (49, 8), (49, 49), (64, 12), (10, 9)])
def test_masks_decrease_to_zero_along_a_cosine(length, steps):
    counts = models.mask_counts(length, steps)
    assert len(counts) == steps and counts[-1] == 0
    assert (np.diff([length, *counts]) < 0).all()
    planned = length * np.cos(np.pi / 2 * np.arange(1, steps + 1) / steps)
    if steps < length / 3:
        assert np.abs(counts - planned).max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_seed_decides_the_images_whatever_n_and_the_batches(family, monkeypatch):
    model = shared(family, num_classes=2)
    images = model.sample(7, seed=1, guidance_scale=1.5)
    assert images.shape == (7, 1, 3, 1) and images.dtype == np.float32
    np.testing.assert_array_equal(images, model.sample(7, seed=1, guidance_scale=1.5))
    np.testing.assert_array_equal(images[:3], model.sample(3, seed=1, guidance_scale=1.5))
    np.testing.assert_allclose(images, to_images(model.sample_tokens(7, seed=1, guidance_scale=1.5), 3), atol=1e-6)
    assert (images != model.sample(7, seed=2, guidance_scale=1.5)).any()
    monkeypatch.setattr(prior, "SAMPLE_BATCH", 2)
    np.testing.assert_array_equal(images, model.sample(7, seed=1, guidance_scale=1.5))


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_model_samples_only_sequences_of_the_grammar(family):
    """All tokens of an image are equal; class 0 has the tokens 0 and 1, class 1 the tokens 2 and 3."""
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=1024)
    tokens = np.broadcast_to((2 * classes + rng.integers(2, size=1024)).reshape(-1, 1, 1), (1024, 2, 2))
    model = build(family, (2, 2), 4, num_classes=2, width=32, scale=0.0, ema_momentum=0.9)
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 128)))
    model.fit(to_images(tokens, 4), classes, batch_size=64, epochs=8, verbose=0)
    options = {} if family.causal else {"steps": 4}
    for label in (0, 1):
        samples = model.sample_tokens(200, seed=0, labels=label, **options).reshape(200, 4)
        valid = (samples == samples[:, :1]).all(axis=1) & (samples[:, 0] // 2 == label)
        assert valid.mean() >= 0.97 and np.bincount(samples[:, 0], minlength=4)[2 * label :][:2].min() > 60
    log_p = model.log_prob_tokens(tokens[:20], labels=classes[:20])
    np.testing.assert_allclose(log_p, -np.log(2), atol=0.25)


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_autoencoder_is_copied_and_never_changes(family):
    network = models.token_network((1, 3), 3, causal=family.causal, width=8, depth=1, heads=2)
    given = grey_autoencoder((1, 3), 3)
    model = family(network, given)
    model.compile(optimizer="adam", run_eagerly=True)
    before, of_network = weights_of(model.autoencoder), weights_of(model.network)
    images = to_images(all_sequences((1, 3), 3), 3)
    model.fit(images, batch_size=9, verbose=0)
    assert model.autoencoder is not given and given.trainable
    assert not has_changed(model.autoencoder, before) and not has_changed(given, before)
    assert has_changed(model.network, of_network) and int(model.average.updates) == 3
    assert {id(v) for v in model.trainable_variables} == {id(v) for v in model.network.trainable_variables}
    after = weights_of(model)
    model.evaluate(images, verbose=0)
    assert not has_changed(model, after)


def test_autoencoder_can_be_trained_in_the_same_steps():
    """Each part has the gradient of its own loss alone: with another transformer the autoencoder learns the same."""
    images = np.random.default_rng(0).uniform(size=(32, 8, 8, 1)).astype("float32")
    found = []
    for width in (2, 4):
        keras.utils.set_random_seed(0)
        autoencoder = models.TokenAutoencoder(
            models.token_encoder((8, 8, 1), 3, filters=(4, 4)),
            models.token_decoder((8, 8, 1), 3, filters=(4, 4)),
            num_codes=6,
        )
        network = models.token_network((2, 2), 6, width=width, depth=1, heads=2)
        model = models.TokenTransformer(network, autoencoder, train_autoencoder=True)
        model.compile(optimizer=keras.optimizers.SGD(1e-2), run_eagerly=True)
        keras.utils.set_random_seed(0)
        before = weights_of(model.autoencoder)
        logs = model.fit(images, batch_size=16, shuffle=False, verbose=0).history
        assert has_changed(model.autoencoder, before) and {"loss", "cross_entropy", "reconstruction"} <= set(logs)
        found.append(weights_of(model.autoencoder))
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


def test_run_starts_from_a_trained_autoencoder_and_writes_a_complete_file(digits, tmp_path):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    options = {"dataset": digits, "num_steps": 2, "batch_size": 8, "evaluate": False}
    sizes = {"num_codes": 8, "code_dim": 2, "base_filters": 4, "blocks": 0}
    training.run("token_autoencoder", first, **options, **sizes)
    expected = pretrained.load(first)
    small = {"width": 8, "depth": 1, "heads": 2, "train_autoencoder": False, **sizes}
    run = training.run("token_transformer", second, autoencoder=first, **options, **small)
    assert run.record["autoencoder"] == first.name
    with pytest.raises(
        ValueError, match="first.npz is a TokenAutoencoder that does not fit; expected the TokenAutoencoder"
    ):
        training.runs._set_autoencoder(shared(models.TokenTransformer), first)
    with pytest.raises(ValueError, match="first.npz' and Sequential has none: leave it out"):
        training.runs._set_autoencoder(keras.Sequential(), first)
    first.unlink()
    tokens = pretrained.load(second).autoencoder.encode(digits.x_train[:50])
    np.testing.assert_array_equal(tokens, expected.encode(digits.x_train[:50]))


@pytest.mark.parametrize(("family", "embedding"), [(FAMILIES[0], words_and_vector), (FAMILIES[1], None)])
def test_keras_file_gives_back_the_same_model(family, embedding, tmp_path):
    options = {"label_dropout": 0.2, "ema_momentum": 0.9, "seed": 3}
    model = build(family, num_classes=4, embedding=embedding, **options)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    labels = np.tile([[1, 2, 3, 0]], (5, 1))
    np.testing.assert_array_equal(again.sample(5, seed=0, labels=labels), model.sample(5, seed=0, labels=labels))
    tokens = all_sequences((1, 3), 3)[:5]
    np.testing.assert_allclose(
        again.log_prob_tokens(tokens, labels=labels), model.log_prob_tokens(tokens, labels=labels), atol=1e-5
    )
    names = ("label_dropout", "ema_momentum", "seed", "train_autoencoder", "num_classes")
    assert [again.get_config()[name] for name in names] == [0.2, 0.9, 3, False, 4]


# -- errors ----------------------------------------------------------------------------------------------------------


def test_network_must_fit_the_autoencoder():
    autoencoder = grey_autoencoder((1, 3), 3)
    options = {"width": 8, "depth": 1, "heads": 2}
    with pytest.raises(ValueError, match="use token_network with .* causal=False and num_classes=None"):
        models.MaskedTokenTransformer(models.token_network((1, 3), 3, **options), autoencoder)
    with pytest.raises(ValueError, match=r"maps \[\(3,\)\] to \[\(3, 4\)\]; expected \[\(3,\)\] to \[\(3, 3\)\]"):
        models.TokenTransformer(models.token_network((1, 3), 4, **options), autoencoder)
    with pytest.raises(ValueError, match="num_classes=5"):
        models.TokenTransformer(models.token_network((1, 3), 3, **options), autoencoder, num_classes=5)
    with pytest.raises(TypeError, match="autoencoder is a Functional; expected a TokenAutoencoder"):
        models.TokenTransformer(models.token_network((1, 3), 3, **options), autoencoder.encoder)
    with pytest.raises(ValueError, match=r"condition_embedding returns \[\(None, 4, 8\)\]; expected a vector \(n, 16\)"):
        models.token_network((1, 3), 3, width=16, num_classes=4, condition_embedding=words)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.log_prob_tokens(np.zeros((1, 1, 3))), TypeError, "tokens has the dtype float64; expected integers"),
        (lambda m: m.log_prob_tokens([[[0, 1, 3]]]), ValueError, "tokens has values from 0 to 3; expected 0 to 2"),
        (lambda m: m.logits([[0, 1, 3]]), ValueError, r"tokens has the shape \(1, 3\); expected \(n, 1, 3\)"),
        (
            lambda m: m.sample(1, seed=0, guidance_scale=2.0),
            ValueError,
            "guidance_scale is 2 and the model has no condition",
        ),
        (lambda m: m.sample(1, seed=0, guidance_scale=-1.0), ValueError, "guidance_scale is -1"),
        (lambda m: m.sample(1, seed=0, temperature=-1.0), ValueError, "temperature is -1"),
        (lambda m: m.sample(1, seed=0, labels=1), ValueError, "takes no labels"),
        (lambda m: m.sample(1, seed=0, steps=4), ValueError, "steps is 4; expected at most the number of tokens, 3"),
        (lambda m: m.sample(1, seed=0, choice_temperature=-1.0), ValueError, "choice_temperature is -1"),
        (
            lambda m: m.sample(1, seed=0, order=[0, 1, 1]),
            ValueError,
            r"order is \[0, 1, 1\]; expected each position from 0",
        ),
        (lambda m: build(type(m), label_dropout=2.0), ValueError, "label_dropout is 2"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(shared(models.MaskedTokenTransformer))
