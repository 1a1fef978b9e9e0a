"""What a notebook asks about its data before anything is trained: classes, instances that fit, and its parameters.

The paper's notebooks are about MNIST: ten classes, grey images of 28×28 pixels, 10,000 test images. For MNIST, these
functions answer what the paper did, and for any other data what fits it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from IPython.display import Markdown, display

from dcgmm import datasets
from dcgmm.architectures import ARCHITECTURES, propose_architectures, resolve, spec_parts
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.config import declared_datasets
from dcgmm.model import DCGMM

PLANE_def not_judged(claim: str) -> None:
    """Say that a claim of the paper is not judged, because it is about other data or instances.

    Args:
        claim: a key of `CLAIMS`, such as `"C5"`.
    """
    _not_judged(claim, "The paper says this of instances of Table I on MNIST and FashionMNIST.")


def too_short(claim: str) -> None:
    """Say that a claim of the paper is not judged, because too few components are in use.

    Args:
        claim: a key of `CLAIMS`, such as `"C4"`.
    """
    _not_judged(
        claim, "The training was too short: too few components are in use to compare them. More epochs or images help."
    )


def _not_judged(claim, reason):
    _say(f"> **{claim} is not judged here.** *{CLAIMS[claim]}*\n>\n> {reason}")


def check_counts(least: int = 1, **values: Any) -> None:
    """Check parameters that are whole numbers.

    Args:
        least: the smallest accepted value. Default 1.
        **values: the parameters by name.

    Raises:
        ValueError: if one is no whole number, or is too small.
    """
    for name, value in values.items():
        if not _is_whole(value) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, received {value!r}{_hint(value)}")


def check_numbers(**values: Any) -> None:
    """Check parameters that are finite numbers.

    Raises:
        ValueError: if one is not.
    """
    for name, value in values.items():
        if not (_is_whole(value) or isinstance(value, float | np.floating)) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, received {value!r}{_hint(value)}")


def check_lists(of: type, least: float = -math.inf, **values: Any) -> None:
    """Check parameters that are lists.

    Args:
        of: the type of the entries: `int` or `str`.
        least: the smallest accepted number. Default: no bound.
        **values: the parameters by name; a tuple is a list, too.

    Raises:
        ValueError: if one is no list, is empty, or has an entry of another type or below `least`.
    """
    kind = {int: "whole numbers", str: "texts"}[of]
    bound = f" of at least {least:g}" if least > -math.inf else ""
    for name, value in values.items():
        fits = isinstance(value, list | tuple) and len(value) > 0
        right = isinstance if of is str else lambda entry, _: _is_whole(entry) and entry >= least
        if not fits or not all(right(entry, of) for entry in value):
            raise ValueError(f"{name} must be a list of {kind}{bound}, received {value!r}{_hint(value)}")


def _is_whole(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _hint(value):
    """Return how to give what is no text where a text came: papermill's -p makes texts of lists."""
    return ", a text; on papermill's command line, give lists and numbers by -y" if isinstance(value, str) else ""


def _check_text(what, value):
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} must be a name of Table I or a specification, received {value!r}")


def _size(data):
    height, width, channels = data.image_shape
    return f"{height}×{width} pixels" + (f" and {channels} channels" if channels > 1 else "")


def _proposals(data, levels):
    found = [spec for spec in propose_architectures(data.image_shape) if _levels(spec) >= levels]
    need(
        found,
        f"This notebook needs an instance with {levels} GMM layers, and none is proposed for the images of "
        f"{data.title}, which have {_size(data)}: give a specification.",
    )
    return found


def _levels(name_or_spec):
    return layers(name_or_spec).count("G")


def _check_fit(name, data, levels):
    """Check that a model can be made of a specification; the instances of Table I fit 28×28 pixels, so none is made."""
    _check_text("an instance", name)
    spec = resolve(name)
    need(
        _levels(name) >= levels,
        f"This notebook needs an instance with at least {levels} GMM layers, and {name!r} has {_levels(name)}.",
    )
    if name in ARCHITECTURES and data.image_shape[:2] == PLANE_OF_TABLE_I:
        return
    try:
        DCGMM.from_spec(spec, data.image_shape)
    except ValueError as error:
        fitting = ", ".join(map(repr, propose_architectures(data.image_shape)))
        raise NotForThisData(
            f"{name!r} does not fit the images of {data.title}, which have {_size(data)} ({error}); these fit: "
            f"{fitting}."
        ) from None


def _with_classifier(name, n_classes):
    """Return an architecture with a classifier of n classes on top, in place of one of another size."""
    *below, top = name.split()
    if below and top.startswith("C("):
        if top != f"C({n_classes})":
            _say(f"The data has {n_classes} classes, so the classifier is C({n_classes}) in place of {top}.")
        return " ".join([*below, f"C({n_classes})"])
    return f"{name} C({n_classes})"


def _say(text):
    display(Markdown(text))
