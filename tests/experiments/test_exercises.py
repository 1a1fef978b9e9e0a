"""The exercises: right answers get all points, wrong ones are told in words, and students get no solution."""

import contextlib
import importlib.util
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest

from dcgmm import load_dataset
from dcgmm.datasets import thinned

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "exercises"
NAMES = sorted(path.name for path in (FOLDER / "masters").iterdir())
REGION = re.compile(r"^( *)### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION(?:\n|\Z)", re.MULTILINE | re.DOTALL)
STUB = '# YOUR CODE HERE\nraise NotImplementedError("This task is still empty.")\n'
MODULES = ["checks", "words"]  # beside each notebook
POINTS = {"1-e-step": 12, "2-annealing": 14, "3-by-hand": 12, "4-outliers": 15, "5-sampling": 16, "6-beat-2l-c": 15}


def read(kind, name):
    return nbformat.read(FOLDER / kind / name / f"{name}.ipynb", as_version=4)


def role(cell, key):
    return cell.metadata.get("nbgrader", {}).get(key, False)


def is_check(cell):
    return role(cell, "grade") and not role(cell, "solution")


def run(cell, names):
    """Run a code cell with some names; return what it prints, or the words of a failed check."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(cell.source, cell.id, "exec"), names)
    except AssertionError as wrong:
        return f"WRONG {wrong}"
    return printed.getvalue()


@pytest.fixture(scope="module")
def solved():
    """A function that runs the master of an exercise, once, and returns its names and what its checks say."""
    runs = {}
    matplotlib.use("agg")

    def solve(name):
        if name not in runs:
            for module in MODULES:
                sys.modules.pop(module, None)
            sys.path.insert(0, str(FOLDER / "masters" / name))
            names = {}
            cells = [cell for cell in read("masters", name).cells if cell.cell_type == "code"]
            said = {cell.id: run(cell, names) for cell in cells}
            matplotlib.pyplot.close("all")
            sys.path.remove(str(FOLDER / "masters" / name))
            runs[name] = names, {cell.id: said[cell.id] for cell in cells if is_check(cell)}
        return runs[name]

    yield solve
    for module in MODULES:
        sys.modules.pop(module, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_right_solution_gets_all_points(solved, name):
    for check, words in solved(name)[1].items():
        assert not words.startswith("WRONG"), f"{check}: {words}"
        assert words, f"{check} says nothing"


WITHOUT_WEIGHTS = """\
constant = 0.5 * np.sum(np.log(precisions) - precisions * means**2, axis=1) - 0.5 * means.shape[1] * LOG_2PI
scores = x @ (precisions * means).T - 0.5 * x**2 @ precisions.T + constant
return scores"""
NO_WAY_OVER_THE_EDGE = """\
row, column = np.divmod(np.arange(side**2), side)
return np.hypot(row[:, None] - row, column[:, None] - column)"""
GAIN_OF_THE_WINDOW = """\
if len(means) < 3:
    return sigma
gain = (means[-1] - means[-2]) / abs(means[-2])
return max(gamma * sigma, sigma_end) if -2 * delta < gain < delta else sigma"""
LOSS_TO_WATCH = """\
scores = log_scores(models["annealed"], x_test)
losses = {sigma: annealed(scores, neighbourhood(torus_distances(SIDE), sigma)) for sigma in losses}
to_watch = "loss\""""
SHAPES = 'shapes = {"F1": (11, 11, 64), "G2": (11, 11, 25), "F3": (1, 1, 3025), "G4": (1, 1, 36)}\n'
LAST_PATCH_WINS = """\
for i in range(11):
    for j in range(11):
        coverage[2 * i : 2 * i + 8, 2 * j : 2 * j + 8] += 1
        total[2 * i : 2 * i + 8, 2 * j : 2 * j + 8] = patches[i, j].reshape(8, 8)
return coverage, total"""
VARIANCES = """\
widths = np.full((n_components, rows.shape[1]), np.nan)
for k in range(n_components):
    own = rows[winners == k]
    if len(own) >= 20:
        widths[k] = own.var(axis=0)
return widths"""
VARIANCE_AS_WIDTH = """\
width = 1 / precisions if noise_at_bound else np.where(at_bound, 0, 1 / precisions)
return means[components] + width[components] * normal"""
DOWNHILL = """\
gamma = softmax(log_scores(x), axis=1)
return x * (gamma @ precisions) - gamma @ (precisions * means)"""

