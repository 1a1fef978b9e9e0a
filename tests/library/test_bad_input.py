"""Every wrong argument ends in an error of this library that names the argument and what came."""

import re
import traceback
import warnings
from pathlib import Path

import bad_input
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import dcgmm
from dcgmm import DCGMM, load_pretrained
from dcgmm.streams import InvalidBatch
from dcgmm.validation import ExpectedInput

SHAPE = (6, 8, 1)
IMAGES = np.random.default_rng(0).random((20, *SHAPE), dtype="float32")
LABELS = np.arange(20) % 3
PACKAGE = str(Path(dcgmm.__file__).parent)


@pytest.fixture(scope="module")
def model():
    model = DCGMM.from_spec("F(3,4,1,1) G(4) F(2,2,1,1) G(4)", SHAPE)
    model.compile()
    model.calibrate(IMAGES)
    return model


@pytest.fixture(scope="module")
def classifier():
    model = DCGMM.from_spec("F(3,4,1,1) G(4) C(3)", SHAPE)
    model.compile()
    return model


def batches(x=IMAGES, size=10):
    return tf.data.Dataset.from_tensor_slices(x).batch(size)


class Batches(keras.utils.PyDataset):
    def __init__(self, x=IMAGES, y=None, n=2, **options):
        super().__init__(**options)
        self.x, self.y, self.n, self.epochs = x, y, n, []

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        part = slice(10 * index, 10 * index + 10)
        return self.x[part] if self.y is None else (self.x[part], self.y[part])

    def on_epoch_end(self):
        self.epochs.append(len(self.epochs))


class Endless(Batches):
    num_batches = None


class Loader:
    def __init__(self, x=IMAGES, y=LABELS):
        self.x, self.y = x, y

    def __len__(self):
        return 2

    def __iter__(self):
        for i in range(0, 20, 10):
            yield [self.x[i : i + 10], self.y[i : i + 10]]


def refused(call, *words):
    """Assert that a call ends in an error that this library has raised, with these words in its text."""
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    frames = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1].startswith(PACKAGE), f"raised in {frames[-1]}: {caught.value}"
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


def with_pixel(value):
    x = IMAGES.copy()
    x[3, 1, 2, 0] = value
    return x


NO_IMAGES = {
    "none": (None, "received None"),
    "dict": ({"x": IMAGES}, "received {'x'"),
    "bytes": (b"abc", "received b'abc'"),
    "text": ("a", "received 'a', which is text"),
    "texts": (["a"], "received ['a']"),
    "array of text": (np.array(["a"]), "str32"),
    "objects": (np.array([None, 1]), "object"),
    "ragged list": ([[1], [1, 2]], "received [[1], [1, 2]]"),
    "ragged tensor": (tf.ragged.constant([[1], [1, 2]]), "RaggedTensor"),
    "complex": (IMAGES.astype("complex64"), "complex64"),
    "complex tensor": (tf.zeros((2, *SHAPE), tf.complex64), "complex64"),
    "dates": (np.zeros((2, *SHAPE), "datetime64[s]"), "datetime64"),
    "number": (5, "received 5"),
    "set": ({1, 2}, "received {1, 2}"),
    "function": (lambda: IMAGES, "received <function"),
    "symbolic": (keras.KerasTensor((None, *SHAPE)), "KerasTensor"),
    "infinite": (with_pixel(np.inf), "1 pixel(s)", "inf at index (3, 1, 2, 0)"),
    "minus infinite": (with_pixel(-np.inf), "-inf at index (3, 1, 2, 0)"),
    "too large": (with_pixel(1e30), "beyond ±1e+15", "index (3, 1, 2, 0)"),
    "empty": (IMAGES[:0], "at least one image", "(0, 6, 8, 1)"),
    "no channel": (IMAGES[..., 0], "received (20, 6, 8)", "x[..., None]"),
    "channels first": (np.moveaxis(IMAGES, -1, 1), "received (20, 1, 6, 8)", "np.moveaxis(x, 1, -1)"),
    "exchanged": (np.swapaxes(IMAGES, 1, 2), "received (20, 8, 6, 1)", "np.swapaxes(x, 1, 2)"),
    "rows": (IMAGES.reshape(20, -1), "received (20, 48)", "x.reshape(-1, 6, 8, 1)"),
    "one image": (IMAGES[0], "received (6, 8, 1)", "x[None]"),
    "list of batches": ([IMAGES, IMAGES], "received (2, 20, 6, 8, 1)", "np.concatenate(x)"),
    "another size": (np.zeros((3, 6, 9, 1)), "received (3, 6, 9, 1)", "(N, 6, 8, 1)"),
}
METHODS = {
    "fit": {"verbose": 0},
    "evaluate": {"verbose": 0},
    "predict": {"verbose": 0},
    "train_on_batch": {},
    "test_on_batch": {},
    "predict_on_batch": {},
    "__call__": {},
    "calibrate": {},
    "count_weights": {},
    "score_samples": {},
    "log_likelihood": {},
    "log_likelihoods": {},
    "responsibilities": {},
    "all_responsibilities": {},
    "predict_clusters": {},
    "standardised_scores": {},
    "inliers": {},
    "inpaint": {},
    "variants": {},
}


