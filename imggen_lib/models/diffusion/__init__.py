"""Diffusion models: the noise schedule, the U-Net, the sampler, and the model that is trained and sampled."""

from imggen_lib.models.diffusion.model import Diffusion
from imggen_lib.models.diffusion.unet import image_unet

__all__ = ["Diffusion", "image_unet"]
