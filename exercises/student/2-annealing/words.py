"""What the checks of all exercises share: a wrong answer is told by words alone."""

import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import wraps
from typing import Any

import numpy as np


class NotYet(AssertionError):
    """A wrong answer. Jupyter shows its words, and not the code of the check, which may give the answer away."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet. {self}"]


def in_words(check: Callable[..., None]) -> Callable[..., None]:
    """Return a check that raises `NotYet` where an assertion fails. Errors in a student's code keep their traceback.

    Warnings go to stdout, because nbgrader gives no points where a check writes to stderr.
    """

    @wraps(check)
    def told(*args: Any, **kwargs: Any) -> None:
        try:
            with redirect_stderr(sys.stdout):
                check(*args, **kwargs)
        except AssertionError as wrong:
            raise NotYet(str(wrong)) from None

    return told


def shaped(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an answer as an array, if it has a shape; () is a single number."""
    assert value is not None, f"{name} gives nothing: does the function end with `return`?"
    wanted = f"the shape {shape}" if shape else "one number"
    assert np.shape(value) == shape, f"{name} gives the shape {np.shape(value)}, expected {wanted}."
    return np.asarray(value)
