"""Other methods: densities, detectors and samples have the properties of their kind, and rows are measured once."""

import random
import threading

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from dcgmm import DCGMM, outliers
from dcgmm.experiments import baseline_runs, baselines, dask_workers, settings_check
from dcgmm.experiments.expectation_maximisation import BoundedMixture, fit_by_em
from dcgmm.experiments.real_images import RealImages

RNG = np.random.default_rng(0)
CENTRES = RNG.random((3, 16))


def rows(n, spread=0.05):
    """Rows around three centres."""
    rng = np.random.default_rng(n)
    return CENTRES[rng.integers(3, size=n)] + rng.normal(scale=spread, size=(n, 16))


@pytest.mark.parametrize("method", baselines.METHODS)
def test_a_method_prefers_images_like_those_it_has_learned(method):
    fitted = baselines.METHODS[method](rows(600), 0)
    assert outliers.auc(fitted.score(rows(200)), fitted.score(RNG.random((200, 16)))) > 0.9


@pytest.mark.parametrize("method", baselines.METHODS)
def test_a_method_draws_from_no_generator_that_other_threads_use(method):
    learned, others = rows(300), rows(50)
    ended = threading.Event()

    def draw_from_the_global_generator():
        while not ended.is_set():
            random.random()

    first = baselines.METHODS[method](learned, 0)
    thread = threading.Thread(target=draw_from_the_global_generator)
    thread.start()
    second = baselines.METHODS[method](learned, 0)
    ended.set()
    thread.join()
    np.testing.assert_array_equal(first.score(others), second.score(others))
    if first.draw:
        np.testing.assert_array_equal(first.draw(20, 0), second.draw(20, 0))


@pytest.mark.parametrize("method", ["mixture of factor analysers", "variational autoencoder"])
def test_samples_lie_where_the_images_lie(method):
    learned = rows(600)
    drawn = baselines.METHODS[method](learned, 0).draw(500, 0)
    np.testing.assert_allclose(drawn.mean(axis=0), learned.mean(axis=0), atol=0.1)
    distances = np.linalg.norm(drawn[:, None] - CENTRES, axis=-1)
    assert np.median(distances.min(axis=1)) < 0.5 * np.linalg.norm(CENTRES[0] - CENTRES[1])


def test_the_density_of_factor_analysers_integrates_to_one():
    learned = np.random.default_rng(0).normal(size=(300, 2)) @ [[1.0, 0.8], [0.0, 0.4]]
    fitted = baselines.factor_analysers(learned, n_components=3, n_factors=1)
    axis = np.linspace(-8, 8, 400)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(fitted.score(grid)).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


@pytest.mark.promise("fault", "a method that is compared gives numbers that are not finite")
def test_numbers_that_are_not_finite_are_refused(monkeypatch):
    monkeypatch.setattr(baseline_runs, "chosen_images", lambda *_: None)
    monkeypatch.setattr(baseline_runs, "_unlike", lambda *_: {})
    numbers = {"parameters": None, "auc_unknown": np.nan, "js": np.nan}  # of few real images, there is no JS
    monkeypatch.setattr(baseline_runs, "measure", lambda *_: numbers)
    record = {"dataset": "mnist", "classes": [0], "images": None, "method": "PCA", "seed": 0}
    with pytest.raises(RuntimeError, match="not finite: auc_unknown$"):
        baseline_runs.measure_record(record, None, None)
    numbers["auc_unknown"] = 0.9
    assert baseline_runs.measure_record(record, None, None) == numbers


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40))
def test_the_area_is_that_of_the_library_and_lies_in_its_interval(seed, n, m):
    rng = np.random.default_rng(seed)
    pair = rng.integers(10, size=n).astype(float), rng.integers(10, size=m).astype(float)
    area, (low, high) = baselines._area(*pair), baselines._interval(pair, seed)
    assert area == pytest.approx(outliers.auc(*pair))
    assert 0 <= low <= high <= 1


def test_em_is_that_of_scikit_learn_where_no_precision_is_at_its_bound():
    x = rows(300, spread=0.5)
    ours = BoundedMixture(3, max_precision=1e6).fit(x)
    theirs = GaussianMixture(3, covariance_type="diag", random_state=0, max_iter=500).fit(x)
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(x), rtol=1e-5)


def test_no_step_of_em_loses_likelihood_and_the_model_has_its_density():
    x = rows(300).reshape(-1, 4, 4, 1).astype("float32")
    model = DCGMM.from_spec("F(4,4,1,1) G(4)", (4, 4, 1))
    history = fit_by_em(model, x, seed=0)["log_likelihood_0"]
    assert np.diff(history).min() >= -1e-9
    assert model.gmm_layers[0].precisions.max() == pytest.approx(20, rel=1e-5)  # narrow data: the bound is active
    assert np.mean(model.exact_log_likelihood(x)) == pytest.approx(history[-1], rel=1e-3)


@pytest.mark.parametrize("spec", ["F(4,4,1,1) G(4) G(4)", "F(4,4,1,1) G(4) C(3)", "F(2,2,2,2) G(4)"])
def test_em_refuses_what_is_not_flat(spec):
    with pytest.raises(ValueError, match="EM fits flat mixtures"):
        fit_by_em(DCGMM.from_spec(spec, (4, 4, 1)), np.zeros((10, 4, 4, 1), "float32"), seed=0)


def test_settings_refuse_em_for_deep_instances():
    (fault,) = settings_check.training_faults("2L-d", {"optimizer": "EM"})
    assert fault == "architecture: EM fits flat mixtures only, not '2L-d'"
    assert not settings_check.training_faults("1L", {"optimizer": "EM"})


def test_a_measured_method_has_the_numbers_of_its_kind():
    images = rows(400).reshape(-1, 4, 4, 1)
    real = RealImages(images, np.zeros(400), images[:100], most=50)
    numbers = baselines.measure("mixture of factor analysers", real, {"unknown": RNG.random((50, 4, 4, 1))})
    assert numbers["auc_unknown_low"] <= numbers["auc_unknown"] <= numbers["auc_unknown_high"]
    assert {"log_density", "js", "coverage", "parameters"} <= numbers.keys()


def test_collected_rows_are_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DCGMM_RESULTS", str(tmp_path))
    monkeypatch.delenv("DCGMM_TRAIN", raising=False)

    stops, measured = [2], []

    def run(function, calls, keep, n_bytes):
        for name, (arguments, _) in list(calls.items())[: stops[0]]:
            keep(name, function(*arguments, report=print))  # as a worker does
            measured.append(name)
        if stops[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(dask_workers, "run", run)
    for name in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(tf.config.threading, name, lambda n: None)  # this process has started TensorFlow
    monkeypatch.setattr(baseline_runs, "measure_record", lambda record, source, most: {"auc_unknown": 0.5})
    with pytest.raises(KeyboardInterrupt):
        baseline_runs.collect("mnist", "quick")
    stops[0] = None
    baseline_runs.collect("mnist", "quick")
    assert len(measured) == len(set(measured)) == len(baselines.METHODS), "what was measured before the stop is kept"
    note = tmp_path / "quick" / "baselines" / "mnist" / "provenance.json"
    written = note.stat().st_mtime_ns
    baseline_runs.collect("mnist", "quick")
    assert note.stat().st_mtime_ns == written, "nothing was measured"
    monkeypatch.setenv("DCGMM_TRAIN", "never")
    assert len(baseline_runs.baselines("mnist", "0-4", "quick")) == len(baselines.METHODS)
    with pytest.raises(RuntimeError, match="DCGMM_TRAIN=never"):
        baseline_runs.baselines("mnist", "0-3", "quick")
