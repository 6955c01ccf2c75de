"""How each model is made: what it is built of, what it is trained on and for how long.

Keras takes seconds to import, and reading a recipe needs none of it, so what builds a model imports its parts when called.
"""

import dataclasses
from collections.abc import Callable

from imggen_lib import checks


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a model is trained on, and for how many steps.

    Attributes
    ----------
    dataset : str
        A name that :func:`imggen_lib.datasets.load` takes.
    steps : int
        Batches.

    Examples
    --------
    >>> Budget("fashion_mnist", steps=1000).steps
    1000
    """

    dataset: str
    steps: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes
    ----------
    name, summary : str
    build : callable
        Takes ``image_shape``, the number of classes and a seed, returns a Keras model.
    quick, full : Budget
        The two profiles: minutes on two cores, and what the shipped weights were trained with.
    batch_size : int
    learning_rate : float
        Of Adam, at the start; it falls to zero along a cosine if the number of steps is known beforehand.
    beta_1 : float
        Adam's momentum.
    generates : bool
        Whether the model draws pictures.
    learns_from : str or None
        What the pictures must come with, ``"classes"`` or ``"captions"``, where they must.
    half : bool
        Whether its networks may compute in half precision where a GPU is made for it. Not in a GAN, whose two networks
        live by small differences, nor where a likelihood is to be exact.

    Examples
    --------
    >>> recipe("gan").batch_size
    64
    """

    name: str
    summary: str
    build: Callable
    quick: Budget
    full: Budget
    batch_size: int
    learning_rate: float
    beta_1: float = 0.9
    generates: bool = True
    learns_from: str | None = None
    half: bool = False

    def budget(self, profile):
        """Return the budget of a profile, ``"quick"`` or ``"full"``; ``ValueError`` if it is another."""
        return {"quick": self.quick, "full": self.full}[checks.choice(profile, "profile", ("quick", "full"))]

    def optimizer(self, steps=None):
        """Return a fresh Adam with this recipe's numbers; its rate falls to zero over ``steps`` if they are given."""
        import keras

        rate = self.learning_rate
        if steps is not None:
            rate = keras.optimizers.schedules.CosineDecay(rate, steps)
        return keras.optimizers.Adam(rate, beta_1=self.beta_1)


def _gan(image_shape, classes, seed):
    from imggen_lib import models, networks

    return models.GAN(networks.image_generator(image_shape, 64), networks.image_discriminator(image_shape), seed=seed)


def _conditional_gan(image_shape, classes, seed):
    from imggen_lib import models, networks

    generator = networks.image_generator(image_shape, 64, classes=classes)
    return models.ConditionalGAN(generator, networks.image_discriminator(image_shape, classes=classes), seed=seed)


def _marble_gan(image_shape, classes, seed):
    from imggen_lib import models, networks

    # Few channels where the pictures are large: in colour and at 64x64 each of them costs most there.
    generator = networks.image_generator(image_shape, 64, filters=(128, 64, 32, 16))
    discriminator = networks.image_discriminator(image_shape, filters=(16, 32, 64, 128))
    return models.GAN(generator, discriminator, seed=seed)


def _vae(latent_dim):
    def build(image_shape, classes, seed):
        from imggen_lib import models, networks

        encoder = networks.image_encoder(image_shape, latent_dim)
        decoder = networks.image_generator(image_shape, latent_dim, batch_norm=False, name="decoder")
        return models.VAE(encoder, decoder, seed=seed)

    return build


def _pixelcnn(image_shape, classes, seed):
    from imggen_lib import models
    from imggen_lib.models import causal

    return models.PixelCNN(causal.pixel_network(image_shape, classes=classes))


def _flow(image_shape, classes, seed):
    from imggen_lib import models
    from imggen_lib.models import flow

    return models.Flow(flow.flow_network(image_shape), seed=seed)


def _diffusion(image_shape, classes, seed):
    from imggen_lib import models, networks

    return models.Diffusion(networks.image_unet(image_shape, classes=classes), seed=seed)


def _marble_reader(image_shape, classes, seed):
    from imggen_lib import captions, models, networks

    return models.Reader(networks.image_features(image_shape, filters=(24, 48, 64)), captions.COUNTS)


