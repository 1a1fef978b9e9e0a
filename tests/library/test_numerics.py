"""Unusual numbers, types, layouts and counts of images: finite results, or an error that names the argument."""

import bad_input
import keras
import ml_dtypes
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dcgmm import ARCHITECTURES, DCGMM, load_dataset, load_pretrained
from dcgmm.sklearn import DCGMMDensity
from dcgmm.validation import MAX_MAGNITUDE

SHAPE = (8, 8, 1)
SPEC = "F(4,4,4,4) G(4) F(2,2,1,1) G(4)"
IMAGES = np.random.default_rng(0).random((12, *SHAPE), dtype="float32")
LABELS = np.arange(12) % 3
MASK = np.arange(64).reshape(8, 8) < 28
LIMIT, BEYOND = np.float32(MAX_MAGNITUDE), np.nextafter(np.float32(MAX_MAGNITUDE), np.float32(np.inf))
NAN = np.float32("nan")
COLUMN, ROW = np.indices((8, 8))[1][..., None], np.indices((8, 8))[0][..., None]

# Pixels are far from [0, 1] here, as the library rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Trained:
    """A model with the weights of a short training, which it gets back after each use."""

    def __init__(self, spec, *labels):
        self.model = DCGMM.from_spec(spec, SHAPE)
        self.model.compile()
        self.model.fit(IMAGES, *labels, epochs=2, batch_size=5, verbose=0)
        self.weights = self.model.get_weights()
        self.labelled = bool(labels)

    def labels(self, x):
        return (LABELS[: len(x)],) if self.labelled else ()


@pytest.fixture(scope="module")
def trained():
    return {"mixture": Trained(SPEC), "classifier": Trained(f"{SPEC} C(3)", LABELS)}


@pytest.fixture(params=["mixture", "classifier"])
def either(trained, request):
    one = trained[request.param]
    one.model.set_weights(one.weights)
    return one


@pytest.fixture
def model(trained):
    one = trained["mixture"]
    one.model.set_weights(one.weights)
    return one.model


def weights(model):
    """Return what a model has learned: μ, s², π, the classifier's weights, and the statistics of Eq. 6."""
    mixtures = [part for layer in model.gmm_layers for part in (layer.means, layer.precisions, layer.mixing_weights)]
    return mixtures + model.get_weights()


def calibrated(one, x):
    one.model.calibrate(x)
    return [*weights(one.model), one.model.standardised_scores(x)]


def counted(one, x):
    if one.labelled:
        return []
    one.model.count_weights(x)
    return [*weights(one.model), one.model.score_samples(x)]


METHODS = {
    "log_likelihoods": lambda one, x: one.model.log_likelihoods(x),
    "score_samples": lambda one, x: [one.model.score_samples(x)],
    "all_responsibilities": lambda one, x: one.model.all_responsibilities(x),
    "predict": lambda one, x: [one.model.predict(x, verbose=0)],
    "predict_on_batch": lambda one, x: [one.model.predict_on_batch(x), one.model(x)],
    "predict_clusters": lambda one, x: [one.model.predict_clusters(x)],
    "evaluate": lambda one, x: [one.model.evaluate(x, *one.labels(x), verbose=0)],
    "test_on_batch": lambda one, x: [one.model.test_on_batch(x, *one.labels(x))],
    "standardised_scores": lambda one, x: [one.model.standardised_scores(x), one.model.standardised_scores(x, layer=0)],
    "inliers": lambda one, x: [one.model.inliers(x), one.model.inliers(x, layer=0)],
    "variants": lambda one, x: [one.model.variants(x, 2, seed=0), one.model.variants(x, layer=0, seed=0)],
    "inpaint": lambda one, x: [one.model.inpaint(x, seed=0)],
    "inpaint with a mask": lambda one, x: [one.model.inpaint(x, MASK, seed=0)],
    "calibrate": calibrated,
    "count_weights": counted,
}


# Each way by which images come in.
WAYS_IN = ("score_samples", "predict", "predict_on_batch", "evaluate", "variants", "inpaint", "calibrate")


def results(one, x, methods=METHODS):
    """Return the results of methods that do not train; the last ones change the statistics and π."""
    one.model.set_weights(one.weights)
    return [np.asarray(part) for name in methods for part in METHODS[name](one, x)]


def fitted(one, x, batch_size=5):
    history = one.model.fit(x, *one.labels(x), epochs=2, batch_size=batch_size, verbose=0).history
    return [*history.values(), *weights(one.model), one.model.sample(2, seed=0)]


def assert_finite(parts):
    for part in parts:
        assert np.isfinite(np.asarray(part, "float64")).all(), part


