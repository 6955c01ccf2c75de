r"""Generative adversarial networks: a generator and a discriminator with opposite aims, trained in one step.

The value of the game (Goodfellow et al., "Generative adversarial nets", NeurIPS 2014) is

.. math:: \min_G \max_D V(D, G) = \mathbb{E}_x[\log D(x)] + \mathbb{E}_z[\log(1 - D(G(z)))]

The losses and penalties by name are in :mod:`imggen_lib.models.gan_losses`, in logits.
"""

import keras
import numpy as np
from keras import ops

from imggen_lib import checks
from imggen_lib.models.base import GenerativeModel, MovingAverage
from imggen_lib.models.gan_losses import (
    LOSSES,
    PENALTIES,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)
from imggen_lib.networks import ask

__all__ = ["GAN", "ConditionalGAN", "discriminator_loss", "frozen_call", "generator_loss"]


def frozen_call(network, inputs, *, training):
    """Apply a network whose weights get no gradient, while its input does.

    Unlike switching ``trainable`` off and on again, this changes nothing: it calls the network as a function of constants.
    Updates that the network would make (of batch statistics, say) are dropped.

    Parameters
    ----------
    network : keras.Model
    inputs : tensor
    training : bool

    Returns
    -------
    tensor

    Examples
    --------
    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    >>> float(frozen_call(network, ops.ones((1, 2)), training=True)[0, 0])
    2.0
    """
    constants = [ops.stop_gradient(variable.value) for variable in network.trainable_variables]
    return _call_as_function(network, constants, inputs, training)


def _call_as_function(network, weights, inputs, training):
    state = [variable.value for variable in network.non_trainable_variables]
    return network.stateless_call(weights, state, inputs, training=training)[0]


