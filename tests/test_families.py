"""What every model family must do, from one list: the generative recipes, each at a small size."""

import functools
import inspect
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import backend, datasets, evaluation, models, pretrained, recipes, training
from imggen_lib.recipes import classifiers

SHAPE, CLASSES = (8, 8, 3), 4
#: Options that make a model small, where a recipe has them.
SMALL = {
    "filters": (8,), "latent_dim": 3, "blocks": 1, "couplings": 2, "mixtures": 2, "hidden": 16, "prior_width": 8,
    "prior_blocks": 1, "width": 8, "depth": 1, "heads": 2, "transforms": 2,
    "latent_channels": 2, "num_codes": 16, "code_dim": 4, "base_filters": 8,
}  # fmt: skip
#: A small odd size in grey, and a large one in colour; neither is square.
SHAPES = [(17, 23, 1), (64, 48, 3)]
CLASSIFIERS = [recipe.name for recipe in classifiers.RECIPES]
#: Recipes that build what another recipe builds, at the sizes of the tests.
REPEATED = ("marble_gan", "marble_diffusion", "vae_2d", "emoji_autoencoder", "emoji_token_autoencoder")
FAMILIES = [name for name in recipes.names() if name not in (*CLASSIFIERS, *REPEATED)]
#: The families that train on a folder of images of any size.
SIZED = [name for name in FAMILIES if name not in ("emoji_diffusion", "emoji_tokens")]


def small_options(name):
    """The options with which the model of a recipe is small."""
    options = recipes.get(name).builder_options()
    chosen = {key: value for key, value in SMALL.items() if key in options}
    return {**chosen, "filters": 8} if isinstance(options.get("filters"), int) else chosen


def small(name, image_shape=SHAPE, size=CLASSES):
    """Build the model of a recipe at a small size, with half-precision weights that depend on every input."""
    keras.utils.set_random_seed(0)
    model = recipes.get(name).override(**small_options(name)).model(image_shape, size, seed=0)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32" and not weight.path.endswith(("moving_variance", "moving_mean")):
            changed = np.asarray(weight) + 0.05 * rng.standard_normal(weight.shape)
            weight.assign(changed.astype("float16").astype("float32"))
    model.compile(optimizer=keras.optimizers.Adam(1e-3), run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def built():
    """A model of each family, which no test may change."""
    return {name: small(name) for name in FAMILIES}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(16, *SHAPE)).astype("float32"), rng.integers(CLASSES, size=16)


def labels_for(model, labels):
    return None if model.num_classes is None else labels


