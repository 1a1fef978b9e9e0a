"""What a notebook found on the claims of the paper: the outcomes of their statements, and its numbers."""

import json
from functools import partial

from IPython.display import Markdown, display

from dcgmm import files
from dcgmm.experiments import statements
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.on_demand import repetitions
from dcgmm.experiments.report import Report

IN_BRACKETS = {
    1: "(One repetition: nothing is known of how trainings differ.)",
    2: "(In brackets: the two repetitions.)",
}


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
    runs = statements.Runs(report.dataset, partial(repetitions, scale=report.scale))
    found = statements.of_claim(claim, runs, report.repetitions)
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


def _in_words(found, n_repetitions):
    if not found:
        return "*Counted, not tested.*"
    if set(found.values()) == {statements.NO_OUTCOME}:
        return (
            f"*No outcome yet*: the protocol (`docs/protocol.md`) asks for {statements.REPETITIONS} repetitions, and "
            f"{n_repetitions} {'is' if n_repetitions == 1 else 'are'} complete."
        )
    return "\n".join(f"- **{name}: {outcome}.** {statements.sentence(name)}" for name, outcome in found.items())


def _save(report, name, content):
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    files.write(report.path("tables", name).with_suffix(".json"), text)