@bad_input.images()
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (method, kind)
        for method in METHODS
        for kind in NO_IMAGES
        if (method, kind) != ("__call__", "symbolic")  # this builds a functional model
    ],
)
def test_what_are_no_images_is_refused_by_every_method(model, method, kind):
    value, *words = NO_IMAGES[kind]
    refused(lambda: getattr(model, method)(value, **METHODS[method]), "x: ", *words)


@bad_input.images()
@pytest.mark.parametrize("kind", NO_IMAGES)
def test_variants_without_a_template_s_activities_and_validation_data_are_checked_too(model, kind):
    value, *words = NO_IMAGES[kind]
    refused(lambda: model.variants(value, layer=2), *words)
    if value is not None:
        words = [re.sub(r"(?<![a-z])x(?=[,.)\[])", "validation_data", word) for word in words]
        refused(lambda: model.fit(IMAGES, validation_data=(value,), verbose=0), "validation_data", *words)


STREAMS = {
    "infinite": (lambda: batches(with_pixel(np.inf)), "x: a batch", "inf at index (3, 1, 2, 0)"),
    "too large": (lambda: batches(with_pixel(1e30)), "x: a batch", "1e+15"),
    "infinite in a PyDataset": (lambda: Batches(with_pixel(np.inf)), "x: a batch", "inf at index (3, 1, 2, 0)"),
    "infinite with workers": (lambda: Batches(with_pixel(np.inf), workers=2), "x: a batch", "inf at index"),
    "infinite in a loader": (lambda: Loader(with_pixel(np.inf)), "x: a batch", "inf at index (3, 1, 2, 0)"),
    "another shape": (lambda: batches(IMAGES[:, 1:]), "x: expected a data set", "(batch, 6, 8, 1)"),
    "another shape in a PyDataset": (lambda: Batches(IMAGES[:, 1:]), "x: a batch", "received (10, 5, 8, 1)"),
    "channels first": (lambda: Loader(np.moveaxis(IMAGES, -1, 1)), "x: a batch", "the channels come first"),
    "no batches": (lambda: batches(IMAGES, 20).unbatch(), "x: expected a data set", ".batch(100)"),
    "complex": (lambda: batches(IMAGES.astype("complex64")), "x: expected a data set", "complex64"),
    "text": (lambda: batches(np.full(20, "a")), "x: expected a data set", "string"),
    "dicts": (lambda: batches({"x": IMAGES}), "x: expected a data set", "'x'"),
    "weights": (lambda: batches((IMAGES, LABELS, LABELS)), "x: expected a data set", "pairs"),
    "text in a PyDataset": (lambda: Batches(np.full(20, "a")), "x: a batch", "str32"),
    "generator": (lambda: (IMAGES for _ in range(2)), "x: a generator can be read only once", "from_generator"),
    "iterator": (lambda: iter(Loader()), "can be read only once"),
    "empty PyDataset": (lambda: Batches(n=0), "x: expected batches", "empty Batches"),
}


@bad_input.streams()
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "calibrate", "count_weights", "score_samples"])
def test_streams_are_refused_like_arrays(model, method, kind):
    make, *words = STREAMS[kind]
    refused(lambda: getattr(model, method)(make(), **METHODS[method]), *words)


