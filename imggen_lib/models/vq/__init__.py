"""Images as grids of discrete tokens: vector quantisation, an autoencoder around it, two transformers over the tokens."""

from imggen_lib.models.vq.autoencoder import TokenAutoencoder, token_decoder, token_encoder
from imggen_lib.models.vq.masked import MaskedTokenTransformer, mask_counts, masked_fraction
from imggen_lib.models.vq.network import TokenPredictor, token_network
from imggen_lib.models.vq.quantizer import VectorQuantizer, nearest_code, perplexity, straight_through
from imggen_lib.models.vq.token_transformer import TokenTransformer

__all__ = [
    "MaskedTokenTransformer", "TokenAutoencoder", "TokenPredictor", "TokenTransformer", "VectorQuantizer", "mask_counts",
    "masked_fraction", "nearest_code", "perplexity", "straight_through", "token_decoder", "token_encoder", "token_network",
]  # fmt: skip
