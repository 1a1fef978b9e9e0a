"""A plain float64 NumPy implementation of the method, written from the equations, for the tests to compare with."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import logsumexp, softmax


def patches(x, size, strides):
    """Return the windows of x (N, H, W, C) as (N, H', W', f_Y·f_X·C), one position after the other."""
    n, height, width, _ = x.shape
    ys, xs = range(0, height - size[0] + 1, strides[0]), range(0, width - size[1] + 1, strides[1])
    rows = [[x[:, y : y + size[0], z : z + size[1]].reshape(n, -1) for z in xs] for y in ys]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def log_scores(x, mu, s, xi):
    """Return l_k of x (..., D), the square not expanded, as (..., K)."""
    mu, s, xi = (np.asarray(a, "float64") for a in (mu, s, xi))
    log_pi = xi - np.log(np.sum(np.exp(xi)))
    squares = np.sum((s * (np.asarray(x, "float64")[..., None, :] - mu)) ** 2, axis=-1)
    return log_pi + np.sum(np.log(s), axis=-1) - squares / 2


def objective(scores, sigma):
    """Return the annealed objective of [7] for log scores (..., K), with the torus written as loops."""
    k = scores.shape[-1]
    side = round(k**0.5)
    g = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            dy, dx = abs(i // side - j // side), abs(i % side - j % side)
            g[i, j] = np.exp(-(min(dy, side - dy) ** 2 + min(dx, side - dx) ** 2) / (2 * sigma**2))
    g /= g.sum(axis=1, keepdims=True)
    return np.mean(np.max(np.einsum("kj,...j->...k", g, scores), axis=-1))


def log_likelihoods(layers, x, activities=None):
    """Return each GMM layer's log-likelihood (N, h, w) in nats, from the lowest, for a chain of layers.

    With `activities`, one array for each GMM layer, the layers above a GMM layer read these instead of its own.
    """
    x, found = np.asarray(x, "float64"), []
    for layer in layers:
        if layer.letter == "F":
            x = patches(x, layer.size, layer.strides)
        elif layer.letter == "P":
            windows = sliding_window_view(x, layer.size, axis=(1, 2))
            x = windows[:, :: layer.strides[0], :: layer.strides[1]].max(axis=(-2, -1))
        else:
            mixture = [parameter.numpy() for parameter in (layer.mu, layer.s, layer.xi)]
            scores = np.stack([log_scores(image, *mixture) for image in x])
            found.append(logsumexp(scores, axis=-1) - x.shape[-1] / 2 * np.log(2 * np.pi))
            x = softmax(scores, axis=-1) if activities is None else activities[len(found) - 1].astype("float64")
    return found
