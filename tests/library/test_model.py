import json
import subprocess
import sys

import bad_input
import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from sklearn.mixture import GaussianMixture

from dcgmm import ARCHITECTURES, DCGMM, GMM, Folding, MaxPooling

SMALL = "F(4,4,2,2) G(4) P(2,2) F(3,3,1,1) G(9)"


def small_model(seed=0, **arguments):
    model = DCGMM.from_spec(SMALL, input_shape=(14, 14, 1), seed=seed, **arguments)
    model.compile(steps_per_execution=5)
    return model


def small_images(n=200, seed=0):
    return np.random.default_rng(seed).random((n, 14, 14, 1), dtype="float32")


def spread(model, seed=0):
    """Give the model random parameters, as after a training."""
    rng = np.random.default_rng(seed)
    for layer in model.gmm_layers:
        layer.mu.assign(rng.uniform(0, 1, layer.mu.shape))
        layer.s.assign(rng.uniform(0.5, 4, layer.s.shape))
        layer.xi.assign(rng.normal(0, 1, layer.xi.shape))
    return model


def test_the_flat_instance_agrees_with_scikit_learn(images):
    model = spread(DCGMM.from_spec("1L"))
    layer = model.gmm_layers[0]
    mixture = GaussianMixture(25, covariance_type="diag")
    mixture.weights_, mixture.means_ = layer.mixing_weights.astype("float64"), layer.means.astype("float64")
    mixture.precisions_cholesky_ = layer.s.numpy().astype("float64")
    flat = images.reshape(len(images), -1)
    np.testing.assert_allclose(model.score_samples(images), mixture.score_samples(flat), rtol=1e-4)
    np.testing.assert_allclose(model.predict(images, verbose=0)[:, 0, 0], mixture.predict_proba(flat), atol=1e-3)
    np.testing.assert_array_equal(model.predict_clusters(images), mixture.predict(flat))


def test_every_layer_s_log_likelihood_agrees_with_scikit_learn_on_its_own_input():
    model, x = spread(small_model()), small_images(20)
    fold, pool, fold_again = model.stack[0], model.stack[2], model.stack[3]
    inputs = [fold(x), fold_again(pool(model.responsibilities(x, layer=0)))]
    for i, layer in enumerate(model.gmm_layers):
        mixture = GaussianMixture(layer.n_components, covariance_type="diag")
        mixture.weights_, mixture.means_ = layer.mixing_weights, layer.means
        mixture.precisions_cholesky_ = layer.s.numpy()
        points = np.reshape(inputs[i], (-1, layer.n_features)).astype("float64")
        likelihood = model.log_likelihood(x, layer=i)
        np.testing.assert_allclose(likelihood.ravel(), mixture.score_samples(points), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("strides", "convolves"), [(1, True), (3, False)])
def test_the_gradient_of_the_training_loss_agrees_with_finite_differences_in_float64(strides, convolves):
    model = DCGMM([Folding(3, strides), GMM(4)], input_shape=(9, 9, 2))
    layer, annealing = spread(model).gmm_layers[0], model.annealings[0]
    folding = model.stack[0]
    assert folding.overlapping == convolves
    x = np.random.default_rng(0).random((6, *model.image_shape), dtype="float32")
    parameters = {name: getattr(layer, name) for name in ("mu", "s", "xi")}
    with tf.GradientTape() as tape:
        (scores,), _ = model.climb(tf.constant(x))
        objective = annealing.objective(scores)
    gradients = dict(zip(parameters, tape.gradient(objective, list(parameters.values())), strict=True))

    patches = reference.patches(x.astype("float64"), folding.size, folding.strides)
    values = {name: variable.numpy().astype("float64") for name, variable in parameters.items()}

    def loss(name, index, step):
        moved = {**values, name: values[name].copy()}
        moved[name][index] += step
        return reference.objective(reference.log_scores(patches, **moved), float(annealing.sigma))

    rng = np.random.default_rng(1)
    for name, gradient in gradients.items():
        for _ in range(8):
            index = tuple(rng.integers(n) for n in gradient.shape)
            difference = (loss(name, index, 1e-6) - loss(name, index, -1e-6)) / 2e-6
            assert gradient.numpy()[index] == pytest.approx(difference, rel=2e-3, abs=2e-4)


