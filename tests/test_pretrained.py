"""Model files: shipped models, .npz and .keras files, damaged files."""

import functools
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from imggen_lib import datasets, evaluation, io, metrics, models, pretrained, recipes
from imggen_lib.datasets import marble_captions

#: Shipped models, each loaded once: no test changes them.
shipped = functools.cache(pretrained.load)


@pytest.mark.parametrize("name", pretrained.names())
def test_shipped_model_loads_fits_its_record_and_does_its_task(name):
    path, record, recipe = io.data_path("weights", f"{name}.npz"), pretrained.record(name), recipes.get(name)
    assert path.stat().st_size <= 8_000_000
    assert record["sha256"] == io.sha256(path)
    assert record["model"] == name and record["profile"] == "full"
    assert record["steps"] == recipe.full.num_steps and record["batch_size"] == recipe.batch_size
    assert record["dataset"] == recipe.full.dataset
    assert record["seconds"] > 0 and record["seed"] >= 0
    assert all(record[field] for field in ("started", "machine", "software", "quality"))
    dataset = datasets.load(recipe.quick.dataset)
    assert record["image_shape"] == list(dataset.image_shape)
    assert datasets.Condition.from_description(record["condition"]) == dataset.condition

    model = shipped(name)
    assert model.image_shape == dataset.image_shape
    if model.task == "attributes":
        truth = model.decode_labels(dataset.y_test[:300])
        correct = model.predict_attributes(dataset.x_test[:300]) == truth
        assert correct[truth >= 0].mean() > (0.97 if name == "marble_classifier" else 0.85)
    elif isinstance(model, models.Autoencoder):
        images = dataset.x_test[:32]
        assert np.mean((model.reconstruct(images) - images) ** 2) < 0.05 * images.var()
    elif model.task == "classification":
        assert (model.predict_proba(dataset.x_test).argmax(axis=1) == dataset.y_test).mean() > 0.9
    else:
        images = model.sample(32, seed=0)
        assert images.shape == (32, *dataset.image_shape)
        assert images.mean() == pytest.approx(np.mean(dataset.x_test[:3000]), abs=0.12)
        assert images.std(axis=0).mean() > 0.1


@pytest.mark.parametrize(("name", "options"), [("conditional_gan", {}), ("diffusion", {"steps": 5})])
def test_samples_of_shipped_conditional_models_are_classified_as_their_labels(name, options):
    labels = np.arange(100) % 10
    images = shipped(name).sample(100, seed=0, labels=labels, **options)
    predicted = shipped("classifier").predict_proba(images).argmax(axis=1)
    assert (predicted == labels).mean() > 0.7


def test_samples_of_the_shipped_caption_model_show_their_captions():
    choices = np.concatenate([combinations[:25] for combinations in marble_captions.combinations()])
    rows = marble_captions.encode([marble_captions.from_choice(choice) for choice in choices])
    images = shipped("marble_diffusion").sample(50, seed=0, labels=rows, steps=10)
    assert evaluation.caption_matches(images, choices).mean() > 0.85
    # With the captions of other images: chance.
    assert evaluation.caption_matches(images, np.roll(choices, 1, axis=0)).mean() < 0.5


def test_shipped_likelihood_models_need_fewer_bits_than_independent_pixels(clothes):
    levels, test = (np.round(255 * x).astype(int) for x in (clothes.x_train, clothes.x_test[:50]))
    frequencies = np.bincount(levels.ravel(), minlength=256) / levels.size
    independent = -np.log2(frequencies[test]).mean()
    images, labels = clothes.x_test[:50], clothes.y_test[:50]
    exact = -shipped("pixelcnn").log_prob(images, labels=labels).mean() / 784 / np.log(2)
    dequantised = metrics.bits_per_dimension(shipped("coupling_flow").log_prob(images, seed=0), 784).mean()
    # Dequantisation costs bits: an exact code for levels is shorter than a bound on it.
    assert exact < dequantised < independent - 0.5


