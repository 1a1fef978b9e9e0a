"""The input that a model accepts: images of a shape and range, fitting labels, and streams of batches of both."""

import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm import streams
from dcgmm.arguments import positive_integer, shown
from dcgmm.streams import Stream

MAX_MAGNITUDE = 1e15
# Beyond this magnitude, float32 rounds away whole nats of the expanded square of the log scores.
COMFORTABLE_MAGNITUDE = 32
# Images without negative pixels are taken for images in [0, 1] on another scale if they go beyond this. Standardised
# images have negative pixels, and so have samples of a model. The margin is for samples whose negative pixels were cut.
LARGEST_UNSCALED = 1.5
PIXELS_AT_A_TIME = 2**22


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
    positive_integer("n", n)


@dataclass(frozen=True)
class ExpectedInput:
    """The images and labels that a model accepts.

    Images are arrays or tensors (N, H, W, C) of real numbers, or lists of images of one shape. Booleans count as 0 and
    1. What a masked array hides counts as missing: NaN.

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
        ValueError: x: expected images of shape (N, 28, 28, 1), received (3, 28, 28): add the channel, x[..., None]
    """

    image_shape: tuple[int, ...]
    max_magnitude: float
    n_classes: int | None = None

    def images(self, x: Any, name: str = "x") -> tf.Tensor:
        """Return images (N, H, W, C) as a float32 tensor; missing pixels are NaN.

        It warns of pixels that seem to be on another scale than [0, 1]: integers beyond ±1, images without negative
        pixels and with some beyond 1.5, and pixels beyond ±32, whose likelihoods lose precision.

        Args:
            x: images.
            name: how the caller's argument is called, for messages. Default "x".

        Raises:
            ValueError: if x is of another kind or shape, there are no images, or a pixel is infinite or too large.
        """
        return self._images(x, name, warn)

    def _images(self, x, name, say):
        numbers = _numbers(x, name, f"images of shape (N, {self._sizes})")
        integers = _are_integers(numbers)
        if tuple(numbers.shape[1:]) != self.image_shape or len(numbers.shape) != 1 + len(self.image_shape):
            received = tuple(numbers.shape) or shown(x)
            raise ValueError(
                f"{name}: expected images of shape (N, {self._sizes}), received {received}"
                f"{_way_out(received, self.image_shape, name.partition(':')[0])}"
            )
        if not numbers.shape[0]:
            raise ValueError(f"{name}: expected at least one image, received none: shape {tuple(numbers.shape)}")
        images = _as_float32(numbers)
        lowest, largest = _checked_range(images, self.max_magnitude, name)
        if message := _doubt_of_scale(lowest, largest, integers):
            say(f"{name}: {message}")
        return images

    def labels(self, y: Any, n: int, name: str = "y") -> tuple[tf.Tensor, ...]:
        """Return the labels of n images as a tuple of one int64 tensor (N,), or () for a model without a classifier.

        Raises:
            ValueError: if there are labels but no classifier, or the reverse, or the labels do not fit.
        """
        if self.n_classes is None:
            if y is not None:
                raise ValueError(
                    f"{name}: labels were given, but the model has no LinearClassifier to learn them, received "
                    f"{shown(y)}"
                )
            return ()
        needs = f"{name}: a model with a classifier needs integer labels of shape ({n},), received"
        if y is None:
            raise ValueError(f"{needs} none")
        try:
            labels = np.asarray(y)
        except (ValueError, TypeError):
            raise ValueError(f"{needs} {shown(y)}") from None
        if np.ma.is_masked(y):
            raise ValueError(f"{needs} a masked array: leave out the images whose labels are missing")
        if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{needs} {labels.dtype} of shape {labels.shape}{_way_to_labels(labels, n, name)}")
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise ValueError(
                f"{name}: labels must be 0 to {self.n_classes - 1}, received values from {labels.min()} to "
                f"{labels.max()}"
            )
        return (tf.constant(labels, tf.int64),)

    def stream(self, x: Any, y: Any = None, labelled: bool = True, name: str = "x") -> Stream:
        """Return the batches of a stream, with float32 images and int64 labels that are checked when their turn comes.

        Args:
            x: a `tf.data.Dataset`, a `keras.utils.PyDataset`, or an iterable that can be read several times, such as a
                loader; each batch is images, or a pair (images, labels).
            y: must be None: the labels belong into the stream.
            labelled: whether a model with a classifier needs labels. If not, labels are dropped. Default True.
            name: how the caller's argument is called, for messages. Default "x".

        Raises:
            ValueError: if the stream's elements are of another kind or shape, or labels are missing.
            InvalidBatch: while it is read, for what `images` and `labels` refuse. It is a ValueError, too.
        """
        if y is not None:
            raise ValueError(
                f"y: labels were given beside a data set {name}: they belong into it, as pairs (images, labels)"
            )
        if not isinstance(x, tf.data.Dataset):
            convert = partial(self._converted, labelled=labelled, name=name, say=streams.once(warner()))
            return streams.loaded(x, convert)
        with_labels = labelled and self.n_classes is not None
        parts = self._parts_of(x.element_spec, with_labels, name)
        data = x.map(lambda *batch: batch[: len(parts)])
        say = streams.once(warner())

        def examine(images, labels=None):
            self._images(images, f"{name}: a batch of the data set", say)
            if labels is not None:
                self.labels(labels, len(images), f"{name}: labels in a batch of the data set")

        return streams.examined(data, self._suspicious, examine, self.image_shape)

    def _parts_of(self, spec, with_labels, name):
        """Return the specifications of the images, and of the labels where they are needed, of a data set's batches."""
        parts = spec if isinstance(spec, tuple) else (spec,)
        tensors = all(isinstance(part, tf.TensorSpec) for part in parts)
        if (
            not tensors
            or not 1 <= len(parts) <= 2
            or not _is_real(parts[0].dtype)
            or not parts[0].shape[1:].is_compatible_with(self.image_shape)
            or parts[0].shape.rank == 0
        ):
            expected = f"images of shape (batch, {self._sizes}), or pairs of them and labels"
            hint = ""
            if tensors and parts and parts[0].shape == self.image_shape:
                hint = ": make batches of its images, by .batch(100)"
            raise ValueError(f"{name}: expected a data set of {expected}, received {spec}{hint}")
        if not with_labels:
            return parts[:1]
        labels = parts[-1]
        if len(parts) < 2 or not labels.dtype.is_integer or labels.shape.rank not in (None, 1):
            raise ValueError(
                f"{name}: a model with a classifier needs pairs of images and integer labels (batch,), received {spec}"
            )
        return parts

    def _suspicious(self, x, *labels):
        """Return, in a data set's graph, whether a batch's pixels, shape or labels may give an error or a warning."""
        if not x.shape[1:].is_fully_defined():
            return tf.constant(True)
        values = tf.cast(x, tf.float32)
        # Comparisons with NaN, a missing pixel, are false.
        sound = ~tf.reduce_any(tf.abs(values) > (1 if x.dtype.is_integer else LARGEST_UNSCALED))
        if not x.dtype.is_integer:
            sound |= ~tf.reduce_any(tf.abs(values) > COMFORTABLE_MAGNITUDE) & tf.reduce_any(values < 0)
        sound &= tf.shape(x)[0] > 0
        for y in labels:
            y = tf.cast(y, tf.int64)
            fits = tf.equal(tf.shape(y), tf.shape(x)[:1])
            sound &= tf.reduce_all(fits) & tf.reduce_all((y >= 0) & (y < self.n_classes))
        return ~sound

    def _converted(self, batch, labelled, name, say):
        """Return a batch that Python has loaded as a tuple of tensors: images, and labels where they are needed."""
        parts = tuple(batch) if isinstance(batch, tuple | list) and _is_pair(batch) else (batch,)
        if len(parts) > 2:
            raise ValueError(
                f"{name}: expected batches of images, or pairs (images, labels), received {len(parts)} parts: every "
                "image counts the same, so there are no sample weights"
            )
        images = self._images(parts[0], f"{name}: a batch", say)
        copy = tf.constant(np.array(images))  # because a loader may reuse its memory for the next batch
        if not labelled or self.n_classes is None:
            return (copy,)
        return (copy, *self.labels(parts[1] if parts[1:] else None, len(images), f"{name}: labels in a batch"))

    def batches(
        self, x: Any, y: Any = None, *, batch_size: int | None = None, labelled: bool = True, name: str = "x"
    ) -> Stream:
        """Return batches of arrays, in their order, or those of a stream.

        Args:
            x: images, or a stream of batches.
            y: labels of the images. Default None.
            batch_size: images at a time. A stream has batches of its own, so another size is refused beside it.
                Default None: 500.
            labelled: whether a model with a classifier needs labels. Default True.
            name: how the caller's argument is called, for messages. Default "x".
        """
        if batch_size is not None:
            positive_integer("batch_size", batch_size)
        if streams.is_stream(x):
            stream = self.stream(x, y, labelled, name)
            check_batch_size(stream, batch_size)
            return stream
        x = self.images(x, name)
        labels = self.labels(y, len(x)) if labelled else ()
        return Stream(streams.batches_of((x, *labels), batch_size or 500))

    def image_batches(self, x: Any, batch_size: int | None = None) -> Stream:
        """Return batches of images, as tuples of one tensor. Labels are not needed and are dropped.

        Raises:
            ValueError: if x is no images or stream of them, or has no end.
        """
        stream = self.batches(x, batch_size=batch_size, labelled=False)
        if stream.endless:
            raise ValueError("x: expected a data set with an end, received an endless one: give x.take(n), n batches")
        return stream

    @property
    def _sizes(self):
        return ", ".join(str(n) for n in self.image_shape)


