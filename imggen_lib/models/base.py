"""The interface of every model family: one loss method, one moving average, one way to condition and to sample."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.ema import MovingAverage

__all__ = ["GenerativeModel"]

_NO_WEIGHTS = "sample or class weights are given; no loss of these models uses weights: leave them out"


class GenerativeModel(keras.Model):
    """A Keras model that generates images.

    A family defines :meth:`generative_loss`, ``_sample`` and :attr:`image_shape`; if it samples with averaged weights, it
    also creates ``self.average`` and defines :attr:`ema_source`. Compiling, ``fit``, callbacks, progress bars, ``.keras``
    files and distribution over devices are Keras's, and work on every backend.

    ``call`` returns the images unchanged, in every family: Keras's ``fit`` calls the model before it calls
    :meth:`compute_loss`, but a generative loss needs labels and noise, which ``call`` does not receive.

    Parameters
    ----------
    num_classes : int, optional
        Size of the condition: the number of classes, or of values that encode a caption. None for a model without a
        condition.
    **options
        Of :class:`keras.Model`.

    Attributes
    ----------
    num_classes : int or None
    average : MovingAverage or None
        The moving average of :attr:`ema_source`, if the family has one.
    accepts_guidance : bool
        Whether ``sample`` takes ``guidance_scale``.

    Examples
    --------
    The smallest family: one grey value is learned, and every sample has it.

    >>> class Constant(GenerativeModel):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.value = self.add_weight(shape=(), initializer="zeros", name="value")
    ...         self.built = True
    ...     image_shape = (8, 8, 1)
    ...     def generative_loss(self, images, condition, *, training):
    ...         return ops.mean(ops.square(images - self.value))
    ...     def _sample(self, n, rng, condition):
    ...         return np.full((n, *self.image_shape), float(self.value), np.float32)
    >>> model = Constant()
    >>> model.compile(optimizer=keras.optimizers.SGD(0.5))
    >>> history = model.fit(np.full((4, 8, 8, 1), 0.75, "float32"), verbose=0)
    >>> float(model.sample(1, seed=0).mean())
    0.75
    """

    accepts_guidance: bool = False
    #: What the model is trained for: :func:`imggen_lib.evaluation.evaluate` chooses its measures by it.
    task: ClassVar[str] = "generation"
    average: MovingAverage | None = None

    def __init__(self, *, num_classes: int | None = None, **options: Any) -> None:
        # Losses are computed in single precision, also where the networks inside use mixed precision.
        super().__init__(**{"dtype": "float32", **options})
        self.num_classes: int | None = (
            None if num_classes is None else validate.integer(num_classes, "num_classes", minimum=2)
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        raise NotImplementedError(f"{type(self).__name__} does not define image_shape")

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a user of this model should read, such as a reduced resolution. Most models have none."""
        return ()

    @property
    def ema_source(self) -> keras.Model | None:
        """The network that ``average`` averages; None in a family without a moving average."""
        return None

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the images unchanged; see the class description."""
        return images

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the loss of a batch, a scalar tensor. Every family defines this one method for training.

        Parameters
        ----------
        images : tensor
            ``(n, height, width, channels)`` in [0, 1].
        condition : tensor or None
            float32 ``(n, num_classes)``: a one-hot row for a class, several ones for a caption; None in a model without
            a condition.
        training : bool
            Whether weights are updated from this loss.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define generative_loss")

    @property
    def code_shape(self) -> tuple[int, ...] | None:
        """Shape of the latents or tokens that training accepts instead of images, if the family has them."""
        return None

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return :meth:`generative_loss`; in training, also update the moving average. Keras calls it in every step."""
        condition = None if self.num_classes is None else self._condition_tensor(y)
        images = x
        if tuple(x.shape[1:]) != self.code_shape:
            # Data may be float64, and `fit` takes grey images without an axis of channels.
            images = ops.cast(x, "float32")
            images = ops.expand_dims(images, -1) if len(images.shape) == 3 == len(self.image_shape) else images
        loss = self.generative_loss(images, condition, training=training)
        if training and self.average is not None:
            self.average.update(self.ema_source)
        return loss

    def sample(self, n: int, *, seed: int, labels: ArrayLike | None = None, **options: Any) -> NDArray[np.float32]:
        """Generate images.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            The same seed gives the same images: NumPy generates the random numbers, on every backend.
        labels : array_like, optional
            The condition of a model that has one: one class, ``(n,)`` or ``(n, 1)`` classes, or ``(n, num_classes)``
            rows (one-hot, or an encoded caption). Without labels, classes are sampled uniformly.
        **options
            Further options of the family, such as ``steps`` in diffusion models.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If n is not positive, if a label is out of range, or if labels are given to a model without a condition.
        TypeError
            If n or seed is not an integer, or the family has no such option.
        """
        images = self._sample(*self._sampling_arguments(n, seed, labels), **options)
        return np.clip(np.asarray(images, np.float32), 0, 1)

    def _sampling_arguments(
        self, n: int, seed: int, labels: ArrayLike | None
    ) -> tuple[int, np.random.Generator, NDArray[np.float32] | None]:
        """Check the arguments of ``sample``. Return n, a generator and the condition; without labels, of random classes."""
        n, seed = validate.integer(n, "n"), validate.integer(seed, "seed", minimum=0)
        rng = np.random.default_rng(seed)
        if labels is None and self.num_classes is not None:
            # From a stream of its own, so that a smaller n gives the first images of a larger n.
            labels = rng.spawn(1)[0].integers(self.num_classes, size=n)
        return n, rng, self.condition_rows(labels, n)

    def _sample(self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None) -> Any:
        """Return n images; ``condition`` is ``(n, num_classes)``, or None in a model without a condition."""
        raise NotImplementedError(f"{type(self).__name__} does not define _sample")

    def condition_rows(self, labels: ArrayLike | None, n: int) -> NDArray[np.float32] | None:
        """Check labels and return them as rows: float32 ``(n, num_classes)``, or None if there are none.

        Parameters
        ----------
        labels : array_like or None
            As in :meth:`sample`.
        n : int
            How many images they belong to.

        Raises
        ------
        ValueError
            If labels are given to a model without a condition, or do not fit n or ``num_classes``.
        TypeError
            If classes are not integers.
        """
        if labels is None:
            return None
        if self.num_classes is None:
            raise ValueError(f"{type(self).__name__} was built without num_classes, so it takes no labels: leave them out")
        return validate.condition(labels, n, self.num_classes)

    def required_rows(self, labels: ArrayLike | None, n: int) -> NDArray[np.float32] | None:
        """Return :meth:`condition_rows`, and raise ``ValueError`` if a conditional model gets no labels."""
        if labels is None and self.num_classes is not None:
            raise ValueError(f"labels is None; this {type(self).__name__} is conditional, so give the labels of the images")
        return self.condition_rows(labels, n)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **options: Any) -> keras.callbacks.History:
        """Train as :meth:`keras.Model.fit` does, on images ``x`` and, in a conditional model, their labels ``y``.

        Whole arrays, and the first batch of anything else, are checked before the first step. A ``tf.data`` pipeline is
        iterated, and a ``PyDataset`` indexed, once more for this; the first batch of a generator is kept for training.

        Parameters
        ----------
        x : array, tensor, tf.data.Dataset, keras.utils.PyDataset, iterator or iterable of batches
            Images in [0, 1]: floating-point ``(n, height, width, channels)``, or ``(n, height, width)`` if they are grey.
            Batches are such images, or tuples ``(images, labels)``.
        y : array_like or tensor, optional
            Labels of an array or a tensor ``x``: ``(n,)`` or ``(n, 1)`` classes, or ``(n, num_classes)`` rows. A model
            without a condition ignores labels.
        *args, **options
            Of :meth:`keras.Model.fit`. ``validation_data`` is checked in the same way.

        Returns
        -------
        keras.callbacks.History

        Raises
        ------
        ValueError
            If images are outside [0, 1] or have another shape than :attr:`image_shape`; if labels of a conditional model
            are missing, out of range or of another form; if there is no batch; or if sample or class weights are given,
            which no loss here uses.
        TypeError
            If images or labels have the wrong dtype, such as bytes from 0 to 255.
        """
        if options.get("sample_weight") is not None or options.get("class_weight") is not None:
            raise ValueError(_NO_WEIGHTS)
        x, y = self._checked_data(x, y)
        if (validation := options.get("validation_data")) is not None:
            images, labels, weights = keras.utils.unpack_x_y_sample_weight(validation)
            if weights is not None:
                raise ValueError(_NO_WEIGHTS)
            options["validation_data"] = self._checked_data(images, labels)
        # Otherwise the first step creates the optimizer's variables, and TensorFlow traces it a second time.
        if self.compiled and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().fit(x, y, *args, **options)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **options: Any) -> Any:
        """Return the loss as :meth:`keras.Model.evaluate` does. Data and errors are those of :meth:`fit`."""
        # Keras's `fit` passes validation data here in every epoch, with this option. They are checked already.
        if not options.get("_use_cached_eval_dataset"):
            x, y = self._checked_data(x, y)
        return super().evaluate(x, y, *args, **options)

    def _checked_data(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Check an array and its labels, or the first batch of anything else. Return both as Keras takes them."""
        if isinstance(x, list | tuple | dict | str) or x is None:
            raise TypeError(f"x is a {type(x).__name__}; expected one array of images, or an iterable of batches")
        if hasattr(x, "shape") and hasattr(x, "dtype"):
            return x, self._checked_batch(x, y, "x")
        if isinstance(x, keras.utils.PyDataset):
            first = x[0] if x.num_batches != 0 else None
        elif isinstance(x, Iterator):
            if (first := next(x, None)) is not None:
                x = _prepended(first, x)
        elif isinstance(x, Iterable):
            first = next(iter(x), None)
        else:
            raise TypeError(f"x is a {type(x).__name__}; expected one array of images, or an iterable of batches")
        if first is None:
            raise ValueError("x has no batch; expected at least one")
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(first)
        if weights is not None:
            raise ValueError(_NO_WEIGHTS)
        self._checked_batch(images, labels, "the first batch of x")
        return x, y

    def _checked_batch(self, images: Any, labels: Any, name: str) -> Any:
        """Check images and, in a conditional model, labels. Return the labels; as rows if there is a condition."""
        if not hasattr(images, "shape"):
            raise TypeError(f"{name} is a {type(images).__name__}; expected an array of images, or (images, labels)")
        array = ops.convert_to_numpy(images)
        if array.dtype.name == "bfloat16":  # not one of NumPy's own types
            array = array.astype(np.float32)
        shape = self.image_shape
        is_code = array.shape[1:] == self.code_shape
        is_image = len(shape) == 3 and not is_code  # a GAN may also model points, which have any values
        if is_image and (array.dtype.kind != "f" or array.size == 0 or (array < 0).any() or (array > 1).any()):
            validate.image(array, name, ndim=(3, 4))  # raises the right error; NaN passes, and StopIfDiverged reports it
        if not is_code and array.shape[1:] != shape and (*array.shape[1:], 1) != shape:
            raise ValueError(
                f"{name} has the shape {array.shape}; expected (n, {', '.join(map(str, shape))}): resize or crop the "
                "images, or build the model for their shape"
            )
        if self.num_classes is None:
            return labels
        if labels is None:
            raise ValueError(_no_labels(self))
        labels = ops.convert_to_numpy(labels)
        if labels.ndim == 0:
            raise ValueError(f"labels is {labels}; expected a label for each of the {len(array)} images")
        return validate.condition(labels, len(array), self.num_classes)

    def _condition_tensor(self, labels: Any) -> Any:
        """Inside a training step: labels as float32 rows ``(n, num_classes)``. Shapes are known, values are not."""
        if labels is None:
            raise ValueError(_no_labels(self))
        if len(labels.shape) == 2 and labels.shape[1] == self.num_classes:
            return ops.cast(labels, "float32")
        return ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> GenerativeModel:
        """Build the model that :meth:`get_config` described, with initial weights."""
        return cls(**{name: _deserialize(value) for name, value in config.items()})


def _no_labels(model: GenerativeModel) -> str:
    return f"{type(model).__name__} is conditional and needs labels; expected fit(images, labels)"


def _prepended(first: Any, rest: Iterator[Any]) -> Generator[Any, None, None]:
    """Return one batch and the batches after it in the form that Keras takes: a generator of tuples."""

    def batches() -> Generator[Any, None, None]:
        for batch in itertools.chain([first], rest):
            yield tuple(batch) if isinstance(batch, list | tuple) else (batch,)

    return batches()


def serialize(network: keras.Model) -> dict[str, Any]:
    """Return the Keras configuration of a network, for a family's ``get_config``."""
    return keras.saving.serialize_keras_object(network)


def _deserialize(value: Any) -> Any:
    is_network = isinstance(value, dict) and "class_name" in value
    return keras.saving.deserialize_keras_object(value) if is_network else value


def check_network(network: keras.Model, takes: Callable[..., bool], expected: str) -> None:
    """Raise ``ValueError`` with ``expected`` if ``takes(inputs, outputs)``, both lists of shapes, is False."""
    inputs, outputs = ([tuple(t.shape[1:]) for t in tensors] for tensors in (network.inputs, network.outputs))
    if not takes(inputs, outputs):
        raise ValueError(f"the network {network.name} maps {inputs} to {outputs}; expected {expected}")
