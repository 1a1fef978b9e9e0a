"""Numbers about clusterings and samples. They depend on arrays only, not on a model."""

import warnings
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA
from sklearn.metrics import davies_bouldin_score, euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from dcgmm import arguments

# Images are blurred by this many pixels before they are compared, because an eye averages over grain.
BLUR = 1.0
# Images that differ by less than this count as duplicates: the RMS of grey values from 0 to 1, after the blur. In 1L
# of both data sets, samples of one component are duplicates by construction. 95 % of them differ by less than 0.066,
# and samples of two components by more than 0.076.
DUPLICATE = 0.07


def dunn_index(x: Any, labels: Any) -> float:
    r"""Return Dunn's index, min_{i≠j} δ(C_i, C_j) / max_k Δ(C_k); higher is better.

    δ is the smallest Euclidean distance between points of two clusters, Δ the largest one within a cluster. More
    points give a smaller index, so compare only indices of equally many points.

    Args:
        x: points (N, ...), finite, flattened for the distances.
        labels: the cluster of each point, (N,).

    Returns:
        A float, or NaN where it is not defined: all points are in one cluster, or the points of each cluster are equal.

    Raises:
        ValueError: if there are no points, a number is not finite, or there is not one label for each point.

    Warns:
        UserWarning: if the points of each cluster are equal, as where each cluster has one point.

    Source: J. C. Dunn, A fuzzy relative of the ISODATA process, Journal of Cybernetics 3, 1973.

    Example:
        >>> dunn_index([[0.0], [1.0], [4.0]], [0, 0, 1])
        3.0
    """
    x, labels, defined = _clustering(x, labels)
    if not defined:
        return float("nan")
    x = x[np.argsort(labels, kind="stable")]
    _, sizes = np.unique(labels, return_counts=True)
    diameter, separation = 0.0, np.inf
    for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        # Compare a cluster with itself and with the later ones, because each pair is needed only once.
        squared = euclidean_distances(x[start : start + size], x[start:], squared=True)
        diameter = max(diameter, squared[:, :size].max())
        separation = min(separation, squared[:, size:].min(initial=np.inf))
    return float(np.sqrt(separation / diameter))


def _clustering(x, labels):
    """Return points as rows (N, D), the cluster of each (N,), and whether they have an index: else it is NaN."""
    x = arguments.array("x", x, "(N, ...)", truths=True)
    labels = arguments.labels("labels", labels, len(x))
    clusters, firsts, cluster_of = np.unique(labels, return_index=True, return_inverse=True)
    rows = _flat(x)
    without_extent = len(clusters) > 1 and np.array_equal(rows, rows[firsts][cluster_of])
    if without_extent:
        warnings.warn("the points x of each cluster are equal, so the index is not defined: NaN", stacklevel=3)
    return rows, labels, len(clusters) > 1 and not without_extent


def davies_bouldin(x: Any, labels: Any) -> float:
    r"""Return the Davies-Bouldin score, the mean over clusters i of max_{j≠i} (s_i + s_j) / d_ij; lower is better.

    s is the mean Euclidean distance of a cluster's points from their mean, d the distance between two such means.

    Args:
        x: points (N, ...), finite, flattened for the distances.
        labels: the cluster of each point, (N,).

    Returns:
        A float, or NaN where it is not defined: all points are in one cluster, or the points of each cluster are equal.

    Raises:
        ValueError: if there are no points, a number is not finite, or there is not one label for each point.

    Warns:
        UserWarning: if the points of each cluster are equal, as where each cluster has one point.

    Source: D. L. Davies and D. W. Bouldin, A cluster separation measure, IEEE PAMI 1(2), 1979.

    Example:
        >>> round(davies_bouldin([[0.0], [2.0], [10.0], [12.0]], [0, 0, 1, 1]), 3)
        0.2
    """
    x, labels, defined = _clustering(x, labels)
    return float(davies_bouldin_score(x, labels)) if defined else float("nan")


