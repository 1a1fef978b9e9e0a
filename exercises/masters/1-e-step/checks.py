"""The self-checks of exercise 1. Each says what is wrong, or that the task is right."""

import tracemalloc

import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import norm
from words import in_words, shaped

N, K, D = 40, 5, 7
HINT = "Test your function by hand on one row and one component."


@in_words
def one_component(log_density):
    """Check task 1 by an integral, and by scipy's normal distribution."""
    x, means, precisions, _ = _example()
    mean, precision = means[0], precisions[0]
    by_feature = norm.logpdf(x, mean, 1 / np.sqrt(precision))
    expected, squares = by_feature.sum(axis=1), 0.5 * np.sum(precision * (x - mean) ** 2, axis=1)
    determinant, constant = 0.5 * np.sum(np.log(precision)), 0.5 * D * np.log(2 * np.pi)
    _agree(
        "log_density",
        log_density(x, mean, precision),
        expected,
        {
            "The term ½ Σ log s² is missing: a narrow Gaussian must be higher.": expected - determinant,
            "The logarithm of s² counts twice, or ½ is missing before it.": expected + determinant,
            "The constant D/2 log 2π is missing.": expected + constant,
            "The constant is ½ log 2π, but each of the D features has its own.": expected + constant * (1 - 1 / D),
            "The exponent lacks its factor ½.": expected - squares,
            "The exponent has the wrong sign: far away, the density must be small.": expected + 2 * squares,
            "The precisions are used as variances: they multiply the squares, they do not divide them.": norm.logpdf(
                x, mean, np.sqrt(precision)
            ).sum(axis=1),
            "The precisions are used as standard deviations.": norm.logpdf(x, mean, precision).sum(axis=1),
            "This is the density, not its logarithm.": np.exp(expected),
        },
    )
    grid = np.linspace(-10, 10, 4001)[:, None]
    area = np.trapezoid(np.exp(log_density(grid, np.array([0.3]), np.array([4.0]))), grid[:, 0])
    assert abs(area - 1) < 1e-6, f"In one dimension, your density integrates to {area:.3f}, not to 1."
    print("Task 1 is right: the density integrates to 1, and agrees with scipy.")


@in_words
def all_components(log_scores):
    """Check task 2 by the direct formula, and by the memory that it takes."""
    x, means, precisions, weights = _example()
    log_weights = np.log(weights)
    expected = log_weights + _log_densities(x, means, precisions)
    of_means = 0.5 * np.sum(precisions * means**2, axis=1)
    normaliser = 0.5 * np.sum(np.log(precisions), axis=1)
    of_squares, mixed = 0.5 * x**2 @ precisions.T, x @ (precisions * means).T
    _agree(
        "log_scores",
        log_scores(x, means, precisions, weights),
        expected,
        {
            "The mixing weights are missing: add log π_k.": expected - log_weights,
            "The mixing weights are added without their logarithm.": expected - log_weights + weights,
            "The mixing weights multiply the log-density: add their logarithm.": weights * (expected - log_weights),
            "The term ½ Σ log s² is missing.": expected - normaliser,
            "The constant D/2 log 2π is missing.": expected + 0.5 * D * np.log(2 * np.pi),
            "The third sum, ½ Σ s² μ², is missing: it differs between components.": expected + of_means,
            "The third sum, ½ Σ s² μ², has the wrong sign.": expected + 2 * of_means,
            "The second product lacks its factor ½.": expected - of_squares,
            "The second product has the wrong sign.": expected + 2 * of_squares,
            "The first product has a factor ½ too much: the square has 2xμ.": expected - mixed / 2,
            "The first product lacks the precisions.": expected - mixed + x @ means.T,
        },
    )
    x, means, precisions, weights = _example(n=300, k=40, d=500)
    log_scores(x[:10], means, precisions, weights)
    tracemalloc.start()
    log_scores(x, means, precisions, weights)
    peak = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    assert peak < 12, (
        f"The values are right, but your function needs {peak:.0f} times the memory of x. With K = 40 this looks like "
        "an array of N·K·D differences. Expand the square: two matrix products need hardly more than x itself."
    )
    print(f"Task 2 is right. At its peak, it needs {peak:.1f} times the memory of x; all differences would need 40.")


