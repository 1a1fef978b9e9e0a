"""What make's targets let in: nobody but the user of this machine, and text only as text."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import local_server
import psutil
import pytest
import uv
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
CARELESS = """
c = get_config()
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.token = ""
c.ServerApp.password = ""
c.ServerApp.open_browser = False
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = ""
"""


@pytest.fixture
def project(tmp_path):
    """A folder with the Makefile, which takes this environment for its own."""
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01-tour.ipynb").write_text("{}", "utf-8")
    (tmp_path / "exercises" / "student" / "1-e-step").mkdir(parents=True)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    # A link would look for its environment here.
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
    python.chmod(0o755)
    (tmp_path / ".venv" / ".ready").write_text(f"{tmp_path}\n", "utf-8")
    return tmp_path


def environment(**more):
    """Return the environment of a user's shell, without what `make test` and the tests' own notebooks add."""
    own = ("MAKE", "JUPYTER", "DATASET", "SCALE", "UV_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | more


INERT = """it's "x"; $(shell touch ran) $(touch ran) `touch ran` $HOME & $$ ../../x | touch ran > ran"""
# What reaches a command: the target and its words, where {} stands for the value.
TAKEN = {
    "DATASET": ("experiment", "--dataset={}"),
    "NOTEBOOK": ("experiment", "--notebook={}"),
    "ARCHITECTURE": ("experiment", "--architecture={}"),
    "CLASSES": ("experiment", "--classes={}"),
    "PARAMS": ("experiment", "--parameters={}"),
    "SCALE": ("experiment", "--scale={}"),
    "COMMIT": ("same-numbers", "--commit={}"),
}


def words(project, target, *assigned, **more):
    """Return the words of the command that a target runs, as its python receives them."""
    python = project / ".venv" / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\nprintf "%s\\0" "$@" >received\n', "utf-8"
    )
    run = subprocess.run(
        ["make", target, *assigned], cwd=project, env=environment(**more), capture_output=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stderr
    return (project / "received").read_bytes().decode().split("\0")


@pytest.mark.promise("bad input", "a value of make with quotes, semicolons, dollar signs and ../")
@pytest.mark.parametrize("name", TAKEN)
def test_make_passes_a_value_as_it_is_from_its_command_line_and_from_the_environment(project, name):
    target, word = TAKEN[name]
    assert word.format(INERT) in words(project, target, f"{name}={INERT}")
    if name != "COMMIT":  # the Makefile sets it
        assert word.format(INERT) in words(project, target, **{name: INERT})
    assert not (project / "ran").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
@example("x\n\ttouch ran\n")
@example("${HOME} #")
@pytest.mark.promise("bad input", "any text as a value of make", 20)
def test_make_passes_any_text_as_it_is(project, text):
    # make itself leaves out the white space before a value.
    expected = "--parameters=" + text.lstrip(" \t\n\v\f\r")
    assert expected in words(project, "experiment", f"PARAMS={text}")
    assert not (project / "ran").exists()


@pytest.mark.promise("bad input", "a Python for `make` whose path is a command")
def test_make_runs_no_command_that_is_named_as_python(project):
    (project / ".venv" / ".ready").unlink()
    run = subprocess.run(
        ["make", "lint", f"PYTHON={INERT}"], cwd=project, env=environment(), capture_output=True, text=True
    )
    assert run.returncode != 0 and "No usable Python: one of 3.13 3.12 3.11 with venv" in run.stderr
    assert f"{INERT} does not run" in run.stderr
    assert not list(project.rglob("ran"))


@pytest.mark.promise("bad input", "a folder of the project whose name is a command")
def test_make_works_in_a_folder_of_any_name(project):
    folder = project / """it's "$(touch ran)" `touch ran`; $HOME"""
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", ".venv"):
        (project / name).rename(folder / name)
    (folder / ".venv" / ".ready").write_text(f"{folder}\n", "utf-8")
    assert "--dataset=mnist" in words(folder, "experiment", "DATASET=mnist")
    assert not list(project.rglob("ran"))


@contextmanager
def lab(project, home, options=""):
    """Start `make lab`; yields the process that listens, and what it has printed so far."""
    log = project / "log"
    command = ["make", "lab", f"LAB_OPTIONS=--no-browser --allow-root --port=0 {options}"]
    with log.open("w") as file:
        make = subprocess.Popen(
            command, cwd=project, env=environment(HOME=str(home)), stdout=file, stderr=file, start_new_session=True
        )
    try:
        end = time.monotonic() + 120
        while not (listening := [p for p in psutil.Process(make.pid).children(recursive=True) if sockets(p)]):
            assert make.poll() is None and time.monotonic() < end, log.read_text("utf-8")
            time.sleep(0.1)
        yield listening[0], log
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGKILL)
            make.wait()


