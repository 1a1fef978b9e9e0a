"""The statements of docs/protocol.md: which numbers of which trainings decide each of them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcgmm import datasets
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.protocol import FAILS, HOLDS, UNDECIDED, Comparison, Part, compare, judge

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
REPETITIONS = 10
FEWEST = 3  # repetitions that can be compared
NOT_TESTABLE = "not testable here"
NO_OUTCOME = "not yet"
UNTESTABLE = {"C6": "The cost of a training on a GPU.", "C14": "The time of a training on a GPU."}
DAMAGES = {"a": "noise", "b": "white", "c": "black"}
LIST = re.compile(r"((?:\d+\.)?\w+), ((?:\d+\.)?\w+) and ((?:\d+\.)?\w+)")
SHARED = ("C8.3", "C9.6")  # statements that compare the data sets
OTHER = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}

CONVOLUTIONAL = ("2L-a", "2L-b", "2L-c", "2L-e", "3L-a")
PLAIN = ("2L-d", "3L-b")
# The best of a group by a measure, fixed by the seeds 0 to 2, on MNIST and on FashionMNIST.
BEST = {
    ("deep", "Dunn"): ("2L-a", "2L-c"),
    ("deep", "Davies–Bouldin"): ("3L-b", "2L-d"),
    ("deep", "AUC"): ("3L-a", "2L-b"),
    ("deep", "JS"): ("2L-b", "2L-b"),
    ("deep", "coverage"): ("2L-e", "2L-e"),
    ("convolutional", "AUC"): ("3L-a", "2L-b"),
    ("deep without convolution", "Dunn"): ("3L-b", "2L-d"),
    ("deep without convolution", "Davies–Bouldin"): ("3L-b", "2L-d"),
    ("1L and deep without convolution", "AUC"): ("1L", "1L"),
}


@dataclass(frozen=True)
class Measure:
    """A number of a repetition, and what a difference in it means.

    Args:
        column: its column in the table of repetitions; `auc` and `log_likelihood` are those of the top layer.
        margin: differences up to this one do not matter; relative to the largest mean that is compared, if `relative`.
        less_is_better: whether the smaller value is the better one. Default False.
        relative: default False.
    """

    column: str
    margin: float
    less_is_better: bool = False
    relative: bool = False


MEASURES = {
    "AUC": Measure("auc", 0.01),
    "Dunn": Measure("dunn", 0.01),
    "Davies–Bouldin": Measure("davies_bouldin", 0.05, less_is_better=True),
    "exact log-likelihood": Measure("exact_log_likelihood", 2.4),
    "sharpness": Measure("sharpness", 0.03),
    "sharpness after": Measure("sharpness_sharpened", 0.03),
    "diversity": Measure("diversity", 0.03, relative=True),
    "diversity after": Measure("diversity_sharpened", 0.03, relative=True),
    "distinct": Measure("distinct", 3),
    "JS": Measure("js_s1", 0.02, less_is_better=True),
    "coverage": Measure("coverage_s1", 0.03),
    "in use": Measure("components_in_use", 1),
}
SHARE, CORRUPTED, OF_INPUT, ERROR, DIVERSITY, JS = 0.03, 0.01, 0.003, 0.03, 0.03, 0.02


@dataclass(frozen=True)
class Best:
    """The instance that the protocol names as the best of a group by a measure.

    Args:
        group: a group of `BEST`.
    """

    group: str


@dataclass(frozen=True)
class Runs:
    """The numbers of all repetitions on a data set.

    Args:
        dataset: `"mnist"` or `"fashion_mnist"`.
        repetitions: a function of an architecture, the data set, `classes` and changes that returns a table with a row
            for each repetition, as `experiments.repetitions` does.
    """

    dataset: str
    repetitions: Callable[..., pd.DataFrame]

    def of(self, architecture: str, column: str, classes: str = "0-4", **changes: Any) -> np.ndarray:
        """Return a number of each repetition, an array; `auc` and `log_likelihood` are those of the top layer."""
        table = self.repetitions(architecture, self.dataset, classes=classes, **changes)
        if column in ("auc", "log_likelihood"):
            column = table.filter(regex=rf"^{column}_\d+$").columns[-1]
        return table[column].to_numpy()

    def named(self, who: str | Sequence[str] | Best, measure: str) -> list[str]:
        """Return the instances whose mean is compared."""
        if isinstance(who, Best):
            return [BEST[who.group, measure][self.dataset != "mnist"]]
        return [who] if isinstance(who, str) else list(who)

    def mean(self, who: str | Sequence[str] | Best, measure: str, classes: str) -> np.ndarray:
        """Return the mean of a measure over one or more instances, of each repetition."""
        column = MEASURES[measure].column
        return np.mean([self.of(name, column, classes) for name in self.named(who, measure)], axis=0)


Parts = dict[str, Part]


def _label(runs, who, measure):
    if isinstance(who, str | Best):
        return runs.named(who, measure)[0]
    return "convolutional" if tuple(who) == CONVOLUTIONAL else "mean of " + ", ".join(who)


def _margin(measure, *sides):
    return measure.margin * (max(float(np.mean(side)) for side in sides) if measure.relative else 1)


def pairs(runs: Runs, kind: str, who: Any, than: Any, *measures: str, classes: str = "0-4") -> Parts:
    """Return the comparisons of two instances, or means of several, by some measures.

    Args:
        runs: the numbers.
        kind: a kind of `Part`.
        who: an instance, several whose mean counts, or a `Best`.
        than: what it is compared with, likewise.
        measures: names of `MEASURES`.
        classes: what the models were trained on. Default `"0-4"`.
    """
    found = {}
    for name in measures:
        measure = MEASURES[name]
        first, second = runs.mean(who, name, classes), runs.mean(than, name, classes)
        comparison = compare(first, second, _margin(measure, first, second), measure.less_is_better)
        found[f"{name}: {_label(runs, who, name)} and {_label(runs, than, name)}"] = Part(kind, comparison)
    return found


def _c1(runs):
    deep, flat = Best("deep"), "F(28,28,1,1) "
    exact = {
        f"C1.{i}": pairs(runs, "better", "2L-b", other, "exact log-likelihood")
        for i, other in enumerate(("1L", f"{flat}G(49)", f"{flat}G(100)", f"{flat}G(400)"), start=4)
    }
    return {
        "C1.1": pairs(runs, "better", deep, "1L", "Dunn", "Davies–Bouldin", classes="all"),
        "C1.2": pairs(runs, "better", deep, "1L", "JS", "coverage"),
        "C1.3": pairs(runs, "better", deep, "1L", "AUC"),
        **exact,
    }


def _c2(runs):
    others = ("1L", *PLAIN)
    each = [pairs(runs, "better", name, "1L", "AUC") for name in CONVOLUTIONAL]
    return {
        "C2.1": pairs(runs, "better", Best("convolutional"), Best("1L and deep without convolution"), "AUC"),
        "C2.2": {label: part for parts in each for label, part in parts.items()},
        "C2.3": pairs(runs, "better", CONVOLUTIONAL, others, "AUC"),
    }


def _c3(runs):
    return {
        f"C3.{i}": pairs(runs, "better", "1L", name, "AUC") | pairs(runs, "better", CONVOLUTIONAL, name, "AUC")
        for i, name in enumerate(PLAIN, start=1)
    }


def _c4(runs):
    both = ("Dunn", "Davies–Bouldin")
    return {
        "C4.1": pairs(runs, "better", PLAIN, CONVOLUTIONAL, *both, classes="all"),
        "C4.2": pairs(runs, "as good", Best("deep without convolution"), "1L", *both, classes="all"),
        "C4.3": pairs(runs, "better", "1L", CONVOLUTIONAL, *both, classes="all"),
        "C4.4": pairs(runs, "better", CONVOLUTIONAL, PLAIN, "AUC", "JS"),
    }


def _c5(runs):
    by_size, found = ("2L-d", "2L-a", "2L-c", "2L-e"), {}
    for i, name in enumerate(("sharpness", "diversity", "sharpness after", "diversity after"), start=1):
        values = [runs.mean(instance, name, "0-4") for instance in by_size]
        margin = _margin(MEASURES[name], *values)
        slope = np.polyfit(range(4), np.stack(values).astype("float64"), 1)[0]
        found[f"C5.{i}"] = {
            f"{name}: slope over {', '.join(by_size)}": Part("better", compare(slope, 0, margin / 3))
        } | {
            f"{name}: {small} and {large}": Part("not worse", compare(b, a, margin))
            for large, small, a, b in zip(by_size, by_size[1:], values, values[1:])
        }
    return found


def _c7(runs):
    return {
        f"C7.{i}": pairs(runs, "better", "2L-c", name, "distinct") | pairs(runs, "better", "2L-e", name, "distinct")
        for i, name in enumerate(("2L-d", "1L"), start=1)
    }


def _c8(runs):
    diversity = [runs.of("2L-c", f"diversity_of_1000_{s}") for s in ("s10", "s2")]
    corrupted = [runs.of("2L-c", f"corrupted_{s}") for s in ("s10", "s2")]
    margin = DIVERSITY * max(map(np.mean, diversity))
    good = {}
    for name, (own, other) in {"mnist": ("s2", "s1"), "fashion_mnist": ("s1", "s2")}.items():
        side = replace(runs, dataset=name)
        js = [side.of("2L-c", f"js_{s}") for s in (own, other)]
        label = f"JS on {datasets.TITLES[name]}: S = {own[1:]} and S = {other[1:]}"
        good[label] = Part("better", compare(*js, JS, less_is_better=True))
    return {
        "C8.1": {"diversity: S = 10 and S = 2": Part("better", compare(*diversity, margin))},
        "C8.2": {"corrupted: S = 10 and S = 2": Part("better", compare(*corrupted, CORRUPTED))},
        "C8.3": good,
    }


def _c9(runs):
    def part(kind, label, first, second, margin, **options):
        return {label: Part(kind, compare(runs.of("2L-c", first), runs.of("2L-c", second), margin, **options))}

    gains = [
        side.of("2L-c", "sharpness_sharpened") - side.of("2L-c", "sharpness")
        for side in (replace(runs, dataset=name) for name in ("fashion_mnist", "mnist"))
    ]
    sharper, js = ("sharpness_sharpened", "sharpness"), ("js_after", "js_before")
    return {
        "C9.1": part("better", "sharpness: after and before", *sharper, MEASURES["sharpness"].margin),
        "C9.2": part("as good", "overlap: sharpened and moved by a pixel", "overlap", "overlap_moved", SHARE),
        "C9.3": part("as good", "same class: sharpened and moved by a pixel", "same_class", "same_class_moved", SHARE),
        "C9.4": part("as good", "JS: after and before", *js, JS, less_is_better=True),
        "C9.5": part("better", "JS: after and before", *js, JS, less_is_better=True),
        "C9.6": {"gain in sharpness: FashionMNIST and MNIST": Part("better", compare(*gains, SHARE))},
    }


def _c10(runs):
    def above(column, bound):
        comparison = compare(runs.of("2L-a", column, "all"), bound, SHARE)
        return {f"{column} maps and {bound:.0%}": Part("above", comparison)}

    return {"C10.1": above("sparser", 0.95), "C10.2": above("dominated", 0.5)}


def _likelihoods(runs, kind, first, second, label, n_features, column="log_likelihood_0"):
    """Return the comparison of two trainings, each (architecture, changes), by the log-likelihood of equal inputs."""
    values = [runs.of(architecture, column, **changes) for architecture, changes in (first, second)]
    return {f"log-likelihood: {label}": Part(kind, compare(*values, OF_INPUT * n_features))}


def _c11(runs):
    ours, kmeans = ("1L", {}), ("1L", {"start": "k-means", "annealing": {"sigma_start": 0.01}})
    printed, deep = ("1L", {"gmm": {"start_precision": 1.0}}), ("2L-c", {"start": "k-means"})
    used = [runs.of(name, "components_in_use", **changes) for name, changes in (ours, kmeans)]
    start = "random and k-means"
    return {
        "C11.1": _likelihoods(runs, "as good", ours, kmeans, f"1L, {start}", 784),
        "C11.2": {f"in use: 1L, {start}": Part("as good", compare(*used, MEASURES["in use"].margin))},
        "C11.3": _likelihoods(runs, "as good", ("2L-c", {}), deep, f"lowest layer of 2L-c, {start}", 64),
        "C11.4": _likelihoods(runs, "as good", printed, ours, "1L, Σ = 1 and ours", 784),
    }


def _c12(runs):
    joint, layerwise = ("2L-c", {}), ("2L-c", {"layerwise": True})
    auc = [runs.of(name, "auc", **changes) for name, changes in (layerwise, joint)]
    label = "2L-c, layer by layer and jointly"
    found = {f"AUC: {label}": Part("as good", compare(*auc, MEASURES["AUC"].margin))}
    if _same_lowest_layer(runs, joint, layerwise):
        found |= _likelihoods(runs, "as good", layerwise, joint, label, 3025, "log_likelihood_1")
    return {"C12.2": found}


def _same_lowest_layer(runs, *trainings):
    hashes = [runs.of(name, "lowest_layer", **changes) for name, changes in trainings]
    return all(np.array_equal(hashes[0], other) for other in hashes[1:])


def _c13(runs):
    sgd = ("1L", {})

    def worse(optimizer):
        found: Parts = {}
        for rate in (0.05, 0.001, 0.0001):
            other = ("1L", {"optimizer": optimizer, "learning_rate": rate})
            found |= _likelihoods(runs, "better", sgd, other, f"SGD and {optimizer} at {rate:g}", 784)
        return found

    best: Parts = {}
    for optimizer in ("Adam", "RMSprop"):
        others = ("1L", {"learning_rate": 0.2}), ("1L", {"optimizer": optimizer, "learning_rate": 0.001})
        best |= _likelihoods(runs, "better", *others, f"SGD at 0.2 and {optimizer} at 0.001", 784)
    return {"C13.1": worse("Adam"), "C13.2": worse("RMSprop"), "C13.3": best}


def _c16(runs):
    found = {}
    for i, (name, damage) in enumerate((n, d) for n in ("2L-c", "2L-e") for d in DAMAGES.values()):
        comparison = compare(runs.of(name, f"located_{damage}", "all"), 0.5, MEASURES["AUC"].margin)
        found[f"C16.{i + 1}"] = {f"AUC of {damage} squares, {name}, and 0.5": Part("above", comparison)}
    return found


def _c17(runs):
    def error(column, damage, other, label):
        values = [runs.of("2L-c", name, "all") for name in (column, other)]
        comparison = compare(*values, ERROR * max(map(np.mean, values)), less_is_better=True)
        return {f"error, {damage}: {label}": Part("better", comparison)}

    found = {}
    for letter, damage in DAMAGES.items():
        inside, whole = f"error_inside_{damage}", f"error_{damage}"
        damaged = "one draw and the damaged image"
        found[f"C17.1{letter}"] = error(inside, damage, f"{inside}_damaged", damaged)
        mean = "the mean of 20 draws and the training mean"
        found[f"C17.2{letter}"] = error(f"{inside}_mean", damage, "error_inside_training", mean)
        found[f"C17.3{letter}"] = error(whole, damage, f"{whole}_damaged", f"the whole image, {damaged}")
    return found


COMPARED: dict[str, Callable[[Runs], dict[str, Parts]]] = {
    "C1": _c1,
    "C2": _c2,
    "C3": _c3,
    "C4": _c4,
    "C5": _c5,
    "C7": _c7,
    "C8": _c8,
    "C9": _c9,
    "C10": _c10,
    "C11": _c11,
    "C12": _c12,
    "C13": _c13,
    "C16": _c16,
    "C17": _c17,
}


def _known(claim: str, runs: Runs) -> dict[str, str]:
    """Return the outcomes of a claim's statements that need no comparison over repetitions."""
    if claim in UNTESTABLE:
        return {claim: NOT_TESTABLE}
    complete = len(runs.of("1L", "dunn")) >= REPETITIONS
    if claim == "C11":
        kmeans = runs.of("2L-c", "log_likelihood_1", start="k-means")
        return {"C11.5": (FAILS if np.isfinite(kmeans).all() else UNDECIDED) if complete else NO_OUTCOME}
    if claim == "C12":
        # Other hashes do not say by how much the layers differ.
        same = _same_lowest_layer(runs, ("1L", {}), ("2L-d", {}), ("3L-b", {}))
        return {"C12.1": (HOLDS if same else UNDECIDED) if complete else NO_OUTCOME}
    return {}


