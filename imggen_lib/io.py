"""Reading and writing files: atomic writes, checksums, ``.npz`` archives, images, files of the package."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import logging
import math
import os
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import PIL.TiffImagePlugin
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

    A process that reads ``path`` reads the old file or the complete new one. If the block raises an error, the old file is
    kept and the temporary file is removed.

    Parameters
    ----------
    path : path_like
        The file to write. Its folder must exist. If it is a symbolic link, the file that it points to is written.

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
    if path.is_symlink():  # os.replace would replace the link itself
        path = path.resolve()
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
        If its checksum differs.

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


def read_image(
    path: str | os.PathLike[str],
    *,
    mode: str | None = None,
    background: ArrayLike = 1.0,
    frame: int | None = None,
    max_side: int | None = None,
) -> NDArray[np.float32]:
    """Read an image file in any format that Pillow reads, or a TIFF file that only tifffile reads.

    The steps are the same for every format:

    1. The frame is selected, and the orientation in the Exif data or the TIFF tag is applied.
    2. Palettes, CMYK, YCbCr and CIE L*a*b* are converted to RGB by Pillow. Embedded colour profiles are not used.
    3. Values are divided by the largest value of their type: 255, or 65,535 for 16 bits. Floating-point values must be in
       [0, 1]. Signed and 32-bit integers are rejected, because their range is not in the file.
    4. Transparent pixels are blended with the background.
    5. Grey and RGB are converted into each other if ``mode`` says so.
    6. An image with a side longer than ``max_side`` is reduced in proportion: each pixel becomes the mean of the area that
       it covers.

    Pillow keeps 16 bits for grey images only; it reads colours, and grey with alpha, of 16 bits with their upper 8 bits.

    Parameters
    ----------
    path : path_like
    mode : {None, "grey", "rgb"}
        None keeps what the file contains; an image with a palette is RGB. "grey" converts RGB to the luma of Pillow's mode
        "L" (ITU-R BT.601). "rgb" repeats a grey channel three times.
    background : float or array_like
        The colour behind transparent pixels in [0, 1]: a grey value or ``(3,)``. White by default.
    frame : int, optional
        The frame of an animation, or the page of a TIFF file, from 0. By default the first one, with a warning if there are
        several.
    max_side : int, optional
        The longest side of the result in pixels, at least 1. None keeps the size, and no image is enlarged.

    Returns
    -------
    numpy.ndarray
        float32 in [0, 1]: ``(height, width)`` if grey, ``(height, width, 3)`` if RGB.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not an image, is damaged, has no such frame, would decompress to more than twice
        ``PIL.Image.MAX_IMAGE_PIXELS``, or has values of an unknown range; or if an argument is out of range. The message is
        one line with the path and the reason.
    TypeError
        If ``frame`` or ``max_side`` is not an integer, or ``background`` is not a number.

    Warns
    -----
    UserWarning
        If the file has several frames and ``frame`` is None.

    References
    ----------
    Recommendation ITU-R BT.601-7, 2011, section 2.5.1: luma is 0.299 R + 0.587 G + 0.114 B.

    Examples
    --------
    Red at half opacity is pink on white, and dark red on black:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "red.png"
    >>> PIL.Image.new("RGBA", (4, 2), (255, 0, 0, 128)).save(path)
    >>> read_image(path).shape
    (2, 4, 3)
    >>> read_image(path)[0, 0].round(2).tolist(), read_image(path, background=0)[0, 0].round(2).tolist()
    ([1.0, 0.5, 0.5], [0.5, 0.0, 0.0])
    >>> read_image(path, mode="grey", background=0).shape
    (2, 4)

    A photograph is reduced when it is read:

    >>> read_image(path, max_side=2).shape
    (1, 2, 3)
    """
    validate.choice(mode, "mode", (None, "grey", "rgb"))
    background = validate.real_array(background, "background", ndim=(0, 1))
    if background.shape not in ((), (3,)):
        raise ValueError(f"background has the shape {background.shape}; expected one grey value or (3,)")
    background = validate.image(background, "background", ndim=(0, 1)).astype(np.float32).reshape(1, 1, -1)
    if frame is not None:
        frame = validate.integer(frame, "frame", minimum=0)
    if max_side is not None:
        max_side = validate.integer(max_side, "max_side")
    path = Path(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    try:
        values, alpha, frames = _decode(path, frame or 0)
    except _RejectedImageError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    # Pillow and tifffile raise errors of many types for a file that they cannot read.
    except Exception as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise ValueError(
            f"{path} cannot be read as an image: unsupported format or damaged file ({type(error).__name__}: {reason})"
        ) from error
    if frames > 1 and frame is None:
        warnings.warn(f"{path} has {frames} frames; the first one is used: pass frame=0 to {frames - 1}", stacklevel=2)
    channels = values.shape[-1] if mode is None else {"grey": 1, "rgb": 3}[mode]
    values = _with_channels(values, channels)
    if alpha is not None:
        values *= alpha
        values += (1 - alpha) * _with_channels(background, channels)
    if max_side is not None:
        values = _reduced(values, max_side)
    # Rounding in the sums above can exceed 1 by the last bit.
    np.minimum(values, 1, out=values)
    return values[..., 0] if channels == 1 else values


def _reduced(values: NDArray[np.float32], max_side: int) -> NDArray[np.float32]:
    """Return ``(height, width, channels)`` with sides of at most ``max_side``, as means over areas."""
    height, width = values.shape[:2]
    if max(height, width) <= max_side:
        return values
    size = tuple(max(1, round(side * max_side / max(height, width))) for side in (width, height))
    planes = (PIL.Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(values, -1, 0))
    return np.stack([np.asarray(plane.resize(size, PIL.Image.Resampling.BOX)) for plane in planes], axis=-1)


class _RejectedImageError(ValueError):
    """The reason why an image is not accepted, in words for the user."""


def _with_channels(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Return ``(height, width, channels)``: the luma of RGB, or a grey channel three times."""
    if values.shape[-1] == channels:
        return values
    if channels == 3:
        return np.repeat(values, 3, axis=-1)
    return (values @ np.array([0.299, 0.587, 0.114], np.float32))[..., np.newaxis]


