"""Every wrong argument ends in an error of this package that names the argument and what came."""

import math
from functools import cache
from pathlib import Path

import bad_input
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import dcgmm
from dcgmm import DCGMM, GMM, Folding, LinearClassifier, MaxPooling, Sharpening, datasets, metrics, outliers, parallel
from dcgmm.annealing import Annealing
from dcgmm.architectures import (
    ARCHITECTURES,
    file_name,
    layers_from_spec,
    propose_architectures,
    resolve,
    spec_parts,
    table_of_layers,
)
from dcgmm.datasets.description import Description, class_labels, class_text, first_half
from dcgmm.experiments import statistics
from dcgmm.layers import ScaleRange
from dcgmm.outliers import Moments
from dcgmm.realism import Bins, Neighbourhoods
from dcgmm.sampling import Descent, SamplingOptions, top_control
from dcgmm.sharpening import Ascent

PACKAGE = Path(dcgmm.__file__).parent
NAN, INF = math.nan, math.inf
SPEC, SHAPE = "F(4,4,2,2) G(4) F(3,3,1,1) G(9)", (8, 8, 1)

# What is no integer, no number and no truth value, whatever the range.
NO_INTEGER = (True, np.True_, "3", "three", 2.5, 2.0, NAN, INF, [3], np.array([3, 3]), 3j, {})
NO_NUMBER = (True, np.False_, "0.5", NAN, -INF, INF, np.float32("nan"), [0.5], np.array([0.5, 0.5]), 0.5j, {}, b"1")
NO_TRUTH = ("no", "yes", "", 0, 1, None, 0.5, np.array([True, False]))
NO_SEED = ("a", "1", -1, 1.5, 1.0, 2**32, 2**70, True, NAN, [1, 2])
NO_TEXT = (5, None, True, ["F(8,8)", "G(4)"], b"G(4)", 1.5, "", "  ")
IMAGES = np.random.default_rng(0).random((6, 5, 5, 1))
LABELS = np.arange(6) % 2


def without(array, value):
    """Return an array of floats of which one is another value."""
    changed = np.array(array, "float64")
    changed.flat[1] = value
    return changed


NO_ARRAY = ("text", ["a", "b"], [[1, 2], [3]], None, {}, np.array([1j, 2]), np.array([object()]))
NO_IMAGES = (
    *NO_ARRAY,
    IMAGES[0],
    IMAGES[..., 0],
    IMAGES[:0],
    without(IMAGES, NAN),
    without(IMAGES, INF),
    np.ma.masked_array(IMAGES, IMAGES > 0.5),
)
NO_SCORES = (*NO_ARRAY, [], 0.5, [[0.5], [0.1]], [0.5, NAN], [0.5, INF], [True, False])


class Average(keras.layers.Layer):
    """Average pooling of 2×2 positions: a layer of one's own, in both directions."""

    def call(self, x):
        return tf.nn.avg_pool2d(x, 2, 2, "VALID")

    def down(self, control):
        return tf.repeat(tf.repeat(control, 2, axis=1), 2, axis=2)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] // 2, shape[2] // 2, shape[3])


class WithoutShape(Average):
    compute_output_shape = keras.layers.Layer.compute_output_shape


@pytest.fixture(scope="module")
def model():
    model = DCGMM.from_spec(SPEC + " C(3)", SHAPE)
    model.calibrate(np.random.default_rng(0).random((20, *SHAPE)))
    return model


def built(layer, shape=(None, 8, 8, 1)):
    layer.build(shape)
    return layer


def small(**arguments):
    return DCGMM.from_spec(SPEC, **{"input_shape": SHAPE, **arguments})


def chain(*layers):
    return DCGMM(layers, SHAPE)


def description(**changed):
    fitting = {"name": "a", "title": "A", "image_shape": SHAPE, "class_names": ("x", "y"), "classes": (0, 1)}
    return Description(**{**fitting, "known": (0,), **changed})


def twice(layer):
    return [layer, GMM(4), layer, GMM(4)]


