"""Data sets by name: MNIST, FashionMNIST, and your own.

A data set is four arrays: training images, their labels, test images, their labels. `load_dataset` returns them,
`register` gives a name to images of your own, and the other functions here say what a data set holds.
"""

import os
from typing import Any

import numpy as np

from dcgmm.datasets import download, idx
from dcgmm.datasets.custom import ImageFolder, NpzFile
from dcgmm.datasets.description import Description, class_labels, class_text, first_half
from dcgmm.datasets.download import DATASETS, DatasetUnavailable, fetch
from dcgmm.datasets.idx import read_idx
from dcgmm.datasets.transforms import damaged, select_classes, square_masks, thinned

__all__ = [
    "CLASS_NAMES",
    "DATASETS",
    "TITLES",
    "DatasetUnavailable",
    "Description",
    "ImageFolder",
    "NpzFile",
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
        name: What to call it.
        source: An `NpzFile` or `ImageFolder`, or an object with their methods `load`, `classes` and `fingerprint`.

    Raises:
        ValueError: if MNIST or FashionMNIST has this name.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "arrays.npz")
        >>> x, y = np.zeros((6, 8, 8), "uint8"), np.arange(6) % 2
        >>> np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
        >>> register("stripes", NpzFile(path))
        >>> load_dataset("stripes")[0].shape, classes("stripes")
        ((6, 8, 8, 1), [0, 1])
    """
    if name in DATASETS:
        raise ValueError(f"the name {name!r} is taken")
    OWN[name] = source
    TITLES.setdefault(name, name)


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
        return Description(name, TITLES[name], (28, 28, 1), CLASS_NAMES[name], tuple(range(10)), tuple(range(5)))
    x_train, y_train, _, y_test = OWN[name].load()
    labels = sorted({int(label) for label in y_train})
    class_names = tuple(str(label) for label in range(1 + int(max(y_train.max(), y_test.max(initial=0)))))
    return Description(name, TITLES[name], x_train.shape[1:], class_names, tuple(labels), first_half(labels))


def _check_name(name):
    if name not in DATASETS and name not in OWN:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(map(repr, [*DATASETS, *OWN]))}")
