"""The pages that are made from results and code: notebooks, the gallery, the library's modules, measured costs."""

import base64
import inspect
import json
import os
import pkgutil
import re
import shutil
from pathlib import Path

import jinja2
import nbformat
import numpy as np
import pandas as pd

import dcgmm
from dcgmm.datasets import TITLES
from dcgmm.experiments import settings, statements, verdicts
from dcgmm.experiments.claims import CLAIMS

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    module.name.removeprefix("dcgmm.")
    for module in pkgutil.walk_packages(dcgmm.__path__, "dcgmm.")
    if not module.name.endswith("__main__")
)
# Where a live figure stands: below the title of an executed notebook.
LIVE = {
    "01-tour": "estimation",
    "06-top-s": "sampling",
    "07-sharpening": "sharpening",
    "09-inpainting": "inpainting",
}
PROMISED = ("fault", "bad input", "kill", "bytes compared")


def read_figure(path):
    """Return a figure's file, name, alternative text and the first sentence of its caption, from the text beside it."""
    alt, caption = re.fullmatch(r"!\[(.*)\]\(.*\)\n\n(.*)\n", path.read_text("utf-8"), re.DOTALL).groups()
    sentences = re.split(r"(?<=\.)(?<!Sec\.) (?=[A-Z])", caption)
    return {"path": path.with_suffix(".png"), "name": path.stem, "alt": alt, "caption": sentences[0]}


def read_claim(path):
    """Return what a notebook found on a claim: its statements with their sentences, and its numbers in one line."""
    found = json.loads(path.read_text("utf-8"))
    sentences = {name: (outcome, statements.sentence(name)) for name, outcome in found["outcomes"].items()}
    return found | {"statements": sentences, "numbers": " ".join(found["numbers"].split())}


def summary(outcomes):
    """Return how many statements of a claim have each outcome, as words in their colour, in MyST."""
    marks = [mark(outcome, text) for outcome, text in verdicts.counted(outcomes).items()]
    return " ".join(marks) or mark("counted", verdicts.COUNTED)


def mark(outcome, text=None):
    """Return a word in the colour of an outcome, in MyST."""
    return f"[{text or outcome}]{{.outcome .{outcome.replace(' ', '-')}}}"


def read_provenance(path):
    """Return a sentence that names the command that made the tables and figures of a notebook."""
    noted = json.loads(path.read_text("utf-8"))
    return (
        f"`{noted['command']}` makes all tables and figures of this page; here, with the code {noted['commit']} on "
        f"{noted['processor']}."
    )


def read_run(folder, executed):
    """Return the results of an executed notebook: its page's name, its figures in order, its findings by claim."""
    name, text = executed.stem, executed.read_text("utf-8")
    figures = [read_figure(path) for path in sorted(folder.glob(f"figures/{name}/*.md"))]
    claims = [read_claim(path) for path in sorted(folder.glob(f"tables/{name}/C*.json"))]
    finding = folder / "tables" / name / "finding.json"
    return {
        "executed": executed,
        "page": f"notebooks/{name}",
        "figures": {figure["name"]: figure for figure in sorted(figures, key=lambda figure: text.find(figure["alt"]))},
        "claims": {claim["claim"]: claim for claim in claims},
        "finding": json.loads(finding.read_text("utf-8")) if finding.exists() else None,
        "made_by": read_provenance(folder / "tables" / name / "provenance.json"),
    }


def read_notebooks(folder):
    """Return the notebooks in order: the name, title and source of each, and the results of its runs by data set."""
    notebooks = []
    for name in sorted({path.stem.rsplit("-", 1)[0] for path in folder.glob("notebooks/[!.]*.ipynb")}):
        paths = {dataset: folder / "notebooks" / f"{name}-{dataset}.ipynb" for dataset in TITLES}
        runs = {dataset: read_run(folder, path) for dataset, path in paths.items() if path.exists()}
        first = nbformat.read(next(iter(runs.values()))["executed"], as_version=4)
        title = first.cells[0].source.partition("\n")[0].removeprefix("# ")
        source = next((ROOT / "notebooks").glob(f"*{name}.ipynb"), ROOT / "notebooks" / f"{name}.ipynb")
        notebooks.append({"name": name, "title": title, "source": source, "runs": runs})
    return notebooks


