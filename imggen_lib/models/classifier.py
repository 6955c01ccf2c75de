"""A classifier, and the features of pictures that the metrics are fed from."""

import keras
import numpy as np
from keras import layers

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import predict

__all__ = ["Classifier", "image_features"]


def image_features(image_shape, feature_dim=64, *, filters=(32, 64, 64), dropout=0.3, name="features"):
    """Build a network from a picture to a vector of features that a linear classifier can use.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    feature_dim : int
        Length of the feature vector.
    filters : sequence of int
        Channels of each stage; the first two stages halve the size.
    dropout : float
        Share of the values that are dropped in training before the features.

    Returns
    -------
    keras.Model
        From pictures in [0, 1] to ``(n, feature_dim)`` features, not negative.

    Raises
    ------
    ValueError
        If it is no shape of a picture.

    Examples
    --------
    >>> image_features((28, 28, 1)).output_shape
    (None, 64)
    """
    image = keras.Input(validate.image_shape(image_shape), name="image")
    x = image
    for stage, count in enumerate(filters):
        x = layers.Conv2D(count, 3, strides=2 if stage < 2 else 1, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(feature_dim, activation="relu", dtype="float32")(x), name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class Classifier(keras.Model):
    """A network of features with a linear classifier on top, trained by cross-entropy.

    What it learned to look at serves a second purpose: distances between sets of pictures are taken between their
    features, since distances between pixels say little about what a picture shows.

    Parameters
    ----------
    body : keras.Model
        From pictures in [0, 1] to ``(n, d)`` features; see :func:`imggen_lib.models.classifier.image_features`.
    classes : int
        How many classes there are.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> classifier = Classifier(models.image_features((8, 8, 1), 16), 10)
    >>> classifier.features(np.zeros((3, 8, 8, 1), "float32")).shape
    (3, 16)
    """

    def __init__(self, body, classes, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.body = body
        self.num_classes = validate.integer(classes, "classes", minimum=2)
        self.head = keras.layers.Dense(self.num_classes, name="logits", dtype="float32")
        self.head.build(body.output_shape)
        self.built = True

    def compile(self, optimizer="adam", **kwargs):
        """Compile for integer labels: cross-entropy on logits, and accuracy, unless told otherwise."""
        kwargs.setdefault("loss", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        kwargs.setdefault("metrics", ["accuracy"])
        super().compile(optimizer=optimizer, **kwargs)

    def compile_from_config(self, config):
        """Compile as before saving, which Keras leaves to a model that has a ``compile`` of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def call(self, images, training=False):
        """Return ``(n, classes)`` logits."""
        return self.head(self.body(images, training=training))

    def features(self, images):
        """Return the features of pictures, ``(n, d)`` float32.

        Raises
        ------
        ValueError
            If the pictures have another shape, or values outside [0, 1].
        """
        images = validate.image(images, "images", ndim=4)
        if images.shape[1:] != self.body.input_shape[1:]:
            raise ValueError(f"the classifier takes pictures of shape {self.body.input_shape[1:]}; got {images.shape[1:]}")
        return predict(self.body, images.astype("float32"))

    def classify(self, images):
        """Return the probability of each class, ``(n, classes)`` float32."""
        weights, bias = (np.asarray(weight) for weight in self.head.get_weights())
        logits = self.features(images) @ weights + bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        body = keras.saving.serialize_keras_object(self.body)
        return {**super().get_config(), "body": body, "classes": self.num_classes}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        config["body"] = keras.saving.deserialize_keras_object(config["body"])
        return cls(**config)
