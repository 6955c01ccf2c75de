"""Diffusion models: the noise schedule, the U-Net, and the model that trains and samples."""

from imggen_lib.models.diffusion.model import Diffusion
from imggen_lib.models.diffusion.unet import image_unet

__all__ = ["Diffusion", "image_unet"]