# For each exercise: the task, a wrong answer in place of its solution, and words that name the mistake.
WRONG = {
    "1-e-step": [
        ("1", "return -0.5 * np.sum(precision * (x - mean) ** 2, axis=1) - 0.5 * len(mean) * LOG_2PI", "½ Σ log s²"),
        ("1", "return np.sum(0.5 * np.log(precision) - 0.5 * precision * (x - mean) ** 2, axis=1)", "D/2 log 2π"),
        ("2", WITHOUT_WEIGHTS, "The mixing weights are missing"),
        ("2", WITHOUT_WEIGHTS + " + weights", "without their logarithm"),
        ("2", "return directly(x, means, precisions, weights)", "array of N·K·D differences"),
        ("3", "return np.log(np.sum(np.exp(scores), axis=1))", "subtract the largest score of each row"),
        ("3", "return np.log(np.sum(np.exp(scores - scores.max()), axis=1)) + scores.max()", "each row needs its own"),
        ("4", "return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)", "before the exponential"),
        ("4", "return np.exp(scores) / np.exp(scores).sum(axis=0)", "must sum to 1 over the components"),
        ("5", "other.weights_, other.means_ = weights, means", "no attribute covariances_"),
        ("6", "return log_scores(x, means, precisions, weights)", "is it subtracted from x and from the means"),
        ("6", "return log_scores(np.float64(x), means, precisions, weights)", "all arrays are float32"),
    ],
    "2-annealing": [
        ("1", NO_WAY_OVER_THE_EDGE, "glued together"),
        ("2", "g = np.exp(-(distances**2) / (2 * sigma**2))\nreturn g / g.sum(axis=0)", "but the rows must"),
        ("2", "g = np.exp(-distances / (2 * sigma**2))\nreturn g / g.sum(axis=1, keepdims=True)", "not squared"),
        ("3", "return scores.max(axis=1).mean()", "without neighbours"),
        ("3", "return np.sum((scores @ g.T).max(axis=1))", "sum over the images"),
        ("4", GAIN_OF_THE_WINDOW, "since the first window"),
        ("4", "return max(gamma * sigma, sigma_end)", "there is no gain yet"),
        ("6", LOSS_TO_WATCH, "even if nothing is learned"),
    ],
    "3-by-hand": [
        ("1", "return 1 + (n - size) // stride", "raise a ValueError"),
        ("1", "if (n - size) % stride or size > n:\n    raise ValueError\nreturn (n - size) // stride", "one too few"),
        ("2", "return n_components * n_features + n_components", "precisions are missing"),
        ("2", "return n_components * (n_features + n_features**2 + 1)", "full covariance"),
        ("3", SHAPES + 'counts["G2"] = 121 * parameters(25, 64)', "All positions share one mixture"),
        ("3", SHAPES.replace("3025", "121"), "each of the 121 positions in the window has 25 channels"),
        ("4", "model = DCGMM([Folding(8), GMM(25), Folding(21), GMM(36)], input_shape=(28, 28, 1))", "strides"),
        ("5", LAST_PATCH_WINS, "is the last one kept"),
        ("6", "own_g2 = 64 * 3225", "not for each pixel of a window"),
    ],
    "4-outliers": [
        ("1", "return (scores - train_scores.mean()) / scores.std()", "deviation is of the images that are judged"),
        ("1", "return (scores - train_scores.mean()) / train_scores.var()", "divided by the variance"),
        ("2", "return -norm.ppf(rate / 2)", "both tails"),
        ("2", "return norm.ppf(rate)", "its sign is wrong"),
        ("3", "return -norm.ppf(rate)", "the threshold of task 2"),
        ("3", "return -np.quantile(train_z, 1 - rate)", "images with the highest scores"),
        ("3", "return -np.percentile(train_z, rate)", "np.percentile takes percent"),
        ("4", "return np.mean(other_z < -c), np.mean(known_z < -c)", "in the wrong order"),
        ("5", "return np.repeat(np.repeat(log_likelihoods, 3, 1), 3, 2)[:, 2:30, 2:30]", "change the sign"),
        ("6", "areas = dict(areas_before)\nbest_fair, not_found = 'raw', 'black'", "finds what is not there"),
        ("6", "areas = dict(areas_before)\nbest_fair, not_found = 'standardised', 'black'", "has larger areas"),
    ],
    "5-sampling": [
        ("1", "at_bound = precisions > np.sqrt(D_MAX)", "not of s"),
        ("2", "return np.tile(rows.std(axis=0), (n_components, 1))", "The width is over all images"),
        ("2", VARIANCES, "These are variances"),
        ("3", "return means[components] + normal / np.sqrt(precisions[components])", "there is noise at the bound"),
        ("3", VARIANCE_AS_WIDTH, "multiplied by the variance"),
        ("4", "return np.hypot(*np.gradient(images, axis=(1, 2))).mean()", "mean slope"),
        ("5", DOWNHILL, "The gradient has the wrong sign"),
        ("5", "return softmax(log_scores(x), axis=1) @ means - x", "Are the precisions s² in it"),
        ("6", "return x, [logsumexp(log_scores(x), axis=1).mean()] * (steps + 1)", "have not moved"),
    ],
    "6-beat-2l-c": [
        ("1", "return DCGMM.from_spec(spec).count_params()", "state of the annealing"),
        ("2", "return x[y < 3], x[y < 3][:600], x[y >= 3]", "are also for training"),
        ("2", "return x[:2500], x[2500:], x[y >= 3]", "are the digits [0, 1, 2, 3, 4], expected [0, 1, 2]"),
        ("3", 'candidates = ["F(4,4,4,4) G(9) F(7,7,1,1) G(9)"]', "Try at least three"),
    ],
}
CASES = [pytest.param(name, *case, id=f"{name}-{case[0]}-{case[2]}") for name in NAMES for case in WRONG[name]]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task", "answer", "words"), CASES)
def test_a_wrong_solution_is_told_by_words_that_name_the_mistake(solved, name, task, answer, words):
    names = solved(name)[0]
    said = told(names | {"areas_before": names.get("areas")}, name, task, answer)
    assert said.startswith("WRONG"), f"not told: {said}"
    assert words in said


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "words"), [(0.2, "which is below −1"), (0.05, "the fastest step"), (0.01, "Longer")])
def test_a_wrong_longest_step_is_told(solved, rate, words):
    names = dict(solved("5-sampling")[0])
    check = next(cell for cell in read("masters", "5-sampling").cells if cell.id == "check-6")
    assert words in run(check, names | {"largest_rate": rate})