def outcomes(runs: Runs) -> pd.DataFrame:
    """Return all comparisons of a data set with the outcomes of their statements.

    Before ten repetitions are complete, a statement has no outcome: `NO_OUTCOME`. Fewer than three cannot be compared.

    Args:
        runs: the numbers of all repetitions.

    Returns:
        A table with a row for each comparison: the statement, what is compared, its kind, the mean difference, positive
        where the first of the two is better, its 95 % interval (low, high), p, the margin, the number of repetitions,
        the outcome of the statement, and whether it depends on the margin (half and twice as large).
    """
    if len(runs.of("1L", "dunn")) < FEWEST:
        rows = [{"statement": name, "outcome": _without_runs(name)} for name in names()]
    else:
        rows = [row for claim in CLAIMS for row in _rows(claim, runs)]
    return pd.DataFrame(rows).sort_values("statement", key=lambda column: column.map(_order), kind="stable")


def of_claim(claim: str, runs: Runs, n_repetitions: int) -> dict[str, str]:
    """Return the outcome of each statement of a claim, by its name; none for C15, which is counted and not tested.

    Args:
        claim: a key of `CLAIMS`, such as `"C2"`.
        runs: the numbers of all repetitions; they are not read before ten are complete.
        n_repetitions: how many repetitions of each training there are.

    Example:
        >>> of_claim("C2", Runs("mnist", lambda *_, **__: None), n_repetitions=1)
        {'C2.1': 'not yet', 'C2.2': 'not yet', 'C2.3': 'not yet'}
    """
    if n_repetitions < REPETITIONS:
        return {name: _without_runs(name) for name in names() if name.partition(".")[0] == claim}
    return {row["statement"]: row["outcome"] for row in sorted(_rows(claim, runs), key=_order_of_row)}


