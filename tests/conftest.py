import fcntl
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in dcgmm/__init__.py, which some tests import after TensorFlow

# Few and repeatable examples by default, many in the long tests.
settings.register_profile("short", max_examples=20, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=500, deadline=None)
settings.load_profile("long" if os.environ.get("DCGMM_LONG") else "short")

# In CI, tests may be skipped only for these reasons.
ACCEPTED_SKIPS = ["nbgrader is not installed"]
ACCEPTED_SKIPS += [] if shutil.which("chromedriver") else ["no Chromium with chromedriver"]


# What a test shows stands in its marker `promise`, or, if the test counts itself, in its property of that name:
# (kind, what, count). `make test-long` collects this for the page "What is promised".
KINDS = ("fault", "bad input", "kill", "bytes compared")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("promise"):
        kind, what, count = (*mark.args, 1)[:3]
        item.user_properties.append(("promise", (kind, what, count)))


def pytest_terminal_summary(terminalreporter):
    counts = {outcome: Counter() for outcome in ("passed", "failed")}
    for outcome, counter in counts.items():
        for report in terminalreporter.stats.get(outcome, []):
            for kind, what, count in (value for name, value in report.user_properties if name == "promise"):
                if kind not in KINDS:
                    raise ValueError(f"{report.nodeid}: unknown kind of promise {kind!r}, expected one of {KINDS}")
                counter[kind, what] += count
    found = sorted(counts["passed"] | counts["failed"])
    rows = [
        {"kind": kind, "what": what, "kept": counts["passed"][kind, what], "broken": counts["failed"][kind, what]}
        for kind, what in found
    ]
    if path := os.environ.get("DCGMM_PROMISES"):
        from dcgmm.experiments import provenance  # here, because it takes seconds

        words = shlex.join(map(str, terminalreporter.config.invocation_params.args))
        command = "make test-long" if os.environ.get("DCGMM_LONG") else f"pytest {words}"
        made = {"command": command, **provenance.here(Path(__file__).parents[1]), "counts": rows}
        text = json.dumps(made, indent=1, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter:
        reasons = {report.longrepr[2] for report in reporter.stats.get("skipped", [])}
        unexpected = {reason for reason in reasons if not any(accepted in reason for accepted in ACCEPTED_SKIPS)}
        if unexpected:
            reporter.write_line(f"skips that no list in tests/conftest.py accepts: {sorted(unexpected)}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the site. It is built once: a build writes pages into docs/, so two would disturb each other."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"]
            command += ["-d", folder / "doctrees", "docs", folder / "html"]
            built = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
            assert built.returncode == 0, built.stderr
            (folder / "complete").touch()
    return folder / "html"


@pytest.fixture
def images():
    import numpy as np

    return np.random.default_rng(0).random((40, 28, 28, 1), dtype="float32")


def mount(*arguments):
    """Return whether this machine lets us mount a file system."""
    command = shutil.which("mount")
    return bool(command) and not subprocess.run([command, *arguments], capture_output=True).returncode


@pytest.fixture
def full_disk(tmp_path):
    """A folder whose disk takes 16 kB: in memory, or else this process may write no larger files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    mounted = mount("-t", "tmpfs", "-o", "size=16k", "tmpfs", folder)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, before[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def make_read_only():
    """A function that makes a folder read-only: by its permissions, or for root, who ignores them, by a mount."""
    sealed = []

    def seal(folder):
        if os.geteuid():
            folder.chmod(0o555)
        elif not (mount("--bind", folder, folder) and mount("-o", "remount,ro,bind", folder)):
            pytest.skip("root, who ignores permissions, may not mount a read-only folder")
        sealed.append(folder)

    yield seal
    for folder in sealed:
        folder.chmod(0o755) if os.geteuid() else subprocess.run(["umount", folder], check=True)
