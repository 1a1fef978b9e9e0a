"""The models that are committed with the project: the first repetition of every training at the paper's scale."""

from pathlib import Path

import keras

import dcgmm.model  # noqa: F401  (registers the layers with Keras)
from dcgmm.architectures import file_name

FOLDER = Path(__file__).parents[1] / "results" / "paper" / "models"


def load_pretrained(name, dataset, classes="all"):
    """Return a committed model, trained for 25 epochs.

    Args:
        name: a name of Table I such as `"2L-c"`, or `"2L-c C(10)"`, the instance with a classifier.
        dataset: `"mnist"` or `"fashion_mnist"`.
        classes: what it was trained on, `"all"` or `"0-4"`. Default `"all"`.

    Returns:
        A `DCGMM`.

    Raises:
        FileNotFoundError: naming what there is, if there is no such model.
    """
    path = FOLDER / dataset / classes / f"{file_name(name)}.keras"
    if not path.exists():
        there = ", ".join(sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.rglob("*.keras")))
        raise FileNotFoundError(f"no committed model {dataset}/{classes}/{name}; there are: {there or 'none'}")
    return keras.models.load_model(path)
