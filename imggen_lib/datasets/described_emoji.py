"""Scenes of emoji with all their attributes as labels, for the recogniser that evaluates text-to-image models.

A scene has eight attributes: noun, colour and count of its first and of its second group, the arrangement of the groups,
and the drawing style. The first group is the left or the upper one, whatever the caption names first. "A car right of an
apple" and "an apple left of a car" therefore have the same attributes.

A row of labels has one 1 for each attribute that the scene has, at the index of its value. A group in its own colours has
no colour, and a single group leaves the attributes of the second group without a value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib.datasets.base import Condition, Dataset
from imggen_lib.datasets.captioned_emoji import RenderedScenes
from imggen_lib.datasets.composed_emoji import (
    COLOURS,
    NOUNS,
    PARTS,
    STYLES,
    Description,
    parse,
    sample_descriptions,
)

__all__ = ["ARRANGEMENTS", "ATTRIBUTES", "COUNTS", "UNKNOWN", "attributes", "encode", "matches", "sample"]

#: The arrangement of the groups: one group alone, or two.
ARRANGEMENTS = ("alone", "side by side", "one above the other")
_GROUP = {"noun": NOUNS, "colour": tuple(COLOURS), "count": ("one", "two")}
#: The attributes and the values of each.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    **{f"first {name}": values for name, values in _GROUP.items()},
    **{f"second {name}": values for name, values in _GROUP.items()},
    "arrangement": ARRANGEMENTS,
    "style": STYLES,
}
#: The number of values of each attribute.
COUNTS = tuple(len(values) for values in ATTRIBUTES.values())
#: The index of an attribute that a description does not state.
UNKNOWN = -1

_NUM_TRAIN, _NUM_TEST = 60_000, 3000


def attributes(description: Description) -> NDArray[np.int64]:
    """Return the value of each attribute that a description states.

    Parameters
    ----------
    description : Description

    Returns
    -------
    numpy.ndarray
        int64 ``(8,)``: indices of the values in ``ATTRIBUTES``; ``UNKNOWN`` for what is not stated.

    Examples
    --------
    The left group comes first, so both captions have the same attributes:

    >>> first = attributes(parse("two red apples left of a car"))
    >>> bool((first == attributes(parse("a car right of two red apples"))).all())
    True
    >>> [values[index] if index >= 0 else "" for values, index in zip(ATTRIBUTES.values(), first)]
    ['apple', 'red', 'two', 'car', '', 'one', 'side by side', '']
    """
    groups = list(description.groups)
    if description.relation in ("right of", "below"):
        groups.reverse()
    indices = []
    for group in groups:
        colour = UNKNOWN if group.colour is None else tuple(COLOURS).index(group.colour)
        indices += [NOUNS.index(group.noun), colour, group.count - 1]
    indices += [UNKNOWN] * (6 - len(indices))
    horizontal = description.relation in ("left of", "right of")
    indices.append(0 if description.relation is None else 1 if horizontal else 2)
    indices.append(UNKNOWN if description.style is None else STYLES.index(description.style))
    return np.array(indices, np.int64)


def encode(descriptions: str | Sequence[str | Description]) -> NDArray[np.float32]:
    """Turn descriptions, or captions of the grammar, into rows of labels.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, sum(COUNTS))``.

    Raises
    ------
    ValueError
        If a caption is not in the grammar; see :func:`imggen_lib.datasets.composed_emoji.parse`.

    Examples
    --------
    Noun, count and arrangement:

    >>> encode("two apples").shape, float(encode("two apples").sum())
    ((1, 782), 3.0)
    """
    items = [descriptions] if isinstance(descriptions, str) else list(descriptions)
    indices = np.stack([attributes(parse(item) if isinstance(item, str) else item) for item in items])
    starts = np.concatenate([[0], np.cumsum(COUNTS)[:-1]])
    rows = np.zeros((len(items), sum(COUNTS)), np.float32)
    row, column = np.nonzero(indices != UNKNOWN)
    rows[row, starts[column] + indices[row, column]] = 1
    return rows


def sample(n: int, *, rng: np.random.Generator | int) -> NDArray[np.float32]:
    """Return the labels of n scenes of the training part at random, as rows ``(n, sum(COUNTS))``.

    Examples
    --------
    >>> sample(3, rng=0).shape
    (3, 782)
    """
    return encode(sample_descriptions(n, rng=rng))


def matches(shown: ArrayLike, descriptions: Sequence[Description]) -> dict[str, NDArray[np.bool_]]:
    """Return which stated attributes scenes show.

    If the groups of a scene have the requested nouns in the opposite order, noun, colour and count are compared in that
    order, and only the position is wrong.

    Parameters
    ----------
    shown : array_like of int
        ``(n, 8)``: the attributes of the scenes, as :func:`attributes` returns them, each with a value.
    descriptions : sequence of Description
        What was requested, one for each scene.

    Returns
    -------
    dict of str to numpy.ndarray
        bool ``(n,)`` for "noun", "colour", "count", "style" (what is not stated counts as right), "position" (the order
        and arrangement of two groups; right for one group alone), and "all" of noun, colour, count and style together.

    Raises
    ------
    ValueError
        If there is not one row of attributes for each description.

    Examples
    --------
    The requested groups, but in exchanged positions:

    >>> wanted = parse("a red apple left of a car")
    >>> shown = attributes(parse("a car left of a red apple, noto style"))
    >>> found = matches([shown], [wanted])
    >>> bool(found["all"][0]), bool(found["position"][0])
    (True, False)
    """
    seen = np.asarray(shown)
    if seen.shape != (len(descriptions), len(ATTRIBUTES)):
        raise ValueError(
            f"shown has the shape {seen.shape}; expected {(len(descriptions), len(ATTRIBUTES))}: a row for each description"
        )
    wanted = np.stack([attributes(description) for description in descriptions])
    two = wanted[:, 6] > 0
    swapped = seen[:, [3, 4, 5, 0, 1, 2, 6, 7]]
    right = [((row == wanted) | (wanted == UNKNOWN)) for row in (seen, swapped)]
    # How many of the two nouns are right, in the requested order and in the opposite one.
    nouns = [row[:, 0].astype(int) + row[:, 3] for row in right]
    turned = two & (seen[:, 6] > 0) & (nouns[1] > nouns[0])
    found = np.where(turned[:, np.newaxis], right[1], right[0])
    # A second group that was not requested is one object too many, and a missing one is one too few.
    number = (seen[:, 6] > 0) == two
    result = {
        "noun": found[:, 0] & found[:, 3] & number,
        "colour": found[:, 1] & found[:, 4],
        "count": found[:, 2] & found[:, 5] & number,
        "style": found[:, 7],
    }
    together = np.logical_and.reduce(list(result.values()))
    return {**result, "position": ~two | (found[:, 6] & ~turned), "all": together}


def _load() -> Dataset:
    """Return scenes of all parts: the recogniser needs the combinations that are held out from the models it evaluates."""
    rng = np.random.default_rng(2)

    def scenes(n: int, seed: int) -> tuple[RenderedScenes, NDArray[np.float32]]:
        # As many scenes of the training part as of the three held-out parts together.
        shares = {part: n // 2 if part == "train" else n // 6 for part in PARTS}
        found = [item for part, count in shares.items() for item in sample_descriptions(count, rng=rng, part=part)]
        return RenderedScenes(found, seed=seed, size=64), encode(found)

    x_train, y_train = scenes(_NUM_TRAIN, seed=2)
    x_test, y_test = scenes(_NUM_TEST, seed=3)
    names = tuple(f"{name}: {value}" for name, values in ATTRIBUTES.items() for value in values)
    return Dataset(
        name="described_emoji",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        condition=Condition("captions", names, "described_emoji"),
    )


#: Loaders of the datasets in this module, by name.
LOADERS = {"described_emoji": _load}