# What a decoder returns: colours (height, width, 1 or 3) and alpha (height, width, 1) or None in [0, 1], number of frames.
_Decoded = tuple[NDArray[np.float32], NDArray[np.float32] | None, int]
# The photometric interpretations of TIFF that need no conversion of colours, with the number of channels: white is 0, black
# is 0, RGB.
_TIFFFILE_CHANNELS = {0: 1, 1: 1, 2: 3}


def _decode(path: Path, frame: int) -> _Decoded:
    """Decode one frame of a file with Pillow, or with tifffile if Pillow has no mode for the pixels of a TIFF file."""
    if not path.is_file():
        raise _RejectedImageError("it is a directory" if path.is_dir() else "it is not a regular file")
    if path.stat().st_size == 0:
        raise _RejectedImageError("the file is empty")
    with warnings.catch_warnings():
        # Pillow warns of more than MAX_IMAGE_PIXELS, which cameras exceed, and of details of metadata.
        warnings.filterwarnings("ignore", module="PIL")
        try:
            # Given a path, Pillow maps the pixels of some TIFF files into memory with the height and width exchanged.
            with open(path, "rb") as file, PIL.Image.open(file) as image:
                # The layers of a Photoshop file are not frames: the first image is all of them, merged.
                frames = 1 if image.format == "PSD" else getattr(image, "n_frames", 1)
                _check_frame(frame, frames)
                if frame:
                    image.seek(frame)
                if not _confuses_planes(image):
                    return *_decode_pillow(image), frames
        except PIL.Image.DecompressionBombError as error:
            raise _RejectedImageError(f"it decompresses to too many pixels ({error})") from error
        except (PIL.UnidentifiedImageError, SyntaxError) as error:
            with open(path, "rb") as file:
                is_tiff = file.read(2) in (b"II", b"MM")
            if is_tiff:
                return _decode_tifffile(path, frame)
            if isinstance(error, PIL.UnidentifiedImageError):
                raise _RejectedImageError("it is not an image, or its format is not supported, or it is damaged") from error
            raise
    return _decode_tifffile(path, frame)


def _check_frame(frame: int, frames: int) -> None:
    """Reject a frame that the file does not have."""
    if frames == 0:
        raise _RejectedImageError("it contains no image")
    if frame >= frames:
        raise _RejectedImageError(f"frame is {frame}; expected 0 to {frames - 1}")


def _tags(image: PIL.ImageFile.ImageFile) -> Any:
    """Return the tags of the selected page of a TIFF file; none for other formats."""
    return image.tag_v2 if isinstance(image, PIL.TiffImagePlugin.TiffImageFile) else {}


