"""Scenes of emoji with captions as rows of word numbers, for models that read words.

A scene is composed by :mod:`imggen_lib.datasets.composed_emoji` and rendered when it is read, always identically. A caption
such as "two blue octopuses" is a row of :data:`LENGTH` numbers: word k of
:data:`imggen_lib.datasets.composed_emoji.VOCABULARY` has the number k + 1, and 0 fills the row. A row of zeros stands for
"no caption".

The images contain emoji of other works: :data:`imggen_lib.datasets.emoji.ATTRIBUTION` names them.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.datasets import composed_emoji, emoji
from imggen_lib.datasets.base import Condition, Dataset

__all__ = ["LENGTH", "RenderedScenes", "decode", "encode", "held_out_parts", "sample"]

#: Words in a row. The longest caption that the scenes have is shorter.
LENGTH = 16
#: Training scenes, and test scenes of each held-out part.
_NUM_TRAIN, _NUM_TEST = 40_000, 1000
_HELD_OUT = tuple(part for part in composed_emoji.PARTS if part != "train")
_NUMBERS = {word: number for number, word in enumerate(composed_emoji.VOCABULARY, start=1)}


def encode(captions: str | Sequence[str]) -> NDArray[np.float32]:
    """Turn captions into rows of word numbers.

    A word that no caption of the dataset has is left out, with a warning that names the words spelled most like it.

    Parameters
    ----------
    captions : str or sequence of str

    Returns
    -------
    numpy.ndarray
        float32 ``(n, LENGTH)``: whole numbers.

    Raises
    ------
    TypeError
        If a caption is not a string.
    ValueError
        If a caption has no known word, or more than ``LENGTH`` of them.

    Examples
    --------
    >>> row = encode("two blue octopuses")[0]
    >>> row[:4] > 0
    array([ True,  True,  True, False])
    >>> decode(row)
    'two blue octopuses'
    """
    captions = [captions] if isinstance(captions, str) else list(captions)
    rows = np.zeros((len(captions), LENGTH), np.float32)
    for row, caption in zip(rows, captions, strict=True):
        given = composed_emoji.words(caption)
        for word in given:
            if word not in _NUMBERS:
                near = emoji.nearest(word, composed_emoji.VOCABULARY)
                hint = f"; the nearest known words are {', '.join(near)}" if near else ""
                warnings.warn(f"the word {word!r} is unknown and is left out{hint}", stacklevel=2)
        numbers = [_NUMBERS[word] for word in given if word in _NUMBERS]
        if not numbers:
            raise ValueError(f"the caption {caption!r} has no known word; write one such as 'two blue octopuses'")
        if len(numbers) > LENGTH:
            raise ValueError(f"the caption {caption!r} has {len(numbers)} words; expected at most {LENGTH}")
        row[: len(numbers)] = numbers
    return rows


def decode(row: ArrayLike) -> str:
    """Return the words of a row, joined by spaces.

    Raises
    ------
    ValueError
        If a number stands for no word.

    Examples
    --------
    >>> decode(np.zeros(LENGTH)), decode(encode("a red apple")[0])
    ('', 'a red apple')
    """
    numbers = np.asarray(row).astype(int)
    if (numbers < 0).any() or (numbers > len(_NUMBERS)).any():
        raise ValueError(f"the row has the values {numbers.tolist()}; expected 0 to {len(_NUMBERS)}")
    return " ".join(composed_emoji.VOCABULARY[number - 1] for number in numbers if number)


def sample(n: int, *, rng: np.random.Generator | int) -> NDArray[np.float32]:
    """Sample captions of the training part, as rows ``(n, LENGTH)``.

    Examples
    --------
    >>> sample(3, rng=0).shape
    (3, 16)
    """
    rng = np.random.default_rng(rng)
    return encode(_captions(composed_emoji.sample_descriptions(n, rng=rng), rng))


def _captions(
    descriptions: Sequence[composed_emoji.Description], rng: np.random.Generator, part: str = "train"
) -> list[str]:
    """Return captions, of which a part does not state the style, as :func:`composed_emoji.sample` makes them."""
    stated = (rng.random(len(descriptions)) >= composed_emoji.STYLE_OMISSION_RATE) | (part == "style")
    return [
        composed_emoji.compose(item if keep else dataclasses.replace(item, style=None))
        for item, keep in zip(descriptions, stated, strict=True)
    ]


class RenderedScenes:
    """Scenes that are rendered when they are indexed; the same index always gives the same image.

    It has the part of NumPy's interface that training needs: ``len``, ``shape``, ``dtype``, ``ndim``, indexing by integers,
    slices and integer arrays, and conversion by ``np.asarray``.

    Parameters
    ----------
    descriptions : sequence of Description
    seed : int
        Of positions, sizes and hues.
    size : {64, 32}
        Height and width in pixels.

    Examples
    --------
    >>> scenes = RenderedScenes(composed_emoji.sample_descriptions(5, rng=0), seed=0, size=32)
    >>> scenes.shape, bool((scenes[[1, 3]][1] == scenes[3]).all())
    ((5, 32, 32, 3), True)
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, descriptions: Sequence[composed_emoji.Description], *, seed: int, size: int) -> None:
        self.descriptions = tuple(descriptions)
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.size = validate.choice(size, "size", (64, 32))

    def __len__(self) -> int:
        return len(self.descriptions)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number, height, width and channels of the images."""
        return len(self), self.size, self.size, 3

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        rows = np.arange(len(self))[index]
        images = [
            composed_emoji.render(self.descriptions[row], rng=np.random.default_rng([self.seed, row]), size=self.size)[0]
            for row in np.atleast_1d(rows)
        ]
        return (
            images[0] if np.ndim(rows) == 0 else np.stack(images) if images else np.empty((0, *self.shape[1:]), np.float32)
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)


def held_out_parts() -> NDArray[np.str_]:
    """Return for each test scene which kind of combination is held out in it: "style", "colour" or "pair".

    Examples
    --------
    >>> held_out_parts()[[0, 1000, 2000]].tolist()
    ['style', 'colour', 'pair']
    """
    return np.repeat(_HELD_OUT, _NUM_TEST)


@functools.cache
def _scenes() -> tuple[Any, ...]:
    """Return descriptions and rows of the training scenes, and of the test scenes."""
    rng = np.random.default_rng(0)
    train = composed_emoji.sample_descriptions(_NUM_TRAIN, rng=rng)
    train_rows = encode(_captions(train, rng))
    test: list[composed_emoji.Description] = []
    captions: list[str] = []
    for part in _HELD_OUT:
        found = composed_emoji.sample_descriptions(_NUM_TEST, rng=rng, part=part)
        test += found
        captions += _captions(found, rng, part)
    return train, train_rows, test, encode(captions)


def _load(name: str, size: int) -> Dataset:
    train, train_rows, test, test_rows = _scenes()
    return Dataset(
        name=name,
        x_train=RenderedScenes(train, seed=0, size=size),
        y_train=train_rows,
        x_test=RenderedScenes(test, seed=1, size=size),
        y_test=test_rows,
        condition=Condition("captions", tuple(f"word {number}" for number in range(1, LENGTH + 1)), "captioned_emoji"),
    )


#: Loaders of the datasets in this module, by name.
LOADERS = {
    "composed_emoji": functools.partial(_load, "composed_emoji", 64),
    "composed_emoji_32": functools.partial(_load, "composed_emoji_32", 32),
}
