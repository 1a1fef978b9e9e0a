import bad_input
import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from dcgmm.architectures import layers_from_spec
from dcgmm.layers import GMM, MAX_PRECISION, MIN_SCALE, Folding, LinearClassifier, MaxPooling


@st.composite
def geometries(draw):
    """Draw an input (H, W, C) with a filter and strides that fit it."""
    size, strides, positions = (draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(3))
    plane = [f + (p - 1) * s for f, s, p in zip(size, strides, positions, strict=True)]
    return (*plane, draw(st.integers(1, 3))), size, strides


def folded(layer, x):
    layer.build(x.shape)
    return layer(tf.constant(x))


@pytest.mark.filterwarnings("ignore:.*uncovered")
@given(geometries())
def test_folding_agrees_with_the_definition_and_its_announced_shape(geometry):
    shape, size, strides = geometry
    x = np.random.default_rng(0).random((2, *shape), dtype="float32")
    layer = Folding(size, strides)
    y = folded(layer, x)
    np.testing.assert_array_equal(y, reference.patches(x, size, strides))
    assert y.shape == layer.compute_output_shape(x.shape)


@pytest.mark.filterwarnings("ignore:.*uncovered")
@given(geometries())
def test_fold_followed_by_its_inverse_restores_what_it_covers(geometry):
    shape, size, strides = geometry
    x = np.random.default_rng(1).random((2, *shape), dtype="float32")
    layer = Folding(size, strides)
    restored = layer.down(folded(layer, x)).numpy()
    covered = np.broadcast_to(layer.coverage.reshape(shape) > 0, x.shape)
    np.testing.assert_allclose(restored[covered], x[covered], rtol=1e-6)
    assert np.all(restored[~covered] == 0)


@pytest.mark.filterwarnings("ignore:.*uncovered")
@given(geometries())
def test_folding_down_is_the_mean_of_the_covering_entries(geometry):
    shape, size, strides = geometry
    layer = Folding(size, strides)
    x = np.zeros((1, *shape), "float32")
    entries = np.random.default_rng(2).random(folded(layer, x).shape, dtype="float32")
    with tf.GradientTape() as tape:
        source = tf.Variable(x)
        windows = tf.image.extract_patches(source, [1, *size, 1], [1, *strides, 1], [1, 1, 1, 1], "VALID")
        total = tf.reduce_sum(windows * entries)
    # The derivative of the patches is the sum of the entries that cover an element.
    mean = tape.gradient(total, source).numpy() / np.maximum(layer.coverage, 1).reshape(shape)
    np.testing.assert_allclose(layer.down(tf.constant(entries)), mean, rtol=1e-5, atol=1e-6)


@bad_input.layers()
def test_strides_beyond_the_filter_are_announced():
    layer = Folding((1, 2), (3, 2))
    with pytest.warns(UserWarning, match="leaves 8 of 16 input elements uncovered"):
        layer.build((None, 4, 4, 1))


