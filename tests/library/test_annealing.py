import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dcgmm.annealing import Annealing


def built(n_components, **arguments):
    annealing = Annealing(n_components, **arguments)
    annealing.build()
    return annealing


@given(st.sampled_from([1, 4, 9, 25, 36]), st.floats(0.01, 5), st.integers(0, 2**16))
def test_the_objective_agrees_with_float64(n_components, sigma, seed):
    scores = np.random.default_rng(seed).normal(0, 100, (3, 2, 2, n_components))
    annealing = built(n_components, sigma_start=sigma)
    value = float(annealing.objective(tf.constant(scores, tf.float32)))
    assert value == pytest.approx(reference.objective(scores, sigma), rel=1e-4, abs=1e-3)


def test_without_neighbours_the_objective_is_the_largest_score():
    scores = np.random.default_rng(0).normal(0, 10, (5, 2, 2, 9)).astype("float32")
    assert float(built(9, sigma_start=0.01).objective(scores)) == pytest.approx(scores.max(axis=-1).mean())


@pytest.mark.parametrize("sigma", [0.01, 0.06, 1.5])
def test_a_position_pulls_its_first_best_component_and_the_neighbours_of_that(sigma):
    annealing = built(9, sigma_start=sigma)
    scores = np.random.default_rng(0).normal(0, 10, (5, 2, 2, 9)).astype("float32")
    scores[0, 0, 0, [2, 7]] = 100  # of two equal scores, the first one wins
    with tf.GradientTape() as tape:
        tape.watch(scores := tf.constant(scores))
        objective = annealing.objective(scores)
    g = annealing.neighbourhood().numpy()
    winners = (tf.reshape(scores, (-1, 9)).numpy() @ g.T).argmax(axis=1)
    np.testing.assert_allclose(tape.gradient(objective, scores).numpy().reshape(-1, 9), g[winners] / 20, rtol=1e-6)


def test_neighbours_learn_less_the_farther_they_are_on_the_torus():
    annealing = built(25)
    assert float(annealing.sigma) == pytest.approx(50**0.5 / 4)
    g = annealing.neighbourhood().numpy().reshape(5, 5, 5, 5)
    np.testing.assert_allclose(g.sum(axis=(2, 3)), 1, rtol=1e-6)
    assert g[0, 0, 0, 0] > g[0, 0, 0, 1] > g[0, 0, 1, 1] > g[0, 0, 0, 2] > g[0, 0, 2, 2]
    np.testing.assert_allclose(g[0, 0, 0, 1], g[0, 0, 4, 0])  # the torus has no border


def run(annealing, means):
    """Feed windows of constant objectives, and return σ after each."""
    sigmas = []
    for mean in means:
        for _ in range(round(1 / annealing.rate)):
            annealing.update(tf.constant(mean, tf.float32))
        sigmas.append(float(annealing.sigma))
    return sigmas


def test_sigma_decays_only_while_the_gain_is_small():
    # Relative gains: undefined, undefined, 1 (rising), 0.04 (stationary), -0.08 (stationary), -0.5 (falling).
    means = [0.0, 1.0, 2.0, 2.08, 1.9136, 0.9568]
    sigmas = run(built(4, sigma_start=1.0, rate=0.25), means)
    np.testing.assert_allclose(sigmas, [1, 1, 1, 0.9, 0.81, 0.81], rtol=1e-6)


def test_sigma_never_falls_below_its_end():
    sigmas = run(built(4, sigma_start=0.012, rate=0.5), [0.0] + [1.0] * 5)
    np.testing.assert_allclose(sigmas[-1], 0.01)


@pytest.mark.parametrize("n_components", [2, 24, 26])
def test_components_that_fill_no_square_are_refused(n_components):
    with pytest.raises(ValueError, match=f"square number: received K = {n_components}"):
        Annealing(n_components)


@pytest.mark.parametrize(
    "arguments", [{"sigma_start": 0}, {"sigma_end": -1}, {"decay": 1.5}, {"tolerance": 0}, {"rate": 0}, {"rate": 2}]
)
def test_arguments_outside_their_range_are_named(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} of the annealing must be a finite number"):
        Annealing(4, **arguments)


def test_a_layer_that_waits_keeps_its_state_also_at_the_end_of_a_window():
    annealing = built(4, sigma_start=0.5, rate=0.5)
    for objective in (0.0, 1.0, 2.0, 3.0, 3.0, 3.0):  # three windows of two mini-batches
        annealing.update(objective)
    before = [weights.numpy() for weights in annealing.weights]
    for _ in range(5):
        annealing.update(7.0, learning=0.0)
    np.testing.assert_array_equal([weights.numpy() for weights in annealing.weights], before)
