"""The pipeline in a small project of its own: one epoch, two instances, real data."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from dcgmm import datasets, experiments
from dcgmm.experiments import config, dask_workers, fingerprint, on_demand, stages, store, verify, yaml_file
from dcgmm.experiments import train as train_module
from dcgmm.experiments.train import fit_record, train_record, versions_here

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["quick"]
IMAGES = 5000
LONG = bool(os.environ.get("DCGMM_LONG"))


# What TensorFlow, its libraries and Python write without need; progress and our own sentences are none of it.
NOISE = re.compile(r"tensorflow|cuda|onednn|absl|retracing|warning", re.IGNORECASE)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copy(ROOT / "dvc.yaml", folder)
    set_params(folder, epochs=1)
    return folder


def set_params(folder, **changed):
    block = {**PARAMS, "architectures": ["2L-b", "1L"], "ablations": [], "images": IMAGES, "measured": 5, **changed}
    (folder / "params.yaml").write_text(yaml.safe_dump({"quick": block}), "utf-8")


def run(folder, *arguments, program=("-m", "dcgmm.experiments")):
    own = ("DCGMM_", "TF_CPP_MIN_LOG_LEVEL")  # a user has set none of these
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= {name: value for name, value in os.environ.items() if name == "DCGMM_DATA"}
    command = [sys.executable, *program, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not NOISE.search(done.stderr), done.stderr
    return done.stdout


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def train(project, monkeypatch, capsys):
    """Return a function that runs a training stage in the project, within this process, and returns what it prints."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("DCGMM_RESULTS", raising=False)
    config.root.cache_clear()

    def train():
        stages.collect("mnist", "0-4", "quick")
        return capsys.readouterr().out

    yield train
    config.root.cache_clear()


def test_training_collects_resumes_and_repeats_to_the_byte(project, train):
    assert "2 trainings, of which 0 are done" in train()
    first = contents(project / "results")
    collected = {"models": "keras", "metrics": "json", "repetitions": "csv", "history": "csv"}
    expected = {Path("quick", kind, "mnist", "0-4", f"{name}.{suffix}") for kind, suffix in collected.items()
                for name in ("1L", "2L-b")}  # fmt: skip
    expected.add(Path("quick", "repetitions", "mnist", "0-4", "provenance.json"))
    assert {path for path in first if path.parts[0] == "quick"} == expected
    assert experiments.trained("1L", "mnist", "0-4").moments[0].count == IMAGES

    # As after an interruption: one repetition is there, one is gone, one file is damaged.
    stored = sorted((project / "results" / "store").iterdir())
    stored[0].unlink()
    shutil.rmtree(project / "results" / "quick")
    assert "2 trainings, of which 1 are done" in train()
    assert contents(project / "results") == first
    stored[1].write_bytes(stored[1].read_bytes()[:1000])
    shutil.rmtree(project / "results" / "quick")
    assert "2 trainings, of which 1 are done" in train()
    assert contents(project / "results") == first


