"""The interface that all model families share: sampling, conditioning, training, saving."""

import keras
import numpy as np
import pytest
import scipy.stats
from helpers import has_changed, random_images, weights_of
from keras import ops

from imggen_lib import models

LABELS = np.arange(16) % 3


@keras.saving.register_keras_serializable(package="tests")
class Constant(models.GenerativeModel):
    """The smallest family: it learns one grey value for each class, and samples with the average of these values."""

    image_shape = (8, 8, 1)

    def __init__(self, *, num_classes=None, ema_momentum=0.9, **options):
        super().__init__(num_classes=num_classes, **options)
        self.ema_momentum = ema_momentum
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="grey")
        self.network = keras.Sequential([keras.Input((num_classes or 1,)), dense])
        self.average = models.MovingAverage(self.network, ema_momentum)
        self.built = True

    @property
    def ema_source(self):
        return self.network

    def generative_loss(self, images, condition, *, training):
        rows = ops.ones((ops.shape(images)[0], 1)) if condition is None else condition
        return ops.mean(ops.square(ops.mean(images, axis=(1, 2)) - self.network(rows)))

    def _sample(self, n, rng, condition):
        grey = self.average(np.ones((n, 1), np.float32) if condition is None else condition)
        noise = 0.01 * rng.standard_normal((n, *self.image_shape))
        return 0.5 + ops.convert_to_numpy(grey).reshape(n, 1, 1, 1) + noise

    def get_config(self):
        return {**super().get_config(), "ema_momentum": self.ema_momentum}


def constant(**options):
    model = Constant(**options)
    model.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def build(tiny_gan, tiny_conditional_gan, tiny_vae, tiny_conditional_vae):
    """For each name, a function that builds a compiled model."""
    return {
        "Constant": constant,
        "conditional Constant": lambda: constant(num_classes=3),
        "GAN": tiny_gan,
        "conditional GAN": tiny_conditional_gan,
        "VAE": tiny_vae,
        "conditional VAE": tiny_conditional_vae,
        "Gaussian": lambda: models.GaussianImageModel().fit(random_images()),
    }


@pytest.fixture(scope="module")
def built(build):
    """One model of each kind, for tests that do not train."""
    return {name: function() for name, function in build.items()}


CONDITIONAL = ["conditional Constant", "conditional GAN", "conditional VAE"]
UNCONDITIONAL = ["Constant", "GAN", "VAE", "Gaussian"]
TRAINED_BY_KERAS = ["Constant", "conditional Constant", "GAN", "conditional GAN", "VAE", "conditional VAE"]


def labels_for(model):
    return None if model.num_classes is None else LABELS


# -- sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONDITIONAL + UNCONDITIONAL)
def test_samples_are_images_determined_by_the_seed(built, name):
    """Also without labels: a conditional model can be used wherever an unconditional one can."""
    model = built[name]
    images = model.sample(5, seed=3)
    assert images.shape == (5, *model.image_shape) == (5, 8, 8, 1) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(images, model.sample(5, seed=3))
    assert np.abs(images - model.sample(5, seed=4)).max() > 1e-3


@pytest.mark.parametrize("name", CONDITIONAL + UNCONDITIONAL)
def test_a_smaller_sample_is_the_beginning_of_a_larger_one(built, name):
    np.testing.assert_allclose(built[name].sample(3, seed=3), built[name].sample(7, seed=3)[:3], atol=1e-6)


@pytest.mark.parametrize("name", UNCONDITIONAL)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0, "seed": 0}, ValueError, "n is 0"),
        ({"n": 2.0, "seed": 0}, TypeError, "n is 2.0"),
        ({"n": 2, "seed": -1}, ValueError, "seed is -1"),
        ({"n": 2, "seed": None}, TypeError, "seed is None"),
        ({"n": 2, "seed": 0, "labels": [0, 1]}, ValueError, "takes no labels"),
    ],
)
def test_bad_arguments_of_sample_are_refused(built, name, arguments, error, message):
    with pytest.raises(error, match=message):
        built[name].sample(**arguments)


def test_a_family_without_the_required_methods_says_which_is_missing():
    class Empty(models.GenerativeModel):
        pass

    with pytest.raises(NotImplementedError, match="Empty does not define _sample"):
        Empty().sample(1, seed=0)
    with pytest.raises(NotImplementedError, match="Empty does not define image_shape"):
        _ = Empty().image_shape
    Empty.image_shape = (8, 8, 1)
    with pytest.raises(NotImplementedError, match="Empty does not define generative_loss"):
        Empty().compute_loss(random_images())


# -- conditioning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONDITIONAL)
def test_every_form_of_labels_gives_the_same_samples(built, name):
    model = built[name]
    expected = model.sample(4, seed=0, labels=2)
    for labels in ([2] * 4, np.full((4, 1), 2), np.eye(3)[[2] * 4], np.uint8(2)):
        np.testing.assert_array_equal(model.sample(4, seed=0, labels=labels), expected)