# A function of the model and a value, the argument that the message names, and values that do not fit. A value may
# come with the words for it, (value, words), where it is not itself in the message.
CONSTRUCTORS = [
    (lambda m, v: Folding(v), "size", (0, -1, (1, 2, 3), (2,), (), (2, 0), {2, 3}, *NO_INTEGER[:8], 3j, {})),
    (lambda m, v: Folding(2, v), "strides", (0, -1, (2, 0), (2, 2.5), None, "22", True)),
    (lambda m, v: MaxPooling(v), "size", (0, (2, 0), 2.5, True, "2")),
    (lambda m, v: MaxPooling(2, v), "strides", (0, (2, -2), 2.5, True, "2")),
    (lambda m, v: Folding(2).build(v), "expects an input", (None, (8, 8, 1), (None, None, 8, 1), (1, 8.5, 8, 1), 5)),
    (lambda m, v: GMM(4).build(v), "expects an input", (None, (8, 8, 1), (None, 8, 8, None), "abcd")),
    (lambda m, v: LinearClassifier(4).build(v), "expects an input", (None, (8,), (None, 0, 8, 1))),
    (lambda m, v: GMM(v), "n_components", (0, -4, None, (10**5000, "thousands of digits"), *NO_INTEGER)),
    (lambda m, v: GMM(4, max_precision=v), "max_precision", (0, -1, 1e-7, 1e16, None, *NO_NUMBER)),
    (lambda m, v: GMM(4, centroid_range=v), "centroid_range", (-0.1, 1e16, None, *NO_NUMBER)),
    (lambda m, v: GMM(4, start_precision=v), "start_precision", (0, -1, 20.5, 1e-7, *NO_NUMBER)),
    (lambda m, v: GMM(4, seed=v), "seed", NO_SEED),
    (lambda m, v: GMM(4, shared=v), "shared", NO_TRUTH),
    (lambda m, v: ScaleRange(v), "max_precision", (0, -1, None, *NO_NUMBER)),
    (lambda m, v: LinearClassifier(v), "n_classes", (1, 0, None, *NO_INTEGER)),
    (lambda m, v: LinearClassifier(3, inverse=v), "inverse", ("softmax", "One-Hot", "", None, True, 1, ["one-hot"])),
    (lambda m, v: Annealing(v), "n_components", (0, -4, None, *NO_INTEGER)),
    (lambda m, v: Annealing(24 + v), "K", ((0, "24"),)),
    (lambda m, v: Annealing(4, sigma_start=v), "sigma_start", (0, -1, 0.005, 1e-30, 1e39, *NO_NUMBER)),
    (lambda m, v: Annealing(4, sigma_end=v), "sigma_end", (0, -1, 3.0, 1e-30, None, *NO_NUMBER)),
    (lambda m, v: Annealing(4, decay=v), "decay", (0, 1, -0.5, 1.5, None, *NO_NUMBER)),
    (lambda m, v: Annealing(4, tolerance=v), "tolerance", (0, -1, None, *NO_NUMBER)),
    (lambda m, v: Annealing(4, rate=v), "rate", (0, -1, 1.5, 1e-320, None, *NO_NUMBER)),
    (lambda m, v: Sharpening(v), "steps", (-1, 2**31, None, *NO_INTEGER)),
    (lambda m, v: Sharpening(rate=v), "rate", (0, -1, 1e30, None, *NO_NUMBER)),
    (lambda m, v: Sharpening(batch_size=v), "batch_size", (0, -1, None, *NO_INTEGER)),
    (lambda m, v: Sharpening(layer=v), "layer", (-1, *NO_INTEGER)),
    (lambda m, v: Sharpening(objective=v), "objective", ("mean", "LogSumExp", "", None, 1, True)),
    (lambda m, v: Sharpening(penalty=v), "penalty", (-1, 1e30, None, *NO_NUMBER)),
    (lambda m, v: Sharpening(halve_steps=v), "halve_steps", NO_TRUTH),
    (lambda m, v: Moments(v), "plane", (5, (1,), (1, 2, 3), (0, 1), (1, 1.5), (1, True), "11", None)),
]
MODELS = [
    (lambda m, v: DCGMM.from_spec(v), "spec", NO_TEXT),
    (lambda m, v: layers_from_spec(v), "spec", NO_TEXT),
    (lambda m, v: resolve(v), "spec", (*NO_TEXT, "2L-z", "G(25", ("2L-c C(ten)", "'C(ten)'"), ("1L foo", "'foo'"))),
    (lambda m, v: spec_parts(v), "spec", NO_TEXT),
    (lambda m, v: file_name(v), "name", (*NO_TEXT, "!!!")),
    (
        lambda m, v: layers_from_spec("F(8,8) " + v),
        "specification",
        (
            "G(２５)",
            ("G(25)x", "'x'"),
            "g(25)",
            ("G(2 5", "'G(25'"),
            "G(-4)",
            "G(4.0)",
            "G(4,shared)",
            "F(8,8,unshared)",
            "G(1e2)",
            "X(3)",
            "G[4]",
        ),
    ),
    (lambda m, v: layers_from_spec(f"G({v})"), "n_components", (("0", "received 0"),)),
    (lambda m, v: layers_from_spec(f"C({v})"), "n_classes", (("0", "received 0"), ("1", "received 1"))),
    (lambda m, v: layers_from_spec(f"F({v})"), "size", (("0,8", "(0, 8)"),)),
    (lambda m, v: layers_from_spec(f"F(4,4,{v})"), "strides", (("2,0", "(2, 0)"), ("0,2", "(0, 2)"), ("0", "(0, 0)"))),
    (lambda m, v: layers_from_spec(f"P(4,4,{v})"), "strides", (("2,0", "(2, 0)"), ("0,2", "(0, 2)"), ("0", "(0, 0)"))),
    (lambda m, v: layers_from_spec(f"G({'9' * v})"), "specification", ((5000, "'G(9999"),)),
    (lambda m, v: DCGMM.from_spec(f"G({v})"), "n_components", ((100_000_000, "100,000,000"), (10**40, "1000000"))),
    (lambda m, v: GMM(v).build((None, 1, 1, 784)), "n_components", ((10**11, "156,900,000,000,000 parameters"),)),
    (lambda m, v: LinearClassifier(v).build((None, 1, 1, 36)), "n_classes", ((10**14, f"{10**14:,}"),)),
    (lambda m, v: DCGMM.from_spec("F(8,8) G(4)", v), "layer F1", (((10**7, 10**7, 1), "10000000x10000000"),)),
    (lambda m, v: small(gmm=v), "gmm", ({"foo": 1}, {"n_components": 4}, {"name": "g"}, {1: 2}, "max", 5, [1], False)),
    (lambda m, v: small(gmm={"max_precision": v}), "max_precision", (-1, NAN, "20", True)),
    (lambda m, v: layers_from_spec("G(4)", **v), "gmm", (({"foo": 1}, "foo"), ({"n_components": 4}, "n_components"))),
    (lambda m, v: small(annealing=v), "annealing", ({"rat": 0.1}, {"n_components": 4}, {1: 2}, "rate", 0.1, [0.1])),
    (lambda m, v: small(annealing={"rate": v}), "rate", (0, 2, NAN, "0.1", True, None)),
    (
        lambda m, v: small(annealing=v),
        "sigma_end",
        (
            ({"sigma_start": 0.1, "sigma_end": 0.2}, "0.2 and sigma_start = 0.1"),
            ({"sigma_end": 9}, "9 and sigma_start"),
        ),
    ),
    (lambda m, v: small(seed=v), "seed", NO_SEED),
    (lambda m, v: small(centroid_phase=v), "centroid_phase", (-0.1, 1.5, None, *NO_NUMBER)),
    (lambda m, v: small(final_rate=v), "final_rate", (0, -1, 1.5, None, *NO_NUMBER)),
    (lambda m, v: small(start_delay=v), "start_delay", (-0.1, 1, 1.0, None, *NO_NUMBER)),
    (
        lambda m, v: small(rates=v),
        "rates",
        (
            (1, 1),
            (1, 1, 1, 1),
            (1, -1, 0),
            (1, NAN, 0),
            (1, INF, 0),
            (1, True, 0),
            "100",
            1,
            None,
            ("1", "1", "0"),
            {1, 2, 3},
        ),
    ),
    (
        lambda m, v: small(input_shape=v),
        "input_shape",
        (
            (28.5, 28, 1),
            (28, 28),
            (0, 8, 1),
            (8, -8, 1),
            (8, 8, True),
            (8, 8, None),
            "881",
            8,
            None,
            ("8", "8", "1"),
            (),
        ),
    ),
    (lambda m, v: small(nams=v), "nams", (("a", "nams"),)),
    (lambda m, v: DCGMM(v, SHAPE), "layers", (5, None, "G(4)", [], {}, ["G(4)"], [None], [GMM], {GMM(4)})),
    (lambda m, v: DCGMM(v, SHAPE), "layers", ((GMM(4, name="alone"), "name=alone"),)),
    (lambda m, v: chain(v, GMM(4)), "layers[0]", (keras.layers.Dense(4), keras.layers.Flatten(), WithoutShape())),
    (lambda m, v: chain(v, GMM(4)), "layers[0]", (keras.Sequential(name="inner"), keras.layers.AveragePooling2D(2))),
    (lambda m, v: chain(GMM(4), v), "layers", (Folding(1, name="last"), MaxPooling(1, name="last"))),
    (lambda m, v: chain(v, LinearClassifier(3)), "layers", (LinearClassifier(3, name="lower"),)),
    (lambda m, v: chain(*twice(v)), "layers[2]", (Folding(1, name="again"),)),
    (lambda m, v: table_of_layers(m.stack, v), "image_shape", ((8, 8), 8, None, (8, 8, 1.5), "881")),
    (lambda m, v: table_of_layers(v, SHAPE), "layers", (5, [], "G(4)", [GMM(4, name="new")])),
    (
        lambda m, v: propose_architectures(v),
        "image_shape",
        (28, (28,), (28, 28, 1, 1), (0, 28), (28.0, 28), "28", None),
    ),
]
DOWN = [
    (
        lambda m, v: m.gmm_layers[0].down(v, [0, 1]),
        "control",
        (np.ones((2, 3, 3, 5)), np.ones((2, 4)), [1.0], None, "a"),
    ),
    (lambda m, v: m.gmm_layers[0].down(np.ones((2, 3, 3, 4), int), [0, v]), "control", ((1, "int64"),)),
    (lambda m, v: Folding(2, name="f").down(v), "f has no way down", ((np.ones((1, 2, 2, 4)), ""),)),
    (
        lambda m, v: m.stack[0].down(v),
        "control",
        (np.ones((2, 3, 3, 15)), np.ones((2, 9, 1, 16)), np.ones((2, 3, 3, 16), int)),
    ),
    (lambda m, v: built(MaxPooling(2)).down(v), "control", (np.ones((2, 4, 4, 2)), np.ones((2, 4, 4)), None)),
    (lambda m, v: m.classifier.down(v), "control", (np.ones((2, 4)), np.ones(3), np.eye(3, dtype=int), [[1.0, 0, 0]])),
    (lambda m, v: first_down(m, seed=v), "seed", (5, [1, 2, 3], [0.5, 1.5], (1,))),
    (lambda m, v: first_down(m, top_s=v), "top_s", (0, -1, *NO_INTEGER)),
    (lambda m, v: first_down(m, noise=v), "noise", (-1, None, *NO_NUMBER)),
    (lambda m, v: first_down(m, merge_prior=v), "merge_prior", NO_TRUTH),
    (lambda m, v: first_down(m, noise_at_bound=v), "noise_at_bound", NO_TRUTH),
    (lambda m, v: m.annealings[0].objective(v), "scores", (np.ones((2, 3, 3, 5)), np.ones((2, 4)), None)),
    (
        lambda m, v: m.sample(2, top_s=v),
        "top_s",
        (0, -1, [1], [1, 2, 3], [1, 0], [1, 2.5], [True, 1], [[1], [2, 3]], "[1, 2]", *NO_INTEGER[:-3], {}),
    ),
    (lambda m, v: DCGMM.from_spec("G(4)", (1, 1, 2)).sample(2, top_s=v), "top_s", (0, True, [0], "1")),
    (
        lambda m, v: m.sample(2, noise=v),
        "noise",
        (-1, [1.0], [1, 1, 1], [1, NAN], ["1", "1"], None, *NO_NUMBER[:-5], "[1, 0]"),
    ),
    (lambda m, v: m.sample(2, seed=v), "seed", NO_SEED),
    (lambda m, v: m.sample(2, merge_prior=v), "merge_prior", NO_TRUTH),
    (lambda m, v: m.sample(2, noise_at_bound=v), "noise_at_bound", NO_TRUTH),
    (
        lambda m, v: m.sample(2, sharpening=v),
        "sharpening",
        (
            5,
            True,
            "yes",
            {"F1": 5},
            {"F1": "yes"},
            (({"F9": Sharpening(1)}), "F9"),
            ({1: None}, "[1]"),
            ([Sharpening(1)], "steps=1"),
        ),
    ),
    (lambda m, v: m.sample(2, sharpening=Sharpening(1, layer=v)), "layer", (2, 5)),
    (
        lambda m, v: m.sample(2, labels=v),
        "labels",
        (3, -1, 0.5, "1", True, [0], [0, 3], [0, 0.5], [True, False], 2**70, {}, [[0], [1, 2]]),
    ),
    (lambda m, v: small().sample(2, labels=v), "labels need", ((1, ""),)),
    (lambda m, v: top_control(m.stack, v), "n", (0, -1, None, *NO_INTEGER)),
    (lambda m, v: top_control(v, 2), "layers", (5, [], [GMM(4, name="new")])),
    (lambda m, v: Descent(v), "levels", (5, [], None, [1])),
    (
        lambda m, v: m.descent.run(v, SamplingOptions()),
        "control",
        (None, np.ones((2, 1, 1, 8)), np.ones((2, 9)), ((np.ones((0, 1, 1, 9))), "(0, 1, 1, 9)")),
    ),
    (lambda m, v: m.descent.run(tf.ones((2, 1, 1, 9)), v), "options", (5, None, {}, {"top_s": 1})),
    (lambda m, v: m.descent.run(tf.ones((2, 1, 1, 9)), SamplingOptions(), layer=v), "layer", (2, -1, *NO_INTEGER)),
    (lambda m, v: Ascent(v), "levels", (5, [], None)),
    (lambda m, v: Ascent(m.levels[:1], v), "objective", ("mean", None, 1)),
    (lambda m, v: Ascent(m.levels[:1], halve_steps=v), "halve_steps", ("no", 1, None)),
    (lambda m, v: ascent(m)(v, Sharpening(1)), "control", (None, np.ones((2, 8, 7, 1)))),
    (lambda m, v: ascent(m)(tf.ones((2, *SHAPE)), v), "sharpening", (None, 5, {})),
]
NUMBERS = [
    (lambda m, v: m.inliers(np.zeros((1, *SHAPE)), c=v), "c", (None, *NO_NUMBER)),
    (lambda m, v: m.calibrate(np.zeros((1, *SHAPE)), batch_size=v), "batch_size", (0, -1, *NO_INTEGER)),
    (lambda m, v: outliers.roc(v, [0.0]), "inliers", (*NO_SCORES, np.ma.masked_array([1.0, 2], [True, False]))),
    (lambda m, v: outliers.roc([0.0], v), "outliers", NO_SCORES),
    (lambda m, v: outliers.roc([0.0], [1.0], v), "c", [v for v in NO_SCORES if v is not None]),
    (lambda m, v: outliers.auc(v, [0.0]), "inliers", NO_SCORES),
    (lambda m, v: outliers.auc([0.0], v), "outliers", NO_SCORES),
    (lambda m, v: m.moments[0].standardised(v), "likelihoods", (np.ones((2, 1, 1)), np.ones((3, 3)), None)),
    (
        lambda m, v: Moments((1, 1)).update(v, [np.ones((1, 1))], [np.ones((1, 1))]),
        "counts",
        ([0], [NAN], ["1"], [True], ([1, 2], "2 counts")),
    ),
    (lambda m, v: Moments((1, 1)).update([1], [v], [np.ones((1, 1))]), "means", (np.ones(2), 1.0)),
    (lambda m, v: Moments((1, 1)).update([1], [np.ones((1, 1))], [v]), "variances", (np.ones((1, 2)), 1.0)),
    (lambda m, v: parallel.cut(tf.range(5), v), "n", (0, -1, None, *NO_INTEGER)),
    (lambda m, v: parallel.side_by_side(lambda x: [x], tf.range(5), v), "n", (0, 2.5, True)),
    (
        lambda m, v: parallel.join(*v),
        "parts",
        ((([], []), "received 0 and 0"), (([tf.ones(2)], [1, 2]), "received 1 and 2")),
    ),
    (
        lambda m, v: parallel.mean(*v),
        "values",
        ((([], []), "received 0 and 0"), (([tf.ones(())], []), "received 1 and 0")),
    ),
    (lambda m, v: statistics.interval(v), "values", [v for v in NO_SCORES if not isinstance(v, list) or NAN not in v]),
    (lambda m, v: statistics.interval([1.0, 2, 3], lowest=v), "lowest", (NAN, "0", True, None, 2.5)),
    (lambda m, v: statistics.interval([1.0, 2, 3], highest=v), "highest", (NAN, "9", True, None, 1.5)),
    (lambda m, v: statistics.interval([1.0, 2, 3], 3, v), "highest", (2,)),
    (lambda m, v: statistics.describe(v), "values", ([], None, "a", ["a"], [INF, 1.0], 5)),
    (lambda m, v: statistics.describe([1.0], v), "digits", (-1, 21, None, *NO_INTEGER)),
    (lambda m, v: statistics.describe([1.0], **v), "bounds", (({"lowst": 0}, "lowst"),)),
]
MEASURES = [
    (lambda m, v: metrics.dunn_index(v, LABELS), "x", (*NO_ARRAY, [], 0.5, without(IMAGES, NAN), without(IMAGES, INF))),
    (
        lambda m, v: metrics.dunn_index(IMAGES, v),
        "labels",
        (LABELS[:5], [], 3, None, "a", LABELS[:, None], [0, NAN] * 3),
    ),
    (
        lambda m, v: metrics.davies_bouldin(v, LABELS),
        "x",
        (*NO_ARRAY, [], 0.5, without(IMAGES, NAN), without(IMAGES, INF)),
    ),
    (
        lambda m, v: metrics.davies_bouldin(IMAGES, v),
        "labels",
        (LABELS[:5], [], 3, None, "a", LABELS[:, None], [0, NAN] * 3),
    ),
    (lambda m, v: metrics.components_in_use(v), "labels", ([], 3, None, "a", LABELS[:, None], {})),
    (lambda m, v: metrics.components_in_use(LABELS, v), "min_share", (-0.1, 1.5, None, *NO_NUMBER)),
    (lambda m, v: metrics.sharpness(v), "images", (*NO_IMAGES, IMAGES[:, :1], IMAGES[:, :, :1])),
    (lambda m, v: metrics.perceived(v), "images", NO_IMAGES),
    (lambda m, v: metrics.nearest_distance(v), "images", (*NO_IMAGES, IMAGES[:1])),
    (
        lambda m, v: metrics.nearest_distance(IMAGES, v),
        "others",
        (*(v for v in NO_IMAGES if v is not None), IMAGES[:, :4]),
    ),
    (lambda m, v: metrics.duplicate_groups(v), "images", NO_IMAGES),
    (lambda m, v: metrics.distinct(v), "images", NO_IMAGES),
    (
        lambda m, v: metrics.silhouette_overlap(IMAGES, v),
        "others",
        (*(v for v in NO_IMAGES if v is not None), IMAGES[:, :4]),
    ),
    (lambda m, v: Bins(v, 2), "images", (*NO_ARRAY, IMAGES[:0], without(IMAGES, NAN))),
    (lambda m, v: Bins(v, 2), "images", ((np.ones_like(IMAGES), "6 equal ones"),)),
    (lambda m, v: Bins(IMAGES, v), "n_bins", (0, 7, None, *NO_INTEGER)),
    (lambda m, v: Bins(IMAGES, 2).divergence(v), "images", (None, IMAGES[:0], IMAGES[:, :4], without(IMAGES, NAN))),
    (lambda m, v: Bins(IMAGES, 2).different(IMAGES, v), "level", (-0.1, 1.5, None, *NO_NUMBER)),
    (lambda m, v: Neighbourhoods(v, IMAGES), "training", (*NO_ARRAY, IMAGES[:0], without(IMAGES, NAN))),
    (lambda m, v: Neighbourhoods(IMAGES, v), "real", (None, IMAGES[:0], IMAGES[:, :4], without(IMAGES, NAN))),
    (lambda m, v: Neighbourhoods(IMAGES, IMAGES, v), "n_neighbours", (0, 6, None, *NO_INTEGER)),
    (
        lambda m, v: Neighbourhoods(IMAGES, IMAGES, 2).density_and_coverage(v),
        "images",
        (None, IMAGES[:0], IMAGES[:, :4], without(IMAGES, NAN)),
    ),
    (lambda m, v: metrics.image_classifier(v, LABELS), "images", (*NO_ARRAY, without(IMAGES, NAN))),
    (lambda m, v: metrics.image_classifier(IMAGES, v), "labels", (LABELS[:5], None, 3, ([1] * 6, "only"))),
]
DATA = [
    (
        lambda m, v: datasets.select_classes(IMAGES, LABELS, v),
        "classes",
        ([], None, 1, "0-1", "1", [0, 7], [0.5], [1.0], [True], ["1"], [None], [NAN]),
    ),
    (lambda m, v: datasets.select_classes(IMAGES, v, [1]), "y", (LABELS[:5], LABELS[:, None], None, 3)),
    (lambda m, v: datasets.select_classes(v, LABELS, [1]), "x", (None, "text", 5)),
    (lambda m, v: datasets.thinned(IMAGES, LABELS, v), "n", (0, -3, *NO_INTEGER)),
    (lambda m, v: datasets.thinned(IMAGES, v, 2), "y", (LABELS[:5], LABELS[:, None], None)),
    (lambda m, v: datasets.thinned(v, LABELS, 2), "x", (None, "text", 5)),
    (lambda m, v: datasets.square_masks(v, (8, 8), 2), "n", (0, -1, None, *NO_INTEGER)),
    (lambda m, v: datasets.square_masks(2, v, 2), "plane", (8, (8,), (8, 8, 1), (8, 0), (8, 8.5), "88", None)),
    (lambda m, v: datasets.square_masks(2, (8, 8), v), "size", (0, -1, 9, None, *NO_INTEGER)),
    (lambda m, v: datasets.square_masks(2, (8, 8), 2, v), "margin", (-1, 4, None, *NO_INTEGER)),
    (lambda m, v: datasets.square_masks(2, (8, 8), 2, seed=v), "seed", NO_SEED),
    (lambda m, v: datasets.damaged(v, np.ones((5, 5), bool), "black"), "x", (*NO_ARRAY, IMAGES[0], IMAGES[:0])),
    (
        lambda m, v: datasets.damaged(IMAGES, v, "black"),
        "mask",
        (
            None,
            5,
            "a",
            IMAGES[..., 0],
            np.ones((6, 5, 5, 1), bool),
            np.ones((5, 6), bool),
            -np.ones((5, 5)),
            [[True], [True, False]],
        ),
    ),
    (lambda m, v: datasets.damaged(IMAGES, np.ones((5, 5), bool), v), "damage", ("red", "Black", "", None, 0, True)),
    (lambda m, v: datasets.damaged(IMAGES, np.ones((5, 5), bool), "noise", v), "seed", NO_SEED),
    (
        lambda m, v: class_labels(v),
        "text",
        ("", "a", "0-", "-1", "1.5", "０-４", "0 - 4", "00000", 5, None, [0, 1], True),
    ),
    (lambda m, v: class_labels(v), "text", (("4-0", "[4, 0] in '4-0'"),)),
    (lambda m, v: class_text(v), "labels", ([], 5, None, "01", [0.5], [True], ["0"], [-1], [10_000])),
    (lambda m, v: first_half(v), "classes", ([], 5, None, "01", [0.5], [True], ["0"], [-1])),
    (lambda m, v: description(name=v), "name", (None, 5, "", True)),
    (lambda m, v: description(title=v), "title", (None, 5, "", True)),
    (lambda m, v: description(image_shape=v), "image_shape", ((8, 8), None, (8, 8, 0), (8.5, 8, 1), "881")),
    (lambda m, v: description(class_names=v), "class_names", ((), None, "xy", (0, 1))),
    (lambda m, v: description(classes=v), "classes", ((), None, (0, 2), (0, True), (-1,), ("0",), "01")),
    (lambda m, v: description(known=v), "known", ((), None, (0, 2), (0.5,), "0")),
    (lambda m, v: description(classes=(0,), known=v), "known", (((0, 1), "[1] too"),)),
]


