import gc
import os
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from dcgmm import (
    ARCHITECTURES,
    DCGMM,
    GMM,
    Sharpening,
    datasets,
    inpainting,
    load_dataset,
    load_pretrained,
    outliers,
    sampling,
)
from dcgmm.inpainting import covered_pixels, damaged_share
from dcgmm.sharpening import OBJECTIVES, Ascent

DRAW = """
import hashlib
from dcgmm import DCGMM
model = DCGMM.from_spec("F(4,4,2,2) G(9) F(5,5,1,1) G(9)", input_shape=(12, 12, 1))
print(hashlib.sha256(model.sample(5000, seed=0).tobytes()).hexdigest())
"""


def striped_images(n=600, seed=0):
    """Return images (n, 12, 12, 1) of three classes, with a horizontal, a vertical or no bar, and their labels."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((n, 12, 12, 1), dtype="float32") * 0.1, rng.integers(3, size=n)
    x[y == 0, 4:8] += 0.8
    x[y == 1, :, 4:8] += 0.8
    return x, y


@pytest.fixture(scope="module")
def model():
    x, y = striped_images()
    model = DCGMM.from_spec("F(4,4,2,2) G(9) F(5,5,1,1) G(9) C(3)", input_shape=(12, 12, 1), annealing={"rate": 0.2})
    model.compile()
    model.fit(x, y, epochs=30, batch_size=20, verbose=0)
    return model


def test_a_classifier_learns_and_leaves_the_other_layers_alone(model):
    x, y = striped_images(seed=1)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.95
    assert model.predict(x, verbose=0).shape == (600, 3)
    alone = DCGMM.from_spec("F(4,4,2,2) G(9) F(5,5,1,1) G(9)", input_shape=(12, 12, 1), annealing={"rate": 0.2})
    alone.compile()
    alone.fit(striped_images()[0], epochs=30, batch_size=20, verbose=0)
    for with_classifier, without in zip(model.gmm_layers, alone.gmm_layers, strict=True):
        np.testing.assert_allclose(with_classifier.means, without.means, atol=1e-5)


def test_conditional_samples_are_of_their_class(model):
    x, y = striped_images()
    judge = KNeighborsClassifier().fit(x.reshape(len(x), -1), y)
    labels = np.arange(300) % 3
    samples = model.sample(300, labels=labels, seed=0)
    assert np.mean(judge.predict(samples.reshape(300, -1)) == labels) > 0.9
    one = model.sample(20, labels=1, seed=0)
    assert np.all(judge.predict(one.reshape(20, -1)) == 1)


def test_the_way_down_of_a_classifier_is_a_shifted_inverse(model):
    one_hot = tf.eye(3)
    control = model.classifier.down(one_hot).numpy()
    assert np.all(control.min(axis=-1) == 0)
    kernel = model.classifier.kernel.numpy().T.reshape(control.shape)
    np.testing.assert_allclose(np.ptp(control - kernel, axis=-1), 0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sharpening_with_halved_steps_lowers_no_likelihood_and_raises_nearly_all(name, monkeypatch):
    model, ascents, ascend = load_pretrained(name, "mnist"), [], Ascent.__call__

    def recorded(ascent, control, sharpening):
        level = ascent.levels[0]
        path = (*level.windows, level.gmm)
        ascents.append((control, path, *ascend(ascent, control, sharpening)))
        return ascents[-1][2:]

    monkeypatch.setattr(Ascent, "__call__", recorded)
    # Noise in all features: a sample without it may start at a centroid, where nothing is left to climb.
    sharpening = Sharpening(30, batch_size=1, halve_steps=True)
    model.sample(100, top_s=1, noise_at_bound=True, sharpening=sharpening, seed=0)
    assert [path[0] for _, path, *_ in ascents] == [g for g in reversed(model.stack) if not isinstance(g, GMM)]
    for control, path, sharpened, before, after in ascents:
        # Measure with the layers, one after the other, not with the ascent's own numbers.
        for signal, claimed in ((control, before), (sharpened, after)):
            for layer in path[:-1]:
                signal = layer(signal)
            measured = np.mean(path[-1].log_likelihood(path[-1].log_scores(signal)), axis=(1, 2))
            np.testing.assert_allclose(claimed, measured, rtol=1e-4, atol=1e-2)
        assert np.all(after >= before)
        assert np.mean(after > before) >= 0.99


@pytest.mark.slow
def test_samples_do_not_depend_on_the_number_of_threads():
    def digest(threads):
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads}
        command = [sys.executable, "-c", DRAW]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert digest("1") == digest("3") != ""


def test_a_sharpened_image_is_another_and_likelier(model):
    plain, sharp = (model.sample(50, sharpening=s, seed=0) for s in (None, {"F1": Sharpening(100)}))
    assert np.all(
        model.log_likelihood(sharp, layer=0).mean(axis=(1, 2)) > model.log_likelihood(plain, layer=0).mean(axis=(1, 2))
    )


def test_sharpening_gains_more_the_longer_it_lasts(model):
    gains = []
    for steps in (0, 5, 50):
        _, likelihoods = model.sample(50, sharpening=Sharpening(steps), seed=0, return_likelihoods=True)
        gains.append(np.mean(np.diff(likelihoods["F1"])))
    assert gains[0] == 0 < gains[1] < gains[2]


def test_a_sharpened_sample_does_not_depend_on_its_batch(model):
    control = tf.constant(np.random.default_rng(0).random((40, 12, 12, 1), dtype="float32"))
    ascent = Ascent(model.levels[:1])
    whole, _, _ = ascent(control, Sharpening(50))
    part, _, _ = ascent(control[5:8], Sharpening(50))
    np.testing.assert_allclose(part, whole[5:8], atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("penalty", [0, 50.0])
def test_sharpening_is_gradient_ascent_on_the_mean_over_a_batch_of_100(model, objective, penalty):
    gmm, folding = model.gmm_layers[0], model.stack[0]
    start = tf.constant(np.random.default_rng(0).random((100, 12, 12, 1), dtype="float32"))
    control = tf.Variable(start)
    optimizer = tf.keras.optimizers.SGD(0.1)
    for _ in range(40):
        with tf.GradientTape() as tape:
            scores = gmm.log_scores(folding(control))
            largest = tf.reduce_max(scores, -1) if objective == "max-component" else gmm.log_likelihood(scores)
            loss = penalty * tf.reduce_mean((control - start) ** 2) - tf.reduce_mean(largest)
        optimizer.apply_gradients([(tape.gradient(loss, control), control)])
    ascent = Ascent(model.levels[:1], objective)
    other = Ascent(model.levels[:1], next(name for name in OBJECTIVES if name != objective))
    sharpened, before, after = ascent(start, Sharpening(40, penalty=penalty))
    np.testing.assert_allclose(sharpened, control, atol=1e-4)
    assert np.abs(sharpened - start).max() > 0.01
    assert np.abs(sharpened - other(start, Sharpening(40, penalty=penalty))[0]).max() > 1e-3
    np.testing.assert_allclose(before, tf.reduce_mean(gmm.log_likelihood(gmm.log_scores(folding(start))), (1, 2)))
    assert np.mean(after) > np.mean(before)


def test_a_penalty_keeps_a_sharpened_signal_near_its_start(model):
    moved = []
    for penalty in (0.0, 1000.0):
        sharpening = {"F1": Sharpening(200, penalty=penalty, batch_size=10)}
        moved.append(np.abs(model.sample(20, sharpening=sharpening, seed=0) - model.sample(20, seed=0)).mean())
    assert 0 < moved[1] < moved[0]


def test_sharpening_that_diverges_says_so_and_halved_steps_do_not(model):
    with pytest.raises(
        ValueError, match=r"Sharpening\(steps=60, rate=100.* below G4, has diverged: use a smaller rate, or halve"
    ):
        model.sample(5, sharpening=Sharpening(60, rate=1e2, batch_size=1), seed=0)
    with pytest.warns(UserWarning, match=r"below G4, has lowered the mean log-likelihood from .* to .* nats: use a"):
        model.sample(5, sharpening={"F3": Sharpening(2, rate=1e2, batch_size=1)}, seed=0)
    sharp = model.sample(5, sharpening=Sharpening(60, rate=1e2, batch_size=1, halve_steps=True), seed=0)
    assert np.all(np.isfinite(sharp))


def test_a_model_that_has_sharpened_can_be_saved_and_is_let_go(tmp_path):
    made = DCGMM.from_spec("F(4,4,2,2) G(4) F(3,3,1,1) G(4)", (8, 8, 1))
    made.save(tmp_path / "before.keras")
    made.sample(2, sharpening=Sharpening(1), seed=0)
    made.save(tmp_path / "after.keras")
    assert (tmp_path / "after.keras").read_bytes() == (tmp_path / "before.keras").read_bytes()
    alive = weakref.ref(made)
    del made
    gc.collect()
    assert alive() is None


def test_large_images_are_drawn_in_smaller_batches(model, monkeypatch):
    monkeypatch.setattr(sampling, "MAX_ELEMENTS", 3 * model.stack[0].n_gathered)
    batches, down = [], GMM.down
    monkeypatch.setattr(GMM, "down", lambda g, control, *rest: batches.append(len(control)) or down(g, control, *rest))
    assert model.sample(7, seed=0).shape == (7, *model.image_shape)
    assert set(batches) == {3, 1}


def test_sharpening_can_be_chosen_for_each_layer_and_ascends_the_layer_that_is_named(model):
    def sharpened(sharpening):
        return model.sample(5, sharpening=sharpening, seed=0, return_likelihoods=True)[1]

    assert set(sharpened({"F3": Sharpening(5)})) == {"F3"}
    assert set(sharpened(None)) == set()
    next_above, lower, upper = (sharpened(Sharpening(0, layer=layer)) for layer in (None, 0, 1))
    np.testing.assert_array_equal(next_above["F1"], lower["F1"])
    assert not np.allclose(next_above["F1"], upper["F1"])
    for named in (lower, upper):  # layer 0 lies below F3, so F3 ascends the next one above it, as by default
        np.testing.assert_array_equal(next_above["F3"], named["F3"])
    for refused in (Sharpening(0, layer=2), {"F3": Sharpening(0, layer=2)}):
        with pytest.raises(ValueError, match="the layer of sharpening must be below 2, received"):
            model.variants(striped_images(1)[0], layer=0, sharpening=refused)
    with pytest.raises(ValueError, match=r"sharpening names \['F9'\], expected some of \['F1', 'F3'\]"):
        sharpened({"F9": Sharpening()})


def test_noise_is_whole_by_default_but_not_where_a_precision_stands_at_its_bound(model):
    x, damaged, mask = damaged_images()
    calls = {
        "sample": lambda **noise: model.sample(20, seed=0, **noise),
        "with labels": lambda **noise: model.sample(20, labels=1, seed=0, **noise),
        "variants": lambda **noise: model.variants(x, layer=0, seed=0, **noise),
        "inpaint": lambda **noise: model.inpaint(damaged, mask=mask, seed=0, **noise),
    }
    lowest = model.gmm_layers[0]
    scales = lowest.s.numpy()
    lowest.s[:, ::2].assign(scales[:, ::2] / 2)  # half of the features are below the bound, the others at it
    try:
        for call in calls.values():
            np.testing.assert_array_equal(call(), call(noise=1.0, noise_at_bound=False))
            for other in ({"noise": 0.1}, {"noise": 0}, {"noise_at_bound": True}):
                assert not np.array_equal(call(), call(**other))
    finally:
        lowest.s.assign(scales)


def test_variants_are_closer_to_their_template_the_lower_the_layer(model):
    x, _ = striped_images(60, seed=2)
    noise = {"noise": 0.1, "noise_at_bound": True, "seed": 0}  # without noise, the layers above lose nothing here
    errors = [np.mean((model.variants(x, n=3, layer=layer, **noise) - x[:, None]) ** 2) for layer in (0, 1)]
    other = np.mean((model.sample(60, top_s=1, **noise) - x) ** 2)
    assert errors[0] < errors[1] < other
    assert model.variants(x, n=3).shape == (60, 3, 12, 12, 1)


def damaged_images():
    x, y = striped_images(80, seed=3)
    x, y = x[y == 0], y[y == 0]
    mask = np.zeros((12, 12), bool)
    mask[3:9, 6:10] = True
    return x, np.where(mask[:, :, None], 1.5 - x, x), mask


def test_inpainting_with_a_mask_restores_the_inside_and_keeps_the_outside(model):
    x, damaged, mask = damaged_images()
    restored = model.inpaint(damaged, mask=mask, top_s=1, seed=0)
    np.testing.assert_array_equal(restored[:, ~mask], damaged[:, ~mask])
    mean = striped_images()[0].mean(axis=0)
    assert np.mean((restored - x)[:, mask] ** 2) < np.mean((mean - x)[:, mask] ** 2)


def test_pixels_are_covered_by_the_windows_of_their_positions_however_many_images_there_are(monkeypatch):
    layers, positions = DCGMM.from_spec("2L-c").stack, np.random.default_rng(0).random((7, 11, 11)) < 0.05
    expected = np.zeros((7, 28, 28), bool)
    for image, y, x in np.argwhere(positions):
        expected[image, 2 * y : 2 * y + 8, 2 * x : 2 * x + 8] = True
    for batch in (500, 3):
        monkeypatch.setattr(inpainting, "BATCH", batch)
        np.testing.assert_array_equal(covered_pixels(layers, positions), expected)


def test_blind_inpainting_changes_only_what_outlier_positions_cover(model):
    _, damaged, _ = damaged_images()
    restored = model.inpaint(damaged, c=2.0, seed=0)
    folding = model.stack[0]
    outliers = ~model.inliers(damaged, c=2.0, layer=0)
    assert 0 < outliers.mean() < 1
    for image, before, outside in zip(restored, damaged, outliers, strict=True):
        changed = np.zeros((12, 12), bool)
        for y, x in zip(*np.nonzero(outside), strict=True):
            changed[2 * y : 2 * y + folding.size[0], 2 * x : 2 * x + folding.size[1]] = True
        np.testing.assert_array_equal(image[~changed], before[~changed])
        assert np.all(image[changed] != before[changed])


@pytest.mark.slow
def test_conditional_digits_of_each_class_are_recognised_by_an_independent_classifier():
    x, y, *_ = load_dataset("mnist")
    judge = SVC(C=10).fit(x[:10000].reshape(10000, -1), y[:10000])
    labels = np.repeat(np.arange(10), 50)
    model = load_pretrained("2L-c C(10)", "mnist")

    def shares(**options):
        samples = model.sample(500, labels=labels, seed=0, **options)
        return np.mean((judge.predict(samples.reshape(500, -1)) == labels).reshape(10, 50), axis=1)

    assert np.all(shares(noise=0.1) >= 0.9)
    # With all of the noise, nines are the hardest: 84 % of them are recognised.
    assert np.all(shares() >= 0.75)
    assert np.mean(shares()) >= 0.95


@pytest.fixture(scope="module")
def cut_digits():
    """Return test digits, and a mask of a 10×10 square at a random place in each."""
    _, _, x, _ = load_dataset("mnist")
    return x[:300], datasets.square_masks(300, (28, 28), 10, margin=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2L-c", "2L-e"])
def test_inpainted_digits_are_closer_to_the_truth_than_the_mean_image(name, cut_digits):
    x, mask = cut_digits
    mean = load_dataset("mnist")[0].mean(axis=0)
    cut = np.where(mask[..., None], 0, x)
    restored = load_pretrained(name, "mnist").inpaint(cut, mask=mask, seed=0)
    np.testing.assert_array_equal(restored[~mask], x[~mask])
    assert np.mean((restored - x)[mask] ** 2) < np.mean((mean - x)[mask] ** 2)


# The AUC with which the lowest layer finds positions that are at least half damaged: by Eq. 6, and by the raw
# log-likelihood. Neither finds a black hole, because it is likelier than strokes.
FOUND = {
    ("2L-c", "white"): (0.82, 0.92),
    ("2L-c", "noise"): (0.73, 0.88),
    ("2L-c", "black"): (0.16, 0.41),
    ("2L-e", "white"): (0.55, 0.82),
    ("2L-e", "noise"): (0.95, 0.97),
    ("2L-e", "black"): (0.18, 0.47),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "damage"), FOUND)
def test_damage_is_found_as_well_as_was_measured(name, damage, cut_digits):
    x, mask = cut_digits
    model = load_pretrained(name, "mnist")
    half = damaged_share(model.stack, mask)[0] >= 0.5
    raw = model.log_likelihood(datasets.damaged(x, mask, damage, seed=1), layer=0)
    areas = [outliers.auc(score[~half], score[half]) for score in (model.moments[0].standardised(raw), raw)]
    np.testing.assert_allclose(areas, FOUND[name, damage], atol=0.05)


def test_inlier_positions_keep_their_activities_and_outliers_take_the_signal_from_above(model, monkeypatch):
    _, damaged, _ = damaged_images()
    lowest, received = model.gmm_layers[0], []
    down = lowest.down
    monkeypatch.setattr(lowest, "down", lambda control, *rest: received.append(control) or down(control, *rest))
    model.inpaint(damaged, c=2.0, seed=0)
    inliers = model.inliers(damaged, c=2.0, layer=0)
    same = np.all(received[0] == model.responsibilities(damaged, layer=0), axis=-1)
    np.testing.assert_array_equal(same, inliers)


def test_a_position_is_damaged_by_the_share_of_its_window_that_is_masked():
    model = DCGMM.from_spec("F(3,3,1,1) G(4) P(2,2) F(2,2,1,1) G(4)", input_shape=(10, 8, 1))
    mask = np.zeros((1, 10, 8), bool)
    mask[0, 6, 2] = True
    lower, upper = damaged_share(model.stack, mask)
    expected = np.array([[abs(y + 1 - 6) <= 1 and abs(x + 1 - 2) <= 1 for x in range(6)] for y in range(8)]) / 9
    np.testing.assert_allclose(lower[0], expected, atol=1e-6)
    pooled = expected.reshape(4, 2, 3, 2).mean(axis=(1, 3))
    means = [[pooled[y : y + 2, x : x + 2].mean() for x in range(2)] for y in range(3)]
    np.testing.assert_allclose(upper[0], means, atol=1e-6)
    np.testing.assert_array_equal(upper[0] > 0, np.array(means) > 0)


def test_a_whole_image_filter_cannot_be_blind():
    with pytest.raises(ValueError, match="give a mask"):
        DCGMM.from_spec("2L-d").inpaint(np.zeros((1, 28, 28, 1)))


@pytest.mark.parametrize(
    ("labels", "message"), [(3, "integers from 0 to 2"), ([0, -1], "from 0 to 2"), ([0.5, 1], "must be integers")]
)
def test_labels_are_checked(model, labels, message):
    with pytest.raises(ValueError, match=message):
        model.sample(2, labels=labels)


def test_a_classifier_s_way_down_can_be_changed_after_training_and_is_saved(model, tmp_path):
    default = model.classifier.down(tf.eye(3))
    model.classifier.inverse = "log-probabilities"
    try:
        other = model.classifier.down(tf.eye(3))
        model.save(tmp_path / "other.keras")
    finally:
        model.classifier.inverse = "one-hot"
    loaded = keras.models.load_model(tmp_path / "other.keras").classifier
    np.testing.assert_array_equal(loaded.down(tf.eye(3)), other)
    assert not np.allclose(default, other, rtol=0.01)


def test_labels_need_a_classifier(model):
    with pytest.raises(ValueError, match="labels need a LinearClassifier"):
        DCGMM.from_spec("1L").sample(2, labels=1)
    x, y = striped_images(10)
    with pytest.raises(ValueError, match="has no LinearClassifier"):
        compiled = DCGMM([*DCGMM.from_spec("1L").stack], input_shape=(28, 28, 1))
        compiled.compile()
        compiled.fit(np.zeros((10, 28, 28, 1)), y)
    for bad, message in ((None, "received none"), (y[:5], "received int64 of shape"), (y + 5, "values from 5 to 7")):
        with pytest.raises(ValueError, match=message):
            model.fit(x, bad)


@pytest.mark.parametrize(
    "arguments",
    [
        *({"steps": steps} for steps in (-1, 0.1, np.inf)),
        *({"rate": rate} for rate in (0, np.inf)),
        *({"layer": layer} for layer in (-1, 0.5)),
        *({"batch_size": size} for size in (0, np.inf)),
        {"penalty": -1},
        {"objective": "mean"},
    ],
)
def test_sharpening_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))} of Sharpening must be .*, received"):
        Sharpening(**arguments)