def test_no_gradient_crosses_a_layer():
    model = spread(small_model())
    with tf.GradientTape() as tape:
        scores, _ = model.climb(small_images(5))
        objectives = [a.objective(s) for a, s in zip(model.annealings, scores, strict=True)]
    below, above = model.gmm_layers
    assert tape.gradient(objectives[1], [below.mu, below.s, below.xi]) == [None] * 3


@pytest.mark.slow
def test_training_raises_every_layer_s_likelihood_and_reports_it():
    model, x = small_model(), small_images()
    before = model.evaluate(x, verbose=0, return_dict=True)
    history = model.fit(x, epochs=20, batch_size=20, verbose=0, validation_data=x).history
    after = model.evaluate(x, verbose=0, return_dict=True)
    assert after["log_likelihood_0"] > before["log_likelihood_0"]
    assert after["log_likelihood_0"] == pytest.approx(model.log_likelihood(x, layer=0).mean(), rel=1e-5)
    names = {"loss", "log_likelihood_0", "log_likelihood_1"}
    assert set(history) == names | {f"val_{name}" for name in names} | {"sigma_0", "sigma_1"}
    assert all(len(values) == 20 for values in history.values())


def test_at_first_only_the_centroids_adapt():
    model, x = small_model(), small_images()
    start = [layer.precisions for layer in model.gmm_layers]
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            moved = [not np.array_equal(a.precisions, b) for a, b in zip(model.gmm_layers, start, strict=True)]
            seen.append((any(moved), all(moved)))

    model.fit(x, epochs=5, batch_size=20, verbose=0, callbacks=[Watch()])
    assert seen[1] == (False, False)
    assert seen[-1] == (True, True)


def test_a_delayed_layer_learns_and_anneals_only_from_its_share_of_the_epochs_on():
    model, start, seen = small_model(start_delay=0.5), small_model().gmm_layers[1].get_weights(), []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights = zip(model.gmm_layers[1].get_weights(), start, strict=True)
            moved = any(not np.array_equal(now, before) for now, before in weights)
            seen.append((moved, [int(annealing.steps) for annealing in model.annealings]))

    model.fit(small_images(), epochs=4, batch_size=20, verbose=0, callbacks=[Watch()])
    assert seen == [(False, [10, 0]), (False, [20, 0]), (True, [30, 10]), (True, [40, 20])]
    assert DCGMM.from_config(model.get_config()).start_delay == 0.5
    with pytest.raises(ValueError, match="the top GMM layer starts after 1 epochs: fit for more than 1"):
        small_model(start_delay=0.6).fit(small_images(), epochs=1)
    with pytest.raises(ValueError, match="start_delay=0.5 leaves the top one of 3 GMM layers no epoch"):
        DCGMM.from_spec("3L-a", start_delay=0.5)


@pytest.mark.parametrize(("sigma", "expected"), [(1.0, 1.0), (0.5, 0.5), (0.05, 0.2)])
def test_a_layer_s_rate_falls_with_its_radius_down_to_the_final_rate(sigma, expected):
    moved = []
    for final_rate in (1.0, 0.2):
        model = small_model(final_rate=final_rate)
        for annealing in model.annealings:
            annealing.sigma.assign(sigma * annealing.sigma_start)
        start = [layer.means for layer in model.gmm_layers]
        model.fit(small_images(20), epochs=1, batch_size=20, verbose=0)
        moved.append([layer.means - before for layer, before in zip(model.gmm_layers, start, strict=True)])
    for constant, falling in zip(*moved, strict=True):
        np.testing.assert_allclose(falling, expected * constant, atol=1e-7)
        assert np.abs(constant).max() > 1e-6


