"""What a notebook asks about its data before anything is trained: classes, instances that fit, and its parameters.

The paper's notebooks are about MNIST: ten classes, grey images of 28×28 pixels, 10,000 test images. For MNIST, these
functions answer what the paper did, and for any other data what fits it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from IPython.display import Markdown, display

from dcgmm import datasets
from dcgmm.architectures import ARCHITECTURES, propose_architectures, resolve, spec_parts
from dcgmm.experiments.claims import CLAIMS
from dcgmm.experiments.config import declared_datasets, own_architectures
from dcgmm.model import DCGMM

PLANE_OF_TABLE_I = (28, 28)
MOST_NAMES = 6  # a caption lists at most this many names of classes


class NotForThisData(ValueError):
    """A notebook needs something that its data or its parameters do not have. The message says it in one sentence."""

    def _render_traceback_(self):
        """Return what IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def need(fulfilled: Any, sentence: str) -> None:
    """Stop a notebook in one sentence, unless what it needs is there.

    Args:
        fulfilled: whether it is there.
        sentence: what the notebook needs, and what the data has.

    Raises:
        NotForThisData: if it is not there.
    """
    if not fulfilled:
        raise NotForThisData(sentence)


@dataclass(frozen=True)
class Classes:
    """The classes of a data set to train on, and the others, whose test images serve as outliers.

    Args:
        dataset: the name of the data set.
        known: the labels to train on.
        unknown: all other labels that the data set has.
        names: the name of each label, 0, 1, ...
    """

    dataset: str
    known: tuple[int, ...]
    unknown: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """The known classes as `experiments.trained` takes them, such as "0-4"."""
        return datasets.class_text(self.known)

    def words(self, labels: Iterable[int] | None = None) -> str:
        """Return classes for a sentence or a caption, such as "classes 0–4" or "classes 0–1 (cat, dog)".

        The classes of MNIST and FashionMNIST stay numbers, as in the paper.

        Args:
            labels: the classes. Default None: the known ones.
        """
        labels = self.known if labels is None else tuple(labels)
        noun = "class" if len(labels) == 1 else "classes"
        text = f"{noun} {datasets.class_text(labels).replace('-', '–').replace(',', ', ')}"
        names = [self.names[label] for label in labels]
        if self.dataset in datasets.DATASETS or names == [str(label) for label in labels]:
            return text
        more = ", …" if len(names) > MOST_NAMES else ""
        return f"{text} ({', '.join(names[:MOST_NAMES])}{more})"


def classes(dataset: str, known: str | int | None = None) -> Classes:
    """Return the classes to train on and the others.

    Args:
        dataset: the name of a data set, which may be one of params.yaml.
        known: the classes to train on, as text such as `"0-4"` or `"0,2,7-9"`, or `"all"`. Default None: the known
            classes of the data set's description, for MNIST 0 to 4.

    Raises:
        ValueError: if `known` cannot be read, or names classes that no training image has.
    """
    declared_datasets()
    data = datasets.describe(dataset)
    if known is None:
        labels = data.known
    elif known == "all":
        labels = data.classes
    else:
        # papermill reads `-p known 0` as a number; `class_labels` refuses what is no text.
        labels = datasets.class_labels(str(known) if type(known) is int else known)  # type: ignore[arg-type]
    if absent := sorted(set(labels) - set(data.classes)):
        raise ValueError(
            f"known={known!r} names the classes {datasets.class_text(absent)}, but the training images of {dataset!r} "
            f"have {datasets.class_text(data.classes)}: change `known`"
        )
    unknown = tuple(label for label in range(len(data.class_names)) if label not in labels)
    return Classes(dataset, tuple(labels), unknown, data.class_names)


