"""Functions for loaded images: choose classes, keep fewer images, and damage squares."""

import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from dcgmm import arguments


def select_classes(x: np.ndarray, y: np.ndarray, classes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of some classes, in their original order.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        classes: The classes to keep, such as `range(5)`.

    Raises:
        ValueError: if there is no class, or one that is no integer or does not occur in `y`, or if there is not one
            label for each image.

    Example:
        >>> x, y = select_classes(np.arange(4), np.array([0, 1, 2, 1]), [1])
        >>> x.tolist(), y.tolist()
        ([1, 3], [1, 1])
    """
    x, y = _images_and_labels(x, y)
    found, present = arguments.items(classes, sets=True), np.unique(y).tolist()
    if not found or not all(_is_integer(c) and c in present for c in found):
        hint = ": read text with class_labels" if isinstance(classes, str) else ""
        raise ValueError(
            f"classes must be labels that occur in y, which has {present}; received {arguments.shown(classes)}{hint}"
        )
    keep = np.isin(y, found)
    return x[keep], y[keep]


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _images_and_labels(x, y):
    """Return images (N, ...) and their labels (N,), as arrays where they are none yet."""
    x = x if hasattr(x, "shape") else arguments.array("x", x, "(N, ...)", finite=False, truths=True)
    if not x.shape:
        raise arguments.refusal("x", "images (N, ...)", x)
    y = y if hasattr(y, "shape") else np.asarray(arguments.labels("y", y))
    if tuple(y.shape) != (len(x),):
        raise ValueError(f"y must be one label for each of {len(x)} images x, (N,), received shape {tuple(y.shape)}")
    return x, y


def thinned(x: np.ndarray, y: np.ndarray, n: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return n images and their labels, evenly spread over all images, or all if there are no more than n.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        n: The number to keep, an integer of at least one, or None to keep all.

    Raises:
        ValueError: if `n` is less than one, or no integer, or if there is not one label for each image.

    Example:
        >>> thinned(np.arange(6), np.arange(6), 3)[0].tolist()
        [0, 2, 4]
    """
    if n is not None and not (_is_integer(n) and n >= 1):
        raise ValueError(f"images to keep, n: expected a whole number of at least one, received {arguments.shown(n)}")
    x, y = _images_and_labels(x, y)
    if n is None or n >= len(x):
        return x, y
    keep: np.ndarray = np.arange(int(n)) * len(x) // int(n)
    return x[keep], y[keep]


def square_masks(n: int, plane: tuple[int, int], size: int, margin: int = 0, seed: int = 0) -> np.ndarray:
    """Return masks of a square at a random place in each of n images, a boolean array (n, H, W).

    Args:
        n: The number of masks, at least one.
        plane: (H, W) of the images, in pixels.
        size: The side of the square, in pixels, at least one.
        margin: The smallest distance between the square and the border of the image, in pixels. Default 0.
        seed: An integer for the random places, from 0 to 2³² − 1, or None for fresh ones. Default 0.

    Raises:
        ValueError: if an argument is no integer or outside its range, or the square with its margin does not fit.

    Example:
        >>> square_masks(3, (28, 28), size=8).sum(axis=(1, 2)).tolist()
        [64, 64, 64]
    """
    n = arguments.positive_integer("n", n)
    height, width = arguments.sizes("plane", plane, "(H, W)")
    size = arguments.positive_integer("size", size)
    margin = arguments.integer("margin", margin, at_least=0)
    if size + 2 * margin > min(height, width):
        received = f"size = {size} and margin = {margin}"
        raise ValueError(f"size + 2 * margin must fit into plane = {(height, width)}, received {received}")
    rng = np.random.default_rng(arguments.seed("seed", seed))
    inside = []
    for length in (height, width):
        start = rng.integers(margin, length - margin - size, (n, 1), endpoint=True)
        inside.append((np.arange(length) >= start) & (np.arange(length) < start + size))
    return inside[0][:, :, None] & inside[1][:, None, :]


def damaged(x: np.ndarray, mask: np.ndarray, damage: str, seed: int = 0) -> np.ndarray:
    """Return images with the pixels of a mask replaced, a float32 array (N, H, W, C).

    Args:
        x: Images (N, H, W, C).
        mask: The pixels to replace, boolean (N, H, W), or (H, W) for the same ones in all images; 0 and 1 may stand for
            False and True.
        damage: The new values: `"black"`, 0, `"white"`, 1, or `"noise"`, uniformly random in [0, 1].
        seed: An integer for the noise, from 0 to 2³² − 1, or None for a fresh one. Default 0.

    Raises:
        ValueError: if an argument does not fit: another `damage`, say, or a mask of another shape.

    Example:
        >>> x = np.full((1, 1, 2, 1), 0.5)
        >>> damaged(x, np.array([[[False, True]]]), "white").squeeze().tolist()
        [0.5, 1.0]
    """
    x = arguments.array("x", x, "(N, H, W, C)", finite=False, truths=True)
    mask = _mask(mask, x.shape)
    arguments.one_of("damage", damage, ("black", "white", "noise"))
    noise = np.random.default_rng(arguments.seed("seed", seed)).random(x.shape, dtype="float32")
    values: dict[str, Any] = {"black": 0, "white": 1, "noise": noise}
    return np.where(mask[..., None], values[damage], x).astype("float32")


def _mask(mask, shape):
    """Return a mask of images of a shape (N, H, W, C) as a boolean array (N, H, W) or (H, W)."""
    expected = f"booleans of shape {shape[:3]} or {shape[1:3]}"
    try:
        found = np.asarray(mask)
    except ValueError:  # rows of different lengths
        raise arguments.refusal("mask", expected, mask) from None
    truths = found.dtype.kind == "b" or (found.dtype.kind in "iuf" and np.all((found == 0) | (found == 1)))
    if np.ma.is_masked(mask) or not truths or found.shape not in (shape[:3], shape[1:3]):
        values = "" if truths or found.dtype.kind not in "iuf" else " with other values than 0 and 1"
        raise ValueError(f"mask must be {expected}, received {arguments.shown(mask)}{values}")
    return found.astype(bool)
