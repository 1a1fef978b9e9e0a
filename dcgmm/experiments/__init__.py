"""The paper's experiments: trainings by params.yaml, their store, and the functions for notebooks.

The library (`dcgmm`) works with tensors and arrays. This package works with params.yaml, the store of trainings, DVC,
git and notebooks. It imports the library; the library never imports it.
"""

from dcgmm.experiments.config import results, root, settings
from dcgmm.experiments.evaluation import evaluate
from dcgmm.experiments.evaluation_of_samples import evaluate_samples, realism
from dcgmm.experiments.on_demand import history, repetitions, trained, trained_models
from dcgmm.experiments.real_images import RealImages
from dcgmm.experiments.report import Report
from dcgmm.experiments.spec import Training
from dcgmm.experiments.verdicts import finding, in_short, judge

__all__ = [
    "RealImages",
    "Report",
    "Training",
    "evaluate",
    "evaluate_samples",
    "finding",
    "history",
    "in_short",
    "judge",
    "realism",
    "repetitions",
    "results",
    "root",
    "settings",
    "trained",
    "trained_models",
]