def test_counted_weights_are_the_mean_responsibility_and_raise_the_likelihood():
    model, x = spread(small_model()), small_images()
    model.calibrate(x)
    before, lower = model.log_likelihood(x), model.gmm_layers[0].mixing_weights
    expected = model.responsibilities(x).mean(axis=(0, 1, 2))
    model.count_weights(x)
    np.testing.assert_allclose(model.gmm_layers[-1].mixing_weights, expected, rtol=1e-4)
    np.testing.assert_array_equal(model.gmm_layers[0].mixing_weights, lower)
    after = model.log_likelihood(x)
    assert after.mean() > before.mean()
    np.testing.assert_allclose(model.moments[-1].mean, after.mean(axis=0), rtol=1e-5)
    classifying = DCGMM.from_spec("1L C(10)")
    classifying.compile()
    with pytest.raises(ValueError, match="count_weights needs a model without a LinearClassifier"):
        classifying.count_weights(np.zeros((1, 28, 28, 1)))
    with pytest.raises(ValueError, match="count_weights needs a model without a LinearClassifier"):
        classifying.fit(np.zeros((1, 28, 28, 1)), [0], count_weights=True)


def test_weights_can_be_counted_of_data_sets_and_of_components_that_win_nothing():
    model, x = spread(small_model()), small_images()
    top = model.gmm_layers[-1]
    far = top.means
    far[0] = 1e3
    top.mu.assign(far)
    start = top.xi.numpy()
    model.count_weights(tf.data.Dataset.from_tensor_slices(x).batch(30))
    counted = top.mixing_weights
    assert counted[0] < 1e-30
    assert np.all(np.isfinite(model.log_likelihood(x)))
    top.xi.assign(start)
    model.count_weights(x)
    np.testing.assert_allclose(top.mixing_weights, counted, rtol=1e-5)
    with pytest.warns(UserWarning, match="gave no images to count weights with"):
        model.count_weights(tf.data.Dataset.from_tensor_slices(x).batch(30).take(0))
    np.testing.assert_allclose(top.mixing_weights, counted, rtol=1e-5)


def test_fit_can_count_the_weights_at_its_end():
    by_fit, afterwards, x = small_model(), small_model(), small_images()
    by_fit.fit(x, epochs=2, batch_size=20, verbose=0, count_weights=True)
    afterwards.fit(x, epochs=2, batch_size=20, verbose=0)
    assert np.ptp(afterwards.gmm_layers[-1].mixing_weights) < 1e-6
    afterwards.count_weights(x)
    np.testing.assert_allclose(*(m.gmm_layers[-1].mixing_weights for m in (by_fit, afterwards)), rtol=1e-5)
    np.testing.assert_allclose(*(m.moments[-1].mean.numpy() for m in (by_fit, afterwards)), rtol=1e-5)


def test_mixtures_that_are_not_shared_learn_as_models_of_their_own(tmp_path):
    x = small_images()
    own = DCGMM.from_spec("F(7,7,7,7) G(4,unshared)", (14, 14, 1), annealing={"sigma_start": 0.01})
    own.compile(steps_per_execution=5)
    start = own.gmm_layers[0].get_weights()
    own.fit(x, epochs=3, batch_size=20, verbose=0)
    own.save(tmp_path / "own.keras")
    loaded = keras.models.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(loaded.log_likelihood(x), own.log_likelihood(x))
    np.testing.assert_array_equal(loaded.sample(5, seed=0), own.sample(5, seed=0))
    for row, column in np.ndindex(2, 2):
        patches = x[:, 7 * row : 7 * row + 7, 7 * column : 7 * column + 7]
        alone = DCGMM.from_spec("F(7,7,1,1) G(4)", (7, 7, 1), annealing={"sigma_start": 0.01})
        alone.compile(steps_per_execution=5)
        alone.gmm_layers[0].set_weights([weights[row, column] for weights in start])
        alone.fit(patches, epochs=3, batch_size=20, verbose=0)
        for there, expected in zip(own.gmm_layers[0].get_weights(), alone.gmm_layers[0].get_weights(), strict=True):
            np.testing.assert_allclose(there[row, column], expected, atol=1e-4)


