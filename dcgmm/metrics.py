"""Numbers about clusterings and samples. They depend on arrays only, not on a model."""

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import davies_bouldin_score, euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC


def dunn_index(x: Any, labels: Any) -> float:
    r"""Return Dunn's index, min_{i≠j} δ(C_i, C_j) / max_k Δ(C_k); higher is better.

    δ is the smallest Euclidean distance between points of two clusters, Δ the largest one within a cluster. More
    points give a smaller index, so compare only indices of equally many points.

    Args:
        x: points (N, ...), flattened for the distances.
        labels: the cluster of each point, (N,).

    Returns:
        A float, or NaN if all points are in one cluster.

    Source: J. C. Dunn, A fuzzy relative of the ISODATA process, Journal of Cybernetics 3, 1973.

    Example:
        >>> dunn_index([[0.0], [1.0], [4.0]], [0, 0, 1])
        3.0
    """
    order = np.argsort(labels, kind="stable")
    x = _flat(x)[order]
    _, sizes = np.unique(labels, return_counts=True)
    if len(sizes) < 2:
        return float("nan")
    diameter, separation = 0.0, np.inf
    for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        # Compare a cluster with itself and with the later ones, because each pair is needed only once.
        squared = euclidean_distances(x[start : start + size], x[start:], squared=True)
        diameter = max(diameter, squared[:, :size].max())
        separation = min(separation, squared[:, size:].min(initial=np.inf))
    return float(np.sqrt(separation / diameter))


def davies_bouldin(x: Any, labels: Any) -> float:
    r"""Return the Davies-Bouldin score, the mean over clusters i of max_{j≠i} (s_i + s_j) / d_ij; lower is better.

    s is the mean Euclidean distance of a cluster's points from their mean, d the distance between two such means.

    Args:
        x: points (N, ...), flattened for the distances.
        labels: the cluster of each point, (N,).

    Returns:
        A float, or NaN if all points are in one cluster.

    Source: D. L. Davies and D. W. Bouldin, A cluster separation measure, IEEE PAMI 1(2), 1979.

    Example:
        >>> round(davies_bouldin([[0.0], [2.0], [10.0], [12.0]], [0, 0, 1, 1]), 3)
        0.2
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(davies_bouldin_score(_flat(x), labels))


def components_in_use(labels: Any, min_share: float = 0.001) -> int:
    """Return the number of components that win at least a given share of the points.

    Args:
        labels: the winning component of each point, (N,).
        min_share: the share, in [0, 1]. Default 0.001.

    Example:
        >>> components_in_use([0, 0, 2, 5]), components_in_use([0, 0, 2, 5], min_share=0.5)
        (3, 1)
    """
    counts = np.unique(labels, return_counts=True)[1]
    return int(np.sum(counts >= min_share * len(labels)))


def sharpness(images: Any) -> float:
    """Return the steepness of edges in images (N, H, W, C), in grey value per pixel.

    It is Σ|∇x|² / Σ|∇x| over all pixels: the mean of |∇x|, weighted by |∇x|. The plain mean of |∇x| does not measure
    blur, because blur makes an edge wider but does not change the sum of its gradients.

    Returns:
        A float, or NaN if the images have no edges.

    Example:
        >>> edge = np.zeros((1, 4, 4, 1))
        >>> edge[:, :, 2:] = 1
        >>> sharpness(edge)
        0.5
    """
    gradient = np.hypot(*np.gradient(np.asarray(images, "float64"), axis=(1, 2)))
    total = float(np.sum(gradient))
    return float(np.sum(gradient**2)) / total if total else float("nan")


def nearest_distance(images: np.ndarray, others: Any = None) -> float:
    """Return the mean distance of images from the most similar one of other images, as RMS over pixels.

    Args:
        images: images (N, ...).
        others: the other images (M, ...). Default None: compare each image with the rest of `images`. The distance
            then measures their diversity.

    Example:
        >>> nearest_distance(np.zeros((2, 4, 4, 1)), np.ones((3, 4, 4, 1)))
        1.0
    """
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(_flat(images if others is None else others))
    distances, _ = neighbours.kneighbors(None if others is None else _flat(images))
    return float(distances.mean() / np.sqrt(np.prod(images.shape[1:])))


def image_classifier(images: Any, labels: Any) -> Pipeline:
    """Return a trained classifier that is independent of any DCGMM: an SVM on up to 100 principal components.

    Args:
        images: training images (N, ...).
        labels: their labels (N,).

    Returns:
        A scikit-learn pipeline. Its `predict` and `score` take flattened images, (N, pixels).

    Example:
        >>> images, labels = np.random.default_rng(0).random((20, 4, 4, 1)), np.arange(20) % 2
        >>> images[labels == 1] += 1
        >>> image_classifier(images, labels).score(images.reshape(20, -1), labels)
        1.0
    """
    pixels = _flat(images)
    n_components = min(100, *pixels.shape)
    return make_pipeline(PCA(n_components, svd_solver="covariance_eigh"), SVC(C=10)).fit(pixels, labels)


def _flat(x):
    return np.reshape(np.asarray(x, "float64"), (len(x), -1))