def sockets(process):
    """Return the addresses at which a process listens."""
    try:
        return [found.laddr for found in process.net_connections("inet") if found.status == psutil.CONN_LISTEN]
    except psutil.NoSuchProcess:
        return []


def status(url):
    """Return the status of a request that follows no redirection."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    try:
        return urllib.request.build_opener(Stay, urllib.request.ProxyHandler({})).open(url, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
@pytest.mark.promise("bad input", "a Jupyter configuration that opens `make lab` to the network, or without a token")
@pytest.mark.parametrize("configs", [[], ["jupyter_server_config.py", "jupyter_lab_config.py"]])
def test_lab_listens_on_this_machine_only_and_wants_a_token(project, tmp_path, configs):
    (tmp_path / "home" / ".jupyter").mkdir(parents=True)
    for config in configs:
        (tmp_path / "home" / ".jupyter" / config).write_text(CARELESS, "utf-8")
    with lab(project, tmp_path / "home") as (process, log):
        (address,) = sockets(process)
        assert address.ip == "127.0.0.1"
        url = f"http://127.0.0.1:{address.port}/"
        assert status(f"{url}api/contents") == 403
        assert status(f"{url}api/contents?token=") == 403
        assert status(f"{url}lab") == 302, "to the page that asks for the token"
        token = re.search("token of this JupyterLab: ([0-9a-f]{48})\n", log.read_text("utf-8"))[1]
        assert status(f"{url}api/contents?token={token}") == 200
        assert not any(token in word for word in process.cmdline()), "other users of the machine can read it"


@pytest.mark.slow
def test_lab_takes_the_options_and_the_token_that_a_user_gives(project, tmp_path):
    options = "--ip=127.0.0.2 --IdentityProvider.token=own"
    with lab(project, tmp_path, options) as (process, _):
        (address,) = sockets(process)
        assert address.ip == "127.0.0.2"
        assert status(f"http://127.0.0.2:{address.port}/api/contents?token=own") == 200
        assert status(f"http://127.0.0.2:{address.port}/api/contents") == 403


DATABASE = {
    "id": "PYSEC-0",
    "summary": "A test",
    "modified": "2026-01-01T00:00:00Z",
    "published": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "keras", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


@contextmanager
def database(vulnerable):
    """A database of vulnerabilities as that of osv.dev, here; yields its URL and what it is asked."""
    asked = []

    class Handler(local_server.Handler):
        def do_POST(self):
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            asked.extend(query["package"]["name"] for query in queries)
            found = {"vulns": [{"id": DATABASE["id"], "modified": DATABASE["modified"]}]}
            results = [found if query["package"]["name"] in vulnerable else {} for query in queries]
            self.answer(json.dumps({"results": results}).encode())

        def do_GET(self):
            self.answer(json.dumps(DATABASE).encode())

    with local_server.serving(Handler) as url:
        yield url, asked


def audit(project, url):
    for name in ("uv.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, project)
    (project / ".venv" / "bin" / "uv").symlink_to(uv.find_uv_bin())
    command = ["make", "audit", f"AUDIT_OPTIONS=--service-url={url}"]
    more = {"UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "0", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(command, cwd=project, env=environment(**more), capture_output=True, text=True)


@pytest.mark.parametrize("vulnerable", [[], ["keras"]])
def test_audit_asks_for_every_locked_package_and_fails_where_one_is_vulnerable(project, vulnerable):
    with database(vulnerable) as (url, asked):
        run = audit(project, url)
    locked = re.findall(r"^([a-z0-9][\w.-]*)==", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    assert set(locked) <= set(asked)
    assert (run.returncode == 0) == (not vulnerable), run.stderr
    assert ("PYSEC-0" in run.stdout) == bool(vulnerable)
    assert "Nothing was audited" not in run.stderr


@pytest.mark.promise("fault", "the database of vulnerabilities cannot be reached")
def test_an_audit_that_reaches_no_database_fails_and_says_so(project):
    with database([]) as (url, _):
        pass  # its port is free again
    run = audit(project, url)
    assert run.returncode != 0
    assert "Nothing was audited, because the database of vulnerabilities could not be asked" in run.stderr
