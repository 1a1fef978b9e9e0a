"""The numbers of other methods on a data set, at a scale: collected ones, or else measured now."""

import json
import os
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from dcgmm import datasets, files
from dcgmm.datasets import custom
from dcgmm.experiments import fingerprint, memory, provenance, store
from dcgmm.experiments.baselines import METHODS, WITHOUT_SEED, measure
from dcgmm.experiments.config import declared_datasets, root, settings
from dcgmm.experiments.folders import collection, writable
from dcgmm.experiments.on_demand import TrainingsFailed
from dcgmm.experiments.real_images import RealImages, measured, of_other_data

KNOWN = "0-4"  # what the methods learn in the pipeline, as the paper's instances do
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
    records = _records(dataset, classes, scale)
    collected = _collected(dataset, classes, scale)
    rows = {key: collected.get(store.digest(record)) for key, record in records.items()}
    missing = {key: record for key, record in records.items() if rows[key] is None}
    if missing and os.environ.get("DCGMM_TRAIN") == "never":
        raise RuntimeError(f"the collected results do not have {next(iter(missing.values()))}, and DCGMM_TRAIN=never")
    rows |= _measured(missing, settings(scale).get("measured"))
    return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=["method", "seed"]))


def collect(dataset: str, scale: str) -> None:
    """Measure all methods on the classes 0-4 of MNIST or FashionMNIST, and write the table of their numbers.

    The file provenance.json beside it says what made it. It is written anew if something was measured.
    """
    path = _path(dataset, KNOWN, scale)
    note = writable(path.parent) / "provenance.json"
    before = _collected(dataset, KNOWN, scale)
    found = baselines(dataset, KNOWN, scale)
    files.write(path, found.to_csv(lineterminator="\n"))
    if not (note.exists() and set(found.record) <= before.keys()):
        made = {
            "command": f"python -m dcgmm.experiments baselines --scale {scale} --dataset {dataset}",
            "settings": settings(scale),
            "data": datasets.fingerprint(dataset),
            "code": fingerprint.of_baselines(),
            **provenance.here(root()),
        }
        files.write(note, json.dumps(made, indent=1) + "\n")


def _path(dataset, classes, scale, results=None):
    return (results or collection()) / scale / "baselines" / dataset / f"{classes}.csv"


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
    seeds = range(asked["seed"], asked["seed"] + min(N_SEEDS, asked["repetitions"]))
    return {
        (method, seed): common | {"method": method, "seed": seed}
        for method in METHODS
        for seed in (seeds[:1] if method in WITHOUT_SEED else seeds)
    }


def _collected(dataset, classes, scale):
    """Return the collected rows by the digests of their records."""
    for results in dict.fromkeys([collection(), root() / "results"]):
        if (path := _path(dataset, classes, scale, results)).exists():
            table = pd.read_csv(path, index_col=["method", "seed"])
            return {row["record"]: row.to_dict() for _, row in table.iterrows()}
    return {}


def _measured(missing, most):
    """Measure methods side by side, and return the rows."""
    if not missing:
        return {}
    from dcgmm.experiments import dask_workers  # here, because Dask takes most of a second to import

    declared, rows = declared_datasets(), {}
    calls = {}
    for (method, seed), record in missing.items():
        source = declared.get(record["dataset"])
        calls[f"{method} #{seed}"] = ((record, source and (source, str(root())), most), 1)
    keys = {f"{method} #{seed}": (method, seed) for method, seed in missing}
    (dataset,) = {record["dataset"] for record in missing.values()}
    n_bytes = memory.bytes_of_training(datasets.describe(dataset).n_bytes)
    failed = dask_workers.run(
        measure_record, calls, lambda name, row: rows.__setitem__(keys[name], row), n_bytes=n_bytes
    )
    if failed:
        errors = "\n".join(f"  {name}: {type(error).__name__}: {error}" for name, error in failed.items())
        raise TrainingsFailed(f"{len(failed)} of {len(calls)} methods failed:\n{errors}")
    return rows


def measure_record(
    record: dict[str, Any], source: tuple[Any, ...] | None, most: int | None, report: Any = None
) -> dict[str, Any]:
    """Return the numbers of a method and seed, and the digest of their record.

    Args:
        record: one of `_records`.
        source: the arguments of `custom.from_settings` for a data set of your own, or None.
        most: how many samples are measured at most; None: as in the protocol.
        report: not used; `dask_workers` passes it.
    """
    if source:
        datasets.register(record["dataset"], custom.from_settings(*source))
    real, unlike = _images(record["dataset"], tuple(record["classes"]), record["images"], most)
    numbers = measure(record["method"], real, unlike, record["seed"])
    if lost := [name for name, value in numbers.items() if value is not None and not np.isfinite(value)]:
        raise RuntimeError(f"{record['method']}: not finite: {', '.join(lost)}")
    return {"record": store.digest(record), **numbers}


@lru_cache(maxsize=1)
def _images(dataset, classes, images, most):
    """Return the images that a method learns and is judged by, and those that are unlike them."""
    x, y, x_test, y_test = datasets.load_dataset(dataset)
    x, y = datasets.thinned(*datasets.select_classes(x, y, classes), images)
    known = np.isin(y_test, classes)
    unlike = {"unknown": x_test[~known]} if not known.all() else {}
    if (foreign := of_other_data(dataset)) is not None:
        unlike["other"] = foreign
    return RealImages(x, y, x_test[known], most), unlike
