"""The DCGMM itself: a chain of layers as a `keras.Model`, its estimation and its public methods."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from dcgmm import arguments, exact, inpainting, parallel, sampling, saving, streams
from dcgmm.annealing import ARGUMENTS, Annealing
from dcgmm.architectures import gmm_arguments, layers_from_spec, resolve, table_of_layers
from dcgmm.arguments import nearest, positive_integer, shown, truth
from dcgmm.layers import GMM, LinearClassifier, check_chain
from dcgmm.levels import pair_levels
from dcgmm.missing import seen_and_missing
from dcgmm.outliers import Moments, OutlierDetection
from dcgmm.sharpening import Sharpening
from dcgmm.training import NOT_COUNTED, TrainingLoop
from dcgmm.validation import ExpectedInput, check_count, max_magnitude

# Below this number of products for an image, cutting a batch costs more time than it saves.
MIN_PRODUCTS = 30_000
# A larger factor on a gradient is not finite in float32 after a few products.
MAX_RATE = 1e15


def _annealing_arguments(annealing):
    """Return the arguments of every layer's `Annealing`; each `Annealing` checks their values."""
    if annealing is None:
        return {}
    if isinstance(annealing, Mapping) and "n_components" in annealing:
        raise ValueError(
            f"annealing has the key 'n_components' = {arguments.shown(annealing['n_components'])}, but K is an "
            "argument of each GMM layer"
        )
    return {
        name: value if value is None and name == "sigma_start" else arguments.number(f"{name} of the annealing", value)
        for name, value in arguments.known_keys("annealing", annealing, ARGUMENTS).items()
    }


def _three_rates(rates):
    factors = arguments.items(rates) or ()
    try:
        checked = tuple(arguments.number("rates", rate, at_least=0, at_most=MAX_RATE) for rate in factors)
    except ValueError:
        checked = ()
    if len(checked) != 3:
        expected = f"three factors from 0 to {MAX_RATE:g}, for centroids, scales and raw weights"
        raise arguments.refusal("rates", expected, rates)
    return checked