def test_batches_depend_on_seed_and_epoch_alone(monkeypatch):
    x = np.arange(24, dtype="float32").reshape(6, 2, 2, 1)
    seen = []
    learn = DCGMM.train_step

    def watched(self, data):
        seen.append(data[0].numpy()[:, 0, 0, 0].tolist())
        return learn(self, data)

    monkeypatch.setattr(DCGMM, "train_step", watched)

    def epochs(**options):
        seen.clear()
        model = DCGMM([GMM(4)], input_shape=(2, 2, 1), seed=3)
        model.compile(run_eagerly=True)
        model.fit(x, batch_size=4, verbose=0, **options)
        return seen[::2], seen[1::2]

    whole, rest = epochs(epochs=3)
    assert [len(batch) for batch in whole + rest] == [4, 4, 4, 2, 2, 2]
    orders = [first + last for first, last in zip(whole, rest, strict=True)]
    assert all(sorted(order) == x[:, 0, 0, 0].tolist() for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert epochs(epochs=3, initial_epoch=2) == (whole[2:], rest[2:])


@pytest.mark.slow
def test_an_interrupted_fit_goes_on_to_the_same_weights():
    x = small_images()
    whole, halves = small_model(), small_model()
    whole.fit(x, epochs=4, batch_size=30, verbose=0)
    halves.centroid_phase = 0.8  # of 2 epochs, as many as 0.4 of 4
    halves.fit(x, epochs=2, batch_size=30, verbose=0)
    halves.centroid_phase = 0.4
    halves.fit(x, epochs=4, initial_epoch=2, batch_size=30, verbose=0)
    for a, b in zip(whole.get_weights(), halves.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


TRAIN = """
import hashlib, sys
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[3]))
from dcgmm import DCGMM
model = DCGMM.from_spec(sys.argv[1], seed=5)
model.compile()
x = np.random.default_rng(0).random((2000, 28, 28, 1), dtype="float32")
model.fit(x, epochs=2, verbose=0)
model.save(sys.argv[2])
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


# With one thread an operation, the default, batches are worked on in parts.
@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", ["2L-c", "3L-a"])
def test_two_processes_get_bit_identical_weights_and_files(name, threads, tmp_path):
    commands = [[sys.executable, "-c", TRAIN, name, tmp_path / f"{i}.keras", threads] for i in range(2)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in commands]
    assert runs[0] == runs[1]
    assert (tmp_path / "0.keras").read_bytes() == (tmp_path / "1.keras").read_bytes()


def test_another_seed_gives_another_model():
    assert not np.array_equal(small_model(0).gmm_layers[0].means, small_model(1).gmm_layers[0].means)


@pytest.mark.slow
def test_a_saved_model_comes_back_the_same_and_trains_on_the_same(tmp_path):
    x, model = small_images(), small_model(annealing={"rate": 0.1}, rates=(1.0, 0.4, 0.1))
    model.fit(x, epochs=2, batch_size=20, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    np.testing.assert_array_equal(loaded.responsibilities(x), model.responsibilities(x))
    np.testing.assert_array_equal(loaded.sample(7, seed=1), model.sample(7, seed=1))
    for either in (model, loaded):
        either.fit(x, epochs=5, initial_epoch=2, batch_size=20, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_instance_of_table_one_goes_up_and_down(name, images):
    model = DCGMM.from_spec(name)
    assert model.responsibilities(images).shape == (40, 1, 1, model.gmm_layers[-1].n_components)
    samples = model.sample(3, seed=0)
    assert samples.shape == (3, 28, 28, 1)
    assert np.all(np.isfinite(samples))
    np.testing.assert_array_equal(samples, model.sample(3, seed=0))
    assert not np.array_equal(samples, model.sample(3, seed=1))


def test_colour_and_oblong_images_and_data_sets_are_accepted():
    model = DCGMM([Folding((3, 5), 2), GMM(4), MaxPooling(2), GMM(9)], input_shape=(9, 13, 3))
    x = np.random.default_rng(0).random((30, 9, 13, 3), dtype="float32")
    model.compile()
    model.fit(tf.data.Dataset.from_tensor_slices(x).batch(10), epochs=2, verbose=0)
    assert model.log_likelihood(x, layer=0).shape == (30, 4, 5)
    assert model.sample(2).shape == (2, 9, 13, 3)


def test_without_noise_a_flat_model_draws_its_centroids():
    model = spread(DCGMM.from_spec("1L"))
    samples = model.sample(50, noise=0, seed=0).reshape(50, 1, -1)
    distances = np.abs(samples - model.gmm_layers[0].means).max(axis=-1)
    assert distances.min(axis=1).max() == 0


@bad_input.images(5)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 28, 28)), r"expected images of shape \(N, 28, 28, 1\), received \(3, 28, 28\)"),
        (np.zeros((3, 28, 28, 3)), r"received \(3, 28, 28, 3\)"),
        (np.zeros((3, 14, 14, 1)), r"received \(3, 14, 14, 1\)"),
        (np.where(np.arange(784) == 30, np.inf, 0).reshape(1, 28, 28, 1), r"1 pixel.*inf at index \(0, 1, 2, 0\)"),
        (np.full((2, 28, 28, 1), np.inf), "1568 pixel.*inf at index"),
        (np.full((1, 28, 28, 1), 1e16), "beyond ±1e\\+15"),
    ],
)
def test_bad_images_are_refused_wherever_they_come_in(bad, message):
    model = DCGMM.from_spec("1L")
    model.compile()
    for method in (model.fit, model.evaluate, model.predict, model.score_samples, model.predict_clusters):
        with pytest.raises(ValueError, match=message):
            method(bad)


@bad_input.layers()
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("F(4,4,1,1) G(25) P(5,5) F(6,6,1,1) G(49)", r"layer F4, F\(6,6,1,1\).*larger than its input of 5x5"),
        ("F(8,8,3,3) G(25)", r"layer F1, F\(8,8,3,3\).*1 \+ \(28 - 8\)/3 is not a whole number"),
        ("F(28,28,1,1) G(24)", "square number: received K = 24"),
        ("F(28,28,1,1) G(25) P(1,1)", "needs a GMM layer at its top"),
        ("2L-z", "unknown architecture '2L-z': expected one of 1L, 2L-a"),
    ],
)
def test_an_architecture_that_cannot_be_is_explained(spec, message):
    with pytest.raises(ValueError, match=message):
        DCGMM.from_spec(spec)


@bad_input.arguments()
@pytest.mark.parametrize(
    "arguments", [{"top_s": 0}, {"top_s": [1]}, {"noise": [1.0]}, {"noise": -1}, {"noise_at_bound": "yes"}, {"n": 0}]
)
def test_sampling_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))} must be"):
        DCGMM.from_spec("2L-d").sample(**{"n": 3, **arguments})


@bad_input.images()
def test_images_far_beyond_one_are_announced():
    model = DCGMM.from_spec("1L")
    with pytest.warns(UserWarning, match="up to 255 lose precision in float32"):
        model.score_samples(np.full((1, 28, 28, 1), 255.0))


def test_the_hyperparameters_of_the_mixtures_reach_every_layer():
    model = DCGMM.from_spec("2L-d", gmm={"max_precision": 4.0, "start_precision": 1.0, "centroid_range": 0.5})
    for layer in model.gmm_layers:
        assert np.all(layer.precisions == 1)
        assert 0.45 < np.abs(layer.means).max() <= 0.5
    model.compile(learning_rate=10.0)
    model.fit(np.zeros((100, 28, 28, 1)), epochs=2, batch_size=10, verbose=0)
    assert max(layer.precisions.max() for layer in model.gmm_layers) == pytest.approx(4.0)


@bad_input.arguments()
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gmm": {"max_precision": -1}}, "max_precision of G2 must be a finite number from 1e-06"),
        ({"gmm": {"start_precision": 30}}, "start_precision of G2, at most its max_precision,.* to 20, received 30"),
        ({"rates": (1, 1)}, "three factors"),
        ({"rates": (1, -1, 0)}, "three factors"),
        ({"centroid_phase": 1.5}, "share of the epochs"),
    ],
)
def test_hyperparameters_outside_their_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DCGMM.from_spec("1L", **arguments)


@bad_input.layers()
def test_two_layers_of_one_name_are_refused():
    with pytest.raises(ValueError, match="a name of its own"):
        DCGMM([Folding(28), GMM(4, name="g"), GMM(4, name="g")], input_shape=(28, 28, 1))


@bad_input.arguments()
def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="layer must be between 0 and 1, received 2"):
        small_model().log_likelihood(small_images(2), layer=2)
