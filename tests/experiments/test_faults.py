"""Whatever the disk, the power or a kernel does: a clear message, nothing is lost, and the next run completes."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from dcgmm import DCGMM, datasets, experiments, files
from dcgmm.datasets import download
from dcgmm.experiments import (
    config,
    dask_workers,
    execute,
    fingerprint,
    on_demand,
    plotting,
    report,
    stages,
    store,
    train,
    verdicts,
)
from dcgmm.experiments.folders import NotWritable

ROOT = Path(__file__).parents[2]
LONG = bool(os.environ.get("DCGMM_LONG"))
RNG = np.random.default_rng(0)
# A shell's background jobs ignore Ctrl-C, and the processes that they start would inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)

# While there is a file `wait`, its kernel does not end.
NOTEBOOK = """
import os, pathlib, time
pathlib.Path("../kernel").write_text(str(os.getpid()))
while pathlib.Path("../wait").exists():
    time.sleep(0.05)
print("done")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, with one notebook, in which this process works."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    parameters = nbformat.v4.new_code_cell('dataset = ""\nscale = ""', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(NOTEBOOK)])
    notebook.metadata = nbformat.read(ROOT / "notebooks" / "01-tour.ipynb", as_version=4).metadata
    nbformat.write(notebook, folder / "notebooks" / "small.ipynb")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # the execution of a notebook changes it
    for name in ("DCGMM_RESULTS", "DVC_STAGE", "DCGMM_TRAIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(report, "code_version", lambda: "v0")
    config.root.cache_clear()
    yield folder
    config.root.cache_clear()


def a_report():
    return experiments.Report("small", "mnist", "quick", 0)


def publish():
    figure, ax = plt.subplots()
    ax.imshow(RNG.random((200, 200)))
    plotting.publish(figure, a_report(), "noise", "Noise.", alt="Noise.")


def train_and_store(monkeypatch, content=b"content"):
    """Store a repetition whose training is replaced by some bytes."""

    def run(function, calls, keep, *_, **__):
        failed = {}
        for name in calls:
            try:
                keep(name, content)
            except OSError as error:
                failed[name] = error
        return failed

    monkeypatch.setattr(dask_workers, "run", run)
    return on_demand.store_repetition(experiments.Training("1L", "mnist"))


def collect(monkeypatch):
    monkeypatch.setattr(store, "numbers", lambda training, i: {"dunn": 0.1})
    stages._collect_training(experiments.Training("1L", "mnist"))


def fetch(monkeypatch, folder):
    def source(work, wanted):
        (work / "images").write_bytes(b"images")
        yield work / "images"

    sha256 = hashlib.sha256(b"images").hexdigest()
    monkeypatch.setitem(datasets.DATASETS, "tiny", download._Dataset({"images": sha256}, (("a source", source),)))
    datasets.fetch("tiny", cache=folder)


def declare(monkeypatch, folder):
    monkeypatch.setattr(fingerprint, "EQUIVALENTS", folder / "equivalent_fingerprints.txt")
    fingerprint._groups.cache_clear()
    assert fingerprint.declare({"code": "0123"}, ["code"])
    fingerprint._groups.cache_clear()


WRITERS = {
    "a text": lambda _, folder: files.write(folder / "a.txt", "text"),
    "a model": lambda _, folder: DCGMM.from_spec("F(4,4,1,1) G(4)", (8, 8, 1)).save(folder / "a.keras"),
    "a figure": lambda *_: publish(),
    "a table": lambda *_: a_report().save_table(pd.DataFrame({"a": [1]}), "numbers"),
    "a verdict": lambda *_: verdicts.judge(a_report(), "C1", "Numbers."),
    "a finished repetition": lambda monkeypatch, _: train_and_store(monkeypatch),
    "collected numbers": lambda monkeypatch, _: collect(monkeypatch),
    "the cache of data": fetch,
    "an executed notebook": lambda *_: execute.execute("small", "mnist", "quick"),
    "the list of equal fingerprints": declare,
}


@pytest.fixture
def log(monkeypatch):
    """What this process puts on the disk, in its order: ("sync", inode, size) and ("rename", inode, size, path)."""
    events = []
    sync, rename = os.fsync, os.replace

    def logged_sync(descriptor):
        sync(descriptor)
        about = os.fstat(descriptor)
        events.append(("sync", about.st_ino, about.st_size))

    def logged_rename(source, target):
        about = os.stat(source)
        rename(source, target)
        events.append(("rename", about.st_ino, about.st_size, Path(target)))

    monkeypatch.setattr(os, "fsync", logged_sync)
    monkeypatch.setattr(os, "replace", logged_rename)
    return events


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(write, id=what, marks=pytest.mark.promise("fault", f"the power fails while {what} is written"))
        for what, write in WRITERS.items()
    ],
)
def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_writer_goes_on(
    write, project, log, monkeypatch
):
    folder = project / "results"
    folder.mkdir()
    monkeypatch.setenv("DCGMM_RESULTS", str(folder))
    write(monkeypatch, folder)
    renamed = set()
    for i, event in enumerate(log):
        if event[0] == "rename":
            _, inode, size, path = event
            assert ("sync", inode, size) in log[:i], f"{path} gets its name before its content is on the disk"
            synced = {inode for _, inode, *_ in log[i + 1 :]}
            assert path.parent.stat().st_ino in synced, f"the name {path} may be lost"
            renamed.add(path)
    assert renamed and renamed == {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.promise("fault", "the disk is full while a figure is written")
def test_a_full_disk_is_named_by_a_figure_and_keeps_the_earlier_one(project, full_disk, monkeypatch):
    monkeypatch.setenv("DCGMM_RESULTS", str(full_disk))
    figure = a_report().folder("figures") / "noise.pdf"  # the first file of a figure
    figure.write_bytes(b"before")
    with pytest.raises(OSError, match=f"nothing was changed: make room, or choose another folder: '{figure}'"):
        publish()
    assert figure.read_bytes() == b"before"
    assert not list(full_disk.rglob(".*")), "half of a figure"


@pytest.mark.promise("fault", "the disk is full while a finished training is stored")
def test_a_full_disk_is_named_by_a_training_and_the_next_run_completes(project, full_disk, monkeypatch):
    monkeypatch.setenv("DCGMM_RESULTS", str(full_disk))
    with pytest.raises(on_demand.TrainingsFailed, match=f"1 of 1 .*\n.*make room.*{full_disk}/store/") as failed:
        train_and_store(monkeypatch, RNG.bytes(10**5))
    assert not list((full_disk / "store").iterdir()), failed
    assert train_and_store(monkeypatch).exists()


TRAINING = experiments.Training("1L", "mnist")


def write_repetition(path):
    """Write the file of a repetition, with a model that was never trained, and return its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    DCGMM.from_spec("1L", (28, 28, 1)).save(path)
    notes = {"record": TRAINING.record(), "versions": train.versions_here(), "metrics": {"dunn": 0.1}, "history": {}}
    train.add_notes(path, notes)
    return path.read_bytes()


def flip_a_byte(path, member):
    with zipfile.ZipFile(path) as archive:
        about = archive.getinfo(member)
    content = bytearray(path.read_bytes())
    content[about.header_offset + 30 + len(member) + about.compress_size // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "is cut": lambda path: os.truncate(path, 1000),
    "is empty": lambda path: os.truncate(path, 0),
    "has a changed byte among its weights": lambda path: flip_a_byte(path, "model.weights.h5"),
    "has a changed byte among its numbers": lambda path: flip_a_byte(path, "metrics.json"),
}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, id=how, marks=pytest.mark.promise("fault", f"a file of the store {how}"))
        for how, damage in DAMAGES.items()
    ],
)
def test_a_damaged_file_of_the_store_is_named_and_trained_again(damage, project, monkeypatch):
    path = store.place(TRAINING.record())
    content = write_repetition(path)
    assert store.find(TRAINING, 0) == path
    damage(path)
    with pytest.warns(UserWarning, match=f"{path} is damaged and is not used"):
        assert store.find(TRAINING, 0) is None
    with pytest.warns(UserWarning, match=f"{path} is damaged and is not used"):
        train_and_store(monkeypatch, content)
    assert store.find(TRAINING, 0) == path and path.read_bytes() == content


@pytest.mark.promise("fault", "a committed model has a changed byte, and the store has the intact one")
def test_a_damaged_collected_model_is_named_and_the_store_is_used(project):
    collected, stored = TRAINING.collected("models"), store.place(TRAINING.record())
    for path in (collected, stored):
        write_repetition(path)
    flip_a_byte(collected, "model.weights.h5")
    with pytest.warns(UserWarning, match=f"{collected} is damaged and is not used"):
        assert store.find(TRAINING, 0) == stored


@pytest.mark.promise("fault", "a folder has the name of a file of the store")
def test_a_folder_in_place_of_a_file_of_the_store_is_named(project, monkeypatch):
    path = store.place(TRAINING.record())
    path.mkdir(parents=True)
    with (
        pytest.warns(UserWarning, match=f"{path} is damaged"),
        pytest.raises(on_demand.TrainingsFailed, match=f"{path}"),
    ):
        train_and_store(monkeypatch)


@pytest.mark.promise("fault", "a file of the store has weights that are not finite")
def test_weights_that_are_not_finite_are_never_used(project):
    path = store.place(TRAINING.record())
    write_repetition(path)
    model = experiments.trained("1L", "mnist")
    weights = model.gmm_layers[0].get_weights()
    weights[0].flat[0] = np.nan
    model.gmm_layers[0].set_weights(weights)
    notes = {name: store.read(path, name) for name in ("record", "versions", "metrics", "history")}
    model.save(path)
    train.add_notes(path, notes)
    with pytest.raises(ValueError, match=f"{path} is damaged: it has weights that are not finite; delete it, and"):
        experiments.trained("1L", "mnist")


@pytest.mark.promise("fault", "the results are read-only")
def test_read_only_results_are_named_before_the_training(project, make_read_only, monkeypatch):
    folder = project / "sealed"
    for kind in ("store", "quick"):
        (folder / kind).mkdir(parents=True)
    make_read_only(folder)
    monkeypatch.setenv("DCGMM_RESULTS", str(folder))
    monkeypatch.setattr(dask_workers, "run", lambda *_, **__: pytest.fail("it trained"))
    for attempt in (
        lambda: on_demand.store_repetition(experiments.Training("1L", "mnist")),
        lambda: stages.collect("mnist", "all", "quick"),
        lambda: stages.fetch_data("quick"),
        a_report,
    ):
        with pytest.raises(NotWritable, match=f"cannot be written to {folder}.*DCGMM_RESULTS to a folder of your own"):
            attempt()
    with pytest.raises(SystemExit, match=f"cannot be written to {folder}.*DCGMM_RESULTS to a folder of your own"):
        execute.execute("small", "mnist", "quick")


def start_execution():
    command = [sys.executable, "-P", ROOT / "dcgmm" / "experiments" / "execute.py", "small", "--dataset=mnist"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=os.environ, start_new_session=True, **pipes)


def kernel(project, seconds=120):
    """Return the process of the notebook's kernel, once it executes the notebook."""
    end = time.monotonic() + seconds
    while not ((file := project / "kernel").exists() and file.read_text()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    found = psutil.Process(int(file.read_text()))
    file.unlink()
    return found


@pytest.fixture
def executed(project):
    """The path of an executed notebook, and its content. The next execution waits."""
    path = execute.execute("small", "mnist", "quick")
    (project / "kernel").unlink()
    (project / "wait").touch()
    return path, path.read_bytes()


def completes(project, executed):
    (project / "wait").unlink()
    path, content = executed
    path.unlink()
    output, _ = start_execution().communicate(timeout=120)
    assert path.read_bytes() == content, output
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.promise("fault", "a notebook's kernel is killed")
def test_a_killed_kernel_is_named_and_the_next_execution_completes(project, executed):
    path, content = executed
    process = start_execution()
    kernel(project).kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the kernel of small on mnist died, perhaps for lack of memory: run the same command again" in output
    assert "Traceback" not in output
    assert path.read_bytes() == content
    completes(project, executed)


@pytest.mark.slow
def test_ctrl_c_stops_an_execution_and_its_kernel_and_the_next_one_completes(project, executed, record_property):
    path, content = executed
    moments = random.Random(0)
    counted = 10 if LONG else 2
    for i in range(counted):
        process = start_execution()
        if i % 2:  # before the kernel, or while it starts
            time.sleep(moments.uniform(0.3, 3))
            own = psutil.Process(process.pid).children(recursive=True)
        else:  # while it executes
            own = [kernel(project)]
            time.sleep(moments.uniform(0, 1))
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 130, output
        assert output.endswith("stopped; the same command begins anew\n") and "Traceback" not in output
        _, going_on = psutil.wait_procs(own, timeout=20)
        assert not going_on
        assert path.read_bytes() == content
        (project / "kernel").unlink(missing_ok=True)
    record_property("promise", ("fault", "Ctrl-C while a notebook is executed", counted))
    completes(project, executed)
