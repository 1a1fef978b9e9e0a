"""The exact log-likelihood of what a model samples, against enumeration, integrals, samples and scikit-learn."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from dcgmm import DCGMM, GMM, Folding, LinearClassifier, MaxPooling, exact, load_pretrained

# Chains with a closed form: flat, layers on layers, windows, a pooling between, own mixtures, a classifier, gaps above.
CHAINS = {
    "flat": [Folding(4), GMM(4)],
    "layer on layer": [Folding(4), GMM(4), GMM(4), GMM(4)],
    "windows": [Folding(2, strides=2), GMM(4), Folding(2), GMM(4)],
    "several positions at the top": [Folding(2, strides=2), GMM(4), Folding((1, 2), strides=(1, 2)), GMM(4)],
    "pooling between": [Folding(1), GMM(4), MaxPooling(2), Folding(2), GMM(4)],
    "own mixtures": [
        Folding(2, strides=2),
        GMM(4, shared=False),
        Folding((1, 2), strides=(1, 2)),
        GMM(4, shared=False),
    ],
    "classifier": [Folding(2, strides=2), GMM(4), Folding(2), GMM(4), LinearClassifier(3)],
    "gaps above": [Folding(1), GMM(4), Folding(1, strides=3), GMM(4), Folding(2), GMM(4)],
}


def model_of(layers, shape=(4, 4, 1), seed=0):
    """Return a model of fresh copies of some layers, with random parameters; some centroids have no positive entry."""
    model = DCGMM([type(layer).from_config(layer.get_config()) for layer in layers], input_shape=shape, seed=seed)
    rng = np.random.default_rng(seed)
    for layer in model.gmm_layers:
        mu = rng.normal(0.2, 0.5, layer.mu.shape)
        mu[..., 0, :] = -np.abs(mu[..., 0, :])
        layer.mu.assign(mu)
        layer.s.assign(rng.uniform(1, 4, layer.s.shape))
        layer.xi.assign(rng.normal(0, 1, layer.xi.shape))
    return model


def sample(model, n, seed=0):
    noise = [1.0] + [0.0] * (len(model.gmm_layers) - 1)
    return model.sample(n, noise=noise, noise_at_bound=True, seed=seed)


def enumerated(model, x):
    """Return log p of images by all choices of all layers, one position after the other, by the layers' own `down`."""

    def below(levels, signal):
        """Return log p(x) (N,) if the highest of some levels receives a signal (1, h, w, K)."""
        *lower, level = levels
        gmm, total = level.gmm, 0.0
        weights = np.maximum(np.asarray(signal[0], "float64"), 0)
        prior = np.broadcast_to(tf.nn.softmax(gmm.xi.value).numpy(), weights.shape)
        weights = np.where(weights.sum(-1, keepdims=True) > 0, weights, prior)
        logs = np.log(np.maximum(weights, 1e-300)) - np.log(weights.sum(-1, keepdims=True))
        mu, s = (np.broadcast_to(w.numpy(), (*gmm.output_plane, *w.shape[-2:])) for w in (gmm.mu, gmm.s))
        positions = list(np.ndindex(*gmm.output_plane))
        if not lower:
            windows = level.folding(tf.constant(x)).numpy() if level.folding else x
            for p in positions:
                of_components = norm.logpdf(windows[:, *p][:, None], mu[p], 1 / s[p]).sum(-1)
                total = total + logsumexp(of_components + logs[p], axis=-1)
            return total
        choices = []
        for chosen in itertools.product(range(gmm.n_components), repeat=len(positions)):
            drawn = np.stack([mu[p][k] for p, k in zip(positions, chosen)]).reshape(1, *gmm.output_plane, -1)
            control = tf.constant(drawn, tf.float32)
            for window in reversed(level.windows):
                control = window.down(control)
            chance = sum(logs[p][k] for p, k in zip(positions, chosen))
            choices.append(chance + below(lower, control.numpy()))
        return logsumexp(choices, axis=0)

    top = model.gmm_layers[-1]
    return below(model.levels, np.zeros((1, *top.output_plane, top.n_components)))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.filterwarnings("ignore:.*uncovered")
def test_it_is_the_sum_over_all_choices_of_all_layers(name):
    model, x = model_of(CHAINS[name]), np.random.default_rng(1).random((2, 4, 4, 1), dtype="float32")
    np.testing.assert_allclose(model.exact_log_likelihood(x), enumerated(model, x), rtol=1e-5, atol=1e-4)


