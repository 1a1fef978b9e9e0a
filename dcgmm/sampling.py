"""Sampling: control signals travel from the top GMM layer down to an image (Sec. II-A3, II-B3)."""

import numpy as np
import tensorflow as tf

from dcgmm.layers import GMM

BATCH = 500


def sample(layers, n, top_s=None, noise=1.0, seed=None):
    """Draw n images through a chain of built layers; see `DCGMM.sample` for the arguments.

    Returns:
        An array (n, H, W, C).
    """
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n must be a positive integer, received {n!r}")
    entropy = np.random.SeedSequence(seed)
    n_gmms = sum(isinstance(layer, GMM) for layer in layers)
    # No control signal reaches the top layer: S says nothing there.
    top_s = [*_per_layer("top_s", top_s, n_gmms - 1, lambda s: s is None or (isinstance(s, int) and s > 0)), None]
    noise = _per_layer("noise", noise, n_gmms, lambda scale: scale >= 0)
    batches = [
        _sample_batch(layers, min(BATCH, n - start), top_s, noise, child.generate_state(1)[0])
        for start, child in zip(range(0, n, BATCH), entropy.spawn(-(-n // BATCH)), strict=True)
    ]
    return np.concatenate(batches)


def _per_layer(name, value, n_layers, valid):
    values = list(value) if isinstance(value, list | tuple) else [value] * n_layers
    if len(values) != n_layers or not all(valid(v) for v in values):
        raise ValueError(f"{name} must be one valid value, or one for each of {n_layers} GMM layers, received {value}")
    return values


def _sample_batch(layers, n, top_s, noise, seed):
    top = layers[-1]
    control = tf.zeros((n, *top.output_plane, top.n_components))
    seed = tf.constant([seed, 0], tf.int64)
    index = len(noise)
    for layer in reversed(layers):
        if isinstance(layer, GMM):
            index -= 1
            seed, own = tf.unstack(tf.random.split(seed, 2))
            control = layer.down(control, own, top_s[index], noise[index])
        else:
            control = layer.down(control)
    return control.numpy()
