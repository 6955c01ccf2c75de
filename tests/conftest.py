import functools
import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from hypothesis import settings

import imggen_lib
from imggen_lib import datasets

# As the command line and the pages do: compiling takes less time.
imggen_lib.configure_process()

# The same examples in every run: what fails for one fails for all. `--hypothesis-profile=default` looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """The tests mean the defaults, whatever the shell that started them says."""
    monkeypatch.delenv("IMGGEN_PROFILE", raising=False)
    monkeypatch.delenv("IMGGEN_DATA_DIR", raising=False)


@pytest.fixture(scope="session")
def clothes():
    return datasets.load("fashion_mnist")


@pytest.fixture(scope="session")
def digits():
    return datasets.load("digits")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def few_evaluated_images():
    """Evaluate trained models with 100 images instead of 5,000, in modules of tests that are not about the evaluation."""
    from imggen_lib import evaluation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "NUM_IMAGES", 100)
        yield


@pytest.fixture(scope="session")
def tiny_gan():
    """Build a compiled GAN of 8x8 images that trains in milliseconds, with dropout; eager, so that nothing is traced."""

    def build(*, num_classes=None, **options):
        import keras

        from imggen_lib import models

        keras.utils.set_random_seed(0)
        gan = models.GAN(
            models.image_generator((8, 8, 1), 3, filters=(4,), num_classes=num_classes),
            models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False, dropout=0.3, num_classes=num_classes),
            num_classes=num_classes,
            **options,
        )
        gan.compile(optimizer=keras.optimizers.Adam(1e-3, beta_1=0.5), run_eagerly=True)
        return gan

    return build


@pytest.fixture(scope="session")
def tiny_conditional_gan(tiny_gan):
    """Build the GAN of ``tiny_gan`` with three classes."""
    return functools.partial(tiny_gan, num_classes=3)


@pytest.fixture(scope="session")
def tiny_vae():
    """Build a compiled VAE of 8x8 images with two latent dimensions; eager, so that nothing is traced."""

    def build(*, num_classes=None, **options):
        import keras

        from imggen_lib import models

        keras.utils.set_random_seed(0)
        vae = models.VAE(
            models.image_encoder((8, 8, 1), 2, filters=(4,)),
            models.image_generator((8, 8, 1), 2, filters=(4,), batch_norm=False, num_classes=num_classes, name="decoder"),
            num_classes=num_classes,
            **options,
        )
        vae.compile(optimizer=keras.optimizers.Adam(1e-3), run_eagerly=True)
        return vae

    return build


@pytest.fixture(scope="session")
def tiny_conditional_vae(tiny_vae):
    """Build the VAE of ``tiny_vae`` with three classes."""
    return functools.partial(tiny_vae, num_classes=3)
