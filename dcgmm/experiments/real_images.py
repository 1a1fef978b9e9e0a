"""The real images that a model's samples are compared with, and what is learned from them once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from dcgmm import datasets, metrics
from dcgmm.realism import Bins, Neighbourhoods

# The images that give the bins, the balls and the judge, as docs/protocol.md says.
N_IMAGES = 10_000
N_BALLS = 5000
OTHER = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}
N_OTHER = 5000


@dataclass(frozen=True, eq=False)
class RealImages:
    """The images of the classes that a model has learned.

    Args:
        x: training images (M, H, W, C).
        y: their labels (M,).
        x_test: test images (N, H, W, C).
        most: how many samples or damaged images a measure takes at most. Default None: as many as the protocol says.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    most: int | None = None

    def at_most(self, n: int) -> int:
        """Return n, or `most` where it is smaller."""
        return n if self.most is None else min(n, self.most)

    @cached_property
    def sharpness(self) -> float:
        """The sharpness of the training images, the unit of samples' sharpness; NaN: they have no edges."""
        return metrics.sharpness(self.x)

    @cached_property
    def bins(self) -> Bins | None:
        """100 bins of the first 10,000 training images, or fewer of fewer; None: all of these are equal."""
        images = self.x[:N_IMAGES]
        return Bins(images, min(100, len(images))) if _differ(images) else None

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods | None:
        """Balls around the first 5,000 test images; None: there are fewer than two, or training images are equal."""
        balls = self.x_test[:N_BALLS]
        return Neighbourhoods(self.x, balls, min(5, len(balls) - 1)) if len(balls) > 1 and _differ(self.x) else None

    @cached_property
    def classifier(self) -> Pipeline:
        """`metrics.image_classifier` of all training images."""
        return metrics.image_classifier(self.x, self.y)

    @cached_property
    def _judge(self) -> Pipeline:
        """A logistic regression on 50 whitened principal components of the first `_n_judged` training images."""
        rows = _rows(self.x[: self._n_judged])
        pca = PCA(min(50, *rows.shape), whiten=True, svd_solver="covariance_eigh")
        return make_pipeline(pca, LogisticRegression(max_iter=500)).fit(rows, self.y[: self._n_judged])

    @property
    def _n_judged(self) -> int:
        """How many images the judge learns from, and how many others say what is doubtful."""
        return min(N_IMAGES, len(self.x) // 2)

    @cached_property
    def _doubtful_below(self) -> float:
        """The probability that the judge exceeds, for its likeliest class, in 95 % of the next `_n_judged` images."""
        return float(np.quantile(self._certainty(self.x[self._n_judged : 2 * self._n_judged]), 0.05))

    def corrupted(self, images: np.ndarray) -> float:
        """Return the share of images (n, H, W, C) in which the judge is less certain than in 95 % of real ones."""
        return float(np.mean(self._certainty(images) < self._doubtful_below))

    def _certainty(self, images):
        return self._judge.predict_proba(_rows(images)).max(axis=1)


def of_other_data(dataset: str) -> np.ndarray | None:
    """Return the first 5,000 test images of the other one of MNIST and FashionMNIST; None: `dataset` is neither."""
    return datasets.load_dataset(OTHER[dataset])[2][:N_OTHER] if dataset in OTHER else None


def measured(most: int | None) -> dict[str, str]:
    """Return what is noted beside numbers: how many samples or damaged images a measure takes at most.

    Args:
        most: this number, or None: as many as the protocol says.

    Example:
        >>> measured(500)
        {'measured': 'at most 500'}
    """
    return {"measured": "as in the protocol" if most is None else f"at most {most}"}


def _rows(images):
    return np.reshape(images, (len(images), -1))


def _differ(images):
    return not np.array_equal(images, np.broadcast_to(images[:1], images.shape))