@cache
def ascent(model):
    return Ascent(model.levels[:1])


def first_down(model, seed=(0, 1), **arguments):
    return model.gmm_layers[0].down(tf.ones((2, 3, 3, 4)), seed, **arguments)


ROWS = [row for group in (CONSTRUCTORS, MODELS, DOWN, NUMBERS, MEASURES, DATA) for row in group]


def words_for(value):
    """Return texts of which a message shows one: the start of the repr, or words for what is wrong with the value."""
    if isinstance(value, np.ndarray) and value.ndim:
        unusual = value[~np.isfinite(value)].tolist() if value.dtype.kind == "f" else []
        return [*map(str, unusual), str(value.shape), f"received {len(value)} label"]
    parts = list(value) if isinstance(value, list | dict) else []
    empty = ["received none", "received 0 labels"] if isinstance(value, list | dict) and not value else []
    return [repr(value)[:12], *(repr(part)[:12] for part in parts), *empty]


@pytest.mark.parametrize(("call", "argument", "values"), ROWS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_wrong_argument_is_named_with_what_came(model, call, argument, values, record_property):
    record_property("promise", bad_input.arguments(len(values)).args)
    for value in values:
        with_words = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str)
        value, *words = value if with_words else (value, *words_for(value))
        with pytest.raises((ValueError, TypeError)) as error:
            made = call(model, value)
            pytest.fail(f"{value!r} is accepted and makes {made!r}")
        message, where = str(error.value), error.traceback[-1]
        assert PACKAGE in Path(where.path).parents, f"{value!r} fails at {where}: {message}"
        assert argument in message and any(text in message for text in words), f"{value!r}: {message}"
        assert "\n" not in message and len(message) < 500


