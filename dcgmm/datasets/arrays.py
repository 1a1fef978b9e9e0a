"""Arrays in `.npz` files. Names, shapes, labels and ranges are checked, and a warning tells of each guess."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcgmm.datasets import checks
from dcgmm.datasets.description import Description
from dcgmm.datasets.folders import digest
from dcgmm.datasets.npz import Archive
from dcgmm.datasets.ranges import unit
from dcgmm.datasets.splits import TEST_SHARE, known_labels, say, split

MAX_LABEL = 9_999
SPLIT_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),  # Keras'
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST's
)
PAIR_NAMES = (("images", "labels"), ("x", "y"), ("X", "y"))


@dataclass(frozen=True)
class NpzFile:
    """A data set in an `.npz` file, as `np.savez` writes it.

    The file holds `x_train`, `y_train`, `x_test`, `y_test` (Keras' names), or `train_images`, `train_labels`,
    `test_images`, `test_labels` (MedMNIST's), or one pair `images`, `labels`, of which a share become test images.
    Images are (N, H, W) or (N, H, W, C). NaN is a missing pixel. Labels are integers from 0, (N,) or (N, 1), or
    booleans, or one-hot (N, K). `class_names`, an array of texts, may name the labels.

    Args:
        npz: the path of the file.
        test: the share of test images for a file with one pair of arrays. Default 0.2.
        scale: the value that becomes 1. Default: 1 for floats; 255 for bytes; for other integers, the smallest of 2^8,
            2^10, 2^12, 2^14 and 2^16 above all values, minus 1; 1 where no value is larger, as in masks.
        known: labels or names of the classes to train on where the others serve as outliers. Default: all training
            classes if only test images have some of the classes, else the first half.
        title: the name in captions. Default: the name of the data set.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "mine.npz")
        >>> x, y = np.full((6, 8, 8), 200, "uint8"), np.arange(6) % 2
        >>> np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
        >>> NpzFile(path).load()[0].shape, NpzFile(path).classes()
        ((6, 8, 8, 1), [0, 1])
    """

    npz: Path
    test: float | None = None
    scale: float | None = None
    known: Any = None
    title: str | None = None

    def __post_init__(self) -> None:
        """Check the arguments, and convert a path that is given as text."""
        checked = {
            "npz": checks.expanded("npz", self.npz),
            "test": None if self.test is None else checks.share(self.test),
            "scale": checks.scale(self.scale),
            "known": checks.known(self.known),
            "title": checks.title(self.title),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return x_train, y_train, x_test, y_test: images (N, H, W, C), float32 in [0, 1], and labels (N,), int64.

        It warns where arrays are left out or their range is a guess.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no `.npz`, an array is missing, or its shape, type or range is wrong.
        """
        archive = Archive(self.npz)
        parts = self._parts(archive)
        used = {*_chosen_names(archive), "class_names"}
        if left_out := [name for name in archive.names if name not in used]:
            say(self.npz, f"left out: {', '.join(left_out)}")
        for notice in _shape_notices(parts[0].images, archive.header(parts[0].images).shape):
            say(self.npz, notice)
        (x_train, train), (x_test, test) = (self._images(archive, part) for part in parts)
        divisor, notices = self._unit(train, test)
        for notice in notices:
            say(self.npz, notice)
        if divisor != 1:
            for x in (x_train, x_test):
                x /= np.float32(divisor)
        self._say_gaps(np.concatenate([part.y for part in parts]))
        return x_train, parts[0].y, x_test, parts[1].y

    def classes(self) -> list[int]:
        """Return the labels that occur in the training images."""
        return np.unique(self._parts(Archive(self.npz))[0].y).tolist()

    def describe(self, name: str | None = None) -> Description:
        """Return the name, title, size and classes; it reads no images.

        Args:
            name: the name that `register` gave the data set. Default: the name of the file.

        Raises:
            ValueError: as `load`, and if `known` has a class that the training images lack.
        """
        archive = Archive(self.npz)
        train, test = self._parts(archive)
        present = np.union1d(train.y, test.y).tolist()
        given = self._class_names(archive, max(present))
        names = tuple(given[label] if label in set(present) else "" for label in range(max(present) + 1))
        classes = tuple(np.unique(train.y).tolist())
        height, width, channels = (*archive.header(train.images).shape, 1)[1:4]
        known = known_labels(self.known, names, classes, self.npz)
        name = self.npz.stem if name is None else name
        n_images = len(train.y) + len(test.y)
        return Description(name, self.title or name, (height, width, channels), names, classes, known, n_images)

    def fingerprint(self) -> str:
        """Return the file's SHA-256, or, with arguments that decide pixels, one of both."""
        found = digest(self.npz)
        if self.test is None and self.scale is None:
            return found
        return hashlib.sha256(repr((found, self.test, self.scale)).encode()).hexdigest()

    def _parts(self, archive: Archive) -> list["_Part"]:
        names = _chosen_names(archive)
        for images in names[::2]:
            _check_images(self.npz, images, archive)
        labels = {name: _labels(self.npz, name, archive) for name in names[1::2]}
        for images, name in zip(names[::2], names[1::2]):
            shape, first = ((*archive.header(x).shape, 1)[:4] for x in (images, names[0]))
            if len(labels[name]) != shape[0]:
                raise ValueError(f"{self.npz}: {images} {shape} does not fit {name} {labels[name].shape}")
            if shape[1:] != first[1:]:
                raise ValueError(f"{self.npz}: {images} {shape} does not fit {names[0]} {first}")
        if len(names) == 4:
            if self.test is not None:
                raise ValueError(
                    f"{self.npz} has test images of its own, {names[2]}; expected no `test`, received {self.test}"
                )
            return [_Part(x, x, None, labels[y]) for x, y in (names[:2], names[2:])]
        x, y = names
        both = zip(("training", "test"), split(labels[y], self.test or TEST_SHARE, self.npz))
        return [_Part(f"{x} ({part} part)", x, np.sort(rows), labels[y][np.sort(rows)]) for part, rows in both]

    def _images(self, archive: Archive, part: "_Part") -> tuple[np.ndarray, "_Range"]:
        """Return a part's images as float32, not yet divided, and their range."""
        shape, _, dtype = archive.header(part.images)
        x = np.empty((len(part.y), *(*shape, 1)[1:4]), "float32")
        low, high, written = np.inf, -np.inf, 0
        for start, block in archive.blocks(part.images):
            if part.rows is not None:
                first, last = np.searchsorted(part.rows, [start, start + len(block)])
                block = block[part.rows[first:last] - start]
            if len(block):
                low, high = (
                    np.fmin(low, np.fmin.reduce(block, axis=None)),
                    np.fmax(high, np.fmax.reduce(block, axis=None)),
                )
                x[written : written + len(block)] = block.reshape(-1, *x.shape[1:])
                written += len(block)
        return x, _Range(part.title, dtype, float(low), float(high))

    def _unit(self, *ranges: "_Range") -> tuple[float, list[str]]:
        """Return the value that becomes 1, and what to warn about."""
        for found in ranges:
            top = self.scale or (1 if found.dtype.kind in "fb" else 65535)
            if found.low > found.high:
                raise ValueError(f"{self.npz}: {found.name} has {found.dtype} from nan to nan: no pixel was observed")
            if not (found.low >= 0 and found.high <= top):
                raise ValueError(f"{self.npz}: {found}: expected {_expected(found, self.scale)}")
        if self.scale:
            return self.scale, []
        if all(found.dtype.kind in "fb" for found in ranges):
            dark = [found for found in ranges if 0 < found.high <= np.float32(1 / 255)]
            return 1.0, [f"{found}: almost black, as if it was divided by 255 twice" for found in dark]
        deep = any(found.dtype.kind in "ui" and found.dtype != np.uint8 for found in ranges)
        divisor, notices = unit({found.name: found.high for found in ranges}, deep)
        limits = [np.iinfo(found.dtype).max if found.dtype.kind in "ui" else 1 for found in ranges]
        if divisor > min(limits):
            raise ValueError(
                f"{self.npz}: {' and '.join(map(str, ranges))}: no single scale fits both, as {divisor:g} is beyond "
                f"{min(limits)}: save both with one type and range, or set `scale`"
            )
        return divisor, notices

    def _class_names(self, archive: Archive, largest: int) -> list[str]:
        if "class_names" not in archive.names:
            return [str(label) for label in range(largest + 1)]
        names = archive.read("class_names")
        if names.ndim != 1 or names.dtype.kind not in "US" or len(names) <= largest:
            raise ValueError(
                f"{self.npz}: class_names must be texts ({largest + 1},), one for each label from 0 to {largest}, is "
                f"{names.dtype} of shape {names.shape}"
            )
        return [each.decode() if isinstance(each, bytes) else str(each) for each in names.tolist()]

    def _say_gaps(self, y: np.ndarray) -> None:
        found, largest = len(np.unique(y)), int(y.max())
        if 2 * found < largest + 1:
            say(self.npz, f"only {found} of the labels from 0 to {largest} occur. To leave no gaps, {_RECIPE}")


_RECIPE = (
    "number them, those of both parts together: `names, labels = np.unique(labels, return_inverse=True)`, and save "
    "`class_names=names.astype(str)`"
)


class _Part(NamedTuple):
    title: str  # in messages
    images: str
    rows: np.ndarray | None  # of the array, in increasing order; None: all
    y: np.ndarray


class _Range(NamedTuple):
    name: str
    dtype: np.dtype
    low: float
    high: float

    def __str__(self) -> str:
        whole = self.dtype.kind in "bui"
        low, high = (f"{value:.0f}" if whole else f"{value}" for value in (self.low, self.high))
        return f"{self.name} has {self.dtype} from {low} to {high}"


def _expected(found: _Range, scale: float | None) -> str:
    if scale:
        return f"numbers from 0 to the scale, {scale:g}"
    if np.isinf(found.low) or np.isinf(found.high):
        return "numbers from 0 to 1, received infinite ones"
    if found.low < 0:
        return f"unsigned bytes, or numbers from 0 to 1. For pixels from -1 to 1, save ({found.name} + 1) / 2"
    if found.dtype.kind == "f":
        return f"unsigned bytes, or numbers from 0 to 1. If {found.high:g} should become 1, set `scale: {found.high:g}`"
    return "whole numbers of at most 16 bits. For others, set `scale` to the value that should become 1"


def _chosen_names(archive: Archive) -> Sequence[str]:
    """Return the names of images and labels of the training part, and of the test part if there is one."""
    schemes = [*SPLIT_NAMES, *PAIR_NAMES]
    complete = [names for names in schemes if set(names) <= set(archive.names)]
    if len(complete) == 1:
        return complete[0]
    if complete:
        both = " and also ".join(", ".join(names) for names in complete)
        raise ValueError(f"{archive.path} has {both}: it is not clear which to use; keep one of them")
    nearest = max(SPLIT_NAMES, key=lambda names: len(set(names) & set(archive.names)))
    missing = sorted(set(nearest) - set(archive.names))
    raise ValueError(
        f"{archive.path} has no {', '.join(missing)}; it has {', '.join(archive.names)}. Accepted are "
        f"{'; '.join(', '.join(names) for names in schemes[:3])}"
    )


def _check_images(path: Path, name: str, archive: Archive) -> None:
    shape, _, dtype = archive.header(name)
    if len(shape) not in (3, 4) or 0 in shape:
        hint = f". To save rows of pixels, reshape them: {name}.reshape(-1, H, W)" if len(shape) == 2 else ""
        raise ValueError(f"{path}: {name} must be images (N, H, W) or (N, H, W, C), is of shape {shape}{hint}")
    if dtype.kind not in "buif":
        raise ValueError(f"{path}: {name} must be numbers, is {dtype}: complex numbers, texts and times are no pixels")
    if len(shape) == 4 and shape[1] <= 4 < min(shape[2:]):
        raise ValueError(
            f"{path}: {name} of shape {shape} seems to have its channels first: expected (N, H, W, C). Save "
            f"np.moveaxis({name}, 1, -1) instead. If these are images of {shape[1]} rows, save them as columns: "
            f"np.swapaxes({name}, 1, 2)"
        )


def _shape_notices(name: str, shape: tuple[int, ...]) -> list[str]:
    bands_last = len(shape) == 4 and shape[3] > 4 and shape[3] >= max(shape[1:3])
    colours_first = len(shape) == 4 and shape[1] in (1, 3) and shape[3] in (2, 4)
    if bands_last or colours_first:
        return [
            f"{name} of shape {shape} is taken for images of {shape[1]}x{shape[2]} pixels and {shape[3]} channels. If "
            f"the channels come first, save np.moveaxis({name}, 1, -1) instead"
        ]
    return []


def _labels(path: Path, name: str, archive: Archive) -> np.ndarray:
    """Return labels (N,), int64, of integers or booleans (N,) or (N, 1), or of one-hot rows (N, K)."""
    shape, _, dtype = archive.header(name)
    y = archive.read(name) if len(shape) in (1, 2) and dtype.kind in "buif" else None
    if y is not None and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y is not None and y.ndim == 2 and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        y = y.argmax(axis=1)
    if y is None or y.ndim != 1 or y.dtype.kind not in "bui" or not len(y) or y.min(initial=0) < 0:
        hint = ""
        if dtype.kind in "US":
            hint = f". For labels that are texts, {_RECIPE}"
        elif dtype.kind == "f" and len(shape) == 1:
            hint = f". If they are classes, save {name}.astype(int)"
        elif len(shape) == 2:
            hint = ". Rows may be one-hot, with a single 1; images of several classes at once are not supported"
        raise ValueError(f"{path}: {name} must be integers (N,) from 0, is {dtype} of shape {shape}{hint}")
    if (largest := int(y.max())) > MAX_LABEL:
        raise ValueError(f"{path}: {name} has labels of up to {largest}; expected at most {MAX_LABEL}: {_RECIPE}")
    return y.astype("int64")
