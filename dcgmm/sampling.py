"""Sampling: control signals travel from the top down to an image (Sec. II-A3, and II-B3 to II-B6)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm.layers import GMM, LinearClassifier
from dcgmm.levels import Level
from dcgmm.sharpening import Ascent, Sharpening

BATCH = 500
# Elements of the largest tensor on the way down: half a gigabyte.
MAX_ELEMENTS = 2**27


@dataclass(frozen=True)
class SamplingOptions:
    """The options of `DCGMM.sample`, `variants` and `inpaint` for the way down.

    Args:
        top_s: S of top-S sampling, an integer for all GMM layers that a control signal reaches, or one for each GMM
            layer, from the lowest. Default None, the full distribution.
        noise: factor on the drawn noise, one for all GMM layers or one for each, from the lowest. Default 1.
        noise_at_bound: whether features whose precision stands at its bound get noise, too. Default False.
        sharpening: a `Sharpening` for all Folding and MaxPooling layers, or a dict of them by layer name. Default None.
        seed: an integer. Default None, a fresh one each time.
        merge_prior: whether control signals are multiplied by each layer's π (Sec. V). Default False.

    Example:
        >>> SamplingOptions(top_s=1, seed=0).noise
        1.0
    """

    top_s: int | Sequence[int | None] | None = None
    noise: float | Sequence[float] = 1.0
    noise_at_bound: bool = False
    sharpening: Sharpening | Mapping[str, Sharpening | None] | None = None
    seed: int | None = None
    merge_prior: bool = False

    def checked(self, n_layers: int, windows: Sequence[str]) -> "SamplingOptions":
        """Return the options with one S and one noise for each GMM layer, and sharpening as a dict.

        Args:
            n_layers: the number of GMM layers.
            windows: the names of the Folding and MaxPooling layers.

        Raises:
            ValueError: if an option is out of its range.

        Example:
            >>> SamplingOptions(top_s=1).checked(2, ["F1", "F3"]).noise
            [1.0, 1.0]
        """
        top_s = _one_each(
            "top_s", self.top_s, n_layers, lambda s: s is None or (isinstance(s, int | np.integer) and s > 0)
        )
        noise = _one_each("noise", self.noise, n_layers, lambda scale: 0 <= scale < np.inf)
        if not isinstance(self.noise_at_bound, bool | np.bool_):
            raise ValueError(f"noise_at_bound must be True or False, received {self.noise_at_bound!r}")
        given = self.sharpening
        sharpening = dict(given) if isinstance(given, Mapping) else dict.fromkeys(windows, given)
        if unknown := set(sharpening) - set(windows):
            raise ValueError(f"sharpening names {sorted(unknown)}, expected some of {sorted(windows)}")
        for value in sharpening.values():
            if not isinstance(value, Sharpening | None):
                raise ValueError(f"sharpening takes a Sharpening, or a dict of them by layer name, received {value!r}")
            if value and value.layer is not None and value.layer >= n_layers:
                raise ValueError(f"the layer of sharpening must be below {n_layers}, received {value}")
        return replace(self, top_s=top_s, noise=noise, sharpening=sharpening)


class Descent:
    """The way down through the levels of a chain of built layers.

    Args:
        levels: the levels, from the lowest.

    Example:
        >>> from dcgmm import load_pretrained
        >>> model = load_pretrained("2L-c", "mnist")
        >>> images, _ = Descent(model.levels).run(top_control(model.stack, 5), SamplingOptions(top_s=1, seed=0))
        >>> images.shape
        (5, 28, 28, 1)
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = list(levels)
        # The level of each Folding and MaxPooling layer, by the layer's name.
        self._level_of = {window.name: i for i, level in enumerate(self.levels) for window in level.windows}
        self._ascents: dict[tuple[Any, ...], Ascent] = {}

    def run(
        self,
        control: tf.Tensor,
        options: SamplingOptions,
        layer: int | None = None,
        fuse: Callable[[int, tf.Tensor, slice], tf.Tensor] | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Send a control signal down to the image plane, `BATCH` samples at a time, or fewer where they are large.

        Args:
            control: a tensor (N, h, w, K): the signal that a GMM layer receives.
            options: the options of every layer on the way.
            layer: the GMM layer that receives the signal, by its index from the lowest, 0. Default: the top one.
            fuse: a function of a GMM layer's index, the control signal that it would receive and the samples' slice;
                it returns the signal that the layer is to receive. Default None: the signal as it is.

        Returns:
            An array (N, H, W, C), and for every sharpened layer's name the log-likelihoods before and after, an array
            (N, 2) in nats.

        Raises:
            ValueError: if an option is out of its range, or sharpening diverges.
        """
        top = len(self.levels) - 1 if layer is None else layer
        checked = options.checked(len(self.levels), list(self._level_of))
        windows = [window for level in self.levels for window in level.windows]
        n, elements = len(control), max([getattr(window, "n_gathered", 1) for window in windows], default=1)
        size = min(BATCH, max(1, MAX_ELEMENTS // elements))
        seeds = np.random.SeedSequence(options.seed).spawn(-(-n // size))
        images, by_batch = [], []
        for first, seed in zip(range(0, n, size), seeds, strict=True):
            image, likelihoods = self._batch(control, slice(first, first + size), top, checked, seed, fuse)
            images.append(image)
            by_batch.append(likelihoods)
        return np.concatenate(images), {name: np.concatenate([b[name] for b in by_batch]) for name in by_batch[0]}

    def _batch(self, control, part, top, options, seed, fuse):
        control, likelihoods = control[part], {}
        seed = tf.constant([seed.generate_state(1)[0], 0], tf.int64)
        for index in range(top, -1, -1):
            level = self.levels[index]
            control = fuse(index, control, part) if fuse else control
            seed, own = tf.unstack(tf.random.split(seed, 2))
            choice = options.top_s[index], options.noise[index], options.merge_prior, options.noise_at_bound
            control = level.gmm.down(control, own, *choice)
            for window in reversed(level.windows):
                control = window.down(control)
                if sharpening := options.sharpening.get(window.name):
                    control, *pair = self._ascent(window, sharpening)(control, sharpening)
                    likelihoods[window.name] = np.stack([value.numpy() for value in pair], axis=1)
        return control.numpy(), likelihoods

    def _ascent(self, window, sharpening):
        """Return the ascent of the signal that a Folding or MaxPooling has made, compiled once."""
        own = self._level_of[window.name]
        target = max(own, own if sharpening.layer is None else sharpening.layer)
        key = window.name, target, sharpening.objective, sharpening.halve_steps
        if key not in self._ascents:
            path = [self.levels[own].from_window(window), *self.levels[own + 1 : target + 1]]
            self._ascents[key] = Ascent(path, sharpening.objective, sharpening.halve_steps)
        return self._ascents[key]


def _one_each(name, value, n, valid):
    values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value] * n
    if len(values) != n or not all(valid(v) for v in values):
        raise ValueError(f"{name} must be one valid value, or one for each of {n} GMM layers, received {value}")
    return values


def top_control(layers: Sequence[keras.layers.Layer], n: int, labels: Any = None) -> tf.Tensor:
    """Return the control signal that the top GMM layer receives, a tensor (n, h, w, K).

    Args:
        layers: a chain of built layers.
        n: number of samples.
        labels: a class for all samples, or one for each (n,), where the top layer is a LinearClassifier. Default None:
            the signal has no weight, and the top GMM layer draws from π.

    Raises:
        ValueError: if there are labels but no classifier, or a label is not one of its classes.

    Example:
        >>> from dcgmm import load_pretrained
        >>> top_control(load_pretrained("2L-c", "mnist").stack, 3).shape
        TensorShape([3, 1, 1, 36])
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
