"""Grids and the pipeline end with the same bytes, whatever is killed on the way: here, and on a Dask cluster."""

import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import yaml

from dcgmm import datasets
from dcgmm.experiments import dask_workers

ROOT = Path(__file__).parents[2]
SIZES = {"train": 3000, "test": 300}
SMALL = "F(8,8,1,1) G(4)"
# A shell's background jobs ignore Ctrl-C, and the processes that they start would inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)
MOMENTS = random.Random(0)
LONG = bool(os.environ.get("DCGMM_LONG"))
ANY_MOMENT = 10 * [signal.SIGKILL, signal.SIGINT, signal.SIGTERM] if LONG else []
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["quick"]
CALLS = """
import os, pathlib, signal

def square(x, report):
    report(f" {x}")
    print("noise")
    return x * x

def fail(report):
    raise ValueError("no such thing")

def die(path, report):
    with open(path, "a") as file:
        print("died", file=file)
    os.kill(os.getpid(), signal.SIGKILL)

def die_once(path, report):
    if not pathlib.Path(path).exists():
        die(path, report)
    return "survived"

def threads(report):
    import numpy
    from threadpoolctl import threadpool_info
    return [pool["num_threads"] for pool in threadpool_info()]
"""


NOTEBOOK = """
import matplotlib.pyplot as plt
from dcgmm import experiments
from dcgmm.experiments import plotting
report = experiments.Report("small", dataset, scale, 0)
numbers = report.save_table(experiments.repetitions(architecture, dataset, scale=scale), "numbers")
model = experiments.trained(architecture, dataset, scale=scale)
figure, ax = plt.subplots()
plotting.image_grid(ax, model.sample(9, seed=0), 3)
plotting.publish(figure, report, "samples", "Nine samples.", alt="A grid of images.")
print(numbers.round(2).to_string())
"""


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def memory(process):
    """Return a process's memory in MB, 0 if it has ended."""
    try:
        return process.memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return 0