def test_the_table_has_hundreds_of_cases():
    assert sum(len(values) for _, _, values in ROWS) >= 1000


@bad_input.arguments()
@pytest.mark.parametrize(
    ("call", "question"),
    [
        (lambda: DCGMM.from_spec("2l-c"), "did you mean '2L-c'"),
        (lambda: layers_from_spec("f(8,8,2,2) G(25)"), r"did you mean 'F\(8,8,2,2\)'"),
        (lambda: layers_from_spec("F(8,8,2,2) G(２５)"), r"did you mean 'G\(25\)'"),
        (lambda: small(gmm={"max_precison": 1}), "did you mean 'max_precision'"),
        (lambda: small(annealing={"rat": 0.1}), "did you mean 'rate'"),
        (lambda: datasets.damaged(IMAGES, np.ones((5, 5), bool), "Noise"), "did you mean 'noise'"),
        (lambda: small().sample(2, sharpening={"f1": Sharpening(1)}), "did you mean 'F1'"),
        (lambda: small().sample(2, top_s="[1, 2]"), r"'\[1, 2\]', which is text \(on papermill's command line.* -y\)"),
        (lambda: datasets.select_classes(IMAGES, LABELS, "0-1"), "read text with class_labels"),
    ],
)
def test_a_message_says_what_was_probably_meant(call, question):
    with pytest.raises(ValueError, match=question):
        call()