@pytest.mark.parametrize("name", ["conditional GAN", "conditional VAE"])
def test_labels_determine_the_class_and_the_seed_the_rest(built, name):
    model, labels = built[name], np.array([0, 2, 1, 2])
    images = model.sample(4, seed=0, labels=labels)
    for label in range(3):
        one_class = model.sample(4, seed=0, labels=label)
        np.testing.assert_allclose(images[labels == label], one_class[labels == label], atol=1e-6)
        assert np.abs(images - one_class)[labels != label].max() > 1e-4


def test_without_labels_the_classes_are_uniform():
    model = constant(num_classes=3)
    model.average.network.set_weights([np.array([[-0.4], [0.0], [0.4]])])
    greys = model.sample(3000, seed=0).mean(axis=(1, 2, 3))
    counts = np.bincount(np.digitize(greys, [0.3, 0.7]), minlength=3)
    assert scipy.stats.chisquare(counts).pvalue > 0.001


BAD_LABELS = [
    (3, ValueError, "labels has values from 3 to 3; expected classes from 0 to 2"),
    ([0, -1], ValueError, "labels has values from -1 to 0"),
    ([0, 1, 2], ValueError, r"labels has the shape \(3,\); expected one class, \(2,\) or \(2, 1\) classes"),
    ([0.0, 1.0], TypeError, "labels has the dtype float64; expected integers"),
    ([[0.0, np.nan, 1.0]] * 2, ValueError, "labels contains NaN"),
    ("shoe", TypeError, "expected integers"),
]


@pytest.mark.parametrize(("labels", "error", "message"), BAD_LABELS)
def test_bad_labels_are_refused_by_every_method_that_takes_labels(built, labels, error, message):
    gan, vae, images = built["conditional GAN"], built["conditional VAE"], random_images(2)
    for call in (
        lambda: gan.sample(2, seed=0, labels=labels),
        lambda: gan.generate(np.zeros((2, 3)), labels=labels),
        lambda: vae.sample(2, seed=0, labels=labels),
        lambda: vae.encode(images, labels=labels),
        lambda: vae.decode(np.zeros((2, 2)), labels=labels),
        lambda: vae.reconstruct(images, labels=labels),
        lambda: vae.log_prob_lower_bound(images, seed=0, labels=labels),
    ):
        with pytest.raises(error, match=message):
            call()


def test_missing_labels_are_refused_where_they_are_required(built):
    gan, vae, images = built["conditional GAN"], built["conditional VAE"], random_images(2)
    for call in (
        lambda: gan.generate(np.zeros((2, 3))),
        lambda: vae.encode(images),
        lambda: vae.decode(np.zeros((2, 2))),
        lambda: vae.reconstruct(images),
        lambda: vae.log_prob_lower_bound(images, seed=0),
    ):
        with pytest.raises(ValueError, match="is conditional, so give the labels of the images"):
            call()


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED_BY_KERAS)
def test_evaluate_changes_no_weight_and_no_moving_average(build, name):
    model = build[name]()
    before, samples = weights_of(model), model.sample(2, seed=0)
    results = model.evaluate(random_images(), labels_for(model), batch_size=4, verbose=0)
    assert np.isfinite(results).all()
    assert not has_changed(model, before)
    np.testing.assert_array_equal(model.sample(2, seed=0), samples)


@pytest.mark.parametrize("name", ["Constant", "conditional Constant", "GAN", "conditional GAN"])
def test_fit_updates_the_moving_average_once_per_step(build, name):
    model = build[name]()
    model.fit(random_images(), labels_for(model), batch_size=4, epochs=2, verbose=0)
    assert int(model.average.updates) == int(model.optimizer.iterations) == 8


def test_the_average_is_updated_once_per_step_where_several_steps_are_one_execution():
    model = constant()
    model.compile(optimizer=keras.optimizers.SGD(0.1), steps_per_execution=4)
    model.fit(random_images(), batch_size=2, verbose=0)
    assert int(model.average.updates) == 8


def test_fit_minimises_the_loss_with_plain_gradient_descent():
    """Each step moves the grey by 2 * rate of its distance to the target; the average is that of the values before it."""
    model, target = constant(ema_momentum=0.0), 0.75
    model.fit(np.full((4, 8, 8, 1), target, "float32"), epochs=3, batch_size=4, verbose=0)
    after = [target * (1 - 0.8**step) for step in range(4)]
    assert float(model.network.get_weights()[0][0, 0]) == pytest.approx(after[3], rel=1e-5)
    assert float(model.average.network.get_weights()[0][0, 0]) == pytest.approx(after[2], rel=1e-5)


