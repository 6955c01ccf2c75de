"""Captions of marbles: a grammar with five factors, its encoding as 22 values, and rendered images of each caption.

A *factor* is a property of the image that a caption can state, such as ``colour``; it has a few possible words. The
*attributes* of a caption are the words that it states, by factor. A *choice* is one word for every factor, as indices.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib import rendering

__all__ = [
    "COUNTS",
    "FACTORS",
    "WORDS",
    "combinations",
    "compose",
    "decode",
    "encode",
    "from_choice",
    "parse",
    "render",
    "sample",
]

#: The factors, in the order in which a caption states them, and the words of each.
FACTORS: dict[str, tuple[str, ...]] = {
    "size": ("small", "large"),
    "colour": rendering.HUES,
    "texture": rendering.TEXTURES,
    "background": rendering.BACKGROUNDS,
    "light": ("left", "right", "top", "bottom"),
}
#: The number of words of each factor.
COUNTS = tuple(len(words) for words in FACTORS.values())
#: The meaning of each of the 22 values of :func:`encode`.
WORDS = tuple(
    f"{word} background" if factor == "background" else f"from the {word}" if factor == "light" else word
    for factor, words in FACTORS.items()
    for word in words
)
NUM_HELD_OUT = 200

# Words without information, and all words that state something.
_FUNCTION_WORDS = ("a", "an", "the", "marble", "on", "background", "lit", "from")
_FACTOR_WORDS = tuple(dict.fromkeys(word for words in FACTORS.values() for word in words))
# Of a small and of a large marble, where 1 is half the width of the image.
_RADIUS_RANGES = ((0.32, 0.42), (0.56, 0.7))
# Of light from the left, right, top and bottom, in degrees anticlockwise from the right.
_LIGHT_AZIMUTHS = (180, 0, 90, 270)


def compose(attributes: Mapping[str, str]) -> str:
    """Return the caption that states the given attributes. :func:`parse` is the inverse.

    Parameters
    ----------
    attributes : mapping of str to str
        From factors to one of their words in ``FACTORS``. Missing factors are left out of the caption.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no such factor, or the factor has no such word.

    Examples
    --------
    >>> compose({"colour": "red", "size": "large", "background": "blue", "light": "left"})
    'a large red marble on a blue background, lit from the left'
    """
    for factor, word in attributes.items():
        validate.choice(word, validate.choice(factor, "factor", FACTORS), FACTORS[factor])
    adjectives = [attributes[factor] for factor in ("size", "colour", "texture") if factor in attributes]
    caption = " ".join(["a", *adjectives, "marble"])
    if "background" in attributes:
        caption += f" on a {attributes['background']} background"
    if "light" in attributes:
        caption += f", lit from the {attributes['light']}"
    return caption


def parse(caption: str) -> dict[str, str]:
    """Return the attributes that a caption states.

    Every part of a caption may be missing, and the parts may be in any order. A colour directly before "background" is
    the background's, any other colour is the marble's.

    Parameters
    ----------
    caption : str

    Returns
    -------
    dict of str to str
        From the factors that the caption states to their words.

    Raises
    ------
    TypeError
        If the caption is not a string.
    ValueError
        If it contains a word that is not in the grammar, or states a factor twice.

    Examples
    --------
    >>> parse("a blue marble on a red background")
    {'colour': 'blue', 'background': 'red'}
    >>> parse("a bleu marble")
    Traceback (most recent call last):
    ...
    ValueError: the caption 'a bleu marble' contains the unknown word 'bleu'; did you mean 'blue'?
    """
    if not isinstance(caption, str):
        raise TypeError(f"the caption is {caption!r}; expected a string, such as {compose({'colour': 'red'})!r}")
    words = re.findall(r"[^\W_]+", caption.lower())
    for word in words:
        if word not in _FACTOR_WORDS and word not in _FUNCTION_WORDS:
            raise ValueError(f"the caption {caption!r} contains the unknown word {word!r}; {_suggestion(word)}")
    attributes: dict[str, str] = {}
    for word, following in itertools.zip_longest(words, words[1:]):
        if word in _FUNCTION_WORDS:
            continue
        factor = _factor_of(word, caption, before_background=following == "background")
        if factor in attributes:
            raise ValueError(f"the caption {caption!r} states the {factor} twice: {attributes[factor]} and {word}")
        attributes[factor] = word
    return attributes


def _suggestion(word: str) -> str:
    """Return the end of an error message: a known word that is spelled like ``word``, or all of them."""
    similar = difflib.get_close_matches(word, [*_FACTOR_WORDS, *_FUNCTION_WORDS], n=1)
    return f"did you mean {similar[0]!r}?" if similar else f"known words are {', '.join(_FACTOR_WORDS)}"


def _factor_of(word: str, caption: str, *, before_background: bool) -> str:
    """Return the factor that a word of ``_FACTOR_WORDS`` states; it depends on whether "background" follows."""
    if before_background:
        if word in FACTORS["background"]:
            return "background"
        possible = ", ".join(FACTORS["background"])
        raise ValueError(f"the caption {caption!r} says {word!r} of the background, which can only be {possible}")
    for factor, words in FACTORS.items():
        if factor != "background" and word in words:
            return factor
    raise ValueError(
        f"the caption {caption!r} says {word!r} of the marble, but only the background can be {word}: "
        f"write 'on a {word} background'"
    )


def encode(captions: str | Sequence[str]) -> NDArray[np.float32]:
    """Return captions as rows of 22 values: 1 for each word of ``WORDS`` that the caption states, otherwise 0.

    A factor that the caption does not state has zeros only, so a model can be trained on incomplete captions too.

    Parameters
    ----------
    captions : str or sequence of str

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 22)``.

    Raises
    ------
    TypeError, ValueError
        If a caption cannot be parsed; see :func:`parse`.

    Examples
    --------
    >>> [WORDS[index] for index in encode("a red marble on a blue background")[0].nonzero()[0]]
    ['red', 'blue background']
    """
    captions = [captions] if isinstance(captions, str) else captions
    encoded = np.zeros((len(captions), len(WORDS)), np.float32)
    starts = dict(zip(FACTORS, np.cumsum((0, *COUNTS)), strict=False))
    for row, caption in zip(encoded, captions, strict=True):
        for factor, word in parse(caption).items():
            row[starts[factor] + FACTORS[factor].index(word)] = 1
    return encoded


def decode(encoded: ArrayLike) -> NDArray[np.intp]:
    """Return the choices that encoded, complete captions state: the inverse of :func:`encode`.

    Parameters
    ----------
    encoded : array_like
        ``(n, 22)``. The largest value of each factor decides, so probabilities can be decoded too.

    Returns
    -------
    numpy.ndarray
        int ``(n, 5)``: indices into the words of each factor.

    Raises
    ------
    ValueError
        If a row does not have 22 values.

    Examples
    --------
    >>> decode(encode("a large red striped marble on a blue background, lit from the left")).tolist()
    [[1, 0, 1, 5, 0]]
    """
    rows = np.asarray(encoded)
    if rows.ndim != 2 or rows.shape[1] != len(WORDS):
        raise ValueError(f"encoded has the shape {rows.shape}; expected (n, {len(WORDS)})")
    return np.stack([part.argmax(axis=1) for part in np.split(rows, np.cumsum(COUNTS)[:-1], axis=1)], axis=1)


def from_choice(choice: ArrayLike) -> str:
    """Return the complete caption of one choice.

    Parameters
    ----------
    choice : array_like of int
        ``(5,)``: an index into the words of each factor, in the order of ``FACTORS``.

    Returns
    -------
    str

    Raises
    ------
    TypeError, ValueError
        If these are not five integers, or an index is out of range.

    Examples
    --------
    >>> from_choice((1, 0, 1, 5, 0))
    'a large red striped marble on a blue background, lit from the left'
    """
    (indices,) = _check_choices([choice])
    return compose({factor: words[index] for (factor, words), index in zip(FACTORS.items(), indices, strict=True)})


def combinations() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all 1,008 choices in two parts: those for training, and 200 random ones that are held out for tests.

    Every single word, and every pair of words of two factors, is in the first part, so the training set contains every
    part of a held-out caption, but not the combination.

    Returns
    -------
    seen, held_out : numpy.ndarray
        int ``(808, 5)`` and ``(200, 5)``: indices into the words of each factor.

    References
    ----------
    Lake and Baroni, "Generalization without systematicity: on the compositional skills of sequence-to-sequence recurrent
    networks", ICML 2018.

    Examples
    --------
    >>> seen, held_out = combinations()
    >>> len(seen), len(held_out)
    (808, 200)
    """
    every = np.stack(np.unravel_index(np.arange(np.prod(COUNTS)), COUNTS), axis=1)
    shuffled = np.random.default_rng(0).permutation(every)
    return shuffled[NUM_HELD_OUT:], shuffled[:NUM_HELD_OUT]


