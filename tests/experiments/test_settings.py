"""params.yaml: what is wrong in it is named before anything runs, all of it at once."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import bad_input
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dcgmm import architectures, datasets, experiments
from dcgmm.experiments import config, dask_workers, memory, settings_check, stages, yaml_file

ROOT = Path(__file__).parents[2]
BLOCKS = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a function that writes params.yaml into a project of its own and reads it as the experiments do."""
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "OWN", {})
    monkeypatch.setattr(datasets, "TITLES", dict(datasets.TITLES))
    config.root.cache_clear()

    def write(content):
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
        (tmp_path / "params.yaml").write_text(text, "utf-8")
        return tmp_path

    yield write
    config.root.cache_clear()


def changed(**keys):
    blocks = copy.deepcopy(BLOCKS)
    blocks["quick"] |= keys
    return blocks


def test_the_projects_own_files_have_no_faults():
    assert settings_check.faults(BLOCKS) == []
    assert len(stages.matrix()) == 4


@bad_input.settings(10)
def test_all_faults_are_named_at_once_with_key_value_and_what_was_expected(project):
    blocks = changed(epochs=0, learning_rate=-0.05, thread=1, annealing={"rat": 0.1, "tolerance": float("nan")})
    del blocks["quick"]["threads"]
    blocks["quick"]["ablations"] = [{"architectures": ["1L"], "changes": {"optimizer": "Adm"}, "repetition": 1}]
    blocks["paper"]["architectures"] = ["2L-c", "F(8,8,2,2)G(25) F(11,11,1,1)G(36)", "4L"]
    project(blocks)
    with pytest.raises(settings_check.SettingsInvalid) as raised:
        experiments.settings("quick")
    lines = str(raised.value).splitlines()
    assert lines[0] == "params.yaml has 10 faults:" and len(lines) == 11
    for begin in [
        "quick.epochs: received 0 (int), expected a whole number of at least 1",
        "quick.learning_rate: received -0.05 (float), expected a number above 0",
        "quick.thread: unknown key; did you mean `threads`?",
        "quick.threads: this key is missing",
        "quick.annealing.rat: unknown key; did you mean `rate`?",
        "quick.annealing.tolerance: received nan",
        "quick.ablations[0].changes.optimizer: received 'Adm'",
        "quick.ablations[0].repetition: unknown key; did you mean `repetitions`?",
        "paper.architectures[1]: 'F(8,8,2,2)G(25) F(11,11,1,1)G(36)' is the same as '2L-c'",
        "paper.architectures[2]: unknown architecture '4L'",
    ]:
        assert any(line.strip().startswith(begin) for line in lines), begin


WRONG = {
    "epochs": [0, -1, 1.5, True, "3", None, [3]],
    "batch_size": [0, 2.5, "many", 1e30, 2**31],
    "images": [0, -5, "all"],
    "measured": [0, -5, "all"],
    "repetitions": [0, "1", 10**9],
    "threads": [0, False, 100_000],
    "seed": [-1, "a", 2**70],
    "learning_rate": [0, -0.05, float("inf"), "1e-3", True, None],
    "centroid_phase": [1.1, -0.1, "0.4"],
    "annealing": [None, 3, {"rate": 0}, {"rate": "0.1"}, {"sigma_start": 0.1, "sigma_end": 0.2}],
    "architectures": [None, [], "1L", [3], ["G(25"], ["1L", "1L"], ["F(28,28,1,1)"], ["F(28,28,1,1) G(5)"]],
    "ablations": ["x", [3], [{}], [{"architectures": []}], [{"architectures": ["1L"], "classes": 3}],
                  [{"architectures": ["1L"], "changes": {"layerwise": "no"}}],
                  [{"architectures": ["1L"], "changes": {"start": "kmeans"}}],
                  [{"architectures": ["1L"], "changes": {"gmm": {"n_components": 4}}}],
                  [{"architectures": ["1L"], "changes": {"gmm": {"start_precision": 30}}}],
                  [{"architectures": ["1L"], "changes": {"rates": [1, 2]}}]],
}  # fmt: skip


