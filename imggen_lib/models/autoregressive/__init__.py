"""Autoregressive models: causal convolutions, the mixture of logistics of a pixel, and the PixelCNN made of them."""

from imggen_lib.models.autoregressive.causal import CausalConvolution, GatedBlock, pixel_network
from imggen_lib.models.autoregressive.logistic_mixture import pixel_log_probability
from imggen_lib.models.autoregressive.pixelcnn import PixelCNN, reduced_shape

__all__ = [
    "CausalConvolution", "GatedBlock", "PixelCNN", "pixel_log_probability", "pixel_network", "reduced_shape",
]  # fmt: skip