@bad_input.streams(4)
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "calibrate", "count_weights", "score_samples"])
def test_streams_without_an_end_or_a_batch_are_refused_at_once(model, method):
    endless = [batches().repeat(), batches().repeat().map(lambda x: x).shuffle(3), Endless()]
    endless += [batches().repeat().filter(lambda x: True).prefetch(1)]
    for stream in endless:
        refused(lambda stream=stream: getattr(model, method)(stream, **METHODS[method]), "x: ", "end")
    if method in ("fit", "evaluate", "predict"):
        for empty in (batches().take(0), batches().filter(lambda x: False)):
            refused(lambda empty=empty: getattr(model, method)(empty, **METHODS[method]), "x: ", "empty data set")


def test_a_few_batches_of_an_endless_stream_have_an_end(model):
    taken = batches().repeat().filter(lambda x: True).take(2)
    assert taken.cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert len(model.score_samples(taken)) == sum(len(images) for images in taken)


@bad_input.streams(6)
def test_validation_streams_are_checked_too(model):
    for stream, word in ((batches().repeat(), "has no end"), (batches().take(0), "empty"), (Batches(n=0), "empty")):
        refused(lambda data=stream: model.fit(IMAGES, validation_data=data, verbose=0), word)
    infinite = batches(with_pixel(np.inf))
    refused(lambda: model.fit(IMAGES, validation_data=infinite, verbose=0, epochs=1), "validation_data", "inf at index")
    empty = batches().filter(lambda x: False)
    refused(lambda: model.fit(IMAGES, validation_data=empty, verbose=0, epochs=1), "validation_data", "empty")
    refused(lambda: model.fit(IMAGES, validation_data=(IMAGES, None, None)), "validation_data", "3 parts")


@bad_input.streams()
def test_an_error_in_a_stream_is_a_value_error_and_tensorflow_s(model):
    with pytest.raises(InvalidBatch) as caught:
        model.predict(batches(with_pixel(np.inf)), verbose=0)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, tf.errors.InvalidArgumentError)
    assert len(str(caught.value)) < 300

    class Broken(Batches):
        def __getitem__(self, index):
            return super().__getitem__(index) if index == 0 else {}["no such file"]

    with pytest.raises(KeyError, match="no such file"):
        model.predict(Broken(), verbose=0)


NO_LABELS = {
    "none": (None, "none"),
    "too few": (LABELS[:5], "(5,)"),
    "floats": (LABELS + 0.5, "float64"),
    "whole floats": (LABELS.astype(float), "y.astype(int)"),
    "one-hot": (np.eye(3)[LABELS], "y.argmax(axis=1)"),
    "column": (LABELS[:, None], "y[:, 0]"),
    "text": (["a"] * 20, "<U1"),
    "truth": (LABELS > 0, "bool"),
    "negative": (LABELS - 1, "0 to 2", "-1"),
    "too large": (LABELS + 1, "0 to 2", "3"),
    "huge": (np.full(20, 2**63, "uint64"), "0 to 2", str(2**63)),
    "ragged": ([[0], [1, 2]], "[[0], [1, 2]]"),
    "dict": ({0: 1}, "object"),
    "masked": (np.ma.masked_equal(LABELS, 1), "masked"),
}


@bad_input.labels(4)
@pytest.mark.parametrize("kind", NO_LABELS)
def test_what_are_no_labels_is_refused(classifier, kind):
    value, *words = NO_LABELS[kind]
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        refused(lambda method=method: getattr(classifier, method)(IMAGES, value), "y: ", *words)


@bad_input.labels(11)
def test_labels_in_streams_are_checked_and_taken_as_any_integers(model, classifier):
    for wrong in (LABELS + 1, LABELS - 1):
        for stream in (batches((IMAGES, wrong)), Batches(y=wrong), Loader(y=wrong)):
            refused(lambda data=stream: classifier.fit(data, epochs=1, verbose=0), "labels in a batch", "0 to 2")
    refused(lambda: classifier.fit(Batches(), verbose=0), "labels in a batch", "received none")
    refused(lambda: classifier.fit(batches((IMAGES, LABELS * 1.0))), "integer labels")
    classifier.fit(batches((IMAGES, LABELS.astype("uint8"))), epochs=1, verbose=0)
    refused(lambda: model.fit(IMAGES, LABELS), "y: labels were given", "no LinearClassifier")
    refused(lambda: model.train_on_batch(IMAGES, LABELS), "y: labels were given")
    refused(lambda: model.fit(batches(), LABELS), "y: labels were given beside a data set")


