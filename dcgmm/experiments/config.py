"""The project's folder and its params.yaml: scales, data sets of your own, and where results go."""

import os
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from dcgmm import datasets
from dcgmm.datasets import custom

ABLATION_KEYS = {"architectures", "changes", "classes", "repetitions"}
TRAINING_KEYS = ("epochs", "batch_size", "learning_rate", "centroid_phase", "annealing", "threads")


@cache
def root() -> Path:
    """Return the project's folder: the nearest one with params.yaml above the working directory or above this file."""
    for start in (Path.cwd(), Path(__file__).parent):
        for folder in (start, *start.parents):
            if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
                return folder
    raise FileNotFoundError(f"no params.yaml and dvc.yaml in {Path.cwd()} or above it: run this inside the project")


def params() -> dict[str, Any]:
    """Return the content of params.yaml."""
    return _parsed((root() / "params.yaml").read_text())


@lru_cache(maxsize=1)  # a notebook asks a hundred times, and parsing takes 35 ms
def _parsed(text):
    return yaml.safe_load(text)


def declared_datasets() -> dict[str, Any]:
    """Register the data sets of params.yaml by their names, and return their settings by name."""
    declared = params().get("datasets") or {}
    for name, source in declared.items():
        datasets.register(name, custom.from_settings(source, root()))
    return declared


def settings(scale: str) -> dict[str, Any]:
    """Return the block of params.yaml for a scale, `"quick"` or `"paper"`, as a dict.

    Raises:
        ValueError: if there is no such block, or if it has unknown keys or lacks some.
    """
    declared_datasets()
    blocks = {name: block for name, block in params().items() if name != "datasets"}
    if scale not in blocks:
        raise ValueError(f"unknown scale {scale!r}: params.yaml has {', '.join(blocks)}")
    needed = {*TRAINING_KEYS, "architectures", "ablations", "repetitions", "seed"}
    if wrong := (needed ^ set(blocks[scale])) - {"images"}:
        raise ValueError(
            f"the block {scale!r} of params.yaml has keys that are missing or unknown: {', '.join(sorted(wrong))}; "
            f"expected {', '.join(sorted(needed))}, and optionally images"
        )
    for ablation in blocks[scale]["ablations"]:
        if "architectures" not in ablation or set(ablation) - ABLATION_KEYS:
            raise ValueError(
                f"an ablation of the block {scale!r} of params.yaml needs architectures, and may have changes, classes "
                f"and repetitions, received {ablation}"
            )
    return blocks[scale]


def results(scale: str) -> Path:
    """Return the folder for figures and tables that this process writes.

    The pipeline sets DCGMM_RESULTS to the folder `results`. Without it, as when a reader runs a notebook by
    hand, the files go to `results/own`, which git ignores.
    """
    return Path(os.environ.get("DCGMM_RESULTS", root() / "results" / "own")) / scale
