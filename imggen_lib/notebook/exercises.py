"""Exercises that check themselves: an unfilled answer says so and passes, a wrong one fails with a hint."""

import functools


class _Unanswered(Exception):
    """Raised when a check meets an answer that is still ``...``."""


def check(assertions):
    """Turn a function of assertions into a check of an answer.

    The assertions stand in the page where the reader can see them; this adds what happens before and after them.

    Parameters
    ----------
    assertions : callable
        Takes the answer (a value or a function) and asserts what must hold; each message is a hint.

    Returns
    -------
    callable
        Takes the answer. Prints whether it is right, or that it is not there yet, and raises ``AssertionError`` with
        the hint if it is wrong.

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
    def checked(answer):
        try:
            if answer is ...:
                raise _Unanswered
            assertions(_Watched(answer) if callable(answer) else answer)
        except _Unanswered:
            print("Not answered yet: replace the ... and run this cell again.")
        except AssertionError as error:
            raise AssertionError(f"Not yet: {error}") from None
        else:
            print("Correct.")

    return checked


class _Watched:
    """A reader's function, watched for the ``...`` that it returns as long as its body is not written."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **kwargs):
        result = self.function(*args, **kwargs)
        if result is ...:
            raise _Unanswered
        return result

    def __getattr__(self, name):
        return getattr(self.function, name)
