"""Tables of numbers beside the trainings: each row is measured once, and kept while what decides it is the same."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from dcgmm import datasets, files
from dcgmm.experiments import memory, provenance, store
from dcgmm.experiments.config import settings
from dcgmm.experiments.folders import collection, root, writable
from dcgmm.experiments.on_demand import TrainingsFailed
from dcgmm.experiments.real_images import RealImages

KNOWN = "0-4"  # what the pipeline measures: the classes that the paper's instances learn
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Numbers:
    """A table of numbers of a data set, in results/<scale>/<kind>/<dataset>/<classes>.csv.

    Args:
        kind: what the numbers are of, `"baselines"`.
        keys: the names of the columns that tell the rows apart.
        dataset: the name of a data set.
        classes: `"all"`, or labels such as `"0-4"`.
        scale: a block of params.yaml.
    """

    kind: str
    keys: Sequence[str]
    dataset: str
    classes: str
    scale: str

    def path(self, results: Path | None = None) -> Path:
        """Return the path of the table below a folder of results. Default: the one to write to."""
        return (results or collection()) / self.scale / self.kind / self.dataset / f"{self.classes}.csv"

    def known(self) -> dict[str, dict[str, Any]]:
        """Return the collected rows by the digests of their records."""
        for results in dict.fromkeys([collection(), root() / "results"]):
            if (path := self.path(results)).exists():
                table = pd.read_csv(path, index_col=list(self.keys))
                return {row["record"]: row.to_dict() for _, row in table.iterrows()}
        return {}

    def rows(
        self,
        records: Mapping[Key, dict[str, Any]],
        measure: Callable[..., dict[str, Any]],
        arguments: Callable[[Key], tuple[Any, ...]],
        keep: Callable[[pd.DataFrame], None] = lambda table: None,
    ) -> pd.DataFrame:
        """Return the row of each record: a collected one, or else measured now, side by side.

        Args:
            records: what decides the numbers of each row, by its key.
            measure: a function of a module, of a record and of the further arguments, that returns a dict.
            arguments: returns the further arguments for a key.
            keep: called with the rows so far whenever one was measured. Default: nothing.

        Raises:
            RuntimeError: if rows are missing, and DCGMM_TRAIN=never.
            TrainingsFailed: if some rows could not be measured.
        """
        known = self.known()
        found = {key: known.get(store.digest(record)) for key, record in records.items()}
        missing = [key for key, row in found.items() if row is None]
        if missing and os.environ.get("DCGMM_TRAIN") == "never":
            raise RuntimeError(f"the collected {self.kind} lack {records[missing[0]]}, and DCGMM_TRAIN=never")

        def add(key, row):
            found[key] = row
            keep(self._table(found))

        calls = {key: (measure, records[key], *arguments(key)) for key in missing}
        self._measure(calls, add)
        return self._table(found)

    def _table(self, found):
        rows = {key: row for key, row in found.items() if row}
        return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=list(self.keys)))

    def _measure(self, calls, add):
        """Measure rows side by side."""
        if not calls:
            return
        from dcgmm.experiments import dask_workers  # here, because Dask takes most of a second to import

        keys = {" ".join(map(str, key)): key for key in calls}
        n_bytes = memory.bytes_of_training(datasets.describe(self.dataset).n_bytes)
        failed = dask_workers.run(
            measured,
            {name: (calls[key], 1) for name, key in keys.items()},
            lambda name, row: add(keys[name], row),
            n_bytes=n_bytes,
        )
        if failed:
            errors = "\n".join(f"  {name}: {type(error).__name__}: {error}" for name, error in failed.items())
            raise TrainingsFailed(f"{len(failed)} of {len(calls)} rows of {self.kind} failed:\n{errors}")

    def collect(
        self,
        records: Mapping[Key, dict[str, Any]],
        measure: Callable[..., dict[str, Any]],
        arguments: Callable[[Key], tuple[Any, ...]],
        code: Mapping[str, str],
    ) -> None:
        """Write the table, each row as soon as it was measured, so that a stopped command goes on from there.

        The file provenance.json beside it says what made it. It is written anew if a row was measured now.

        Args:
            records: as in `rows`.
            measure: as in `rows`.
            arguments: as in `rows`.
            code: the fingerprint of the code that decides the rows, by its name.
        """
        note = writable(self.path().parent) / "provenance.json"
        before = self.known()
        table = self.rows(records, measure, arguments, keep=self._write)
        self._write(table)
        if not (note.exists() and set(table.record) <= before.keys()):
            made = {
                "command": f"python -m dcgmm.experiments {self.kind} --scale {self.scale} --dataset {self.dataset}",
                "settings": settings(self.scale),
                "data": datasets.fingerprint(self.dataset),
                "code": code,
                **provenance.here(root()),
            }
            files.write(note, json.dumps(made, indent=1) + "\n")

    def _write(self, table):
        files.write(self.path(), table.to_csv(lineterminator="\n"))


def measured(
    measure: Callable[..., dict[str, Any]], record: dict[str, Any], *arguments: Any, report: Any
) -> dict[str, Any]:
    """Return what a function measures of a record, with the digest of the record; `report` tells no course of it.

    TensorFlow gets one thread, as in a training, so that numbers do not depend on the number of cores.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return {"record": store.digest(record), **measure(record, *arguments)}


@lru_cache(maxsize=1)
def chosen_images(dataset: str, classes: tuple[int, ...], images: int | None, most: int | None) -> RealImages:
    """Return the images of some classes, from which measures learn; the same object for the same arguments.

    Args:
        dataset: the name of a data set.
        classes: labels.
        images: how many training images at most, or None for all.
        most: how many samples are measured at most, or None.
    """
    x, y, x_test, y_test = datasets.load_dataset(dataset)
    x, y = datasets.thinned(*datasets.select_classes(x, y, classes), images)
    return RealImages(x, y, x_test[np.isin(y_test, classes)], most)
