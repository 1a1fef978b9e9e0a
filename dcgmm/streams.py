"""Batches from outside: data sets, PyDatasets and loaders, each batch checked when its turn comes."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

AN_ARRAY_LIKE = (str, bytes, bytearray, list, tuple, range, Mapping, Set)


class InvalidBatch(ValueError, tf.errors.InvalidArgumentError):
    """A batch that a model refuses while it reads a stream: a ValueError, as for arrays, and also TensorFlow's error.

    Example:
        >>> raise InvalidBatch("x: a pixel is infinite")
        Traceback (most recent call last):
        dcgmm.streams.InvalidBatch: x: a pixel is infinite
    """

    def __init__(self, message: str) -> None:
        tf.errors.InvalidArgumentError.__init__(self, None, None, message)


@dataclass(eq=False)
class Stream:
    """A data set of batches, and the errors that Python raised while TensorFlow read it.

    TensorFlow reads ahead in threads of its own and wraps an error of theirs into pages of text. `reading` gives the
    error itself.

    Args:
        data: the data set; each element is a tuple with the images first.
        errors: the list to which the data set's functions append their errors. Default: an empty one.
        source: where a `keras.utils.PyDataset` lies below it, this one, because it wants to know when epochs begin
            and end. Default None.

    Example:
        >>> [len(images) for images, in Stream(tf.data.Dataset.from_tensors((tf.zeros((5, 8, 8, 1)),)))]
        [5]
    """

    data: tf.data.Dataset
    errors: list[Exception] = field(default_factory=list)
    source: keras.utils.PyDataset | None = None

    def __iter__(self) -> Iterator[tuple[tf.Tensor, ...]]:
        """Read the batches."""
        with self._own_errors():
            yield from self.data

    @contextmanager
    def reading(self, steps: int | None = None) -> Iterator[None]:
        """Raise the first error of a batch in place of TensorFlow's, while Keras reads the data set.

        Args:
            steps: the batches that Keras is to read. Default None: all. Keras warns of an end that it did not know
                beforehand, and advises to repeat the data; where all are to be read, this would mislead.
        """
        with self._own_errors():
            if steps is not None or self.n_batches is not None:
                yield
                return
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
                yield

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError:
            if not self.errors:
                raise
            first = self.errors[0]
            raise (InvalidBatch(str(first)) if type(first) is ValueError else first) from None

    @property
    def n_batches(self) -> float | None:
        """The number of batches; None if it is unknown, and infinity if there is no end."""
        n = int(self.data.cardinality())
        if n == tf.data.UNKNOWN_CARDINALITY:
            return None
        return math.inf if n == tf.data.INFINITE_CARDINALITY else n

    @property
    def endless(self) -> bool:
        """Whether the data set has no end, as after `repeat()`."""
        return _is_endless(self.data)


def _is_endless(data):
    """Return whether a data set has no end, also where TensorFlow does not know, as in `repeat().filter(...)`."""
    n = int(data.cardinality())
    if n != tf.data.UNKNOWN_CARDINALITY or "Take" in type(data).__name__:
        return n == tf.data.INFINITE_CARDINALITY
    sources = data._inputs()
    return bool(sources) and all(map(_is_endless, sources))


def is_stream(x: Any) -> bool:
    """Return whether x gives batches, one after the other, and is not an array, a tensor or a list.

    Example:
        >>> is_stream(tf.data.Dataset.range(3)), is_stream(tf.zeros(3)), is_stream([0, 1]), is_stream(iter([0]))
        (True, False, False, True)
    """
    if isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
        return True
    if isinstance(x, AN_ARRAY_LIKE) or tf.is_tensor(x) or hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        return False
    return isinstance(x, Iterable) and not isinstance(x, keras.KerasTensor | type)


def batches_of(tensors: Sequence[tf.Tensor], batch_size: int, order: tf.Variable | None = None) -> tf.data.Dataset:
    """Return a data set of batches of some tensors' rows, as tuples.

    The tensors lie in variables, because a data set copies the tensors that it holds each time that it is read.

    Args:
        tensors: tensors (N, ...).
        batch_size: rows at a time; the last batch may have fewer.
        order: the rows' indices (N,) as they stand when a batch's turn comes. Shuffling within the data set would take
            0.05 s more in each epoch: the time of many batches. Default None: as they come.

    Example:
        >>> [batch.numpy().tolist() for batch, in batches_of([tf.range(5)], 2)]
        [[0, 1], [2, 3], [4]]
    """
    variables = [tf.Variable(tensor, trainable=False) for tensor in tensors]
    steps = -(-len(tensors[0]) // batch_size)

    def batch(i):
        first, end = i * batch_size, (i + 1) * batch_size
        if order is None:
            return tuple(variable[first:end] for variable in variables)
        return tuple(tf.gather(variable, order[first:end]) for variable in variables)

    return tf.data.Dataset.range(steps).map(batch).prefetch(tf.data.AUTOTUNE)


def examined(
    data: tf.data.Dataset, suspicious: Callable[..., tf.Tensor], examine: Callable[..., Any], image_shape: Any
) -> Stream:
    """Return a stream of a data set's batches, with float32 images (N, H, W, C) and int64 labels.

    Args:
        data: a data set of tuples, with the images first.
        suspicious: a function of a tuple's tensors: whether Python has to look at this batch. It is part of
            TensorFlow's graph, so that a sound batch costs no time in Python.
        examine: a function of a tuple's arrays that raises an error or warns.
        image_shape: (H, W, C).

    Example:
        >>> data = tf.data.Dataset.from_tensors((tf.zeros((5, 8, 8, 1), tf.float64),))
        >>> stream = examined(data, lambda x: tf.reduce_any(x > 1), print, (8, 8, 1))
        >>> [images.dtype for images, in stream]
        [tf.float32]
    """
    errors: list[Exception] = []

    def look(*arrays):
        with _kept(errors):
            examine(*arrays)
        return True

    def check(x, *rest):
        looked = tf.cond(
            suspicious(x, *rest), lambda: tf.numpy_function(look, [x, *rest], tf.bool), lambda: tf.constant(True)
        )
        with tf.control_dependencies([looked]):
            x = tf.ensure_shape(tf.cast(x, tf.float32), (None, *image_shape))
            return (tf.identity(x), *(tf.identity(tf.cast(labels, tf.int64)) for labels in rest))

    return Stream(data.map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True), errors)


def loaded(source: Any, convert: Callable[[Any], tuple[tf.Tensor, ...]]) -> Stream:
    """Return a stream of batches that Python loads: of a `keras.utils.PyDataset`, or of an iterable such as a loader.

    Args:
        source: a PyDataset, whose `workers` load side by side, or an iterable that can be read several times.
        convert: a function of a batch that returns a tuple of tensors, with the images first, or raises an error.

    Raises:
        ValueError: if the source is empty, or can be read only once, as a generator.

    Example:
        >>> class Loader:
        ...     def __iter__(self):
        ...         yield tf.zeros((5, 8, 8, 1))
        >>> [tuple(images.shape) for images, in loaded(Loader(), lambda batch: (batch,))]
        [(5, 8, 8, 1)]
    """
    errors: list[Exception] = []
    if isinstance(source, keras.utils.PyDataset):
        return Stream(_of_indices(source, convert, errors), errors, source)
    if iter(source) is source:
        raise ValueError(
            f"x: a {type(source).__name__} can be read only once, but a model reads its images several times: give "
            "tf.data.Dataset.from_generator(function, output_signature=...) with the function that makes it, or a "
            "keras.utils.PyDataset"
        )
    first = next(iter(source), None)
    if first is None:
        raise ValueError(f"x: expected batches of images, received an empty {type(source).__name__}")
    specs = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in convert(first))

    promised = len(source) if hasattr(source, "__len__") else None

    def read():
        n = 0
        with _kept(errors):
            for batch in source:
                n += 1
                yield convert(batch)
            if promised is not None and n < promised:
                raise ValueError(f"x: {type(source).__name__} says that it has {promised} batches, and gave {n}")

    data = tf.data.Dataset.from_generator(read, output_signature=specs)
    if promised is not None:
        data = data.apply(tf.data.experimental.assert_cardinality(promised))
    return Stream(data.prefetch(tf.data.AUTOTUNE), errors)


def _of_indices(source, convert, errors):
    """Return a data set of a PyDataset's batches in their order, which as many threads load as it has workers."""
    try:
        n = source.num_batches
    except NotImplementedError:
        raise ValueError(f"x: {type(source).__name__} does not say how many batches it has: define __len__") from None
    if n == 0:
        raise ValueError(f"x: expected batches of images, received an empty {type(source).__name__}")
    first = convert(source[0])

    def load(index):
        with _kept(errors):
            return [part.numpy() for part in convert(source[int(index)])]

    def batch(index):
        parts = tf.numpy_function(load, [index], [part.dtype for part in first])
        return tuple(tf.ensure_shape(part, (None, *like.shape[1:])) for part, like in zip(parts, first, strict=True))

    indices = tf.data.Dataset.counter() if n is None else tf.data.Dataset.range(n)
    workers = max(1, source.workers)
    return indices.map(batch, num_parallel_calls=workers, deterministic=True).prefetch(tf.data.AUTOTUNE)


@contextmanager
def _kept(errors):
    try:
        yield
    except Exception as error:
        errors.append(error)
        raise


def once(function: Callable[[str], Any]) -> Callable[[str], None]:
    """Return a function that passes its first call on, and no other, from whatever thread.

    Example:
        >>> say = once(print)
        >>> say("a"), say("b")
        a
        (None, None)
    """
    calls = itertools.count()

    def first_only(message: str) -> None:
        if next(calls) == 0:
            function(message)

    return first_only
