"""Sampling: control signals travel from the top down to an image (Sec. II-A3, and II-B3 to II-B6)."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf

from dcgmm import parallel
from dcgmm.layers import GMM, Folding, LinearClassifier, MaxPooling

BATCH = 500
# Elements of the largest tensor on the way down: half a gigabyte.
MAX_ELEMENTS = 2**27


@dataclass(frozen=True)
class Sharpening:
    """Gradient ascent on a log-likelihood, after a Folding or MaxPooling has made a control signal (Sec. II-B3).

    The signal T moves to T + ε_s ∂L/∂T, with L the log-likelihood (logsumexp, mean over positions) that a GMM layer
    above gives to T. Each sample ascends for itself; a step that would lower its log-likelihood is not taken, and its
    step size is halved: the paper's 0.1 overshoots where the precisions stand at their bound.

    Args:
        steps: G, ≥ 0. Default 1000, as in the paper.
        rate: ε_s, > 0. Default 0.1, as in the paper.
        above: which GMM layer above to ascend, 1 the next; a number beyond the top one means that. Default 1.
    """

    steps: int = 1000
    rate: float = 0.1
    above: int = 1

    def __post_init__(self):
        """Check the arguments."""
        if not (self.steps >= 0 and 0 < self.rate < np.inf and self.above >= 1):
            raise ValueError(f"sharpening needs steps >= 0, a finite rate > 0 and above >= 1, received {self}")


class Descent:
    """The way down through a chain of built layers, with the options of every layer on it.

    Args:
        layers: the chain, from the image upwards.
        top_s: S of top-S sampling, an integer for all GMM layers that a control signal reaches, or one for each GMM
            layer. Default None, the full distribution.
        merge_prior: whether control signals are multiplied by the layer's π (Sec. V). Default False.
        noise: factor on the drawn noise, one for all GMM layers or one for each, from the lowest. Default None, 1.
        sharpening: a `Sharpening` for all Folding and MaxPooling layers, or a dict of them by layer name. Default None.
        seed: an integer. Default None, a fresh one each time.
    """

    def __init__(self, layers, top_s=None, noise=None, sharpening=None, seed=None, merge_prior=False):
        self.layers = list(layers)
        gmms = [layer for layer in self.layers if isinstance(layer, GMM)]
        self.top_s = _per_layer(
            "top_s", top_s, gmms, lambda s: s is None or (isinstance(s, int | np.integer) and s > 0)
        )
        self.noise = _per_layer("noise", 1.0 if noise is None else noise, gmms, lambda scale: 0 <= scale < np.inf)
        windows = {layer.name: layer for layer in self.layers if isinstance(layer, Folding | MaxPooling)}
        self.sharpening = sharpening if isinstance(sharpening, dict) else dict.fromkeys(windows, sharpening)
        if unknown := set(self.sharpening) - set(windows):
            raise ValueError(f"sharpening names {sorted(unknown)}, expected some of {sorted(windows)}")
        if wrong := [s for s in self.sharpening.values() if not isinstance(s, Sharpening | None)]:
            raise ValueError(f"sharpening takes a Sharpening, or a dict of them by layer name, received {wrong[0]!r}")
        self.merge_prior = merge_prior
        self.seed = np.random.SeedSequence(seed)
        self.likelihoods = {}

    def run(self, control, start=None, fuse=None):
        """Send a control signal down to the image plane, `BATCH` samples at a time, or fewer where they are large.

        Args:
            control: a tensor (N, ...): the signal that the layer `start` receives.
            start: index of the first layer on the way down. Default: the top one.
            fuse: a function of a GMM layer, the control signal it receives and the samples' slice, that returns what
                it is to receive instead. Default None.

        Returns:
            An array (N, H, W, C). `likelihoods` then holds, for every sharpened layer's name, the log-likelihoods
            before and after, an array (N, 2) in nats.
        """
        start = len(self.layers) - 1 if start is None else start
        n, elements = len(control), max(getattr(layer, "n_gathered", 1) for layer in self.layers)
        size = min(BATCH, max(1, MAX_ELEMENTS // elements))
        seeds = self.seed.spawn(-(-n // size))
        images, likelihoods = [], []
        for first, seed in zip(range(0, n, size), seeds, strict=True):
            part = slice(first, first + size)
            image, gains = self._batch(control[part], start, seed, fuse and (lambda g, t, part=part: fuse(g, t, part)))
            images.append(image)
            likelihoods.append(gains)
        self.likelihoods = {name: np.concatenate([gains[name] for gains in likelihoods]) for name in likelihoods[0]}
        return np.concatenate(images)

    def _batch(self, control, start, seed, fuse):
        gains = {}
        seed = tf.constant([seed.generate_state(1)[0], 0], tf.int64)
        for index in range(start, -1, -1):
            layer = self.layers[index]
            if isinstance(layer, GMM):
                control = fuse(layer, control) if fuse else control
                seed, own = tf.unstack(tf.random.split(seed, 2))
                options = (self.top_s[layer.name], self.noise[layer.name], self.merge_prior)
                control = layer.down(control, own, *options)
            else:
                control = layer.down(control)
                sharpening = self.sharpening.get(layer.name)
                if sharpening and (path := self._path_up(index, sharpening.above)):
                    steps, rate = tf.constant(sharpening.steps), tf.constant(sharpening.rate, tf.float32)
                    control, before, after = _ascend(control, path, steps, rate)
                    gains[layer.name] = np.stack([before.numpy(), after.numpy()], axis=1)
        return control.numpy(), gains

    def _path_up(self, index, above):
        """Return the layers from a Folding or MaxPooling up to the `above`-th GMM layer over it, or () at the top."""
        gmms = [i for i in range(index, len(self.layers)) if isinstance(self.layers[i], GMM)]
        return tuple(self.layers[index : gmms[min(above, len(gmms)) - 1] + 1]) if gmms else ()


def _per_layer(name, value, gmms, valid):
    values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value] * len(gmms)
    if len(values) != len(gmms) or not all(valid(v) for v in values):
        raise ValueError(f"{name} must be one valid value, or one for each of {len(gmms)} GMM layers, received {value}")
    return {layer.name: v for layer, v in zip(gmms, values, strict=True)}


def _likelihood(control, path):
    """Return the log-likelihood that a path of layers, a GMM layer at its end, gives to each sample's input, (N,)."""
    *lower, top = path
    folding = lower.pop() if lower and isinstance(lower[-1], Folding) else None
    for layer in lower:
        control = layer(control)
    return tf.reduce_mean(top.log_likelihood(top.log_scores(control, folding)), axis=(1, 2))


