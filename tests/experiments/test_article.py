"""The report shows the collected numbers, leaves out what is not there, and repeats to the byte."""

import re
from pathlib import Path

import pandas as pd
import pytest

from dcgmm.experiments import article, statements

RESULTS = Path(__file__).parents[2] / "results"
TEMPLATE = Path(__file__).parents[2] / "docs" / "report" / "report.md"


@pytest.fixture
def collected(tmp_path, monkeypatch):
    """Let articles go to a temporary folder, whose results are the committed ones."""
    (tmp_path / "paper").mkdir()
    for name in ("figures", "tables"):
        (tmp_path / "paper" / name).symlink_to(RESULTS / "paper" / name)
    monkeypatch.setattr(article, "collection", lambda: tmp_path)
    return tmp_path


def test_equal_results_give_equal_bytes(collected):
    made = [{path.name: path.read_bytes() for path in article.write("paper").iterdir()} for _ in range(2)]
    assert made[0] == made[1]
    assert made[0]["report.pdf"].startswith(b"%PDF")
    latex = made[0]["report.tex"].decode()
    assert latex.count(r"\toprule") >= 7 and r"\bottomrule" in latex
    figures = re.findall(r"\]\{(\.\./figures/[^}]*)\}", latex)
    assert figures and all((collected / "paper" / "article" / name).exists() for name in figures)


def test_all_statements_and_the_numbers_of_the_tables_are_shown(collected):
    text = article.filled_in(TEMPLATE.read_text("utf-8"), "paper", "/figures")
    assert all(f"**{name}** {statements.sentence(name)}" in text for name in statements.names())
    areas = pd.read_csv(RESULTS / "paper/tables/03-outliers-mnist/auc.csv", index_col=0).top
    assert all(re.search(rf"\| {name} +\| +{area:.2f}\b", text) for name, area in areas.items())
    assert not re.search(r"\bnan\b|None|\{\{|\}\}(?!\$)", text)


def test_what_no_notebook_has_made_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(article, "collection", lambda: tmp_path)
    folder = article.write("quick")
    assert (folder / "report.pdf").stat().st_size > 10_000
