"""Stops a training that diverges, and gives the model back the weights from before."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm.layers import MIN_SCALE

# A centroid that learns stays among the inputs of its layer. A layer has diverged if its objective is lower than that
# of centroids which are this many times as far away from zero as the largest input.
REACH = 20
LOWEST = float(np.finfo(np.float32).min)


class TrainingDiverged(ArithmeticError):
    """The error of a training that has diverged; the model has the last weights that scored well.

    Example:
        >>> issubclass(TrainingDiverged, ArithmeticError)
        True
    """


class Watch:
    """Looks at every step of a training whether a GMM layer's objective is finite and not absurdly low.

    A step only notes its objectives, because each operation in it costs time. They are looked at after each execution.
    The objective of a step shows what the step before has done. So two copies of the model's state are kept, and the
    older one comes back.

    Args:
        gmm_layers: built `GMM` layers, from the lowest.

    Example:
        >>> from dcgmm import DCGMM
        >>> model = DCGMM.from_spec("1L")
        >>> model.compile(steps_per_execution=1)
        >>> model.optimizer.build(model.trainable_variables)
        >>> watch = Watch(model.gmm_layers)
        >>> watch.begin(model, largest_pixel=1.0)
        >>> watch.remember(model)
        >>> watch.note([tf.constant(-1e9)], 0.0, 0.0, tf.constant(0))
        >>> _ = model.optimizer.iterations.assign_add(1)
        >>> watch.check(model)
        Traceback (most recent call last):
        dcgmm.divergence.TrainingDiverged: training diverged at step 1: the objective of GMM layer 0 (...
    """

    def __init__(self, gmm_layers: Sequence[Any]) -> None:
        self.gmm_layers = gmm_layers
        self.begun = False
        self._states: deque[tuple[int, list[tf.Tensor]]] = deque(maxlen=2)
        # A row for each step of an execution: the objectives, the negative cross-entropy, and the largest pixel.
        columns = len(gmm_layers) + 2
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # devices that share a batch have the same objectives
        self._rows = tf.Variable(tf.zeros((1, columns)), trainable=False, shape=(None, columns), aggregation=first)

    def begin(self, model: keras.Model, largest_pixel: float) -> None:
        """Begin to watch a training.

        Args:
            model: a compiled model whose optimizer is built.
            largest_pixel: the largest absolute pixel of its images; 0 if `note` or `widen` will tell it.
        """
        if not self.begun:
            self._variables = [*model.weights, *model.optimizer.variables]
            self._copies = tf.function(lambda: [tf.identity(v.value) for v in self._variables], autograph=False)
        self.begun, self._first_step = True, _steps_of(model)
        self._states.clear()
        self._rows.assign(tf.zeros((model.steps_per_execution, len(self.gmm_layers) + 2)))
        # The inputs of the layers above the lowest are responsibilities.
        largest = [largest_pixel] + [1.0] * (len(self.gmm_layers) - 1)
        self._largest = [
            max(of_input, float(tf.reduce_max(tf.abs(layer.mu))))
            for of_input, layer in zip(largest, self.gmm_layers, strict=True)
        ]

    def widen(self, largest_pixel: float) -> None:
        """Take account of images that were not known at the beginning."""
        self._largest[0] = max(self._largest[0], largest_pixel)

    def note(self, objectives: Sequence[tf.Tensor], cross_entropy: Any, largest_pixel: Any, step: tf.Tensor) -> None:
        """Note what a step has found. It is part of the training step's graph.

        Args:
            objectives: of each GMM layer, from the lowest.
            cross_entropy: of the classifier, or 0.
            largest_pixel: of the batch, or 0 if it is known already.
            step: the steps that the optimizer had made before.
        """
        row = tf.stack([*objectives, -cross_entropy, largest_pixel])
        self._rows.scatter_update(tf.IndexedSlices(row, step % tf.shape(self._rows, step.dtype)[0]))

    def remember(self, model: keras.Model) -> None:
        """Keep a copy of the model's weights and of the optimizer's state, and the copy before it."""
        self._seen = _steps_of(model)
        self._states.append((self._seen - self._first_step, self._copies()))

    def check(self, model: keras.Model, epoch: int | None = None) -> None:
        """Stop if a step since the last copy was not sound.

        Raises:
            TrainingDiverged: after the model has got its older state back.
        """
        steps, rows = np.arange(self._seen, _steps_of(model)), tf.identity(self._rows).numpy()
        rows = rows[steps % len(rows)]
        self.widen(rows[:, -1].max(initial=0.0))
        self._look(model, rows[:, :-1], epoch)

    def look_at_end(self, model: keras.Model, epoch: int) -> None:
        """Look at what the last step has done, by the mean log-likelihoods of the training images.

        Raises:
            TrainingDiverged: as `check`.
        """
        means = [tf.reduce_mean(m.mean) - g.log_normaliser for m, g in zip(model.moments, self.gmm_layers, strict=True)]
        self._seen = _steps_of(model) - 1
        self._look(model, np.array([[*means, 0.0]]), epoch)

    def _look(self, model, rows, epoch):
        """Look at the rows of the steps since `_seen`, and stop if one is not sound."""
        floors = [_least_objective(*pair) for pair in zip(self.gmm_layers, self._largest, strict=True)]
        sound = np.isfinite(rows) & (rows >= [*floors, LOWEST])  # a classifier's cross-entropy has to be finite
        if sound.all():
            return
        index, layer = np.argwhere(~sound)[0]
        done, state = self._states[0]
        for variable, value in zip(self._variables, state, strict=True):
            variable.assign(value)
        step = self._seen - self._first_step + index + 1
        place = f"at step {step}" if epoch is None else f"in epoch {epoch + 1}, at step {step} of this training"
        named = self.gmm_layers[layer : layer + 1]
        where = f"the objective of GMM layer {layer} ({named[0].name})" if named else "the classifier's cross-entropy"
        raise TrainingDiverged(
            f"training diverged {place}: {where} is not finite, or lower than that of any centroids near the data. "
            f"The model has the weights again that it had after {done} steps. Train with a smaller learning_rate than "
            f"{float(tf.identity(model.optimizer.learning_rate)):g}; the default is 0.05"
        )


def _steps_of(model):
    return int(tf.identity(model.optimizer.iterations))


def _least_objective(layer, largest):
    """Return the objective that a layer with all centroids at `REACH` times a magnitude may have, but no lower one."""
    quadratic = 0.5 * layer.max_precision * (REACH * largest) ** 2
    return max(layer.n_features * (math.log(MIN_SCALE) - quadratic), LOWEST)


class StopsDivergence(keras.callbacks.Callback):
    """Keeps the last good state within `fit`, and stops a training that diverges.

    Args:
        watch: the model's `Watch`.

    Example:
        >>> from dcgmm import DCGMM
        >>> StopsDivergence(Watch(DCGMM.from_spec("1L").gmm_layers)).watch.begun
        False
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