def test_indices_that_are_not_defined_are_nan_with_a_warning():
    for index in (metrics.dunn_index, metrics.davies_bouldin):
        for x in (np.ones((6, 3)), np.repeat([[0.1], [0.3]], 3, axis=0)[[0, 3, 1, 4, 2, 5]]):
            with pytest.warns(UserWarning, match="points x of each cluster are equal"):
                assert math.isnan(index(x, LABELS))
        with pytest.warns(UserWarning, match="points x of each cluster are equal"):
            assert math.isnan(index(IMAGES, range(6)))
        assert index(IMAGES, LABELS.astype(str)) == index(IMAGES, LABELS.tolist())


def test_an_undefined_repetition_makes_an_undefined_interval():
    assert np.isnan(statistics.interval([1.0, NAN, 3.0])).all()
    assert statistics.describe([1.0, NAN, 3.0]) == "nan"


def test_a_number_of_threads_in_other_digits_counts_for_nothing(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "²")
    assert parallel._number("TF_NUM_INTEROP_THREADS") == 0


def test_a_layer_of_one_s_own_goes_up_and_down_and_can_be_sharpened():
    model = DCGMM([Folding(2, 2), GMM(4), Average(), Folding(2), GMM(9)], SHAPE)
    assert model.score_samples(np.zeros((3, *SHAPE))).shape == (3,)
    lines = []
    model.summary(print_fn=lines.append)
    assert "Average" in lines[1]
    samples, likelihoods = model.sample(3, seed=0, sharpening=Sharpening(2), return_likelihoods=True)
    assert samples.shape == (3, *SHAPE)
    assert "average" in likelihoods


