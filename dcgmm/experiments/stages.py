"""The stages of the pipeline: data, and trainings with their numbers."""

import json
from typing import Any

import pandas as pd
import yaml

from dcgmm import datasets, files
from dcgmm.experiments import store
from dcgmm.experiments.config import declared_datasets, root, settings
from dcgmm.experiments.on_demand import fill_store
from dcgmm.experiments.spec import Training


def fetch_data(scale: str) -> None:
    """Fetch and verify the data sets, and note their fingerprints, on which all later stages depend."""
    folder = root() / "results" / scale / "data"
    for name in (*datasets.DATASETS, *declared_datasets()):
        if name in datasets.DATASETS:
            datasets.fetch(name)
        files.write(folder / f"{name}.sha256", datasets.fingerprint(name) + "\n")


def matrix() -> dict[str, Any]:
    """Return the data sets and classes that the pipeline trains on, a dict of lists."""
    return yaml.safe_load((root() / "dvc.yaml").read_text())["stages"]["train"]["matrix"]


def trainings_of(dataset: str, classes: str, scale: str) -> list[Training]:
    """Return a scale's trainings on some classes of a data set: instances, and the ablations on these classes."""
    asked = settings(scale)
    ablations = [
        Training(name, dataset, classes, scale, ablation.get("changes", {}))
        for ablation in asked["ablations"]
        if ablation.get("classes", "0-4") == classes
        for name in ablation["architectures"]
    ]
    return [Training(name, dataset, classes, scale) for name in asked["architectures"]] + ablations


def collect(dataset: str, classes: str, scale: str) -> None:
    """Train every architecture of a scale on some classes of a data set, and collect the results.

    For each architecture it writes the first repetition's model and history, the metrics of each repetition, and their
    worst values, because the paper reports these. It also trains the ablations on these classes, and keeps only their
    metrics. It does not train a repetition again that was collected earlier and still matches its record: repetitions
    add up.
    """
    trainings = trainings_of(dataset, classes, scale)
    fill_store(trainings)
    written = set()

    def write(training, kind, content):
        files.write(training.collected(kind), content)
        written.add(training.collected(kind))

    for training in trainings:
        repetitions = range(training.repetitions)
        repeated = pd.DataFrame([store.numbers(training, i) for i in repetitions])
        keys = [store.digest(training.record(i)) for i in repetitions]
        table = repeated.assign(record=keys, **training.evaluation)
        write(training, "repetitions", table.to_csv(index_label="repetition", lineterminator="\n"))
        if not training.is_instance:
            continue
        first = store.find(training, 0)
        assert first is not None, "the store was just filled"
        history = pd.DataFrame(store.read(first, "history")).rename_axis("epoch")
        worst = {
            "dunn": repeated.dunn.min(),
            "davies_bouldin": repeated.davies_bouldin.max(),
            "components_in_use": int(repeated.components_in_use.min()),
        }
        write(training, "models", first.read_bytes())
        write(training, "history", history.to_csv(lineterminator="\n"))
        write(training, "metrics", json.dumps(worst) + "\n")
    # DVC keeps these folders, so that repetitions add up. Delete the files that params.yaml no longer asks for.
    for folder in {path.parent for path in written}:
        for stale in set(folder.iterdir()) - written:
            stale.unlink()
