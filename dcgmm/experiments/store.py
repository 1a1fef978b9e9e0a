"""The store of trained repetitions: one file for each, named by the hash of its record.

A file holds its record. Before it is used, this record is compared with the one that is asked for.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from dcgmm.experiments.config import root
from dcgmm.experiments.spec import Training


def digest(record: dict[str, Any]) -> str:
    """Return the hash of a record, which names its file in the store."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


def place(record: dict[str, Any]) -> Path:
    """Return the path of a record's file in the store, whether the file exists or not."""
    return root() / "results" / "store" / f"{digest(record)}.keras"


def read(path: Path, member: str) -> Any:
    """Return a JSON member ("record", "metrics" or "history") of a repetition's file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"{member}.json"))


def matches(path: Path, record: dict[str, Any]) -> bool:
    """Return whether a repetition's file exists, can be read and has this record."""
    try:
        return read(path, "record") == record
    except (FileNotFoundError, KeyError, zipfile.BadZipFile, json.JSONDecodeError):
        return False


def find(training: Training, repetition: int) -> Path | None:
    """Return the file that matches a repetition's record, in the store or among the collected models, else None.

    If both match, the file with present metrics counts.
    """
    record = training.record(repetition)
    found = [path for path in (place(record), training.collected("models")) if matches(path, record)]
    return max(found, key=lambda path: evaluated(path, training), default=None)


def numbers(training: Training, repetition: int) -> dict[str, Any] | None:
    """Return the metrics of a repetition from its file, or as they were collected earlier, a dict, else None.

    Numbers that another version of the evaluating code has measured do not count.
    """
    if path := find(training, repetition):
        return read(path, "metrics") if evaluated(path, training) else None
    collected = training.collected("repetitions")
    needs_weights = training.is_instance and repetition == 0
    if needs_weights or not collected.exists():
        return None
    table = pd.read_csv(collected, index_col="repetition")
    keys = {"record": digest(training.record(repetition))} | training.evaluation
    if not set(keys) <= set(table):
        return None
    found = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
    return None if found.empty else found.drop(columns=list(keys)).astype(object).iloc[0].to_dict()


def evaluated(path: Path, training: Training) -> bool:
    """Return whether the metrics in a repetition's file were measured by this version of the evaluating code."""
    return training.evaluation.items() <= read(path, "versions").items()


def sweep() -> None:
    """Remove half-written files that killed processes have left in the store."""
    for half in (root() / "results" / "store").glob(".*.*.*"):
        writer = half.suffix[1:]
        if writer.isdigit() and not psutil.pid_exists(int(writer)):
            half.unlink(missing_ok=True)
