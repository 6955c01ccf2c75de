import json
import shutil

import numpy as np
import pytest

from imggen_lib import datasets, evaluation, io, metrics, models, pretrained
from imggen_lib.datasets import marble_captions


@pytest.mark.parametrize("name", pretrained.shipped())
def test_a_shipped_model_is_whole_small_and_has_its_record(name):
    path = io.data_path("weights", f"{name}.npz")
    record, recipe = pretrained.record(name), recipes.get(name)
    assert path.stat().st_size <= 4_000_000
    assert record["sha256"] == io.sha256(path)
    assert record["model"] == name and record["profile"] == "full"
    assert (record["dataset"], record["steps"], record["batch_size"]) == (
        recipe.full.dataset,
        recipe.full.steps,
        recipe.batch_size,
    )
    dataset = datasets.load(recipe.quick.dataset)
    assert record["image_shape"] == list(dataset.image_shape) and record["class_names"] == list(dataset.class_names)
    assert record["seconds"] > 0 and record["seed"] >= 0
    for field in ("started", "machine", "software", "quality"):
        assert record[field]


@pytest.mark.parametrize("name", pretrained.shipped())
def test_a_shipped_model_loads_and_works(name):
    model, recipe = pretrained.load(name), recipes.get(name)
    dataset = datasets.load(recipe.quick.dataset)
    if name == "marble_classifier":
        assert (model.read(dataset.x_test) == marble_captions.decode(dataset.y_test)).all(axis=1).mean() > 0.9
        return
    if not recipe.generates:
        right = model.classify(dataset.x_test).argmax(axis=1) == dataset.y_test
        assert right.mean() > 0.9
        return
    images = model.sample(64, seed=0)
    assert images.shape == (64, *dataset.image_shape)
    # About as bright as the real ones, and not all the same.
    assert images.mean() == pytest.approx(dataset.x_test.mean(), abs=0.12)
    assert images.std(axis=0).mean() > 0.1


@pytest.mark.parametrize(("name", "options"), [("conditional_gan", {}), ("diffusion", {"steps": 5})])
def test_a_shipped_conditional_model_draws_what_it_is_told(name, options):
    labels = np.arange(100) % 10
    images = pretrained.load(name).sample(100, seed=0, labels=labels, **options)
    said = pretrained.load("classifier").classify(images).argmax(axis=1)
    assert (said == labels).mean() > 0.7


def test_the_shipped_model_of_captions_draws_what_it_is_told():
    choices = np.concatenate([among[:25] for among in marble_captions.combinations()])
    told = marble_captions.encode([marble_captions.caption(choice) for choice in choices])
    images = pretrained.load("marble_diffusion").sample(50, seed=0, labels=told, steps=10)
    right = evaluation.shows(images, choices)
    assert right.mean() > 0.85
    # One caption for another: chance.
    assert evaluation.shows(images, np.roll(choices, 1, axis=0)).mean() < 0.5


def test_the_shipped_models_know_test_pictures_better_than_independent_pixels_do(clothes):
    levels, asked = (np.round(255 * x).astype(int) for x in (clothes.x_train, clothes.x_test[:50]))
    shares = np.bincount(levels.ravel(), minlength=256) / levels.size
    independent = -np.log2(shares[asked]).mean()
    images, labels = clothes.x_test[:50], clothes.y_test[:50]
    exact = -pretrained.load("pixelcnn").log_prob(images, labels=labels).mean() / 784 / np.log(2)
    with_noise = metrics.bits_per_dimension(pretrained.load("flow").log_prob(images, seed=0), 784).mean()
    # Noise costs bits: an exact code for levels is shorter than any bound on it.
    assert exact < with_noise < independent - 0.5


def test_a_model_without_shipped_weights_is_a_recipe_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(datasets, "resource", tmp_path.joinpath)
    assert pretrained.shipped() == () and "gan" in recipes.names()


