"""What params.yaml may hold: a table of the keys and their values, and a check that names all faults at once."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras

from dcgmm.annealing import Annealing
from dcgmm.architectures import layers_from_spec, resolve, spec_parts
from dcgmm.datasets import DATASETS, check_name, class_labels, class_text
from dcgmm.layers import GMM

SCALES = ("quick", "paper")  # those of the project; params.yaml may have others
RESERVED = ("own", "store", "datasets")  # folders of results/ beside those of the scales, and the other block


class SettingsInvalid(ValueError):
    """Some settings cannot be used; the message names each by its key, with what came and what was expected."""


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    Args:
        expected: the accepted values in words.
        holds: a function that says whether a value is accepted.
    """

    expected: str
    holds: Callable[[Any], bool]

    def faults(self, path: str, value: Any) -> list[str]:
        """Return what is wrong with the value of the key at `path`: a list of no or one sentence."""
        if self.holds(value):
            return []
        hint = (
            "; remove the quotes"
            if isinstance(value, str) and _reads_as_number(value) and "number" in self.expected
            else ""
        )
        return [f"{path}: received {_shown(value)}, expected {self.expected}{hint}"]


def _shown(value):
    return f"{value!r} ({'nothing' if value is None else type(value).__name__})"


def _reads_as_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_integer(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value, inside):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and inside(value)


def _integer(least, most=None):
    expected = f"a whole number of at least {least}" + (f" and below 2**{most}" if most else "")
    return Rule(expected, lambda value: _is_integer(value, least) and (most is None or value < 2**most))


def _number(interval, inside):
    return Rule(f"a number {interval}", lambda value: _is_number(value, inside))


def _or_nothing(rule):
    return Rule(f"{rule.expected}, or no such key", lambda value: value is None or rule.holds(value))


POSITIVE = _number("above 0", lambda x: x > 0)
NOT_NEGATIVE = _number("of at least 0", lambda x: x >= 0)
SHARE = _number("from 0 to 1", lambda x: 0 <= x <= 1)
FACTOR = _number("above 0 and at most 1", lambda x: 0 < x <= 1)
TRUTH = Rule("true or false", lambda value: isinstance(value, bool))
COUNT = _integer(1, 31)


@cache
def optimizers() -> tuple[str, ...]:
    """Return the names of Keras' optimizers."""
    kinds = ((name, getattr(keras.optimizers, name)) for name in dir(keras.optimizers))
    made = [name for name, kind in kinds if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)]
    return tuple(name for name in made if name not in ("Optimizer", "LossScaleOptimizer"))


def _is_optimizer(value):
    return value == EM or isinstance(value, str) and value.lower() in {name.lower() for name in optimizers()}


EM = "EM"
ANNEALING: dict[str, Rule] = {
    "sigma_start": _or_nothing(POSITIVE),
    "sigma_end": POSITIVE,
    "decay": _number("between 0 and 1", lambda x: 0 < x < 1),
    "tolerance": POSITIVE,
    "rate": FACTOR,
}
GMM_ARGUMENTS: dict[str, Rule] = {
    "max_precision": POSITIVE,
    "centroid_range": NOT_NEGATIVE,
    "start_precision": _or_nothing(POSITIVE),
    "seed": _or_nothing(_integer(0, 32)),
    "shared": TRUTH,
}


def _three_rates(value):
    numbers = isinstance(value, list | tuple) and len(value) == 3
    return numbers and all(_is_number(rate, lambda x: x >= 0) for rate in value)


# The keys of a scale that affect a training, and what an ablation may change beside them.
TRAINING: dict[str, Any] = {
    "epochs": COUNT,
    "batch_size": COUNT,
    "learning_rate": POSITIVE,
    "centroid_phase": SHARE,
    "annealing": ANNEALING,
    "threads": _integer(1, 10),
}
CHANGES: dict[str, Any] = {
    **TRAINING,
    "rates": Rule("a list of three numbers of at least 0", _three_rates),
    "final_rate": FACTOR,
    "start_delay": _number("of at least 0 and below 1", lambda x: 0 <= x < 1),
    "images": _or_nothing(COUNT),
    "optimizer": Rule("the name of one of Keras' optimizers, such as Adam, or EM for a flat mixture", _is_optimizer),
    "gmm": GMM_ARGUMENTS,
    "start": Rule('"k-means", or no such key', lambda value: value == "k-means"),
    "layerwise": TRUTH,
    "count_weights": TRUTH,
}
SCALE: dict[str, Any] = {
    **TRAINING,
    "images": _or_nothing(COUNT),
    "measured": _or_nothing(COUNT),
    "repetitions": _integer(1, 10),
    "seed": _integer(0, 32),
}
WHOLE_NUMBERS = ("epochs", "batch_size", "threads", "images", "measured", "repetitions", "seed")
SCALE_KEYS = ("architectures", "ablations", *SCALE)


