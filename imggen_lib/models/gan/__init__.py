"""Generative adversarial networks: losses, networks, and the model that trains both networks in one step."""

from imggen_lib.models.gan.losses import (
    LOSSES,
    PENALTIES,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)
from imggen_lib.models.gan.model import GAN, frozen_call
from imggen_lib.models.gan.networks import image_discriminator, interpolating_generator

__all__ = [
    "GAN", "LOSSES", "PENALTIES", "discriminator_loss", "frozen_call", "generator_loss", "gradient_penalty",
    "image_discriminator", "interpolating_generator", "r1_penalty",
]  # fmt: skip
