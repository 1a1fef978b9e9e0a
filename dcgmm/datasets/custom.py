"""Data sets of your own, by name: images in folders, and arrays in `.npz` files.

They are held in memory as arrays. What does not fit into it can be trained on all the same, as a `tf.data.Dataset`:

    images = keras.utils.image_dataset_from_directory(folder, color_mode="grayscale", image_size=(28, 28))
    model.fit(images.map(lambda x, y: x / 255))
"""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pooch

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # what Keras reads, too


@dataclass(frozen=True)
class NpzFile:
    """Arrays in a file, as `np.savez` writes them.

    It holds `x_train` and `x_test`, images (N, H, W) or (N, H, W, C), unsigned bytes or numbers in [0, 1], and
    `y_train` and `y_test`, class labels (N,), integers from 0.

    Args:
        npz: the file's path.
    """

    npz: Path

    def load(self):
        """Return x_train, y_train, x_test, y_test: images (N, H, W, C), float32 in [0, 1], and labels (N,), int64."""
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

    def classes(self):
        """Return the labels that occur in the training images."""
        with np.load(self.npz) as file:
            return np.unique(self._labels(file, "train")).tolist()

    def fingerprint(self):
        """Return the file's SHA-256."""
        return _digest(self.npz)


@dataclass(frozen=True)
class ImageFolder:
    """Images in folders, one for each class, as `keras.utils.image_dataset_from_directory` reads them.

    Args:
        folder: the path of the folder with the classes' folders. Labels count these in the order of their names.
        size: (H, W) that all images are brought to.
        channels: 1, grey, or 3, colour. Default 1.
        test: such a folder with the test images, or their share of the images in `folder`, drawn from every class
            alike. Default 0.2.
    """

    folder: Path
    size: tuple
    channels: int = 1
    test: Path | float = 0.2

    def __post_init__(self):
        """Check the numbers."""
        if len(self.size) != 2 or self.channels not in (1, 3):
            raise ValueError(f"size is (H, W) and channels is 1 or 3, received {self.size} and {self.channels}")
        if not isinstance(self.test, Path) and not 0 < self.test < 1:
            raise ValueError(f"test is a folder or a share of the images between 0 and 1, received {self.test!r}")

    def load(self):
        """Return x_train, y_train, x_test, y_test: images (N, H, W, C), float32 in [0, 1], and labels (N,), int64."""
        from sklearn.model_selection import train_test_split

        x, y = self._read(self.folder)
        if isinstance(self.test, Path):
            return x, y, *self._read(self.test)
        x, x_test, y, y_test = train_test_split(x, y, test_size=self.test, stratify=y, random_state=0)
        return x, y, x_test, y_test

    def _read(self, folder):
        import keras

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

    def classes(self):
        """Return the labels."""
        return list(range(len(self._names())))

    def fingerprint(self):
        """Return one SHA-256 for the images' names and contents, and for how they are read."""
        shares = [self.folder] + ([self.test] if isinstance(self.test, Path) else [])
        lines = [repr((tuple(self.size), self.channels, None if len(shares) > 1 else self.test))]
        for number, folder in enumerate(shares):
            files = (path for name in self._names() for path in (folder / name).rglob("*"))
            files = sorted(path for path in files if path.suffix.lower() in IMAGES)
            lines += [f"{number} {_digest(path)}  {path.relative_to(folder).as_posix()}" for path in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def from_settings(settings, root="."):
    """Return an `NpzFile` or an `ImageFolder` from its arguments as a dict, with paths relative to a folder."""
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