def training_faults(architecture: Any, changes: Any) -> list[str]:
    """Return what is wrong with the architecture and the changes of a training, a list of sentences.

    Example:
        >>> training_faults("1L", {"epochs": 0, "optimiser": "Adam"})  # doctest: +NORMALIZE_WHITESPACE
        ['changes.optimiser: unknown key; did you mean `optimizer`?',
         'changes.epochs: received 0 (int), expected a whole number of at least 1 and below 2**31']
    """
    reason = _reason_against(architecture) or _reason_against_em(architecture, changes)
    return [f"architecture: {reason}"] * bool(reason) + _block_faults(changes, CHANGES, "changes")


def faults(content: Any) -> list[str]:
    """Return all that is wrong with the content of params.yaml, a list of sentences that begin with the key.

    The entries of `datasets` are checked only for their names: a wrong entry stops only what needs this data set.

    Args:
        content: as `yaml_file.parse` returns it.

    Example:
        >>> faults({"datasets": {"../x": {"npz": "a.npz"}}, "quik": 3})[0]
        'quik: unknown key; did you mean `quick`?'
    """
    if not isinstance(content, dict) or not content:
        return [
            f"the file is empty or no block of keys: received {_shown(content)}, expected the blocks quick and paper"
        ]
    blocks = {name: block for name, block in content.items() if name != "datasets"}
    scales = {name: block for name, block in blocks.items() if name in SCALES or _is_scale(block)}
    found = [_unknown(name, ("datasets", *SCALES)) for name in blocks if name not in scales]
    if not scales:
        found.append("there is no block with the settings of a scale: expected the blocks quick and paper")
    found += [fault for name, block in scales.items() for fault in _scale_faults(block, name)]
    return found + _dataset_name_faults(content.get("datasets"))


def _is_scale(block):
    return isinstance(block, dict) and any(key in SCALE_KEYS for key in block)


def _unknown(path, accepted):
    key, above = str(path).rpartition(".")[2], str(path).rpartition(".")[0]
    meant = did_you_mean(key, accepted).removeprefix("; ") or f"expected some of {', '.join(accepted)}"
    return f"{above}{'.' if above else ''}{key}: unknown key; {meant}"


