"""Diffusion models: noise schedule, objective, networks, sampler, and the models that are trained and sampled."""

from imggen_lib.models.diffusion.latent import LatentDiffusion
from imggen_lib.models.diffusion.model import Diffusion
from imggen_lib.models.diffusion.rectified_flow import RectifiedFlow
from imggen_lib.models.diffusion.transformer import image_transformer
from imggen_lib.models.diffusion.unet import image_unet
from imggen_lib.models.diffusion.vector_network import vector_network

__all__ = ["Diffusion", "LatentDiffusion", "RectifiedFlow", "image_transformer", "image_unet", "vector_network"]
