"""Check that a release is whole: its results are from its own code, and all texts name the same version."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dcgmm.experiments import fingerprint, provenance, stages, statements, store, yaml_file
from dcgmm.experiments.config import settings
from dcgmm.experiments.folders import root
from dcgmm.experiments.report import PROVENANCE
from dcgmm.experiments.verify import faults_of_lock

HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
SCALE = "paper"


class NotReleasable(RuntimeError):
    """The checkout is no release yet; the message lists all reasons."""


def check() -> None:
    """Check the checkout, and print a line for each part.

    - texts: pyproject.toml, CITATION.cff and CHANGELOG.md name one version and one date, and the code is committed.
    - repetitions: all that docs/protocol.md asks for are complete.
    - results: every collected model, table and figure is from this code, these settings and these packages. What tests
      and benchmarks have counted names a commit of this history. The times of `make bench` name no code, so look at
      these yourself.
    - lock: results/paper/dvc.lock agrees with all files.

    `make verify` does what takes longer: it makes the tables again.

    Raises:
        NotReleasable: if there is any fault, after all parts are checked.
    """
    faults: list[str] = []
    folder = root() / "results" / SCALE
    for part, found in {
        "texts": (*faults_of_texts(root()), *faults_of_git(root())),
        "repetitions": faults_of_repetitions(),
        "results": (*faults_of_models(), *faults_of_notes(folder), *faults_of_measurements(root() / "results")),
        "lock": faults_of_lock(folder),
    }.items():
        own = [f"{part}: {fault.removeprefix(f'{part}: ')}" for fault in found]
        print("\n".join(own) if own else f"{part}: ready", flush=True)
        faults += own
    if faults:
        raise NotReleasable(f"no release yet: {len(faults)} of these things are left")


def faults_of_texts(project: Path) -> Iterator[str]:
    """Yield where the texts of a project name other versions or dates than its pyproject.toml and CHANGELOG.md."""
    wanted = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    citation = yaml_file.parse((project / "CITATION.cff").read_bytes(), "CITATION.cff")
    newest = HEADING.search((project / "CHANGELOG.md").read_text("utf-8"))
    heading = newest[1] if newest else ""
    if not (dated := re.fullmatch(rf"\[?{re.escape(wanted)}\]? - (\d{{4}}-\d\d-\d\d)", heading)):
        yield f"CHANGELOG.md begins with {heading!r}, expected '{wanted} - ' and a date such as 2026-01-31"
    if citation.get("version") != wanted:
        yield f"CITATION.cff has version {citation.get('version')}, and pyproject.toml {wanted}"
    if dated and str(citation.get("date-released")) != dated[1]:
        yield f"CITATION.cff has date-released {citation.get('date-released')}, and CHANGELOG.md {dated[1]}"
    if version("dcgmm") != wanted:
        yield f"version {version('dcgmm')} is installed, and pyproject.toml has {wanted}: delete .venv/.ready"


def faults_of_git(project: Path) -> Iterator[str]:
    """Yield what is not committed, and whether the version's tag, if there is one, names another commit."""
    if not (project / ".git").exists():
        yield f"{project} is no git checkout, so nothing says which code this is"
        return
    yield from (f"not committed: {line}" for line in _git(project, "status", "--porcelain").splitlines())
    tag = f"v{version('dcgmm')}"
    if tag in _git(project, "tag", "--list").split():
        tagged, head = (_git(project, "rev-parse", f"{name}^{{commit}}").strip() for name in (tag, "HEAD"))
        if tagged != head:
            yield f"the tag {tag} names {tagged[:7]}, and HEAD is {head[:7]}"


def _git(project, *words):
    command = ["git", "-C", str(project), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def faults_of_repetitions() -> Iterator[str]:
    """Yield whether repetitions are missing."""
    complete = settings(SCALE)["repetitions"]
    if complete < statements.REPETITIONS:
        yield f"{complete} of {statements.REPETITIONS} are complete"


def faults_of_models() -> Iterator[str]:
    """Yield which collected models are damaged, or not those of params.yaml and of this code."""
    for item in stages.matrix():
        for training in stages.trainings_of(item.dataset, item.classes, SCALE):
            path = training.collected("models")
            if training.is_instance and not store.matches(path, training.record()):
                yield f"{path.relative_to(root())} is not the model of params.yaml and this code"


def faults_of_notes(folder: Path) -> Iterator[str]:
    """Yield which results of a scale's folder were made by other code, settings or packages, by their notes."""
    notes = sorted(folder.rglob(PROVENANCE))
    if not notes:
        yield f"there is no {PROVENANCE} in {folder}"
    for path in notes:
        noted = json.loads(path.read_text("utf-8"))
        yield from (f"{path.parent.relative_to(folder)}: {fault}" for fault in _faults_of_note(noted))


def faults_of_measurements(folder: Path) -> Iterator[str]:
    """Yield which JSON files of a folder, such as the counts of `make test-long`, name no commit of this history."""
    for path in sorted(folder.glob("*.json")):
        commit = json.loads(path.read_text("utf-8")).get("commit")
        found = _faults_of_commit(commit) if commit else ["it names no commit: run its command again"]
        yield from (f"{path.name}: {fault}" for fault in found)


def _faults_of_note(noted: dict[str, Any]) -> Iterator[str]:
    code = fingerprint.all_keys() | fingerprint.of_notebooks()
    code |= fingerprint.of_baselines()
    for name, found in noted["code"].items():
        if found != code[name]:
            yield f"made by the {name} {found}, and it is {code[name]} now"
    if noted["settings"] != settings(SCALE):
        yield "made by other settings than those of params.yaml"
    for origin in noted.get("origins", [noted]):
        yield from _faults_of_commit(origin["commit"])
    if "notebook" in noted:  # a new version of a package executes the notebooks again, and measures nothing again
        for name, here in provenance.packages().items():
            if name != "python" and noted["packages"].get(name) != here:
                yield f"made with {name} {noted['packages'].get(name)}, and {here} is installed"


def _faults_of_commit(commit):
    contained = ["git", "-C", str(root()), "merge-base", "--is-ancestor", commit, "HEAD"]
    if commit.endswith("-dirty"):
        yield f"made by changed code ({commit})"
    elif subprocess.run(contained, capture_output=True).returncode:
        yield f"made by a commit ({commit}) that this release does not contain"
