"""The project's folder, and the folders of results and data; relative ones count from the project's folder."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import dcgmm
from dcgmm import files

MOVABLE = ("DCGMM_DATA", "DCGMM_RESULTS")


class NotWritable(OSError):
    """Results cannot be written to a folder; the message says which, and how to choose another one."""


class OtherCheckout(RuntimeError):
    """The imported package is not that of the project whose results it would write."""


@cache
def root() -> Path:
    """Return the project's folder, `files.project_folder`, or raise an error if there is none."""
    if folder := files.project_folder():
        return folder
    raise FileNotFoundError(f"no params.yaml and dvc.yaml in {Path.cwd()} or above it: run this inside the project")


def make_absolute() -> None:
    """Make the folders in the environment absolute, so that a stage, a notebook's kernel and a worker mean the same.

    A relative DCGMM_DATA or DCGMM_RESULTS counts from the project's folder; outside a project, from the current folder.
    """
    for name in MOVABLE:
        if value := os.environ.get(name):
            os.environ[name] = str(files.from_project(value))


def moved() -> Path | None:
    """Return the folder that DCGMM_RESULTS names, absolute, or None."""
    value = os.environ.get("DCGMM_RESULTS")
    return root() / Path(value).expanduser() if value else None


def collection() -> Path:
    """Return the folder of the store and of the collected trainings: `results`, or the one that DCGMM_RESULTS names."""
    return moved() or root() / "results"


def results(scale: str) -> Path:
    """Return the folder for figures and tables that this process writes.

    The pipeline sets DCGMM_RESULTS to the folder `results`. Without it, as when a reader runs a notebook by
    hand, the files go to `results/own`, which git ignores.
    """
    return (moved() or root() / "results" / "own") / scale


def writable(folder: Path) -> Path:
    """Return a folder, which is created if it is missing, after a test that files can be written to it.

    Raises:
        NotWritable: if they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise NotWritable(
            f"results cannot be written to {folder} ({error.strerror or error}): set the environment variable "
            "DCGMM_RESULTS to a folder of your own, such as DCGMM_RESULTS=~/dcgmm-results"
        ) from error


def use_results_of_dvc() -> None:
    """Within a stage of DVC, write to `results` and nowhere else, because DVC looks for the outputs there."""
    if "DVC_STAGE" in os.environ and os.environ.pop("DCGMM_RESULTS", ""):
        print("DCGMM_RESULTS is not used: a stage of DVC writes to the project's folder results", file=sys.stderr)


def check_checkout() -> None:
    """Refuse to work for a project with the package of another checkout: captions would name the wrong code.

    Raises:
        OtherCheckout: if the project has a package of its own, and another one is imported.
    """
    own, imported = root() / "dcgmm", Path(dcgmm.__file__).parent
    if (own / "__init__.py").exists() and not own.samefile(imported):
        raise OtherCheckout(
            f"this process works in the project {root()}, but its code is imported from {imported}. Use the Python of "
            f"that project (make lab, or {root()}/.venv), or set PYTHONPATH={root()} before you start Jupyter"
        )


make_absolute()
