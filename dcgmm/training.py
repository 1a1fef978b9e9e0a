"""The Keras loop of a DCGMM: compile, fit, evaluate and predict, and one training step (Sec. II-B1)."""

import gc
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm import loop_arguments, monitoring, parallel, streams
from dcgmm.arguments import positive_integer, truth
from dcgmm.divergence import StopsDivergence, Watch
from dcgmm.validation import check_batch_size, largest_magnitude, some_at_a_time, warn, warn_of_narrow_data

NOT_COUNTED = (
    "count_weights needs a model without a LinearClassifier, because a classifier learns from responsibilities with "
    "the present π"
)
EMPTY = "{}: expected batches of images, received an empty data set"
# Arguments of Keras' `fit` that, where they are accepted, have the value that stands for nothing.
IGNORED = ("class_weight", "sample_weight", "shuffle", "validation_split")


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
        names = ["loss", *(f"log_likelihood_{i}" for i in range(len(self.gmm_layers)))]
        self._trackers = [keras.metrics.Mean(name, dtype="float32") for name in names]
        accuracy = keras.metrics.SparseCategoricalAccuracy
        self._accuracy = accuracy("accuracy", dtype="float32") if self.classifier else None
        self._complete = False  # whether the images of this training are known to have no missing pixels
        self._phase_gate = tf.Variable(1.0, trainable=False)
        self._start_gates = [tf.Variable(1.0, trainable=False) for _ in self.gmm_layers]
        self._watch = Watch(self.gmm_layers)

    def compile(
        self,
        optimizer: Any = None,
        learning_rate: Any = None,
        steps_per_execution: int | None = None,
        jit_compile: bool | str = False,
        **kwargs: Any,
    ) -> None:
        """Prepare training; every argument has the default that the paper or [7] recommends.

        Args:
            optimizer: a Keras optimizer, or the name of one. Default: plain SGD, since the paper finds Adam and RMSProp
                unsuitable.
            learning_rate: ε, > 0, or a schedule of it, of the default optimizer or of one that is given by its name.
                Default: 0.05 for the default optimizer, and for another one its own.
            steps_per_execution: the mini-batches in each compiled call, > 0. Default 50, but 1 if several devices share
                a batch, because Keras' compiled loop cannot do this.
            jit_compile: whether to use XLA, which is slower than plain graphs for convolutions on CPUs. Default False.
            **kwargs: as in `keras.Model.compile`, except loss, loss_weights, metrics and weighted_metrics.

        Raises:
            ValueError: if one of those is given, because a DCGMM has its own loss and metrics; if an argument is out of
                its range; or if a learning rate is given beside an optimizer object, which has one.
            TypeError: if there is no argument of such a name.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("1L")
            >>> model.compile(learning_rate=0.1)
            >>> type(model.optimizer).__name__
            'SGD'
        """
        loop_arguments.check_compile(steps_per_execution, jit_compile, kwargs, self.compile)
        if steps_per_execution is None:
            steps_per_execution = 50 if self._n_devices == 1 else 1
        super().compile(
            optimizer=loop_arguments.optimizer(optimizer, learning_rate),
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            **kwargs,
        )
        self._watch.begun = False

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded model as it was when it was saved, with its optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: Any,
        y: Any = None,
        epochs: int = 25,
        batch_size: int | None = None,
        validation_data: Any = None,
        callbacks: Any = None,
        count_weights: bool = False,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train on images; Keras' own `fit` with its progress bar, callbacks and History.

        History holds `loss` (the negative sum of the layers' annealed objectives), `log_likelihood_i` (GMM layer i's
        annealed objective, which at the end of the annealing is its max-component log-likelihood, in nats a position),
        `sigma_i` (its annealing radius), and with `validation_data` the exact `val_log_likelihood_i`.

        To stop early or to keep the best epoch, watch `val_log_likelihood_0`: it gets better throughout, because the
        input of the lowest layer, the images, stays the same. Its direction is known, so `EarlyStopping(
        "val_log_likelihood_0")` is enough. `loss` changes with the annealing, and `val_loss` of a model with several
        GMM layers rises while the lower ones learn; a callback that watches them gets a warning.

        Args:
            x: images (N, H, W, C), or batches of them: a `tf.data.Dataset`, a `keras.utils.PyDataset`, or an iterable
                that can be read several times, such as a data loader. Pixels should be in [0, 1]; a warning says where
                they seem to be on another scale, and, of arrays, where they vary too little for the narrowest
                component, whose standard deviation is 1/√D_max. Booleans count as 0 and 1. NaN, and what a masked array
                hides: a pixel that was not observed; the lowest layer then learns by the gradient of the marginal
                density of the seen pixels.
            y: class labels (N,), integers from 0, needed with a `LinearClassifier` and not accepted without. Batches
                have their labels in them, as pairs (images, labels).
            epochs: how often each image is used. Default 25.
            batch_size: images in each step; of batches it must be their size. Default 100.
            validation_data: images to evaluate after every epoch, in each form that x has, or a pair (images, labels).
                Default None.
            callbacks: a Keras callback, or a list of them. Default None.
            count_weights: whether the top layer's π is set at the end to its mean responsibility, by
                `DCGMM.count_weights`, which says why not by default. It reads the images once more; History holds
                the values from before. Default False: π stays as it was trained, by default 1/K.
            **kwargs: as in `keras.Model.fit`, except shuffle, validation_split, class_weight and sample_weight. A
                stream without an end needs steps_per_epoch.

        Returns:
            Keras' History.

        Raises:
            ValueError: if images have the wrong shape, or pixels that are infinite, or labels do not fit, or an
                argument is out of its range or would be ignored. Batches are checked when their turn comes: a
                wrong one raises an `InvalidBatch`, which is a ValueError and a `tf.errors.InvalidArgumentError`.
            TypeError: if there is no argument of such a name.
            TrainingDiverged: if a layer's objective is no longer finite, or absurdly low, as with a learning rate that
                is too large. The model then has the weights from before, at most two executions earlier (100 steps by
                default), and its optimizer their state.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("F(4,4,4,4) G(4) F(2,2,1,1) G(4)", input_shape=(8, 8, 1))
            >>> model.compile()
            >>> images = np.random.default_rng(0).random((200, 8, 8, 1))
            >>> sorted(model.fit(images, epochs=2, verbose=0).history)
            ['log_likelihood_0', 'log_likelihood_1', 'loss', 'sigma_0', 'sigma_1']
        """
        loop_arguments.check_fit(epochs, count_weights, kwargs, self.fit)
        callbacks = loop_arguments.callback_list(callbacks)
        self._check_ready("fit")
        if batch_size is not None:
            positive_integer("batch_size", batch_size)
        if count_weights and self.classifier is not None:
            raise ValueError(NOT_COUNTED)
        if (last := round((len(self.gmm_layers) - 1) * self.start_delay * epochs)) >= epochs:
            raise ValueError(
                f"with start_delay={self.start_delay} the top GMM layer starts after {last} epochs: fit for more than "
                f"{epochs}"
            )
        kwargs = {name: value for name, value in kwargs.items() if name not in IGNORED and value is not None}
        stream, order, steps = self._training_batches(x, y, batch_size, kwargs.pop("steps_per_epoch", None))
        validating = self._validation_batches(validation_data, batch_size or 100, kwargs)
        monitoring.direct(callbacks, len(self.gmm_layers))
        batches, per_execution = stream.data, self.steps_per_execution
        end = _Calibration(batches.take(steps) if steps else batches, count_weights)
        limits = [limit for limit in (steps, kwargs.get("validation_steps")) if limit]
        self._execute(math.gcd(per_execution, *limits))
        watch = StopsDivergence(self._watch)
        callbacks = [_TrainingSteps(epochs, order, stream.source), watch, *callbacks, _NotEmpty("validation_data"), end]
        kwargs |= {"callbacks": callbacks, "steps_per_epoch": steps}
        try:
            with stream.reading(*limits[:1]), validating.reading(*limits[:1]):
                validation = validating.data if validation_data is not None else None
                history = super().fit(batches, epochs=epochs, shuffle=False, validation_data=validation, **kwargs)
            if history.epoch:
                self._watch.look_at_end(self, history.epoch[-1])
        finally:
            self._execute(per_execution)
            # The pipeline's functions hold the images in reference cycles, which Python would keep for long.
            del batches, stream, callbacks, end, kwargs
            gc.collect()
        self._warn_of_the_end()
        return history

    def _training_batches(self, x, y, batch_size, steps):
        """Return the stream of batches, the variable of an array's order, and the steps that Keras has to count."""
        if streams.is_stream(x):
            stream = self.expected.stream(x, y)
            self._expect_complete(False)
            self._begin_watch(0.0)
            steps = loop_arguments.check_steps(stream, steps, "steps_per_epoch")
            check_batch_size(stream, batch_size)
            return stream, None, steps
        images = self.expected.images(x)
        self._expect_complete(not any(tf.reduce_any(tf.math.is_nan(some)) for some in some_at_a_time(images)))
        self._begin_watch(max(float(largest_magnitude(some)) for some in some_at_a_time(images)))
        warn_of_narrow_data(images, self.gmm_layers[0].max_precision)
        tensors = (images, *self.expected.labels(y, len(images)))
        order = tf.Variable(self._shuffled(len(images), epoch=0), trainable=False)
        stream = streams.Stream(streams.batches_of(tensors, batch_size or 100, order))
        steps = loop_arguments.check_steps(stream, steps, "steps_per_epoch")
        # `take` restarts the order with each epoch, so that a fit that was interrupted can go on exactly.
        return streams.Stream(stream.data.take(steps) if steps else stream.data), order, None

    def _validation_batches(self, data, batch_size, others):
        """Return the stream of batches to evaluate, an empty one if there are none."""
        batch_size = others.pop("validation_batch_size", None) or batch_size
        if data is None:
            return streams.Stream(tf.data.Dataset.range(0))
        pair = data if isinstance(data, tuple | list) else (data,)
        if not 1 <= len(pair) <= 2:
            raise ValueError(
                f"validation_data must be images, or a pair (images, labels), received {len(pair)} parts: every image "
                "counts the same, so there are no sample weights"
            )
        if streams.is_stream(pair[0]):
            batch_size = None
        validating = self.expected.batches(*pair, batch_size=batch_size, name="validation_data")
        loop_arguments.check_steps(validating, others.get("validation_steps"), "validation_steps", "validation_data")
        return validating

    def _check_ready(self, method):
        if not self.compiled:
            raise ValueError(f"{method} needs a compiled model: call model.compile() first")

    def _begin_watch(self, largest_pixel):
        """Watch for divergence from here on. The optimizer makes its state now, so that it can be restored."""
        if not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        self._watch.begin(self, largest_pixel)

    def _warn_of_the_end(self):
        """Warn of a training that a callback has stopped before its annealing had ended."""
        if self.stop_training and (state := monitoring.unfinished_annealing(self.annealings)):
            warn(
                f"training was stopped before its annealing had ended: {state}, so neighbouring components still learn "
                "alike; be more patient, or anneal faster (a larger `rate` of the annealing)"
            )

    def _expect_complete(self, complete):
        """Say whether images are complete; Keras compiles this into its training function, so it is made anew."""
        if complete != self._complete:
            self._complete = bool(complete)
            self.train_function = None

    def _execute(self, steps):
        """Set the steps of an execution; Keras compiles them into its functions, so these are made anew.

        Keras runs whole executions only. If they did not divide a number of steps, it would run past it.
        """
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = None

    def evaluate(self, x: Any, y: Any = None, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Return the loss and the exact log-likelihood of every GMM layer, in nats a position; as in `keras.Model`.

        Args:
            x: images (N, H, W, C), or batches of them, as in `fit`.
            y: class labels (N,), needed with a classifier, whose accuracy is returned too. Default None.
            batch_size: images at a time; of batches it must be their size. Default 500.
            **kwargs: as in `keras.Model.evaluate`, except sample_weight.

        Raises:
            ValueError: if images or labels do not fit, or an argument is out of its range.
            TypeError: if there is no argument of such a name.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("1L")
            >>> model.compile()
            >>> sorted(model.evaluate(np.zeros((3, 28, 28, 1)), verbose=0, return_dict=True))
            ['log_likelihood_0', 'loss']
        """
        if kwargs.get("_use_cached_eval_dataset"):  # Keras calls it so within `fit`, whose batches are checked
            return super().evaluate(x, y, **kwargs)
        loop_arguments.known_names("evaluate", kwargs, loop_arguments.OF_EVALUATE, self.evaluate)
        self._check_ready("evaluate")
        loop_arguments.check_weights(kwargs)
        loop_arguments.check_verbose(kwargs)
        truth("return_dict", kwargs.get("return_dict", False))
        stream = self.expected.batches(x, y, batch_size=batch_size)
        loop_arguments.check_steps(stream, kwargs.get("steps"), "steps")
        callbacks = [*loop_arguments.callback_list(kwargs.pop("callbacks", None)), _NotEmpty()]
        steps, per_execution = kwargs.get("steps"), self.steps_per_execution
        self._execute(math.gcd(per_execution, steps or 0))
        try:
            with stream.reading(steps):
                return super().evaluate(stream.data, callbacks=callbacks, **kwargs)
        finally:
            self._execute(per_execution)

    def predict(self, x: Any, batch_size: int | None = None, **kwargs: Any) -> np.ndarray:
        """Return the top layer's output, responsibilities or logits, as an array; as in `keras.Model`.

        Args:
            x: images (N, H, W, C), or batches of them, as in `fit`.
            batch_size: images at a time; of batches it must be their size. Default 500.
            **kwargs: as in `keras.Model.predict`.

        Raises:
            ValueError: if the images do not fit, or an argument is out of its range.
            TypeError: if there is no argument of such a name.

        Example:
            >>> from dcgmm import DCGMM
            >>> DCGMM.from_spec("2L-c").predict(np.zeros((3, 28, 28, 1)), verbose=0).shape
            (3, 1, 1, 36)
        """
        loop_arguments.known_names("predict", kwargs, loop_arguments.OF_PREDICT, self.predict)
        loop_arguments.check_verbose(kwargs)
        kwargs["callbacks"] = loop_arguments.callback_list(kwargs.get("callbacks"))
        # Keras would trace as many copies of the model as there are steps in an execution.
        steps, self.steps_per_execution = self.steps_per_execution, 1
        try:
            if streams.is_stream(x):
                stream = self.expected.batches(x, batch_size=batch_size, labelled=False)
                loop_arguments.check_steps(stream, kwargs.get("steps"), "steps")
                kwargs["callbacks"].append(_NotEmpty())
                with stream.reading(kwargs.get("steps")):
                    return super().predict(stream.data, **kwargs)
            batch_size = 500 if batch_size is None else positive_integer("batch_size", batch_size)
            images = self.expected.images(x)
            if kwargs.get("steps") is not None:
                there = -(-len(images) // batch_size)
                loop_arguments.check_steps(streams.Stream(tf.data.Dataset.range(there)), kwargs["steps"], "steps")
            return super().predict(images, batch_size=batch_size, **kwargs)
        finally:
            self.steps_per_execution = steps

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Train on one batch, which is checked as in `fit`; as in `keras.Model`.

        The statistics for `inliers` are forgotten, because they were gathered with other weights: call `calibrate`.

        Args:
            x: images (N, H, W, C).
            y: class labels (N,), needed with a classifier and not accepted without. Default None.
            sample_weight: must be None: every image counts the same.
            class_weight: must be None: every image counts the same.
            return_dict: whether to return the numbers in a dict by their names, or in a list. Default False.

        Raises:
            ValueError: if images or labels do not fit, or weights are given.
            TrainingDiverged: as in `fit`.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("1L")
            >>> model.compile()
            >>> sorted(model.train_on_batch(np.zeros((3, 28, 28, 1)), return_dict=True))
            ['log_likelihood_0', 'loss', 'sigma_0']
        """
        loop_arguments.check_weights({"class_weight": class_weight, "sample_weight": sample_weight})
        batch = self._checked_batch("train_on_batch", x, y, return_dict)
        if self._complete and tf.reduce_any(tf.math.is_nan(batch[0])):
            self._expect_complete(False)
        if float(self.moments[0].count):
            for moments in self.moments:
                moments.reset()
        if not self._watch.begun:
            self._begin_watch(0.0)
        self._watch.widen(float(largest_magnitude(batch[0])))
        self._watch.remember(self)
        numbers = super().train_on_batch(*batch, return_dict=return_dict)
        self._watch.check(self)
        return numbers

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Evaluate one batch, which is checked as in `evaluate`; as in `keras.Model`.

        Args:
            x: images (N, H, W, C).
            y: class labels (N,), needed with a classifier and not accepted without. Default None.
            sample_weight: must be None: every image counts the same.
            return_dict: whether to return the numbers in a dict by their names, or in a list. Default False.

        Raises:
            ValueError: if images or labels do not fit, or weights are given.

        Example:
            >>> from dcgmm import DCGMM
            >>> model = DCGMM.from_spec("1L")
            >>> model.compile()
            >>> sorted(model.test_on_batch(np.zeros((3, 28, 28, 1)), return_dict=True))
            ['log_likelihood_0', 'loss']
        """
        loop_arguments.check_weights({"sample_weight": sample_weight})
        batch = self._checked_batch("test_on_batch", x, y, return_dict)
        return super().test_on_batch(*batch, return_dict=return_dict)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Return the top layer's output for one batch, which is checked as in `predict`; as in `keras.Model`.

        Raises:
            ValueError: if the images do not fit.

        Example:
            >>> from dcgmm import DCGMM
            >>> DCGMM.from_spec("1L").predict_on_batch(np.zeros((3, 28, 28, 1))).shape
            (3, 1, 1, 25)
        """
        return super().predict_on_batch(self.expected.images(x))

    def _checked_batch(self, method, x, y, return_dict):
        self._check_ready(method)
        truth("return_dict", return_dict)
        images = self.expected.images(x)
        return (images, *self.expected.labels(y, len(images)))

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
            cross_entropy = self._cross_entropy(y, output)
            loss = cross_entropy - tf.add_n(objectives)
            # Where several devices share a batch, their gradients are added up.
            share = loss / self._n_devices
        variables, step = self.trainable_variables, tf.identity(self.optimizer.iterations.value)
        gradients = tape.gradient(share, variables)
        scaled = [gradient * rate for gradient, rate in zip(gradients, self._rates_of(variables), strict=True)]
        self.optimizer.apply_gradients(zip(scaled, variables, strict=True))
        if self._n_devices > 1:
            objectives = tf.distribute.get_replica_context().all_reduce("mean", objectives)
        self._watch.note(objectives, cross_entropy, 0.0 if self._complete else largest_magnitude(x), step)
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


class _TrainingSteps(keras.callbacks.Callback):
    """Sets which of the two steps of training an epoch belongs to (Sec. II-B1), and shuffles the images for it."""

    def __init__(self, epochs, order=None, source=None):
        super().__init__()
        self.epochs = epochs
        self.order = order
        self.source = source

    def on_epoch_end(self, epoch, logs=None):
        if not logs or "loss" not in logs:
            raise ValueError(EMPTY.format("x"))
        if self.source is not None:
            self.source.on_epoch_end()

    def on_epoch_begin(self, epoch, logs=None):
        if self.source is not None:
            self.source.on_epoch_begin()
        if self.order is not None:
            self.order.assign(self.model._shuffled(self.order.shape[0], epoch))
        self.model._phase_gate.assign(float(epoch >= round(self.model.centroid_phase * self.epochs)))
        for i, gate in enumerate(self.model._start_gates):
            gate.assign(float(epoch >= round(i * self.model.start_delay * self.epochs)))


class _NotEmpty(keras.callbacks.Callback):
    """Refuses a data set that turns out to be empty, where Keras would return nothing, or fail."""

    def __init__(self, name="x"):
        super().__init__()
        self.name = name

    def on_test_end(self, logs=None):
        if not logs:
            raise ValueError(EMPTY.format(self.name))

    def on_predict_begin(self, logs=None):
        self.n_batches = 0

    def on_predict_batch_end(self, batch, logs=None):
        self.n_batches += 1

    def on_predict_end(self, logs=None):
        if not self.n_batches:
            raise ValueError(EMPTY.format(self.name))


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
