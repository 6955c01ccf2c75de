r"""Autoregressive models: a picture's probability as a product, pixel after pixel in reading order.

.. math:: p(x) = \prod_i p(x_i \mid x_1, \ldots, x_{i-1})

The network computes all factors of a given picture at once, because no place in it sees what comes later. Drawing has to
go pixel by pixel, and then computes only what the new pixel changes.
"""

import keras
import numpy as np
from keras import ops

from imggen_lib import _validation as validate
from imggen_lib.models.autoregressive.causal import CausalConvolution
from imggen_lib.models.base import GenerativeModel, MovingAverage

LEVELS = 256
#: Logarithms of the scales of the bells: no narrower than a level, and not infinitely wide, as those of pixels that are
#: black or white would like to be.
LOG_SCALES = (-7.0, 7.0)


def pixel_log_probability(images, distribution):
    r"""Logarithm of the probability of each pixel's level under a mixture of logistic bells, cut into 256 levels.

    With the distribution function :math:`F(x) = \sum_k \pi_k\, \sigma((x - \mu_k) / s_k)`, a level has the probability
    :math:`F(x + \frac{1}{255}) - F(x - \frac{1}{255})`; the darkest takes all that is below, the brightest all above.

    Parameters
    ----------
    images : tensor
        ``(n, height, width, 1)`` on the scale [-1, 1], on the 256 levels.
    distribution : tensor
        What the network returns, ``(n, height, width, 3 * mixtures)``.

    Returns
    -------
    tensor
        ``(n, height, width)``, in nats.

    References
    ----------
    Salimans et al., "PixelCNN++", ICLR 2017.

    Examples
    --------
    >>> levels = ops.reshape(2 * ops.arange(256, dtype="float32") / 255 - 1, (256, 1, 1, 1))
    >>> one_bell = ops.tile(ops.reshape([0.0, 0.3, -2.0], (1, 1, 1, 3)), (256, 1, 1, 1))
    >>> round(float(ops.sum(ops.exp(pixel_log_probability(levels, one_bell)))), 4)
    1.0
    """
    logits, means, log_scales = ops.split(distribution, 3, axis=-1)
    log_scales = ops.clip(log_scales, *LOG_SCALES)
    centred, steep = images - means, ops.exp(-log_scales)
    half = 1 / (LEVELS - 1)
    above, below = (centred + half) * steep, (centred - half) * steep
    # log of a difference of two sigmoids, in a form that does not lose the small ones.
    inside = -ops.softplus(-above) - ops.softplus(below) + ops.log(-ops.expm1(-2 * half * steep))
    darkest, brightest = -ops.softplus(-above), -ops.softplus(below)
    of_level = ops.where(images < -0.999, darkest, ops.where(images > 0.999, brightest, inside))
    return ops.logsumexp(of_level + ops.log_softmax(logits, axis=-1), axis=-1)


