"""Recipes by name. Every module of this package that has ``RECIPES`` adds the recipes in it; nothing else lists them."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from imggen_lib import _validation as validate
from imggen_lib.recipes.base import Budget, Recipe

__all__ = ["Budget", "Recipe", "get", "names"]


@functools.cache
def _recipes() -> dict[str, Recipe]:
    modules = [importlib.import_module(module.name) for module in pkgutil.iter_modules(__path__, f"{__name__}.")]
    return {recipe.name: recipe for module in modules for recipe in getattr(module, "RECIPES", ())}


def names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted.

    Examples
    --------
    >>> "vae_2d" in names()
    True
    """
    return tuple(sorted(_recipes()))


def get(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises
    ------
    ValueError
        If there is no recipe of that name; the message lists the names.

    Examples
    --------
    >>> get("vae_2d").quick.dataset
    'fashion_mnist'
    """
    return _recipes()[validate.choice(name, "model", names())]
