"""Flat mixtures fitted by expectation maximisation (EM): what training by gradient steps is compared with."""

import numpy as np
from sklearn.mixture import GaussianMixture

from dcgmm.model import DCGMM

MOST_STEPS = 500


class BoundedMixture(GaussianMixture):
    """scikit-learn's Gaussian mixture with diagonal covariances, whose precisions have the bound of a GMM layer.

    A variance below 1/`max_precision` is set to it, which is the exact M-step under this bound.

    Args:
        n_components: the number of components K.
        max_precision: the bound D_max. Default 20, as in `layers.GMM`.
        random_state: the seed of k-means, where the centroids start. Default 0.

    Example:
        >>> x = np.random.default_rng(0).normal(scale=0.1, size=(200, 3))
        >>> BoundedMixture(2, max_precision=20).fit(x).covariances_.min().round(3)
        np.float64(0.05)
    """

    def __init__(self, n_components: int, max_precision: float = 20, random_state: int = 0) -> None:
        super().__init__(n_components, covariance_type="diag", max_iter=MOST_STEPS, random_state=random_state)
        self.max_precision = max_precision

    def _initialize(self, X, resp, xp=None):
        super()._initialize(X, resp, xp=xp)
        self._bound_precisions()

    def _m_step(self, X, log_resp, xp=None):
        super()._m_step(X, log_resp, xp=xp)
        self._bound_precisions()

    def _bound_precisions(self):
        self.covariances_ = np.maximum(self.covariances_, 1 / self.max_precision)
        self.precisions_cholesky_ = 1 / np.sqrt(self.covariances_)


def fit_by_em(model: DCGMM, x: np.ndarray, seed: int) -> dict[str, list[float]]:
    """Fit a flat instance by EM until the mean log-likelihood grows by less than 0.001 nats, and return its History.

    It gets scikit-learn's centroids, precisions and mixing weights, and the moments for Eq. 6.

    Args:
        model: a `DCGMM` with a single GMM layer that sees the whole image, such as 1L.
        x: training images (N, H, W, C), at least as many as there are components.
        seed: the seed of the start.

    Raises:
        ValueError: if the model is not flat.
        sklearn.exceptions.ConvergenceWarning: as a warning, if 500 steps were not enough.

    Example:
        >>> x = np.random.default_rng(0).random((50, 4, 4, 1), dtype="float32")
        >>> model = DCGMM.from_spec("F(4,4,1,1) G(4)", (4, 4, 1))
        >>> list(fit_by_em(model, x, seed=0)), round(float(model.gmm_layers[0].mixing_weights.sum()), 3)
        (['log_likelihood_0'], 1.0)
    """
    (*below, lowest), rows = model.stack, np.reshape(x, (len(x), -1))
    if len(model.gmm_layers) > 1 or model.classifier or lowest.output_plane != (1, 1):
        raise ValueError(f"EM fits flat mixtures of whole images, such as 1L; received {model.stack}")
    for layer in below:  # a Folding of one window keeps the order of the pixels
        rows = np.reshape(layer(x), (len(x), -1))
    mixture = BoundedMixture(lowest.n_components, lowest.max_precision, random_state=seed)
    mixture.fit(rows.astype("float64"))
    lowest.mu.assign(np.reshape(mixture.means_, lowest.mu.shape))
    lowest.s.assign(np.reshape(np.sqrt(mixture.precisions_), lowest.s.shape))
    lowest.xi.assign(np.reshape(np.log(mixture.weights_), lowest.xi.shape))
    model.calibrate(x)
    return {"log_likelihood_0": [float(value) for value in mixture.lower_bounds_]}
