"""Names and parameters are data: no text of a user becomes a command, code, or a path elsewhere."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from dcgmm.experiments import config, execute, own_run, store, yaml_file
from dcgmm.experiments.report import Report
from dcgmm.experiments.spec import Training

ROOT = Path(__file__).parents[2]
INERT = [
    "$(touch ran)",
    "`touch ran`",
    "'; touch ran; '",
    '"; touch ran; "',
    "../../x",
    "/x",
    "a\ntouch ran",
    "-x",
    "{x}",
]
TEXTS = st.sampled_from(INERT) | st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, in which this process works."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    block = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["quick"]
    (folder / "params.yaml").write_text(yaml.safe_dump({"quick": block}), "utf-8")
    (folder / "dvc.yaml").write_text("stages: {}", "utf-8")
    monkeypatch.chdir(folder)
    for name in ("DCGMM_RESULTS", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    config.root.cache_clear()
    yield folder
    config.root.cache_clear()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    architecture=TEXTS | st.just("1L"), dataset=TEXTS | st.just("mnist"), classes=TEXTS | st.just("0-4"), scale=TEXTS
)
@example("F(28,28,1,1) G(25) C(10)", "mnist", "0-4", "quick")
@example("1L", "mnist", "../../0", "quick")
@example("../1L", "mnist", "all", "quick")
@pytest.mark.promise("bad input", "any text as an architecture, a data set, classes or a scale", 20)
def test_a_training_is_refused_or_stays_in_the_results(project, architecture, dataset, classes, scale):
    try:
        training = Training(architecture, dataset, classes, scale)
        paths = [training.collected("models"), store.place(training.record())]
    except ValueError as error:
        assert str(error)
    else:
        for path in paths:
            assert path.resolve().is_relative_to((project / "results").resolve())
            assert len(path.relative_to(project / "results").parts) in (2, 5)


@given(parameters=st.dictionaries(st.sampled_from(["n_samples", "instance"]), VALUES))
@pytest.mark.promise("bad input", "any text as the value of a notebook's parameter", 20)
def test_values_of_parameters_are_literals_in_the_notebook(parameters):
    parameters = execute.parsed_parameters(json.dumps(parameters))
    received = {}
    exec(PythonTranslator.codify(parameters), {"__builtins__": {"float": float}}, received)
    assert received == parameters


@given(name=TEXTS)
@example("x = 1\nimport os")
@example("__import__('os')")
@pytest.mark.promise("bad input", "any text as the name of a notebook's parameter", 20)
def test_names_of_parameters_are_names(name):
    text = json.dumps({name: 1})
    if name.isidentifier():
        assert execute.parsed_parameters(text) == {name: 1}
    else:
        with pytest.raises(execute.argparse.ArgumentTypeError, match="expected a JSON object such as"):
            execute.parsed_parameters(text)


@given(value=VALUES)
@pytest.mark.promise("bad input", "any text as a value of PARAMS", 20)
def test_values_of_params_come_back_as_they_were_written(value):
    written = shlex.quote(f"n_samples={json.dumps(value)}")
    try:
        asked = own_run.chosen(["n_samples"], parameters=written)
    except own_run.NotRunnable as error:
        assert "n_samples" in str(error)
    else:
        assert asked == {"n_samples": yaml_file.parse(json.dumps(value).encode(), "the value")}


@pytest.mark.promise("bad input", "a data set or a scale that is a path, given to a notebook")
@pytest.mark.parametrize("option", ["--dataset", "--scale"])
@pytest.mark.parametrize("text", ["../x", "/x", "a/b", "a\\b", "..", ""])
def test_a_notebook_is_not_executed_into_another_folder(project, capsys, option, text):
    (project / "notebooks" / "small.ipynb").write_text("", "utf-8")
    with pytest.raises(SystemExit):
        execute.arguments(["small", "--dataset=mnist", f"{option}={text}"])
    assert f"expected a name without slashes, received {text!r}" in capsys.readouterr().err


@pytest.mark.promise(
    "bad input", "a text with quotes, semicolons, dollar signs and ../ in an item of dvc.yaml", len(INERT)
)
def test_commands_of_dvc_receive_the_text_of_an_item(tmp_path):
    from dvc.repo import Repo

    train = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]["train"]["do"]["cmd"]
    items = {f"t{i}": {"dataset": text, "classes": "all"} for i, text in enumerate(INERT)}
    stages = {"stages": {"train": {"foreach": items, "do": {"cmd": train}}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False), "utf-8")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nprintf "%s\\0" "$@" >received\n', "utf-8")
    python.chmod(0o755)
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    found = Repo.init(str(tmp_path), no_scm=True).stage.collect()
    assert len(found) == len(INERT)
    for stage in found:
        subprocess.run(["/bin/sh", "-c", stage.cmd], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)
        words = (tmp_path / "received").read_bytes().decode().split("\0")
        text = items[stage.name.partition("@")[2]]["dataset"]
        assert words[2:-1] == ["train", "--scale", "quick", "--dataset", text, "--classes", "all"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.promise("bad input", "a parameter, a data set and a results folder with quotes, braces and dollar signs")
def test_an_executed_notebook_receives_texts_as_they_are(project):
    cells = [
        nbformat.v4.new_code_cell("dataset = scale = text = None"),
        nbformat.v4.new_code_cell("print(ascii(text))"),
    ]
    cells[0].metadata["tags"] = ["parameters"]
    metadata = nbformat.read(ROOT / "notebooks" / "01-tour.ipynb", as_version=4).metadata
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(notebook, project / "notebooks" / "small.ipynb")
    text, results = "\n".join(INERT), project / "{x} '$(touch ran)' {{ dataset }}"
    words = ["small", "--dataset=it's {x}; $(touch ran)", f"--parameters={json.dumps({'text': text})}"]
    command = [sys.executable, "-P", ROOT / "dcgmm" / "experiments" / "execute.py", *words]
    run = subprocess.run(command, env={**os.environ, "DCGMM_RESULTS": str(results)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    executed = nbformat.read(results / "quick" / "notebooks" / "small-it's {x}; $(touch ran).ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == ascii(text) + "\n"
    assert not list(project.rglob("ran"))


@pytest.mark.parametrize("name", [*INERT, "", "a.b", "a/b", None])
def test_the_name_of_a_figure_or_table_stays_in_its_folder(project, name):
    with pytest.raises(ValueError, match="the name of a file in figures must be made of letters"):
        Report("small", "mnist", "quick", 0).path("figures", name)


def test_a_notebook_that_is_run_by_hand_names_another_command_than_the_pipeline(project, monkeypatch):
    assert Report("small", "mnist", "quick", 0).origin["command"].startswith("make experiment NOTEBOOK=small")
    monkeypatch.setenv("DCGMM_RESULTS", str(project / "results"))
    assert Report("small", "mnist", "quick", 0).origin["command"].startswith("dvc repro --single-item dvc.yaml:")
