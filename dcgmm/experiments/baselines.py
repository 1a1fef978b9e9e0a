"""Other methods on the same images, as a measure of what DCGMMs achieve: detectors of outliers, and models to sample.

A method is a function of training images as rows (N, D) and a seed. It returns a `Fitted`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from scipy.special import logsumexp
from scipy.stats import bootstrap, rankdata
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from dcgmm.experiments.evaluation_of_samples import N_COMPARED, realism
from dcgmm.experiments.real_images import RealImages

MAX_PRECISION = 20  # of all densities here, the bound of a GMM layer
N_RESAMPLES = 200


@dataclass(frozen=True)
class Fitted:
    """A method that has learned from training images.

    Args:
        score: a function of rows (N, D); its values (N,) are larger for images that are more like the training images.
        draw: a function of a number n and a seed that returns samples (n, D). Default None: it cannot draw.
        is_density: whether a score is a log-density in nats. Default False.
        parameters: the number of parameters. Default None: this number says nothing about the method.
    """

    score: Callable[[np.ndarray], np.ndarray]
    draw: Callable[[int, int], np.ndarray] | None = None
    is_density: bool = False
    parameters: int | None = None


def fifth_neighbour(rows: np.ndarray, seed: int = 0) -> Fitted:
    """The distance to the fifth nearest training image (or to the farthest, if there are fewer).

    Example:
        >>> fitted = fifth_neighbour(np.eye(6))
        >>> fitted.score(np.zeros((1, 6))).tolist()
        [-1.0]
    """
    neighbours = NearestNeighbors(n_neighbors=min(5, len(rows)), algorithm="brute").fit(rows)
    return Fitted(lambda x: -neighbours.kneighbors(x)[0][:, -1])


def principal_components(rows: np.ndarray, seed: int = 0) -> Fitted:
    """The error of the reconstruction from the principal components that keep 90 % of the variance."""
    pca = PCA(n_components=0.9, svd_solver="full").fit(rows)

    def score(x):
        return -np.mean((x - pca.inverse_transform(pca.transform(x))) ** 2, axis=1)

    return Fitted(score, parameters=pca.components_.size + pca.mean_.size)


def isolation_forest(rows: np.ndarray, seed: int = 0) -> Fitted:
    """scikit-learn's isolation forest with its defaults."""
    return Fitted(IsolationForest(random_state=seed).fit(rows).score_samples)


def k_means(rows: np.ndarray, seed: int = 0, n_clusters: int = 25) -> Fitted:
    """The distance to the nearest of K centroids.

    Args:
        rows: training images as rows (N, D).
        seed: of the start.
        n_clusters: K, or the number of images where it is smaller. Default 25.
    """
    means = KMeans(min(n_clusters, len(rows)), random_state=seed).fit(rows)
    return Fitted(lambda x: -means.transform(x).min(axis=1), parameters=means.cluster_centers_.size)


@dataclass(frozen=True, eq=False)
class FactorAnalyser:
    """A Gaussian with the covariance WᵀW + Ψ, where Ψ is diagonal and bounded from below by 1/20.

    Args:
        mean: (D,).
        factors: W, (q, D).
        noise: the diagonal of Ψ, (D,).
    """

    mean: np.ndarray
    factors: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, n_factors: int, seed: int) -> "FactorAnalyser":
        """Return scikit-learn's factor analysis of rows (N, D), with its noise bounded."""
        # The tolerance is of the sum over all rows: stop when it grows by less than 0.01 nats a row.
        fitted = FactorAnalysis(n_factors, tol=0.01 * len(rows), random_state=seed).fit(rows)
        return cls(fitted.mean_, fitted.components_, np.maximum(fitted.noise_variance_, 1 / MAX_PRECISION))

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return the log-densities (N,) of rows (N, D), in nats, by Woodbury's identity.

        Example:
            >>> analyser = FactorAnalyser(np.zeros(2), np.array([[1.0, 0.0]]), np.ones(2))
            >>> from scipy.stats import multivariate_normal
            >>> expected = multivariate_normal([0, 0], [[2, 0], [0, 1]]).logpdf([1, 2])
            >>> bool(np.isclose(analyser.log_density(np.array([[1.0, 2.0]]))[0], expected))
            True
        """
        scaled = (x - self.mean) / np.sqrt(self.noise)
        factors = self.factors / np.sqrt(self.noise)
        root = np.linalg.cholesky(np.eye(len(factors)) + factors @ factors.T)
        explained = np.linalg.solve(root, factors @ scaled.T)
        squares = np.sum(scaled**2, axis=1) - np.sum(explained**2, axis=0)
        log_determinant = np.sum(np.log(self.noise)) + 2 * np.sum(np.log(np.diag(root)))
        return -0.5 * (squares + log_determinant + len(self.mean) * np.log(2 * np.pi))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n samples (n, D), by the rule for noise of DCGMMs: none in features whose variance is at its bound."""
        learned = np.where(self.noise > 1 / MAX_PRECISION, np.sqrt(self.noise), 0)
        hidden = rng.normal(size=(n, len(self.factors)))
        return self.mean + hidden @ self.factors + learned * rng.normal(size=(n, len(self.mean)))


