"""Latents or tokens of images, which a trained autoencoder computes once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoded"]


class Encoded:
    """The codes of images. The code of an image is computed when it is indexed for the first time, and then kept.

    A model that is trained on the latents or tokens of an autoencoder, whose weights do not change, needs the same codes in
    each epoch. All of them are kept in memory.

    Parameters
    ----------
    images : array_like
        ``(n, height, width, channels)``; anything that can be indexed by an array of integers.
    encode : callable
        From images to an array with one code for each.

    Examples
    --------
    >>> codes = Encoded(np.arange(12.0).reshape(3, 2, 2, 1), lambda images: images.mean(axis=(1, 2, 3)))
    >>> len(codes), codes[np.array([2, 0])].tolist()
    (3, [9.5, 1.5])
    """

    def __init__(self, images: Any, encode: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self.images, self.encode = images, encode
        self.known = np.zeros(len(images), bool)
        self.codes: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        missing = rows[~self.known[rows]]
        if len(missing):
            found = self.encode(self.images[missing])
            if self.codes is None:
                self.codes = np.empty((len(self), *found.shape[1:]), found.dtype)
            self.codes[missing] = found
            self.known[missing] = True
        assert self.codes is not None
        return self.codes[rows]