@given(
    k=st.integers(1, 5).map(lambda side: side**2),
    integer=st.sampled_from([int, np.int64, np.uint8, np.int16]),
    real=st.sampled_from([float, np.float64, np.float32]),
    share=st.floats(0.01, 1),
    precisions=st.tuples(st.floats(0.01, 1e6), st.floats(0.01, 1e6)).map(sorted),
    sigmas=st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)).map(sorted),
    seed=st.none() | st.integers(0, 2**32 - 1),
)
def test_valid_arguments_are_accepted_and_kept_in_plain_python(k, integer, real, share, precisions, sigmas, seed):
    numbers = {
        "start_precision": real(precisions[0]),
        "max_precision": real(precisions[1]),
        "centroid_range": real(share),
    }
    others = {"sigma_end": real(sigmas[0]), "sigma_start": real(sigmas[1]), "rate": real(share)}
    layers = [
        Folding([integer(2), integer(3)], integer(2)),
        MaxPooling(integer(2), np.array([1, 2])),
        LinearClassifier(integer(k + 1)),
        GMM(integer(k), seed=seed, shared=np.bool_(share > 0.5), **numbers),
        Annealing(integer(k), **others),
    ]
    for layer in layers:
        config = layer.get_config()
        assert types(config) <= {int, float, str, bool, type(None)}
        assert type(layer).from_config(config).get_config() == config
    assert layers[3].max_precision == float(real(precisions[1]))


