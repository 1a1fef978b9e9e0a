"""What is known of a data set without its images: title, size, classes and their names; and classes as text."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dcgmm import arguments

# `class_labels` reads labels of at most four digits.
HIGHEST_LABEL = 9999


@dataclass(frozen=True)
class Description:
    """A data set in a few words, which notebooks and figures ask instead of assuming MNIST.

    Args:
        name: the name that `load_dataset` takes.
        title: the name in captions.
        image_shape: (H, W, C) of an image.
        class_names: the name of each label, 0, 1, ..., also of labels that only test images have. "": a label that
            does not occur.
        classes: the labels that training images have.
        known: the labels to train on where the others serve as outliers, as 0-4 do in the paper; some of `classes`.
        n_images: the number of training and test images together. Default 0: it is not known.

    Raises:
        ValueError: if an argument does not fit: a label without a name, say.

    Example:
        >>> letters = Description("letters", "Letters", (28, 28, 1), ("a", "b", "c", "d"), (0, 1, 2), (0, 1))
        >>> letters.unknown, letters.known_text
        ((2, 3), '0-1')
    """

    name: str
    title: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    classes: tuple[int, ...]
    known: tuple[int, ...]
    n_images: int = 0

    def __post_init__(self) -> None:
        """Check the arguments."""
        names = arguments.items(self.class_names)
        if not names or not all(isinstance(name, str) for name in names):
            raise arguments.refusal("class_names", "a name for each label", self.class_names)
        checked: dict[str, Any] = {
            "name": arguments.text("name", self.name, "mnist"),
            "title": arguments.text("title", self.title, "MNIST"),
            "image_shape": arguments.sizes("image_shape", self.image_shape, "(H, W, C)"),
            "class_names": tuple(names),
            "classes": _labels("classes", self.classes, len(names) - 1),
            "known": _labels("known", self.known, len(names) - 1),
            "n_images": arguments.integer("n_images", self.n_images, at_least=0),
        }
        if unknown := set(checked["known"]) - set(checked["classes"]):
            raise ValueError(f"known must be some of classes = {checked['classes']}, received {sorted(unknown)} too")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def n_bytes(self) -> int:
        """The bytes of all images as `load_dataset` returns them, float32; 0 if their number is not known."""
        return 4 * math.prod(self.image_shape) * self.n_images

    @property
    def unknown(self) -> tuple[int, ...]:
        """The labels that are not known: those of the outliers."""
        return tuple(label for label, name in enumerate(self.class_names) if name and label not in self.known)

    @property
    def known_text(self) -> str:
        """The known classes as text, such as "0-4"."""
        return class_text(self.known)


def check_name(name: object, what: str = "a data set") -> str:
    """Return the name of a data set, which names folders and stages of the pipeline, and stands in shell commands.

    Args:
        name: the name.
        what: whose name it is, for the message. Default: a data set's.

    Raises:
        ValueError: if it breaks the rule: 1 to 60 ASCII letters, digits, "_" and "-", the first a letter or a digit,
            and no name of a device of Windows.

    Example:
        >>> check_name("my_images-2")
        'my_images-2'
        >>> check_name("my images")
        Traceback (most recent call last):
        ValueError: the name of a data set has 1 to 60 letters a-z and A-Z, digits, "_" and "-", ...
    """
    rule = (
        f'the name of {what} has 1 to 60 letters a-z and A-Z, digits, "_" and "-", and begins with a letter or a '
        f"digit, because it names folders and stages; received {name!r}"
    )
    if not isinstance(name, str):
        raise ValueError(f"{rule}, which is no text: in params.yaml, write it in quotes")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", name):
        raise ValueError(rule)
    if re.fullmatch(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", name, re.IGNORECASE):
        raise ValueError(f"{rule}, which is the name of a device of Windows")
    return name


def first_half(classes: Iterable[int]) -> tuple[int, ...]:
    """Return the first half of the classes, rounded up: the paper knows 0-4 of ten.

    Raises:
        ValueError: if there is no class, or one is no label.

    Example:
        >>> first_half([0, 1, 2])
        (0, 1)
    """
    ordered = sorted(_labels("classes", classes, highest=None))
    return tuple(ordered[: (len(ordered) + 1) // 2])


def _labels(name, value, highest=HIGHEST_LABEL):
    """Return labels, each once and in their order, as a tuple of integers."""
    labels = arguments.items(value, sets=True)
    try:
        return tuple(dict.fromkeys(arguments.integer(name, label, 0, highest) for label in labels or [None]))
    except ValueError:
        upwards = "from 0 upwards" if highest is None else f"from 0 to {highest}"
        raise arguments.refusal(name, f"a list of labels, integers {upwards}", value) from None


def class_labels(text: str) -> tuple[int, ...]:
    """Return the labels that a text such as "0-4" or "0,2,7-9" names, in increasing order.

    Raises:
        ValueError: if the text cannot be read.

    Example:
        >>> class_labels("0,2,7-9")
        (0, 2, 7, 8, 9)
    """
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", text, re.ASCII):
        received = repr(text) if isinstance(text, str) else arguments.shown(text)
        raise ValueError(f"text: classes are labels and ranges such as '0-4' or '0,2,7-9', received {received}")
    bounds = [[int(n) for n in part.split("-")] for part in text.split(",")]
    if backwards := [part for part in bounds if part[0] > part[-1]]:
        raise ValueError(f"text: a range of classes goes upwards, received {backwards[0]} in {text!r}")
    return tuple(sorted({label for part in bounds for label in range(part[0], part[-1] + 1)}))


def class_text(labels: Iterable[int]) -> str:
    """Return labels as the shortest text that `class_labels` reads; a label that comes twice counts once.

    Raises:
        ValueError: if there is no label, or one is no integer from 0 to 9999.

    Example:
        >>> class_text([0, 1, 2, 3, 4]), class_text([0, 2, 7, 8])
        ('0-4', '0,2,7-8')
    """
    ordered = sorted(_labels("labels", labels))
    gaps = [i for i, (a, b) in enumerate(pairwise(ordered), start=1) if b > a + 1]
    runs = [ordered[a:b] for a, b in pairwise([0, *gaps, len(ordered)])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