UNUSUAL = {
    "zeros": np.zeros_like(IMAGES),
    "ones": np.ones_like(IMAGES),
    "one grey value": np.full_like(IMAGES, 0.3),
    "one image": IMAGES[:1],
    "one image many times": np.repeat(IMAGES[:1], 12, axis=0),
    "denormal numbers": np.full_like(IMAGES, 1e-40),
    "denormal and normal numbers": np.where(COLUMN % 2, IMAGES, np.float32(1e-40)),
    "the smallest normal number": np.full_like(IMAGES, np.finfo("float32").tiny),
    "an image without a seen pixel": np.where(np.arange(12)[:, None, None, None] == 3, NAN, IMAGES),
    "a column that is never seen": np.where(COLUMN == 3, NAN, IMAGES),
    "no pixel that is seen": np.full_like(IMAGES, NAN),
    "large pixels": 1e4 * IMAGES,
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_images_have_finite_results(trained, kind):
    assert_finite(results(trained["mixture"], UNUSUAL[kind]))
    assert_finite(results(trained["classifier"], UNUSUAL[kind], ("predict_on_batch", "test_on_batch", "inpaint")))


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNUSUAL)
def test_a_training_on_unusual_images_stays_finite_and_comes_back_from_its_file(model, trained, kind, tmp_path):
    assert_finite(fitted(trained["mixture"], UNUSUAL[kind]))
    assert_finite(model.train_on_batch(UNUSUAL[kind]))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for a, b in zip(weights(loaded), weights(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert_finite([*weights(loaded), loaded.score_samples(IMAGES)])


AT_THE_LIMIT = {
    "the limit": np.full_like(IMAGES, LIMIT),
    "the negative limit": np.full_like(IMAGES, -LIMIT),
    "both limits": np.where(COLUMN % 2, LIMIT, -LIMIT) * np.ones_like(IMAGES),
    "one pixel at the limit": np.where((ROW == 0) & (COLUMN == 5), LIMIT, IMAGES),
}
# The log-likelihood of such pixels is finite, but perhaps not its variance; and a training on them may diverge.
CLEAR = ("x: the log-likelihoods of GMM layer", "training diverged")


def finite_or_refused(call, one, x):
    """Assert that a call has finite results, or an error that says why not, and leaves finite weights."""
    one.model.set_weights(one.weights)
    try:
        assert_finite(call(one, x))
    except (ValueError, ArithmeticError) as error:
        assert str(error).startswith("x: " if np.any(np.abs(x) > LIMIT) else CLEAR)
    assert_finite(weights(one.model))


@pytest.mark.parametrize("kind", AT_THE_LIMIT)
def test_pixels_at_the_limit_have_finite_results_or_an_error(trained, kind):
    one, refused = trained["mixture"], ("calibrate", "count_weights")
    assert_finite(results(one, AT_THE_LIMIT[kind], [name for name in METHODS if name not in refused]))
    for name in refused:
        finite_or_refused(METHODS[name], one, AT_THE_LIMIT[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", AT_THE_LIMIT)
def test_a_training_on_pixels_at_the_limit_stays_finite_or_stops(trained, kind):
    finite_or_refused(fitted, trained["mixture"], AT_THE_LIMIT[kind])


@bad_input.images(2 * len(METHODS))
def test_pixels_beyond_the_limit_are_refused(trained):
    for sign in (1, -1):
        x = IMAGES.copy()
        x[2, 3, 4, 0] = sign * BEYOND
        for method in METHODS.values():
            with pytest.raises(ValueError, match=r"x: 1 pixel.* beyond ±1e\+15: .* at index \(2, 3, 4, 0\)"):
                method(trained["mixture"], x)


@bad_input.images()
def test_a_spread_of_log_likelihoods_that_float32_cannot_hold_is_refused_and_leaves_no_statistics(model):
    with pytest.raises(ValueError, match="x: .* GMM layer 0, .* variance is not finite .*scale the images"):
        model.calibrate(1e12 * IMAGES)
    with pytest.raises(RuntimeError, match="call fit or calibrate"):
        model.inliers(IMAGES)


@given(hnp.arrays("float32", (2, *SHAPE), elements=st.floats(width=32)), st.sampled_from([*METHODS]))
def test_any_pixels_have_finite_results_or_an_error(trained, x, method):
    finite_or_refused(METHODS[method], trained["mixture"], x)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "batch_size"), [(1, 5), (6, 5), (11, 5), (12, 500), (12, 1)])
def test_batches_of_any_size_train_and_score(either, n, batch_size):
    """One image, a last batch of one image, fewer images than a batch, and batches of one."""
    x = IMAGES[:n]
    assert_finite(fitted(either, x, batch_size))
    whole, parts = (either.model.log_likelihoods(x, batch_size=size) for size in (n, batch_size))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)  # products round by the number of their rows
    measured = [either.model.evaluate(x, *either.labels(x), batch_size=size, verbose=0) for size in (n, batch_size)]
    np.testing.assert_allclose(*measured, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("label", [0, 2])
def test_one_class_of_several_is_learned(trained, label):
    one = trained["classifier"]
    one.model.set_weights(one.weights)
    history = one.model.fit(IMAGES, np.full(12, label), epochs=20, batch_size=5, verbose=0)
    assert_finite([*history.history.values(), *weights(one.model), one.model.sample(3, labels=1, seed=0)])
    assert np.all(one.model.predict(IMAGES, verbose=0).argmax(axis=-1) == label)


def mapped(x, folder):
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "Fortran's order": lambda x, folder: np.asfortranarray(x),
    "reversed": lambda x, folder: x[::-1, ::-1].copy()[::-1, ::-1],
    "every second": lambda x, folder: np.repeat(np.repeat(x, 2, axis=0), 2, axis=2)[::2, :, ::2],
    "exchanged axes": lambda x, folder: np.swapaxes(np.swapaxes(x, 1, 2).copy(), 1, 2),
    "a view that repeats columns": lambda x, folder: np.broadcast_to(x[:, :, :1], x.shape),
    "one image as a view of many": lambda x, folder: np.broadcast_to(x[0], x.shape),
    "read-only": lambda x, folder: read_only(x),
    "mapped from a file": mapped,
    "unaligned": lambda x, folder: np.frombuffer(b"0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "another byte order": lambda x, folder: x.astype(x.dtype.newbyteorder()),
    "a list of images": lambda x, folder: list(x),
    "nested lists": lambda x, folder: x.tolist(),
    "a tuple of tuples": lambda x, folder: tuple(map(tuple, x)),
    "a tensor": lambda x, folder: tf.constant(x),
    "a variable": lambda x, folder: tf.Variable(x),
    "a masked array": lambda x, folder: np.ma.masked_array(x),
}
TYPES = [
    *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.float16, np.float64, np.longdouble, ml_dtypes.bfloat16, ">i4", ">f8", ">f2"),
]
BINARY = (IMAGES > 0.5).astype("float32")


def assert_equal_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_an_array_changes_no_bit(trained, layout, tmp_path):
    other = LAYOUTS[layout](IMAGES, tmp_path)
    plain = np.array(other, "float32", order="C")
    found, expected = (results(trained["mixture"], x, WAYS_IN) for x in (other, plain))
    assert_equal_bits(found, expected)


@pytest.fixture(scope="module")
def of_binary(trained):
    return results(trained["mixture"], BINARY, WAYS_IN)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_type_of_equal_numbers_changes_no_bit(trained, of_binary, dtype):
    assert_equal_bits(results(trained["mixture"], BINARY.astype(dtype), WAYS_IN), of_binary)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.bool_, np.float16, np.longdouble, ml_dtypes.bfloat16, ">f8"], ids=str)