def write_pages(app):
    """Write the executed notebooks and a page for each module into the sources of the site."""
    # MyST-NB would write what it reads beside the site.
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=str(app.doctreedir / "notebooks"))
    app.notebooks = read_notebooks(Path(app.srcdir, app.config.results).resolve())
    for folder in ("notebooks", "api"):
        shutil.rmtree(app.srcdir / folder, ignore_errors=True)
        (app.srcdir / folder).mkdir()
    for notebook in app.notebooks:
        for dataset in notebook["runs"]:
            write_notebook(notebook, dataset, app.srcdir / "notebooks")
    for module in MODULES:
        title = f"dcgmm.{module}"
        text = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {title}\n   :members:\n"
        (app.srcdir / "api" / f"{module}.rst").write_text(text, encoding="utf-8")


def write_notebook(notebook, dataset, folder):
    """Write an executed notebook with links below its title, and with its figures named and described."""
    run = notebook["runs"][dataset]
    executed = nbformat.read(run["executed"], as_version=4)
    executed.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    for cell in executed.cells:
        if cell.cell_type == "markdown":
            # Replace links to sources by links to the executed notebooks of the same data set.
            cell.source = re.sub(r"\]\((\d\d-[\w-]+)\.ipynb", rf"](\1-{dataset}.ipynb", cell.source)

    links = [
        f"[The same on {TITLES[other]}]({other_run['executed'].name})"
        for other, other_run in notebook["runs"].items()
        if other != dataset
    ]
    for text, path in {"Download the source": notebook["source"], "as executed": run["executed"]}.items():
        links.append(f"[{text}](<path:{os.path.relpath(path, folder)}>)")
    title, _, text = executed.cells[0].source.partition("\n")
    links = f":::{{container}} links\n{' · '.join(links)}\n\n{run['made_by']}\n:::"
    live = live_figure(LIVE[notebook["name"]], dataset) if notebook["name"] in LIVE else ""
    answer = take_answer(executed)
    executed.cells[0].source = f"{title} ({TITLES[dataset]})\n\n{links}\n\n{answer}\n\n{live}{text}"

    figures = {figure["path"].read_bytes(): figure for figure in run["figures"].values()}
    for output in (output for cell in executed.cells for output in cell.get("outputs", ())):
        figure = figures.get(base64.b64decode(output.get("data", {}).get("image/png", "")))
        if figure:
            path = os.path.relpath(figure["path"], folder)
            image = f"```{{image}} {path}\n:alt: {quoted(figure['alt'])}\n```"
            output.data, output.metadata = {"text/markdown": f'<span id="{figure["name"]}"></span>\n\n{image}'}, {}
    nbformat.write(executed, folder / run["executed"].name)


def take_answer(executed):
    """Remove what a notebook displays by `experiments.in_short`, and return it: on a page it stands below the title."""
    for cell in executed.cells:
        for output in cell.get("outputs", ()):
            text = output.get("data", {}).get("text/markdown", "")
            if text.startswith("**In short"):
                cell.outputs.remove(output)
                return text
    return ""


def live_figure(name, dataset):
    """Return a live figure in MyST, with a note that its models need not be those of the notebook."""
    note = (
        "The models of the figure are trained on all classes; the notebook names its own. All figures: [](../live.md)."
    )
    return f":::{{live}} {name}\n:dataset: {dataset}\n\n{note}\n:::\n"


def quoted(text):
    """Return a text as the value of a directive's option."""
    return json.dumps(text, ensure_ascii=False)


