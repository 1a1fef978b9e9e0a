"""One training: train and evaluate the model that a record describes, and return the content of its file."""

import json
import math
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans

from dcgmm import datasets, files, loading
from dcgmm.architectures import resolve, spec_parts
from dcgmm.datasets import custom
from dcgmm.experiments import fingerprint, provenance
from dcgmm.experiments.evaluation import evaluate
from dcgmm.experiments.evaluation_of_claims import evaluate_claims
from dcgmm.experiments.evaluation_of_samples import evaluate_samples
from dcgmm.experiments.expectation_maximisation import fit_by_em
from dcgmm.experiments.real_images import RealImages, measured, of_other_data
from dcgmm.model import DCGMM
from dcgmm.parallel import use_cores

VERSIONS = {"dcgmm": version("dcgmm")} | {module.__name__: module.__version__ for module in (keras, np, tf)}


def train_record(
    record: dict[str, Any],
    source: tuple[Any, ...] | None,
    versions: dict[str, str],
    measures: Sequence[str] = (),
    most: int | None = None,
    trained: bytes | None = None,
    report: Callable[[str], Any] = lambda text: None,
) -> bytes:
    """Train and evaluate one repetition and return its file's content: the model, record, metrics and history.

    If the repetition has been trained already, and only the code that evaluates has changed, its model is evaluated
    again.

    This needs neither params.yaml nor the store. It needs a process that has not used TensorFlow with another number of
    threads: this number changes the last bits of weights, so it belongs to the record and is set here.

    Args:
        record: as `Training.record` returns it.
        source: the arguments of `custom.from_settings` for a data set of your own, or None.
        versions: the `versions_here` of the process that asks, which must be those of this process.
        measures: what is measured beside `evaluate`: `"samples"`, and names of `evaluation_of_claims.MEASURES`.
            Default: nothing.
        most: how many samples or damaged images such a measure takes at most. Default None: as many as in the
            protocol.
        trained: the content of the repetition's file, if it is only to be evaluated again. Default None: train.
        report: called with the course of the training, a text. Default: nothing.

    Raises:
        RuntimeError: if code, versions, data or threads of this process differ from the requested ones, or if the
            training diverges.
        ValueError: if the training images or the test images have none of the classes.
    """
    code = fingerprint.of_training(own_data="reader" in record)
    if (asked := {**{key: record[key] for key in code}, **versions}) != (here := {**code, **versions_here()}):
        raise RuntimeError(f"asked for {asked}, but this process has {here}")
    use_cores()
    _pin_threads(record["threads"])
    keras.backend.clear_session()  # otherwise names of layers depend on earlier trainings in this process
    if source:
        datasets.register(record["dataset"], custom.from_settings(*source))
    if datasets.fingerprint(record["dataset"]) != record["data"]:
        raise RuntimeError(
            f"{record['dataset']} is not what it was: its files have another hash than when this training was "
            "requested, or than on the machine that requested it"
        )
    x, y, x_test, y_test = _arrays(record["dataset"], record["data"])
    _check_parts(record, y, y_test)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "repetition.keras"
        # Versions are noted but not part of the record: a new version of a package does not retrain everything.
        notes: dict[str, Any] = {"record": record, "versions": versions | measured(most)}
        if trained is None:
            images, labels = _chosen(x, y, record)
            model, notes["history"] = fit_record(record, images, labels, report)
            _check_converged(model, notes["history"], record)
            notes["provenance"] = {
                "commit": provenance.code_version(fingerprint.PACKAGE.parent),
                "packages": provenance.packages(),
                "processor": provenance.processor(),
            }
            model.save(path)
        else:
            path.write_bytes(trained)
            model = loading.load(path)
        report(" evaluation")
        other = of_other_data(record["dataset"])
        notes["metrics"] = evaluate(model, x_test, y_test, record["classes"], other)
        if measures:
            real = _real_images(record["dataset"], record["data"], tuple(record["classes"]), record.get("images"), most)
            if "samples" in measures:
                notes["metrics"] |= evaluate_samples(model, real)
            notes["metrics"] |= evaluate_claims(model, real, [name for name in measures if name != "samples"])
        add_notes(path, notes)
        return path.read_bytes()


def _chosen(x, y, record):
    """Return the training images of a record, and their labels."""
    return datasets.thinned(*datasets.select_classes(x, y, record["classes"]), record.get("images"))


# Some measures take longer to learn from the images than to judge a model.
@lru_cache(maxsize=2)
def _real_images(dataset, data, classes, images, most):
    x, y, x_test, y_test = _arrays(dataset, data)
    x, y = _chosen(x, y, {"classes": list(classes), "images": images})
    return RealImages(x, y, datasets.select_classes(x_test, y_test, list(classes))[0], most)