def sample(n: int, *, rng: np.random.Generator | int) -> NDArray[np.float32]:
    """Sample n captions of the training combinations and encode them.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator or int

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 22)``.

    Examples
    --------
    Every caption names one word for each of the five attributes:

    >>> sample(3, rng=0).sum(axis=1).tolist()
    [5.0, 5.0, 5.0]
    """
    choices = np.random.default_rng(rng).choice(combinations()[0], n)
    return encode([from_choice(choice) for choice in choices])


def render(choices: ArrayLike, *, rng: np.random.Generator | int, size: int = 64) -> NDArray[np.float32]:
    """Render one image of each choice. Everything that its caption does not state is random.

    The exact hue, the radius and the direction of the light are random within the range of their word. The brightness of
    the background, the elevation of the light and the orientation of the marble have no words.

    Parameters
    ----------
    choices : array_like of int
        ``(n, 5)``: indices into the words of each factor.
    rng : numpy.random.Generator or int
    size : int
        Height and width in pixels.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, size, size, 3)`` in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If the choices are not rows of five integers, or an index is out of range.

    Examples
    --------
    The shadow of light from the left lies on the right:

    >>> image = render([(1, 0, 1, 5, 0)], rng=0)[0]
    >>> bool(image[:, 0].mean() > image[:, -1].mean())
    True
    """
    indices, rng = _check_choices(choices), np.random.default_rng(rng)
    n, (sizes, colours, textures, backgrounds, lights) = len(indices), indices.T
    azimuth = np.deg2rad(np.array(_LIGHT_AZIMUTHS)[lights] + rng.uniform(-25, 25, n))
    elevation = np.deg2rad(rng.uniform(35, 55, n))
    light = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1)
    images, _ = rendering.render_marbles(
        n,
        rng=rng,
        size=size,
        hue=(colours + rng.uniform(-0.2, 0.2, n)) / 6 % 1,
        texture=textures,
        radius=rng.uniform(*np.array(_RADIUS_RANGES)[sizes].T),
        background_value=rng.uniform(0.7, 1, n),
        background_hue=backgrounds,
        light=light,
    )
    return images


def _check_choices(choices: Any) -> NDArray[np.integer]:
    """Return rows of indices into the words of each factor; raise if they are something else."""
    rows = np.asarray(choices)
    if rows.ndim != 2 or rows.shape[1] != len(COUNTS):
        raise ValueError(f"choices has the shape {rows.shape}; expected rows of {len(COUNTS)} indices")
    if rows.dtype.kind not in "iu":
        raise TypeError(f"choices has the dtype {rows.dtype}; expected integers")
    if (rows < 0).any() or (rows >= COUNTS).any():
        raise ValueError(f"choices has an index out of range; the factors have {COUNTS} words, counted from 0")
    return rows
