"""The files that name the environment agree with each other, and with the environment that runs the tests."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import pytest
import uv
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from dcgmm.datasets import download

ROOT = Path(__file__).parents[1]
EXPORT = ["--frozen", "--all-groups", "--no-group=exercises", "--extra=experiments"]
EXPORT_EXERCISES = ["--frozen", "--only-group=exercises"]
STYLE = ["--no-emit-project", "--no-annotate", "--no-header"]


def run_uv(*arguments):
    """Run the locked uv without network, cache or the user's settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    command = [uv.find_uv_bin(), *arguments, "--offline", "--no-cache", "--python", sys.executable]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def makefile_variable(name):
    return re.search(rf"^{name} := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1].split()


def locked_requirements():
    """Return (requirement, number of its hashes) for each entry of requirements.txt."""
    text = re.sub(r"^#.*\n", "", (ROOT / "requirements.txt").read_text("utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split(" --hash=")
        yield Requirement(requirement.strip()), sum(bool(re.fullmatch(r"sha256:[0-9a-f]{64} *", h)) for h in hashes)


def test_lock_agrees_with_pyproject():
    check = run_uv("lock", "--check")
    assert check.returncode == 0, f"run 'make lock'\n{check.stderr}"


@pytest.mark.parametrize(
    ("path", "variable", "options"),
    [
        ("requirements.txt", "EXPORT", EXPORT),
        ("exercises/requirements.txt", "EXPORT_EXERCISES", EXPORT_EXERCISES),
    ],
)
def test_requirements_are_the_export_of_the_lock(path, variable, options):
    assert makefile_variable(variable) == options + STYLE
    export = run_uv("export", *options, *STYLE)
    assert export.returncode == 0, export.stderr
    _, _, exported = (ROOT / path).read_text("utf-8").partition("\n")
    assert exported == export.stdout, "run 'make lock'"


def test_the_exercises_need_only_what_is_locked_and_a_few_packages_more():
    named = [
        set(re.findall(r"^([\w.-]+==\S+)", (ROOT / path).read_text("utf-8"), re.MULTILINE))
        for path in ("requirements.txt", "exercises/requirements.txt")
    ]
    added = {line.partition("==")[0] for line in named[1] - named[0]}
    assert "nbgrader" in added and len(added) <= 10


def test_every_requirement_is_pinned_and_hashed():
    requirements = list(locked_requirements())
    assert len(requirements) > 100
    for requirement, hashes in requirements:
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), f"not pinned: {requirement}"
        assert hashes, f"no hash: {requirement}"


COMMANDS = ["Makefile", "postBuild", "docs/install.md", "environment.yml", "dcgmm/datasets/download.py"]
# These lines of the guide install the versions that pip finds, as the guide says.
UNLOCKED = ["pip install -e .", 'pip install -e ".[experiments]"']


def installations(path):
    """Yield the commands of a file that install packages, with the variables of the Makefile replaced."""
    text = (
        (ROOT / path)
        .read_text("utf-8")
        .replace("\\\n", " ")
        .replace("$(LOCKED)", " ".join(makefile_variable("LOCKED")))
    )
    for line in text.splitlines():
        yield from re.findall(r"(?:(?:uv )?pip |\*pip, \").*\binstall\b[^|;&#]*", line)


def test_every_installation_checks_hashes_or_fetches_nothing():
    found = [(path, command.strip()) for path in COMMANDS for command in installations(path)]
    assert {path for path, _ in found} == set(COMMANDS)
    for path, command in found:
        checked = re.search(
            r"--require-hashes|--no-index|-r requirements.txt", command
        )  # a file with hashes: all of them
        assert checked or command in UNLOCKED, f"{path}: {command}"


def test_what_runs_to_fetch_data_is_pinned_and_hashed():
    requirements = download._NPM_FROM_PYPI.replace("\\\n", " ").split("\n")
    assert len([line for line in requirements if line]) == 2
    for line in filter(None, requirements):
        assert re.fullmatch(r"[a-z-]+==[\d.]+( +--hash=sha256:[0-9a-f]{64})+", line)


def test_data_come_by_https_and_every_file_has_a_hash():
    for sha256, sources in download.DATASETS.values():
        assert len(sha256) == 4 and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in sha256.values())
        mirrors = [source.args[0] for _, source in sources if source.func is download._mirror]
        assert len(mirrors) == 2 and all(url.startswith("https://") for url in mirrors)


@pytest.mark.parametrize("pattern", ["*.*", "Makefile", "dcgmm/**/*.py", "notebooks/*.ipynb", "docs/*.md"])
def test_no_address_of_the_project_is_unprotected(pattern):
    for path in ROOT.glob(pattern):
        text = path.read_text("utf-8") if path.is_file() else ""
        assert not re.findall(r"http://(?!127\.0\.0\.1|localhost)[\w.]+", text), path


def test_conda_takes_python_from_requires_python_and_all_else_from_the_export():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    python, pip, packages = environment["dependencies"]
    assert python == f"python {project()['project']['requires-python']}"
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.txt"]}


def test_makefile_accepts_the_pythons_of_requires_python():
    accepted = SpecifierSet(project()["project"]["requires-python"])
    assert set(makefile_variable("VERSIONS")) == {f"3.{minor}" for minor in range(50) if f"3.{minor}" in accepted}


def test_installed_versions_are_the_locked_ones():
    wrong = []
    for requirement, _ in locked_requirements():
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                installed = version(requirement.name)
            except PackageNotFoundError:
                installed = None
            if installed is None or not requirement.specifier.contains(installed, prereleases=True):
                wrong.append(f"{requirement.name}: {installed} is installed, {requirement.specifier} is locked")
    assert not wrong, "\n".join(wrong)


def names(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def imported(path):
    """Return the packages that a file imports, other than Python's own and ours."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"dcgmm"}


PROVIDERS = packages_distributions()
# The package dask is installed with distributed; pooch's progress bar is an extra of pooch.
UNDER_ANOTHER_NAME = {"dask": "distributed"}


def declared_for(path):
    library, extra = project()["project"]["dependencies"], project()["project"]["optional-dependencies"]["experiments"]
    return names(library + extra) if "experiments" in path.parts else names(library)


@pytest.mark.parametrize("path", sorted((ROOT / "dcgmm").rglob("*.py")), ids=lambda path: path.stem)
def test_what_a_file_imports_is_declared_for_its_wing(path):
    for module in imported(path):
        provided_by = names(PROVIDERS.get(module, [])) | {UNDER_ANOTHER_NAME.get(module, module)}
        assert provided_by & declared_for(path), f"{path.name} imports {module}, which pyproject.toml does not declare"


def test_the_library_declares_nothing_that_it_does_not_import():
    files = [path for path in (ROOT / "dcgmm").rglob("*.py") if "experiments" not in path.parts]
    used = {name for path in files for module in imported(path) for name in names(PROVIDERS.get(module, []))}
    assert names(project()["project"]["dependencies"]) <= used


def test_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == project()["project"]["version"] == version("dcgmm")
