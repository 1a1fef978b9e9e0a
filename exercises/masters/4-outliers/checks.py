"""The self-checks of exercise 4. Each says what is wrong, or that the task is right."""

import numpy as np
from scipy.stats import norm
from words import in_words, shaped

from dcgmm import outliers
from dcgmm.datasets import damaged, square_masks

RATE = 0.01


@in_words
def standardised(standardise, train_scores, other_scores):
    """Check task 1 against the definition, on scores of training images and of others."""
    mean, deviation = train_scores.mean(), train_scores.std()
    found = shaped("standardise", standardise(other_scores, train_scores), (len(other_scores),))
    mistakes = {
        "This is minus z: a low likelihood must give a low score.": (mean - other_scores) / deviation,
        "The scores are divided by the variance. Eq. 6 has its square root.": (other_scores - mean) / deviation**2,
        "The scores are not divided by the standard deviation.": other_scores - mean,
        "The mean of the training images is not subtracted.": other_scores / deviation,
        "Mean and standard deviation are of the images that are judged, but Eq. 6 takes the training images. Otherwise "
        "a set of outliers would judge itself, and look normal.": (other_scores - other_scores.mean())
        / other_scores.std(),
        "The standard deviation is of the images that are judged. Eq. 6 takes the training images.": (
            other_scores - mean
        )
        / other_scores.std(),
    }
    expected = (other_scores - mean) / deviation
    if not np.allclose(found, expected, rtol=1e-3, atol=1e-3):
        for words, wrong in mistakes.items():
            assert not np.allclose(found, wrong, rtol=1e-3, atol=1e-3), words
        raise AssertionError(f"The first score should be {expected[0]:.3f}, and yours is {found[0]:.3f}.")
    print(f"Task 1 is right: the outliers are at {found.mean():.2f} standard deviations, on average.")


@in_words
def normal_threshold(threshold_of_normal):
    """Check task 2: below −c, the normal distribution has the share that was asked for."""
    for rate in (0.01, 0.05, 0.2):
        c = float(shaped("threshold_of_normal", threshold_of_normal(rate), ()))
        below = norm.cdf(-c)
        assert not np.isclose(below, 1 - rate), f"For a rate of {rate}, your c is {c:.3f}: its sign is wrong."
        assert not np.isclose(below, rate / 2), (
            f"For a rate of {rate}, your c is {c:.3f}: this counts both tails. Only low scores are alarms."
        )
        assert not np.isclose(c, norm.cdf(rate)), "This is the cumulative distribution. You need its inverse, `ppf`."
        assert np.isclose(below, rate), (
            f"For a rate of {rate}, your c is {c:.3f}. A normal distribution has a share of {below:.4f} below −c."
        )
    print(f"Task 2 is right: for one false alarm in a hundred, a normal distribution needs c = {-norm.ppf(RATE):.3f}.")


@in_words
def image_threshold(threshold_of_images, standardise, train_scores, known_scores):
    """Check task 3 on training images, and by false alarms among held-out images of the known classes."""
    train_z, known_z = standardise(train_scores, train_scores), standardise(known_scores, train_scores)
    c = float(shaped("threshold_of_images", threshold_of_images(train_z, RATE), ()))
    share = np.mean(train_z < -c)
    assert not np.isclose(abs(c), np.quantile(train_z, 1 - RATE), atol=1e-3), (
        f"Your c of {c:.3f} comes from the images with the highest scores. Outliers have low scores."
    )
    assert share < 0.5, f"With your c of {c:.3f}, {share:.0%} of the training images are alarms: is its sign wrong?"
    assert share > 0.001, (
        f"With your c of {c:.3f}, only {share:.2%} of the training images are alarms. (np.percentile takes percent.)"
    )
    assert abs(share - RATE) < 0.001, (
        f"With your c of {c:.3f}, {share:.2%} of the training images are alarms instead of 1 %. "
        + ("This is the threshold of task 2. " if abs(c + norm.ppf(RATE)) < 1e-3 else "")
        + "Take the quantile of the scores themselves."
    )
    alarms = np.mean(known_z < -c)
    width = norm.ppf(0.995) * np.sqrt(RATE * (1 - RATE) * (1 / len(train_z) + 1 / len(known_z)))
    assert abs(alarms - RATE) < width, (
        f"With your c of {c:.3f}, {alarms:.2%} of the known test images are alarms. By chance alone, this would be "
        f"between {RATE - width:.2%} and {RATE + width:.2%}."
    )
    assert abs(np.mean(train_z < -threshold_of_images(train_z, 0.1)) - 0.1) < 0.001, (
        "Your c is right for a rate of 1 %, but not for 10 %."
    )
    print(
        f"Task 3 is right: c = {c:.2f} gives {alarms:.2%} false alarms among {len(known_z):,} test images (by chance "
        f"alone, between {RATE - width:.2%} and {RATE + width:.2%})."
    )


