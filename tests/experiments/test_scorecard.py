"""The scorecard compares orders exactly and knows what a constant guess would reach."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dcgmm.experiments import scorecard
from dcgmm.experiments.protocol import FAILS, HOLDS, UNDECIDED
from dcgmm.experiments.scorecard import INDICES, INSTANCES, rank_correlation, readings, rows
from dcgmm.experiments.statements import NO_OUTCOME

RNG = np.random.default_rng(0)


def repeated(dataset, noise=1e-4, n=10, blank="3L-b", sign=1, level=0.0):
    """Return repetitions that have the paper's values, for one reading of the blank, with a little noise."""
    columns = {}
    for index, (column, _) in INDICES.items():
        by_reading = readings(dataset, index)
        printed = by_reading.get(f"blank under {blank}", by_reading.get("as printed"))
        centre = (
            printed.mean() + sign * (printed.reindex(INSTANCES, fill_value=printed.mean()) - printed.mean()) + level
        )
        columns[column] = (centre.to_numpy()[:, None] + RNG.normal(0, noise, (8, n))).ravel()
    index = pd.MultiIndex.from_product([INSTANCES, range(n)], names=["instance", "repetition"])
    return pd.DataFrame(columns, index=index).assign(components_in_use=20, components=25)


@pytest.mark.parametrize("ties", [False, True])
def test_a_rank_correlation_is_spearmans_and_its_p_counts_all_orders(ties):
    first, second = RNG.random(6), RNG.integers(0, 3, 6) if ties else RNG.random(6)
    found = rank_correlation(first, second)
    assert found.value == pytest.approx(stats.spearmanr(first, second).statistic)
    others = [stats.spearmanr(order, second).statistic for order in itertools.permutations(first)]
    assert found.p == pytest.approx(np.mean(np.array(others) >= found.value - 1e-9))


def test_equal_values_have_no_order():
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]).value)
    assert not rank_correlation([1, 1, 1], [1, 2, 3]).significant


def test_the_papers_own_values_reproduce_the_table():
    table = rows(repeated("fashion_mnist"), "fashion_mnist")
    assert set(table.order) == {HOLDS} == set(table.level)
    assert (table.difference < table["difference of a constant"]).all()


def test_the_opposite_order_and_another_level_do_not():
    table = rows(repeated("fashion_mnist", sign=-1, level=1.0), "fashion_mnist")
    assert set(table.order) == {FAILS} == set(table.level)


def test_the_sentence_says_whether_the_table_is_reproduced():
    own, other = (
        rows(repeated("fashion_mnist"), "fashion_mnist"),
        rows(repeated("fashion_mnist", sign=-1, level=1.0), "fashion_mnist"),
    )
    assert "is reproduced (" in scorecard.in_words(own) and "is not reproduced" in scorecard.in_words(other)
    assert "in part" in scorecard.in_words(own.assign(order=FAILS))
    assert "is undecided" in scorecard.in_words(own.assign(order=UNDECIDED, level=UNDECIDED))
    assert "not decided yet" in scorecard.in_words(rows(repeated("mnist", n=9), "mnist"))


def test_an_order_that_repetitions_do_not_agree_on_is_undecided():
    assert set(rows(repeated("fashion_mnist", noise=10.0), "fashion_mnist").order) == {UNDECIDED}


def test_both_readings_of_the_blank_stand_in_the_table_and_must_agree():
    table = rows(repeated("mnist"), "mnist")
    assert list(table.index.get_level_values("reading")) == ["blank under 3L-b", "blank under 3L-a"] * 2
    assert (table.groupby(level="index").order.nunique() == 1).all()


def test_there_is_no_outcome_before_ten_repetitions():
    for n in (1, 2, 9):
        table = rows(repeated("mnist", n=n), "mnist")
        assert set(table.order) == {NO_OUTCOME} == set(table.level)


def test_a_cell_holds_the_papers_value_and_the_worst_of_ours():
    numbers = repeated("mnist", noise=0.1)
    table = scorecard.cells(numbers, "mnist")
    assert table["Dunn, paper"]["2L-d"] == 0.19
    assert np.isnan(table["Dunn, paper"]["3L-b"])
    assert table["Dunn, worst"]["2L-a"] == numbers.dunn["2L-a"].min()
    assert table["Davies–Bouldin, worst"]["2L-a"] == numbers.davies_bouldin["2L-a"].max()
