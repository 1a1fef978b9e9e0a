"""One notebook on a data set of params.yaml, with parameters of your own: `make experiment`."""

import ast
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from dcgmm import DCGMM, datasets
from dcgmm.experiments import settings_check, yaml_file
from dcgmm.experiments.config import declared_datasets, settings
from dcgmm.experiments.execute import execute
from dcgmm.experiments.folders import results, root, writable

# The names of the parameter that takes an architecture, and whether it is a list.
ARCHITECTURE_PARAMETERS = {"instance": False, "architecture": False, "instances": True, "architectures": True}
CLASSES_PARAMETERS = ("known", "classes")


class NotRunnable(ValueError):
    """A notebook cannot be run as asked; the message says why, and what is accepted."""


def run(
    notebook: str, dataset: str, scale: str, architecture: str = "", classes: str = "", parameters: str = ""
) -> list[Path]:
    """Execute a notebook on a data set into results/own, and return the paths of what it wrote.

    Args:
        notebook: a file of notebooks/, without .ipynb.
        dataset: `"mnist"`, `"fashion_mnist"` or a data set of params.yaml.
        scale: a block of params.yaml.
        architecture: a name of Table I or a specification. Default: the notebook chooses.
        classes: the classes to train on, as text such as `"0-1"`. Default: the notebook chooses.
        parameters: other parameters, as text such as `"n_samples=50 top_s=[1, 2]"`; values are read as YAML.

    Raises:
        NotRunnable: if the notebook, the data set or a parameter is unknown, or the architecture does not fit.
    """
    _check_among("data set", dataset, [*datasets.DATASETS, *declared_datasets()])
    _check_among("notebook", notebook, sorted(path.stem for path in (root() / "notebooks").glob("*.ipynb")))
    settings(scale)
    description = datasets.describe(dataset)
    if architecture:
        _check_fits(architecture, description.image_shape)
    if classes:
        _check_classes(classes, description)
    asked = chosen(parameter_names(root() / "notebooks" / f"{notebook}.ipynb"), architecture, classes, parameters)
    folder = writable(results(scale))
    os.chdir(root())
    written = [execute(notebook, dataset, scale, asked, own=True)]
    for kind in ("figures", "tables"):
        written += sorted(path for path in (folder / kind / f"{notebook}-{dataset}").glob("*") if path.is_file())
    return written


def parameter_names(path: Path) -> list[str]:
    """Return the names that a notebook's cell with the tag `parameters` gives a value."""
    cells = nbformat.read(path, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    targets = (node.targets for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assign))
    return [target.id for some in targets for target in some if isinstance(target, ast.Name)]


def chosen(names: Iterable[str], architecture: str = "", classes: str = "", parameters: str = "") -> dict[str, Any]:
    """Return the values of a notebook's parameters, a dict by name.

    Args:
        names: the parameters that the notebook has.
        architecture: as for `run`; the first of instance, architecture, instances and architectures takes it.
        classes: as for `run`; `known` takes them.
        parameters: as for `run`.

    Raises:
        NotRunnable: if the notebook has no such parameter, or the text cannot be read.

    Example:
        >>> chosen(["dataset", "scale", "instance", "n_samples"], "1L", parameters="n_samples=50")
        {'n_samples': 50, 'instance': '1L'}
    """
    names = list(names)
    values = _read(parameters)
    for name in values:
        _check_among("parameter", name, [name for name in names if name not in ("dataset", "scale")])
    if architecture:
        name = _first("an architecture", ARCHITECTURE_PARAMETERS, names)
        values[name] = [architecture] if ARCHITECTURE_PARAMETERS[name] else architecture
    if classes:
        values[_first("classes", CLASSES_PARAMETERS, names)] = classes
    return values


def _first(what, candidates, names):
    if found := [name for name in candidates if name in names]:
        return found[0]
    raise NotRunnable(f"this notebook takes no parameter for {what}; its parameters are {', '.join(names)}")


def _read(text):
    """Return parameters as `name=value ...` by name; quotes hold a value with spaces together."""
    values = {}
    try:
        for word in shlex.split(text):
            name, equals, value = word.partition("=")
            if not equals:
                raise NotRunnable(f"cannot read the parameter {word!r}: expected name=value, such as n_samples=50")
            values[name] = yaml_file.parse(value.encode(), f"the value of {name}")
    except ValueError as error:
        raise NotRunnable(f"cannot read the parameters {text!r}: {error}") from error
    return values


def _check_among(what, name, known):
    if name not in known:
        raise NotRunnable(
            f"unknown {what} {name!r}; known: {', '.join(known)}{settings_check.did_you_mean(name, known)}"
        )


def _check_fits(architecture, image_shape):
    try:
        DCGMM.from_spec(architecture, image_shape)
    except ValueError as error:
        raise NotRunnable(f"the architecture {architecture!r} does not fit images {image_shape}: {error}") from error


def _check_classes(classes, description):
    if not settings_check.is_class_text(classes):
        raise NotRunnable(f"cannot read the classes {classes!r}: expected labels such as 0-4 or 0,2,7-9")
    labels = set() if classes == "all" else set(datasets.class_labels(classes))
    if absent := sorted(labels - set(description.classes)):
        raise NotRunnable(
            f"{description.name} has no classes {absent}; it has {datasets.class_text(description.classes)}"
        )
