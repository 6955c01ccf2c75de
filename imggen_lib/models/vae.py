r"""Variational autoencoders: an encoder and a decoder trained by one bound on the likelihood.

The evidence lower bound (Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014) is

.. math:: \log p_\theta(x) \ge \mathbb{E}_{q_\phi(z|x)}[\log p_\theta(x|z)] - D_{KL}(q_\phi(z|x) \,\|\, p(z))

Both networks maximise it together.
"""

import math

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel
from imggen_lib.models.blocks import convolutional_body, predict

__all__ = ["VAE", "image_encoder"]


def kl_to_standard_normal(mean, log_variance):
    r"""Kullback-Leibler divergence from a diagonal Gaussian to the standard normal, in closed form.

    .. math:: D_{KL} = \tfrac12 \sum_i \left(\mu_i^2 + \sigma_i^2 - \log \sigma_i^2 - 1\right)

    Parameters
    ----------
    mean, log_variance : tensor
        ``(n, d)``.

    Returns
    -------
    tensor
        ``(n,)``, in nats.

    References
    ----------
    Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, appendix B.

    Examples
    --------
    >>> float(kl_to_standard_normal(ops.convert_to_tensor([[1.0, 0.0]]), ops.zeros((1, 2)))[0])
    0.5
    """
    return 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - log_variance - 1, axis=-1)


def gaussian_log_density(images, mean, log_std):
    r"""Log-density of pictures under independent Gaussians around ``mean``, summed over pixels.

    .. math:: \log p(x) = -\sum_i \left(\frac{(x_i - \mu_i)^2}{2 \sigma^2} + \log \sigma + \tfrac12 \log 2\pi\right)

    Parameters
    ----------
    images, mean : tensor
        ``(n, height, width, channels)``.
    log_std : tensor
        Logarithm of the one standard deviation of all pixels.

    Returns
    -------
    tensor
        ``(n,)``, in nats.

    Examples
    --------
    >>> zero = ops.zeros((1, 1, 1, 1))
    >>> round(float(gaussian_log_density(zero, zero, 0.0)[0]), 4)
    -0.9189
    """
    scaled = (images - mean) * ops.exp(-log_std)
    terms = 0.5 * ops.square(scaled) + log_std + 0.5 * math.log(2 * math.pi)
    return -ops.sum(terms, axis=(1, 2, 3))


