"""What is known of a data set without its images: title, size, classes and their names; and classes as text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise


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
        known: the labels to train on where the others serve as outliers, as 0-4 do in the paper.

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

    Example:
        >>> first_half([0, 1, 2])
        (0, 1)
    """
    ordered = sorted(classes)
    return tuple(ordered[: (len(ordered) + 1) // 2])


def class_labels(text: str) -> tuple[int, ...]:
    """Return the labels that a text such as "0-4" or "0,2,7-9" names, in increasing order.

    Raises:
        ValueError: if the text cannot be read.

    Example:
        >>> class_labels("0,2,7-9")
        (0, 2, 7, 8, 9)
    """
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", text, re.ASCII):
        raise ValueError(f"classes are labels and ranges such as '0-4' or '0,2,7-9', received {text!r}")
    bounds = [[int(n) for n in part.split("-")] for part in text.split(",")]
    if backwards := [part for part in bounds if part[0] > part[-1]]:
        raise ValueError(f"a range of classes goes upwards, received {backwards[0]} in {text!r}")
    return tuple(sorted({label for part in bounds for label in range(part[0], part[-1] + 1)}))


def class_text(labels: Iterable[int]) -> str:
    """Return labels as the shortest text that `class_labels` reads.

    Example:
        >>> class_text([0, 1, 2, 3, 4]), class_text([0, 2, 7, 8])
        ('0-4', '0,2,7-8')
    """
    ordered = sorted(labels)
    gaps = [i for i, (a, b) in enumerate(pairwise(ordered), start=1) if b > a + 1]
    runs = [ordered[a:b] for a, b in pairwise([0, *gaps, len(ordered)])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