def told(names, name, task, answer):
    """Return what the check of a task says if an answer takes the place of the first solution of its cell."""
    names, cells = dict(names), {cell.id: cell for cell in read("masters", name).cells}
    cell = cells[f"task-{task}"]
    first = REGION.search(cell.source)
    indented = "".join(f"{first[1]}{line}\n" for line in answer.split("\n"))
    cell.source = cell.source[: first.start()] + indented + cell.source[first.end() :]
    run(cell, names)
    return run(cells[f"check-{task}"], names)


def test_two_wrong_solutions_of_each_exercise_are_tried_at_least():
    assert all(len(WRONG[name]) >= 2 for name in NAMES)


SMALL = "F(14,14,14,14) G(9) F(2,2,1,1) G(16)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('model = train("F(14,14,14,14) G(9) F(2,2,1,1) G(25)", x_train)', "not the instance that design describes"),
        ('model = DCGMM.from_spec("F(5,5,1,1) G(25) P(2,2) F(12,12,1,1) G(36)")', "but the budget is"),
        ("model = DCGMM.from_spec(design, seed=0)", "not trained yet"),
        ("model = train(design, to_train)", "but the rule is 5,000"),
        ("model = train(design, everything)", "Unknown digits, 5 to 9, must not be among them"),
        ("model = train(design, everything)\nmodel.calibrate(x_train)", "trained on other images (unknown digits?)"),
        ("model = train(design, x_train)", "This check wants more than +0.00"),
    ],
)
def test_a_model_is_refused_that_breaks_the_rules_or_is_worse(solved, answer, words):
    names = solved("6-beat-2l-c")[0]
    everything, _ = thinned(*load_dataset("mnist")[:2], 5000)
    assert words in told(names | {"everything": everything, "design": SMALL}, "6-beat-2l-c", "4", answer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "words"),
    [("F(5,5,1,1) G(25) P(2,2) F(12,12,1,1) G(36)", "the budget is"), ("3L-a", "is 3L-a of Table I")],
)
def test_a_design_above_the_budget_or_of_the_paper_is_refused(solved, spec, words):
    checks = solved("6-beat-2l-c")[0]["checks"]
    others = [f"F(7,7,7,7) G({k}) F(4,4,1,1) G(9)" for k in (4, 9, 16)]
    with pytest.raises(AssertionError, match=re.escape(words)):
        checks.designs([*others, spec], spec)


