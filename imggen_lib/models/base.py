"""What every generative model here can do: say how wrong it is, and draw pictures."""

import keras
import numpy as np
from keras import ops

from imggen_lib import checks


class GenerativeModel(keras.Model):
    """A Keras model that draws pictures.

    A subclass defines ``compute_loss``, from which Keras's ``fit`` trains it on every backend, and ``_draw``. Compiling,
    callbacks, progress bars, saving and loading are Keras's.
    """

    #: How many classes a conditional model was trained with; None if it draws without labels.
    classes = None

    def __init__(self, **options):
        # Losses are computed in single precision, also where the networks inside compute in half.
        super().__init__(**{"dtype": "float32", **options})

    def sample(self, n, *, seed, labels=None):
        """Draw pictures.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            The same seed gives the same pictures: the randomness is drawn by NumPy, on every backend alike.
        labels : array_like of int, optional
            ``(n,)`` classes, or one class for all. Only a conditional model takes them; without them it draws the
            classes uniformly.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If n is not positive, or labels are given to a model that has none.
        """
        n, seed = checks.integer(n, "n"), checks.integer(seed, "seed", minimum=0)
        images = self._draw(n, np.random.default_rng(seed), labels)
        return np.clip(np.asarray(images, np.float32), 0, 1)

    def _draw(self, n, rng, labels):
        raise NotImplementedError(f"{type(self).__name__} does not say how it draws")

    def fit(self, x=None, y=None, *args, **options):
        """Train as Keras does, on pictures ``x`` and, for a conditional model, their classes ``y``.

        Raises
        ------
        ValueError
            If pictures in a NumPy array are not in [0, 1], labels of a conditional model are missing or no classes, or
            samples or classes are given weights, which no loss here uses.
        TypeError
            If such pictures or labels are numbers of the wrong kind: bytes from 0 to 255, say.
        """
        if isinstance(x, np.ndarray) and x.ndim == 4 and (x.dtype.kind != "f" or x.min() < 0 or x.max() > 1):
            checks.image(x, "x", ndim=4)  # which says what is wrong; NaN is left to whoever watches the loss
        if options.get("sample_weight") is not None or options.get("class_weight") is not None:
            raise ValueError("sample_weight or class_weight is given; no loss of these models uses weights: leave them out")
        if y is not None and self.classes:
            y = self._check_labels(ops.convert_to_numpy(y), len(y))
        elif self.classes and hasattr(x, "shape"):
            self._one_hot(None)  # refused now: on JAX an error within a step would cost the model its weights
        # Left to itself, the first step makes the optimizer's variables, and TensorFlow traces all of it a second time.
        if self.compiled and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().fit(x, y, *args, **options)

    def _one_hot(self, labels):
        """In a training step: a row of zeros with a single one for each picture."""
        if labels is None:
            raise ValueError(f"{type(self).__name__} learns from pictures and their classes; expected fit(images, labels)")
        return ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), self.classes)

    def _classes_to_draw(self, n, rng, labels):
        """The class of each picture to be drawn: as asked for, or drawn uniformly; None if the model has none."""
        if not self.classes:
            return self._refuse(labels)
        if labels is None:
            # From a stream of its own, so that the first of many pictures are those that fewer would be.
            return rng.spawn(1)[0].integers(self.classes, size=n)
        return self._check_labels(labels, n)

    def _check_labels(self, labels, n):
        return checks.labels(labels, n, self.classes)

    def _refuse(self, labels):
        """Raise if labels were given to a model that was trained without them."""
        if labels is not None:
            raise ValueError(f"{type(self).__name__} was trained without labels and cannot draw a chosen class")


class MovingAverage(keras.layers.Layer):
    r"""A copy of a network whose weights are the exponential moving average of another's.

    .. math:: \bar\theta_t = m_t\, \bar\theta_{t-1} + (1 - m_t)\, \theta_t, \qquad
              m_t = \min\left(m, \frac{1 + t}{10 + t}\right)

    The average starts short and grows longer, so that the first, random weights are soon forgotten.

    Parameters
    ----------
    network : keras.Model
        The network to follow. Its weights are copied now.
    momentum : float
        The largest m, in [0, 1].

    References
    ----------
    Yazıcı et al., "The unusual effectiveness of averaging in GAN training", ICLR 2019.

    Examples
    --------
    >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    >>> average = MovingAverage(network, 0.5)
    >>> network.set_weights([np.ones((1, 1)), np.ones(1)])
    >>> average.follow(network)
    >>> round(float(average.network.get_weights()[0][0, 0]), 3)
    0.9
    """

    def __init__(self, network, momentum=0.999, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.momentum = checks.real(momentum, "momentum", minimum=0, maximum=1)
        self.network = keras.models.clone_model(network)
        self.network.set_weights(network.get_weights())
        # Keras asks each variable, not the layer around it, whether an optimizer may move it.
        self.network.trainable = False
        self.updates = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="updates")
        self.built = True

    def follow(self, network):
        """Move the average one step towards the network's present weights. Meant to be called in a training step."""
        updates = ops.cast(self.updates, "float32")
        momentum = ops.minimum(self.momentum, (1 + updates) / (10 + updates))
        self.updates.assign_add(1)
        for mean, weight in zip(self.network.weights, network.weights, strict=True):
            if weight.dtype == mean.dtype and weight.dtype.startswith("float"):
                mean.assign(momentum * mean + (1 - momentum) * weight)

    def call(self, inputs):
        """Apply the averaged network, as in use: no dropout, batch normalisation with its stored moments."""
        return self.network(inputs, training=False)
