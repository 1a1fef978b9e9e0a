"""Outliers: what a layer finds much less likely than it found the training images (Sec. II-B2, Eq. 6)."""

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import roc_auc_score


@keras.saving.register_keras_serializable("dcgmm")
class Moments(keras.layers.Layer):
    """Mean and variance over images of a log-likelihood at each position, kept as weights and so saved with a model.

    Args:
        plane: (h, w), the number of positions.
    """

    def __init__(self, plane, **kwargs):
        super().__init__(**kwargs)
        self.plane = tuple(plane)
        self.count = self._state("count", ())
        self.mean = self._state("mean", self.plane)
        self.squares = self._state("squares", self.plane)

    def _state(self, name, shape):
        return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "plane": self.plane}

    def reset(self):
        """Forget all images."""
        for state in (self.count, self.mean, self.squares):
            state.assign(tf.zeros(state.shape))

    def update(self, counts, means, variances):
        """Take in the log-likelihoods of some batches of images, by number, mean and variance (h, w) of each batch.

        Source: T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae and a pairwise algorithm for computing sample
        variances, 1979.
        """
        count, mean, squares = (state.numpy() for state in (self.count, self.mean, self.squares))
        for n, batch_mean, batch_variance in zip(np.float32(counts), means, variances, strict=True):
            total, shift = count + n, batch_mean - mean
            squares = squares + (n * batch_variance + np.square(shift) * count * n / total)
            mean = mean + shift * n / total
            count = total
        for state, value in zip((self.count, self.mean, self.squares), (count, mean, squares), strict=True):
            state.assign(value)

    def standardised(self, likelihoods):
        """Return (L − mean) / sd for log-likelihoods (N, h, w): Eq. 6 calls a position inlier where this is ≥ −c.

        Raises:
            RuntimeError: before any image was taken in.
        """
        count = self.count.numpy()
        if not count:
            raise RuntimeError("no statistics of the training images yet: call fit or calibrate(x) first")
        mean, deviation = self.mean.numpy(), np.sqrt(self.squares.numpy() / count)
        # Where no training image differed, as in a black corner, a rounding error would else be infinitely unlikely.
        rounding = np.finfo("float32").eps * np.abs(mean) + np.finfo("float32").tiny
        return (likelihoods - mean) / np.maximum(deviation, rounding)


def roc(inliers, outliers, c=None):
    """Return the ROC-like curve of Fig. 3: what is kept and what is rejected as c of Eq. 6 varies.

    Args:
        inliers: standardised log-likelihoods (N,) of images like the training images, from `DCGMM.standardised_scores`.
        outliers: those of other images (M,).
        c: thresholds, in standard deviations. Default: 81 values in [−2, 2], the paper's range.

    Returns:
        Three arrays: c, the fraction of inliers kept, and the fraction of outliers rejected.
    """
    c = np.linspace(-2, 2, 81) if c is None else np.asarray(c)
    kept = np.mean(np.asarray(inliers)[:, None] >= -c, axis=0)
    rejected = np.mean(np.asarray(outliers)[:, None] < -c, axis=0)
    return c, kept, rejected


def auc(inliers, outliers):
    """Return the area under the curve over all c: how probably an inlier's score is above an outlier's."""
    truth = np.repeat([1, 0], [len(inliers), len(outliers)])
    return float(roc_auc_score(truth, np.concatenate([inliers, outliers])))
