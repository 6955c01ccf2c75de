"""Captions of marbles: a language of 16 words in 22 roles that says what a picture shows, and how a model is told it."""

from __future__ import annotations

import difflib
import itertools
import re

import numpy as np
from numpy.typing import NDArray

from imggen_lib import _validation as validate
from imggen_lib import rendering

#: What a caption may tell, in the order in which it is told, and the words for it.
FACTORS = {
    "size": ("small", "large"),
    "colour": rendering.HUES,
    "texture": rendering.TEXTURES,
    "ground": rendering.GROUNDS,
    "light": ("left", "right", "top", "bottom"),
}
#: How many words there are for each factor, and so how many pictures can be told apart.
COUNTS = tuple(len(words) for words in FACTORS.values())
#: What the numbers of :func:`encode` stand for.
WORDS = tuple(
    f"{word} ground" if factor == "ground" else f"from the {word}" if factor == "light" else word
    for factor, words in FACTORS.items()
    for word in words
)
HELD_OUT = 200

_OTHER_WORDS = ("a", "an", "the", "marble", "on", "ground", "lit", "from")
_RADII = ((0.32, 0.42), (0.56, 0.7))


def write(told):
    """Put what a picture shows into words.

    Parameters
    ----------
    told : dict of str to str
        From some of ``FACTORS`` to one of the words for it. What is not in it is left out of the caption.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no such factor, or a word is none of its words.

    Examples
    --------
    >>> write({"colour": "red", "size": "large", "light": "left"})
    'a large red marble, lit from the left'
    """
    for factor, word in told.items():
        validate.choice(word, validate.choice(factor, "factor", FACTORS), FACTORS[factor])
    before = [told[factor] for factor in ("size", "colour", "texture") if factor in told]
    caption = " ".join(["a", *before, "marble"])
    if "ground" in told:
        caption += f" on a {told['ground']} ground"
    if "light" in told:
        caption += f", lit from the {told['light']}"
    return caption


def read(caption):
    """Find out what a caption tells. The words before "marble" may be in any order, and every part may be missing.

    Parameters
    ----------
    caption : str

    Returns
    -------
    dict of str to str
        From the factors that are told to their words.

    Raises
    ------
    TypeError
        If it is no string.
    ValueError
        If there is a word that no picture was ever described by, or a factor is told twice.

    Examples
    --------
    >>> read("a blue marble on a red ground")
    {'colour': 'blue', 'ground': 'red'}
    """
    if not isinstance(caption, str):
        raise TypeError(f"the caption is {caption!r}; expected words, such as {write({'colour': 'red'})!r}")
    told, words = {}, re.findall(r"[^\W_]+", caption.lower())
    for word, following in itertools.zip_longest(words, words[1:]):
        # A colour is the marble's, unless the ground comes right after it.
        factors = ("ground",) if following == "ground" else [factor for factor in FACTORS if factor != "ground"]
        found = [factor for factor in factors if word in FACTORS[factor]]
        if not found and word in _OTHER_WORDS:
            continue
        if not found:
            raise ValueError(_unknown(word, caption))
        if found[0] in told:
            raise ValueError(f"the caption {caption!r} tells the {found[0]} twice: {told[found[0]]} and {word}")
        told[found[0]] = word
    return told