# The learning rate falls to zero before the VAE with many latent dimensions has quite reached its noise level.
@pytest.mark.parametrize(("name", "tolerance"), [("vae", 0.25), ("vae_2d", 0.03)])
def test_noise_level_of_a_shipped_vae_is_the_rms_error_of_its_reconstructions(name, tolerance, clothes):
    """The maximum-likelihood standard deviation is the root mean square of the error from sampled codes."""
    model, images = shipped(name), clothes.x_test[:500]
    mean, std = model.encode(images)
    codes = mean + std * np.random.default_rng(0).standard_normal(mean.shape)
    error = np.sqrt(np.square(images - model.decode(codes)).mean())
    assert np.exp(float(np.asarray(model.log_std))) == pytest.approx(error, rel=tolerance)


def test_the_prior_is_what_the_samples_of_the_shipped_vae_depend_on(clothes):
    """In the classifier's features reconstructions are close, and decoded codes as close as the prior follows the codes."""
    model, n = shipped("vae"), 1000
    mean, std = model.encode(clothes.x_train[:n])
    codes = mean + std * np.random.default_rng(0).standard_normal(mean.shape)
    images = {
        "reconstructions": model.decode(codes),
        "mixture": model.decode(GaussianMixture(10, reg_covar=1e-3, random_state=0).fit(codes).sample(n)[0]),
        "learned": model.sample(n, seed=0),
        "normal": model.sample(n, seed=0, prior="normal"),
    }
    distance = {name: evaluation.score(which, clothes).distance for name, which in images.items()}
    assert distance["reconstructions"] < distance["learned"] < distance["mixture"] < distance["normal"] / 2


@pytest.fixture
def shipped_copy(tmp_path, monkeypatch):
    """A data folder of its own with one small shipped model in it."""
    (tmp_path / "weights").mkdir()
    for suffix in ("npz", "json"):
        shutil.copy(io.data_path("weights", f"classifier.{suffix}"), tmp_path / "weights")
    monkeypatch.setattr(io, "data_path", tmp_path.joinpath)
    return tmp_path / "weights"


def test_recipe_without_weights_is_not_listed_as_shipped(shipped_copy):
    assert pretrained.names() == ("classifier",) and "gan" in recipes.names()


