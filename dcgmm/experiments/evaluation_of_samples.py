"""The numbers that are reported of a model's samples."""

from typing import Any

from dcgmm import metrics
from dcgmm.model import DCGMM

N_SAMPLES = 100


def evaluate_samples(model: DCGMM) -> dict[str, Any]:
    """Return the numbers that are reported of 100 top-1 samples, as a dict.

    - `distinct`: how many are different; see `metrics.distinct`.

    For two numbers, the same components are drawn without noise on the pixels:

    - `diversity`: the mean distance from the most similar other sample; see `metrics.nearest_distance`. Some grain
      would survive its blur, and samples of a single component would seem diverse.
    - `sharpness`: see `metrics.sharpness`. Grain would count as steep edges.

    Args:
        model: a trained `DCGMM`; its seed is the seed of the samples.
    """
    samples = model.sample(N_SAMPLES, top_s=1, seed=model.seed)
    noise = [0.0] + [1.0] * (len(model.gmm_layers) - 1)
    smooth = model.sample(N_SAMPLES, top_s=1, noise=noise, seed=model.seed)
    return {
        "distinct": metrics.distinct(samples),
        "diversity": metrics.nearest_distance(smooth),
        "sharpness": metrics.sharpness(smooth),
    }