def test_a_change_of_the_evaluating_code_measures_again_and_trains_nothing(project, train, monkeypatch):
    train()
    models = {path: experiments.trained(path.stem, "mnist", "0-4").get_weights()
              for path in (project / "results" / "quick" / "models" / "mnist" / "0-4").iterdir()}  # fmt: skip
    tables = contents(project / "results" / "quick" / "repetitions")
    assert "2 trainings, of which 2 are done\n" in train()
    monkeypatch.setattr(train_module, "fit_record", lambda *_: pytest.fail("it trained again"))
    monkeypatch.setattr(fingerprint, "of_evaluation", lambda: {"evaluation": "new", "samples": "new"})
    monkeypatch.setattr(train_module, "_pin_threads", lambda n: None)

    def run_here(function, calls, keep, *_, **__):
        for name, (arguments, _) in calls.items():
            keep(name, function(*arguments))
        return {}

    monkeypatch.setattr(dask_workers, "run", run_here)
    assert "2 trainings, of which 0 are done, and 2 are only evaluated again" in train()
    for path, weights in models.items():
        for a, b in zip(experiments.trained(path.stem, "mnist", "0-4").get_weights(), weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert store.read(path, "versions")["samples"] == "new"
    for path, content in contents(project / "results" / "quick" / "repetitions").items():
        if path.suffix == ".csv":
            assert content != tables[path] and b",new,new" in content
        else:  # what made the trainings has not changed
            assert json.loads(content)["origins"] == json.loads(tables[path])["origins"]


def test_repetitions_add_up_to_what_they_are_when_trained_together(project, train):
    ablations = [
        {"architectures": ["1L"], "changes": {"learning_rate": 0.02}},
        {"architectures": ["1L"], "changes": {"learning_rate": 0.03}, "repetitions": 1},
    ]
    asked = {"epochs": 1, "architectures": ["1L"], "ablations": ablations}
    quick, store = (project / "results" / folder for folder in ("quick", "store"))
    try:
        set_params(project, **asked)
        train()
        shutil.rmtree(store)  # as in another clone, which has only the collected files
        set_params(project, **asked, repetitions=2)
        assert "5 trainings, of which 3 are done" in train()
        added = contents(quick)
        shutil.rmtree(store)
        shutil.rmtree(quick)
        assert "5 trainings, of which 0 are done" in train()
        assert contents(quick) == added
        assert not [path for path in added if "2L-b" in path.name]
    finally:
        set_params(project, epochs=1)


def test_a_repetition_with_other_parameters_is_never_reused(project, train):
    train()
    set_params(project, epochs=1, learning_rate=0.04)
    try:
        assert "2 trainings, of which 0 are done" in train()
    finally:
        set_params(project, epochs=1)
    # A file at the right place is not reused, either, if it holds another record.
    stored = sorted((project / "results" / "store").iterdir())
    records = {path: store.read(path, "record") for path in stored}
    first = {r["learning_rate"]: p for p, r in records.items() if "F(28" in r["architecture"] and not r["seed"]}
    fast, slow = first[0.05], first[0.04]
    shutil.copy(slow, fast)
    assert "2 trainings, of which 1 are done" in train()
    assert store.read(fast, "record")["learning_rate"] == 0.05


@pytest.mark.promise("fault", "a training of the pipeline diverges")
def test_a_training_that_diverges_is_named_and_nothing_of_it_is_stored(project, train):
    train()
    before = contents(project / "results")
    set_params(project, epochs=1, learning_rate=1000.0)
    try:
        with pytest.raises(on_demand.TrainingsFailed, match=r"2 of 2 .*\n.*TrainingDiverged: .* epoch 1, at step [23]"):
            train()
    finally:
        set_params(project, epochs=1)
    assert contents(project / "results") == before


def test_a_notebook_trains_what_is_missing_and_executes_to_the_same_bytes(project):
    def execute():
        run(
            project,
            "02-interpretability",
            "--dataset=mnist",
            program=("-P", ROOT / "dcgmm" / "experiments" / "execute.py"),
        )
        return contents(project / "results")

    first = execute()
    assert execute() == first
    made = {str(path.relative_to("quick")) for path in first if path.parts[0] == "quick"}
    expected = {f"figures/02-interpretability-mnist/sparsity.{suffix}" for suffix in ("png", "pdf", "md")}
    assert made >= expected | {"notebooks/02-interpretability-mnist.ipynb", "tables/02-interpretability-mnist/C10.json"}
    cells = json.loads(first[Path("quick/notebooks/02-interpretability-mnist.ipynb")])["cells"]
    assert any("injected-parameters" in cell["metadata"].get("tags", []) for cell in cells)


# Every notebook, in the long tests alone.
REPEATED = sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb")) if LONG else []


@pytest.mark.slow
def test_a_project_at_another_place_makes_the_same_bytes(tmp_path, record_property):
    made = []
    for place in ("a", "another place/of a long name"):
        folder = tmp_path / place
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")
        shutil.copy(ROOT / "dvc.yaml", folder)
        (folder / "results").mkdir()
        shutil.copy(ROOT / "results" / "bench.csv", folder / "results")
        set_params(folder, epochs=1, images=500, architectures=["2L-c", "1L"] if LONG else ["1L"])
        run(folder, "train", "--dataset=mnist", "--classes=0-4")
        for name in REPEATED:
            run(folder, name, "--dataset=mnist", program=("-P", ROOT / "dcgmm" / "experiments" / "execute.py"))
        made.append(contents(folder / "results"))
    assert made[0] == made[1]
    kinds = {"keras": "models", "ipynb": "executed notebooks", "csv": "tables", "png": "figures", "pdf": "figures"}
    for kind, what in kinds.items():
        if n := sum(path.suffix == f".{kind}" for path in made[0]):
            record_property("promise", ("bytes compared", f"{what} (.{kind}) of two projects at different places", n))


@pytest.mark.promise("fault", "dvc.lock is cut or empty, as after a power cut")
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_cut_lock_is_named_with_the_remedy(project, monkeypatch, left):
    monkeypatch.chdir(project)
    config.root.cache_clear()
    lock = ROOT / "results" / "paper" / "dvc.lock"
    content = lock.read_text("utf-8")
    path = project / "dvc.lock"
    try:
        path.write_text(content[: int(left * len(content))].rpartition("\n")[0] + "\n  md5: '", "utf-8")
        with pytest.raises(yaml_file.Unreadable, match="dvc.lock is damaged.*Delete it and run the same command again"):
            stages.check_locks()
        path.write_text(content, "utf-8")
        stages.check_locks()
    finally:
        path.unlink()
        config.root.cache_clear()


def test_the_two_scales_have_the_same_stages_and_plots():
    text = (ROOT / "dvc.yaml").read_text("utf-8").replace("results/quick/README.md", "results/README.md")
    stages, plots = text.replace("quick", "paper").split("plots:\n  - ")
    paper = yaml.safe_load((ROOT / "results" / "paper" / "dvc.yaml").read_text("utf-8"))
    expected = yaml.safe_load(stages)
    for stage in expected["stages"].values():
        stage.get("do", stage)["wdir"] = "../.."
    # Plots have no working folder: their paths are relative to their file.
    expected |= yaml.safe_load("plots:\n  - " + plots.replace("results/paper/", ""))
    assert paper == expected


def test_the_committed_results_are_those_of_this_code():
    assert list(verify.faults_of_lock(ROOT / "results" / "paper")) == []


def test_an_ablation_is_trained_on_the_classes_that_it_names(monkeypatch):
    block = experiments.settings("quick")
    ablations = [{"architectures": ["1L", "2L-d"], "changes": {"start_delay": 0.1}, "classes": "all"}]
    ablations += [{"architectures": ["2L-c", "2L-c C(10)"]}]
    changed = {**block, "architectures": ["3L-a"], "ablations": ablations}
    monkeypatch.setattr(stages, "settings", lambda scale: changed)
    trainings = {classes: stages.trainings_of("mnist", classes, "quick") for classes in ("all", "0-4")}
    assert [t.architecture for t in trainings["all"]] == ["3L-a", "1L", "2L-d"]
    assert trainings["all"][-1].record()["start_delay"] == 0.1
    assert [t.architecture for t in trainings["0-4"]] == ["3L-a", "2L-c", "2L-c C(10)"]
    assert [t.measures for t in trainings["all"]] == [(), (), ()]
    assert [t.measures for t in trainings["0-4"]] == [("samples",), ("samples", "sharpened", "improved", "top_s"), ()]


def test_the_scales_differ_only_in_their_numbers():
    blocks = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    assert (
        blocks["quick"].keys() - {"images", "measured"} == blocks["paper"].keys()
    )  # the paper's scale leaves no image out
    assert set(config.TRAINING_KEYS) <= blocks["quick"].keys()


@pytest.mark.parametrize("spacing", [" ", ""])
def test_layer_after_layer_trains_each_in_its_turn_and_the_classifier_with_the_last(spacing):
    record = experiments.Training(
        spacing.join(["F(4,4,2,2)", "G(4)", "F(3,3,1,1)", "G(4)", "C(3)"]), "mnist", changes={"layerwise": True}
    ).record()
    rng = np.random.default_rng(0)
    x, y = rng.random((100, 8, 8, 1), "float32"), rng.integers(0, 3, 100)
    model, history = fit_record(record | {"epochs": 1, "batch_size": 10}, x, y, lambda text: None)
    assert [layer.trainable for layer in model.gmm_layers] == [False, True]
    assert np.any(model.classifier.kernel.numpy())
    assert "accuracy" in history


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "4L"}, "unknown architecture '4L'"),
        ({"dataset": "cifar"}, "unknown data set 'cifar'"),
        ({"classes": "five"}, "classes are labels and ranges such as '0-4' or '0,2,7-9', received 'five'"),
        ({"classes": "8-12"}, r"mnist has no classes \[10, 11, 12\].* it has 0-9"),
        ({"scale": "huge"}, "unknown scale 'huge': params.yaml has quick, paper"),
        (
            {"changes": {"threads": 0, "layerwise": "no"}},
            "has 2 faults:\n.*threads: received 0.*\n.*layerwise: received 'no'",
        ),
        ({"changes": {"start": "kmeans"}}, "changes.start: received 'kmeans' .*, expected \"k-means\""),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        experiments.Training(**{"architecture": "1L", "dataset": "mnist", **arguments})


