"""Images from a folder: decoded once, resized, kept in a cache, and split without near-duplicates across the split."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import PIL.ImageOps
import pooch
import tqdm
from numpy.typing import ArrayLike, DTypeLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib import io
from imggen_lib.datasets.base import Condition, Dataset

__all__ = ["StoredImages", "from_folder"]

#: Bytes of float32 images up to which a folder is held in memory; larger ones are read from the cache batch by batch.
MEMORY_BUDGET = 2**30
#: Two images are near-duplicates if their difference hashes of 64 bits differ in at most this many bits, ...
HASH_BITS = 4
#: ... and if their 8x8 thumbnails differ by at most this much on average, in [0, 1].
THUMBNAIL_DIFFERENCE = 0.04

_FORMAT = 1  # of the cache; a change of how images are read or resized needs a new number


class StoredImages:
    """Images as bytes in a file of the cache, which are float32 in [0, 1] when they are indexed.

    It has the part of NumPy's interface that training needs: ``len``, ``shape``, ``dtype``, ``ndim``, indexing by integers,
    slices and integer arrays, and conversion by ``np.asarray``.

    Parameters
    ----------
    stored : numpy.ndarray
        uint8 ``(n, height, width, channels)``, usually memory-mapped.
    rows : array_like of int, optional
        Indices of the stored images, in this order. By default, all of them.

    Examples
    --------
    >>> images = StoredImages(np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1), rows=[2, 1])
    >>> images.shape, images[[0, 1]].ravel().tolist()
    ((2, 1, 1, 1), [1.0, 0.20000000298023224])
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, stored: NDArray[np.uint8], rows: ArrayLike | None = None) -> None:
        self._stored = stored
        self._rows: NDArray[np.intp] = np.arange(len(stored)) if rows is None else np.asarray(rows, np.intp)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number, height, width and channels of the images."""
        height, width, channels = self._stored.shape[1:]
        return len(self._rows), height, width, channels

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        return self._stored[self._rows[index]].astype(np.float32) / 255

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)


def from_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int],
    mode: Literal["rgb", "grey"] = "rgb",
    fit: Literal["crop", "pad", "resize"] = "crop",
    classes: Literal["subfolders"] | None = "subfolders",
    test_fraction: float = 0.1,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Read all images below a folder as a dataset.

    Every file is decoded once. The resized images and an index of the files are kept in the user's cache directory, so that
    the next call reads only new and changed files. Nothing is written into the folder.

    Parameters
    ----------
    path : path_like
        A folder; subfolders are read too. Hidden files and files without the suffix of an image are ignored. Files that
        cannot be read are reported in one warning.
    size : int or tuple of int
        Height and width of the images, or one number for both.
    mode : {"rgb", "grey"}
    fit : {"crop", "pad", "resize"}
        The treatment of an image of another aspect ratio: crop its borders, add white borders, or stretch it.
    classes : {"subfolders", None}
        The names of the top-level subfolders are the classes if every image is in a subfolder and there are at least two.
        Otherwise, and with None, the dataset has no condition.
    test_fraction : float
        Share of the images that are test images, in (0, 1). Near-duplicates are all training or all test images.
    seed : int
        Of the split.
    cache : path_like, optional
        The folder of the cache, instead of the user's cache directory.

    Returns
    -------
    Dataset
        Images of 8 bits as float32 in [0, 1]. If they take more than 1 GiB, ``x_train`` and ``x_test`` are
        :class:`StoredImages`, which read them when they are indexed.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If an argument is out of range, or the folder has fewer than two readable images.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for number in range(10):
    ...     image = np.random.default_rng(number).integers(256, size=(20, 30, 3), dtype=np.uint8)
    ...     PIL.Image.fromarray(image).save(folder / f"{number}.png")
    >>> data = from_folder(folder, size=16, cache=tempfile.mkdtemp(), test_fraction=0.2)
    >>> data.x_train.shape, data.x_test.shape, data.condition.kind
    ((8, 16, 16, 3), (2, 16, 16, 3), 'none')
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    shape = validate.pair((size, size) if isinstance(size, int) else size, "size")
    validate.choice(mode, "mode", ("rgb", "grey"))
    validate.choice(fit, "fit", ("crop", "pad", "resize"))
    validate.choice(classes, "classes", ("subfolders", None))
    if not 0 < validate.real(test_fraction, "test_fraction") < 1:
        raise ValueError(f"test_fraction is {test_fraction}; expected a number between 0 and 1")
    names = _image_files(folder)
    place = Path(cache or pooch.os_cache("imggen_lib")) / "folders" / _cache_key(folder, shape, mode, fit)
    stored, index = _update_cache(folder, names, place, shape, mode, fit)
    readable = [name for name in names if index[name]["error"] is None]
    _report_unreadable({name: index[name]["error"] for name in names if index[name]["error"] is not None}, len(names))
    if len(readable) < 2:
        raise ValueError(f"{folder} has {len(readable)} readable images, of {len(names)} files; expected at least 2")
    rows = np.array([index[name]["row"] for name in readable])
    labels, condition = _labels(readable, classes)
    train, test = _split(stored, rows, validate.integer(seed, "seed", minimum=0), test_fraction)
    lazy = len(rows) * stored[0].size * 4 > MEMORY_BUDGET
    images = [StoredImages(stored, rows[part]) for part in (train, test)]
    x_train, x_test = images if lazy else [np.asarray(part) for part in images]
    height, width = shape
    name = f"{folder.resolve().name} ({height}x{width}, {mode}, {fit})"
    return Dataset(name, x_train, labels[train], x_test, labels[test], condition)


def _image_files(folder: Path) -> list[str]:
    """Return the paths of image files below the folder, relative to it, sorted. Hidden files and folders are left out."""
    suffixes = set(PIL.Image.registered_extensions())
    found = (file for file in folder.rglob("*") if file.suffix.lower() in suffixes)
    relative = (file.relative_to(folder) for file in found if file.is_file())
    return sorted(name.as_posix() for name in relative if not any(part.startswith(".") for part in name.parts))


def _cache_key(folder: Path, shape: Sequence[int], mode: str, fit: str) -> str:
    text = json.dumps([_FORMAT, str(folder.resolve()), list(shape), mode, fit])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _update_cache(
    folder: Path, names: list[str], place: Path, shape: tuple[int, int], mode: str, fit: str
) -> tuple[NDArray[np.uint8], dict[str, dict[str, Any]]]:
    """Return the stored images and the index: for each file its time, size, row, and the error if it cannot be read."""
    index_file, array_file = place / "index.json", place / "images.npy"
    place.mkdir(parents=True, exist_ok=True)
    index: dict[str, dict[str, Any]] = {}
    old = np.empty((0, *shape, 3 if mode == "rgb" else 1), np.uint8)
    with contextlib.suppress(OSError, ValueError):  # without a cache, or with a damaged one, everything is read
        index, old = json.loads(index_file.read_text(encoding="utf-8")), np.load(array_file, mmap_mode="r")
    stats = {name: (folder / name).stat() for name in names}
    stamps = {name: [stat.st_mtime_ns, stat.st_size] for name, stat in stats.items()}
    new = [name for name in names if index.get(name, {}).get("stamp") != stamps[name]]
    if not new and set(index) == set(names):
        return old, index
    free = shutil.disk_usage(place).free
    if (needed := len(names) * int(np.prod(old.shape[1:]))) > free:
        raise OSError(f"the cache {place} needs {needed:,} bytes and {free:,} are free; name another folder as cache")
    fresh: dict[str, dict[str, Any]] = {}
    with io.atomic_write(array_file) as temporary:
        stored = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(names), *old.shape[1:]))
        reused = {name: index[name] for name in names if name not in set(new)}
        for row, name in enumerate(reused):
            fresh[name] = {**reused[name], "row": row}
            if reused[name]["error"] is None:
                stored[row] = old[reused[name]["row"]]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            read = pool.map(lambda name: _read(folder / name, shape, mode, fit), new)
            progress = tqdm.tqdm(read, total=len(new), desc="reading images", disable=len(new) < 200)
            for row, (name, result) in enumerate(zip(new, progress, strict=True), start=len(reused)):
                error = result if isinstance(result, str) else None
                fresh[name] = {"stamp": stamps[name], "row": row, "error": error}
                if not isinstance(result, str):
                    stored[row] = result
        stored.flush()
        del stored
    with io.atomic_write(index_file) as temporary:
        temporary.write_text(json.dumps(fresh), encoding="utf-8")
    return np.load(array_file, mmap_mode="r"), fresh


def _read(file: Path, shape: tuple[int, int], mode: str, fit: str) -> NDArray[np.uint8] | str:
    """Return one image, uint8 of the given shape, or the reason why it cannot be read."""
    height, width = shape
    try:
        image = _reduced_jpeg(file, shape, mode)
        if image is None:
            pixels = io.read_image(file, mode=mode, frame=0)
            image = PIL.Image.fromarray(np.round(255 * pixels).astype(np.uint8))
    except ValueError as error:
        return str(error).removeprefix(f"{file} cannot be read as an image: ")
    resampling = PIL.Image.Resampling.LANCZOS
    if fit == "crop":
        image = PIL.ImageOps.fit(image, (width, height), resampling)
    elif fit == "pad":
        image = PIL.ImageOps.pad(image, (width, height), resampling, color="white")
    else:
        image = image.resize((width, height), resampling, reducing_gap=3.0)
    return np.asarray(image).reshape(height, width, -1)


def _reduced_jpeg(file: Path, shape: tuple[int, int], mode: str) -> PIL.Image.Image | None:
    """Return a JPEG of three or one components, decoded at a half to an eighth of its size; None for every other file.

    The decoder averages blocks of pixels, which is many times faster for photographs of millions of pixels.
    """
    try:
        with PIL.Image.open(file) as image:
            if image.format != "JPEG" or image.mode not in ("RGB", "L") or getattr(image, "n_frames", 1) > 1:
                return None
            # Twice the size that is needed at least, in either orientation.
            image.draft(None, (3 * max(shape), 3 * max(shape)))
            upright = PIL.ImageOps.exif_transpose(image)
            return upright.convert("RGB" if mode == "rgb" else "L")
    except Exception:
        return None  # the general reader reports the reason


def _report_unreadable(errors: dict[str, str], total: int) -> None:
    if errors:
        listed = "; ".join(f"{name} ({reason})" for name, reason in list(errors.items())[:5])
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        warnings.warn(f"{len(errors)} of {total} files could not be read: {listed}{more}", stacklevel=3)


def _labels(names: list[str], classes: str | None) -> tuple[NDArray[np.int64], Condition]:
    """Return the class of each file by its first subfolder, or zeros and no condition."""
    folders = [name.split("/")[0] if "/" in name else None for name in names]
    known = sorted({folder for folder in folders if folder is not None})
    if classes is None or None in folders or len(known) < 2:
        return np.zeros(len(names), np.int64), Condition("none")
    return np.array([known.index(folder) for folder in folders if folder is not None]), Condition("classes", tuple(known))


def _split(
    stored: NDArray[np.uint8], rows: NDArray[np.intp], seed: int, test_fraction: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of training and test images, with each group of near-duplicates on one side."""
    groups = near_duplicate_groups(stored, rows)
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    sizes = np.bincount(groups)[order]
    wanted = max(1, round(test_fraction * len(rows)))
    # Whole groups, until the test images are as many as wanted; at least one group is left for training.
    count = min(int(np.searchsorted(np.cumsum(sizes), wanted)) + 1, len(order) - 1) or 1
    is_test = np.isin(groups, order[:count])
    if is_test.all():
        raise ValueError("all images are near-duplicates of each other; expected at least two different images")
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def near_duplicate_groups(stored: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return a group number for each image; near-duplicates, and near-duplicates of those, have the same number.

    Images are compared by a difference hash (the signs of horizontal differences of a 9x8 thumbnail) and by the colours of
    an 8x8 thumbnail.

    References
    ----------
    Krawetz, "Kind of like that", The Hacker Factor Blog, 2013, for the difference hash.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    thumbnails = np.empty((len(rows), 8, 8, stored.shape[-1]), np.float32)
    hashes = np.empty(len(rows), np.uint64)
    for position, row in enumerate(rows):
        pixels = stored[row]
        image = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        small = np.asarray(image.convert("L").resize((9, 8), PIL.Image.Resampling.BOX), np.int16)
        hashes[position] = np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)[0]
        thumbnails[position] = np.asarray(image.resize((8, 8), PIL.Image.Resampling.BOX)).reshape(8, 8, -1) / 255
    pairs: list[NDArray[np.intp]] = []
    for first in range(0, len(rows), 1024):
        block = hashes[first : first + 1024, np.newaxis] ^ hashes[np.newaxis]
        a, b = np.nonzero(np.bitwise_count(block) <= HASH_BITS)
        a, b = a[a + first < b] + first, b[a + first < b]
        near = np.abs(thumbnails[a] - thumbnails[b]).mean(axis=(1, 2, 3)) <= THUMBNAIL_DIFFERENCE
        pairs.append(np.stack([a[near], b[near]]))
    a, b = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(len(rows), len(rows)))
    return connected_components(graph, directed=False)[1]
