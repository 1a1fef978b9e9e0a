"""Sampling: control signals travel from the top down to an image (Sec. II-A3, and II-B3 to II-B6)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm import arguments
from dcgmm.layers import MAX_RANGE, LinearClassifier, check_chain
from dcgmm.levels import Level
from dcgmm.sharpening import Ascent, Sharpening, check_levels

BATCH = 500
# Elements of the largest tensor on the way down: half a gigabyte.
MAX_ELEMENTS = 2**27


@dataclass(frozen=True)
class SamplingOptions:
    """The options of `DCGMM.sample`, `variants` and `inpaint` for the way down.

    Args:
        top_s: S of top-S sampling, an integer ≥ 1 for all GMM layers that a control signal reaches, or one for each GMM
            layer, from the lowest; more than K count as K. Default None, the full distribution.
        noise: factor on the drawn noise, ≥ 0, one for all GMM layers or one for each, from the lowest. Default 1.
        noise_at_bound: whether features whose precision stands at its bound get noise, too. Default False.
        sharpening: a `Sharpening` for all Folding and MaxPooling layers, or a dict of them by layer name. Default None.
        seed: an integer from 0 to 2³² − 1. Default None, a fresh one each time.
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
            ValueError: if an option is of the wrong type or out of its range.

        Example:
            >>> SamplingOptions(top_s=1).checked(2, ["F1", "F3"]).noise
            [1.0, 1.0]
        """
        return replace(
            self,
            top_s=_one_each("top_s", self.top_s, n_layers, "a positive integer or None", _top_s),
            noise=_one_each("noise", self.noise, n_layers, f"a finite number from 0 to {MAX_RANGE:g}", _noise),
            noise_at_bound=arguments.truth("noise_at_bound", self.noise_at_bound),
            sharpening=_by_window(self.sharpening, n_layers, windows),
            seed=arguments.seed("seed", self.seed),
            merge_prior=arguments.truth("merge_prior", self.merge_prior),
        )


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
        self.levels = list(check_levels(levels))
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
            ValueError: if an argument or an option does not fit, or sharpening diverges.
        """
        highest = len(self.levels) - 1
        top = highest if layer is None else arguments.integer("layer", layer, at_least=0, at_most=highest)
        gmm = self.levels[top].gmm
        arguments.tensor("control", control, "(N, h, w, K)", (None, *gmm.output_plane, gmm.n_components))
        if not len(control):
            raise ValueError(f"control must hold at least one sample, received shape {tuple(control.shape)}")
        if not isinstance(options, SamplingOptions):
            raise arguments.refusal("options", "SamplingOptions", options)
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


def _top_s(value):
    return None if value is None else arguments.positive_integer("top_s", value)


def _noise(value):
    return arguments.number("noise", value, at_least=0, at_most=MAX_RANGE)


def _one_each(name, value, n, expected, check):
    """Return one value for each GMM layer, from one for all of them or one for each."""
    several = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim)
    values = list(value) if several else [value] * n
    try:
        checked = [check(v) for v in values]
    except ValueError:
        checked = []
    if len(checked) != n:
        hint = " (on papermill's command line, give a list with -y)" if isinstance(value, str) else ""
        layers = "GMM layer" if n == 1 else f"of {n} GMM layers"
        raise ValueError(
            f"{name} must be {expected}, or a list with one for each {layers}, received {arguments.shown(value)}{hint}"
        )
    return checked


def _by_window(sharpening, n_layers, windows):
    """Return a dict of a Sharpening, or None, by the name of each Folding and MaxPooling layer that it names."""
    if not isinstance(sharpening, Mapping):
        _check_sharpening("sharpening", sharpening, n_layers)
        return dict.fromkeys(windows, sharpening)
    if unknown := [name for name in sharpening if name not in windows]:
        hint = arguments.nearest(unknown[0], windows)
        raise ValueError(f"sharpening names {sorted(unknown, key=str)}, expected some of {sorted(windows)}{hint}")
    for name, value in sharpening.items():
        _check_sharpening(f"sharpening[{name!r}]", value, n_layers)
    return dict(sharpening)


def _check_sharpening(name, value, n_layers):
    if not isinstance(value, Sharpening | None):
        raise arguments.refusal(name, "a Sharpening, or a dict of them by layer name", value)
    if value and value.layer is not None and value.layer >= n_layers:
        raise ValueError(f"the layer of sharpening must be below {n_layers}, received {value}")


def top_control(layers: Sequence[keras.layers.Layer], n: int, labels: Any = None) -> tf.Tensor:
    """Return the control signal that the top GMM layer receives, a tensor (n, h, w, K).

    Args:
        layers: a chain of built layers.
        n: number of samples, ≥ 1.
        labels: a class for all samples, or one for each (n,), where the top layer is a LinearClassifier. Default None:
            the signal has no weight, and the top GMM layer draws from π.

    Raises:
        ValueError: if an argument does not fit: there are labels but no classifier, say, or a label is not one of its
            classes.

    Example:
        >>> from dcgmm import load_pretrained
        >>> top_control(load_pretrained("2L-c", "mnist").stack, 3).shape
        TensorShape([3, 1, 1, 36])
    """
    *below, top = check_chain(layers)
    n = arguments.positive_integer("n", n)
    if not top.built:
        raise ValueError(f"layers must be built, received {top!r}: build a DCGMM of them")
    if labels is None:
        gmm = below[-1] if isinstance(top, LinearClassifier) else top
        return tf.zeros((n, *gmm.output_plane, gmm.n_components))
    if not isinstance(top, LinearClassifier):
        raise ValueError("labels need a LinearClassifier as the top layer, such as C(10) at the end of a specification")
    return top.down(tf.one_hot(_checked_labels(labels, n, top.n_classes), top.n_classes))


def _checked_labels(labels, n, n_classes):
    """Return the class of each of n samples, an array (n,), from one class for all or one for each."""
    expected = f"integers from 0 to {n_classes - 1}, one class for all samples or one for each of {n}"
    try:
        found = np.asarray(labels)
    except ValueError:  # lists of different lengths
        raise arguments.refusal("labels", expected, labels) from None
    if found.dtype.kind not in "iu" or found.shape not in ((), (n,)) or np.ma.is_masked(labels):
        raise arguments.refusal("labels", expected, labels)
    if outside := sorted({label for label in found.ravel().tolist() if not 0 <= label < n_classes}):
        raise ValueError(f"labels must be {expected}, received {arguments.shown(outside)} among them")
    return np.broadcast_to(found, (n,))