def _rows(claim, runs):
    """Return the rows of `outcomes` of a claim's statements."""
    compared, rows = COMPARED.get(claim, lambda runs: {}), []
    found, *scaled = (_judged_on_both(compared, runs, factor) for factor in (1, 0.5, 2))
    for name, parts in compared(runs).items():
        depends = any(other[name] != found[name] for other in scaled)
        for label, part in parts.items():
            rows.append(_row(name, label, part) | {"outcome": found[name], "depends on the margin": depends})
    for name, outcome in _known(claim, runs).items():
        rows.append({"statement": name, "outcome": outcome, "depends on the margin": False})
    return rows


def _order_of_row(row):
    return _order(row["statement"])


def _without_runs(name):
    """Return the outcome of a statement before any repetition is read."""
    return NOT_TESTABLE if name in UNTESTABLE else NO_OUTCOME


def names() -> list[str]:
    """Return the names of all statements, such as "C2.1", in the order of the protocol.

    Example:
        >>> names()[:2], names()[-1]
        (['C1.1', 'C1.2'], 'C17.3c')
    """
    found = [f"{name}{end}" for name in words() for end in ("abc" if name.startswith("C17.") else [""])]
    return sorted([*found, *UNTESTABLE], key=_order)


def sentence(name: str) -> str:
    """Return the sentence of a statement, such as "C2.1" or "C17.1a".

    Statements that share a sentence on the page differ in the words of its lists, or in the kind of damage.

    Example:
        >>> sentence("C16.2")
        'In 2L-c, the AUC is above 0.5 (better than chance) for squares of white.'
        >>> sentence("C17.3c")
        'Over the whole image, one draw is better than the damaged image (black).'
    """
    if name in UNTESTABLE:
        return UNTESTABLE[name]
    text, damage = words()[name.rstrip("abc")], DAMAGES.get(name[-1])
    sharing = [other for other, its in words().items() if its == text]
    if len(sharing) > 1:
        i = sharing.index(name)
        text, n_lists = LIST.subn(rf"\{i + 1}", text)
        damage = None if n_lists else list(DAMAGES.values())[i]
    return f"{text.removesuffix('.')} ({damage})." if damage else text


