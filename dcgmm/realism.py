"""How realistic samples are: where they fall in the space of images, compared with where real images fall."""

from typing import Any

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.utils import gen_batches

from dcgmm import arguments

# Real images whose bins are counted, and the dimensions of the space in which images are compared.
N_BINNED = 10_000
N_COMPONENTS = 50


class Bins:
    """Bins of the space of images, to compare where samples and real images fall.

    The bins are k-means clusters of the real images, after a projection on their first 50 principal components.

    Args:
        images: real images (N, ...), of which the first 10,000 count; at least two of them differ.
        n_bins: the number of bins, from 1 to the number of images that count. Default 100.

    Raises:
        ValueError: if an argument does not fit.

    Source: E. Richardson and Y. Weiss, On GANs and GMMs, NeurIPS 2018.

    Example:
        >>> images = np.random.default_rng(0).random((200, 4, 4, 1))
        >>> bins = Bins(images, n_bins=5)
        >>> bins.divergence(images), bool(0 < bins.divergence(images + 1) <= np.log(2))
        (0.0, True)
        >>> bins.different(images), bins.different(images + 1) > 0
        (0, True)
    """

    def __init__(self, images: Any, n_bins: int = 100) -> None:
        rows = _rows("images", images)[:N_BINNED]
        n_bins = arguments.integer("n_bins", n_bins, at_least=1, at_most=len(rows))
        self._bins = make_pipeline(_space(rows), KMeans(n_bins, random_state=0)).fit(rows)
        self._counts = self._counted(rows)

    def divergence(self, images: Any) -> float:
        """Return the Jensen–Shannon divergence between images (N, ...) and the real ones, in nats: 0 to log 2.

        Raises:
            ValueError: if there are no images, a pixel is not finite, or they have another size than the real ones.
        """
        counts = self._counted(_rows("images", images, self._bins.n_features_in_))
        return float(jensenshannon(self._counts, counts) ** 2)

    def different(self, images: Any, level: float = 0.05) -> int:
        """Return the number of bins in which the shares of images (N, ...) and of the real ones differ: NDB.

        A bin differs if a two-sided test of two proportions says so. Of equally distributed images, the share `level`
        of the bins differs by chance.

        Args:
            images: the images.
            level: the level of the test, from 0 to 1. Default 0.05.

        Raises:
            ValueError: as in `divergence`, or if the level is outside its range.
        """
        level = arguments.number("level", level, at_least=0, at_most=1)
        counts = self._counted(_rows("images", images, self._bins.n_features_in_))
        n_real, n = self._counts.sum(), counts.sum()
        pooled = (self._counts + counts) / (n_real + n)
        error = np.sqrt(pooled * (1 - pooled) * (1 / n_real + 1 / n))
        difference = np.abs(self._counts / n_real - counts / n)
        return int(np.sum(difference > norm.isf(level / 2) * error))

    def _counted(self, rows):
        return np.bincount(self._bins.predict(rows), minlength=self._bins[-1].n_clusters)


class Neighbourhoods:
    """Balls around real images, each as far as its k-th nearest other real image, to see which of them samples reach.

    Distances are Euclidean, in the space of the first 50 principal components of training images.

    Args:
        training: training images (M, ...), which give the space; at least two of them differ.
        real: the real images (N, ...) whose balls count, usually test images, at least two.
        n_neighbours: k, from 1 to N − 1. Default 5.

    Raises:
        ValueError: if an argument does not fit.

    Source: M. F. Naeem et al., Reliable fidelity and diversity metrics for generative models, ICML 2020.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> balls = Neighbourhoods(rng.random((100, 4, 4, 1)), rng.random((50, 4, 4, 1)))
        >>> density, coverage = balls.density_and_coverage(rng.random((50, 4, 4, 1)))
        >>> density > 0.5, coverage > 0.5, balls.density_and_coverage(np.full((50, 4, 4, 1), 9.0))
        (True, True, (0.0, 0.0))
    """

    def __init__(self, training: Any, real: Any, n_neighbours: int = 5) -> None:
        rows = _rows("training", training)
        self._space = _space(rows).fit(rows)
        self._training = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(self._space.transform(rows))
        self._centres = self._space.transform(_rows("real", real, rows.shape[1]))
        self._k = arguments.integer("n_neighbours", n_neighbours, at_least=1, at_most=len(self._centres) - 1)
        # Without an argument, `kneighbors` does not count an image as its own neighbour.
        neighbours = NearestNeighbors(n_neighbors=self._k, algorithm="brute").fit(self._centres)
        self._radii = neighbours.kneighbors()[0][:, -1]

    def density_and_coverage(self, images: Any) -> tuple[float, float]:
        """Return two numbers about images (n, ...).

        - Density: in how many balls an image lies, divided by k, on average. It is 1 where images are distributed as
          the real ones, and more where they keep to the middle of crowds.
        - Coverage: the share of balls with at least one of the images, from 0 to 1.

        Raises:
            ValueError: if there are no images, a pixel is not finite, or they have another size than the real ones.
        """
        points = self._space.transform(_rows("images", images, self._space.n_features_in_))
        inside = np.zeros(len(self._centres), "int64")
        for part in gen_batches(len(points), 1000):
            inside += np.sum(euclidean_distances(self._centres, points[part]) < self._radii[:, None], axis=1)
        return float(inside.sum() / (self._k * len(points))), float(np.mean(inside > 0))

    def distance(self, images: Any) -> float:
        """Return the mean distance of images (n, ...) from the nearest training image, as an RMS over pixels.

        Raises:
            ValueError: as in `density_and_coverage`.
        """
        points = self._space.transform(_rows("images", images, self._space.n_features_in_))
        distances, _ = self._training.kneighbors(points)
        return float(distances.mean() / np.sqrt(self._space.n_features_in_))


def _rows(name, images, n_features=None):
    """Return images as rows (N, D) of float64, or refuse them."""
    checked = arguments.array(name, images, "(N, ...)", truths=True)
    rows = np.reshape(np.asarray(checked, "float64"), (len(checked), -1))
    if n_features is not None and rows.shape[1] != n_features:
        expected = f"{name} must have {n_features} numbers each, as the real ones have"
        raise ValueError(f"{expected}, received {rows.shape[1]}: shape {np.shape(images)}")
    if n_features is None and np.array_equal(rows, np.broadcast_to(rows[0], rows.shape)):
        raise ValueError(f"{name} must differ, received {len(rows)} equal ones")
    return rows


def _space(rows):
    """Return the principal components of rows, not yet fitted."""
    return PCA(min(N_COMPONENTS, *rows.shape), svd_solver="covariance_eigh")
