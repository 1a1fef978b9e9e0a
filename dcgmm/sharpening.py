"""Sharpening: gradient ascent of a control signal on the log-likelihood of a GMM layer above it (Sec. II-B3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dcgmm import parallel
from dcgmm.levels import Level


@dataclass(frozen=True)
class Sharpening:
    """Gradient ascent on a log-likelihood, after a Folding or MaxPooling has made a control signal (Sec. II-B3).

    The signal T moves to T + ε_s ∂L/∂T. L is the log-likelihood (logsumexp, mean over positions) that a GMM layer above
    gives to T. Each sample ascends for itself. A step that would lower a sample's log-likelihood is not taken, and its
    step size is halved, because the paper's 0.1 overshoots where the precisions stand at their bound.

    Args:
        steps: G, ≥ 0. Default 1000, as in the paper.
        rate: ε_s, > 0. Default 0.1, as in the paper.
        layer: the GMM layer whose log-likelihood is ascended, by its index from the lowest, 0. Signals that are made
            above this layer ascend the GMM layer next above them. Default None: every signal ascends the GMM layer
            next above it.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> from dcgmm import load_pretrained
        >>> model = load_pretrained("2L-c", "mnist")
        >>> images = model.sample(2, top_s=1, sharpening=Sharpening(steps=10), seed=0)
        >>> images.shape
        (2, 28, 28, 1)
    """

    steps: int = 1000
    rate: float = 0.1
    layer: int | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not (self.steps >= 0 and 0 < self.rate < np.inf and (self.layer is None or self.layer >= 0)):
            raise ValueError(
                f"sharpening needs steps >= 0, a finite rate > 0 and a layer >= 0 or None, received {self}"
            )


class Ascent:
    """Sharpening through some levels: gradient ascent of the log-likelihood that the last of them gives to a signal.

    Args:
        levels: the levels that the signal passes through, the ascended one last.

    Example:
        >>> from dcgmm import load_pretrained
        >>> ascent = Ascent(load_pretrained("2L-c", "mnist").levels[:1])
        >>> sharpened, before, after = ascent(tf.fill((2, 28, 28, 1), 0.5), steps=5, rate=0.001)
        >>> bool(tf.reduce_all(after > before))
        True
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = tuple(levels)
        self._n_parts = parallel.n_parts()
        self._compiled = tf.function(self._of_parts, reduce_retracing=True)

    def __call__(self, control: tf.Tensor, steps: int, rate: float) -> list[tf.Tensor]:
        """Return the sharpened signal, and the log-likelihood of each sample (N,) before and after."""
        return self._compiled(control, tf.constant(steps), tf.constant(rate, tf.float32))

    def log_likelihood(self, control: tf.Tensor) -> tf.Tensor:
        """Return the log-likelihood of each sample's signal, the mean over positions, (N,) in nats."""
        *lower, top = self.levels
        for level in lower:
            control = tf.nn.softmax(level.log_scores(control))
        return tf.reduce_mean(top.gmm.log_likelihood(top.log_scores(control)), axis=(1, 2))

    def _of_parts(self, control, steps, rate):
        return parallel.side_by_side(lambda part: self._ascend(part, steps, rate), control, self._n_parts)

    def _ascend(self, control, steps, rate):
        before, gradient = self._value_and_gradient(control)
        value, rates = before, tf.fill(tf.shape(before), rate)
        for _ in tf.range(steps):
            candidate = control + rates[:, None, None, None] * gradient
            new_value, new_gradient = self._value_and_gradient(candidate)
            better = new_value >= value
            kept = better[:, None, None, None]
            control = tf.where(kept, candidate, control)
            gradient = tf.where(kept, new_gradient, gradient)
            value = tf.where(better, new_value, value)
            rates = tf.where(better, rates, rates / 2)
        return control, before, value

    def _value_and_gradient(self, control):
        with tf.GradientTape() as tape:
            tape.watch(control)
            value = self.log_likelihood(control)
        return value, tape.gradient(value, control)
