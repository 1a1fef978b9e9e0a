"""Missing pixels: NaN is "not observed", and the lowest layer computes the exact marginal of the seen pixels."""

import bad_input
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from dcgmm import DCGMM, load_dataset, load_pretrained
from dcgmm.datasets import square_masks
from dcgmm.layers import GMM, Folding
from dcgmm.levels import Level
from dcgmm.outliers import auc

NAN = np.float32("nan")


def with_gaps(x, share, seed=0):
    """Return images with a share of their values missing."""
    return np.where(np.random.default_rng(seed).random(x.shape) < share, NAN, x).astype("float32")


def test_a_flat_model_scores_as_the_marginal_of_scikit_learns_mixture():
    gmm = load_pretrained("1L", "mnist").gmm_layers[0]
    x = with_gaps(load_dataset("mnist")[2][:20], 0.25)
    expected = []
    for image in x.reshape(20, -1):
        seen = ~np.isnan(image)
        marginal = GaussianMixture(gmm.n_components, covariance_type="diag")
        marginal.weights_, marginal.means_ = gmm.mixing_weights.astype("float64"), gmm.means[:, seen].astype("float64")
        marginal.precisions_cholesky_ = np.sqrt(gmm.precisions[:, seen].astype("float64"))
        expected.append(marginal.score_samples(image[None, seen].astype("float64"))[0])
    np.testing.assert_allclose(load_pretrained("1L", "mnist").score_samples(x), expected, rtol=1e-5, atol=1e-3)


@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels=st.integers(1, 3),
    shared=st.booleans(),
    share=st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore:.*uncovered")
