"""Models from `.keras` files that nobody vouches for: a file is checked before any of it is built."""

import io
import json
import math
import os
import posixpath
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from dcgmm import files
from dcgmm.arguments import refusal
from dcgmm.layers import GMM, LinearClassifier

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MIB = 2**20
# Larger configurations, and archives that unpack to more than this and to more than a multiple of their size, are
# refused: they would only fill the memory.
MAX_CONFIG, MAX_UNPACKED, MAX_EXPANSION = 16 * MIB, 256 * MIB, 100

# What a configuration may name besides registered classes, which are code of this process: Keras' classes that compute
# with numbers. Keras' layers are none of them, because some run code or read files that a configuration names.
MODULES = (
    "activations", "constraints", "dtype_policies", "initializers", "losses", "metrics", "optimizers", "regularizers",
)  # fmt: skip
POLICIES = ("DTypePolicy", "FloatDTypePolicy")
VALUES = ("__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")


def load(path: files.FilePath) -> keras.Model:
    """Return the `DCGMM` of a `.keras` file, without running any code that the file names or brings.

    A class in the file is used if it is registered in this process, as ours are, or is an optimizer, loss, metric,
    initializer, constraint, regularizer or dtype of Keras. A layer of your own must therefore be registered by
    `keras.saving.register_keras_serializable`, and its module imported. Whether unsafe loading was allowed by
    `keras.config.enable_unsafe_deserialization` makes no difference.

    Args:
        path: a file that `DCGMM.save` or the store of trainings has written.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, is no model of this package, or names or holds anything else; the message
            says what.

    Warns:
        UserWarning: if weights are not finite.

    Example:
        >>> import tempfile
        >>> from dcgmm import DCGMM
        >>> path = Path(tempfile.mkdtemp(), "model.keras")
        >>> DCGMM.from_spec("1L").save(path)
        >>> [layer.name for layer in load(path).stack]
        ['F1', 'G2']
    """
    if not isinstance(path, str | os.PathLike) or not str(path).endswith(".keras"):
        raise refusal("path", "a path that ends in .keras", path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        _check(path)
        model = keras.models.load_model(path, safe_mode=True)
    # Damaged bytes raise many errors in the readers of zip, JSON and HDF5, and in Keras.
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not loaded: {reason}") from error
    if unusable := [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]:
        warnings.warn(f"{path} has weights that are not finite: {', '.join(unusable)}", stacklevel=2)
    return model


def _check(path):
    """Refuse an archive that is damaged, or that has anything to run, to fetch from elsewhere or to fill the memory."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .keras archive, or not all of one")
    with zipfile.ZipFile(path) as archive:
        _check_members(archive.infolist(), os.path.getsize(path))
        config = json.loads(archive.read(CONFIG))
        _check_classes(config)
        _check_sizes(config, _check_weights(archive.read(WEIGHTS)))


def _check_members(members, size):
    names = [member.filename for member in members]
    for name in names:
        if name.startswith(("/", "..")) or "\\" in name or ":" in name or posixpath.normpath(name) != name.rstrip("/"):
            raise ValueError(f"its member {name!r} has a path that leaves the archive")
        if names.count(name) > 1:
            raise ValueError(f"it has the member {name!r} more than once")
    if missing := {CONFIG, WEIGHTS}.difference(names):
        raise ValueError(f"it has no {' and no '.join(sorted(missing))}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(MAX_UNPACKED, MAX_EXPANSION * size):
        raise ValueError(f"it would unpack from {size / MIB:.3g} MiB to {unpacked / MIB:.3g} MiB")
    config = next(member.file_size for member in members if member.filename == CONFIG)
    if config > MAX_CONFIG:
        raise ValueError(f"its {CONFIG} has {config / MIB:.3g} MiB, expected at most {MAX_CONFIG / MIB:g} MiB")


def _check_classes(config):
    """Refuse a configuration that is not of a `DCGMM`, or that names a class that is not accepted."""
    model = _registered(config) if isinstance(config, dict) else None
    if not isinstance(model, type) or not issubclass(model, keras.saving.get_registered_object("dcgmm>DCGMM")):
        raise ValueError(f"it holds {_class_name(config)}, expected a DCGMM or a registered subclass of it")
    for part in _objects(config):
        if not (_registered(part) or _is_known(part)):
            raise ValueError(
                f"it names {_class_name(part)}, which is not registered in this process. If it is your own, import its "
                f"module first, and register it by keras.saving.register_keras_serializable"
            )


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield all parts of a configuration that name a class or a function, at whatever depth."""
    parts = [config]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if "class_name" in part:
                yield part
            parts += part.values()
        elif isinstance(part, list):
            parts += part


def _registered(part):
    """Return the class or function that Keras would take for a part of a configuration, None if none is registered."""
    name = part.get("class_name")
    name = part.get("config") if name == "function" else part.get("registered_name", name)
    return keras.saving.get_registered_object(name)


def _is_known(part):
    """Return whether a part of a configuration names a value, or something of Keras that computes with numbers."""
    module, name = part.get("module"), part["class_name"]
    if name in VALUES or (module == "keras" and name in POLICIES):
        return True
    if module == "builtins":  # a function of one of MODULES
        return name == "function"
    return isinstance(module, str) and module.startswith("keras.") and module.split(".")[1] in MODULES


def _class_name(part):
    if not isinstance(part, dict) or "class_name" not in part:
        return "no configuration of a model"
    name = part.get("config") if part["class_name"] == "function" else part["class_name"]
    return f"{part.get('module') or part.get('registered_name') or ''}.{name}"


def _check_weights(content):
    """Return how many numbers an HDF5 file has. Refuse one that refers to other files, or has arrays larger than it."""
    with h5py.File(io.BytesIO(content)) as file:
        n_bytes = n_numbers = 0

        def fault(name, link):  # what it returns ends the visit; h5py does not bear that it raises
            nonlocal n_bytes, n_numbers
            if not isinstance(link, h5py.HardLink):
                return f"{name} refers to another place"
            item = file[name]
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual or item.dtype.hasobject:
                    return f"{name} has its values elsewhere, expected numbers in this file"
                n_bytes += item.nbytes
                n_numbers += item.size

        if found := file.visititems_links(fault):
            raise ValueError(f"{WEIGHTS}: {found}")
    if n_bytes > len(content):
        raise ValueError(f"{WEIGHTS} has arrays of {n_bytes / MIB:.3g} MiB in {len(content) / MIB:.3g} MiB")
    return n_numbers


def _check_sizes(config, n_numbers):
    """Refuse layers with more weights than the file has numbers: to build them would only fill the memory."""
    parts = config["config"]["layers"]
    shape = (None, *config["config"]["input_shape"])
    for part in parts:
        # Without this key, Keras does not build the layer.
        layer = keras.saving.deserialize_keras_object({**part, "build_config": None})
        n_weights = 0
        if isinstance(layer, GMM):
            n_weights = layer.n_components * shape[-1] * (1 if layer.shared else math.prod(shape[1:3]))
        elif isinstance(layer, LinearClassifier):
            n_weights = layer.n_classes * math.prod(shape[1:])
        if n_weights > n_numbers:
            raise ValueError(f"{layer.name} would have {n_weights:,} weights, and {WEIGHTS} has {n_numbers:,} numbers")
        shape = layer.compute_output_shape(shape)
