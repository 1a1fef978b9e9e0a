"""Sharpening: gradient ascent of a control signal on the log-likelihood of a GMM layer above it (Sec. II-B3)."""

import numbers
import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import tensorflow as tf

from dcgmm import parallel
from dcgmm.levels import Level

OBJECTIVES = ("logsumexp", "max-component")


@dataclass(frozen=True)
class Sharpening:
    """Gradient ascent on a log-likelihood, after a Folding or MaxPooling has made a control signal (Sec. II-B3).

    The signal T moves by T ← T + ε_s ∂L/∂T, G times. L is the mean log-likelihood that a GMM layer above gives to T. As
    in the authors' code, the mean is over positions and over a batch of samples. So a step moves each sample by ε_s
    divided by the size of the batch, times the gradient of its own log-likelihood. The size of the batch is an argument
    here, so a sample does not depend on the samples that are drawn with it.

    Args:
        steps: G, an integer ≥ 0. Default 1000, as in the paper; the authors' code has 100 by default.
        rate: ε_s, > 0. Default 0.1, as in the paper and in the authors' code.
        batch_size: the number of samples in the mean, ≥ 1; it divides each step. Default 100, the authors' batch. With
            1, each sample climbs its own log-likelihood by steps of ε_s. 1,000 such steps destroy shapes.
        layer: the GMM layer whose log-likelihood is ascended, by its index from the lowest, 0. Signals that are made
            above this layer ascend the GMM layer next above them. Default None: every signal ascends the GMM layer
            next above it, as the paper says. (A comment in the authors' code prefers the one after it; their scripts
            use the next one.)
        objective: `"logsumexp"`, the log-likelihood of Eq. 3, or `"max-component"`, its largest term only, as in the
            authors' code. (There it is also annealed, which makes no difference once σ has reached σ_∞.) Default
            `"logsumexp"`, as the paper says.
        penalty: w, ≥ 0: the objective of each sample is reduced by w times the mean square of T − T₀, its distance
            from its start. Default 0, as in the paper; the authors' code has 0.1.
        halve_steps: whether a step that would lower a sample's objective is not taken, and its step size is halved.
            Default False, as in the paper and in the authors' code.

    Raises:
        ValueError: if an argument is out of its range.

    Source: the authors' code is that of their follow-up, A new perspective on probabilistic image modeling, 2022; see
    results/DEVIATIONS.md.

    Example:
        >>> from dcgmm import load_pretrained
        >>> model = load_pretrained("2L-c", "mnist")
        >>> images = model.sample(2, top_s=1, sharpening=Sharpening(steps=10), seed=0)
        >>> images.shape
        (2, 28, 28, 1)
    """

    steps: int = 1000
    rate: float = 0.1
    _: KW_ONLY
    batch_size: int = 100
    layer: int | None = None
    objective: str = "logsumexp"
    penalty: float = 0.0
    halve_steps: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.objective not in OBJECTIVES:
            raise ValueError(f"the objective of sharpening must be one of {', '.join(OBJECTIVES)}, received {self}")
        whole = [self.steps, 0 if self.layer is None else self.layer]
        integers = all(isinstance(number, numbers.Integral) and number >= 0 for number in whole)
        if not (integers and 0 < self.rate < np.inf and 1 <= self.batch_size < np.inf and 0 <= self.penalty < np.inf):
            raise ValueError(
                "sharpening needs an integer steps >= 0, a finite rate > 0, a finite batch_size >= 1, a finite penalty "
                f">= 0 and a layer that is an integer >= 0 or None, received {self}"
            )