def did_you_mean(name: str, accepted: Iterable[str]) -> str:
    """Return a question that names the nearest accepted name, to end a message with; empty if none is near.

    Example:
        >>> did_you_mean("epoch", ["epochs", "images"])
        '; did you mean `epochs`?'
    """
    near = difflib.get_close_matches(name, list(accepted), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _block_faults(block, rules, path, needed=()):
    """Return the faults of a block of keys; a rule is a `Rule`, or the rules of a block below."""
    if not isinstance(block, Mapping):
        return [f"{path}: received {_shown(block)}, expected a block of keys, some of {', '.join(rules)}"]
    found = [_unknown(f"{path}.{key}", rules) for key in block if key not in rules]
    found += [
        f"{path}.{key}: this key is missing, expected {_expected(rules[key])}" for key in needed if key not in block
    ]
    for key, rule in rules.items():
        if key in block:
            below = f"{path}.{key}"
            found += (
                rule.faults(below, block[key]) if isinstance(rule, Rule) else _block_faults(block[key], rule, below)
            )
    return found + (_pair_faults(block, path) if not found else [])


def _expected(rule):
    return rule.expected if isinstance(rule, Rule) else f"a block of keys, some of {', '.join(rule)}"


def _pair_faults(block, path):
    """Return the faults of values that are valid alone but not together."""
    start, end = block.get("sigma_start"), block.get("sigma_end", 0.01)
    found = []
    if start is not None and start < end:
        found.append(f"{path}.sigma_start: received {start}, below sigma_end = {end}, expected at least sigma_end")
    start, most = block.get("start_precision"), block.get("max_precision", 20)
    if start is not None and start > most:
        found.append(f"{path}.start_precision: received {start}, above max_precision = {most}, expected at most that")
    return found


def _scale_faults(block, path):
    rules = {
        **SCALE,
        "architectures": Rule("a list of architectures", _is_list),
        "ablations": Rule("a list", _is_list_or_nothing),
    }
    found = _block_faults(block, rules, path, needed=[key for key in rules if key not in ("images", "measured")])
    try:
        check_name(path, "a scale")
    except ValueError as error:
        found.append(f"{path}: {error}")
    if path in RESERVED:
        found.append(f"{path}: no scale has one of the names {', '.join(RESERVED)}, because results/ has such folders")
    if not isinstance(block, Mapping):
        return found
    if _is_list(block.get("architectures")):
        found += architectures_faults(block["architectures"], f"{path}.architectures")
    ablations = block.get("ablations")
    for i, ablation in enumerate(ablations if _is_list(ablations) else ()):
        found += _ablation_faults(ablation, f"{path}.ablations[{i}]")
    return found


def _is_list(value):
    return isinstance(value, list) and bool(value)


def _is_list_or_nothing(value):
    return value is None or isinstance(value, list)


def _ablation_faults(ablation, path):
    rules = {
        "architectures": Rule("a list of architectures", _is_list),
        "changes": CHANGES,
        "classes": Rule('"all", or labels as text, such as "0-4" or "0,2,7-9", in quotes', is_class_text),
        "repetitions": _integer(1, 10),
    }
    found = _block_faults(ablation, rules, path, needed=["architectures"])
    if isinstance(ablation, Mapping) and _is_list(ablation.get("architectures")):
        below = f"{path}.architectures"
        found += architectures_faults(ablation["architectures"], below)
        changes = ablation.get("changes", {})
        reasons = (_reason_against_em(name, changes) for name in ablation["architectures"] if not _reason_against(name))
        found += [f"{below}: {reason}" for reason in reasons if reason]
    return found


def is_class_text(value: Any) -> bool:
    """Return whether a value is "all", or labels as text, such as "0-4".

    Example:
        >>> is_class_text("0,2,7-9"), is_class_text("4-0"), is_class_text(3)
        (True, False, False)
    """
    try:
        return value == "all" or bool(class_labels(value))
    except ValueError:
        return False


def architectures_faults(names: Iterable[Any], path: str) -> list[str]:
    """Return what is wrong with a list of architectures: those that cannot be read, and those that occur twice."""
    found: list[str] = []
    first: dict[str, str] = {}
    for i, name in enumerate(names):
        below = f"{path}[{i}]"
        if reason := _reason_against(name):
            found.append(f"{below}: {reason}")
        elif (spec := "".join(spec_parts(resolve(name)))) in first:
            found.append(f"{below}: {name!r} is the same as {first[spec]!r} before it; delete one of them")
        else:
            first[spec] = name
    return found


def _reason_against(architecture):
    """Return why an architecture cannot be read, or None."""
    if not isinstance(architecture, str):
        return f"received {_shown(architecture)}, expected a name of Table I or a specification, as text"
    return _unreadable(architecture)


def _reason_against_em(architecture, changes):
    """Return why an architecture cannot be fitted by EM, if the changes ask for this, or None."""
    if not isinstance(changes, Mapping) or changes.get("optimizer") != EM:
        return None
    kinds = [part[0] for part in spec_parts(resolve(architecture))]
    return None if kinds.count("G") == 1 and "C" not in kinds else f"EM fits flat mixtures only, not {architecture!r}"


@cache
def _unreadable(architecture):
    """Return why the text of an architecture cannot be read, or None."""
    try:
        layers = layers_from_spec(resolve(architecture))
        for layer in layers:
            if isinstance(layer, GMM):
                Annealing(layer.n_components)
        gmm_part = layers[:-1] if layers and spec_parts(resolve(architecture))[-1].startswith("C") else layers
        if not gmm_part or not isinstance(gmm_part[-1], GMM):
            return f"{architecture!r} needs a G(K) at its top, or below its C(classes)"
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def name_fault(name: Any) -> str | None:
    """Return why something cannot name a data set, a sentence, or None.

    Example:
        >>> name_fault("my-images_2") is None, name_fault("mnist")
        (True, "the name 'mnist' is taken: choose another one")
    """
    if name in DATASETS:
        return f"the name {name!r} is taken: choose another one"
    try:
        check_name(name)
    except ValueError as error:
        return str(error)
    return None


def _dataset_name_faults(declared):
    if declared is None:
        return []
    if not isinstance(declared, dict):
        return [f"datasets: received {_shown(declared)}, expected data sets by name, such as {{mine: {{npz: a.npz}}}}"]
    found = [f"datasets.{name}: {reason}" for name in declared if (reason := name_fault(name))]
    first: dict[str, Any] = {}
    for name in declared:
        if (other := first.setdefault(str(name).casefold(), name)) != name:
            found.append(f"datasets.{name}: {other!r} has the same letters, and some systems know only one such folder")
    return found


def checked(content: Any, name: str) -> dict[str, Any]:
    """Return the content of params.yaml with whole numbers as integers and classes as their shortest text.

    Args:
        content: as `yaml_file.parse` returns it.
        name: the name of the file, for the message of an error.

    Raises:
        SettingsInvalid: if something is wrong; the message lists all faults.
    """
    content = _normal(content)
    if found := faults(content):
        raise SettingsInvalid(message(found, name))
    return content


def message(found: list[str], name: str) -> str:
    """Return the text that lists faults."""
    count = "1 fault" if len(found) == 1 else f"{len(found)} faults"
    return f"{name} has {count}:\n" + "\n".join(f"  {fault}" for fault in found)


def _normal(value, key=None):
    """Return a value of params.yaml in one form: `1e3` is 1000 where a count is wanted, and "0,1" is "0-1"."""
    if isinstance(value, dict):
        return {below: _normal(item, below) for below, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if key in WHOLE_NUMBERS and isinstance(value, float) and value.is_integer():
        return int(value)
    if key == "ablations" and value is None:
        return []
    if key == "classes" and isinstance(value, str) and value != "all" and is_class_text(value):
        return class_text(class_labels(value))
    return value
