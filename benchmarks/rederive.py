"""Compute all outcomes of docs/protocol.md a second time, from the tables of repetitions alone.

This is an independent computation: it was written from the page and does not use the project's code. Usage:

    python benchmarks/rederive.py [folder of the tables] [path of the result]

The tables are <folder>/<dataset>/<classes>/<training>.csv with one row for each repetition.
"""

import itertools
import re
import sys
from collections import namedtuple
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

DATASETS = ("mnist", "fashion_mnist")
REPETITIONS = 10
INSTANCES = "1L 2L-a 2L-b 2L-c 2L-d 2L-e 3L-a 3L-b"
CONVOLUTIONAL = "2L-a 2L-b 2L-c 2L-e 3L-a"
DENSE = "2L-d 3L-b"
SHRINKING = ("2L-d", "2L-a", "2L-c", "2L-e")
DAMAGES = {"a": "noise", "b": "white", "c": "black"}
CROSS = ("C8.3", "C9.6")  # these compare the data sets
# How many statements of a claim need significance to hold: the tests that Holm's correction is over.
TESTS = {"C1": 7, "C2": 3, "C3": 2, "C4": 3, "C5": 4, "C7": 2, "C8": 3, "C9": 3, "C13": 3, "C17": 9}

LESS_IS_BETTER = ("davies_bouldin", "js_", "error_")
RELATIVE = 0.03  # the margin of these measures is this share of the largest mean
RELATIVE_MEASURES = ("diversity", "error_")
NATS = 0.003  # for each number of the input
IMAGE, PATCH, TOP = 28 * 28, 8 * 8, 11 * 11 * 25  # numbers in the input of 1L, and of the two layers of 2L-c
MARGINS = {
    "auc": 0.01,
    "dunn": 0.01,
    "davies_bouldin": 0.05,
    "exact_log_likelihood": 2.4,
    "sharpness": 0.03,
    "distinct": 3,
    "overlap": 0.03,
    "same_class": 0.03,
    "corrupted": 0.01,
    "js_": 0.02,
    "coverage": 0.03,
    "components_in_use": 1,
}
BEST = {  # the best of a group on MNIST and on FashionMNIST, fixed by the seeds 0 to 2
    ("deep", "dunn"): ("2L-a", "2L-c"),
    ("deep", "davies_bouldin"): ("3L-b", "2L-d"),
    ("deep", "auc"): ("3L-a", "2L-b"),
    ("deep", "js_s1"): ("2L-b", "2L-b"),
    ("deep", "coverage_s1"): ("2L-e", "2L-e"),
    ("convolutional", "auc"): ("3L-a", "2L-b"),
    ("dense", "dunn"): ("3L-b", "2L-d"),
    ("dense", "davies_bouldin"): ("3L-b", "2L-d"),
    ("others", "auc"): ("1L", "1L"),
}
TABLE_2 = {  # the paper's values, in the order of INSTANCES; the last cell of MNIST is blank as printed
    ("mnist", "dunn"): [0.14, 0.14, 0.13, 0.12, 0.19, 0.15, 0.15],
    ("mnist", "davies_bouldin"): [2.59, 2.73, 3.06, 2.62, 2.57, 2.65, 2.53],
    ("fashion_mnist", "dunn"): [0.14, 0.15, 0.16, 0.15, 0.11, 0.11, 0.096, 0.13],
    ("fashion_mnist", "davies_bouldin"): [2.37, 2.77, 2.62, 2.70, 2.40, 2.92, 3.2, 2.35],
}

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

# One comparison: `differences` are positive where the statement's A is better (or where a value is above the bound).
Part = namedtuple("Part", "kind differences margin")


class NotYet(Exception):
    """Says that a table has fewer than ten repetitions."""


