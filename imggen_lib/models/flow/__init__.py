"""Normalizing flows: invertible layers, networks made of them, and models trained by exact likelihood."""

from imggen_lib.models.flow.autoregressive import AutoregressiveTransform, Patches
from imggen_lib.models.flow.dequantization import EDGE, images_to_logits, logits_to_images
from imggen_lib.models.flow.layers import Augment, Coupling, Invertible, Squeeze, Standardise, invert_network
from imggen_lib.models.flow.model import Flow, flow_network
from imggen_lib.models.flow.transformer_flow import TransformerFlow, transformer_flow_network

__all__ = [
    "EDGE", "Augment", "AutoregressiveTransform", "Coupling", "Flow", "Invertible", "Patches", "Squeeze", "Standardise",
    "TransformerFlow", "flow_network", "images_to_logits", "invert_network", "logits_to_images", "transformer_flow_network",
]  # fmt: skip