def factor_analysers(
    rows: np.ndarray, seed: int = 0, n_components: int = 25, n_factors: int = 6, n_steps: int = 10
) -> Fitted:
    """A mixture of factor analysers, by classification EM from k-means.

    In each step, every component is fitted to the images that it describes best. A component that has no more than
    `n_factors` images keeps its parameters. With the defaults, it has as many parameters as a flat mixture of 100
    components.

    Args:
        rows: training images as rows (N, D).
        seed: of k-means and of the fits.
        n_components: K, or a tenth of the number of images where this is smaller. Default 25.
        n_factors: q, the factors of each component. Default 6.
        n_steps: the largest number of steps. Default 10.

    Source: E. Richardson and Y. Weiss, On GANs and GMMs, NeurIPS 2018, whose mixture is fitted by gradient steps.
    """
    n_components = max(1, min(n_components, len(rows) // 10))
    nearest = KMeans(n_components, random_state=seed).fit_predict(rows)
    analysers = [FactorAnalyser.of(rows, n_factors, seed)] * n_components
    for _ in range(n_steps):
        counts = np.bincount(nearest, minlength=n_components)
        analysers = [
            FactorAnalyser.of(rows[nearest == k], n_factors, seed) if counts[k] > n_factors else analysers[k]
            for k in range(n_components)
        ]
        log_weights = np.log(np.maximum(counts, 0.5) / len(rows))
        previous, nearest = nearest, _joint(analysers, log_weights, rows).argmax(axis=1)
        if np.array_equal(previous, nearest):
            break

    def draw(n, seed):
        rng = np.random.default_rng(seed)
        drawn = rng.choice(n_components, size=n, p=np.exp(log_weights) / np.exp(log_weights).sum())
        samples = np.empty((n, rows.shape[1]))
        for k in np.unique(drawn):
            samples[drawn == k] = analysers[k].draw(np.sum(drawn == k), rng)
        return samples

    return Fitted(
        lambda x: logsumexp(_joint(analysers, log_weights, x), axis=1),
        draw,
        is_density=True,
        parameters=n_components * (1 + rows.shape[1] * (2 + n_factors)),
    )


def _joint(analysers, log_weights, x):
    """Return log π_k + log p_k(x) for rows x (N, D), an array (N, K)."""
    return np.stack([analyser.log_density(x) for analyser in analysers], axis=1) + log_weights


class _Latent(keras.layers.Layer):
    """Draw z from q(z|x) in training, and return its mean otherwise; the loss is KL(q(z|x) ‖ p(z))."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, mean: Any, log_variance: Any, training: bool = False) -> Any:
        self.add_loss(keras.ops.mean(divergence(mean, log_variance)))
        if not training:
            return mean
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.generator)
        return mean + keras.ops.exp(log_variance / 2) * noise


def divergence(mean: Any, log_variance: Any) -> Any:
    """Return KL(N(mean, exp(log_variance)) ‖ N(0, 1)) of each row, in nats.

    Example:
        >>> divergence(np.zeros((2, 3)), np.zeros((2, 3))).numpy().tolist()
        [0.0, 0.0]
    """
    return 0.5 * keras.ops.sum(mean**2 + keras.ops.exp(log_variance) - 1 - log_variance, axis=-1)


def autoencoder(rows: np.ndarray, seed: int = 0, n_latent: int = 16, n_hidden: int = 256, epochs: int = 25) -> Fitted:
    """A small variational autoencoder, D-256-16-256-D, whose pixels have the precision 20.

    Its score is the evidence lower bound at the mean of q(z|x), without its constant: a reconstruction error and a
    Kullback–Leibler divergence. Its samples have no noise on the pixels.

    Args:
        rows: training images as rows (N, D).
        seed: of the start, the order of the images and the draws.
        n_latent: the dimensions of z. Default 16.
        n_hidden: the hidden units of encoder and decoder. Default 256.
        epochs: passes over the images, by Adam at 0.001 with batches of 100. Default 25.

    Source: D. P. Kingma and M. Welling, Auto-encoding variational Bayes, ICLR 2014.
    """
    # Every draw has a seed of its own: other threads of the process may draw from the global generators in between.
    starts = np.random.SeedSequence(seed).generate_state(5).tolist()
    order = np.random.default_rng(seed)

    def dense(units, activation=None):
        return keras.layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotUniform(starts.pop()))

    pixels = keras.Input((rows.shape[1],))
    hidden = dense(n_hidden, "relu")(pixels)
    mean, log_variance = (dense(n_latent)(hidden) for _ in range(2))
    decoder = keras.Sequential([dense(n_hidden, "relu"), dense(rows.shape[1], "sigmoid")])
    encoder = keras.Model(pixels, [mean, log_variance])
    model = keras.Model(pixels, decoder(_Latent(seed)(mean, log_variance)))

    def half_squares(x, y):
        return MAX_PRECISION / 2 * keras.ops.sum((x - y) ** 2, axis=-1)

    model.compile("adam", half_squares)
    rows = rows.astype("float32")
    for _ in range(epochs):
        shuffled = order.permutation(rows)
        model.fit(shuffled, shuffled, batch_size=100, shuffle=False, verbose=0)

    def score(x):
        x = x.astype("float32")
        squares = half_squares(x, model.predict(x, verbose=0))
        return -np.asarray(squares + divergence(*encoder.predict(x, verbose=0)))

    def draw(n, seed):
        return decoder.predict(np.random.default_rng(seed).normal(size=(n, n_latent)).astype("float32"), verbose=0)

    return Fitted(score, draw, parameters=model.count_params())


METHODS: dict[str, Callable[[np.ndarray, int], Fitted]] = {
    "5th nearest neighbour": fifth_neighbour,
    "PCA reconstruction": principal_components,
    "isolation forest": isolation_forest,
    "k-means, K = 25": k_means,
    "k-means, K = 400": lambda rows, seed: k_means(rows, seed, 400),
    "mixture of factor analysers": factor_analysers,
    "variational autoencoder": autoencoder,
}
WITHOUT_SEED = ("5th nearest neighbour", "PCA reconstruction")  # their numbers are the same for every seed


def measure(method: str, real: RealImages, unlike: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, Any]:
    """Fit a method to training images, and return its numbers, a dict.

    - `parameters`: their number.
    - `auc_<name>`: the area under the curve with which it separates the test images from each kind of other images,
      and `auc_<name>_low`, `auc_<name>_high`: its 95 % interval over these images, by 200 bootstrap samples.
    - `log_density`: the mean log-density of the test images in nats, if it has one.
    - the numbers of `realism` of 5,000 samples, if it can draw.

    Args:
        method: a key of `METHODS`.
        real: the images of the classes that it learns.
        unlike: other images (N, H, W, C), by a name for each kind.
        seed: the seed of the fit and of the samples. Default 0.
    """
    fitted = METHODS[method](_rows(real.x), seed)
    numbers: dict[str, Any] = {"parameters": fitted.parameters}
    inlying = fitted.score(_rows(real.x_test))
    for name, images in unlike.items():
        scores = (inlying, fitted.score(_rows(images)))
        area, (low, high) = float(_area(*scores)), _interval(scores, seed)
        numbers |= {f"auc_{name}": area, f"auc_{name}_low": low, f"auc_{name}_high": high}
    if fitted.is_density:
        numbers["log_density"] = float(np.mean(inlying))
    if fitted.draw:
        drawn = fitted.draw(real.at_most(N_COMPARED), seed)
        numbers |= realism(np.reshape(drawn, (len(drawn), *real.x.shape[1:])), real)
    return numbers


def _interval(scores, seed):
    rng = np.random.default_rng(seed)
    resampled = bootstrap(scores, _area, n_resamples=N_RESAMPLES, vectorized=True, method="percentile", rng=rng)
    return (float(end) for end in resampled.confidence_interval)


def _area(inlying, outlying, axis=-1):
    """Return `outliers.auc` of many samples at once, by ranks."""
    ranks = rankdata(np.concatenate([inlying, outlying], axis=axis), axis=axis)
    n = inlying.shape[axis]
    wins = ranks[..., :n].sum(axis=-1) - n * (n + 1) / 2
    return wins / (n * outlying.shape[axis])


def _rows(images):
    return np.reshape(images, (len(images), -1)).astype("float64")
