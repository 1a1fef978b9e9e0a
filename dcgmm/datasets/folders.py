"""A data set in folders of images, one for each class."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pooch
from PIL import Image
from tqdm import tqdm

from dcgmm.datasets import checks
from dcgmm.datasets.description import Description
from dcgmm.datasets.images import Look, Picture, read_image
from dcgmm.datasets.listing import Listing, list_images, say_left_out
from dcgmm.datasets.ranges import unit
from dcgmm.datasets.splits import TEST_SHARE, known_labels, say, split

PROGRESS_FROM = 1000  # images
THREADS = min(4, os.cpu_count() or 1)  # Pillow decodes and resizes without Python's lock


@dataclass(frozen=True)
class ImageFolder:
    """A data set in folders, one for each class, in all formats that Pillow reads.

    Labels 0, 1, ... follow the names of the folders in natural order: 2 before 10. Classes that only the test folder
    has come after them. Images count at any depth below their class. Hidden files are passed over. Images become
    upright as EXIF tells, of an animation the first frame.

    Args:
        folder: the path of the folder that holds the folders of the classes, or images of one class.
        size: (H, W) in pixels, or one integer for squares; all images are resized to it. Default: the size that they
            all have.
        channels: 1, grey, or 3, colour. Default 1.
        test: the path of such a folder with the test images, or the share of the images in `folder` to use as test
            images, drawn from each class in proportion. Default 0.2.
        background: the value in [0, 1] behind transparent pixels and around padded images, or three values for colour.
            Default 1, white.
        fit: what happens to an image of other proportions than `size`: `"stretch"` (default), `"crop"` its centre, or
            `"pad"` it with the background.
        scale: the value that becomes 1. Default: 255 for bytes; for 16 bits, the smallest of 2^8, 2^10, 2^12, 2^14 and
            2^16 above all values, minus 1; 1 where no value is larger, as in masks.
        known: labels or names of the classes to train on where the others serve as outliers. Default: all training
            classes if only test images have some of the classes, else the first half.
        title: the name in captions. Default: the name of the data set.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for i, name in enumerate(["cat", "dog"] * 5):
        ...     (folder / name).mkdir(exist_ok=True)
        ...     Image.new("L", (8, 8), 25 * i).save(folder / name / f"{i}.png")
        >>> [part.shape for part in ImageFolder(folder).load()]
        [(8, 8, 8, 1), (8,), (2, 8, 8, 1), (2,)]
        >>> ImageFolder(folder).describe("pets").class_names
        ('cat', 'dog')
    """

    folder: Path
    size: tuple[int, int] | None = None
    channels: int = 1
    test: Path | float = TEST_SHARE
    background: float | tuple[float, float, float] = 1.0
    fit: str = "stretch"
    scale: float | None = None
    known: Any = None
    title: str | None = None

    def __post_init__(self) -> None:
        """Check the arguments, and convert paths that are given as text."""
        checked = {
            "folder": checks.expanded("folder", self.folder),
            "size": checks.size(self.size),
            "channels": checks.channels(self.channels),
            "test": checks.test_part(self.test),
            "background": checks.background(self.background, self.channels),
            "fit": checks.fit(self.fit),
            "scale": checks.scale(self.scale),
            "known": checks.known(self.known),
            "title": checks.title(self.title),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return x_train, y_train, x_test, y_test: images (N, H, W, C), float32 in [0, 1], and labels (N,), int64.

        It warns where images are left out or their range is a guess.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it has no images, too few for the share of test images, or one that cannot be read; the
                message has its path.
        """
        parts = self._parts()
        for notice in parts.notices:
            say(self.folder, notice)
        for listing, folder in parts.listings:
            say_left_out(folder, listing.left_out)
        shape = (*self._size(parts.train), self.channels)
        x_train, x_test = (_empty(self.folder, (len(paths), *shape)) for paths in (parts.train, parts.test))
        facts = self._read([*zip(parts.train, x_train), *zip(parts.test, x_test)])
        self._bring_to_range(facts, parts, x_train, x_test)
        self._say_duplicates(facts, len(x_train))
        if animated := [fact.path for fact in facts if fact.animated]:
            say(self.folder, f"the first frame is used of {len(animated)} animated image(s), such as {animated[0]}")
        return x_train, parts.y_train, x_test, parts.y_test

    def classes(self) -> list[int]:
        """Return the labels of the training images, 0, 1, ..., one for each folder."""
        return list(range(len(list_images(self.folder).classes)))

    def describe(self, name: str | None = None) -> Description:
        """Return the name, title, size and classes; it reads one image.

        Args:
            name: the name that `register` gave the data set. Default: the name of the folder.

        Raises:
            ValueError: as `load`, and if `known` has a class that the training images lack.
        """
        parts = self._parts()
        labels = tuple(range(parts.n_known))
        known = known_labels(self.known, parts.names, labels, self.folder)
        shape = (*self._size(parts.train), self.channels)
        name = self.folder.name if name is None else name
        n_images = len(parts.train) + len(parts.test)
        return Description(name, self.title or name, shape, tuple(parts.names), labels, known, n_images)

    def fingerprint(self) -> str:
        """Return one SHA-256 of the names and contents of the images, and of the arguments that decide pixels."""
        folders = [self.folder, self.test] if isinstance(self.test, Path) else [self.folder]
        share = None if isinstance(self.test, Path) else self.test
        lines = [repr((self.size, self.channels, share, self.background, self.fit, self.scale))]
        for number, folder in enumerate(folders):
            files = [path for paths in list_images(folder).classes.values() for path in paths]
            lines += [f"{number} {digest(path)}  {path.relative_to(folder).as_posix()}" for path in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _parts(self) -> "_Parts":
        train = list_images(self.folder)
        names, notices = list(train.classes), list(train.notices)
        paths = [path for images in train.classes.values() for path in images]
        y = _labels(train.classes, names)
        if not isinstance(self.test, Path):
            train_rows, test_rows = split(y, self.test, self.folder, names)
            chosen, drawn = ([paths[i] for i in rows] for rows in (train_rows, test_rows))
            return _Parts(
                chosen, drawn, y[train_rows], y[test_rows], names, len(names), notices, [(train, self.folder)]
            )
        places = self.folder.resolve(), self.test.resolve()
        if places[0] in places[1].parents or places[1] in places[0].parents:
            raise ValueError(
                f"test: {self.test} and folder: {self.folder} lie in each other, so they share images: move one out"
            )
        test = list_images(self.test)
        classes = test.classes
        if test.flat and not train.flat:
            raise ValueError(f"{self.test} has images but no folder for each class, as {self.folder} has")
        if test.flat and train.flat:
            classes = dict(zip(names, classes.values()))
        only = [name for name in classes if name not in names]
        if only:
            kept = "all test images are" if len(only) == len(classes) else "they are"
            said = ", ".join(f"{name} ({len(names) + i})" for i, name in enumerate(only[:10]))
            notices.append(f"only the test folder has {said}: {kept} outliers, with labels of their own")
        test_paths = [path for images in classes.values() for path in images]
        notices += [f"{self.test}: {notice}" for notice in test.notices]
        listings = [(train, self.folder), (test, self.test)]
        known, names = len(names), names + only
        return _Parts(paths, test_paths, y, _labels(classes, names), names, known, notices, listings)

    def _size(self, paths: Sequence[Path]) -> tuple[int, int]:
        if self.size:
            return self.size
        height, width, _ = self._picture(paths[0])[0].pixels.shape
        return height, width

    def _picture(self, path: Path, unit: float | None = None) -> tuple[Picture, bytes]:
        content = path.read_bytes()
        look = Look(self.channels, self.size, self.background, self.fit)
        return read_image(content, path, look, self.scale or unit), hashlib.sha256(content).digest()

    def _read(self, targets: list[tuple[Path, np.ndarray]]) -> list["_Fact"]:
        """Read files into rows of arrays, each before its division by the value that becomes 1."""

        def read(target):
            path, row = target
            picture, sha256 = self._picture(path)
            pixels, size = picture.pixels, picture.pixels.shape[:2]
            if pixels.shape == row.shape:
                row[:] = pixels
            facts = picture.kind, picture.unit, picture.largest, picture.lowest, picture.blended, picture.animated
            return _Fact(path, sha256, size, *facts)

        Image.init()  # before the threads, because it imports Pillow's plug-ins
        with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            quiet = len(targets) <= PROGRESS_FROM
            facts = list(tqdm(pool.map(read, targets), "images", len(targets), disable=quiet))
        sizes = Counter(fact.size for fact in facts)
        if len(sizes) > 1:
            found = ", ".join(f"{height}x{width}: {n} images" for (height, width), n in sizes.most_common(5))
            raise ValueError(f"{self.folder}: images differ in size (H x W), so `size` is needed; found {found}")
        return facts

    def _bring_to_range(self, facts: list["_Fact"], parts: "_Parts", *x: np.ndarray) -> None:
        """Divide images by the value that becomes 1: one for all images of a kind, in both parts."""
        if self.scale:
            units = np.full(len(facts), self.scale, "float32")
            for fact in facts:
                if fact.lowest < 0 or fact.largest > self.scale:
                    raise ValueError(
                        f"{fact.path} has values from {fact.lowest:g} to {fact.largest:g}; with scale {self.scale:g}, "
                        "expected values from 0 to it"
                    )
        else:
            units = self._units(facts, len(x[0]), np.concatenate([parts.y_train, parts.y_test]), parts.names)
            rows = [row for part in x for row in part]
            for fact, row, found in zip(facts, rows, units):
                if fact.blended and fact.unit != found:  # the background has to be a share of the value that becomes 1
                    row[:] = self._picture(fact.path, float(found))[0].pixels
        start = 0
        for part in x:
            part /= units[start : start + len(part), None, None, None]
            start += len(part)

    def _units(self, facts: list["_Fact"], n_train: int, y: np.ndarray, names: list[str]) -> np.ndarray:
        if wide := next((fact for fact in facts if fact.kind == "wide"), None):
            raise ValueError(
                f"{wide.path} has values from {wide.lowest:g} to {wide.largest:g}: expected values in [0, 1], bytes, "
                "or whole numbers of up to 16 bits. Set `scale` to the value that should become 1"
            )
        units = np.array([fact.unit for fact in facts], "float32")
        kinds, largest = np.array([fact.kind for fact in facts]), np.array([fact.largest for fact in facts])
        test = np.arange(len(facts)) >= n_train
        for kind in ("bytes", "deep"):
            these = kinds == kind
            tops = {
                part: largest[these & rows].max()
                for part, rows in {"training images": ~test, "test images": test}.items()
                if (these & rows).any()
            }
            drawings = all(fact.blended or not these[i] for i, fact in enumerate(facts))
            if not tops or (drawings and max(tops.values()) == 0):  # black on a ground is 0 whatever becomes 1
                continue
            found, notices = unit(tops, deep=kind == "deep")
            units[these] = found
            for label in range(len(names)):
                of_class = these & (y == label)
                if found > 1 and of_class.any() and largest[of_class].max() == 1 and not notices:
                    notices.append(
                        f"no value of class {names[label]} is above 1, but other images reach {max(tops.values()):g}"
                    )
            for notice in notices:
                say(self.folder, notice)
        return units

    def _say_duplicates(self, facts: list["_Fact"], n_train: int) -> None:
        training = {fact.sha256: fact.path for fact in facts[:n_train]}
        if twice := [fact for fact in facts[n_train:] if fact.sha256 in training]:
            first = twice[0]
            say(
                self.folder,
                f"{len(twice)} of {len(facts) - n_train} test images are training images, too, such as {first.path} "
                f"and {training[first.sha256]}",
            )


class _Parts(NamedTuple):
    train: list[Path]
    test: list[Path]
    y_train: np.ndarray
    y_test: np.ndarray
    names: list[str]
    n_known: int  # classes of training images
    notices: list[str]
    listings: list[tuple[Listing, Path]]


class _Fact(NamedTuple):
    path: Path
    sha256: bytes
    size: tuple[int, ...]
    kind: str
    unit: float
    largest: float
    lowest: float
    blended: bool
    animated: bool


def _labels(classes: dict[str, list[Path]], names: list[str]) -> np.ndarray:
    labels = {name: label for label, name in enumerate(names)}
    counts = [len(paths) for paths in classes.values()]
    return np.repeat(np.array([labels[name] for name in classes], "int64"), counts)


def _empty(where: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty(shape, "float32")
    except (MemoryError, ValueError) as error:
        needed = 4 * float(np.prod([float(length) for length in shape])) / 2**30
        raise ValueError(
            f"{where}: images {shape} need {needed:,.1f} GiB of memory; choose a smaller `size`"
        ) from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, which is computed again only if the file's size or time has changed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a")
        >>> _ = path.write_bytes(b"")
        >>> digest(path)[:8]
        'e3b0c442'
    """
    status = path.stat()
    return _digest_as_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2**20)
def _digest_as_of(path: Path, size: int, modified: int) -> str:
    return pooch.file_hash(str(path))
