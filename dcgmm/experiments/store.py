"""The store of trained repetitions: one file for each, named by the hash of its record.

A file holds its record. Before it is used, this record is compared with the one that is asked for.
"""

import hashlib
import json
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from dcgmm import files
from dcgmm.experiments.folders import collection, root
from dcgmm.experiments.spec import Training


def digest(record: dict[str, Any]) -> str:
    """Return the hash of a record, which names its file in the store."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


def place(record: dict[str, Any]) -> Path:
    """Return the path of a record's file in the store to write to, whether the file exists or not."""
    return folder() / f"{digest(record)}.keras"


def folder() -> Path:
    """Return the folder of the store to write to."""
    return collection() / "store"


def _readable():
    """Return the folders of results to read: the one to write to, and the project's."""
    return dict.fromkeys([collection(), root() / "results"])


def read(path: Path, member: str) -> Any:
    """Return a JSON member ("record", "metrics" or "history") of a repetition's file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"{member}.json"))


def noted_processor(path: Path) -> str | None:
    """Return the kind of processor that trained a repetition, or None where the file is older than this note."""
    try:
        return read(path, "provenance")["processor"]
    except KeyError:
        return None


def origin(training: Training, repetition: int) -> dict[str, Any] | None:
    """Return the commit, packages and processor that made a repetition, or None where no file says so."""
    try:
        return read(path, "provenance") if (path := find(training, repetition)) else None
    except KeyError:
        return None


def matches(path: Path, record: dict[str, Any]) -> bool:
    """Return whether a repetition's file exists, is intact and has this record; a damaged file is named."""
    if not path.exists():
        return False
    about = path.stat()
    if found := _damage(path, about.st_mtime_ns, about.st_size):
        warnings.warn(f"{path} is damaged and is not used: {found}", stacklevel=2)
        return False
    try:
        return read(path, "record") == record
    except (KeyError, json.JSONDecodeError):
        return False


@cache
def _damage(path, changed, size):
    """Return `files.damage` of a file, which is read once for each time at which it was changed, and size."""
    return files.damage(path)


def find(training: Training, repetition: int) -> Path | None:
    """Return the file that matches a repetition's record, in the store or among the collected models, else None.

    If both match, the file with present metrics counts.
    """
    record = training.record(repetition)
    name = f"store/{digest(record)}.keras"
    places = (path for results in _readable() for path in (results / name, training.collected("models", results)))
    found = [path for path in places if matches(path, record)]
    return max(found, key=lambda path: evaluated(path, training), default=None)


def numbers(training: Training, repetition: int) -> dict[str, Any] | None:
    """Return the metrics of a repetition from its file, or as they were collected earlier, a dict, else None.

    Numbers that another version of the evaluating code has measured do not count.
    """
    if path := find(training, repetition):
        return read(path, "metrics") if evaluated(path, training) else None
    if training.is_instance and repetition == 0:  # the weights are needed, too
        return None
    keys = {"record": digest(training.record(repetition))} | training.evaluation
    tables = (training.collected("repetitions", results) for results in _readable())
    return next((row for path in tables if (row := _collected_row(path, keys))), None)


def _collected_row(path, keys):
    """Return the row of a table of repetitions that has some keys, a dict without them, or None."""
    if not path.exists():
        return None
    table = pd.read_csv(path, index_col="repetition")
    if not set(keys) <= set(table):
        return None
    found = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
    return None if found.empty else found.drop(columns=list(keys)).astype(object).iloc[0].to_dict()


def evaluated(path: Path, training: Training) -> bool:
    """Return whether the metrics in a repetition's file were measured by this version of the evaluating code."""
    return training.evaluation.items() <= read(path, "versions").items()


def sweep() -> None:
    """Remove half-written files that killed processes have left in the store."""
    for half in folder().glob(".*.*.*"):
        writer = half.suffix[1:]
        if writer.isdigit() and not psutil.pid_exists(int(writer)):
            half.unlink(missing_ok=True)
