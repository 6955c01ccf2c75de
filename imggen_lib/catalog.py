"""One recipe for every model that is shipped: what it is built of, what it is trained on and for how long.

A page shows a recipe's numbers; it does not type them again. Keras takes seconds to import, and listing the catalog
needs none of it, so what builds a model imports its parts when called.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imggen_lib import checks, datasets, files


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

    def budget(self, profile):
        """Return the budget of a profile, ``"quick"`` or ``"full"``."""
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
            full=Budget("fashion_mnist_full", 1200),
            batch_size=32,
            learning_rate=2e-3,
        ),
        Recipe(
            "flow",
            "Normalizing flow with exact likelihood",
            _flow,
            quick=Budget("fashion_mnist", 300),
            full=Budget("fashion_mnist_full", 2000),
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
        ),
    )
}


def names():
    """Return the names of the models that there is a recipe for.

    Examples
    --------
    >>> names()
    ('classifier', 'gan', 'conditional_gan', 'marble_gan', 'vae', 'vae_2d', 'pixelcnn', 'flow', 'diffusion')
    """
    return tuple(_RECIPES)


def shipped():
    """Return the names of those whose trained weights come with the library.

    Examples
    --------
    >>> set(shipped()) <= set(names())
    True
    """
    return tuple(name for name in names() if datasets.resource("weights", f"{name}.json").is_file())


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


def record(name):
    """Return what is known of a shipped model's training: seed, data, steps, seconds, machine, measured quality.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If there is no model of that name.

    Examples
    --------
    >>> record("classifier")["dataset"]
    'fashion_mnist_full'
    """
    path = datasets.resource("weights", f"{recipe(name).name}.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Install the package again") from error


def load(name):
    """Return a model with its shipped weights.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    keras.Model

    Raises
    ------
    ValueError
        If there is none of that name, or its weight file is damaged.
    FileNotFoundError
        If its weight file is missing.

    Examples
    --------
    >>> load("vae_2d").sample(2, seed=0).shape
    (2, 28, 28, 1)
    """
    facts = record(name)
    path = datasets.resource("weights", f"{name}.npz")
    files.verify(path, facts["sha256"], advice="Install the package again, or train it with: make weights")
    model = recipe(name).build(tuple(facts["image_shape"]), len(facts["class_names"]), facts["seed"])
    arrays = files.read_npz(path)
    weights = _weights(model)
    if [arrays[key].shape for key in arrays] != [tuple(weight.shape) for weight in weights]:
        raise ValueError(f"{path} holds other shapes than the recipe of {name} builds: train it with: make weights")
    for weight, array in zip(weights, arrays.values(), strict=True):
        weight.assign(array.astype("float32"))
    if (network := _followed(model)) is not None:
        network.set_weights(model.average.network.get_weights())
    return model


def export(model, path, facts):
    """Write a model's weights as a shipped file is: half precision, no optimizer, with a record beside it.

    Parameters
    ----------
    model : keras.Model
    path : path_like
        Ending in ``.npz``; the record goes beside it, ending in ``.json``.
    facts : dict
        What is known of the training.

    Raises
    ------
    ValueError
        If a weight is too large for half precision.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> export(recipe("vae_2d").build((8, 8, 1), 10, seed=0), folder / "tiny.npz", {"seed": 0})
    >>> sorted(file.name for file in folder.iterdir())
    ['tiny.json', 'tiny.npz']
    """
    path = Path(path)
    arrays = {f"{index:03d}": np.asarray(weight) for index, weight in enumerate(_weights(model))}
    # Said this way round, so that NaN is refused too.
    if not all(np.abs(array).max(initial=0) <= np.finfo(np.float16).max for array in arrays.values()):
        raise ValueError(f"a weight is too large for half precision, so {path} was not written: has training diverged?")
    with files.replacing(path) as temporary:
        np.savez_compressed(temporary, **{key: array.astype(np.float16) for key, array in arrays.items()})
    with files.replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**facts, "sha256": files.sha256(path)}, indent=2) + "\n")


def _weights(model):
    """The weights that say what a model does, without the states of its random generators and its counters."""
    network = _followed(model)
    left_out = [] if network is None else [id(weight) for weight in network.weights]
    return [weight for weight in model.weights if weight.dtype == "float32" and id(weight) not in left_out]


def _followed(model):
    """The one network of a model that draws by that network's moving average, which alone is shipped; or None."""
    return getattr(model, "network", None) if hasattr(model, "average") else None
