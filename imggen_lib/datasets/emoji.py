"""Emoji of five drawing styles: icons with name, category, style and code point, and a split by concept and style.

A *concept* is what an icon shows: a Unicode character such as U+1F419, "octopus". A *style* is one of five icon sets. An
icon is a concept in a style; not every style has every concept. Rows of a condition have one value for each style and one
for each concept.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import io as bytes_io
import json
from collections.abc import Callable, Sequence

import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib import io
from imggen_lib.datasets.base import Condition, Dataset

__all__ = [
    "ATTRIBUTION",
    "HELD_OUT_SHARE",
    "STYLES",
    "Icons",
    "compose",
    "dominant_hue",
    "encode",
    "held_out",
    "hue_value_chroma",
    "icons",
    "nearest",
    "parse",
    "sample",
]

#: The styles: icon sets of Microsoft, Google, Mozilla, Twitter and EmojiOne.
STYLES = ("fluent", "noto", "fxemoji", "twemoji", "emojione")
#: The text to show where icons appear. The licences are in ``data/LICENSES/emoji.txt``.
ATTRIBUTION = (
    "Icons: Fluent Emoji by Microsoft (MIT), Noto Emoji by Google (Apache 2.0), FxEmojis by Mozilla "
    "(Apache 2.0, CC BY 4.0), Twemoji by Twitter and other contributors (CC BY 4.0), "
    "EmojiOne 2 by EmojiOne and EmojiTwo (CC BY 4.0); "
    "rendered at 64×64 pixels on white, some recoloured and rearranged."
)
#: About this share of the icons are test images.
HELD_OUT_SHARE = 0.1

SIZE = 64
# A pixel has a hue if its saturation, value and chroma are at least these. A hue is dominant if such pixels are at least
# 40 % of the icon, their hues are concentrated, and their medians of value and saturation are high enough for the name of a
# hue: a dark orange is a brown, a dark yellow is an olive.
_MIN_SATURATION, _MIN_VALUE, _MIN_CHROMA = 0.3, 0.3, 0.15
_BACKGROUND = 0.96
_MIN_SHARE, _MIN_CONCENTRATION, _MAX_DEVIATION = 0.4, 0.8, 45
_MIN_MEDIAN_VALUE, _MIN_MEDIAN_SATURATION = 0.7, 0.45


@dataclasses.dataclass(frozen=True)
class Icons:
    """All icons, sorted by style and then by concept, and the table of concepts.

    Attributes
    ----------
    images : numpy.ndarray
        uint8 ``(n, 64, 64, 3)``, on white.
    styles, concepts : numpy.ndarray
        int ``(n,)``: indices into ``STYLES`` and ``names``.
    groups : numpy.ndarray
        int ``(n,)``: icons with the same number are near-copies of each other. ``data/make_emoji.py`` defines them.
    hues : numpy.ndarray
        float32 ``(n,)``: the :func:`dominant_hue` in degrees, NaN without one.
    names, categories, code_points : tuple of str
        Of each concept: the short name of the Unicode CLDR, its category, and its code points as in ``"1f419"``.

    Examples
    --------
    >>> found = icons()
    >>> octopus = found.names.index("octopus")
    >>> found.categories[octopus], found.code_points[octopus]
    ('Animals & Nature', '1f419')
    """

    images: NDArray[np.uint8]
    styles: NDArray[np.intp]
    concepts: NDArray[np.intp]
    groups: NDArray[np.intp]
    hues: NDArray[np.float32]
    names: tuple[str, ...]
    categories: tuple[str, ...]
    code_points: tuple[str, ...]

    def find(self, name: str, style: str) -> int:
        """Return the index of an icon.

        Raises
        ------
        ValueError
            If there is no such concept or style, or the style lacks the concept.

        Examples
        --------
        >>> found = icons()
        >>> found.images[found.find("octopus", "noto")].shape
        (64, 64, 3)
        """
        concept = self.names.index(_concept(name))
        validate.choice(style, "style", STYLES)
        matches = np.flatnonzero((self.concepts == concept) & (self.styles == STYLES.index(style)))
        if not len(matches):
            present = ", ".join(STYLES[index] for index in self.styles[self.concepts == concept])
            raise ValueError(f"the style {style} has no icon {name!r}; it exists in {present}")
        return int(matches[0])


@functools.cache
def icons() -> Icons:
    """Return the embedded icons as read-only arrays that all callers share.

    Returns
    -------
    Icons

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or damaged.

    References
    ----------
    The npm packages in ``data/emoji.json``, which ``data/make_emoji.py`` renders.

    Examples
    --------
    >>> len(icons().images), len(icons().names)
    (4891, 1166)
    """
    path = io.data_path("emoji.npz")
    record = json.loads(io.data_path("emoji.json").read_text())
    io.verify_checksum(path, record["sha256"], advice="Install the package again, or run data/make_emoji.py")
    arrays = io.read_npz(path)
    styles, concepts = np.nonzero(arrays["present"].T)
    counts = arrays["present"].sum(axis=0)
    sheets = [_unstack(arrays[f"sheet_{style}"], count) for style, count in zip(STYLES, counts, strict=True)]
    pixels = np.concatenate(sheets)
    for array in (pixels, styles, concepts, arrays["groups"], arrays["hues"]):
        array.flags.writeable = False
    tables = (tuple(arrays[name].tolist()) for name in ("names", "categories", "code_points"))
    return Icons(pixels, styles, concepts, arrays["groups"], arrays["hues"], *tables)


def _unstack(content: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return the images of a sheet, which is a losslessly compressed image with a grid of icons."""
    with PIL.Image.open(bytes_io.BytesIO(content.tobytes())) as image:
        grid = np.asarray(image.convert("RGB"))
    rows, columns = grid.shape[0] // SIZE, grid.shape[1] // SIZE
    return grid.reshape(rows, SIZE, columns, SIZE, 3).swapaxes(1, 2).reshape(-1, SIZE, SIZE, 3)[:count]