class Ascent:
    """Sharpening through some levels: gradient ascent of the log-likelihood that the last of them gives to a signal.

    Args:
        levels: the levels that the signal passes through, the ascended one last.
        objective: as in `Sharpening`. Default `"logsumexp"`.
        halve_steps: as in `Sharpening`. Default False.

    Example:
        >>> from dcgmm import load_pretrained
        >>> ascent = Ascent(load_pretrained("2L-c", "mnist").levels[:1])
        >>> sharpened, before, after = ascent(tf.fill((2, 28, 28, 1), 0.5), Sharpening(steps=5))
        >>> bool(tf.reduce_all(after > before))
        True
    """

    def __init__(self, levels: Sequence[Level], objective: str = OBJECTIVES[0], halve_steps: bool = False) -> None:
        self.levels = tuple(levels)
        self.objective = objective
        self.halve_steps = halve_steps
        self._n_parts = parallel.n_parts()
        # Traced once for batches of any size. A plain call would make TensorFlow warn about retracing, because it
        # counts the functions of several models together.
        first, *_ = (*self.levels[0].windows, self.levels[0].gmm)
        number = tf.TensorSpec((), tf.float32)
        signature = [tf.TensorSpec((None, *first.input_dims)), tf.TensorSpec((), tf.int32), number, number]
        self._compiled = tf.function(self._of_parts, input_signature=signature).get_concrete_function()

    def __call__(self, control: tf.Tensor, sharpening: Sharpening) -> list[tf.Tensor]:
        """Return the sharpened signal, and the log-likelihood of each sample (N,) before and after.

        Args:
            control: the signal, a tensor (N, H, W, C).
            sharpening: its steps, rate, batch_size and penalty count.

        Raises:
            ValueError: if the ascent diverges: a log-likelihood is no longer finite.

        Warns:
            UserWarning: if the mean log-likelihood is lower than before, because the steps are too long.
        """
        step = sharpening.rate / sharpening.batch_size
        rate, penalty = (tf.constant(number, tf.float32) for number in (step, sharpening.penalty))
        found = self._compiled(control, tf.constant(int(sharpening.steps)), rate, penalty)
        before, after = (float(np.mean(likelihoods)) for likelihoods in found[1:])
        where = f"{sharpening}, in the signal below {self.levels[0].gmm.name},"
        if not np.isfinite(after):
            raise ValueError(f"{where} has diverged: use a smaller rate, or halve_steps=True")
        if after < before - 1e-3 * abs(before):
            warnings.warn(
                f"{where} has lowered the mean log-likelihood from {before:.4g} to {after:.4g} nats: use a smaller "
                "rate, or halve_steps=True",
                stacklevel=2,
            )
        return found

    def log_likelihood(self, control: tf.Tensor) -> tf.Tensor:
        """Return the log-likelihood of each sample's signal, the mean over positions, (N,) in nats."""
        return tf.reduce_mean(self.levels[-1].gmm.log_likelihood(self._log_scores(control)), axis=(1, 2))

    def _log_scores(self, control):
        *lower, top = self.levels
        for level in lower:
            control = tf.nn.softmax(level.log_scores(control))
        return top.log_scores(control)

    def _of_parts(self, control, steps, rate, penalty):
        return parallel.side_by_side(lambda part: self._ascend(part, steps, rate, penalty), control, self._n_parts)

    def _ascend(self, start, steps, rate, penalty):
        climb = self._climb_with_halved_steps if self.halve_steps else self._climb
        control = climb(start, steps, rate, penalty)
        return control, self.log_likelihood(start), self.log_likelihood(control)

    def _climb(self, start, steps, rate, penalty):
        control = start
        for _ in tf.range(steps):
            control += rate * self._value_and_gradient(control, start, penalty)[1]
        return control

    def _climb_with_halved_steps(self, start, steps, rate, penalty):
        control, rates = start, tf.fill(tf.shape(start)[:1], rate)
        value, gradient = self._value_and_gradient(start, start, penalty)
        for _ in tf.range(steps):
            candidate = control + rates[:, None, None, None] * gradient
            new_value, new_gradient = self._value_and_gradient(candidate, start, penalty)
            better = new_value >= value
            kept = better[:, None, None, None]
            control = tf.where(kept, candidate, control)
            gradient = tf.where(kept, new_gradient, gradient)
            value = tf.where(better, new_value, value)
            rates = tf.where(better, rates, rates / 2)
        return control

    def _value_and_gradient(self, control, start, penalty):
        """Return the objective of each sample (N,), and its gradient."""
        with tf.GradientTape() as tape:
            tape.watch(control)
            scores = self._log_scores(control)
            largest = self.objective == "max-component"
            likelihoods = tf.reduce_max(scores, -1) if largest else tf.reduce_logsumexp(scores, -1)
            moved = tf.reduce_mean(tf.square(control - start), axis=(1, 2, 3))
            value = tf.reduce_mean(likelihoods, axis=(1, 2)) - penalty * moved
        return value, tape.gradient(value, control)
