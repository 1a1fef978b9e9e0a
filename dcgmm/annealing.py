"""The annealed training objective of [7]: components on a torus learn with neighbours, in a shrinking radius."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm import arguments
from dcgmm.keras_settings import in_float32

# The arguments of `Annealing` but K.
ARGUMENTS = ("sigma_start", "sigma_end", "decay", "tolerance", "rate")
# σ and α are at least this: σ² is then a normal number in float32, and a window's mini-batches can be counted.
SMALLEST = 1e-18
LARGEST = 1e15
# What the table of distances takes for each pair of components while it is made.
BYTES_PER_PAIR = 48


@keras.saving.register_keras_serializable("dcgmm")
class Annealing(keras.layers.Layer):
    r"""The annealing schedule of one GMM layer: its objective and the state of its radius σ.

    The K components lie on a √K×√K torus. With the neighbourhood g_kj(σ) ∝ exp(−dist²(k, j)/2σ²), rows normalised,
    the objective is the mean over images and positions of max_k Σ_j g_kj(σ) l_j, the max-component approximation
    of Eq. 5; at small σ it is max_k l_k.

    A window is 1/α mini-batches, with the mean objective m_i. At its end the relative gain is
    (m_i − m_{i−1}) / (m_{i−1} − m_1). A gain in (−2δ, δ) means that training stands still, and then
    σ ← max(γσ, σ_∞).

    Args:
        n_components: K, a square number.
        sigma_start: σ₀, in grid steps, from σ_∞ to 1e15: the radius in which neighbours learn together at first.
            Default ¼·√(2K).
        sigma_end: σ_∞, in grid steps, from 1e-18 to σ₀: the end of the decay. Default 0.01: each component learns
            alone.
        decay: γ, in (0, 1): the factor on σ after a window with little gain; smaller is faster. Default 0.9.
        tolerance: δ, in (0, 1e15]: the relative gain that counts as little; larger is faster. Default 0.05.
        rate: α, in [1e-18, 1]: the inverse of a window's length in mini-batches; larger is faster. Default 0.01.

    Raises:
        ValueError: if K is not a square, if its table of K × K distances needs more memory than the machine has, or if
            an argument is of the wrong type or outside its range.

    Source: A. Gepperth, B. Pfülb, Gradient-based training of Gaussian Mixture Models for high-dimensional streaming
    data, Neural Processing Letters 53, 2021.

    Example:
        >>> annealing = Annealing(25)
        >>> annealing.build()
        >>> annealing.neighbourhood().shape, round(float(annealing.sigma), 3)
        (TensorShape([25, 25]), 1.768)
    """

    def __init__(
        self,
        n_components: int,
        sigma_start: float | None = None,
        sigma_end: float = 0.01,
        decay: float = 0.9,
        tolerance: float = 0.05,
        rate: float = 0.01,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **in_float32(kwargs, "Annealing"))
        n_components = arguments.positive_integer("n_components of the annealing", n_components)
        side = math.isqrt(n_components)
        if side * side != n_components:
            raise ValueError(
                f"annealing lays the components on a square grid, so K must be a square number: received K = "
                f"{n_components}, the nearest squares are {side**2} and {(side + 1) ** 2}"
            )
        table = f"the annealing's table of {n_components:,} × {n_components:,} distances"
        arguments.memory(f"n_components = {n_components:,}", table, BYTES_PER_PAIR * n_components**2)
        self.n_components = n_components
        start = math.sqrt(2 * n_components) / 4 if sigma_start is None else sigma_start
        self.sigma_start = _checked("sigma_start", start, at_least=SMALLEST, at_most=LARGEST)
        self.sigma_end = _checked("sigma_end", sigma_end, at_least=SMALLEST, at_most=LARGEST)
        if self.sigma_end > self.sigma_start:
            raise ValueError(
                "sigma_end of the annealing must not be above sigma_start, because σ falls: received sigma_end = "
                f"{sigma_end} and sigma_start = {start}{' (its default)' if sigma_start is None else ''}"
            )
        self.decay = _checked("decay", decay, above=0, below=1)
        self.tolerance = _checked("tolerance", tolerance, above=0, at_most=LARGEST)
        self.rate = _checked("rate", rate, at_least=SMALLEST, at_most=1)
        self._window = round(1 / rate)
        self._squared_distances = _torus_distances(side).astype("float32") ** 2

    def build(self, input_shape: Any = None) -> None:
        """Create the state: σ, the running sum of this window, and the means of the first and the previous window."""
        self.sigma = self._state("sigma", self.sigma_start)
        self.steps = self._state("steps", 0, "int64")
        self.window_sum = self._state("window_sum", 0)
        self.first_mean = self._state("first_mean", 0)
        self.previous_mean = self._state("previous_mean", 0)

    def _state(self, name, value, dtype="float32"):
        return self.add_weight(
            name=name, shape=(), dtype=dtype, initializer=keras.initializers.Constant(value), trainable=False
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in ("n_components", *ARGUMENTS)}}

    def neighbourhood(self) -> tf.Tensor:
        """Return g(σ), a tensor (K, K) with rows that sum to 1."""
        return tf.nn.softmax(-self._squared_distances / (2 * tf.square(self.sigma)))

    def objective(self, scores: tf.Tensor) -> tf.Tensor:
        """Return the mean over images and positions of max_k Σ_j g_kj l_j, for log scores (N, H, W, K).

        Raises:
            ValueError: if the last axis of the scores is not K.

        Example:
            >>> annealing = Annealing(4, sigma_start=0.01)
            >>> annealing.build()
            >>> float(annealing.objective(tf.constant([[[[1.0, 5.0, 2.0, 3.0]]]])))
            5.0
        """
        arguments.tensor("scores", scores, "(N, H, W, K)", (None, None, None, self.n_components))
        return _mean_of_largest(tf.reshape(scores, (-1, self.n_components)), self.neighbourhood())

    def update(self, objective: tf.Tensor, learning: Any = 1) -> None:
        """Add the objective of one mini-batch to its window; at the window's end reduce σ if the gain is small.

        Args:
            objective: the objective of the mini-batch.
            learning: 1, or 0 while the layer does not learn yet: then nothing is added. Default 1.

        Example:
            >>> annealing = Annealing(4, sigma_start=0.5, rate=1)
            >>> annealing.build()
            >>> for objective in (0.0, 1.0, 1.0):
            ...     annealing.update(objective)
            >>> round(float(annealing.sigma), 3)
            0.45
        """
        # There are no branches here, because a branch cannot assign variables that several devices share.
        self.window_sum.assign_add(objective * tf.cast(learning, tf.float32))
        self.steps.assign_add(tf.cast(learning, tf.int64))
        windows, rest = self.steps // self._window, self.steps % self._window
        closed = (rest == 0) & (tf.cast(learning, tf.int64) > 0)  # `steps` stands still while the layer waits
        mean = self.window_sum / self._window
        gain = tf.math.divide_no_nan(mean - self.previous_mean, self.previous_mean - self.first_mean)
        stationary = closed & (windows > 2) & (gain > -2 * self.tolerance) & (gain < self.tolerance)
        self.sigma.assign(tf.where(stationary, tf.maximum(self.decay * self.sigma, self.sigma_end), self.sigma))
        self.first_mean.assign(tf.where(closed & (windows == 1), mean, self.first_mean))
        self.previous_mean.assign(tf.where(closed, mean, self.previous_mean))
        self.window_sum.assign(tf.where(closed, 0.0, self.window_sum))


def _checked(argument, value, **limits):
    return arguments.number(f"{argument} of the annealing", value, **limits)


@tf.custom_gradient
def _mean_of_largest(scores, neighbourhood):
    """Return the mean over rows of max_k Σ_j g_kj l_j, with its gradient for the scores alone.

    The gradient of a row is the winner's row of g, so it needs no second pass through the product.
    """
    largest, winners = tf.math.top_k(tf.matmul(scores, neighbourhood, transpose_b=True), 1)

    def gradient(upstream):
        share = upstream / tf.cast(tf.shape(scores)[0], tf.float32)
        return tf.gather(share * neighbourhood, winners[:, 0]), None

    return tf.reduce_mean(largest), gradient


def _torus_distances(side):
    """Return the Euclidean distances between all cells of a side×side torus, an array (side², side²)."""
    y, x = np.divmod(np.arange(side * side), side)
    steps = [np.abs(axis[:, None] - axis) for axis in (y, x)]
    return np.hypot(*(np.minimum(step, side - step) for step in steps))
