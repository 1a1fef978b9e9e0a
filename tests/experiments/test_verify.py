"""`make verify` finds and names whatever was changed: a digit, a byte, a pixel, a value of the lock."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dcgmm import datasets
from dcgmm.experiments import provenance, verify

ROOT = Path(__file__).parents[2]
NOTEBOOK = "11-density-mnist"
TABLE = f"results/paper/tables/{NOTEBOOK}/counts.csv"
MODEL = "results/paper/models/mnist/all/1L.keras"
COPIED = ("dcgmm", "docs", "notebooks", "results", "params.yaml", "dvc.yaml", "pyproject.toml", ".dvcignore")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the project with its committed results, under git as DVC wants it."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "store", "quick"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=lambda *_: ["cache", "tmp"])
    return folder


def faults(copy, part):
    """Return the faults of a part of the results of a copy, found by a process in it."""
    calls = {
        "lock": "verify.faults_of_lock(collection() / 'paper')",
        "models": "verify.faults_of_models('paper', ['mnist'])",
        "tables": f"verify.faults_of_tables(collection() / 'paper', ['{NOTEBOOK[:-6]}'], ['mnist'])",
    }
    code = f"""
from dcgmm.experiments import stages, verify
from dcgmm.experiments.folders import collection
if __name__ == "__main__":
    stages.trainings_of = lambda *_, trainings_of=stages.trainings_of: [
        t for t in trainings_of("mnist", "all", "paper") if t.architecture == "1L"
    ]
    stages.matrix = lambda: [stages.Trained("mnist", "all")]
    print(*{calls[part]}, sep="\\n")
