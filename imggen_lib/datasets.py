"""Pictures from the world, each set with its licence: ``load(name)`` gives it as arrays, ready to train on."""

import dataclasses
import functools
import gzip
import hashlib
import importlib.resources
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pooch
import skimage.data

from imggen_lib import captions, checks, files, graphics

CLOTHES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")

# The four files of Fashion-MNIST: the SHA-256 of each as Zalando publishes it, and of what it holds when unpacked (Debian
# and others pack the same bytes again, and a gzip file's header changes with that).
FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
#: Share of the parts that captions leave out.
LEFT_OUT = 0.15
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
KERAS_FOLDER = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")), "datasets", "fashion-mnist")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their labels, split into what a model may see and what it is judged on.

    Attributes
    ----------
    name : str
    x_train, x_test : numpy.ndarray
        float32 ``(n, height, width, channels)`` in [0, 1].
    y_train, y_test : numpy.ndarray
        int64 ``(n,)``: the class of each image, an index into ``class_names``; where pictures have captions, float32
        ``(n, words)``, what :func:`imggen_lib.captions.encode` makes of them.
    class_names : tuple of str

    Examples
    --------
    >>> clothes = load("fashion_mnist")
    >>> clothes.image_shape
    (28, 28, 1)
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    @property
    def image_shape(self):
        """Height, width and channels of one image."""
        return self.x_train.shape[1:]

    def label(self, class_name):
        """Return the index of a class by its name; ``ValueError`` names the classes if there is none such.

        Examples
        --------
        >>> load("fashion_mnist").label("sneaker")
        7
        """
        return self.class_names.index(checks.choice(class_name, "class", self.class_names))


def names():
    """Return the names that :func:`load` takes.

    Examples
    --------
    >>> names()
    ('captioned_marbles', 'described_marbles', 'digits', 'faces', 'fashion_mnist', 'fashion_mnist_full', 'marbles')
    """
    return tuple(sorted(_LOADERS))


def load(name, *, data_dir=None):
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
          rendered the first time, in seconds, and kept in memory. ``graphics.marbles(7200, rng=0)`` gives the same
          pictures, training ones first, with all their factors.
        - ``"captioned_marbles"``: 8,000 training and 1,000 test images of marbles on coloured ground, 32x32, with captions
          that leave some things out; the combinations that :func:`imggen_lib.captions.combinations` holds out are among
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
    checks.choice(name, "dataset", names())
    return _LOADERS[name](data_dir)


def photograph(name):
    """Return a photograph that comes with scikit-image.

    Parameters
    ----------
    name : str
        One of ``PHOTOGRAPHS``.

    Returns
    -------
    numpy.ndarray
        float32 in [0, 1], ``(height, width)`` if grey, ``(height, width, 3)`` if in colour.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> photograph("camera").shape
    (512, 512)
    """
    checks.choice(name, "photograph", PHOTOGRAPHS)
    return getattr(skimage.data, name)().astype(np.float32) / 255


def resource(*parts):
    """Return the path of a file of the package ``imggen_lib.data``: the same way for a wheel and a checkout.

    Examples
    --------
    >>> resource("fashion_mnist.npz").name
    'fashion_mnist.npz'
    """
    return Path(str(importlib.resources.files("imggen_lib.data").joinpath(*parts)))


