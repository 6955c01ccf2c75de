"""Fashion-MNIST: the embedded subset, and the full dataset from a folder or a download."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from numpy.typing import NDArray

from imggen_lib import io
from imggen_lib.datasets.base import Condition, Dataset

__all__ = ["CLOTHES", "FILES", "URL", "read_idx"]

#: The names of the ten classes.
CLOTHES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

#: The folder from which Zalando publishes the four files.
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

#: The four files, each with the SHA-256 of the published file and of its decompressed content. Debian and others compress
#: the content again, which changes the file but not the content.
FILES = {
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

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
KERAS_FOLDER = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")), "datasets", "fashion-mnist")


def read_idx(path: str | os.PathLike[str], *, sha256: str | None = None) -> NDArray[np.uint8]:
    """Read a gzip-compressed IDX file of unsigned bytes, the format of MNIST and Fashion-MNIST.

    Parameters
    ----------
    path : path_like
    sha256 : str, optional
        The checksum that the decompressed content must have.

    Returns
    -------
    numpy.ndarray
        uint8, in the shape that the header of the file states.

    Raises
    ------
    ValueError
        If the file does not have this format, is incomplete, or has a different checksum.

    References
    ----------
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998: "The IDX file format".

    Examples
    --------
    A header of two zero bytes, the type (8: unsigned byte), the number of dimensions and each size in four bytes; then the
    values:

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
        if content[:3] != b"\0\0\x08":
            raise ValueError("it is not an IDX file of unsigned bytes")
        sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes)
    except (ValueError, IndexError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and download it again") from error


def _subset() -> Dataset:
    path = io.data_path("fashion_mnist.npz")
    record = json.loads(io.data_path("fashion_mnist.json").read_text())
    io.verify_checksum(path, record["sha256"], advice="Install the package again, or run data/make_fashion_mnist.py")
    arrays = io.read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    return _from_bytes("fashion_mnist", **arrays)


def _full(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    folder = _find_files(data_dir)
    train, train_labels, test, test_labels = (
        read_idx(folder / name, sha256=content) for name, (_, content) in FILES.items()
    )
    return _from_bytes("fashion_mnist_full", train, train_labels, test, test_labels)


def _find_files(data_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder with the four files: the given one, or the first that has them, or a download to the cache."""
    if data_dir is None:
        data_dir = os.environ.get("IMGGEN_DATA_DIR") or None
    if data_dir is not None:
        # Other folders are not searched, because that would hide a mistake in the name of this one.
        missing = [name for name in FILES if not (Path(data_dir) / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{data_dir} lacks {', '.join(missing)}; expected the four files of Fashion-MNIST")
        return Path(data_dir)
    cache = Path(pooch.os_cache("imggen_lib"))
    for folder in (DEBIAN_FOLDER, KERAS_FOLDER, cache):
        if all((folder / name).is_file() for name in FILES):
            return folder
    try:
        for name, (published, _) in FILES.items():
            # pooch checks a temporary file and then moves it, so an interrupted download leaves no incomplete file.
            pooch.retrieve(URL + name, f"sha256:{published}", fname=name, path=cache, progressbar=True)
    except Exception as error:
        raise FileNotFoundError(
            "the full Fashion-MNIST is not on this machine and could not be downloaded "
            f"({type(error).__name__}). Use the embedded dataset fashion_mnist; or install Debian's package "
            "dataset-fashion-mnist; or put the four files from github.com/zalandoresearch/fashion-mnist into a folder "
            "and name it in IMGGEN_DATA_DIR"
        ) from error
    return cache


def _from_bytes(
    name: str, x_train: NDArray[Any], y_train: NDArray[Any], x_test: NDArray[Any], y_test: NDArray[Any]
) -> Dataset:
    """Return a dataset of grey images from bytes ``(n, height, width)`` and labels."""
    return Dataset(
        name,
        x_train[..., np.newaxis].astype(np.float32) / np.float32(255),
        y_train.astype(np.int64),
        x_test[..., np.newaxis].astype(np.float32) / np.float32(255),
        y_test.astype(np.int64),
        Condition("classes", CLOTHES),
    )


LOADERS: dict[str, Callable[..., Dataset]] = {"fashion_mnist": _subset, "fashion_mnist_full": _full}
