"""A classifier of images. Its features are also the space in which the metrics compare sets of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import scipy.special
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.base import serialize
from imggen_lib.models.blocks import predict

__all__ = ["Classifier", "LinearClassifier", "image_features"]


def image_features(
    image_shape: Sequence[int],
    feature_dim: int = 64,
    *,
    filters: Sequence[int] = (32, 64, 64),
    halvings: int = 2,
    dropout: float = 0.3,
    noise: float = 0.0,
    name: str = "features",
) -> keras.Model:
    """Build a convolutional network from an image to a feature vector, the input of a linear classifier.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    feature_dim : int
        Length of the feature vector.
    filters : sequence of int
        Channels of each stage.
    halvings : int
        How many stages, from the first one on, halve the size.
    dropout : float
        Fraction of the values that are dropped in training before the last layer.
    noise : float
        Standard deviation of Gaussian noise that is added to the images in training.

    Returns
    -------
    keras.Model
        From images in [0, 1] to features ``(n, feature_dim)``, which are at least 0.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image.

    Examples
    --------
    Any size is possible, because the strided convolutions pad the image:

    >>> image_features((28, 28, 1)).output_shape, image_features((7, 9, 3)).output_shape
    ((None, 64), (None, 64))
    """
    image = keras.Input(validate.image_shape(image_shape), name="image")
    x = feature_map(layers.GaussianNoise(noise)(image) if noise else image, filters, halvings)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(feature_dim, activation="relu", name="dense", dtype="float32")(x), name=name)


def feature_map(image: Any, filters: Sequence[int], halvings: int) -> Any:
    """Return the output of convolutions with batch normalisation and ReLU; the first ``halvings`` have a stride of 2."""
    x = image
    for stage, count in enumerate(filters):
        strides = 2 if stage < halvings else 1
        x = layers.Conv2D(count, 3, strides=strides, padding="same", use_bias=False, name=f"conv_{stage}")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, name=f"norm_{stage}")(x))
    return x


class LinearClassifier(keras.Model):
    """A feature network with one linear layer on top, the base of both classifiers.

    Parameters
    ----------
    body : keras.Model
        From images in [0, 1] to features ``(n, d)``; see :func:`image_features`.
    num_logits : int
        Outputs of the linear layer.
    **options
        Of :class:`keras.Model`.

    Examples
    --------
    The logits are a linear function of the features:

    >>> classifier = LinearClassifier(image_features((8, 8, 1), 16), num_logits=3)
    >>> images = np.random.default_rng(0).uniform(size=(5, 8, 8, 1))
    >>> kernel, bias = classifier.head.get_weights()
    >>> bool(np.allclose(classifier.logits(images), classifier.features(images) @ kernel + bias, atol=1e-6))
    True
    """

    def __init__(self, body: keras.Model, num_logits: int, **options: Any) -> None:
        super().__init__(**{"dtype": "float32", **options})
        self.body = body
        self.head: Any = layers.Dense(num_logits, name="logits", dtype="float32")
        self.head.build(body.output_shape)
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.body.input_shape[1:])

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the logits of a batch of images, a tensor ``(n, num_logits)``."""
        return self.head(self.body(images, training=training))

    def features(self, images: ArrayLike) -> NDArray[np.float32]:
        """Return the features of images.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].

        Returns
        -------
        numpy.ndarray
            float32 ``(n, d)``.

        Raises
        ------
        ValueError
            If the images have another shape, or values outside [0, 1].
        TypeError
            If the images are not floating-point.
        """
        return predict(self.body, validate.images(images, self.image_shape).astype("float32"))

    def logits(self, images: ArrayLike) -> NDArray[np.float32]:
        """Return the logits of images, ``(n, num_logits)``. Parameters and errors are those of :meth:`features`."""
        return ops.convert_to_numpy(self.head(self.features(images)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "body": serialize(self.body)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LinearClassifier:
        """Build the model that :meth:`get_config` described, with initial weights."""
        return cls(**{**config, "body": keras.saving.deserialize_keras_object(config["body"])})


@keras.saving.register_keras_serializable(package="imggen_lib")
class Classifier(LinearClassifier):
    """A feature network with a linear classifier on top, trained by cross-entropy on integer labels.

    Parameters
    ----------
    body : keras.Model
        From images in [0, 1] to features ``(n, d)``; see :func:`image_features`.
    num_classes : int

    References
    ----------
    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017, which
    compares sets of images by the features of a classifier.

    Examples
    --------
    >>> classifier = Classifier(image_features((8, 8, 1), 16), num_classes=10)
    >>> images = np.random.default_rng(0).uniform(size=(3, 8, 8, 1))
    >>> classifier.features(images).shape
    (3, 16)
    >>> classifier.predict_proba(images).sum(axis=1).round(4)
    array([1., 1., 1.], dtype=float32)
    """

    #: What the model is trained for: :func:`imggen_lib.evaluation.evaluate` chooses its measures by it.
    task: ClassVar[str] = "classification"

    def __init__(self, body: keras.Model, num_classes: int, **options: Any) -> None:
        num_classes = validate.integer(num_classes, "num_classes", minimum=2)
        super().__init__(body, num_classes, **options)
        self.num_classes = num_classes

    def compile(self, optimizer: Any = "adam", **options: Any) -> None:
        """Compile with cross-entropy on the logits of integer labels, and accuracy, unless others are given."""
        options.setdefault("loss", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        options.setdefault("metrics", ["accuracy"])
        super().compile(optimizer=optimizer, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as before saving. Keras does not do it for a model that overrides ``compile``."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def predict_proba(self, images: ArrayLike) -> NDArray[np.float32]:
        """Return the probability of each class, float32 ``(n, num_classes)``.

        Parameters and errors are those of :meth:`features`.
        """
        return scipy.special.softmax(self.logits(images), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "num_classes": self.num_classes}
