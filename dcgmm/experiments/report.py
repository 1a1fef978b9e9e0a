"""The results of a notebook: the folders of its figures and tables, and the provenance of both."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from dcgmm import datasets, files
from dcgmm.arguments import refusal
from dcgmm.experiments import fingerprint, provenance
from dcgmm.experiments.config import declared_datasets, settings
from dcgmm.experiments.folders import check_checkout, collection, results, root, writable
from dcgmm.experiments.spec import IMAGES_OF_MNIST

PROVENANCE = "provenance.json"


@cache
def code_version() -> str:
    """Return `provenance.code_version` of the project."""
    return provenance.code_version(root())


@dataclass(frozen=True)
class Report:
    """The folders of a notebook's figures and tables, and the end of their captions.

    Args:
        notebook: the notebook's name without .ipynb.
        dataset: the name of a data set, which may be one of params.yaml.
        scale: a block of params.yaml.
        seed: the seed of the notebook's random draws.
        instance: the name of the models in the captions. Default `"all instances"`.
    """

    notebook: str
    dataset: str
    scale: str
    seed: int
    instance: str = "all instances"

    def __post_init__(self) -> None:
        """Register the data sets of params.yaml, and refuse other code or a folder that cannot be written, at once."""
        check_checkout()
        declared_datasets()  # a notebook may load a data set before it asks for a model
        writable(results(self.scale))

    def folder(self, kind: str) -> Path:
        """Return the folder of this notebook's "figures" or "tables", and create it if it is missing.

        The file provenance.json in it says what made its content.
        """
        folder = writable(results(self.scale) / kind / f"{self.notebook}-{self.dataset}")
        note = json.dumps(self.origin, indent=1, ensure_ascii=False) + "\n"
        if not (path := folder / PROVENANCE).exists() or path.read_text("utf-8") != note:
            files.write(path, note)
        return folder

    def path(self, kind: str, name: str) -> Path:
        """Return the path of one of this notebook's "figures" or "tables", without suffix.

        Raises:
            ValueError: if the name has other characters than letters, digits, `_` and `-`: a path could leave the
                folder.
        """
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name):
            raise refusal(f"the name of a file in {kind}", "made of letters, digits, _ and -", name)
        return self.folder(kind) / name

    @property
    def origin(self) -> dict[str, Any]:
        """What made this notebook's results: command, settings, seed, data, code, packages and processor."""
        pipelines = {"quick": "dvc.yaml", "paper": "results/paper/dvc.yaml"}
        # A notebook that is run by hand writes to another folder than the pipeline.
        pipeline = pipelines.get(self.scale) if results(self.scale) == collection() / self.scale else None
        stage = f"notebook@{self.notebook}-{self.dataset}"
        run = f"make experiment NOTEBOOK={self.notebook} DATASET={self.dataset} SCALE={self.scale}"
        return {
            "command": f"dvc repro --single-item {pipeline}:{stage}" if pipeline else run,
            "notebook": self.notebook,
            "dataset": self.dataset,
            "scale": self.scale,
            "seed": self.seed,
            "settings": settings(self.scale),
            "data": datasets.fingerprint(self.dataset),
            "code": fingerprint.all_keys() | fingerprint.of_notebooks(),
            "commit": code_version(),
            "packages": provenance.packages(),
            "processor": provenance.processor(),
        }

    def save_table(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Write a DataFrame as CSV and Markdown, and return it."""
        path = self.path("tables", name)
        files.write(path.with_suffix(".csv"), table.to_csv(lineterminator="\n"))
        files.write(path.with_suffix(".md"), table.to_markdown() + "\n")
        return table

    @property
    def repetitions(self) -> int:
        """The number of repetitions of each training behind the numbers."""
        return settings(self.scale)["repetitions"]

    @property
    def provenance(self) -> str:
        """The end of every caption: data set, scale, seeds and the version of the code."""
        asked = settings(self.scale)
        title = datasets.TITLES[self.dataset]
        limit = asked.get("images")
        images = "" if limit is None else f" of at most {limit:,} images"
        if self.dataset not in datasets.DATASETS:
            images = f" of {limit or IMAGES_OF_MNIST:,} images, or as many steps"
        scale = f"scale {self.scale} ({asked['epochs']} epochs{images})"
        first, last = asked["seed"], asked["seed"] + asked["repetitions"] - 1
        trained = f"seed {first}" if first == last else f"seeds {first} to {last}"
        seeds = f"trainings: {trained}, other draws: seed {self.seed}"
        return f"{title}, {self.instance}, {scale}, {seeds}, code {code_version()}."
