"""Statistics of repetitions: intervals, and when one result is clearly above another."""

import numpy as np
from scipy import stats


def interval(values, lowest=-np.inf, highest=np.inf):
    """Return (low, high) of repetitions: Student's 95 % confidence interval of their mean.

    Of two repetitions, whose interval would be thirteen times as wide as they are apart, both values; of one, NaN.

    Args:
        values: one of each repetition.
        lowest: what no mean can be below, where the interval ends, too. Default: no bound.
        highest: what no mean can be above. Default: no bound.
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


def clearly_above(values, others):
    """Return whether the `interval` of repetitions lies wholly above that of others; of one each, the value itself."""
    if min(len(values), len(others)) < 2:
        return bool(np.mean(values) > np.mean(others))
    return interval(values)[0] > interval(others)[1]


def describe(values, digits=2, **bounds):
    """Return the mean of repetitions as text, followed by their `interval` in brackets where there is one.

    Args:
        values: one of each repetition.
        digits: behind the decimal point. Default 2.
        **bounds: `lowest` and `highest`, as in `interval`.
    """
    low, high = interval(values, **bounds)
    bracket = "" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{np.mean(values):.{digits}f}{bracket}"
