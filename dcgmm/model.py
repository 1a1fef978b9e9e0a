"""The DCGMM itself: a chain of layers as a `keras.Model`, trained end to end by gradient descent (Sec. II-B1)."""

import gc
import json
import math
import os
import re
import warnings
import zipfile
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from dcgmm import parallel, sampling
from dcgmm.annealing import Annealing
from dcgmm.architectures import resolve
from dcgmm.layers import GMM, Folding, LinearClassifier, layers_from_spec
from dcgmm.outliers import Moments

MAX_MAGNITUDE = 1e15
# Beyond it, float32 rounds away whole nats of the expanded square of the log scores.
COMFORTABLE_MAGNITUDE = 32
# Products of an image and a component's parameter below which the parts of a batch cost more time than they save.
MIN_PRODUCTS = 30_000


@keras.saving.register_keras_serializable("dcgmm")
class DCGMM(keras.Model):
    r"""A Deep Convolutional Gaussian Mixture Model.

    Each GMM layer L maximises its own log-likelihood (Eq. 5), in the max-component approximation and with the
    annealing of [7]; no gradient crosses a layer, and all layers learn from the same mini-batches. Training takes two
    steps (Sec. II-B1): at first only the centroids adapt, then centroids and precisions.

    Args:
        layers: a list of `Folding`, `MaxPooling` and `GMM` layers, from the image upwards; the last one is a GMM, or
            a `LinearClassifier` on top of one.
        input_shape: (H, W, C) of one image.
        seed: of the centroids' start and of the batches' order; None draws a fresh one. Default 0.
        annealing: the arguments of `Annealing` other than K, as a dict. Default: those of [7].
        centroid_phase: the share of the epochs in which only centroids adapt, in [0, 1]. Default 0.4.
        rates: the factors on the gradients of centroids, scales and raw weights, each ≥ 0; with an optimizer that
            normalises gradients, such as Adam, only 0 or not 0 counts. Default (1, 0.5, 0): adapting weights collapse
            deep top layers onto few components.

    Raises:
        ValueError: if the chain does not end in a GMM, a filter does not fit its input, a K is not a square, or a
            layer was built on another input.

    Source: A. Gepperth, B. Pfülb, Image Modeling with Deep Convolutional Gaussian Mixture Models, IJCNN 2021.
    """

    def __init__(
        self, layers, input_shape, seed=0, annealing=None, centroid_phase=0.4, rates=(1.0, 0.5, 0.0), name="dcgmm"
    ):
        super().__init__(name=name)
        layers = list(layers)
        self.classifier = layers[-1] if layers and isinstance(layers[-1], LinearClassifier) else None
        gmm_part = layers[:-1] if self.classifier else layers
        if not gmm_part or not isinstance(gmm_part[-1], GMM):
            raise ValueError(
                f"a DCGMM needs a GMM layer at its top, or below its LinearClassifier, received {layers!r}"
            )
        if not 0 <= centroid_phase <= 1:
            raise ValueError(f"centroid_phase is a share of the epochs in [0, 1], received {centroid_phase}")
        if len(rates) != 3 or not all(rate >= 0 for rate in rates):
            raise ValueError(f"rates are three factors >= 0, for centroids, scales and raw weights, received {rates}")
        names = [layer.name for layer in layers]
        if len(set(names)) < len(names):
            raise ValueError(f"every layer needs a name of its own, received {names}")
        self.image_shape = tuple(int(n) for n in input_shape)
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else int(seed)
        self.annealing_arguments = dict(annealing or {})
        self.centroid_phase = centroid_phase
        self.rates = tuple(rates)
        self.stack = layers
        self.gmm_layers = [layer for layer in layers if isinstance(layer, GMM)]
        self.annealings = [Annealing(layer.n_components, **self.annealing_arguments) for layer in self.gmm_layers]
        self._trackers = [keras.metrics.Mean(name="loss")]
        self._trackers += [keras.metrics.Mean(name=f"log_likelihood_{i}") for i in range(len(self.gmm_layers))]
        self._accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy") if self.classifier else None
        self.build((None, *self.image_shape))

    @classmethod
    def from_spec(cls, spec, input_shape=(28, 28, 1), gmm=None, **kwargs):
        """Build a model from a specification such as `"F(8,8,2,2) G(25) F(11,11,1,1) G(36)"` or a Table I name.

        Args:
            spec: the specification, a name, or a name with more layers on top, as in `"2L-c C(10)"`.
            input_shape: (H, W, C) of one image. Default (28, 28, 1).
            gmm: arguments of every `GMM` other than K, such as `{"max_precision": 20}`, as a dict. Default None.
            **kwargs: the other arguments of `DCGMM`.
        """
        return cls(layers_from_spec(resolve(spec), **(gmm or {})), input_shape, **kwargs)

    def build(self, input_shape):
        """Build each layer on its predecessor's output; every component's start follows from the model's seed."""
        if self.built:
            return
        seeds = np.random.SeedSequence(self.seed).generate_state(len(self.gmm_layers))
        for layer, seed in zip(self.gmm_layers, seeds, strict=True):
            layer.seed = int(seed) if layer.seed is None else layer.seed
        for layer in self.stack:
            if not layer.built:  # as it is when it comes out of a file
                layer.build(input_shape)
            if getattr(layer, "input_dims", tuple(input_shape[1:])) != tuple(input_shape[1:]):
                raise ValueError(
                    f"layer {layer.name} was built on inputs of {layer.input_dims} and would receive "
                    f"{tuple(input_shape[1:])}: a layer that is shared by models needs the same input in each"
                )
            input_shape = layer.compute_output_shape(input_shape)
        for annealing in self.annealings:
            annealing.build()
        self.moments = [Moments(layer.output_plane) for layer in self.gmm_layers]
        self._phase_gate = tf.Variable(1.0, trainable=False)
        self.input_spec = keras.layers.InputSpec(shape=(None, *self.image_shape))
        self.built = True

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "layers": [keras.saving.serialize_keras_object(layer) for layer in self.stack],
            "input_shape": self.image_shape,
            "seed": self.seed,
            "annealing": self.annealing_arguments,
            "centroid_phase": self.centroid_phase,
            "rates": self.rates,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """Build a model from `get_config`'s result."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})

    # --- Estimation -------------------------------------------------------------------------------------------

    def climb(self, x):
        """Return each GMM layer's log scores (N, h, w, K), from the lowest, and the top layer's output, for images x.

        The output is the classifier's logits, or without one the top responsibilities. Gradients stop between the
        layers: what a layer is given counts as data.
        """
        scores, folding = [], None
        for layer, following in zip(self.stack, [*self.stack[1:], None], strict=True):
            if isinstance(layer, Folding) and isinstance(following, GMM):
                folding = layer
            elif isinstance(layer, GMM):
                scores.append(layer.log_scores(x, folding))
                x, folding = tf.nn.softmax(tf.stop_gradient(scores[-1])), None
            else:
                x = layer(x)
        return scores, x

    def call(self, x):
        """Return the top layer's output: responsibilities (N, h, w, K), or a classifier's logits (N, classes)."""
        return self._side_by_side(lambda part: [self.climb(part)[1]], x)[0]

    def log_likelihood(self, x, layer=None, batch_size=500):
        """Return log p of each position of a GMM layer's input (Eq. 3), in nats.

        Args:
            x: images (N, H, W, C).
            layer: which GMM layer, 0 the lowest. Default: the top one. Above the lowest layer the density is one
                over responsibilities, not over images.
            batch_size: images at a time. Default 500.

        Returns:
            An array (N, h, w).
        """
        index = self._gmm_index(layer)
        return self.log_likelihoods(x, batch_size)[index]

    def log_likelihoods(self, x, batch_size=500):
        """Return `log_likelihood` of every GMM layer, from the lowest, a list of arrays (N, h, w), in one pass."""
        return self._in_batches(self._likelihoods, x, batch_size)

    def score_samples(self, x, batch_size=500):
        """Return the mean log-likelihood of the top layer's positions, an array (N,), in nats."""
        return self.log_likelihood(x, batch_size=batch_size).mean(axis=(1, 2))

    def responsibilities(self, x, layer=None, batch_size=500):
        """Return the responsibilities (Eq. 4) of a GMM layer (default: the top one), an array (N, h, w, K)."""
        index = self._gmm_index(layer)
        return self._in_batches(lambda batch: [self._all_responsibilities(batch)[index]], x, batch_size)[0]

    def predict_clusters(self, x, batch_size=500):
        """Return the most responsible component of the top layer, an array (N,) of integers.

        Where the top layer has several positions, their mean responsibility decides.
        """
        return self.responsibilities(x, batch_size=batch_size).mean(axis=(1, 2)).argmax(axis=-1)

    def standardised_scores(self, x, layer=None, batch_size=500):
        """Return the log-likelihood in standard deviations from its mean over the training images, (N,).

        Where the layer has several positions, each is standardised on its own and their mean is returned. This is
        what `outliers.roc` and `outliers.auc` take. For the arguments see `log_likelihood`, for errors `inliers`.
        """
        return self._standardised(x, layer, batch_size).mean(axis=(1, 2))

    def calibrate(self, x, batch_size=500):
        """Gather mean and variance of each layer's log-likelihood per position over images x (Sec. II-B2).

        `fit` does this with its training images at its end; a checkpoint that was saved before needs it after loading.

        Args:
            x: images (N, H, W, C), or a `tf.data.Dataset` of batches of them.
            batch_size: images at a time. Default 500.
        """
        if isinstance(x, tf.data.Dataset):
            batches = self._checked_data_set(x, labelled=False)
        else:
            batches = tf.data.Dataset.from_tensor_slices((self._checked(x),)).batch(batch_size)
        self._gather_moments(batches)

    def _gather_moments(self, batches):
        for moments in self.moments:
            moments.reset()
        gathered = [(len(images), self._batch_moments(images)) for images, *_ in batches]
        if not gathered:
            warnings.warn("the data set gave no images to calibrate with; call calibrate(x)", stacklevel=2)
            return
        counts, by_batch = zip(*gathered, strict=True)
        for moments, by_layer in zip(self.moments, zip(*by_batch, strict=True), strict=True):
            means, variances = (tf.stack(parts).numpy() for parts in zip(*by_layer, strict=True))
            moments.update(counts, means, variances)

    def inliers(self, x, c=1.0, layer=None, batch_size=500):
        """Return whether each position is an inlier, L ≥ mean − c·sd over the training images (Eq. 6).

        Args:
            x: images (N, H, W, C).
            c: how many standard deviations below the mean still count as inlier; larger is more lenient. Default 1.
            layer: which GMM layer, 0 the lowest, which localises best. Default: the top one.
            batch_size: images at a time. Default 500.

        Returns:
            A boolean array (N, h, w).

        Raises:
            RuntimeError: before `fit` or `calibrate`.
        """
        return self._standardised(x, layer, batch_size) >= -c

    def _standardised(self, x, layer, batch_size=500):
        likelihoods = self.log_likelihood(x, layer, batch_size)
        return self.moments[self._gmm_index(layer)].standardised(likelihoods)

    @tf.function(autograph=False, reduce_retracing=True)
    def _likelihoods(self, x):
        return self._side_by_side(self._likelihoods_and_output, x)[:-1]

    @tf.function(autograph=False, reduce_retracing=True)
    def _batch_moments(self, x):
        return [tf.nn.moments(likelihoods, 0) for likelihoods in self._likelihoods(x)]

    @tf.function(autograph=False, reduce_retracing=True)
    def _all_responsibilities(self, x):
        return self._side_by_side(lambda part: [tf.nn.softmax(scores) for scores in self.climb(part)[0]], x)

    def _likelihoods_and_output(self, x):
        scores, output = self.climb(x)
        return [*(g.log_likelihood(s) for g, s in zip(self.gmm_layers, scores, strict=True)), output]

    def _side_by_side(self, function, x):
        return parallel.side_by_side(function, x, self._n_parts)

    @property
    def _n_parts(self):
        """Into how many parts a batch is cut: one where there is little to do, or several devices share it."""
        products = sum(math.prod(g.output_plane) * g.n_features * g.n_components for g in self.gmm_layers)
        return parallel.n_parts() if products >= MIN_PRODUCTS and self._n_devices == 1 else 1

    def _gmm_index(self, layer):
        index = len(self.gmm_layers) - 1 if layer is None else layer
        if not 0 <= index < len(self.gmm_layers):
            raise ValueError(f"layer must be between 0 and {len(self.gmm_layers) - 1}, received {layer!r}")
        return index

    def _in_batches(self, function, x, batch_size):
        """Return the arrays that a function of images gives as a list, for images x as for all of its batches."""
        x = self._checked(x)
        batches = [[part.numpy() for part in function(x[i : i + batch_size])] for i in range(0, len(x), batch_size)]
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]

    def _checked(self, x):
        """Return x as a float32 tensor, or say what is wrong with it."""
        x = tf.convert_to_tensor(x)
        x = tf.cast(x, tf.float32)
        if x.shape[1:] != self.image_shape or x.shape.rank != 1 + len(self.image_shape):
            expected = ", ".join(str(n) for n in self.image_shape)
            raise ValueError(f"expected images of shape (N, {expected}), received {tuple(x.shape)}")
        if not len(x):
            raise ValueError("expected at least one image, received none")
        magnitude = tf.abs(x)
        bad = tf.where(~(magnitude <= self.max_magnitude))
        if len(bad):
            first = tuple(int(i) for i in bad[0])
            raise ValueError(
                f"{len(bad)} pixel(s) are not finite or beyond ±{self.max_magnitude:g}: "
                f"the first is {float(x[first])} at index {first} (image, row, column, channel)"
            )
        if (largest := float(tf.reduce_max(magnitude))) > COMFORTABLE_MAGNITUDE:
            warnings.warn(
                f"pixels of up to {largest:g} lose precision in float32: scale the images to [0, 1]", stacklevel=3
            )
        return x

    @property
    def max_magnitude(self):
        """The largest accepted pixel: its square, times precision and features, stays finite in float32."""
        largest_factor = max(layer.max_precision * layer.n_features for layer in self.gmm_layers)
        return min(MAX_MAGNITUDE, math.sqrt(np.finfo("float32").max / (4 * largest_factor)))

    def _checked_data_set(self, data, labelled=True):
        """Return a data set of batches with images as checked float32 tensors, or say what is wrong with it."""
        spec = data.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        tensors = all(isinstance(part, tf.TensorSpec) for part in parts)
        if not tensors or len(parts) > 2 or not parts[0].shape[1:].is_compatible_with(self.image_shape):
            expected = f"images of shape (batch, {', '.join(map(str, self.image_shape))}), or pairs of them and labels"
            raise ValueError(f"expected a data set of {expected}, received {spec}")
        if labelled and self.classifier is not None:
            labels = parts[-1]
            if len(parts) < 2 or not labels.dtype.is_integer or labels.shape.rank not in (None, 1):
                raise ValueError(
                    f"a model with a classifier needs pairs of images and integer labels (batch,), received {spec}"
                )

        def check(x, *rest):
            x = tf.ensure_shape(tf.cast(x, tf.float32), (None, *self.image_shape))
            message = f"a batch of the data set has pixels that are not finite or beyond ±{self.max_magnitude:g}"
            valid = tf.debugging.Assert(tf.reduce_all(tf.abs(x) <= self.max_magnitude), [message])
            with tf.control_dependencies([valid]):
                return (tf.identity(x), *rest)

        return data.map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    # --- Training ---------------------------------------------------------------------------------------------

    def compile(self, optimizer=None, learning_rate=0.05, steps_per_execution=None, jit_compile=False, **kwargs):
        """Prepare training; every argument has the default that the paper or [7] recommends.

        Args:
            optimizer: a Keras optimizer. Default: plain SGD, since the paper finds Adam and RMSProp unsuitable.
            learning_rate: ε of the default optimizer, > 0. Default 0.05.
            steps_per_execution: mini-batches a compiled call. Default 50, but 1 where several devices share a batch,
                which Keras' compiled loop cannot do.
            jit_compile: XLA, which is slower here than plain graphs for convolutions on CPUs. Default False.
            **kwargs: as in `keras.Model.compile`, but for loss, loss_weights, metrics and weighted_metrics.

        Raises:
            ValueError: if one of those is given: a DCGMM has its own loss and metrics.
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

    def compile_from_config(self, config):
        """Compile a loaded model as it was when it was saved, with its optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x, y=None, epochs=25, batch_size=100, validation_data=None, callbacks=None, **kwargs):
        """Train on images; Keras' own `fit` with its progress bar, callbacks and History.

        History holds `loss` (the negative sum of the layers' annealed objectives), `log_likelihood_i` (GMM layer i's
        annealed objective, which at the end of the annealing is its max-component log-likelihood, in nats a position),
        `sigma_i` (its annealing radius), and with `validation_data` the exact `val_log_likelihood_i`.

        Args:
            x: images (N, H, W, C), or a `tf.data.Dataset` of batches of them.
            y: class labels (N,), integers from 0, needed with a `LinearClassifier` and not accepted without.
            epochs: how often to see every image. Default 25.
            batch_size: images a step. Default 100.
            validation_data: images to evaluate after every epoch. Default None.
            callbacks: Keras callbacks. Default None.
            **kwargs: as in `keras.Model.fit`, but for shuffle and validation_split.

        Raises:
            ValueError: if images have the wrong shape, or pixels that are not finite, or labels do not fit, or an
                argument cannot be. A batch of a `tf.data.Dataset` is checked when its turn comes, and a pixel in it
                that is not finite is a `tf.errors.InvalidArgumentError`.
        """
        if epochs < 1 or batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, received {epochs} and {batch_size}")
        if "validation_split" in kwargs or "shuffle" in kwargs:
            raise ValueError(
                "validation_split and shuffle are not supported: arrays are always shuffled, by seed and epoch; split "
                "them beforehand, or pass a tf.data.Dataset for an order of your own"
            )
        if given := {"class_weight", "sample_weight"} & set(kwargs):
            raise ValueError(f"{' and '.join(sorted(given))} cannot be given: every image counts the same")
        steps, per_execution = kwargs.pop("steps_per_epoch", None), self.steps_per_execution
        order = None
        if isinstance(x, tf.data.Dataset):
            x = self._data_set(x, y)
        else:
            tensors = (self._checked(x), *self._checked_labels(y, len(x)))
            order = tf.Variable(self._shuffled(len(x), epoch=0), trainable=False)
            x = _batches_in_order(order, tensors, batch_size)
            # Taken of each epoch's own order, so that a fit that was interrupted can go on exactly.
            x, steps = x.take(steps) if steps else x, None
        if validation_data is not None:
            pair = validation_data if isinstance(validation_data, tuple | list) else (validation_data,)
            validation_data = self._batches(*pair, batch_size=batch_size)
        callbacks = [_TrainingSteps(epochs, order), *(callbacks or []), _Calibration(x.take(steps) if steps else x)]
        if steps:
            # Keras runs whole executions, and would overrun an epoch that they do not divide.
            self._execute(math.gcd(steps, per_execution))
        kwargs |= {"validation_data": validation_data, "callbacks": callbacks, "steps_per_epoch": steps}
        try:
            return super().fit(x, epochs=epochs, shuffle=False, **kwargs)
        finally:
            self._execute(per_execution)
            # The pipeline's functions hold the images in reference cycles, which Python would keep for long.
            del x, callbacks
            gc.collect()

    def _execute(self, steps):
        """Set the steps of an execution, which Keras compiles into its functions and would then not look at again."""
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = None

    def evaluate(self, x, y=None, batch_size=500, **kwargs):
        """Return the loss and the exact log-likelihood of every GMM layer, in nats a position; as in `keras.Model`.

        With a classifier, labels y (N,) are needed, and its accuracy is returned too.
        """
        return super().evaluate(self._batches(x, y, batch_size=batch_size), **kwargs)

    def predict(self, x, batch_size=500, **kwargs):
        """Return the top layer's output, responsibilities or logits, as an array; as in `keras.Model`."""
        # Keras would trace as many copies of the model as there are steps in an execution.
        steps, self.steps_per_execution = self.steps_per_execution, 1
        try:
            if isinstance(x, tf.data.Dataset):
                images = self._checked_data_set(x, labelled=False).map(lambda images, *labels: images)
                return super().predict(images, **kwargs)
            return super().predict(self._checked(x), batch_size=batch_size, **kwargs)
        finally:
            self.steps_per_execution = steps

    def _checked_labels(self, y, n):
        """Return y as integers (N,), or () where there is no classifier, or say what is wrong with it."""
        if self.classifier is None:
            if y is not None:
                raise ValueError("labels were given, but the model has no LinearClassifier to learn them")
            return ()
        labels = None if y is None else np.asarray(y)
        if labels is None or labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
            received = "none" if labels is None else f"{labels.dtype} of shape {labels.shape}"
            raise ValueError(f"a model with a classifier needs integer labels of shape ({n},), received {received}")
        if labels.min() < 0 or labels.max() >= self.classifier.n_classes:
            expected = f"0 to {self.classifier.n_classes - 1}"
            raise ValueError(f"labels must be {expected}, received values from {labels.min()} to {labels.max()}")
        return (tf.constant(labels, tf.int64),)

    def _data_set(self, x, y):
        if y is not None:
            raise ValueError("labels were given beside a data set: they belong into it, as pairs (images, labels)")
        return self._checked_data_set(x)

    def _batches(self, x, y=None, *, batch_size):
        if isinstance(x, tf.data.Dataset):
            return self._data_set(x, y)
        x = self._checked(x)
        return tf.data.Dataset.from_tensor_slices((x, *self._checked_labels(y, len(x)))).batch(batch_size)

    def _shuffled(self, n, epoch):
        """Return the order of n images in an epoch, which depends on the model's seed and the epoch alone."""
        return tf.random.experimental.stateless_shuffle(tf.range(n), tf.constant([self.seed, epoch], tf.int64))

    def train_step(self, data):
        """Move every GMM layer one step up its own annealed objective, and the classifier down its cross-entropy."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            parts, sizes = parallel.cut(x, self._n_parts)
            scores, outputs = zip(*map(self.climb, parts), strict=True)
            output = parallel.join(outputs, sizes)
            by_layer = zip(self.annealings, *scores, strict=True)
            objectives = [parallel.mean([a.objective(part) for part in of_parts], sizes) for a, *of_parts in by_layer]
            loss = self._cross_entropy(y, output) - tf.add_n(objectives)
            # Where several devices share a batch, their gradients are added up.
            share = loss / self._n_devices
        variables = self.trainable_variables
        gradients = tape.gradient(share, variables)
        scaled = [gradient * self._rate(v) for gradient, v in zip(gradients, variables, strict=True)]
        self.optimizer.apply_gradients(zip(scaled, variables, strict=True))
        if self._n_devices > 1:
            objectives = tf.distribute.get_replica_context().all_reduce("mean", objectives)
        for annealing, objective in zip(self.annealings, objectives, strict=True):
            annealing.update(objective)
        likelihoods = [o + layer.log_normaliser for o, layer in zip(objectives, self.gmm_layers, strict=True)]
        sigmas = {f"sigma_{i}": tf.convert_to_tensor(annealing.sigma) for i, annealing in enumerate(self.annealings)}
        return self._track(loss, likelihoods, x, y, output) | sigmas

    def _rate(self, variable):
        """Return the factor on the learning rate of a variable."""
        centroids, scales, weights = self.rates
        return {"mu": centroids, "s": scales * self._phase_gate, "xi": weights}.get(variable.name, 1.0)

    def test_step(self, data):
        """Return the exact log-likelihood of every GMM layer, in nats a position, and a classifier's accuracy."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        *likelihoods, output = self._side_by_side(self._likelihoods_and_output, x)
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
    def metrics(self):
        """The running means that Keras resets at the start of every epoch."""
        return self._trackers + ([self._accuracy] if self.classifier is not None else [])

    # --- Sampling and storage ---------------------------------------------------------------------------------

    def sample(
        self,
        n,
        labels=None,
        top_s=None,
        noise=None,
        sharpening=None,
        seed=None,
        merge_prior=False,
        return_likelihoods=False,
    ):
        """Draw images from the top layer downwards (Sec. II-B3), of given classes where there is a classifier (II-B4).

        Args:
            n: how many.
            labels: a class for all samples, or one for each (n,). Default None: the top GMM draws from π.
            top_s: S of top-S sampling in the GMM layers that a control signal reaches: an integer for all, or one for
                each GMM layer, from the lowest. Default: 1 with labels, else None, the full distribution.
            noise: factor on the Gaussians' drawn noise, one for all GMM layers or one for each, from the lowest; 1 is
                as modelled. Where precisions stand at their bound, noise is an artefact of that bound, and a small
                factor shows the model better. With 0 in the lowest layer, samples that chose the same components
                are equal. Default: 0.1 with labels (with 1, fewer than nine in ten conditional samples of MNIST were
                of their class, with 0.1 all were), else 1.
            sharpening: a `Sharpening` for every Folding and MaxPooling layer, or a dict of them by layer name (as in
                `summary`). Default None, off.
            seed: an integer. Default None, a fresh one each time.
            merge_prior: whether control signals are multiplied by each layer's π (Sec. V). Default False.
            return_likelihoods: whether to return also what sharpening did. Default False.

        Returns:
            An array (n, H, W, C), not clipped to the range of the training images. With `return_likelihoods` also a
            dict of arrays (n, 2) by layer name: each sample's log-likelihood before and after, in nats.

        Raises:
            ValueError: if an argument is out of its range, or labels are given to a model without a classifier.
        """
        if not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"n must be a positive integer, received {n!r}")
        control = sampling.top_control(self.stack, n, labels)
        if labels is not None:
            top_s = 1 if top_s is None else top_s
            noise = 0.1 if noise is None else noise
        elif top_s is None or isinstance(top_s, int | np.integer):
            # No control signal reaches the top GMM layer: S says nothing there.
            top_s = [top_s] * (len(self.gmm_layers) - 1) + [None]
        noise = 1.0 if noise is None else noise
        descent = sampling.Descent(self.stack, top_s, noise, sharpening, seed, merge_prior)
        images = descent.run(control, start=self.stack.index(self.gmm_layers[-1]))
        return (images, descent.likelihoods) if return_likelihoods else images

    def variants(self, x, n=1, level=None, **options):
        """Draw images similar to templates (Sec. II-B6): their activities take the place of a control signal (Eq. 10).

        Args:
            x: templates (N, H, W, C).
            n: variants of each. Default 1.
            level: L̂, counted in GMM layers from 0: this layer chooses its components by the template's activities, and
                the layers below it by control signals. 0 is closest to the template; the number of GMM layers is no
                template at all, the top one then drawing from π. (Eq. 10 is misprinted; see results/ERRATA.md.)
                Default: the top layer.
            **options: top_s, noise, sharpening, seed and merge_prior, as in `sample`.

        Returns:
            An array (N, n, H, W, C).
        """
        if level == len(self.gmm_layers):
            return self.sample(len(x) * n, **options).reshape(len(x), n, *self.image_shape)
        if not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"n must be a positive integer, received {n!r}")
        index = self._gmm_index(level)
        activities = np.repeat(self.responsibilities(x, layer=index), n, axis=0)
        descent = sampling.Descent(self.stack, **options)
        images = descent.run(tf.constant(activities), start=self.stack.index(self.gmm_layers[index]))
        return images.reshape(len(x), n, *self.image_shape)

    def inpaint(self, x, mask=None, c=1.0, **options):
        """Complete damaged images (Sec. II-B5), finding the damage by Eq. 6 where no mask is given.

        The top layer draws from its activities (Eq. 8). Below, positions that are inliers keep their activities, and
        outliers take the control signal from above (Eq. 9; the paper's sentence before it says the reverse). Pixels
        that only inlier positions of the lowest GMM layer cover are returned as they came; with a mask, all pixels
        outside it are. Without one, what looks ordinary cannot be found: a black hole in a black background is more
        likely than most strokes.

        Args:
            x: damaged images (N, H, W, C).
            mask: where they are damaged, boolean (N, H, W) or (H, W). Default None: the model finds out.
            c: of Eq. 6, without a mask: smaller calls more positions damaged. Default 1.
            **options: top_s, noise, sharpening, seed and merge_prior, as in `sample`, but that noise is 0.1 by
                default: a completed image is to be likely rather than typical.

        Returns:
            An array (N, H, W, C).

        Raises:
            RuntimeError: without a mask, before `fit` or `calibrate`.
            ValueError: without a mask, where the first filter is the whole image: there is no part to trust.
        """
        images = self._checked(x).numpy()
        lowest = self.gmm_layers[0]
        if mask is None and lowest.output_plane == (1, 1):
            raise ValueError(
                "the lowest GMM layer sees the whole image at one position, so it cannot tell the damaged part from "
                "the rest: give a mask, or use an instance with a smaller first filter"
            )
        if mask is None:
            likelihoods = self.log_likelihoods(images)
            damaged = [~(m.standardised(values) >= -c) for m, values in zip(self.moments, likelihoods, strict=True)]
            replaced = sampling.covered_pixels(self.stack, damaged[0])
        else:
            mask = np.asarray(mask, bool)
            if mask.shape not in (images.shape[:3], images.shape[1:3]):
                raise ValueError(f"mask must be of shape {images.shape[:3]} or {images.shape[1:3]}, is {mask.shape}")
            replaced = np.broadcast_to(mask, images.shape[:3])
            damaged = [share > 0 for share in sampling.damaged_share(self.stack, replaced)]
        seen = self._in_batches(self._all_responsibilities, images, batch_size=500)
        activities = {layer.name: values for layer, values in zip(self.gmm_layers, seen, strict=True)}
        outliers = {g.name: d[..., None] for g, d in zip(self.gmm_layers, damaged, strict=True)}
        top = self.gmm_layers[-1]

        def fuse(layer, control, part):
            if layer is top:
                return control
            return tf.where(outliers[layer.name][part], control, activities[layer.name][part])

        descent = sampling.Descent(self.stack, **{"noise": 0.1, **options})
        drawn = descent.run(tf.constant(activities[top.name]), start=self.stack.index(top), fuse=fuse)
        return np.where(replaced[..., None], drawn, images)

    def summary(self, print_fn=print, **kwargs):
        """Print a table of the layers: filter or components, output shape and number of parameters."""
        rows, shape = [], (None, *self.image_shape)
        for layer in self.stack:
            shape = layer.compute_output_shape(shape)
            rows.append((layer.name, type(layer).__name__, layer.description, str(shape), layer.count_params()))
        table = pd.DataFrame(rows, columns=["layer", "type", "what", "output shape", "parameters"])
        print_fn(f"{self.name}: images {self.image_shape}, {table.parameters.sum():,} parameters")
        print_fn(table.to_string(index=False))

    def save(self, filepath, overwrite=True, **kwargs):
        """Save as Keras does; a `.keras` file appears at once, and equal models give equal bytes."""
        path = Path(filepath)
        if path.suffix != ".keras" or (path.exists() and not overwrite):
            super().save(filepath, overwrite=overwrite, **kwargs)
            return
        beside = path.with_name(f".{os.getpid()}.{path.name}")
        try:
            super().save(beside, **kwargs)
            write_archive(path, _canonical_members(beside))
        finally:
            beside.unlink(missing_ok=True)