def test_a_data_set_of_params_is_trained_on_by_its_name(tmp_path, monkeypatch):
    def write_arrays(n):
        x, y = np.random.default_rng(n).integers(0, 256, (n, 6, 8), dtype="uint8"), np.arange(n) % 3
        np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])

    write_arrays(300)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    config.root.cache_clear()
    monkeypatch.setattr(datasets, "OWN", {})
    monkeypatch.setattr(datasets, "TITLES", dict(datasets.TITLES))
    params = {"quick": {**PARAMS, "epochs": 1}, "datasets": {"mine": {"npz": "a.npz"}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    try:
        training = experiments.Training("F(6,8,1,1) G(4)", "mine")
        record = training.record()
        assert record["classes"] == [0, 1, 2]
        assert record["data"] == datasets.fingerprint("mine")
        assert store.read(on_demand.store_repetition(training), "metrics")["components"] == 4
        with pytest.raises(ValueError, match=r"mine has no classes \[3, 4\]"):
            experiments.Training("1L", "mine", "0-4")

        write_arrays(301)
        source = params["datasets"]["mine"], str(tmp_path)
        failed = dask_workers.run(
            train_record, {"a": ((record, source, versions_here()), 1)}, lambda name, content: None
        )
        assert "mine is not what it was" in str(failed["a"])
        params["datasets"]["mnist"] = params["datasets"].pop("mine")
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        with pytest.raises(ValueError, match=r"datasets\.mnist: the name 'mnist' is taken"):
            experiments.settings("quick")
    finally:
        config.root.cache_clear()
