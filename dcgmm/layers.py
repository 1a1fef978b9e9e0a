"""The layers of a DCGMM. Each computes both directions: estimation (`call`, upwards) and sampling (`down`)."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcgmm import arguments
from dcgmm.keras_settings import in_float32

MAX_PRECISION = 20.0
MIN_SCALE = 1e-3
# A larger range or bound is not finite in float32 after a few products.
MAX_RANGE = 1e15
INVERSES = ("one-hot", "log-probabilities")  # The two ways down of a classifier; the first is the default.
TARGET_PROBABILITY = 0.95  # of the class, in the second one


def _pair(value, what):
    items = arguments.items(value)
    try:
        return arguments.sizes(what, [value, value] if items is None else items, "(y, x)")
    except ValueError:
        raise arguments.refusal(what, "a positive integer or a pair (y, x) of them", value) from None


def _check_rank(input_shape, layer):
    """Return (H, W, C) of an input's shape; only the size of the batch may be open."""
    try:
        return arguments.sizes("input_shape", (arguments.items(input_shape) or [])[1:], "(H, W, C)")
    except ValueError:
        raise ValueError(
            f"{layer} expects an input (batch, height, width, channels), received shape {arguments.shown(input_shape)}"
        ) from None


def _check_control(control, layer, floats=True):
    """Check the signal that a layer receives on the way down: it has the shape of the layer's output."""
    if not layer.built:
        raise ValueError(f"{layer.name} has no way down yet: call it on an input first, or build it")
    shape = layer.compute_output_shape((None, *layer.input_dims))
    if getattr(layer, "shared", False):  # a mixture that all positions share works on a plane of any size
        shape = (None, None, None, shape[-1])
    axes = "(N, h, w, channels)" if len(shape) == 4 else "(N, classes)"
    arguments.tensor(f"the control signal of {layer.name}", control, axes, shape, floats)


class Window(keras.layers.Layer):
    """A window that slides over the input plane: the base of `Folding`, `MaxPooling` and windows of your own.

    A subclass adds `letter`, `call`, `down` and `compute_output_shape`; docs/adapting.md has an example.

    Args:
        size: the window in pixels or positions, an integer or (y, x).
        strides: its steps, an integer or (y, x).

    Raises:
        ValueError: if an argument is no positive integer, or when it is built, if the window is larger than its input.

    Example:
        >>> MaxPooling(2).positions((None, 11, 11, 25))
        (5, 5)
    """

    def __init__(self, size: int | Sequence[int], strides: int | Sequence[int], **kwargs: Any) -> None:
        super().__init__(**in_float32(kwargs, type(self).__name__))
        self.size = _pair(size, f"the filter size of {self.name}")
        self.strides = _pair(strides, f"the strides of {self.name}")

    def positions(self, input_shape: Sequence[Any]) -> tuple[int, ...]:
        """Return (H', W'), the number of window positions on an input (batch, H, W, C)."""
        height, width, _ = _check_rank(input_shape, self.name)
        if self.size[0] > height or self.size[1] > width:
            raise ValueError(f"{self}: the filter is larger than its input of {height}x{width}")
        return tuple(1 + (n - f) // s for n, f, s in zip((height, width), self.size, self.strides, strict=True))

    def build(self, input_shape: Sequence[Any]) -> None:
        """Record the geometry of the input, because `down` restores exactly this shape."""
        self.output_plane = self.positions(input_shape)
        self.output_channels = self.compute_output_shape(input_shape)[-1]
        self.input_dims = tuple(input_shape[1:])
        self.input_spec = keras.layers.InputSpec(shape=(None, *self.input_dims))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "size": self.size, "strides": self.strides}

    @property
    def description(self) -> str:
        """The geometry in words, for a model's summary."""
        return "{}×{}, strides {}×{}".format(*self.size, *self.strides)

    def __repr__(self) -> str:
        """Return the layer as the paper writes it, with its name."""
        numbers = ",".join(str(n) for n in (*self.size, *self.strides))
        return f"layer {self.name}, {self.letter}({numbers})"