def words() -> dict[str, str]:
    """Return the sentence of each statement as docs/protocol.md has it, by its name, without what was foreseen.

    Example:
        >>> words()["C2.3"]
        'The mean of the convolutional instances is better than the mean of the other three.'
    """
    page = PROTOCOL.read_text("utf-8").partition("## 4.")[2].partition("## 5.")[0]
    found: dict[str, str] = {}
    for item in re.findall(r"^- (C\d.*?)(?=^- |^\*\*|^$)", page, re.MULTILINE | re.DOTALL):
        _, names, text = re.split(r"^((?:C\d+\.\d+,? )+)", " ".join(item.split()))
        sentence = re.sub(r" ?\*[^*]*\*", "", text)
        found |= dict.fromkeys(re.findall(r"C\d+\.\d+", names), sentence)
    return found


def _order(name):
    """Return a key by which statements sort as on the protocol's page."""
    claim, _, number = name[1:].partition(".")
    return int(claim) + int(number.rstrip("abc") or 0) / 100 + "abc".find(number[-1:]) / 10_000


def _judged_on_both(compared, runs, factor):
    """Return the outcome of each statement of a claim; a shared one needs the same outcome on both data sets.

    Such a statement is corrected among those of each data set, so it may be significant on one alone.
    """
    found = _judged(compared(runs), factor)
    if shared := [name for name in SHARED if name in found]:
        other = _judged(compared(replace(runs, dataset=OTHER[runs.dataset])), factor)
        found |= {name: UNDECIDED for name in shared if found[name] != other[name]}
    return found


def _judged(statements, factor):
    """Return the outcome of each statement, with all margins times a factor."""
    scaled = {name: [_scaled(part, factor) for part in parts.values()] for name, parts in statements.items()}
    found = judge(scaled)
    few = {name: min(len(part.comparison.differences) for part in parts) for name, parts in scaled.items()}
    return {name: outcome if few[name] >= REPETITIONS else NO_OUTCOME for name, outcome in found.items()}


def _scaled(part, factor):
    return replace(part, comparison=replace(part.comparison, margin=factor * part.comparison.margin))


def _row(name: str, label: str, part: Part) -> dict[str, Any]:
    comparison: Comparison = part.comparison
    low, high = comparison.interval()
    return {
        "statement": name,
        "compared": label,
        "kind": part.kind,
        "difference": float(np.mean(comparison.differences)),
        "low": low,
        "high": high,
        "p": comparison.p if comparison.defined else np.nan,
        "margin": comparison.margin,
        "repetitions": len(comparison.differences),
    }
