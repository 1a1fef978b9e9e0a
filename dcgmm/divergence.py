"""Stops a training that diverges, and gives the model back the weights from before."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm.layers import MIN_SCALE
from dcgmm.validation import largest_magnitude

# A centroid that learns stays among the inputs of its layer. A layer has diverged if its objective is lower than that
# of centroids which are this many times as far away from zero as the largest input.
REACH = 20
NEVER = np.iinfo(np.int64).max


class TrainingDiverged(ArithmeticError):
    """The error of a training that has diverged; the model has the last weights that scored well.

    Example:
        >>> issubclass(TrainingDiverged, ArithmeticError)
        True
    """


class Watch:
    """Looks at every step of a training whether a GMM layer's objective is finite and not absurdly low.

    The objective of a step shows what the step before has done. So two copies of the model's state are kept, and the
    older one comes back.

    Args:
        gmm_layers: built `GMM` layers, from the lowest.

    Example:
        >>> from dcgmm import DCGMM
        >>> watch = Watch(DCGMM.from_spec("1L").gmm_layers)
        >>> watch.begin(largest_pixel=1.0, step=0)
        >>> watch.look([tf.constant(-500.0)], 0.0, tf.constant(3, tf.int64))
        >>> watch.found is None
        True
        >>> watch.look([tf.constant(-1e9)], 0.0, tf.constant(4, tf.int64))
        >>> watch.found
        (5, 0)
    """

    def __init__(self, gmm_layers: Sequence[Any]) -> None:
        self.gmm_layers = gmm_layers
        self.begun = False
        self._states: deque[tuple[int, list[tuple[Any, tf.Tensor]]]] = deque(maxlen=2)
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # devices that share a batch have the same objectives
        self._floors = tf.Variable(tf.zeros(len(gmm_layers) + 1), trainable=False, aggregation=first)
        self._found = tf.Variable(tf.constant(NEVER, tf.int64), trainable=False, aggregation=first)

    def begin(self, largest_pixel: float, step: int) -> None:
        """Begin to watch a training.

        Args:
            largest_pixel: the largest absolute pixel of its images; 0 if `widen` will tell it.
            step: the steps that the optimizer has made.
        """
        self.begun, self._first_step = True, step
        self._states.clear()
        self._found.assign(NEVER)
        inputs = [largest_pixel] + [1.0] * (len(self.gmm_layers) - 1)  # above the lowest layer: responsibilities
        floors = []
        for layer, largest in zip(self.gmm_layers, inputs, strict=True):
            floors.append(_least_objective(layer, max(largest, float(tf.reduce_max(tf.abs(layer.mu))))))
        self._floors.assign([*floors, tf.float32.min])  # a classifier's cross-entropy has to be finite

    def widen(self, images: tf.Tensor) -> None:
        """Take account of the pixels of a batch that was not known at the beginning."""
        floor = _least_objective(self.gmm_layers[0], largest_magnitude(images))
        self._floors.assign(tf.minimum(self._floors, tf.concat([[floor], self._floors[1:]], axis=0)))

    def look(self, objectives: Sequence[tf.Tensor], cross_entropy: Any, step: tf.Tensor) -> None:
        """Note the first step whose objective is not finite or too low, or whose cross-entropy is not finite.

        It is part of the training step's graph.

        Args:
            objectives: of each GMM layer, from the lowest.
            cross_entropy: of the classifier, or 0.
            step: the steps that the optimizer had made before.
        """
        n = len(self.gmm_layers)
        sound = tf.stack([*objectives, -cross_entropy]) >= self._floors  # false for NaN
        layer = tf.reduce_min(tf.where(sound, n + 1, tf.range(n + 1)))
        code = tf.cast(step, tf.int64) * (n + 1) + tf.cast(layer, tf.int64)
        self._found.assign(tf.minimum(self._found, tf.where(layer > n, NEVER, code)))

    @property
    def found(self) -> tuple[int, int] | None:
        """The first step that was not sound, counted from 1, and its lowest layer; a classifier is the last layer."""
        if (code := int(tf.identity(self._found))) == NEVER:
            return None
        step, layer = divmod(code, len(self.gmm_layers) + 1)
        return step - self._first_step + 1, layer

    def remember(self, model: keras.Model) -> None:
        """Keep a copy of the model's weights and of the optimizer's state, and the copy before it."""
        step = int(tf.identity(model.optimizer.iterations)) - self._first_step
        variables = [*model.weights, *model.optimizer.variables]
        self._states.append((step, [(variable, tf.identity(variable.value)) for variable in variables]))

    def check(self, model: keras.Model, epoch: int | None = None) -> None:
        """Stop if a step was not sound.

        Raises:
            TrainingDiverged: after the model has got its older state back.
        """
        if self.found is None:
            return
        step, layer = self.found
        done, state = self._states[0]
        for variable, value in state:
            variable.assign(value)
        self._found.assign(NEVER)
        place = f"at step {step}" if epoch is None else f"in epoch {epoch + 1}, at step {step} of this training"
        named = self.gmm_layers[layer : layer + 1]
        where = f"the objective of GMM layer {layer} ({named[0].name})" if named else "the classifier's cross-entropy"
        raise TrainingDiverged(
            f"training diverged {place}: {where} is not finite, or lower than that of any centroids near the data. "
            f"The model has the weights again that it had after {done} steps. Train with a smaller learning_rate than "
            f"{float(tf.identity(model.optimizer.learning_rate)):g}; the default is 0.05"
        )

    def look_at_end(self, model: keras.Model, epoch: int) -> None:
        """Look at what the last step has done, by the mean log-likelihoods of the training images, and check it.

        Raises:
            TrainingDiverged: as `check`.
        """
        means = [tf.reduce_mean(m.mean) - g.log_normaliser for m, g in zip(model.moments, self.gmm_layers, strict=True)]
        self.look(means, 0.0, model.optimizer.iterations.value - 1)
        self.check(model, epoch)


def _least_objective(layer: Any, largest: Any) -> tf.Tensor:
    """Return the objective that a layer with all centroids at `REACH` times a magnitude may have, but no lower one."""
    quadratic = 0.5 * layer.max_precision * tf.square(REACH * tf.cast(largest, tf.float32))
    return tf.maximum(layer.n_features * (math.log(MIN_SCALE) - quadratic), tf.float32.min)


class StopsDivergence(keras.callbacks.Callback):
    """Keeps the last good state within `fit`, and stops a training that diverges.

    Args:
        watch: the model's `Watch`.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch for the message."""
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Keep the state from before an execution."""
        self.watch.remember(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop if one of the execution's steps has diverged."""
        self.watch.check(self.model, self.epoch)