class Tables:
    """Read the tables of one folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.table = cache(self._table)

    def _table(self, dataset, classes, training):
        path = self.folder / dataset / classes / f"{training}.csv"
        if not path.exists():
            raise NotYet
        table = pd.read_csv(path).set_index("repetition")
        if not set(range(REPETITIONS)) <= set(table.index):
            raise NotYet
        return table.loc[range(REPETITIONS)]

    def column(self, dataset, classes, training, measure):
        """Return the ten values of a measure; `auc` is that of the top layer."""
        table = self.table(dataset, classes, training)
        if measure == "auc":
            layers = [int(name[4:]) for name in table.columns if re.fullmatch(r"auc_\d+", name)]
            measure = f"auc_{max(layers)}"
        return table[measure].to_numpy()

    def mean(self, dataset, classes, trainings, measure):
        """Return the mean over trainings, which are separated by spaces, in each repetition."""
        columns = [self.column(dataset, classes, one, measure).astype(float) for one in trainings.split()]
        return np.mean(columns, axis=0)


# Parts of statements ------------------------------------------------------------------------------------------------


def margin_of(measure, values):
    """Return the margin of a measure; `values` are all arrays that are compared."""
    if measure.startswith(RELATIVE_MEASURES):
        return RELATIVE * max(np.mean(one) for one in values)
    return next(margin for name, margin in MARGINS.items() if measure.startswith(name))


def difference(measure, a, b):
    """Return A minus B, positive where A is better."""
    return b - a if measure.startswith(LESS_IS_BETTER) else a - b


def part(kind, measure, a, b, margin=None):
    """Compare the arrays A and B."""
    return Part(kind, difference(measure, a, b), margin_of(measure, [a, b]) if margin is None else margin)


def trend(tables, dataset, measure):
    """Return the parts of a statement of C5: the slope over the ranks, and the three steps."""
    values = [tables.mean(dataset, "0-4", one, measure) for one in SHRINKING]
    margin = margin_of(measure, values)
    slope = np.array([-1.5, -0.5, 0.5, 1.5]) / 5 @ np.array(values)
    steps = [part("not worse", measure, after, before, margin) for before, after in itertools.pairwise(values)]
    return [Part("better", slope, margin / 3), *steps]


def statements(tables, dataset):
    """Return a function for each statement, which returns its parts or its outcome."""
    best = {group: names[DATASETS.index(dataset)] for group, names in BEST.items()}
    both = ("dunn", "davies_bouldin")

    def get(training, measure, classes="0-4", dataset=dataset):
        return tables.mean(dataset, classes, training, measure)

    def compare(measure, a, b, kind="better", classes="0-4", margin=None):
        return part(kind, measure, get(a, measure, classes), get(b, measure, classes), margin)

    def within(kind, training, after, before, classes="0-4"):
        """Compare two columns of one training."""
        return part(kind, after, get(training, after, classes), get(training, before, classes))

    def above(training, measure, bound):
        return Part("above", get(training, measure, "all") - bound, 0)

    def likelihood(a, b, kind, layer=0, numbers=IMAGE):
        return compare(f"log_likelihood_{layer}", a, b, kind, margin=NATS * numbers)

    def same_layers(*trainings):
        a, b = (tables.column(dataset, "0-4", one, "lowest_layer") for one in trainings)
        return (a == b).all()

    def better_than_flat(other):
        return [compare("exact_log_likelihood", "2L-b", other)]

    def good_s():
        of_mnist = [get("2L-c", f"js_{s}", dataset="mnist") for s in ("s2", "s1")]
        of_fashion = [get("2L-c", f"js_{s}", dataset="fashion_mnist") for s in ("s1", "s2")]
        return [part("better", "js_", *of_mnist), part("better", "js_", *of_fashion)]

    def gain_in_sharpness():
        gains = [
            get("2L-c", "sharpness_sharpened", dataset=one) - get("2L-c", "sharpness", dataset=one) for one in DATASETS
        ]
        return [part("better", "sharpness", gains[1], gains[0])]

    def k_means_is_feasible():
        table = tables.table(dataset, "0-4", "2L-c-start-k-means")
        return FAILS if np.isfinite(table.filter(regex=r"^log_likelihood_\d+$")).all(axis=None) else UNDECIDED

    def equal_first_layers():
        equal = [same_layers("1L", other) for other in DENSE.split()]
        return HOLDS if all(equal) else UNDECIDED

    def layer_by_layer():
        other = "2L-c-layerwise-True"
        parts = [compare("auc", other, "2L-c", "as good")]
        if same_layers(other, "2L-c"):
            parts.append(likelihood(other, "2L-c", "as good", layer=1, numbers=TOP))
        return parts

    def optimizer(name):
        rates = ("0-05", "0-001", "0-0001")
        return [likelihood("1L", f"1L-learning_rate-{rate}-optimizer-{name}", "better") for rate in rates]

    def at_best_rates():
        others = [f"1L-learning_rate-0-001-optimizer-{name}" for name in ("Adam", "RMSprop")]
        return [likelihood("1L-learning_rate-0-2", other, "better") for other in others]

    result = {
        "C1.1": lambda: [compare(one, best["deep", one], "1L", classes="all") for one in both],
        "C1.2": lambda: [compare(one, best["deep", one], "1L") for one in ("js_s1", "coverage_s1")],
        "C1.3": lambda: [compare("auc", best["deep", "auc"], "1L")],
        "C1.4": lambda: better_than_flat("1L"),
        "C1.5": lambda: better_than_flat("F-28-28-1-1-G-49"),
        "C1.6": lambda: better_than_flat("F-28-28-1-1-G-100"),
        "C1.7": lambda: better_than_flat("F-28-28-1-1-G-400"),
        "C2.1": lambda: [compare("auc", best["convolutional", "auc"], best["others", "auc"])],
        "C2.2": lambda: [compare("auc", one, "1L") for one in CONVOLUTIONAL.split()],
        "C2.3": lambda: [compare("auc", CONVOLUTIONAL, "1L " + DENSE)],
        "C3.1": lambda: [compare("auc", one, "2L-d") for one in ("1L", CONVOLUTIONAL)],
        "C3.2": lambda: [compare("auc", one, "3L-b") for one in ("1L", CONVOLUTIONAL)],
        "C4.1": lambda: [compare(one, DENSE, CONVOLUTIONAL, classes="all") for one in both],
        "C4.2": lambda: [compare(one, best["dense", one], "1L", "as good", "all") for one in both],
        "C4.3": lambda: [compare(one, "1L", CONVOLUTIONAL, classes="all") for one in both],
        "C4.4": lambda: [compare(one, CONVOLUTIONAL, DENSE) for one in ("auc", "js_s1")],
        "C5.1": lambda: trend(tables, dataset, "sharpness"),
        "C5.2": lambda: trend(tables, dataset, "diversity"),
        "C5.3": lambda: trend(tables, dataset, "sharpness_sharpened"),
        "C5.4": lambda: trend(tables, dataset, "diversity_sharpened"),
        "C6": lambda: "not testable here",
        "C7.1": lambda: [compare("distinct", one, "2L-d") for one in ("2L-c", "2L-e")],
        "C7.2": lambda: [compare("distinct", one, "1L") for one in ("2L-c", "2L-e")],
        "C8.1": lambda: [within("better", "2L-c", "diversity_of_1000_s10", "diversity_of_1000_s2")],
        "C8.2": lambda: [within("better", "2L-c", "corrupted_s10", "corrupted_s2")],
        "C8.3": good_s,
        "C9.1": lambda: [within("better", "2L-c", "sharpness_sharpened", "sharpness")],
        "C9.2": lambda: [within("as good", "2L-c", "overlap", "overlap_moved")],
        "C9.3": lambda: [within("as good", "2L-c", "same_class", "same_class_moved")],
        "C9.4": lambda: [within("as good", "2L-c", "js_after", "js_before")],
        "C9.5": lambda: [within("better", "2L-c", "js_after", "js_before")],
        "C9.6": gain_in_sharpness,
        "C10.1": lambda: [above("2L-a", "sparser", 0.95)],
        "C10.2": lambda: [above("2L-a", "dominated", 0.5)],
        "C11.1": lambda: [likelihood("1L", "1L-annealing-sigma_start-0-01-start-k-means", "as good")],
        "C11.2": lambda: [compare("components_in_use", "1L", "1L-annealing-sigma_start-0-01-start-k-means", "as good")],
        "C11.3": lambda: [likelihood("2L-c", "2L-c-start-k-means", "as good", numbers=PATCH)],
        "C11.4": lambda: [likelihood("1L-gmm-start_precision-1-0", "1L", "as good")],
        "C11.5": k_means_is_feasible,
        "C12.1": equal_first_layers,
        "C12.2": layer_by_layer,
        "C13.1": lambda: optimizer("Adam"),
        "C13.2": lambda: optimizer("RMSprop"),
        "C13.3": at_best_rates,
        "C14": lambda: "not testable here",
    }
    squares = [(instance, damage) for instance in ("2L-c", "2L-e") for damage in DAMAGES.values()]
    for number, (instance, damage) in enumerate(squares, 1):
        result[f"C16.{number}"] = lambda a=instance, d=damage: [above(a, f"located_{d}", 0.5)]
    for number, a, b in (
        (1, "error_inside_{}", "error_inside_{}_damaged"),
        (2, "error_inside_{}_mean", "error_inside_training"),
        (3, "error_{}", "error_{}_damaged"),
    ):
        for letter, damage in DAMAGES.items():
            pair = a.format(damage), b.format(damage)
            result[f"C17.{number}{letter}"] = lambda pair=pair: [within("better", "2L-c", *pair, "all")]
    return result


# Tests --------------------------------------------------------------------------------------------------------------


def interval(values, level):
    """Return Student's interval of the mean."""
    if np.ptp(values) == 0:
        return values[0], values[0]
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values)
    return values.mean() - half, values.mean() + half