def image_encoder(image_shape, latent_dim, *, filters=(32, 64), hidden=128, name="encoder"):
    """Build a VAE's encoder: from a picture to a Gaussian over the latent space.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; height and width must be divisible by 2 as often as there are ``filters``.
    latent_dim : int
        Length of the latent vector.
    filters : sequence of int
        Channels after each halving.
    hidden : int
        Width of the dense layer before the outputs.

    Returns
    -------
    keras.Model
        From pictures in [0, 1] to two outputs ``(n, latent_dim)``: the mean and the logarithm of the variance.

    Raises
    ------
    ValueError
        If the size cannot be halved that often.

    Examples
    --------
    >>> [output.shape for output in image_encoder((28, 28, 1), 2).outputs]
    [(None, 2), (None, 2)]
    """
    image, x = convolutional_body(image_shape, filters, batch_norm=False)
    x = layers.LeakyReLU(0.2)(layers.Dense(hidden)(x))
    mean = layers.Dense(latent_dim, name="mean", dtype="float32")(x)
    # Zeros at the start: the first codes have variance 1, and no exponential can overflow.
    log_variance = layers.Dense(latent_dim, kernel_initializer="zeros", name="log_variance", dtype="float32")(x)
    return keras.Model(image, [mean, log_variance], name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class VAE(GenerativeModel):
    """A variational autoencoder with a Gaussian decoder whose noise level is learned.

    The one standard deviation of the decoder, learned with the rest, sets the exchange rate between the two terms of
    the bound: without it a hand-picked factor on the squared error would.

    Parameters
    ----------
    encoder : keras.Model
        From pictures to mean and log-variance, each ``(n, latent_dim)``; see :func:`imggen_lib.models.vae.image_encoder`.
    decoder : keras.Model
        From ``(n, latent_dim)`` to pictures; see :func:`imggen_lib.models.blocks.image_generator`.
    beta : float
        Weight of the KL term; 1 is the evidence lower bound.
    seed : int
        Of the codes drawn in training.

    Raises
    ------
    ValueError
        If encoder and decoder do not fit each other.

    References
    ----------
    Rybkin, Daniilidis and Levine, "Simple and effective VAE training with calibrated decoders", ICML 2021. Higgins et
    al., "beta-VAE", ICLR 2017.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> encoder = models.image_encoder((8, 8, 1), 2)
    >>> decoder = models.image_generator((8, 8, 1), 2, batch_norm=False, name="decoder")
    >>> vae = VAE(encoder, decoder)
    >>> vae.compile(optimizer="adam")
    >>> history = vae.fit(keras.random.uniform((64, 8, 8, 1), seed=0), verbose=0)
    >>> vae.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(self, encoder, decoder, *, beta=1.0, seed=0, **kwargs):
        super().__init__(**kwargs)
        self._check_ends(encoder, decoder)
        if decoder.output_shape[1:] != encoder.input_shape[1:]:
            raise ValueError(
                f"the decoder makes pictures of shape {decoder.output_shape[1:]} and the encoder takes "
                f"{encoder.input_shape[1:]}; build both for the same image_shape"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.beta = validate.real(beta, "beta", minimum=0)
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.log_std = self.add_weight(shape=(), initializer=keras.initializers.Constant(-1.0), name="log_std")
        self.distortion_tracker = keras.metrics.Mean(name="distortion")
        self.rate_tracker = keras.metrics.Mean(name="rate")
        self.built = True

    @staticmethod
    def _check_ends(encoder, decoder):
        if encoder.output_shape != [decoder.input_shape] * 2:
            raise ValueError(
                f"the encoder gives {encoder.output_shape} and the decoder takes {decoder.input_shape}; expected a mean "
                "and a log-variance of that shape: build both for the same latent_dim"
            )

    @property
    def latent_dim(self):
        """Length of the code."""
        return self.encoder.output_shape[0][-1]

    def call(self, images, training=False):
        """Encode, draw a code by the reparameterisation z = mean + std * noise, decode.

        Returns
        -------
        tuple of tensor
            The decoder's pictures, and the code's mean and log-variance.
        """
        mean, log_variance = self.encoder(images, training=training)
        noise = keras.random.normal(ops.shape(mean), seed=self.noise)
        code = mean + ops.exp(0.5 * log_variance) * noise
        return self._decoded(code, training), mean, log_variance

    def _decoded(self, code, training):
        """What becomes of a code before the loss: a picture, unless that takes more than ``call`` is told."""
        return self.decoder(code, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the negative bound in nats per picture: distortion (reconstruction) plus beta times rate (KL)."""
        reconstruction, mean, log_variance = y_pred
        distortion = -ops.mean(gaussian_log_density(x, reconstruction, self.log_std))
        rate = ops.mean(kl_to_standard_normal(mean, log_variance))
        self.distortion_tracker.update_state(distortion)
        self.rate_tracker.update_state(rate)
        return distortion + self.beta * rate

    def encode(self, images):
        """Return the mean and the standard deviation of the code of each picture, two ``(n, latent_dim)`` arrays."""
        mean, log_variance = predict(self.encoder, self._images(images))
        return mean, np.exp(0.5 * log_variance)

    def decode(self, codes):
        """Turn codes ``(n, latent_dim)`` into pictures: the mean of the decoder, without its pixel noise."""
        return predict(self.decoder, self._checked(codes))

    def _checked(self, codes):
        codes = validate.real_array(codes, "codes", ndim=2)
        if codes.shape[1] != self.latent_dim:
            raise ValueError(f"codes has the shape {codes.shape}; expected (n, {self.latent_dim})")
        return codes.astype("float32")

    def reconstruct(self, images):
        """Encode pictures and decode the mean of their codes."""
        return self.decode(self.encode(images)[0])

    def log_prob_lower_bound(self, images, *, seed):
        """Return the evidence lower bound of each picture in nats, from one drawn code a picture.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        seed : int
            Of the codes.

        Returns
        -------
        numpy.ndarray
            ``(n,)``: a density, so :func:`imggen_lib.metrics.bits_per_dimension` needs dequantised pictures.

        Raises
        ------
        ValueError
            If the pictures have another shape or values outside [0, 1], or the seed is negative.
        """
        return self._bound(images, seed)

    def _bound(self, images, seed, **labels):
        images, rng = self._images(images), np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        mean, std = self.encode(images, **labels)
        codes = mean + std * rng.standard_normal(mean.shape)
        error = np.square(images - self.decode(codes, **labels)).sum(axis=(1, 2, 3))
        log_std = float(ops.convert_to_numpy(self.log_std))
        pixels = images[0].size
        log_likelihood = -0.5 * error * np.exp(-2 * log_std) - pixels * (log_std + 0.5 * np.log(2 * np.pi))
        return log_likelihood - 0.5 * (mean**2 + std**2 - 2 * np.log(std) - 1).sum(axis=1)

    def _images(self, images):
        return validate.images(images, self.encoder.input_shape[1:]).astype("float32")

    def _draw(self, n, rng, labels):
        self._refuse(labels)
        return self.decode(rng.standard_normal((n, self.latent_dim)))

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        networks = {"encoder": self.encoder, "decoder": self.decoder}
        networks = {name: keras.saving.serialize_keras_object(network) for name, network in networks.items()}
        return {**super().get_config(), **networks, "beta": self.beta, "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        for name in ("encoder", "decoder"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


#: Adam moves a weight by about its learning rate a step, and classes lie several units apart: so far a centre is moved.
CENTRE_SCALE = 10.0


@keras.saving.register_keras_serializable(package="imggen_lib")
class ConditionalVAE(VAE):
    r"""A VAE that draws pictures of a chosen class, trained with labels: ``fit(images, labels)``.

    Each class has a learned centre :math:`m_y` in the latent space. A code says how a picture differs from its class: the
    encoder's mean is taken from that centre, the decoder starts from centre plus code, and is told the class as a vector of
    zeros with a single one besides. The bound is then one on the likelihood given the class:

    .. math:: \log p_\theta(x|y) \ge \mathbb{E}_{q_\phi(z|x,y)}[\log p_\theta(x|m_y + z, y)]
              - D_{KL}(q_\phi(z|x,y) \,\|\, p(z)), \qquad q_\phi(z|x,y) = \mathcal{N}(\mu(x) - m_y, \sigma^2(x))

    The network of the encoder needs no label: a picture shows its class anyway. Without the centres, codes would go on
    telling the class, and a decoder that learns it from them hardly listens to the label.

    Parameters
    ----------
    encoder : keras.Model
        From pictures to mean and log-variance, each ``(n, latent_dim)``; see :func:`imggen_lib.models.vae.image_encoder`.
    decoder : keras.Model
        From ``(n, latent_dim + classes)`` to pictures; see ``classes`` in :func:`imggen_lib.models.blocks.image_generator`.
    **options
        As in :class:`VAE`.

    Attributes
    ----------
    classes : int

    Raises
    ------
    ValueError
        If encoder and decoder do not fit each other, or labels are no classes.

    References
    ----------
    Kingma et al., "Semi-supervised learning with deep generative models", NeurIPS 2014. Sohn, Lee and Yan, "Learning
    structured output representation using deep conditional generative models", NeurIPS 2015.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> encoder = models.image_encoder((8, 8, 1), 2)
    >>> decoder = models.image_generator((8, 8, 1), 2, batch_norm=False, num_classes=3, name="decoder")
    >>> vae = ConditionalVAE(encoder, decoder)
    >>> vae.compile(optimizer="adam")
    >>> history = vae.fit(keras.random.uniform((64, 8, 8, 1), seed=0), np.arange(64) % 3, verbose=0)
    >>> vae.sample(5, seed=0, labels=2).shape
    (5, 8, 8, 1)
    """

    def __init__(self, encoder, decoder, **options):
        super().__init__(encoder, decoder, **options)
        self.num_classes = decoder.input_shape[-1] - self.latent_dim
        self.scaled_centres = self.add_weight(shape=(self.num_classes, self.latent_dim), initializer="zeros", name="centres")

    @staticmethod
    def _check_ends(encoder, decoder):
        outputs = encoder.output_shape
        if len(outputs) != 2 or outputs[0] != outputs[1] or decoder.input_shape[-1] < outputs[0][-1] + 2:
            raise ValueError(
                f"the encoder gives {outputs} and the decoder takes {decoder.input_shape}; expected a mean, a log-variance "
                "of the same shape, and a decoder of as many numbers and one for each class, two at least"
            )

    @property
    def centres(self):
        """Where each class lies in the latent space, ``(classes, latent_dim)``."""
        return CENTRE_SCALE * ops.convert_to_numpy(self.scaled_centres)

    def _decoded(self, code, training):
        """The place in the latent space itself: Keras tells the class to the loss only, which decodes."""
        return code

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the negative bound as in :class:`VAE`, given the class of each picture."""
        place, mean, log_variance = y_pred
        one_hot = self._one_hot(y)
        reconstruction = self.decoder(ops.concatenate([place, one_hot], axis=-1), training=training)
        mean = mean - CENTRE_SCALE * ops.matmul(one_hot, self.scaled_centres)
        return super().compute_loss(x, y, (reconstruction, mean, log_variance), sample_weight, training)

    def encode(self, images, labels):
        """Return mean and standard deviation of the code of each picture, given its class (or one class for all).

        Raises ``ValueError`` if a label is no class.
        """
        mean, std = super().encode(images)
        return mean - self.centres[validate.labels(labels, len(mean), self.num_classes)], std

    def decode(self, codes, labels):
        """Turn codes ``(n, latent_dim)`` into pictures of given classes.

        Parameters
        ----------
        codes : array_like
        labels : array_like of int
            ``(n,)``, or one class for all.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1]: the mean of the decoder, without its pixel noise.

        Raises
        ------
        ValueError
            If the codes have another length, or a label is no class.
        """
        codes = self._checked(codes)
        labels = validate.labels(labels, len(codes), self.num_classes)
        told = np.hstack([codes + self.centres[labels], np.eye(self.num_classes, dtype="float32")[labels]])
        return predict(self.decoder, told)

    def reconstruct(self, images, labels):
        """Encode pictures of the given classes and decode the mean of their codes."""
        return self.decode(self.encode(images, labels)[0], labels)

    def log_prob_lower_bound(self, images, labels, *, seed):
        """Return the lower bound on the log-density of each picture given its class, in nats, from one code a picture.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        labels : array_like of int
            ``(n,)``, or one class for all.
        seed : int
            Of the codes.

        Returns
        -------
        numpy.ndarray
            ``(n,)``: a density, as in :meth:`VAE.log_prob_lower_bound`.
        """
        return self._bound(images, seed, labels=labels)

    def _draw(self, n, rng, labels):
        labels = self._classes_to_draw(n, rng, labels)
        return self.decode(rng.standard_normal((n, self.latent_dim)), labels)
