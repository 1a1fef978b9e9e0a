"""The DCGMM as a scikit-learn density estimator, for pipelines, cross-validation and grid searches."""

import math
import warnings

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dcgmm.model import DCGMM

# The four nearest neighbours' weight, 4·exp(−1/2σ²) of a component's own, is 2 % here and 54 % at 0.5.
ANNEALED = 0.3


class DCGMMDensity(DensityMixin, BaseEstimator):
    r"""Density estimation with a Deep Convolutional Gaussian Mixture Model, in scikit-learn's manner.

    Nothing is rescaled: centroids start near 0 and standard deviations stay above 1/√20 ≈ 0.22, which suits images
    in [0, 1] and columns of unit variance. Put a `MinMaxScaler` or `StandardScaler` before it in a `Pipeline` where
    data are neither.

    Training is annealed stochastic gradient descent, by default at a pace for tens of thousands of samples. Fewer
    need smaller batches, more epochs or a faster annealing: `batch_size=10, epochs=100, annealing={"rate": 0.1}`
    suit a few hundred. A `ConvergenceWarning` says where training ended before the annealing did.

    Args:
        spec: the layers, such as `"F(8,8,2,2) G(25) F(11,11,1,1) G(36)"`, or a Table I name such as `"2L-c"`.
            Default `"G(25)"`, which is a flat mixture over whole rows where `image_shape` is None.
        image_shape: (H, W, C) of an image. Default None: as X has it where X has four dimensions; otherwise each
            row is an image of a single pixel, its features the channels.
        epochs: how often to see every sample, > 0. Default 25.
        batch_size: samples a step, > 0. Default 100.
        learning_rate: ε of the gradient descent, > 0. Default 0.05.
        annealing: arguments of `dcgmm.annealing.Annealing` other than K, as a dict. Default None: those of [7].
        random_state: an integer, a `RandomState` or None; of the centroids' start, the batches' order and `sample`.
            Default None, NumPy's global state.
        verbose: 0 for silence, 1 for a progress bar, 2 for a line an epoch. Default 0.

    Attributes:
        model_: the trained `DCGMM`.
        weights_: π of the lowest GMM layer, (K,).
        means_: its centroids μ, (K, D); its D features are those of X, or of a patch where a filter is smaller.
        precisions_: its diagonal precisions s², (K, D).
        n_features_in_: the features of a row, H·W·C.
        feature_names_in_: the columns' names, where X has names that are all strings.

    Source: A. Gepperth, B. Pfülb, Image Modeling with Deep Convolutional Gaussian Mixture Models, IJCNN 2021.
    """

    def __init__(
        self,
        spec="G(25)",
        *,
        image_shape=None,
        epochs=25,
        batch_size=100,
        learning_rate=0.05,
        annealing=None,
        random_state=None,
        verbose=0,
    ):
        self.spec = spec
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.annealing = annealing
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None):
        """Train a new model on X, rows (n_samples, n_features) or images (n_samples, H, W, C), and return self.

        Args:
            X: finite, dense numbers, which are cast to float32.
            y: not used. Default None.

        Raises:
            ValueError: if X has not the features of its images, a filter does not fit these, or an argument is
                outside its range.
        """
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, received {getattr(self, name)!r}")
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

    def score_samples(self, X):
        """Return the log-likelihood of each sample in nats, an array (n_samples,).

        In a deep model it is the mean over the positions of the top layer, whose density is one over that layer's
        input: compare it between samples, or between models of equal layers below, but not with a flat model's.
        """
        x = self._images(X)
        return self.model_.score_samples(x)

    def score(self, X, y=None):
        """Return the mean of `score_samples(X)`; y is not used."""
        return float(self.score_samples(X).mean(dtype="float64"))

    def predict_proba(self, X):
        """Return the top layer's responsibilities, (n_samples, K), their mean where it has several positions."""
        x = self._images(X)
        return self.model_.responsibilities(x).mean(axis=(1, 2))

    def predict(self, X):
        """Return each sample's cluster, its most responsible component of the top layer, an array (n_samples,)."""
        return self.predict_proba(X).argmax(axis=1)

    def fit_predict(self, X, y=None):
        """Train on X and return the cluster of each of its samples; y is not used."""
        return self.fit(X).predict(X)

    def sample(self, n_samples=1, **arguments):
        """Draw samples from the model, rows as in `KernelDensity.sample`.

        There are no labels beside them as `GaussianMixture.sample` has: a deep model draws a component in every layer
        and at every position, and no single one made a sample. With an integer as `random_state` each call gives the
        same samples; `seed` chooses others.

        Args:
            n_samples: how many. Default 1.
            **arguments: as in `DCGMM.sample`, such as `top_s`, `noise` and `seed`.

        Returns:
            An array (n_samples, n_features).
        """
        check_is_fitted(self)
        images = self.model_.sample(n_samples, **{"seed": self._seed(), **arguments})
        return images.reshape(n_samples, -1)

    def _images(self, X, reset=False):
        """Return X as float32 images (N, H, W, C); `reset` is for `fit`, which has everything to learn about X."""
        if not reset:
            check_is_fitted(self)
        shape = self.image_shape if reset else self.model_.image_shape
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