@functools.cache
def held_out() -> NDArray[np.bool_]:
    """Return which icons are test images: whole groups of near-copies, at most one group of each concept.

    Every concept has at least two styles in the training images, so they contain the concept and the style of a test
    image, but not both together.

    Returns
    -------
    numpy.ndarray
        bool ``(n,)``, in the order of :func:`icons`.

    Examples
    --------
    >>> f"{held_out().mean():.2f}"
    '0.10'
    """
    found = icons()
    remaining = np.bincount(found.concepts)
    chosen = np.zeros(len(found.images), bool)
    untouched = np.ones(len(remaining), bool)
    order = np.argsort(found.groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(found.groups[order])) + 1)
    for group in np.random.default_rng(0).permutation(len(members)):
        concepts, counts = np.unique(found.concepts[members[group]], return_counts=True)
        if untouched[concepts].all() and (remaining[concepts] - counts >= 2).all():
            chosen[members[group]] = True
            untouched[concepts] = False
        if chosen.mean() >= HELD_OUT_SHARE:
            break
    chosen.flags.writeable = False
    return chosen


def dominant_hue(images: ArrayLike) -> NDArray[np.float32]:
    """Return the dominant hue of each image on white, or NaN where it has none.

    A hue is dominant if at least 40 % of the pixels that are not background are saturated, and the length of the mean of
    their hues as unit vectors, weighted by chroma, is at least 0.8. The medians of value and saturation of these pixels
    must be at least 0.7 and 0.45: darker and paler colours have names of their own, such as brown. The dominant hue is the
    mean of the hues within 45 degrees of this mean.

    Parameters
    ----------
    images : array_like
        Floating-point ``(n, height, width, 3)`` in [0, 1].

    Returns
    -------
    numpy.ndarray
        float32 ``(n,)`` in [0, 360): 0 is red, 120 green, 240 blue.

    Raises
    ------
    ValueError
        If the shape is wrong.

    References
    ----------
    Smith, "Color gamut transform pairs", SIGGRAPH 1978, for hue, saturation and value; Mardia and Jupp, "Directional
    statistics", 2000, for the mean of angles.

    Examples
    --------
    A blue square on white, and a grey one:

    >>> squares = np.ones((2, 8, 8, 3))
    >>> squares[:, 2:6, 2:6] = [[[[0.1, 0.1, 0.9]]], [[[0.5, 0.5, 0.5]]]]
    >>> dominant_hue(squares).tolist()
    [240.0, nan]
    """
    values = validate.real_array(images, "images", ndim=4)
    if values.shape[3] != 3:
        raise ValueError(f"images has the shape {values.shape}; expected (n, height, width, 3)")
    return np.array([_dominant_hue(image) for image in values], np.float32)


