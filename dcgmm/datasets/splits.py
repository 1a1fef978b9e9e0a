"""Own data in two parts: the share of test images, drawn from each class alike, and the classes that are known."""

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from dcgmm.datasets.description import class_labels, first_half

TEST_SHARE = 0.2


def say(where: object, message: str) -> None:
    """Warn in one line that begins with the file or folder.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     say("a.npz", "2 arrays are left out")
        >>> str(caught[0].message)
        'a.npz: 2 arrays are left out'
    """
    warnings.warn(f"{where}: {message}", stacklevel=3)


def split(y: np.ndarray, share: float, where: object, names: Sequence[str] | None = None) -> list[np.ndarray]:
    """Return the indices of training and of test images: a share of each class is drawn as test images.

    Args:
        y: Class labels (N,).
        share: The share of test images, between 0 and 1.
        where: The file or folder, for messages.
        names: The names of the labels, for messages. Default: the labels.

    Raises:
        ValueError: if there are too few images to give each class a place in both parts.

    Example:
        >>> train, test = split(np.array([0, 1] * 5), 0.4, "a folder")
        >>> len(train), np.bincount(np.array([0, 1] * 5)[test]).tolist()
        (6, [2, 2])
    """
    from sklearn.model_selection import train_test_split

    counts = {names[label] if names else str(label): n for label, n in sorted(Counter(y.tolist()).items())}
    smallest = min(counts, key=lambda name: counts[name], default=None)
    n_test = math.ceil(share * len(y))
    if smallest is None or counts[smallest] < 2 or min(n_test, len(y) - n_test) < len(counts):
        found = ", ".join(f"{name}: {n}" for name, n in list(counts.items())[:20])
        raise ValueError(
            f"{where}: too few images for a share of {share:g} as test images, because each class needs at least one "
            f"in both parts; class {smallest!r} has the fewest (images of each class: {found}). Add images, leave out "
            "the class, choose another share by `test`, or give test images of their own"
        )
    return train_test_split(np.arange(len(y)), test_size=share, stratify=y, random_state=0)


def known_labels(known: Any, names: Sequence[str], classes: Sequence[int], where: object) -> tuple[int, ...]:
    """Return the labels of the classes that are known, on which to train where the others serve as outliers.

    Args:
        known: Labels or names of training classes, or labels as text, such as "0-4". None: if only test images have
            some of the classes, all training classes are known; else the first half, rounded up.
        names: The name of each label 0, 1, ...; "" for a label that does not occur.
        classes: The labels of training images.
        where: The file or folder, for messages.

    Raises:
        ValueError: if there is none, or one is no class of the training images.

    Example:
        >>> known_labels(None, ["cat", "dog", "owl"], [0, 1, 2], "a folder")
        (0, 1)
        >>> known_labels(["owl"], ["cat", "dog", "owl"], [0, 1, 2], "a folder")
        (2,)
        >>> known_labels(None, ["good", "hole"], [0], "a folder")
        (0,)
    """
    if known is None:
        test_only = set(range(len(names))) - set(classes) - {i for i, name in enumerate(names) if not name}
        return tuple(classes) if test_only else first_half(classes)
    by_name = {name: label for label, name in enumerate(names) if name}
    given: Iterable[Any] = [known] if isinstance(known, str | Integral) else known
    if isinstance(known, str) and known not in by_name and known[:1].isdecimal():
        given = class_labels(known)
    labels = {by_name.get(each, each) if isinstance(each, str) else each for each in given}
    if wrong := [each for each in labels if isinstance(each, bool) or each not in classes]:
        accepted = ", ".join(f"{label} ({names[label]})" for label in classes)
        raise ValueError(f"{where}: `known` has {wrong[0]!r}, which is no class of the training images: {accepted}")
    if not labels:
        raise ValueError(f"{where}: `known` is empty; expected at least one class")
    return tuple(sorted(int(label) for label in labels))
