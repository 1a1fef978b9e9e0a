"""Numbers about clusterings and samples; they know nothing of models."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import davies_bouldin_score, euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC


def dunn_index(x, labels):
    r"""Return Dunn's index, min_{i≠j} δ(C_i, C_j) / max_k Δ(C_k); higher is better.

    δ is the smallest Euclidean distance between points of two clusters, Δ the largest one within a cluster. The index
    falls as points are added, so compare it at equal numbers of points only.

    Args:
        x: points (N, ...), flattened for the distances.
        labels: cluster of each point, (N,).

    Returns:
        A float, or NaN where fewer than two clusters hold points.

    Source: J. C. Dunn, A fuzzy relative of the ISODATA process, Journal of Cybernetics 3, 1973.
    """
    order = np.argsort(labels, kind="stable")
    x = _flat(x)[order]
    _, sizes = np.unique(labels, return_counts=True)
    if len(sizes) < 2:
        return float("nan")
    diameter, separation = 0.0, np.inf
    for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        # Each pair once: a cluster against itself and those that come after it.
        squared = euclidean_distances(x[start : start + size], x[start:], squared=True)
        diameter = max(diameter, squared[:, :size].max())
        separation = min(separation, squared[:, size:].min(initial=np.inf))
    return float(np.sqrt(separation / diameter))


def davies_bouldin(x, labels):
    """Return the Davies-Bouldin score of images (N, ...) in clusters (N,); lower is better, NaN for one cluster.

    Source: D. L. Davies and D. W. Bouldin, A cluster separation measure, IEEE PAMI 1(2), 1979.
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(davies_bouldin_score(_flat(x), labels))


def components_in_use(labels, min_share=0.001):
    """Return how many components win at least `min_share` of the points, given the winner of each, (N,)."""
    counts = np.unique(labels, return_counts=True)[1]
    return int(np.sum(counts >= min_share * len(labels)))


def sharpness(images):
    """Return the steepness of edges in images (N, H, W, C), in grey value per pixel.

    It is Σ|∇x|² / Σ|∇x| over all pixels, the mean gradient where there is one. (The mean of |∇x| alone would not do:
    blurring widens an edge but leaves the sum of its gradients as it was.) NaN for images without any edge.
    """
    gradient = np.hypot(*np.gradient(np.asarray(images, "float64"), axis=(1, 2)))
    return float(np.sum(gradient**2) / total) if (total := np.sum(gradient)) else float("nan")


def nearest_distance(images, others=None):
    """Return the mean distance of images (N, ...) to the most similar of others (M, ...), as RMS over pixels.

    Without others, to the most similar of the images themselves other than itself: their diversity.
    """
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(_flat(images if others is None else others))
    distances, _ = neighbours.kneighbors(None if others is None else _flat(images))
    return float(distances.mean() / np.sqrt(np.prod(images.shape[1:])))


def image_classifier(images, labels):
    """Return a classifier of images (N, ...) that knows nothing of any DCGMM: an SVM on up to 100 principal components.

    Its `predict` and `score` take flattened images, (N, pixels), as scikit-learn's do.
    """
    pixels = _flat(images)
    n_components = min(100, *pixels.shape)
    return make_pipeline(PCA(n_components, svd_solver="covariance_eigh"), SVC(C=10)).fit(pixels, labels)


def _flat(x):
    return np.reshape(np.asarray(x, "float64"), (len(x), -1))