def load(dataset: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load a data set so that its first images are a fair choice of all of them.

    Notebooks measure the first images, such as 1,000 of 10,000. MNIST and FashionMNIST are mixed already and keep their
    order. Images of your own may be sorted by class: they come in a random order, which is always the same.

    Args:
        dataset: the name of a data set, which may be one of params.yaml.

    Returns:
        `x_train, y_train, x_test, y_test`, as `datasets.load_dataset`.
    """
    declared_datasets()
    x_train, y_train, x_test, y_test = datasets.load_dataset(dataset)
    if dataset in datasets.DATASETS:
        return x_train, y_train, x_test, y_test
    first, second = (np.random.default_rng(0).permutation(len(y)) for y in (y_train, y_test))
    return x_train[first], y_train[first], x_test[second], y_test[second]


def select(
    dataset: str, x: np.ndarray, y: np.ndarray, labels: Sequence[int], least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the test images of some classes, and their labels, in their original order.

    A class without test images is no error, as long as all classes together have enough.

    Args:
        dataset: the name of the data set, for the message.
        x: test images (N, H, W, C).
        y: their labels (N,).
        labels: the classes to keep.
        least: how many images the notebook needs. Default 1.

    Raises:
        NotForThisData: if there are fewer.
    """
    keep = np.isin(y, labels)
    wanted = f"of the classes {datasets.class_text(labels)}" if labels else "of classes that are not trained on"
    amount = "" if least == 1 else f"at least {least} "
    has = f"the classes {datasets.class_text(np.unique(y).tolist())}" if len(y) else "no class"
    need(
        keep.sum() >= least,
        f"This notebook needs {amount}test images {wanted}, and {dataset!r} has {keep.sum() or 'none'}: its test "
        f"images have {has}. The parameter `known` names the classes to train on.",
    )
    return x[keep], y[keep]


def instance(
    dataset: str, asked: str | None = None, default: str = "2L-c", levels: int = 1, classify: bool = False
) -> str:
    """Return an architecture that fits the images, and say so where it is not the one of Table I that was asked for.

    Args:
        dataset: the name of a data set.
        asked: the notebook's parameter: a name of Table I, a specification, or None for the default.
        default: the instance that the paper shows. Default `"2L-c"`.
        levels: how many GMM layers the notebook needs at least. Default 1.
        classify: whether it needs a linear classifier of the data set's classes on top. Default False.

    Returns:
        The name or the specification that was asked for. In two cases it is the first architecture with enough levels
        of those that the data set's entry in params.yaml lists, else of `propose_architectures`: where none was asked
        for and the entry has such a list, and where a name of Table I meets images that are not of 28×28 pixels.

    Raises:
        NotForThisData: if the specification does not fit the images, or has too few GMM layers.
        ValueError: if it cannot be read.
    """
    declared_datasets()
    data = datasets.describe(dataset)
    name = default if asked is None else asked
    _check_text("an instance", name)
    parts = name.split()
    reason = ""
    if asked is None and _listed(data, levels):
        reason = f"params.yaml lists architectures for {data.title}"
    elif parts and parts[0] in ARCHITECTURES and data.image_shape[:2] != PLANE_OF_TABLE_I:
        reason = f"{parts[0]} is made for images of 28×28 pixels, and those of {data.title} have {_size(data)}"
    if reason:
        name = " ".join([_proposals(data, levels)[0], *parts[1:]])
        _say(f"{reason}, so this notebook takes `{name}`.")
    name = _with_classifier(name, 1 + max(data.classes)) if classify else name
    _check_fit(name, data, levels)
    return name


def instances(
    dataset: str,
    asked: str | Sequence[str] | None = None,
    default: Sequence[str] = tuple(ARCHITECTURES),
    levels: int = 1,
) -> dict[str, str]:
    """Return several architectures that fit the images, a dict by the names to show, in the order to show them.

    Args:
        dataset: the name of a data set.
        asked: the notebook's parameter: a list of names of Table I and specifications, or one text. Default None: the
            architectures that the data set's entry in params.yaml lists, else `default` on images of 28×28 pixels,
            and the proposals of `propose_architectures` on others.
        default: names of Table I. Default: all of them.
        levels: how many GMM layers each of them needs at least. Default 1.

    Raises:
        NotForThisData: if one of them does not fit the images.
        ValueError: if one cannot be read.
    """
    declared_datasets()
    data = datasets.describe(dataset)
    if asked is not None:
        chosen = [asked] if isinstance(asked, str) else asked
        check_lists(str, instances=chosen)
    elif data.image_shape[:2] == PLANE_OF_TABLE_I and not _listed(data, levels):
        chosen = default
    else:
        chosen = _proposals(data, levels)
    for name in chosen:
        _check_fit(name, data, levels)
        need("C" not in layers(name), f"This notebook needs instances without a classifier on top, received {name!r}.")
    short = [label(name) for name in chosen]
    named = {text if short.count(text) == 1 else name: name for text, name in zip(short, chosen)}
    listed = ", ".join(f"{text}: `{name}`" for text, name in named.items())
    if asked is None and _listed(data, levels):
        _say(f"This notebook takes the architectures that params.yaml lists for {data.title}: {listed}.")
    elif asked is None and chosen is not default:
        _say(
            f"Table I is made for images of 28×28 pixels. The images of {data.title} have {_size(data)}, so this "
            f"notebook takes {listed}."
        )
    return named


def label(name_or_spec: str) -> str:
    """Return a short name of an architecture: names of Table I as they are, else its depth and its first filter.

    Example:
        >>> label("2L-c"), label("F(6,8,1,2) G(25) F(15,12,1,1) G(36)")
        ('2L-c', '2L 6×8')
    """
    if name_or_spec.split(maxsplit=1)[0] in ARCHITECTURES:
        return name_or_spec
    parts = spec_parts(name_or_spec)
    depth = f"{sum(part.startswith('G') for part in parts)}L"
    return f"{depth} {first_filter(name_or_spec)}" if parts[0].startswith("F") else depth


def layers(name_or_spec: str) -> str:
    """Return the letters of an architecture's layers.

    Example:
        >>> layers("2L-c"), layers("2L-c C(10)")
        ('FGFG', 'FGFGC')
    """
    return "".join(part[0] for part in spec_parts(resolve(name_or_spec)))


def first_filter(name_or_spec: str) -> str:
    """Return the size of an architecture's first filter, such as "8×8".

    Example:
        >>> first_filter("2L-c")
        '8×8'
    """
    size = spec_parts(resolve(name_or_spec))[0].strip("FP()").split(",")
    return "×".join(size[:2])


def pixels(of_28: int, plane: Sequence[int], around: int = 0, **asked: int | None) -> int:
    """Return a length in pixels, such as the side of a hole: as asked, else in proportion to the image's smaller side.

    Args:
        of_28: the length in an image of 28×28 pixels.
        plane: (H, W) of the images.
        around: the pixels that must remain on each side. Default 0.
        **asked: the notebook's parameter by its name; None: in proportion, at least 1.

    Raises:
        ValueError: if the parameter is no whole number of at least 1.
        NotForThisData: if the length does not fit.

    Example:
        >>> pixels(10, (28, 28), hole=None), pixels(10, (20, 30), hole=None), pixels(10, (20, 30), hole=4)
        (10, 7, 4)
    """
    ((name, length),) = asked.items()
    smaller = min(plane)
    if length is None:
        length = max(1, round(of_28 * smaller / 28))
    check_counts(**{name: length})
    need(
        length + 2 * around <= smaller,
        f"{name}={length} with {around} pixels around it does not fit into images whose smaller side has {smaller} "
        "pixels.",
    )
    return length


def kinds(models: Mapping[str, DCGMM]) -> dict[str, list[str]]:
    """Return the names of models by their kind, as the paper compares them: flat, deep, and deep convolutional.

    A model is convolutional if its lowest GMM layer has several positions.
    """
    found: dict[str, list[str]] = {"flat": [], "deep, not convolutional": [], "deep, convolutional": []}
    for name, model in models.items():
        deep = len(model.gmm_layers) > 1
        convolutional = model.gmm_layers[0].output_plane != (1, 1)
        found["deep, convolutional" if convolutional else "deep, not convolutional" if deep else "flat"].append(name)
    return found


def claims_apply(dataset: str, used: Iterable[str] = (), expected: Iterable[str] = ()) -> bool:
    """Return whether the paper's claims can be judged: on MNIST or FashionMNIST, and with the expected instances.

    Args:
        dataset: the name of the data set.
        used: the instances that the notebook uses. Default: it does not matter which.
        expected: the instances that the paper's claim is about.
    """
    return dataset in datasets.DATASETS and list(used) == list(expected)


def not_judged(claim: str) -> None:
    """Say that a claim of the paper is not judged, because it is about other data or instances.

    Args:
        claim: a key of `CLAIMS`, such as `"C5"`.
    """
    _not_judged(claim, "The paper says this of instances of Table I on MNIST and FashionMNIST.")


def too_short(claim: str) -> None:
    """Say that a claim of the paper is not judged, because too few components are in use.

    Args:
        claim: a key of `CLAIMS`, such as `"C4"`.
    """
    _not_judged(
        claim, "The training was too short: too few components are in use to compare them. More epochs or images help."
    )


def _not_judged(claim, reason):
    _say(f"> **{claim} is not judged here.** *{CLAIMS[claim]}*\n>\n> {reason}")


def check_counts(least: int = 1, **values: Any) -> None:
    """Check parameters that are whole numbers.

    Args:
        least: the smallest accepted value. Default 1.
        **values: the parameters by name.

    Raises:
        ValueError: if one is no whole number, or is too small.
    """
    for name, value in values.items():
        if not _is_whole(value) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, received {value!r}{_hint(value)}")


def check_numbers(**values: Any) -> None:
    """Check parameters that are finite numbers.

    Raises:
        ValueError: if one is not.
    """
    for name, value in values.items():
        if not (_is_whole(value) or isinstance(value, float | np.floating)) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, received {value!r}{_hint(value)}")


def check_lists(of: type, least: float = -math.inf, **values: Any) -> None:
    """Check parameters that are lists.

    Args:
        of: the type of the entries: `int` or `str`.
        least: the smallest accepted number. Default: no bound.
        **values: the parameters by name; a tuple is a list, too.

    Raises:
        ValueError: if one is no list, is empty, or has an entry of another type or below `least`.
    """
    kind = {int: "whole numbers", str: "texts"}[of]
    bound = f" of at least {least:g}" if least > -math.inf else ""
    for name, value in values.items():
        fits = isinstance(value, list | tuple) and len(value) > 0
        right = isinstance if of is str else lambda entry, _: _is_whole(entry) and entry >= least
        if not fits or not all(right(entry, of) for entry in value):
            raise ValueError(f"{name} must be a list of {kind}{bound}, received {value!r}{_hint(value)}")


def _is_whole(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _hint(value):
    """Return how to give what is no text where a text came: papermill's -p makes texts of lists."""
    return ", a text; on papermill's command line, give lists and numbers by -y" if isinstance(value, str) else ""


def _check_text(what, value):
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} must be a name of Table I or a specification, received {value!r}")


def _size(data):
    height, width, channels = data.image_shape
    return f"{height}×{width} pixels" + (f" and {channels} channels" if channels > 1 else "")


def _listed(data, levels):
    """Return the architectures with enough levels, and without a classifier, that params.yaml lists for a data set."""
    return [spec for spec in own_architectures(data.name) if "C" not in layers(spec) and _levels(spec) >= levels]


def _proposals(data, levels):
    found = _listed(data, levels) or [s for s in propose_architectures(data.image_shape) if _levels(s) >= levels]
    if found:
        return found
    raise NotForThisData(
        f"This notebook needs an instance with {levels} GMM layers, and none is proposed for the images of "
        f"{data.title}, which have {_size(data)}: give a specification."
    )


def _levels(name_or_spec):
    return layers(name_or_spec).count("G")


def _check_fit(name, data, levels):
    """Check that a model can be made of a specification; the instances of Table I fit 28×28 pixels, so none is made."""
    _check_text("an instance", name)
    spec = resolve(name)
    need(
        _levels(name) >= levels,
        f"This notebook needs an instance with at least {levels} GMM layers, and {name!r} has {_levels(name)}.",
    )
    if name in ARCHITECTURES and data.image_shape[:2] == PLANE_OF_TABLE_I:
        return
    try:
        DCGMM.from_spec(spec, data.image_shape)
    except ValueError as error:
        fitting = ", ".join(map(repr, propose_architectures(data.image_shape)))
        raise NotForThisData(
            f"{name!r} does not fit the images of {data.title}, which have {_size(data)} ({error}); these fit: "
            f"{fitting}."
        ) from None


def _with_classifier(name, n_classes):
    """Return an architecture with a classifier of n classes on top, in place of one of another size."""
    *below, top = name.split()
    if below and top.startswith("C("):
        if top != f"C({n_classes})":
            _say(f"The data has {n_classes} classes, so the classifier is C({n_classes}) in place of {top}.")
        return " ".join([*below, f"C({n_classes})"])
    return f"{name} C({n_classes})"


def _say(text):
    display(Markdown(text))
