"""The self-checks of exercise 2. Each says what is wrong, or that the task is right."""

from itertools import product

import numpy as np
from words import in_words, shaped

from dcgmm.annealing import Annealing

DELTA, GAMMA, END = 0.05, 0.9, 0.01


@in_words
def distances(torus_distances):
    """Check task 1 by what a distance on a torus must do, and by the distances of one cell."""
    for side in (3, 5, 6):
        k = side * side
        found = shaped("torus_distances", torus_distances(side), (k, k))
        assert np.allclose(np.diag(found), 0), "The distance of a cell from itself must be 0."
        assert np.allclose(found, found.T), "The distance from a to b must be the distance from b to a."
        last = found[0, side - 1]
        assert not np.isclose(last, side - 1), (
            f"From the first to the last cell of a row you have {last:.0f}. The edges are glued together, so it is 1."
        )
        expected = _distances(side)
        one_axis = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
        assert not np.allclose(found, np.minimum(one_axis, k - one_axis)), (
            "This is the distance on a ring of K cells. The grid has two dimensions: rows and columns."
        )
        assert not np.allclose(found, expected**2), "These are squared distances. Take the square root here."
        assert not np.allclose(found, _distances(side, np.add)), "These are steps along the axes, not Euclidean ones."
        assert np.allclose(found, expected), (
            f"On a torus of side {side}, the largest error is {np.abs(found - expected).max():.2f}. The cell in row 1, "
            f"column 1 has the distance {expected[0, side + 1]:.3f} from cell 0, and you have {found[0, side + 1]:.3f}."
        )
    print("Task 1 is right, for three sizes.")


@in_words
def neighbours(neighbourhood):
    """Check task 2 by its sums, its limits, and the ratio of two entries, which no normalisation changes."""
    d = _distances(5)
    d[:, 24] += 0.3  # not symmetric, so that rows and columns are told apart
    for sigma in (1.77, 0.7):
        g = shaped("neighbourhood", neighbourhood(d, sigma), (25, 25))
        raw = np.exp(-(d**2) / (2 * sigma**2))
        assert np.allclose(g.sum(axis=1), 1) or not np.allclose(g.sum(axis=0), 1), (
            "The columns sum to 1, but the rows must: sum over axis 1, and keep the dimension (keepdims=True)."
        )
        assert not np.allclose(g, raw / raw.sum()), "The whole matrix sums to 1, but each row must."
        assert np.allclose(g.sum(axis=1), 1), f"The rows do not sum to 1. The first one sums to {g[0].sum():.3f}."
        mistakes = {
            "The distance is not squared.": np.exp(-d / (2 * sigma**2)),
            "The radius is not squared.": np.exp(-(d**2) / (2 * sigma)),
            "The factor 2 below σ² is missing.": np.exp(-(d**2) / sigma**2),
            "The minus sign is missing: far cells have the largest weight.": 1 / raw,
        }
        for words, wrong in mistakes.items():
            assert not np.allclose(g, wrong / wrong.sum(axis=1, keepdims=True)), words
        assert np.allclose(g, raw / raw.sum(axis=1, keepdims=True)), f"The values are wrong for σ = {sigma}."
    alone = np.asarray(neighbourhood(_distances(5), 0.01))
    assert np.allclose(alone, np.eye(25)), "With σ = 0.01, g must be the identity matrix: each component learns alone."
    print("Task 2 is right: rows sum to 1, and with σ = 0.01 each component learns alone.")


@in_words
def objective(annealed, neighbourhood, torus_distances):
    """Check task 3 against the library's objective."""
    scores = np.random.default_rng(0).normal(-100, 30, (60, 25))
    for sigma in (1.77, 0.5, 0.01):
        g = neighbourhood(torus_distances(5), sigma)
        found = annealed(scores, g)
        assert found is not None and np.ndim(found) == 0, "annealed must return one number, the mean over the images."
        expected = _objective(scores, sigma)
        smoothed = scores @ g.T
        mistakes = {
            "This is the loss without neighbours. Each component must first take the mean over its neighbours, by g.": (
                scores.max(axis=1).mean()
            ),
            "This takes the best component before its neighbours are averaged. Average first, then take the best.": (
                np.mean(g[scores.argmax(axis=1), scores.argmax(axis=1)] * scores.max(axis=1))
            ),
            "This is the sum over the images. Take the mean, so that it does not depend on their number.": (
                smoothed.max(axis=1).sum()
            ),
            "The maximum is over the images, but it must be over the components: axis 1.": smoothed.max(axis=0).mean(),
            "This is the mean over the components. The best one counts.": smoothed.mean(),
        }
        if np.isclose(found, expected, rtol=1e-5):
            continue
        for words, wrong in mistakes.items():
            assert not np.isclose(found, wrong, rtol=1e-5), words
        raise AssertionError(f"For σ = {sigma}, your loss is {found:.3f}, expected {expected:.3f}.")
    print("Task 3 is right: the library's objective is the same.")