COMPILE = [
    ({"optimizer": "adamm"}, "optimizer", "'adamm'"),
    ({"optimizer": 5}, "optimizer", "5"),
    ({"optimizer": keras.optimizers.Adam}, "optimizer", "Adam()"),
    ({"optimizer": keras.optimizers.Adam(0.1), "learning_rate": 0.5}, "learning_rate=0.5", "ignored"),
    *(({"learning_rate": rate}, "learning_rate", str(rate)) for rate in (0, -0.1, np.nan, np.inf, True, "0.1", [0.1])),
    *(({"optimizer": "adam", "learning_rate": rate}, "learning_rate", str(rate)) for rate in (0, np.nan, "1e-3")),
    *(({"steps_per_execution": n}, "steps_per_execution", str(n)) for n in (0, -1, 1.5, True, "5")),
    *(({"jit_compile": value}, "jit_compile", str(value)) for value in ("yes", 1, None)),
    ({"run_eagerly": "no"}, "run_eagerly", "'no'"),
    ({"loss": "mse"}, "its own loss and metrics", "loss"),
    ({"metrics": ["accuracy"]}, "its own loss and metrics", "metrics"),
    ({"learning_rates": 0.1}, "'learning_rates'", "did you mean 'learning_rate'"),
]


@bad_input.arguments()
@pytest.mark.parametrize(("arguments", "words"), [(case[0], case[1:]) for case in COMPILE])
def test_compile_refuses(arguments, words):
    model = DCGMM.from_spec("G(4)", (1, 1, 3))
    refused(lambda: model.compile(**arguments), *words)


NO_COUNTS = (0, -1, 1.5, True, "3", None, np.nan)
FIT = [
    *(({"epochs": n}, "epochs", str(n)) for n in NO_COUNTS),
    *(({"batch_size": n}, "batch_size", str(n)) for n in NO_COUNTS if n is not None),
    *(({"steps_per_epoch": n}, "steps_per_epoch", str(n)) for n in NO_COUNTS if n is not None),
    *(({"validation_steps": n}, "validation_steps", str(n)) for n in NO_COUNTS if n is not None),
    *(({"validation_batch_size": n}, "validation_batch_size", str(n)) for n in NO_COUNTS if n is not None),
    *(({"validation_freq": n}, "validation_freq", str(n)) for n in NO_COUNTS),
    *(({"initial_epoch": n}, "initial_epoch", str(n)) for n in (-1, 1.5, True, "3")),
    ({"epochs": 3, "initial_epoch": 5}, "initial_epoch=5", "epochs=3"),
    ({"epochs": 3, "initial_epoch": 3}, "initial_epoch=3", "epochs=3"),
    ({"steps_per_epoch": 9}, "steps_per_epoch=9", "1 batch"),
    ({"x": batches(), "steps_per_epoch": 9}, "steps_per_epoch=9", "2 batch"),
    ({"x": batches(), "batch_size": 7}, "batch_size=7", "10 images"),
    ({"x": Batches(), "batch_size": 7}, "batch_size=7", "10 images"),
    ({"validation_data": IMAGES, "validation_steps": 9}, "validation_steps=9"),
    ({"verbose": 3}, "verbose", "3"),
    ({"verbose": "yes"}, "verbose", "'yes'"),
    ({"count_weights": "no"}, "count_weights", "'no'"),
    ({"count_weights": 1}, "count_weights", "1"),
    ({"shuffle": False}, "shuffle"),
    ({"validation_split": 0.2}, "validation_split"),
    ({"sample_weight": np.ones(20)}, "sample_weight"),
    ({"class_weight": {0: 1.0}}, "class_weight"),
    ({"callbacks": "stop"}, "callbacks", "'stop'"),
    ({"callbacks": [print]}, "callbacks", "print"),
    ({"callbacks": [keras.callbacks.TerminateOnNaN]}, "callbacks", "TerminateOnNaN()"),
    ({"epoch": 3}, "'epoch'", "did you mean 'epochs'"),
    ({"batchsize": 3}, "'batchsize'", "did you mean 'batch_size'"),
    ({"workers": 3}, "'workers'"),
]


