"""Functions for loaded images: choose classes, keep fewer images, and damage squares."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def select_classes(x: np.ndarray, y: np.ndarray, classes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of some classes, in their original order.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        classes: The classes to keep, such as `range(5)`.

    Raises:
        ValueError: if there is no class, or one that does not occur in `y`.

    Example:
        >>> x, y = select_classes(np.arange(4), np.array([0, 1, 2, 1]), [1])
        >>> x.tolist(), y.tolist()
        ([1, 3], [1, 1])
    """
    classes = list(classes)
    absent = [c for c in classes if c not in y]
    if absent or not classes:
        raise ValueError(f"classes must occur in y, which has {np.unique(y).tolist()}; received {classes}")
    keep = np.isin(y, classes)
    return x[keep], y[keep]


def thinned(x: np.ndarray, y: np.ndarray, n: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return n images and their labels, evenly spread over all images, or all if there are no more than n.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        n: The number to keep, at least one, or None to keep all.

    Raises:
        ValueError: if `n` is less than one, or not a whole number.

    Example:
        >>> thinned(np.arange(6), np.arange(6), 3)[0].tolist()
        [0, 2, 4]
    """
    if n is not None and (n < 1 or n != int(n)):
        raise ValueError(f"images to keep: expected a whole number of at least one, received {n!r}")
    if n is None or n >= len(x):
        return x, y
    keep: np.ndarray = np.arange(int(n)) * len(x) // int(n)
    return x[keep], y[keep]


def square_masks(n: int, plane: tuple[int, int], size: int, margin: int = 0, seed: int = 0) -> np.ndarray:
    """Return masks of a square at a random place in each of n images, a boolean array (n, H, W).

    Args:
        n: The number of masks.
        plane: (H, W) of the images, in pixels.
        size: The side of the square, in pixels.
        margin: The smallest distance between the square and the border of the image, in pixels. Default 0.
        seed: An integer for the random places. Default 0.

    Example:
        >>> square_masks(3, (28, 28), size=8).sum(axis=(1, 2)).tolist()
        [64, 64, 64]
    """
    rng = np.random.default_rng(seed)
    inside = []
    for length in plane:
        start = rng.integers(margin, length - margin - size, (n, 1), endpoint=True)
        inside.append((np.arange(length) >= start) & (np.arange(length) < start + size))
    return inside[0][:, :, None] & inside[1][:, None, :]


def damaged(x: np.ndarray, mask: np.ndarray, damage: str, seed: int = 0) -> np.ndarray:
    """Return images with the pixels of a mask replaced, a float32 array (N, H, W, C).

    Args:
        x: Images (N, H, W, C).
        mask: The pixels to replace, boolean (N, H, W).
        damage: The new values: `"black"`, 0, `"white"`, 1, or `"noise"`, uniformly random in [0, 1].
        seed: An integer for the noise. Default 0.

    Raises:
        KeyError: for another `damage`.

    Example:
        >>> x = np.full((1, 1, 2, 1), 0.5)
        >>> damaged(x, np.array([[[False, True]]]), "white").squeeze().tolist()
        [0.5, 1.0]
    """
    noise = np.random.default_rng(seed).random(x.shape, dtype="float32")
    values: dict[str, Any] = {"black": 0, "white": 1, "noise": noise}
    return np.where(mask[..., None], values[damage], x).astype("float32")
