"""A judge of pictures that have captions: a network that finds out which word of each factor is true."""

import itertools

import keras
import numpy as np
from keras import ops

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import predict

__all__ = ["AttributeClassifier"]


@keras.saving.register_keras_serializable(package="imggen_lib")
class AttributeClassifier(keras.Model):
    r"""Several classifiers on one network of features, one for each factor of a picture.

    The loss is the mean over the factors of the cross-entropy :math:`-\sum_w y_w \log p_w` over the words of the factor.

    Parameters
    ----------
    body : keras.Model
        From pictures in [0, 1] to ``(n, d)`` features; see :func:`imggen_lib.models.classifier.image_features`.
    counts : sequence of int
        How many words there are for each factor.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> reader = AttributeClassifier(models.image_features((8, 8, 3), 16), (2, 3))
    >>> reader.read(np.zeros((4, 8, 8, 3), "float32")).shape
    (4, 2)
    """

    def __init__(self, body, counts, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.body = body
        self.counts = tuple(validate.integer(count, "counts", minimum=2) for count in counts)
        self.head = keras.layers.Dense(sum(self.counts), name="logits", dtype="float32")
        self.head.build(body.output_shape)
        self.built = True

    def call(self, images, training=False):
        """Return ``(n, words)``: the logarithm of each word's probability among the words of its factor."""
        logits = ops.split(self.head(self.body(images, training=training)), self._ends()[:-1], axis=-1)
        return ops.concatenate([ops.log_softmax(some, axis=-1) for some in logits], axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the mean cross-entropy; ``y`` is ``(n, words)``, 1 where a word is true."""
        return -ops.mean(ops.sum(ops.cast(y, "float32") * y_pred, axis=-1)) / len(self.counts)

    def read(self, images):
        """Return the most probable word of each factor.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].

        Returns
        -------
        numpy.ndarray
            int ``(n, factors)``: an index into the words of each factor.

        Raises
        ------
        ValueError
            If the pictures have another shape, or values outside [0, 1].
        """
        images = validate.images(images, self.body.input_shape[1:])
        weights, bias = self.head.get_weights()
        logits = predict(self.body, images.astype("float32")) @ weights + bias
        found = np.split(logits, self._ends()[:-1], axis=1)
        return np.stack([words.argmax(axis=1) for words in found], axis=1)

    def _ends(self):
        return list(itertools.accumulate(self.counts))

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        body = keras.saving.serialize_keras_object(self.body)
        return {**super().get_config(), "body": body, "counts": self.counts}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        config["body"] = keras.saving.deserialize_keras_object(config["body"])
        return cls(**config)
