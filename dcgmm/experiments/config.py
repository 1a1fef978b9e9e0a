"""The project's params.yaml: scales, and data sets of your own."""

import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from dcgmm import DCGMM, datasets
from dcgmm.architectures import ARCHITECTURES, propose_architectures, resolve, spec_parts
from dcgmm.datasets import custom
from dcgmm.experiments import settings_check, yaml_file
from dcgmm.experiments.folders import results, root

__all__ = ["architectures_for", "declared_datasets", "params", "results", "root", "settings"]

TRAINING_KEYS = tuple(settings_check.TRAINING)


def params() -> dict[str, Any]:
    """Return the content of params.yaml, checked.

    Raises:
        Unreadable: if it is not UTF-8 or not YAML.
        SettingsInvalid: if a key is unknown, missing or has an impossible value; the message lists all faults.
    """
    return _parsed((root() / "params.yaml").read_bytes())


@lru_cache(maxsize=1)  # a notebook asks a hundred times, and parsing takes 35 ms
def _parsed(content):
    return settings_check.checked(yaml_file.parse(content, "params.yaml"), "params.yaml")


class Unusable:
    """A data set whose entry in params.yaml cannot be used; it stops only what needs it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def _refuse(self, *_: Any) -> None:
        raise ValueError(self.reason)

    load = classes = fingerprint = describe = _refuse


def declared_datasets() -> dict[str, Any]:
    """Register the data sets of params.yaml by their names, and return the arguments of each by name.

    An entry that cannot be used is named in one line of stderr. What needs this data set then stops with the reason.
    """
    declared = params().get("datasets") or {}
    arguments = {}
    for name, entry in declared.items():
        arguments[name] = _arguments(entry)
        datasets.register(name, _source(name, entry, arguments[name]))
    return arguments


def _arguments(entry):
    """Return the entry of a data set without the keys that its reader does not know."""
    return {key: value for key, value in entry.items() if key != "architectures"} if isinstance(entry, dict) else entry


def _source(name, entry, arguments):
    try:
        if not isinstance(entry, dict):
            raise ValueError(f"expected keys, such as {{folder: data/images, size: 28}}, received {entry!r}")
        if found := _architectures_faults(entry, f"datasets.{name}.architectures"):
            raise ValueError("; ".join(found))
        return custom.from_settings(arguments, root())
    except (ValueError, TypeError, OSError) as error:
        reason = f"params.yaml, datasets.{name}: {error}"
        warn_of(name, reason)
        return Unusable(reason)


def _architectures_faults(entry, path):
    asked = entry.get("architectures", ["1L"])
    if not isinstance(asked, list) or not asked:
        return [f"{path}: received {asked!r}, expected a list of architectures"]
    return settings_check.architectures_faults(asked, path)


@cache
def warn_of(name: str, reason: str) -> None:
    """Name a data set that cannot be used in one line of stderr, once in a process."""
    print(f"warning: the data set {name!r} cannot be used: {reason}", file=sys.stderr, flush=True)


def settings(scale: str) -> dict[str, Any]:
    """Return the block of params.yaml for a scale, `"quick"` or `"paper"`, as a dict.

    Raises:
        ValueError: if there is no such block, or if params.yaml has faults.
    """
    declared_datasets()
    blocks = {name: block for name, block in params().items() if name != "datasets"}
    if scale not in blocks:
        raise ValueError(f"unknown scale {scale!r}: params.yaml has {', '.join(blocks)}")
    return blocks[scale]


def own_architectures(dataset: str) -> list[str]:
    """Return the architectures that a data set's entry in params.yaml lists, by its key `architectures`, or none."""
    entry = (params().get("datasets") or {}).get(dataset)
    return list(entry.get("architectures", [])) if isinstance(entry, dict) else []


def misfits(dataset: str, architectures: Iterable[str]) -> dict[str, str]:
    """Return the architectures that do not fit the images of a data set, each with the reason, a dict.

    Args:
        dataset: the name of a data set.
        architectures: names and specifications.
    """
    if dataset in datasets.DATASETS:
        return {}
    shape, _ = _shape_and_classes(dataset, datasets.fingerprint(dataset))
    found = {}
    for name in architectures:
        try:
            DCGMM.from_spec(name, shape)
        except ValueError as error:
            found[name] = str(error)
    return found


def architectures_for(dataset: str, asked: list[str]) -> list[str]:
    """Return the architectures to train on a data set, a list of names and specifications.

    For MNIST and FashionMNIST, they are the scale's list. A data set of your own may have a list in params.yaml, by its
    key `architectures`. Without one, they are the scale's list with these changes. A classifier gets as many classes
    as the data have, and is left out for a single class. If the images are not of 28×28 pixels, the names of Table I do
    not fit: proposals that fit replace them.

    Args:
        dataset: the name of a data set.
        asked: the list of a scale.
    """
    if dataset in datasets.DATASETS:
        return asked
    if own := own_architectures(dataset):
        return own
    if not any(_has_name(name) or _has_classifier(name) for name in asked):
        return asked
    shape, n_classes = _shape_and_classes(dataset, datasets.fingerprint(dataset))
    fitted = [name for name in asked if n_classes > 1 or not _has_classifier(name)]
    fitted = [_with_classes(name, n_classes) for name in fitted]
    return fitted if shape[:2] == (28, 28) else _without_names(fitted, shape, n_classes)


def _has_name(architecture):
    return architecture.split()[0] in ARCHITECTURES


def _has_classifier(architecture):
    return spec_parts(resolve(architecture))[-1].startswith("C")


def _with_classes(architecture, n_classes):
    """Return an architecture whose classifier, if it has one, knows `n_classes` classes."""
    if not _has_classifier(architecture):
        return architecture
    return f"{architecture[: architecture.rindex('C')].strip()} C({n_classes})"


def _without_names(asked, shape, n_classes):
    """Return a list in which proposals that fit the image replace the names of Table I."""
    named = [name for name in asked if _has_name(name)]
    proposed = propose_architectures(shape) if named else []
    classified = [f"{proposed[0]} C({n_classes})"] if any(_has_classifier(name) for name in named) else []
    return list(dict.fromkeys([*classified, *proposed, *(name for name in asked if name not in named)]))


@lru_cache(maxsize=32)  # to describe a data set may mean to read it
def _shape_and_classes(dataset, fingerprint):
    description = datasets.describe(dataset)
    return description.image_shape, 1 + max(description.classes)
