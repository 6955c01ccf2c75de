"""Normalizing flows: invertible layers, the network made of them, and the model that trains it by exact likelihood."""

from imggen_lib.models.flow.layers import Coupling, Invertible, Squeeze, Standardise
from imggen_lib.models.flow.model import Flow, flow_network

__all__ = ["Coupling", "Flow", "Invertible", "Squeeze", "Standardise", "flow_network"]
