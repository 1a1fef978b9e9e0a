"""The stages of the pipeline: data, and trainings with their numbers."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dcgmm import datasets, files
from dcgmm.architectures import ARCHITECTURES
from dcgmm.experiments import fingerprint, settings_check, store, yaml_file
from dcgmm.experiments.config import architectures_for, declared_datasets, misfits, params, settings, warn_of
from dcgmm.experiments.folders import collection, root, writable
from dcgmm.experiments.on_demand import TrainingsFailed, fill_store
from dcgmm.experiments.spec import SUFFIXES, Training

# How the names of collected files begin: with a name of Table I, or a layer and its first number.
COLLECTED_NAME = re.compile(rf"({'|'.join(map(re.escape, ARCHITECTURES))}|[A-Z]-\d+)(-[\w-]+)?")


@dataclass(frozen=True)
class Trained:
    """Some classes of a data set that the pipeline trains on: an item of the stage `train` in dvc.yaml.

    Args:
        dataset: the name of a data set.
        classes: `"all"`, or labels as text.
    """

    dataset: str
    classes: str


def fetch_data(scale: str) -> None:
    """Fetch and verify the data sets, and note their fingerprints, on which all later stages depend.

    A data set of your own that cannot be read is named, and its reason is noted in place of its fingerprint: only the
    stages that need it will stop.
    """
    folder = writable(collection() / scale / "data")
    for name in datasets.DATASETS:
        datasets.fetch(name)
        files.write(folder / f"{name}.sha256", datasets.fingerprint(name) + "\n")
    for name in declared_datasets():
        files.write(folder / f"{name}.sha256", _identity_of_own(name))


def _identity_of_own(name):
    """Return what the trainings on a data set of your own depend on, beside the scale, as text."""
    try:
        lines = [datasets.fingerprint(name)]
    except (OSError, ValueError) as error:
        warn_of(name, str(error))
        return f"cannot be used: {error}\n"
    lines += params()["datasets"][name].get("architectures", [])
    return "\n".join(lines) + "\n"


def matrix() -> list[Trained]:
    """Return what the pipeline trains on: the items of the stage `train` in dvc.yaml, in their order.

    Raises:
        SettingsInvalid: if an item cannot be used; the message lists all faults.
    """
    content = yaml_file.parse((root() / "dvc.yaml").read_bytes(), "dvc.yaml")
    items = content["stages"]["train"].get("foreach")
    if not isinstance(items, dict):
        raise settings_check.SettingsInvalid(
            f"dvc.yaml: stages.train.foreach: received {items!r}, expected items such as "
            "mine-all: {dataset: mine, classes: all}"
        )
    if found := [fault for name, item in items.items() for fault in _item_faults(item, f"stages.train.foreach.{name}")]:
        raise settings_check.SettingsInvalid(settings_check.message(found, "dvc.yaml"))
    return [Trained(**item) for item in items.values()]


def _item_faults(item, path):
    if not isinstance(item, dict) or set(item) != {"dataset", "classes"}:
        return [f"{path}: received {item!r}, expected {{dataset: a name, classes: all}} or labels as text, in quotes"]
    known = [*datasets.DATASETS, *declared_datasets()]
    found = []
    if item["dataset"] not in known:
        found.append(f"{path}.dataset: unknown data set {item['dataset']!r}, expected one of {', '.join(known)}")
    if not settings_check.is_class_text(item["classes"]):
        found.append(f'{path}.classes: received {item["classes"]!r}, expected all, or labels in quotes, such as "0-4"')
    return found


def summary() -> list[str]:
    """Return the lines that say what params.yaml and dvc.yaml ask for: the data sets and the scales.

    Raises:
        SettingsInvalid: if one of the files has faults.
        Unreadable: if one of them is not YAML.
    """
    check_locks()
    lines = [f"{name}: {_in_words(name)}" for name in (*datasets.DATASETS, *declared_datasets())]
    asked = {name: block for name, block in params().items() if name != "datasets"}
    lines += [
        f"scale {name}: {', '.join(block['architectures'])}; {block['epochs']} epochs" for name, block in asked.items()
    ]
    trained_on = matrix()
    lines.append("trained on: " + ", ".join(f"{item.dataset} {item.classes}" for item in trained_on))
    for name in dict.fromkeys(item.dataset for item in trained_on):
        reasons: dict[str, str] = {}
        for block in asked.values():
            reasons |= _misfits(name, block["architectures"])
        lines += [
            f"warning: {spec!r} does not fit the images of {name}, so this training will fail: {reason}"
            for spec, reason in reasons.items()
        ]
    return lines


def check_locks() -> None:
    """Refuse a dvc.lock that is cut or empty, as after a power cut, because DVC writes it in place.

    Raises:
        Unreadable: if there is one; the message says what to do.
    """
    committed = root() / "results" / "paper" / "dvc.lock"
    for path in (root() / "dvc.lock", committed):
        try:
            whole = not path.exists() or "stages" in (yaml_file.parse(path.read_bytes(), str(path)) or {})
        except yaml_file.Unreadable:
            whole = False
        if not whole:
            again = (
                "Bring it back by `git checkout results/paper/dvc.lock`, or delete" if path == committed else "Delete"
            )
            raise yaml_file.Unreadable(
                f"{path} is damaged, perhaps by a power cut. {again} it and run the same command again: the stages "
                "run once more, but no finished training does"
            )


def _misfits(name, asked):
    try:
        return misfits(name, architectures_for(name, asked))
    except (OSError, ValueError):  # the data set cannot be used, which its own line says
        return {}


def _in_words(name):
    """Return the numbers of images, their size and the classes of a data set, or why it cannot be used."""
    try:
        description = datasets.describe(name)
        n_train, n_test = (60_000, 10_000) if name in datasets.DATASETS else _sizes(name)
    except (OSError, ValueError) as error:
        return f"cannot be used: {error}"
    size = "×".join(str(n) for n in description.image_shape)
    names = {label: description.class_names[label] for label in description.classes}
    classes = ", ".join(name if name == str(label) else f"{label} {name}" for label, name in names.items())
    return (
        f"{n_train:,} training and {n_test:,} test images of {size}; classes {classes}; known {description.known_text}"
    )


def _sizes(name):
    x_train, _, x_test, _ = datasets.load_dataset(name)
    return len(x_train), len(x_test)


def check_usable(dataset: str) -> None:
    """Refuse a data set that cannot be used, before anything else is done.

    Raises:
        SettingsInvalid: with the reason.
    """
    try:
        datasets.fingerprint(dataset)
    except (OSError, ValueError) as error:
        raise settings_check.SettingsInvalid(f"the data set {dataset!r} cannot be used: {error}") from error


def chosen(names: Sequence[str] | None = None, classes: Sequence[str] | None = None) -> list[Trained]:
    """Return what to train on.

    Args:
        names: data sets. Default: those of dvc.yaml.
        classes: the classes of each. Default: those of dvc.yaml, and all classes for a data set that is not in it.
    """
    items = matrix()
    pairs = []
    for name in names or dict.fromkeys(item.dataset for item in items):
        of_pipeline = [item.classes for item in items if item.dataset == name]
        pairs += [Trained(name, some) for some in classes or of_pipeline or ["all"]]
    return pairs


def trainings_of(dataset: str, classes: str, scale: str) -> list[Training]:
    """Return a scale's trainings on some classes of a data set: instances, and the ablations on these classes.

    The ablations are the paper's, so they are trained on MNIST and FashionMNIST only.
    """
    asked = settings(scale)
    ablations = [
        Training(name, dataset, classes, scale, ablation.get("changes", {}))
        for ablation in asked["ablations"]
        if dataset in datasets.DATASETS and ablation.get("classes", "0-4") == classes
        for name in ablation["architectures"]
    ]
    instances = architectures_for(dataset, asked["architectures"])
    return [Training(name, dataset, classes, scale) for name in instances] + ablations


def trainings_of_all(items: Sequence[Trained], scale: str) -> list[Training]:
    """Return a scale's trainings on several data sets; one that cannot be used is named and left out."""
    trainings = []
    for item in items:
        try:
            trainings += trainings_of(item.dataset, item.classes, scale)
        except (OSError, ValueError) as error:
            print(f"left out: {item.dataset} {item.classes}: {error}", file=sys.stderr, flush=True)
    return trainings


