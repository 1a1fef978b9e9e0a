"""Compare printed tables across kinds of processors: `python benchmarks/processors.py`, half an hour on two cores.

In a fresh clone for each setting, some notebooks run at the quick scale with their trainings, and are compared with a
run as usual. All notebooks of MNIST run at the paper's scale from the committed models, as in `make test`, and are
compared with the committed ones. results/processors.csv has a row for each printed table.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pandas as pd

# NumPy names its parts for single processors by their features.
from numpy._core._multiarray_umath import __cpu_dispatch__

from dcgmm.experiments import provenance
from dcgmm.experiments.verify import NUMBER

ROOT = Path(__file__).parents[1]
TRAINED = ("04-clustering", "06-top-s", "09-inpainting")
ALL = tuple(sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")))
WITHOUT_AVX512 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in __cpu_dispatch__ if "512" in name or name == "X86_V4"),
    "OPENBLAS_CORETYPE": "Haswell",
}
# The environment of each run, and the number of threads of its trainings.
SETTINGS: dict[str, tuple[dict[str, str], int]] = {
    "as usual": ({}, 1),
    "a second time": ({}, 1),
    "without AVX-512": (WITHOUT_AVX512, 1),
    "without oneDNN": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, 1),
    "two threads a training": ({}, 2),
}
# Those that change how notebooks compute, which always run on one thread.
OF_NOTEBOOKS = ("without AVX-512", "without oneDNN")


def printed_tables(setting):
    """Return the tables that the notebooks print in a fresh clone, texts by models, notebook and cell."""
    environment, threads = SETTINGS[setting]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        params = Path(folder, "params.yaml")
        params.write_text(re.sub(r"(?m)^  threads: 1\b", f"  threads: {threads}", params.read_text("utf-8")), "utf-8")
        runs = {"trained again": (TRAINED, "quick")}
        if setting in OF_NOTEBOOKS:
            runs["as committed"] = (ALL, "paper")
        return {
            (models, name, cell): text
            for models, (names, scale) in runs.items()
            for name in names
            for cell, text in run(folder, name, scale, environment).items()
        }


def committed_tables():
    """Return the tables of the committed notebooks of MNIST, as `printed_tables` does."""
    folder = ROOT / "results" / "paper" / "notebooks"
    return {
        ("as committed", name, cell): text
        for name in ALL
        for cell, text in tables_of(folder / f"{name}-mnist.ipynb").items()
    }


def run(folder, name, scale, environment):
    """Execute a notebook of a clone on MNIST, and return its printed tables, texts by cell."""
    command = [sys.executable, "-P", "dcgmm/experiments/execute.py", name, f"--scale={scale}", "--dataset=mnist"]
    never = {"DCGMM_TRAIN": "never"} if scale == "paper" else {}
    subprocess.run(command, cwd=folder, env={**os.environ, **environment, **never}, check=True)
    return tables_of(Path(folder, "results", scale, "notebooks", f"{name}-mnist.ipynb"))


def tables_of(executed):
    """Return the outputs of an executed notebook that `make test` compares, texts by cell."""
    cells = nbformat.read(executed, as_version=4).cells
    checked = [(i, cell) for i, cell in enumerate(cells) if cell.source.startswith("# NBVAL_CHECK_OUTPUT")]
    return {i: "".join(output.get("text", "") for output in cell.outputs) for i, cell in checked}


def compared(usual, other):
    """Return how many numbers a printed table has, how many moved, and the relatively largest change, a dict."""
    pairs = list(zip(NUMBER.findall(usual), NUMBER.findall(other), strict=True))
    moved = [pair for pair in pairs if pair[0] != pair[1]]
    was, now = max(moved, key=_share, default=("", ""))
    return {"numbers": len(pairs), "moved": len(moved), "largest_was": was, "is": now}


def _share(pair):
    before, after = (float(text.replace("−", "-")) for text in pair)
    return abs(after - before) / max(abs(before), abs(after), 1e-12)


def main():
    """Compare all settings, print the table and write it."""
    runs = {}
    for setting in SETTINGS:
        print(setting, flush=True)
        runs[setting] = printed_tables(setting)
    usual = runs.pop("as usual") | committed_tables()
    rows = [
        {"setting": setting, **dict(zip(("models", "notebook", "cell"), table)), **compared(usual[table], text)}
        for setting, tables in runs.items()
        for table, text in tables.items()
    ]
    table = pd.DataFrame(rows).assign(processor=provenance.processor())
    print(table.to_string(index=False))
    table.to_csv(ROOT / "results" / "processors.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
