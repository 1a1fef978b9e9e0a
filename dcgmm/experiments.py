"""What the pipeline runs: trainings kept in a store, and their numbers collected.

A *repetition* is one training: an architecture on some classes of a data set, with one seed. Everything that decides
its weights is its *record*; the store holds one file a repetition, named by the hash of that record, and what a file
says of itself is compared with what is asked for before it is used.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import psutil
import tensorflow as tf
import yaml
from sklearn.cluster import KMeans

from dcgmm import datasets, grid, metrics, outliers, own_datasets
from dcgmm.architectures import file_name, resolve
from dcgmm.layers import spec_parts
from dcgmm.model import DCGMM

NUMERICS = (Path(__file__).parent / "numerics.txt").read_text().split()[0]
VERSIONS = {"dcgmm": version("dcgmm")} | {module.__name__: module.__version__ for module in (keras, np, tf)}
CLASSES = {"all": None, "0-4": range(5)}
TRAINING_KEYS = ("epochs", "batch_size", "learning_rate", "centroid_phase", "annealing", "threads")
CHANGES = (*TRAINING_KEYS, "images", "optimizer", "gmm", "start", "layerwise")


@cache
def root():
    """Return the project's folder: the one above the working directory, or above this file, with a params.yaml."""
    for start in (Path.cwd(), Path(__file__).parent):
        for folder in (start, *start.parents):
            if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
                return folder
    raise FileNotFoundError(f"no params.yaml and dvc.yaml in {Path.cwd()} or above it: run this inside the project")


def _params():
    return _parsed((root() / "params.yaml").read_text())


@lru_cache(maxsize=1)  # it is asked for a hundred times by a notebook, 35 ms each time
def _parsed(text):
    return yaml.safe_load(text)


def declared_datasets():
    """Make the data sets of params.yaml known by their names, and return what it says of them, a dict of dicts."""
    declared = _params().get("datasets") or {}
    for name, source in declared.items():
        datasets.register(name, own_datasets.from_settings(source, root()))
    return declared


def settings(scale):
    """Return the block of params.yaml for a scale, `"quick"` or `"paper"`, as a dict."""
    declared_datasets()
    blocks = {name: block for name, block in _params().items() if name != "datasets"}
    if scale not in blocks:
        raise ValueError(f"unknown scale {scale!r}: params.yaml has {', '.join(blocks)}")
    needed = {*TRAINING_KEYS, "architectures", "ablations", "repetitions", "seed"}
    if wrong := (needed ^ set(blocks[scale])) - {"images"}:
        raise ValueError(
            f"the block {scale!r} of params.yaml has keys that are missing or unknown: {', '.join(sorted(wrong))}; "
            f"expected {', '.join(sorted(needed))}, and images at will"
        )
    return blocks[scale]


def results(scale):
    """Return the folder for what this process writes: results/<scale>, or below DCGMM_RESULTS where that is set."""
    return Path(os.environ.get("DCGMM_RESULTS", root() / "results")) / scale


