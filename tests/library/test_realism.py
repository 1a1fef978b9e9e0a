"""Bins and neighbourhoods of real images, against their definitions."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from dcgmm.realism import Bins, Neighbourhoods


def test_the_divergence_of_bins_is_that_of_the_shares_in_clusters():
    rng = np.random.default_rng(0)
    real = rng.normal(0, 0.01, (200, 4, 4, 1)) + (np.arange(200) % 2)[:, None, None, None]
    bins = Bins(real, n_bins=2)
    assert bins.divergence(real[:100]) == pytest.approx(0, abs=1e-9)
    half, all_of_one = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    expected = (entropy(half, (half + all_of_one) / 2) + entropy(all_of_one, (half + all_of_one) / 2)) / 2
    assert bins.divergence(real[::2]) == pytest.approx(expected)


def test_as_many_bins_differ_by_chance_as_the_level_says():
    """Bins are compared with images that made them, so k-means itself moves the shares a little."""
    rng = np.random.default_rng(0)
    bins = Bins(rng.random((10_000, 2, 2, 1)), n_bins=50)
    different = [bins.different(rng.random((1000, 2, 2, 1)), level) / 50 for level in (0.05, 0.5) for _ in range(20)]
    assert np.mean(different[:20]) == pytest.approx(0.05, abs=0.02)
    assert np.mean(different[20:]) == pytest.approx(0.5, abs=0.05)
    assert bins.different(np.full((1000, 2, 2, 1), 0.5)) >= 25


def test_density_and_coverage_are_those_of_all_distances():
    rng = np.random.default_rng(0)
    training, real, images = (rng.random((n, 3, 3, 1)) for n in (40, 30, 20))
    balls = Neighbourhoods(training, real, n_neighbours=3)
    real, training, images = (x.reshape(len(x), -1) for x in (real, training, images))  # nine components keep all
    radii = np.sort(cdist(real, real), axis=1)[:, 3]  # the nearest of all is the image itself
    inside = cdist(real, images) < radii[:, None]
    assert balls.density_and_coverage(images) == pytest.approx((inside.sum() / (3 * 20), inside.any(axis=1).mean()))
    assert balls.distance(images) == pytest.approx(cdist(images, training).min(axis=1).mean() / 3)


def test_the_real_distribution_has_density_one_and_covers_nearly_all():
    rng = np.random.default_rng(0)
    balls = Neighbourhoods(rng.normal(size=(100, 2, 2, 1)), rng.normal(size=(1000, 2, 2, 1)))
    density, coverage = balls.density_and_coverage(rng.normal(size=(1000, 2, 2, 1)))
    assert density == pytest.approx(1, abs=0.05)
    assert coverage == pytest.approx(
        1 - 0.5**5, abs=0.03
    )  # each of 5 nearest is a sample or real by the toss of a coin
