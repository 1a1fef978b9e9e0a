"""Check committed results: the data, the lock, the models and the tables, each against what can be made again."""

import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from dcgmm import datasets
from dcgmm.experiments import dask_workers, fingerprint, provenance, stages, store, yaml_file
from dcgmm.experiments.folders import collection, root
from dcgmm.experiments.report import PROVENANCE
from dcgmm.experiments.spec import Training
from dcgmm.experiments.train import train_record, versions_here

NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
# Another kind of processor rounds differently. Numbers may then differ by this share, and those below 0.1 by this share
# of 0.1. The share is a choice; `python benchmarks/processors.py` measures what moves.
TOLERANCE = 0.02
BYTES_OF_NOTEBOOK = 2 * 2**30  # what a notebook takes
# These stages depend on source files with all their comments. So the files that they write are compared instead.
FROM_SOURCES = ("data", "code")


class ResultsDiffer(RuntimeError):
    """Some results are not those that the committed data, models and code give; the message lists all."""


def verify(scale: str = "paper", notebooks: Sequence[str] = (), names: Sequence[str] = ()) -> None:
    """Check the results of a scale, and print a line for each part.

    - data: the SHA-256 of every file of MNIST and FashionMNIST.
    - lock: every file, size, command and parameter that dvc.lock notes.
    - models: each collected model is read, evaluated again and compared with its numbers and with the tables.
    - tables: each notebook is executed again with the collected models, and its tables are compared.

    On the kind of processor that made a result, every digit must be the same; on others, numbers agree within 2 %.

    Args:
        scale: a block of params.yaml. Default `"paper"`.
        notebooks: which to execute. Default: all that are collected.
        names: the data sets whose models and notebooks are checked. Default: those of dvc.yaml.

    Raises:
        ResultsDiffer: if anything differs, after all parts are checked.
    """
    folder = collection() / scale
    names = names or list(dict.fromkeys(item.dataset for item in stages.matrix()))
    faults: list[str] = []
    for part, found in {
        "data": faults_of_data(),
        "lock": faults_of_lock(folder),
        "models": faults_of_models(scale, names),
        "tables": faults_of_tables(folder, notebooks, names),
    }.items():
        n = len(faults)
        for fault in found:
            print(fault, file=sys.stderr, flush=True)
            faults.append(fault)
        print(f"{part}: {'as committed' if len(faults) == n else f'{len(faults) - n} faults'}", flush=True)
    if faults:
        raise ResultsDiffer(f"{len(faults)} of the committed results differ:\n" + "\n".join(faults))


def faults_of_data() -> Iterator[str]:
    """Yield what is wrong with the files of MNIST and FashionMNIST; a damaged file is fetched again."""
    for name in datasets.DATASETS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                datasets.fetch(name)
            except datasets.DatasetUnavailable as error:
                yield f"data: {error}"
        yield from (f"data: {warning.message}" for warning in caught)


def faults_of_lock(folder: Path) -> Iterator[str]:
    """Yield where the dvc.lock of a scale's folder does not agree with the files, commands and parameters.

    DVC compares hashes, commands and parameters. It does not compare the sizes and numbers of files. A changed comment
    in the sources is no fault.
    """
    pipeline = str((folder / "dvc.yaml").relative_to(root()))
    try:
        changed = json.loads(_dvc("status", "--json", pipeline))
        listed = _dvc("stage", "list", "--name-only", pipeline).splitlines()
    except subprocess.CalledProcessError as error:
        yield f"lock: dvc cannot read {pipeline} and its lock: {error.stderr.strip()}"
        return
    for stage, changes in changed.items():
        if stage.rpartition(":")[2] in FROM_SOURCES:
            changes = [change for change in changes if change.keys() != {"changed deps"}]
        yield from (f"lock: {stage}: {json.dumps(change, ensure_ascii=False)}" for change in changes)
    lock = yaml_file.parse((folder / "dvc.lock").read_bytes(), "dvc.lock")
    for stage, noted in lock["stages"].items():
        if f"{pipeline}:{stage}" not in listed:
            yield f"lock: {pipeline} has no stage {stage}"
            continue
        deps = () if stage in FROM_SOURCES else noted.get("deps", ())
        for entry in (*deps, *noted.get("outs", ())):
            yield from _faults_of_entry(stage, entry)
    here = {f"code/{name}": text for name, text in fingerprint.files_of_the_stage().items()}
    here |= {f"data/{name}.sha256": datasets.fingerprint(name) + "\n" for name in datasets.DATASETS}
    for name, text in here.items():
        yield from compared(folder / name, text, "lock")