@pytest.mark.parametrize("number", [float, np.float32, np.float64])
def test_a_model_keeps_its_arguments_in_plain_python_and_comes_back_from_its_config(number):
    shares = {name: number(0.5) for name in ("centroid_phase", "final_rate", "start_delay")}
    annealing = {"sigma_start": number(1), "rate": number(0.25)}
    shape = tf.TensorShape([None, 8, np.int64(8), 1])[1:]
    made = small(
        input_shape=shape, rates=np.array([1, 0.5, 0], number), seed=np.uint32(7), annealing=annealing, **shares
    )
    config = made.get_config()
    assert types(config) <= {int, float, str, bool, type(None)}
    assert config["rates"] == (1, 0.5, 0)
    assert config["annealing"] == {"sigma_start": 1, "rate": 0.25}
    assert DCGMM.from_config(config).get_config() == config


def types(config):
    """Return the types of all numbers, texts and truth values in a config."""
    parts = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else None
    return {type(config)} if parts is None else set().union(*(types(part) for part in parts))


@given(
    steps=st.integers(0, 2**31 - 1),
    rate=st.floats(1e-6, 1e6),
    batch_size=st.integers(1, 1000),
    layer=st.none() | st.integers(0, 5),
    penalty=st.floats(0, 1e6),
)
def test_valid_sharpening_is_accepted(steps, rate, batch_size, layer, penalty):
    made = Sharpening(steps, rate, batch_size=batch_size, layer=layer, penalty=penalty)
    assert (made.steps, made.rate, made.layer, made.penalty) == (steps, rate, layer, penalty)
    assert made == Sharpening(np.int64(steps), np.float64(rate), batch_size=batch_size, layer=layer, penalty=penalty)