@dataclass(frozen=True)
class Training:
    """An architecture on some classes of a data set, at a scale.

    Args:
        architecture: a name of Table I or a specification.
        dataset: `"mnist"`, `"fashion_mnist"` or a data set of params.yaml.
        classes: `"all"` or `"0-4"`.
        scale: `"quick"` or `"paper"`.
        changes: what differs from the scale's settings, as a dict: any of its keys; `optimizer`, a Keras name; `gmm`,
            the arguments of every `GMM`; `start="k-means"`, where the lowest centroids start; `layerwise=True`, one
            GMM layer after the other, from the lowest, each for all epochs. Default: nothing.
    """

    architecture: str
    dataset: str
    classes: str = "all"
    scale: str = "quick"
    changes: dict = field(default_factory=dict)

    def __post_init__(self):
        """Check the names."""
        resolve(self.architecture)
        if unknown := set(self.changes) - set(CHANGES):
            raise ValueError(f"unknown changes {sorted(unknown)}: expected some of {', '.join(CHANGES)}")
        if (start := self.changes.get("start", "k-means")) != "k-means":
            raise ValueError(f'unknown start {start!r}: expected "k-means", or none for a random one')
        settings(self.scale)
        datasets.fingerprint(self.dataset)
        if self.classes not in CLASSES:
            raise ValueError(f"unknown classes {self.classes!r}: expected one of {', '.join(CLASSES)}")
        if absent := set(CLASSES[self.classes] or ()) - set(datasets.classes(self.dataset)):
            raise ValueError(f"{self.dataset} has no classes {sorted(absent)}, which are among {self.classes!r}")

    def record(self, repetition=0):
        """Return everything that decides the weights of a repetition, as a dict for JSON."""
        asked = settings(self.scale)
        return {
            "architecture": resolve(self.architecture),
            "dataset": self.dataset,
            "data": datasets.fingerprint(self.dataset),
            "classes": list(CLASSES[self.classes] or datasets.classes(self.dataset)),
            "seed": asked["seed"] + repetition,
            "numerics": NUMERICS,
            **{key: asked[key] for key in TRAINING_KEYS},
            # No key where there is no limit: so it was before there were limits, and a record must not change.
            **({"images": asked["images"]} if asked.get("images") is not None else {}),
            **self.changes,
        }

    def stored(self, repetition=0):
        """Return the path of a repetition in the store, whether it is there or not."""
        return _place(self.record(repetition))

    def collected(self, kind):
        """Return the path of what is collected; kind is "models", "history", "repetitions" or "metrics"."""
        suffix = {"models": "keras", "history": "csv", "repetitions": "csv", "metrics": "json"}[kind]
        return root() / "results" / self.scale / kind / self.dataset / self.classes / f"{self.name}.{suffix}"

    @property
    def is_instance(self):
        """Whether this is one of the scale's architectures as they are: of these, the first weights are kept."""
        return not self.changes and self.architecture in settings(self.scale)["architectures"]

    @property
    def name(self):
        """The architecture's name and the changes, in a form that fits a file's."""
        return file_name(
            " ".join([self.architecture, *(f"{key} {value}" for key, value in sorted(self.changes.items()))])
        )


def _digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _place(record):
    return root() / "results" / "store" / f"{_digest(record)}.keras"


# --- Repetitions --------------------------------------------------------------------------------------------------


def read(path, member):
    """Return a JSON member ("record", "metrics" or "history") of a repetition's file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"{member}.json"))


def _matches(path, record):
    try:
        return read(path, "record") == record
    except (FileNotFoundError, KeyError, zipfile.BadZipFile, json.JSONDecodeError):
        return False


def _source(training, repetition):
    """Return the file, in the store or among the collected models, that matches a repetition's record, else None."""
    record = training.record(repetition)
    return next((p for p in (training.stored(repetition), training.collected("models")) if _matches(p, record)), None)


def _numbers(training, repetition):
    """Return the metrics of a repetition from its file, or as they were collected earlier, a dict, else None."""
    if path := _source(training, repetition):
        return read(path, "metrics")
    collected = training.collected("repetitions")
    if not collected.exists() or (training.is_instance and repetition == 0):  # whose weights are needed, too
        return None
    table = pd.read_csv(collected, index_col="repetition")
    if "record" not in table:
        return None
    found = table[table.record == _digest(training.record(repetition))]
    return None if found.empty else found.drop(columns="record").astype(object).iloc[0].to_dict()


