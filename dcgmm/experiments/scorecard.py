"""The scorecard of Table II, as docs/protocol.md fixes it: each cell, the order of each row, and its level."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dcgmm.architectures import ARCHITECTURES, PAPER_CLUSTERING
from dcgmm.experiments.protocol import FAILS, HOLDS, LEVEL, UNDECIDED
from dcgmm.experiments.statements import NO_OUTCOME, REPETITIONS

INSTANCES = list(ARCHITECTURES)
# The columns of the paper's table, and what the worst of several repetitions is.
INDICES = {"Dunn": ("dunn", "min"), "Davies–Bouldin": ("davies_bouldin", "max")}


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of two rows of numbers, and its one-sided p-value over all orders of one of them.

    Args:
        value: from −1 to 1; NaN where all numbers of a row are equal.
        p: the share of orders that give at least this value.
    """

    value: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether it is above 0 at a level of 5 %."""
        return self.p <= LEVEL


def rank_correlation(first: Any, second: Any) -> RankCorrelation:
    """Return the rank correlation of two rows of up to nine numbers; equal numbers share their mean rank.

    Example:
        >>> rank_correlation([1, 2, 3, 4], [10, 20, 30, 40])
        RankCorrelation(value=1.0, p=0.041666666666666664)
    """
    ranks = [stats.rankdata(row) for row in (first, second)]
    if any(np.ptp(row) == 0 for row in ranks):
        return RankCorrelation(float("nan"), 1.0)
    centred = [row - row.mean() for row in ranks]
    other = centred[1] / np.prod([np.linalg.norm(row) for row in centred])
    found = stats.permutation_test(
        (centred[0],),
        lambda rows, axis: np.sum(rows * other, axis=axis),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    return RankCorrelation(float(found.statistic.round(12)), float(found.pvalue))


def readings(dataset: str, index: str) -> dict[str, pd.Series]:
    """Return the paper's row of an index, by instance without a blank, for each way to read the blank of MNIST's rows.

    Args:
        dataset: `"mnist"` or `"fashion_mnist"`.
        index: a key of `INDICES`.

    Example:
        >>> {name: row.index[-1] for name, row in readings("mnist", "Dunn").items()}
        {'blank under 3L-b': '3L-a', 'blank under 3L-a': '3L-b'}
    """
    printed = _printed(dataset, INDICES[index][0])
    if printed.notna().all():
        return {"as printed": printed}
    values = printed.dropna().to_numpy()
    return {
        f"blank under {blank}": pd.Series(values, index=[name for name in INSTANCES if name != blank])
        for blank in ("3L-b", "3L-a")
    }


def _printed(dataset, column):
    """Return the paper's row of Table II by instance; NaN: the blank."""
    return pd.Series(PAPER_CLUSTERING[dataset][column], index=INSTANCES, dtype="float64")


def cells(repeated: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the scorecard's cells, a row for each instance.

    Args:
        repeated: the numbers of all repetitions on all classes, with the index levels instance and repetition.
        dataset: `"mnist"` or `"fashion_mnist"`.
    """
    by_instance = repeated.groupby(level=0, sort=False)
    columns: dict[str, Any] = {}
    for index, (column, worst) in INDICES.items():
        printed = _printed(dataset, column)
        of_index = by_instance[column]
        columns |= {
            f"{index}, paper": printed,
            f"{index}, worst": of_index.agg(worst),
            f"{index}, mean": of_index.mean(),
            f"{index}, sd": of_index.std(),
        }
    columns |= {"in use": by_instance.components_in_use.mean(), "of": by_instance.components.first()}
    return pd.DataFrame(columns).loc[INSTANCES].rename_axis("instance")


def rows(repeated: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the outcomes of each row of the paper's table, a row for each index and reading of the blank.

    Before ten repetitions are complete, a row has no outcome: `NO_OUTCOME`.

    Args:
        repeated: as for `cells`.
        dataset: `"mnist"` or `"fashion_mnist"`.

    Returns:
        A table with the rank correlation of our worst values with the paper's and its p; the lowest and highest of
        single repetitions; the ceiling, which is the correlation of the worst of our first with that of our last five
        repetitions, and its p; the mean absolute differences of our table, and of one with the row's mean in each
        cell, from the paper's; and two outcomes, `order` and `level`, which agree for both readings of a blank.
    """
    found = []
    for index, (column, worst) in INDICES.items():
        values = repeated[column].unstack("repetition").loc[INSTANCES]  # a row for each instance
        complete = values.shape[1] >= REPETITIONS
        of_index = [
            {"index": index, "reading": reading, **_compared(values, printed, worst)}
            for reading, printed in readings(dataset, index).items()
        ]
        for name in ("order", "level"):
            several = {row[name] for row in of_index}
            outcome = several.pop() if len(several) == 1 else UNDECIDED
            for row in of_index:
                row[name] = outcome if complete else NO_OUTCOME
        found += of_index
    return pd.DataFrame(found).set_index(["index", "reading"])


def in_words(found: pd.DataFrame) -> str:
    """Return a sentence on whether Table II is reproduced, from the table that `rows` returns."""
    outcomes = set(found[["order", "level"]].to_numpy().flat)
    if outcomes == {HOLDS}:
        answer = "is reproduced"
    elif HOLDS in outcomes:
        answer = "is reproduced in part"
    elif FAILS in outcomes:
        answer = "is not reproduced"
    else:
        answer = "is not decided yet" if NO_OUTCOME in outcomes else "is undecided"
    by_index = found.groupby(level="index", sort=False).first()
    parts = [f"{index}: order {row.order}, level {row.level}" for index, row in by_index.iterrows()]
    return f"**Table II** {answer} ({'; '.join(parts)})."


def _compared(values, printed, worst):
    """Return one row of `rows`, for the values of all repetitions (instances × repetitions) and a reading."""
    values = values.loc[printed.index]
    ours, half = values.agg(worst, axis=1), values.shape[1] // 2
    order = rank_correlation(ours, printed)
    halves = [part.agg(worst, axis=1) for part in (values.iloc[:, :half], values.iloc[:, half:])] if half else None
    ceiling = rank_correlation(*halves) if halves else RankCorrelation(float("nan"), 1.0)
    single = values.apply(lambda one: rank_correlation(one, printed).value)
    away, constant = float((ours - printed).abs().mean()), float((printed - printed.mean()).abs().mean())
    decided = HOLDS if order.significant else FAILS
    return {
        "rank correlation": order.value,
        "p": order.p,
        "lowest": single.min(),
        "highest": single.max(),
        "ceiling": ceiling.value,
        "p of the ceiling": ceiling.p,
        "difference": away,
        "difference of a constant": constant,
        "order": decided if ceiling.significant else UNDECIDED,
        "level": HOLDS if away < constant else FAILS,
    }
