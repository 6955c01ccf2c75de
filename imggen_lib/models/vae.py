r"""Variational autoencoders (VAE): an encoder and a decoder that maximise one lower bound on the log-likelihood.

The evidence lower bound (Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014) is

.. math:: \log p_\theta(x) \ge \mathbb{E}_{q_\phi(z|x)}[\log p_\theta(x|z)] - D_{KL}(q_\phi(z|x) \,\|\, p(z))

The decoder of a VAE is :func:`imggen_lib.models.blocks.image_generator` without batch normalisation.

The codes of the data are not distributed as the prior :math:`p(z) = \mathcal{N}(0, I)`: where the prior has codes and the
data have none, the decoder was not trained. A second, learned prior can therefore be trained on the codes: a small
diffusion model (see :mod:`imggen_lib.models.diffusion.vector_network`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, check_network, serialize
from imggen_lib.models.blocks import convolutional_body, predict
from imggen_lib.models.diffusion.objective import velocity_loss
from imggen_lib.models.diffusion.sampler import reverse_diffusion
from imggen_lib.models.ema import MovingAverage

__all__ = ["VAE", "gaussian_log_density", "image_encoder", "kl_to_standard_normal"]

#: Distance in the latent space for a stored class centre of 1. Adam moves a weight by about its learning rate per step,
#: which is too slow for centres that end several units apart.
CENTRE_SCALE = 10.0


def kl_to_standard_normal(mean: Any, log_variance: Any) -> Any:
    r"""Return the Kullback-Leibler divergence from a diagonal Gaussian to the standard normal, in closed form.

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
    At variance 1 it is half the squared distance of the mean from the origin:

    >>> float(kl_to_standard_normal(ops.convert_to_tensor([[3.0, 4.0]]), ops.zeros((1, 2)))[0])
    12.5
    """
    return 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - log_variance - 1, axis=-1)


def gaussian_log_density(images: Any, mean: Any, log_std: Any) -> Any:
    r"""Return the log-density of images under independent Gaussians around ``mean``, summed over pixels and channels.

    .. math:: \log p(x) = -\sum_i \left(\frac{(x_i - \mu_i)^2}{2 \sigma^2} + \log \sigma + \tfrac12 \log 2\pi\right)

    Parameters
    ----------
    images, mean : tensor
        ``(n, height, width, channels)``.
    log_std : tensor
        Logarithm of the standard deviation, one value for all pixels.

    Returns
    -------
    tensor
        ``(n,)``, in nats.

    Examples
    --------
    The error of a single pixel costs less if the standard deviation is as large as the error:

    >>> image, mean = ops.ones((1, 1, 1, 1)), ops.zeros((1, 1, 1, 1))
    >>> [round(float(gaussian_log_density(image, mean, math.log(std))[0]), 2) for std in (0.5, 1.0, 2.0)]
    [-2.23, -1.42, -1.74]
    """
    scaled = (images - mean) * ops.exp(-log_std)
    terms = 0.5 * ops.square(scaled) + log_std + 0.5 * math.log(2 * math.pi)
    return -ops.sum(terms, axis=(1, 2, 3))


def image_encoder(
    image_shape: Sequence[int],
    latent_dim: int,
    *,
    filters: Sequence[int] = (32, 64),
    hidden: int = 128,
    name: str = "encoder",
) -> keras.Model:
    """Build the encoder of a VAE, from an image to a diagonal Gaussian in the latent space.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    latent_dim : int
        Number of latent dimensions.
    filters : sequence of int
        Channels after each halving, which rounds up.
    hidden : int
        Units of the dense layer before the outputs.

    Returns
    -------
    keras.Model
        From images in [0, 1] to two outputs ``(n, latent_dim)``: the mean and the logarithm of the variance.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, or a number is not positive.

    Examples
    --------
    Before training every variance is 1:

    >>> mean, log_variance = image_encoder((28, 28, 1), 2)(np.ones((1, 28, 28, 1)))
    >>> np.exp(log_variance)
    array([[1., 1.]], dtype=float32)
    """
    latent_dim = validate.integer(latent_dim, "latent_dim")
    image, x = convolutional_body(image_shape, filters, batch_norm=False)
    x = layers.LeakyReLU(0.2)(layers.Dense(hidden, name="dense")(x))
    mean = layers.Dense(latent_dim, name="mean", dtype="float32")(x)
    # Zeros at the start: the first codes have variance 1, and the exponential cannot overflow.
    log_variance = layers.Dense(latent_dim, kernel_initializer="zeros", name="log_variance", dtype="float32")(x)
    return keras.Model(image, [mean, log_variance], name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class VAE(GenerativeModel):
    r"""A variational autoencoder with a Gaussian decoder of learned standard deviation, with or without classes.

    The decoder has one standard deviation for all pixels. It is learned with the other weights and sets the weight of the
    reconstruction error relative to the KL term, which would otherwise be chosen by hand.

    With classes, each class y has a learned centre :math:`m_y` in the latent space. The code z of an image is its position
    relative to that centre: the encoder's mean minus the centre. The decoder receives the position :math:`m_y + z` and the
    one-hot class. The loss is the bound on the conditional likelihood:

    .. math:: \log p_\theta(x|y) \ge \mathbb{E}_{q_\phi(z|x,y)}[\log p_\theta(x|m_y + z, y)]
              - D_{KL}(q_\phi(z|x,y) \,\|\, p(z)), \qquad q_\phi(z|x,y) = \mathcal{N}(\mu(x) - m_y, \sigma^2(x))

    The encoder network needs no label, because an image shows its class. The centres take the class out of the code;
    without them the decoder would read the class from the code and ignore the label.

    Parameters
    ----------
    encoder : keras.Model
        From images to mean and log-variance, each ``(n, latent_dim)``; see :func:`image_encoder`.
    decoder : keras.Model
        From ``(n, latent_dim)``, or ``(n, latent_dim + num_classes)`` if there are classes, to images in [0, 1]; see
        :func:`imggen_lib.models.blocks.image_generator`.
    num_classes : int, optional
        Size of the condition of a conditional VAE, trained by ``fit(images, labels)``. The centre of a caption is the sum
        of the centres of its words.
    prior : keras.Model, optional
        The network of a diffusion model on the codes, which ``sample`` then uses; see
        :func:`imggen_lib.models.diffusion.vector_network.vector_network`. It is trained in the same steps on the sampled
        codes. No gradient passes from it to the encoder, so encoder and decoder are those of a VAE without it.
    beta : float
        Weight of the KL term; 1 gives the evidence lower bound.
    ema_momentum : float
        Momentum of the moving average of the prior's weights, in [0, 1].
    seed : int
        Of the codes in training.

    Attributes
    ----------
    log_std : keras.Variable
        Logarithm of the decoder's standard deviation.

    Raises
    ------
    ValueError
        If encoder and decoder do not fit each other or ``num_classes``, or beta or the seed is negative.

    References
    ----------
    Rybkin, Daniilidis and Levine, "Simple and effective VAE training with calibrated decoders", ICML 2021. Higgins et al.,
    "beta-VAE: learning basic visual concepts with a constrained variational framework", ICLR 2017. Sohn, Lee and Yan,
    "Learning structured output representation using deep conditional generative models", NeurIPS 2015. Dai and Wipf,
    "Diagnosing and enhancing VAE models", ICLR 2019, train a second model on the codes. Vahdat, Kreis and Kautz,
    "Score-based generative modeling in latent space", NeurIPS 2021, use a diffusion model for it.

    Examples
    --------
    The loss is the sum of distortion (reconstruction) and rate (KL):

    >>> from imggen_lib import models
    >>> decoder = models.image_generator((8, 8, 1), 2, batch_norm=False, name="decoder")
    >>> vae = VAE(image_encoder((8, 8, 1), 2), decoder)
    >>> vae.compile(optimizer="adam")
    >>> losses = vae.fit(keras.random.uniform((64, 8, 8, 1), seed=0), verbose=0).history
    >>> bool(np.isclose(losses["loss"], np.add(losses["distortion"], losses["rate"])).all())
    True
    >>> vae.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        num_classes: int | None = None,
        prior: keras.Model | None = None,
        beta: float = 1.0,
        ema_momentum: float = 0.999,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        check_network(
            encoder,
            lambda inputs, outputs: len(outputs) == 2 and outputs[0] == outputs[1],
            "two outputs of one shape, the mean and the log-variance of a code",
        )
        latent_dim, image_shape = encoder.outputs[0].shape[-1], tuple(encoder.inputs[0].shape[1:])
        expected = [(latent_dim + validate.condition_size(num_classes),)], [image_shape]
        check_network(
            decoder,
            lambda *shapes: shapes == expected,
            f"{expected[0]} to {expected[1]} for this encoder and num_classes={num_classes}: build encoder and decoder for "
            "the same image_shape, latent_dim and num_classes",
        )
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.ema_momentum = ema_momentum
        self.latent_dim = latent_dim
        self.beta = validate.real(beta, "beta", minimum=0)
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.log_std = self.add_weight(shape=(), initializer=keras.initializers.Constant(-1.0), name="log_std")
        self.scaled_centres = None
        if num_classes is not None:
            self.scaled_centres = self.add_weight(shape=(num_classes, latent_dim), initializer="zeros", name="centres")
        self.distortion_tracker = keras.metrics.Mean(name="distortion")
        self.rate_tracker = keras.metrics.Mean(name="rate")
        if prior is not None:
            codes, condition = [(latent_dim,)], [] if num_classes is None else [(num_classes,)]
            check_network(
                prior,
                lambda inputs, outputs: inputs == [*codes, (1,), *condition] and outputs == codes,
                f"codes {codes[0]}, angles (1,) and the condition, if there is one, to codes: use vector_network with "
                f"size={latent_dim} and num_classes={num_classes}",
            )
            self.average = MovingAverage(prior, ema_momentum)
            self.prior_noise = keras.random.SeedGenerator(seed + 1)
            self.prior_tracker = keras.metrics.Mean(name="prior")
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.encoder.input_shape[1:])

    @property
    def ema_source(self) -> keras.Model | None:
        """The learned prior: codes are sampled with the average of its weights. None without it."""
        return self.prior

    @property
    def centres(self) -> NDArray[np.float32] | None:
        """The centre of each class in the latent space, ``(num_classes, latent_dim)``; None without classes."""
        return None if self.num_classes is None else self._centre(np.eye(self.num_classes, dtype=np.float32))

    def _centre(self, condition: NDArray[np.float32]) -> NDArray[np.float32]:
        return ops.convert_to_numpy(self._centre_tensor(condition))

    def _centre_tensor(self, condition: Any) -> Any:
        return CENTRE_SCALE * ops.matmul(condition, self.scaled_centres)

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the negative bound in nats per image: distortion (reconstruction) plus beta times rate (KL).

        The code is sampled by the reparameterisation ``mean + std * noise``. The loss of a learned prior is added.
        """
        mean, log_variance = self.encoder(images, training=training)
        position = mean + ops.exp(0.5 * log_variance) * keras.random.normal(
            ops.shape(mean), dtype="float32", seed=self.noise
        )
        codes, inputs = position, position
        if condition is not None:
            centre = self._centre_tensor(condition)
            codes, mean = position - centre, mean - centre
            inputs = ops.concatenate([position, condition], axis=-1)
        reconstruction = self.decoder(inputs, training=training)
        distortion = -ops.mean(gaussian_log_density(images, reconstruction, self.log_std))
        rate = ops.mean(kl_to_standard_normal(mean, log_variance))
        self.distortion_tracker.update_state(distortion)
        self.rate_tracker.update_state(rate)
        bound = distortion + self.beta * rate
        if self.prior is None:
            return bound
        # With the gradient stopped at the codes, each weight has the gradient of its own loss alone.
        codes = ops.stop_gradient(codes)
        prior_loss = velocity_loss(self.prior, codes, condition, seed=self.prior_noise, training=training)
        self.prior_tracker.update_state(prior_loss)
        return bound + prior_loss

    def encode(
        self, images: ArrayLike, *, labels: ArrayLike | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean and the standard deviation of the code of each image.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        labels : array_like, optional
            As in :meth:`sample`; required if the VAE is conditional.

        Returns
        -------
        mean, std : numpy.ndarray
            float32 ``(n, latent_dim)`` each; relative to the centre of the class if there are classes.

        Raises
        ------
        ValueError
            If the images have another shape or values outside [0, 1], or the labels do not fit.
        """
        images = self._checked(images)
        mean, log_variance = self._posterior(images, self.required_rows(labels, len(images)))
        return mean, np.exp(0.5 * log_variance)

    def _checked(self, images: ArrayLike) -> NDArray[np.float32]:
        return validate.images(images, self.image_shape).astype("float32")

    def _posterior(
        self, images: NDArray[np.float32], condition: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean and the log-variance of the codes."""
        mean, log_variance = predict(self.encoder, images)
        return mean if condition is None else mean - self._centre(condition), log_variance

    def decode(self, codes: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Map codes to images: the mean of the decoder's Gaussian, without pixel noise.

        Parameters
        ----------
        codes : array_like
            ``(n, latent_dim)``; relative to the centre of the class if there are classes.
        labels : array_like, optional
            As in :meth:`sample`; required if the VAE is conditional.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If the codes have another length, or the labels do not fit.
        """
        codes = validate.rows(codes, "codes", self.latent_dim).astype("float32")
        condition = self.required_rows(labels, len(codes))
        if condition is not None:
            codes = np.hstack([codes + self._centre(condition), condition])
        return predict(self.decoder, codes)

    def reconstruct(self, images: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Encode images and decode the means of their codes. Parameters and errors are those of :meth:`encode`."""
        return self.decode(self.encode(images, labels=labels)[0], labels=labels)

    def log_prob_lower_bound(self, images: ArrayLike, *, seed: int, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return the evidence lower bound of each image in nats, estimated with one sampled code per image.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        seed : int
            Of the codes.
        labels : array_like, optional
            As in :meth:`sample`; required if the VAE is conditional. The bound is then one on the log-density given the
            class.

        Returns
        -------
        numpy.ndarray
            float32 ``(n,)``. It bounds a density, so :func:`imggen_lib.metrics.bits_per_dimension` needs dequantised
            images.

        Raises
        ------
        ValueError
            As in :meth:`encode`, or if the seed is negative.
        """
        images = self._checked(images)
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        mean, log_variance = self._posterior(images, self.required_rows(labels, len(images)))
        codes = mean + np.exp(0.5 * log_variance) * rng.standard_normal(mean.shape)
        log_likelihood = gaussian_log_density(images, self.decode(codes, labels=labels), self.log_std)
        return ops.convert_to_numpy(log_likelihood - kl_to_standard_normal(mean, log_variance))

    def sample(  # type: ignore[override]  # options by name, where the base class takes any
        self, n: int, *, seed: int, labels: ArrayLike | None = None, prior: str | None = None, steps: int = 30
    ) -> NDArray[np.float32]:
        """Generate images: sample codes from a prior and decode them.

        Parameters
        ----------
        n, seed, labels
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`.
        prior : {None, "learned", "normal"}
            ``"normal"`` samples the codes from N(0, I), the prior of the bound; ``"learned"`` from the model that was
            trained on the codes. None chooses the learned prior if there is one.
        steps : int
            Of the learned prior's sampler.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If there is no such prior, if a number is out of range, or if the labels do not fit.
        """
        return super().sample(n, seed=seed, labels=labels, prior=prior, steps=steps)

    def _sample(
        self,
        n: int,
        rng: np.random.Generator,
        condition: NDArray[np.float32] | None,
        *,
        prior: str | None = None,
        steps: int = 30,
    ) -> NDArray[np.float32]:
        prior = ("normal" if self.prior is None else "learned") if prior is None else prior
        if validate.choice(prior, "prior", ("learned", "normal")) == "learned" and self.prior is None:
            raise ValueError(
                "prior is 'learned' and this VAE was built without one: build it with prior=vector_network(...)"
            )
        codes = rng.standard_normal((n, self.latent_dim)).astype(np.float32)
        if self.average is not None and prior == "learned":
            average = self.average.network

            def velocity(noisy: NDArray[np.float32], angle: float) -> NDArray[Any]:
                angles = np.full((n, 1), angle, np.float32)
                return predict(
                    average, [noisy, angles] if condition is None else [noisy, angles, condition], batch_size=4096
                )

            codes = reverse_diffusion(velocity, codes, rng=rng, steps=steps, bound=math.inf)
        return self.decode(codes, labels=condition)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        networks = {"encoder": serialize(self.encoder), "decoder": serialize(self.decoder)}
        options = {name: getattr(self, name) for name in ("beta", "ema_momentum", "seed")}
        prior = None if self.prior is None else serialize(self.prior)
        return {**super().get_config(), **networks, "prior": prior, **options}