def children(process):
    """Return the workers of a process; multiprocessing starts them by `spawn_main`."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if memory(child) and any("spawn_main" in word for word in child.cmdline())]


def training(process, n=1):
    """Wait until n children of a process have loaded TensorFlow, and a little longer, and return all of them."""
    wait_for(lambda: len([child for child in children(process) if memory(child) > 300]) >= n)
    time.sleep(1)
    return children(process)


def test_calls_come_back_whatever_happens_to_others(tmp_path, monkeypatch):
    (tmp_path / "calls.py").write_text(CALLS)
    monkeypatch.syspath_prepend(tmp_path)
    # Workers import the module of the function that they are to call.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    import calls

    kept, reported, environment = {}, [], dict(os.environ)
    monkeypatch.setattr(dask_workers.tqdm, "set_postfix_str", lambda self, text: reported.append(text))
    failed = dask_workers.run(calls.square, {"a": ((3,), 1), "b": ((4,), 1)}, kept.__setitem__, workers=1)
    assert (kept, failed) == ({"a": 9, "b": 16}, {})
    assert any("a 3" in text for text in reported)
    failed = dask_workers.run(calls.fail, {"c": ((), 1)}, kept.__setitem__, workers=1)
    assert str(failed["c"]) == "no such thing" and isinstance(failed["c"], ValueError)
    dask_workers.run(calls.threads, {"one": ((), 1), "two": ((), 2)}, kept.__setitem__, workers=1)
    assert set(kept["one"]) == {1} and set(kept["two"]) == {2}
    assert dict(os.environ) == environment

    once, always = tmp_path / "once", tmp_path / "always"
    assert not dask_workers.run(calls.die_once, {"d": ((str(once),), 1)}, kept.__setitem__, workers=1)
    assert kept["d"] == "survived"
    failed = dask_workers.run(calls.die, {"e": ((str(always),), 1)}, kept.__setitem__, workers=1)
    assert list(failed) == ["e"] and "e" not in kept
    assert always.read_text().count("died") == dask_workers.ATTEMPTS


@pytest.mark.slow
def test_workers_on_this_machine_cannot_be_reached_from_another():
    with dask_workers.local_client(1):
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        found = [socket.laddr.ip for process in processes for socket in listening(process)]
    assert found and {*found} == {"127.0.0.1"}


def listening(process):
    return [found for found in process.net_connections("inet") if found.status == psutil.CONN_LISTEN]


def test_a_scheduler_without_workers_is_named_until_it_has_one(tmp_path, monkeypatch, capsys):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "calls.py").write_text(CALLS, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(dask_workers, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(dask_workers, "NEXT_WAIT", 0.1)
    calls, kept, told = __import__("calls"), {}, []
    monkeypatch.setattr(dask_workers.tqdm, "write", lambda self, text, file: told.append(text))
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        arguments = calls.square, {"a": ((3,), 1)}, kept.__setitem__, None, address
        runner = threading.Thread(target=dask_workers.run, args=arguments)
        runner.start()
        wait_for(lambda: len(told) > 1)
        assert told[0].startswith(f"waiting for workers at {address}: there are none.")
        cluster.scale(1)
        runner.join(120)
    assert kept == {"a": 9}
    with pytest.raises(ConnectionError, match="no Dask scheduler answers at 'nonsense'"):
        dask_workers.run(calls.square, {"a": ((3,), 1)}, kept.__setitem__, scheduler="nonsense")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    arrays = {f"x_{part}": rng.random((n, 8, 8), "float32") for part, n in SIZES.items()}
    labels = {f"y_{part}": rng.integers(0, 5, n) for part, n in SIZES.items()}
    np.savez(folder / "mine.npz", **arrays, **labels)
    shutil.copy(ROOT / "dvc.yaml", folder)
    set_params(folder, [SMALL])
    return folder


def set_params(folder, architectures, epochs=40, repetitions=3):
    asked = {"architectures": architectures, "ablations": [], "epochs": epochs, "repetitions": repetitions}
    block = {**PARAMS, **asked}
    blocks = {"quick": block, "datasets": {"mine": {"npz": "mine.npz"}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(blocks), "utf-8")


def start(folder, *arguments):
    command = [sys.executable, "-m", "dcgmm.experiments", "grid", "--dataset=mine", "--classes=all", *arguments]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DASK_SCHEDULER_ADDRESS", "DCGMM_RESULTS")
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes)


def finish(process, code=0):
    """Return what a process prints until it ends, and hold it to its exit code."""
    output, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return output + errors


def stored(folder):
    return {path.name: path.read_bytes() for path in (folder / "results" / "store").glob("*.keras")}


@pytest.fixture(scope="module")
def undisturbed(project):
    """The content of the store after one training at a time; tests compare with it."""
    assert "3 trainings, of which 0 are done" in finish(start(project, "--workers=1"))
    expected = stored(project)
    assert len(expected) == 3
    return expected


@pytest.mark.promise("fault", "a training of a grid fails")
def test_a_failed_training_stops_no_other_and_is_named(project, undisturbed):
    next(iter((project / "results" / "store").iterdir())).unlink()
    set_params(project, ["F(9,9,1,1) G(4)", SMALL])
    try:
        output = finish(start(project), code=1)
    finally:
        set_params(project, [SMALL])
    assert "6 trainings, of which 2 are done" in output
    assert "3 of 4 trainings failed" in output
    assert "F-9-9-1-1-G-4 mine all #0: ValueError" in output
    assert stored(project) == undisturbed


@pytest.fixture
def empty(project, undisturbed):
    shutil.rmtree(project / "results")
    return project


def end(process, how):
    """End a grid, and check that none of its processes goes on."""
    orphans = children(process) if process.poll() is None else []
    process.send_signal(how)
    try:
        code = process.wait(timeout=20)
    finally:
        process.kill()  # else the next test takes its children for those of its own grid
    wait_for(lambda: not any(memory(orphan) for orphan in orphans), seconds=20)
    process.communicate()
    return code


def end_at_any_moment(folder, how):
    """Start a grid, from an empty store if all is done, and end it at some moment; perhaps kill a child first."""
    if len(stored(folder)) == 3:
        shutil.rmtree(folder / "results")
    process = start(folder, "--workers=2")
    time.sleep(MOMENTS.uniform(0, 20))
    if process.poll() is None and MOMENTS.random() < 0.5 and (found := children(process)):
        MOMENTS.choice(found).kill()
    end(process, how)


def test_killed_and_interrupted_grids_go_on_to_the_same_bytes(empty, undisturbed, record_property):
    process = start(empty, "--workers=2")
    training(process)[0].kill()
    wait_for(lambda: stored(empty))
    assert end(process, signal.SIGKILL) == -signal.SIGKILL
    finished = stored(empty)
    assert finished.items() <= undisturbed.items()
    assert f"3 trainings, of which {len(finished)} are done" in finish(start(empty))
    assert stored(empty) == undisturbed

    shutil.rmtree(empty / "results")  # with all three to do, the grid cannot end before the signal
    process = start(empty, "--workers=2")
    training(process)
    assert end(process, signal.SIGINT) == 130
    for how in ANY_MOMENT:
        end_at_any_moment(empty, how)
        assert stored(empty).items() <= undisturbed.items()
    assert f"3 trainings, of which {len(stored(empty))} are done" in finish(start(empty))
    assert stored(empty) == undisturbed
    record_property("promise", ("fault", "Ctrl-C during a grid", 1 + ANY_MOMENT.count(signal.SIGINT)))
    for how, n in ((signal.SIGKILL, 2), (signal.SIGTERM, 0)):
        record_property("promise", ("kill", f"a grid or its worker, by {how.name}", n + ANY_MOMENT.count(how)))


@pytest.mark.promise("kill", "a worker of a Dask cluster")
def test_a_dask_cluster_gives_the_same_bytes_and_a_lost_worker_costs_its_training_only(empty, undisturbed):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        process = start(empty, f"--scheduler={cluster.scheduler_address}")
        lost, other = training(psutil.Process(), 2)
        lost.kill()
        wait_for(lambda: not memory(lost), seconds=20)
        output = finish(process)
        assert memory(other), "the other worker's process went on"
    assert output.count("done: F-8-8-1-1-G-4 mine all") == 3
    assert stored(empty) == undisturbed


@contextmanager
def running(command, log):
    """Run one of the guide's commands, which ends with the test."""
    words = [sys.executable, "-m", "distributed.cli.dask_" + command[1], *command[2:]]
    with log.open("w") as file, subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """The guide's cluster with TLS, on this machine: its address, its certificates and the log of its scheduler."""
    guide = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    texts = [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n)+", guide, re.MULTILINE)]
    make = next(text for text in texts if "openssl" in text).replace("/shared/tls", f"{tmp_path}/tls")
    subprocess.run(["sh", "-e", "-c", make], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    address = f"tls://127.0.0.1:{port}"
    lines = (
        next(text for text in texts if "--protocol tls" in text).replace("tls://machine-1:8786", address).splitlines()
    )
    scheduler, worker = (shlex.split(line, comments=True) for line in lines if line.startswith("dask "))
    worker[worker.index("--nworkers") + 1] = "1"
    with monkeypatch.context() as patch:
        patch.setenv("DASK_CONFIG", str(tmp_path / "tls" / "dask.yaml"))
        logs = tmp_path / "scheduler", tmp_path / "worker"
        with running([*scheduler, "--host", "127.0.0.1", "--port", str(port)], logs[0]), running(worker, logs[1]):
            wait_for(lambda: "Registered to" in logs[1].read_text("utf-8"))
            yield address, tmp_path / "tls"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
@pytest.mark.promise("bad input", "a client of a Dask scheduler that has no certificate, or a foreign one", 3)
def test_a_cluster_with_tls_trains_and_refuses_who_has_no_certificate(empty, undisturbed, tls, tmp_path, monkeypatch):
    address, folder = tls
    assert folder.stat().st_mode & 0o077 == 0
    foreign = tmp_path / "foreign.pem", tmp_path / "foreign-key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=authority",
         "-out", foreign[0], "-keyout", foreign[1]], check=True, capture_output=True,
    )  # fmt: skip
    client = {"cert": str(foreign[0]), "key": str(foreign[1])}
    certificates = {"distributed": {"comm": {"tls": {"ca-file": str(folder / "ca.pem"), "client": client}}}}
    (tmp_path / "foreign.yaml").write_text(yaml.safe_dump(certificates), "utf-8")
    strangers = []
    # A process for each, because Dask can hang in a process whose clients could not connect.
    for asked, config in [(address.replace("tls", "tcp"), "none"), (address, "none"), (address, "foreign.yaml")]:
        monkeypatch.setenv("DASK_CONFIG", str(tmp_path / config))
        strangers.append(start(empty, f"--scheduler={asked}"))
    for process in strangers:
        assert "no Dask scheduler answers at" in finish(process, code=1)
    assert not stored(empty)

    monkeypatch.setenv("DASK_CONFIG", str(folder / "dask.yaml"))
    (empty / "results" / "store").mkdir(parents=True, exist_ok=True)
    for name in list(undisturbed)[1:]:  # to make one training of three takes a third of the time
        (empty / "results" / "store" / name).write_bytes(undisturbed[name])
    assert "3 trainings, of which 2 are done" in finish(start(empty, f"--scheduler={address}"))
    assert stored(empty) == undisturbed


