"""The numbers that are reported of the samples of every instance."""

from typing import Any

import numpy as np

from dcgmm import exact, metrics
from dcgmm.experiments.real_images import RealImages
from dcgmm.model import DCGMM

N_SHOWN = 100
N_COMPARED = 5000
# S of top-S sampling, by the ends of the names of the numbers.
SIZES: dict[str, int | None] = {"s1": 1, "s2": 2, "s5": 5, "s10": 10, "all": None}


def evaluate_samples(model: DCGMM, real: RealImages) -> dict[str, Any]:
    """Return the numbers that are reported of samples, as a dict.

    - `distinct`: how many of 100 samples with S = 1 are different; see `metrics.distinct`.

    For two numbers, the same components are drawn without noise on the pixels:

    - `diversity`: the mean distance from the most similar other sample; see `metrics.nearest_distance`. Some grain
      would survive its blur, and samples of a single component would seem diverse.
    - `sharpness`: see `metrics.sharpness`, relative to the training images. Grain would count as steep edges.

    Of 5,000 samples for each S, with the ends `_s1`, `_s2`, `_s5`, `_s10` and `_all`:

    - `js`, `different_bins`: see `realism.Bins`.
    - `density`, `coverage`, `nearest`: see `realism.Neighbourhoods`; `nearest` is the distance from training images.

    Of the test images:

    - `exact_log_likelihood`: the mean of `DCGMM.exact_log_likelihood`, if the instance has one.

    Args:
        model: a trained `DCGMM`; its seed is the seed of the samples.
        real: the images of the classes that it has learned.
    """
    samples = model.sample(N_SHOWN, top_s=1, seed=model.seed)
    smooth = model.sample(N_SHOWN, top_s=1, noise=without_grain(model), seed=model.seed)
    numbers = {
        "distinct": metrics.distinct(samples),
        "diversity": metrics.nearest_distance(smooth),
        "sharpness": metrics.sharpness(smooth) / real.sharpness,
    }
    found: dict[str, float] = {}
    for end, size in SIZES.items():
        if not found or len(model.gmm_layers) > 1:  # S has no meaning in the top layer
            drawn = model.sample(real.at_most(N_COMPARED), top_s=size, seed=model.seed)
            found = realism(drawn, real)
        numbers |= {f"{name}_{end}": value for name, value in found.items()}
    if exact.obstacle(model.levels) is None:
        exactly = model.exact_log_likelihood(real.x_test)
        numbers["exact_log_likelihood"] = float(np.mean(exactly, dtype="float64"))
    return numbers


def without_grain(model: DCGMM) -> list[float]:
    """Return the noise of each layer, from the lowest, that leaves the pixels alone."""
    return [0.0] + [1.0] * (len(model.gmm_layers) - 1)


def realism(images: np.ndarray, real: RealImages) -> dict[str, float]:
    """Return how images (N, H, W, C) compare with real ones, a dict; NaN: there are too few of these."""
    bins, balls = real.bins, real.neighbourhoods
    density, coverage = balls.density_and_coverage(images) if balls else (np.nan, np.nan)
    return {
        "js": bins.divergence(images) if bins else np.nan,
        "different_bins": bins.different(images) if bins else np.nan,
        "density": density,
        "coverage": coverage,
        "nearest": balls.distance(images) if balls else np.nan,
    }
