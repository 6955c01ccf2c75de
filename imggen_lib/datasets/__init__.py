"""Datasets: ``load(name)`` returns images as arrays, split into training and test images, with their labels.

Every module of this package that has ``LOADERS`` adds the datasets named there; nothing else lists them.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
from collections.abc import Callable

from imggen_lib import _validation as validate
from imggen_lib.datasets.base import Condition, Dataset
from imggen_lib.datasets.bundled import PHOTOGRAPHS, photograph
from imggen_lib.datasets.fashion_mnist import CLOTHES, read_idx

__all__ = ["CLOTHES", "PHOTOGRAPHS", "Condition", "Dataset", "load", "names", "photograph", "read_idx"]


@functools.cache
def _loaders() -> dict[str, Callable[..., Dataset]]:
    """The functions that load each dataset, from ``LOADERS`` of each module of this package."""
    modules = [importlib.import_module(module.name) for module in pkgutil.iter_modules(__path__, f"{__name__}.")]
    return {name: loader for module in modules for name, loader in getattr(module, "LOADERS", {}).items()}


def names() -> tuple[str, ...]:
    """Return the names that :func:`load` takes.

    Examples
    --------
    >>> names()
    ('captioned_marbles', 'described_marbles', 'digits', 'faces', 'fashion_mnist', 'fashion_mnist_full', 'marbles')
    """
    return tuple(sorted(_loaders()))


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a dataset by its name.

    Parameters
    ----------
    name : str
        - ``"fashion_mnist"``: 10,000 training and 2,000 test images of clothes, 28x28 grey, ten balanced classes; a
          subset of Zalando's Fashion-MNIST that comes with the library.
        - ``"fashion_mnist_full"``: all 60,000 + 10,000; looked for in ``data_dir``, the folder that the variable
          ``IMGGEN_DATA_DIR`` names, Debian's package ``dataset-fashion-mnist``, Keras's cache, and downloaded otherwise.
        - ``"digits"``: scikit-learn's 1,797 handwritten digits, 8x8 grey.
        - ``"faces"``: scikit-image's 100 faces from Labeled Faces in the Wild, 25x25 grey (class ``face``) and as many
          pieces of pictures without a face.
        - ``"marbles"``: 6,000 training and 1,200 test images of marbles, 64x64 in colour, six balanced classes of hue;
          rendered the first time, in seconds, and kept in memory. ``rendering.render_marbles(7200, rng=0)`` gives the same
          pictures, training ones first, with all their factors.
        - ``"captioned_marbles"``: 8,000 training and 1,000 test images of marbles on coloured ground, 32x32, with captions
          that leave some things out; the combinations that :func:`imggen_lib.datasets.marble_captions.combinations` holds out are among
          the test images only. Rendered in seconds, as is
        - ``"described_marbles"``: as many others, of all combinations, each with its whole caption.
    data_dir : path_like, optional
        A folder with the four files of the full Fashion-MNIST. No other dataset reads it.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the name is unknown, or a file is damaged (the message names the file and what to do).
    FileNotFoundError
        If the full set is nowhere and cannot be downloaded.

    References
    ----------
    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
    arXiv:1708.07747, 2017. Huang et al., "Labeled Faces in the Wild", University of Massachusetts, 2007.

    Examples
    --------
    >>> load("digits").x_train.shape
    (1437, 8, 8, 1)
    """
    validate.choice(name, "dataset", names())
    return _loaders()[name](data_dir)
