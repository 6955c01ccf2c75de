"""Normalizing flows: invertible layers, the network made of them, and the model trained by exact likelihood."""

from imggen_lib.models.flow.dequantization import EDGE, images_to_logits, logits_to_images
from imggen_lib.models.flow.layers import Augment, Coupling, Invertible, Squeeze, Standardise, invert_network
from imggen_lib.models.flow.model import Flow, flow_network

__all__ = [
    "EDGE", "Augment", "Coupling", "Flow", "Invertible", "Squeeze", "Standardise", "flow_network", "images_to_logits",
    "invert_network", "logits_to_images",
]  # fmt: skip