def components_in_use(labels: Any, min_share: float = 0.001) -> int:
    """Return the number of components that win at least a given share of the points.

    Args:
        labels: the winning component of each point, (N,).
        min_share: the share, in [0, 1]. Default 0.001.

    Raises:
        ValueError: if there are no labels, or the share is outside its range.

    Example:
        >>> components_in_use([0, 0, 2, 5]), components_in_use([0, 0, 2, 5], min_share=0.5)
        (3, 1)
    """
    labels = arguments.labels("labels", labels)
    min_share = arguments.number("min_share", min_share, at_least=0, at_most=1)
    counts = np.unique(labels, return_counts=True)[1]
    return int(np.sum(counts >= min_share * len(labels)))


def sharpness(images: Any) -> float:
    """Return the steepness of edges in images (N, H, W, C) of at least 2×2 pixels, in grey value per pixel.

    It is Σ|∇x|² / Σ|∇x| over all pixels: the mean of |∇x|, weighted by |∇x|. The plain mean of |∇x| does not measure
    blur, because blur makes an edge wider but does not change the sum of its gradients.

    Returns:
        A float, or NaN if the images have no edges.

    Raises:
        ValueError: if `images` are no such images, or a pixel is not finite.

    Example:
        >>> edge = np.zeros((1, 4, 4, 1))
        >>> edge[:, :, 2:] = 1
        >>> sharpness(edge)
        0.5
    """
    images = _images("images", images)
    if min(images.shape[1:3]) < 2:
        raise ValueError(f"images must have at least 2x2 pixels for their edges, received shape {images.shape}")
    gradient = np.hypot(*np.gradient(np.asarray(images, "float64"), axis=(1, 2)))
    total = float(np.sum(gradient))
    return float(np.sum(gradient**2)) / total if total else float("nan")


def perceived(images: Any) -> np.ndarray:
    """Return images (N, H, W, C) as rows (N, H·W·C) whose Euclidean distances are close to those that an eye sees.

    Images are clipped to [0, 1], as they are shown, and blurred by `BLUR`, so that grain hardly counts. The distance of
    two rows is the RMS over pixels.

    Raises:
        ValueError: if `images` are no images (N, H, W, C), or a pixel is not finite.

    Example:
        >>> rows = perceived(np.stack([np.zeros((4, 4, 1)), np.full((4, 4, 1), 0.5)]))
        >>> rows.shape, float(np.linalg.norm(rows[1] - rows[0]).round(3))
        ((2, 16), 0.5)
    """
    shown = np.clip(np.asarray(_images("images", images), "float64"), 0, 1)
    blurred = gaussian_filter(shown, (0, BLUR, BLUR, 0), mode="nearest")
    return _flat(blurred) / np.sqrt(np.prod(blurred.shape[1:]))


def nearest_distance(images: np.ndarray, others: Any = None) -> float:
    """Return the mean distance of images from the most similar one of other images.

    Distances are those of `perceived` images.

    Args:
        images: images (N, H, W, C), grey values from 0 to 1.
        others: the other images (M, H, W, C). Default None: compare each image with the rest of `images`. The distance
            then measures their diversity, and there must be at least two.

    Raises:
        ValueError: if an argument holds no images (N, H, W, C) or a pixel that is not finite, if the others have
            another size, or if a single image has nothing to be compared with.

    Example:
        >>> nearest_distance(np.zeros((2, 4, 4, 1)), np.ones((3, 4, 4, 1)))
        1.0
    """
    images = _images("images", images)
    if others is None and len(images) < 2:
        raise ValueError(f"images must be at least two, or others be given, received images of shape {images.shape}")
    if others is not None and (others := _images("others", others)).shape[1:] != images.shape[1:]:
        raise ValueError(f"others must be of the size of images, {images.shape[1:]}, received shape {others.shape}")
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute")
    neighbours.fit(perceived(images if others is None else others))
    distances, _ = neighbours.kneighbors(None if others is None else perceived(images))
    return float(distances.mean())


