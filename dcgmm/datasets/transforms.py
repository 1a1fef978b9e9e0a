"""What is done to loaded images: choosing classes, thinning out, and damaging squares of them."""

from collections.abc import Iterable

import numpy as np


def select_classes(x: np.ndarray, y: np.ndarray, classes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the given classes, in their original order.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        classes: The classes to keep, such as `range(5)`.

    Raises:
        ValueError: if no class is given, or one that does not occur in `y`.
    """
    classes = list(classes)
    absent = [c for c in classes if c not in y]
    if absent or not classes:
        raise ValueError(f"classes must occur in y, which has {np.unique(y).tolist()}; received {classes}")
    keep = np.isin(y, classes)
    return x[keep], y[keep]


def thinned(x: np.ndarray, y: np.ndarray, n: int | None) -> tuple[np.ndarray, np.ndarray]:
    """`n` images and their labels, evenly spread over all of them; all where `n` is None or there are no more.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        n: How many to keep, at least one, or None.

    Raises:
        ValueError: if `n` is less than one, or no whole number.
    """
    if n is not None and (n < 1 or n != int(n)):
        raise ValueError(f"images to keep: expected a whole number of at least one, received {n!r}")
    if n is None or n >= len(x):
        return x, y
    keep = np.arange(int(n)) * len(x) // int(n)
    return x[keep], y[keep]


def square_masks(n: int, plane: tuple[int, int], size: int, margin: int = 0, seed: int = 0) -> np.ndarray:
    """Masks of a square at a random place in each of `n` images, boolean (n, H, W).

    Args:
        n: How many.
        plane: (H, W) of the images.
        size: The square's side, in pixels.
        margin: Pixels that the square keeps from the images' border. Default 0.
        seed: Of the places. Default 0.
    """
    rng = np.random.default_rng(seed)
    inside = []
    for length in plane:
        start = rng.integers(margin, length - margin - size, (n, 1), endpoint=True)
        inside.append((np.arange(length) >= start) & (np.arange(length) < start + size))
    return inside[0][:, :, None] & inside[1][:, None, :]


def damaged(x: np.ndarray, mask: np.ndarray, damage: str, seed: int = 0) -> np.ndarray:
    """Images (N, H, W, C) with the pixels of a mask (N, H, W) set to `"black"`, `"white"` or `"noise"`, U[0, 1]."""
    noise = np.random.default_rng(seed).random(x.shape, dtype="float32")
    return np.where(mask[..., None], {"black": 0, "white": 1, "noise": noise}[damage], x).astype("float32")