def p_value(values):
    """Return the larger two-sided p-value of Student's and of the exact sign-flip test."""
    if not np.isfinite(values).all():
        return 1.0
    if np.ptp(values) == 0:
        return 1.0 if values[0] == 0 else 0.0
    signs = np.array(list(itertools.product((-1, 1), repeat=len(values))))
    flipped = np.abs(signs @ values)
    flips = np.mean(flipped >= np.abs(values.sum()) - 1e-12 * np.abs(values).sum())
    return max(stats.ttest_1samp(values, 0).pvalue, flips)


def significant(parts_of):
    """Return the statements on one data set that are significant at 5 %, by Holm's correction within each claim."""
    families = {claim: {} for claim in TESTS}
    for name, parts in parts_of.items():
        tested = [p_value(one.differences) for one in parts if one.kind == "better"] if isinstance(parts, list) else []
        if tested:
            families[name.split(".")[0]][name] = max(tested)
    result = set()
    for claim, p in families.items():
        for rank, name in enumerate(sorted(p, key=p.get)):
            if p[name] > 0.05 / (TESTS[claim] - rank):
                break
            result.add(name)
    return result


def inside(low, high, margin):
    """Say whether an interval is inside ±margin."""
    return -margin < low and high < margin


def refuted(part, level, factor):
    """Say whether the interval of this level refutes a part."""
    if not np.isfinite(part.differences).all():
        return False
    high, margin = interval(part.differences, level)[1], factor * part.margin
    if part.kind in ("as good", "not worse"):
        return high < 0 and not inside(*interval(part.differences, 0.95), margin)
    return high < margin  # of "above" the margin is 0