def train(record, source, versions, report=lambda text: None):
    """Train and evaluate one repetition and return its file's content: the model with notes of how it came about.

    This needs no params.yaml and no store, but a process that has not used TensorFlow with another number of threads:
    that number changes the weights' last bits, so it belongs to the record and is set here.

    Args:
        record: as `Training.record` returns it.
        source: the arguments of `own_datasets.from_settings` for a data set of your own, or None.
        versions: the `VERSIONS` of who asks, which are to be those here.
        report: called with the course of the training, a text. Default: nothing.
    """
    if (asked := {"numerics": record["numerics"], **versions}) != (here := {"numerics": NUMERICS, **VERSIONS}):
        raise RuntimeError(f"asked for {asked}, but this is {here}")
    tf.config.threading.set_intra_op_parallelism_threads(record["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(record["threads"])
    keras.backend.clear_session()  # names would otherwise count what this process trained before
    if source:
        datasets.register(record["dataset"], own_datasets.from_settings(*source))
    if datasets.fingerprint(record["dataset"]) != record["data"]:
        raise RuntimeError(f"{record['dataset']} is not what it was, or elsewhere, when this training was asked for")
    x, y, x_test, y_test = _arrays(record["dataset"], record["data"])
    x, y = datasets.thinned(*datasets.select_classes(x, y, record["classes"]), record.get("images"))
    model, history = _fit(record, x, y, report)
    report(" evaluation")
    measured = evaluate(model, x_test, y_test, record["classes"])
    # Versions are noted, not compared: what changes numbers is to raise `numerics`, and nothing else is to retrain.
    notes = {"record": record, "versions": versions, "metrics": measured, "history": history}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "repetition.keras"
        model.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            for name, note in notes.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.json"), json.dumps(note))
        return path.read_bytes()


@lru_cache(maxsize=1)
def _arrays(dataset, fingerprint):
    return datasets.load_dataset(dataset)


def _fit(record, x, y, report):
    """Return the model that a record describes, and the course of its training."""
    layers = spec_parts(resolve(record["architecture"]))
    tops = [i for i, layer in enumerate(layers, start=1) if layer.startswith("G")] if record.get("layerwise") else []
    arguments = {key: record[key] for key in ("seed", "annealing", "centroid_phase")}
    below, history = None, {}
    epoch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda i, _: report(f" epoch {i + 1}/{record['epochs']}"))
    for end in [*tops[:-1], len(layers)]:
        model = DCGMM.from_spec(" ".join(layers[:end]), x.shape[1:], gmm=record.get("gmm"), **arguments)
        if record.get("start") == "k-means":
            lowest = model.gmm_layers[0]
            patches = x[:10_000]
            for layer in model.stack[: model.stack.index(lowest)]:
                patches = layer(patches)
            patches = np.reshape(patches, (-1, lowest.n_features))
            lowest.mu.assign(KMeans(lowest.n_components, random_state=record["seed"]).fit(patches).cluster_centers_)
        for trained_layer, layer in zip(below.stack if below else (), model.stack):
            layer.set_weights(trained_layer.get_weights())
            layer.trainable = False
        config = {"learning_rate": record["learning_rate"]}
        model.compile(keras.optimizers.get({"class_name": record.get("optimizer", "SGD"), "config": config}))
        labels = y if model.classifier else None
        sizes = {"epochs": record["epochs"], "batch_size": record["batch_size"]}
        fit = model.fit(x, labels, **sizes, verbose=0, callbacks=[epoch])
        below, history = model, history | fit.history
    return model, history


def train_repetition(training, repetition=0):
    """Train and evaluate one repetition, unless the store has it, and return its path in the store."""
    record, path = training.record(repetition), training.stored(repetition)
    if not _matches(path, record):
        say = partial(print, training.name, file=sys.stderr, flush=True)  # not into what a notebook is compared by
        _write(path, grid.in_child(TRAIN, *_call(record), report=say))
    return path


def _call(record):
    """Return the arguments of `train` for a record, and its number of threads."""
    declared = declared_datasets().get(record["dataset"])
    return (record, declared and (declared, str(root())), VERSIONS), record["threads"]


TRAIN = "dcgmm.experiments:train"


class TrainingsFailed(RuntimeError):
    """Some trainings of a grid have failed; the store has the others."""


def train_grid(trainings, repetitions=None, workers=None, scheduler=None):
    """Train all repetitions of several trainings that are neither stored nor collected, the costliest first.

    Args:
        trainings: a list of `Training` of one scale.
        repetitions: how many of each. Default: as many as the scale asks for.
        workers: how many at a time on this machine. Default: what its cores and its memory have room for.
        scheduler: address of a Dask cluster that does them instead. Default: this machine.

    Raises:
        TrainingsFailed: when all others are done, with the error of each that failed.
    """
    asked = settings(trainings[0].scale)
    _sweep(root() / "results" / "store")
    cost = {name: -i for i, name in enumerate(asked["architectures"])}
    cells, missing, paths = 0, {}, {}
    for training in sorted(trainings, key=lambda t: cost.get(t.architecture, -len(cost)), reverse=True):
        for i in range(asked["repetitions"] if repetitions is None else repetitions):
            record = training.record(i)
            path = _place(record)
            cells += 1
            if path not in paths.values() and _numbers(training, i) is None:
                name = f"{training.name} {training.dataset} {training.classes} #{i}"
                missing[name], paths[name] = _call(record), path
    print(f"{cells} trainings, of which {cells - len(missing)} are done", flush=True)
    if not missing:
        return
    workers = workers or grid.workers_that_fit(max(threads for _, threads in missing.values()))
    failed = grid.run(TRAIN, missing, lambda name, content: _write(paths[name], content), workers, scheduler)
    if failed:
        errors = "\n".join(f"  {name}: {error}" for name, error in failed.items())
        raise TrainingsFailed(f"{len(failed)} of {len(missing)} trainings failed:\n{errors}")


def evaluate(model, x, y, classes):
    """Return what is reported of every repetition, a dict of numbers.

    From test images x (N, H, W, C), their labels y (N,) and the classes that the model was trained on:

    - `dunn`, `davies_bouldin`, `components_in_use`: clusters are the most responsible components of the top layer,
      distances those of pixels. Given for the first 1,000 images, which gives Dunn's index the paper's level, and
      for `_all` of them.
    - `log_likelihood_<i>`: of each GMM layer, nats a position.
    - `auc_<i>`: how well GMM layer i tells the trained classes from the others, where there are others.
    - `distinct`, `diversity`, `sharpness`: of 100 samples as `paper_samples` draws them.
    - `accuracy`: where there is a classifier.
    """
    known = np.isin(y, classes)
    outlying, x, y = x[~known], x[known], y[known]
    clusters = model.predict_clusters(x)
    numbers = {
        "dunn": metrics.dunn_index(x[:1000], clusters[:1000]),
        "dunn_all": metrics.dunn_index(x, clusters),
        "davies_bouldin": metrics.davies_bouldin(x[:1000], clusters[:1000]),
        "davies_bouldin_all": metrics.davies_bouldin(x, clusters),
        "components_in_use": metrics.components_in_use(clusters),
        "components": model.gmm_layers[-1].n_components,
    }
    likelihoods = model.log_likelihoods(x)
    for i, inlying in enumerate(likelihoods):
        numbers[f"log_likelihood_{i}"] = float(inlying.mean(dtype="float64"))
    for i, pair in enumerate(zip(likelihoods, model.log_likelihoods(outlying)) if len(outlying) else ()):
        scores = (model.moments[i].standardised(values).mean(axis=(1, 2)) for values in pair)
        numbers[f"auc_{i}"] = outliers.auc(*scores)
    samples = paper_samples(model, 100, seed=model.seed)
    numbers |= {
        "distinct": len(np.unique(samples, axis=0)),
        "diversity": metrics.nearest_distance(samples),
        "sharpness": metrics.sharpness(samples),
    }
    if model.classifier:
        numbers["accuracy"] = float(np.mean(model.predict(x, verbose=0).argmax(axis=-1) == y))
    return numbers


def paper_samples(model, n, seed=0, top_s=1, noise=0.1, **options):
    """Return n samples as Figs. 4 to 7 show them: centroids on the pixels, and a little noise above them.

    Most trained precisions stand at their upper bound, where noise says more about the bound than about images.

    Args:
        model: a trained `DCGMM`.
        n: how many.
        seed: an integer. Default 0.
        top_s: S of top-S sampling. Default 1.
        noise: factor on the noise of all GMM layers but the lowest, which has none. Default 0.1.
        **options: further arguments of `DCGMM.sample`.
    """
    noises = [0.0] + [noise] * (len(model.gmm_layers) - 1)
    return model.sample(n, top_s=top_s, noise=noises, seed=seed, **options)


# --- What notebooks ask for ---------------------------------------------------------------------------------------


def trained(architecture, dataset, classes="all", scale="quick", repetition=0, **changes):
    """Return a trained `DCGMM`: from the store, else the committed models, else trained on the spot.

    Args:
        architecture: a name of Table I such as `"2L-c"`, or any specification.
        dataset: `"mnist"` or `"fashion_mnist"`.
        classes: `"all"` or `"0-4"`, what to train on. Default `"all"`.
        scale: `"quick"` or `"paper"`, a block of params.yaml. Default `"quick"`.
        repetition: which one, 0 the first. Default 0.
        **changes: as in `Training`, such as `optimizer="adam"`.
    """
    training = Training(architecture, dataset, classes, scale, changes)
    return keras.models.load_model(_find_or_train(training, repetition))


def repetitions(architecture, dataset, classes="all", scale="quick", **changes):
    """Return the metrics of every repetition of a training, a DataFrame with one row each; see `evaluate`."""
    training = Training(architecture, dataset, classes, scale, changes)
    asked = range(settings(scale)["repetitions"])
    rows = [_numbers(training, i) or read(_find_or_train(training, i), "metrics") for i in asked]
    return pd.DataFrame(rows).rename_axis("repetition")


def _find_or_train(training, repetition):
    """Return the path of a repetition's file that matches what is asked for."""
    if path := _source(training, repetition):
        return path
    if os.environ.get("DCGMM_TRAIN") == "never":
        missing = training.record(repetition)
        raise RuntimeError(f"neither the store nor the committed models have {missing}, and DCGMM_TRAIN=never")
    return train_repetition(training, repetition)


@cache
def code_version():
    """Return `git describe` of the code, or the package's version outside a git checkout."""
    sources = ["dcgmm", "notebooks", "params.yaml"]
    git = ["git", "-C", str(root())]
    try:
        commit = _output(*git, "log", "-1", "--format=%H", "--", *sources)
        changed = _output(*git, "status", "--porcelain", "--", *sources)
        return _output(*git, "describe", "--always", "--tags", commit) + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"v{version('dcgmm')}"


def _output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Report:
    """Where a notebook's figures and tables go, and what their captions say.

    Args:
        notebook: its name without .ipynb.
        dataset: a data set's name; those of params.yaml are known from here on.
        scale: a block of params.yaml.
        seed: of what the notebook draws.
        instance: what the captions call the models. Default `"all instances"`.
    """

    notebook: str
    dataset: str
    scale: str
    seed: int
    instance: str = "all instances"

    def __post_init__(self):
        """Make the data sets of params.yaml known, which notebooks may load before they ask for a model."""
        declared_datasets()

    def folder(self, kind):
        """Return the folder of this notebook's "figures" or "tables", made where it is missing."""
        folder = results(self.scale) / kind / f"{self.notebook}-{self.dataset}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save_table(self, table, name):
        """Write a DataFrame as CSV and Markdown, and return it."""
        table.to_csv(self.folder("tables") / f"{name}.csv", lineterminator="\n")
        (self.folder("tables") / f"{name}.md").write_text(table.to_markdown() + "\n", encoding="utf-8")
        return table

    @property
    def repetitions(self):
        """How many repetitions of each training the numbers rest on."""
        return settings(self.scale)["repetitions"]

    @property
    def provenance(self):
        """What every caption ends with: data set, scale, seed and the version of the code."""
        asked = settings(self.scale)
        title = datasets.TITLES[self.dataset]
        limit = asked.get("images")
        images = "" if limit is None else f" of at most {limit:,} images"
        scale = f"scale {self.scale} ({asked['epochs']} epochs{images})"
        return f"{title}, {self.instance}, {scale}, seed {self.seed}, code {code_version()}."


# --- Stages -------------------------------------------------------------------------------------------------------


def data_stage(scale):
    """Fetch and verify the data sets, and note their fingerprints, on which all later stages depend."""
    folder = root() / "results" / scale / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*datasets.DATASETS, *declared_datasets()):
        if name in datasets.DATASETS:
            datasets.fetch(name)
        _write(folder / f"{name}.sha256", datasets.fingerprint(name) + "\n")


