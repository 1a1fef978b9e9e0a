import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from dcgmm import load_pretrained, metrics


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


def test_the_classifier_tells_new_images_of_two_classes_apart(images):
    labels = np.arange(40) % 2
    striped = images + labels[:, None, None, None] * (np.arange(28) % 2)[:, None]
    classifier = metrics.image_classifier(striped[:20], labels[:20])
    assert classifier.score(striped[20:].reshape(20, -1), labels[20:]) == 1


def test_blurred_images_are_less_sharp_and_scaling_grey_values_scales_sharpness(images):
    blurred = gaussian_filter(images, (0, 1, 1, 0))
    assert metrics.sharpness(blurred) < metrics.sharpness(images)
    assert metrics.sharpness(images / 2) == pytest.approx(metrics.sharpness(images) / 2)


def test_nearest_distances_leave_out_an_image_itself_and_are_rms_over_blurred_pixels(images):
    assert metrics.nearest_distance(images, images) == pytest.approx(0, abs=1e-6)
    half = images[:1] / 2
    assert metrics.nearest_distance(half, half + 0.25) == pytest.approx(0.25)
    assert metrics.nearest_distance(half + 5, half + 9) == pytest.approx(0, abs=1e-6)  # both are shown as white
    blurred = gaussian_filter(images.astype("float64"), (0, 1, 1, 0), mode="nearest").reshape(40, -1)
    rms = cdist(blurred, blurred) / 28 + np.diag(np.full(40, np.inf))
    assert metrics.nearest_distance(images) == pytest.approx(rms.min(axis=1).mean())


def test_duplicates_are_the_samples_of_one_component_of_a_flat_mixture_whatever_their_grain():
    for dataset in ("mnist", "fashion_mnist"):
        model = load_pretrained("1L", dataset, classes="0-4")
        samples, centroids = (model.sample(100, top_s=1, noise=noise, seed=3) for noise in (1, 0))
        components = np.unique(centroids, axis=0, return_inverse=True)[1].ravel()
        groups = metrics.duplicate_groups(samples)
        same, found = (values[:, None] == values for values in (components, groups))
        pairs = np.triu_indices(100, 1)
        assert not np.any(found[pairs] & ~same[pairs])
        assert np.mean(found[pairs][same[pairs]]) > 0.8
        assert metrics.distinct(centroids) == components.max() + 1


def test_the_overlap_of_silhouettes_is_that_of_the_brighter_halves():
    square = np.zeros((1, 8, 8, 1))
    square[:, 2:6, 2:6] = 1
    moved, dim = np.roll(square, 1, axis=2), 0.4 * square
    found = metrics.silhouette_overlap(np.concatenate([square] * 3), np.concatenate([square, moved, dim]))
    assert found.tolist() == [1, 12 / 20, 1]
    assert np.isnan(metrics.silhouette_overlap(0 * square, 0 * square)).all()