def check_batch_size(stream: Stream, batch_size: int | None) -> None:
    """Refuse a batch size beside a stream whose batches have another one.

    Raises:
        ValueError: if the first batch has another size.

    Example:
        >>> check_batch_size(Stream(tf.data.Dataset.from_tensors((tf.zeros((5, 8, 8, 1)),))), 20)
        Traceback (most recent call last):
        ValueError: batch_size=20 has no effect beside a data set, whose batches have 5 images: leave it out
    """
    if batch_size is None or stream.n_batches == 0:
        return
    first = next(iter(Stream(stream.data.take(1), stream.errors)), None)
    if first is not None and len(first[0]) != batch_size:
        raise ValueError(
            f"batch_size={batch_size} has no effect beside a data set, whose batches have {len(first[0])} images: "
            "leave it out"
        )


def warn_of_narrow_data(images: tf.Tensor, max_precision: float) -> None:
    """Warn of images that vary much less than the narrowest component, whose standard deviation is 1/√D_max.

    All components then fit all images nearly alike: responsibilities stay at 1/K, and samples are noise. Of many images
    it looks at a thousand, and at the pixel that varies most.

    Args:
        images: a tensor (N, H, W, C).
        max_precision: D_max of the lowest GMM layer.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_narrow_data(0.01 * tf.reshape(tf.range(5.0), (5, 1, 1, 1)), max_precision=20)
        >>> str(caught[0].message)[:76]
        'x: the standard deviation of the pixel that varies most is 0.0141, far below'
    """
    some = images[:: max(1, len(images) // 1000)]
    deviation = float(tf.reduce_max(tf.math.reduce_std(some, axis=0)))
    narrowest = 1 / math.sqrt(max_precision)
    if 0 < deviation < narrowest / 4:
        warn(
            f"x: the standard deviation of the pixel that varies most is {deviation:.3g}, far below that of the "
            f"narrowest component, {narrowest:.3g}, so components cannot tell the images apart: scale the images to "
            "[0, 1] or to unit variance"
        )


def fill_masked(x: Any) -> Any:
    """Return masked real numbers as a float32 array with NaN where they are masked, and anything else as it is.

    A list of masked images counts, too.

    Example:
        >>> fill_masked(np.ma.masked_greater([1.0, 9.0], 5)).tolist()
        [1.0, nan]
    """
    if isinstance(x, np.ma.MaskedArray) and x.dtype.kind in "fiub":
        with np.errstate(over="ignore"):  # what is infinite is refused later, and what is masked does not count
            return np.ma.filled(x.astype(np.float32), np.nan)
    if isinstance(x, list | tuple) and any(isinstance(part, np.ma.MaskedArray) for part in x):
        return [fill_masked(part) for part in x]
    return x


def _numbers(x: Any, name: str, expected: str) -> Any:
    """Return x as an array, or as the tensor that it is, of real numbers that TensorFlow knows.

    Raises:
        ValueError: if it is something else.
    """
    x = fill_masked(x)
    if isinstance(x, tf.Tensor | tf.Variable) and not tf.is_symbolic_tensor(x):
        if not _is_real(x.dtype):
            raise ValueError(f"{name}: expected {expected}, received {x.dtype.name} of shape {tuple(x.shape)}")
        return x
    if x is None or isinstance(x, str | bytes | keras.KerasTensor) or tf.is_tensor(x) or streams.is_stream(x):
        way_out = ": join its batches into one array by np.concatenate" if streams.is_stream(x) else ""
        raise ValueError(f"{name}: expected {expected}, received {shown(x)}{way_out}")
    try:
        array = np.asarray(x)
    except (ValueError, TypeError):
        raise ValueError(
            f"{name}: expected {expected}, received {shown(x)}, which is no array: images of several sizes?"
        ) from None
    if array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected {expected}, received {shown(x)}: real numbers are needed")
    if not array.dtype.isnative or array.dtype.itemsize > 8:
        return array.astype(np.float32)
    return array


def _as_float32(numbers: Any) -> tf.Tensor:
    """Return an array, a tensor or a variable as a float32 tensor, without a copy beyond the tensor itself."""
    if not tf.is_tensor(numbers):
        with np.errstate(over="ignore"):  # what is infinite is refused later
            numbers = np.asarray(numbers, np.float32)
    # `tf.convert_to_tensor` would hold twice the memory.
    return tf.raw_ops.Cast(x=numbers, DstT=tf.float32)


def some_at_a_time(images: tf.Tensor) -> Iterator[tf.Tensor]:
    """Yield all images, as many at a time as have few pixels, so that a look at them takes little memory.

    Args:
        images: a tensor (N, H, W, C).

    Example:
        >>> sum(len(some) for some in some_at_a_time(tf.zeros((10_000, 28, 28, 1))))
        10000
    """
    n = max(1, PIXELS_AT_A_TIME // math.prod(images.shape[1:]))
    for start in range(0, len(images), n):
        yield images[start : start + n]


def largest_magnitude(images: tf.Tensor) -> tf.Tensor:
    """Return the largest absolute pixel of some images; missing pixels, NaN, do not count.

    Args:
        images: a tensor of any shape.

    Example:
        >>> float(largest_magnitude(tf.constant([0.5, -2.0, np.nan])))
        2.0
    """
    return tf.reduce_max(tf.where(tf.math.is_nan(images), 0.0, tf.abs(images)))


def _checked_range(images: tf.Tensor, limit: float, name: str) -> tuple[float, float]:
    """Return the smallest value of some images and the largest absolute one; missing pixels, NaN, do not count.

    Raises:
        ValueError: if a pixel is infinite, or beyond the limit.
    """
    lowest, largest, n_bad = math.inf, 0.0, 0
    for some in some_at_a_time(images):
        lowest = min(lowest, float(tf.reduce_min(tf.where(tf.math.is_nan(some), 0.0, some))))
        largest = max(largest, float(largest_magnitude(some)))
        if largest > limit:
            n_bad += int(tf.math.count_nonzero(tf.abs(some) > limit))
    if n_bad:
        first = tuple(int(i) for i in tf.where(tf.abs(images) > limit)[0])
        raise ValueError(
            f"{name}: {n_bad} pixel(s) are infinite or beyond ±{limit:g}: the first is {float(images[first])} at index "
            f"{first} (image, row, column, channel)"
        )
    return lowest, largest


def _doubt_of_scale(lowest: float, largest: float, integers: bool) -> str | None:
    """Return what to say of images whose pixels seem to be on another scale than [0, 1], or None."""
    if largest > COMFORTABLE_MAGNITUDE:
        return f"pixels of up to {largest:g} lose precision in float32: scale the images to [0, 1]{_divisor(largest)}"
    if integers and largest > 1:
        return f"integer pixels of up to {largest:g}, but images in [0, 1] are expected: scale them{_divisor(largest)}"
    if largest > LARGEST_UNSCALED and lowest >= 0:
        return (
            f"pixels from 0 or more to {largest:g}, but images in [0, 1] are expected: divide them by the largest "
            "possible pixel (255 for bytes)"
        )
    return None


def _divisor(largest):
    if largest <= 255:
        return ", x / 255 if they are bytes"
    return ", x / 65535 if they have 16 bits" if largest <= 65535 else ""


def _are_integers(x):
    dtype = tf.as_dtype(x.dtype)
    return dtype.is_integer and not dtype.is_bool


def _is_real(dtype):
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _is_pair(batch):
    """Return whether a batch is a tuple or list of images and more, and not a list of single images."""
    return isinstance(batch, tuple) or any(np.ndim(part) != np.ndim(batch[0]) for part in batch)


def _way_out(received, wanted, name):
    """Return a hint for images of a wrong shape that would fit after a common change, or nothing."""
    if isinstance(received, str):
        return ""
    height, width, channels = wanted
    ways = {
        (channels, height, width): f"the channels come first: np.moveaxis({name}, 1, -1)",
        (width, height, channels): f"height and width are exchanged: np.swapaxes({name}, 1, 2)",
        (height * width * channels,): f"the images are rows: {name}.reshape(-1, {height}, {width}, {channels})",
    }
    if channels == 1:
        ways[height, width] = f"add the channel, {name}[..., None]"
    if received == wanted:
        return f": one image is a batch of one, {name}[None]"
    if len(received) == 5 and received[2:] == wanted:
        return f": batches are joined by np.concatenate({name})"
    return f": {ways[received[1:]]}" if received[1:] in ways else ""


def _way_to_labels(labels, n, name):
    """Return a hint for labels that would fit after a common change, or nothing."""
    if labels.shape == (n, 1):
        return f": take the column, {name}[:, 0]"
    if labels.ndim == 2 and len(labels) == n and labels.dtype.kind in "fiub":
        return f": if they are one-hot, {name}.argmax(axis=1)"
    if labels.shape == (n,) and labels.dtype.kind == "f" and np.all(labels == np.round(labels)):
        return f": {name}.astype(int)"
    return ""


_INSIDE = tuple(os.path.dirname(os.path.abspath(path)) + os.sep for path in (__file__, str(keras.__file__)))


def warn(message: str) -> None:
    """Warn at the line of the caller's own code, outside this library and Keras.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("take care")
        >>> str(caught[0].message)
        'take care'
    """
    warner()(message)


def warner() -> Callable[[str], None]:
    """Return a function that warns at the line of the caller's own code, from whatever thread it is called later.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warner()("take care")
        >>> str(caught[0].message)
        'take care'
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame = frame.f_back
    place = frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "__main__")
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    return lambda message: warnings.warn_explicit(message, UserWarning, *place, registry)