def _ascend(control, path, steps, rate):
    """Return the sharpened control signal, and the log-likelihood of each sample before and after."""
    # As one function for all paths, TensorFlow would warn of retracing it. Past Keras' tracking; gone with the layer.
    compiled = vars(path[0]).setdefault("_ascents", {})
    if path not in compiled:
        of_parts = partial(_ascents, path=path, n_parts=parallel.n_parts())
        compiled[path] = tf.function(of_parts, reduce_retracing=True)
    return compiled[path](control, steps, rate)


def _ascents(control, steps, rate, path, n_parts):
    return parallel.side_by_side(lambda part: _ascent(part, steps, rate, path), control, n_parts)


def _ascent(control, steps, rate, path):
    def value_and_gradient(signal):
        with tf.GradientTape() as tape:
            tape.watch(signal)
            value = _likelihood(signal, path)
        return value, tape.gradient(value, signal)

    before, gradient = value_and_gradient(control)
    value, rates = before, tf.fill(tf.shape(before), rate)
    for _ in tf.range(steps):
        candidate = control + rates[:, None, None, None] * gradient
        new_value, new_gradient = value_and_gradient(candidate)
        better = new_value >= value
        kept = better[:, None, None, None]
        control = tf.where(kept, candidate, control)
        gradient = tf.where(kept, new_gradient, gradient)
        value = tf.where(better, new_value, value)
        rates = tf.where(better, rates, rates / 2)
    return control, before, value


def top_control(layers, n, labels=None):
    """Return the control signal that the top layer receives, a tensor (n, h, w, K).

    Args:
        layers: a chain of built layers.
        n: number of samples.
        labels: a class for all samples, or one for each (n,), where the top layer is a LinearClassifier. Default None:
            the signal has no weight, and the top GMM draws from π.
    """
    top = layers[-1]
    if labels is None:
        gmm = top if isinstance(top, GMM) else layers[-2]
        return tf.zeros((n, *gmm.output_plane, gmm.n_components))
    if not isinstance(top, LinearClassifier):
        raise ValueError("labels need a LinearClassifier as the top layer, such as C(10) at the end of a specification")
    labels = np.asarray(labels)
    if labels.shape not in ((), (n,)):
        raise ValueError(f"labels must be one class, or one for each of {n} samples, received shape {labels.shape}")
    labels = np.broadcast_to(labels, (n,))
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= top.n_classes:
        raise ValueError(f"labels must be integers from 0 to {top.n_classes - 1}, received {labels}")
    return top.down(tf.one_hot(labels, top.n_classes))


def damaged_share(layers, mask):
    """Return, for each GMM layer from the lowest, how much of what a position sees is masked, from 0 to 1.

    Where windows overlap, a layer above the lowest sees some pixels several times, and counts them as often.

    Args:
        layers: a chain of built layers.
        mask: boolean (N, H, W).

    Returns:
        A list of arrays (N, h, w).
    """
    share, planes = tf.cast(mask, tf.float32)[..., None], []
    for layer in layers:
        if isinstance(layer, Folding | MaxPooling):
            share = tf.nn.avg_pool2d(share, layer.size, layer.strides, padding="VALID")
        elif isinstance(layer, GMM):
            planes.append(share.numpy()[..., 0])
    return planes


def covered_pixels(layers, positions):
    """Return which pixels some of the lowest GMM layer's positions cover: boolean (N, h, w) to (N, H, W)."""
    signal = tf.cast(positions, tf.float32)[..., None]
    lowest = next(i for i, layer in enumerate(layers) if isinstance(layer, GMM))
    for layer in reversed(layers[:lowest]):
        signal = layer.down(tf.repeat(signal, layer.output_channels // signal.shape[-1], axis=-1))
    return np.any(signal.numpy() > 0, axis=-1)
