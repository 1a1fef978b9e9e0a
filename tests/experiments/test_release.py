"""`make release-check` names every result that is not from the released code, and every text that disagrees."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from dcgmm.experiments import Report, release

ROOT = Path(__file__).parents[2]
VERSION = version("dcgmm")


@pytest.fixture
def texts(tmp_path):
    """Return a folder with the texts of a release that agree."""
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{VERSION}"\n', "utf-8")
    (tmp_path / "CITATION.cff").write_text(f"version: {VERSION}\ndate-released: 2026-01-31\n", "utf-8")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION} - 2026-01-31\n\n- First.\n", "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("CITATION.cff", VERSION, "9.9.9", "version 9.9.9"),
        ("CITATION.cff", "01-31", "02-01", "date-released 2026-02-01"),
        ("CHANGELOG.md", f"## {VERSION} - 2026-01-31", "## Unreleased", "begins with 'Unreleased'"),
        ("pyproject.toml", VERSION, "9.9.9", "is installed"),
    ],
)
def test_texts_that_disagree(texts, name, old, new, told):
    assert not list(release.faults_of_texts(texts))
    content = (texts / name).read_text("utf-8")
    (texts / name).write_text(content.replace(old, new), "utf-8")
    assert told in "\n".join(release.faults_of_texts(texts))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="commits are compared by git")
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("code", {"notebooks": "0123456789abcdef"}, "made by the notebooks 0123456789abcdef"),
        ("settings", {"epochs": 1}, "other settings"),
        ("packages", {"dcgmm": "0.0.1"}, "made with dcgmm 0.0.1"),
        ("commit", "HEAD-dirty", "changed code"),
        ("commit", "0" * 40, "does not contain"),
        ("origins", [{"commit": "HEAD"}, {"commit": "HEAD-dirty"}], "changed code"),
    ],
)
def test_results_of_other_code_settings_or_packages(tmp_path, key, value, told):
    note = tmp_path / "tables" / "05-sampling-mnist" / "provenance.json"
    note.parent.mkdir(parents=True)
    noted = Report("05-sampling", "mnist", "paper", 0).origin | {"commit": "HEAD"}
    note.write_text(json.dumps(noted), "utf-8")
    assert not list(release.faults_of_notes(tmp_path))
    noted[key] = noted[key] | value if isinstance(value, dict) else value
    note.write_text(json.dumps(noted), "utf-8")
    (fault,) = release.faults_of_notes(tmp_path)
    assert told in fault and "05-sampling-mnist" in fault


def test_a_new_version_of_a_package_measures_no_other_method_again(tmp_path):
    noted = Report("05-sampling", "mnist", "paper", 0).origin | {"origins": []}
    (tmp_path / "provenance.json").write_text(json.dumps(noted | {"packages": {}}), "utf-8")
    assert list(release.faults_of_notes(tmp_path))
    del noted["notebook"]
    (tmp_path / "provenance.json").write_text(json.dumps(noted | {"packages": {}}), "utf-8")
    assert not list(release.faults_of_notes(tmp_path))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="commits are compared by git")
@pytest.mark.parametrize(("commit", "n_faults"), [("HEAD", 0), ("HEAD-dirty", 1), ("0" * 40, 1), (None, 1)])
def test_counts_of_tests_and_benchmarks_name_a_commit_of_the_history(tmp_path, commit, n_faults):
    (tmp_path / "promises.json").write_text(json.dumps({"commit": commit}), "utf-8")
    assert len(list(release.faults_of_measurements(tmp_path))) == n_faults


def test_a_folder_without_notes_is_no_release(tmp_path):
    assert list(release.faults_of_notes(tmp_path))


def test_missing_repetitions(monkeypatch):
    monkeypatch.setattr(release, "settings", lambda scale: {"repetitions": 9})
    assert list(release.faults_of_repetitions()) == ["9 of 10 are complete"]
