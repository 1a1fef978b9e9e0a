"""What a notebook found on the claims of the paper: the outcomes of their statements, and its numbers."""

import json
from collections.abc import Mapping
from functools import partial

from IPython.display import Markdown, display

from dcgmm import datasets, files
from dcgmm.experiments import statements
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.on_demand import repetitions
from dcgmm.experiments.protocol import FAILS, HOLDS, UNDECIDED
from dcgmm.experiments.report import Report

IN_BRACKETS = {
    1: "(One repetition: nothing is known of how trainings differ.)",
    2: "(In brackets: the two repetitions.)",
}


# The outcomes in the order of the pages, and the words that follow a number above 1.
SEVERAL = {
    HOLDS: "hold",
    FAILS: "do not hold",
    UNDECIDED: "undecided",
    statements.NO_OUTCOME: "not yet",
    statements.NOT_TESTABLE: "not testable here",
}
COUNTED = "counted, not tested"


def in_short(report: Report, *claims: str, first: str = "") -> None:
    """Display a notebook's answer before all else: how many statements of its claims hold.

    Nothing is displayed on other data than MNIST and FashionMNIST, because the paper claims nothing about them.

    Args:
        report: a `Report`.
        *claims: keys of `CLAIMS`, such as `"C5"`.
        first: a sentence to stand before the claims. Default: none.
    """
    if report.dataset not in datasets.DATASETS:
        return
    lines = [f"- {first}"] if first else []
    for claim in claims:
        found = statements.of_claim(claim, _runs(report), report.repetitions)
        lines.append(f"- **{claim}.** *{CLAIMS[claim]}* {', '.join(counted(found).values()) or COUNTED}.")
    waiting = "" if report.repetitions >= statements.REPETITIONS else f" {_waiting(report.repetitions)}"
    lines = [f"**In short, by statements of the protocol.**{waiting}", "", *lines]
    display(Markdown("\n".join(lines)))


def counted(outcomes: Mapping[str, str]) -> dict[str, str]:
    """Return how many statements have each outcome, in words, by outcome.

    Example:
        >>> counted({"C2.1": "holds", "C2.2": "does not hold", "C2.3": "holds"})
        {'holds': '2 hold', 'does not hold': '1 does not hold'}
    """
    counts = {outcome: list(outcomes.values()).count(outcome) for outcome in SEVERAL}
    return {outcome: f"{n} {outcome if n == 1 else SEVERAL[outcome]}" for outcome, n in counts.items() if n}


def judge(report: Report, claim: str, numbers: str, n_repetitions: int | None = None) -> None:
    """Save and display what was found on one of the paper's claims.

    The outcomes of its statements follow docs/protocol.md. The notebook's numbers stand beside them, and decide
    nothing.

    Args:
        report: a `Report` on MNIST or FashionMNIST.
        claim: a key of `CLAIMS`, such as `"C5"`.
        numbers: a sentence or two with the numbers of the notebook; `statistics.describe` puts intervals into it.
        n_repetitions: the number of repetitions behind these numbers; it is appended to the text. 0: nothing is
            appended. Default: as many as the scale has.
    """
    n = report.repetitions if n_repetitions is None else n_repetitions
    if n:
        numbers += f" {IN_BRACKETS.get(n, f'(In brackets: 95 % intervals, {n} repetitions.)')}"
    found = statements.of_claim(claim, _runs(report), report.repetitions)
    _save(report, claim, {"claim": claim, "statement": CLAIMS[claim], "outcomes": found, "numbers": numbers})
    outcomes = _in_words(found, report.repetitions).replace("\n", "\n> ")
    display(Markdown(f"> **{claim}.** *{CLAIMS[claim]}*\n>\n> {outcomes}\n>\n> {numbers}"))


def finding(report: Report, statement: str, numbers: str) -> None:
    """Save and display a notebook's result on a sentence of the paper that is not among the claims.

    Args:
        report: a `Report`.
        statement: what the paper says, and where.
        numbers: a sentence or two with our numbers.
    """
    _save(report, "finding", {"statement": statement, "numbers": numbers})
    display(Markdown(f"> *{statement}*\n>\n> {numbers}"))


def _runs(report):
    return statements.Runs(report.dataset, partial(repetitions, scale=report.scale))


def _waiting(n_repetitions):
    return (
        f"*No outcome yet*: the protocol (`docs/protocol.md`) asks for {statements.REPETITIONS} repetitions, and "
        f"{n_repetitions} {'is' if n_repetitions == 1 else 'are'} complete."
    )


def _in_words(found, n_repetitions):
    if not found:
        return f"*{COUNTED.capitalize()}.*"
    if set(found.values()) == {statements.NO_OUTCOME}:
        return _waiting(n_repetitions)
    return "\n".join(f"- **{name}: {outcome}.** {statements.sentence(name)}" for name, outcome in found.items())


def _save(report, name, content):
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    files.write(report.path("tables", name).with_suffix(".json"), text)