def check_chain(layers: Any) -> list[keras.layers.Layer]:
    """Return the layers of a chain as a list, or refuse those that cannot work in one.

    A layer of your own needs the two directions, estimation in `call` and sampling in `down`, and
    `compute_output_shape`.

    Args:
        layers: the layers, from the image upwards.

    Raises:
        ValueError: if they are no layers, one of them cannot work in a chain, one stands twice, two have one name, or
            there is no GMM at the top, or below the `LinearClassifier` at the top.

    Example:
        >>> [layer.letter for layer in check_chain([Folding(28), GMM(25), LinearClassifier(10)])]
        ['F', 'G', 'C']
        >>> check_chain([keras.layers.Dense(5, name="dense"), GMM(25)])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: layers[0], <Dense name=dense, built=False>, lacks `down`: each layer needs `call` for ...
    """
    chain = None if isinstance(layers, keras.layers.Layer) else arguments.items(layers)
    if chain is None:
        raise arguments.refusal("layers", "a list of layers such as [Folding(28), GMM(25)]", layers)
    for index, layer in enumerate(chain):
        if not isinstance(layer, keras.layers.Layer):
            raise arguments.refusal(f"layers[{index}]", "a layer such as GMM(25)", layer)
        if missing := _missing_directions(layer):
            raise ValueError(
                f"layers[{index}], {layer!r}, lacks {' and '.join(missing)}: each layer needs `call` for estimation, "
                "`down` for sampling, and `compute_output_shape`"
            )
        if any(layer is other for other in chain[:index]):
            raise ValueError(f"layers[{index}], {layer!r}, stands in layers twice: make a new layer for each place")
    top = chain[:-1] if chain and isinstance(chain[-1], LinearClassifier) else chain
    if not top or not isinstance(top[-1], GMM) or any(isinstance(layer, LinearClassifier) for layer in top):
        raise ValueError(
            "a DCGMM needs a GMM layer at its top, or below its only LinearClassifier, received layers = "
            f"{arguments.shown(chain)}"
        )
    names = [layer.name for layer in chain]
    if len(set(names)) < len(names):
        raise ValueError(f"every layer needs a name of its own, received layers with the names {names}")
    return chain


def _missing_directions(layer):
    """Return which methods of a layer in a chain are missing."""
    has = {
        "`call`": type(layer).call is not keras.layers.Layer.call,
        "`down`": callable(getattr(layer, "down", None)),
        "`compute_output_shape`": type(layer).compute_output_shape is not keras.layers.Layer.compute_output_shape,
    }
    return [method for method, there in has.items() if not there]


