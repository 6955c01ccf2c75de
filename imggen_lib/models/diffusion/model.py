r"""Diffusion models: pictures are drowned in noise step by step, and a network learns the way back.

With an angle :math:`\varphi` from 0 (the picture) to :math:`\pi/2` (nothing but noise) and
:math:`\varepsilon \sim \mathcal{N}(0, I)`, a noisy picture is

.. math:: x_\varphi = \cos\varphi \; x + \sin\varphi \; \varepsilon, \qquad
          v_\varphi = \frac{\mathrm{d} x_\varphi}{\mathrm{d}\varphi} = \cos\varphi \; \varepsilon - \sin\varphi \; x.

The network learns the mean of v for a given noisy picture; picture and noise follow from it by a rotation. Drawing solves
the differential equation :math:`\mathrm{d}x = v(x, \varphi)\,\mathrm{d}\varphi` from :math:`\pi/2` down to 0.
"""

import itertools
import math

import keras
import numpy as np
from keras import ops

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, MovingAverage
from imggen_lib.models.blocks import predict
from imggen_lib.models.diffusion.schedule import noisy, velocity

#: Below this angle the bound on the likelihood stops counting: the noise is then an eighth of a step of 8 bits.
LEAST_ANGLE = 1e-3


@keras.saving.register_keras_serializable(package="imggen_lib")
class Diffusion(GenerativeModel):
    r"""A diffusion model, with or without classes.

    In training, every picture gets its own angle, spread evenly over the batch, and the loss is the mean squared error of
    v. A conditional model forgets the class of some pictures, so that the same network also knows pictures in general;
    drawing may then overdo what is special about a class (classifier-free guidance):

    .. math:: v = v_\text{any} + w\,(v_\text{class} - v_\text{any}).

    Parameters
    ----------
    network : keras.Model
        From noisy pictures, the angle ``(n, 1)`` and, if there are classes, a vector ``(n, classes)`` that is zero but for
        a one (for several ones where captions are told; all zero for any picture); to v. See
        :func:`imggen_lib.models.diffusion.unet.image_unet`.
    forget : float
        Share of the pictures whose class is withheld in training.
    averaging : float
        Momentum of the moving average of the weights, by which pictures are drawn.
    seed : int
        Of noise and angles in training.

    Attributes
    ----------
    classes : int or None

    Raises
    ------
    ValueError
        If the network's ends do not fit each other.

    References
    ----------
    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020. Salimans and Ho, "Progressive
    distillation for fast sampling of diffusion models", ICLR 2022, for v and the angle. Ho and Salimans, "Classifier-free
    diffusion guidance", arXiv:2207.12598, 2022.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> model = Diffusion(models.image_unet((8, 8, 1), filters=(8, 8)))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(keras.random.uniform((32, 8, 8, 1), seed=0), verbose=0)
    >>> model.sample(3, seed=0, steps=4).shape
    (3, 8, 8, 1)
    """

    def __init__(self, network, *, label_dropout=0.1, ema_momentum=0.999, seed=0, **kwargs):
        super().__init__(**kwargs)
        shapes = [tuple(tensor.shape[1:]) for tensor in network.inputs]
        if len(shapes) not in (2, 3) or shapes[1] != (1,) or tuple(network.output_shape[1:]) != shapes[0]:
            raise ValueError(
                f"the network takes {shapes} and gives {network.output_shape[1:]}; expected pictures, one angle and "
                "perhaps classes in, and pictures of the same shape out"
            )
        self.network = network
        self.num_classes = shapes[2][0] if len(shapes) == 3 else None
        self.label_dropout = validate.real(forget, "label_dropout", minimum=0, maximum=1)
        self.average = MovingAverage(network, ema_momentum)
        self.ema_momentum = averaging
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.built = True

    @property
    def image_shape(self):
        """Height, width and channels of the pictures."""
        return tuple(self.network.inputs[0].shape[1:])

    def call(self, images, training=False):
        """Return pictures unchanged: what the network is asked depends on the labels, which only the loss knows."""
        return images

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the mean squared error of v at angles spread evenly over the batch."""
        n = ops.shape(x)[0]
        shift = keras.random.uniform((), seed=self.noise)
        spread = (ops.arange(n, dtype="float32") + shift) / ops.cast(n, "float32")
        angle = ops.reshape(spread * (math.pi / 2), (-1, 1))
        wide = ops.reshape(angle, (-1, 1, 1, 1))
        images, noise = 2 * x - 1, keras.random.normal(ops.shape(x), seed=self.noise)
        inputs = [noisy(images, noise, wide), angle]
        if self.num_classes:
            kept = keras.random.uniform((n, 1), seed=self.noise) >= self.label_dropout
            inputs.append(self._told(y) * ops.cast(kept, "float32"))
        error = self.network(inputs, training=training) - velocity(images, noise, wide)
        if training:
            self.average.update(self.network)
        return ops.mean(ops.square(error))

    def _told(self, labels):
        """In a training step: what the network is told of each picture. Rows of numbers are told as they are."""
        rows = labels is not None and labels.shape[1:] == (self.num_classes,)
        return ops.cast(labels, "float32") if rows else self._one_hot(labels)

    def _check_labels(self, labels, n):
        return validate.conditions(labels, n, self.num_classes)

    def predict_velocity(self, pictures, angle, labels=None, guidance_scale=1.0):
        """Ask the averaged network for v.

        Parameters
        ----------
        pictures : numpy.ndarray
            Noisy pictures ``(n, height, width, channels)``, on the scale where data lie in [-1, 1].
        angle : float
        labels : numpy.ndarray, optional
            Classes, or a row of numbers for each picture; without them the answer is that for pictures in general.
        guidance : float
            The w of the formula above: 1 is the class as it was learnt, 0 ignores it, more overdoes it.

        Returns
        -------
        numpy.ndarray
        """
        inputs = [pictures, np.full((len(pictures), 1), angle, np.float32)]
        if not self.num_classes:
            return predict(self.average.network, inputs)
        nothing = np.zeros((len(pictures), self.num_classes), np.float32)
        if labels is None or guidance == 0:
            return predict(self.average.network, [*inputs, nothing])
        chosen = predict(self.average.network, [*inputs, self._check_labels(labels, len(pictures))])
        if guidance == 1:
            return chosen
        in_general = predict(self.average.network, [*inputs, nothing])
        return in_general + guidance * (chosen - in_general)

    def sample(self, n, *, seed, labels=None, steps=14, guidance_scale=1.0, eta=0.0, order=2):
        """Draw pictures: from noise, step by step down to the angle 0.

        Parameters
        ----------
        n, seed
            As in :meth:`imggen_lib.models.base.GenerativeModel.sample`.
        labels : array_like, optional
            ``(n,)`` classes, one class for all, or ``(n, classes)`` numbers: captions, say, as
            :func:`imggen_lib.datasets.marble_captions.encode` gives them. Without labels a conditional model draws classes uniformly.
        steps : int
            Equal steps in the angle; each asks the network once (twice with guidance). More than the default did not score
            better on clothes.
        guidance : float
            See :meth:`predict_velocity`.
        eta : float
            0 follows the differential equation (DDIM); 1 replaces as much noise in each step as the forward process would
            have added (DDPM); anything between is allowed.
        order : int
            1 takes the network's picture at the beginning of each step; 2 extrapolates it from the last two steps to the
            middle of the next, which needs no further question and is more exact (DPM-Solver++). Only 1 goes with fresh
            noise, and is what is done then.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If a number is out of range, or labels are no classes.

        References
        ----------
        Song, Meng and Ermon, "Denoising diffusion implicit models", ICLR 2021. Lu et al., "DPM-Solver++: fast solver for
        guided sampling of diffusion probabilistic models", Machine Intelligence Research 22, 2025.
        """
        n, seed = validate.integer(n, "n"), validate.integer(seed, "seed", minimum=0)
        steps, guidance = validate.integer(steps, "steps"), validate.real(guidance, "guidance", minimum=0)
        eta = validate.real(eta, "eta", minimum=0, maximum=1)
        order = min(validate.choice(order, "order", (1, 2)), 1 if eta else 2)
        rng = np.random.default_rng(seed)
        labels = self._classes_to_draw(n, rng, labels)
        x = rng.standard_normal((n, *self.image_shape)).astype(np.float32)
        angles, before = np.linspace(np.pi / 2, 0, steps + 1), None
        for k, (now, then) in enumerate(itertools.pairwise(angles)):
            v = self.predict_velocity(x, now, labels, guidance)
            # What the network takes for the picture is cut off where no picture can be; the noise is what remains.
            picture = latest = np.clip(np.cos(now) * x - np.sin(now) * v, -1, 1)
            # Steps are measured on the scale of log tan, where the first and the last have no end.
            if order == 2 and 2 <= k < steps - 1:
                past, ahead = np.diff(-np.log(np.tan(angles[k - 1 : k + 2])))
                picture = latest + (latest - before) * ahead / (2 * past)
            before = latest
            noise = (x - np.cos(now) * picture) / np.sin(now)
            x = _step(picture, noise, now, then, eta, rng)
        return np.clip((x + 1) / 2, 0, 1)

    def log_prob_lower_bound(self, images, *, seed, labels=None, angles=64):
        r"""Return a lower bound on the log-density of each picture, in nats.

        .. math:: \log p(x) \ge -D_{KL} - \int \frac{\cos\varphi}{\sin^3\varphi}\,
                  \mathbb{E}\lVert x - \hat x(x_\varphi) \rVert^2 \,\mathrm{d}\varphi + \mathbb{E}[\log p(x \mid x_0)]

        The integral, from the smallest angle that counts, is a mean over angles whose noise levels are spread evenly on a
        logarithmic scale.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        seed : int
            Of noise and angles.
        labels : array_like, optional
            Classes or rows of numbers, as in :meth:`sample`; without them the bound is that of pictures in general.
        angles : int
            How many for each picture.

        Returns
        -------
        numpy.ndarray
            ``(n,)``: a density, so :func:`imggen_lib.metrics.bits_per_dimension` needs dequantised pictures.

        Raises
        ------
        ValueError
            If the pictures have another shape, or the labels do not fit.

        References
        ----------
        Kingma et al., "Variational diffusion models", NeurIPS 2021, equation 17.
        """
        images = validate.images(images, self.image_shape)
        if not self.num_classes:
            self._refuse(labels)
        elif labels is not None:
            labels = self._check_labels(labels, len(images))
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        x, size = 2 * images.astype(np.float32) - 1, images[0].size
        low, high = np.log(np.tan(LEAST_ANGLE)), -np.log(np.tan(LEAST_ANGLE))
        bound = np.zeros(len(x))
        for share in (np.arange(validate.integer(angles, "angles")) + rng.uniform()) / angles:
            # In u = log tan(angle), a step of the integral weighs the squared error by cot² of the angle.
            angle = np.arctan(np.exp(low + share * (high - low)))
            noise = rng.standard_normal(x.shape).astype(np.float32)
            mixed = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * noise
            guess = np.cos(angle) * mixed - np.sin(angle) * self.predict_velocity(mixed, angle, labels)
            error = np.square(x - guess, dtype=np.float64).sum(axis=(1, 2, 3))
            bound -= error / np.tan(angle) ** 2 * (high - low) / angles
        variance = np.sin(LEAST_ANGLE) ** 2
        bound -= 0.5 * size * (1 + np.log(2 * np.pi * np.tan(LEAST_ANGLE) ** 2))
        # At the other end hardly anything of the picture is left: the divergence from it to pure noise.
        bound -= 0.5 * (
            variance * np.square(x, dtype=np.float64).sum(axis=(1, 2, 3)) - size * (variance + np.log1p(-variance))
        )
        return bound + size * np.log(2)

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        options = {name: getattr(self, name) for name in ("label_dropout", "ema_momentum", "seed")}
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network), **options}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        config["network"] = keras.saving.deserialize_keras_object(config["network"])
        return cls(**config)


def _step(picture, noise, now, then, fresh, rng):
    """Mix picture and noise anew for the next angle, with a share of the noise replaced."""
    if fresh and then > 0:
        # The standard deviation of the noise that a forward step between the two angles leaves to be guessed.
        spread = fresh * np.sin(then) / np.sin(now) * np.sqrt(max(1 - (np.cos(now) / np.cos(then)) ** 2, 0))
    else:
        spread = 0.0
    x = np.cos(then) * picture + np.sqrt(max(np.sin(then) ** 2 - spread**2, 0)) * noise
    if spread:
        x = x + spread * rng.standard_normal(x.shape)
    return x.astype(np.float32)
