"""How the protocol of the verdicts (docs/protocol.md) compares two things, and what follows for a statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from dcgmm import arguments

LEVEL = 0.05
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
KINDS = ("better", "as good", "not worse", "above")


@dataclass(frozen=True)
class Comparison:
    """The differences of two things in paired repetitions; positive where the first one is better.

    Args:
        differences: one of each repetition (n,), at least three. NaN: a measure is not defined there.
        margin: differences up to this one do not matter, ≥ 0.

    Raises:
        ValueError: if an argument does not fit.

    Example:
        >>> found = compare([0.9, 0.92, 0.91, 0.9], [0.8, 0.81, 0.83, 0.8], margin=0.01)
        >>> found.interval().round(2).tolist(), round(found.p, 3)
        ([0.08, 0.12], 0.125)
    """

    differences: np.ndarray
    margin: float

    def __post_init__(self) -> None:
        """Refuse arguments that do not fit."""
        arguments.number("margin", self.margin, at_least=0)
        if np.ndim(self.differences) != 1 or len(self.differences) < 3 or np.isinf(self.differences).any():
            expected = "one finite value of each of at least three repetitions"
            raise arguments.refusal("differences", expected, self.differences)

    @property
    def defined(self) -> bool:
        """Whether the measure is defined in all repetitions."""
        return not np.isnan(self.differences).any()

    def interval(self, level: float = LEVEL) -> np.ndarray:
        """Return Student's interval of the mean difference, an array (low, high).

        Args:
            level: the chance that it does not hold the mean. Default 0.05.
        """
        mean, error = np.mean(self.differences), stats.sem(self.differences)
        return mean + np.array([-1, 1]) * error * stats.t.isf(level / 2, len(self.differences) - 1)

    @property
    def p(self) -> float:
        """The larger two-sided p-value of Student's test and of the exact sign-flip test that the mean is 0."""
        if np.ptp(self.differences) == 0:
            return float(self.differences[0] == 0)
        signs = 1 - 2 * (np.arange(2 ** len(self.differences))[:, None] >> np.arange(len(self.differences)) & 1)
        sums = np.abs(signs @ self.differences)
        flipped = np.mean(sums >= np.abs(self.differences.sum()) * (1 - 1e-9))
        return float(max(flipped, stats.ttest_1samp(self.differences, 0).pvalue))

    @property
    def matters(self) -> bool:
        """Whether the 95 % interval reaches beyond the margin."""
        return bool(np.abs(self.interval()).max() > self.margin)


def compare(values: Any, others: Any, margin: float, less_is_better: bool = False) -> Comparison:
    """Compare two things over paired repetitions.

    Args:
        values: one value of each repetition (n,).
        others: the values of the other thing in the same repetitions, or one value that it always has.
        margin: differences up to this one do not matter, ≥ 0.
        less_is_better: whether the smaller value is the better one. Default False.

    Raises:
        ValueError: if the repetitions are not as many, are fewer than three, or a value is infinite.

    Example:
        >>> compare([1.0, 2.0, 3.0], 4.0, margin=0.1, less_is_better=True).differences.tolist()
        [3.0, 2.0, 1.0]
    """
    values, others = np.asarray(values, "float64"), np.asarray(others, "float64")
    if others.ndim and values.shape != others.shape:
        raise ValueError(
            f"values and others must be of the same repetitions, received shapes {values.shape} and {others.shape}"
        )
    return Comparison(others - values if less_is_better else values - others, margin)


@dataclass(frozen=True)
class Part:
    """A comparison and what a statement says of it.

    Args:
        kind: how it is decided, with the interval of the comparison.

            - `"better"`: it holds if the difference is significantly above 0 and matters; it is refuted if the upper
              end is below the margin.
            - `"as good"`: it holds if the lower end is above −margin; it is refuted if the interval is below 0 and
              matters.
            - `"not worse"`: it is refuted as `"as good"`, and holds otherwise.
            - `"above"`: it holds if the lower end is above 0, and is refuted if the upper end is below 0. The others
              are a bound.
        comparison: the comparison.
    """

    kind: str
    comparison: Comparison

    def __post_init__(self) -> None:
        """Refuse an unknown kind."""
        arguments.one_of("kind", self.kind, KINDS)

    def refuted(self, level: float) -> bool:
        """Return whether the comparison refutes the part, at a level that several parts may have to share."""
        if not self.comparison.defined:
            return False
        low, high = self.comparison.interval(level)
        if self.kind == "better":
            return bool(high < self.comparison.margin)
        return bool(high < 0) and (self.kind == "above" or self.comparison.matters)

    def holds(self, significant: bool) -> bool:
        """Return whether the comparison shows the part.

        Args:
            significant: whether the statement's p-value is significant after Holm's correction.
        """
        if not self.comparison.defined:
            return False
        low = self.comparison.interval()[0]
        return {
            "better": significant and low > 0 and self.comparison.matters,
            "as good": low > -self.comparison.margin,
            "not worse": not self.refuted(LEVEL),
            "above": low > 0,
        }[self.kind]


def significant(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Return which of several p-values are significant by Holm's correction.

    Example:
        >>> significant([0.04, 0.01, 0.02])
        [True, True, True]
        >>> significant([0.04, 0.01, 0.03])
        [False, True, False]
    """
    found, order = [False] * len(p_values), np.argsort(p_values, kind="stable")
    for rank, index in enumerate(order):
        if p_values[index] > level / (len(p_values) - rank):
            break
        found[index] = True
    return found


def judge(statements: Mapping[str, Sequence[Part]]) -> dict[str, str]:
    """Return the outcome of each statement of a claim on one data set: holds, does not hold, or undecided.

    A statement holds if each of its parts does, and does not hold if one part is refuted. Its p-value is the largest
    one of its parts of the kind "better"; Holm's correction is over the statements that have such a part.

    Args:
        statements: the parts of each statement, by its name.

    Raises:
        ValueError: if a statement has no part.

    Example:
        >>> found = compare([0.9, 0.92, 0.91, 0.9, 0.92, 0.91], 0.8, margin=0.01)
        >>> judge({"C2.1": [Part("better", found)]})
        {'C2.1': 'holds'}
    """
    if empty := [name for name, parts in statements.items() if not parts]:
        raise ValueError(f"a statement needs at least one part, received none for {empty}")
    p_values = {
        name: max(part.comparison.p if part.comparison.defined else 1.0 for part in parts if part.kind == "better")
        for name, parts in statements.items()
        if any(part.kind == "better" for part in parts)
    }
    shown = dict(zip(p_values, significant(list(p_values.values())), strict=True))
    outcomes = {}
    for name, parts in statements.items():
        if any(part.refuted(LEVEL / len(parts)) for part in parts):
            outcomes[name] = FAILS
        else:
            outcomes[name] = HOLDS if all(part.holds(shown.get(name, False)) for part in parts) else UNDECIDED
    return outcomes
