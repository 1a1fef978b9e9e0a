"""Data sets by name: MNIST, FashionMNIST, and your own.

A data set is four arrays: training images, their labels, test images, their labels. `load_dataset` returns them,
`register` gives a name to images of your own, and the other functions here say what a data set holds.
"""

import os
from difflib import get_close_matches
from typing import Any

import numpy as np

from dcgmm.datasets import download, idx
from dcgmm.datasets.custom import ImageFolder, NpzFile
from dcgmm.datasets.description import Description, check_name, class_labels, class_text
from dcgmm.datasets.download import DATASETS, DatasetUnavailable, fetch
from dcgmm.datasets.idx import read_idx
from dcgmm.datasets.splits import known_labels
from dcgmm.datasets.transforms import damaged, select_classes, square_masks, thinned

__all__ = [
    "CLASS_NAMES",
    "DATASETS",
    "TITLES",
    "DatasetUnavailable",
    "Description",
    "ImageFolder",
    "NpzFile",
    "check_name",
    "class_labels",
    "class_text",
    "classes",
    "damaged",
    "describe",
    "fetch",
    "fingerprint",
    "load_dataset",
    "read_idx",
    "register",
    "select_classes",
    "square_masks",
    "thinned",
]

TITLES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
OWN: dict[str, Any] = {}


def load_dataset(
    name: str, cache: str | os.PathLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load a data set, and fetch it first if it is not in the cache.

    Args:
        name: `"mnist"`, `"fashion_mnist"` or a name given to `register`.
        cache: Folder that holds a sub-folder per data set. Default: the environment variable `DCGMM_DATA`, else
            the user's cache folder (`pooch.os_cache("dcgmm")`).

    Returns:
        `x_train, y_train, x_test, y_test`: images (N, 28, 28, 1), float32 in [0, 1] (grey value / 255), and class
        labels (N,), int64 in 0..9; N is 60,000 and 10,000. Data sets of your own have sizes of their own.

    Raises:
        ValueError: for an unknown `name`.
        DatasetUnavailable: if no source can be reached.

    Example:
        >>> x_train, y_train, x_test, y_test = load_dataset("mnist")
        >>> x_train.shape, y_train[:5].tolist()
        ((60000, 28, 28, 1), [5, 0, 4, 1, 9])
    """
    _check_name(name)
    return OWN[name].load() if name in OWN else idx.load(fetch(name, cache))


def fingerprint(name: str) -> str:
    """Return one SHA-256 for a data set, made of its files' names and hashes.

    For MNIST and FashionMNIST it reads no file, because their hashes are known.

    Args:
        name: As for `load_dataset`.

    Raises:
        ValueError: for an unknown `name`.

    Example:
        >>> len(fingerprint("mnist"))
        64
    """
    _check_name(name)
    return OWN[name].fingerprint() if name in OWN else download.fingerprint(name)


def register(name: str, source: Any) -> None:
    """Give a name to a data set of your own.

    Args:
        name: What to call it: 1 to 60 letters a-z and A-Z, digits, `_` and `-`; the first is a letter or a digit.
        source: An `NpzFile` or `ImageFolder`, or an object with their methods `load`, `classes` and `fingerprint`, and
            perhaps `describe`.

    Raises:
        ValueError: if MNIST or FashionMNIST has this name, or the name or the source is not as above.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "arrays.npz")
        >>> x, y = np.full((6, 8, 8), 200, "uint8"), np.arange(6) % 2
        >>> np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
        >>> register("stripes", NpzFile(path))
        >>> load_dataset("stripes")[0].shape, classes("stripes")
        ((6, 8, 8, 1), [0, 1])
    """
    if check_name(name).lower() in DATASETS:
        raise ValueError(f"the name {name!r} is taken")
    needed = ("load", "classes", "fingerprint")
    if absent := [
        method for method in needed if isinstance(source, type) or not callable(getattr(source, method, None))
    ]:
        raise ValueError(
            f"{name}: expected a source with the methods {', '.join(needed)}, such as an ImageFolder or an NpzFile, "
            f"received {source!r}, which has no {', '.join(absent)}"
        )
    OWN[name] = source
    TITLES[name] = getattr(source, "title", None) or name


def classes(name: str) -> list[int]:
    """Return the labels that occur in a data set.

    Args:
        name: As for `load_dataset`.

    Raises:
        ValueError: for an unknown `name`.

    Example:
        >>> classes("mnist")
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    _check_name(name)
    return OWN[name].classes() if name in OWN else list(range(10))


def describe(name: str) -> Description:
    """Return what is known of a data set without its images: title, image size, classes, their names.

    Args:
        name: As for `load_dataset`.

    Raises:
        ValueError: for an unknown `name`.

    Example:
        >>> mnist = describe("mnist")
        >>> mnist.image_shape, mnist.known, mnist.unknown, mnist.class_names[7]
        ((28, 28, 1), (0, 1, 2, 3, 4), (5, 6, 7, 8, 9), '7')
    """
    _check_name(name)
    if name in DATASETS:
        labels = tuple(range(10))
        return Description(name, TITLES[name], (28, 28, 1), CLASS_NAMES[name], labels, labels[:5], n_images=70_000)
    if callable(getattr(OWN[name], "describe", None)):
        return OWN[name].describe(name)
    x_train, y_train, x_test, y_test = OWN[name].load()
    labels, present = tuple(np.unique(y_train).tolist()), set(np.union1d(y_train, y_test).tolist())
    class_names = tuple(str(label) if label in present else "" for label in range(1 + max(present)))
    known = known_labels(None, class_names, labels, name)
    n_images = len(x_train) + len(x_test)
    return Description(name, TITLES[name], x_train.shape[1:], class_names, labels, known, n_images)


def _check_name(name):
    if isinstance(name, str) and (name in DATASETS or name in OWN):
        return
    names = [*DATASETS, *OWN]
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"unknown data set {name!r}{hint}; accepted: {', '.join(map(repr, names))}. Names of params.yaml are known "
        "after `dcgmm.experiments.declared_datasets()`; `dcgmm.datasets.register` gives a name to other images"
    )
