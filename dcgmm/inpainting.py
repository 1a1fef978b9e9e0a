"""In-painting of damaged images (Sec. II-B5) and missing pixels; which positions and pixels a damage touches."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm.arguments import number, refusal, shown
from dcgmm.layers import GMM, Window
from dcgmm.sampling import BATCH, MAX_ELEMENTS, SamplingOptions
from dcgmm.validation import warn


def inpaint(model: keras.Model, x: Any, mask: Any = None, c: float = 1.0, **options: Any) -> np.ndarray:
    """Complete damaged images by a `DCGMM`; see `DCGMM.inpaint` for the arguments.

    Example:
        >>> from dcgmm import load_pretrained
        >>> inpaint(load_pretrained("2L-c", "mnist"), np.zeros((2, 28, 28, 1)), seed=0).shape
        (2, 28, 28, 1)
    """
    images = model.expected.images(x).numpy()
    number("c", c)
    missing = np.isnan(images)
    incomplete = [share > 0 for share in damaged_share(model.stack, missing.any(axis=-1))]
    if mask is not None:
        replaced = _pixels_of_mask(mask, images)
        damaged = [share > 0 for share in damaged_share(model.stack, replaced)]
    elif missing.any():
        replaced, damaged = np.zeros(images.shape[:3], bool), [np.zeros_like(positions) for positions in incomplete]
    else:
        damaged = _outlying_positions(model, images, c)
        replaced = covered_pixels(model.stack, damaged[0])
    activities = model.all_responsibilities(images)

    def fuse(layer, control, part):
        """Return the signal of each position: activities, the signal from above (Eq. 9), or both (missing pixels)."""
        own = activities[layer][part]
        if layer == len(activities) - 1:
            return control
        signal = tf.where(incomplete[layer][part][..., None], _posterior(control, own), own)
        return tf.where(damaged[layer][part][..., None], control, signal)

    drawn, _ = model.descent.run(tf.constant(activities[-1]), SamplingOptions(**options), fuse=fuse)
    return np.where(replaced[..., None] | missing, drawn, images)


def _posterior(control, activities):
    """Return the weights of components by what is seen at a position and by the signal from above: their product.

    The activities are p(component | seen pixels), and the signal stands for p(component | layer above). Where the two
    exclude each other, the activities count.
    """
    product = tf.nn.relu(control) * activities
    return tf.where(tf.reduce_sum(product, -1, keepdims=True) > 0, product, activities)


def _outlying_positions(model, images, c):
    """Return where each GMM layer finds outliers by Eq. 6, from the lowest, a list of boolean arrays (N, h, w)."""
    if model.gmm_layers[0].output_plane == (1, 1):
        raise ValueError(
            "the lowest GMM layer sees the whole image at one position, so it cannot tell the damaged part from "
            "the rest: give a mask, or use an instance with a smaller first filter"
        )
    likelihoods = model.log_likelihoods(images)
    return [~(m.standardised(values) >= -c) for m, values in zip(model.moments, likelihoods, strict=True)]


def _pixels_of_mask(mask, images):
    """Return where images (N, H, W, C) are damaged, boolean (N, H, W)."""
    expected = f"boolean of shape {images.shape[:3]} or {images.shape[1:3]}"
    try:
        given = np.asarray(mask)
    except (ValueError, TypeError):
        raise refusal("mask", expected, mask) from None
    if given.shape not in (images.shape[:3], images.shape[1:3]):
        hint = (
            ": it needs no axis for the channels" if given.shape[:-1] in (images.shape[:3], images.shape[1:3]) else ""
        )
        raise ValueError(
            f"mask must be of shape {images.shape[:3]} or {images.shape[1:3]}, is {given.shape}, received {shown(mask)}"
            f"{hint}"
        )
    if given.dtype.kind not in "biuf" or np.ma.is_masked(mask):
        raise refusal("mask", expected, mask)
    if np.any(other := (given != 0) & (given != 1)):
        raise ValueError(
            f"mask must be True or False, or 1 or 0, at each pixel, received {given[other].flat[0]} among them"
        )
    damaged = given.astype(bool)
    if not damaged.any():
        warn("mask has no damaged pixel, so the images come back as they are")
    return np.broadcast_to(damaged, images.shape[:3])


def damaged_share(layers: Sequence[keras.layers.Layer], mask: np.ndarray) -> list[np.ndarray]:
    """Return the masked share of each position's input, from 0 to 1, for each GMM layer from the lowest.

    Where windows overlap, some pixels reach a layer above the lowest several times, and count as often.

    Args:
        layers: a chain of built layers.
        mask: boolean (N, H, W).

    Returns:
        A list of arrays (N, h, w).

    Example:
        >>> from dcgmm import load_pretrained
        >>> mask = np.zeros((1, 28, 28), bool)
        >>> mask[0, :14] = True
        >>> lower, upper = damaged_share(load_pretrained("2L-c", "mnist").stack, mask)
        >>> lower[0, :, 0].round(2).tolist()
        [1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0]
        >>> upper.shape
        (1, 1, 1)
    """
    share, planes = tf.cast(mask, tf.float32)[..., None], []
    for layer in layers:
        if isinstance(layer, Window):
            share = tf.nn.avg_pool2d(share, layer.size, layer.strides, padding="VALID")
        elif isinstance(layer, GMM):
            planes.append(share.numpy()[..., 0])
    return planes


def covered_pixels(layers: Sequence[keras.layers.Layer], positions: np.ndarray) -> np.ndarray:
    """Return the pixels that the given positions of the lowest GMM layer cover.

    Args:
        layers: a chain of built layers.
        positions: boolean (N, h, w).

    Returns:
        A boolean array (N, H, W).

    Example:
        >>> from dcgmm import load_pretrained
        >>> positions = np.zeros((1, 11, 11), bool)
        >>> positions[0, 0, 0] = True
        >>> int(covered_pixels(load_pretrained("2L-c", "mnist").stack, positions).sum())
        64
    """
    below = layers[: next(i for i, layer in enumerate(layers) if isinstance(layer, GMM))]
    # A few images at a time, as in `Descent.run`: the way down holds each element as often as windows cover it.
    elements = max([getattr(layer, "n_gathered", 1) for layer in below], default=1)
    size = min(BATCH, max(1, MAX_ELEMENTS // elements))
    parts = (positions[first : first + size] for first in range(0, max(1, len(positions)), size))
    return np.concatenate([_covered(below, part) for part in parts])


def _covered(below, positions):
    signal = tf.cast(positions, tf.float32)[..., None]
    for layer in reversed(below):
        signal = layer.down(tf.repeat(signal, layer.output_channels // signal.shape[-1], axis=-1))
    return np.any(signal.numpy() > 0, axis=-1)