@pytest.mark.parametrize("name", FAMILIES)
def test_interface_is_declared(name, built):
    model = built[name]
    assert isinstance(model, models.GenerativeModel)
    assert model.image_shape == SHAPE and model.num_classes in (None, CLASSES) and model.task == "generation"
    assert isinstance(model.accepts_guidance, bool)
    for method in ("sample", "encode", "decode", "generate", "log_prob", "log_prob_lower_bound", "complete"):
        if hasattr(model, method):
            parameters = inspect.signature(getattr(model, method)).parameters
            assert parameters["labels"].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters["labels"].default is None
    assert ("compute_loss" in vars(type(model))) is False and ("call" in vars(type(model))) is False


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_are_images_decided_by_the_seed_and_independent_of_n(name, built):
    model = built[name]
    images = model.sample(3, seed=1)
    assert images.shape == (3, *SHAPE) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(images, model.sample(3, seed=1))
    assert (images != model.sample(3, seed=2)).any()
    # Up to rounding, which depends on the number of rows of a matrix product.
    np.testing.assert_allclose(model.sample(2, seed=1), images[:2], atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_are_accepted_in_every_form_or_rejected_by_name(name, built):
    model = built[name]
    if model.num_classes is None:
        with pytest.raises(ValueError, match="takes no labels"):
            model.sample(2, seed=0, labels=1)
        return
    expected = model.sample(2, seed=0, labels=[1, 1])
    for labels in (1, np.array([[1], [1]]), np.eye(CLASSES, dtype="float32")[[1, 1]]):
        np.testing.assert_array_equal(model.sample(2, seed=0, labels=labels), expected)
    assert (expected != model.sample(2, seed=0, labels=[1, 2])).any()
    for bad in (CLASSES, [1, 2, 3], np.zeros((2, CLASSES + 1))):
        with pytest.raises(ValueError, match="labels has"):
            model.sample(2, seed=0, labels=bad)
    with pytest.raises(TypeError, match="expected integers"):
        model.sample(2, seed=0, labels=0.5)


@pytest.mark.parametrize("name", FAMILIES)
def test_fit_trains_with_every_form_of_labels_and_evaluate_changes_no_weight(name, data):
    model, (images, classes) = small(name), data
    before = [weight.copy() for weight in model.get_weights()]
    forms = (classes, classes[:, np.newaxis], np.eye(CLASSES, dtype="float32")[classes])
    for labels in forms if model.num_classes else [None]:
        history = model.fit(images, labels, batch_size=16, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
    after = [weight.copy() for weight in model.get_weights()]
    assert any((old != new).any() for old, new in zip(before, after, strict=True))
    if model.average is not None:
        assert int(model.average.updates) == (len(forms) if model.num_classes else 1)
    model.evaluate(images, labels_for(model, classes), batch_size=16, verbose=0)
    for weight, unchanged in zip(model.get_weights(), after, strict=True):
        np.testing.assert_array_equal(weight, unchanged)
    if model.num_classes is not None:
        with pytest.raises(ValueError, match=r"is conditional and needs labels; expected fit\(images, labels\)"):
            model.fit(images, verbose=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SIZED)
def test_every_family_trains_samples_and_has_likelihoods_at_any_size(name, shape):
    model = small(name, shape)
    assert model.image_shape == shape
    rng, classes = np.random.default_rng(0), np.array([0, 3])
    images = rng.uniform(size=(2, *shape)).astype("float32")
    history = model.fit(images, labels_for(model, classes), verbose=0).history
    assert np.isfinite(history["loss"]).all() and int(model.optimizer.iterations) == 1
    samples = model.sample(2, seed=0)
    assert samples.shape == images.shape and samples.min() >= 0 and samples.max() <= 1
    log_probs(model, images, classes)  # finite
    assert bool(model.notes) == (name == "pixelcnn" and shape == (64, 48, 3))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64", "floatx"])
@pytest.mark.parametrize("name", ["gan", "vae", "flow", "coupling_flow", "pixelcnn", "diffusion"])
def test_families_work_under_every_dtype_policy(name, policy, built, data):
    """Exact likelihoods do not change. ``floatx`` is the setting that makes all of Keras float64."""
    images, classes = data
    reference = built[name]
    expected = log_probs(reference, images, classes)
    try:
        if policy == "floatx":
            keras.config.set_floatx("float64")
        with backend._dtype_policy("float64" if policy == "floatx" else policy):
            model = small(name)
            model.set_weights(reference.get_weights())
            if name in ("flow", "coupling_flow", "pixelcnn"):
                np.testing.assert_allclose(log_probs(model, images, classes), expected, rtol=1e-6)
            history = model.fit(images, labels_for(model, classes), batch_size=16, verbose=0).history
            samples = model.sample(2, seed=0)
            log_probs(model, images, classes)
    finally:
        keras.config.set_floatx("float32")
    assert np.isfinite(history["loss"]).all() and samples.dtype == np.float32 and np.isfinite(samples).all()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("suffix", ["keras", "npz"])
def test_file_gives_back_the_same_samples_and_likelihoods(name, suffix, tmp_path, built, data):
    model, path = built[name], tmp_path / f"model.{suffix}"
    about = {"settings": small_options(name), "condition": datasets.Condition("classes", tuple("abcd")).describe()}
    pretrained.save(model, path, {"model": name, "image_shape": SHAPE, "seed": 0, **about})
    again = pretrained.load(path)
    np.testing.assert_allclose(again.sample(3, seed=1), model.sample(3, seed=1), atol=1e-6)
    images, classes = data
    ours, loaded = (log_probs(which, images[:3], classes[:3]) for which in (model, again))
    np.testing.assert_allclose(ours, loaded, rtol=1e-5)
    if again.ema_source is not None and suffix == "npz":
        for weight, mean in zip(again.ema_source.weights, again.average.network.weights, strict=True):
            np.testing.assert_array_equal(np.asarray(weight), np.asarray(mean))


def log_probs(model, images, classes):
    """The log-probabilities, or a bound on them, of a family that has either."""
    for name in ("log_prob", "log_prob_lower_bound"):
        if hasattr(model, name):
            method = getattr(model, name)
            seed = {"seed": 0} if "seed" in inspect.signature(method).parameters else {}
            values = method(images, labels=labels_for(model, classes), **seed)
            assert values.shape == (len(images),) and np.isfinite(values).all()
            return values
    return np.zeros(len(images))


def weights_at_full_size(name):
    """Names and shapes of the weights of a recipe's model for its own dataset."""
    recipe = recipes.get(name)
    dataset = datasets.load(recipe.quick.dataset)
    model = recipe.model(dataset.image_shape, dataset.condition.size, seed=0)
    return [(name, tuple(weight.shape)) for name, weight in pretrained._named_weights(model)]


built_first = functools.cache(weights_at_full_size)


@pytest.mark.parametrize("name", recipes.names())
def test_recipe_at_full_size_fits_into_a_file_that_can_be_shipped(name):
    names, shapes = zip(*built_first(name), strict=True)
    assert len(set(names)) == len(names)
    assert sum(map(math.prod, shapes)) < 4_000_000


@pytest.mark.parametrize("name", recipes.names())
def test_weight_names_do_not_depend_on_what_was_built_before(name):
    """Keras numbers unnamed layers through a session, so an unnamed layer would change its name."""
    assert built_first(name) == weights_at_full_size(name)


def test_families_and_recipes_are_found_without_a_list(built):
    """Every module of the packages that defines a family or a recipe is exported."""
    families = {
        value for value in vars(models).values() if inspect.isclass(value) and issubclass(value, models.GenerativeModel)
    }
    assert {type(model) for model in built.values()} | {models.GenerativeModel, models.GuidedModel} == families
    program = """
import keras, imggen_lib.models
names = [name for name in keras.saving.get_custom_objects() if name.startswith("imggen_lib>")]
print(sorted(names))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for family in families - {models.GenerativeModel, models.GuidedModel}:
        assert f"'imggen_lib>{family.__name__}'" in run.stdout


@pytest.mark.usefixtures("few_evaluated_images")
def test_run_evaluates_and_reports_what_the_command_line_prints(digits):
    run = training.run("vae_2d", dataset=digits, num_steps=2, batch_size=8)
    assert run.finished and run.record["quality"] == str(evaluation.evaluate(run.model, digits))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces again what created variables")
def test_training_step_is_traced_once(data, monkeypatch):
    traced = []

    def generative_loss(self, images, condition, *, training):
        traced.append(images)
        return ops.mean(self.network(images)[0])

    monkeypatch.setattr(models.Flow, "generative_loss", generative_loss)
    model = small("coupling_flow")
    model.compile(optimizer="adam")
    model.fit(data[0], batch_size=8, verbose=0)
    assert len(traced) == 1
