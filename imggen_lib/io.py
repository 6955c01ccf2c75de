"""Files that are whole or not there: written beside their place and moved into it, read with a clear word on damage."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import math
import os
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import skimage.io
import skimage.util
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate


@contextlib.contextmanager
def replacing(path):
    """Give a temporary path to write to; move it to ``path`` when the block ends well, and remove it when it does not.

    A reader of ``path`` sees the old file or the new one, never half of it: the move is atomic on one file system.

    Parameters
    ----------
    path : path_like
        Where the finished file belongs. Its folder must exist.

    Yields
    ------
    pathlib.Path
        A path in the same folder, with the same suffix.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: create it, or choose another place")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path):
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Examples
    --------
    >>> len(sha256(__file__))
    64
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path, expected, *, advice):
    """Raise if a file is missing or not the one that was meant.

    Parameters
    ----------
    path : path_like
    expected : str
        The SHA-256 that it must have.
    advice : str
        What the reader can do about a damaged file.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If its checksum is another.

    Examples
    --------
    >>> verify(__file__, sha256(__file__), advice="none needed")
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: {advice}")
    actual = sha256(path)
    if actual != expected:
        raise ValueError(f"{path} is damaged: its SHA-256 begins with {actual[:12]}, expected {expected[:12]}. {advice}")


def read_npz(path, names=None):
    """Read arrays from an ``.npz`` file, never executing anything that is in it.

    Parameters
    ----------
    path : path_like
    names : sequence of str, optional
        The arrays that must be there; all that are there without it.

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no ``.npz`` file, is damaged, or lacks one of the arrays.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npz"
    >>> np.savez(path, images=np.zeros((2, 3)))
    >>> read_npz(path, ["images"])["images"].shape
    (2, 3)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with archive:
            missing = [name for name in names or () if name not in archive.files]
            if missing:
                raise ValueError(f"it holds {archive.files}, not {missing}")
            return {name: archive[name] for name in names or archive.files}
    except (ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError) as error:
        raise ValueError(f"{path} is not a usable .npz file ({error}); make or download it again") from error


def read_image(path):
    """Read a picture of your own: any format that scikit-image reads.

    Parameters
    ----------
    path : path_like

    Returns
    -------
    numpy.ndarray
        float32 in [0, 1], upright, ``(height, width)`` if grey, ``(height, width, 3)`` if in colour; transparency is left
        out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no picture, is damaged, holds several, or numbers outside the range of its type.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "red.png"
    >>> skimage.io.imsave(path, np.full((2, 3, 3), (255, 0, 0), np.uint8), check_contrast=False)
    >>> read_image(path)[0, 0].tolist()
    [1.0, 0.0, 0.0]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        image = skimage.util.img_as_float32(_pixels(path))
    # The plugins raise whatever they like about a file that they cannot make sense of.
    except Exception as error:
        raise ValueError(f"{path} is no picture that can be read, or damaged ({type(error).__name__}: {error})") from error
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] not in (2, 3, 4)):
        raise ValueError(f"{path} holds an array of shape {image.shape}; expected one picture, grey or in colour")
    if image.ndim == 3:
        image = image[..., 0] if image.shape[-1] == 2 else image[..., :3]
    return validate.image(image, str(path))


def _pixels(path):
    """The numbers in the file. A photograph may lie on its side, and one that is to be printed may have four inks."""
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":  # no JPEG
            return skimage.io.imread(path)
    with PIL.Image.open(path) as photograph:
        upright = PIL.ImageOps.exif_transpose(photograph)
        return np.asarray(upright if upright.mode == "L" else upright.convert("RGB"))


def contact_sheet(images: ArrayLike, *, columns: int = 10, gap: int = 2) -> NDArray[np.floating]:
    """Arrange images of one size in rows, as one image, with white gaps between them.

    Parameters
    ----------
    images : array_like
        ``(n, height, width, channels)`` in [0, 1], with 1 or 3 channels.
    columns : int
        Images in a row.
    gap : int
        Pixels between two images.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` or ``(height, width, 3)`` in [0, 1].

    Raises
    ------
    ValueError
        If the shape or a value is not that of images.

    Examples
    --------
    Two columns of 8 pixels with three gaps of 2 pixels are 22 pixels wide:

    >>> contact_sheet(np.zeros((4, 8, 8, 1)), columns=2).shape
    (22, 22)
    """
    images = validate.image(images, "images", ndim=4)
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"images has {images.shape[-1]} channels; expected 1 (grey) or 3 (RGB)")
    columns = min(validate.integer(columns, "columns"), len(images))
    rows = -(-len(images) // columns)
    sheet = skimage.util.montage(
        images, grid_shape=(rows, columns), padding_width=gap, fill=[1.0] * images.shape[-1], channel_axis=-1
    )
    return sheet[..., 0] if images.shape[-1] == 1 else sheet


def write_contact_sheet(path: str | os.PathLike[str], images: ArrayLike) -> None:
    """Write images as one square :func:`contact_sheet` of 8 bits: a PNG file, or another type that Pillow writes.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "four.png"
    >>> write_contact_sheet(path, np.full((4, 8, 8, 1), 0.5))
    >>> read_image(path).shape
    (22, 22)
    """
    sheet = contact_sheet(images, columns=math.ceil(math.sqrt(len(np.asarray(images)))))
    PIL.Image.fromarray(np.round(sheet * 255).astype(np.uint8)).save(path)


def data_path(*parts):
    """Return the path of a file of the package ``imggen_lib.data``: the same way for a wheel and a checkout.

    Examples
    --------
    >>> data_path("fashion_mnist.npz").name
    'fashion_mnist.npz'
    """
    return Path(str(importlib.resources.files("imggen_lib.data").joinpath(*parts)))
