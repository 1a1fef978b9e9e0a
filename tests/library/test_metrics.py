import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from dcgmm import metrics


@given(st.integers(2, 5), st.integers(0, 2**16))
def test_dunn_index_agrees_with_its_definition(n_clusters, seed):
    rng = np.random.default_rng(seed)
    x, labels = rng.random((40, 3, 3, 1)), np.arange(40) % n_clusters * 7
    distances = cdist(x.reshape(40, 9), x.reshape(40, 9))
    same = labels[:, None] == labels
    assert metrics.dunn_index(x, labels) == pytest.approx(distances[~same].min() / distances[same].max(), rel=1e-6)


def test_compact_clusters_far_apart_score_better():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    near, far = (rng.normal(0, 1, (60, 4)) + gap * labels[:, None] for gap in (1, 20))
    assert metrics.dunn_index(far, labels) > metrics.dunn_index(near, labels)
    assert metrics.davies_bouldin(far, labels) < metrics.davies_bouldin(near, labels)


def test_one_cluster_has_no_score():
    x, labels = np.random.default_rng(0).random((5, 2)), np.zeros(5)
    assert np.isnan(metrics.dunn_index(x, labels))
    assert np.isnan(metrics.davies_bouldin(x, labels))


def test_components_in_use_win_more_than_a_stray_image():
    labels = np.repeat([0, 3, 7], [9000, 999, 1])
    assert metrics.components_in_use(labels) == 2
    assert metrics.components_in_use(labels, min_share=0) == 3


@given(st.integers(3, 12), st.integers(0, 2**16))
def test_an_interval_is_students_and_of_two_values_both(n, seed):
    values = np.random.default_rng(seed).normal(1, 2, n)
    low, high = metrics.interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert stats.ttest_1samp(values, low).pvalue == pytest.approx(0.05)
    assert metrics.interval(values[:2]) == (min(values[:2]), max(values[:2]))
    assert np.isnan(metrics.interval(values[:1])).all()
    assert metrics.interval(values, lowest=low + 1e-3, highest=high - 1e-3) == (low + 1e-3, high - 1e-3)
    assert metrics.interval(values, lowest=low - 1, highest=high + 1) == (low, high)


def test_repetitions_are_clearly_above_others_where_intervals_are_apart():
    assert metrics.clearly_above([2.0, 2.1, 2.2], [1.0, 1.1, 1.2])
    assert not metrics.clearly_above([1.0, 1.1, 1.2], [2.0, 2.1, 2.2])
    assert not metrics.clearly_above([2.0, 2.1, 2.2], [1.0, 2.0, 3.0])  # larger on average
    assert metrics.clearly_above([5.0, 5.0, 5.0], [1.0, 2.0, 1.5])  # no spread is an interval, too
    assert metrics.clearly_above([2.0], [1.0]) and not metrics.clearly_above([1.0], [2.0])


def test_the_judge_tells_new_images_of_two_classes_apart(images):
    labels = np.arange(40) % 2
    striped = images + labels[:, None, None, None] * (np.arange(28) % 2)[:, None]
    judge = metrics.judge(striped[:20], labels[:20])
    assert judge.score(striped[20:].reshape(20, -1), labels[20:]) == 1


def test_blurred_images_are_less_sharp_and_scaling_grey_values_scales_sharpness(images):
    blurred = gaussian_filter(images, (0, 1, 1, 0))
    assert metrics.sharpness(blurred) < metrics.sharpness(images)
    assert metrics.sharpness(images / 2) == pytest.approx(metrics.sharpness(images) / 2)


def test_nearest_distances_leave_out_an_image_itself_and_are_rms_over_pixels(images):
    assert metrics.nearest_distance(images, images) == pytest.approx(0, abs=1e-6)
    assert metrics.nearest_distance(images[:1], images[:1] + 0.25) == pytest.approx(0.25)
    rms = cdist(images.reshape(40, -1), images.reshape(40, -1)) / 28 + np.diag(np.full(40, np.inf))
    assert metrics.nearest_distance(images) == pytest.approx(rms.min(axis=1).mean())
