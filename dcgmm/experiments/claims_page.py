"""The page of the paper's claims, results/README.md: a line for each, with its statements and numbers to unfold."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from dcgmm import datasets, files
from dcgmm.experiments import statements
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.config import settings
from dcgmm.experiments.folders import collection, root
from dcgmm.experiments.protocol import FAILS, HOLDS, UNDECIDED

# The outcomes in the order of the pages: a mark in their colour, and the word that follows a number above 1.
OUTCOMES = {
    HOLDS: ("🟢", "hold"),
    FAILS: ("🔴", "do not hold"),
    UNDECIDED: ("🟡", "undecided"),
    statements.NO_OUTCOME: ("⚪", "not yet"),
    statements.NOT_TESTABLE: ("⚪", "not testable here"),
}
COUNTED = "counted, not tested"
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
        legend=" · ".join(f"{sign} {outcome}" for outcome, (sign, _) in OUTCOMES.items()),
        claims="\n".join(_claim(claim, collection() / scale, path.parent) for claim in CLAIMS),
    )
    files.write(path, text)
    return path


def counted(outcomes: Mapping[str, str]) -> dict[str, str]:
    """Return how many statements have each outcome, in words, by outcome.

    Example:
        >>> counted({"C2.1": "holds", "C2.2": "does not hold", "C2.3": "holds"})
        {'holds': '2 hold', 'does not hold': '1 does not hold'}
    """
    counts = {outcome: list(outcomes.values()).count(outcome) for outcome in OUTCOMES}
    return {outcome: f"{n} {outcome if n == 1 else OUTCOMES[outcome][1]}" for outcome, n in counts.items() if n}


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
    return ", ".join(f"{OUTCOMES[outcome][0]} {text}" for outcome, text in counted(outcomes).items()) or f"⚪ {COUNTED}"


def _marked(outcome):
    return f"{OUTCOMES[outcome][0]} {outcome}"
