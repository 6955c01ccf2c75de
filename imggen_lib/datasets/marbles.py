"""Datasets of rendered marbles: with classes of hue, and with captions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imggen_lib import rendering
from imggen_lib.datasets import marble_captions
from imggen_lib.datasets.base import Condition, Dataset

__all__ = ["OMISSION_RATE"]

#: The probability that a training caption of ``captioned_marbles`` leaves out a factor.
OMISSION_RATE = 0.15

# x_train, y_train, x_test, y_test
_Arrays = tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32], NDArray[Any]]

_CAPTIONS = Condition("captions", marble_captions.WORDS, vocabulary="marble_captions")


@functools.cache
def _marbles() -> Dataset:
    images, _ = rendering.render_marbles(7200, rng=0)
    labels = np.arange(7200) % len(rendering.HUES)  # render_marbles gives marble i a hue of class i % 6
    arrays = (images[:6000], labels[:6000], images[6000:], labels[6000:])
    return _read_only("marbles", arrays, Condition("classes", rendering.HUES))


@functools.cache
def _captioned_marbles() -> Dataset:
    seen, held_out = marble_captions.combinations()
    rng = np.random.default_rng(1)
    choices = rng.choice(seen, 8000)
    stated = rng.uniform(size=(8000, len(marble_captions.COUNTS))) > OMISSION_RATE
    y_train = _encode(choices) * np.repeat(stated, marble_captions.COUNTS, axis=1)
    x_train = marble_captions.render(choices, rng=rng, size=32)
    choices = rng.choice(np.concatenate([seen, held_out]), 1000)
    x_test = marble_captions.render(choices, rng=rng, size=32)
    return _read_only("captioned_marbles", (x_train, y_train, x_test, _encode(choices)), _CAPTIONS)


@functools.cache
def _described_marbles() -> Dataset:
    rng = np.random.default_rng(2)
    choices = rng.choice(np.concatenate(marble_captions.combinations()), 9000)
    images, encoded = marble_captions.render(choices, rng=rng, size=32), _encode(choices)
    arrays = (images[:8000], encoded[:8000], images[8000:], encoded[8000:])
    return _read_only("described_marbles", arrays, _CAPTIONS)


def _encode(choices: NDArray[np.intp]) -> NDArray[np.float32]:
    return marble_captions.encode([marble_captions.from_choice(choice) for choice in choices])


def _read_only(name: str, arrays: _Arrays, condition: Condition) -> Dataset:
    """Return a dataset of read-only arrays: all callers share the cached ones."""
    for array in arrays:
        array.flags.writeable = False
    return Dataset(name, *arrays, condition)


LOADERS: dict[str, Callable[..., Dataset]] = {
    "marbles": _marbles,
    "captioned_marbles": _captioned_marbles,
    "described_marbles": _described_marbles,
}
