"""The report as an article: docs/report/report.md with the numbers of a scale, as PDF and as LaTeX.

Pandoc turns Markdown into LaTeX, whose tables are set by booktabs, and into Typst, which makes the PDF.
"""

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from dcgmm import datasets, files
from dcgmm.architectures import ARCHITECTURES
from dcgmm.experiments import statements, verdicts
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.config import settings
from dcgmm.experiments.folders import collection, root, writable
from dcgmm.experiments.report import PROVENANCE

MISSING = "–"


def write(scale: str) -> Path:
    """Write the article of a scale as report.pdf and report.tex, and return their folder, results/SCALE/article.

    Equal results give equal bytes. Numbers that no notebook has made are shown as "–".

    Args:
        scale: a block of params.yaml.
    """
    import pypandoc  # here, like typst, because nothing else needs them
    import typst

    sources, folder = root() / "docs" / "report", writable(collection() / scale / "article")
    options = ["--standalone", "--number-sections", "--citeproc", f"--bibliography={sources / 'references.bib'}"]
    template = (sources / "report.md").read_text("utf-8")

    def converted(language: str, figures: str) -> str:
        header = f"--include-in-header={sources / f'header.{language}'}"
        return pypandoc.convert_text(filled_in(template, scale, figures), language, "markdown", [*options, header])

    pdf = typst.compile(  # type: ignore[type-var]  # its stub asks for files of fonts of the same type as the text
        converted("typst", "/figures").encode(),
        root=folder.parent,
        ignore_system_fonts=True,
        timestamp=datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC),
    )
    files.write(folder / "report.pdf", pdf)
    files.write(folder / "report.tex", converted("latex", "../figures"))
    return folder


def filled_in(template: str, scale: str, figures: str) -> str:
    """Return the text of the article, in Pandoc's Markdown.

    Args:
        template: the text, in which Jinja finds the names below.
        scale: a block of params.yaml.
        figures: where the figures lie, as the article names it.
    """
    asked = settings(scale)
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        settings=asked,
        claims=CLAIMS,
        statements=statements.names(),
        needed=statements.REPETITIONS,
        complete=asked["repetitions"],
        results=Results(scale, figures),
    )


