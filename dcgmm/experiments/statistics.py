"""Statistics of repetitions: intervals, and whether one result is clearly above another."""

from typing import Any

import numpy as np
from scipy import stats


def interval(values: Any, lowest: float = -np.inf, highest: float = np.inf) -> tuple[float, float]:
    """Return Student's 95 % confidence interval of the mean of repetitions.

    Args:
        values: one value of each repetition.
        lowest: the lowest possible mean; the interval does not go below it. Default: no bound.
        highest: the highest possible mean; the interval does not go above it. Default: no bound.

    Returns:
        (low, high). For two repetitions it is their two values, because the interval would be thirteen times as wide
        as their difference. For one repetition it is (NaN, NaN).
    """
    values = np.asarray(values, "float64")
    if len(values) < 2:
        return float("nan"), float("nan")
    if len(values) == 2:
        return float(values.min()), float(values.max())
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(max(low, lowest)), float(min(high, highest))


def clearly_above(values: Any, others: Any) -> bool:
    """Return whether the whole `interval` of some repetitions is above the `interval` of others.

    If one of the two has a single repetition, the means are compared.

    Args:
        values: one value of each repetition.
        others: one value of each of the other repetitions.
    """
    if min(len(values), len(others)) < 2:
        return bool(np.mean(values) > np.mean(others))
    return interval(values)[0] > interval(others)[1]


def describe(values: Any, digits: int = 2, **bounds: float) -> str:
    """Return the mean of repetitions as text, followed by their `interval` in brackets if there is one.

    Args:
        values: one value of each repetition.
        digits: the number of digits after the decimal point. Default 2.
        **bounds: `lowest` and `highest`, as in `interval`.
    """
    low, high = interval(values, **bounds)
    bracket = "" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{np.mean(values):.{digits}f}{bracket}"
