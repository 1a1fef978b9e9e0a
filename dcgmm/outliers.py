"""Outliers: images, or parts of them, that are much less likely than the training images (Sec. II-B2, Eq. 6)."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from dcgmm import arguments
from dcgmm.keras_settings import in_float32
from dcgmm.validation import ExpectedInput


@keras.saving.register_keras_serializable("dcgmm")
class Moments(keras.layers.Layer):
    """Mean and variance over images of a log-likelihood at each position, kept as weights and so saved with a model.

    Args:
        plane: (h, w), the number of positions.

    Raises:
        ValueError: if `plane` is not two positive integers.

    Example:
        >>> moments = Moments((1, 1))
        >>> moments.update([4], [np.float32([[-50.0]])], [np.float32([[4.0]])])
        >>> moments.standardised(np.float32([[[-54.0]]])).tolist()
        [[[-2.0]]]
    """

    def __init__(self, plane: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**in_float32(kwargs, "Moments"))
        self.plane = arguments.sizes("plane", plane, "(h, w)")
        self.count = self._state("count", ())
        self.mean = self._state("mean", self.plane)
        self.squares = self._state("squares", self.plane)

    def _state(self, name, shape):
        return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "plane": self.plane}

    def reset(self) -> None:
        """Forget all images."""
        for state in (self.count, self.mean, self.squares):
            state.assign(tf.zeros(state.shape))

    def update(self, counts: Sequence[int], means: Sequence[np.ndarray], variances: Sequence[np.ndarray]) -> None:
        """Add the log-likelihoods of some batches: the number of images, mean and variance (h, w) of each batch.

        Raises:
            ValueError: if there is not one count, mean and variance for each batch, a count is no positive number, or a
                plane has another shape.

        Source: T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae and a pairwise algorithm for computing sample
        variances, 1979.
        """
        if not len(counts) == len(means) == len(variances):
            lengths = f"{len(counts)} counts, {len(means)} means and {len(variances)} variances"
            raise ValueError(f"counts, means and variances must be one for each batch, received {lengths}")
        for n, *planes in zip(counts, means, variances, strict=True):
            arguments.number("counts", n, above=0)
            for name, plane in zip(("means", "variances"), planes, strict=True):
                arguments.tensor(name, plane, "(h, w)", self.plane)
        count, mean, squares = (state.numpy() for state in (self.count, self.mean, self.squares))
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at what is not finite
            for n, batch_mean, batch_variance in zip(np.asarray(counts, "float32"), means, variances, strict=True):
                total, shift = count + n, batch_mean - mean
                squares = squares + (n * batch_variance + np.square(shift) * count * n / total)
                mean = mean + shift * n / total
                count = total
        for state, value in zip((self.count, self.mean, self.squares), (count, mean, squares), strict=True):
            state.assign(value)

    def standardised(self, likelihoods: np.ndarray) -> np.ndarray:
        """Return (L − mean) / sd for log-likelihoods (N, h, w); a position is an inlier (Eq. 6) where this is ≥ −c.

        Raises:
            RuntimeError: if no images were added yet.
            ValueError: if the positions are others.
        """
        arguments.tensor("likelihoods", likelihoods, "(N, h, w)", (None, *self.plane))
        count = self.count.numpy()
        if not count:
            raise RuntimeError("no statistics of the training images yet: call fit or calibrate(x) first")
        mean, deviation = self.mean.numpy(), np.sqrt(self.squares.numpy() / count)
        # Where all training images are equal, as in a black corner, a rounding error would be infinitely unlikely.
        rounding = np.finfo("float32").eps * np.abs(mean) + np.finfo("float32").tiny
        return (likelihoods - mean) / np.maximum(deviation, rounding)


class OutlierDetection:
    """The methods of a model that compare an image with the training images; `DCGMM` inherits them.

    The model provides `log_likelihood`, `_likelihoods`, `expected`, and `moments`, one `Moments` for each GMM layer.

    Example:
        >>> from dcgmm import DCGMM
        >>> issubclass(DCGMM, OutlierDetection)
        True
    """

    log_likelihood: Callable[..., np.ndarray]
    expected: ExpectedInput
    moments: list[Moments]

    def standardised_scores(self, x: Any, layer: int | None = None, batch_size: int | None = None) -> np.ndarray:
        """Return the log-likelihood in standard deviations from its mean over the training images, (N,).

        Where the layer has several positions, each is standardised on its own and their mean is returned.
        `outliers.roc` and `outliers.auc` take these scores. For the arguments see `log_likelihood`, for errors
        `inliers`.

        Example:
            >>> from dcgmm import load_pretrained
            >>> load_pretrained("2L-c", "mnist").standardised_scores(np.ones((3, 28, 28, 1))).shape
            (3,)
        """
        return self._standardised(x, layer, batch_size).mean(axis=(1, 2))

    def calibrate(self, x: Any, batch_size: int | None = None) -> None:
        """Gather mean and variance of each layer's log-likelihood per position over images x (Sec. II-B2).

        `fit` does this at its end with the training images. Call it on a checkpoint that was saved during `fit`.

        Args:
            x: images (N, H, W, C), or batches of them, as in `DCGMM.fit`.
            batch_size: images at a time; of batches it must be their size. Default 500.

        Raises:
            ValueError: if the images do not fit, or `batch_size` is no positive integer, or if pixels are so large that
                the variance of the log-likelihood is not finite in float32.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("2L-c")
            >>> model.calibrate(np.random.default_rng(0).random((20, 28, 28, 1)))
            >>> model.inliers(np.zeros((3, 28, 28, 1)), layer=0).shape
            (3, 11, 11)
        """
        self.gather_moments(self.expected.image_batches(x, batch_size))

    def gather_moments(self, batches: tf.data.Dataset) -> None:
        """Calibrate with a data set of checked batches; each batch is a tuple with the images first."""
        gathered = [(len(images), self._batch_moments(images)) for images, *_ in batches]
        if not gathered:
            warnings.warn("the data set gave no images to calibrate with; call calibrate(x)", stacklevel=2)
            return
        counts, by_batch = zip(*gathered, strict=True)
        for moments, by_layer in zip(self.moments, zip(*by_batch, strict=True), strict=True):
            moments.reset()
            means, variances = (tf.stack(parts).numpy() for parts in zip(*by_layer, strict=True))
            moments.update(counts, means, variances)
        self._check_moments()

    def _check_moments(self):
        """Refuse statistics of which a mean is finite but its variance is not, and forget all of them."""
        for layer, moments in enumerate(self.moments):
            mean, squares = moments.mean.numpy(), moments.squares.numpy()
            if np.isfinite(mean).all() and not np.isfinite(squares).all():
                for each in self.moments:
                    each.reset()
                raise ValueError(
                    f"x: the log-likelihoods of GMM layer {layer}, on average {mean.flat[abs(mean).argmax()]:.3g} "
                    "nats, vary so much that their variance is not finite in float32: scale the images to [0, 1]"
                )

    def inliers(self, x: Any, c: float = 1.0, layer: int | None = None, batch_size: int | None = None) -> np.ndarray:
        """Return whether each position is an inlier, L ≥ mean − c·sd over the training images (Eq. 6).

        Args:
            x: images (N, H, W, C), or batches of them, as in `DCGMM.fit`.
            c: how many standard deviations below the mean still count as inlier, a finite number; larger is more
                lenient. Default 1. For a share r of false alarms among images like x, take
                `-np.quantile(model.standardised_scores(x), r)`.
            layer: which GMM layer, 0 the lowest, which localises best. Default: the top one.
            batch_size: images at a time; of batches it must be their size. Default 500.

        Returns:
            A boolean array (N, h, w).

        Raises:
            RuntimeError: before `fit` or `calibrate`.
            ValueError: if an argument does not fit.

        Example:
            >>> from dcgmm import load_pretrained
            >>> load_pretrained("2L-c", "mnist").inliers(np.ones((3, 28, 28, 1)), c=2, layer=0).shape
            (3, 11, 11)
        """
        c = arguments.number("c", c)
        return self._standardised(x, layer, batch_size) >= -c

    def _standardised(self, x, layer, batch_size=None):
        likelihoods = self.log_likelihood(x, layer, batch_size)
        return self.moments[-1 if layer is None else layer].standardised(likelihoods)

    @tf.function(autograph=False, reduce_retracing=True)
    def _batch_moments(self, x):
        return [tf.nn.moments(likelihoods, 0) for likelihoods in self._likelihoods(x)]


def roc(
    inliers: np.ndarray, outliers: np.ndarray, c: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ROC-like curve of Fig. 3: the inliers kept and the outliers rejected as c of Eq. 6 varies.

    Args:
        inliers: standardised log-likelihoods (N,) of images like the training images, from `DCGMM.standardised_scores`.
        outliers: standardised log-likelihoods (M,) of other images.
        c: thresholds (T,), in standard deviations. Default: 81 values in [−2, 2], the paper's range.

    Returns:
        Three arrays (T,): c, the fraction of inliers kept, and the fraction of outliers rejected.

    Raises:
        ValueError: if an argument is empty, not one-dimensional, or has a number that is not finite.

    Example:
        >>> c, kept, rejected = roc([0.0, 1.0], [-3.0, -1.0], c=[0.0, 2.0])
        >>> kept.tolist(), rejected.tolist()
        ([1.0, 1.0], [1.0, 0.5])
    """
    c = np.linspace(-2, 2, 81) if c is None else arguments.array("c", c, "(T,)")
    kept = np.mean(_scores("inliers", inliers)[:, None] >= -c, axis=0)
    rejected = np.mean(_scores("outliers", outliers)[:, None] < -c, axis=0)
    return c, kept, rejected


def _scores(name, value):
    """Return scores (N,) of images as an array; where an image is an inlier, True or False, is no score."""
    return arguments.array(name, value, "(N,)")


def auc(inliers: np.ndarray, outliers: np.ndarray) -> float:
    """Return the area under the curve over all c: the probability that an inlier scores above an outlier.

    Args:
        inliers: scores (N,), such as `DCGMM.standardised_scores`.
        outliers: scores (M,).

    Raises:
        ValueError: if an argument is empty, not one-dimensional, or has a number that is not finite.

    Example:
        >>> auc([0.0, 1.0], [-3.0, 0.5])
        0.75
    """
    inliers, outliers = _scores("inliers", inliers), _scores("outliers", outliers)
    truth: np.ndarray = np.repeat([1, 0], [len(inliers), len(outliers)])
    return float(roc_auc_score(truth, np.concatenate([inliers, outliers])))
