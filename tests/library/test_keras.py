"""DCGMM together with Keras: callbacks, optimizers, other models' layers, several devices."""

import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from dcgmm import DCGMM, GMM, Folding, LinearClassifier, MaxPooling

SPEC = "F(4,4,2,2) G(4) P(2,2) F(3,3,1,1) G(9)"


def images(n=200, seed=0):
    return np.random.default_rng(seed).random((n, 14, 14, 1), dtype="float32")


def small_model(**compile_arguments):
    model = DCGMM.from_spec(SPEC, input_shape=(14, 14, 1))
    model.compile(steps_per_execution=5, **compile_arguments)
    return model


class Interrupt(keras.callbacks.Callback):
    """Stop as a killed process does, in the middle of an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("steps", [None, 7])
def test_an_interrupted_fit_goes_on_from_its_backup_to_the_same_weights(steps, tmp_path):
    options = {"epochs": 5, "batch_size": 20, "steps_per_epoch": steps, "verbose": 0}
    whole = small_model()
    whole.fit(images(), **options)
    with pytest.raises(KeyboardInterrupt):
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path), Interrupt()]
        small_model().fit(images(), **options, callbacks=callbacks)
    resumed = small_model()
    resumed.fit(images(), **options, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_callbacks_write_stop_and_keep_the_best(tmp_path):
    model = small_model()
    history = model.fit(
        images(),
        epochs=12,
        batch_size=20,
        verbose=0,
        validation_data=images(seed=1),
        callbacks=[
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.TensorBoard(tmp_path / "board"),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.keras", monitor="val_log_likelihood_0", mode="max", save_best_only=True
            ),
            keras.callbacks.EarlyStopping("val_log_likelihood_0", mode="max", min_delta=1e6, patience=3),
        ],
    ).history
    assert len(history["loss"]) == 4
    log = pd.read_csv(tmp_path / "log.csv")
    np.testing.assert_allclose(log.sigma_0, history["sigma_0"], rtol=1e-6)
    assert list((tmp_path / "board").rglob("events*"))
    best = keras.models.load_model(tmp_path / "best.keras")
    assert best.log_likelihood(images(seed=1), layer=0).mean() == pytest.approx(
        max(history["val_log_likelihood_0"]), rel=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", keras.optimizers.SGD(0.01, momentum=0.5)])
def test_any_optimizer_can_be_tried_saved_and_continued(optimizer, tmp_path):
    model = small_model(optimizer=optimizer)
    start = [layer.means for layer in model.gmm_layers]
    model.fit(images(), epochs=2, batch_size=20, verbose=0)
    assert all(not np.array_equal(layer.means, s) for layer, s in zip(model.gmm_layers, start, strict=True))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for either in (model, loaded):
        either.fit(images(), epochs=3, initial_epoch=2, batch_size=20, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_adam_leaves_weights_alone_whose_rate_is_zero():
    model = small_model(optimizer="adam")
    model.fit(images(), epochs=2, batch_size=20, verbose=0)
    for layer in model.gmm_layers:
        np.testing.assert_allclose(layer.mixing_weights, 1 / layer.n_components, rtol=1e-6)


def test_layers_work_in_a_sequential_model():
    model = keras.Sequential([keras.Input((14, 14, 1)), Folding(4, 2), GMM(4), MaxPooling(2), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    assert model(images(3)).shape == (3, 1)
    before = model.layers[1].means
    model.fit(images(), np.zeros(200), epochs=1, verbose=0)
    assert not np.array_equal(model.layers[1].means, before)
    clone = keras.Sequential.from_config(model.get_config())
    assert [type(layer) for layer in clone.layers] == [type(layer) for layer in model.layers]


def test_the_summary_says_what_each_layer_is(capsys):
    small_model().summary()
    printed = capsys.readouterr().out
    assert "F1" in printed and "4×4, strides 2×2" in printed and "(None, 6, 6, 16)" in printed
    assert "9 components, 36 features" in printed and "GMM" in printed


@pytest.mark.slow
def test_data_sets_stream_with_a_number_of_steps_that_is_kept():
    endless = tf.data.Dataset.from_tensor_slices(images()).batch(20).repeat()
    model = DCGMM.from_spec(SPEC, input_shape=(14, 14, 1))
    model.compile()
    model.fit(endless, epochs=3, steps_per_epoch=7, verbose=0)
    assert int(model.annealings[0].steps) == 21
    assert float(model.moments[0].count) == 140
    # A later fit has its own number of steps again, and an evaluation uses all batches.
    model.fit(images(), epochs=2, batch_size=20, validation_data=images(seed=1), verbose=0)
    assert int(model.annealings[0].steps) == 41
    history = model.fit(endless, epochs=1, steps_per_epoch=7, validation_data=images(seed=1), verbose=0).history
    measured = model.evaluate(images(seed=1), batch_size=20, verbose=0, return_dict=True)
    assert measured["log_likelihood_0"] == pytest.approx(history["val_log_likelihood_0"][0], rel=1e-5)
    expected = model.log_likelihood(images(seed=1), layer=0).mean()
    assert measured["log_likelihood_0"] == pytest.approx(expected, rel=1e-5)


def test_fit_runs_eagerly_to_the_same_weights():
    models = [small_model(), small_model(run_eagerly=True)]
    for model in models:
        model.fit(images(60), epochs=1, batch_size=20, verbose=0)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "layer, built_on, given",
    [
        (Folding(8), (8, 8, 1), (16, 16, 1)),
        (MaxPooling(2), (8, 8, 1), (16, 16, 1)),
        (GMM(4), (8, 8, 2), (8, 8, 4)),
        (LinearClassifier(3), (1, 1, 4), (2, 2, 4)),
        (DCGMM([Folding(4, 2), GMM(4)], (8, 8, 1)), (8, 8, 1), (16, 16, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_input_of_another_shape_is_refused(layer, built_on, given):
    assert len(layer(np.zeros((5, *built_on), "float32"))) == 5
    with pytest.raises(ValueError, match="expected"):
        layer(np.zeros((5, *given), "float32"))


def test_a_layer_is_shared_by_models_of_one_input_only():
    layers = [Folding(4, 2), GMM(4)]
    DCGMM(layers, (8, 8, 1))
    with pytest.raises(ValueError, match=r"was built on inputs of \(8, 8, 1\) and would receive \(8, 8, 3\)"):
        DCGMM(layers, (8, 8, 3))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"class_weight": {0: 2.0}}, "class_weight cannot be given"),
        ({"y": np.zeros(200, int)}, "labels were given beside a data set"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments, message):
    data = tf.data.Dataset.from_tensor_slices(images()).batch(20)
    with pytest.raises(ValueError, match=message):
        small_model().fit(data, **arguments)
    with pytest.raises(ValueError, match="its own loss and metrics, received loss"):
        small_model(loss="mse")


def test_images_without_labels_calibrate_and_are_classified():
    model = DCGMM.from_spec(f"{SPEC} C(3)", input_shape=(14, 14, 1))
    data = tf.data.Dataset.from_tensor_slices(images()).batch(20)
    model.calibrate(data)
    assert float(model.moments[0].count) == 200
    np.testing.assert_allclose(model.predict(data, verbose=0), model.predict(images(), verbose=0), rtol=1e-5)


def test_a_save_that_fails_leaves_nothing_beside_what_was_there(tmp_path, monkeypatch):
    model = small_model()
    model.save(tmp_path / "m.keras")
    kept = (tmp_path / "m.keras").read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("dcgmm.files.write_archive", full)
    with pytest.raises(OSError, match="disk full"):
        model.save(tmp_path / "m.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
    assert (tmp_path / "m.keras").read_bytes() == kept


def test_a_frozen_layer_does_not_move_and_the_others_do():
    model = small_model()
    model.gmm_layers[0].trainable = False
    frozen, free = (layer.means for layer in model.gmm_layers)
    model.fit(images(), epochs=2, batch_size=20, verbose=0)
    np.testing.assert_array_equal(model.gmm_layers[0].means, frozen)
    assert not np.array_equal(model.gmm_layers[1].means, free)


def test_a_checkpoint_from_within_fit_has_no_stale_moments(tmp_path):
    model = small_model()
    model.fit(images(), epochs=1, verbose=0)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "m.keras")
    model.fit(images(), epochs=1, verbose=0, callbacks=[checkpoint])
    loaded = keras.models.load_model(tmp_path / "m.keras")
    with pytest.raises(RuntimeError, match="calibrate"):
        loaded.inliers(images())
    loaded.calibrate(images())
    np.testing.assert_allclose(loaded.standardised_scores(images()), model.standardised_scores(images()), atol=1e-4)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (np.full((20, 14, 14, 1), np.inf, "float32"), tf.errors.InvalidArgumentError, "infinite or beyond"),
        (np.zeros((20, 13, 14, 1), "float32"), ValueError, r"shape \(batch, 14, 14, 1\)"),
        (np.zeros((20, 14, 14), "float32"), ValueError, r"shape \(batch, 14, 14, 1\)"),
    ],
)
def test_data_sets_are_checked_like_arrays(batch, error, message):
    with pytest.raises(error, match=message):
        small_model().fit(tf.data.Dataset.from_tensors(batch), epochs=1, verbose=0)


def test_a_data_set_of_bytes_trains_and_one_without_fitting_labels_is_refused():
    grey = np.zeros((20, 14, 14, 1), "uint8")
    model = small_model()
    model.fit(tf.data.Dataset.from_tensors(grey), epochs=1, verbose=0, validation_data=(images(),))
    classifier = DCGMM.from_spec(SPEC + " C(3)", input_shape=(14, 14, 1))
    classifier.compile()
    for wrong in (grey, (grey, np.zeros(20, "float32")), (grey, np.zeros((20, 1), "int64"))):
        with pytest.raises(ValueError, match=r"needs pairs of images and integer labels \(batch,\)"):
            classifier.fit(tf.data.Dataset.from_tensors(wrong), epochs=1)


MIRRORED = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from dcgmm import DCGMM
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if sys.argv[1] == "two" else tf.distribute.get_strategy()
with strategy.scope():
    model = DCGMM.from_spec(sys.argv[2], input_shape=(14, 14, 1), annealing={"rate": 0.2})
    model.compile()
rng = np.random.default_rng(0)
patterns = rng.random((8, 7, 7, 1), dtype="float32").repeat(2, axis=1).repeat(2, axis=2)
x = patterns[rng.integers(8, size=200)] + 0.05 * rng.random((200, 14, 14, 1), dtype="float32")
history = model.fit(x, epochs=4, batch_size=20, verbose=0).history
print(*history["loss"], *history["sigma_0"], *history["log_likelihood_1"])
"""


@pytest.mark.slow
def test_two_devices_give_the_loss_of_one():
    runs = [
        subprocess.run([sys.executable, "-c", MIRRORED, devices, SPEC], capture_output=True, text=True, check=False)
        for devices in ("one", "two")
    ]
    assert all(run.returncode == 0 for run in runs), runs[1].stderr[-3000:]
    one, two = ([float(word) for word in run.stdout.split()] for run in runs)
    assert len(one) == 12
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-3)  # nats; a loss near zero is a difference of larger terms
