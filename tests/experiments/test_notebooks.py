"""The notebooks as they are committed: clean sources, and executed copies whose tables nbval compares."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dcgmm import datasets
from dcgmm.experiments import claims

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKED = re.compile(r"^# NBVAL_CHECK_OUTPUT$", re.MULTILINE)


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_source_is_clean_parameterised_and_has_a_table_to_hold(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    (parameters,) = tagged(notebook, "parameters")
    assert {"dataset", "scale", "seed"} <= set(re.findall(r"^(\w+) = ", parameters.source, re.MULTILINE))
    mentions = [cell for cell in code if "NBVAL_CHECK_OUTPUT" in cell.source]
    # nbval silently ignores the comment if other words stand on its line.
    assert mentions and all(CHECKED.search(cell.source) for cell in mentions)
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert text[0].startswith("# ") and "**Try next:**" in text[-1]


# The parameters by which `make experiment` names classes and instances; notebooks without them need MNIST's.
KNOWN = {"03-outliers", "05-sampling", "06-top-s", "07-sharpening", "12-baselines", "13-deviations"}
ONE = {"01-tour": "architecture"} | dict.fromkeys(
    ("02-interpretability", "06-top-s", "07-sharpening", "08-conditional"), "instance"
)
SEVERAL = {"03-outliers", "04-clustering", "05-sampling", "09-inpainting", "10-variants", "11-density"}


def judged(path):
    """Return the claims that a notebook judges."""
    code = "".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    return re.findall(r'experiments\.judge\(\s*report,\s*"(C\d+)"', code)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_classes_and_instances_are_parameters_of_known_names(path):
    (cell,) = tagged(nbformat.read(path, as_version=4), "parameters")
    parameters: dict = {}
    exec(cell.source, parameters)
    assert ("known" in parameters) == (path.stem in KNOWN)
    assert ("instances" in parameters) == (path.stem in SEVERAL)
    named = {"architecture", "instance"} & set(parameters)
    assert named == ({ONE[path.stem]} if path.stem in ONE else set())
    assert all(parameters[name] is None for name in ("known", "instances") if name in parameters)
    code = "".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    assert 'classes="0-4"' not in code and "range(5)" not in code and "squeeze()" not in code


def test_one_notebook_has_the_numbers_of_a_claim_and_they_are_committed_with_the_outcomes_of_the_verdict():
    assert sorted(claim for path in SOURCES for claim in judged(path)) == sorted(claims.CLAIMS)
    tables = ROOT / "results/paper/tables"
    for dataset in datasets.DATASETS:
        found = [json.loads(path.read_text("utf-8")) for path in tables.glob(f"*-{dataset}/C*.json")]
        assert sorted(claim["claim"] for claim in found) == sorted(claims.CLAIMS)
        assert all(claim["statement"] == claims.CLAIMS[claim["claim"]] for claim in found)
        verdict = pd.read_csv(tables / f"14-verdict-{dataset}/outcomes.csv").set_index("statement").outcome.to_dict()
        assert {name: outcome for claim in found for name, outcome in claim["outcomes"].items()} == verdict


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_opens_with_the_claims_that_it_judges(path):
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    opening = [set(re.findall(r'"(C\d+)"', source)) for source in cells[:3] if "experiments.in_short(" in source]
    assert opening == ([set(judged(path))] if judged(path) else [])


def test_every_notebook_is_committed_executed_for_both_data_sets():
    executed = {path.stem for path in (ROOT / "results/paper/notebooks").glob("*.ipynb")}
    assert executed == {f"{path.stem}-{dataset}" for path in SOURCES for dataset in datasets.DATASETS}


def test_nbval_finds_a_wrong_number(tmp_path):
    notebook = nbformat.read(ROOT / "results/paper/notebooks/05-sampling-mnist.ipynb", as_version=4)
    cell = next(c for c in notebook.cells if c.cell_type == "code" and CHECKED.search(c.source))
    (output,) = cell.outputs
    output.text = re.sub(r"\d(?=\s*$)", lambda digit: str((int(digit[0]) + 1) % 10), output.text)
    planted = tmp_path / "planted.ipynb"
    nbformat.write(notebook, planted)
    environment = {**os.environ, "DCGMM_TRAIN": "never", "DCGMM_RESULTS": str(tmp_path / "results")}
    pytest_nbval = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
    run = subprocess.run([*pytest_nbval, str(planted)], cwd=ROOT, env=environment, capture_output=True, text=True)
    failed = re.findall(r"^FAILED .*::Cell (\d+)", run.stdout, re.MULTILINE)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert failed == [str(code.index(cell))], run.stdout


def execute(name, folder, **parameters):
    """Run a notebook as Jupyter does, with the lines of some parameters changed, in a folder."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    (cell,) = tagged(notebook, "parameters")
    for key, value in parameters.items():
        cell.source, n = re.subn(rf"^{key} = .*", f"{key} = {value!r}", cell.source, flags=re.MULTILINE)
        assert n == 1
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return notebook


