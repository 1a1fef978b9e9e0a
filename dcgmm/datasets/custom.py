"""Data sets of your own, by name: images in folders, and arrays in `.npz` files.

Their arrays are held in memory. To train on images that do not fit into memory, use a `tf.data.Dataset`:

    images = keras.utils.image_dataset_from_directory(folder, color_mode="grayscale", image_size=(28, 28))
    model.fit(images.map(lambda x, y: x / 255))
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pooch

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # the types that Keras reads


@dataclass(frozen=True)
class NpzFile:
    """A data set in an `.npz` file, as `np.savez` writes it.

    The file holds `x_train` and `x_test`, images (N, H, W) or (N, H, W, C), unsigned bytes or numbers in [0, 1], and
    `y_train` and `y_test`, class labels (N,), integers from 0.

    Args:
        npz: the path of the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "mine.npz")
        >>> x, y = np.zeros((6, 8, 8), "uint8"), np.arange(6) % 2
        >>> np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
        >>> NpzFile(path).load()[0].shape, NpzFile(path).classes()
        ((6, 8, 8, 1), [0, 1])
    """

    npz: Path

    def __post_init__(self) -> None:
        """Convert a path that is given as text."""
        object.__setattr__(self, "npz", Path(self.npz))

    def load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return x_train, y_train, x_test, y_test: images (N, H, W, C), float32 in [0, 1], and labels (N,), int64.

        Raises:
            ValueError: if an array is missing, or its shape, type or range is wrong.
        """
        with np.load(self.npz) as file:
            if missing := {"x_train", "y_train", "x_test", "y_test"} - set(file):
                raise ValueError(f"{self.npz} has no {', '.join(sorted(missing))}; it has {', '.join(file)}")
            train, test = ((self._images(file, part), self._labels(file, part)) for part in ("train", "test"))
        for part, (x, y) in {"train": train, "test": test}.items():
            if len(x) != len(y) or x.shape[1:] != train[0].shape[1:]:
                raise ValueError(f"{self.npz}: x_{part} {x.shape} does not fit y_{part} {y.shape} or x_train")
        return *train, *test

    def _images(self, file, part):
        x = file[f"x_{part}"]
        if x.ndim not in (3, 4) or not len(x):
            raise ValueError(f"{self.npz}: x_{part} must be images (N, H, W) or (N, H, W, C), is of shape {x.shape}")
        if x.dtype == np.uint8:
            x = x.astype("float32") / np.float32(255)
        if not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(
                f"{self.npz}: x_{part} has {x.dtype} from {x.min()} to {x.max()}: "
                "expected unsigned bytes, or numbers from 0 to 1"
            )
        return x.reshape(*x.shape[:3], -1).astype("float32", copy=False)

    def _labels(self, file, part):
        y = file[f"y_{part}"]
        if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or y.min(initial=0) < 0:
            raise ValueError(f"{self.npz}: y_{part} must be integers (N,) from 0, is {y.dtype} of shape {y.shape}")
        return y.astype("int64")

    def classes(self) -> list[int]:
        """Return the labels that occur in the training images."""
        with np.load(self.npz) as file:
            return np.unique(self._labels(file, "train")).tolist()

    def fingerprint(self) -> str:
        """Return the file's SHA-256."""
        return _digest(self.npz)


