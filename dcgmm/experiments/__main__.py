"""The stages of the pipeline as commands: `python -m dcgmm.experiments STAGE --help` lists the options of each."""

import argparse
import json
import os
import sys

from dcgmm import datasets
from dcgmm.experiments import (
    article,
    baseline_runs,
    claims_page,
    golden,
    own_run,
    release,
    settings_check,
    stages,
    verify,
    yaml_file,
)
from dcgmm.experiments.config import declared_datasets
from dcgmm.experiments.folders import NotWritable, use_results_of_dvc
from dcgmm.experiments.on_demand import TrainingsFailed, fill_store, store_repetition
from dcgmm.experiments.spec import Training

STAGES = {
    "check": "check params.yaml and dvc.yaml, and list the data sets",
    "data": "fetch and verify the data sets",
    "grid": "train all of a scale at once, here or on a Dask cluster, into the store",
    "train": "train all architectures on a data set, all repetitions, and collect their numbers",
    "baselines": "measure other methods on MNIST or FashionMNIST, classes 0-4, and collect their numbers",
    "repetition": "train one repetition of one architecture into the store",
    "notebook": "execute one notebook on a data set, with parameters of your own, into results/own",
    "claims": "write the page of the paper's claims from the tables of the notebooks",
    "article": "write the report, docs/report, with the results of a scale, as PDF and LaTeX",
    "verify": "check committed results: data, lock, models and tables, each against what is made again",
    "release-check": "check that a release is whole: results from its code, texts that agree, all repetitions",
    "same-numbers": "declare that changed code gives the same numbers, after a test, so that nothing is trained again",
}
# These are told without a traceback: their message says what to do.
EXPECTED = (
    TrainingsFailed,
    ConnectionError,
    NotWritable,
    datasets.DatasetUnavailable,
    golden.NumbersDiffer,
    own_run.NotRunnable,
    release.NotReleasable,
    settings_check.SettingsInvalid,
    verify.ResultsDiffer,
    yaml_file.Unreadable,
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    names, address = [*datasets.DATASETS, *declared_datasets()], os.environ.get("DASK_SCHEDULER_ADDRESS")
    made = argparse.ArgumentParser(prog="python -m dcgmm.experiments", description=__doc__.splitlines()[0])
    commands = made.add_subparsers(dest="stage", required=True)
    stage = {name: commands.add_parser(name, help=text, description=text) for name, text in STAGES.items()}
    stage["repetition"].add_argument("--architecture", required=True, help="a name of Table I or a specification")
    stage["repetition"].add_argument("--repetition", type=int, default=0)
    stage["repetition"].add_argument("--changes", type=json.loads, default={}, help="what differs, as JSON")
    for name in ("train", "repetition"):
        stage[name].add_argument("--classes", default="all", help='"all", or labels such as 0-4 or 0,2,7-9')
        stage[name].add_argument("--dataset", required=True, choices=names)
    stage["baselines"].add_argument("--dataset", required=True, choices=list(datasets.DATASETS))
    add = stage["grid"].add_argument
    add("--dataset", nargs="+", choices=names, help="default: those that dvc.yaml trains on")
    add("--classes", nargs="+", help="default: those that dvc.yaml trains on, or all")
    add("--repetitions", type=int, help="of each, the first having the scale's seed; default: the scale's")
    add("--workers", type=int, help="trainings at a time on this machine; default: as its cores and memory allow")
    add("--scheduler", default=address, help="of a Dask cluster; default: DASK_SCHEDULER_ADDRESS, else this machine")
    add = stage["notebook"].add_argument
    add("--notebook", required=True, help="a file of notebooks/, without .ipynb")
    add("--dataset", required=True, help="mnist, fashion_mnist or a data set of params.yaml")
    add("--architecture", default="", help="a name of Table I or a specification; default: the notebook chooses")
    add("--classes", default="", help="the classes to train on, such as 0-1; default: the notebook chooses")
    add("--parameters", default="", help='others, such as "n_samples=50 top_s=2"; values are read as YAML')
    for name in ("data", "grid", "train", "baselines", "repetition", "notebook", "claims", "article"):
        stage[name].add_argument("--scale", default="quick", help="a block of params.yaml: quick or paper")
    stage["verify"].add_argument("--scale", default="paper", help="a block of params.yaml: paper or quick")
    stage["verify"].add_argument("--notebook", nargs="*", default=[], help="which to execute again; default: all")
    stage["verify"].add_argument("--dataset", nargs="+", choices=names, default=[], help="default: those of dvc.yaml")
    stage["same-numbers"].add_argument("--commit", default="HEAD", help="whose code to compare with; default: HEAD")
    return made


def main(arguments: list[str] | None = None) -> None:
    """Run one stage."""
    use_results_of_dvc()
    asked = parser().parse_args(arguments)
    match asked.stage:
        case "check":
            print("\n".join(stages.summary()))
        case "data":
            stages.fetch_data(asked.scale)
        case "grid":
            trainings = stages.trainings_of_all(stages.chosen(asked.dataset, asked.classes), asked.scale)
            fill_store(trainings, asked.repetitions, asked.workers, asked.scheduler)
        case "train":
            stages.collect(asked.dataset, asked.classes, asked.scale)
        case "baselines":
            baseline_runs.collect(asked.dataset, asked.scale)
        case "repetition":
            stages.check_usable(asked.dataset)
            training = Training(asked.architecture, asked.dataset, asked.classes, asked.scale, asked.changes)
            store_repetition(training, asked.repetition)
        case "notebook":
            options = {name: value for name, value in vars(asked).items() if name != "stage"}
            print("written:", *own_run.run(**options), sep="\n  ")
        case "claims":
            claims_page.write(asked.scale)
        case "article":
            article.write(asked.scale)
        case "verify":
            verify.verify(asked.scale, asked.notebook, asked.dataset)
        case "release-check":
            release.check()
        case "same-numbers":
            golden.declare_same_numbers(asked.commit)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without × shows "?"
    try:
        main()
    except EXPECTED as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr, flush=True)
        os._exit(130)  # Python would wait for the trainings, which end with this process
    sys.stdout.flush()
    os._exit(0)  # all is written, and TensorFlow takes seconds to end
