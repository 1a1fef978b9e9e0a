"""Small trainings that use every part of the code that decides numbers, for comparing two versions of it bit by bit.

`python -m dcgmm.experiments.golden` prints the hash of each training's weights and numbers as JSON.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dcgmm.experiments import fingerprint
from dcgmm.experiments.config import root
from dcgmm.experiments.evaluation import evaluate
from dcgmm.experiments.train import fit_record

RECORD: dict[str, Any] = {
    "seed": 1,
    "annealing": {"rate": 0.1},
    "centroid_phase": 0.4,
    "epochs": 3,
    "batch_size": 20,
    "learning_rate": 0.05,
}
RECORDS: dict[str, dict[str, Any]] = {
    "convolution and pooling": {"architecture": "F(4,4,2,2) G(4) P(2,2) F(3,3,1,1) G(9)"},
    "patches and a classifier": {"architecture": "F(7,7,7,7) G(9) F(2,2,1,1) G(4) C(3)"},
    "one layer after the other": {"architecture": "F(4,4,2,2) G(4) F(6,6,1,1) G(9)", "layerwise": True},
    "from k-means": {"architecture": "F(14,14,1,1) G(4)", "start": "k-means"},
    "from Σ = 1, by Adam": {
        "architecture": "F(14,14,1,1) G(4)",
        "gmm": {"start_precision": 1.0},
        "optimizer": "Adam",
        "learning_rate": 0.001,
    },
}


class NumbersDiffer(RuntimeError):
    """Two versions of the code give different numbers."""


def hashes() -> dict[str, str]:
    """Return a hash of the weights, the History and the reported numbers of each training in RECORDS."""
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 14, 14, 1), dtype="float32"), np.arange(300) % 3
    found = {}
    for name, changes in RECORDS.items():
        model, history = fit_record(RECORD | changes, x, y)
        found[name] = hashlib.sha256(b"".join(weights.tobytes() for weights in model.get_weights()))
        found[name].update(json.dumps([history, evaluate(model, x, y, [0, 1])], sort_keys=True, default=float).encode())
    return {name: hash_.hexdigest()[:16] for name, hash_ in found.items()}


def declare_same_numbers(commit: str = "HEAD") -> None:
    """Compare the code of the working folder with that of a commit, and declare both equivalent if all bits agree.

    Args:
        commit: whose code to compare with. Default HEAD.

    Raises:
        NumbersDiffer: if a training gives other weights or numbers; nothing is declared then.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(root()), "archive", commit, "dcgmm"], check=True, capture_output=True
        ).stdout
        tarfile.open(fileobj=io.BytesIO(archive)).extractall(folder, filter="data")
        before, after = (_hashes_of(Path(place)) for place in (folder, fingerprint.PACKAGE.parent))
        if different := [name for name, value in after.items() if before.get(name) != value]:
            raise NumbersDiffer(
                f"this code and {commit}'s give other numbers for: {', '.join(different)}. Nothing was declared, "
                "and `make figures` and `make paper` will train again."
            )
        added = fingerprint.declare(Path(folder, "dcgmm"))
    print(f"The same bits as {commit} in {len(after)} trainings. ", end="")
    print(f"Added to {fingerprint.EQUIVALENTS.name}: {', '.join(added)}" if added else "There was nothing to declare.")


def _hashes_of(folder):
    """Return the `hashes` of the code in a folder, in a process with one thread."""
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "dcgmm.experiments.golden"]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise NumbersDiffer(f"the trainings failed with the code in {folder}:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(hashes()))
