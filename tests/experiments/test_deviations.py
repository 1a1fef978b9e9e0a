"""The numbers on results/DEVIATIONS.md are those of the committed tables."""

import re
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parents[2] / "results"
MEASURES, SETTINGS = ("Dunn", "Davies–Bouldin"), ("script settings", "ours")
NATS = "log-likelihood of the lowest layer, nats a position"


def table(notebook, dataset, name, index=0, **options):
    folder = RESULTS / "paper" / "tables" / f"{notebook}-{dataset}"
    return pd.read_csv(folder / f"{name}.csv", index_col=index, dtype={"S of the top layer": str}, **options)


def cell(notebook, name, row, column, index=0, scale=1):
    """Return a function of a data set that looks a number up in a table."""
    return lambda dataset: scale * table(notebook, dataset, name, index).loc[row, column]


def samples(noise, column):
    return cell("05-sampling", "samples", ("2L-e", noise), column, index=["instance", "noise"])


def same_class(name, row, index):
    return cell("07-sharpening", name, row, "same class", index, scale=100)


def right(row):
    return cell("08-conditional", "right", row, "mean", scale=100)


def error(setting, given=slice(None)):
    """Return the mean error of in-painting in the hole, over instances and kinds of damage."""
    options = {"header": [0, 1], "index": [0, 1, 2]}
    return lambda dataset: (
        table("09-inpainting", dataset, "noise", **options)["error inside", setting].loc[given].mean()
    )


def choice(change, instance="2L-d", column="components in use"):
    return cell("13-deviations", "choices", (change, instance), column, index=["change", "instance"])


def gain(change, instance="1L"):
    """Return by how much a change raises the log-likelihood of the lowest layer."""
    there, ours = choice(change, instance, NATS), choice("ours", instance, NATS)
    return lambda dataset: there(dataset) - ours(dataset)


def counted(weights):
    return cell("13-deviations", "counted_weights", f"2L-d, {weights}", "unused", scale=100)


def top_s(s):
    return cell("13-deviations", "top_s", s, "distinct samples of 100")


def span(images):
    """Return the smallest and the largest Dunn index of the instances."""

    def text(dataset):
        found = table("13-deviations", dataset, "evaluation_set")[f"Dunn, {images} test images"]
        return f"{found.min():.2f} to {found.max():.2f}"

    return text


def agreement(measure, settings, column):
    """Return how well our Table II agrees with the paper's."""
    return cell("13-deviations", "agreement", (measure, settings), column, index=["measure", "settings"])


# In the order of the page.
NUMBERS = [
    (samples("by the rule", "distinct"), ".0f"),
    (samples("as modelled", "distinct"), ".0f"),
    (error("rule"), ".3f"),
    (error("1 everywhere"), ".3f"),
    (same_class("sharpening", ("as shown", "sharpened"), ["samples", "change"]), ".1f"),
    (same_class("options", ("2L-c", "on its own"), ["instance", "sharpening"]), ".1f"),
    (same_class("options", ("2L-c", "authors' objective"), ["instance", "sharpening"]), ".1f"),
    (cell("05-sampling", "sharpened", "2L-e", "sharpened"), ".2f"),
    (cell("05-sampling", "sharpened", "2L-e", "as drawn"), ".2f"),
    (counted("π = 1/K"), ".0f"),
    (counted("π counted"), ".0f"),
    (top_s("1"), "d"),
    (top_s("all"), "d"),
    (right("one-hot, S = 5"), ".1f"),
    (right("log-probabilities, S = 5"), ".1f"),
    (right("one-hot, S = all"), ".1f"),
    (right("log-probabilities, S = all"), ".1f"),
    (error("rule", "blind"), ".3f"),
    (error("rule", "mask"), ".3f"),
    (choice("ours"), ".1f"),
    (choice("Σ = 1 at the start", "1L"), ".0f"),
    (gain("centroids start in ±0.1"), "+.1f"),
    (choice("centroids start in ±0.1"), ".1f"),
    (gain("ε falls from 0.011 to 0.01"), "+.1f"),
    (choice("ε falls from 0.011 to 0.01"), ".1f"),
    (gain("rate of precisions × 0.1"), "+.1f"),
    (choice("rate of precisions × 0.1"), ".1f"),
    (choice("π adapts, rate × 0.2"), ".1f"),
    (choice("π counted at the end"), ".1f"),
    (gain("no phase of centroids alone"), "+.1f"),
    (choice("no phase of centroids alone"), ".1f"),
    (choice("upper layer starts later"), ".1f"),
    (gain("own mixture at each position", "2L-c"), "+.1f"),
    (choice("own mixture at each position", "2L-c", "outlier AUC"), ".3f"),
    (choice("ours", "2L-c", "outlier AUC"), ".3f"),
    (gain("authors' script settings"), "+.1f"),
    (choice("authors' script settings"), ".1f"),
    (span("first 1,000"), "s"),
    (span("all"), "s"),
    *((agreement(of, whose, "rank correlation"), ".2f") for of in MEASURES for whose in SETTINGS),
    *((agreement(of, whose, "distance"), ".3f") for of in MEASURES for whose in SETTINGS),
]


def expected():
    """Return the numbers for MNIST and FashionMNIST as the page writes them."""
    pairs = [[format(number(dataset), form) for dataset in ("mnist", "fashion_mnist")] for number, form in NUMBERS]
    return [" / ".join(pair).replace("-", "−") for pair in pairs]


def test_the_numbers_on_the_page_of_deviations_are_those_of_the_tables():
    number = r"[+−]?[\d.]+\d(?: to [\d.]+\d)?|\d"
    assert re.findall(rf"(?:{number}) / (?:{number})", (RESULTS / "DEVIATIONS.md").read_text()) == expected()