@keras.saving.register_keras_serializable("dcgmm")
class Folding(Window):
    r"""A layer that moves the content of each filter window into the channels: F(f_Y, f_X, Δ_Y, Δ_X) of Sec. II-A1.

    Estimation maps (N, H, W, C) to (N, H', W', C') with H' = 1 + (H − f_Y)/Δ_Y, W' = 1 + (W − f_X)/Δ_X and
    C' = C·f_X·f_Y; entry (y, x, c) of a window becomes channel c + (y·f_X + x)·C. (The paper's formula has C^(L)
    on its right-hand side and c' twice; see results/ERRATA.md.) Sampling sets each input element to the mean of all
    window entries that cover it, or to 0 where no window covers it.

    Args:
        size: filter size in pixels, an integer or (f_Y, f_X).
        strides: steps in pixels, an integer or (Δ_Y, Δ_X). Default 1.

    Raises:
        ValueError: if a size is no positive integer, or, in `build`, if the filter is larger than its input, if the
            strides do not end at its border, or if the windows need more memory than the machine has.

    Example:
        >>> folding = Folding(8, strides=2)
        >>> folding(tf.zeros((3, 28, 28, 1))).shape, folding.down(tf.zeros((3, 11, 11, 64))).shape
        (TensorShape([3, 11, 11, 64]), TensorShape([3, 28, 28, 1]))
    """

    letter = "F"

    def __init__(self, size: int | Sequence[int], strides: int | Sequence[int] = 1, **kwargs: Any) -> None:
        super().__init__(size, strides, **kwargs)

    def positions(self, input_shape: Sequence[Any]) -> tuple[int, ...]:
        """Return (H', W'), or raise a ValueError if one of them is not a whole number."""
        plane = super().positions(input_shape)
        for n, f, s in zip(input_shape[1:3], self.size, self.strides, strict=True):
            if (n - f) % s:
                raise ValueError(
                    f"{self}: on an input of {input_shape[1]}x{input_shape[2]} the output size "
                    f"1 + ({n} - {f})/{s} is not a whole number"
                )
        return plane

    def build(self, input_shape: Sequence[Any]) -> None:
        """Make a table of the window entries that cover each input element."""
        super().build(input_shape)
        height, width, channels = self.input_dims
        entries = math.prod(self.output_plane) * self.output_channels
        what = f"the table of its {entries:,} window entries"
        arguments.memory(f"for {self}, an input of {height}x{width}", what, 24 * entries)
        elements = np.arange(height * width * channels).reshape(height, width, channels)
        windows = np.lib.stride_tricks.sliding_window_view(elements, self.size, axis=(0, 1))
        windows = windows[:: self.strides[0], :: self.strides[1]].transpose(0, 1, 3, 4, 2)
        order = np.argsort(windows, axis=None, kind="stable")
        self.coverage = np.bincount(windows.ravel(), minlength=elements.size)
        starts = np.cumsum(self.coverage) - self.coverage
        rank = np.arange(max(self.coverage.max(), 1))
        self._covered = rank < self.coverage[:, None]
        self._covering = order[np.where(self._covered, starts[:, None] + rank, 0)]
        self.n_gathered = self._covering.size  # elements of one sample on the way down, before their mean
        # If three or more windows cover an element, a convolution is faster than a copy of the windows (`make bench`).
        self.overlapping = windows.size >= 3 * elements.size
        uncovered = int(np.sum(self.coverage == 0))
        if uncovered:
            warnings.warn(f"{self} leaves {uncovered} of {elements.size} input elements uncovered", stacklevel=2)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """Return (N, H', W', C·f_Y·f_X)."""
        return (input_shape[0], *self.positions(input_shape), input_shape[3] * self.size[0] * self.size[1])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the content of the windows, (N, H', W', C')."""
        if self.output_plane == (1, 1):
            return tf.reshape(inputs, (-1, 1, 1, math.prod(self.input_dims)))
        return tf.image.extract_patches(
            inputs, [1, *self.size, 1], [1, *self.strides, 1], rates=[1, 1, 1, 1], padding="VALID"
        )

    def down(self, control: tf.Tensor) -> tf.Tensor:
        """Return the mean over all window entries that cover an element: (N, H', W', C') to (N, H, W, C)."""
        _check_control(control, self)
        entries = tf.reshape(control, (-1, math.prod(self.output_plane) * control.shape[-1]))
        weights = self._covered / np.maximum(self.coverage, 1)[:, None]
        mean = tf.einsum("nem,em->ne", tf.gather(entries, self._covering, axis=1), tf.cast(weights, control.dtype))
        return tf.reshape(mean, (-1, *self.input_dims))


@keras.saving.register_keras_serializable("dcgmm")
class MaxPooling(Window):
    """Max-pooling P(k_Y, k_X, Δ_Y, Δ_X) of Sec. II-A2; sampling is nearest-neighbour up-sampling.

    Args:
        size: kernel size in positions, an integer or (k_Y, k_X).
        strides: steps in positions, an integer or (Δ_Y, Δ_X). Default: the kernel size.

    Raises:
        ValueError: if a size is no positive integer, or, in `build`, if the kernel is larger than its input.

    Example:
        >>> MaxPooling(2)(tf.reshape(tf.range(16.0), (1, 4, 4, 1))).numpy().squeeze().tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """

    letter = "P"

    def __init__(self, size: int | Sequence[int], strides: int | Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(size, size if strides is None else strides, **kwargs)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """Return (N, H', W', C); positions that do not fill a whole kernel do not count, as in Keras."""
        return (input_shape[0], *self.positions(input_shape), input_shape[3])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the maximum of each window, (N, H', W', C)."""
        return tf.nn.max_pool2d(inputs, self.size, self.strides, padding="VALID")

    def down(self, control: tf.Tensor) -> tf.Tensor:
        """Repeat each position up to the exact size of the input: (N, H', W', C) to (N, H, W, C)."""
        _check_control(control, self, floats=False)
        for axis in (0, 1):
            source = np.arange(self.input_dims[axis]) // self.strides[axis]
            control = tf.gather(control, np.minimum(source, self.output_plane[axis] - 1), axis=axis + 1)
        return control


def _precision(name, value, highest=MAX_RANGE):
    """Return a precision: at least the smallest one that `ScaleRange` lets stand, 1e-6, and at most `highest`."""
    return arguments.number(name, value, at_least=MIN_SCALE**2, at_most=highest)


@keras.saving.register_keras_serializable("dcgmm")
class ScaleRange(keras.constraints.Constraint):
    """A constraint that clips the scales s to [1e-3, √D_max]; their squares are the precisions.

    Args:
        max_precision: D_max, at least 1e-6 and finite. Default 20.

    Raises:
        ValueError: if D_max is outside its range.

    Example:
        >>> ScaleRange(max_precision=4)(tf.constant([0.5, 9.0])).numpy().tolist()
        [0.5, 2.0]
    """

    def __init__(self, max_precision: float = MAX_PRECISION) -> None:
        self.max_precision = _precision("max_precision", max_precision)

    def __call__(self, scales: tf.Tensor) -> tf.Tensor:
        """Return the scales clipped to the range."""
        return keras.ops.clip(scales, MIN_SCALE, math.sqrt(self.max_precision))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"max_precision": self.max_precision}


@keras.saving.register_keras_serializable("dcgmm")
class GMM(keras.layers.Layer):
    r"""A mixture of K Gaussians with diagonal covariances: G(K) of Sec. II-A3.

    All positions share one mixture, as in the paper. With `shared=False`, each position has a mixture of its own, as in
    the authors' later experiments; the parameters then have two more dimensions (h, w, ...) in front.

    With D = C input features, the parameters are the centroids μ (K, D), the scales s (K, D) with the precision
    matrices Σ_k⁻¹ = diag(s_k²), and the raw weights ξ (K,) with the mixing weights π = softmax(ξ). The log scores

        l_k(x) = log π_k + Σ_d log s_kd − ½ Σ_d s_kd² (x_d − μ_kd)²

    give the responsibilities softmax_k(l_k), which are the output (Eq. 4, with the π_k that the paper omits), and the
    log-likelihood logsumexp_k(l_k) − D/2·log 2π (Eq. 3).

    Args:
        n_components: K, ≥ 1.
        max_precision: D_max, from 1e-6 to 1e15, the upper bound of the precisions s². Standard deviations are at least
            1/√D_max, so a larger one allows narrower components; it also makes likelihoods and gradients larger.
            Default 20.
        centroid_range: r, from 0 to 1e15: the centroids start from U[−r, r]; a larger r spreads them more. Default
            0.01.
        start_precision: the start of all precisions, in [1e-6, D_max]. Default None: D_max, because one component won
            everything with the paper's Σ = 1 (see results/ERRATA.md).
        seed: an integer from 0 to 2³² − 1 for the start of the centroids. Default None: random, except in a `DCGMM`,
            which sets it.
        shared: whether all positions share one mixture. Default True. If False, the input must have the size that the
            layer was built for; in a `DCGMM`, each mixture learns as if it were alone, but all share one annealing.

    Raises:
        ValueError: if an argument is of the wrong type or outside its range, or, in `build`, if the parameters need
            more memory than the machine has.

    Source: A. Gepperth, B. Pfülb, Gradient-based training of Gaussian Mixture Models for high-dimensional streaming
    data, Neural Processing Letters 53, 2021.

    Example:
        >>> gmm, x = GMM(25), tf.zeros((3, 11, 11, 64))
        >>> gmm(x).shape, gmm.log_likelihood(gmm.log_scores(x)).shape
        (TensorShape([3, 11, 11, 25]), TensorShape([3, 11, 11]))
        >>> gmm.down(tf.ones((3, 11, 11, 25)), seed=[0, 1]).shape
        TensorShape([3, 11, 11, 64])
        >>> own = GMM(25, shared=False)
        >>> own(x).shape, own.means.shape
        (TensorShape([3, 11, 11, 25]), (11, 11, 25, 64))
    """

    letter = "G"

    def __init__(
        self,
        n_components: int,
        max_precision: float = MAX_PRECISION,
        centroid_range: float = 0.01,
        start_precision: float | None = None,
        seed: int | None = None,
        shared: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**in_float32(kwargs, type(self).__name__))
        of = f"of {self.name}"
        self.n_components = arguments.positive_integer(f"n_components {of}", n_components)
        self.max_precision = _precision(f"max_precision {of}", max_precision)
        self.centroid_range = arguments.number(f"centroid_range {of}", centroid_range, at_least=0, at_most=MAX_RANGE)
        self.start_precision = (
            None
            if start_precision is None
            else _precision(f"start_precision {of}, at most its max_precision,", start_precision, self.max_precision)
        )
        self.seed = arguments.seed(f"seed {of}", seed)
        self.shared = arguments.truth(f"shared {of}", shared)

    def build(self, input_shape: Sequence[Any]) -> None:
        """Create μ, s and ξ for the D channels of the input."""
        self.input_dims = _check_rank(input_shape, self.name)
        self._check_memory()
        fixed = [-1] if self.shared else [1, 2, -1]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={axis: input_shape[axis] for axis in fixed})
        self.output_plane = tuple(input_shape[1:3])
        self.n_features = input_shape[-1]
        # One mixture, or a plane of them.
        mixtures = () if self.shared else self.output_plane
        shape = (*mixtures, self.n_components, self.n_features)
        r = self.centroid_range
        self.mu = self.add_weight(
            name="mu", shape=shape, initializer=keras.initializers.RandomUniform(-r, r, seed=self.seed)
        )
        self.s = self.add_weight(
            name="s",
            shape=shape,
            initializer=keras.initializers.Constant(
                math.sqrt(self.max_precision if self.start_precision is None else self.start_precision)
            ),
            constraint=ScaleRange(self.max_precision),
        )
        self.xi = self.add_weight(name="xi", shape=(*mixtures, self.n_components), initializer="zeros")

    def _check_memory(self):
        *plane, features = self.input_dims
        n = (1 if self.shared else math.prod(plane)) * self.n_components * (2 * features + 1)
        what = f"a mixture on {features} features with {n:,} parameters"
        arguments.memory(f"n_components of {self.name} = {self.n_components:,}", what, 4 * n)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """Return (N, H, W, K)."""
        return (*input_shape[:-1], self.n_components)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ["n_components", "max_precision", "centroid_range", "seed"]
        # Arguments that came later are left out at their default, so that files from before them stay equal.
        names += ["start_precision"] if self.start_precision is not None else []
        names += [] if self.shared else ["shared"]
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own}

    @property
    def description(self) -> str:
        """The size in words, for a model's summary."""
        own = "" if self.shared else " at each position"
        return f"{self.n_components} components{own}, {self.n_features} features"

    @property
    def n_mixtures(self) -> int:
        """The number of mixtures: one, or one for each position."""
        return 1 if self.shared else math.prod(self.output_plane)

    @property
    def means(self) -> np.ndarray:
        """The centroids μ, an array (K, D), or (h, w, K, D) if they are not shared."""
        return self.mu.numpy()

    @property
    def precisions(self) -> np.ndarray:
        """The diagonals s² of the precision matrices, an array of the same shape as `means`."""
        return self.s.numpy() ** 2

    @property
    def mixing_weights(self) -> np.ndarray:
        """The weights π = softmax(ξ), an array (K,), or (h, w, K) if they are not shared; they sum to 1 over K."""
        return tf.nn.softmax(self.xi.value).numpy()

    def log_scores(
        self, inputs: tf.Tensor, folding: Folding | None = None, missing: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return l_k of every position, without the constant −D/2·log 2π, a tensor (N, H', W', K).

        The expanded square, l_k = Σ_d (μ s²)_kd x_d − ½ Σ_d s²_kd x_d² + const_k, needs only two matrix products. If
        the windows of a folding overlap, it needs one convolution, and no copy of the windows.

        Where features are missing, l_k is the marginal of the seen ones: the sum runs over the seen d alone. Then
        `log_likelihood` is the marginal log-likelihood: each missing feature takes its −½·log 2π with it.

        Args:
            inputs: the input of this layer (N, H, W, D), or the input of `folding` (N, H, W, C) if it is given.
            folding: the `Folding` between `inputs` and this layer. Default None.
            missing: 1 where an element of `inputs` is missing, else 0, of the same shape; `inputs` must be 0 there.
                Default None: none is missing.
        """
        scores = self._complete_log_scores(inputs, folding)
        if missing is None:
            return scores
        return scores - tf.cond(
            tf.reduce_any(missing > 0),
            lambda: self._scores_of_missing(missing, folding),
            lambda: tf.zeros_like(scores),
        )

    def _scores_of_missing(self, missing, folding):
        """Return what missing features, set to 0, contribute to the log scores, and to the constant in front."""
        contribution = tf.math.log(self.s) - 0.5 * tf.square(self.s * self.mu) - 0.5 * math.log(2 * math.pi)
        if folding is not None:
            missing = folding(missing)
        subscripts = "nhwd,kd->nhwk" if self.shared else "nhwd,hwkd->nhwk"
        return tf.einsum(subscripts, missing, contribution)

    def _complete_log_scores(self, inputs, folding):
        precision = tf.square(self.s)
        if folding is not None and folding.overlapping and self.shared:
            linear, quadratic = precision * self.mu, -0.5 * precision
            kernels = [
                tf.reshape(tf.transpose(w), (*folding.size, inputs.shape[-1], self.n_components))
                for w in (linear, quadratic)
            ]
            features = tf.concat([inputs, tf.square(inputs)], -1)
            scores = tf.nn.conv2d(features, tf.concat(kernels, 2), folding.strides, "VALID")
            return scores + self._constant(quadratic, self.mu)
        if folding is not None:
            inputs = folding(inputs)
        # Distances from the mean centroid are smaller than the features, so the sums in float32 lose fewer digits.
        centre = tf.stop_gradient(tf.reduce_mean(self.mu, -2))
        x, mu = inputs - centre, self.mu - tf.expand_dims(centre, -2)
        linear, quadratic = precision * mu, -0.5 * precision
        constant = self._constant(quadratic, mu)
        if not self.shared:
            products = [tf.einsum("nhwd,hwkd->nhwk", f, w) for f, w in ((x, linear), (tf.square(x), quadratic))]
            return tf.add_n(products) + constant
        rows = tf.reshape(x, (-1, self.n_features))
        scores = tf.matmul(rows, linear, transpose_b=True) + tf.matmul(tf.square(rows), quadratic, transpose_b=True)
        return tf.reshape(scores + constant, (-1, *inputs.shape[1:3], self.n_components))

    def _constant(self, quadratic, mu):
        """Return what the log scores have beside the terms of x, for the centroids from the origin in use."""
        return tf.nn.log_softmax(self.xi) + tf.reduce_sum(tf.math.log(self.s) + quadratic * tf.square(mu), -1)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the responsibilities (N, H, W, K) of Eq. 4, which sum to 1 over k."""
        return tf.nn.softmax(self.log_scores(inputs))

    def log_likelihood(self, scores: tf.Tensor) -> tf.Tensor:
        """Return the log-likelihood (N, H, W) of Eq. 3 in nats, from log scores (N, H, W, K)."""
        return tf.reduce_logsumexp(scores, -1) + self.log_normaliser

    @property
    def log_normaliser(self) -> float:
        """The constant −D/2·log 2π, in nats."""
        return -0.5 * self.n_features * math.log(2 * math.pi)

    def down(
        self,
        control: tf.Tensor,
        seed: Any,
        top_s: int | None = None,
        noise: float = 1.0,
        merge_prior: bool = False,
        noise_at_bound: bool = False,
    ) -> tf.Tensor:
        """Return a sample (N, H, W, D): draw a component at every position, then values from it (Sec. II-A3).

        A precision at its upper bound D_max was set by the bound and not by the data, so noise there would show the
        bound. As in the authors' code, such a feature gets no noise, and the sample has the centroid's value there.

        Args:
            control: component weights (N, H, W, K). Negative weights count as 0; where all are 0, π replaces them.
            seed: two integers, as for TensorFlow's stateless random operations.
            top_s: S, ≥ 1: draw from the S largest weights only; more than K count as K. Default None: from all.
            noise: factor on the drawn noise, ≥ 0; 0 gives the centroids. Default 1.
            merge_prior: whether the control signal is multiplied by π (Sec. V). Default False.
            noise_at_bound: whether features whose precision is at its bound get noise, too. Default False. True gives
                the mixture's own distribution.

        Raises:
            ValueError: if an argument is of the wrong type or shape, or outside its range.
        """
        _check_control(control, self)
        of = f"of {self.name}"
        if tf.convert_to_tensor(seed).shape != (2,) or not tf.convert_to_tensor(seed).dtype.is_integer:
            raise arguments.refusal(f"seed {of}", "two integers", seed)
        top_s = None if top_s is None else arguments.positive_integer(f"top_s {of}", top_s)
        noise = arguments.number(f"noise {of}", noise, at_least=0, at_most=MAX_RANGE)
        merge_prior = arguments.truth(f"merge_prior {of}", merge_prior)
        noise_at_bound = arguments.truth(f"noise_at_bound {of}", noise_at_bound)
        prior = tf.nn.softmax(self.xi)
        weights = tf.nn.relu(control)
        has_weight = tf.reduce_sum(weights, -1, keepdims=True) > 0
        weights = tf.where(has_weight, weights * prior if merge_prior else weights, prior)
        top_s = self.n_components if top_s is None else min(top_s, self.n_components)
        values, components = tf.math.top_k(tf.reshape(weights, (-1, self.n_components)), top_s)
        component_seed, noise_seed = tf.unstack(tf.random.split(seed, 2))
        # Not stateless_categorical: its draws depend on the number of threads.
        cumulative = tf.cumsum(tf.cast(values, tf.float64), axis=1)
        uniform = tf.random.stateless_uniform((tf.shape(values)[0], 1), component_seed, dtype=tf.float64)
        drawn = tf.reduce_sum(tf.cast(cumulative <= uniform * cumulative[:, -1:], tf.int32), axis=1, keepdims=True)
        drawn = tf.reshape(tf.gather(components, drawn, batch_dims=1), tf.shape(control)[:-1])
        samples = self._of_components(self.mu.value, drawn)
        if noise:
            learned = self.s.value < tf.constant(math.sqrt(self.max_precision), self.s.dtype)
            widths = tf.where(learned | noise_at_bound, 1 / self.s.value, 0)
            normal = tf.random.stateless_normal(tf.shape(samples), noise_seed)
            samples += noise * normal * self._of_components(widths, drawn)
        return samples

    def _of_components(self, parameter, drawn):
        """Return the rows (N, H, W, D) of a parameter that belong to the drawn components (N, H, W)."""
        if self.shared:
            return tf.gather(parameter, drawn)
        by_position = tf.gather(parameter, tf.transpose(drawn, (1, 2, 0)), batch_dims=2)
        return tf.transpose(by_position, (2, 0, 1, 3))


@keras.saving.register_keras_serializable("dcgmm")
class LinearClassifier(keras.layers.Layer):
    """A linear classifier on the flattened activities below: C(classes) of Sec. II-A4, trained by cross-entropy.

    Estimation gives logits Â·W + b. Sampling inverts this approximately, in one of two readings of Sec. II-A4:

    - `"one-hot"`: T = T̂·Wᵀ for one-hot classes T̂, shifted at each position so that its minimum is 0. (The paper
      subtracts b. Since responsibilities sum to 1, W and b are fixed only up to a shift between them; see
      results/ERRATA.md.)
    - `"log-probabilities"`, as in the authors' code: T = (L − b)·Wᵀ with target log-probabilities L (N, classes),
      log 0.95 for the class and log(0.05 / (classes − 1)) for the others; T is shifted so that its minimum over the
      whole sample is 0. T changes with the shift between W and b, which training leaves open.

    T̂ or L is (N, classes); T is reshaped to the layer below, (N, h, w, K). On MNIST and FashionMNIST, both give the
    same samples with S = 1 and differ little with S = 5. If S is all components, the first one gives more samples of
    the right class (notebook 08-conditional), so it is the default.

    Args:
        n_classes: the number of classes, an integer ≥ 2.
        inverse: how `down` reads the paper, `"one-hot"` or `"log-probabilities"`. Default `"one-hot"`.

    Raises:
        ValueError: if `n_classes` is no integer of at least two, or the inverse is unknown, or, in `build`, if the
            weights need more memory than the machine has.

    Example:
        >>> classifier = LinearClassifier(10)
        >>> classifier(tf.zeros((3, 1, 1, 36))).shape, classifier.down(tf.one_hot([7], 10)).shape
        (TensorShape([3, 10]), TensorShape([1, 1, 1, 36]))
    """

    letter = "C"

    def __init__(self, n_classes: int, inverse: str = "one-hot", **kwargs: Any) -> None:
        super().__init__(**in_float32(kwargs, type(self).__name__))
        self.n_classes = arguments.integer(f"n_classes of {self.name}", n_classes, at_least=2)
        self.inverse = inverse

    @property
    def inverse(self) -> str:
        """How `down` reads the paper. You may change it after training."""
        return self._inverse

    @inverse.setter
    def inverse(self, value: str) -> None:
        self._inverse = arguments.one_of(f"inverse of {self.name}", value, INVERSES)

    def build(self, input_shape: Sequence[Any]) -> None:
        """Create W and b. They start at zero, because the problem is convex."""
        self.input_dims = _check_rank(input_shape, self.name)
        n = (math.prod(self.input_dims) + 1) * self.n_classes
        arguments.memory(f"n_classes of {self.name} = {self.n_classes:,}", f"a classifier with {n:,} weights", 4 * n)
        self.input_spec = keras.layers.InputSpec(shape=(None, *self.input_dims))
        self.kernel = self.add_weight(
            name="kernel", shape=(math.prod(self.input_dims), self.n_classes), initializer="zeros"
        )
        self.bias = self.add_weight(name="bias", shape=(self.n_classes,), initializer="zeros")

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """Return (N, classes)."""
        return (input_shape[0], self.n_classes)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {} if self.inverse == INVERSES[0] else {"inverse": self.inverse}
        return {**super().get_config(), "n_classes": self.n_classes, **own}

    @property
    def description(self) -> str:
        """The size in words, for a model's summary."""
        return f"{self.n_classes} classes"

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the logits (N, classes) of activities (N, h, w, K)."""
        return tf.matmul(tf.reshape(inputs, (-1, self.kernel.shape[0])), self.kernel) + self.bias

    def down(self, one_hot: tf.Tensor) -> tf.Tensor:
        """Return the control signal (N, h, w, K) of one-hot classes (N, classes)."""
        _check_control(one_hot, self)
        targets, axes = one_hot, [-1]
        if self.inverse == "log-probabilities":
            others = (1 - TARGET_PROBABILITY) / (self.n_classes - 1)
            targets = tf.math.log(others + one_hot * (TARGET_PROBABILITY - others)) - self.bias
            axes = [1, 2, 3]
        control = tf.reshape(tf.matmul(targets, self.kernel, transpose_b=True), (-1, *self.input_dims))
        return control - tf.reduce_min(control, axes, keepdims=True)