@in_words
def likelihood(log_likelihood):
    """Check task 3 by scipy's logsumexp, near zero and far from it."""
    scores = np.random.default_rng(0).normal(0, 3, (N, K))
    expected = logsumexp(scores, axis=1)
    _agree(
        "log_likelihood",
        log_likelihood(scores),
        expected,
        {
            "This is the largest score alone: the sum over k is missing.": scores.max(axis=1),
            "The largest score is taken out, but not added again.": expected - scores.max(axis=1),
            "This is the sum of the log scores, not the logarithm of a sum.": scores.sum(axis=1),
            "This is the likelihood: take its logarithm.": np.exp(expected),
            "This is the mean over k. The weights π_k are in the scores already.": expected - np.log(K),
        },
    )
    for shift, direction in ((-1e4, "underflows to 0"), (1e4, "overflows to infinity")):
        with np.errstate(all="ignore"):
            found = np.asarray(log_likelihood(scores + shift))
        assert np.isfinite(found).all(), (
            f"With scores near {shift:,.0f}, your log-likelihood is not finite: the exponential {direction}. Did you "
            "subtract the largest score of each row before the exponential?"
        )
        _agree("log_likelihood", found, expected + shift, {})
    spread = np.array([[-10.0, -20.0], [-5000.0, -4000.0]])
    with np.errstate(all="ignore"):
        found = np.asarray(log_likelihood(spread))
    assert np.isfinite(found).all(), (
        "Your function subtracts one number from all rows. Rows are far apart, so each row needs its own largest score."
    )
    _agree("log_likelihood", found, logsumexp(spread, axis=1), {})
    print("Task 3 is right, for scores of any size.")


@in_words
def posterior(responsibilities):
    """Check task 4 by its sums, by scipy's softmax, and with large scores."""
    scores = np.random.default_rng(1).normal(0, 3, (N, K))
    found = shaped("responsibilities", responsibilities(scores), (N, K))
    if np.allclose(found.sum(axis=0), 1) and not np.allclose(found.sum(axis=1), 1):
        raise AssertionError(
            "The responsibilities sum to 1 over the images, but they must sum to 1 over the components: axis 1."
        )
    assert np.allclose(found.sum(axis=1), 1), (
        "The responsibilities do not sum to 1 over the components: divide each row by its own sum. The sum of row 0 is "
        f"{found[0].sum():.3f}."
    )
    _agree("responsibilities", found, softmax(scores, axis=1), {})
    for shift, direction in ((-1e4, "underflows to 0, and 0/0 is not a number"), (1e4, "overflows to infinity")):
        with np.errstate(all="ignore"):
            found = np.asarray(responsibilities(scores + shift))
        assert np.isfinite(found).all(), (
            f"With scores near {shift:,.0f}, the responsibilities are not numbers: the exponential {direction}. Did "
            "you subtract the largest score of each row before the exponential?"
        )
        _agree("responsibilities", found, softmax(scores, axis=1), {}, tolerance=1e-6)
    spread = np.array([[-10.0, -20.0], [-5000.0, -4000.0]])
    with np.errstate(all="ignore"):
        found = np.asarray(responsibilities(spread))
    assert np.isfinite(found).all(), (
        "Your function subtracts one number from all rows. Rows are far apart, so each row needs its own largest score."
    )
    print("Task 4 is right: the rows sum to 1, for scores of any size.")