"""
    script = copy / "part.py"
    script.write_text(code, "utf-8")
    own = {name: value for name, value in os.environ.items() if name not in ("DCGMM_RESULTS", "DCGMM_TRAIN")}
    environment = {**own, "PYTHONPATH": str(copy)}
    run = subprocess.run([sys.executable, script], cwd=copy, env=environment, capture_output=True, text=True)
    script.unlink()
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout.strip()


@pytest.fixture(scope="module")
def sound(copy):
    """Return the copy, in whose lock there is no fault."""
    assert faults(copy, "lock") == ""
    return copy


@pytest.fixture
def changed(copy):
    """Return a function that replaces a file of the copy; the file comes back after the test."""
    kept = {}

    def change(name, content):
        kept[name] = (copy / name).read_bytes()
        (copy / name).write_bytes(content)

    yield change
    for name, content in kept.items():
        (copy / name).write_bytes(content)


def flipped(text, after):
    """Return a text with its first digit after some words, one after the other, changed."""
    start = 0
    for word in re.split(r"(?<=outs:) ", after):
        start = text.index(word, start) + len(word)
    at = next(i for i in range(start, len(text)) if text[i].isdigit())
    return text[:at] + str((int(text[at]) + 5) % 10) + text[at + 1 :]


@pytest.mark.slow
@pytest.mark.promise("fault", "one value of dvc.lock is changed")
@pytest.mark.parametrize(
    ("stage", "key"),
    [
        *(("train@mnist-0-4", key) for key in ("md5: ", "size: ", "nfiles: ", "--classes 0-", "learning_rate: ")),
        *(("notebook@03-outliers-mnist", key) for key in ("cmd: python -P dcgmm/experiments/execute.py", "md5: ")),
        ("baselines@mnist", "size: "),
        ("claims", "md5: "),
        ("article", "md5: "),
        ("data", "outs: md5: "),
        ("code", "outs: md5: "),
    ],
)
def test_one_value_of_the_lock(sound, changed, stage, key):
    lock = (sound / "results/paper/dvc.lock").read_text("utf-8")
    start = lock.index(f"  {stage}:")
    changed("results/paper/dvc.lock", (lock[:start] + flipped(lock[start:], key)).encode())
    assert stage in faults(sound, "lock")


@pytest.mark.slow
def test_a_line_of_the_code_is_a_fault_and_a_comment_is_none(copy, changed):
    name = "dcgmm/experiments/spec.py"
    source = (copy / name).read_bytes()
    changed(name, source + b"# a comment\n")
    assert faults(copy, "lock") == ""
    (copy / name).write_bytes(source + b"SECONDS = 1\n")
    assert "lock: results/paper/code/notebooks.json, line 2: committed" in faults(copy, "lock")


@pytest.mark.slow
@pytest.mark.promise("fault", "one digit of a table is changed")
def test_one_digit_of_a_table(copy, changed):
    table = (copy / TABLE).read_text("utf-8")
    lines = table.splitlines()
    last = next(i for i in reversed(range(len(table))) if table[i].isdigit())
    changed(TABLE, (table[:last] + str((int(table[last]) + 1) % 10) + table[last + 1 :]).encode())
    found = faults(copy, "tables")
    assert f"{TABLE}, line {len(lines)}: committed" in found and found.count("\n") == 0
    assert f"notebook@{NOTEBOOK}" in faults(copy, "lock")


@pytest.mark.slow
@pytest.mark.promise("fault", "one byte of a committed model is changed")
def test_one_byte_of_a_model(copy, changed):
    assert faults(copy, "models") == ""
    content = bytearray((copy / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    changed(MODEL, bytes(content))
    assert MODEL in faults(copy, "models")
    assert "train@mnist-all" in faults(copy, "lock")


@pytest.mark.slow
@pytest.mark.promise("fault", "one digit of a training's numbers is changed")
def test_one_digit_of_the_numbers_of_a_repetition(copy, changed):
    name = "results/paper/repetitions/mnist/all/1L.csv"
    changed(name, flipped((copy / name).read_text("utf-8"), "\n0,0.1").encode())
    assert f"{name}: dunn is" in faults(copy, "models")


@pytest.mark.promise("fault", "one pixel of the data is changed")
def test_one_pixel_of_the_data(tmp_path, monkeypatch):
    cache = shutil.copytree(datasets.fetch("mnist").parent, tmp_path / "cache")
    monkeypatch.setenv("DCGMM_DATA", str(cache))
    assert list(verify.faults_of_data()) == []
    path = cache / "mnist" / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    path.with_suffix(".gz").write_bytes(gzip.compress(content, 1))  # from where the file comes back
    path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    (found,) = verify.faults_of_data()
    assert str(path) in found and "is damaged" in found and "SHA-256" in found
    assert path.read_bytes() == content


def test_numbers_of_another_processor_may_round_differently_and_words_may_not(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,0.500\nb,1.0\n", "utf-8")
    assert list(verify.compared(table, "a,0.501\nb,1.0\n", "tables", exact=False)) == []
    assert len(list(verify.compared(table, "a,0.501\nb,1.0\n", "tables"))) == 1
    assert len(list(verify.compared(table, "a,0.55\nc,1.0\n", "tables", exact=False))) == 2
    assert "has 2 lines, and 1 if" in next(verify.compared(table, "a,0.500\n", "tables"))
    assert "tables: " in (found := next(verify.compared(tmp_path / "no.csv", "", "tables"))) and "is missing" in found


@pytest.mark.parametrize("dataset", datasets.DATASETS)
@pytest.mark.parametrize("notebook", sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")))
@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_every_table_and_figure_says_what_made_it(kind, notebook, dataset):
    noted = json.loads((ROOT / "results/paper" / kind / f"{notebook}-{dataset}" / "provenance.json").read_text("utf-8"))
    assert noted["command"].endswith(f":notebook@{notebook}-{dataset}")
    assert {"settings", "seed", "data", "code"} <= noted.keys()
    assert noted["data"] == datasets.fingerprint(dataset)
    assert is_complete(noted)


@pytest.mark.parametrize("dataset", datasets.DATASETS)
def test_every_collected_number_says_what_made_it(dataset):
    folder = ROOT / "results/paper"
    noted = json.loads((folder / "baselines" / dataset / "provenance.json").read_text("utf-8"))
    assert is_complete(noted) and noted["data"] == datasets.fingerprint(dataset)
    for classes in ("0-4", "all"):
        repetitions = folder / "repetitions" / dataset / classes
        noted = json.loads((repetitions / "provenance.json").read_text("utf-8"))
        assert noted["data"] == datasets.fingerprint(dataset) and {"settings", "code", "command"} <= noted.keys()
        assert all(is_complete(origin) for origin in noted["origins"])
        rows = {path.stem: len(pd.read_csv(path)) for path in repetitions.glob("*.csv")}
        assert {name: len(origins) for name, origins in noted["trainings"].items()} == rows
        assert {i for origins in noted["trainings"].values() for i in origins} == {*range(len(noted["origins"]))}


def is_complete(noted):
    """Return whether a note names a clean commit, all packages and the processor."""
    named = noted["packages"].keys() == provenance.packages().keys() and noted["processor"]
    return bool(named) and "-dirty" not in noted["commit"]
