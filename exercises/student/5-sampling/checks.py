"""The self-checks of exercise 5. Each says what is wrong, or that the task is right."""

import numpy as np
from scipy.special import logsumexp
from words import in_words, shaped

from dcgmm import metrics


@in_words
def bound(at_bound, precisions, max_precision):
    """Check task 1: a boolean array, with room for rounding."""
    at_bound = shaped("at_bound", at_bound, precisions.shape)
    assert at_bound.dtype == bool, f"at_bound holds {at_bound.dtype}, expected booleans: compare the precisions."
    expected = precisions > 0.999 * max_precision
    assert not np.array_equal(at_bound, ~expected), "True and False are the wrong way round."
    assert not np.array_equal(at_bound, precisions > 0.999 * np.sqrt(max_precision)), (
        "The bound is one of precisions s², not of s. Do not take its square root."
    )
    assert np.array_equal(at_bound, expected), (
        f"You find {at_bound.mean():.1%} of the precisions at the bound, expected {expected.mean():.1%}. Did you allow "
        "for rounding?"
    )
    print(f"Task 1 is right: {at_bound.mean():.0%} of the precisions are at the bound.")


@in_words
def widths_of_the_data(real_widths, rows, winners, widths, at_bound):
    """Check task 2 on a small example by hand, and on the images."""
    few = np.repeat([[0.0, 1.0], [0.0, 5.0], [9.0, 9.0]], [20, 20, 19], axis=0)
    owners = np.repeat([0, 0, 1], [20, 20, 19])
    found = shaped("real_widths", real_widths(few, owners, 3), (3, 2))
    assert np.isfinite(found[0]).all(), "A component with 40 images has NaN."
    assert not np.allclose(found[0], few.std(axis=0)), "The width is over all images. Take the images of a component."
    assert not np.allclose(found[0], [0, 4]), "These are variances. Take their square roots."
    assert np.allclose(found[0], [0, 2]), (
        f"A component with 20 times (0, 1) and 20 times (0, 5) has the standard deviations (0, 2), not {found[0]}."
    )
    assert np.isnan(found[1:]).all(), "A component with fewer than 20 images must have NaN."
    pixels = real_widths(rows, winners, len(at_bound))
    assert np.allclose(pixels, widths, equal_nan=True), "widths is not what real_widths gives: run the cell again."
    median = np.nanmedian(pixels[at_bound])
    assert median < 0.05, f"The median width at the bound is {median:.3f}. It should be nearly 0: which images count?"
    small = np.nanmean(pixels[at_bound] < 0.02)
    print(
        f"Task 2 is right. At the bound the model has a width of 0.22; in the data, {small:.0%} of these pixels have a "
        "width below 0.02."
    )


@in_words
def drawn(draw, means, precisions, at_bound):
    """Check task 3 on given normal numbers, and by the spread of many draws."""
    rng = np.random.default_rng(5)
    components, normal = rng.integers(len(means), size=200), rng.normal(size=(200, means.shape[1]))
    sd, bounded = 1 / np.sqrt(precisions[components]), at_bound[components]
    modelled = shaped("draw", draw(components, normal, noise_at_bound=True), normal.shape)
    noise = modelled - means[components]
    assert np.abs(noise).max() > 0, "With noise_at_bound=True there must be noise in all pixels."
    for words, width in {
        "The noise is multiplied by s. A large precision is a narrow Gaussian: divide by s.": 1 / sd,
        "The noise is multiplied by the precision s². Divide by s, its square root.": 1 / sd**2,
        "The noise is multiplied by the variance 1/s². The standard deviation is 1/s.": sd**2,
    }.items():
        assert not np.allclose(noise, width * normal), words
    assert not np.allclose(noise, np.where(bounded, 0, sd) * normal), (
        "With noise_at_bound=True, pixels at the bound get noise, too."
    )
    assert np.allclose(noise, sd * normal), (
        "With noise_at_bound=True, the samples are not μ + ε/s. Do they begin at the centroid of their own component?"
    )
    noise = draw(components, normal, noise_at_bound=False) - means[components]
    assert not np.allclose(noise, sd * normal), (
        "With noise_at_bound=False, there is noise at the bound. There the bound, and not the data, has set the width, "
        "so such a pixel must have the value of the centroid."
    )
    assert np.abs(noise[~bounded]).max() > 0, "With noise_at_bound=False, only pixels at the bound lose their noise."
    assert not np.allclose(noise, np.where(bounded, sd, 0) * normal), (
        "With noise_at_bound=False, the noise is at the bound only. It should be everywhere else."
    )
    assert np.allclose(noise, np.where(bounded, 0, sd) * normal), "With noise_at_bound=False, the noise is wrong."
    print("Task 3 is right, with and without noise at the bound.")