def _matrix():
    """Return the data sets and classes that the pipeline trains on, a dict of lists."""
    return yaml.safe_load((root() / "dvc.yaml").read_text())["stages"]["train"]["matrix"]


def _trainings(dataset, classes, scale):
    """Return what a scale asks for on some classes of a data set: instances, and on classes 0-4 ablations."""
    asked = settings(scale)
    ablations = [
        Training(ablation["architecture"], dataset, classes, scale, ablation.get("changes", {}))
        for ablation in asked["ablations"]
        if classes == "0-4"
    ]
    return [Training(name, dataset, classes, scale) for name in asked["architectures"]], ablations


def train_stage(dataset, classes, scale):
    """Train every architecture of a scale on some classes of a data set, and collect what came out.

    Written for each architecture: the first repetition's model and history, the metrics of each repetition, and their
    worst values, which are what the paper reports. On classes 0-4 also the ablations, of which only the metrics are
    kept. What was collected earlier and still matches its record is not trained again: repetitions add up.
    """
    asked = settings(scale)
    trainings = [training for kind in _trainings(dataset, classes, scale) for training in kind]
    train_grid(trainings)
    written = set()

    def collect(training, kind, content):
        _write(training.collected(kind), content)
        written.add(training.collected(kind))

    for training in trainings:
        repetitions = range(asked["repetitions"])
        repeated = pd.DataFrame([_numbers(training, i) for i in repetitions])
        table = repeated.assign(record=[training.stored(i).stem for i in repetitions])
        collect(training, "repetitions", table.to_csv(index_label="repetition", lineterminator="\n"))
        if not training.is_instance:
            continue
        first = _source(training, 0)
        history = pd.DataFrame(read(first, "history")).rename_axis("epoch")
        worst = {
            "dunn": repeated.dunn.min(),
            "davies_bouldin": repeated.davies_bouldin.max(),
            "components_in_use": int(repeated.components_in_use.min()),
        }
        collect(training, "models", first.read_bytes())
        collect(training, "history", history.to_csv(lineterminator="\n"))
        collect(training, "metrics", json.dumps(worst) + "\n")
    # The pipeline leaves these folders as they were, so that repetitions add up: what is asked for no more goes here.
    for folder in {path.parent for path in written}:
        for stale in set(folder.iterdir()) - written:
            stale.unlink()


