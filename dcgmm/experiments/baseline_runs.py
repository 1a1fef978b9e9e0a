"""The numbers of other methods on a data set, at a scale: collected ones, or else measured now."""

from typing import Any

import numpy as np
import pandas as pd

from dcgmm import datasets
from dcgmm.datasets import custom
from dcgmm.experiments import fingerprint
from dcgmm.experiments.baselines import METHODS, WITHOUT_SEED, measure
from dcgmm.experiments.collected_numbers import KNOWN, Numbers, chosen_images
from dcgmm.experiments.config import declared_datasets, root, settings
from dcgmm.experiments.real_images import measured, of_other_data

N_SEEDS = 3


def baselines(dataset: str, classes: str = KNOWN, scale: str = "quick") -> pd.DataFrame:
    """Return the numbers of the methods of `baselines.METHODS`, one row for each method and seed.

    The columns are those of `baselines.measure`. The kinds of outliers are `unknown`, the test images of the other
    classes, and for MNIST and FashionMNIST `other`, the first 5,000 test images of the other one of these.

    Args:
        dataset: the name of a data set.
        classes: `"all"`, or labels such as `"0-4"`, what the methods learn. Default `"0-4"`.
        scale: `"quick"` or `"paper"`, a block of params.yaml. Default `"quick"`.

    Returns:
        A DataFrame with the index levels `method` and `seed`. A method without randomness has one seed.

    Raises:
        RuntimeError: if numbers are missing, and DCGMM_TRAIN=never.
        TrainingsFailed: if some methods failed.
    """
    numbers, asked = _asked(dataset, classes, scale)
    return numbers.rows(**asked)


def collect(dataset: str, scale: str) -> None:
    """Measure all methods on the classes 0-4 of MNIST or FashionMNIST, and write the table of their numbers."""
    numbers, asked = _asked(dataset, KNOWN, scale)
    numbers.collect(**asked, code=fingerprint.of_baselines())


def _asked(dataset, classes, scale):
    """Return the table, and which rows it is to have: the arguments of its methods."""
    source = declared_datasets().get(dataset)
    further = source and (source, str(root())), settings(scale).get("measured")
    numbers = Numbers("baselines", ("method", "seed"), dataset, classes, scale)
    records = _records(dataset, classes, scale)
    return numbers, {"records": records, "measure": measure_record, "arguments": lambda key: further}


def _records(dataset, classes, scale):
    """Return what decides the numbers of each method and seed."""
    asked = settings(scale)
    labels = datasets.classes(dataset) if classes == "all" else datasets.class_labels(classes)
    common = {
        "dataset": dataset,
        "data": datasets.fingerprint(dataset),
        "classes": [int(label) for label in labels],
        "images": asked.get("images"),
        **fingerprint.of_baselines(),
        **measured(asked.get("measured")),
    }
    n_seeds = min(N_SEEDS, asked["repetitions"])
    seeds = range(asked["seed"], asked["seed"] + n_seeds)
    return {
        (method, seed): common | {"method": method, "seed": seed}
        for method in METHODS
        for seed in (seeds[:1] if method in WITHOUT_SEED else seeds)
    }


def measure_record(record: dict[str, Any], source: tuple[Any, ...] | None, most: int | None) -> dict[str, Any]:
    """Return the numbers of a method and seed.

    Args:
        record: one of `_records`.
        source: the arguments of `custom.from_settings` for a data set of your own, or None.
        most: how many samples are measured at most; None: as in the protocol.

    Raises:
        RuntimeError: if an area or a density is not finite.
    """
    dataset, classes = record["dataset"], tuple(record["classes"])
    if source:
        datasets.register(dataset, custom.from_settings(*source))
    real = chosen_images(dataset, classes, record["images"], most)
    numbers = measure(record["method"], real, _unlike(dataset, classes), record["seed"])
    judged = {name: value for name, value in numbers.items() if name.startswith(("auc_", "log_density"))}
    if lost := [name for name, value in judged.items() if not np.isfinite(value)]:
        raise RuntimeError(f"not finite: {', '.join(lost)}")
    return numbers


def _unlike(dataset, classes):
    """Return the images that are unlike the learned ones, by a name for each kind."""
    _, _, x_test, y_test = datasets.load_dataset(dataset)
    known = np.isin(y_test, classes)
    unlike = {"unknown": x_test[~known]} if not known.all() else {}
    if (foreign := of_other_data(dataset)) is not None:
        unlike["other"] = foreign
    return unlike