@in_words
def measures(sharpness, different, samples):
    """Check task 4 on an edge, against the library, and the number of different pictures."""
    images = samples["training images"].reshape(-1, 28, 28)
    found, expected = sharpness(images), metrics.sharpness(images[..., None])
    assert found is not None and np.ndim(found) == 0, "sharpness must return one number for all images."
    slope = np.hypot(*np.gradient(images, axis=(1, 2)))
    assert not np.isclose(found, slope.mean()), "This is the mean slope. Blur does not change it, so divide Σ|∇x|²."
    assert not np.isclose(found, np.sum(slope**2)), "Divide by Σ|∇x|: otherwise brighter images count as sharper."
    each = np.sum(slope**2, axis=(1, 2)) / np.sum(slope, axis=(1, 2))
    assert not np.isclose(found, each.mean(), rtol=1e-4), "Sum over all images first, and divide then."
    assert not np.isclose(found, 1 / expected), "The fraction is upside down."
    assert np.isclose(found, expected), f"Your sharpness is {found:.4f}, expected {expected:.4f}."
    assert different != 100, "Without noise, two samples of one component are the same picture."
    assert different == 25, f"{different} is wrong: without noise, each component gives one picture."
    print("Task 4 is right.")


@in_words
def slope(gradient, log_scores, x):
    """Check task 5 by finite differences."""
    found = shaped("gradient", gradient(x), x.shape)
    rng, step = np.random.default_rng(0), 1e-4
    directions = rng.normal(size=(20, *x.shape))
    rises = [
        (logsumexp(log_scores(x + step * d), axis=1) - logsumexp(log_scores(x - step * d), axis=1)) / (2 * step)
        for d in directions
    ]
    ours = [np.sum(found * d, axis=1) for d in directions]
    assert not np.allclose(ours, np.negative(rises), rtol=1e-3, atol=1e-2), (
        "The gradient has the wrong sign: it must lead from x to the centroids."
    )
    ratio = float(np.sum(np.multiply(ours, rises)) / np.sum(np.square(rises)))
    assert np.allclose(ours, rises, rtol=1e-3, atol=1e-2), (
        f"Finite differences disagree: along random directions, log p rises by {rises[0][0]:.3f}, and your gradient "
        f"says {ours[0][0]:.3f} (ratio {ratio:.2f}). Are the precisions s² in it, and the responsibilities of each x?"
    )
    print("Task 5 is right: it agrees with finite differences in 20 directions.")


@in_words
def ascent(sharpen, largest_rate, x, max_precision):
    """Check task 6: the course rises with short steps, and the rate is at the border of divergence."""
    before = x.copy()
    answer = sharpen(x, 30, 0.01)
    assert np.array_equal(x, before), "sharpen changes the images that it is given: write x = x + ..., not x += ..."
    assert isinstance(answer, tuple) and len(answer) == 2, "sharpen must return the images, and the list of means."
    moved, course = shaped("sharpen", answer[0], x.shape), np.asarray(answer[1])
    assert course.shape == (31,), f"The list has {len(course)} values after 30 steps, expected 31: one before."
    assert np.abs(moved - x).max() > 0, "The images have not moved."
    assert course[-1] > course[0], "The log-likelihood falls. Ascent adds the gradient."
    assert np.all(np.diff(course) > -1e-6), "With steps of 0.01, the log-likelihood must rise at every step."
    assert sharpen(x, 1, 0.02)[1][1] > course[1], "A longer first step must rise more: does `rate` count?"
    limit = 2 / max_precision
    assert not np.isclose(largest_rate, 1 / max_precision), (
        "At 1/20 the distance becomes 0 in one step: this is the fastest step, but not the longest that works. The "
        "factor may be negative."
    )
    assert not np.isclose(largest_rate, 2 / np.sqrt(max_precision)), "The factor has s² in it, not s."
    assert largest_rate <= 1.01 * limit, (
        f"At a step of {largest_rate:.3g}, the pixels with the largest precision move away: the factor on their "
        f"distance is 1 − {largest_rate:.3g}·20 = {1 - largest_rate * max_precision:.2f}, which is below −1."
    )
    assert largest_rate > 0.95 * limit, (
        f"At a step of {largest_rate:.3g}, the factor is {1 - largest_rate * max_precision:.2f} for the largest "
        "precision. Longer steps still shrink all distances."
    )
    below, above = sharpen(x, 40, 0.97 * limit)[1], sharpen(x, 40, 1.03 * limit)[1]
    assert below[-1] > below[0] and above[-1] < above[0], "Your ascent diverges at another step than the formula."
    print(f"Task 6 is right: steps up to 2/D_max = {limit:.1f} work. Just above it, the log-likelihood falls.")
