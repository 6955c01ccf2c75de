"""Autoregressive models: causal convolutions, and the PixelCNN made of them."""

from imggen_lib.models.autoregressive.causal import CausalConvolution, pixel_network
from imggen_lib.models.autoregressive.pixelcnn import PixelCNN, pixel_log_probability

__all__ = ["CausalConvolution", "PixelCNN", "pixel_log_probability", "pixel_network"]
