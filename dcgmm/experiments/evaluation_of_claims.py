"""The numbers that decide statements about single instances: the claims C5, C8, C9, C10, C16 and C17.

docs/protocol.md says which numbers decide. All random draws have the model's seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import entropy

from dcgmm import Sharpening, datasets, inpainting, metrics, outliers
from dcgmm.experiments.evaluation_of_samples import N_SHOWN, SIZES, realism, without_grain
from dcgmm.experiments.real_images import RealImages
from dcgmm.model import DCGMM

N_SAMPLES = 1000
DAMAGES = ("noise", "white", "black")
# The side of the damaged square and its distance from the border, in pixels of an image of 28×28.
SQUARE, MARGIN = 10, 4
N_DRAWS = 20
# A pixel is damaged if it changes by more than this, and a position if this share of its pixels is damaged.
CHANGE, HALF = 0.1, 0.5


def sharpened(model: DCGMM, real: RealImages) -> dict[str, Any]:
    """Return the numbers of 100 samples with S = 1 and without pixel noise, after 1,000 steps of sharpening (C5, C9).

    - `sharpness_sharpened`, `diversity_sharpened`: as `sharpness` and `diversity` of `evaluate_samples`.
    - `overlap`, `overlap_moved`: the mean overlap of silhouettes with the samples before, and of these with
      themselves after a move by one pixel.
    - `same_class`, `same_class_moved`: the share in which an independent classifier sees the same class, likewise.
    """
    options: dict[str, Any] = {"top_s": 1, "noise": without_grain(model), "seed": model.seed}
    n = real.at_most(N_SHOWN)
    before, after = model.sample(n, **options), model.sample(n, sharpening=Sharpening(), **options)
    moved = np.roll(before, 1, axis=2)
    kept, seen, seen_moved = (real.classifier.predict(x.reshape(n, -1)) for x in (before, after, moved))
    return {
        "sharpness_sharpened": metrics.sharpness(after) / real.sharpness,
        "diversity_sharpened": metrics.nearest_distance(after),
        "overlap": np.mean(metrics.silhouette_overlap(before, after)),
        "overlap_moved": np.mean(metrics.silhouette_overlap(before, moved)),
        "same_class": np.mean(kept == seen),
        "same_class_moved": np.mean(kept == seen_moved),
    }


def improved(model: DCGMM, real: RealImages) -> dict[str, Any]:
    """Return `realism` of 1,000 samples with S = 1 and their noise, `_before` and `_after` sharpening (C9)."""
    n = real.at_most(N_SAMPLES)
    drawn = {
        end: model.sample(n, top_s=1, sharpening=sharpening, seed=model.seed)
        for end, sharpening in {"before": None, "after": Sharpening()}.items()
    }
    return {f"{name}_{end}": value for end, x in drawn.items() for name, value in realism(x, real).items()}


def top_s(model: DCGMM, real: RealImages) -> dict[str, Any]:
    """Return two numbers of 1,000 samples for each S, with the ends of `SIZES` (C8).

    - `diversity_of_1000`: as `diversity` of `evaluate_samples`.
    - `corrupted`: the share in which `RealImages.corrupted` doubts, with pixel noise.
    """
    numbers, n = {}, real.at_most(N_SAMPLES)
    for end, size in SIZES.items():
        smooth = model.sample(n, top_s=size, noise=without_grain(model), seed=model.seed)
        numbers[f"diversity_of_1000_{end}"] = metrics.nearest_distance(smooth)
        numbers[f"corrupted_{end}"] = real.corrupted(model.sample(n, top_s=size, seed=model.seed))
    return numbers


def sparsity(model: DCGMM, real: RealImages) -> dict[str, Any]:
    """Return two numbers about the maps of the top layer's centroids in use, one for each position below (C10).

    - `sparser`: the share of maps whose effective number of entries, exp(−Σ w log w), is below that of each mean of
      the responsibilities of random groups of test images, as many groups as components.
    - `dominated`: the share of maps in which one entry has more than half of the weight.
    """
    lower, upper = model.gmm_layers
    clusters = model.predict_clusters(real.x_test)
    in_use = np.bincount(clusters, minlength=upper.n_components) >= 0.001 * len(clusters)
    weights = np.maximum(upper.means[in_use], 0).reshape(-1, *lower.output_plane, lower.n_components)
    total = weights.sum(axis=-1, keepdims=True)
    weights = np.divide(weights, total, out=np.full_like(weights, 1 / lower.n_components), where=total > 0)
    single = model.responsibilities(real.x_test, layer=0)
    order = np.random.default_rng(model.seed).permutation(len(single))
    groups = np.array_split(order, min(upper.n_components, len(single)))
    of_groups = np.stack([single[group].mean(axis=0) for group in groups])
    effective, reference = (np.exp(entropy(w, axis=-1)) for w in (weights, of_groups))
    return {
        "sparser": np.mean(effective < reference.min(axis=0)),
        "dominated": np.mean(weights.max(axis=-1) > 0.5),
    }


def damage(model: DCGMM, real: RealImages) -> dict[str, Any]:
    """Return the numbers of 1,000 test images with a damaged square, for three kinds of damage (C16, C17).

    - `located_<damage>`, `located_raw_<damage>`: the AUC with which the lowest layer tells damaged from undamaged
      positions, by scores that are standardised by Eq. 6, and by raw ones.
    - `error_inside_<damage>`, `error_<damage>`: the mean squared error inside the square and over the whole image, of
      one blind in-painting with c = 1; with `_mean`, of the mean of 20; with `_damaged`, of the damaged image.
    - `error_inside_training`: the same inside the square, of the mean training image.
    """
    x = real.x_test[: real.at_most(N_SAMPLES)]
    size, margin = (round(n * min(x.shape[1:3]) / 28) for n in (SQUARE, MARGIN))
    inside = datasets.square_masks(len(x), x.shape[1:3], size, margin, model.seed)
    everywhere = np.ones_like(inside)

    def error(images, where):
        return np.mean((images - x)[where] ** 2, dtype="float64")

    numbers = {"error_inside_training": error(np.mean(real.x, axis=0), inside)}
    for kind in DAMAGES:
        images = datasets.damaged(x, inside, kind, model.seed)
        numbers |= {f"{name}_{kind}": area for name, area in _located(model, x, images).items()}
        drawn = model.inpaint(images, seed=model.seed)
        seeds = np.random.SeedSequence(model.seed).generate_state(N_DRAWS)
        mean = sum(model.inpaint(images, seed=int(seed)).astype("float64") for seed in seeds) / N_DRAWS
        for end, completed in (("", drawn), ("_mean", mean), ("_damaged", images)):
            numbers[f"error_inside_{kind}{end}"] = error(completed, inside)
            numbers[f"error_{kind}{end}"] = error(completed, everywhere)
    return numbers


def _located(model, x, images):
    """Return the AUC of positions that see damage by half against positions that see none, by both scores."""
    changed = np.abs(images - x).max(axis=-1)
    damaged = inpainting.damaged_share(model.stack, changed > CHANGE)[0] >= HALF
    undamaged = inpainting.damaged_share(model.stack, changed > 0)[0] == 0
    raw = model.log_likelihood(images, layer=0)
    scores = {"located": model.moments[0].standardised(raw), "located_raw": raw}
    return {name: outliers.auc(score[undamaged], score[damaged]) for name, score in scores.items()}


MEASURES: dict[str, Callable[[DCGMM, RealImages], dict[str, Any]]] = {
    measure.__name__: measure for measure in (sharpened, improved, top_s, sparsity, damage)
}
# The names of the measures of an instance of Table I that was trained on some classes.
MEASURED: dict[tuple[str, str], tuple[str, ...]] = {
    ("2L-a", "0-4"): ("sharpened",),
    ("2L-c", "0-4"): ("sharpened", "improved", "top_s"),
    ("2L-d", "0-4"): ("sharpened",),
    ("2L-e", "0-4"): ("sharpened",),
    ("2L-a", "all"): ("sparsity",),
    ("2L-c", "all"): ("damage",),
    ("2L-e", "all"): ("damage",),
}


def evaluate_claims(model: DCGMM, real: RealImages, names: Sequence[str]) -> dict[str, float]:
    """Return all numbers of some `MEASURES`, as a dict.

    Args:
        model: a trained `DCGMM`; its seed is the seed of all draws.
        real: the images of the classes that it has learned.
        names: the names of the measures.
    """
    return {key: float(value) for name in names for key, value in MEASURES[name](model, real).items()}
