"""What callbacks such as `EarlyStopping` watch, and in which direction it gets better."""

import re
from collections.abc import Sequence
from typing import Any

import keras

from dcgmm.validation import warn

# Annealed quantities and sums over layers: they change for other reasons than the quality of the model.
MISLEADING = re.compile(r"loss|log_likelihood_\d+|val_loss")
GETS_LARGER = re.compile(r"(val_)?(log_likelihood_\d+|accuracy)")
GETS_SMALLER = re.compile(r"sigma_\d+")


def direct(callbacks: Sequence[keras.callbacks.Callback], n_gmm_layers: int) -> None:
    """Give callbacks in mode "auto" the direction of what they watch, and warn where they would choose badly.

    `val_log_likelihood_0`, the exact log-likelihood of the lowest GMM layer on validation images, is a measure that
    gets better throughout, because the layer's input, the images, stays the same. The others do not: the annealed
    `loss` and `log_likelihood_i` change with σ, and while the layers below learn, the input of a higher layer becomes
    harder to describe, so its likelihood may fall, and with it that part of `val_loss`.

    Args:
        callbacks: Keras callbacks; those without `monitor` are left alone.
        n_gmm_layers: the number of the model's GMM layers.

    Example:
        >>> stop = keras.callbacks.EarlyStopping("val_log_likelihood_0")
        >>> direct([stop], n_gmm_layers=2)
        >>> stop.mode
        'max'
    """
    for callback in callbacks:
        watched = getattr(callback, "monitor", None)
        if not isinstance(watched, str):
            continue
        if getattr(callback, "mode", None) == "auto":
            callback.mode = _mode_of(watched)
        if _is_used(callback) and (problem := _problem_with(watched, n_gmm_layers)):
            name = type(callback).__name__
            warn(
                f"{name} watches {watched!r}, {problem}: with validation_data, watch 'val_log_likelihood_0', which "
                "gets better throughout, as the lowest layer's input stays the same"
            )


def _mode_of(watched):
    if GETS_LARGER.fullmatch(watched):
        return "max"
    return "min" if GETS_SMALLER.fullmatch(watched) else "auto"


def _is_used(callback):
    """Return whether a callback acts on what it watches; a checkpoint of every epoch does not."""
    return getattr(callback, "save_best_only", True)


def _problem_with(watched, n_gmm_layers):
    if watched == "val_loss":
        return "which rises while the layers below change the input of the layers above" if n_gmm_layers > 1 else None
    if MISLEADING.fullmatch(watched):
        return "which is annealed, so it changes with the radius σ"
    if match := re.fullmatch(r"val_log_likelihood_(\d+)", watched):
        return "whose input changes while the layers below learn" if int(match[1]) else None
    return None


def unfinished_annealing(annealings: Sequence[Any]) -> str | None:
    """Return what to say of a training that was stopped before its annealing had ended, or None if it had.

    Example:
        >>> from dcgmm import DCGMM
        >>> unfinished_annealing(DCGMM.from_spec("1L").annealings)
        'σ of the GMM layers is 1.77, and their annealing ends at 0.01'
    """
    sigmas = [float(annealing.sigma) for annealing in annealings]
    # Below 0.3, a component's four nearest neighbours have 2 % of its weight.
    if all(sigma <= max(0.3, 1.01 * a.sigma_end) for sigma, a in zip(sigmas, annealings, strict=True)):
        return None
    text, end = ", ".join(f"{sigma:.3g}" for sigma in sigmas), annealings[0].sigma_end
    return f"σ of the GMM layers is {text}, and their annealing ends at {end:g}"
