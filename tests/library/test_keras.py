"""DCGMM together with Keras: callbacks, optimizers, other models' layers, several devices."""

import re
import subprocess
import sys
import warnings
import zipfile

import bad_input
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


@bad_input.images()
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


@bad_input.layers()
def test_a_layer_is_shared_by_models_of_one_input_only():
    layers = [Folding(4, 2), GMM(4)]
    DCGMM(layers, (8, 8, 1))
    with pytest.raises(ValueError, match=r"was built on inputs of \(8, 8, 1\) and would receive \(8, 8, 3\)"):
        DCGMM(layers, (8, 8, 3))


@bad_input.arguments(2)
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


@bad_input.streams()
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


@bad_input.labels(3)
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


@bad_input.arguments()
@pytest.mark.parametrize(
    ("watched", "options", "message"),
    [
        ("val_loss", {}, "EarlyStopping watches 'val_loss', which rises"),
        ("loss", {}, "EarlyStopping watches 'loss', which is annealed"),
        ("log_likelihood_0", {}, "which is annealed"),
        ("val_log_likelihood_1", {}, "whose input changes"),
        ("val_log_likelihood_0", {"mode": "min"}, "stopped before its annealing had ended: σ of the GMM layers is 0.7"),
    ],
)
def test_a_callback_that_would_stop_badly_is_warned_of(watched, options, message):
    for wrapped in (lambda callback: callback, lambda callback: keras.callbacks.CallbackList([callback])):
        callback = wrapped(keras.callbacks.EarlyStopping(watched, patience=1, **options))
        with pytest.warns(UserWarning, match=message):
            small_model().fit(
                images(), epochs=4, batch_size=50, validation_data=images(seed=1), callbacks=callback, verbose=0
            )


def test_the_lowest_layer_s_exact_likelihood_is_watched_without_a_mode_or_a_warning(tmp_path, recwarn):
    x = np.repeat(images(4), 30, axis=0)
    model = small_model(learning_rate=0.02)
    stop = keras.callbacks.EarlyStopping("val_log_likelihood_0", patience=3, restore_best_weights=True)
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "m.keras", "val_log_likelihood_0", save_best_only=True)
    slow = keras.callbacks.ReduceLROnPlateau("val_log_likelihood_0")
    every = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")  # watches val_loss, but does not use it
    history = model.fit(
        x, epochs=4, batch_size=20, validation_data=x, callbacks=[stop, keep, slow, every], verbose=0
    ).history
    assert stop.mode == keep.mode == slow.mode == "max"
    assert stop.best_epoch == np.argmax(history["val_log_likelihood_0"])
    assert not [w for w in recwarn if "watches" in str(w.message)]


