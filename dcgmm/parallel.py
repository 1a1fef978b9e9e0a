"""Parts of a batch side by side: if TensorFlow gives each operation one thread, each core works on its own part.

The operations of a DCGMM are many and small. With several threads in each operation, the threads mostly wait.
"""

import gc
import os
from collections.abc import Callable, Sequence
from itertools import pairwise

import joblib
import tensorflow as tf

from dcgmm import arguments

# With more parts, each part of a batch of 100 images would be too small to be worth its overhead.
MAX_PARTS = 4


def use_cores() -> bool:
    """Make `fit` fast on CPUs: call it once, before TensorFlow's first operation.

    It changes settings of the whole process. TensorFlow gives each operation one thread; then a model cuts its batches
    into parts, one for each core, up to four. And Python's garbage collection no longer looks at the million
    objects that TensorFlow's import has made. Without this call, `fit` is slower, and its results are equal within
    float32 rounding.

    It keeps a number of threads that was set before (by `TF_NUM_INTRAOP_THREADS` or
    `tf.config.threading.set_intra_op_parallelism_threads`). If TensorFlow has started, it keeps its threads, too.

    Returns:
        Whether operations have one thread, so that batches are cut into parts.

    Example:
        >>> import dcgmm
        >>> parts_are_used = dcgmm.use_cores()
    """
    if not gc.get_freeze_count():  # a second call would keep models that are garbage by then
        gc.collect()  # garbage that is frozen would never be freed
        gc.freeze()
    if not _threads_within():
        try:
            tf.config.threading.set_intra_op_parallelism_threads(1)
        except RuntimeError:  # TensorFlow has started and keeps its threads
            return False
    return _threads_within() == 1


def n_parts() -> int:
    """Return the number of parts to cut a batch into: one per core, up to 4, if an operation has one thread, else 1.

    Example:
        >>> 1 <= n_parts() <= MAX_PARTS
        True
    """
    if _threads_within() != 1:
        return 1
    between = tf.config.threading.get_inter_op_parallelism_threads() or _number("TF_NUM_INTEROP_THREADS")
    return min(between or joblib.cpu_count(), MAX_PARTS)


def cut(batch: tf.Tensor, n: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Return n parts of a batch, and how many rows of each part are its own.

    With fewer rows than parts, a part without rows of its own holds one row of its neighbour, because oneDNN returns
    a wrong shape for an empty batch.

    Args:
        batch: a tensor (N, ...).
        n: the number of parts, ≥ 1.

    Raises:
        ValueError: if `n` is no positive integer.

    Example:
        >>> parts, sizes = cut(tf.range(5), 2)
        >>> [part.numpy().tolist() for part in parts]
        [[0, 1], [2, 3, 4]]
        >>> [int(size) for size in sizes]
        [2, 3]
    """
    n = arguments.positive_integer("n", n)
    length = tf.shape(batch)[0]
    if n == 1:
        return [batch], [length]
    bounds = list(pairwise(length * i // n for i in range(n + 1)))
    return [batch[a : tf.maximum(b, a + 1)] for a, b in bounds], [b - a for a, b in bounds]


def join(parts: Sequence[tf.Tensor], sizes: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the tensor of a batch from the tensors of its parts; the reverse of `cut`.

    Raises:
        ValueError: if there are no parts, or not one size for each.

    Example:
        >>> join(*cut(tf.range(5), 2)).numpy().tolist()
        [0, 1, 2, 3, 4]
    """
    _check_parts("parts", parts, sizes)
    return tf.concat([part[:size] for part, size in zip(parts, sizes, strict=True)], 0) if parts[1:] else parts[0]


def mean(values: Sequence[tf.Tensor], sizes: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the mean over a batch from the means over its parts.

    Raises:
        ValueError: if there are no parts, or not one size for each.

    Example:
        >>> float(mean([tf.constant(1.0), tf.constant(4.0)], [tf.constant(2), tf.constant(1)]))
        2.0
    """
    _check_parts("values", values, sizes)
    total = tf.add_n(sizes)
    return tf.add_n([value * tf.cast(size / total, value.dtype) for value, size in zip(values, sizes, strict=True)])


def _check_parts(name, parts, sizes):
    if not len(parts) == len(sizes) > 0:
        raise ValueError(f"{name} and sizes must be one for each part, received {len(parts)} and {len(sizes)}")


def side_by_side(function: Callable[[tf.Tensor], Sequence[tf.Tensor]], batch: tf.Tensor, n: int) -> list[tf.Tensor]:
    """Return the list of tensors that a function returns for a batch, computed for n parts of the batch.

    Raises:
        ValueError: if `n` is no positive integer.

    Example:
        >>> [y.numpy().tolist() for y in side_by_side(lambda x: [x + 1, x * x], tf.range(4), 2)]
        [[1, 2, 3, 4], [0, 1, 4, 9]]
    """
    parts, sizes = cut(batch, n)
    return [join(of_parts, sizes) for of_parts in zip(*map(function, parts), strict=True)]


def _threads_within():
    return tf.config.threading.get_intra_op_parallelism_threads() or _number("TF_NUM_INTRAOP_THREADS")


def _number(variable):
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() else 0