def _dominant_hue(image: NDArray[np.floating]) -> float:
    hue, value, chroma = hue_value_chroma(image)
    saturation = chroma / np.maximum(value, 1e-9)
    coloured = (saturation >= _MIN_SATURATION) & (value >= _MIN_VALUE) & (chroma >= _MIN_CHROMA)
    foreground = (value - chroma < _BACKGROUND).sum()
    if coloured.sum() < _MIN_SHARE * max(foreground, 1):
        return np.nan
    vectors = chroma[coloured] * np.exp(1j * np.deg2rad(hue[coloured]))
    mean = vectors.sum()
    vivid = np.median(value[coloured]) >= _MIN_MEDIAN_VALUE and np.median(saturation[coloured]) >= _MIN_MEDIAN_SATURATION
    if abs(mean) < _MIN_CONCENTRATION * chroma[coloured].sum() or not vivid:
        return np.nan
    # Without the other hues, such as the green leaves of an orange carrot.
    mean = vectors[np.abs(np.angle(vectors / mean, deg=True)) <= _MAX_DEVIATION].sum()
    # Rounded first, because -1e-15 % 360 is 360.
    return round(float(np.angle(mean, deg=True)), 3) % 360


def hue_value_chroma(
    image: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Return hue in degrees, value and chroma of an RGB image. A grey has the hue 0.

    Parameters
    ----------
    image : numpy.ndarray
        Floating-point ``(..., 3)`` in [0, 1].

    Returns
    -------
    hue, value, chroma : numpy.ndarray
        ``(...)``: the hue in [0, 360), the largest channel, and the difference of the largest and the smallest channel.

    References
    ----------
    Smith, "Color gamut transform pairs", SIGGRAPH 1978.

    Examples
    --------
    >>> [channel.tolist() for channel in hue_value_chroma(np.array([[0, 0.5, 0.5], [1, 1, 1]]))]
    [[180.0, 0.0], [0.5, 1.0], [0.5, 0.0]]
    """
    red, green, blue = np.moveaxis(image, -1, 0)
    value, minimum = image.max(axis=-1), image.min(axis=-1)
    chroma = value - minimum
    divisor = np.where(chroma > 0, chroma, 1)
    sector = np.where(
        value == red,
        (green - blue) / divisor % 6,
        np.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    return np.where(chroma > 0, 60 * sector, 0), value, chroma


def _concept(name: str) -> str:
    """Return the name of a concept in the spelling of the table; raise if there is none."""
    by_name = _names_without_case()
    if name.lower() in by_name:
        return by_name[name.lower()]
    similar = nearest(name.lower(), list(by_name))
    raise ValueError(f"there is no emoji named {name!r}; did you mean {' or '.join(repr(by_name[x]) for x in similar)}?")


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """Return the known names that are spelled most like an unknown one: up to three similar ones, or the nearest one.

    Examples
    --------
    >>> nearest("appel", ["apple", "pear", "peach"]), nearest("xyz", ["apple", "pear"])
    (['apple'], ['pear'])
    """
    return difflib.get_close_matches(name, known, n=3, cutoff=0.7) or difflib.get_close_matches(name, known, 1, 0)


@functools.cache
def _names_without_case() -> dict[str, str]:
    return {name.lower(): name for name in icons().names}


def compose(name: str | None = None, style: str | None = None) -> str:
    """Return the caption of an icon. :func:`parse` is the inverse.

    Raises
    ------
    ValueError
        If there is no such concept or style.

    Examples
    --------
    >>> compose("octopus", "noto"), compose(style="noto")
    ('octopus, noto style', 'noto style')
    """
    parts = [] if name is None else [_concept(name)]
    if style is not None:
        parts.append(f"{validate.choice(style, 'style', STYLES)} style")
    return ", ".join(parts)


def parse(caption: str) -> tuple[str | None, str | None]:
    """Return the concept and the style that a caption states; None for what it leaves out.

    Parameters
    ----------
    caption : str
        A name, ``"noto style"``, or both with a comma between them.

    Raises
    ------
    TypeError
        If the caption is not a string.
    ValueError
        If there is no such concept or style. The message names similar concepts, or lists the styles.

    Examples
    --------
    >>> parse("octopus, noto style"), parse("octopus")
    (('octopus', 'noto'), ('octopus', None))
    >>> parse("octopuss")
    Traceback (most recent call last):
    ...
    ValueError: there is no emoji named 'octopuss'; did you mean 'octopus'?
    """
    if not isinstance(caption, str):
        raise TypeError(f"the caption is {caption!r}; expected a string, such as 'octopus, noto style'")
    parts = [part.strip() for part in caption.split(",") if part.strip()]
    style = None
    if parts and parts[-1].lower().endswith(" style"):
        style = validate.choice(parts.pop().lower().removesuffix(" style").strip(), "style", STYLES)
    if len(parts) > 1:
        raise ValueError(f"the caption {caption!r} has {len(parts)} names; expected one, such as 'octopus, noto style'")
    return (_concept(parts[0]) if parts else None), style


def encode(captions: str | Sequence[str]) -> NDArray[np.float32]:
    """Return captions as rows: a value for each style and then for each concept, 1 for those that the caption states.

    Parameters
    ----------
    captions : str or sequence of str

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 1171)``, in the order of ``datasets.load("emoji").condition.names``.

    Raises
    ------
    TypeError, ValueError
        If a caption cannot be parsed; see :func:`parse`.

    Examples
    --------
    >>> encode(["octopus, noto style", "noto style"]).sum(axis=1).tolist()
    [2.0, 1.0]
    """
    captions = [captions] if isinstance(captions, str) else captions
    encoded = np.zeros((len(captions), len(STYLES) + len(icons().names)), np.float32)
    for row, (name, style) in zip(encoded, map(parse, captions), strict=True):
        if style is not None:
            row[STYLES.index(style)] = 1
        if name is not None:
            row[len(STYLES) + icons().names.index(name)] = 1
    return encoded


def sample(n: int, *, rng: np.random.Generator | int) -> NDArray[np.float32]:
    """Sample n captions of training images and encode them.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator or int

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 1171)``.

    Examples
    --------
    >>> sample(3, rng=0).sum(axis=1).tolist()
    [2.0, 2.0, 2.0]
    """
    n = validate.integer(n, "n", minimum=0)
    return _rows(np.random.default_rng(rng).choice(np.flatnonzero(~held_out()), n))


def _rows(indices: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the encoded captions of icons."""
    found = icons()
    rows = np.zeros((len(indices), len(STYLES) + len(found.names)), np.float32)
    rows[np.arange(len(rows)), found.styles[indices]] = 1
    rows[np.arange(len(rows)), len(STYLES) + found.concepts[indices]] = 1
    return rows


def _load(name: str, factor: int) -> Dataset:
    """Return the dataset, with images averaged over squares of ``factor`` pixels."""
    size, test = SIZE // factor, held_out()
    train_part, test_part = np.flatnonzero(~test), np.flatnonzero(test)

    def images(part: NDArray[np.intp]) -> NDArray[np.float32]:
        selected = icons().images[part].astype(np.float32) / np.float32(255)
        if factor == 1:
            return selected
        return selected.reshape(-1, size, factor, size, factor, 3).mean(axis=(2, 4))

    condition = Condition("captions", (*(f"{style} style" for style in STYLES), *icons().names), vocabulary="emoji")
    x_train, x_test = images(train_part), images(test_part)
    return Dataset(name, x_train, _rows(train_part), x_test, _rows(test_part), condition)


LOADERS: dict[str, Callable[..., Dataset]] = {
    "emoji": lambda: _load("emoji", 1),
    "emoji_32": lambda: _load("emoji_32", 2),
}