def holds(part, is_significant, factor):
    """Say whether a part holds, by its 95 % interval."""
    if not np.isfinite(part.differences).all():
        return False
    low, high = interval(part.differences, 0.95)
    margin = factor * part.margin
    if part.kind == "better":
        return is_significant and part.differences.mean() > 0 and not inside(low, high, margin)
    if part.kind == "not worse":
        return not refuted(part, 0.95, factor)
    return low > -margin


def judge(parts, is_significant, factor=1):
    """Return the outcome of a statement with all margins multiplied by a factor."""
    if isinstance(parts, str):
        return parts
    level = 1 - 0.05 / len(parts)
    if all(holds(one, is_significant, factor) for one in parts):
        return HOLDS
    return FAILS if any(refuted(one, level, factor) for one in parts) else UNDECIDED


def parts_or_outcome(function):
    """Return the parts of a statement, or its outcome if it is fixed."""
    try:
        return function()
    except NotYet:
        return "not yet"


# The scorecard ------------------------------------------------------------------------------------------------------


def is_ordered(a, b):
    """Say whether Spearman's correlation is above 0, one-sided at 5 %, by all orders."""
    a, b = (stats.rankdata(one) - (len(one) + 1) / 2 for one in (a, b))
    products = np.array(list(itertools.permutations(a))) @ b
    return np.mean(products >= a @ b - 1e-9) <= 0.05


