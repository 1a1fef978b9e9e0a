"""Fingerprints of the code that decides the weights of a training, and of the code that decides its numbers.

A fingerprint is the hash of the syntax trees of some modules, without docstrings and comments. So a changed comment
changes nothing, a changed line in `TRAINING` causes every training that it may affect, and a changed line in
`EVALUATION`, `SAMPLES` or `CLAIMS` only causes trained models to be evaluated again. To declare that a refactoring
keeps every bit, run `python -m dcgmm.experiments same-numbers`: it adds the new hash to equivalent_fingerprints.txt.

A stage of the pipeline runs this file by its path, `python -P dcgmm/experiments/fingerprint.py FOLDER`, because
`python -m` would import TensorFlow.
"""

import argparse
import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
EQUIVALENTS = Path(__file__).with_name("equivalent_fingerprints.txt")

# The modules that decide the weights. A test checks that `TRAINING`, `EVALUATION`, `CLAIMS` and `WITHOUT_NUMBERS`
# together hold all modules that experiments/train.py imports, directly or not.
TRAINING = (
    "__init__.py",
    "annealing.py",
    "architectures.py",
    "datasets/__init__.py",
    "datasets/idx.py",
    "datasets/transforms.py",
    "divergence.py",
    "experiments/expectation_maximisation.py",
    "experiments/train.py",
    "keras_settings.py",
    "layers.py",
    "levels.py",
    "missing.py",
    "model.py",
    "outliers.py",
    "parallel.py",
    "training.py",
    "validation.py",
)
# The modules that decide the numbers that are measured of a trained model.
EVALUATION = (
    "datasets/__init__.py",
    "datasets/idx.py",
    "datasets/transforms.py",
    "experiments/evaluation.py",
    "layers.py",
    "levels.py",
    "missing.py",
    "metrics.py",
    "model.py",
    "outliers.py",
    "parallel.py",
    "validation.py",
)
# The modules that decide the numbers that are measured of its samples.
SAMPLES = (
    "exact.py",
    "experiments/evaluation_of_samples.py",
    "experiments/real_images.py",
    "layers.py",
    "levels.py",
    "missing.py",
    "metrics.py",
    "model.py",
    "parallel.py",
    "realism.py",
    "sampling.py",
)
# The modules that decide the numbers that decide statements about single instances.
CLAIMS = (
    *SAMPLES,
    "datasets/transforms.py",
    "experiments/evaluation_of_claims.py",
    "inpainting.py",
    "outliers.py",
    "sharpening.py",
)
# The modules that decide the numbers of other methods.
BASELINES = (
    "datasets/__init__.py",
    "datasets/idx.py",
    "datasets/transforms.py",
    "experiments/baseline_runs.py",
    "experiments/baselines.py",
    "experiments/collected_numbers.py",
    "experiments/evaluation_of_samples.py",
    "experiments/real_images.py",
    "metrics.py",
    "realism.py",
)
# The modules that read images of your own; they have a key of their own in the records of such data.
READER = (
    "datasets/arrays.py",
    "datasets/custom.py",
    "datasets/folders.py",
    "datasets/images.py",
    "datasets/listing.py",
    "datasets/npz.py",
    "datasets/ranges.py",
    "datasets/splits.py",
)
# A training imports these modules, too, but they decide none of its numbers: files are verified by their hash.
WITHOUT_NUMBERS = (
    *READER,
    "arguments.py",
    "datasets/checks.py",
    "datasets/description.py",
    "datasets/download.py",
    "experiments/__init__.py",
    "experiments/fingerprint.py",
    "experiments/provenance.py",
    "files.py",
    "loading.py",
    "loop_arguments.py",
    "monitoring.py",
    "quiet.py",
    "saving.py",
    "streams.py",
)
# The modules that decide the content of a notebook, beside its models.
NOTEBOOKS = (
    *sorted({*TRAINING, *EVALUATION, *CLAIMS, *BASELINES}),
    "datasets/description.py",
    "experiments/choices.py",
    "experiments/claims.py",
    "experiments/config.py",
    "experiments/execute.py",
    "experiments/folders.py",
    "experiments/on_demand.py",
    "experiments/plotting.py",
    "experiments/protocol.py",
    "experiments/provenance.py",
    "experiments/report.py",
    "experiments/settings_check.py",
    "experiments/scorecard.py",
    "experiments/spec.py",
    "experiments/statements.py",
    "experiments/statistics.py",
    "experiments/store.py",
    "experiments/verdicts.py",
    "experiments/yaml_file.py",
)