def test_damaged_weight_file_is_named(shipped_copy):
    content = bytearray((shipped_copy / "classifier.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (shipped_copy / "classifier.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"classifier\.npz is damaged.*Install the package again"):
        pretrained.load("classifier")


def test_missing_weight_file_is_named(shipped_copy):
    (shipped_copy / "classifier.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"classifier\.npz"):
        pretrained.load("classifier")


def test_damaged_and_incomplete_records_are_named(shipped_copy):
    (shipped_copy / "classifier.json").write_text('{"sha256": ')
    with pytest.raises(ValueError, match=r"classifier\.json is damaged"):
        pretrained.load("classifier")
    (shipped_copy / "classifier.json").write_text('{"sha256": "", "model": "classifier", "seed": 0, "condition": {}}')
    with pytest.raises(ValueError, match=r"classifier\.json lacks image_shape; expected a record that imggen_lib wrote"):
        pretrained.load("classifier")


@pytest.mark.parametrize("change", ["rename", "reshape"])
def test_weights_with_other_names_or_shapes_are_rejected(shipped_copy, change):
    arrays = io.read_npz(shipped_copy / "classifier.npz")
    name = next(iter(arrays))
    array = arrays.pop(name)
    arrays["body/other/kernel" if change == "rename" else name] = array if change == "rename" else array[:1]
    np.savez(shipped_copy / "classifier.npz", **arrays)
    record = json.loads((shipped_copy / "classifier.json").read_text())
    record["sha256"] = io.sha256(shipped_copy / "classifier.npz")
    (shipped_copy / "classifier.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=f"does not fit the recipe classifier: .*{name}"):
        pretrained.load("classifier")


def test_weights_are_found_by_name_in_any_order(shipped_copy, clothes):
    expected = pretrained.load("classifier").predict_proba(clothes.x_test[:3])
    arrays = io.read_npz(shipped_copy / "classifier.npz")
    assert "body/conv_0/kernel" in arrays
    np.savez(shipped_copy / "classifier.npz", **dict(reversed(arrays.items())))
    record = json.loads((shipped_copy / "classifier.json").read_text())
    record["sha256"] = io.sha256(shipped_copy / "classifier.npz")
    (shipped_copy / "classifier.json").write_text(json.dumps(record))
    np.testing.assert_array_equal(pretrained.load("classifier").predict_proba(clothes.x_test[:3]), expected)


@pytest.mark.parametrize("bad", [1e5, np.inf, np.nan])
def test_weights_that_float16_cannot_hold_are_not_written(tmp_path, tiny_vae, bad):
    model = tiny_vae()
    weight = model.decoder.weights[0]
    weight.assign(np.full(weight.shape, bad))
    record = {"model": "vae", "image_shape": [8, 8, 1], "condition": {}, "seed": 0}
    with pytest.raises(ValueError, match=r"too large for float16, so .*vae\.npz was not written"):
        pretrained.save(model, tmp_path / "vae.npz", record)
    assert list(tmp_path.iterdir()) == []


def test_save_names_a_bad_suffix_a_missing_folder_and_an_incomplete_record(tiny_vae, tmp_path):
    with pytest.raises(ValueError, match=r"vae\.h5; expected a name that ends in \.keras"):
        pretrained.save(tiny_vae(), tmp_path / "vae.h5", {})
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        pretrained.save(tiny_vae(), tmp_path / "nowhere" / "vae.keras", {})
    with pytest.raises(ValueError, match="the record lacks condition, image_shape, model, seed"):
        pretrained.save(tiny_vae(), str(tmp_path / "vae.npz"), {})


@pytest.fixture(scope="module")
def saved(tiny_vae, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "vae.keras"
    pretrained.save(tiny_vae(), path, {"steps": 7, "note": "ü"})
    return path


def test_keras_file_gives_back_model_and_record(saved, tiny_vae):
    assert pretrained.record(saved) == {"steps": 7, "note": "ü"}
    np.testing.assert_array_equal(pretrained.load(saved).sample(2, seed=0), tiny_vae().sample(2, seed=0))
    assert len(list(saved.parent.iterdir())) == 1


def test_file_written_by_keras_alone_loads_with_an_empty_record(tiny_vae, tmp_path):
    model, path = tiny_vae(), tmp_path / "vae.keras"
    model.save(path)
    assert pretrained.record(path) == {}
    np.testing.assert_array_equal(pretrained.load(path).sample(2, seed=0), model.sample(2, seed=0))


def test_importing_the_models_lets_keras_load_a_family_in_a_new_process(saved, tiny_vae):
    program = (
        "import keras, imggen_lib.models; "
        f"print(keras.saving.load_model({str(saved)!r}).sample(2, seed=0).ravel()[:50].tolist())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    expected = tiny_vae().sample(2, seed=0).ravel()[:50]
    np.testing.assert_allclose(json.loads(run.stdout.splitlines()[-1]), expected, atol=1e-6)


@pytest.mark.parametrize("function", [pretrained.record, pretrained.load])
def test_unknown_names_and_missing_files_are_named(function, tmp_path):
    with pytest.raises(ValueError, match=r"'dall-e' is not a shipped model \(classifier, .*\) and not a \.keras"):
        function("dall-e")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*vae\.keras"):
        function(tmp_path / "vae.keras")


def test_weights_without_a_record_beside_them_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros(3))
    with pytest.raises(FileNotFoundError, match=r"a\.json is missing"):
        pretrained.load(tmp_path / "a.npz")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_keras_file_is_named(saved, tmp_path, share):
    content = saved.read_bytes()
    (tmp_path / "vae.keras").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"vae\.keras is damaged"):
        pretrained.load(tmp_path / "vae.keras")


def test_keras_file_with_a_flipped_byte_is_named(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        start = archive.getinfo("model.weights.h5").header_offset
    content = saved.read_bytes()
    # Three places in the weights, and the version field of the first entry of the archive's directory.
    for offset in (start + 100, start + 2000, start + 8000, content.rindex(b"PK\1\2") + 6):
        damaged = bytearray(content)
        damaged[offset] ^= 0xFF
        (tmp_path / "vae.keras").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"vae\.keras is damaged"):
            pretrained.load(tmp_path / "vae.keras")
