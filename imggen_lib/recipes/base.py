"""Recipes: how a model is built, and the dataset, duration and optimizer of its training."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from imggen_lib import _validation as validate

if TYPE_CHECKING:
    import keras

__all__ = ["Budget", "Recipe", "generator_filters"]


def generator_filters(image_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the channels of :func:`imggen_lib.models.blocks.image_generator` where a recipe does not set them.

    Images of more than 64 pixels on a side are doubled four times instead of two, with few channels at full size. The dense
    layer before the coarse image then has at most 2 million weights up to 128x128 pixels.

    Examples
    --------
    >>> generator_filters((28, 28, 1)), generator_filters((128, 128, 3))
    ((64, 32), (128, 64, 32, 16))
    """
    return (64, 32) if max(image_shape[:2]) <= 64 else (128, 64, 32, 16)


@dataclasses.dataclass(frozen=True)
class Budget:
    """The dataset of a training and its number of steps.

    Attributes
    ----------
    dataset : str
        A name that :func:`imggen_lib.datasets.load` takes.
    num_steps : int
        Training steps, one batch each.

    Examples
    --------
    >>> Budget("fashion_mnist", num_steps=1000).num_steps
    1000
    """

    dataset: str
    num_steps: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is built and trained. :meth:`override`, or ``imggen train --set``, changes any value.

    Attributes
    ----------
    name, summary : str
    build : callable
        Takes ``image_shape``, ``num_classes`` (None without a condition) and ``seed``, and keyword-only options; returns a
        Keras model. It imports Keras only when it is called, so that recipes can be read without Keras.
    quick, full : Budget
        The two profiles: minutes on two cores, and what the shipped weights were trained with.
    batch_size : int
    learning_rate : float
        Of Adam at the first step. It falls to zero along a cosine if the number of steps is known.
    beta_1 : float
        Decay rate of Adam's first moment.
    condition : {None, "classes", "captions"}
        The kind of labels that the dataset must have; None if any dataset is possible.
    ema_fraction : float, optional
        The moving average of the weights extends over that fraction of the training's steps, if their number is known:
        its momentum is 1 - 1 / (fraction * steps). Without it the momentum is the one of ``build``.
    min_images : int
        With fewer training images, :func:`imggen_lib.training.run` warns.
    mixed_precision : bool
        Whether networks may compute in bfloat16 on a GPU that supports it. Not in a GAN, whose losses depend on small
        differences, nor where a likelihood is to be exact.
    options : mapping
        Values of keyword-only options of ``build`` that differ from their defaults.

    Examples
    --------
    >>> from imggen_lib import recipes
    >>> larger = recipes.get("vae").override(latent_dim=200, learning_rate=5e-4)
    >>> larger.options["latent_dim"], larger.learning_rate
    (200, 0.0005)
    """

    name: str
    summary: str
    build: Callable[..., keras.Model]
    quick: Budget
    full: Budget
    batch_size: int
    learning_rate: float
    beta_1: float = 0.9
    condition: Literal["classes", "captions"] | None = None
    mixed_precision: bool = False
    ema_fraction: float | None = None
    min_images: int = 500
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def budget(self, profile: str) -> Budget:
        """Return the budget of a profile, ``"quick"`` or ``"full"``; ``ValueError`` for another name."""
        return {"quick": self.quick, "full": self.full}[validate.choice(profile, "profile", ("quick", "full"))]

    def builder_options(self) -> dict[str, Any]:
        """Return every option of ``build`` with the value that this recipe uses."""
        parameters = inspect.signature(self.build).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        return {**defaults, **self.options}

    def override(self, **settings: Any) -> Recipe:
        """Return a recipe with other values.

        Parameters
        ----------
        **settings
            ``num_steps`` (of both profiles), ``batch_size``, ``learning_rate``, ``beta_1``, ``mixed_precision``, or an
            option of ``build``.

        Raises
        ------
        ValueError
            If there is no such setting; the message lists those that there are. A value is checked where it is used.
        """
        fields: dict[str, Any] = {}
        options = dict(self.options)
        own = ("batch_size", "learning_rate", "beta_1", "mixed_precision")
        known = [*own, "num_steps", *self.builder_options()]
        for name, value in settings.items():
            validate.choice(name, f"setting of {self.name}", known)
            if name == "num_steps":
                steps = validate.integer(value, name)
                fields["quick"] = dataclasses.replace(self.quick, num_steps=steps)
                fields["full"] = dataclasses.replace(self.full, num_steps=steps)
            elif name == "batch_size":
                fields[name] = validate.integer(value, name)
            elif name in ("learning_rate", "beta_1"):
                fields[name] = validate.real(value, name, minimum=0)
            elif name in own:
                fields[name] = bool(value)
            else:
                options[name] = value
        return dataclasses.replace(self, **fields, options=MappingProxyType(options))

    def model(
        self,
        image_shape: tuple[int, int, int],
        condition_size: int | None,
        *,
        seed: int,
        num_steps: int | None = None,
    ) -> keras.Model:
        """Build the model, not compiled.

        Parameters
        ----------
        image_shape : tuple of int
            Height, width and channels.
        condition_size : int or None
            Number of classes, or of values that encode a caption.
        seed : int
        num_steps : int, optional
            Of the training, for ``ema_fraction``.

        Returns
        -------
        keras.Model

        Examples
        --------
        A tenth of 5,000 steps is 500 steps, which a momentum of 0.998 averages over:

        >>> from imggen_lib import recipes
        >>> recipes.get("diffusion").model((8, 8, 1), 10, seed=0, num_steps=5000).ema_momentum
        0.998
        """
        options = dict(self.options)
        if num_steps is not None and self.ema_fraction is not None:
            options.setdefault("ema_momentum", 1 - 1 / max(2.0, self.ema_fraction * num_steps))
        return self.build(image_shape, condition_size, seed, **options)

    def optimizer(self, num_steps: int | None = None) -> keras.optimizers.Optimizer:
        """Return an Adam optimizer. Its rate falls to zero over ``num_steps`` along a cosine, if they are given."""
        import keras

        rate: Any = self.learning_rate
        if num_steps is not None:
            rate = keras.optimizers.schedules.CosineDecay(rate, num_steps)
        return keras.optimizers.Adam(rate, beta_1=self.beta_1)
