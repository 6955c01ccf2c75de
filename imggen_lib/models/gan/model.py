r"""Generative adversarial networks: two networks with opposite losses, trained in one step.

Generator G and discriminator D optimise the value function (Goodfellow et al., "Generative adversarial nets", NeurIPS 2014)

.. math:: \min_G \max_D V(D, G) = \mathbb{E}_x[\log D(x)] + \mathbb{E}_z[\log(1 - D(G(z)))]

The losses and penalties by name are in :mod:`imggen_lib.models.gan.losses`, on logits.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, serialize
from imggen_lib.models.blocks import predict
from imggen_lib.models.ema import MovingAverage
from imggen_lib.models.gan.losses import LOSSES, PENALTIES, generator_loss_by_name, gradient_penalty, r1_penalty

__all__ = ["GAN", "frozen_call"]


def frozen_call(network: keras.Model, inputs: Any, *, training: bool) -> Any:
    """Apply a network so that gradients reach its input but not its weights.

    The network is called as a function of constants, so nothing changes in it: ``trainable`` keeps its value, and updates
    such as batch statistics are discarded.

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
    return _stateless_call(network, constants, inputs, training)


def _stateless_call(network: keras.Model, weights: list[Any], inputs: Any, training: bool) -> Any:
    state = [variable.value for variable in network.non_trainable_variables]
    return network.stateless_call(weights, state, inputs, training=training)[0]


