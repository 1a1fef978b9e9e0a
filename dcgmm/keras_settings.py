"""The settings of Keras that this library needs: the TensorFlow backend, and float32 whatever the process is set to."""

import importlib
import os
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dcgmm.quiet import without_start_up_lines, without_warnings_of_retracing

BACKEND = "tensorflow"


def use_tensorflow() -> None:
    """Import Keras with TensorFlow as its backend, and leave the environment as it was.

    A `keras.json` of another backend is passed over, because it is a setting for all programs. An environment variable
    `KERAS_BACKEND` of another backend is passed over with a warning.

    Raises:
        ImportError: if Keras is imported already, with another backend, which cannot change in a process.

    Example:
        >>> use_tensorflow()
        >>> import keras
        >>> keras.config.backend()
        'tensorflow'
    """
    without_warnings_of_retracing()
    wanted = os.environ.get("KERAS_BACKEND")
    if "keras" in sys.modules:
        _refuse_another_backend(wanted)
        return
    if wanted and wanted != BACKEND:
        warnings.warn(
            f"KERAS_BACKEND={wanted} is set, but dcgmm works with TensorFlow alone: Keras uses it in this process",
            stacklevel=3,
        )
    os.environ["KERAS_BACKEND"] = BACKEND
    try:
        with without_start_up_lines():
            importlib.import_module("keras")
    finally:
        if wanted is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = wanted


def _refuse_another_backend(wanted):
    backend = importlib.import_module("keras").config.backend()
    if backend == BACKEND:
        return
    if wanted == backend:
        origin = f"the environment variable KERAS_BACKEND={wanted}"
    else:
        origin = f'"backend" in {Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"}'
    raise ImportError(
        f"dcgmm works with Keras on TensorFlow alone, but Keras was imported before it with the backend {backend!r}, "
        f"which {origin} sets: import dcgmm before keras, or set KERAS_BACKEND={BACKEND}"
    )


def in_float32(arguments: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return a layer's keyword arguments with dtype float32, whatever policy and floatx are set in this process.

    In half precision the gradients underflow, and squares of distances lose whole nats.

    Args:
        arguments: the keyword arguments for `keras.layers.Layer`.
        what: the layer's class, for the message.

    Raises:
        ValueError: if another dtype is asked for in them.

    Example:
        >>> in_float32({"name": "a"}, "GMM")["dtype"].name
        'float32'
        >>> in_float32({"dtype": "mixed_float16"}, "GMM")
        Traceback (most recent call last):
        ValueError: GMM: dtype must be float32, received 'mixed_float16': a DCGMM works in float32 alone
    """
    dtype = arguments.get("dtype")
    if dtype is None:
        return {**arguments, "dtype": _float32()}
    if _policy_name(dtype) != "float32":
        raise ValueError(f"{what}: dtype must be float32, received {dtype!r}: a DCGMM works in float32 alone")
    return dict(arguments)


def _float32():
    """Return one policy for all layers, the process's own if it is float32, because files note what layers share."""
    policy = importlib.import_module("keras").config.dtype_policy()
    return policy if policy.name == "float32" else _own_policy()


@cache
def _own_policy():
    return importlib.import_module("keras").DTypePolicy("float32")


def _policy_name(dtype):
    get = importlib.import_module("keras").dtype_policies.get
    try:
        return get(dtype).name
    except (ValueError, TypeError):  # no dtype at all
        return None