@in_words
def against_scikit_learn(other, images, log_scores, log_likelihood, responsibilities):
    """Check task 5: scikit-learn's mixture gives the same log-likelihoods and responsibilities."""
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert hasattr(other, name), f"The mixture has no attribute {name} yet."
    assert np.allclose(other.covariances_ * other.precisions_cholesky_**2, 1), (
        "covariances_ and precisions_cholesky_ do not belong together: one holds the variances 1/s², the other one s."
    )
    # The check takes the parameters from the notebook, so that a wrong answer to an earlier task shows here, too.
    scores = log_scores(images, other.means_, 1 / other.covariances_, other.weights_)
    theirs, ours = other.score_samples(images), log_likelihood(scores)
    assert np.allclose(theirs, ours, rtol=1e-8, atol=1e-6), (
        f"scikit-learn's log-likelihoods differ from yours by up to {np.abs(theirs - ours).max():.3g} nats."
    )
    assert theirs.mean() > 150, (
        f"The mean log-likelihood is {theirs.mean():.0f} nats, but this mixture gives the images about 200: its "
        "precisions are not those of the model. Are they squared, or square roots, once too often?"
    )
    assert np.allclose(other.predict_proba(images), responsibilities(scores), atol=1e-8), (
        "scikit-learn's responsibilities differ from yours, although the log-likelihoods agree."
    )
    print(f"Task 5 is right: two programs give the same numbers, on average {ours.mean():.1f} nats an image.")


@in_words
def far_from_zero(log_scores, centred_log_scores, images, means, precisions, weights):
    """Check task 6: in single precision and far from zero, the scores agree with double precision."""
    shift = 100
    single = [np.float32(values) for values in (images + shift, means + shift, precisions, weights)]
    exact = np.log(np.float64(single[3])) + _log_densities(*(np.float64(values) for values in single[:3]))
    plain = np.abs(log_scores(*single) - exact).max()
    found = shaped("centred_log_scores", centred_log_scores(*single), exact.shape)
    assert found.dtype == np.float32, (
        f"The result has the type {found.dtype}, but all arrays are float32. Double precision hides the problem, "
        "and does not solve it. Did you convert an array? Or is there np.log(2 * np.pi) in task 2, in place of LOG_2PI?"
    )
    error = np.abs(found - exact).max()
    assert error < 0.5, (
        f"Where all pixels are larger by {shift}, your scores are wrong by up to {error:.3g} nats (without centring: "
        f"{plain:.3g}). Is c near the means, and is it subtracted from x and from the means?"
    )
    print(f"Task 6 is right: the largest error is {error:.2g} nats. Without centring it is {plain:.2g} nats.")


def _example(n=N, k=K, d=D):
    """Return rows, means, precisions and weights of a random mixture."""
    rng = np.random.default_rng(0)
    weights = rng.random(k) + 0.2
    return rng.normal(size=(n, d)), rng.normal(size=(k, d)), rng.uniform(0.5, 3, (k, d)), weights / weights.sum()


def _log_densities(x, means, precisions):
    """Return the log-densities (N, K) by the direct formula, one component after the other."""
    columns = [
        0.5 * np.sum(np.log(p / (2 * np.pi))) - 0.5 * ((x - m) ** 2 @ p) for m, p in zip(means, precisions, strict=True)
    ]
    return np.stack(columns, axis=1)


def _agree(name, value, expected, mistakes, tolerance=1e-8):
    """Compare an answer with the right one, and with the answers that known mistakes give, by their words."""
    value = shaped(name, value, expected.shape)
    assert np.isfinite(value).all(), f"{name} returns values that are not finite (NaN or infinity)."
    if np.allclose(value, expected, rtol=tolerance, atol=tolerance):
        return
    for words, wrong in mistakes.items():
        assert not np.allclose(value, wrong, rtol=tolerance, atol=tolerance), f"{name}: {words}"
    raise AssertionError(
        f"{name} differs from the reference by up to {np.abs(value - expected).max():.3g}. The first value is "
        f"{value.flat[0]:.4f}, expected {expected.flat[0]:.4f}. {HINT}"
    )
