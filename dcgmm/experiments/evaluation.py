"""The numbers that are reported of every training."""

from typing import Any

import numpy as np

from dcgmm import metrics, outliers
from dcgmm.model import DCGMM


def evaluate(model: DCGMM, x: np.ndarray, y: np.ndarray, classes: list[int]) -> dict[str, Any]:
    """Return what is reported of every repetition, a dict of numbers.

    From test images x (N, H, W, C), their labels y (N,) and the classes that the model was trained on:

    - `dunn`, `davies_bouldin`, `components_in_use`: clusters are the most responsible components of the top layer,
      distances those of pixels. Given for the first 1,000 images, which gives Dunn's index the paper's level, and
      for `_all` of them.
    - `log_likelihood_<i>`: of each GMM layer, nats a position.
    - `auc_<i>`: how well GMM layer i tells the trained classes from the others, where there are others.
    - `distinct`, `diversity`, `sharpness`: of 100 samples as `paper_samples` draws them.
    - `accuracy`: where there is a classifier.
    """
    known = np.isin(y, classes)
    outlying, x, y = x[~known], x[known], y[known]
    clusters = model.predict_clusters(x)
    numbers = {
        "dunn": metrics.dunn_index(x[:1000], clusters[:1000]),
        "dunn_all": metrics.dunn_index(x, clusters),
        "davies_bouldin": metrics.davies_bouldin(x[:1000], clusters[:1000]),
        "davies_bouldin_all": metrics.davies_bouldin(x, clusters),
        "components_in_use": metrics.components_in_use(clusters),
        "components": model.gmm_layers[-1].n_components,
    }
    likelihoods = model.log_likelihoods(x)
    for i, inlying in enumerate(likelihoods):
        numbers[f"log_likelihood_{i}"] = float(inlying.mean(dtype="float64"))
    for i, pair in enumerate(zip(likelihoods, model.log_likelihoods(outlying)) if len(outlying) else ()):
        scores = (model.moments[i].standardised(values).mean(axis=(1, 2)) for values in pair)
        numbers[f"auc_{i}"] = outliers.auc(*scores)
    samples = paper_samples(model, 100, seed=model.seed)
    numbers |= {
        "distinct": len(np.unique(samples, axis=0)),
        "diversity": metrics.nearest_distance(samples),
        "sharpness": metrics.sharpness(samples),
    }
    if model.classifier:
        numbers["accuracy"] = float(np.mean(model.predict(x, verbose=0).argmax(axis=-1) == y))
    return numbers


def paper_samples(
    model: DCGMM, n: int, seed: int = 0, top_s: Any = 1, noise: float = 0.1, **options: Any
) -> np.ndarray:
    """Return n samples as Figs. 4 to 7 show them: centroids on the pixels, and a little noise above them.

    Most trained precisions stand at their upper bound, where noise says more about the bound than about images.

    Args:
        model: a trained `DCGMM`.
        n: how many.
        seed: an integer. Default 0.
        top_s: S of top-S sampling. Default 1.
        noise: factor on the noise of all GMM layers but the lowest, which has none. Default 0.1.
        **options: further arguments of `DCGMM.sample`.
    """
    noises = [0.0] + [noise] * (len(model.gmm_layers) - 1)
    return model.sample(n, top_s=top_s, noise=noises, seed=seed, **options)