@given(st.sets(st.integers(0, 9999), min_size=1, max_size=30))
def test_any_labels_come_back_from_their_text(labels):
    assert class_labels(class_text(labels)) == tuple(sorted(labels))
    assert class_text([*labels, *labels]) == class_text(np.array(sorted(labels)))


@given(
    size=st.integers(1, 6),
    margin=st.integers(0, 3),
    more=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    n=st.integers(1, 4),
)
def test_squares_that_fit_are_drawn_and_damage_their_images(size, margin, more, n):
    plane = [size + 2 * margin + extra for extra in more]
    masks = datasets.square_masks(n, plane, size, margin, seed=None)
    assert np.all(masks.sum(axis=(1, 2)) == size**2)
    x = np.random.default_rng(0).random((n, *plane, 1), dtype="float32")
    for mask in (masks, masks.astype(int), masks[0]):
        np.testing.assert_array_equal(
            datasets.damaged(x, mask, "white"), np.where(np.asarray(mask, bool)[..., None], 1, x)
        )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_name_and_any_spacing_of_its_specification_is_read(name):
    spec = ARCHITECTURES[name]
    layers = [repr(layer.get_config()) for layer in layers_from_spec(spec)]
    assert resolve(name) == resolve(spec) == spec
    assert [
        repr(layer.get_config()) for layer in layers_from_spec(spec.replace(" ", " \n\t").replace(",", " , "))
    ] == layers


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_any_finite_scores_have_an_area_and_a_curve(inliers, others):
    assert 0 <= outliers.auc(inliers, np.float32(others)) <= 1
    assert [len(part) for part in outliers.roc(inliers, others)] == [81, 81, 81]
