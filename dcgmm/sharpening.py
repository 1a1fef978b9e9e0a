"""Sharpening: gradient ascent of a control signal on the log-likelihood of a GMM layer above it (Sec. II-B3)."""

import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import tensorflow as tf

from dcgmm import arguments, parallel
from dcgmm.levels import Level

OBJECTIVES = ("logsumexp", "max-component")
# A larger rate or penalty throws a signal out of float32 in one step.
LARGEST = 1e6
MAX_STEPS = 2**31 - 1  # TensorFlow counts them in 32 bits


@dataclass(frozen=True)
class Sharpening:
    """Gradient ascent on a log-likelihood, after a Folding or MaxPooling has made a control signal (Sec. II-B3).

    The signal T moves by T ← T + ε_s ∂L/∂T, G times. L is the mean log-likelihood that a GMM layer above gives to T. As
    in the authors' code, the mean is over positions and over a batch of samples. So a step moves each sample by ε_s
    divided by the size of the batch, times the gradient of its own log-likelihood. The size of the batch is an argument
    here, so a sample does not depend on the samples that are drawn with it.

    Args:
        steps: G, an integer from 0 to 2³¹ − 1. Default 1000, as in the paper; the authors' code has 100 by default.
        rate: ε_s, in (0, 1e6]. Default 0.1, as in the paper and in the authors' code.
        batch_size: the number of samples in the mean, an integer ≥ 1; it divides each step. Default 100, the authors'
            batch. With 1, each sample climbs its own log-likelihood by steps of ε_s. 1,000 such steps destroy shapes.
        layer: the GMM layer whose log-likelihood is ascended, by its index from the lowest, 0. Signals that are made
            above this layer ascend the GMM layer next above them. Default None: every signal ascends the GMM layer
            next above it, as the paper says. (A comment in the authors' code prefers the one after it; their scripts
            use the next one.)
        objective: `"logsumexp"`, the log-likelihood of Eq. 3, or `"max-component"`, its largest term only, as in the
            authors' code. (There it is also annealed, which makes no difference once σ has reached σ_∞.) Default
            `"logsumexp"`, as the paper says.
        penalty: w, in [0, 1e6]: the objective of each sample is reduced by w times the mean square of T − T₀, its
            distance from its start. Default 0, as in the paper; the authors' code has 0.1.
        halve_steps: whether a step that would lower a sample's objective is not taken, and its step size is halved.
            Default False, as in the paper and in the authors' code.

    Raises:
        ValueError: if an argument is of the wrong type or out of its range.

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
        checked = {
            "steps": arguments.integer("steps of Sharpening", self.steps, at_least=0, at_most=MAX_STEPS),
            "rate": arguments.number("rate of Sharpening", self.rate, above=0, at_most=LARGEST),
            "batch_size": arguments.positive_integer("batch_size of Sharpening", self.batch_size),
            "objective": arguments.one_of("objective of Sharpening", self.objective, OBJECTIVES),
            "penalty": arguments.number("penalty of Sharpening", self.penalty, at_least=0, at_most=LARGEST),
            "halve_steps": arguments.truth("halve_steps of Sharpening", self.halve_steps),
        }
        if self.layer is not None:
            checked["layer"] = arguments.integer("layer of Sharpening", self.layer, at_least=0)
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def check_levels(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Return levels as a tuple.

    Raises:
        ValueError: if there is none, or something else among them.

    Example:
        >>> check_levels([])
        Traceback (most recent call last):
        ValueError: levels must be a list of Levels such as DCGMM.levels, received []
    """
    checked = arguments.items(levels)
    if not checked or not all(isinstance(level, Level) for level in checked):
        raise arguments.refusal("levels", "a list of Levels such as DCGMM.levels", levels)
    return tuple(checked)


class Ascent:
    """Sharpening through some levels: gradient ascent of the log-likelihood that the last of them gives to a signal.

    Args:
        levels: the levels that the signal passes through, the ascended one last.
        objective: as in `Sharpening`. Default `"logsumexp"`.
        halve_steps: as in `Sharpening`. Default False.

    Raises:
        ValueError: if an argument does not fit.

    Example:
        >>> from dcgmm import load_pretrained
        >>> ascent = Ascent(load_pretrained("2L-c", "mnist").levels[:1])
        >>> sharpened, before, after = ascent(tf.fill((2, 28, 28, 1), 0.5), Sharpening(steps=5))
        >>> bool(tf.reduce_all(after > before))
        True
    """

    def __init__(self, levels: Sequence[Level], objective: str = OBJECTIVES[0], halve_steps: bool = False) -> None:
        self.levels = check_levels(levels)
        self.objective = arguments.one_of("objective", objective, OBJECTIVES)
        self.halve_steps = arguments.truth("halve_steps", halve_steps)
        self._n_parts = parallel.n_parts()
        # Traced once for batches of any size. A plain call would make TensorFlow warn about retracing, because it
        # counts the functions of several models together.
        first, *_ = (*self.levels[0].windows, self.levels[0].gmm)
        number = tf.TensorSpec((), tf.float32)
        # A layer of your own has no `input_dims`, but Keras knows on which input it was built.
        self._plane = getattr(first, "input_dims", None) or tuple(first.get_build_config()["input_shape"][1:])
        signature = [tf.TensorSpec((None, *self._plane)), tf.TensorSpec((), tf.int32), number, number]
        self._compiled = tf.function(self._of_parts, input_signature=signature).get_concrete_function()

    def __call__(self, control: tf.Tensor, sharpening: Sharpening) -> list[tf.Tensor]:
        """Return the sharpened signal, and the log-likelihood of each sample (N,) before and after.

        Args:
            control: the signal, a tensor (N, H, W, C).
            sharpening: its steps, rate, batch_size and penalty count.

        Raises:
            ValueError: if an argument does not fit, or if the ascent diverges: a log-likelihood is no longer finite.

        Warns:
            UserWarning: if the mean log-likelihood is lower than before, because the steps are too long.
        """
        if not isinstance(sharpening, Sharpening):
            raise arguments.refusal("sharpening", "a Sharpening", sharpening)
        arguments.tensor("control", control, "(N, H, W, C)", (None, *self._plane))
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
        arguments.tensor("control", control, "(N, H, W, C)", (None, *self._plane))
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