@bad_input.settings()
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_fault_at_its_key(key, value):
    (fault,) = settings_check.faults(changed(**{key: value}))
    assert fault.startswith(f"quick.{key}")


@given(st.floats(1e-12, 1e12), st.sampled_from(["{:.3e}", "{!r}", "{:.0E}"]))
def test_numbers_are_read_as_yaml_1_2_and_dvc_write_them(number, form):
    text = form.format(number)
    assert yaml_file.parse(f"{{rate: {text}, gains: [{text}]}}".encode(), "a") == {
        "rate": float(text),
        "gains": [float(text)],
    }


def test_a_count_in_another_form_is_the_same_count_in_the_record(project):
    expected = project(changed()) and experiments.Training("1L", "mnist").record()
    project((ROOT / "params.yaml").read_text("utf-8").replace("epochs: 3", "epochs: 3e0").replace("0.0625", "625e-4"))
    record = experiments.Training("1L", "mnist").record()
    assert record == expected and type(record["epochs"]) is int


@bad_input.settings()
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("quick: {epochs: 1, epochs: 2}", "line 1: the key quick.epochs occurs twice"),
        ("quick:\n\tepochs: 3\n", "line 2, column 1: .*replace the tab"),
        ("quick: [1", "line 1"),
        ("- quick", "no block of keys"),
        ("datasets: {}", "there is no block with the settings of a scale"),
        ("dataset: {mine: {npz: a.npz}}", "dataset: unknown key; did you mean `datasets`"),
        ("quick: &a\n  b: *a\n", "this block contains itself, by the alias at quick.b"),
        ("quick:", r"quick: received None \(nothing\), expected a block of keys"),
    ],
)
def test_a_file_that_is_no_params_yaml_is_refused_with_the_place(project, content, message):
    project(content)
    with pytest.raises(ValueError, match=message):
        experiments.settings("quick")


@bad_input.settings()
def test_another_encoding_is_named_and_a_byte_order_mark_is_no_fault(project):
    path = project(changed()) / "params.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert experiments.settings("quick")["epochs"] == 3
    path.write_bytes(b"# M\xf6bel\n" + path.read_bytes())
    with pytest.raises(ValueError, match="line 1: the file is not UTF-8"):
        experiments.settings("quick")


@bad_input.names()
@pytest.mark.parametrize(
    "name", ["../x", "a;b", "", " ", "a b", "-a", "a/b", "$(touch x)", "Möbel", "a" * 61, "'", "a\n"]
)
def test_a_name_that_a_shell_or_a_folder_would_not_bear_is_refused(project, name):
    project({**changed(), "datasets": {name: {"npz": "a.npz"}}})
    with pytest.raises(ValueError, match="the name of a data set has 1 to 60 letters"):
        experiments.Training("1L", "mnist")


@pytest.mark.promise("bad input", "two data sets whose names differ in upper and lower case alone")
def test_names_that_some_systems_take_for_one_folder_are_refused():
    (fault,) = settings_check.faults({**changed(), "datasets": {"mine": {"npz": "a.npz"}, "Mine": {"npz": "b.npz"}}})
    assert fault.startswith("datasets.Mine: 'mine' has the same letters")


@bad_input.names()
@pytest.mark.parametrize("name", [2024, True, 1.5])
def test_a_name_that_is_no_text_is_to_be_written_in_quotes(project, name):
    project({**changed(), "datasets": {name: {"npz": "a.npz"}}})
    with pytest.raises(ValueError, match=r"no text: in params.yaml, write it in quotes"):
        experiments.Training("1L", "mnist")


def write_arrays(path, shape=(6, 8), n_classes=3, n=30):
    x, y = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype="uint8"), np.arange(n) % n_classes
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)


BAD_ENTRIES = [
    None,
    {"folder": "not/here", "size": 0},
    {"npz": "a.npz", "nzp": 1},
    {"npz": "a.npz", "architectures": ["4L"]},
    3,
]


@bad_input.settings()
@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_the_summary_names_a_wrong_entry_with_its_reason(project, entry):
    project({**changed(), "datasets": {"theirs": entry}})
    assert "theirs: cannot be used: params.yaml, datasets.theirs: " in "\n".join(stages.summary())


