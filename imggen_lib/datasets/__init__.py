"""Datasets by name: images as arrays, split into training and test images, with labels and a description of them.

A module of this package adds datasets by a dictionary ``LOADERS``, from names to functions that return a
:class:`Dataset`. A dataset that is read from a folder has a function with the optional argument ``data_dir``; the other
functions have no arguments.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable

from imggen_lib import _validation as validate
from imggen_lib.datasets.base import Condition, Dataset
from imggen_lib.datasets.bundled import PHOTOGRAPHS, photograph
from imggen_lib.datasets.fashion_mnist import CLOTHES, read_idx
from imggen_lib.datasets.folder import from_folder

__all__ = ["CLOTHES", "PHOTOGRAPHS", "Condition", "Dataset", "from_folder", "load", "names", "photograph", "read_idx"]


@functools.cache
def _loaders() -> dict[str, Callable[..., Dataset]]:
    """Return the function that loads each dataset, from ``LOADERS`` of each module of this package."""
    modules = [importlib.import_module(module.name) for module in pkgutil.iter_modules(__path__, f"{__name__}.")]
    return {name: loader for module in modules for name, loader in getattr(module, "LOADERS", {}).items()}


def names() -> tuple[str, ...]:
    """Return the names of all datasets, sorted.

    Examples
    --------
    >>> names()  # doctest: +NORMALIZE_WHITESPACE
    ('captioned_marbles', 'composed_emoji', 'composed_emoji_32', 'described_emoji', 'described_marbles', 'digits',
    'emoji', 'emoji_32', 'faces', 'fashion_mnist', 'fashion_mnist_full', 'marbles')
    """
    return tuple(sorted(_loaders()))


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a dataset by its name.

    ======================  ===================  ==========  ==================================================
    Name                    Training and test    Shape       Content and labels
    ======================  ===================  ==========  ==================================================
    ``fashion_mnist``       10,000 and 2,000     28×28×1     clothes, ten balanced classes
    ``fashion_mnist_full``  60,000 and 10,000    28×28×1     clothes, the same ten classes
    ``digits``              1,437 and 360        8×8×1       handwritten digits, ten classes
    ``faces``               160 and 40           25×25×1     photographs of faces and of backgrounds, two classes
    ``marbles``             6,000 and 1,200      64×64×3     marbles, six balanced classes of hue
    ``captioned_marbles``   8,000 and 1,000      32×32×3     marbles with incomplete captions
    ``described_marbles``   8,000 and 1,000      32×32×3     marbles with complete captions
    ``emoji``               4,401 and 490        64×64×3     emoji with captions of concept and drawing style
    ``emoji_32``            4,401 and 490        32×32×3     the same images, averaged over squares of four pixels
    ``composed_emoji``      40,000 and 3,000     64×64×3     scenes of one to four emoji with captions
    ``composed_emoji_32``   40,000 and 3,000     32×32×3     the same scenes, averaged over squares of four pixels
    ``described_emoji``     60,000 and 3,000     64×64×3     scenes with all their attributes as labels
    ======================  ===================  ==========  ==================================================

    Origin and licence:

    - ``fashion_mnist`` and ``fashion_mnist_full``: Fashion-MNIST by Zalando SE (Xiao, Rasul and Vollgraf 2017), MIT. The
      first is the first 1,000 training and 200 test images of each class, and comes with this library. The second is
      looked for in ``data_dir``, the folder in the environment variable ``IMGGEN_DATA_DIR``, Debian's package
      ``dataset-fashion-mnist``, Keras's cache and this library's cache, and is downloaded (31 MB) if it is in none.
    - ``digits``: test set of "Optical recognition of handwritten digits" (Alpaydin and Kaynak 1998), UCI Machine Learning
      Repository, CC BY 4.0. It comes with scikit-learn. A fifth of the images is the test set here.
    - ``faces``: 100 faces and 100 background patches of "Labeled Faces in the Wild" (Huang et al. 2007), which collected
      news photographs and states no licence. It comes with scikit-image. A fifth of the images is the test set here.
    - ``marbles``: the images of ``rendering.render_marbles(7200, rng=0)``, in that order. No third-party rights.
    - ``captioned_marbles``: images and captions of :mod:`imggen_lib.datasets.marble_captions`. Training captions leave out
      15 % of the factors. The combinations that :func:`imggen_lib.datasets.marble_captions.combinations` holds out are in
      the test images only. No third-party rights.
    - ``described_marbles``: the same kind of images, with all combinations in both parts. No third-party rights.
    - ``emoji`` and ``emoji_32``: 1,166 concepts in up to five styles: Fluent Emoji by Microsoft (MIT), Noto Emoji by Google
      (Apache 2.0), FxEmojis by Mozilla (Apache 2.0, CC BY 4.0), Twemoji by Twitter and other contributors (CC BY 4.0), and
      EmojiOne 2 by EmojiOne and EmojiTwo (CC BY 4.0). They come with this library. Show
      :data:`imggen_lib.datasets.emoji.ATTRIBUTION` where icons appear. Test images are the combinations of concept and
      style that :func:`imggen_lib.datasets.emoji.held_out` holds out.

    - ``composed_emoji``, ``composed_emoji_32`` and ``described_emoji``: scenes that
      :mod:`imggen_lib.datasets.composed_emoji` makes of these icons. They are rendered when they are indexed. The test
      images of the first two show combinations that their training images do not have; the third has all of them in both
      parts.

    Marbles are rendered in a few seconds at the first call and kept in memory as read-only arrays.

    Parameters
    ----------
    name : str
        A name in the table.
    data_dir : path_like, optional
        A folder with the four files of ``fashion_mnist_full``.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the name is unknown, a file is damaged, or ``data_dir`` is given for a dataset that is not read from a folder.
    FileNotFoundError
        If a file is missing and cannot be downloaded.

    References
    ----------
    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
    arXiv:1708.07747, 2017. Alpaydin and Kaynak, "Cascading classifiers", Kybernetika 34, 1998. Huang, Ramesh, Berg and
    Learned-Miller, "Labeled Faces in the Wild", University of Massachusetts, 2007.

    Examples
    --------
    >>> clothes = load("fashion_mnist")
    >>> clothes.x_train.shape, clothes.class_names[clothes.y_train[0]]
    ((10000, 28, 28, 1), 'ankle boot')
    """
    loader = _loaders()[validate.choice(name, "dataset", names())]
    if data_dir is None:
        return loader()
    if "data_dir" not in inspect.signature(loader).parameters:
        raise ValueError(f"data_dir is {data_dir}, but the dataset {name} is not read from a folder: leave data_dir out")
    return loader(data_dir=data_dir)