def duplicate_groups(images: np.ndarray) -> np.ndarray:
    """Return the group of each image, (N,) of integers from 1: all images of a group are duplicates of each other.

    Two images are duplicates if their distance, as in `nearest_distance`, is below `DUPLICATE`. The groups come from
    agglomerative clustering with complete linkage.

    Args:
        images: images (N, H, W, C), grey values from 0 to 1.

    Raises:
        ValueError: if `images` are no images, or a pixel is not finite.

    Example:
        >>> images = np.zeros((3, 4, 4, 1))
        >>> images[1:] = 1
        >>> duplicate_groups(images).tolist()
        [2, 1, 1]
    """
    images = _images("images", images)
    if len(images) < 2:
        return np.ones(len(images), int)
    return fcluster(linkage(perceived(images), "complete"), DUPLICATE, "distance")


def distinct(images: np.ndarray) -> int:
    """Return the number of different images: images that are `duplicate_groups` of each other count once.

    Raises:
        ValueError: if `images` are no images (N, H, W, C), or a pixel is not finite.

    Example:
        >>> distinct(np.zeros((3, 4, 4, 1)))
        1
    """
    return len(np.unique(duplicate_groups(images)))


def silhouette_overlap(images: Any, others: Any) -> np.ndarray:
    """Return how much of the silhouettes of pairs of images is in both, (N,): their intersection over their union.

    A silhouette is the pixels, of colour images the means over the channels, that are brighter than half of the
    brightest pixel of the image.

    Args:
        images: images (N, H, W, C).
        others: images of the same shape.

    Returns:
        An array (N,) of numbers from 0 to 1. NaN: both silhouettes are empty, as of black images.

    Raises:
        ValueError: if an argument holds no images, a pixel is not finite, or the shapes differ.

    Example:
        >>> images = np.zeros((1, 4, 4, 1))
        >>> images[:, 1:3, 1:3] = 1
        >>> silhouette_overlap(images, np.roll(images, 1, axis=2)).round(2).tolist()
        [0.33]
    """
    images, others = _images("images", images), _images("others", others)
    if images.shape != others.shape:
        raise ValueError(f"others must have the shape of images, {images.shape}, received shape {others.shape}")
    grey = [np.mean(shown, axis=-1, dtype="float64") for shown in (images, others)]
    masks = [pixels > pixels.max(axis=(1, 2), keepdims=True) / 2 for pixels in grey]
    intersection, union = (np.sum(both(*masks), axis=(1, 2)) for both in (np.logical_and, np.logical_or))
    return np.divide(intersection, union, out=np.full(len(images), np.nan), where=union > 0)


def image_classifier(images: Any, labels: Any) -> Pipeline:
    """Return a trained classifier that is independent of any DCGMM: an SVM on up to 100 principal components.

    Args:
        images: training images (N, ...), at least two.
        labels: their labels (N,), of at least two classes.

    Returns:
        A scikit-learn pipeline. Its `predict` and `score` take flattened images, (N, pixels).

    Raises:
        ValueError: if an argument does not fit.

    Example:
        >>> images, labels = np.random.default_rng(0).random((20, 4, 4, 1)), np.arange(20) % 2
        >>> images[labels == 1] += 1
        >>> image_classifier(images, labels).score(images.reshape(20, -1), labels)
        1.0
    """
    images = arguments.array("images", images, "(N, ...)", truths=True)
    labels = arguments.labels("labels", labels, len(images), of="images")
    if len(classes := np.unique(labels)) < 2:
        raise ValueError(f"labels must have at least two classes, received only {classes[0]!r}")
    pixels = _flat(images)
    n_components = min(100, *pixels.shape)
    return make_pipeline(PCA(n_components, svd_solver="covariance_eigh"), SVC(C=10)).fit(pixels, labels)


def _images(name, value):
    return arguments.array(name, value, "(N, H, W, C)", truths=True)


def _flat(x):
    return np.reshape(np.asarray(x, "float64"), (len(x), -1))
