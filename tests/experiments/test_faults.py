"""Whatever the disk, the power or a kernel does: a clear message, nothing is lost, and the next run completes."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
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


def train_and_store(monkeypatch, size=100):
    """Store a repetition whose training is replaced by some bytes."""

    def run(function, calls, keep, *_, **__):
        failed = {}
        for name in calls:
            try:
                keep(name, RNG.bytes(size))
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
    "a verdict": lambda *_: report.judge(a_report(), "C1", [True], "Numbers."),
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
    figure = a_report().folder("figures") / "noise.png"
    figure.write_bytes(b"before")
    with pytest.raises(OSError, match=f"nothing was changed: make room, or choose another folder: '{figure}'"):
        publish()
    assert figure.read_bytes() == b"before"
    assert not list(full_disk.rglob(".*")), "half of a figure"


@pytest.mark.promise("fault", "the disk is full while a finished training is stored")
def test_a_full_disk_is_named_by_a_training_and_the_next_run_completes(project, full_disk, monkeypatch):
    monkeypatch.setenv("DCGMM_RESULTS", str(full_disk))
    with pytest.raises(on_demand.TrainingsFailed, match=f"1 of 1 .*\n.*make room.*{full_disk}/store/") as failed:
        train_and_store(monkeypatch, size=10**5)
    assert not list((full_disk / "store").iterdir()), failed
    assert train_and_store(monkeypatch).exists()


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
