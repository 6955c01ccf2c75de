r"""Generative adversarial networks: a generator and a discriminator with opposite aims, trained in one step.

The value of the game (Goodfellow et al., "Generative adversarial nets", NeurIPS 2014) is

.. math:: \min_G \max_D V(D, G) = \mathbb{E}_x[\log D(x)] + \mathbb{E}_z[\log(1 - D(G(z)))]

Everything here is in logits: :math:`D = \sigma(\ell)`, so :math:`-\log D = \operatorname{softplus}(-\ell)`.
"""

import keras
from keras import ops

from imggen_lib import checks
from imggen_lib.models.base import GenerativeModel, MovingAverage


def discriminator_loss(real_logits, fake_logits):
    r"""What the discriminator minimises: cross-entropy of "real" and "fake", the negative value of the game.

    .. math:: -\mathbb{E}_x[\log D(x)] - \mathbb{E}_z[\log(1 - D(G(z)))]

    Parameters
    ----------
    real_logits, fake_logits : tensor
        ``(n, 1)`` outputs of the discriminator.

    Returns
    -------
    tensor
        A scalar, in nats; :math:`2 \log 2` where the discriminator cannot tell the two apart.

    Examples
    --------
    >>> undecided = ops.zeros((4, 1))
    >>> round(float(discriminator_loss(undecided, undecided)), 4)
    1.3863
    """
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(ops.softplus(fake_logits))


def generator_loss(fake_logits):
    r"""What the generator minimises, in the non-saturating form: :math:`-\mathbb{E}_z[\log D(G(z))]`.

    Parameters
    ----------
    fake_logits : tensor
        ``(n, 1)`` outputs of the discriminator on generated pictures.

    Returns
    -------
    tensor
        A scalar, in nats.

    References
    ----------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014, section 3: its gradient does not vanish where the
    discriminator wins.

    Examples
    --------
    >>> round(float(generator_loss(ops.zeros((4, 1)))), 4)
    0.6931
    """
    return ops.mean(ops.softplus(-fake_logits))


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
    state = [variable.value for variable in network.non_trainable_variables]
    outputs, _ = network.stateless_call(constants, state, inputs, training=training)
    return outputs


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
        From ``(n, latent_dim)`` to pictures in [0, 1]; see :func:`imggen_lib.networks.image_generator`.
    discriminator : keras.Model
        From pictures to ``(n, 1)`` logits; see :func:`imggen_lib.networks.image_discriminator`.
    averaging : float
        Momentum of the moving average of the generator's weights.
    seed : int
        Of the latent vectors drawn in training.

    Raises
    ------
    ValueError
        If the generator's pictures do not fit the discriminator, or its output is not one number.

    Examples
    --------
    >>> from imggen_lib import networks
    >>> gan = GAN(networks.image_generator((8, 8, 1), 4), networks.image_discriminator((8, 8, 1)))
    >>> gan.compile(optimizer=keras.optimizers.Adam(5e-4, beta_1=0.5))
    >>> history = gan.fit(keras.random.uniform((64, 8, 8, 1), seed=0), batch_size=32, verbose=0)
    >>> gan.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(self, generator, discriminator, *, averaging=0.999, seed=0, **kwargs):
        super().__init__(**kwargs)
        if generator.output_shape[1:] != discriminator.input_shape[1:]:
            raise ValueError(
                f"the generator makes pictures of shape {generator.output_shape[1:]} and the discriminator takes "
                f"{discriminator.input_shape[1:]}; build both for the same image_shape"
            )
        if discriminator.output_shape[1:] != (1,):
            raise ValueError(f"the discriminator's output is {discriminator.output_shape[1:]}; expected one logit, (1,)")
        self.generator = generator
        self.discriminator = discriminator
        self.average = MovingAverage(generator, averaging)
        self.averaging = averaging
        self.seed = checks.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.generator_tracker = keras.metrics.Mean(name="generator_loss")
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator_loss")
        self.built = True

    @property
    def latent_dim(self):
        """Length of the vectors that the generator starts from."""
        return self.generator.input_shape[-1]

    def call(self, images, training=False):
        """Return the discriminator's logits for pictures: its verdict on how real they are."""
        return self.discriminator(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the sum of both networks' losses; ``y_pred`` holds the logits of the real pictures ``x``."""
        latent = keras.random.normal((ops.shape(x)[0], self.latent_dim), seed=self.noise)
        fake = self.generator(latent, training=training)
        for_generator = generator_loss(frozen_call(self.discriminator, fake, training=training))
        fake_logits = self.discriminator(ops.stop_gradient(fake), training=training)
        for_discriminator = discriminator_loss(y_pred, fake_logits)
        if training:
            self.average.follow(self.generator)
        self.generator_tracker.update_state(for_generator)
        self.discriminator_tracker.update_state(for_discriminator)
        return for_generator + for_discriminator

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
        latent = checks.real_array(latent, "latent", ndim=2)
        if latent.shape[1] != self.latent_dim:
            raise ValueError(f"latent has the shape {latent.shape}; expected (n, {self.latent_dim})")
        return self.average.network.predict(latent.astype("float32"), batch_size=256, verbose=0)

    def _draw(self, n, rng, labels):
        self._refuse(labels)
        return self.generate(rng.standard_normal((n, self.latent_dim)))

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        networks = {name: keras.saving.serialize_keras_object(network) for name, network in networks.items()}
        return {**super().get_config(), **networks, "averaging": self.averaging, "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        for name in ("generator", "discriminator"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)
