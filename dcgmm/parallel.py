"""Parts of a batch side by side: each core works on a part of its own, where TensorFlow gives an operation one thread.

The operations of a DCGMM are many and small, so that several threads in each of them mostly wait for each other.
"""

import os
from itertools import pairwise

import joblib
import tensorflow as tf

# Of a batch of 100 images, more parts would be too small to be worth their overhead.
MAX_PARTS = 4


def one_thread_an_operation():
    """Let TensorFlow give an operation one thread, unless another number was asked for or TensorFlow has started."""
    if not _threads_within():
        try:
            tf.config.threading.set_intra_op_parallelism_threads(1)
        except RuntimeError:  # as it says once it has started, and keeps its threads
            return


def n_parts():
    """Return into how many parts to cut a batch: as many as cores, up to 4, if an operation has one thread, else 1."""
    if _threads_within() != 1:
        return 1
    between = tf.config.threading.get_inter_op_parallelism_threads() or _number("TF_NUM_INTEROP_THREADS")
    return min(between or joblib.cpu_count(), MAX_PARTS)


def cut(batch, n):
    """Return n parts of a batch, as a list, and how many rows of each are its own, as another.

    Where there are fewer rows than parts, a part that has none holds one of its neighbour's: of nothing, oneDNN's
    convolutions make tensors of the wrong shape.
    """
    length = tf.shape(batch)[0]
    if n == 1:
        return [batch], [length]
    bounds = list(pairwise(length * i // n for i in range(n + 1)))
    return [batch[a : tf.maximum(b, a + 1)] for a, b in bounds], [b - a for a, b in bounds]


def join(parts, sizes):
    """Return what was computed of each part of a batch as a tensor for the batch."""
    return tf.concat([part[:size] for part, size in zip(parts, sizes, strict=True)], 0) if parts[1:] else parts[0]


def mean(values, sizes):
    """Return the mean over a batch, of the means over its parts."""
    total = tf.add_n(sizes)
    return tf.add_n([value * tf.cast(size / total, value.dtype) for value, size in zip(values, sizes, strict=True)])


def side_by_side(function, batch, n):
    """Return what a function of n parts of a batch gives, a list of tensors, for the batch."""
    parts, sizes = cut(batch, n)
    return [join(of_parts, sizes) for of_parts in zip(*map(function, parts), strict=True)]


def _threads_within():
    return tf.config.threading.get_intra_op_parallelism_threads() or _number("TF_NUM_INTRAOP_THREADS")


def _number(variable):
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else 0
