"""Which files of a folder are images, and of which class: classes in natural order, hidden files passed over."""

import os
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dcgmm.datasets.images import is_image, seems_to_be

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


def natural_key(name: str) -> list:
    """Return a key that sorts names as people count: 2 before 10.

    Example:
        >>> sorted(["img10", "img2", "img1"], key=natural_key)
        ['img1', 'img2', 'img10']
    """
    parts = [int(part) if part.isdecimal() and part.isascii() else part for part in re.split(r"([0-9]+)", name)]
    return [*parts, name]


def list_images(folder: Path) -> Listing:
    """Return the images of a folder that holds a folder for each class.

    Images lie at any depth in the folder of their class. Hidden files and folders are passed over, and so are those
    that systems leave behind. Links are followed, each folder once.

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
    entries = sorted(
        (entry for entry in folder.iterdir() if not _hidden(entry.name)), key=lambda e: natural_key(e.name)
    )
    found = {entry: _files(entry) for entry in entries if entry.is_dir()}
    beside = [entry for entry in entries if entry.is_file()]
    images = {entry: [path for path in files if is_image(path)] for entry, files in found.items()}
    others = [path for files in found.values() for path in files if not is_image(path)]
    left_out = [path for path in (*beside, *others) if not is_text(path) and not is_image(path)]
    classes = {unicodedata.normalize("NFC", entry.name): paths for entry, paths in images.items() if paths}
    stray = [path for path in beside if is_image(path)]
    if not classes:
        if not stray:
            example = f"; it has {entries[0].name}" if entries else ", it is empty"
            raise ValueError(f"{folder} has no folders with images, one for each class{example}")
        name = unicodedata.normalize("NFC", folder.resolve().name)
        said = f"{len(stray)} images lie directly in the folder: they are one class, {name!r}"
        return Listing({name: stray}, left_out, [said], flat=True)
    _check_names(folder, list(classes))
    notices = _notices([entry.name for entry, paths in images.items() if not paths], classes, images, stray)
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


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _files(folder: Path) -> list[Path]:
    return sorted(_walk(folder), key=lambda path: (*_place(path.relative_to(folder).parent), natural_key(path.name)))


def _place(parent: Path) -> tuple:
    return ([natural_key(part) for part in parent.parts],)


def _walk(folder: Path) -> Iterator[Path]:
    visited = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        if (real := os.path.realpath(place)) in visited:  # a link that leads back would never end
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not _hidden(name)]
        yield from (Path(place, name) for name in names if not _hidden(name))


def _refuse(error: OSError) -> None:
    raise error


def _check_names(folder: Path, names: list[str]) -> None:
    """Refuse a folder one level too high, whose folders are the parts of a data set."""
    lower = {name.lower(): name for name in names}
    training = next((lower[name] for name in TRAINING if name in lower), None)
    other = next((lower[name] for name in sorted(OTHER_PARTS, reverse=True) if name in lower), None)
    only_parts = set(lower) <= TRAINING | OTHER_PARTS
    if only_parts or (training and other):
        example = f"`folder: {folder / (training or names[0])}`"
        if training and other:
            example += f" and `test: {folder / other}`"
        raise ValueError(
            f"{folder} has the folders {', '.join(names)}, which are parts of a data set and not classes: give one of "
            f"them as the folder, such as {example}"
        )


def _notices(empty: list[str], classes: dict, images: dict, stray: list[Path]) -> list[str]:
    notices = []
    if empty:
        notices.append(f"no images in {', '.join(map(repr, empty[:5]))}: left out, {len(empty)} in all")
    if stray:
        notices.append(f"{len(stray)} images that lie beside the folders of the classes are left out: {stray[0].name}")
    below = [
        path.relative_to(entry).parts for entry, paths in images.items() for path in paths
    ]  # the places of images within their class
    inner = sorted({parts[0] for parts in below if len(parts) > 1}, key=natural_key)
    if len(inner) > 1 and all(len(parts) > 1 for parts in below):
        notices.append(
            f"the classes are {', '.join(list(classes)[:5])}, and all images lie in folders below: "
            f"{', '.join(inner[:5])}. If these are the classes, give the folder above them"
        )
    return notices


def say_left_out(folder: Path, left_out: list[Path]) -> None:
    """Warn about files that are no images, in one line.

    Example:
        >>> say_left_out(Path("a"), [])
    """
    if left_out:
        example = left_out[0].relative_to(folder)
        files = "file is" if len(left_out) == 1 else "files are"
        warnings.warn(
            f"{folder}: {len(left_out)} {files} left out, because Pillow reads no such images: {example}", stacklevel=3
        )
