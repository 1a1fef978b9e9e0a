"""Where processes read and write: the same folder everywhere, tested before anything is trained."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bad_input
import nbformat
import pandas as pd
import pytest
import yaml

from dcgmm import experiments
from dcgmm.experiments import config, dask_workers, execute, folders, memory, on_demand, own_run, report, stages, store
from dcgmm.experiments.on_demand import TrainingsFailed

ROOT = Path(__file__).parents[2]
QUICK = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["quick"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, in which this process works."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    block = {**QUICK, "architectures": ["2L-b", "1L"], "ablations": []}
    (folder / "params.yaml").write_text(yaml.safe_dump({"quick": block}), "utf-8")
    monkeypatch.chdir(folder)
    for name in ("DCGMM_RESULTS", "DCGMM_DATA", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    config.root.cache_clear()
    yield folder
    config.root.cache_clear()


def test_relative_folders_count_from_the_project_in_stage_and_notebook_alike(project, monkeypatch):
    monkeypatch.setenv("DCGMM_RESULTS", "out")
    monkeypatch.setenv("DCGMM_DATA", "data")
    training = experiments.Training("1L", "mnist")
    seen = set()
    for place in (project, project / "notebooks"):
        monkeypatch.chdir(place)
        config.root.cache_clear()
        seen |= {(folders.results("quick"), store.folder(), training.collected("models").parents[3])}
    assert seen == {(project / "out" / "quick", project / "out" / "store", project / "out" / "quick")}
    folders.make_absolute()  # as an import within notebooks/ does
    assert os.environ["DCGMM_DATA"] == str(project / "data")


def test_a_kernel_gets_absolute_folders_and_the_code_of_its_checkout(project, monkeypatch):
    monkeypatch.setattr(os, "environ", {"DCGMM_DATA": "data", "PYTHONPATH": "elsewhere"})
    assert execute.prepare_environment(project, project / "results") == project / "results"
    assert os.environ["DCGMM_DATA"] == str(project / "data")
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(ROOT), "elsewhere"])
    monkeypatch.setattr(os, "environ", {"DCGMM_RESULTS": "out"})
    assert execute.prepare_environment(project, project / "results") == project / "out"
    # DVC looks for outputs in the project only; own results do not move the store.
    monkeypatch.setattr(os, "environ", {"DCGMM_RESULTS": "out", "DVC_STAGE": "notebook"})
    assert execute.prepare_environment(project, project / "results") == project / "results"
    monkeypatch.setattr(os, "environ", {})
    assert execute.prepare_environment(project, None) == project / "results" / "own"
    assert "DCGMM_RESULTS" not in os.environ


@bad_input.choices(2)
def test_execute_reads_the_words_of_dvc_and_of_people(project, capsys):
    (project / "notebooks" / "small.ipynb").write_text("", "utf-8")
    expected = {"name": "small", "dataset": "a;b", "scale": "quick", "parameters": {"n": 1}, "own": False}
    for name in (["small"], ["--notebook", "small"]):
        assert execute.arguments([*name, "--dataset", "a;b", "--parameters", '{"n": 1}']) == expected
    for wrong in (["smal"], []):
        with pytest.raises(SystemExit):
            execute.arguments([*wrong, "--dataset=mnist"])
        assert "notebooks has small" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_found_before_the_training(project, monkeypatch):
    (project / "file").write_text("", "utf-8")
    monkeypatch.setenv("DCGMM_RESULTS", str(project / "file" / "below"))
    monkeypatch.setattr(on_demand, "train_record", lambda *_: pytest.fail("it trained"))
    for attempt in (
        lambda: on_demand.store_repetition(experiments.Training("1L", "mnist")),
        lambda: stages.collect("mnist", "all", "quick"),
        lambda: experiments.Report("01-tour", "mnist", "quick", 0),
    ):
        with pytest.raises(folders.NotWritable, match="file/below.*set the environment variable DCGMM_RESULTS"):
            attempt()


def test_what_the_project_has_is_read_where_results_are_moved(project, monkeypatch):
    training = experiments.Training("1L", "mnist")
    place, collected = store.place(training.record()), training.collected("models")
    monkeypatch.setattr(store, "matches", lambda path, record: path.exists())
    monkeypatch.setattr(store, "evaluated", lambda path, training: True)
    monkeypatch.setenv("DCGMM_RESULTS", str(project / "moved"))
    assert store.find(training, 0) is None
    for path in (place, collected):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        assert store.find(training, 0) == path
        path.unlink()


def test_a_failed_training_and_stray_files_leave_the_others_collected(project, monkeypatch):
    def fail(trainings):
        raise TrainingsFailed("1 of 2 trainings failed")

    def numbers(training, i):
        return {"dunn": 0.1} if training.architecture == "1L" else None

    monkeypatch.setattr(stages, "fill_store", fail)
    monkeypatch.setattr(store, "numbers", numbers)
    tables = project / "results" / "quick" / "repetitions" / "mnist" / "all"
    (tables / ".ipynb_checkpoints").mkdir(parents=True)
    for name in ("notes.csv", "2L-b.txt", ".DS_Store", "3L-a.csv", "F-8-8-1-1-G-4.csv"):
        (tables / name).write_text("", "utf-8")
    with pytest.raises(TrainingsFailed):
        stages.collect("mnist", "all", "quick")
    assert pd.read_csv(tables / "1L.csv").dunn.tolist() == [0.1]
    monkeypatch.setattr(stages, "fill_store", lambda trainings: None)
    stages.collect("mnist", "all", "quick")
    kept = {path.name for path in tables.iterdir()}
    assert kept == {"1L.csv", "provenance.json", ".ipynb_checkpoints", "notes.csv", "2L-b.txt", ".DS_Store"}


def test_a_notebook_refuses_the_code_of_another_checkout(project):
    (project / "dcgmm").mkdir()
    (project / "dcgmm" / "__init__.py").write_text("", "utf-8")
    with pytest.raises(folders.OtherCheckout, match=f"PYTHONPATH={project}"):
        experiments.Report("01-tour", "mnist", "quick", 0)


def test_captions_call_the_version_unknown_where_git_refuses(project, monkeypatch, capsys):
    report.code_version.cache_clear()
    try:
        assert report.code_version() == "v0.1.0"
        subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        report.code_version.cache_clear()
        assert report.code_version() == "of unknown version"
        assert "safe.directory" in capsys.readouterr().err
    finally:
        report.code_version.cache_clear()


def control_groups(tmp_path, monkeypatch, line, files):
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUP", tmp_path / "own")
    (tmp_path / "own").write_text(line + "\n", "utf-8")
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", "utf-8")


GIB = 2**30
CONTAINERS = {
    "version 2, at the top": ("0::/", "memory.max", "memory.current", "memory.stat", "inactive_file"),
    "version 2, around this one": ("0::/a/b", "a/memory.max", "a/memory.current", "a/memory.stat", "inactive_file"),
    "version 1": ("5:cpu,memory:/a", "memory/a/memory.limit_in_bytes", "memory/a/memory.usage_in_bytes",
                  "memory/a/memory.stat", "total_inactive_file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_memory_of_a_container_counts_without_its_cache(kind, tmp_path, monkeypatch):
    line, limit, use, statistics, cache = CONTAINERS[kind]
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 23 * GIB}))
    files = {limit: 3 * GIB, use: 2 * GIB, statistics: f"anon 5\n{cache} {GIB}"}
    control_groups(tmp_path, monkeypatch, line, files)
    monkeypatch.setattr(dask_workers, "CPU_COUNT", 8)
    monkeypatch.setattr(dask_workers, "MEMORY_LIMIT", 23 * GIB)
    assert memory.free_bytes() == 2 * GIB
    assert [dask_workers.workers_that_fit(1, n * GIB) for n in (1, 2, 3)] == [2, 1, 1]
    control_groups(tmp_path, monkeypatch, line, {**files, limit: "max"})
    assert memory.free_bytes() == 23 * GIB
    assert [dask_workers.workers_that_fit(1, n * GIB) for n in (1, 10, 30)] == [8, 2, 1]


PARAMETERS = ["dataset", "scale", "seed", "instances", "known", "n_samples"]


def test_choices_become_parameters_that_the_notebook_has():
    asked = own_run.chosen(PARAMETERS, "F(4,4,2,2) G(25)", "0-1", "n_samples=50 seed='[1, 2]'")
    assert asked == {"n_samples": 50, "seed": [1, 2], "instances": ["F(4,4,2,2) G(25)"], "known": "0-1"}
    inert = own_run.chosen(PARAMETERS, parameters="""n_samples='"$(touch x); `touch x`"'""")
    assert inert == {"n_samples": "$(touch x); `touch x`"}


@bad_input.choices()
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": "n_sample=5"}, "unknown parameter 'n_sample'; known: .*did you mean `n_samples`"),
        ({"parameters": "n_samples"}, "expected name=value"),
        ({"parameters": "n_samples='"}, "No closing quotation"),
        ({"parameters": "n_samples=[1"}, "the value of n_samples, line 1"),
        ({"architecture": "1L", "names": ["dataset", "scale"]}, "no parameter for an architecture"),
        ({"classes": "0", "names": ["dataset", "scale"]}, "no parameter for classes"),
    ],
)
def test_choices_that_a_notebook_does_not_have_are_refused(arguments, message):
    with pytest.raises(own_run.NotRunnable, match=message):
        own_run.chosen(**{"names": PARAMETERS, **arguments})


@bad_input.choices()
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"dataset": "mnsit"}, "unknown data set 'mnsit'; known: mnist, fashion_mnist; did you mean `mnist`"),
        ({"notebook": "../small"}, r"unknown notebook '\.\./small'; known: small"),
        ({"architecture": "F(29,29,1,1) G(4)"}, "does not fit images"),
        ({"classes": "8-12"}, r"mnist has no classes \[10, 11, 12\]; it has 0-9"),
        ({"classes": "four"}, "cannot read the classes 'four'"),
    ],
)
def test_a_run_that_cannot_be_is_refused_at_once(project, monkeypatch, choice, message):
    cell = nbformat.v4.new_code_cell("dataset = scale = instance = known = None", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), project / "notebooks" / "small.ipynb")
    monkeypatch.setattr(own_run, "execute", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(own_run.NotRunnable, match=message):
        own_run.run(**{"notebook": "small", "dataset": "mnist", "scale": "quick", **choice})


def test_make_experiment_passes_any_text_as_it_is(tmp_path):
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\nprintf "%s\\n" "$@"\n', "utf-8")
    python.chmod(0o755)
    (tmp_path / ".venv" / ".ready").write_text(f"{tmp_path}\n", "utf-8")
    text = """it's "x"; $(shell touch made) `touch made` $HOME & $$"""
    # As a user's shell has it, without what `make test` around this test adds.
    own = ("DATASET", "SCALE", "MAKE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    run = subprocess.run(
        ["make", "experiment", f"DATASET={text}", f"PARAMS={text}", "NOTEBOOK=01-tour"],
        cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert run.stdout.splitlines()[:3] == ["-m", "dcgmm.experiments", "notebook"]
    assert f"--dataset={text}" in run.stdout.splitlines() and f"--parameters={text}" in run.stdout.splitlines()
    assert "--scale=quick" in run.stdout.splitlines()
    assert not (tmp_path / "made").exists()
