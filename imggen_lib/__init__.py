"""The library of a book on image generation: small, tested, and readable beside the formulas.

Importing it loads neither Keras nor matplotlib and changes nothing in the process. Its modules are loaded on first use:

``convolution``, ``noise``, ``metrics``   what the book teaches on arrays (NumPy only)
``rendering``                             images computed from rules: curves, shading, procedural textures, marbles
``datasets``                              datasets of images by name
``models``                                the model families, with one interface (Keras)
``restoration``                           inverse problems with a diffusion model as prior
``training``                              recipes, training runs, callbacks
``pretrained``, ``evaluation``            shipped models by name; features and scores of images
``io``, ``backend``                       images and arrays from files; differences between Keras's backends
``notebook``                              what the pages need: figures, animations, widgets, exercises
``cli``                                   the command ``imggen``

Examples
--------
>>> from imggen_lib import noise
>>> noise.white_noise((2, 2), rng=0).shape
(2, 2)
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imggen_lib import (
        backend,
        convolution,
        datasets,
        evaluation,
        io,
        metrics,
        models,
        noise,
        notebook,
        pretrained,
        rendering,
        restoration,
        training,
    )
    from imggen_lib._runtime import configure_process

__version__ = "0.2.0"

__all__ = [
    "backend", "configure_process", "convolution", "datasets", "evaluation", "io", "metrics", "models", "noise", "notebook",
    "pretrained", "rendering", "restoration", "training",
]  # fmt: skip


def __getattr__(name: str) -> ModuleType | Any:
    """Load a module of the library on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "configure_process":
        from imggen_lib._runtime import configure_process

        return configure_process
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
