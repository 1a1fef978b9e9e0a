"""The numbers that are reported of every training: likelihoods, clusters and outliers."""

import hashlib
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from dcgmm import metrics, outliers
from dcgmm.model import DCGMM

KEPT = range(5, 100, 5)  # shares of known images, in per cent


def evaluate(
    model: DCGMM, x: np.ndarray, y: np.ndarray, classes: list[int], other: np.ndarray | None = None
) -> dict[str, Any]:
    """Return the numbers that are reported of every training, as a dict.

    - `dunn`, `davies_bouldin`: of the first 1,000 images of the trained classes, because Dunn's index then has the
      level of the paper; with `_all`, of all these images. A cluster is the images with the same most responsible
      component of the top layer. Distances are between pixels.
    - `adjusted_rand`, `adjusted_mutual_information`: how well the clusters of all these images agree with their labels
      (scikit-learn); 0 is chance, 1 is agreement.
    - `components_in_use`, `components`: the components of the top layer that win images, and all its components.
    - `log_likelihood_<i>`: the mean log-likelihood of a position of GMM layer i, in nats.
    - `auc_<i>`: the area under the curve with which GMM layer i separates the trained classes from the other classes,
      if x has others.
    - `rejected_<p>`: the share of these others that the top layer rejects with the threshold that keeps p % of the
      trained classes, for p = 5, 10, ..., 95: the points of the curve of Fig. 3.
    - `auc_other`: the area with which the top layer separates the trained classes from another data set, if given.
    - `accuracy`: the share of correct classes, if the model has a classifier.
    - `lowest_layer`: the hash of the lowest layer's centroids and precisions, which shows whether two trainings have
      the same ones.

    Args:
        model: a trained `DCGMM`.
        x: test images (N, H, W, C).
        y: their labels (N,).
        classes: the classes that the model was trained on.
        other: images (M, H, W, C) of another data set. Default None.
    """
    known = np.isin(y, classes)
    outlying, x, y = x[~known], x[known], y[known]
    clusters = model.predict_clusters(x)
    numbers = {
        "dunn": metrics.dunn_index(x[:1000], clusters[:1000]),
        "dunn_all": metrics.dunn_index(x, clusters),
        "davies_bouldin": metrics.davies_bouldin(x[:1000], clusters[:1000]),
        "davies_bouldin_all": metrics.davies_bouldin(x, clusters),
        "adjusted_rand": adjusted_rand_score(y, clusters),
        "adjusted_mutual_information": adjusted_mutual_info_score(y, clusters),
        "components_in_use": metrics.components_in_use(clusters),
        "components": model.gmm_layers[-1].n_components,
    }
    likelihoods = model.log_likelihoods(x)
    for i, inlying in enumerate(likelihoods):
        numbers[f"log_likelihood_{i}"] = float(inlying.mean(dtype="float64"))
    for i, pair in enumerate(zip(likelihoods, model.log_likelihoods(outlying)) if len(outlying) else ()):
        scores = [model.moments[i].standardised(values).mean(axis=(1, 2)) for values in pair]
        numbers[f"auc_{i}"] = outliers.auc(*scores)
    top = model.moments[-1].standardised(likelihoods[-1]).mean(axis=(1, 2))
    if len(outlying):
        thresholds = np.quantile(top, [1 - share / 100 for share in KEPT])
        # The scores are those of the top layer, which is the last one above.
        numbers |= {f"rejected_{p}": float(np.mean(scores[1] < limit)) for p, limit in zip(KEPT, thresholds)}
    if other is not None:
        numbers["auc_other"] = outliers.auc(top, model.standardised_scores(other))
    if model.classifier:
        numbers["accuracy"] = float(np.mean(model.predict(x, verbose=0).argmax(axis=-1) == y))
    lowest = model.gmm_layers[0]
    digest = hashlib.sha256(lowest.means.tobytes() + lowest.precisions.tobytes()).hexdigest()
    return numbers | {"lowest_layer": f"sha256:{digest[:16]}"}
