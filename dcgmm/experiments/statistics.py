"""Statistics of repetitions: intervals, and whether one result is clearly above another."""

from typing import Any

import numpy as np
from scipy import stats

from dcgmm import arguments


def interval(values: Any, lowest: float = -np.inf, highest: float = np.inf) -> tuple[float, float]:
    """Return Student's 95 % confidence interval of the mean of repetitions.

    Args:
        values: one value of each repetition, at least one. NaN stands for a number that is not defined.
        lowest: the lowest possible mean; the interval does not go below it. Default: no bound.
        highest: the highest possible mean; the interval does not go above it. Default: no bound.

    Raises:
        ValueError: if there are no values, one is no number or infinite, or the mean is not within the bounds.

    Returns:
        (low, high). For two repetitions it is their two values, because the interval would be thirteen times as wide
        as their difference. For one repetition, or if a value is NaN, it is (NaN, NaN).
    """
    values = _repetitions("values", values)
    if not _is_bound(lowest) or not _is_bound(highest) or lowest > highest:
        expected = "lowest and highest must be numbers with lowest <= highest"
        raise ValueError(f"{expected}, received {arguments.shown(lowest)} and {arguments.shown(highest)}")
    if np.any(np.isnan(values)):
        return float("nan"), float("nan")
    if not lowest <= values.mean() <= highest:
        raise ValueError(
            f"values must have a mean from lowest = {lowest} to highest = {highest}, received the mean {values.mean()}"
        )
    if len(values) < 2:
        return float("nan"), float("nan")
    if len(values) == 2:
        return float(values.min()), float(values.max())
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(max(low, lowest)), float(min(high, highest))


def describe(values: Any, digits: int = 2, **bounds: float) -> str:
    """Return the mean of repetitions as text, followed by their `interval` in brackets if there is one.

    Args:
        values: one value of each repetition.
        digits: the number of digits after the decimal point, from 0 to 20. Default 2.
        **bounds: `lowest` and `highest`, as in `interval`.

    Raises:
        ValueError: as `interval`, or if `digits` is no such integer or a bound has another name.
    """
    digits = arguments.integer("digits", digits, at_least=0, at_most=20)
    bounds = arguments.known_keys("bounds", bounds, ("lowest", "highest"))
    low, high = interval(values, **bounds)
    bracket = "" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{np.mean(values):.{digits}f}{bracket}"


def in_words(n: int) -> str:
    """Return a number of repetitions in words, for captions.

    Example:
        >>> in_words(1), in_words(10)
        ('1 repetition', '10 repetitions')
    """
    return f"{n} repetition{'s' * (n != 1)}"


def _repetitions(name, value):
    """Return one value of each repetition as an array of float64."""
    values = arguments.array(name, value, "(repetitions,)", finite=False).astype("float64")
    if np.any(np.isinf(values)):
        raise ValueError(f"{name} must be finite, received {values[np.isinf(values)][0]} among {len(values)} values")
    return values


def _is_bound(value):
    return arguments.is_number(value) and not np.isnan(value)