@bad_input.settings()
@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_a_wrong_entry_stops_only_what_needs_it(project, capsys, entry):
    write_arrays(project({**changed(), "datasets": {"good": {"npz": "a.npz"}, "theirs": entry}}) / "a.npz")
    config.warn_of.cache_clear()
    assert experiments.Training("1L", "mnist").record()["dataset"] == "mnist"
    assert experiments.Training("F(6,8,1,1) G(4)", "good").labels == (0, 1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the data set 'theirs' cannot be used: params.yaml, datasets.theirs: ")
    with pytest.raises(ValueError, match="params.yaml, datasets.theirs: "):
        experiments.Training("1L", "theirs")


def test_missing_files_of_a_data_set_are_noted_where_its_stages_look(project, monkeypatch, capsys):
    entries = {"good": {"npz": "a.npz", "architectures": ["F(6,8,1,1) G(4)"]}, "gone": {"npz": "gone.npz"}}
    folder = project({**changed(), "datasets": entries})
    write_arrays(folder / "a.npz")
    monkeypatch.setattr(datasets, "fetch", lambda name: None)
    monkeypatch.delenv("DCGMM_RESULTS", raising=False)
    stages.fetch_data("quick")
    noted = {path.stem: path.read_text("utf-8") for path in (folder / "results" / "quick" / "data").iterdir()}
    assert noted["mnist"] == datasets.fingerprint("mnist") + "\n"
    assert noted["good"] == datasets.fingerprint("good") + "\nF(6,8,1,1) G(4)\n"
    assert noted["gone"].startswith("cannot be used: ") and "gone.npz" in noted["gone"]
    assert "the data set 'gone' cannot be used" in capsys.readouterr().err
    with pytest.raises(settings_check.SettingsInvalid, match="the data set 'gone' cannot be used: .*gone.npz"):
        stages.collect("gone", "all", "quick")
    items = [stages.Trained("gone", "all"), stages.Trained("good", "all"), stages.Trained("good", "0-7")]
    assert [t.dataset for t in stages.trainings_of_all(items, "quick")] == ["good"]
    told = capsys.readouterr().err
    assert "left out: gone all: " in told and "good has no classes [3, 4, 5, 6, 7]" in told
    summary = "\n".join(stages.summary())
    assert "good: 30 training and 30 test images of 6×8×1" in summary and "gone: cannot be used" in summary


@bad_input.layers()
def test_architectures_that_do_not_fit_are_named_before_anything_is_trained(project, monkeypatch):
    lists = {"architectures": ["F(6,8,1,1) G(4)", "F(7,8,1,1) G(4)"]}
    folder = project({**changed(), "datasets": {"mine": {"npz": "a.npz", **lists}}})
    write_arrays(folder / "a.npz")
    monkeypatch.setattr(stages, "matrix", lambda: [stages.Trained("mnist", "all"), stages.Trained("mine", "all")])
    (warning,) = [line for line in stages.summary() if line.startswith("warning")]
    assert "'F(7,8,1,1) G(4)' does not fit the images of mine" in warning and "layer F1" in warning


def test_fewer_trainings_run_at_a_time_where_the_images_fill_the_memory(project, monkeypatch):
    folder = project({**changed(), "datasets": {"mine": {"npz": "a.npz"}}})
    write_arrays(folder / "a.npz")
    assert datasets.describe("mnist").n_bytes == 4 * 70_000 * 784
    experiments.settings("quick")
    assert datasets.describe("mine").n_bytes == 4 * 60 * 48
    monkeypatch.setattr(dask_workers, "CPU_COUNT", 8)
    monkeypatch.setattr(memory, "free_bytes", lambda: 8 * 2**30)
    fitting = [dask_workers.workers_that_fit(1, memory.bytes_of_training(n)) for n in (0, 2**30, 2**33)]
    assert fitting == [6, 1, 1]


PROPOSED = architectures.propose_architectures((14, 14))
OWN_ARCHITECTURES = [
    ((28, 28), 3, {}, ["2L-c C(3)", "1L", "F(8,8,2,2) G(4)"]),
    ((28, 28), 1, {}, ["1L", "F(8,8,2,2) G(4)"]),
    ((28, 28, 3), 12, {}, ["2L-c C(12)", "1L", "F(8,8,2,2) G(4)"]),
    ((14, 14), 2, {}, [f"{PROPOSED[0]} C(2)", *PROPOSED, "F(8,8,2,2) G(4)"]),
    ((14, 14), 2, {"architectures": ["F(14,14) G(9)"]}, ["F(14,14) G(9)"]),
]


@pytest.mark.parametrize(("shape", "n_classes", "keys", "expected"), OWN_ARCHITECTURES)
def test_the_architectures_follow_the_data(project, shape, n_classes, keys, expected):
    asked = changed(architectures=["2L-c C(10)", "1L", "F(8,8,2,2) G(4)"])
    folder = project({**asked, "datasets": {"mine": {"npz": "a.npz", **keys}}})
    write_arrays(folder / "a.npz", shape, n_classes)
    trainings = stages.trainings_of("mine", "all", "quick")
    assert [t.architecture for t in trainings] == expected
    assert all(t.is_instance for t in trainings)  # without the paper's ablations


def test_what_to_train_on_is_that_of_dvc_yaml_unless_it_is_named():
    named = [(item.dataset, item.classes) for item in stages.chosen(["mnist", "mine"])]
    assert named == [("mnist", "all"), ("mnist", "0-4"), ("mine", "all")]
    assert stages.chosen(["mine"], ["0-1"]) == [stages.Trained("mine", "0-1")]
    assert [item.dataset for item in stages.chosen(None, ["0"])] == ["mnist", "fashion_mnist"]


@bad_input.settings(3)
def test_wrong_items_of_dvc_yaml_are_all_named(project):
    folder = project(changed())
    text = (ROOT / "dvc.yaml").read_text("utf-8")
    text = text.replace("{dataset: mnist, classes: all}", "{dataset: a;b, classes: 4-0}")
    (folder / "dvc.yaml").write_text(text.replace("{dataset: mnist, ", "{data: mnist, "), "utf-8")
    with pytest.raises(settings_check.SettingsInvalid) as raised:
        stages.matrix()
    for part in (
        "mnist-all.dataset: unknown data set 'a;b'",
        "mnist-all.classes: received '4-0'",
        "mnist-0-4: received",
    ):
        assert f"stages.train.foreach.{part}" in str(raised.value)


def test_dvc_quotes_items_for_the_shell(project):
    from dvc.repo import Repo

    folder = project(changed())
    text = (ROOT / "dvc.yaml").read_text("utf-8")
    (folder / "dvc.yaml").write_text(
        text.replace("{dataset: mnist, classes: all}", "{dataset: 'a;b $(c)', classes: all}")
    )
    stage = Repo.init(str(folder), no_scm=True).stage.load_one(name="train@mnist-all")
    assert stage.cmd == "python -m dcgmm.experiments train --scale quick --dataset 'a;b $(c)' --classes all"


PROGRAM = """
import warnings
warnings.filterwarnings("ignore", category=EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module=r"dcgmm\\.")
from dcgmm import experiments
from dcgmm.experiments import fingerprint, report, stages
print(ascii(experiments.settings("quick")["architectures"]), len(stages.matrix()), len(fingerprint.all_keys()))
print(report.code_version())
print(ascii(stages.declared_datasets()))
"""


def test_text_is_read_as_utf_8_in_any_locale(project):
    folder = project({**changed(), "datasets": {"mine": {"folder": "Möbel", "size": 28}}})
    locale = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "warn_default_encoding", "-c", PROGRAM]
    run = subprocess.run(command, cwd=folder, env={**os.environ, **locale}, capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    assert "{'mine': {'folder': 'M\\xf6bel', 'size': 28}}" in run.stdout


@pytest.mark.parametrize("text", [b"epochs: 050", b"epochs: 1:30", b"epochs: 0o62"])
def test_numbers_that_yaml_versions_read_differently_stay_text(text):
    assert isinstance(yaml_file.parse(text, "params.yaml")["epochs"], str)
    assert yaml_file.parse(b"[50, -3, 0, 1e-3, 2.5]", "params.yaml") == [50, -3, 0, 0.001, 2.5]
