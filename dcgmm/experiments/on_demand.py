"""Trainings on demand: models and metrics from the store; missing ones are trained and stored."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dcgmm import datasets, files, saving
from dcgmm.experiments import memory, store
from dcgmm.experiments.config import declared_datasets, root, settings
from dcgmm.experiments.folders import writable
from dcgmm.experiments.spec import Training
from dcgmm.experiments.train import train_record, versions_here
from dcgmm.model import DCGMM


class TrainingsFailed(RuntimeError):
    """Some trainings of a grid have failed; the store has the others."""


def trained(
    architecture: str, dataset: str, classes: str = "all", scale: str = "quick", repetition: int = 0, **changes: Any
) -> DCGMM:
    """Return a trained `DCGMM`: from the store, else the committed models, else trained on the spot.

    Args:
        architecture: a name of Table I such as `"2L-c"`, or any specification.
        dataset: `"mnist"`, `"fashion_mnist"` or a data set of params.yaml.
        classes: `"all"`, or labels such as `"0-4"` or `"0,2,7-9"`, what to train on. Default `"all"`.
        scale: `"quick"` or `"paper"`, a block of params.yaml. Default `"quick"`.
        repetition: which one, 0 the first. Default 0.
        **changes: as in `Training`, such as `optimizer="adam"`.
    """
    training = Training(architecture, dataset, classes, scale, changes)
    (path,) = model_files([training], repetition)
    return _loaded(path)


def trained_models(
    architectures: Mapping[str, str], dataset: str, classes: str = "all", scale: str = "quick", **changes: Any
) -> dict[str, DCGMM]:
    """Return several trained models by name; those that are missing are trained side by side.

    Args:
        architectures: names of Table I and specifications by the names to give, as `choices.instances` returns them.
        dataset: as in `trained`.
        classes: as in `trained`.
        scale: as in `trained`.
        **changes: as in `trained`.
    """
    paths = model_files([Training(spec, dataset, classes, scale, changes) for spec in architectures.values()])
    return {name: _loaded(path) for name, path in zip(architectures, paths)}


def _loaded(path):
    return saving.load_intact(path, "delete it, and the next run trains it again")


def repetitions(
    architecture: str, dataset: str, classes: str = "all", scale: str = "quick", **changes: Any
) -> pd.DataFrame:
    """Return the metrics of every repetition of a training, a DataFrame with one row each; see `evaluate`."""
    training = Training(architecture, dataset, classes, scale, changes)
    asked = range(training.repetitions)
    _train_if_allowed({f"{training.name} #{i}": (training, i) for i in asked if not store.numbers(training, i)})
    return pd.DataFrame([store.numbers(training, i) for i in asked]).rename_axis("repetition")


def history(
    architecture: str, dataset: str, classes: str = "all", scale: str = "quick", **changes: Any
) -> pd.DataFrame:
    """Return the course of a training's first repetition, as `fit` returns it, one row for each epoch."""
    (path,) = model_files([Training(architecture, dataset, classes, scale, changes)])
    return pd.DataFrame(store.read(path, "history")).rename_axis("epoch")


def model_files(trainings: Sequence[Training], repetition: int = 0) -> list[Path]:
    """Return the path of one repetition of each training, and train first those that have none."""
    _train_if_allowed({t.name: (t, repetition) for t in trainings if not store.find(t, repetition)})
    found = (store.find(training, repetition) for training in trainings)
    return [path for path in found if path]  # none is missing now


def _train_if_allowed(missing):
    if missing and os.environ.get("DCGMM_TRAIN") == "never":
        training, repetition = next(iter(missing.values()))
        raise RuntimeError(
            f"neither the store nor the committed results have {training.record(repetition)}, and DCGMM_TRAIN=never"
        )
    _train_missing(missing)


def store_repetition(training: Training, repetition: int = 0) -> Path:
    """Train and evaluate one repetition, unless the store has it, and return its path in the store.

    Raises:
        TrainingsFailed: if the training failed, with its error.
    """
    record = training.record(repetition)
    path = store.place(record)
    if not (store.matches(path, record) and store.evaluated(path, training)):
        _train_missing({training.name: (training, repetition)}, workers=1)
    return path


def fill_store(
    trainings: Sequence[Training],
    repetitions: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Train all repetitions of several trainings that are neither stored nor collected, the costliest first.

    Repetitions that an earlier version of the code has evaluated are evaluated again.

    Args:
        trainings: a list of `Training` of one scale.
        repetitions: how many of each. Default: as many as the scale asks for.
        workers: how many at a time on this machine. Default: as many as its cores and its memory have room for.
        scheduler: address of a Dask cluster that trains instead. Default: this machine.

    Raises:
        TrainingsFailed: if some trainings failed, after all others are done, with the error of each.
    """
    store.sweep()
    asked = settings(trainings[0].scale) if trainings else {"architectures": []}
    cost = {name: -i for i, name in enumerate(asked["architectures"])}
    cells, missing, paths = 0, {}, set()
    for training in sorted(trainings, key=lambda t: cost.get(t.architecture, -len(cost)), reverse=True):
        for i in range(training.repetitions if repetitions is None else repetitions):
            record = training.record(i)
            path = store.place(record)
            cells += 1
            if path not in paths and store.numbers(training, i) is None:
                missing[f"{training.name} {training.dataset} {training.classes} #{i}"] = training, i
                paths.add(path)
    again = sum(store.find(training, i) is not None for training, i in missing.values())
    only = f", and {again} are only evaluated again" if again else ""
    print(f"{cells} trainings, of which {cells - len(missing)} are done{only}", flush=True)
    _train_missing(missing, workers, scheduler)


def _train_missing(missing, workers=None, scheduler=None):
    """Train some repetitions, a dict of (training, repetition) by name, or evaluate them again, into the store."""
    if not missing:
        return
    writable(store.folder())  # before the trainings, not after them
    declared = declared_datasets()
    calls, places = {}, {}
    for name, (training, repetition) in missing.items():
        record, trained = training.record(repetition), store.find(training, repetition)
        source = declared.get(record["dataset"])
        content = trained and trained.read_bytes()
        given = source and (source, str(root()))
        arguments = record, given, versions_here(), training.measures, training.most, content
        calls[name], places[name] = (arguments, record["threads"]), store.place(record)

    def keep(name, content):
        files.write(places[name], content)

    from dcgmm.experiments import dask_workers  # here, because Dask takes most of a second to import

    n_bytes = max(datasets.describe(name).n_bytes for name in {t.dataset for t, _ in missing.values()})
    failed = dask_workers.run(train_record, calls, keep, workers, scheduler, n_bytes=memory.bytes_of_training(n_bytes))
    if failed:
        errors = "\n".join(f"  {name}: {type(error).__name__}: {error}" for name, error in failed.items())
        raise TrainingsFailed(f"{len(failed)} of {len(missing)} trainings failed:\n{errors}")