def _classifier(image_shape, classes, seed):
    from imggen_lib import models, networks

    return models.Classifier(networks.image_features(image_shape), classes)


_RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "classifier",
            "Tells ten kinds of clothes apart; the metrics use its features",
            _classifier,
            quick=Budget("fashion_mnist", 600),
            full=Budget("fashion_mnist_full", 4500),
            batch_size=128,
            learning_rate=2e-3,
            generates=False,
            half=True,
            learns_from="classes",
        ),
        Recipe(
            "gan",
            "Generative adversarial network, convolutional, its generator averaged over the steps",
            _gan,
            quick=Budget("fashion_mnist", 1000),
            full=Budget("fashion_mnist_full", 8000),
            batch_size=64,
            learning_rate=2e-3,
            beta_1=0.5,
        ),
        Recipe(
            "conditional_gan",
            "GAN that draws a chosen kind of clothes",
            _conditional_gan,
            quick=Budget("fashion_mnist", 1000),
            full=Budget("fashion_mnist_full", 8000),
            batch_size=64,
            learning_rate=2e-3,
            beta_1=0.5,
            learns_from="classes",
        ),
        Recipe(
            "marble_gan",
            "GAN that draws marbles in colour, 64x64",
            _marble_gan,
            quick=Budget("marbles", 300),
            full=Budget("marbles", 4000),
            batch_size=64,
            learning_rate=1e-3,
            beta_1=0.5,
        ),
        Recipe(
            "vae",
            "Variational autoencoder with 100 latent numbers",
            _vae(100),
            quick=Budget("fashion_mnist", 1000),
            full=Budget("fashion_mnist_full", 2500),
            batch_size=128,
            learning_rate=1e-3,
        ),
        Recipe(
            "vae_2d",
            "Variational autoencoder with 2 latent numbers: a map of clothes",
            _vae(2),
            quick=Budget("fashion_mnist", 1000),
            full=Budget("fashion_mnist_full", 3500),
            batch_size=128,
            learning_rate=1e-3,
        ),
        Recipe(
            "pixelcnn",
            "Autoregressive model that draws a chosen kind of clothes, pixel by pixel",
            _pixelcnn,
            quick=Budget("fashion_mnist", 200),
            full=Budget("fashion_mnist_full", 4000),
            batch_size=32,
            learning_rate=2e-3,
            learns_from="classes",
        ),
        Recipe(
            "flow",
            "Normalizing flow with exact likelihood",
            _flow,
            quick=Budget("fashion_mnist", 300),
            full=Budget("fashion_mnist_full", 5000),
            batch_size=64,
            learning_rate=1e-3,
        ),
        Recipe(
            "diffusion",
            "Diffusion model that draws a chosen kind of clothes",
            _diffusion,
            quick=Budget("fashion_mnist", 400),
            full=Budget("fashion_mnist_full", 5000),
            batch_size=64,
            learning_rate=1e-3,
            half=True,
        ),
        Recipe(
            "marble_reader",
            "Reads the size, colour, texture, ground and light of a marble off its picture: a judge",
            _marble_reader,
            quick=Budget("described_marbles", 300),
            full=Budget("described_marbles", 1500),
            batch_size=64,
            learning_rate=2e-3,
            generates=False,
            half=True,
            learns_from="captions",
        ),
        Recipe(
            "marble_diffusion",
            "Diffusion model that draws marbles from captions, in colour, 32x32",
            _diffusion,
            quick=Budget("captioned_marbles", 200),
            full=Budget("captioned_marbles", 5000),
            batch_size=32,
            learning_rate=1e-3,
            half=True,
        ),
    )
}


def names():
    """Return the names of the models that there is a recipe for.

    Examples
    --------
    >>> names()[:4]
    ('classifier', 'gan', 'conditional_gan', 'marble_gan')
    """
    return tuple(_RECIPES)


def recipe(name):
    """Return the recipe of a model.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> recipe("vae_2d").quick.dataset
    'fashion_mnist'
    """
    return _RECIPES[checks.choice(name, "model", names())]
