"""The protocol's comparisons find what is there, and err as rarely as they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dcgmm.experiments import protocol
from dcgmm.experiments.protocol import FAILS, HOLDS, UNDECIDED, Comparison, Part, compare, judge

RNG = np.random.default_rng(0)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)
SPREAD = np.linspace(-1, 1, 10)


def outcome(kind, differences, margin=0.1):
    return judge({"C": [Part(kind, Comparison(np.asarray(differences), margin))]})["C"]


@pytest.mark.parametrize(
    ("kind", "mean", "width", "expected"),
    [
        ("better", 1.0, 0.1, HOLDS),
        ("better", 0.05, 0.01, FAILS),  # significant, and too small to matter
        ("better", 0.0, 0.01, FAILS),
        ("better", -1.0, 0.1, FAILS),
        ("better", 0.1, 1.0, UNDECIDED),
        ("better", -0.05, 0.1, FAILS),  # every gain that matters is excluded
        ("as good", 1.0, 0.1, HOLDS),
        ("as good", 0.1, 0.1, HOLDS),  # neither better nor equal is shown, but worse is excluded
        ("as good", -0.05, 0.01, HOLDS),
        ("as good", 0.0, 1.0, UNDECIDED),
        ("as good", -1.0, 0.1, FAILS),
        ("not worse", 0.0, 1.0, HOLDS),
        ("not worse", -1.0, 0.1, FAILS),
        ("above", 0.3, 0.1, HOLDS),
        ("above", 0.0, 0.1, UNDECIDED),
        ("above", -0.01, 0.001, FAILS),
    ],
)
def test_a_statement_follows_from_the_interval_and_the_margin(kind, mean, width, expected):
    assert outcome(kind, mean + width * SPREAD) == expected


def test_what_is_not_there_is_shown_as_rarely_as_the_level_says():
    found = [outcome("better", RNG.normal(size=10), margin=0.0) for _ in range(800)]
    assert 0.005 < found.count(HOLDS) / 800 < 0.04
    found = [outcome("better", 1 + RNG.normal(size=10), margin=1.0) for _ in range(800)]
    assert found.count(FAILS) / 800 < 0.04
    found = [outcome("as good", RNG.normal(size=10) - 1, margin=1.0) for _ in range(800)]
    assert found.count(HOLDS) / 800 < 0.04


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=8))
def test_a_statement_and_its_opposite_never_both_hold(differences):
    found = [outcome("better", np.array(sign) * differences) for sign in (1, -1)]
    assert found != [HOLDS, HOLDS]


def test_p_is_the_larger_one_of_students_and_of_the_exact_test():
    assert compare(SPREAD + 9, 0, 0).p == pytest.approx(2 / 2**10)  # Student's is far smaller
    skewed = np.array([0.0, 0.0, 0.0, 0.0, 0.1, 9.0])
    assert compare(skewed, 0, 0).p >= stats.ttest_1samp(skewed, 0).pvalue
    exact = stats.permutation_test((skewed,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert compare(skewed, 0, 0).p >= exact - 1e-12


def test_less_can_be_better_and_pairs_matter():
    a, b = np.array([1.0, 5.0, 9.0]), np.array([1.5, 5.6, 9.4])
    np.testing.assert_allclose(compare(a, b, 0.1, less_is_better=True).differences, [0.5, 0.6, 0.4])
    np.testing.assert_array_equal(compare(a, b, 0.1).differences, a - b)
    with pytest.raises(ValueError, match=r"same repetitions, received shapes \(3,\) and \(2,\)"):
        compare(a, b[:2], 0.1)


def test_equal_repetitions_have_no_width():
    assert compare(np.full(5, 0.2), 0, 0.1).interval().tolist() == [0.2, 0.2]
    assert outcome("better", np.full(5, 0.2)) == HOLDS
    assert compare(np.zeros(5), 0, 0.1).p == 1


def test_what_is_not_defined_is_undecided_and_another_part_can_still_refute():
    undefined = np.array([1.0, np.nan, 1.0])
    assert all(outcome(kind, undefined) == UNDECIDED for kind in protocol.KINDS)
    parts = [Part("better", Comparison(undefined, 0.1)), Part("better", Comparison(SPREAD - 9, 0.1))]
    assert judge({"C": parts}) == {"C": FAILS}


def test_joined_parts_must_all_hold_and_one_is_enough_to_refute():
    better, worse, open_ = (Part("better", Comparison(mean + SPREAD, 0.1)) for mean in (3, -3, 0.3))
    assert judge({"C": [better, better]}) == {"C": HOLDS}
    assert judge({"C": [better, open_]}) == {"C": UNDECIDED}
    assert judge({"C": [better, open_, worse]}) == {"C": FAILS}


def test_joined_parts_share_the_level_when_they_refute():
    """Five statements at their margins: one of five parts refutes as rarely as a single one."""
    found = [
        judge({"C": [Part("better", Comparison(1 + RNG.normal(size=10), 1.0)) for _ in range(5)]})["C"]
        for _ in range(300)
    ]
    assert found.count(FAILS) / 300 < 0.05


@given(P_VALUES)
def test_holm_is_between_bonferroni_and_no_correction_and_keeps_the_order(p_values):
    found, n = protocol.significant(p_values), len(p_values)
    for p, is_significant in zip(p_values, found, strict=True):
        assert (p <= 0.05 / n) <= is_significant <= (p <= 0.05)
    accepted = [p for p, yes in zip(p_values, found, strict=True) if yes]
    refused = [p for p, yes in zip(p_values, found, strict=True) if not yes]
    assert not accepted or not refused or max(accepted) < min(refused)


def test_the_correction_is_over_the_statements_of_a_claim():
    one = [Part("better", Comparison(SPREAD + 0.53, 0.0))]
    p = one[0].comparison.p
    assert 0.025 < p < 0.05
    assert judge({"a": one}) == {"a": HOLDS}
    assert judge({"a": one, "b": one}) == {"a": UNDECIDED, "b": UNDECIDED}
    assert judge({"a": one * 3}) == {"a": HOLDS}  # parts of one statement need no correction to hold


@pytest.mark.parametrize("differences", [[1.0, 2.0], [[1.0, 2.0, 3.0]], [1.0, np.inf, 2.0]])
def test_repetitions_that_do_not_fit_are_refused(differences):
    with pytest.raises(ValueError, match="differences must be"):
        Comparison(np.array(differences), 0.1)


def test_a_statement_has_a_known_kind_and_a_part():
    with pytest.raises(ValueError, match="kind"):
        Part("equal", Comparison(SPREAD, 0.1))
    with pytest.raises(ValueError, match="at least one part, received none for \\['C'\\]"):
        judge({"C": []})