def test_each_position_has_the_marginal_of_what_it_sees(size, strides, channels, shared, share):
    plane = [f + 2 * s for f, s in zip(size, strides, strict=True)]
    rng = np.random.default_rng(0)
    complete = rng.random((2, *plane, channels), dtype="float32")
    x = with_gaps(complete, share)
    folding, gmm = Folding(size, strides), GMM(4, shared=shared)
    folding.build(x.shape)
    gmm.build(folding.compute_output_shape(x.shape))
    gmm.mu.assign(rng.random(gmm.mu.shape))
    gmm.s.assign(rng.uniform(0.5, 4, gmm.s.shape))
    missing = np.isnan(x)
    level = Level(gmm, (), folding)
    found = gmm.log_likelihood(level.log_scores(tf.constant(np.where(missing, 0, x)), tf.constant(missing, "float32")))

    windows = reference.patches(x.astype("float64"), size, strides)[..., None, :]
    mu, s = (np.asarray(weight, "float64") for weight in (gmm.mu, gmm.s))
    by_feature = np.log(s) - ((windows - mu) * s) ** 2 / 2 - np.log(2 * np.pi) / 2
    expected = logsumexp(np.nansum(by_feature, -1) - np.log(4), axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "spec", ["F(4,4,2,2) G(4) F(3,3,1,1) G(9)", "P(2,2) F(4,4,1,1) G(9)", "F(8,8,1,1) G(4,unshared)"]
)
def test_nothing_above_sees_a_nan_and_complete_images_keep_every_bit(spec):
    model = DCGMM.from_spec(spec, (8, 8, 1))
    model.compile()
    x = np.random.default_rng(0).random((40, 8, 8, 1), dtype="float32")
    gaps = x.copy()
    gaps[:20] = with_gaps(x[:20], 0.3)
    gaps[0] = NAN
    found, complete = model.log_likelihoods(gaps), model.log_likelihoods(x)
    for values, whole in zip(found, complete, strict=True):
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values[20:], whole[20:])
    assert np.isfinite(model.predict(gaps, verbose=0)).all()
    np.testing.assert_allclose(found[0][0], 0, atol=1e-4)  # an unseen window has density 1
    masked = np.ma.masked_invalid(gaps)
    np.testing.assert_array_equal(model.score_samples(masked), model.score_samples(gaps))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_pixel_that_is_never_seen_does_not_change_what_the_others_learn(streamed):
    rng = np.random.default_rng(0)
    narrow = rng.choice([0.1, 0.9], (200, 4, 4, 1)).astype("float32")
    wide = np.concatenate([narrow, np.full((200, 4, 1, 1), NAN)], axis=2)
    small, large = (DCGMM.from_spec(f"F(4,{width},1,1) G(4)", (4, width, 1)) for width in (4, 5))
    start = large.gmm_layers[0].mu.numpy().reshape(4, 4, 5)
    small.gmm_layers[0].mu.assign(start[:, :, :4].reshape(4, 16))
    for model, x in ((small, narrow), (large, wide)):
        model.compile()
        x = tf.data.Dataset.from_tensor_slices(x).batch(20) if streamed else x
        history = model.fit(x, epochs=4, batch_size=20, verbose=0).history
        assert np.isfinite(history["loss"]).all()
    for name in ("mu", "s"):
        weights = getattr(large.gmm_layers[0], name).numpy().reshape(4, 4, 5)
        np.testing.assert_allclose(
            weights[:, :, :4].reshape(4, 16), getattr(small.gmm_layers[0], name).numpy(), rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(large.gmm_layers[0].mu.numpy().reshape(4, 4, 5)[:, :, 4], start[:, :, 4], atol=1e-6)
    np.testing.assert_allclose(large.score_samples(wide), small.score_samples(narrow), rtol=1e-4, atol=1e-3)


def test_fit_finds_the_clusters_of_images_with_gaps():
    rng = np.random.default_rng(0)
    patterns, label = rng.choice([0.1, 0.9], (4, 6, 6, 1)), rng.integers(4, size=400)
    x = with_gaps(patterns[label] + 0.05 * rng.standard_normal((400, 6, 6, 1)), 0.4)
    model = DCGMM.from_spec("F(6,6,1,1) G(4)", (6, 6, 1), annealing={"rate": 0.2})
    model.compile()
    model.fit(x, epochs=40, batch_size=20, verbose=0)
    found = model.predict_clusters(x)
    assert all(len(set(found[label == k])) == 1 for k in range(4))
    assert len(set(found)) == 4


def test_outliers_are_found_with_a_quarter_of_the_pixels_missing():
    model, (_, _, x, y) = load_pretrained("2L-c", "mnist", "0-4"), load_dataset("mnist")
    x, y = x[:2000], y[:2000]

    def area(images):
        scores = model.score_samples(images)
        return auc(scores[y < 5], scores[y >= 5])

    complete, seen, filled = area(x), area(with_gaps(x, 0.25)), area(np.nan_to_num(with_gaps(x, 0.25)))
    assert seen > complete - 0.02 > filled


def test_missing_pixels_are_filled_without_a_mask_and_better_than_black_ones_with_a_mask():
    model, x = load_pretrained("2L-c", "fashion_mnist"), load_dataset("fashion_mnist")[2][:100]
    hole = square_masks(100, (28, 28), size=10, margin=4)
    black, missing = (np.where(hole[..., None], value, x).astype("float32") for value in (0, NAN))
    filled, drawn = model.inpaint(missing, seed=0), model.inpaint(black, hole, seed=0)
    np.testing.assert_array_equal(filled[~hole], x[~hole])
    errors = [np.mean((images - x)[hole] ** 2) for images in (filled, drawn)]
    assert errors[0] < errors[1]
    flat = load_pretrained("1L", "fashion_mnist")  # cannot find damage, but knows which pixels are missing
    assert np.isfinite(flat.inpaint(missing, seed=0)).all()
    assert np.isfinite(model.variants(missing, n=2, layer=0, seed=0)).all()


@bad_input.images()
def test_infinite_pixels_are_still_refused():
    model = DCGMM.from_spec("F(4,4,4,4) G(4)", (8, 8, 1))
    with pytest.raises(ValueError, match=r"infinite .* at index \(1, 2, 3, 0\)"):
        x = np.zeros((2, 8, 8, 1))
        x[1, 2, 3] = np.inf
        model.score_samples(x)


def test_a_list_of_masked_images_counts_its_masks():
    model = DCGMM.from_spec("F(4,4,4,4) G(4)", (8, 8, 1))
    x = np.ma.masked_greater(np.random.default_rng(0).random((3, 8, 8, 1), dtype="float32"), 0.7)
    np.testing.assert_array_equal(model.score_samples(list(x)), model.score_samples(x))