@in_words
def schedule(next_sigma):
    """Check task 4 on single windows, and against the library over a whole course."""
    for means in ([5.0], [5.0, 5.0]):
        assert next_sigma(1.0, means) == 1.0, f"After {len(means)} windows σ must stay as it is: there is no gain yet."
    cases = {
        (0.0, 10.0, 10.2): (True, "a gain of 2 % is small, so σ falls"),
        (0.0, 10.0, 12.0): (False, "a gain of 20 % is large, so σ stays"),
        (0.0, 10.0, 9.3): (True, "a loss of 7 % is within −2δ, so σ falls"),
        (0.0, 10.0, 8.0): (False, "a loss of 20 % is below −2δ, so σ stays"),
        (-100.0, -50.0, -48.5): (True, "a gain of 3 % of the gain until now is small, so σ falls"),
        (0.0, 100.0, 10.0, 10.4): (True, "the gain is relative to the gain since the first window, 4 %, so σ falls"),
        (5.0, 10.0, 10.4): (False, "the gain is 8 % of the gain since the first window (not of m), so σ stays"),
    }
    for means, (falls, words) in cases.items():
        found = next_sigma(1.0, list(means))
        assert found is not None, "next_sigma returns nothing: does every branch end with `return`?"
        assert np.isclose(found, GAMMA if falls else 1.0), (
            f"For the means {list(means)}, {words}. You return {found:.3g}."
        )
    assert np.isclose(next_sigma(0.0105, [0.0, 10.0, 10.1]), END), "σ must not fall below σ_∞ = 0.01."
    assert np.isclose(next_sigma(1.0, [0.0, 10.0, 10.2], gamma=0.5), 0.5), "gamma is an argument, but it is not used."
    assert np.isclose(next_sigma(1.0, [0.0, 10.0, 12.0], delta=0.3), GAMMA), "delta is an argument, but it is not used."
    rng = np.random.default_rng(0)
    course = 100 * (1 - np.exp(-np.arange(60) / 8)) + rng.normal(0, 1.5, 60)
    theirs = Annealing(25, sigma_start=1.0, rate=1)
    theirs.build()
    sigma = 1.0
    for i, mean in enumerate(course):
        theirs.update(np.float32(mean))
        sigma = next_sigma(sigma, list(course[: i + 1]))
        expected = float(theirs.sigma)
        assert np.isclose(sigma, expected, rtol=1e-4), (
            f"In window {i + 1} of a course, your σ is {sigma:.4f}, and the library's is {expected:.4f}."
        )
    print(f"Task 4 is right: over 60 windows, σ falls from 1 to {sigma:.3f}, as in the library.")


@in_words
def trained(models, likelihoods, in_use, x_test):
    """Check task 5: both models are trained as asked for, and what is said about them is true."""
    for name, start in {"annealed": np.sqrt(50) / 4, "alone": 0.01}.items():
        for what, table in {"models": models, "likelihoods": likelihoods, "in_use": in_use}.items():
            assert name in table, f"{what} has no entry {name!r} yet."
        annealing, gmm = models[name].annealings[0], models[name].gmm_layers[0]
        assert np.isclose(annealing.sigma_start, start), (
            f"The model {name!r} starts with σ₀ = {annealing.sigma_start:.3g}, expected {start:.3g}."
        )
        assert np.isclose(annealing.rate, 0.1), f"The model {name!r} has the rate {annealing.rate}, expected 0.1."
        assert gmm.n_components == 25 and len(models[name].gmm_layers) == 1, f"The model {name!r} is not 1L."
        steps = int(annealing.steps)
        assert steps > 0, f"The model {name!r} is not trained: call fit."
        assert steps == 300, f"The model {name!r} has learned {steps} mini-batches, expected 5 epochs of 60."
        of_test = float(models[name].score_samples(x_test).mean())
        assert np.isclose(likelihoods[name], of_test, rtol=1e-3), (
            f"The model {name!r} gives the test images {of_test:.1f} nats on average, not {likelihoods[name]:.1f}."
        )
        wins = np.bincount(models[name].predict_clusters(x_test), minlength=25)
        assert in_use[name] != np.sum(wins > 0) or np.sum(wins > 0) == np.sum(wins >= 10), (
            "A component counts only if it wins at least 10 test images."
        )
        assert in_use[name] == np.sum(wins >= 10), (
            f"In the model {name!r}, {np.sum(wins >= 10)} components win at least 10 test images, not {in_use[name]}."
        )
    assert in_use["annealed"] > in_use["alone"], "The annealed model should use more components: is the seed 0?"
    print(
        f"Task 5 is right: with annealing, {in_use['annealed']} components are in use, without it {in_use['alone']}; "
        f"the test images have {likelihoods['annealed']:.0f} and {likelihoods['alone']:.0f} nats."
    )


@in_words
def of_one_model(losses, to_watch, scores):
    """Check task 6 by the library's objective for each radius."""
    for sigma in (1.77, 1.0, 0.5, 0.01):
        assert sigma in losses, f"losses has no entry for σ = {sigma}."
        expected = _objective(scores, sigma)
        assert np.isclose(losses[sigma], expected, rtol=1e-4, atol=0.05), (
            f"For σ = {sigma}, the loss is {expected:.1f}, and you have {losses[sigma]:.1f}. Use your functions on the "
            "scores of the annealed model."
        )
    assert to_watch in ("loss", "log-likelihood"), 'to_watch must be "loss" or "log-likelihood".'
    assert to_watch == "log-likelihood", (
        "The weights are the same for all σ, but the loss is not: it rises while σ falls, even if nothing is learned."
    )
    gain = losses[0.01] - losses[1.77]
    print(f"Task 6 is right: the same weights gain {gain:.0f} nats of loss while σ falls from 1.77 to 0.01.")


def _distances(side, combine=np.hypot):
    """Return the distances between the cells of a torus, from shifted copies of the grid."""
    cells, moves = list(product(range(side), repeat=2)), (-side, 0, side)

    def shortest(a, b, c, d):
        return min(combine(abs(a - c + u), abs(b - d + v)) for u in moves for v in moves)

    return np.array([[shortest(*one, *other) for other in cells] for one in cells])


def _objective(scores, sigma):
    """Return the library's objective for log scores (N, K)."""
    annealing = Annealing(scores.shape[1], sigma_start=sigma)
    annealing.build()
    return float(annealing.objective(np.float32(scores)[:, None, None, :]))
