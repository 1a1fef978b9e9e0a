"""The numbers that are reported of every training."""

from typing import Any

import numpy as np

from dcgmm import metrics, outliers
from dcgmm.model import DCGMM


def evaluate(model: DCGMM, x: np.ndarray, y: np.ndarray, classes: list[int]) -> dict[str, Any]:
    """Return the numbers that are reported of every training, as a dict.

    - `dunn`, `davies_bouldin`: of the first 1,000 images of the trained classes, because Dunn's index then has the
      level of the paper; with `_all`, of all these images. A cluster is the images with the same most responsible
      component of the top layer. Distances are between pixels.
    - `components_in_use`, `components`: the components of the top layer that win images, and all its components.
    - `log_likelihood_<i>`: the mean log-likelihood of a position of GMM layer i, in nats.
    - `auc_<i>`: the area under the curve with which GMM layer i separates the trained classes from the other classes,
      if x has others.
    - `distinct`, `diversity`, `sharpness`: of 100 samples from `paper_samples`.
    - `accuracy`: the share of correct classes, if the model has a classifier.

    Args:
        model: a trained `DCGMM`.
        x: test images (N, H, W, C).
        y: their labels (N,).
        classes: the classes that the model was trained on.
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
    """Return n samples as in Figs. 4 to 7: no noise in the lowest GMM layer, and a little noise in the layers above.

    Most trained precisions are at their upper bound, so that full noise would show the bound and not the images.

    Args:
        model: a trained `DCGMM`.
        n: the number of samples.
        seed: an integer. Default 0.
        top_s: S of top-S sampling. Default 1.
        noise: factor on the noise of all GMM layers except the lowest, which has none. Default 0.1.
        **options: other arguments of `DCGMM.sample`.

    Returns:
        An array (n, H, W, C), not clipped.
    """
    noises = [0.0] + [noise] * (len(model.gmm_layers) - 1)
    return model.sample(n, top_s=top_s, noise=noises, seed=seed, **options)