@keras.saving.register_keras_serializable(package="imggen_lib")
class GAN(GenerativeModel):
    """A generative adversarial network that Keras's ``fit`` trains as one model.

    One step makes one set of fakes. The generator's loss sees them through the discriminator with its weights held
    constant; the discriminator's loss sees them cut off from the generator. The sum of the two losses then has, for
    each network, the gradient of its own loss alone, and one pass updates both.

    Pictures are drawn by a moving average of the generator, which is smoother than the generator at any one step.

    Parameters
    ----------
    generator : keras.Model
        From ``(n, latent_dim)`` to pictures in [0, 1]; see :func:`imggen_lib.networks.image_generator`. (Points
        instead of pictures will do, too, as long as ``generate`` and not ``sample`` draws them.)
    discriminator : keras.Model
        From pictures to ``(n, 1)`` logits; see :func:`imggen_lib.networks.image_discriminator`.
    loss : str
        A name in ``LOSSES``: ``"non_saturating"``, ``"minimax"``, ``"hinge"`` or ``"wasserstein"``.
    penalty : str, optional
        Of the discriminator's slope: ``"gradient"`` (towards 1, between real and generated pictures) or ``"r1"``
        (towards 0, at real ones). Either needs a discriminator without batch normalisation.
    penalty_weight : float
    averaging : float
        Momentum of the moving average of the generator's weights.
    seed : int
        Of the latent vectors drawn in training.

    Raises
    ------
    ValueError
        If the generator's pictures do not fit the discriminator, its output is not one number, a name is unknown, or
        batch normalisation meets a penalty.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> gan = GAN(networks.image_generator((8, 8, 1), 4), networks.image_discriminator((8, 8, 1)))
    >>> gan.compile(optimizer=keras.optimizers.Adam(5e-4, beta_1=0.5))
    >>> history = gan.fit(keras.random.uniform((64, 8, 8, 1), seed=0), batch_size=32, verbose=0)
    >>> gan.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(
        self, generator, discriminator, *, loss="non_saturating", penalty=None, penalty_weight=10.0, averaging=0.999,
        seed=0, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        if generator.output_shape[1:] != discriminator.input_shape[1:]:
            raise ValueError(
                f"the generator makes pictures of shape {generator.output_shape[1:]} and the discriminator takes "
                f"{discriminator.input_shape[1:]}; build both for the same image_shape"
            )
        self._check_ends(generator, discriminator)
        self.generator = generator
        self.discriminator = discriminator
        # Keras has its own attribute ``loss``, which ``compile`` overwrites.
        self.game = checks.choice(loss, "loss", LOSSES)
        self.penalty = checks.choice(penalty, "penalty", PENALTIES)
        self.penalty_weight = checks.real(penalty_weight, "penalty_weight", minimum=0)
        normalised = [layer for layer in discriminator.layers if isinstance(layer, keras.layers.BatchNormalization)]
        if penalty is not None and normalised:
            raise ValueError(
                "a penalty on the slope speaks of single pictures, and batch normalisation ties those of a batch "
                "together; build the discriminator with batch_norm=False"
            )
        self.average = MovingAverage(generator, averaging)
        self.averaging = averaging
        self.seed = checks.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.generator_tracker = keras.metrics.Mean(name="generator_loss")
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator_loss")
        self.penalty_tracker = None if penalty is None else keras.metrics.Mean(name="penalty")
        self.built = True

    @staticmethod
    def _check_ends(generator, discriminator):
        if discriminator.output_shape[1:] != (1,):
            raise ValueError(f"the discriminator's output is {discriminator.output_shape[1:]}; expected one logit, (1,)")

    @property
    def latent_dim(self):
        """Length of the vectors that the generator starts from."""
        return self.generator.input_shape[-1]

    def call(self, images, training=False):
        """Return the discriminator's logits for pictures: its verdict on how real they are."""
        return self.discriminator(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the sum of both networks' losses; ``y_pred`` holds the logits of the real pictures ``x``."""
        of_generator, of_discriminator = LOSSES[self.game]
        latent = keras.random.normal((ops.shape(x)[0], self.latent_dim), seed=self.noise)
        fake = self.generator(self._with_class(latent, y), training=training)
        verdict = frozen_call(self.discriminator, fake, training=training)
        for_generator = of_generator(self._for_class(verdict, y))
        fake = ops.stop_gradient(fake)
        verdict = self.discriminator(fake, training=training)
        for_discriminator = of_discriminator(self._for_class(y_pred, y), self._for_class(verdict, y))
        if training:
            self.average.follow(self.generator)
        self.generator_tracker.update_state(for_generator)
        self.discriminator_tracker.update_state(for_discriminator)
        return for_generator + for_discriminator + self._weighted_penalty(x, fake, y, training)

    def _weighted_penalty(self, real, fake, labels, training):
        """Nothing, or the chosen penalty times its weight."""
        if self.penalty is None:
            return 0.0

        def critic(images):
            # As a function, so that nothing that it changes on its way can get lost inside the gradient.
            weights = [variable.value for variable in self.discriminator.trainable_variables]
            return self._for_class(_call_as_function(self.discriminator, weights, images, training), labels)

        if self.penalty == "gradient":
            share = keras.random.uniform((ops.shape(real)[0], *[1] * (len(real.shape) - 1)), seed=self.noise)
            penalty = gradient_penalty(critic, real, fake, share)
        else:
            penalty = r1_penalty(critic, real)
        self.penalty_tracker.update_state(penalty)
        return self.penalty_weight * penalty

    def _with_class(self, latent, labels):
        """What the generator starts from: the latent vectors alone, and whatever a conditional model adds."""
        return latent

    def _for_class(self, verdict, labels):
        """The logits that count: the only ones, unless a conditional model has one for each class."""
        return verdict

    def generate(self, latent):
        """Turn latent vectors ``(n, latent_dim)`` into pictures with the averaged generator.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If the vectors have another length.
        """
        return ask(self.average.network, self._checked(latent))

    def _checked(self, latent):
        latent = checks.real_array(latent, "latent", ndim=2)
        if latent.shape[1] != self.latent_dim:
            raise ValueError(f"latent has the shape {latent.shape}; expected (n, {self.latent_dim})")
        return latent.astype("float32")

    def _draw(self, n, rng, labels):
        self._refuse(labels)
        return self.generate(rng.standard_normal((n, self.latent_dim)))

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        networks = {name: keras.saving.serialize_keras_object(network) for name, network in networks.items()}
        options = {name: getattr(self, name) for name in ("penalty", "penalty_weight", "averaging", "seed")}
        return {**super().get_config(), **networks, "loss": self.game, **options}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        for name in ("generator", "discriminator"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


@keras.saving.register_keras_serializable(package="imggen_lib")
class ConditionalGAN(GAN):
    r"""A GAN that draws pictures of a chosen class, trained with labels: ``fit(images, labels)``.

    The generator is told the class as a vector of zeros with a single one, behind the latent vector. The discriminator
    has one logit for each class and answers with that of the class in question. With :math:`\varphi(x)` for what its last
    layer sees, class y is judged by :math:`(w + v_y) \cdot \varphi(x)`, so w says what all real pictures share and
    :math:`v_y` what those of class y do: a projection discriminator.

    Parameters
    ----------
    generator : keras.Model
        From ``(n, latent_dim + classes)`` to pictures; see ``classes`` in :func:`imggen_lib.networks.image_generator`.
    discriminator : keras.Model
        From pictures to ``(n, classes)`` logits; see ``classes`` in :func:`imggen_lib.networks.image_discriminator`.
    **options
        As in :class:`GAN`.

    Attributes
    ----------
    classes : int

    Raises
    ------
    ValueError
        If the networks do not fit each other, or labels are no classes.

    References
    ----------
    Mirza and Osindero, "Conditional generative adversarial nets", arXiv:1411.1784, 2014. Miyato and Koyama, "cGANs with
    projection discriminator", ICLR 2018.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> generator = networks.image_generator((8, 8, 1), 4, classes=3)
    >>> gan = ConditionalGAN(generator, networks.image_discriminator((8, 8, 1), classes=3))
    >>> gan.sample(5, seed=0, labels=2).shape
    (5, 8, 8, 1)
    """

    def __init__(self, generator, discriminator, **options):
        super().__init__(generator, discriminator, **options)
        self.classes = discriminator.output_shape[-1]

    @staticmethod
    def _check_ends(generator, discriminator):
        classes, inputs = discriminator.output_shape[1:], generator.input_shape[-1]
        if len(classes) != 1 or classes[0] < 2:
            raise ValueError(f"the discriminator's output is {classes}; expected one logit for each class, two at least")
        if inputs <= classes[0]:
            raise ValueError(
                f"the generator takes {inputs} numbers and the discriminator has {classes[0]} classes; expected latent "
                "numbers and one for each class: build both for the same classes"
            )

    @property
    def latent_dim(self):
        """Length of the latent vectors, without the class."""
        return super().latent_dim - self.discriminator.output_shape[-1]

    def _with_class(self, latent, labels):
        return ops.concatenate([latent, self._one_hot(labels)], axis=-1)

    def _for_class(self, verdict, labels):
        return ops.sum(verdict * self._one_hot(labels), axis=-1, keepdims=True)

    def generate(self, latent, labels):
        """Turn latent vectors ``(n, latent_dim)`` into pictures of given classes with the averaged generator.

        Parameters
        ----------
        latent : array_like
        labels : array_like of int
            ``(n,)``, or one class for all.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If the vectors have another length, or a label is no class.
        """
        latent = self._checked(latent)
        one_hot = np.eye(self.classes, dtype="float32")[checks.labels(labels, len(latent), self.classes)]
        return ask(self.average.network, np.hstack([latent, one_hot]))

    def _draw(self, n, rng, labels):
        labels = self._classes_to_draw(n, rng, labels)
        return self.generate(rng.standard_normal((n, self.latent_dim)), labels)