def collect(dataset: str, classes: str, scale: str) -> None:
    """Train every architecture of a scale on some classes of a data set, and collect the results.

    For each architecture it writes the first repetition's model and history, the metrics of each repetition, and their
    worst values, because the paper reports these. It also trains the ablations on these classes, and keeps only their
    metrics. It does not train a repetition again that was collected earlier and still matches its record: repetitions
    add up.

    Raises:
        TrainingsFailed: if some trainings failed, after all others are collected.
        NotWritable: if the results cannot be written, before the trainings.
    """
    check_usable(dataset)
    trainings = trainings_of(dataset, classes, scale)
    folders = {kind: writable(trainings[0].collected(kind).parent) for kind in SUFFIXES}
    failure = None
    try:
        fill_store(trainings)
    except TrainingsFailed as error:
        failure = error
    written = {path for training in trainings for path in _collect_training(training)}
    _note_origins(trainings, folders["repetitions"] / "provenance.json")
    if failure:
        raise failure
    # DVC keeps these folders, so that repetitions add up. Delete the files that params.yaml no longer asks for.
    for kind, folder in folders.items():
        for stale in set(folder.iterdir()) - written:
            if stale.is_file() and stale.suffix == f".{SUFFIXES[kind]}" and COLLECTED_NAME.fullmatch(stale.stem):
                stale.unlink()