def test_every_form_of_labels_trains_the_same_model():
    trained = []
    for labels in (LABELS, LABELS[:, None], np.eye(3)[LABELS]):
        model = constant(num_classes=3)
        model.fit(random_images(), labels, batch_size=4, shuffle=False, verbose=0)
        trained.append(model.network.get_weights()[0])
    np.testing.assert_array_equal(trained[1], trained[0])
    np.testing.assert_array_equal(trained[2], trained[0])
    assert np.abs(trained[0]).min() > 0


class Sequence(keras.utils.PyDataset):
    """Batches of four from arrays, by index."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return -(-len(self.arrays[0]) // 4)

    def __getitem__(self, index):
        batch = tuple(array[4 * index : 4 * index + 4] for array in self.arrays)
        return batch if len(batch) > 1 else batch[0]


def pipeline(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(4)


def generator(*arrays):
    sequence = Sequence(*arrays)
    return (sequence[index] for index in range(len(sequence)))


#: From images and, if there are labels, labels, to the arguments of ``fit`` in each form that Keras takes.
KINDS = {
    "array": lambda *arrays: arrays,
    "tensor": lambda *arrays: tuple(ops.convert_to_tensor(array) for array in arrays),
    "tf.data": lambda *arrays: (pipeline(*arrays),),
    "PyDataset": lambda *arrays: (Sequence(*arrays),),
    "generator": lambda *arrays: (generator(*arrays),),
    "iterator": lambda *arrays: (iter(list(generator(*arrays))),),
}

BAD_IMAGES = [
    (np.zeros((8, 8, 8, 1), "uint8"), TypeError, "x has the dtype uint8; .*img_as_float32"),
    (np.full((8, 8, 8), 255, "uint8"), TypeError, "x has the dtype uint8; .*img_as_float32"),  # as keras.datasets.mnist
    (np.zeros((8, 8, 8, 1), "int32"), TypeError, "x has the dtype int32"),
    (np.full((8, 8, 8, 1), 255.0), ValueError, "x has values from 255 to 255; expected"),
    (np.full((8, 8, 8), 1.01, "float32"), ValueError, "x has values from 1.0.* to 1.0.*; expected"),
    (np.full((8, 8, 8, 1), -1.0), ValueError, "x has values from -1 to -1; expected"),
    (np.where(np.arange(8) == 3, np.nan, 2.0).reshape(8, 1, 1, 1) * np.ones((8, 8, 8, 1)), ValueError, "x contains NaN"),
    (np.zeros((8, 9, 8, 1)), ValueError, r"x has the shape \(\d, 9, 8, 1\); expected \(n, 8, 8, 1\): resize or crop"),
    (np.zeros((8, 8, 8, 3)), ValueError, r"x has the shape \(\d, 8, 8, 3\); expected \(n, 8, 8, 1\)"),
    (np.zeros((8, 8)), ValueError, r"x has the shape \(\d, 8\); expected \(n, 8, 8, 1\)"),
]
BAD_CLASSES = [
    (np.arange(8) + 3, ValueError, "labels has values from 3 to .*; expected classes from 0 to 2"),
    (np.arange(8) - 1, ValueError, "labels has values from -1 to"),
    (np.arange(8) / 8, TypeError, "labels has the dtype float(32|64); expected integers"),  # JAX has no float64
    (np.eye(10)[np.arange(8)], ValueError, r"labels has the shape \(\d, 10\); expected one class"),
]


def refuses(call, error, message):
    """Check that a call raises an error of one line that matches."""
    with pytest.raises(error, match=message) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_dtype_range_or_shape_are_refused_in_every_kind_of_data(kind, method):
    model = constant()
    before = weights_of(model)
    for images, error, message in BAD_IMAGES:
        refuses(lambda x=images: getattr(model, method)(*KINDS[kind](x), verbose=0), error, message)
    assert not has_changed(model, before)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("kind", KINDS)
def test_missing_and_bad_labels_are_refused_in_every_kind_of_data(kind, method):
    model, images = constant(num_classes=3), random_images(8)
    before = weights_of(model)
    for labels, error, message in BAD_CLASSES:
        refuses(lambda y=labels: getattr(model, method)(*KINDS[kind](images, y), verbose=0), error, message)
    refuses(lambda: getattr(model, method)(*KINDS[kind](images), verbose=0), ValueError, r"expected fit\(images, labels\)")
    assert not has_changed(model, before)


@pytest.mark.parametrize("ndim", [3, 4])
@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_trains_the_same_model(kind, num_classes, ndim):
    """The first batch, which is checked before training, is neither lost nor repeated; grey images need no channel axis."""
    images, labels = random_images(14), LABELS[:14]
    expected, model = constant(num_classes=num_classes), constant(num_classes=num_classes)
    expected.fit(images, None if num_classes is None else labels, batch_size=4, shuffle=False, verbose=0)
    data = KINDS[kind](images if ndim == 4 else images[..., 0], *[labels] * (num_classes is not None))
    options = {"batch_size": 4} if kind in ("array", "tensor") else {}
    model.fit(*data, shuffle=False, verbose=0, **options)
    assert int(model.optimizer.iterations) == 4
    np.testing.assert_allclose(model.network.get_weights()[0], expected.network.get_weights()[0], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_data_are_checked_before_training_and_evaluated_whole(kind):
    images, labels = random_images(14), LABELS[:14]
    model = constant(num_classes=3)

    def fit(x, y, **options):
        data = KINDS[kind](x, y)
        model.fit(images, labels, validation_data=data if len(data) > 1 else data[0], verbose=0, **options)
        return model.history.history["val_loss"]

    before = weights_of(model)
    refuses(lambda: fit(images * 255, labels), ValueError, "x has values from")
    refuses(lambda: fit(images, labels + 3), ValueError, "labels has values from")
    refuses(lambda: model.fit(images, labels, validation_data=(images, labels, labels)), ValueError, "leave them out")
    assert not has_changed(model, before)
    (found,) = fit(images, labels)
    assert found == pytest.approx(model.evaluate(images, labels, batch_size=4, verbose=0), rel=1e-5)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, TypeError, "x is a NoneType; expected one array of images"),
        ([random_images(4)], TypeError, "x is a list; expected one array of images"),
        (3, TypeError, "x is a int; expected one array of images"),
        (iter([]), ValueError, "x has no batch"),
        (Sequence(np.zeros((0, 8, 8, 1))), ValueError, "x has no batch"),
        (random_images(0), ValueError, "x is empty"),
        (iter([{"image": random_images(4)}]), TypeError, "the first batch of x is a dict; expected an array of images"),
        (iter([(random_images(4), None, np.ones(4))]), ValueError, "leave them out"),
    ],
)
def test_data_of_another_structure_are_refused(built, data, error, message):
    refuses(lambda: built["Constant"].fit(data, verbose=0), error, message)


def test_a_single_label_for_a_batch_is_refused(built):
    refuses(
        lambda: built["conditional Constant"].fit(iter([(random_images(4), 2)]), verbose=0),
        ValueError,
        "labels is 2; expected a label for each of the 4 images",
    )


def test_a_gan_of_points_takes_any_values_of_the_right_shape():
    generator, discriminator = (keras.Sequential([keras.Input((2,)), keras.layers.Dense(n)]) for n in (2, 1))
    gan = models.GAN(generator, discriminator)
    gan.compile(optimizer="sgd", run_eagerly=True)
    gan.fit(np.random.default_rng(0).normal(size=(8, 2)), batch_size=4, verbose=0)
    assert int(gan.optimizer.iterations) == 2
    refuses(lambda: gan.fit(np.zeros((8, 3)), verbose=0), ValueError, r"x has the shape \(8, 3\); expected \(n, 2\)")


def test_an_unconditional_model_ignores_labels():
    model = constant()
    model.fit(random_images(), LABELS + 7, batch_size=4, verbose=0)
    model.fit(pipeline(random_images(), LABELS + 7), verbose=0)
    assert int(model.optimizer.iterations) == 8


def test_a_model_has_no_notes_unless_its_family_defines_them(built):
    assert built["Constant"].notes == built["GAN"].notes == ()


@pytest.mark.parametrize("weights", [{"sample_weight": np.ones(8)}, {"class_weight": {0: 1.0}}])
def test_sample_weights_are_refused_because_no_loss_uses_them(built, weights):
    with pytest.raises(ValueError, match="leave them out"):
        built["Constant"].fit(random_images(8), verbose=0, **weights)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (None, ValueError, r"expected fit\(images, labels\)"),
        ([0, 3], ValueError, "labels has values from 0 to 3; expected classes from 0 to 2"),
        ([0, -1], ValueError, "labels has values from -1 to 0"),
        ([0.0, 1.0], TypeError, "labels has the dtype float64; expected integers"),
    ],
)
@pytest.mark.parametrize("name", CONDITIONAL)
def test_fit_of_a_conditional_model_refuses_missing_and_bad_labels(built, name, labels, error, message):
    with pytest.raises(error, match=message):
        built[name].fit(random_images(2), None if labels is None else np.array(labels), verbose=0)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED_BY_KERAS)
def test_a_saved_model_samples_and_trains_as_before(build, name, tmp_path):
    model = build[name]()
    labels = labels_for(model)
    model.fit(random_images(), labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model) and loaded.num_classes == model.num_classes
    np.testing.assert_array_equal(loaded.sample(4, seed=0), model.sample(4, seed=0))
    assert int(loaded.optimizer.iterations) == 1
    assert np.isfinite(loaded.fit(random_images(), labels, verbose=0).history["loss"]).all()
