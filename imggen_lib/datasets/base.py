"""A dataset: images with labels, split into training and test images, and a description of its condition."""

from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imggen_lib import _validation as validate

__all__ = ["Condition", "Dataset"]


@dataclasses.dataclass(frozen=True)
class Condition:
    """The kind of a dataset's labels, on which a model can be conditioned.

    Attributes
    ----------
    kind : {"none", "classes", "captions"}
    names : tuple of str
        The names of the classes, or the words that the values of an encoded caption stand for.
    vocabulary : str or None
        Of captions: the module of :mod:`imggen_lib.datasets` that encodes them, such as ``"marble_captions"``.

    Examples
    --------
    >>> colours = Condition("classes", ("red", "green", "blue"))
    >>> colours.size, colours.encode(["blue", "red"])
    (3, array([2, 0]))
    """

    kind: Literal["none", "classes", "captions"]
    names: tuple[str, ...] = ()
    vocabulary: str | None = None

    @property
    def size(self) -> int | None:
        """The number of values of a model's condition, to be passed as ``num_classes``. None without a condition."""
        return None if self.kind == "none" else len(self.names)

    def encode(self, texts: str | list[str]) -> NDArray[Any]:
        """Turn class names into integers ``(n,)``, or captions into rows ``(n, size)``.

        Raises
        ------
        ValueError
            If there is no such class, a caption cannot be parsed, or the dataset has no condition.

        Examples
        --------
        >>> from imggen_lib import datasets
        >>> datasets.load("described_marbles").condition.encode("a red marble").shape
        (1, 22)
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if self.kind == "none":
            raise ValueError("this dataset has neither classes nor captions; leave the labels out")
        if self.kind == "captions":
            return self._vocabulary().encode(texts)
        return np.array([self.names.index(validate.choice(text, "class", self.names)) for text in texts])

    def sample(self, n: int, *, seed: int) -> NDArray[Any] | None:
        """Sample n conditions: classes uniformly, captions of the training set; None without a condition."""
        rng = np.random.default_rng(seed)
        if self.kind == "none":
            return None
        if self.kind == "captions":
            return self._vocabulary().sample(n, rng=rng)
        # From a stream of its own, as GenerativeModel.sample does for classes.
        return rng.spawn(1)[0].integers(len(self.names), size=n)

    def _vocabulary(self) -> ModuleType:
        return importlib.import_module(f"imggen_lib.datasets.{self.vocabulary}")

    def describe(self) -> dict[str, Any]:
        """Return the condition as plain values, for a JSON file. :meth:`from_description` is the inverse.

        Examples
        --------
        >>> Condition("none").describe()
        {'kind': 'none', 'names': [], 'vocabulary': None}
        """
        return {"kind": self.kind, "names": list(self.names), "vocabulary": self.vocabulary}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Condition:
        """Return the condition from the values of :meth:`describe`.

        Examples
        --------
        >>> colours = Condition("classes", ("red", "green"))
        >>> Condition.from_description(colours.describe()) == colours
        True
        """
        return cls(description["kind"], tuple(description["names"]), description["vocabulary"])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their labels, split into training and test images.

    Attributes
    ----------
    name : str
    x_train, x_test : numpy.ndarray
        float32 ``(n, height, width, channels)`` in [0, 1]; large folders are
        :class:`imggen_lib.datasets.folder.StoredImages`, which read images when they are indexed.
    y_train, y_test : numpy.ndarray
        int64 ``(n,)`` classes, or float32 ``(n, condition.size)`` encoded captions.
    condition : Condition
        What the labels are.

    Examples
    --------
    >>> from imggen_lib import datasets
    >>> digits = datasets.load("digits")
    >>> digits.image_shape, digits.condition.kind, digits.condition.size
    ((8, 8, 1), 'classes', 10)
    """

    name: str
    x_train: Any
    y_train: NDArray[Any]
    x_test: Any
    y_test: NDArray[Any]
    condition: Condition

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or the words of the captions."""
        return self.condition.names

    def label(self, class_name: str) -> int:
        """Return the integer of a class.

        Raises
        ------
        ValueError
            If there is no class of that name.

        Examples
        --------
        >>> from imggen_lib import datasets
        >>> datasets.load("fashion_mnist").label("sneaker")
        7
        """
        return int(self.condition.encode(class_name)[0])
