"""`.keras` files with equal bytes for equal models, and the models that are committed with the project."""

import json
import os
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dcgmm import files, loading
from dcgmm.architectures import file_name
from dcgmm.arguments import refusal, truth

FOLDER = Path(__file__).parents[1] / "results" / "paper" / "models"


def save(
    save_as_keras_does: Callable[..., None], filepath: files.FilePath, overwrite: bool = True, **kwargs: Any
) -> None:
    """Save a model as Keras does; a `.keras` file is complete or absent, and equal models give equal bytes.

    Args:
        save_as_keras_does: the model's `keras.Model.save`.
        filepath: where to save.
        overwrite: whether an existing file is replaced without a question. Default True.
        **kwargs: the other arguments of `keras.Model.save`.

    Raises:
        FileExistsError: if the file exists and is not to be replaced. Keras would ask on the standard input.
        ValueError: if the path does not end in `.keras`.
        FileNotFoundError: if its folder does not exist.
        OSError: if the disk is full or read-only; an existing file is as it was.

    Example:
        >>> import tempfile
        >>> layer = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")])
        >>> folder = Path(tempfile.mkdtemp())
        >>> save(layer.save, folder / "a.keras")
        >>> save(layer.save, folder / "b.keras")
        >>> (folder / "a.keras").read_bytes() == (folder / "b.keras").read_bytes()
        True
    """
    path = checked_path(filepath, (".keras",), overwrite)
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with files.naming(path):
            save_as_keras_does(beside, **kwargs)
        files.write_archive(path, _canonical_members(beside))
    finally:
        beside.unlink(missing_ok=True)


def save_weights(
    save_as_keras_does: Callable[..., None], filepath: files.FilePath, overwrite: bool = True, **kwargs: Any
) -> None:
    """Save a model's weights alone, as Keras does; a `.weights.h5` file is complete or absent.

    Args:
        save_as_keras_does: the model's `keras.Model.save_weights`.
        filepath: where to save, a path that ends in `.weights.h5`, or in `.weights.json` for weights in several files,
            which are written in place.
        overwrite: whether an existing file is replaced without a question. Default True.
        **kwargs: the other arguments of `keras.Model.save_weights`.

    Raises:
        FileExistsError: if the file exists and is not to be replaced. Keras would ask on the standard input.
        ValueError: if the path has another ending.
        FileNotFoundError: if its folder does not exist.
        OSError: if the disk is full or read-only; an existing `.weights.h5` file is as it was.

    Example:
        >>> import tempfile
        >>> layer = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> path = Path(tempfile.mkdtemp(), "layer.weights.h5")
        >>> save_weights(layer.save_weights, path)
        >>> [file.name for file in path.parent.iterdir()]
        ['layer.weights.h5']
    """
    path = checked_path(filepath, (".weights.h5", ".weights.json"), overwrite)
    if path.suffix == ".json":
        save_as_keras_does(path, overwrite=True, **kwargs)
        return
    with tempfile.TemporaryDirectory() as folder:  # HDF5 cannot close a file on a full disk in peace
        complete = Path(folder, path.name)
        save_as_keras_does(complete, **kwargs)
        files.write(path, complete.read_bytes())


def checked_path(filepath: Any, endings: tuple[str, ...], overwrite: Any) -> Path:
    """Return the path of a file that may be written.

    Args:
        filepath: the path.
        endings: the endings that its name may have.
        overwrite: whether it may exist.

    Raises:
        FileExistsError: if it exists and may not.
        ValueError: if it is no path, or has another ending.
        FileNotFoundError: if its folder does not exist.

    Example:
        >>> checked_path("model.txt", (".keras",), True)
        Traceback (most recent call last):
        ValueError: filepath must be a path that ends in .keras, received 'model.txt', which is text
    """
    truth("overwrite", overwrite)
    if not isinstance(filepath, str | os.PathLike) or not str(filepath).endswith(endings):
        raise refusal("filepath", f"a path that ends in {' or '.join(endings)}", filepath)
    path = Path(filepath)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"filepath: there is no folder {path.parent} to save {path.name} in: make it first")
    if path.is_dir():
        raise ValueError(f"filepath must be a file, received the folder {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"filepath: {path} exists, and overwrite=False was given: choose another name, or True")
    return path


def _canonical_members(path):
    """Return a `.keras` archive's {name: bytes} without the times and memory addresses that Keras puts into it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({**metadata, "date_saved": ""}).encode()
    numbers = defaultdict(lambda: len(numbers))
    members["config.json"] = re.sub(
        rb'("shared_object_id": )(\d+)', lambda m: m[1] + b"%d" % numbers[m[2]], members["config.json"]
    )
    return members


def load_pretrained(name: str, dataset: str, classes: str = "all") -> keras.Model:
    """Return a committed model: the first repetition of a training at the paper's scale, 25 epochs.

    Args:
        name: a name of Table I such as `"2L-c"`, or `"2L-c C(10)"`, the instance with a classifier.
        dataset: `"mnist"` or `"fashion_mnist"`.
        classes: what it was trained on, `"all"` or `"0-4"`. Default `"all"`.

    Returns:
        A `DCGMM`.

    Raises:
        FileNotFoundError: if there is no such model, where the message names the existing ones; or if there is none at
            all, because the models come with a checkout of the repository and not with an installed package.
        ValueError: if an argument is no name, but a path or something else; or if the model's file is damaged.

    Example:
        >>> model = load_pretrained("2L-c", "mnist")
        >>> model.sample(4, top_s=1, seed=0).shape
        (4, 28, 28, 1)
    """
    for argument, value in {"name": name, "dataset": dataset, "classes": classes}.items():
        if not isinstance(value, str) or not value.strip() or re.search(r"[/\\\0]|^\.", value):
            raise refusal(argument, "a name, without slashes and without a dot at its start", value)
    if not FOLDER.is_dir():
        raise FileNotFoundError(
            f"the committed models come with a checkout of the repository, but this dcgmm was installed without "
            f"one, in {FOLDER.parents[2]}: clone the repository and install the package from there (see its README)"
        )
    path = FOLDER / dataset / classes / f"{file_name(name)}.keras"
    if not path.exists():
        there = ", ".join(sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.rglob("*.keras")))
        raise FileNotFoundError(f"no committed model {dataset}/{classes}/{name}; there are: {there or 'none'}")
    checkout = FOLDER.parents[2]
    return load_intact(path, f"restore it by `git -C {checkout} checkout -- {path.relative_to(checkout)}`")


def load_intact(path: Path, remedy: str) -> keras.Model:
    """Return the model of a file, which is checked first.

    Args:
        path: the file.
        remedy: what to do if it is damaged, the end of the message.

    Raises:
        ValueError: if it is damaged, or if the model has weights that are not finite.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "model.keras")
        >>> _ = path.write_bytes(b"half of a model")
        >>> load_intact(path, "save it again")
        Traceback (most recent call last):
        ValueError: the model file ...model.keras is damaged: File is not a zip file; save it again
    """
    if found := files.damage(path):
        raise ValueError(f"the model file {path} is damaged: {found}; {remedy}")
    model = loading.load(path)
    if not all(np.isfinite(weight).all() for layer in model.stack for weight in layer.get_weights()):
        raise ValueError(f"the model file {path} is damaged: it has weights that are not finite; {remedy}")
    return model