def of_training(own_data: bool = False, package: Path = PACKAGE) -> dict[str, str]:
    """Return the keys of a record that stand for the code.

    Args:
        own_data: whether the data set is one of your own. Default False.
        package: the folder of the package. Default: this one.

    Returns:
        `code`, and for own data also `reader`: the hash of the modules, or, if a line of equivalent_fingerprints.txt
        holds this hash, the first hash of that line.
    """
    keys = {"code": _canonical(_hash(TRAINING, package))}
    return keys | {"reader": _canonical(_hash(READER, package))} if own_data else keys


def of_evaluation(package: Path = PACKAGE) -> dict[str, str]:
    """Return the fingerprints of the code that measures a trained model; they stand beside the measured numbers.

    Args:
        package: the folder of the package. Default: this one.

    Returns:
        `evaluation`, for the numbers of samples `samples`, and for those of single instances `claims`.
    """
    modules = {"evaluation": EVALUATION, "samples": SAMPLES, "claims": CLAIMS}
    return {name: _canonical(_hash(names, package)) for name, names in modules.items()}


def all_keys() -> dict[str, str]:
    """Return all fingerprints, on which the stages that train depend."""
    return of_training(own_data=True) | of_evaluation()


def of_notebooks(package: Path = PACKAGE) -> dict[str, str]:
    """Return the fingerprint of the code that decides the content of a notebook, beside its models: `notebooks`."""
    return {"notebooks": _hash(NOTEBOOKS, package)}


def of_baselines(package: Path = PACKAGE) -> dict[str, str]:
    """Return the fingerprint of the code that decides the numbers of other methods: `baselines`."""
    return {"baselines": _hash(BASELINES, package)}


def files_of_the_stage() -> dict[str, str]:
    """Return what the stage `code` writes: the names of its files, and their texts."""
    keys = {
        "training.json": all_keys(),
        "baselines.json": of_baselines(),
        "notebooks.json": {"code": of_notebooks()["notebooks"]},
    }
    return {name: json.dumps(own, indent=1) + "\n" for name, own in keys.items()}


def declare(keys: dict[str, str], unchanged: Iterable[str]) -> list[str]:
    """Note in equivalent_fingerprints.txt that this code gives the same weights or numbers as other code.

    Args:
        keys: the other code's `all_keys()`.
        unchanged: the names of the keys whose code gives the same bits.

    Returns:
        The hashes that were added.
    """
    groups, added = [list(group) for group in _groups()], []
    for name, found in all_keys().items():
        if name in unchanged and name in keys and found != keys[name]:
            groups = [group for group in groups if found not in group]  # other code's numbers were the same once
            group = next((group for group in groups if keys[name] in group), None)
            if group is None:
                groups.append(group := [keys[name]])
            group.append(found)
            added.append(found)
    if added:
        from dcgmm import files  # here, because a stage runs this file without the package

        files.write(EQUIVALENTS, "".join(" ".join(group) + "\n" for group in groups))
        _groups.cache_clear()
    return added


def _canonical(found):
    return next((group[0] for group in _groups() if found in group), found)


@cache
def _groups():
    lines = EQUIVALENTS.read_text("utf-8").splitlines() if EQUIVALENTS.exists() else []
    return [line.split() for line in lines]


@cache
def _hash(modules, package):
    trees = [f"{name} {_text(ast.parse((package / name).read_bytes()))}" for name in modules]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:16]


def _text(node):
    """Return a syntax tree as a text that is the same in all versions of Python: empty fields are left out."""
    if isinstance(node, ast.AST):
        fields = [(name, _text(value)) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            fields = [(name, _text(node.body[1:]) if name == "body" else text) for name, text in fields]
        return f"{type(node).__name__}({','.join(f'{name}={text}' for name, text in fields if text)})"
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]" if node else ""
    return "" if node is None else repr(node)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the fingerprints that trainings and notebooks depend on.")
    parser.add_argument("folder", type=Path, help="where to write the fingerprints")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files_of_the_stage().items():
        (folder / name).write_text(text, encoding="utf-8")