SMALL = [Folding((1, 1)), GMM(4), Folding((1, 2)), GMM(4)]  # two pixels, each by its own choice
EDGES = np.linspace(-4, 5, 361, dtype="float32")
GRID = (EDGES[1:] + EDGES[:-1]) / 2


def on_grid(model):
    pixels = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), -1).reshape(-1, 1, 2, 1)
    return np.exp(model.exact_log_likelihood(pixels)).reshape(len(GRID), len(GRID)), pixels


def test_it_integrates_to_one_and_has_the_shares_of_samples():
    model = model_of(SMALL, (1, 2, 1))
    density, _ = on_grid(model)
    cell = (GRID[1] - GRID[0]) ** 2
    assert density.sum() * cell == pytest.approx(1, abs=1e-3)
    drawn = sample(model, 100_000).reshape(-1, 2)
    found, *_ = np.histogram2d(*drawn.T, bins=[EDGES[::20], EDGES[::20]])
    cells = density.reshape(18, 20, 18, 20).sum((1, 3)) * cell
    expected = 100_000 * cells
    large = expected > 50
    deviations = (found - expected)[large] / np.sqrt(expected[large])
    assert large.sum() > 20 and np.abs(deviations).max() < 4 and np.std(deviations) < 1.5


def test_a_missing_pixel_is_integrated_out_and_its_expectation_is_the_mean_of_what_remains():
    model = model_of(SMALL, (1, 2, 1))
    density, pixels = on_grid(model)
    row = 200
    x = np.array([[[[GRID[row]], [np.nan]]]], "float32")
    marginal = density[row].sum() * (GRID[1] - GRID[0])
    assert model.exact_log_likelihood(x)[0] == pytest.approx(np.log(marginal), abs=1e-3)
    mean = (density[row] * GRID).sum() / density[row].sum()
    completed = model.exact_expectation(x)
    assert completed[0, 0, 0, 0] == x[0, 0, 0, 0]
    assert completed[0, 0, 1, 0] == pytest.approx(mean, abs=1e-3)


def test_a_flat_mixture_has_the_log_likelihood_of_scikit_learn():
    model = load_pretrained("1L", "mnist")
    layer, x = model.gmm_layers[0], np.random.default_rng(0).random((20, 28, 28, 1), dtype="float32")
    mixture = GaussianMixture(layer.n_components, covariance_type="diag")
    mixture.weights_, mixture.means_ = layer.mixing_weights.astype("float64"), layer.means.astype("float64")
    mixture.precisions_cholesky_ = layer.s.numpy().astype("float64")
    mixture.covariances_ = mixture.precisions_cholesky_**-2
    np.testing.assert_allclose(model.exact_log_likelihood(x), mixture.score_samples(x.reshape(20, -1)), rtol=1e-5)


def test_batches_and_streams_have_the_numbers_of_the_whole():
    model, x = model_of(CHAINS["windows"]), np.random.default_rng(1).random((7, 4, 4, 1), dtype="float32")
    whole = model.exact_log_likelihood(x)
    np.testing.assert_allclose(model.exact_log_likelihood(x, batch_size=2), whole, rtol=1e-5)
    np.testing.assert_allclose(model.exact_log_likelihood(tf.data.Dataset.from_tensor_slices(x).batch(3)), whole, 1e-5)


@pytest.mark.filterwarnings("ignore:.*uncovered")
@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([Folding(3), GMM(4)], r"do not overlap, and those of .*F\(3,3,1,1\)"),
        ([Folding(1), GMM(4), Folding(3), GMM(4)], r"do not overlap, and those of .*F\(3,3,1,1\)"),
        ([MaxPooling(2), Folding(2), GMM(4)], r"sees pixels, and .*P\(2,2,2,2\)"),
        ([Folding(1, strides=3), GMM(4)], "every pixel in a window, and .* leaves 12 out"),
    ],
)
def test_a_chain_without_a_closed_form_is_refused(layers, said):
    model, x = model_of(layers), np.zeros((2, 4, 4, 1))
    for method in (model.exact_log_likelihood, model.exact_expectation):
        with pytest.raises(ValueError, match=said):
            method(x)


def test_bits_are_those_of_256_grey_levels():
    """A uniform density over [0, 1] needs eight bits, and twice the density one bit less."""
    assert exact.bits_per_pixel(0.0, 10) == 8
    assert exact.bits_per_pixel(10 * np.log(2), 10) == pytest.approx(7)