def test_a_notebook_runs_in_plain_jupyter_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DCGMM_TRAIN", "never")
    monkeypatch.setenv("DCGMM_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # a user has not set it
    cells = execute("01-tour", tmp_path, epochs=1).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert list((tmp_path / "results/paper/figures/01-tour-mnist").glob("*.png"))


SMALL = "F(14,14,14,14) G(16) F(2,2,1,1) G(9)"
CHANGED = {"01-tour": {"architecture": SMALL, "epochs": 1}}
if os.environ.get("DCGMM_LONG"):  # every notebook that asks for an architecture by name
    CHANGED |= {
        "06-top-s": {"instance": SMALL},
        "07-sharpening": {"instance": SMALL, "steps": [0, 1, 10]},
        "08-conditional": {"instance": f"{SMALL} C(10)"},
        "10-variants": {"instances": [SMALL, "F(7,7,7,7) G(9) P(2,2) F(2,2,1,1) G(16)"]},
    }


@pytest.mark.parametrize("name", CHANGED)
def test_a_notebook_trains_a_changed_architecture_where_no_model_is_at_hand(name, tmp_path, monkeypatch):
    monkeypatch.delenv("DCGMM_TRAIN", raising=False)
    monkeypatch.delenv("DCGMM_RESULTS", raising=False)
    quick = yaml.safe_load((ROOT / "params.yaml").read_text())["quick"] | {"epochs": 1, "measured": 5}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"quick": quick}))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    execute(name, tmp_path, scale="quick", **CHANGED[name])
    n_trainings = {"06-top-s": 2, "07-sharpening": 3, "10-variants": 2}.get(name, 1)  # they compare others
    assert len(list((tmp_path / "results/store").glob("*.keras"))) == n_trainings
    # The results of a notebook that a reader runs by hand go to a folder that git ignores.
    assert list((tmp_path / f"results/own/quick/figures/{name}-mnist").glob("*.png"))
    assert not (tmp_path / "results/quick").exists()


def declare(folder, train, test, shape):
    """Make a project with a data set `own`: images with one pattern for each class, and labels of both parts."""
    rng, arrays = np.random.default_rng(0), {}
    patterns = rng.integers(0, 200, (10, *shape))
    for part, labels in (("train", train), ("test", test)):
        arrays[f"y_{part}"] = y = np.sort(labels)
        arrays[f"x_{part}"] = (patterns[y] + rng.integers(0, 56, (len(y), *shape))).astype("uint8")
    np.savez(folder / "own.npz", **arrays)
    quick = yaml.safe_load((ROOT / "params.yaml").read_text())["quick"] | {"epochs": 1, "images": 60, "ablations": []}
    (folder / "params.yaml").write_text(yaml.safe_dump({"datasets": {"own": {"npz": "own.npz"}}, "quick": quick}))
    shutil.copy(ROOT / "dvc.yaml", folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, n_classes, n_more, shape, figures",
    [("03-outliers", 2, 2, (10, 12, 3), 2), ("02-interpretability", 3, 0, (8, 8, 13), 3)],
)
def test_a_notebook_runs_on_few_images_of_other_classes_sizes_and_channels(
    name, n_classes, n_more, shape, figures, tmp_path, monkeypatch
):
    monkeypatch.delenv("DCGMM_TRAIN", raising=False)
    monkeypatch.delenv("DCGMM_RESULTS", raising=False)
    declare(tmp_path, np.arange(60) % n_classes, np.arange(24) % (n_classes + n_more), shape)
    execute(name, tmp_path, dataset="own", scale="quick")
    folder = tmp_path / f"results/own/quick/figures/{name}-own"
    assert len(list(folder.glob("*.png"))) == figures
    captions = [path.read_text() for path in folder.glob("*.md")]
    assert any("bands: 1, 7 and 13" in text for text in captions) == (shape[-1] == 13)
    assert not any("1L" in text or "2L-" in text for text in captions)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, changed, sentence",
    [
        ("03-outliers", {}, "needs test images of classes that are not trained on"),
        ("12-baselines", {}, "made for images of 28×28 pixels"),
        ("10-variants", {"values_of_s": "[1, 2]"}, "a text; on papermill's command line"),
    ],
)
def test_a_notebook_says_in_one_sentence_what_it_needs_before_it_trains(name, changed, sentence, tmp_path, monkeypatch):
    monkeypatch.delenv("DCGMM_RESULTS", raising=False)
    declare(tmp_path, np.zeros(20, int), np.zeros(10, int), (10, 12, 1))
    with pytest.raises(CellExecutionError) as stop:
        execute(name, tmp_path, dataset="own", scale="quick", **changed)
    assert sentence in stop.value.evalue
    assert not (tmp_path / "results/store").exists()
