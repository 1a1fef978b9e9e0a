"""The page of the paper's claims, results/README.md: a line for each, with its statements and numbers to unfold."""

import json
import os
from pathlib import Path

from dcgmm import datasets, files
from dcgmm.experiments import statements, verdicts
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.config import settings
from dcgmm.experiments.folders import collection, root
from dcgmm.experiments.protocol import FAILS, HOLDS, UNDECIDED

# The marks of the outcomes, in their colour.
MARKS = {HOLDS: "🟢", FAILS: "🔴", UNDECIDED: "🟡", statements.NO_OUTCOME: "⚪", statements.NOT_TESTABLE: "⚪"}
PAGE = """# What was found

The paper makes {n_claims} claims. [The protocol]({protocol}) splits them into {n} statements. It fixes how each of them
is judged: over {needed} repetitions of each training, with the same burden of proof for and against the paper.
**Complete: {complete} of {needed} repetitions.**{wait} This page is made from the tables of the notebooks by
`{command}`.

{legend}. Click on a claim to see its statements and numbers.

{claims}
"""


def write(scale: str) -> Path:
    """Write the page of a scale and return its path.

    It is results/README.md at the paper's scale, and results/SCALE/README.md at another one. What no notebook has
    judged is left out.

    Args:
        scale: a block of params.yaml.
    """
    path = collection() / ("" if scale == "paper" else scale) / "README.md"
    complete = settings(scale)["repetitions"]
    text = PAGE.format(
        protocol=os.path.relpath(root() / "docs" / "protocol.md", path.parent),
        n_claims=len(CLAIMS),
        n=len(statements.names()),
        needed=statements.REPETITIONS,
        complete=complete,
        wait="" if complete >= statements.REPETITIONS else " So there are no outcomes yet.",
        command=f"python -m dcgmm.experiments claims --scale {scale}",
        legend=" · ".join(f"{mark} {outcome}" for outcome, mark in MARKS.items()),
        claims="\n".join(_claim(claim, collection() / scale, path.parent) for claim in CLAIMS),
    )
    files.write(path, text)
    return path


def _claim(claim, folder, start):
    """Return the lines of a claim: the line that is always shown, a table of its statements, and the numbers."""
    on = {}
    for dataset in datasets.DATASETS:
        for path in folder.glob(f"tables/*-{dataset}/{claim}.json"):
            link = os.path.relpath(folder / "notebooks" / f"{path.parent.name}.ipynb", start)
            on[datasets.TITLES[dataset]] = json.loads(path.read_text("utf-8")) | {
                "link": f"[{path.parent.name}]({link})"
            }
    summaries = [f"{title}: {_summary(found['outcomes'])}" for title, found in on.items()]
    lines = [f"<details><summary><b>{claim}</b> {CLAIMS[claim]}<br>{' &nbsp; '.join(summaries)}</summary>", ""]
    if names := dict.fromkeys(name for found in on.values() for name in found["outcomes"]):
        lines += [f"| statement | {' | '.join(on)} |", "|---" * (1 + len(on)) + "|"]
        for name in names:
            outcomes = [_marked(found["outcomes"][name]) for found in on.values()]
            lines.append(f"| {name} {statements.sentence(name)} | {' | '.join(outcomes)} |")
        lines.append("")
    for title, found in on.items():
        lines += [f"**{title}**: {found['numbers']} {found['link']}", ""]
    return "\n".join([*lines, "</details>", ""])


def _summary(outcomes):
    counts = verdicts.counted(outcomes)
    return ", ".join(f"{MARKS[outcome]} {text}" for outcome, text in counts.items()) or f"⚪ {verdicts.COUNTED}"


def _marked(outcome):
    return f"{MARKS[outcome]} {outcome}"