def read_idx(path, *, sha256=None):
    """Read a gzipped IDX file of unsigned bytes, the format of MNIST and Fashion-MNIST.

    Parameters
    ----------
    path : path_like
    sha256 : str, optional
        The checksum that the unpacked content must have.

    Returns
    -------
    numpy.ndarray
        uint8, of the shape that the file states.

    Raises
    ------
    ValueError
        If it is no such file, or a part of it is missing.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tiny.gz"
    >>> _ = path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])))
    >>> read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    try:
        content = gzip.decompress(Path(path).read_bytes())
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("its content has another checksum")
        # Two zero bytes, the type (8: unsigned byte), the number of dimensions, then each size in four bytes.
        if content[:3] != b"\0\0\x08":
            raise ValueError("no IDX file of unsigned bytes")
        sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes)
    except (ValueError, IndexError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and fetch it again") from error


def _embedded_fashion_mnist(_):
    path = resource("fashion_mnist.npz")
    record = json.loads(resource("fashion_mnist.json").read_text())
    files.verify(path, record["sha256"], advice="Install the package again, or run data/make_fashion_mnist.py")
    arrays = files.read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    return _from_bytes("fashion_mnist", **arrays)


def _full_fashion_mnist(data_dir):
    folder = _find_fashion_mnist(data_dir)
    train, train_labels, test, test_labels = (
        read_idx(folder / name, sha256=content) for name, (_, content) in FASHION_MNIST_FILES.items()
    )
    return _from_bytes("fashion_mnist_full", train, train_labels, test, test_labels)


def _find_fashion_mnist(data_dir):
    """Return the first folder that holds the four files; download them where none does."""
    if data_dir is None:
        data_dir = os.environ.get("IMGGEN_DATA_DIR") or None
    if data_dir is not None:
        # Whoever names a folder means that one: looking elsewhere would hide a typing error.
        missing = [name for name in FASHION_MNIST_FILES if not (Path(data_dir) / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{data_dir} lacks {', '.join(missing)}; expected the four files of Fashion-MNIST")
        return Path(data_dir)
    cache = Path(pooch.os_cache("imggen_lib"))
    for folder in (DEBIAN_FOLDER, KERAS_FOLDER, cache):
        if all((folder / name).is_file() for name in FASHION_MNIST_FILES):
            return folder
    try:
        for name, (published, _) in FASHION_MNIST_FILES.items():
            # pooch writes beside the place, checks, and only then moves: an interrupted download leaves nothing.
            pooch.retrieve(FASHION_MNIST_URL + name, f"sha256:{published}", fname=name, path=cache, progressbar=True)
    except Exception as error:
        raise FileNotFoundError(
            "the full Fashion-MNIST is not on this machine and could not be downloaded "
            f"({type(error).__name__}). Use the embedded dataset fashion_mnist; or install Debian's package "
            "dataset-fashion-mnist; or put the four files from github.com/zalandoresearch/fashion-mnist into a folder "
            "and name it in IMGGEN_DATA_DIR"
        ) from error
    return cache


def _from_bytes(name, x_train, y_train, x_test, y_test):
    """Turn bytes into a Dataset of grey images."""
    return Dataset(
        name,
        x_train[..., np.newaxis].astype(np.float32) / 255,
        y_train.astype(np.int64),
        x_test[..., np.newaxis].astype(np.float32) / 255,
        y_test.astype(np.int64),
        CLOTHES,
    )


def _digits(_):
    from sklearn.datasets import load_digits  # takes longer to import than all the rest here

    digits = load_digits()
    images = digits.images[..., np.newaxis].astype(np.float32) / 16
    return _split("digits", images, digits.target, tuple("0123456789"))


def _faces(_):
    # scikit-image stores 100 faces first, then 100 pieces without a face.
    images = skimage.data.lfw_subset()[..., np.newaxis].astype(np.float32)
    return _split("faces", images, np.repeat([0, 1], 100), ("face", "no face"))


@functools.cache
def _rendered_marbles():
    images, _ = graphics.marbles(7200, rng=0)
    # Marble i is of hue i % 6.
    labels = np.arange(7200) % len(graphics.HUES)
    return _shared("marbles", (images[:6000], labels[:6000], images[6000:], labels[6000:]), graphics.HUES)


@functools.cache
def _captioned_marbles():
    seen, held_out = captions.combinations()
    rng, parts = np.random.default_rng(1), []
    for n, among in ((8000, seen), (1000, np.concatenate([seen, held_out]))):
        choices = rng.choice(among, n)
        words = captions.encode([captions.caption(choice) for choice in choices])
        if among is seen:
            words *= np.repeat(rng.uniform(size=(n, len(captions.COUNTS))) > LEFT_OUT, captions.COUNTS, axis=1)
        parts += [captions.marbles(choices, rng=rng, size=32), words]
    return _shared("captioned_marbles", parts, captions.WORDS)


@functools.cache
def _described_marbles():
    rng = np.random.default_rng(2)
    choices = rng.choice(np.concatenate(captions.combinations()), 9000)
    images = captions.marbles(choices, rng=rng, size=32)
    words = captions.encode([captions.caption(choice) for choice in choices])
    return _shared("described_marbles", (images[:8000], words[:8000], images[8000:], words[8000:]), captions.WORDS)


def _shared(name, arrays, class_names):
    """Rendered pictures are kept in memory: whoever loads them shares them, so nobody may change them."""
    for array in arrays:
        array.flags.writeable = False
    return Dataset(name, *arrays, class_names)


def _split(name, images, labels, class_names):
    """Keep a fifth for testing, the same every time, balanced over the classes."""
    from sklearn.model_selection import train_test_split

    x_train, x_test, y_train, y_test = train_test_split(
        images, labels.astype(np.int64), test_size=0.2, stratify=labels, random_state=0
    )
    return Dataset(name, x_train, y_train, x_test, y_test, class_names)


_LOADERS = {
    "digits": _digits,
    "faces": _faces,
    "fashion_mnist": _embedded_fashion_mnist,
    "fashion_mnist_full": _full_fashion_mnist,
    "marbles": lambda _: _rendered_marbles(),
    "captioned_marbles": lambda _: _captioned_marbles(),
    "described_marbles": lambda _: _described_marbles(),
}