@keras.saving.register_keras_serializable("dcgmm")
class DCGMM(OutlierDetection, TrainingLoop):
    r"""A Deep Convolutional Gaussian Mixture Model.

    Each GMM layer L maximises its own log-likelihood (Eq. 5), in the max-component approximation and with the
    annealing of [7]; no gradient crosses a layer, and all layers learn from the same mini-batches. Training takes two
    steps (Sec. II-B1): at first only the centroids adapt, then centroids and precisions.

    Args:
        layers: a list of `Folding`, `MaxPooling` and `GMM` layers, from the image upwards; the last one is a GMM, or
            a `LinearClassifier` on top of one. A layer of your own needs `call`, `down` and `compute_output_shape`.
        input_shape: (H, W, C) of one image, in pixels and channels.
        seed: an integer from 0 to 2³² − 1 for the start of the centroids and the order of the batches. None: a fresh
            one. Default 0.
        annealing: the arguments of `Annealing` other than K, as a dict. Default: those of [7].
        centroid_phase: the share of the epochs in which only centroids adapt, in [0, 1]. Default 0.4.
        rates: the factors on the gradients of centroids, scales and raw weights, each ≥ 0 and at most 1e15; with an
            optimizer that normalises gradients, such as Adam, only 0 or not 0 counts. Default (1, 0.5, 0): adapting
            weights collapse deep top layers onto few components.
        final_rate: the factor, in (0, 1], to which a GMM layer's learning rate falls together with its annealing
            radius: the rate is multiplied by max(σ/σ₀, final_rate). It acts on gradients, as `rates` do, so it has no
            effect with Adam. Default 1: the rate is constant.
        start_delay: the share of the epochs, in [0, 1), by which each GMM layer starts to learn later than the one
            below it. `centroid_phase` counts from the start of the training for all layers. Default 0: all layers
            learn from the start.

    Raises:
        ValueError: if the chain does not end in a GMM, a layer lacks one of the two directions, a filter does not fit
            its input, a K is not a square, a layer was built on another input, the model needs more memory than the
            machine has, or an argument is of the wrong type or out of its range.

    Source: A. Gepperth, B. Pfülb, Image Modeling with Deep Convolutional Gaussian Mixture Models, IJCNN 2021.

    Example:
        >>> from dcgmm import Folding
        >>> model = DCGMM([Folding(8, strides=2), GMM(25), Folding(11), GMM(36)], input_shape=(28, 28, 1))
        >>> images = np.zeros((5, 28, 28, 1))
        >>> model.responsibilities(images, layer=0).shape
        (5, 11, 11, 25)
        >>> model.score_samples(images).shape
        (5,)
    """

    def __init__(
        self,
        layers: Sequence[keras.layers.Layer],
        input_shape: Sequence[int],
        seed: int | None = 0,
        annealing: Mapping[str, float] | None = None,
        centroid_phase: float = 0.4,
        rates: Sequence[float] = (1.0, 0.5, 0.0),
        final_rate: float = 1.0,
        start_delay: float = 0.0,
        name: str = "dcgmm",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        layers = check_chain(layers)
        self.classifier = layers[-1] if isinstance(layers[-1], LinearClassifier) else None
        self.image_shape = arguments.sizes("input_shape", input_shape, "(H, W, C)")
        seed = arguments.seed("seed", seed)
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.annealing_arguments: dict[str, Any] = _annealing_arguments(annealing)
        self.centroid_phase = arguments.number(
            "centroid_phase, a share of the epochs,", centroid_phase, at_least=0, at_most=1
        )
        self.rates = _three_rates(rates)
        self.final_rate = arguments.number("final_rate", final_rate, above=0, at_most=1)
        self.start_delay = arguments.number("start_delay, a share of the epochs,", start_delay, at_least=0, below=1)
        self.stack = layers
        self.gmm_layers = [layer for layer in layers if isinstance(layer, GMM)]
        if (len(self.gmm_layers) - 1) * self.start_delay >= 1:
            raise ValueError(
                f"start_delay={start_delay} leaves the top one of {len(self.gmm_layers)} GMM layers no epoch to learn"
            )
        self.annealings = [Annealing(layer.n_components, **self.annealing_arguments) for layer in self.gmm_layers]
        self._prepare_training()
        self.build((None, *self.image_shape))

    @classmethod
    def from_spec(
        cls,
        spec: str,
        input_shape: Sequence[int] = (28, 28, 1),
        gmm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Build a model from a specification such as `"F(8,8,2,2) G(25) F(11,11,1,1) G(36)"` or a Table I name.

        Args:
            spec: the specification, a name, or a name with more layers on top, as in `"2L-c C(10)"`.
            input_shape: (H, W, C) of one image. Default (28, 28, 1).
            gmm: arguments of every `GMM` other than K, such as `{"max_precision": 20}`, as a dict; also Keras' `dtype`
                and `trainable`. Default None.
            **kwargs: the other arguments of `DCGMM`.

        Raises:
            TypeError: if `DCGMM` has no such argument.
            ValueError: if the name is unknown, a part of the specification cannot be read, or an argument does not fit.

        Example:
            >>> [layer.name for layer in DCGMM.from_spec("2L-c C(10)").stack]
            ['F1', 'G2', 'F3', 'G4', 'C5']
        """
        return cls(layers_from_spec(resolve(spec), **gmm_arguments(gmm)), input_shape, **kwargs)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build each layer on its predecessor's output; every component's start follows from the model's seed."""
        if self.built:
            return
        seeds = np.random.SeedSequence(self.seed).generate_state(len(self.gmm_layers))
        for layer, seed in zip(self.gmm_layers, seeds, strict=True):
            layer.seed = int(seed) if layer.seed is None else layer.seed
        for layer in self.stack:
            if not layer.built:  # a layer from a file is already built
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
        self.levels = pair_levels(self.stack)
        self.descent = sampling.Descent(self.levels)
        n_classes = self.classifier.n_classes if self.classifier else None
        self.expected = ExpectedInput(self.image_shape, max_magnitude(self.gmm_layers), n_classes)
        self.input_spec = keras.layers.InputSpec(shape=(None, *self.image_shape))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        # Arguments that came later are left out at their default, so that files from before them stay equal.
        later = {"final_rate": 1.0, "start_delay": 0.0}
        return {
            "layers": [keras.saving.serialize_keras_object(layer) for layer in self.stack],
            "input_shape": self.image_shape,
            "seed": self.seed,
            "annealing": self.annealing_arguments,
            "centroid_phase": self.centroid_phase,
            "rates": self.rates,
            "name": self.name,
            **{name: getattr(self, name) for name, default in later.items() if getattr(self, name) != default},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a model from `get_config`'s result."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})

    def climb(self, x: tf.Tensor, complete: bool = False) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return each GMM layer's log scores (N, h, w, K), from the lowest, and the top layer's output, for images x.

        Where pixels are missing (NaN), the lowest scores are those of the seen pixels. With `complete`, no pixel may be
        missing, which saves the time of looking. The output is the classifier's logits, or without a classifier the top
        responsibilities. Gradients stop between the layers: for each layer, its input counts as data.

        Example:
            >>> scores, output = DCGMM.from_spec("2L-c").climb(tf.zeros((3, 28, 28, 1)))
            >>> [tuple(s.shape) for s in scores], tuple(output.shape)
            ([(3, 11, 11, 25), (3, 1, 1, 36)], (3, 1, 1, 36))
        """
        scores = []
        x, missing = (x, None) if complete else seen_and_missing(x)
        for level in self.levels:
            scores.append(level.log_scores(x, missing))
            missing = None  # responsibilities have no gaps
            x = tf.nn.softmax(tf.stop_gradient(scores[-1]))
        return scores, x if self.classifier is None else self.classifier(x)

    def likelihoods_and_output(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return each GMM layer's log-likelihood (N, h, w), from the lowest, in nats, and the top layer's output."""
        scores, output = self.climb(x)
        return [*(g.log_likelihood(s) for g, s in zip(self.gmm_layers, scores, strict=True)), output]

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
        """Return `call`'s result for images, which are checked as in `predict`, or for a tensor in a graph."""
        symbolic = isinstance(x, keras.KerasTensor) or not tf.executing_eagerly()
        return super().__call__(x if symbolic else self.expected.images(x), *args, **kwargs)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return the top layer's output: responsibilities (N, h, w, K), or a classifier's logits (N, classes)."""
        return self._side_by_side(lambda part: [self.climb(part)[1]], tf.cast(x, tf.float32))[0]

    def log_likelihood(self, x: Any, layer: int | None = None, batch_size: int | None = None) -> np.ndarray:
        """Return log p of each position of a GMM layer's input (Eq. 3), in nats.

        Where pixels are missing, it is the log of the marginal density of the seen ones: exact in the lowest layer,
        where it compares only images with as many seen pixels at a position. The layers above see complete
        responsibilities, so their values compare all images.

        Args:
            x: images (N, H, W, C), or batches of them, as in `fit`. NaN: a pixel that was not observed.
            layer: which GMM layer, 0 the lowest. Default: the top one. Above the lowest layer the density is one
                over responsibilities, not over images.
            batch_size: images at a time; of batches it must be their size. Default 500.

        Returns:
            An array (N, h, w).

        Raises:
            ValueError: if there is no such layer, or the images do not fit.

        Example:
            >>> DCGMM.from_spec("2L-c").log_likelihood(np.zeros((3, 28, 28, 1)), layer=0).shape
            (3, 11, 11)
        """
        index = self._gmm_index(layer)
        return self.log_likelihoods(x, batch_size)[index]

    def log_likelihoods(self, x: Any, batch_size: int | None = None) -> list[np.ndarray]:
        """Return `log_likelihood` of every GMM layer, from the lowest, a list of arrays (N, h, w), in one pass.

        Example:
            >>> [values.shape for values in DCGMM.from_spec("2L-c").log_likelihoods(np.zeros((3, 28, 28, 1)))]
            [(3, 11, 11), (3, 1, 1)]
        """
        return self._in_batches(self._likelihoods, x, batch_size)

    def score_samples(self, x: Any, batch_size: int | None = None) -> np.ndarray:
        """Return the mean log-likelihood of the top layer's positions, an array (N,), in nats.

        Example:
            >>> DCGMM.from_spec("2L-c").score_samples(np.zeros((3, 28, 28, 1))).shape
            (3,)
        """
        return self.log_likelihood(x, batch_size=batch_size).mean(axis=(1, 2))

    def exact_log_likelihood(self, x: Any, batch_size: int | None = None) -> np.ndarray:
        """Return log p of whole images, in nats: of what `sample` draws without noise above the lowest layer.

        It is exact for chains without overlapping windows, such as 1L, 2L-b, 2L-d and 3L-b, and it is a density over
        images for all of them. So it compares flat and deep models of equal `max_precision`. The distribution is that
        of `sample(n, noise=[1, 0, ...], noise_at_bound=True)`, with all components; see `dcgmm.exact` for the formula,
        and `exact.bits_per_pixel` for bits. A NaN pixel is integrated out.

        Args:
            x: images (N, H, W, C), or batches of them, as in `fit`. NaN: a pixel that was not observed.
            batch_size: images at a time; of batches it must be their size. Default: 500, or fewer where the tree of
                components is large.

        Returns:
            An array (N,).

        Raises:
            ValueError: if windows overlap or leave pixels out, or the images do not fit.

        Example:
            >>> from dcgmm import load_pretrained, load_dataset
            >>> images = load_dataset("mnist")[2][:100]
            >>> flat, deep = (load_pretrained(name, "mnist").exact_log_likelihood(images) for name in ("1L", "2L-b"))
            >>> bool(deep.mean() > flat.mean())
            True
        """
        tree = exact.Tree(self.levels)
        batch_size = tree.batch_size if batch_size is None and not streams.is_stream(x) else batch_size
        return self._in_batches(lambda images: [tree.log_likelihood(images)], x, batch_size)[0]

    def exact_expectation(self, x: Any) -> np.ndarray:
        """Return images with each missing pixel replaced by its mean, given the other pixels.

        The mean is of the distribution of `exact_log_likelihood`, so it is the reference for `inpaint` where windows do
        not overlap: no other completion from the same pixels has a smaller expected squared error (Eq. 7).

        Args:
            x: images (N, H, W, C). NaN: a missing pixel.

        Returns:
            An array (N, H, W, C).

        Raises:
            ValueError: as in `exact_log_likelihood`.

        Example:
            >>> from dcgmm import load_pretrained, load_dataset
            >>> image = load_dataset("mnist")[2][:1]
            >>> image[:, 10:18, 10:18] = np.nan
            >>> bool(np.isfinite(load_pretrained("2L-b", "mnist").exact_expectation(image)).all())
            True
        """
        tree = exact.Tree(self.levels)
        return self._in_batches(lambda images: [tree.expected(images)], x, tree.batch_size)[0]

    def responsibilities(self, x: Any, layer: int | None = None, batch_size: int | None = None) -> np.ndarray:
        """Return the responsibilities (Eq. 4) of a GMM layer (default: the top one), an array (N, h, w, K).

        Example:
            >>> gamma = DCGMM.from_spec("2L-c").responsibilities(np.zeros((3, 28, 28, 1)), layer=0)
            >>> gamma.shape, bool(np.allclose(gamma.sum(axis=-1), 1))
            ((3, 11, 11, 25), True)
        """
        index = self._gmm_index(layer)
        return self._in_batches(lambda batch: [self._all_responsibilities(batch)[index]], x, batch_size)[0]

    def all_responsibilities(self, x: Any, batch_size: int | None = None) -> list[np.ndarray]:
        """Return `responsibilities` of every GMM layer, from the lowest, a list of arrays (N, h, w, K), in one pass.

        Example:
            >>> [gamma.shape for gamma in DCGMM.from_spec("2L-c").all_responsibilities(np.zeros((3, 28, 28, 1)))]
            [(3, 11, 11, 25), (3, 1, 1, 36)]
        """
        return self._in_batches(self._all_responsibilities, x, batch_size)

    def predict_clusters(self, x: Any, batch_size: int | None = None) -> np.ndarray:
        """Return the most responsible component of the top layer, an array (N,) of integers.

        Where the top layer has several positions, their mean responsibility decides.

        Example:
            >>> DCGMM.from_spec("2L-c").predict_clusters(np.zeros((3, 28, 28, 1))).shape
            (3,)
        """
        return self.responsibilities(x, batch_size=batch_size).mean(axis=(1, 2)).argmax(axis=-1)

    def count_weights(self, x: Any, batch_size: int | None = None) -> None:
        r"""Set π of the top GMM layer to its mean responsibility over images x: one M-step of EM.

        π_k = 1/(N·h·w) Σ γ_k, over images and positions; over images only, if the mixtures are not shared.

        By default, π stays at 1/K during training, so `sample` draws every top component equally often, also those that
        hardly any image uses. After this call it draws each as often as images use it, and the top layer's
        log-likelihood of these images is not lower. The layers below keep their π, because the layers above have
        learned from responsibilities with it. The statistics for `inliers` are gathered again. A later `fit` goes on
        from these weights. `fit` does not do this by default: the authors' sampler draws uniformly, too, scores hardly
        change, and a classifier has learned with the weights as they are (notebook 13-deviations).

        Args:
            x: images (N, H, W, C), usually the training images, or batches of them that can be read twice, as in `fit`.
            batch_size: images at a time; of batches it must be their size. Default 500.

        Raises:
            ValueError: if the images do not fit or have no end, or a LinearClassifier has learned from the present
                weights.

        Example:
            >>> from dcgmm import load_pretrained, load_dataset
            >>> model, images = load_pretrained("2L-d", "mnist"), load_dataset("mnist")[2]
            >>> model.count_weights(images)
            >>> bool(model.gmm_layers[-1].mixing_weights.max() > 2 / 36)
            True
        """
        if self.classifier is not None:
            raise ValueError(NOT_COUNTED)
        batches = self.expected.image_batches(x, batch_size)
        self.count_weights_of(batches)
        self.gather_moments(batches)

    def count_weights_of(self, batches: Iterable[tuple[tf.Tensor, ...]]) -> None:
        """Set π of the top GMM layer by checked batches; each batch is a tuple with the images first."""
        top = self.gmm_layers[-1]
        axes = (0, 1, 2) if top.shared else 0
        by_batch = [np.sum(self._all_responsibilities(x)[-1], axes, "float64") for x, *_ in batches]
        if not by_batch:
            warnings.warn("the data set gave no images to count weights with; call count_weights(x)", stacklevel=2)
            return
        total = np.sum(by_batch, axis=0)
        # A component that wins nothing would have log π = −∞.
        share = np.maximum(total / np.sum(total, axis=-1, keepdims=True), np.finfo("float32").tiny)
        top.xi.assign(np.log(share))

    @tf.function(autograph=False, reduce_retracing=True)
    def _likelihoods(self, x):
        return self._side_by_side(self.likelihoods_and_output, x)[:-1]

    @tf.function(autograph=False, reduce_retracing=True)
    def _all_responsibilities(self, x):
        return self._side_by_side(lambda part: [tf.nn.softmax(scores) for scores in self.climb(part)[0]], x)

    def _side_by_side(self, function, x):
        return parallel.side_by_side(function, x, self.n_parts)

    @property
    def n_parts(self) -> int:
        """The number of parts into which a batch is cut: one if there is little to do, or several devices share it."""
        products = sum(math.prod(g.output_plane) * g.n_features * g.n_components for g in self.gmm_layers)
        return parallel.n_parts() if products >= MIN_PRODUCTS and self._n_devices == 1 else 1

    def _gmm_index(self, layer):
        top = len(self.gmm_layers) - 1
        if layer is None:
            return top
        if not isinstance(layer, int | np.integer) or isinstance(layer, bool) or not 0 <= layer <= top:
            raise ValueError(f"layer must be between 0 and {top}, received {shown(layer)}")
        return int(layer)

    def _in_batches(self, function, x, batch_size):
        """Return a list of arrays for images x, from a function that returns such a list of tensors for a batch.

        A stream of batches is read batch by batch, so that its images need not fit into memory.
        """
        if streams.is_stream(x):
            batches = (images for (images,) in self.expected.image_batches(x, batch_size))
        else:
            batch_size = 500 if batch_size is None else positive_integer("batch_size", batch_size)
            x = self.expected.images(x)
            batches = (x[i : i + batch_size] for i in range(0, len(x), batch_size))
        results = [[part.numpy() for part in function(images)] for images in batches]
        if not results:
            raise ValueError("x: expected batches of images, received an empty data set")
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def sample(
        self,
        n: int,
        labels: Any = None,
        top_s: int | Sequence[int | None] | None = None,
        noise: float | Sequence[float] = 1.0,
        noise_at_bound: bool = False,
        sharpening: Sharpening | Mapping[str, Sharpening] | None = None,
        seed: int | None = None,
        merge_prior: bool = False,
        return_likelihoods: bool = False,
    ) -> Any:
        """Draw images from the top layer downwards (Sec. II-B3), of given classes where there is a classifier (II-B4).

        Args:
            n: the number of images.
            labels: a class for all samples, or one for each (n,). Default None: the top GMM draws from π.
            top_s: S of top-S sampling in the GMM layers that a control signal reaches: an integer for all, or one for
                each GMM layer, from the lowest. Default: 1 with labels, else None, the full distribution.
            noise: factor on the Gaussians' drawn noise, one for all GMM layers or one for each, from the lowest. With 0
                in all layers, each component gives its centroid. Default 1.
            noise_at_bound: whether features whose precision stands at its bound D_max get noise, too. There the bound
                and not the data has set the width, so such noise shows the bound: samples become grain. Default False,
                as in the authors' code. True gives the distribution as modelled.
            sharpening: a `Sharpening` for every Folding and MaxPooling layer, or a dict of them by layer name (as in
                `summary`). Default None, off.
            seed: an integer. Default None: a fresh one each time, whatever `keras.utils.set_random_seed` has set.
            merge_prior: whether control signals are multiplied by each layer's π (Sec. V). Default False.
            return_likelihoods: whether to return also the log-likelihoods before and after sharpening. Default False.

        Returns:
            An array (n, H, W, C), not clipped to the range of the training images. With `return_likelihoods` also a
            dict of arrays (n, 2) by layer name: each sample's log-likelihood before and after, in nats.

        Raises:
            ValueError: if an argument is out of its range, or labels are given to a model without a classifier.

        Example:
            >>> from dcgmm import load_pretrained
            >>> load_pretrained("2L-c C(10)", "mnist").sample(10, labels=range(10), seed=0).shape
            (10, 28, 28, 1)
        """
        check_count(n)
        truth("return_likelihoods", return_likelihoods)
        control = sampling.top_control(self.stack, n, labels)
        if labels is not None:
            top_s = 1 if top_s is None else top_s
        elif top_s is None or isinstance(top_s, int | np.integer):
            # No control signal reaches the top GMM layer, so S has no meaning there.
            s = None if top_s is None else arguments.positive_integer("top_s", top_s)
            top_s = [s] * (len(self.gmm_layers) - 1) + [None]
        options = sampling.SamplingOptions(top_s, noise, noise_at_bound, sharpening, seed, merge_prior)
        images, likelihoods = self.descent.run(control, options)
        return (images, likelihoods) if return_likelihoods else images

    def variants(self, x: Any, n: int = 1, layer: int | None = None, **options: Any) -> np.ndarray:
        """Draw images similar to templates (Sec. II-B6): their activities take the place of a control signal (Eq. 10).

        Args:
            x: templates (N, H, W, C).
            n: variants of each. Default 1.
            layer: L̂, the GMM layer that chooses its components by the template's activities, by its index from the
                lowest, 0; the layers below it choose by control signals. 0 is closest to the template. If it is the
                number of GMM layers, there is no template: the top layer draws from π. (Eq. 10 is misprinted; see
                results/ERRATA.md.) Default: the top layer.
            **options: top_s, noise, noise_at_bound, sharpening, seed and merge_prior, as in `sample`.

        Returns:
            An array (N, n, H, W, C).

        Raises:
            ValueError: if the templates do not fit, or an argument is out of its range.
            TypeError: if there is no argument of such a name.

        Example:
            >>> from dcgmm import load_pretrained
            >>> templates = np.zeros((2, 28, 28, 1))
            >>> load_pretrained("2L-c", "mnist").variants(templates, n=3, layer=0, seed=0).shape
            (2, 3, 28, 28, 1)
        """
        check_count(n)
        _check_options("variants", options)
        x = self.expected.images(x)
        if layer == len(self.gmm_layers) and not isinstance(layer, bool):
            return self.sample(len(x) * n, **options).reshape(len(x), n, *self.image_shape)
        index = self._gmm_index(layer)
        activities = np.repeat(self.responsibilities(x, layer=index), n, axis=0)
        images, _ = self.descent.run(tf.constant(activities), sampling.SamplingOptions(**options), layer=index)
        return images.reshape(len(x), n, *self.image_shape)

    def inpaint(self, x: Any, mask: Any = None, c: float = 1.0, **options: Any) -> np.ndarray:
        """Complete damaged images (Sec. II-B5), and find the damage by Eq. 6 if no mask is given.

        The top layer draws from its activities (Eq. 8). Below, positions that are inliers keep their activities, and
        outliers take the control signal from above (Eq. 9; the paper's sentence before it says the reverse). With a
        mask, all pixels outside it are returned as they came. If pixels are missing (NaN), no mask is needed: exactly
        these are filled in, a position that sees only some of its pixels weighs its components by these pixels and by
        the signal from above, and the model does not look for other damage.

        Without a mask and missing pixels, pixels that only inlier positions of the lowest GMM layer cover are returned
        as they came, but damage that looks ordinary cannot be found: a black hole in a black background is more likely
        than most strokes.

        Args:
            x: damaged images (N, H, W, C). NaN: a missing pixel.
            mask: where they are damaged, boolean (N, H, W) or (H, W), or 1 and 0 for True and False. The model sees the
                pixels there, but replaces them, in addition to the missing ones. Default None: the model finds the
                damage, if no pixel is missing.
            c: the c of Eq. 6, used without a mask; with a smaller c, more positions count as damaged. Default 1.
            **options: top_s, noise, noise_at_bound, sharpening, seed and merge_prior, as in `sample`.

        Returns:
            An array (N, H, W, C).

        Raises:
            RuntimeError: without a mask and missing pixels, before `fit` or `calibrate`.
            ValueError: likewise, if the first filter covers the whole image, because no part can be trusted then; if
                the images or the mask do not fit, or an argument is out of its range.
            TypeError: if there is no argument of such a name.

        Example:
            >>> from dcgmm import load_pretrained
            >>> mask = np.zeros((28, 28), bool)
            >>> mask[10:18, 10:18] = True
            >>> load_pretrained("2L-c", "mnist").inpaint(np.zeros((2, 28, 28, 1)), mask, seed=0).shape
            (2, 28, 28, 1)
        """
        _check_options("inpaint", options)
        return inpainting.inpaint(self, x, mask, c, **options)

    def summary(self, print_fn: Callable[[str], Any] = print, **kwargs: Any) -> None:
        """Print a table of the layers: filter or components, output shape and number of parameters."""
        total = sum(layer.count_params() for layer in self.stack)
        print_fn(f"{self.name}: images {self.image_shape}, {total:,} parameters")
        print_fn(table_of_layers(self.stack, self.image_shape))

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Save as Keras does, but a `.keras` file is never incomplete, and equal models give equal bytes.

        Args:
            filepath: a path that ends in `.keras`.
            overwrite: whether an existing file is replaced. Default True.
            **kwargs: as in `keras.Model.save`.

        Raises:
            FileExistsError: if the file exists and is not to be replaced; nobody is asked.
            ValueError: if the path does not end in `.keras`.
            FileNotFoundError: if its folder does not exist.
        """
        saving.save(super().save, filepath, overwrite, **kwargs)

    def save_weights(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Save the weights alone, as Keras does, but the file is never incomplete.

        Args:
            filepath: a path that ends in `.weights.h5`.
            overwrite: whether an existing file is replaced. Default True.
            **kwargs: as in `keras.Model.save_weights`.

        Raises:
            FileExistsError: if the file exists and is not to be replaced; nobody is asked.
            ValueError: if the path does not end in `.weights.h5`.
            FileNotFoundError: if its folder does not exist.
        """
        saving.save_weights(super().save_weights, filepath, overwrite, **kwargs)


def _check_options(method, given):
    """Refuse an option of the way down that does not exist, and name the most similar one."""
    names = [field.name for field in fields(sampling.SamplingOptions)]
    for name in given:
        if name not in names:
            raise TypeError(
                f"{method} has no argument {name!r}, but beside its own {', '.join(names)}{nearest(name, names)}"
            )
