import keras
import numpy as np
import pytest

from dcgmm import DCGMM, outliers


@pytest.fixture(scope="module")
def model():
    x = np.random.default_rng(0).random((300, 12, 12, 1), dtype="float32")
    model = DCGMM.from_spec("F(4,4,2,2) G(4) F(3,3,2,2) G(9)", input_shape=(12, 12, 1))
    model.compile()
    model.fit(x, epochs=3, verbose=0)
    model.training_images = x
    return model


def test_fit_gathers_the_moments_of_the_finished_model_over_the_training_images(model):
    for layer, moments in enumerate(model.moments):
        likelihoods = model.log_likelihood(model.training_images, layer=layer).astype("float64")
        assert float(moments.count) == 300
        np.testing.assert_allclose(moments.mean.numpy(), likelihoods.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(moments.squares.numpy() / 300, likelihoods.var(axis=0), rtol=1e-3)


def test_standardised_training_images_have_mean_zero_and_variance_one(model):
    for layer in (0, 1):
        standardised = model._standardised(model.training_images, layer)
        np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(standardised.std(axis=0), 1, rtol=1e-3)


def test_a_position_that_never_varied_is_ordinary_within_rounding_and_else_finitely_far():
    moments = outliers.Moments((1, 2))
    moments.update([100], [np.float32([[-50.0, -50.0]])], [np.float32([[0.0, 4.0]])])
    least = np.nextafter(np.float32(-50), np.float32(0))
    standardised = moments.standardised(np.float32([[[least, -48.0]], [[-60.0, -52.0]]]))
    assert abs(standardised[0, 0, 0]) <= 1
    assert -np.inf < standardised[1, 0, 0] < -1e5
    np.testing.assert_allclose(standardised[:, 0, 1], [1, -1], rtol=1e-6)


def test_inliers_are_those_of_equation_six(model):
    x = model.training_images[:50]
    likelihoods = model.log_likelihood(x, layer=0)
    bound = model.moments[0].mean.numpy() - 0.7 * np.sqrt(model.moments[0].squares.numpy() / 300)
    inliers = model.inliers(x, c=0.7, layer=0)
    assert inliers.shape == (50, 5, 5)
    decided = np.abs(likelihoods - bound) > 1e-3
    np.testing.assert_array_equal(inliers[decided], (likelihoods >= bound)[decided])


def test_a_larger_c_is_more_lenient(model):
    x = model.training_images
    shares = [model.inliers(x, c=c, layer=0).mean() for c in (-2, -1, 0, 1, 2)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_damage_is_found_where_it_is(model):
    x = model.training_images[:40].copy()
    x[:, :6, :6] = 8.0
    standardised = model._standardised(x, layer=0).mean(axis=0)
    assert standardised[:2, :2].max() < standardised[3:, 3:].min() - 3


def test_calibration_survives_saving(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = model.training_images
    np.testing.assert_array_equal(loaded.inliers(x), model.inliers(x))


def test_without_calibration_there_are_no_inliers():
    model = DCGMM.from_spec("1L")
    with pytest.raises(RuntimeError, match="call fit or calibrate"):
        model.inliers(np.zeros((1, 28, 28, 1)))


def test_the_curve_runs_from_strict_to_lenient_and_its_area_is_a_probability():
    rng = np.random.default_rng(0)
    inliers, others = rng.normal(0, 1, 4000), rng.normal(-1, 1, 3000)
    c, kept, rejected = outliers.roc(inliers, others)
    assert (c[0], c[-1]) == (-2, 2)
    assert np.all(np.diff(kept) >= 0)
    assert np.all(np.diff(rejected) <= 0)
    assert kept[40] == pytest.approx(0.5, abs=0.03)
    # Two unit normals one apart: P(inlier above outlier) = Φ(1/√2).
    assert outliers.auc(inliers, others) == pytest.approx(0.7602, abs=0.02)
    everything = np.linspace(-8, 8, 2000)
    _, kept, rejected = outliers.roc(inliers, others, everything)
    assert np.trapezoid(rejected, kept) == pytest.approx(outliers.auc(inliers, others), abs=2e-3)