def _batches_in_order(order, tensors, batch_size):
    """Return a data set of batches of some tensors' rows, in the order that a variable holds when a batch's turn comes.

    To shuffle within the data set would cost a twentieth of a second an epoch more, as much as many of its batches.
    """
    steps = -(-order.shape[0] // batch_size)

    def batch(i):
        rows = order[i * batch_size : (i + 1) * batch_size]
        return tuple(tf.gather(tensor, rows) for tensor in tensors)

    return tf.data.Dataset.range(steps).map(batch).prefetch(tf.data.AUTOTUNE)


class _TrainingSteps(keras.callbacks.Callback):
    """Tells which of the two steps of training it is (Sec. II-B1), and shuffles the images for every epoch."""

    def __init__(self, epochs, order=None):
        super().__init__()
        self.epochs = epochs
        self.order = order

    def on_epoch_begin(self, epoch, logs=None):
        if self.order is not None:
            self.order.assign(self.model._shuffled(self.order.shape[0], epoch))
        self.model._phase_gate.assign(float(epoch >= round(self.model.centroid_phase * self.epochs)))


class _Calibration(keras.callbacks.Callback):
    """Gathers the training images' statistics when the weights have come to rest."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs=None):
        # What was gathered from other weights would be wrong without a word.
        for moments in self.model.moments:
            moments.reset()

    def on_train_end(self, logs=None):
        self.model._gather_moments(self.batches)


def _canonical_members(path):
    """Return a `.keras` archive's {name: bytes} without the times and memory addresses that Keras puts into it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({**metadata, "date_saved": ""}).encode()
    numbers = defaultdict(lambda: len(numbers))
    members["config.json"] = re.sub(
        rb'("shared_object_id": )(\d+)', lambda m: m[1] + b"%d" % numbers[m[2]], members["config.json"]
    )
    return members


def write_archive(path, members):
    """Write a zip file of {name: bytes} that holds no times, beside its place and then renamed into it."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with zipfile.ZipFile(beside, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    os.replace(beside, path)