def _write(path, content):
    """Write a file beside its place and rename it, so that it is never half there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with half.open("wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave the name without the content
    os.replace(half, path)


def _sweep(folder):
    """Remove what processes that were killed in `_write` have left in a folder."""
    for half in folder.glob(".*.*.*"):
        writer = half.suffix[1:]
        if writer.isdigit() and not psutil.pid_exists(int(writer)):
            half.unlink(missing_ok=True)


def main(arguments=None):
    """Run one stage: `python -m dcgmm.experiments <stage> --help` lists its options."""
    parser = argparse.ArgumentParser(prog="python -m dcgmm.experiments", description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(dest="stage", required=True)
    stage = {}
    for name, text in {
        "data": "fetch and verify the data sets",
        "grid": "train all of a scale at once, here or on a Dask cluster, into the store",
        "train": "train all architectures on a data set, all repetitions, and collect their numbers",
        "repetition": "train one repetition of one architecture into the store",
    }.items():
        stage[name] = stages.add_parser(name, help=text, description=text)
    stage["repetition"].add_argument("--architecture", required=True, help="a name of Table I or a specification")
    stage["repetition"].add_argument("--repetition", type=int, default=0)
    stage["repetition"].add_argument("--changes", type=json.loads, default={}, help="what differs, as JSON")
    for name in ("train", "repetition"):
        stage[name].add_argument("--classes", default="all", choices=list(CLASSES))
    declared_datasets()
    for name in ("train", "repetition"):
        stage[name].add_argument("--dataset", required=True, choices=list(datasets.TITLES))
    add, address = stage["grid"].add_argument, os.environ.get("DASK_SCHEDULER_ADDRESS")
    add("--dataset", nargs="+", choices=list(datasets.TITLES), help="default: those that dvc.yaml trains on")
    add("--classes", nargs="+", choices=list(CLASSES), help="default: those that dvc.yaml trains on")
    add("--repetitions", type=int, help="of each, the first having the scale's seed; default: the scale's")
    add("--workers", type=int, help="trainings at a time on this machine; default: as its cores and memory allow")
    add("--scheduler", default=address, help="of a Dask cluster; default: DASK_SCHEDULER_ADDRESS, else this machine")
    for name in ("data", "train", "repetition", "grid"):
        stage[name].add_argument("--scale", default="quick", help="a block of params.yaml: quick or paper")
    asked = parser.parse_args(arguments)

    if asked.stage == "data":
        data_stage(asked.scale)
    elif asked.stage == "grid":
        names, classes = (getattr(asked, axis) or _matrix()[axis] for axis in ("dataset", "classes"))
        cells = [_trainings(d, c, asked.scale) for d in names for c in classes]
        trainings = [training for instances, ablations in cells for training in instances + ablations]
        train_grid(trainings, asked.repetitions, asked.workers, asked.scheduler)
    elif asked.stage == "train":
        train_stage(asked.dataset, asked.classes, asked.scale)
    else:
        training = Training(asked.architecture, asked.dataset, asked.classes, asked.scale, asked.changes)
        train_repetition(training, asked.repetition)


if __name__ == "__main__":
    try:
        main()
    except TrainingsFailed as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr, flush=True)
        os._exit(130)  # Python would wait for the trainings, which end with this process
    sys.stdout.flush()
    os._exit(0)  # all is written, and TensorFlow takes seconds to go