# The rate of the optimizer falls to zero before the VAE with many numbers has quite reached its noise level.
@pytest.mark.parametrize(("name", "tolerance"), [("vae", 0.25), ("vae_2d", 0.03)])
def test_a_shipped_vae_knows_its_noise_level(name, tolerance, clothes):
    """The standard deviation that fits best is the root mean square of what the decoder gets wrong from drawn codes."""
    model = pretrained.load(name)
    images = clothes.x_test[:500]
    mean, log_variance = map(np.asarray, model.encoder(images))
    codes = mean + np.exp(log_variance / 2) * np.random.default_rng(0).standard_normal(mean.shape)
    error = np.sqrt(np.square(images - model.decode(codes)).mean())
    assert np.exp(float(np.asarray(model.log_std))) == pytest.approx(error, rel=tolerance)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_builds_and_has_both_profiles(name):
    recipe = recipes.get(name)
    for profile in ("quick", "full"):
        budget = recipe.budget(profile)
        assert budget.dataset in datasets.names() and budget.steps > 0
    assert recipe.budget("quick").steps < recipe.budget("full").steps
    model = recipe.build((16, 16, 1), 10, seed=0)
    assert isinstance(model, models.GenerativeModel) == recipe.generates
    assert getattr(model, "classes", None) == (
        10 if name in ("classifier", "conditional_gan", "pixelcnn", "diffusion", "marble_diffusion") else None
    )
    with pytest.raises(ValueError, match="profile is 'fast'"):
        recipe.budget("fast")


def test_the_learning_rate_falls_to_zero_along_a_cosine():
    recipe = recipes.get("gan")
    optimizer, rates = recipe.optimizer(100), []
    for step in (0, 50, 100):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate) / recipe.learning_rate)
    assert rates == pytest.approx([1, 0.5, 0], abs=1e-6)
    assert float(recipe.optimizer().learning_rate) == pytest.approx(recipe.learning_rate)


@pytest.mark.parametrize("function", [recipes.get, pretrained.record, pretrained.load])
def test_an_unknown_model_is_answered_with_the_names(function):
    with pytest.raises(ValueError, match="model is 'dall-e'; expected one of classifier, gan"):
        function("dall-e")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A data folder of its own with one small shipped model in it."""
    (tmp_path / "weights").mkdir()
    for suffix in ("npz", "json"):
        shutil.copy(io.data_path("weights", f"classifier.{suffix}"), tmp_path / "weights")
    monkeypatch.setattr(datasets, "resource", tmp_path.joinpath)
    return tmp_path / "weights"


def test_a_damaged_weight_file_is_named(copy):
    content = bytearray((copy / "classifier.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (copy / "classifier.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"classifier\.npz is damaged.*Install the package again"):
        pretrained.load("classifier")


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_missing_file_is_named(copy, suffix):
    (copy / f"classifier.{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match=rf"classifier\.{suffix}"):
        pretrained.load("classifier")


def test_a_damaged_record_is_named(copy):
    (copy / "classifier.json").write_text('{"sha256": ')
    with pytest.raises(ValueError, match=r"classifier\.json"):
        pretrained.load("classifier")


def test_weights_of_another_recipe_are_refused(copy):
    np.savez(copy / "classifier.npz", a=np.zeros(3))
    record = json.loads((copy / "classifier.json").read_text())
    record["sha256"] = io.sha256(copy / "classifier.npz")
    (copy / "classifier.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="holds other shapes than the recipe of classifier builds"):
        pretrained.load("classifier")


@pytest.mark.parametrize("name", ["gan", "vae_2d"])
def test_exported_weights_are_what_was_trained_to_half_precision(copy, name):
    model = recipes.get(name).build((8, 8, 1), 10, seed=0)
    if name == "vae_2d":
        model.log_std.assign(-2.5)
    pretrained.export(model, copy / f"{name}.npz", {"image_shape": [8, 8, 1], "class_names": list("0123456789"), "seed": 0})
    loaded = pretrained.load(name)
    np.testing.assert_allclose(loaded.sample(4, seed=0), model.sample(4, seed=0), atol=5e-3)
    if name == "vae_2d":
        assert float(np.asarray(loaded.log_std)) == -2.5


@pytest.mark.parametrize("bad", [1e5, np.inf, np.nan])
def test_weights_that_half_precision_cannot_hold_are_not_written(tmp_path, tiny_vae, bad):
    model = tiny_vae()
    weight = model.decoder.weights[0]
    weight.assign(np.full(weight.shape, bad))
    with pytest.raises(ValueError, match=r"half precision, so .*vae\.npz was not written"):
        pretrained.export(model, tmp_path / "vae.npz", {})
    with pytest.raises(ValueError, match=r"the file is .*vae\.dat; expected a name that ends in \.npz"):
        pretrained.export(model, tmp_path / "vae.dat", {})
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_be_text(tmp_path, tiny_vae):
    pretrained.export(tiny_vae(), str(tmp_path / "vae.npz"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"vae.npz", "vae.json"}


def test_every_recipe_stays_within_what_may_be_shipped():
    for name in recipes.names():
        dataset = datasets.load(recipes.get(name).quick.dataset)
        model = recipes.get(name).build(dataset.image_shape, len(dataset.class_names), seed=0)
        assert sum(weight.size for weight in map(np.asarray, pretrained._weights(model))) < 2_000_000