def _check_parts(record, y, y_test):
    """Refuse to train if no image of the classes is left to train on or to evaluate, before the training."""
    for part, labels in {"training": y, "test": y_test}.items():
        if not np.isin(labels, record["classes"]).any():
            has = ", ".join(map(str, np.unique(labels))) or "none"
            raise ValueError(
                f"{record['dataset']}: the {part} images have none of the classes {record['classes']} that are to be "
                f"trained; their labels are {has}. Choose other classes, or add such images to the {part} part"
            )


def _check_converged(model, history, record):
    """Refuse a model whose training has diverged, because its numbers would mean nothing."""
    weights = [weight for layer in model.stack for weight in layer.get_weights()]
    if not all(np.isfinite(values).all() for values in (*weights, *history.values())):
        raise RuntimeError(
            f"the training diverged: its weights or its loss are not finite, with learning_rate = "
            f"{record['learning_rate']}; choose a smaller one"
        )


def add_notes(path: Path, notes: dict[str, Any]) -> None:
    """Add JSON members to a model's file, or replace them: its record, versions, metrics and history."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {f"{name}.json": json.dumps(note).encode() for name, note in notes.items()}
    files.write_archive(path, dict(sorted(members.items())))


def versions_here() -> dict[str, str]:
    """Return what decides numbers beside a record: the versions of packages, and the evaluation's fingerprints."""
    return VERSIONS | fingerprint.of_evaluation()


def _pin_threads(n):
    try:
        tf.config.threading.set_intra_op_parallelism_threads(n)
        tf.config.threading.set_inter_op_parallelism_threads(n)
    except RuntimeError as error:
        raise RuntimeError(
            f"this training needs TensorFlow with {n} thread(s), but TensorFlow runs in this process already with "
            "another number: start it in a process of its own"
        ) from error


@lru_cache(maxsize=1)
def _arrays(dataset, data):
    return datasets.load_dataset(dataset)


def fit_record(
    record: dict[str, Any], x: np.ndarray, y: np.ndarray, report: Callable[[str], Any] = lambda text: None
) -> tuple[DCGMM, dict[str, list[float]]]:
    """Return the trained model that a record describes, and the History of its training.

    Args:
        record: as `Training.record` returns it.
        x: training images (N, H, W, C).
        y: their labels (N,), which only a classifier uses.
        report: called with the course of the training, a text. Default: nothing.
    """
    layers = spec_parts(resolve(record["architecture"]))
    tops = [i for i, layer in enumerate(layers, start=1) if layer.startswith("G")] if record.get("layerwise") else []
    arguments = {key: record[key] for key in ("seed", "annealing", "centroid_phase")}
    arguments |= {key: record[key] for key in ("rates", "final_rate", "start_delay") if key in record}
    if record.get("optimizer") == "EM":
        report(" EM")
        model = DCGMM.from_spec(" ".join(layers), x.shape[1:], gmm=record.get("gmm"), **arguments)
        return model, fit_by_em(model, x, record["seed"])
    below: DCGMM | None = None
    history: dict[str, list[float]] = {}
    # With fewer images than the epochs are meant for, more epochs make as many steps.
    epochs = math.ceil(record["epochs"] * max(1, record.get("steps_as_of", 0) / len(x)))
    epoch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda i, _: report(f" epoch {i + 1}/{epochs}"))
    for end in [*tops[:-1], len(layers)]:
        model = DCGMM.from_spec(" ".join(layers[:end]), x.shape[1:], gmm=record.get("gmm"), **arguments)
        if record.get("start") == "k-means":
            _start_from_kmeans(model, x[:10_000], record["seed"])
        for trained, layer in zip(below.stack if below else (), model.stack):
            layer.set_weights(trained.get_weights())
            layer.trainable = False
        config = {"learning_rate": float(record["learning_rate"])}  # Keras takes no integer
        model.compile(keras.optimizers.get({"class_name": record.get("optimizer", "SGD"), "config": config}))
        labels = y if model.classifier else None
        sizes = {"epochs": epochs, "batch_size": record["batch_size"]}
        sizes["count_weights"] = record.get("count_weights", False)
        fit = model.fit(x, labels, **sizes, verbose=0, callbacks=[epoch])
        below, history = model, history | fit.history
    return model, history


def _start_from_kmeans(model, x, seed):
    """Set the lowest centroids to the centres that k-means finds among the patches of images x."""
    lowest = model.gmm_layers[0]
    for layer in model.stack[: model.stack.index(lowest)]:
        x = layer(x)
    patches = np.reshape(x, (-1, lowest.n_features))
    centres = KMeans(lowest.n_components, random_state=seed).fit(patches).cluster_centers_
    lowest.mu.assign(np.broadcast_to(centres, lowest.mu.shape))
