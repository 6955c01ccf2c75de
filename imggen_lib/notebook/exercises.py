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
        Takes the answer. Prints whether it is correct or missing. Raises ``AssertionError`` with the hint if it is wrong,
        and with the type of the answer, or of the value that a function returned, if the check cannot compute with it. An
        error inside the reader's own function is raised as it is.

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
        checked_answer = _AnswerFunction(answer) if callable(answer) else answer
        try:
            if answer is ...:
                raise _Unanswered
            assertions(checked_answer)
        except _Unanswered:
            print("Not answered yet: replace the ... and run this cell again.")
        except AssertionError as error:
            raise AssertionError(f"Not yet: {error}") from None
        except Exception as error:
            kind = f"of type {type(answer).__name__}"
            if isinstance(checked_answer, _AnswerFunction):
                if checked_answer.error is error:
                    raise
                if checked_answer.returned:
                    kind = f"that returns a value of type {checked_answer.returned}"
            raise AssertionError(
                f"Not yet: the check cannot use an answer {kind} here ({error}). Compare the type "
                "and the shape of the answer, or the arguments of your function, with what the exercise asks for."
            ) from None
        else:
            print("Correct.")

    return checked


class _AnswerFunction:
    """A reader's function. A call that returns ``...`` means that its body is not written yet.

    ``error`` is the exception that was raised in the body of the function, if there was one. An exception that the call
    itself raises, because the arguments do not fit, has a traceback that ends in this class and is not stored. ``returned``
    is the name of the type of the last result, and empty if the last call failed.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.error: Exception | None = None
        self.returned = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.returned = ""
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:
            if error.__traceback__ and error.__traceback__.tb_next:
                self.error = error
            raise
        if result is ...:
            raise _Unanswered
        self.returned = type(result).__name__
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)
