"""Small trainings and data sets that use the code that decides numbers, to compare two versions of it bit by bit.

`python -m dcgmm.experiments.golden` prints JSON: for each training, the hash of its weights and the hashes of the
numbers that are measured of it and of its samples, and the hash of the arrays that each kind of file gives. Trainings
use one thread, as in params.yaml.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dcgmm import datasets
from dcgmm.datasets import idx
from dcgmm.experiments import fingerprint
from dcgmm.experiments.config import root
from dcgmm.experiments.evaluation import evaluate
from dcgmm.experiments.evaluation_of_claims import MEASURES, evaluate_claims
from dcgmm.experiments.evaluation_of_samples import evaluate_samples
from dcgmm.experiments.real_images import RealImages
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


# The ends of the names of hashes that stand for measured numbers and not for weights; keys of fingerprints.
NUMBERS = ("evaluation", "samples", "claims")
# The names of hashes of arrays that the reader of your own images gives; it has a key of its own, `reader`.
OWN_FILES = ("an .npz file", "folders of images")


class NumbersDiffer(RuntimeError):
    """Two versions of the code give different numbers."""


def hashes() -> dict[str, str]:
    """Return the hashes of each training in RECORDS, and one for each kind of file that images are read from."""
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 14, 14, 1), dtype="float32"), np.arange(300) % 3
    real, found = RealImages(x, y, x, most=20), {}
    for name, changes in RECORDS.items():
        model, history = fit_record(RECORD | changes, x, y)
        found[name] = _digest(*model.get_weights(), _text(history))
        found[f"{name}, {NUMBERS[0]}"] = _digest(_text(evaluate(model, x, y, [0, 1])))
        found[f"{name}, {NUMBERS[1]}"] = _digest(_text(evaluate_samples(model, real)))
        if changes.get("layerwise"):  # two layers, each above a folding, as in the instances that claims are about
            found[f"{name}, {NUMBERS[2]}"] = _digest(_text(evaluate_claims(model, real, list(MEASURES))))
    with tempfile.TemporaryDirectory() as folder:
        found |= {name: _digest(*arrays) for name, arrays in _read_back(Path(folder)).items()}
    return found


def _text(numbers):
    return json.dumps(numbers, sort_keys=True, default=float).encode()


def _digest(*contents):
    hashed = hashlib.sha256()
    for content in contents:
        hashed.update(content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes())
    return hashed.hexdigest()[:16]


def _read_back(folder):
    """Return the arrays that are read from small IDX files, from an `.npz` file and from folders of images."""
    grey = np.random.default_rng(1).integers(0, 256, (30, 9, 8), dtype="uint8")
    labels = np.arange(30, dtype="uint8") % 3
    for part in ("train", "t10k"):
        for kind, array in {"images-idx3": grey, "labels-idx1": labels}.items():
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    np.savez(folder / "a.npz", x_train=grey, y_train=labels, x_test=grey, y_test=labels)
    for i, (image, label) in enumerate(zip(grey, labels)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(folder / "images" / str(label) / f"{i}.png", image[..., None], scale=False)
    x, y, *test = idx.load(folder)
    return {
        "IDX files": (*datasets.thinned(*datasets.select_classes(x, y, [0, 2]), 7), *test),
        "an .npz file": datasets.NpzFile(folder / "a.npz").load(),
        "folders of images": datasets.ImageFolder(folder / "images", size=(6, 6)).load(),
    }


def declare_same_numbers(commit: str = "HEAD") -> None:
    """Compare the code in the working folder with a commit's, and declare both equivalent if all bits agree.

    If only the measured numbers differ, trained models stay valid and will be evaluated again. If only the arrays of
    your own images differ, only their trainings become invalid.

    Args:
        commit: the commit to compare with. Default HEAD.

    Raises:
        NumbersDiffer: if a training gives other weights; nothing is declared then.
    """
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(root()), "archive", "--format=zip"]
        # A commit's name may begin with a dash.
        archive = subprocess.run([*git, "--end-of-options", commit, "dcgmm"], capture_output=True)
        if archive.returncode:
            raise NumbersDiffer(f"git has no code of {commit!r}: {archive.stderr.decode().strip()}")
        with zipfile.ZipFile(io.BytesIO(archive.stdout)) as code:
            code.extractall(folder)
        before, after = (_hashes_of(Path(place)) for place in (folder, fingerprint.PACKAGE.parent))
        different = [name for name, value in after.items() if before.get(name) != value]
        if weights := [name for name in different if not name.endswith(NUMBERS) and name not in OWN_FILES]:
            raise NumbersDiffer(
                f"this code and {commit}'s give other weights for: {', '.join(weights)}. Nothing was declared, "
                "and `make figures` and `make paper` will train again."
            )
        # Run the other code's own script, because its list of modules may differ.
        script = Path(folder, "dcgmm", "experiments", "fingerprint.py")
        subprocess.run([sys.executable, "-P", script, folder], check=True)
        changed = {key for key in NUMBERS if any(name.endswith(key) for name in different)}
        own = any(name in OWN_FILES for name in different)
        unchanged = fingerprint.all_keys().keys() - changed - ({"reader"} if own else set())
        added = fingerprint.declare(json.loads(Path(folder, "training.json").read_text("utf-8")), unchanged)
    print(f"The same bits as {commit} in {len(after) - len(different)} of {len(after)} hashes. ", end="")
    if changed:
        print(f"Not the same: {' and '.join(sorted(changed))}, so trained models will be evaluated again. ", end="")
    if own:
        print("Other arrays of your own images, so models of them will be trained again. ", end="")
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
