import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dcgmm.experiments import statistics


@given(st.integers(3, 12), st.integers(0, 2**16))
def test_an_interval_is_students_and_of_two_values_both(n, seed):
    values = np.random.default_rng(seed).normal(1, 2, n)
    low, high = statistics.interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert stats.ttest_1samp(values, low).pvalue == pytest.approx(0.05)
    assert statistics.interval(values[:2]) == (min(values[:2]), max(values[:2]))
    assert np.isnan(statistics.interval(values[:1])).all()
    assert statistics.interval(values, lowest=low + 1e-3, highest=high - 1e-3) == (low + 1e-3, high - 1e-3)
    assert statistics.interval(values, lowest=low - 1, highest=high + 1) == (low, high)
