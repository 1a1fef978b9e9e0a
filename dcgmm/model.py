"""The DCGMM itself: a chain of layers as a `keras.Model`, trained end to end by gradient descent (Sec. II-B1)."""

import json
import os
import re
import zipfile
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dcgmm import sampling
from dcgmm.annealing import Annealing
from dcgmm.architectures import resolve
from dcgmm.layers import GMM, Folding, layers_from_spec

# Squares, times the largest precision, summed over 10,000 features, stay finite in float32.
MAX_MAGNITUDE = 1e15


@keras.saving.register_keras_serializable("dcgmm")
class DCGMM(keras.Model):
    r"""A Deep Convolutional Gaussian Mixture Model.

    Each GMM layer L maximises its own log-likelihood (Eq. 5), in the max-component approximation and with the
    annealing of [7]; no gradient crosses a layer, and all layers learn from the same mini-batches. Training takes two
    steps (Sec. II-B1): at first only the centroids adapt, then centroids and precisions.

    Args:
        layers: a list of `Folding`, `MaxPooling` and `GMM` layers, from the image upwards; the last one is a GMM.
        input_shape: (H, W, C) of one image.
        seed: of the centroids' start and of the batches' order. Default 0.
        annealing: the arguments of `Annealing` other than K, as a dict. Default: those of [7].
        centroid_phase: the share of the epochs in which only centroids adapt, in [0, 1]. Default 0.4.
        rates: the factors on the learning rate of centroids, scales and raw weights. Default (1, 0.5, 0): adapting
            weights collapse deep top layers onto few components.

    Raises:
        ValueError: if the chain does not end in a GMM, a filter does not fit its input, or a K is not a square.

    Source: A. Gepperth, B. Pfülb, Image Modeling with Deep Convolutional Gaussian Mixture Models, IJCNN 2021.
    """

    def __init__(
        self, layers, input_shape, seed=0, annealing=None, centroid_phase=0.4, rates=(1.0, 0.5, 0.0), name="dcgmm"
    ):
        super().__init__(name=name)
        if not layers or not isinstance(layers[-1], GMM):
            raise ValueError(f"a DCGMM needs a GMM layer at its top, received {layers!r}")
        if not 0 <= centroid_phase <= 1:
            raise ValueError(f"centroid_phase is a share of the epochs in [0, 1], received {centroid_phase}")
        self.image_shape = tuple(int(n) for n in input_shape)
        self.seed = seed
        self.annealing_arguments = dict(annealing or {})
        self.centroid_phase = centroid_phase
        self.rates = tuple(rates)
        self.stack = list(layers)
        self.gmm_layers = [layer for layer in layers if isinstance(layer, GMM)]
        self.annealings = [Annealing(layer.n_components, **self.annealing_arguments) for layer in self.gmm_layers]
        self._trackers = [keras.metrics.Mean(name="loss")]
        self._trackers += [keras.metrics.Mean(name=f"log_likelihood_{i}") for i in range(len(self.gmm_layers))]
        self.build((None, *self.image_shape))

    @classmethod
    def from_spec(cls, spec, input_shape=(28, 28, 1), **kwargs):
        """Build a model from a specification such as `"F(8,8,2,2) G(25) F(11,11,1,1) G(36)"` or a Table I name.

        The other arguments are those of `DCGMM`.
        """
        return cls(layers_from_spec(resolve(spec)), input_shape, **kwargs)

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
            input_shape = layer.compute_output_shape(input_shape)
        for annealing in self.annealings:
            annealing.build()
        # Read by the input pipeline at the start of an epoch, so that an epoch's batches depend on nothing else.
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._phase_gate = tf.Variable(1.0, trainable=False)
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
        """Yield each GMM layer, from the lowest, with its log scores (N, h, w, K) for the images x.

        Gradients stop between the layers: what a layer is given counts as data.
        """
        folding = None
        for layer, following in zip(self.stack, [*self.stack[1:], None], strict=True):
            if isinstance(layer, Folding) and isinstance(following, GMM):
                folding = layer
            elif isinstance(layer, GMM):
                scores = layer.log_scores(x, folding)
                yield layer, scores
                folding = None
                if following is not None:
                    x = tf.nn.softmax(tf.stop_gradient(scores))
            else:
                x = layer(x)

    def call(self, x):
        """Return the responsibilities of the top GMM layer, (N, h, w, K)."""
        *_, (_, scores) = self.climb(x)
        return tf.nn.softmax(scores)

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
        return self._in_batches(lambda batch: self._likelihoods(batch)[index], x, batch_size)

    def score_samples(self, x, batch_size=500):
        """Return the mean log-likelihood of the top layer's positions, an array (N,), in nats."""
        return self.log_likelihood(x, batch_size=batch_size).mean(axis=(1, 2))

    def responsibilities(self, x, layer=None, batch_size=500):
        """Return the responsibilities (Eq. 4) of a GMM layer (default: the top one), an array (N, h, w, K)."""
        index = self._gmm_index(layer)
        return self._in_batches(lambda batch: self._all_responsibilities(batch)[index], x, batch_size)

    def predict_clusters(self, x, batch_size=500):
        """Return the most responsible component of the top layer, an array (N,) of integers.

        Where the top layer has several positions, their mean responsibility decides.
        """
        return self.responsibilities(x, batch_size=batch_size).mean(axis=(1, 2)).argmax(axis=-1)

    @tf.function(reduce_retracing=True)
    def _likelihoods(self, x):
        return [layer.log_likelihood(scores) for layer, scores in self.climb(x)]

    @tf.function(reduce_retracing=True)
    def _all_responsibilities(self, x):
        return [tf.nn.softmax(scores) for _, scores in self.climb(x)]

    def _gmm_index(self, layer):
        index = len(self.gmm_layers) - 1 if layer is None else layer
        if not 0 <= index < len(self.gmm_layers):
            raise ValueError(f"layer must be between 0 and {len(self.gmm_layers) - 1}, received {layer!r}")
        return index

    def _in_batches(self, function, x, batch_size):
        x = self._checked(x)
        return np.concatenate([function(x[i : i + batch_size]).numpy() for i in range(0, len(x), batch_size)])

    def _checked(self, x):
        """Return x as a float32 tensor, or say what is wrong with it."""
        x = tf.convert_to_tensor(x)
        x = tf.cast(x, tf.float32)
        if x.shape[1:] != self.image_shape or x.shape.rank != 1 + len(self.image_shape):
            expected = ", ".join(str(n) for n in self.image_shape)
            raise ValueError(f"expected images of shape (N, {expected}), received {tuple(x.shape)}")
        bad = tf.where(~(tf.abs(x) <= MAX_MAGNITUDE))
        if len(bad):
            first = tuple(int(i) for i in bad[0])
            raise ValueError(
                f"{len(bad)} pixel(s) are not finite or beyond ±{MAX_MAGNITUDE:g}: "
                f"the first is {float(x[first])} at index {first} (image, row, column, channel)"
            )
        return x

    # --- Training ---------------------------------------------------------------------------------------------

    def compile(self, optimizer=None, learning_rate=0.05, steps_per_execution=50, jit_compile=False, **kwargs):
        """Prepare training; every argument has the default that the paper or [7] recommends.

        Args:
            optimizer: a Keras optimizer. Default: plain SGD, since the paper finds Adam and RMSProp unsuitable.
            learning_rate: ε of the default optimizer, > 0. Default 0.05.
            steps_per_execution: mini-batches a compiled call. Default 50.
            jit_compile: XLA, which is slower here than plain graphs for convolutions on CPUs. Default False.
            **kwargs: as in `keras.Model.compile`.
        """
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
            y: not used. Default None.
            epochs: how often to see every image. Default 25.
            batch_size: images a step. Default 100.
            validation_data: images to evaluate after every epoch. Default None.
            callbacks: Keras callbacks. Default None.
            **kwargs: as in `keras.Model.fit`.

        Raises:
            ValueError: if images have the wrong shape, or pixels that are not finite.
        """
        if not isinstance(x, tf.data.Dataset):
            x = self._shuffled_batches(self._checked(x), batch_size)
        if validation_data is not None and not isinstance(validation_data, tf.data.Dataset):
            images = validation_data[0] if isinstance(validation_data, tuple | list) else validation_data
            validation_data = tf.data.Dataset.from_tensor_slices(self._checked(images)).batch(batch_size)
        callbacks = [_TrainingSteps(epochs), *(callbacks or [])]
        kwargs.setdefault("shuffle", False)
        return super().fit(x, epochs=epochs, validation_data=validation_data, callbacks=callbacks, **kwargs)

    def evaluate(self, x, y=None, batch_size=500, **kwargs):
        """Return the loss and the exact log-likelihood of every GMM layer, in nats a position; as in `keras.Model`."""
        if not isinstance(x, tf.data.Dataset):
            x = tf.data.Dataset.from_tensor_slices(self._checked(x)).batch(batch_size)
        return super().evaluate(x, **kwargs)

    def predict(self, x, batch_size=500, **kwargs):
        """Return the responsibilities of the top GMM layer, an array (N, h, w, K); as in `keras.Model`."""
        # Keras would trace as many copies of the model as there are steps in an execution.
        steps, self.steps_per_execution = self.steps_per_execution, 1
        try:
            if isinstance(x, tf.data.Dataset):
                return super().predict(x, **kwargs)
            return super().predict(self._checked(x), batch_size=batch_size, **kwargs)
        finally:
            self.steps_per_execution = steps

    def _shuffled_batches(self, x, batch_size):
        """Return a data set of batches whose order depends on the model's seed and the epoch alone."""
        n = len(x)
        steps = -(-n // batch_size)

        def one_epoch(_):
            seed = tf.stack([tf.cast(self.seed, tf.int64), self._epoch])
            order = tf.random.experimental.stateless_shuffle(tf.range(n), seed)
            return tf.data.Dataset.range(steps).map(
                lambda i: tf.gather(x, order[i * batch_size : (i + 1) * batch_size])
            )

        batches = tf.data.Dataset.range(1).flat_map(one_epoch)
        return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)

    def train_step(self, data):
        """Move every GMM layer one step up its own annealed objective."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            objectives = [
                annealing.objective(scores)
                for annealing, (_, scores) in zip(self.annealings, self.climb(x), strict=True)
            ]
            loss = -tf.add_n(objectives)
        variables = [v for layer in self.gmm_layers for v in (layer.mu, layer.s, layer.xi)]
        gradients = tape.gradient(loss, variables)
        centroids, scales, weights = self.rates
        factors = (centroids, scales * self._phase_gate, weights) * len(self.gmm_layers)
        scaled = [gradient * factor for gradient, factor in zip(gradients, factors, strict=True)]
        self.optimizer.apply_gradients(zip(scaled, variables, strict=True))
        for annealing, objective in zip(self.annealings, objectives, strict=True):
            annealing.update(objective)
        logs = self._track(loss, [o + layer.log_normaliser for o, layer in zip(objectives, self.gmm_layers)], x)
        return logs | {f"sigma_{i}": annealing.sigma.value for i, annealing in enumerate(self.annealings)}

    def test_step(self, data):
        """Return the exact log-likelihood of every GMM layer, in nats a position."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        means = [tf.reduce_mean(layer.log_likelihood(scores)) for layer, scores in self.climb(x)]
        return self._track(-tf.add_n(means), means, x)

    def _track(self, loss, likelihoods, x):
        for tracker, value in zip(self._trackers, [loss, *likelihoods], strict=True):
            tracker.update_state(value, sample_weight=tf.shape(x)[0])
        return {tracker.name: tracker.result() for tracker in self._trackers}

    @property
    def metrics(self):
        """The running means that Keras resets at the start of every epoch."""
        return self._trackers

    # --- Sampling and storage ---------------------------------------------------------------------------------

    def sample(self, n, top_s=None, noise=1.0, seed=None):
        """Draw images from the top layer downwards (Sec. II-B3).

        Args:
            n: how many.
            top_s: S of top-S sampling in the GMM layers below the top one: an integer for all, or one for each, from
                the lowest. Default None, the full distribution.
            noise: factor on the Gaussians' drawn noise, one for all GMM layers or one for each, from the lowest; 1 is
                as modelled. Where precisions stand at their bound, noise is an artefact of that bound, and a small
                factor shows the model better. With 0 in the lowest layer, samples that chose the same components
                are equal. Default 1.
            seed: an integer. Default None, a fresh one each time.

        Returns:
            An array (n, H, W, C), not clipped to the range of the training images.
        """
        return sampling.sample(self.stack, n, top_s=top_s, noise=noise, seed=seed)

    def save(self, filepath, overwrite=True, **kwargs):
        """Save as Keras does; a `.keras` file appears at once, and equal models give equal bytes."""
        super().save(filepath, overwrite=overwrite, **kwargs)
        if str(filepath).endswith(".keras"):
            _make_canonical(filepath)


class _TrainingSteps(keras.callbacks.Callback):
    """Tells the model which epoch it is in, and which of the two steps of training (Sec. II-B1)."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        self.model._epoch.assign(epoch)
        self.model._phase_gate.assign(float(epoch >= round(self.model.centroid_phase * self.epochs)))


def _make_canonical(path):
    """Rewrite a `.keras` archive without the times and memory addresses that Keras puts into it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({**metadata, "date_saved": ""}).encode()
    numbers = defaultdict(lambda: len(numbers))
    members["config.json"] = re.sub(
        rb'("shared_object_id": )(\d+)', lambda m: m[1] + b"%d" % numbers[m[2]], members["config.json"]
    )
    write_archive(path, members)


def write_archive(path, members):
    """Write a zip file of {name: bytes} that holds no times, beside its place and then renamed into it."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with zipfile.ZipFile(beside, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    os.replace(beside, path)