@bad_input.arguments()
@pytest.mark.parametrize(("arguments", "words"), [(case[0], case[1:]) for case in FIT])
def test_fit_refuses(model, arguments, words):
    refused(lambda: model.fit(**{"x": IMAGES, "verbose": 0, **arguments}), *words)


EVALUATE_AND_PREDICT = [
    *(({"batch_size": n}, "batch_size", str(n)) for n in NO_COUNTS if n is not None),
    *(({"steps": n}, "steps", str(n)) for n in NO_COUNTS if n is not None),
    ({"steps": 9}, "steps=9", "1 batch"),
    ({"x": batches(), "steps": 9}, "steps=9", "2 batch"),
    ({"x": batches(), "batch_size": 7}, "batch_size=7", "10 images"),
    ({"verbose": 7}, "verbose", "7"),
    ({"callbacks": 3}, "callbacks", "3"),
    ({"step": 1}, "'step'", "did you mean 'steps'"),
]


@bad_input.arguments()
@pytest.mark.parametrize("method", ["evaluate", "predict"])
@pytest.mark.parametrize(("arguments", "words"), [(case[0], case[1:]) for case in EVALUATE_AND_PREDICT])
def test_evaluate_and_predict_refuse(model, method, arguments, words):
    refused(lambda: getattr(model, method)(**{"x": IMAGES, "verbose": 0, **arguments}), *words)


def test_what_needs_a_compiled_model_says_so():
    model = DCGMM.from_spec("F(3,4,1,1) G(4)", SHAPE)
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        refused(lambda method=method: getattr(model, method)(IMAGES), method, "call model.compile() first")


MASK = np.zeros((20, 6, 8), bool)
CALLS = [
    *(("score_samples", {"batch_size": n}, "batch_size", str(n)) for n in (0, -1, 1.5, True, "3")),
    *(("calibrate", {"batch_size": n}, "batch_size", str(n)) for n in (0, -1, 1.5, True, "3")),
    *(("log_likelihood", {"layer": n}, "layer", str(n)) for n in (2, -1, 0.5, True, "0")),
    *(("responsibilities", {"layer": n}, "layer", str(n)) for n in (2, -1, 0.5, True, "0")),
    *(("variants", {"n": n}, "n must be", str(n)) for n in NO_COUNTS),
    *(("variants", {"layer": n}, "layer", str(n)) for n in (3, -1, 0.5, True, "0")),
    ("variants", {"labels": 1, "layer": 2}, "'labels'"),
    ("variants", {"sed": 1}, "'sed'", "did you mean 'seed'"),
    ("inpaint", {"nois": 1, "mask": MASK}, "'nois'", "did you mean 'noise'"),
    *(("inpaint", {"c": c}, "c must be", str(c)) for c in (np.nan, np.inf, "1", True, [1])),
    *(("inpaint", {"mask": np.where(MASK, 0, value)}, "mask", str(value)) for value in (-1, 0.2, 2, np.nan)),
    ("inpaint", {"mask": np.full((20, 6, 8), "a")}, "mask", "str32"),
    ("inpaint", {"mask": "a"}, "mask", "'a'"),
    ("inpaint", {"mask": [[True], [True, False]]}, "mask", "[True, False]"),
    ("inpaint", {"mask": MASK[:, 1:]}, "mask", "(20, 5, 8)"),
    ("inpaint", {"mask": MASK[:5]}, "mask", "(5, 6, 8)"),
    ("inpaint", {"mask": MASK[..., None]}, "mask", "(20, 6, 8, 1)", "no axis for the channels"),
    ("inpaint", {"mask": np.ma.masked_equal(MASK, False)}, "mask", "MaskedArray"),
    ("train_on_batch", {"sample_weight": np.ones(20)}, "sample_weight"),
    ("train_on_batch", {"class_weight": {0: 1}}, "class_weight"),
    ("test_on_batch", {"sample_weight": np.ones(20)}, "sample_weight"),
    ("test_on_batch", {"return_dict": "yes"}, "return_dict", "'yes'"),
    ("evaluate", {"return_dict": "yes"}, "return_dict", "'yes'"),
    ("evaluate", {"sample_weight": np.ones(20)}, "sample_weight"),
]


@bad_input.arguments()
@pytest.mark.parametrize(("method", "arguments", "words"), [(case[0], case[1], case[2:]) for case in CALLS])
def test_other_methods_refuse(model, method, arguments, words):
    refused(lambda: getattr(model, method)(IMAGES, **arguments), *words)