@in_words
def detection(shares, area, known_z, other_z):
    """Check task 4: the two shares, and the area against the library's, with equal scores, too."""
    answer = shares(known_z, other_z, 1.5)
    assert answer is not None and len(answer) == 2, "shares must return two numbers: false alarms, outliers found."
    right = np.mean(known_z < -1.5), np.mean(other_z < -1.5)
    assert not np.allclose(answer, right[::-1]), "The two shares are in the wrong order: false alarms come first."
    assert not np.allclose(answer, [1 - share for share in right]), "These are the images that are kept, not alarms."
    assert not np.isclose(answer[0], 1 - right[0]), "The first share is of the known images that are kept."
    assert np.allclose(answer, right), f"For c = 1.5, the shares are {right[0]:.4f} and {right[1]:.4f}, not {answer}."
    few = np.round(known_z[:300], 1), np.round(other_z[:200], 1)
    found, expected = float(shaped("area", area(*few), ())), outliers.auc(*few)
    above = np.mean(few[0][:, None] > few[1])
    assert not np.isclose(found, 1 - expected), (
        f"Your area is {found:.3f} = 1 − {expected:.3f}: known and other are swapped."
    )
    assert not np.isclose(found, above), "Equal scores must count one half. You count them as 0."
    assert not np.isclose(found, np.mean(few[0][:, None] >= few[1])), "Equal scores must count one half, not 1."
    assert np.isclose(found, expected), f"For some images, your area is {found:.4f}, expected {expected:.4f}."
    assert np.isclose(area(known_z, other_z), outliers.auc(known_z, other_z)), "The area of all images is wrong."
    print(f"Task 4 is right: the area under the curve is {area(known_z, other_z):.3f}.")


@in_words
def localisation(damage_map, model, known):
    """Check task 5 on images with a white or a noisy square: the map must be largest in the square."""
    masks = square_masks(60, (28, 28), size=8, seed=11)
    found = {}
    for damage in ("white", "noise"):
        likelihoods = model.log_likelihood(damaged(known[500:560], masks, damage), layer=0)
        maps = damage_map(likelihoods)
        assert maps is not None, "damage_map returns nothing: does it end with `return`?"
        maps = np.asarray(maps)
        assert maps.shape == (60, 28, 28), f"The maps have shape {maps.shape}, expected (60, 28, 28)."
        assert np.isfinite(maps).all(), "Some pixels are not finite. Do you divide by the number of windows there?"
        assert maps.std(axis=(1, 2)).min() > 0, "A map has the same value everywhere: use layer 0, not the top layer."
        found[damage] = _within(maps, masks)
        hits = np.mean([mask.flat[image.argmax()] for image, mask in zip(maps, masks, strict=True)])
        assert found[damage] > 0.3, (
            f"The AUC within images is {found[damage]:.2f} for {damage} squares: the maps are small where damage is. A "
            "damaged window is unlikely, so change the sign."
        )
        assert found[damage] > _within(-_nearest(likelihoods), masks) - 0.02, (
            f"The AUC within images is only {found[damage]:.2f} for {damage} squares. Is the map moved, transposed, or "
            "a sum where it should be a mean? Windows begin at every second pixel, and reach over 8 pixels."
        )
        assert hits > 0.6, f"Only {hits:.0%} of the maxima are in the {damage} square. Is it a mean over windows?"
    words = ", ".join(f"{value:.3f} for {damage} squares" for damage, value in found.items())
    print(f"Task 5 is right. AUC within an image: {words}.")


@in_words
def comparison(areas, best_fair, not_found, model, known, train_maps):
    """Check task 6 by maps that the library makes."""
    masks, folding = square_masks(100, (28, 28), size=8, seed=0), model.stack[0]
    mean, deviation = train_maps.mean(axis=0), train_maps.std(axis=0)
    for damage in ("nothing", "white", "noise", "black"):
        images = known[:100] if damage == "nothing" else damaged(known[:100], masks, damage)
        raw = model.log_likelihood(images, layer=0)
        for kind, values in {"raw": raw, "centred": raw - mean, "standardised": (raw - mean) / deviation}.items():
            assert (damage, kind) in areas, f"areas has no entry for {damage!r} and {kind!r} yet."
            windows = np.repeat(np.float32(values)[..., None], 64, axis=-1)
            expected, found = _within(-folding.down(windows).numpy()[..., 0], masks), areas[damage, kind]
            if abs(found - expected) < 0.01:
                continue
            assert abs(found - 1 + expected) > 0.01, (
                f"areas[{damage!r}, {kind!r}] is {found:.3f} = 1 − {expected:.3f}. In maps, large means damaged: the "
                "pixels inside the square are the first argument of `area`."
            )
            raise AssertionError(
                f"areas[{damage!r}, {kind!r}] is {found:.3f}, expected {expected:.3f}. Take the AUC within each image, "
                "then the mean. Mean and standard deviation are of each position over the training images: axis 0."
            )
    fair = [kind for kind in ("raw", "centred", "standardised") if abs(areas["nothing", kind] - 0.5) < 0.05]
    assert best_fair in ("raw", "centred", "standardised"), "best_fair must name one of the three kinds."
    assert best_fair in fair, (
        f"{best_fair!r} has an AUC of {areas['nothing', best_fair]:.2f} where nothing is damaged: it finds what "
        "is not there, because windows in the middle are always less likely than windows at the border."
    )
    assert best_fair == "centred", "Another fair kind has larger areas for white and for noisy squares."
    assert not_found in ("white", "noise", "black"), 'not_found must be "white", "noise" or "black".'
    assert not_found == "black", "Read your areas again: which damage has the lowest ones, for all kinds?"
    print(
        "Task 6 is right. Raw maps prefer the middle. Dividing by the standard deviation prefers the border, where it "
        "is small. And a black square looks like background, which is more likely than any stroke."
    )


def _within(maps, masks):
    """Return the mean over images of the AUC between pixels inside and outside of the square."""
    pairs = zip(maps, masks, strict=True)
    return float(np.mean([outliers.auc(image[mask], image[~mask]) for image, mask in pairs]))


def _nearest(values):
    """Return maps (N, 28, 28) of the value of the window whose middle is nearest, a rough way to localise."""
    nearest = np.clip(np.round((np.arange(28) - 3.5) / 2), 0, 10).astype(int)
    return values[:, nearest][:, :, nearest]