def fill_in(app, page, source):
    """Fill in the pages that are templates."""
    if page not in ("index", "api", "scaling", "promises"):
        return
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["relative"] = lambda path: os.path.relpath(path, app.srcdir)
    environment.filters |= {"quoted": quoted, "summary": summary, "mark": mark}
    environment.filters["table"] = lambda frame: f"{frame.round(3).to_markdown(index=False)}\n\n*Made by* `make bench`."
    measured = {path.stem: pd.read_csv(path) for path in (ROOT / "results").glob("bench*.csv")}
    counts = json.loads((ROOT / "results" / "promises.json").read_text("utf-8"))
    promises = pd.DataFrame(counts["counts"])
    environment.filters["counted"] = lambda kind: counted(promises[promises.kind == kind], counts["command"])
    source[0] = environment.from_string(source[0]).render(
        notebooks=app.notebooks,
        datasets=TITLES,
        claims=CLAIMS,
        complete=settings(Path(app.config.results).name)["repetitions"],
        needed=statements.REPETITIONS,
        modules=MODULES,
        dcgmm=dcgmm,
        measured=measured,
        promises=promises.groupby("kind")[["kept", "broken"]].sum().reindex(PROMISED, fill_value=0).T.to_dict(),
        promises_made_by=made_by(counts),
        clones=equal_clones(json.loads((ROOT / "results" / "two_clones.json").read_text("utf-8"))),
        processors=moved_tables(pd.read_csv(ROOT / "results" / "processors.csv", keep_default_na=False)),
    )


def made_by(counts):
    """Return the command that has counted what the tests show, and where it ran if that was noted."""
    where = f", with the code {counts['commit']} on {counts['processor']}" if "commit" in counts else ""
    return f"`{counts['command']}`{where}"


def equal_clones(found):
    """Return a sentence on the files of two clones that were compared, from results/two_clones.json."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in found["by_kind"].items())
    differing = ", ".join(f"`{name}`" for name in found["differing"])
    told = f"These differ: {differing}." if differing else "None differs."
    return f"{found['equal']:,} files are equal ({kinds}). {told}\n\n*Made by* {made_by(found)}."


def moved_tables(compared):
    """Return a table of what moves in printed tables under each setting, from results/processors.csv."""
    rows = []
    for (models, setting), part in compared.groupby(["models", "setting"], sort=False):
        moved = part[part.moved > 0]
        before, after = moved.largest_was.astype(float), moved["is"].astype(float)
        shares = (after - before).abs() / np.maximum(before.abs(), after.abs())
        largest = moved.loc[shares.idxmax()] if len(moved) else None
        rows.append(
            {
                "models": models,
                "setting": setting,
                "tables": len(part),
                "equal as printed": len(part) - len(moved),
                "numbers": part.numbers.sum(),
                "moved": part.moved.sum(),
                "largest change": f"{largest.largest_was} → {largest['is']} ({largest.notebook})" if len(moved) else "",
            }
        )
    table = pd.DataFrame(rows).to_markdown(index=False)
    return f"{table}\n\n*Made by* `python benchmarks/processors.py`, on {compared.processor.iloc[0]}."


def counted(promises, command):
    """Return a table of what the tests have counted of one kind."""
    table = promises.rename(columns={"what": "what was tried", "kept": "as promised", "broken": "not as promised"})
    return f"{table.drop(columns='kind').to_markdown(index=False)}\n\n*Made by* `{command}`."


def show_constructor(app, what, name, obj, options, signature, returned):
    """Show the arguments of a class' own constructor if a base class hides them by a `__new__`."""
    if what == "class" and name.startswith(obj.__module__) and "__init__" in vars(obj):
        constructor = inspect.signature(obj.__init__)
        signature = str(constructor.replace(parameters=list(constructor.parameters.values())[1:]))
    return signature, returned


TEX = {r"Σ_(\w)": r"\\sum_\1 ", r"_([a-z]{2,})": r"_{\1}", r"\blog\b": r"\\log", "½": r"\\tfrac12", "²": "^2", "−": "-"}


def set_formulas(app, what, name, obj, options, lines):
    """Set a docstring's displayed formulas, which are indented paragraphs, as mathematics; escape its bars."""
    for i, line in enumerate(lines):
        if line.startswith("    ") and " = " in line and not lines[i - 1] and not lines[i + 1]:
            for pattern, tex in TEX.items():
                line = re.sub(pattern, tex, line)
            lines[i] = f".. math:: {line.strip()}"
        else:
            lines[i] = line.replace("|", r"\|")


def setup(app):
    """Connect the steps above."""
    app.add_config_value("results", "../results/paper", "env")
    app.connect("builder-inited", write_pages)
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-signature", show_constructor)
    app.connect("autodoc-process-docstring", set_formulas, priority=400)
    return {"parallel_read_safe": True}