@keras.saving.register_keras_serializable(package="imggen_lib")
class PixelCNN(GenerativeModel):
    """An autoregressive model of grey 8-bit pictures, with or without classes, trained by its exact likelihood.

    Parameters
    ----------
    network : keras.Model
        Of :func:`imggen_lib.models.autoregressive.causal.pixel_network`.
    averaging : float
        Momentum of the moving average of the weights, by which pictures are drawn and judged.

    Attributes
    ----------
    classes : int or None

    Raises
    ------
    ValueError
        If the network is not one of that function.

    References
    ----------
    Van den Oord et al., "Conditional image generation with PixelCNN decoders", NeurIPS 2016. Salimans et al., "PixelCNN++",
    ICLR 2017.

    Examples
    --------
    >>> from imggen_lib.models import causal
    >>> model = PixelCNN(models.pixel_network((8, 8, 1), filters=8, blocks=2))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(keras.random.uniform((32, 8, 8, 1), seed=0), verbose=0)
    >>> model.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(self, network, *, ema_momentum=0.999, **kwargs):
        super().__init__(**kwargs)
        names = {layer.name for layer in network.layers}
        if not {"first", "distribution"} <= names:
            raise ValueError(
                f"the network {network.name} has no layers first and distribution; build it with pixel_network"
            )
        self.network = network
        self.num_classes = network.inputs[1].shape[-1] if len(network.inputs) == 2 else None
        self.average = MovingAverage(network, ema_momentum)
        self.ema_momentum = averaging
        self.built = True

    @property
    def image_shape(self):
        """Height, width and channels of the pictures."""
        return tuple(self.network.inputs[0].shape[1:])

    def call(self, images, training=False):
        """Return pictures on the scale [-1, 1], rounded to 256 levels; the network needs the labels, too."""
        return 2 * ops.round((LEVELS - 1) * images) / (LEVELS - 1) - 1

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the mean negative log-probability, in nats a pixel."""
        inputs = [y_pred, self._one_hot(y)] if self.num_classes else y_pred
        loss = -ops.mean(pixel_log_probability(y_pred, self.network(inputs, training=training)))
        if training:
            self.average.update(self.network)
        return loss

    def log_prob(self, images, *, labels=None):
        """Return the exact log-probability of each picture's 256 levels, in nats.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, 1)`` in [0, 1]; what is between the levels of 8 bits is rounded to the nearest.
        labels : array_like of int, optional
            Classes, or one class for all; a conditional model needs them.

        Returns
        -------
        numpy.ndarray
            ``(n,)``: a probability, so at most 0, and minus it is a code length. Nothing is dequantised.

        Raises
        ------
        ValueError
            If the pictures have another shape, or labels are missing, unexpected or no classes.
        """
        images = validate.images(images, self.image_shape)
        inputs = np.float32(2) * np.round((LEVELS - 1) * images).astype(np.float32) / (LEVELS - 1) - 1
        one_hot = self._told(labels, len(images))
        network = self.average.network
        found = []
        for first in range(0, len(inputs), 256):
            some = slice(first, first + 256)
            asked = inputs[some] if one_hot is None else [inputs[some], one_hot[some]]
            logs = pixel_log_probability(ops.convert_to_tensor(inputs[some]), network(asked, training=False))
            found.append(ops.convert_to_numpy(ops.sum(logs, axis=(1, 2))))
        return np.concatenate(found)

    def complete(self, images, rows, *, seed, labels=None):
        """Keep the first rows of pictures, rounded to 256 levels, and draw the others.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, 1)`` in [0, 1].
        rows : int
            How many rows are kept, from 0 to the height.
        seed : int
        labels : array_like of int, optional
            Classes, or one class for all; a conditional model needs them.

        Returns
        -------
        numpy.ndarray
            float32, of the shape of ``images``.

        Raises
        ------
        ValueError
            If the pictures have another shape, there are not so many rows, or the labels do not fit.
        """
        images = validate.images(images, self.image_shape)
        if validate.integer(rows, "rows", minimum=0) > self.image_shape[0]:
            raise ValueError(f"rows is {rows} and pictures have {self.image_shape[0]}")
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        return self._pixel_by_pixel(images, rows, rng, self._told(labels, len(images)))

    def _draw(self, n, rng, labels):
        told = self._told(self._classes_to_draw(n, rng, labels), n)
        return self._pixel_by_pixel(np.zeros((n, *self.image_shape), np.float32), 0, rng, told)

    def _pixel_by_pixel(self, images, rows, rng, one_hot):
        """Fill pictures from a row on, in parts, since every layer remembers a whole picture of each of them."""
        chance = self._chance(len(images), rows, rng)
        filled = []
        for first in range(0, len(images), 256):
            some = slice(first, first + 256)
            told = None if one_hot is None else one_hot[some]
            filled.append(self._fill(images[some], rows, [values[:, :, some] for values in chance], told))
        return np.concatenate(filled)

    def _chance(self, n, rows, rng):
        """All the chance that n pictures need: for each pixel to be drawn, what picks a bell, and a place in it."""
        height, width, _ = self.image_shape
        bells = self.network.output_shape[-1] // 3
        picks = np.empty((height - rows, width, n, bells), np.float32)
        places = np.empty((height - rows, width, n))
        for row, column in np.ndindex(picks.shape[:2]):
            picks[row, column], places[row, column] = rng.gumbel(size=(n, bells)), rng.logistic(size=n)
        return picks, places

    def _fill(self, images, rows, chance, one_hot):
        """Fill some pictures from a row on. Every layer remembers what it was shown, so each pixel is computed once."""
        network, (height, width, _) = self.average.network, self.image_shape
        looks = [layer for layer in network.layers if isinstance(layer, CausalConvolution)]
        blocks = range(len(looks) - 1)
        memories = [look.memory(len(images), height, width, look.kernel.shape[2]) for look in looks]
        kernels = [(look.matrix(), ops.convert_to_numpy(look.bias)) for look in looks]
        thinks = [[ops.convert_to_numpy(w) for w in network.get_layer(f"think_{k}").weights] for k in blocks]
        last = [ops.convert_to_numpy(w) for w in network.get_layer("distribution").weights]
        told = [0.0 for _ in blocks]
        if one_hot is not None:
            told = [one_hot @ ops.convert_to_numpy(network.get_layer(f"class_{k}").kernel) for k in blocks]
        picture = memories[0][:, looks[0].up :, looks[0].aside : looks[0].aside + width]
        picture[..., 1] = 1
        for row in range(height):
            for column in range(width):
                x = looks[0].see(memories[0], row, column) @ kernels[0][0] + kernels[0][1]
                for k, look, memory, (kernel, bias) in zip(blocks, looks[1:], memories[1:], kernels[1:], strict=True):
                    memory[:, row + look.up, column + look.aside] = np.maximum(x, 0)
                    y = np.maximum(look.see(memory, row, column) @ kernel + bias + told[k], 0)
                    x = x + y @ thinks[k][0] + thinks[k][1]
                if row < rows:
                    levels = np.round((LEVELS - 1) * images[:, row, column, 0])
                else:
                    levels = _draw_levels(np.maximum(x, 0) @ last[0] + last[1], *(c[row - rows, column] for c in chance))
                picture[:, row, column, 0] = 2 * levels / (LEVELS - 1) - 1
        return (picture[..., :1] + 1) / 2

    def _told(self, labels, n):
        """What the network is told of the classes of n pictures: a row with a single one each, or None."""
        if not self.num_classes:
            self._refuse(labels)
            return None
        if labels is None:
            raise ValueError("labels is None; a conditional model needs the classes")
        return np.eye(self.num_classes, dtype=np.float32)[validate.labels(labels, n, self.num_classes)]

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "ema_momentum": self.ema_momentum}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        config["network"] = keras.saving.deserialize_keras_object(config["network"])
        return cls(**config)


def _draw_levels(distribution, picks, places):
    """Draw a level for each row of mixture parameters, with numbers from Gumbel's and the logistic distribution."""
    logits, means, log_scales = np.split(distribution, 3, axis=-1)
    # The largest of logits plus Gumbel noise is at k with the probability of bell k.
    bell = (logits + picks).argmax(axis=-1)[:, np.newaxis]
    mean, log_scale = (np.take_along_axis(values, bell, axis=-1)[:, 0] for values in (means, log_scales))
    values = mean + np.exp(np.clip(log_scale, *LOG_SCALES)) * places
    return np.clip(np.round((values + 1) / 2 * (LEVELS - 1)), 0, LEVELS - 1)