def _confuses_planes(image: PIL.ImageFile.ImageFile) -> bool:
    """Return whether Pillow reads the separate, uncompressed planes of a TIFF page as bytes, whatever their type is."""
    tags = _tags(image)
    return (
        tags.get(PIL.TiffImagePlugin.PLANAR_CONFIGURATION) == 2
        and image.info.get("compression") == "raw"
        and (
            tags.get(PIL.TiffImagePlugin.BITSPERSAMPLE, (1,))[0] != 8
            or tags.get(PIL.TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in _TIFFFILE_CHANNELS
        )
    )


def _decode_pillow(image: PIL.ImageFile.ImageFile) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the colours and the alpha channel of an opened image."""
    # Loading the pixels removes the format in the file from the attribute `tile`.
    stored = image.tile[0][3] if image.format == "PNG" else None
    PIL.ImageOps.exif_transpose(image, in_place=True)
    tags = _tags(image)
    bits = tags.get(PIL.TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    if max(tags.get(PIL.TiffImagePlugin.SAMPLEFORMAT, (1,))) == 2 or (tags and image.mode == "I"):
        raise _RejectedImageError(_unknown_range("signed or 32-bit integers"))
    if image.mode == "F" or image.mode.startswith("I"):
        if image.mode != "F" and image.format not in ("PNG", "PPM", "TIFF", "JPEG2000"):
            raise _RejectedImageError(_unknown_range(f"the integers of a {image.format} file"))
        pixels = np.asarray(image)[..., np.newaxis]
        values = _floats(pixels) if image.mode == "F" else _scaled(pixels, 2**bits - 1)
        # Pillow inverts 8 bits and less.
        if tags.get(PIL.TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            values = 1 - values
        transparency = image.info.get("transparency")
        return values, None if transparency is None else (pixels != transparency).astype(np.float32)
    # Pillow compares these transparent colours with the pixels after it has changed the depth of the pixels to 8 bits.
    if "transparency" in image.info and stored in ("L;2", "L;4"):
        image.info["transparency"] *= 255 // (2 ** int(stored[-1]) - 1)
    elif "transparency" in image.info and stored == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
    grey = PIL.Image.getmodebase(image.mode) == "L" or stored == "LA;16B"
    has_alpha = image.has_transparency_data
    pixels = np.atleast_3d(np.asarray(image.convert(("L" if grey else "RGB") + "A" * has_alpha)))
    colours, alpha = np.split(pixels, [1 if grey else 3], axis=-1)
    return _scaled(colours, 255), _scaled(alpha, 255) if has_alpha else None


_NO_OUTPUT = logging.NullHandler()


def _decode_tifffile(path: Path, frame: int) -> _Decoded:
    """Decode one page of a TIFF file whose combination of type, channels and byte order Pillow does not have."""
    import tifffile

    # Without a handler, Python prints what tifffile logs about damaged files to the standard error stream.
    logging.getLogger("tifffile").addHandler(_NO_OUTPUT)
    with tifffile.TiffFile(path) as file:
        frames = len(file.pages)
        _check_frame(frame, frames)
        page: Any = file.pages[frame]
        if page.imagewidth * page.imagelength > 2 * (PIL.Image.MAX_IMAGE_PIXELS or math.inf):
            raise _RejectedImageError(f"it decompresses to too many pixels ({page.imagewidth * page.imagelength})")
        photometric = int(page.photometric)
        if photometric not in _TIFFFILE_CHANNELS or page.axes not in ("YX", "YXS", "SYX"):
            raise _RejectedImageError(f"TIFF images of the kind {page.photometric.name} {page.axes} are not supported")
        if page.dtype.kind not in "buf" or (page.dtype.kind == "u" and page.bitspersample > 16):
            raise _RejectedImageError(_unknown_range(page.dtype.name))
        channels = _TIFFFILE_CHANNELS[photometric]
        pixels = np.atleast_3d(page.asarray())
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        values = _floats(pixels) if page.dtype.kind == "f" else _scaled(pixels, 2**page.bitspersample - 1)
        orientation = page.tags.valueof(274, default=1)
        extra = int(page.extrasamples[0]) if page.extrasamples else 0
    upright = []
    for channel in np.moveaxis(values, -1, 0):
        image = PIL.Image.fromarray(channel)
        image.getexif()[PIL.ExifTags.Base.Orientation] = orientation
        upright.append(np.asarray(PIL.ImageOps.exif_transpose(image)))
    values = np.stack(upright, axis=-1)
    colours, alpha = values[..., :channels], values[..., channels : channels + 1] if extra in (1, 2) else None
    if photometric == 0:
        colours = 1 - colours
    if extra == 1 and alpha is not None:  # premultiplied
        colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0).clip(0, 1)
    return colours, alpha, frames


def _scaled(pixels: NDArray[Any], maximum: int) -> NDArray[np.float32]:
    """Return integers divided by the largest value of their type."""
    return np.divide(pixels, maximum, dtype=np.float32)


def _floats(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return floating-point values that are in [0, 1]."""
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):
        raise _RejectedImageError(f"it has values from {low:.9g} to {high:.9g}; expected [0, 1]: rescale them")
    return pixels.astype(np.float32)


def _unknown_range(kind: str) -> str:
    """Return the reason for which a type of pixels is not accepted."""
    return f"the range of {kind} is unknown: rescale them to 8 or 16 bits without sign, or to floats in [0, 1]"


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