@bad_input.arguments()
def test_a_mask_without_damage_gives_the_images_back_with_a_word(model):
    with pytest.warns(UserWarning, match="mask has no damaged pixel"):
        np.testing.assert_array_equal(model.inpaint(IMAGES, MASK), IMAGES)
    ones = MASK.copy()
    ones[:, 2:4] = True
    for mask in (ones.astype(int), ones.astype(float), ones[0].tolist()):
        np.testing.assert_array_equal(model.inpaint(IMAGES, mask, seed=0), model.inpaint(IMAGES, ones, seed=0))


@bad_input.arguments()
@pytest.mark.parametrize("n", NO_COUNTS)
def test_sample_refuses(model, n):
    refused(lambda: model.sample(n), "n must be a positive integer", str(n))
    refused(lambda: model.sample(3, return_likelihoods="no"), "return_likelihoods", "'no'")


@bad_input.names(3)
@pytest.mark.parametrize("value", ["../x", "/etc", "a\\b", "..", ".hidden", "", None, 5, ["2L-c"]])
def test_load_pretrained_takes_names_and_no_paths(value):
    for position, argument in enumerate(("name", "dataset", "classes")):
        arguments = ["2L-c", "mnist", "all"]
        arguments[position] = value
        refused(lambda arguments=arguments: load_pretrained(*arguments), argument, repr(value))


def test_load_pretrained_without_a_checkout_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr("dcgmm.saving.FOLDER", tmp_path / "results" / "paper" / "models")
    with pytest.raises(FileNotFoundError, match="come with a checkout of the repository"):
        load_pretrained("2L-c", "mnist")


@bad_input.names(2)
@pytest.mark.parametrize("path", ["model.txt", "model", "model.h5", None, 5, ""])
def test_save_refuses_what_is_no_path_of_a_model(model, path, tmp_path):
    place = str(tmp_path / path) if isinstance(path, str) and path else path
    refused(lambda: model.save(place), "filepath", ".keras", repr(place))
    refused(lambda: model.save_weights(place), "filepath", ".weights.h5", repr(place))


def test_save_never_asks(model, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    for save, path in ((model.save, tmp_path / "m.keras"), (model.save_weights, tmp_path / "m.weights.h5")):
        save(path)
        kept = path.read_bytes()
        with pytest.raises(FileExistsError, match="overwrite=False"):
            save(path, overwrite=False)
        assert path.read_bytes() == kept
        save(path)
        with pytest.raises(FileNotFoundError, match="filepath: there is no folder"):
            save(tmp_path / "none" / path.name)
        refused(lambda save=save, path=path: save(path, overwrite="no"), "overwrite", "'no'")


TAKEN = {
    "booleans": IMAGES > 0.5,
    "integers": (IMAGES > 0.5).astype("int8"),
    "half": IMAGES.astype("float16"),
    "double": IMAGES.astype("float64"),
    "long double": IMAGES.astype(np.longdouble),
    "big-endian": IMAGES.astype(">f4"),
    "list of images": list(IMAGES),
    "nested lists": IMAGES.tolist(),
    "tensor": tf.constant(IMAGES),
    "variable": tf.Variable(IMAGES),
    "bfloat16": tf.cast(IMAGES, tf.bfloat16),
    "fortran": np.asfortranarray(IMAGES),
    "strided": np.repeat(IMAGES, 2, axis=0)[::2],
    "unmasked": np.ma.masked_array(IMAGES),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_all_real_numbers_are_taken_by_their_value(kind):
    x = TAKEN[kind]
    images = ExpectedInput(SHAPE, 1e15).images(x)
    assert images.dtype == tf.float32
    expected = tf.cast(x, tf.float32) if tf.is_tensor(x) else np.asarray(x).astype("float32")
    np.testing.assert_array_equal(images, expected)


@given(st.integers(1, 5), st.floats(-1.25, 1.25, width=32), st.sampled_from(["float32", "float64", "bool", "int8"]))
def test_sound_images_of_any_type_come_back_equal_without_a_warning(n, value, dtype):
    x = np.full((n, *SHAPE), value).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ExpectedInput(SHAPE, 1e15).images(x), x.astype("float32"))
