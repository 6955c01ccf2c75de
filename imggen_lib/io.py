"""Reading and writing files: atomic writes, checksums, ``.npz`` archives, images, files of the package."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import math
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import skimage.io
import skimage.util
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = [
    "atomic_write",
    "contact_sheet",
    "data_path",
    "read_image",
    "read_npz",
    "sha256",
    "verify_checksum",
    "write_contact_sheet",
]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Provide a temporary path, and move what was written there to ``path`` when the block succeeds.

    A process that reads ``path`` sees the old file or the complete new one. If the block raises, the old file stays and
    the temporary file is removed.

    Parameters
    ----------
    path : path_like
        The file to write. Its folder must exist.

    Yields
    ------
    pathlib.Path
        A path in the same folder with the same suffix. The block must create this file.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.

    References
    ----------
    POSIX.1-2017, ``rename``: replacing a file on the same file system is atomic.

    Examples
    --------
    The old file is complete until the block ends:

    >>> import tempfile
    >>> note = Path(tempfile.mkdtemp()) / "note.txt"
    >>> _ = note.write_text("old")
    >>> with atomic_write(note) as temporary:
    ...     _ = temporary.write_text("new")
    ...     print(note.read_text())
    old
    >>> note.read_text()
    'new'
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: create it, or choose another folder")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    References
    ----------
    FIPS 180-4, "Secure Hash Standard", 2015.

    Examples
    --------
    The first example of the standard, the three bytes ``abc``:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "abc"
    >>> _ = path.write_bytes(b"abc")
    >>> sha256(path)
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_checksum(path: str | os.PathLike[str], expected: str, *, advice: str) -> None:
    """Check that a file exists and has the expected SHA-256.

    Parameters
    ----------
    path : path_like
    expected : str
        64 hexadecimal digits.
    advice : str
        What the user can do about a missing or damaged file; the last sentence of the error message.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it has another checksum.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.npz"
    >>> _ = path.write_bytes(b"abc")
    >>> verify_checksum(path, sha256(path), advice="Download it again")
    >>> _ = path.write_bytes(b"abd")
    >>> verify_checksum(path, "ba78" + 60 * "0", advice="Download it again")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: ...weights.npz is damaged: its SHA-256 begins with a52d159f262b, expected ba7800000000. Download it again
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing. {advice}")
    actual = sha256(path)
    if actual != expected:
        raise ValueError(f"{path} is damaged: its SHA-256 begins with {actual[:12]}, expected {expected[:12]}. {advice}")


def read_npz(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read arrays from an ``.npz`` file. Pickled objects are rejected, so no code in the file is executed.

    Parameters
    ----------
    path : path_like
    names : sequence of str, optional
        The arrays to read, all of which must exist; by default every array of the file.

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is not an ``.npz`` file, is damaged, or lacks one of the arrays.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npz"
    >>> np.savez(path, images=np.zeros((2, 3)), labels=[4, 2])
    >>> read_npz(path, ["labels"])
    {'labels': array([4, 2])}
    """
    path = _existing(path)
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it contains a single array without a name")
        with archive:
            missing = [name for name in names or () if name not in archive.files]
            if missing:
                raise ValueError(f"it contains {archive.files}, not {missing}")
            return {name: archive[name] for name in names or archive.files}
    except (ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError) as error:
        raise ValueError(f"{path} is not a usable .npz file ({error}): create or download it again") from error


def read_image(path: str | os.PathLike[str]) -> NDArray[np.floating]:
    """Read an image file in any format that scikit-image reads.

    The orientation in a JPEG file's Exif data is applied, CMYK is converted to RGB, and an alpha channel is dropped.

    Parameters
    ----------
    path : path_like

    Returns
    -------
    numpy.ndarray
        float32 in [0, 1]: ``(height, width)`` if grey, ``(height, width, 3)`` if in colour.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If its format is not supported, it is damaged, it contains several images, or its values are outside the range of
        their type.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "red.png"
    >>> skimage.io.imsave(path, np.full((2, 3, 3), (255, 0, 0), np.uint8), check_contrast=False)
    >>> read_image(path)[0, 0].tolist()
    [1.0, 0.0, 0.0]
    """
    path = _existing(path)
    try:
        image = skimage.util.img_as_float32(_read_pixels(path))
    # The plugins of scikit-image raise errors of many types for a file that they cannot read.
    except Exception as error:
        raise ValueError(
            f"{path} is not a readable image: unsupported format or damaged file ({type(error).__name__}: {error})"
        ) from error
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] not in (2, 3, 4)):
        raise ValueError(f"{path} contains an array of shape {image.shape}; expected one image, grey or in colour")
    if image.ndim == 3:
        image = image[..., 0] if image.shape[-1] == 2 else image[..., :3]
    return validate.image(image, str(path))


def _read_pixels(path: Path) -> NDArray[Any]:
    """Return the array of an image file; a JPEG file is rotated by its Exif orientation and converted to grey or RGB."""
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":  # not JPEG
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


def _existing(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that exists."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return Path(path)


def data_path(*parts: str) -> Path:
    """Return the path of a file in the package ``imggen_lib.data``, in a source checkout or an installed wheel.

    Examples
    --------
    >>> data_path("weights", "gan.json").parts[-2:]
    ('weights', 'gan.json')
    """
    return Path(str(importlib.resources.files("imggen_lib.data").joinpath(*parts)))