def _collect_training(training: Training) -> list[Path]:
    """Write what is known of a training to the collected files, and return their paths."""
    known = {i: numbers for i in range(training.repetitions) if (numbers := store.numbers(training, i))}
    if not known:
        return []
    content: dict[str, Any] = {}
    repeated = pd.DataFrame(list(known.values()), index=list(known))
    keys = [store.digest(training.record(i)) for i in known]
    table = repeated.assign(record=keys, **training.evaluation)
    content["repetitions"] = table.to_csv(index_label="repetition", lineterminator="\n")
    if training.is_instance and (first := store.find(training, 0)):
        history = pd.DataFrame(store.read(first, "history")).rename_axis("epoch")
        content["models"] = first.read_bytes()
        content["history"] = history.to_csv(lineterminator="\n")
        if len(known) == training.repetitions:
            content["metrics"] = json.dumps(worst(repeated)) + "\n"
    for kind, text in content.items():
        files.write(training.collected(kind), text)
    return [training.collected(kind) for kind in content]


def _note_origins(trainings, path):
    """Write which commit, packages and processor made each repetition; one without a file keeps its earlier note."""
    noted = json.loads(path.read_text("utf-8")) if path.exists() else {"trainings": {}, "origins": []}
    known = {t.name: [i for i in range(t.repetitions) if store.numbers(t, i)] for t in trainings}
    if not any(known.values()):  # all trainings have failed, and their earlier files are kept
        return
    made: dict[str, list[Any]] = {}
    for training in trainings:
        earlier = [noted["origins"][i] for i in noted["trainings"].get(training.name, ())]
        here = [store.origin(training, i) or (earlier[i] if i < len(earlier) else None) for i in known[training.name]]
        made[training.name] = here or earlier
    origins: list[Any] = []
    for origin in (origin for of_training in made.values() for origin in of_training):
        if origin not in origins:
            origins.append(origin)
    first = trainings[0]
    content = {
        "command": f"python -m dcgmm.experiments train --scale {first.scale} --dataset {first.dataset} --classes "
        f"{first.classes}",
        "settings": settings(first.scale),
        "data": datasets.fingerprint(first.dataset),
        "code": fingerprint.all_keys(),
        "trainings": {name: [origins.index(origin) for origin in of_training] for name, of_training in made.items()},
        "origins": origins,
    }
    files.write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def worst(repeated: pd.DataFrame) -> dict[str, float]:
    """Return the worst of the repetitions of each number that the paper reports, a dict."""
    return {
        "dunn": repeated.dunn.min(),
        "davies_bouldin": repeated.davies_bouldin.max(),
        "components_in_use": int(repeated.components_in_use.min()),
    }
