"""The Keras loop of a DCGMM: compile, fit, evaluate and predict, and one training step (Sec. II-B1)."""

import gc
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm import parallel

NOT_COUNTED = (
    "count_weights needs a model without a LinearClassifier, because a classifier learns from responsibilities with "
    "the present π"
)


class TrainingLoop(keras.Model):
    """A `keras.Model` whose GMM layers learn from the same mini-batches, each by its own objective.

    `DCGMM` inherits from it and provides `gmm_layers`, `annealings`, `moments`, `classifier`, `climb`,
    `likelihoods_and_output`, `count_weights_of`, `gather_moments`, `expected`, `rates`, `final_rate`, `start_delay`,
    `centroid_phase`, `seed` and `n_parts`.

    Example:
        >>> from dcgmm import DCGMM
        >>> issubclass(DCGMM, TrainingLoop)
        True
    """

    built: bool

    def _prepare_training(self) -> None:
        """Create the running means and the phase gate; the layers must exist."""
        self._trackers = [keras.metrics.Mean(name="loss")]
        self._trackers += [keras.metrics.Mean(name=f"log_likelihood_{i}") for i in range(len(self.gmm_layers))]
        self._accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy") if self.classifier else None
        self._complete = False  # whether the images of this training are known to have no missing pixels
        self._phase_gate = tf.Variable(1.0, trainable=False)
        self._start_gates = [tf.Variable(1.0, trainable=False) for _ in self.gmm_layers]

    def compile(
        self,
        optimizer: Any = None,
        learning_rate: float = 0.05,
        steps_per_execution: int | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Prepare training; every argument has the default that the paper or [7] recommends.

        Args:
            optimizer: a Keras optimizer. Default: plain SGD, since the paper finds Adam and RMSProp unsuitable.
            learning_rate: ε of the default optimizer, > 0. Default 0.05.
            steps_per_execution: the mini-batches in each compiled call. Default 50, but 1 if several devices share a
                batch, because Keras' compiled loop cannot do this.
            jit_compile: whether to use XLA, which is slower than plain graphs for convolutions on CPUs. Default False.
            **kwargs: as in `keras.Model.compile`, except loss, loss_weights, metrics and weighted_metrics.

        Raises:
            ValueError: if one of those is given: a DCGMM has its own loss and metrics.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("1L")
            >>> model.compile(learning_rate=0.1)
            >>> type(model.optimizer).__name__
            'SGD'
        """
        if given := [name for name in ("loss", "loss_weights", "metrics", "weighted_metrics") if kwargs.get(name)]:
            raise ValueError(f"a DCGMM has its own loss and metrics, received {', '.join(given)}")
        if steps_per_execution is None:
            steps_per_execution = 50 if self._n_devices == 1 else 1
        super().compile(
            optimizer=keras.optimizers.SGD(learning_rate) if optimizer is None else optimizer,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            **kwargs,
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded model as it was when it was saved, with its optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: Any,
        y: Any = None,
        epochs: int = 25,
        batch_size: int = 100,
        validation_data: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        count_weights: bool = False,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train on images; Keras' own `fit` with its progress bar, callbacks and History.

        History holds `loss` (the negative sum of the layers' annealed objectives), `log_likelihood_i` (GMM layer i's
        annealed objective, which at the end of the annealing is its max-component log-likelihood, in nats a position),
        `sigma_i` (its annealing radius), and with `validation_data` the exact `val_log_likelihood_i`.

        Args:
            x: images (N, H, W, C), or a `tf.data.Dataset` of batches of them. NaN: a pixel that was not observed; the
                lowest layer then learns by the gradient of the marginal density of the seen pixels.
            y: class labels (N,), integers from 0, needed with a `LinearClassifier` and not accepted without.
            epochs: how often each image is used. Default 25.
            batch_size: images in each step. Default 100.
            validation_data: images to evaluate after every epoch. Default None.
            callbacks: Keras callbacks. Default None.
            count_weights: whether the top layer's π is set at the end to its mean responsibility, by
                `DCGMM.count_weights`, which says why not by default. It reads the images once more; History holds
                the values from before. Default False: π stays as it was trained, by default 1/K.
            **kwargs: as in `keras.Model.fit`, except shuffle and validation_split.

        Returns:
            Keras' History.

        Raises:
            ValueError: if images have the wrong shape, or infinite pixels, or labels do not fit, or an
                argument is out of its range. A batch of a `tf.data.Dataset` is checked when its turn comes: a pixel in
                it that is infinite raises a `tf.errors.InvalidArgumentError`.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("F(4,4,4,4) G(4) F(2,2,1,1) G(4)", input_shape=(8, 8, 1))
            >>> model.compile()
            >>> images = np.random.default_rng(0).random((200, 8, 8, 1))
            >>> sorted(model.fit(images, epochs=2, verbose=0).history)
            ['log_likelihood_0', 'log_likelihood_1', 'loss', 'sigma_0', 'sigma_1']
        """
        if epochs < 1 or batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, received {epochs} and {batch_size}")
        if "validation_split" in kwargs or "shuffle" in kwargs:
            raise ValueError(
                "validation_split and shuffle are not supported: arrays are always shuffled, by seed and epoch; split "
                "them beforehand, or pass a tf.data.Dataset for an order of your own"
            )
        if count_weights and self.classifier is not None:
            raise ValueError(NOT_COUNTED)
        if (last := round((len(self.gmm_layers) - 1) * self.start_delay * epochs)) >= epochs:
            raise ValueError(
                f"with start_delay={self.start_delay} the top GMM layer starts after {last} epochs: fit for more than "
                f"{epochs}"
            )
        if given := {"class_weight", "sample_weight"} & set(kwargs):
            raise ValueError(f"{' and '.join(sorted(given))} cannot be given: every image counts the same")
        steps, per_execution = kwargs.pop("steps_per_epoch", None), self.steps_per_execution
        order = None
        if isinstance(x, tf.data.Dataset):
            x = self.expected.data_set(x, y)
            self._expect_complete(False)
        else:
            images = self.expected.images(x)
            self._expect_complete(not tf.reduce_any(tf.math.is_nan(images)))
            tensors = (images, *self.expected.labels(y, len(images)))
            order = tf.Variable(self._shuffled(len(images), epoch=0), trainable=False)
            x = _batches_in_order(order, tensors, batch_size)
            # `take` restarts the order with each epoch, so that a fit that was interrupted can go on exactly.
            x, steps = x.take(steps) if steps else x, None
        if validation_data is not None:
            pair = validation_data if isinstance(validation_data, tuple | list) else (validation_data,)
            validation_data = self.expected.batches(*pair, batch_size=batch_size)
        end = _Calibration(x.take(steps) if steps else x, count_weights)
        callbacks = [_TrainingSteps(epochs, order), *(callbacks or []), end]
        if steps:
            # Keras runs whole executions only. If they did not divide the epoch, it would run past its end.
            self._execute(math.gcd(steps, per_execution))
        kwargs |= {"validation_data": validation_data, "callbacks": callbacks, "steps_per_epoch": steps}
        try:
            return super().fit(x, epochs=epochs, shuffle=False, **kwargs)
        finally:
            self._execute(per_execution)
            # The pipeline's functions hold the images in reference cycles, which Python would keep for long.
            del x, callbacks
            gc.collect()

    def _expect_complete(self, complete):
        """Say whether images are complete; Keras compiles this into its training function, so it is made anew."""
        if complete != self._complete:
            self._complete = bool(complete)
            self.train_function = None

    def _execute(self, steps):
        """Set the steps of an execution; Keras compiles them into its functions, so these are made anew."""
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = None

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 500, **kwargs: Any) -> Any:
        """Return the loss and the exact log-likelihood of every GMM layer, in nats a position; as in `keras.Model`.

        Args:
            x: images (N, H, W, C), or a `tf.data.Dataset` of batches of them.
            y: class labels (N,), needed with a classifier, whose accuracy is returned too. Default None.
            batch_size: images at a time. Default 500.
            **kwargs: as in `keras.Model.evaluate`.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("1L")
            >>> model.compile()
            >>> sorted(model.evaluate(np.zeros((3, 28, 28, 1)), verbose=0, return_dict=True))
            ['log_likelihood_0', 'loss']
        """
        return super().evaluate(self.expected.batches(x, y, batch_size=batch_size), **kwargs)

    def predict(self, x: Any, batch_size: int = 500, **kwargs: Any) -> np.ndarray:
        """Return the top layer's output, responsibilities or logits, as an array; as in `keras.Model`.

        Args:
            x: images (N, H, W, C), or a `tf.data.Dataset` of batches of them.
            batch_size: images at a time. Default 500.
            **kwargs: as in `keras.Model.predict`.

        Example:
            >>> from dcgmm import DCGMM
            >>> DCGMM.from_spec("2L-c").predict(np.zeros((3, 28, 28, 1)), verbose=0).shape
            (3, 1, 1, 36)
        """
        # Keras would trace as many copies of the model as there are steps in an execution.
        steps, self.steps_per_execution = self.steps_per_execution, 1
        try:
            if isinstance(x, tf.data.Dataset):
                images = self.expected.data_set(x, labelled=False).map(lambda images, *labels: images)
                return super().predict(images, **kwargs)
            return super().predict(self.expected.images(x), batch_size=batch_size, **kwargs)
        finally:
            self.steps_per_execution = steps

    def _shuffled(self, n, epoch):
        """Return the order of n images in an epoch, which depends on the model's seed and the epoch alone."""
        return tf.random.experimental.stateless_shuffle(tf.range(n), tf.constant([self.seed, epoch], tf.int64))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Move every GMM layer one step up its own annealed objective, and the classifier down its cross-entropy."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            parts, sizes = parallel.cut(x, self.n_parts)
            scores, outputs = zip(*(self.climb(part, self._complete) for part in parts), strict=True)
            output = parallel.join(outputs, sizes)
            by_layer = zip(self.annealings, *scores, strict=True)
            objectives = [parallel.mean([a.objective(part) for part in of_parts], sizes) for a, *of_parts in by_layer]
            loss = self._cross_entropy(y, output) - tf.add_n(objectives)
            # Where several devices share a batch, their gradients are added up.
            share = loss / self._n_devices
        variables = self.trainable_variables
        gradients = tape.gradient(share, variables)
        scaled = [gradient * rate for gradient, rate in zip(gradients, self._rates_of(variables), strict=True)]
        self.optimizer.apply_gradients(zip(scaled, variables, strict=True))
        if self._n_devices > 1:
            objectives = tf.distribute.get_replica_context().all_reduce("mean", objectives)
        for annealing, objective, gate in zip(self.annealings, objectives, self._start_gates, strict=True):
            annealing.update(objective, gate if self.start_delay else 1)
        likelihoods = [o + layer.log_normaliser for o, layer in zip(objectives, self.gmm_layers, strict=True)]
        sigmas = {f"sigma_{i}": tf.convert_to_tensor(annealing.sigma) for i, annealing in enumerate(self.annealings)}
        return self._track(loss, likelihoods, x, y, output) | sigmas

    def _rates_of(self, variables):
        """Return the factor on the learning rate of each variable; a classifier's is 1."""
        centroids, scales, weights = self.rates
        by_name = {"mu": centroids, "s": scales * self._phase_gate, "xi": weights}
        factors = {
            id(variable): self._rate_of_layer(i) * by_name[variable.name]
            for i, layer in enumerate(self.gmm_layers)
            for variable in layer.weights
        }
        return [factors.get(id(variable), 1.0) for variable in variables]

    def _rate_of_layer(self, index):
        """Return the factor on the learning rate of a GMM layer."""
        # The objective is a mean over positions. If each position has its own mixture, each learns as if it were alone.
        factor = self.gmm_layers[index].n_mixtures
        if self.final_rate < 1:
            annealing = self.annealings[index]
            factor *= tf.maximum(annealing.sigma / annealing.sigma_start, self.final_rate)
        return factor * self._start_gates[index] if self.start_delay else factor

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Return the exact log-likelihood of every GMM layer, in nats a position, and a classifier's accuracy."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        *likelihoods, output = parallel.side_by_side(self.likelihoods_and_output, x, self.n_parts)
        means = [tf.reduce_mean(values) for values in likelihoods]
        return self._track(self._cross_entropy(y, output) - tf.add_n(means), means, x, y, output)

    @property
    def _n_devices(self):
        return self.distribute_strategy.num_replicas_in_sync

    def _cross_entropy(self, y, logits):
        if self.classifier is None:
            return 0.0
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    def _track(self, loss, likelihoods, x, y, output):
        for tracker, value in zip(self._trackers, [loss, *likelihoods], strict=True):
            tracker.update_state(value, sample_weight=tf.shape(x)[0])
        if self.classifier is not None:
            self._accuracy.update_state(y, output)
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means that Keras resets at the start of every epoch."""
        return self._trackers + ([self._accuracy] if self.classifier is not None else [])


def _batches_in_order(order, tensors, batch_size):
    """Return a data set of batches of some tensors' rows, in the order that a variable holds when a batch's turn comes.

    Shuffling within the data set would take 0.05 s more in each epoch: the time of many batches.
    """
    steps = -(-order.shape[0] // batch_size)

    def batch(i):
        rows = order[i * batch_size : (i + 1) * batch_size]
        return tuple(tf.gather(tensor, rows) for tensor in tensors)

    return tf.data.Dataset.range(steps).map(batch).prefetch(tf.data.AUTOTUNE)


class _TrainingSteps(keras.callbacks.Callback):
    """Sets which of the two steps of training an epoch belongs to (Sec. II-B1), and shuffles the images for it."""

    def __init__(self, epochs, order=None):
        super().__init__()
        self.epochs = epochs
        self.order = order

    def on_epoch_begin(self, epoch, logs=None):
        if self.order is not None:
            self.order.assign(self.model._shuffled(self.order.shape[0], epoch))
        self.model._phase_gate.assign(float(epoch >= round(self.model.centroid_phase * self.epochs)))
        for i, gate in enumerate(self.model._start_gates):
            gate.assign(float(epoch >= round(i * self.model.start_delay * self.epochs)))


class _Calibration(keras.callbacks.Callback):
    """Counts π if it is asked for, and gathers the statistics of the training images, when training has ended."""

    def __init__(self, batches, count_weights):
        super().__init__()
        self.batches = batches
        self.count_weights = count_weights

    def on_train_begin(self, logs=None):
        # Statistics that were gathered with other weights would silently be wrong.
        for moments in self.model.moments:
            moments.reset()

    def on_train_end(self, logs=None):
        if self.count_weights:
            self.model.count_weights_of(self.batches)
        self.model.gather_moments(self.batches)