@pytest.mark.parametrize(("size", "strides"), [(2, None), (3, 2), ((2, 3), (1, 2))])
def test_max_pooling_agrees_with_keras_and_its_way_down_repeats_the_nearest(size, strides):
    x = np.random.default_rng(0).random((2, 9, 11, 3), dtype="float32")
    layer = MaxPooling(size, strides)
    y = folded(layer, x)
    np.testing.assert_array_equal(y, keras.layers.MaxPooling2D(size, strides)(x))
    assert y.shape == layer.compute_output_shape(x.shape)
    down = layer.down(y).numpy()
    assert down.shape == x.shape
    for h in range(9):
        for w in range(11):
            source = [min(i // s, n - 1) for i, s, n in zip((h, w), layer.strides, y.shape[1:3], strict=True)]
            np.testing.assert_array_equal(down[:, h, w], y[:, source[0], source[1]])


def random_gmm(n_components, shape, seed=0):
    """Return a built GMM with random parameters on inputs of the given shape (H, W, D)."""
    rng = np.random.default_rng(seed)
    layer = GMM(n_components)
    layer.build((None, *shape))
    layer.mu.assign(rng.normal(0.5, 0.3, layer.mu.shape))
    layer.s.assign(rng.uniform(0.5, 4, layer.s.shape))
    layer.xi.assign(rng.normal(0, 1, n_components))
    return layer


@pytest.mark.parametrize(
    ("size", "strides", "convolves"), [(8, 2, True), (7, 7, False), (28, 1, False), ((3, 5), (1, 1), True)]
)
def test_log_scores_over_a_folding_agree_with_float64(size, strides, convolves):
    x = np.random.default_rng(0).random((3, 28, 28, 2), dtype="float32")
    folding = Folding(size, strides)
    folding.build(x.shape)
    assert folding.overlapping == convolves
    layer = random_gmm(5, folding.compute_output_shape(x.shape)[1:])
    parameters = [v.numpy() for v in (layer.mu, layer.s, layer.xi)]
    expected = reference.log_scores(reference.patches(x, folding.size, folding.strides), *parameters)
    np.testing.assert_allclose(layer.log_scores(tf.constant(x), folding), expected, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(layer.log_scores(folding(x)), expected, rtol=1e-5, atol=1e-2)


@given(st.floats(-1e15, 1e15) | st.floats(-1e-37, 1e-37), st.integers(0, 2**16))
def test_responsibilities_sum_to_one_for_any_accepted_input(value, seed):
    x = np.random.default_rng(seed).random((2, 3, 3, 4), dtype="float32")
    x.flat[seed % x.size] = value
    layer = random_gmm(9, (3, 3, 4), seed)
    layer.s.assign(np.full(layer.s.shape, (MIN_SCALE, MAX_PRECISION**0.5)[seed % 2]))
    responsibilities = layer(tf.constant(x)).numpy()
    assert np.all(responsibilities >= 0)
    np.testing.assert_allclose(responsibilities.sum(axis=-1), 1, rtol=1e-5)


def test_the_density_integrates_to_one():
    layer = random_gmm(4, (1, 1, 2))
    grid = np.linspace(-6, 7, 600, dtype="float32")
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 1, 1, 2)
    density = np.exp(layer.log_likelihood(layer.log_scores(tf.constant(points))))
    assert np.sum(density, dtype="float64") * (grid[1] - grid[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_samples_have_the_mixture_s_moments():
    layer = random_gmm(4, (1, 1, 3))
    n = 200_000
    layer.s.assign(layer.s.constraint(layer.s * [1.0, 1.0, 100.0]))  # the last feature stands at the bound
    samples = layer.down(tf.zeros((n, 1, 1, 4)), tf.constant([0, 0]), noise_at_bound=True).numpy().reshape(n, 3)
    pi, mu, variances = layer.mixing_weights[:, None], layer.means, 1 / layer.precisions
    mean = np.sum(pi * mu, axis=0)
    variance = np.sum(pi * (variances + mu**2), axis=0) - mean**2
    sklearn = GaussianMixture(4, covariance_type="diag", random_state=0)
    sklearn.weights_, sklearn.means_, sklearn.covariances_ = pi[:, 0] / pi.sum(dtype="float64"), mu, variances
    theirs, _ = sklearn.sample(n)
    for drawn in (samples, theirs):
        np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=5 * np.sqrt(variance.max() / n))
        np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.05)


def test_no_noise_is_drawn_where_the_bound_has_set_the_precision():
    layer = random_gmm(3, (1, 1, 4))
    at_bound = np.array([[True, False, False, True], [False, False, True, False], [True, True, True, True]])
    layer.s.assign(np.where(at_bound, MAX_PRECISION**0.5, layer.s.numpy()))
    n = 30_000
    control = tf.one_hot(np.arange(n) % 3, 3)[:, None, None]
    samples = layer.down(control, tf.constant([1, 1])).numpy().reshape(-1, 3, 4)
    np.testing.assert_array_equal(np.all(samples == layer.means, axis=0), at_bound)
    np.testing.assert_allclose(samples.std(axis=0)[~at_bound], layer.precisions[~at_bound] ** -0.5, rtol=0.05)


def random_plane_of_mixtures(seed=0):
    """Return a built GMM with a mixture of its own at each of 2×3 positions, and the mixtures as scikit-learn's."""
    layer = GMM(4, shared=False)
    layer.build((None, 2, 3, 5))
    rng = np.random.default_rng(seed)
    layer.mu.assign(rng.normal(0.5, 0.3, layer.mu.shape))
    layer.s.assign(rng.uniform(0.5, 4, layer.s.shape))
    layer.xi.assign(rng.normal(0, 1, layer.xi.shape))
    mixtures = {}
    for at in np.ndindex(2, 3):
        mixture = mixtures[at] = GaussianMixture(4, covariance_type="diag")
        mixture.weights_ = layer.mixing_weights[at].astype("float64") / layer.mixing_weights[at].sum(dtype="float64")
        mixture.means_, precisions = layer.means[at].astype("float64"), layer.precisions[at].astype("float64")
        mixture.precisions_cholesky_, mixture.covariances_ = np.sqrt(precisions), 1 / precisions
    return layer, mixtures


def test_mixtures_that_are_not_shared_are_as_many_mixtures_of_scikit_learn():
    layer, mixtures = random_plane_of_mixtures()
    x = np.random.default_rng(1).random((50, 2, 3, 5), dtype="float32")
    scores = layer.log_scores(tf.constant(x))
    n = 40_000
    samples = layer.down(tf.zeros((n, 2, 3, 4)), tf.constant([0, 1]), noise_at_bound=True).numpy()
    for at, mixture in mixtures.items():
        there = (slice(None), *at)
        np.testing.assert_allclose(layer.log_likelihood(scores)[there], mixture.score_samples(x[there]), rtol=1e-4)
        np.testing.assert_allclose(layer(x)[there], mixture.predict_proba(x[there]), atol=1e-4)
        theirs, _ = mixture.sample(n)
        np.testing.assert_allclose(samples[there].mean(axis=0), theirs.mean(axis=0), atol=0.03)
        np.testing.assert_allclose(samples[there].std(axis=0), theirs.std(axis=0), rtol=0.05)


def test_mixtures_that_are_not_shared_read_overlapping_windows():
    folding, gmm = Folding(3, 2), GMM(4, shared=False)
    x = np.random.default_rng(0).random((6, 7, 9, 2), dtype="float32")
    patches = folding(tf.constant(x))
    gmm.build(patches.shape)
    for parameter in (gmm.mu, gmm.s, gmm.xi):
        parameter.assign(np.random.default_rng(1).uniform(0.5, 1, parameter.shape))
    np.testing.assert_allclose(gmm.log_scores(tf.constant(x), folding), gmm.log_scores(patches), rtol=1e-5)
    strongest = tf.reshape(tf.one_hot(np.arange(6 * 3 * 4) % 4, 4), (6, 3, 4, 4))
    samples = gmm.down(strongest, tf.constant([0, 1]), top_s=1, noise=0.0).numpy()
    for image, y, column in np.ndindex(6, 3, 4):
        component = int(np.argmax(strongest[image, y, column]))
        np.testing.assert_array_equal(samples[image, y, column], gmm.means[y, column, component])


def test_the_ways_down_of_a_classifier_are_the_two_readings_of_the_paper():
    for inverse in ("one-hot", "log-probabilities"):
        layer = LinearClassifier(3, inverse=inverse)
        layer.build((None, 2, 1, 4))
        rng = np.random.default_rng(0)
        kernel, bias = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=3).astype("float32")
        layer.set_weights([kernel, bias])
        control = layer.down(tf.one_hot([2], 3)).numpy()
        if inverse == "one-hot":
            expected = kernel[:, 2].reshape(1, 2, 1, 4)
            expected = expected - expected.min(axis=-1, keepdims=True)
        else:
            expected = kernel @ (np.log([0.025, 0.025, 0.95]) - bias)
            expected = (expected - expected.min()).reshape(1, 2, 1, 4)
        np.testing.assert_allclose(control, expected, rtol=1e-4, atol=1e-5)
        assert LinearClassifier.from_config(layer.get_config()).inverse == inverse
    with pytest.raises(ValueError, match="one-hot, log-probabilities, received 'softmax'"):
        LinearClassifier(3, inverse="softmax")


def test_a_control_signal_chooses_the_components_and_top_s_keeps_the_strongest():
    layer = random_gmm(4, (1, 1, 3))
    n = 20_000
    control = tf.tile(tf.constant([0.1, 0.4, -3.0, 0.2], shape=(1, 1, 1, 4)), (n, 1, 1, 1))

    def shares(**arguments):
        samples = layer.down(control, tf.constant([1, 2]), noise=0.0, **arguments).numpy().reshape(n, 3)
        return [np.mean(np.all(samples == mean, axis=1)) for mean in layer.means]

    np.testing.assert_allclose(shares(), [1 / 7, 4 / 7, 0, 2 / 7], atol=0.02)
    np.testing.assert_allclose(shares(top_s=2), [0, 2 / 3, 0, 1 / 3], atol=0.02)
    np.testing.assert_allclose(shares(top_s=1), [0, 1, 0, 0])


def test_merging_the_prior_multiplies_the_control_signal_by_the_mixing_weights():
    layer = random_gmm(4, (1, 1, 3))
    n = 20_000
    control = np.array([0.1, 0.4, 0.3, 0.2], "float32")
    signal = tf.tile(control.reshape(1, 1, 1, 4), (n, 1, 1, 1))
    samples = layer.down(signal, tf.constant([5, 6]), noise=0.0, merge_prior=True).numpy().reshape(n, 3)
    shares = [np.mean(np.all(samples == mean, axis=1)) for mean in layer.means]
    expected = control * layer.mixing_weights
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.02)


