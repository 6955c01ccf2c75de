"""Exercises that check themselves: a missing answer prints a reminder and passes, a wrong answer fails with a hint."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["check"]


class _Unanswered(Exception):
    """Raised when the answer is still ``...``."""


def check(assertions: Callable[[Any], None]) -> Callable[[Any], None]:
    """Turn a function of assertions into the check of an exercise.

    The assertions are in the page, where the reader can see them. This decorator handles a missing answer and prints the
    result.

    Parameters
    ----------
    assertions : callable
        Takes the answer, a value or a function, and asserts its properties. The message of each assertion is a hint.

    Returns
    -------
    callable
        Takes the answer. Prints whether it is correct or missing, and raises ``AssertionError`` with the hint if it is
        wrong.

    Examples
    --------
    >>> @check
    ... def check_half(answer):
    ...     assert answer == 0.5, "how many times does 2 go into 1?"
    >>> check_half(...)
    Not answered yet: replace the ... and run this cell again.
    >>> check_half(0.5)
    Correct.
    >>> check_half(2)
    Traceback (most recent call last):
    ...
    AssertionError: Not yet: how many times does 2 go into 1?
    """

    @functools.wraps(assertions)
    def checked(answer: Any) -> None:
        try:
            if answer is ...:
                raise _Unanswered
            assertions(_AnswerFunction(answer) if callable(answer) else answer)
        except _Unanswered:
            print("Not answered yet: replace the ... and run this cell again.")
        except AssertionError as error:
            raise AssertionError(f"Not yet: {error}") from None
        else:
            print("Correct.")

    return checked


class _AnswerFunction:
    """A reader's function. A call that returns ``...`` means that its body is not written yet."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.function(*args, **kwargs)
        if result is ...:
            raise _Unanswered
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)
