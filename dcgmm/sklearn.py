"""The DCGMM as a scikit-learn density estimator, for pipelines, cross-validation and grid searches."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dcgmm.arguments import number, positive_integer, sizes
from dcgmm.loop_arguments import known_names
from dcgmm.model import DCGMM
from dcgmm.validation import fill_masked

# The largest σ that counts as annealed. With it the four nearest neighbours have 2 % of the weight of a component
# itself, 4·exp(−1/2σ²); with σ = 0.5 they have 54 %.
ANNEALED = 0.3
# The options of `sample` that change the samples and not what is returned beside them.
OF_SAMPLE = ("labels", "top_s", "noise", "noise_at_bound", "sharpening", "seed", "merge_prior")


class DCGMMDensity(DensityMixin, BaseEstimator):
    r"""A scikit-learn density estimator that trains a Deep Convolutional Gaussian Mixture Model.

    It does not rescale the data. Centroids start near 0 and standard deviations stay above 1/√20 ≈ 0.22, which suits
    images in [0, 1] and columns of unit variance. For other data, put a `MinMaxScaler` or `StandardScaler` before it
    in a `Pipeline`.

    Training is annealed stochastic gradient descent. The defaults suit tens of thousands of samples. Fewer samples
    need smaller batches, more epochs or a faster annealing: `batch_size=10, epochs=100, annealing={"rate": 0.1}`
    suit a few hundred. A `ConvergenceWarning` tells you that training ended before the annealing.

    Args:
        spec: the layers, such as `"F(8,8,2,2) G(25) F(11,11,1,1) G(36)"`, or a Table I name such as `"2L-c"`.
            Default `"G(25)"`: a flat mixture over whole rows if `image_shape` is None.
        image_shape: (H, W, C) of an image. Default None: an X with four dimensions gives the shape; each row of
            another X is an image of one pixel, with the features as its channels.
        epochs: passes through the samples, > 0. Default 25.
        batch_size: samples in each step, > 0. Default 100.
        learning_rate: ε of the gradient descent, > 0. Default 0.05.
        annealing: arguments of `dcgmm.annealing.Annealing` other than K, as a dict. Default None: those of [7].
        random_state: an integer or a `RandomState`, for the start of the centroids, the order of the batches and
            `sample`. Default None: NumPy's global state.
        verbose: 0 for silence, 1 for a progress bar, 2 for one line for each epoch. Default 0.

    Attributes:
        model_: the trained `DCGMM`.
        weights_: π of the lowest GMM layer, (K,).
        means_: its centroids μ, (K, D). D is the number of features of X, or of a patch below a smaller filter.
        precisions_: its diagonal precisions s², (K, D).
        n_features_in_: the number of features of a row, H·W·C.
        feature_names_in_: the names of the columns, if X has names that are all strings.

    Source: A. Gepperth, B. Pfülb, Image Modeling with Deep Convolutional Gaussian Mixture Models, IJCNN 2021.

    Example:
        >>> X = np.random.default_rng(0).random((50, 3))
        >>> density = DCGMMDensity("G(4)", epochs=1, annealing={"sigma_start": 0.2}, random_state=0).fit(X)
        >>> density.score_samples(X).shape, density.predict_proba(X).shape, density.sample(5).shape
        ((50,), (50, 4), (5, 3))
    """

    def __init__(
        self,
        spec: str = "G(25)",
        *,
        image_shape: Sequence[int] | None = None,
        epochs: int = 25,
        batch_size: int = 100,
        learning_rate: float = 0.05,
        annealing: Mapping[str, float] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.spec = spec
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.annealing = annealing
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a new model on X, rows (n_samples, n_features) or images (n_samples, H, W, C), and return self.

        Args:
            X: finite, dense numbers, which are cast to float32. What a masked array hides counts as missing, NaN.
            y: not used. Default None.

        Raises:
            ValueError: if the features of X do not fill an image, a filter is larger than the image, or an argument
                is outside its range.
        """
        positive_integer("epochs", self.epochs)
        positive_integer("batch_size", self.batch_size)
        number("learning_rate", self.learning_rate, above=0)
        if self.image_shape is not None:
            sizes("image_shape", self.image_shape, "(H, W, C)")
        x = self._images(X, reset=True)
        self.model_ = DCGMM.from_spec(self.spec, x.shape[1:], seed=self._seed(), annealing=self.annealing)
        self.model_.compile(learning_rate=self.learning_rate)
        self.model_.fit(x, epochs=self.epochs, batch_size=self.batch_size, verbose=self.verbose)
        lowest = self.model_.gmm_layers[0]
        self.weights_, self.means_, self.precisions_ = lowest.mixing_weights, lowest.means, lowest.precisions
        sigmas = [float(annealing.sigma) for annealing in self.model_.annealings]
        if any(s > max(ANNEALED, 1.01 * a.sigma_end) for s, a in zip(sigmas, self.model_.annealings)):
            warnings.warn(
                f"training ended before the annealing: σ of the GMM layers is {', '.join(f'{s:.2g}' for s in sigmas)}, "
                f"and above {ANNEALED} neighbouring components still learn alike; use more epochs, a smaller "
                "batch_size or a larger `rate` of the annealing",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the log-likelihood of each sample in nats, an array (n_samples,).

        In a deep model it is the mean over the positions of the top layer, and a density over the input of that
        layer. So compare samples, or models with equal lower layers, but not a deep model with a flat one.
        """
        x = self._images(X)
        return self.model_.score_samples(x)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples(X)`; y is not used.

        A grid search over specifications of several depths compares densities of different things: of images for a
        flat model, and of responsibilities, whose density is far larger, for a deep one. So it chooses the deep one
        whatever the data are. Search over specifications with equal lower layers, or give `scoring` a function that
        compares what you need, such as the log-likelihood of the lowest layer, `model_.log_likelihood(x, layer=0)`.
        """
        return float(self.score_samples(X).mean(dtype="float64"))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the responsibilities of the top layer, (n_samples, K): the mean if it has several positions."""
        x = self._images(X)
        return self.model_.responsibilities(x).mean(axis=(1, 2))

    def predict(self, X: Any) -> np.ndarray:
        """Return the cluster of each sample, (n_samples,): the most responsible component of the top layer."""
        return self.predict_proba(X).argmax(axis=1)

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Train on X and return the cluster of each of its samples; y is not used."""
        return self.fit(X).predict(X)

    def sample(self, n_samples: int = 1, **arguments: Any) -> np.ndarray:
        """Draw samples from the model, rows as in `KernelDensity.sample`.

        Unlike `GaussianMixture.sample` it returns no labels, because a deep model draws a component in every layer
        and at every position. With an integer `random_state` each call returns the same samples; give a `seed` for
        other samples.

        Args:
            n_samples: the number of samples. Default 1.
            **arguments: arguments of `DCGMM.sample`, such as `top_s`, `noise` and `seed`. Here `noise_at_bound` is True
                by default, so that samples of a flat mixture have the density that `score_samples` gives.

        Returns:
            An array (n_samples, n_features).

        Raises:
            ValueError: if an argument is out of its range.
            TypeError: if there is no argument of such a name.
        """
        check_is_fitted(self)
        positive_integer("n_samples", n_samples)
        known_names("sample", arguments, OF_SAMPLE, self.sample)
        images = self.model_.sample(n_samples, **{"seed": self._seed(), "noise_at_bound": True, **arguments})
        return images.reshape(n_samples, -1)

    def _images(self, X, reset=False):
        """Return X as float32 images (N, H, W, C); with `reset`, as in `fit`, X also gives their shape."""
        if not reset:
            check_is_fitted(self)
        shape = self.image_shape if reset else self.model_.image_shape
        X = fill_masked(X)
        if np.ndim(X) == 4:
            X = np.asarray(X)
            if shape is not None and X.shape[1:] != tuple(shape):
                raise ValueError(f"expected images of shape {tuple(shape)}, received {X.shape[1:]}")
            shape = X.shape[1:]
            X = X.reshape(len(X), math.prod(shape))
        X = validate_data(self, X, dtype="float32", reset=reset)
        shape = (1, 1, X.shape[1]) if shape is None else tuple(shape)
        if math.prod(shape) != X.shape[1]:
            raise ValueError(f"images of shape {shape} have {math.prod(shape)} features, received {X.shape[1]}")
        return X.reshape(-1, *shape)

    def _seed(self):
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
