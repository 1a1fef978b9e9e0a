"""What a result was made with: the version of the code, the packages and the processor."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

# What decides numbers, tables and figures; requirements.txt lists all packages.
PACKAGES = ("dcgmm", "keras", "matplotlib", "numpy", "pandas", "pillow", "scikit-learn", "scipy", "tensorflow")
CPUINFO = Path("/proc/cpuinfo")


def packages() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results, by name."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def processor() -> str:
    """Return the kind of this machine's processor in words: its name, and whether it has AVX-512.

    TensorFlow chooses its operations by such features, and other operations round differently.
    """
    if not CPUINFO.exists():
        return platform.processor() or platform.machine()
    lines = CPUINFO.read_text("utf-8", errors="replace").splitlines()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    vectors = "with" if "avx512f" in facts.get("flags", "").split() else "without"
    return f"{facts.get('model name') or platform.machine()} {vectors} AVX-512"


def here(project: Path) -> dict[str, Any]:
    """Return the version of a project's code, of the packages, and the kind of processor, by name."""
    return {"commit": code_version(project), "packages": packages(), "processor": processor()}


def code_version(project: Path) -> str:
    """Return `git describe` of a project's code, or the package's version outside a git checkout.

    Where git does not answer in a checkout, for example because another user owns it, the version is unknown: the
    words of git, which name the remedy, are printed.

    Args:
        project: the project's folder.
    """
    sources = ["dcgmm", "notebooks", "params.yaml"]
    git = ["git", "-C", str(project)]
    if not (project / ".git").exists():
        return f"v{version('dcgmm')}"
    try:
        commit = _output(*git, "log", "-1", "--format=%H", "--", *sources)
        changed = _output(*git, "status", "--porcelain", "--", *sources)
        return _output(*git, "describe", "--always", "--tags", commit) + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        print(f"results say that the version of the code is unknown, because git says:\n{reason}", file=sys.stderr)
        return "of unknown version"


def _output(*command):
    english = {**os.environ, "LC_ALL": "C"}
    run = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace", env=english)
    return run.stdout.strip()
