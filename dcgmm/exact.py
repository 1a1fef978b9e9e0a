r"""Exact log-likelihoods of what a model samples, where its windows do not overlap.

Such a model draws each image in a tree: the top GMM layer draws a component, whose centroid gives each position below
its own weights, by which this position draws a component, and so on down to the pixels. Where layers above the lowest
add no noise, this has a closed form, a sum-product network: with ℓ_j(x) of a component j at a position of the lowest
layer, the log-density of its pixels,

    ℓ_k(x) = Σ_q log Σ_j w_kqj exp ℓ_j(x),        log p(x) = Σ_p log Σ_k π_k exp ℓ_k(x).

The first sum is over the positions q below that a component k controls, with the weights w_kq· of Sec. II-A3: its
centroid there, negative entries 0, normalised; π of the layer below where no entry is positive. The last one is over
the positions p of the top layer.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from dcgmm.levels import Level
from dcgmm.missing import seen_and_missing

# Elements of the largest tensor, for some images and all weights: a quarter of a gigabyte.
MAX_ELEMENTS = 2**26
GREY_LEVELS = 256


class Tree:
    """The distribution of images that a model samples from with all components and no noise above the lowest layer.

    Args:
        levels: the levels of a chain of built layers, from the lowest.

    Raises:
        ValueError: if windows overlap, pixels are in no window, or a MaxPooling lies below the lowest GMM layer: the
            images then have no such density.

    Example:
        >>> from dcgmm import load_pretrained, load_dataset
        >>> model, images = load_pretrained("2L-b", "mnist"), load_dataset("mnist")[2][:10]
        >>> Tree(model.levels).log_likelihood(images).shape
        TensorShape([10])
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        if reason := obstacle(levels):
            raise ValueError(reason)
        self.levels = list(levels)
        self._upper = [(_log_weights(upper, lower), _owners(upper)) for lower, upper in zip(levels, levels[1:])]

    @property
    def batch_size(self) -> int:
        """How many images fit into `MAX_ELEMENTS` at a time."""
        largest = max([weights.shape.num_elements() for weights, _ in self._upper], default=1)
        return max(1, min(500, MAX_ELEMENTS // largest))

    def log_likelihood(self, x: tf.Tensor) -> tf.Tensor:
        """Return log p of images (N, H, W, C), a tensor (N,) in nats; a NaN pixel is integrated out."""
        return self._from_lowest(self._lowest(x))

    def expected(self, x: tf.Tensor) -> tf.Tensor:
        """Return images (N, H, W, C) with each NaN pixel replaced by its mean, given the other pixels."""
        lowest = self._lowest(x)
        with tf.GradientTape() as tape:
            tape.watch(lowest)
            total = self._from_lowest(lowest)
        # The posterior of a component is the derivative of log p with respect to its log-density.
        posterior, gmm = tape.gradient(total, lowest), self.levels[0].gmm
        mean = tf.einsum("nhwk,kd->nhwd" if gmm.shared else "nhwk,hwkd->nhwd", posterior, gmm.mu.value)
        for window in reversed(self.levels[0].windows):
            mean = window.down(mean)
        return tf.where(tf.math.is_nan(x), mean, x)

    def _lowest(self, x):
        """Return the log-density of each position's pixels under each component of the lowest layer, (N, h, w, K)."""
        gmm = self.levels[0].gmm
        scores = self.levels[0].log_scores(*seen_and_missing(tf.convert_to_tensor(x)))
        return scores - tf.nn.log_softmax(gmm.xi.value) + gmm.log_normaliser

    def _from_lowest(self, densities):
        for level, (weights, owners) in zip(self.levels[1:], self._upper):
            controlled = tf.reduce_logsumexp(densities[:, None] + weights, -1)  # (N, K, H, W)
            by_position = tf.reshape(controlled, (*controlled.shape[:2], -1))
            height, width = level.gmm.output_plane
            sums = tf.math.unsorted_segment_sum(tf.transpose(by_position, (2, 0, 1)), owners, height * width)
            densities = tf.reshape(tf.transpose(sums, (1, 0, 2)), (-1, height, width, level.gmm.n_components))
        prior = tf.nn.log_softmax(self.levels[-1].gmm.xi.value)
        return tf.reduce_sum(tf.reduce_logsumexp(densities + prior, -1), (1, 2))


def obstacle(levels: Sequence[Level]) -> str | None:
    """Return why the images of a chain have no closed density, a sentence, or None: they have one.

    Example:
        >>> from dcgmm import DCGMM
        >>> obstacle(DCGMM.from_spec("2L-b").levels) is None
        True
    """
    lowest = levels[0]
    for level in levels:
        if level.folding is not None and level.folding.coverage.max() > 1:
            return (
                f"the exact log-likelihood needs windows that do not overlap, and those of {level.folding} do: use an "
                "instance such as 1L, 2L-b, 2L-d or 3L-b, or strides as large as the filter"
            )
    if lowest.lower:
        return f"the exact log-likelihood needs a lowest GMM layer that sees pixels, and {lowest.lower[0]} is below it"
    if lowest.folding is not None and lowest.folding.coverage.min() < 1:
        return (
            f"the exact log-likelihood needs every pixel in a window, and {lowest.folding} leaves "
            f"{int(np.sum(lowest.folding.coverage == 0))} out"
        )
    return None


def _down(level, signal):
    """Return what a signal (N, h, w, D) of a level's GMM layer becomes below its windows."""
    for window in reversed(level.windows):
        signal = window.down(signal)
    return signal


def _log_weights(upper, lower):
    """Return log w of each component of a level at each position of the level below, a tensor (K, H, W, K below)."""
    gmm, prior = upper.gmm, tf.nn.softmax(lower.gmm.xi.value)
    centroids = tf.reshape(gmm.mu.value, (-1, gmm.n_components, gmm.n_features))  # (1 or h·w, K, D)
    centroids = tf.broadcast_to(centroids, (np.prod(gmm.output_plane), *centroids.shape[1:]))
    signal = tf.reshape(tf.transpose(centroids, (1, 0, 2)), (gmm.n_components, *gmm.output_plane, gmm.n_features))
    weights = tf.nn.relu(_down(upper, signal))
    total = tf.reduce_sum(weights, -1, keepdims=True)
    return tf.math.log(tf.where(total > 0, tf.math.divide_no_nan(weights, total), prior))


def _owners(upper):
    """Return the position of a level's GMM layer that controls each position below, a vector (H·W,) of integers.

    A position that no window covers draws by π, whatever the layer above draws; it counts at position 0.
    """
    height, width = upper.gmm.output_plane
    index = tf.reshape(tf.range(height * width, dtype=tf.float32), (1, height, width, 1))
    signal = _down(upper, tf.repeat(index, upper.gmm.n_features, -1))
    return tf.cast(tf.round(tf.reshape(signal[..., 0], (-1,))), tf.int32)


def bits_per_pixel(nats: float, n_pixels: int) -> float:
    """Return the bits that a pixel of 256 grey levels needs, from the log-likelihood of an image with pixels in [0, 1].

    log₂ 256 − nats / (n · log 2): a grey level has the width 1/256, and the density times this width approximates its
    probability. A component of the default largest precision, 20, allows no less than 7.16 bits, whatever the image.

    Args:
        nats: the log-likelihood of an image, or a mean of several.
        n_pixels: the number of numbers in an image, H·W·C.

    Example:
        >>> highest = 784 * np.log(20 / (2 * np.pi)) / 2
        >>> round(bits_per_pixel(highest, 784), 2)
        7.16
    """
    return float(np.log2(GREY_LEVELS) - nats / (n_pixels * np.log(2)))