def test_neither_type_nor_layout_changes_what_is_learned(trained, dtype):
    one, found = trained["mixture"], []
    for x in (BINARY, np.asfortranarray(BINARY.astype(dtype))):
        one.model.set_weights(one.weights)
        found.append(fitted(one, x))
    assert_equal_bits(*found)


DENSITY = {"spec": SPEC, "image_shape": SHAPE, "epochs": 2, "batch_size": 5, "random_state": 0}
ROWS = IMAGES.reshape(12, -1)


@pytest.fixture(scope="module")
def density():
    return DCGMMDensity(**DENSITY).fit(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["zeros", "one grey value", "one image", "denormal and normal numbers", "large pixels"]
)
def test_the_estimator_of_unusual_rows_is_finite(density, kind):
    x = UNUSUAL[kind].reshape(len(UNUSUAL[kind]), -1)
    unusual = DCGMMDensity(**DENSITY).fit(x)
    assert_finite([unusual.means_, unusual.precisions_, unusual.weights_, unusual.sample(2)])
    for each, other in ((unusual, ROWS), (unusual, x), (density, x)):
        assert_finite([each.score_samples(other), each.score(other), each.predict_proba(other), each.predict(other)])


@bad_input.images(6)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, BEYOND, -BEYOND])
def test_the_estimator_refuses_what_is_not_finite_or_too_large(density, value):
    x = ROWS.astype("float64")
    x[3, 7] = value
    for method in ("score_samples", "score", "predict", "predict_proba"):
        with pytest.raises(ValueError, match="contains NaN|infinity|beyond ±"):
            getattr(density, method)(x)
    for method in ("fit", "fit_predict"):
        with pytest.raises(ValueError, match="contains NaN|infinity|beyond ±"):
            getattr(DCGMMDensity(**DENSITY), method)(x)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_type_and_layout_of_rows_change_no_bit_of_a_score(density, dtype):
    x = BINARY.reshape(12, -1)
    for form in (x.astype(dtype), np.asfortranarray(x.astype(dtype)), x.astype(dtype)[::-1].copy()[::-1]):
        np.testing.assert_array_equal(density.score_samples(form), density.score_samples(x))


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_log_likelihoods_in_float32_are_those_in_float64(name, dataset):
    model, x = load_pretrained(name, dataset), load_dataset(dataset)[2][:50]
    found, activities = model.log_likelihoods(x), model.all_responsibilities(x)
    expected = reference.log_likelihoods(model.stack, x, activities)
    for layer, (values, exact) in enumerate(zip(found, expected, strict=True)):
        error = np.abs(values - exact)
        allowed = np.maximum(1e-3, 1e-4 * np.abs(exact))
        assert np.all(error <= allowed), (layer, error.max(), (error / allowed).max())
    for values, exact in zip(found, reference.log_likelihoods(model.stack, x), strict=True):
        np.testing.assert_allclose(values, exact, rtol=5e-4, atol=5e-3)  # also the errors of the layers below