@pytest.fixture
def pipeline(project, tmp_path):
    """The stages of dvc.yaml on a small data set, with one instance and one notebook."""
    shutil.copy(project / "mine.npz", tmp_path)
    set_params(tmp_path, [SMALL], epochs=2, repetitions=2)
    shutil.copytree(ROOT / "dcgmm", tmp_path / "dcgmm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    shutil.copytree(ROOT / "docs" / "report", tmp_path / "docs" / "report")
    shutil.copy(ROOT / "docs" / "protocol.md", tmp_path / "docs")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text("utf-8") + "    no_scm = true\n")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    stages["train"]["foreach"] = {"mine-all": {"dataset": "mine", "classes": "all"}}
    stages["notebook"]["matrix"] = {"notebook": ["small"], "dataset": ["mine"]}
    del stages["baselines"]
    kinds = ("models", "repetitions", "baselines")
    of_paper = [f"results/quick/{kind}/{name}" for kind in kinds for name in datasets.DATASETS]
    elsewhere = ["results/bench.csv", *of_paper]
    own = [dependency for dependency in stages["notebook"]["deps"] if dependency not in elsewhere]
    stages["notebook"]["deps"] = [*own, "results/quick/models/mine"]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    parameters = nbformat.v4.new_code_cell(f'dataset = scale = ""\narchitecture = "{SMALL}"')
    parameters.metadata["tags"] = ["parameters"]
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(NOTEBOOK)])
    notebook.metadata = nbformat.read(ROOT / "notebooks" / "01-tour.ipynb", as_version=4).metadata
    nbformat.write(notebook, tmp_path / "notebooks" / "small.ipynb")
    return tmp_path


