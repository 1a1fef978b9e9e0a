"""Run `make figures` in two fresh clones and compare all bytes: `python benchmarks/two_clones.py`, about an hour.

The clones lie at different paths, one with a space in it, and have empty home folders, so each fetches its own packages
and data. All files of results/quick and of the store are compared. results/two_clones.json says how many are equal.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from dcgmm import files
from dcgmm.experiments import provenance

ROOT = Path(__file__).parents[1]
# What a command needs from here: where programs are, and where packages come from.
KEPT = ("PATH", "LANG", "LC_ALL", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE")


def start(folder):
    """Clone the last commit into a folder and start `make figures` there, with an empty home folder beside it."""
    home = folder.with_name(f"{folder.name} home")
    home.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    environment = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")}
    # The environment of this process has .venv/bin first in its path.
    path = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != ROOT / ".venv" / "bin"]
    environment |= {"HOME": str(home), "PATH": os.pathsep.join(path)}
    log = folder.with_name(f"{folder.name} log").open("wb")
    return subprocess.Popen(["make", "figures"], cwd=folder, env=environment, stdout=log, stderr=log)


def hashes(folder):
    """Return the SHA-256 of every file that `make figures` has made, by its path in the clone."""
    made = [path for part in ("quick", "store") for path in (folder / "results" / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in made}


def compared(first, second):
    """Return how many files are equal, by the end of their name, and the names of the others."""
    differing = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    equal = Counter(Path(name).suffix or name for name in first.keys() - set(differing))
    return {"equal": sum(equal.values()), "by_kind": dict(sorted(equal.items())), "differing": differing}


def main():
    """Run both, compare them, print what was found and write it."""
    with tempfile.TemporaryDirectory() as place:
        clones = [Path(place, "one", "clone"), Path(place, "another place", "a clone")]
        codes = [process.wait() for process in [start(folder) for folder in clones]]
        if any(codes):
            logs = [folder.with_name(f"{folder.name} log").read_text("utf-8")[-3000:] for folder in clones]
            sys.exit(f"make figures ended with {codes}:\n" + "\n".join(logs))
        status = ["git", "status", "--porcelain"]
        changed = [subprocess.run(status, cwd=folder, capture_output=True, text=True).stdout for folder in clones]
        found = compared(*map(hashes, clones))
    found |= {"changed": changed, "command": "python benchmarks/two_clones.py", **provenance.here(ROOT)}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    print(text)
    files.write(ROOT / "results" / "two_clones.json", text + "\n")


if __name__ == "__main__":
    main()
