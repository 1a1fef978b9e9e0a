"""What is measured of each repetition: by its definition, and all that the statements of the protocol need."""

import numpy as np
import pandas as pd
import pytest

from dcgmm import datasets, load_dataset, load_pretrained, metrics
from dcgmm.experiments import evaluate, evaluate_samples
from dcgmm.experiments.evaluation_of_claims import MEASURED, MEASURES, damage, evaluate_claims, sparsity
from dcgmm.experiments.real_images import RealImages
from dcgmm.experiments.statements import Runs, outcomes

KNOWN = [0, 1, 2, 3, 4]


def real_images(most, n=2000, classes=None):
    x, y, x_test, y_test = load_dataset("mnist")
    (x, y), (x_test, _) = (
        datasets.select_classes(*pair, classes or list(range(10))) for pair in ((x, y), (x_test, y_test))
    )
    return RealImages(x[:n], y[:n], x_test[:n], most)


@pytest.mark.slow
def test_every_number_that_a_statement_needs_is_measured():
    model, real = load_pretrained("2L-c", "mnist", "0-4"), real_images(most=5, classes=KNOWN)
    common = evaluate(model, *load_dataset("mnist")[2:], KNOWN).keys()
    of_samples = evaluate_samples(model, real).keys() | {"exact_log_likelihood"}  # of chains without overlap
    named = {name for names in MEASURED.values() for name in names}
    columns = {name: evaluate_claims(model, real, [name]).keys() for name in named}

    def repetitions(architecture, dataset, classes="0-4", **changes):
        sampled = of_samples if classes == "0-4" and not changes else set()
        measured = {c for name in MEASURED.get((architecture, classes), ()) if not changes for c in columns[name]}
        numbers = dict.fromkeys([*common, *sampled, *measured], 1.0)
        return pd.DataFrame([numbers | {"lowest_layer": "sha256:"}] * 10)

    assert not outcomes(Runs("mnist", repetitions)).empty


def test_real_images_are_as_often_corrupted_as_the_protocol_says():
    x, y, _, _ = load_dataset("mnist")
    real = RealImages(x[:4000], y[:4000], x[:10])
    assert real.corrupted(x[2000:4000]) == pytest.approx(0.05, abs=1e-3)
    assert real.corrupted(x[4000:8000]) == pytest.approx(0.05, abs=0.03)
    assert real.corrupted((x[:500] + x[500:1000]) / 2) > 4 * 0.05  # of two images at once, the class is in doubt


def test_fewer_images_than_the_protocol_asks_for_give_numbers_or_nan():
    x = np.random.default_rng(0).random((3, 28, 28, 1), dtype="float32")
    model = load_pretrained("1L", "mnist", "0-4")
    assert np.isfinite(list(evaluate_samples(model, RealImages(x, np.arange(3), x, most=5)).values())).all()
    equal = evaluate_samples(model, RealImages(np.zeros_like(x), np.arange(3), x[:1], most=5))
    assert np.isnan([equal["js_s1"], equal["coverage_s1"], equal["nearest_s1"]]).all()


def test_one_hot_centroids_are_dominated_and_equal_ones_are_not():
    model, real = load_pretrained("2L-a", "mnist"), real_images(most=None)
    upper = model.gmm_layers[-1]
    one_hot = np.zeros(upper.mu.shape, "float32").reshape(36, 4, 25)
    one_hot[:, :, 0] = 1
    upper.mu.assign(one_hot.reshape(36, 100))
    assert sparsity(model, real) == {"sparser": 1, "dominated": 1}
    upper.mu.assign(np.full(upper.mu.shape, 0.04, "float32"))
    assert sparsity(model, real) == {"sparser": 0, "dominated": 0}


def test_errors_of_damaged_images_are_those_of_their_squares():
    model, real = load_pretrained("2L-c", "mnist"), real_images(most=20)
    numbers = damage(model, real)
    x = real.x_test[:20]
    mask = datasets.square_masks(20, (28, 28), 10, 4, model.seed)
    white = datasets.damaged(x, mask, "white", model.seed)
    inside = np.mean((1 - x[mask]) ** 2)
    assert numbers["error_inside_white_damaged"] == pytest.approx(inside, rel=1e-5)
    assert numbers["error_white_damaged"] == pytest.approx(inside * 100 / 784, rel=1e-5)
    assert numbers["error_inside_training"] == pytest.approx(np.mean((real.x.mean(0) - x)[mask] ** 2), rel=1e-5)
    assert numbers["located_white"] > 0.5
    drawn = model.inpaint(white, seed=model.seed)
    assert numbers["error_white"] == pytest.approx(np.mean((drawn - x) ** 2), rel=1e-5)
    assert numbers["error_inside_white_mean"] <= numbers["error_inside_white"] + 0.02  # a mean has no spread


def test_sharpness_is_relative_to_the_training_images():
    model, real = load_pretrained("1L", "mnist", "0-4"), real_images(most=5, classes=KNOWN)
    smooth = model.sample(100, noise=0.0, seed=model.seed)
    expected = metrics.sharpness(smooth) / metrics.sharpness(real.x)
    assert evaluate_samples(model, real)["sharpness"] == pytest.approx(expected)


def test_every_measure_is_of_some_instance():
    assert {name for names in MEASURED.values() for name in names} == set(MEASURES)