def _unknown(word, caption):
    if word in FACTORS["ground"]:
        return f"the caption {caption!r} says {word!r}, which only the ground can be: write 'on a {word} ground'"
    if any(word in words for words in FACTORS.values()):
        grounds = ", ".join(FACTORS["ground"])
        return f"the caption {caption!r} says {word!r} of the ground, which can only be {grounds}"
    known = dict.fromkeys(word for words in FACTORS.values() for word in words)
    near = difflib.get_close_matches(word, [*known, *_OTHER_WORDS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"the caption {caption!r} has the word {word!r}, which no picture was described by; {hint}"


def encode(captions):
    """Turn captions into what a model is told: one number for each word in each role, 1 if it is there.

    Parameters
    ----------
    captions : str or sequence of str

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 22)``; see ``WORDS``. What a caption does not tell is all zeros.

    Raises
    ------
    TypeError, ValueError
        If a caption cannot be read; see :func:`read`.

    Examples
    --------
    >>> [WORDS[place] for place in encode("a red marble on a blue ground")[0].nonzero()[0]]
    ['red', 'blue ground']
    """
    captions = [captions] if isinstance(captions, str) else captions
    numbers = np.zeros((len(captions), len(WORDS)), np.float32)
    for row, caption in zip(numbers, captions, strict=True):
        told = read(caption)
        for factor, first in zip(FACTORS, np.cumsum((0, *COUNTS)), strict=False):
            if factor in told:
                row[first + FACTORS[factor].index(told[factor])] = 1
    return numbers


def caption(choice):
    """Write the whole caption of one combination of factors.

    Parameters
    ----------
    choice : sequence of int
        An index into the words of each factor, in the order of ``FACTORS``.

    Returns
    -------
    str

    Raises
    ------
    TypeError, ValueError
        If these are no five whole numbers, or there is no such word.

    Examples
    --------
    >>> caption((1, 0, 1, 5, 0))
    'a large red striped marble on a blue ground, lit from the left'
    """
    (choice,) = _choices([choice])
    return write({factor: words[index] for (factor, words), index in zip(FACTORS.items(), choice, strict=True)})


def _choices(choices):
    """Check rows of indices into the words of each factor."""
    choices = np.asarray(choices)
    if choices.ndim != 2 or choices.shape[1] != len(COUNTS):
        raise ValueError(f"choices has the shape {choices.shape}; expected rows of {len(COUNTS)} indices")
    if choices.dtype.kind not in "iu":
        raise TypeError(f"choices has the dtype {choices.dtype}; expected whole numbers")
    if (choices < 0).any() or (choices >= COUNTS).any():
        raise ValueError(f"choices holds an index that there is not; the factors have {COUNTS} words")
    return choices


def decode(numbers):
    """Return the choices that whole captions tell: the way back from :func:`encode`.

    Parameters
    ----------
    numbers : array_like
        ``(n, 22)``: the largest number of each factor counts.

    Returns
    -------
    numpy.ndarray
        int ``(n, 5)``: rows that :func:`caption` takes.

    Raises
    ------
    ValueError
        If there are not 22 numbers in a row.

    Examples
    --------
    >>> decode(encode(caption((1, 0, 1, 5, 0)))).tolist()
    [[1, 0, 1, 5, 0]]
    """
    numbers = np.asarray(numbers)
    if numbers.ndim != 2 or numbers.shape[1] != len(WORDS):
        raise ValueError(f"numbers has the shape {numbers.shape}; expected rows of {len(WORDS)}")
    return np.stack([part.argmax(axis=1) for part in np.split(numbers, np.cumsum(COUNTS)[:-1], axis=1)], axis=1)


def combinations():
    """Return all 1,008 combinations of factors, split into those that a model may see and those that are held out.

    Returns
    -------
    seen, held_out : numpy.ndarray
        int ``(n, 5)``: rows that :func:`caption` takes.

    Examples
    --------
    >>> seen, held_out = combinations()
    >>> len(seen), len(held_out)
    (808, 200)
    """
    every = np.stack(np.unravel_index(np.arange(np.prod(COUNTS)), COUNTS), axis=1)
    mixed = np.random.default_rng(0).permutation(every)
    return mixed[HELD_OUT:], mixed[:HELD_OUT]


def sample(n: int, *, rng: np.random.Generator | int) -> NDArray[np.float32]:
    """Draw n captions of the training combinations at random and encode them.

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
    return encode([caption(choice) for choice in choices])


def render(choices, *, rng, size=64):
    """Draw a picture of each combination of factors; what no word tells is left to chance.

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
        If the choices are no rows of five indices, each of which there is.

    Examples
    --------
    >>> render([(1, 0, 1, 5, 0)], rng=0).shape
    (1, 64, 64, 3)
    """
    choices, rng = _choices(choices), np.random.default_rng(rng)
    n, (sizes, hues, textures, grounds, lights) = len(choices), choices.T
    # Counted anticlockwise from the right, as angles are.
    azimuth = np.deg2rad(np.array([180, 0, 90, 270])[lights] + rng.uniform(-25, 25, n))
    height = np.deg2rad(rng.uniform(35, 55, n))
    light = np.stack([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)], axis=-1)
    images, _ = rendering.render_marbles(
        n,
        rng=rng,
        size=size,
        hue=(hues + rng.uniform(-0.2, 0.2, n)) / 6 % 1,
        texture=textures,
        radius=rng.uniform(*np.array(_RADII)[sizes].T),
        background=rng.uniform(0.7, 1, n),
        ground=grounds,
        light=light,
    )
    return images