class Results:
    """What the article shows of the results of a scale: tables in Markdown, figures and sentences.

    Args:
        scale: a block of params.yaml.
        figures: where the figures lie, as the article names it.
    """

    def __init__(self, scale: str, figures: str):
        self.folder, self.figures = collection() / scale, figures
        self.complete = settings(scale)["repetitions"]

    def read(self, notebook: str, dataset: str, name: str) -> pd.DataFrame | None:
        """Return a notebook's table with its first column as index, or None if there is none."""
        path = self.folder / "tables" / f"{notebook}-{dataset}" / f"{name}.csv"
        return pd.read_csv(path, index_col=0) if path.exists() else None

    def side_by_side(
        self, notebook: str, name: str, shown: Mapping[str, Callable[[pd.Series], str]], **where: Any
    ) -> pd.DataFrame:
        """Return columns of a notebook's table for both data sets, as text.

        Args:
            notebook: its name.
            name: the table's.
            shown: how a row becomes a text, by the heading of the column.
            **where: values of columns that rows must have.
        """
        columns = {}
        for dataset, title in datasets.TITLES.items():
            table = self.read(notebook, dataset, name)
            if table is None:
                continue
            for column, value in where.items():
                table = table[table[column].isin(value)]
            for heading, text in shown.items():
                label = f"{title}: {heading}" if heading else title
                columns[label] = pd.Series({row: text(values) for row, values in table.iterrows()}, dtype=object)
        return pd.DataFrame(columns).fillna(MISSING)

    def instances(self) -> str:
        """Return the table of the instances."""
        kinds = dict.fromkeys(statements.CONVOLUTIONAL, "deep, convolutional")
        kinds |= dict.fromkeys(statements.PLAIN, "deep, not convolutional")
        rows = [(name, spec, kinds.get(name, "flat")) for name, spec in ARCHITECTURES.items()]
        return markdown(pd.DataFrame(rows, columns=["instance", "layers", "kind"]).set_index("instance"), "left")

    def outcomes(self) -> str:
        """Return the table of all statements with their outcomes on both data sets."""
        found = {dataset: self._claims(dataset) for dataset in datasets.DATASETS}
        lines = [f"| statement | {' | '.join(datasets.TITLES[name] for name in found)} |"]
        lines.append("|:" + "-" * 75 + "|" + (":" + "-" * 15 + "|") * len(found))  # the shares of the page's width
        for name in statements.names():
            claim = name.partition(".")[0]
            texts = [claims.get(claim, {}).get("outcomes", {}).get(name, MISSING) for claims in found.values()]
            lines.append(f"| **{name}** {statements.sentence(name)} | {' | '.join(texts)} |")
        return "\n".join(lines)

    def numbers(self, claim: str) -> dict[str, str]:
        """Return what the notebooks say on a claim, by the title of the data set."""
        found = {datasets.TITLES[dataset]: self._claims(dataset).get(claim) for dataset in datasets.DATASETS}
        return {title: about["numbers"] for title, about in found.items() if about}

    def summary(self) -> str:
        """Return how many statements have each outcome on both data sets, as a sentence."""
        if self.complete < statements.REPETITIONS:
            return (
                f"{self.complete} of {statements.REPETITIONS} repetitions are complete, so there are no outcomes yet."
            )
        counts = {}
        for dataset in datasets.DATASETS:
            outcomes = {k: v for about in self._claims(dataset).values() for k, v in about["outcomes"].items()}
            counts[datasets.TITLES[dataset]] = ", ".join(verdicts.counted(outcomes).values())
        return "Of these, " + "; ".join(f"on {title}, {text}" for title, text in counts.items() if text) + "."

    def _claims(self, dataset):
        paths = self.folder.glob(f"tables/*-{dataset}/C*.json")
        return {path.stem: json.loads(path.read_text("utf-8")) for path in paths}

    def table_ii(self, dataset: str) -> str:
        """Return the cells of Table II of a data set, the paper's and ours."""
        table = self.read("04-clustering", dataset, "scorecard_cells")
        if table is None:
            return MISSING
        columns = {}
        for index in ("Dunn", "Davies–Bouldin"):
            columns[f"{index}: paper"] = [_number(value, 2) for value in table[f"{index}, paper"]]
            columns["worst" + " " * len(columns)] = [_number(value, 2) for value in table[f"{index}, worst"]]
            columns["mean ± sd" + " " * len(columns)] = [
                f"{_number(mean, 2)} ± {_number(sd, 2)}"
                for mean, sd in table[[f"{index}, mean", f"{index}, sd"]].to_numpy()
            ]
        columns["in use"] = [f"{_number(used, 0)} of {_number(n, 0)}" for used, n in table[["in use", "of"]].to_numpy()]
        return markdown(pd.DataFrame(columns, index=table.index))

    def scorecard(self) -> str:
        """Return the order and the level of each row of Table II, for both readings of the blank."""
        rows = []
        for dataset, title in datasets.TITLES.items():
            table = self.read("04-clustering", dataset, "scorecard")
            for _, row in () if table is None else table.iterrows():
                rows.append(
                    {
                        "row": f"{title}, {row['index']}, {row.reading}",
                        "rank correlation": _number(row["rank correlation"], 2),
                        "order": row.order,
                        "difference": _number(row.difference, 3),
                        "of a constant": _number(row["difference of a constant"], 3),
                        "level": row.level,
                    }
                )
        return markdown(pd.DataFrame(rows).set_index("row")) if rows else MISSING

    def areas(self) -> str:
        """Return the areas under the outlier curves, of the instances and of other methods."""
        instances = self.side_by_side("03-outliers", "auc", {"": _interval("top", "low", "high")})
        columns = ("unknown classes", "low, unknown", "high, unknown")
        methods = self.side_by_side("03-outliers", "baselines", {"": _interval(*columns)})
        return markdown(pd.concat([instances, methods]).rename_axis("model"))

    def realism(self) -> str:
        """Return where unsharpened samples with S = 1 fall, beside flat mixtures, other methods and real images."""
        shown = {"JS": lambda row: _number(row.JS, 3), "coverage": lambda row: _number(row.coverage, 2)}
        return markdown(self.side_by_side("05-sampling", "realism", shown, S=["1", MISSING]))

    def exact(self) -> str:
        """Return the exact log-likelihoods of flat and deep models."""
        shown = {"": _interval("nats", "low", "high", 1)}
        found = self.side_by_side("12-baselines", "exact", shown)
        table = self.read("12-baselines", "mnist", "exact")
        if table is not None:
            found.insert(0, "parameters", [_number(n, 0, ",") for n in table.parameters.reindex(found.index)])
        return markdown(found.rename_axis("model"))

    def figure(self, notebook: str, name: str, dataset: str, width: int) -> str:
        """Return a figure with its caption, or nothing if there is none; its width is in percent of the text's."""
        path = Path("figures", f"{notebook}-{dataset}", f"{name}.md")
        if not (self.folder / path).exists():
            return ""
        first, _, caption = (self.folder / path).read_text("utf-8").partition("\n\n")
        alt = json.dumps(first[2 : first.rindex("](")], ensure_ascii=False)
        return f"![{caption.strip()}]({self.figures}/{path.parent.name}/{name}.pdf){{width={width}% alt={alt}}}"

    def made_by(self) -> dict[str, Any]:
        """Return what made the tables of the notebook on all statements: the commit, the packages and the processor."""
        paths = sorted(self.folder.glob(f"tables/*/{PROVENANCE}"))
        return json.loads(paths[-1].read_text("utf-8")) if paths else {}


def markdown(table: pd.DataFrame, align: str = "right") -> str:
    """Return a table in Pandoc's Markdown; all columns but the first are aligned to one side."""
    return table.to_markdown(disable_numparse=True, colalign=("left", *[align] * table.shape[1]))


def _number(value, digits, separator=""):
    return MISSING if pd.isna(value) else f"{value:{separator}.{digits}f}"


def _interval(column, low, high, digits=2):
    """Return a function that makes a text of a row: a number, and its interval in brackets if there is one."""

    def text(row):
        bracket = f" [{row[low]:.{digits}f}, {row[high]:.{digits}f}]" if row[[low, high]].notna().all() else ""
        return f"{_number(row[column], digits)}{bracket}"

    return text
