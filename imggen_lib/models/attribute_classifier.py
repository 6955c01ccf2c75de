"""A classifier of several attributes of an image, such as the colour and the size of a marble. It evaluates captions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.classifier import LinearClassifier, feature_map

__all__ = ["AttributeClassifier", "scene_features"]


def scene_features(
    image_shape: Sequence[int],
    feature_dim: int = 256,
    *,
    filters: Sequence[int] = (32, 64, 128, 128, 160),
    halvings: int = 3,
    queries: int = 8,
    dropout: float = 0.1,
    noise: float = 0.0,
    name: str = "features",
) -> keras.Model:
    r"""Build a network that turns an image of several objects into a feature vector, by attention pooling of a feature map.

    A convolutional network turns the image into a map of features :math:`x_p` at positions p. Each query q has weights
    :math:`w_{qp} = \operatorname{softmax}_p(a_q^T x_p + b_{qp})` over the positions, and pools :math:`\sum_p w_{qp} x_p`.
    The bias b lets a query prefer a side of the image. The features of an object are the same at every position, so it is
    learned once for all positions.

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
    queries : int
        Number of queries.
    dropout : float
        Fraction of the pooled values that are dropped in training.
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

    References
    ----------
    Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning", ICML 2018.

    Examples
    --------
    >>> scene_features((64, 64, 3), 32, queries=2).output_shape
    (None, 32)
    """
    image = keras.Input(validate.image_shape(image_shape), name="image")
    x = feature_map(layers.GaussianNoise(noise)(image) if noise else image, filters, halvings)
    x = layers.Reshape((-1, filters[-1]))(x)
    scores = layers.Dense(queries, use_bias=False, name="scores")(x)
    scores = layers.Softmax(axis=1, dtype="float32")(PositionBias(name="position")(scores))
    pooled = layers.Dot(axes=1, name="pooled")([scores, x])
    x = layers.Dropout(dropout)(layers.Flatten()(pooled))
    return keras.Model(image, layers.Dense(feature_dim, activation="relu", name="dense", dtype="float32")(x), name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class PositionBias(layers.Layer):
    """Adds a learned number for each position and channel to a sequence ``(n, positions, channels)``."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the numbers, which begin as 0."""
        self.bias = self.add_weight(shape=shape[1:], initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        """Return the sum, of the same shape."""
        return x + self.bias


@keras.saving.register_keras_serializable(package="imggen_lib")
class AttributeClassifier(LinearClassifier):
    r"""A feature network with one softmax classifier for each attribute of an image.

    The loss is the mean over the attributes of the cross-entropy :math:`-\sum_v y_v \log p_v` over the values of the
    attribute. An attribute without a label adds 0. Labels are rows ``(n, num_classes)`` with a one for each true value.

    Parameters
    ----------
    body : keras.Model
        From images in [0, 1] to features ``(n, d)``; see :func:`imggen_lib.models.classifier.image_features`.
    counts : sequence of int
        Number of values of each attribute.

    References
    ----------
    Caruana, "Multitask learning", Machine Learning 28, 1997.

    Examples
    --------
    An attribute of two values and one of three:

    >>> from imggen_lib import models
    >>> classifier = AttributeClassifier(models.image_features((8, 8, 3), 16), (2, 3))
    >>> classifier.num_classes, classifier.predict_attributes(np.zeros((4, 8, 8, 3))).shape
    (5, (4, 2))
    """

    #: What the model is trained for: :func:`imggen_lib.evaluation.evaluate` chooses its measures by it.
    task: ClassVar[str] = "attributes"

    def __init__(self, body: keras.Model, counts: Sequence[int], **options: Any) -> None:
        counts = tuple(validate.integer(count, "counts", minimum=2) for count in counts)
        super().__init__(body, sum(counts), **options)
        self.counts = counts

    @property
    def num_classes(self) -> int:
        """Number of values of all attributes: the length of a row of labels."""
        return sum(self.counts)

    @property
    def _boundaries(self) -> list[int]:
        """Where the values of the second, third, ... attribute begin."""
        return list(itertools.accumulate(self.counts))[:-1]

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the log-probability of each value among those of its attribute, a tensor ``(n, num_classes)``."""
        logits = ops.split(super().call(images, training=training), self._boundaries, axis=-1)
        return ops.concatenate([ops.log_softmax(group, axis=-1) for group in logits], axis=-1)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the mean cross-entropy of the log-probabilities ``y_pred`` for the rows of labels ``y``."""
        return -ops.mean(ops.sum(ops.cast(y, "float32") * y_pred, axis=-1)) / len(self.counts)

    def predict_attributes(self, images: ArrayLike) -> NDArray[np.int64]:
        """Return the most probable value of each attribute.

        Parameters and errors are those of :meth:`features`.

        Returns
        -------
        numpy.ndarray
            int64 ``(n, attributes)``: an index among the values of each attribute.
        """
        logits = np.split(self.logits(images), self._boundaries, axis=1)
        return np.stack([group.argmax(axis=1) for group in logits], axis=1)

    def decode_labels(self, labels: ArrayLike) -> NDArray[np.int64]:
        """Return the value of each attribute in rows of labels, and -1 for an attribute without a label.

        Examples
        --------
        >>> from imggen_lib import models
        >>> classifier = AttributeClassifier(models.image_features((8, 8, 3), 16), (2, 3))
        >>> classifier.decode_labels([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]).tolist()
        [[1, 2], [0, -1]]
        """
        groups = np.split(np.asarray(labels), self._boundaries, axis=1)
        return np.stack([np.where(group.any(axis=1), group.argmax(axis=1), -1) for group in groups], axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "counts": self.counts}
