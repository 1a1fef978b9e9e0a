"""The input that a model accepts: images of a shape and range, fitting labels, and data sets of batches of both."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

MAX_MAGNITUDE = 1e15
# Beyond this magnitude, float32 rounds away whole nats of the expanded square of the log scores.
COMFORTABLE_MAGNITUDE = 32


def max_magnitude(gmm_layers: Sequence[Any]) -> float:
    """Return the largest pixel that GMM layers accept: its square, times precision and features, is finite in float32.

    Args:
        gmm_layers: built `GMM` layers.

    Example:
        >>> from dcgmm import DCGMM
        >>> max_magnitude(DCGMM.from_spec("1L").gmm_layers)
        1000000000000000.0
    """
    largest_factor = max(layer.max_precision * layer.n_features for layer in gmm_layers)
    return min(MAX_MAGNITUDE, math.sqrt(np.finfo("float32").max / (4 * largest_factor)))


def check_count(n: Any) -> None:
    """Refuse a number of images that is not a positive integer.

    Raises:
        ValueError: if it is none; the message names the received value.

    Example:
        >>> check_count(0)
        Traceback (most recent call last):
        ValueError: n must be a positive integer, received 0
    """
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n must be a positive integer, received {n!r}")


@dataclass(frozen=True)
class ExpectedInput:
    """The images and labels that a model accepts.

    Args:
        image_shape: (H, W, C) of an image.
        max_magnitude: the largest accepted absolute value of a pixel.
        n_classes: how many classes the model's classifier knows. Default None: the model has no classifier.

    Example:
        >>> expected = ExpectedInput((28, 28, 1), max_magnitude=1e15)
        >>> expected.images(np.zeros((3, 28, 28, 1))).dtype
        tf.float32
        >>> expected.images(np.zeros((3, 28, 28)))
        Traceback (most recent call last):
        ValueError: expected images of shape (N, 28, 28, 1), received (3, 28, 28)
    """

    image_shape: tuple[int, ...]
    max_magnitude: float
    n_classes: int | None = None

    def images(self, x: Any) -> tf.Tensor:
        """Return images (N, H, W, C) as a float32 tensor; missing pixels are NaN.

        Raises:
            ValueError: if the shape is wrong, there are no images, or a pixel is infinite or too large.
        """
        if isinstance(x, np.ma.MaskedArray):
            x = np.ma.filled(x.astype("float32"), np.nan)
        x = tf.cast(tf.convert_to_tensor(x), tf.float32)
        if x.shape[1:] != self.image_shape or x.shape.rank != 1 + len(self.image_shape):
            raise ValueError(f"expected images of shape (N, {self._sizes}), received {tuple(x.shape)}")
        if not len(x):
            raise ValueError("expected at least one image, received none")
        magnitude = tf.abs(x)
        bad = tf.where(magnitude > self.max_magnitude)
        if len(bad):
            first = tuple(int(i) for i in bad[0])
            raise ValueError(
                f"{len(bad)} pixel(s) are infinite or beyond ±{self.max_magnitude:g}: "
                f"the first is {float(x[first])} at index {first} (image, row, column, channel)"
            )
        missing = tf.math.is_nan(x)
        if (largest := float(tf.reduce_max(tf.where(missing, 0.0, magnitude)))) > COMFORTABLE_MAGNITUDE:
            warnings.warn(
                f"pixels of up to {largest:g} lose precision in float32: scale the images to [0, 1]", stacklevel=3
            )
        return x

    def labels(self, y: Any, n: int) -> tuple[tf.Tensor, ...]:
        """Return the labels of n images as a tuple of one int64 tensor (N,), or () for a model without a classifier.

        Raises:
            ValueError: if there are labels but no classifier, or the reverse, or the labels do not fit.
        """
        if self.n_classes is None:
            if y is not None:
                raise ValueError("labels were given, but the model has no LinearClassifier to learn them")
            return ()
        labels = None if y is None else np.asarray(y)
        if labels is None or labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
            received = "none" if labels is None else f"{labels.dtype} of shape {labels.shape}"
            raise ValueError(f"a model with a classifier needs integer labels of shape ({n},), received {received}")
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise ValueError(
                f"labels must be 0 to {self.n_classes - 1}, received values from {labels.min()} to {labels.max()}"
            )
        return (tf.constant(labels, tf.int64),)

    def data_set(self, data: tf.data.Dataset, y: Any = None, labelled: bool = True) -> tf.data.Dataset:
        """Return a data set of batches, with float32 images that are checked when their turn comes.

        Args:
            data: a data set of batches of images, or of pairs (images, labels).
            y: must be None: the labels belong into the data set.
            labelled: whether a model with a classifier needs labels. Default True.

        Raises:
            ValueError: if the data set's elements are of another kind or shape, or labels are missing.
            tf.errors.InvalidArgumentError: while it is read, for a pixel that is infinite or too large.
        """
        if y is not None:
            raise ValueError("labels were given beside a data set: they belong into it, as pairs (images, labels)")
        spec = data.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        tensors = all(isinstance(part, tf.TensorSpec) for part in parts)
        if not tensors or len(parts) > 2 or not parts[0].shape[1:].is_compatible_with(self.image_shape):
            expected = f"images of shape (batch, {self._sizes}), or pairs of them and labels"
            raise ValueError(f"expected a data set of {expected}, received {spec}")
        if labelled and self.n_classes is not None:
            labels = parts[-1]
            if len(parts) < 2 or not labels.dtype.is_integer or labels.shape.rank not in (None, 1):
                raise ValueError(
                    f"a model with a classifier needs pairs of images and integer labels (batch,), received {spec}"
                )

        def check(x, *rest):
            x = tf.ensure_shape(tf.cast(x, tf.float32), (None, *self.image_shape))
            message = f"a batch of the data set has pixels that are infinite or beyond ±{self.max_magnitude:g}"
            valid = tf.debugging.Assert(~tf.reduce_any(tf.abs(x) > self.max_magnitude), [message])
            with tf.control_dependencies([valid]):
                return (tf.identity(x), *rest)

        return data.map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def batches(self, x: Any, y: Any = None, *, batch_size: int) -> tf.data.Dataset:
        """Return a data set of batches of arrays, in their order, or of a `tf.data.Dataset` as it is batched."""
        if isinstance(x, tf.data.Dataset):
            return self.data_set(x, y)
        x = self.images(x)
        return tf.data.Dataset.from_tensor_slices((x, *self.labels(y, len(x)))).batch(batch_size)

    def image_batches(self, x: Any, batch_size: int) -> tf.data.Dataset:
        """Return a data set of batches of images, as tuples of one tensor. Labels are not needed and are dropped."""
        if isinstance(x, tf.data.Dataset):
            return self.data_set(x, labelled=False).map(lambda images, *labels: (images,))
        return tf.data.Dataset.from_tensor_slices((self.images(x),)).batch(batch_size)

    @property
    def _sizes(self):
        return ", ".join(str(n) for n in self.image_shape)
