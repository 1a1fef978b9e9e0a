"""The files that name the environment agree with each other, and the environment we run in with them."""

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

ROOT = Path(__file__).parents[1]
EXPORT = ["--frozen", "--all-groups", "--no-emit-project", "--no-annotate", "--no-header"]


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


def test_requirements_are_the_export_of_the_lock():
    assert makefile_variable("EXPORT") == EXPORT
    export = run_uv("export", *EXPORT)
    assert export.returncode == 0, export.stderr
    _, _, exported = (ROOT / "requirements.txt").read_text("utf-8").partition("\n")
    assert exported == export.stdout, "run 'make lock'"


def test_every_requirement_is_pinned_and_hashed():
    requirements = list(locked_requirements())
    assert len(requirements) > 100
    for requirement, hashes in requirements:
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), f"not pinned: {requirement}"
        assert hashes, f"no hash: {requirement}"


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


@pytest.mark.parametrize("path", sorted((ROOT / "dcgmm").rglob("*.py")), ids=lambda path: path.stem)
def test_what_the_library_imports_is_declared(path):
    # What only runs within the pipeline or on a cluster may be imported where it is used, but not with the module.
    declared = {canonicalize_name(Requirement(line).name) for line in project()["project"]["dependencies"]}
    optional = project()["dependency-groups"]["pipeline"] + project()["project"]["optional-dependencies"]["cluster"]
    optional = {canonicalize_name(Requirement(line).name) for line in optional}
    providers = packages_distributions()
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=module, level=0):
                modules = [module]
            case _:
                continue
        for module in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"dcgmm"}:
            provided_by = {canonicalize_name(name) for name in providers.get(module, [])}
            allowed = declared if node in tree.body else declared | optional
            assert provided_by & allowed, f"{path.name} imports {module}, which pyproject.toml does not declare"


def test_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == project()["project"]["version"] == version("dcgmm")