@dataclass(frozen=True)
class ImageFolder:
    """A data set in folders, one for each class, as `keras.utils.image_dataset_from_directory` reads them.

    Args:
        folder: the path of the folder that holds the folders of the classes. The labels 0, 1, ... follow the order
            of their names.
        size: (H, W) in pixels; all images are resized to it.
        channels: 1, grey, or 3, colour. Default 1.
        test: the path of such a folder with the test images, or the share of the images in `folder` to use as test
            images, drawn from each class in proportion. Default 0.2.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import tempfile, tensorflow as tf
        >>> folder = Path(tempfile.mkdtemp())
        >>> for i, name in enumerate(["cat", "dog"] * 5):
        ...     tf.io.write_file(f"{folder}/{name}/{i}.png", tf.io.encode_png(tf.zeros((8, 8, 1), "uint8")))
        >>> [part.shape for part in ImageFolder(folder, size=(8, 8)).load()]
        [(8, 8, 8, 1), (8,), (2, 8, 8, 1), (2,)]
    """

    folder: Path
    size: tuple[int, int]
    channels: int = 1
    test: Path | float = 0.2

    def __post_init__(self) -> None:
        """Check the arguments, and convert paths that are given as text."""
        object.__setattr__(self, "folder", Path(self.folder))
        if isinstance(self.test, str):
            object.__setattr__(self, "test", Path(self.test))
        if len(self.size) != 2 or self.channels not in (1, 3):
            raise ValueError(f"size is (H, W) and channels is 1 or 3, received {self.size} and {self.channels}")
        if not isinstance(self.test, Path) and not 0 < self.test < 1:
            raise ValueError(f"test is a folder or a share of the images between 0 and 1, received {self.test!r}")

    def load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return x_train, y_train, x_test, y_test: images (N, H, W, C), float32 in [0, 1], and labels (N,), int64.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it has no folders of classes, or they hold no images.
        """
        from sklearn.model_selection import train_test_split

        x, y = self._read(self.folder)
        if isinstance(self.test, Path):
            return x, y, *self._read(self.test)
        x, x_test, y, y_test = train_test_split(x, y, test_size=self.test, stratify=y, random_state=0)
        return x, y, x_test, y_test

    def _read(self, folder):
        import keras  # here, because fetching data needs no TensorFlow

        batches = keras.utils.image_dataset_from_directory(
            folder,
            class_names=self._names(),
            color_mode="grayscale" if self.channels == 1 else "rgb",
            image_size=self.size,
            shuffle=False,
            verbose=False,
        )
        parts = [(x.numpy(), y.numpy()) for x, y in batches]
        x, y = (np.concatenate(arrays) for arrays in zip(*parts))
        return x / np.float32(255), y.astype("int64")

    def _names(self):
        if not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder {self.folder}")
        if not (names := sorted(path.name for path in self.folder.iterdir() if path.is_dir() and path.name[0] != ".")):
            raise ValueError(f"{self.folder} has no folders with images, one for each class")
        return names

    def classes(self) -> list[int]:
        """Return the labels, 0, 1, ..., one for each folder."""
        return list(range(len(self._names())))

    def fingerprint(self) -> str:
        """Return one SHA-256 of the names and contents of the images, and of the arguments."""
        shares = [self.folder] + ([self.test] if isinstance(self.test, Path) else [])
        lines = [repr((tuple(self.size), self.channels, None if len(shares) > 1 else self.test))]
        for number, folder in enumerate(shares):
            paths = (path for name in self._names() for path in (folder / name).rglob("*"))
            files = sorted(path for path in paths if path.suffix.lower() in IMAGES)
            lines += [f"{number} {_digest(path)}  {path.relative_to(folder).as_posix()}" for path in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def from_settings(settings: Mapping[str, Any], root: str | os.PathLike = ".") -> NpzFile | ImageFolder:
    """Return an `NpzFile` or an `ImageFolder` from a dict of its arguments.

    Args:
        settings: the arguments by name; `size` may also be one integer, for squares.
        root: the folder that the paths are relative to. Default: the current folder.

    Raises:
        ValueError: if there is no `npz` and no `folder`, or an argument is unknown, missing or outside its range.

    Example:
        >>> from_settings({"npz": "mine.npz"}, root="data").npz.as_posix()
        'data/mine.npz'
        >>> from_settings({"folder": "flowers", "size": 28}).size
        (28, 28)
    """
    settings = {
        key: Path(root, value) if isinstance(value, str | os.PathLike) else value for key, value in settings.items()
    }
    if "size" in settings:
        settings["size"] = tuple(np.broadcast_to(settings["size"], 2).tolist())
    for kind in (NpzFile, ImageFolder):
        if next(iter(kind.__dataclass_fields__)) in settings:
            try:
                return kind(**settings)
            except TypeError as error:
                raise ValueError(str(error).replace("__init__() ", "")) from error
    raise ValueError(f"expected `npz: path` or `folder: path`, received {settings}")


def _digest(path):
    status = path.stat()
    return _digest_as_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2**20)
def _digest_as_of(path, size, modified):
    return pooch.file_hash(path)
