"""Two programs, written independently from docs/protocol.md, give the same outcomes."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from test_statements import COLUMNS

from dcgmm import datasets
from dcgmm.experiments import scorecard, stages
from dcgmm.experiments.folders import root
from dcgmm.experiments.spec import Training
from dcgmm.experiments.statements import Runs, outcomes

# The size of a number, and how much trainings and repetitions differ in it.
SIZES = {
    "davies_bouldin": (2.6, 0.1),
    "dunn": (0.14, 0.02),
    "components_in_use": (22, 2),
    "distinct": (60, 6),
    **dict.fromkeys(("log_likelihood_0", "log_likelihood_1", "exact_log_likelihood"), (200, 5)),
}


def write_tables(folder, seed):
    """Write tables of ten repetitions of every training with numbers that decide some statements and leave others."""
    rng, tables = np.random.default_rng(seed), {}
    for dataset in datasets.DATASETS:
        for classes in ("0-4", "all"):
            for training in stages.trainings_of(dataset, classes, "paper"):
                columns = {}
                for name in COLUMNS:
                    size, spread = SIZES.get(name, (0.5, 0.05))
                    own = spread * rng.choice([0.1, 0.5, 1])
                    columns[name] = size + rng.normal(0, spread) + rng.normal(0, own, 10)
                table = pd.DataFrame(columns)
                table["lowest_layer"] = [f"sha256:{i}" for i in range(10)]
                if seed % 2 and training.changes.get("layerwise"):
                    table.loc[0, "lowest_layer"] = "sha256:other"
                path = folder / dataset / classes / f"{training.name}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                table.to_csv(path, index_label="repetition")
                tables[dataset, classes, training.name] = pd.read_csv(path, index_col="repetition")
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_an_independent_program_gives_the_same_outcomes(seed, tmp_path):
    tables = write_tables(tmp_path, seed)

    def repetitions(architecture, dataset, classes="0-4", **changes):
        return tables[dataset, classes, Training(architecture, dataset, classes, "paper", changes).name]

    command = [sys.executable, root() / "benchmarks" / "rederive.py", tmp_path, tmp_path / "outcomes.csv"]
    subprocess.run(command, check=True)
    others = pd.read_csv(tmp_path / "outcomes.csv", index_col=["dataset", "statement"])
    for dataset in datasets.DATASETS:
        ours = outcomes(Runs(dataset, repetitions)).drop_duplicates("statement").set_index("statement")
        theirs = others.loc[dataset].loc[ours.index]
        assert ours.outcome.to_dict() == theirs.outcome.to_dict()
        margin = "depends on the margin"
        assert ours[margin].astype(bool).to_dict() == theirs[margin].to_dict()
        assert len(set(ours.outcome)) == 4, "the numbers decide too little"
        own = {name: repetitions(name, dataset, "all") for name in scorecard.INSTANCES}
        rows = scorecard.rows(pd.concat(own, names=["instance", "repetition"]), dataset).groupby(level="index").first()
        for index, row in rows.iterrows():
            for kind in ("order", "level"):
                assert row[kind] == others.outcome[dataset, f"Table II {index.replace('–', '-')} {kind}"]