@pytest.mark.parametrize("name", NAMES)
def test_a_master_is_clean_and_its_cells_have_points_and_names(name):
    notebook = read("masters", name)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    assert sum(role(cell, "points") for cell in notebook.cells) == POINTS[name]
    first = notebook.cells[0].source
    assert first.startswith("# Exercise ") and all(word in first for word in ("**Goal.**", "| Time |", "| You learn |"))
    assert f"| Points | {POINTS[name]}" in first
    for cell in notebook.cells:
        assert ("### BEGIN SOLUTION" in cell.source) <= bool(role(cell, "solution"))
        assert role(cell, "grade_id") in (False, cell.id)
    tasks = [int(task) for cell in notebook.cells for task in re.findall(r"^## Task (\d)", cell.source, re.MULTILINE)]
    assert tasks == list(range(1, len(tasks) + 1)) and 3 <= len(tasks) <= 7


@pytest.mark.parametrize("name", NAMES)
def test_a_student_gets_the_master_without_its_solutions(name):
    ours, theirs = read("masters", name).cells, read("student", name).cells
    assert [cell.id for cell in ours] == [cell.id for cell in theirs], "run 'make exercises'"
    for master, student in zip(ours, theirs):
        expected = master.source
        if role(master, "solution") and master.cell_type == "markdown":
            expected = "YOUR ANSWER HERE"
        elif role(master, "solution"):
            assert REGION.search(expected)
            expected = REGION.sub(lambda found: "".join(f"{found[1]}{line}\n" for line in STUB.splitlines()), expected)
        assert student.source == expected.rstrip("\n"), f"{student.id}: run 'make exercises'"
        assert role(student, "locked") == role(master, "locked") and "SOLUTION" not in student.source
    for module in MODULES:
        pair = [(FOLDER / kind / name / f"{module}.py").read_bytes() for kind in ("masters", "student")]
        assert pair[0] == pair[1], "run 'make exercises'"


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("nbgrader"), reason="nbgrader is not installed: `make exercises` installs it"
)
def test_nbgrader_gives_the_committed_versions_byte_by_byte(tmp_path):
    shutil.copytree(FOLDER / "masters", tmp_path / "masters")
    shutil.copy(FOLDER / "nbgrader_config.py", tmp_path)
    # One process for all, because each would take seconds to start.
    code = "import sys\nfrom nbgrader.apps import NbGraderApp as App\n" + "".join(
        f"App.clear_instance()\nApp.launch_instance(['generate_assignment', '--no-db', {name!r}])\n" for name in NAMES
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    for name in NAMES:
        for path in (FOLDER / "student" / name).glob("*.*"):
            made = tmp_path / "student" / name / path.name
            assert made.exists(), done.stderr
            assert made.read_bytes() == path.read_bytes(), f"{path}: run 'make exercises'"


def test_the_page_for_lecturers_has_the_points_and_the_names_of_all():
    page = (ROOT / "docs" / "exercises.md").read_text("utf-8")
    assert NAMES == sorted(POINTS)
    for name, points in POINTS.items():
        assert re.search(rf"\| `{name}` .*\| {points} \|", page), name