def test_the_rate_is_used_with_the_default_and_with_an_optimizer_s_name():
    for arguments, rate in (
        ({}, 0.05),
        ({"learning_rate": 0.5}, 0.5),
        ({"optimizer": "adam"}, 0.001),
        ({"optimizer": "adam", "learning_rate": 0.5}, 0.5),
        ({"optimizer": keras.optimizers.RMSprop(0.25)}, 0.25),
        ({"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)}, 0.5),
    ):
        model = small_model(**arguments)
        assert float(model.optimizer.learning_rate) == pytest.approx(rate)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16", "float64"])
def another_policy(request):
    keras.config.set_dtype_policy(request.param)
    keras.config.set_floatx("float64")
    keras.config.set_image_data_format("channels_first")
    yield request.param
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")


@pytest.fixture(scope="module")
def trained_in_float32():
    model = small_model()
    model.fit(images(), epochs=2, batch_size=20, verbose=0)
    return model


def test_the_process_s_precision_and_order_of_axes_change_nothing(trained_in_float32, another_policy, tmp_path):
    model = small_model()
    model.fit(images().astype("float64"), epochs=2, batch_size=20, verbose=0)
    for a, b in zip(model.get_weights(), trained_in_float32.get_weights(), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.score_samples(images(5)), model.score_samples(images(5)))
    np.testing.assert_array_equal(loaded.sample(3, seed=0), model.sample(3, seed=0))
    layers = keras.Sequential([keras.Input((14, 14, 1)), Folding(4, 2), GMM(4), MaxPooling(2), LinearClassifier(3)])
    assert layers(images(3)).shape == (3, 3)
    for layer in layers.layers:
        assert layer.compute_dtype == layer.variable_dtype == "float32"


@bad_input.layers(12)
def test_a_layer_of_another_precision_is_refused():
    for make in (lambda **k: GMM(4, **k), lambda **k: Folding(4, **k), lambda **k: LinearClassifier(3, **k)):
        for dtype in ("float64", "mixed_float16", keras.DTypePolicy("bfloat16"), 5):
            with pytest.raises(ValueError, match="dtype must be float32, received"):
                make(dtype=dtype)
        assert make(dtype="float32").compute_dtype == "float32"


class Batches(keras.utils.PyDataset):
    def __init__(self, x, **options):
        super().__init__(**options)
        self.x, self.ends = x, 0

    def __len__(self):
        return len(self.x) // 20

    def __getitem__(self, index):
        return (self.x[20 * index : 20 * index + 20],)

    def on_epoch_end(self):
        self.ends += 1


class Loader:
    def __init__(self, x):
        self.x = x

    def __iter__(self):
        for first in range(0, len(self.x), 20):
            yield self.x[first : first + 20]


@pytest.mark.slow
def test_pydatasets_and_loaders_train_as_data_sets_do(recwarn):
    x = images(80)
    sources = tf.data.Dataset.from_tensor_slices(x).batch(20), Batches(x, workers=2), Loader(x)
    models = [small_model() for _ in sources]
    for model, source in zip(models, sources, strict=True):
        model.fit(source, epochs=2, verbose=0, validation_data=source)
        np.testing.assert_allclose(model.predict(source, verbose=0), model.predict(x, verbose=0), rtol=1e-3, atol=1e-5)
    for model in models[1:]:
        for a, b in zip(model.get_weights(), models[0].get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert float(model.moments[0].count) == 80
    assert sources[1].ends == 2
    assert not [warning for warning in recwarn if "ran out of data" in str(warning.message)]


def test_a_loader_may_reuse_its_memory():
    x, model = images(80), small_model()
    memory = np.zeros(20 * x[0].size + 16, "float32")
    start = -memory.ctypes.data % 64 // 4  # TensorFlow takes memory that is aligned to 64 bytes without a copy
    batch = memory[start : start + 20 * x[0].size].reshape(20, *x.shape[1:])

    class Reusing(Loader):
        def __iter__(self):
            for part in super().__iter__():
                batch[:] = part
                yield batch

    np.testing.assert_array_equal(model.score_samples(Reusing(x)), model.score_samples(x, batch_size=20))


def test_evaluation_ends_after_the_asked_steps():
    x, model = images(80), small_model()
    few = model.evaluate(x[:60], batch_size=20, verbose=0)
    stream = tf.data.Dataset.from_tensor_slices(x).batch(20)
    assert model.evaluate(x, batch_size=20, steps=3, verbose=0) == few
    assert model.evaluate(stream.repeat(), steps=3, verbose=0) == few
    options = {"epochs": 1, "batch_size": 20, "verbose": 0, "validation_steps": 3}
    history = model.fit(x, validation_data=stream.repeat(), **options).history
    expected = model.evaluate(x[:60], batch_size=20, verbose=0, return_dict=True)
    assert history["val_log_likelihood_0"][0] == pytest.approx(expected["log_likelihood_0"], rel=1e-6)


@bad_input.streams()
def test_a_refused_batch_leaves_the_statistics_as_they_were():
    x, model = images(80), small_model()
    model.calibrate(x)
    before = model.standardised_scores(x)
    with pytest.raises(ValueError, match="infinite"):
        model.calibrate(Loader(np.where(np.arange(80)[:, None, None, None] == 70, np.inf, x)))
    np.testing.assert_array_equal(model.standardised_scores(x), before)


def test_streams_are_scored_batch_by_batch_as_arrays_are():
    x, model = images(80), small_model()
    model.calibrate(x)
    labelled = tf.data.Dataset.from_tensor_slices((x, np.arange(80))).batch(20)
    for stream in (labelled, Batches(x), Loader(x)):
        for method in (model.score_samples, model.predict_clusters, model.standardised_scores, model.inliers):
            np.testing.assert_array_equal(method(stream), method(x, batch_size=20))
    with pytest.raises(ValueError, match="an endless one"):
        model.score_samples(labelled.repeat())
    with pytest.raises(ValueError, match=r"join its batches into one array by np\.concatenate"):
        model.variants(labelled)


OTHER_SCALES = {
    "bytes": ((255 * images(40)).astype("uint8"), "up to 25. lose precision"),
    "small integers": ((9 * images(40)).astype("int64"), "integer pixels of up to 8"),
    "digits": (16 * images(40), "pixels from 0 or more to 1.*, but images in .0, 1. are expected"),
    "large": (1000 * (images(40) - 0.5), "lose precision in float32"),
}


def assert_warned_once(call, message):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    about = [w for w in caught if re.search(message, str(w.message))]
    assert len(about) == 1, [str(w.message) for w in caught]
    assert about[0].filename == __file__


@bad_input.images(4)
@pytest.mark.parametrize("kind", OTHER_SCALES)
def test_pixels_on_another_scale_are_warned_of_once_in_arrays_and_streams(kind):
    x, message = OTHER_SCALES[kind]
    model = small_model()
    for source in (x, tf.data.Dataset.from_tensor_slices(x).batch(20).repeat(2), Batches(x), Loader(x)):
        assert_warned_once(lambda data=source: model.calibrate(data), message)


@pytest.mark.slow
def test_every_method_warns_of_bytes():
    x, message = OTHER_SCALES["bytes"]
    model, stream = small_model(), tf.data.Dataset.from_tensor_slices(x).batch(20)
    pairs = stream.map(lambda x: (x, 0 * tf.cast(x[:, 0, 0, 0], tf.int64)))
    for source in (x, stream, pairs):
        assert_warned_once(lambda data=source: model.fit(data, epochs=2, verbose=0), message)
    for method in (model.train_on_batch, model.test_on_batch, model, model.score_samples):
        assert_warned_once(lambda method=method: method(x), message)
    for method in (model.evaluate, model.predict, model.count_weights):
        assert_warned_once(lambda method=method: method(stream), message)


@pytest.mark.parametrize(
    "x", [images(40), images(40) - 0.5, 3 * (images(40) - 0.5) / 0.29, images(40) > 0.5], ids=["0..1", "±½", "z", "0/1"]
)
def test_pixels_on_a_usual_scale_are_not_warned_of(x, recwarn):
    model = small_model()
    for source in (x, tf.data.Dataset.from_tensor_slices(x).batch(20)):
        model.calibrate(source)
    model.score_samples(model.sample(20, seed=0))
    assert not [w for w in recwarn if "pixel" in str(w.message)]


@bad_input.images()
def test_data_far_below_the_width_of_a_component_are_warned_of():
    with pytest.warns(UserWarning, match="varies most is 0.00.*, far below that of the narrowest component, 0.224"):
        small_model().fit(0.01 * images(40), epochs=1, verbose=0)


@pytest.mark.slow
def test_batches_by_hand_are_cast_as_those_of_fit_and_forget_the_statistics():
    x = images(20) > 0.5
    models = [small_model() for _ in range(3)]
    for model, same in zip(models, (x, x.astype("uint8"), x.astype("float64")), strict=True):
        model.calibrate(same)
        model.train_on_batch(same)
        with pytest.raises(RuntimeError, match="calibrate"):
            model.inliers(same)
        np.testing.assert_array_equal(model.predict_on_batch(same), model(same))
        graph = tf.function(model)(tf.constant(same))
        np.testing.assert_allclose(graph, model(same), rtol=1e-4, atol=1e-6)
    for model in models[1:]:
        for a, b in zip(model.get_weights(), models[0].get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_mask_hides_the_values_below_it_wherever_images_come_in():
    hidden = np.indices((20, 14, 14, 1))[1] < 3
    masked = np.ma.masked_array(np.where(hidden, 9.0, images(20)), hidden)
    missing, models = np.where(hidden, np.nan, images(20)), (small_model(), small_model())
    for model, x in zip(models, (masked, missing), strict=True):
        model.fit(x, epochs=1, batch_size=10, verbose=0)
        model.train_on_batch(x)
        model.calibrate(x)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    model = models[0]
    for method in (model.score_samples, model.predict_on_batch, model, model.inpaint, model.standardised_scores):
        options = {"seed": 0} if method == model.inpaint else {}
        np.testing.assert_array_equal(method(masked, **options), method(missing, **options))


def test_a_batch_with_missing_pixels_can_follow_a_training_without(trained_in_float32):
    model = keras.models.clone_model(trained_in_float32)
    model.compile()
    model.fit(images(20), epochs=1, verbose=0)
    model.train_on_batch(np.where(np.indices((20, 14, 14, 1))[1] < 3, np.nan, images(20)))
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_files_say_the_same_of_the_layers_whatever_precision_the_process_is_set_to(another_policy, tmp_path):
    configs = []
    for policy in (another_policy, "float32"):
        keras.config.set_dtype_policy(policy)
        DCGMM.from_spec(SPEC, (14, 14, 1)).save(tmp_path / "m.keras")
        with zipfile.ZipFile(tmp_path / "m.keras") as archive:
            configs.append(archive.read("config.json"))
    assert configs[0] == configs[1]


@bad_input.arguments()
def test_a_whole_number_is_a_learning_rate_and_loss_scaling_is_refused():
    model = small_model()
    for optimizer in (None, "adam"):
        model.compile(optimizer, learning_rate=1)
        assert float(model.optimizer.learning_rate) == 1
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    with pytest.raises(ValueError, match="optimizer must be one without loss scaling"):
        model.compile(scaled)