def repro(folder):
    environment = {name: value for name, value in os.environ.items() if name not in ("DCGMM_TRAIN", "DCGMM_RESULTS")}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    command = [sys.executable, "-m", "dvc", "--cd", folder, "repro"]
    environment |= {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)


def outputs(folder):
    files = [folder / "dvc.lock", *(folder / "results").rglob("*")]
    return {path.relative_to(folder): path.read_bytes() for path in files if path.is_file()}


def start_anew(folder):
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)


def set_up_make(folder):
    """Give a folder the Makefile, and this environment in place of the one that make sets up."""
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "dvc"):
        program = f'#!/bin/sh\nexec "{Path(sys.executable).parent / name}" "$@"\n'
        (programs / name).write_text(program, "utf-8")
        (programs / name).chmod(0o755)
    (folder / ".venv" / ".ready").write_text(f"{folder}\n", "utf-8")


def make_figures(folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DCGMM_TRAIN", "MAKE"))}
    environment.pop("DCGMM_RESULTS", None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(["make", "figures"], cwd=folder, env=environment, start_new_session=True, **pipes)


def test_a_pipeline_stopped_at_random_moments_completes_with_the_bytes_of_an_undisturbed_one(pipeline, record_property):
    began = time.monotonic()
    process = repro(pipeline)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    seconds = time.monotonic() - began
    expected = outputs(pipeline)
    kinds = {path.parts[2] for path in expected if path.parts[:2] == ("results", "quick")}
    made = "code data models repetitions metrics history notebooks figures tables article README.md"
    assert kinds == set(made.split())

    start_anew(pipeline)
    counts = {signal.SIGKILL: 30 if LONG else 2, signal.SIGINT: 10 if LONG else 1}
    moments = [how for how, n in counts.items() for _ in range(n)]
    MOMENTS.shuffle(moments)
    while moments:
        process = repro(pipeline)
        time.sleep(MOMENTS.uniform(0, seconds / 2))
        if process.poll() is None:
            stop(process, moments.pop())
        else:
            output, _ = process.communicate()
            assert process.returncode == 0, output
            assert outputs(pipeline) == expected
            start_anew(pipeline)
    record_property("promise", ("bytes compared", "files of a stopped pipeline with undisturbed ones", len(expected)))
    record_property("promise", ("kill", "the pipeline, at a random moment", counts[signal.SIGKILL]))
    record_property("promise", ("fault", "Ctrl-C in the pipeline, at a random moment", counts[signal.SIGINT]))

    set_up_make(pipeline)
    start = make_figures if LONG else repro
    both = [start(pipeline) for _ in range(2)]
    ended = [(process.communicate(timeout=900)[0], process.returncode) for process in both]
    assert any(code == 0 for _, code in ended), ended
    assert all(code == 0 or "is busy" in output or "Unable to acquire lock" in output for output, code in ended), ended
    assert outputs(pipeline) == expected
    record_property("promise", ("fault", f"two `{'make figures' if LONG else 'dvc repro'}` at once", 1))


def stop(process, how):
    """Send a signal to a pipeline with all of its processes; after Ctrl-C, they must end by themselves."""
    own = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    os.killpg(process.pid, how)
    output, _ = process.communicate(timeout=60)
    if how == signal.SIGINT and process.returncode:  # else it had just ended
        assert re.search("KeyboardInterrupt|interrupted|failed to reproduce", output), output
    _, going_on = psutil.wait_procs(own, timeout=60)
    assert not going_on