def agreed(outcomes):
    """Return the outcome if all readings agree."""
    return outcomes[0] if len(set(outcomes)) == 1 else UNDECIDED


def order(paper, values, worst):
    """Return the outcome of the order of one row; `values` are (instances, repetitions)."""
    if not is_ordered(worst(values[:, :5], axis=1), worst(values[:, 5:], axis=1)):
        return UNDECIDED
    return HOLDS if is_ordered(paper, worst(values, axis=1)) else FAILS


def level(paper, values, worst):
    """Return the outcome of the level of one row."""
    error = np.abs(worst(values, axis=1) - paper).mean()
    return HOLDS if error < np.abs(paper - paper.mean()).mean() else FAILS


def scorecard(tables, dataset):
    """Return the rows of the scorecard of Table II."""
    rows = []
    for measure, title, worst in (("dunn", "Dunn", np.min), ("davies_bouldin", "Davies-Bouldin", np.max)):
        paper = np.array(TABLE_2[dataset, measure])
        readings = [range(8)] if len(paper) == 8 else [range(7), (0, 1, 2, 3, 4, 5, 7)]
        try:
            values = np.array([tables.mean(dataset, "all", one, measure) for one in INSTANCES.split()])
        except NotYet:
            outcomes = ["not yet", "not yet"]
        else:
            defined = np.isfinite(values).all()
            outcomes = [
                agreed([function(paper, values[list(one)], worst) for one in readings]) if defined else UNDECIDED
                for function in (order, level)
            ]
        for kind, outcome in zip(("order", "level"), outcomes):
            rows.append((dataset, f"Table II {title} {kind}", outcome, False))
    return rows


def all_rows(tables):
    """Return the rows of the result."""
    parts = {
        dataset: {name: parts_or_outcome(one) for name, one in statements(tables, dataset).items()}
        for dataset in DATASETS
    }
    significances = {dataset: significant(parts[dataset]) for dataset in DATASETS}
    rows = []
    for dataset in DATASETS:
        for name, one in parts[dataset].items():
            families = DATASETS if name in CROSS else (dataset,)
            is_significant = all(name in significances[family] for family in families)
            outcome, *others = (judge(one, is_significant, factor) for factor in (1, 0.5, 2))
            rows.append((dataset, name, outcome, any(other != outcome for other in others)))
        rows += scorecard(tables, dataset)
    return rows


def main():
    """Write the outcomes of a folder of tables."""
    folder = sys.argv[1] if len(sys.argv) > 1 else "results/paper/repetitions"
    path = sys.argv[2] if len(sys.argv) > 2 else sys.stdout
    columns = ["dataset", "statement", "outcome", "depends on the margin"]
    pd.DataFrame(all_rows(Tables(folder)), columns=columns).to_csv(path, index=False)


if __name__ == "__main__":
    main()
