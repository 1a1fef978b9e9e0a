"""README is short, its links lead somewhere, its table says what was found, and its and the guide's code runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_it_is_short_and_shows_the_two_commands_on_its_first_screen():
    lines = README.splitlines()
    assert len(lines) <= 130
    first = lines[:40]
    assert any(line.strip().startswith("make figures") for line in first)
    assert any(line.strip().startswith("make test") for line in first)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_its_links_lead_to_files(page):
    text = (ROOT / page).read_text("utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    assert not [link for link in links if link and "://" not in link and not (ROOT / link).exists()]


def test_its_table_has_the_committed_outcomes_of_every_claim_and_data_set():
    found = list((ROOT / "results/paper/tables").glob("*/C*.json"))
    assert len(found) == 2 * 17
    for path in found:
        claim = json.loads(path.read_text("utf-8"))
        row = next(line for line in README.splitlines() if re.search(rf"\b{claim['claim']}\b.*\|", line))
        link = f"results/paper/notebooks/{path.parent.name}.ipynb"
        assert f"[{in_short(claim['outcomes'])}]({link})" in row, claim["claim"]


def test_it_says_how_many_repetitions_are_complete():
    repetitions = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["paper"]["repetitions"]
    words = "one two three four five six seven eight nine ten".split()
    verb = "is" if repetitions == 1 else "are"
    assert f"{words[repetitions - 1].capitalize()} {verb} complete" in README


def in_short(outcomes):
    """Return the words of the table: how many statements of a claim hold, or "numbers" if none has an outcome."""
    judged = {"holds", "does not hold", "undecided"} & {*outcomes.values()}
    return f"{list(outcomes.values()).count('holds')} of {len(outcomes)} hold" if judged else "numbers"


@pytest.mark.parametrize(("page", "made"), [("README.md", "my_model.keras"), ("docs/adapting.md", "data/patches.npz")])
def test_its_code_runs(tmp_path, page, made):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / made).exists()
