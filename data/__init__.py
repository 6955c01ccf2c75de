"""Data of the library: the embedded dataset and the weights of the shipped models. The package is ``imggen_lib.data``."""
