"""Recipes: derived registry, budgets, overrides, optimizers."""

import numpy as np
import pytest

from imggen_lib import datasets, recipes


@pytest.mark.parametrize("name", recipes.names())
def test_profiles_name_a_dataset_and_the_quick_one_is_shorter(name):
    recipe = recipes.get(name)
    for profile in ("quick", "full"):
        budget = recipe.budget(profile)
        assert budget.dataset in datasets.names() and budget.num_steps > 0
    assert recipe.budget("quick").num_steps < recipe.budget("full").num_steps
    with pytest.raises(ValueError, match="profile is 'fast'; expected one of quick, full"):
        recipe.budget("fast")


def test_learning_rate_falls_to_zero_along_a_cosine():
    recipe = recipes.get("gan")
    optimizer, rates = recipe.optimizer(100), []
    for step in (0, 50, 100):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate) / recipe.learning_rate)
    assert rates == pytest.approx([1, 0.5, 0], abs=1e-6)
    assert float(recipe.optimizer().learning_rate) == pytest.approx(recipe.learning_rate)


def test_override_changes_fields_and_builder_options_and_leaves_the_original():
    original = recipes.get("vae")
    changed = original.override(num_steps=7, batch_size=4, learning_rate=0.5, beta_1=0.1, latent_dim=3, beta=2.0)
    assert (changed.quick.num_steps, changed.full.num_steps) == (7, 7)
    assert (changed.batch_size, changed.learning_rate, changed.beta_1) == (4, 0.5, 0.1)
    assert changed.builder_options() == {**original.builder_options(), "latent_dim": 3, "beta": 2.0}
    model = changed.model((8, 8, 1), 10, seed=0)
    assert (model.latent_dim, model.beta, model.num_classes) == (3, 2.0, None)
    assert original.builder_options()["latent_dim"] == 100 and original.batch_size == 128


def test_overridden_options_reach_the_model():
    recipe = recipes.get("diffusion").override(filters=[8], blocks=1, label_dropout=0.25)
    model = recipe.model((8, 8, 3), 4, seed=0)
    assert (model.label_dropout, model.num_classes, model.image_shape) == (0.25, 4, (8, 8, 3))
    assert recipes.get("vae").override(conditional=True, latent_dim=2).model((8, 8, 1), 3, seed=0).num_classes == 3


@pytest.mark.parametrize("captions", [False, True])
def test_network_in_the_latents_is_a_unet_if_its_filters_are_given(captions):
    recipe = recipes.get("latent_diffusion").override(unet_filters=(8, 16), depth=1, captions=captions, filters=(8, 8))
    layers = {layer.name for layer in recipe.model((16, 16, 3), 5, seed=0).network.layers}
    assert {"down_0", "down_1"} <= layers and ("text" in layers) == captions == ("attention" not in layers)


@pytest.mark.parametrize("size", [16, 28, 64, 65, 128])
@pytest.mark.parametrize("name", ["gan", "vae", "diffusion"])
def test_number_of_halvings_keeps_dense_layers_and_attention_small(name, size):
    """Up to 64 pixels, networks are those of the shipped weights."""
    model = recipes.get(name).model((size, size, 3), None, seed=0)
    assert model.image_shape == (size, size, 3)
    if name == "diffusion":
        assert np.prod(model.network.get_layer("attention_norm").output.shape[1:3]) <= 256
        levels = [layer for layer in model.network.layers if layer.name.startswith("down_") and layer.name.count("_") == 1]
        assert [layer.filters for layer in levels] == ([48, 96] if size <= 64 else [48, 96, 192])
    else:
        generator = model.generator if name == "gan" else model.decoder
        assert generator.get_layer("dense_1").kernel.shape[1] <= 16 * 16 * 64
        assert generator.get_layer("upsample_2").input.shape[-1] == (64 if size <= 64 else 128)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"depth": 3}, ValueError, "setting of vae is 'depth'; expected one of batch_size, .*latent_dim"),
        ({"num_steps": 0}, ValueError, "num_steps is 0"),
        ({"batch_size": 2.5}, TypeError, r"batch_size is 2\.5"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate is -1"),
    ],
)
def test_bad_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        recipes.get("vae").override(**settings)


def test_unknown_recipe_is_answered_with_the_names():
    with pytest.raises(ValueError, match="model is 'dall-e'; expected one of autoencoder, classifier"):
        recipes.get("dall-e")


def test_moving_average_extends_over_a_fraction_of_the_steps():
    recipe = recipes.get("diffusion").override(filters=(8,), blocks=1)
    assert recipe.ema_fraction == 0.1
    momenta = [recipe.model((8, 8, 1), 4, seed=0, num_steps=n).ema_momentum for n in (100, 10_000, None)]
    assert momenta == pytest.approx([0.9, 0.999, 0.999])
    own = recipe.override(ema_momentum=0.5)
    assert own.model((8, 8, 1), 4, seed=0, num_steps=100).ema_momentum == 0.5


def test_gan_with_a_reducing_discriminator_has_a_generator_that_interpolates():
    gan = recipes.get("gan").override(reduce=2, filters=(8, 8)).model((16, 16, 3), None, seed=0)
    assert gan.generator.get_layer("pixel").kernel.shape[:2] == (1, 1)
    assert gan.discriminator.get_layer("conv_0").output.shape[1:3] == (4, 4)