def _dvc(*words):
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=root(), capture_output=True, text=True, check=True).stdout


def _faults_of_entry(stage, entry):
    path = root() / entry["path"]
    if not path.exists():
        yield f"lock: {stage}: {entry['path']} is missing"
        return
    inside = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    inside = [p for p in inside if "__pycache__" not in p.parts]
    here = {"size": sum(p.stat().st_size for p in inside), "nfiles": len(inside)}
    for key in here.keys() & entry.keys():
        if entry[key] != here[key]:
            yield f"lock: {stage}: {entry['path']}: {key} is {here[key]}, dvc.lock notes {entry[key]}"


def faults_of_models(scale: str, names: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the collected models of some data sets and with the numbers collected beside them."""
    trainings = [
        training
        for item in stages.matrix()
        if item.dataset in names
        for training in stages.trainings_of(item.dataset, item.classes, scale)
        if training.is_instance
    ]
    calls = {}
    for training in trainings:
        try:
            calls[str(training.collected("models"))] = _call(training)
        except (OSError, ValueError, KeyError) as error:
            yield f"models: {_short(training.collected('models'))}: {error}"
    again: dict[str, bytes] = {}
    failed = dask_workers.run(train_record, calls, again.__setitem__)
    for name, reason in failed.items():
        yield f"models: {_short(Path(name))}: {reason}"
    for training in trainings:
        if content := again.get(str(training.collected("models"))):
            yield from _faults_of_model(training, content)


def _call(training: Training) -> tuple[tuple[Any, ...], int]:
    """Return the call that evaluates a collected model again, with its number of threads."""
    path, record = training.collected("models"), training.record()
    if not store.matches(path, record):
        raise ValueError(f"it is damaged, or its record is not that of params.yaml and this code, {record}")
    return (record, None, versions_here(), training.measures, training.most, path.read_bytes()), record["threads"]


def _faults_of_model(training, content):
    path = training.collected("models")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, path.name)
        made.write_bytes(content)
        numbers = store.read(made, "metrics")
    exact = store.noted_processor(path) == provenance.processor()
    yield from _faults_of_numbers(path, store.read(path, "metrics"), numbers, exact)
    table = pd.read_csv(training.collected("repetitions"), index_col="repetition")
    first = table.iloc[0]
    yield from _faults_of_numbers(training.collected("repetitions"), first[list(numbers)].to_dict(), numbers, exact)
    if first["record"] != store.digest(training.record()):
        yield f"models: {_short(training.collected('repetitions'))}: the record of its first row is not the model's"
    history = pd.DataFrame(store.read(path, "history")).rename_axis("epoch").to_csv(lineterminator="\n")
    yield from compared(training.collected("history"), history, "models")
    if len(table) == training.repetitions:
        yield from compared(training.collected("metrics"), json.dumps(stages.worst(table)) + "\n", "models")


def _faults_of_numbers(path, noted, made, exact):
    for name in sorted(noted.keys() | made.keys()):
        if name not in noted or name not in made or not _same(noted[name], made[name], exact):
            yield (
                f"models: {_short(path)}: {name} is {noted.get(name)}, and {made.get(name)} if the model is evaluated "
                "again"
            )


def _same(noted, made, exact):
    """Return whether two numbers are the same, or two texts, such as hashes, which are the same on all processors."""
    return noted == made if isinstance(noted, str) else same_number(noted, made, exact)


def faults_of_tables(folder: Path, notebooks: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield where the tables of a scale's notebooks differ from those that the notebooks make again."""
    runs = [
        (path.stem.removesuffix(f"-{name}"), name)
        for path in sorted((folder / "notebooks").glob("*.ipynb"))
        for name in names
        if path.stem.endswith(f"-{name}") and (not notebooks or path.stem.removesuffix(f"-{name}") in notebooks)
    ]
    runs = [(notebook, name) for notebook, name in runs if (root() / "notebooks" / f"{notebook}.ipynb").exists()]
    at_once = min(2, dask_workers.workers_that_fit(1, BYTES_OF_NOTEBOOK))
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(at_once) as pool:
        for run, error in zip(runs, pool.map(lambda run: _execute(run, folder.name, made), runs)):
            committed = folder / "tables" / "-".join(run)
            if error:
                yield f"tables: {'-'.join(run)} cannot be executed: {error}"
                continue
            again = Path(made, folder.name, "tables", "-".join(run))
            exact = _processor_of(committed) == provenance.processor()
            for name in sorted({p.name for p in (*committed.iterdir(), *again.iterdir())} - {PROVENANCE}):
                if not (committed / name).exists() or not (again / name).exists():
                    where = "committed" if (committed / name).exists() else "made again"
                    yield f"tables: {_short(committed / name)} is only {where}"
                else:
                    yield from compared(committed / name, (again / name).read_text("utf-8"), "tables", exact)


def _execute(run, scale, results):
    """Execute a notebook with the collected models, and return the end of its error, or nothing."""
    notebook, dataset = run
    print(f"executing {notebook} on {dataset}", file=sys.stderr, flush=True)
    command = [sys.executable, "-P", "dcgmm/experiments/execute.py", notebook, "--scale", scale, "--dataset", dataset]
    environment = {**os.environ, "DCGMM_RESULTS": results, "DCGMM_TRAIN": "never"}
    done = subprocess.run(command, cwd=root(), env=environment, capture_output=True, text=True)
    return done.stderr.strip()[-1500:] if done.returncode else ""


def _processor_of(folder):
    path = folder / PROVENANCE
    return json.loads(path.read_text("utf-8"))["processor"] if path.exists() else None


def compared(path: Path, made: str, part: str, exact: bool = True) -> Iterator[str]:
    """Yield the lines in which a committed file differs from the text that was made again.

    Args:
        path: the committed file.
        made: the text that was made again.
        part: the first word of each message.
        exact: whether every digit must agree. Otherwise numbers may differ by `TOLERANCE` of the larger one, or of
            0.1 where both are smaller. Default True.
    """
    if not path.exists():
        yield f"{part}: {_short(path)} is missing"
        return
    committed = path.read_text("utf-8").splitlines()
    lines = made.splitlines()
    if len(committed) != len(lines):
        yield f"{part}: {_short(path)} has {len(committed)} lines, and {len(lines)} if it is made again"
        return
    for i, (old, new) in enumerate(zip(committed, lines), start=1):
        if old != new and (exact or not _alike(old, new)):
            yield f"{part}: {_short(path)}, line {i}: committed {old!r}, made again {new!r}"


def _alike(old, new):
    """Return whether two lines differ only in numbers, and in these only within the tolerance."""
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new))
    return NUMBER.sub("0", old) == NUMBER.sub("0", new) and all(same_number(*pair, exact=False) for pair in pairs)


def same_number(a: Any, b: Any, exact: bool) -> bool:
    """Return whether two numbers, or texts of numbers, are equal, or if not `exact`, within the tolerance.

    Example:
        >>> same_number("0.50", "0.51", exact=False), same_number(0.5, 0.51, exact=True)
        (True, False)
        >>> same_number(0.001, 0.0029, exact=False), same_number(0.001, 0.0031, exact=False)
        (True, False)
    """
    a, b = (float(str(x).replace("−", "-")) for x in (a, b))
    return a == b or (a != a and b != b) or (not exact and abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 0.1))


def _short(path):
    return path.relative_to(root()) if path.is_relative_to(root()) else path
