"""What TensorFlow writes without need, kept off the terminal and off notebooks: start-up lines, and a false warning."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# What TensorFlow calls functions of which each model has its own.
TRACED_BY_EACH_MODEL = ("TensorFlowTrainer", "Watch.begin", "OutlierDetection._batch_moments")
LEVEL = "TF_CPP_MIN_LOG_LEVEL"
START_UP = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|(\d{4}-\d\d-\d\d \S+ [IWE] |[IWE]\d{4} \S+ +\d+ )\S*"
    rb"(port|cudart_stub|cpu_feature_guard|cuda_platform|cuda_(dnn|blas|fft)|generator_dataset_op|plugin_registrar)\.cc"
    rb"|To enable the following instructions"
)


@contextmanager
def without_start_up_lines() -> Iterator[None]:
    """Hold back what is written to the process's stderr, and write it at the end without TensorFlow's start-up lines.

    TensorFlow logs them before it has read `TF_CPP_MIN_LOG_LEVEL`, so that this variable cannot switch them off. For
    what comes later, TensorFlow reads it as 3, fatal errors alone, because it logs as an error that there is no GPU.
    If the variable is set, TensorFlow reads its value, and if this is 0, nothing is held back.

    Example:
        >>> with without_start_up_lines():
        ...     import tensorflow
    """
    if os.environ.get(LEVEL) == "0":
        yield
        return
    try:
        stderr, held = os.dup(2), tempfile.TemporaryFile()
    except OSError:  # this process has no stderr, or there is no place for a file
        yield
        return
    os.dup2(held.fileno(), 2)
    level = os.environ.get(LEVEL)
    os.environ.setdefault(LEVEL, "3")
    try:
        yield
    finally:
        if level is None:
            del os.environ[LEVEL]
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        held.seek(0)
        with held:
            os.write(2, b"".join(line for line in held if not START_UP.match(line)))


def without_warnings_of_retracing() -> None:
    """Hide TensorFlow's warning that functions of several models are one function, traced again and again.

    TensorFlow counts them by their place in the code. Each model has functions of its own, which are traced once.

    Example:
        >>> without_warnings_of_retracing()
        >>> logging.getLogger("tensorflow").warning("calls to %s triggered tf.function retracing", "TensorFlowTrainer")
    """
    logging.getLogger("tensorflow").addFilter(_is_no_retracing)


def _is_no_retracing(record):
    message = record.getMessage()
    return not ("triggered tf.function retracing" in message and any(name in message for name in TRACED_BY_EACH_MODEL))
