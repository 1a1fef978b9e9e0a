"""Which files of a folder are images, and of which class: classes in natural order, hidden files passed over."""

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dcgmm.datasets.images import is_image, seems_to_be
from dcgmm.datasets.splits import say

# What systems and programs leave in folders, beside names that begin with a dot.
LITTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "@eadir"}
# Files that describe images; everything else that is no image is counted.
TEXTS = {".cfg", ".csv", ".htm", ".html", ".ini", ".json", ".log", ".md", ".pdf", ".py", ".rst", ".sh", ".toml"}
TEXTS |= {".tsv", ".txt", ".xml", ".yaml", ".yml"}
TRAINING = {"train", "training", "trainset"}
OTHER_PARTS = {"dev", "eval", "evaluation", "holdout", "test", "testing", "testset", "tests"}
OTHER_PARTS |= {"val", "valid", "validation"}


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    Args:
        classes: the paths of the images of each class, by its name, in natural order.
        left_out: files that are no images, without texts and hidden files.
        notices: what to warn about, without the left-out files.
        flat: whether the images lie directly in the folder: they are one class, with the name of the folder.

    Example:
        >>> Listing({"cat": [Path("cat/1.png")]}, [], [], flat=False).classes["cat"][0].name
        '1.png'
    """

    classes: dict[str, list[Path]]
    left_out: list[Path]
    notices: list[str]
    flat: bool


def natural_key(name: str) -> tuple:
    """Return a key that sorts names as people count: 2 before 10.

    Example:
        >>> sorted(["img10", "img2", "img"], key=natural_key)
        ['img', 'img2', 'img10']
    """
    parts = re.split(r"([0-9]+)", name)  # texts at even places, numbers at odd ones
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def list_images(folder: Path) -> Listing:
    """Return the images of a folder that holds a folder for each class.

    Images lie at any depth in the folder of their class. Hidden files and folders are passed over, and so are those
    that systems leave behind. Links are followed, but each folder of a class is read once.

    Args:
        folder: the path of the folder.

    Raises:
        FileNotFoundError: if there is no such folder.
        NotADirectoryError: if it is a file.
        ValueError: if it holds no images, or if its folders are parts such as `train` and `test`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a10", "a9", ".hidden"):
        ...     (folder / name).mkdir()
        ...     Image.new("L", (8, 8)).save(folder / name / "1.png")
        >>> list(list_images(folder).classes)
        ['a9', 'a10']
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder that holds a folder of images for each class")
    entries = sorted((path for path in folder.iterdir() if not _hidden(path.name)), key=lambda p: natural_key(p.name))
    beside, left_out = _images_and_others(path for path in entries if not path.is_dir())
    classes: dict[str, list[Path]] = {}
    inner: set[tuple[str, ...]] = set()
    wrapping = []
    for entry in filter(Path.is_dir, entries):
        # One form of Unicode, because systems differ: the same name has to be the same class.
        found = classes.setdefault(unicodedata.normalize("NFC", entry.name), [])
        places = set()
        for place, paths in _places(entry):
            images, others = _images_and_others(paths)
            places |= {place[:1]} if images else set()
            found += images
            left_out += others
        inner |= places
        if places and () not in places:
            wrapping.append(entry.name)
    empty = [name for name, images in classes.items() if not images]
    classes = {name: images for name, images in classes.items() if images}
    if not classes:
        return _flat(folder, entries, beside, left_out)
    _check_names(folder, list(classes))
    notices = []
    if empty:
        notices.append(f"class folders without images are left out: {_some(empty)}")
    if beside:
        notices.append(f"images beside the folders of the classes are left out: {_some(path.name for path in beside)}")
    if wrapping and (len(inner - {()}) > 1 or len(classes) == 1):
        below = sorted({name for place in inner for name in place}, key=natural_key)
        notices.append(
            f"images lie two or more folders deep in {_some(wrapping)}. The classes are {_some(classes)}; if they "
            f"should be {_some(below)}, give the folder above these"
        )
    return Listing(classes, left_out, notices, flat=False)


def is_text(path: Path) -> bool:
    """Return whether a file is a text that may lie beside images, such as a README or a table of labels.

    Example:
        >>> is_text(Path("labels.csv")), is_text(Path("photo.heic"))
        (True, False)
    """
    if path.suffix or not path.is_file():
        return path.suffix.lower() in TEXTS
    with path.open("rb") as file:
        return seems_to_be(file.read(64)).startswith("is text")


def _flat(folder: Path, entries: list[Path], images: list[Path], left_out: list[Path]) -> Listing:
    if not images:
        found = f"it holds {_some(path.name for path in entries)}" if entries else "it is empty"
        raise ValueError(f"{folder} has no folders with images, one for each class: {found}")
    name = unicodedata.normalize("NFC", folder.resolve().name)
    notice = f"images lie in the folder itself, so they are one class, {name!r}"
    return Listing({name: images}, left_out, [notice], flat=True)


def _some(names: Iterable[str]) -> str:
    """Return a few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _images_and_others(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the images among some files, and the files that are neither images nor texts."""
    images, others = [], []
    for path in paths:
        if path.is_file() and is_image(path):
            images.append(path)
        elif not is_text(path):
            others.append(path)
    return images, others


def _places(folder: Path) -> list[tuple[tuple[str, ...], list[Path]]]:
    """Return the files of a folder and of each folder in it, by its place in the first one, in natural order."""
    places, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        if (real := os.path.realpath(place)) in visited:  # a link that leads back would never end
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not _hidden(name)]
        names = sorted((name for name in names if not _hidden(name)), key=natural_key)
        places.append((Path(place).relative_to(folder).parts, [Path(place, name) for name in names]))
    return sorted(places, key=lambda found: [natural_key(part) for part in found[0]])


def _refuse(error: OSError) -> None:
    raise error


def _check_names(folder: Path, names: list[str]) -> None:
    """Refuse a folder one level too high, whose folders are the parts of a data set."""
    training, other = ([name for name in names if name.lower() in part] for part in (TRAINING, OTHER_PARTS))
    if len(training) + len(other) == len(names) or (training and other):
        example = f"`folder: {folder / (training or other)[0]}`"
        if training and other:
            example += f" and `test: {folder / max(other, key=lambda name: 'test' in name.lower())}`"
        raise ValueError(
            f"{folder} has the folders {_some(names)}, which are parts of a data set and not classes. Give the folder "
            f"that holds the classes: {example}"
        )


def say_left_out(folder: Path, left_out: list[Path]) -> None:
    """Warn about files that are no images, in one line.

    Example:
        >>> say_left_out(Path("a"), [])
    """
    if left_out:
        said = "1 file is" if len(left_out) == 1 else f"{len(left_out)} files are"
        say(folder, f"{said} left out, because Pillow reads no such images: {left_out[0].relative_to(folder)}")