def test_a_position_without_weight_uses_the_mixing_weights():
    layer = random_gmm(3, (1, 1, 2))
    n = 20_000
    samples = layer.down(tf.fill((n, 1, 1, 3), -1.0), tf.constant([3, 4]), noise=0.0).numpy().reshape(n, 2)
    shares = [np.mean(np.all(samples == mean, axis=1)) for mean in layer.means]
    np.testing.assert_allclose(shares, layer.mixing_weights, atol=0.02)


def test_scales_stay_in_their_range():
    layer = random_gmm(2, (1, 1, 2))
    clipped = layer.s.constraint(np.array([-1.0, 1.0, 100.0]))
    np.testing.assert_allclose(clipped, [MIN_SCALE, 1, MAX_PRECISION**0.5])


@bad_input.layers()
@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Folding(6), (None, 5, 5, 3), r"F\(6,6,1,1\).*larger than its input of 5x5"),
        (Folding(2, 2), (None, 5, 5, 3), r"F\(2,2,2,2\).*5x5.*1 \+ \(5 - 2\)/2 is not a whole number"),
        (MaxPooling(6), (None, 5, 5, 3), r"P\(6,6,6,6\).*larger than its input"),
        (Folding(2), (None, 5, 3), r"expects an input \(batch, height, width, channels\), received shape"),
        (GMM(4), (None, 7), r"expects an input"),
    ],
)
def test_what_does_not_fit_says_which_layer_and_why(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.build(shape)


@bad_input.layers()
@pytest.mark.parametrize("spec", ["F(8,8,2,2 G(25)", "X(3)", "G()", "G(2,3)", "F(8)", "F(8,8) H(2)", "F(8,8,2,2) G(25"])
def test_a_specification_that_cannot_be_read_is_quoted(spec):
    with pytest.raises(ValueError, match="cannot read '.*' in the specification"):
        layers_from_spec(spec)


def test_one_stride_counts_for_both_directions():
    assert [layer.strides for layer in layers_from_spec("F(8,8,2) P(4,4,2) P(4,4) F(2,2)")] == [
        (2, 2),
        (2, 2),
        (4, 4),
        (1, 1),
    ]


@bad_input.layers()
@pytest.mark.parametrize("arguments", [{"size": 0}, {"size": (1, 2, 3)}, {"size": 2, "strides": -1}, {"size": 1.5}])
def test_sizes_are_positive_integers(arguments):
    with pytest.raises(ValueError, match="positive integer"):
        Folding(**arguments)


def test_a_shared_mixture_draws_for_a_plane_of_any_size():
    shared, own = GMM(4), GMM(4, shared=False)
    for gmm in (shared, own):
        gmm.build((None, 3, 3, 2))
    assert shared.down(tf.ones((5, 1, 2, 4)), seed=[0, 1]).shape == (5, 1, 2, 2)
    with pytest.raises(ValueError, match=r"control signal of .* = \(any, 3, 3, 4\)"):
        own.down(tf.ones((5, 1, 2, 4)), seed=[0, 1])