@keras.saving.register_keras_serializable(package="imggen_lib")
class GAN(GenerativeModel):
    """A generative adversarial network that Keras's ``fit`` trains as one model, with or without classes.

    One step generates one batch of images. The generator's loss is computed through the discriminator with its weights
    held constant; the discriminator's loss is computed on the same images with the gradient stopped. The sum of the two
    losses has, for each network, the gradient of its own loss alone, so one backward pass updates both.

    Samples come from a moving average of the generator's weights, which changes less from step to step.

    Parameters
    ----------
    generator : keras.Model
        From ``(n, latent_dim)`` to images in [0, 1], or from ``(n, latent_dim + num_classes)`` if there are classes; see
        :func:`imggen_lib.models.blocks.image_generator`.
    discriminator : keras.Model
        From images to logits ``(n, 1)``, or ``(n, num_classes)`` if there are classes; see
        :func:`imggen_lib.models.gan.networks.image_discriminator`.
    num_classes : int, optional
        Number of classes of a conditional GAN, trained by ``fit(images, labels)``. The generator receives the one-hot
        class behind the latent vector; of the discriminator's logits, the one of the class counts.
    loss : str
        A name in ``LOSSES``: ``"non_saturating"``, ``"minimax"``, ``"hinge"``, ``"wasserstein"`` or
        ``"relativistic"``.
    penalty : str, optional
        On the discriminator's gradient norm: ``"gradient"`` (towards 1, between real and generated images), ``"r1"``
        (towards 0, at real images) or ``"r1_r2"`` (towards 0, at real and at generated images). All need a discriminator
        without batch normalisation.
    penalty_weight : float
    ema_momentum : float
        Momentum of the moving average of the generator's weights, in [0, 1].
    seed : int
        Of the latent vectors in training.

    Raises
    ------
    ValueError
        If the networks do not fit each other or ``num_classes``, if a name is unknown, or if a penalty is combined with
        batch normalisation.

    References
    ----------
    Mirza and Osindero, "Conditional generative adversarial nets", arXiv:1411.1784, 2014.

    Examples
    --------
    >>> from imggen_lib import models
    >>> gan = GAN(models.image_generator((8, 8, 1), 4), models.image_discriminator((8, 8, 1)))
    >>> gan.compile(optimizer=keras.optimizers.Adam(5e-4, beta_1=0.5))
    >>> history = gan.fit(keras.random.uniform((64, 8, 8, 1), seed=0), batch_size=32, verbose=0)
    >>> sorted(history.history)
    ['discriminator_loss', 'generator_loss', 'loss']
    >>> gan.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    average: MovingAverage

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        num_classes: int | None = None,
        loss: str = "non_saturating",
        penalty: str | None = None,
        penalty_weight: float = 10.0,
        ema_momentum: float = 0.999,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        if generator.output_shape[1:] != discriminator.input_shape[1:]:
            raise ValueError(
                f"the generator's output shape is {generator.output_shape[1:]} and the discriminator's input shape is "
                f"{discriminator.input_shape[1:]}; build both for the same image_shape"
            )
        logits = 1 if num_classes is None else num_classes
        if discriminator.output_shape[1:] != (logits,):
            raise ValueError(
                f"the discriminator's output shape is {discriminator.output_shape[1:]}; expected ({logits},) for "
                f"num_classes={num_classes}: build it with the same num_classes"
            )
        if generator.input_shape[-1] <= validate.condition_size(num_classes):
            raise ValueError(
                f"the generator takes {generator.input_shape[-1]} values and num_classes is {num_classes}; expected latent "
                "values and one for each class: build it with the same num_classes"
            )
        self.generator = generator
        self.discriminator = discriminator
        # Not `loss`: `compile` overwrites that attribute.
        self.loss_name = validate.choice(loss, "loss", LOSSES)
        self.penalty = validate.choice(penalty, "penalty", PENALTIES)
        self.penalty_weight = validate.real(penalty_weight, "penalty_weight", minimum=0)
        if penalty is not None and any(
            isinstance(layer, keras.layers.BatchNormalization) for layer in discriminator.layers
        ):
            raise ValueError(
                f"penalty is {penalty!r} and the discriminator has batch normalisation, which makes an output depend on "
                "the whole batch; build the discriminator with batch_norm=False"
            )
        self.average = MovingAverage(generator, ema_momentum)
        self.ema_momentum = ema_momentum
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.generator_tracker = keras.metrics.Mean(name="generator_loss")
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator_loss")
        if penalty is not None:
            self.penalty_tracker = keras.metrics.Mean(name="penalty")
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.generator.output_shape[1:])

    @property
    def latent_dim(self) -> int:
        """Length of the latent vector, without the condition."""
        return self.generator.input_shape[-1] - validate.condition_size(self.num_classes)

    @property
    def ema_source(self) -> keras.Model:
        """The generator: samples come from the average of its weights."""
        return self.generator

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the sum of both networks' losses, and of the penalty times its weight."""
        discriminator_loss = LOSSES[self.loss_name][1]
        latent = keras.random.normal((ops.shape(images)[0], self.latent_dim), dtype="float32", seed=self.noise)
        inputs = latent if condition is None else ops.concatenate([latent, condition], axis=-1)
        real_logits = self.discriminator(images, training=training)
        fake = self.generator(inputs, training=training)
        fake_logits = frozen_call(self.discriminator, fake, training=training)
        # The generator's loss has no gradient for the weights of the discriminator.
        compared = ops.stop_gradient(_logit_of_class(real_logits, condition))
        for_generator = generator_loss_by_name(self.loss_name, _logit_of_class(fake_logits, condition), compared)
        fake = ops.stop_gradient(fake)
        fake_logits = self.discriminator(fake, training=training)
        for_discriminator = discriminator_loss(
            _logit_of_class(real_logits, condition), _logit_of_class(fake_logits, condition)
        )
        self.generator_tracker.update_state(for_generator)
        self.discriminator_tracker.update_state(for_discriminator)
        total = for_generator + for_discriminator
        if self.penalty is None:
            return total
        penalty = self._penalty(images, fake, condition, training)
        self.penalty_tracker.update_state(penalty)
        return total + self.penalty_weight * penalty

    def _penalty(self, real: Any, fake: Any, condition: Any, training: bool) -> Any:
        def critic(images: Any) -> Any:
            # As a function of the weights, so that state updates stay outside the gradient computation.
            weights = [variable.value for variable in self.discriminator.trainable_variables]
            return _logit_of_class(_stateless_call(self.discriminator, weights, images, training), condition)

        if self.penalty == "r1":
            return r1_penalty(critic, real)
        if self.penalty == "r1_r2":
            return r1_penalty(critic, real) + r1_penalty(critic, fake)
        shape = (ops.shape(real)[0], *[1] * (len(real.shape) - 1))
        fraction = keras.random.uniform(shape, dtype="float32", seed=self.noise)
        return gradient_penalty(critic, real, fake, fraction)

    def generate(self, latent: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Map latent vectors to images with the averaged generator.

        Parameters
        ----------
        latent : array_like
            ``(n, latent_dim)``.
        labels : array_like, optional
            As in :meth:`sample`; required if the GAN is conditional.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].

        Raises
        ------
        ValueError
            If ``latent`` has another shape, or the labels do not fit.
        """
        latent = validate.rows(latent, "latent", self.latent_dim).astype("float32")
        condition = self.required_rows(labels, len(latent))
        return predict(self.average.network, latent if condition is None else np.hstack([latent, condition]))

    def _sample(self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None) -> NDArray[np.float32]:
        return self.generate(rng.standard_normal((n, self.latent_dim)), labels=condition)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        networks = {"generator": serialize(self.generator), "discriminator": serialize(self.discriminator)}
        options = {name: getattr(self, name) for name in ("penalty", "penalty_weight", "ema_momentum", "seed")}
        return {**super().get_config(), **networks, "loss": self.loss_name, **options}


def _logit_of_class(logits: Any, condition: Any) -> Any:
    """Return ``(n, 1)``: the only logit, or the one that the condition selects."""
    return logits if condition is None else ops.sum(logits * condition, axis=-1, keepdims=True)
