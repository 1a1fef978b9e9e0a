"""Tables I and II of the paper as data, and specifications: the text form of a chain of layers."""

import inspect
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from dcgmm import arguments
from dcgmm.layers import GMM, Folding, LinearClassifier, MaxPooling, check_chain

EXAMPLE = "F(8,8,2,2) G(25) F(11,11,1,1) G(36)"

ARCHITECTURES = {
    "1L": "F(28,28,1,1) G(25)",
    "2L-a": "F(20,20,8,8) G(25) F(2,2,1,1) G(36)",
    "2L-b": "F(7,7,7,7) G(25) F(4,4,1,1) G(36)",
    "2L-c": "F(8,8,2,2) G(25) F(11,11,1,1) G(36)",
    "2L-d": "F(28,28,1,1) G(25) F(1,1,1,1) G(36)",
    "2L-e": "F(4,4,2,2) G(25) F(13,13,1,1) G(36)",
    # The paper prints F(6,6,1,1) as the last filter of 3L-a, which does not fit its 5x5 input; 5x5 does.
    "3L-a": "F(3,3,1,1) G(25) P(2,2) F(4,4,1,1) G(25) P(2,2) F(5,5,1,1) G(49)",
    "3L-b": "F(28,28,1,1) G(25) F(1,1,1,1) G(25) F(1,1,1,1) G(25)",
}

# Worst of ten repetitions. For MNIST the paper prints seven values in eight columns; in our copy the last one is blank.
PAPER_CLUSTERING = {
    "mnist": {
        "dunn": (0.14, 0.14, 0.13, 0.12, 0.19, 0.15, 0.15, None),
        "davies_bouldin": (2.59, 2.73, 3.06, 2.62, 2.57, 2.65, 2.53, None),
    },
    "fashion_mnist": {
        "dunn": (0.14, 0.15, 0.16, 0.15, 0.11, 0.11, 0.096, 0.13),
        "davies_bouldin": (2.37, 2.77, 2.62, 2.70, 2.40, 2.92, 3.2, 2.35),
    },
}


def resolve(name_or_spec: str) -> str:
    """Return a specification in full.

    Args:
        name_or_spec: a key of `ARCHITECTURES` such as `"2L-c"`, a specification such as `"F(8,8,2,2) G(25)"`, or a key
            with more layers on top, such as `"2L-c C(10)"`.

    Raises:
        ValueError: if it is none of these, or a part of it cannot be read; the message names the part.

    Example:
        >>> resolve("1L C(10)")
        'F(28,28,1,1) G(25) C(10)'
    """
    name, *more = _specification(name_or_spec).split(maxsplit=1)
    if name not in ARCHITECTURES and "(" not in name:
        raise ValueError(
            f"unknown architecture {name_or_spec!r}: expected one of {', '.join(ARCHITECTURES)}, "
            f"or a specification such as {EXAMPLE!r}{arguments.nearest(name, ARCHITECTURES)}"
        )
    spec = " ".join([ARCHITECTURES[name], *more]) if name in ARCHITECTURES else name_or_spec
    for part in spec_parts(spec):
        _read(part, spec)
    return spec


def _specification(value):
    return arguments.text("spec", value, EXAMPLE)


def file_name(name_or_spec: str) -> str:
    """Return an architecture's name in a form that can name a file.

    Raises:
        ValueError: if it is no text, or has no letter and no digit.

    Example:
        >>> file_name("2L-c C(10)")
        '2L-c-C-10'
    """
    name = re.sub(r"[^\w-]+", "-", arguments.text("name_or_spec", name_or_spec, "2L-c C(10)")).strip("-")
    if not name:
        raise arguments.refusal("name_or_spec", "text with letters or digits", name_or_spec)
    return name


def propose_architectures(image_shape: Sequence[int]) -> list[str]:
    """Return specifications that fit an image size: two convolutional ones, if the size allows them, and a flat one.

    They are 2L-c, 2L-b and 1L of Table I, with filters of about the same share of the image: for 28×28 pixels they are
    exactly these.

    Args:
        image_shape: (H, W) or (H, W, C) of an image.

    Raises:
        ValueError: if it is no such shape of positive integers.

    Example:
        >>> propose_architectures((20, 30))
        ['F(6,8,1,2) G(25) F(15,12,1,1) G(36)', 'F(5,6,5,6) G(25) F(4,5,1,1) G(36)', 'F(20,30,1,1) G(25)']
        >>> propose_architectures((28, 28)) == [ARCHITECTURES[name] for name in ("2L-c", "2L-b", "1L")]
        True
    """
    plane = arguments.sizes("image_shape", image_shape, "(H, W)", "(H, W, C)")[:2]
    overlapping = [_window(n, filter_share=8 / 28, stride_share=2 / 28) for n in plane]
    apart = [_window(n, filter_share=7 / 28, stride_share=7 / 28, apart=True) for n in plane]
    proposals = [_two_levels(plane, windows) for windows in (overlapping, apart) if all(windows)]
    flat = f"F({plane[0]},{plane[1]},1,1) G(25)"
    return list(dict.fromkeys([*proposals, flat]))


def _window(n, filter_share, stride_share, apart=False):
    """Return the filter and stride, in pixels, that fit n pixels and are closest to the given shares, else None."""
    candidates = [(f, s) for f in range(2, n) for s in ([f] if apart else range(1, f)) if (n - f) % s == 0]
    return min(candidates, key=lambda c: abs(c[0] / n - filter_share) + abs(c[1] / n - stride_share), default=None)


def _two_levels(plane, windows):
    """Return the specification of two GMM layers, of which the upper one sees all positions of the lower one."""
    (fy, sy), (fx, sx) = windows
    rows, columns = (1 + (n - f) // s for n, (f, s) in zip(plane, windows, strict=True))
    return f"F({fy},{fx},{sy},{sx}) G(25) F({rows},{columns},1,1) G(36)"


_LAYERS: dict[str, tuple[Any, Callable[..., dict[str, Any]]]] = {
    "C": (LinearClassifier, lambda classes: {"n_classes": classes}),
    "F": (Folding, lambda fy, fx, dy=1, dx=None: {"size": (fy, fx), "strides": _strides(dy, dx)}),
    "P": (MaxPooling, lambda ky, kx, dy=None, dx=None: {"size": (ky, kx), "strides": _strides(dy, dx)}),
    "G": (GMM, lambda k: {"n_components": k}),
}
# The arguments of every GMM layer of a specification: all but K, which the specification holds.
GMM_ARGUMENTS = (*list(inspect.signature(GMM).parameters)[1:-1], "dtype", "trainable")
# Written behind the numbers of G, as in G(25,unshared): each position has a mixture of its own.
UNSHARED = "unshared"


def spec_parts(spec: str) -> list[str]:
    """Return the layers of a specification as a list of texts; spaces and line breaks do not matter.

    Raises:
        ValueError: if it is no text, or empty.

    Example:
        >>> spec_parts("F(8,8,2,2)G(25)")
        ['F(8,8,2,2)', 'G(25)']
    """
    return "".join(_specification(spec).split()).replace(")", ") ").split()


def gmm_arguments(gmm: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of every GMM layer of a specification as a dict; `GMM` checks their values.

    Args:
        gmm: some of the arguments of `GMM` other than K, and Keras' `dtype` and `trainable`. None: none.

    Raises:
        ValueError: if it is no such mapping.

    Example:
        >>> gmm_arguments({"max_precison": 4})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: gmm has the unknown key 'max_precison', expected some of max_precision, centroid_range, ...
    """
    if isinstance(gmm, Mapping) and "n_components" in gmm:
        k = arguments.shown(gmm["n_components"])
        raise ValueError(f"gmm has the key 'n_components', {k}, but K stands in the specification, as in G(25)")
    return {} if gmm is None else arguments.known_keys("gmm", gmm, GMM_ARGUMENTS)


def layers_from_spec(spec: str, **arguments_of_gmm: Any) -> list[keras.layers.Layer]:
    """Return the layers of a specification such as `"F(8,8,2,2) G(25) F(11,11,1,1) G(36)"`.

    They are named as the paper names them, here F1, G2, F3 and G4.

    Args:
        spec: the specification; strides may be left out, and one stride counts for both directions. `G(25,unshared)` is
            a `GMM` with a mixture of its own at each position.
        **arguments_of_gmm: arguments of every `GMM` other than K, such as `max_precision`; and Keras' `dtype` and
            `trainable`.

    Raises:
        ValueError: if a part cannot be read, which the message names, or a size or an argument of `GMM` does not fit.

    Example:
        >>> [layer.name for layer in layers_from_spec("F(8,8,2,2) G(25)")]
        ['F1', 'G2']
    """
    of_all = gmm_arguments(arguments_of_gmm)
    layers: list[keras.layers.Layer] = []
    for index, part in enumerate(spec_parts(spec), start=1):
        layer, numbers = _read(part, spec)
        layers.append(layer(**{**(of_all if layer is GMM else {}), **numbers}, name=f"{part[0]}{index}"))
    return layers


def _strides(dy, dx):
    """Return the strides (Δ_Y, Δ_X) where one may count for both directions, or None where none is given."""
    return None if dy is None else (dy, dy if dx is None else dx)


def _read(part, spec):
    """Return the class of a layer that is written as text, and its arguments."""
    match = re.fullmatch(rf"([A-Z])\(([0-9]+(?:,[0-9]+)*)(,{UNSHARED})?\)", part)
    letter, sizes, unshared = match.groups() if match else ("", "", None)
    try:
        layer, arguments_of = _LAYERS[letter]
        numbers = arguments_of(*(int(n) for n in sizes.split(",")))
        if unshared:
            numbers |= {"G": {"shared": False}}[letter]
    except (KeyError, TypeError, ValueError) as error:  # a ValueError: thousands of digits
        raise ValueError(
            f"cannot read {arguments.shown(part).removesuffix(', which is text')} in the specification "
            f"{arguments.shown(spec).removesuffix(', which is text')}: expected F(fY,fX,strideY,strideX), "
            f"P(kY,kX[,strideY,strideX]), G(K), G(K,{UNSHARED}) or C(classes){_meant(part)}"
        ) from error
    return layer, numbers


def _meant(part):
    """Return a question for what was meant, where only the letter's case or the kind of the digits is wrong."""
    plain = unicodedata.normalize("NFKC", part)
    plain = plain[:1].upper() + plain[1:].lower()
    readable = re.fullmatch(rf"[{''.join(_LAYERS)}]\([0-9,]+(,{UNSHARED})?\)", plain)
    return f"; did you mean {plain!r}?" if readable and plain != part else ""


def table_of_layers(layers: Sequence[Any], image_shape: Sequence[int]) -> str:
    """Return a table of a chain's layers: name, type, geometry, output shape and number of parameters.

    Args:
        layers: a chain of built layers; a layer of your own may say what it is in its property `description`.
        image_shape: (H, W, C) of an image.

    Raises:
        ValueError: if an argument does not fit.

    Example:
        >>> from dcgmm import DCGMM
        >>> print(table_of_layers(DCGMM.from_spec("1L").stack, (28, 28, 1)))
        layer    type                        what      output shape parameters
           F1 Folding          28×28, strides 1×1 (None, 1, 1, 784)          0
           G2     GMM 25 components, 784 features  (None, 1, 1, 25)      39225
    """
    rows = [("layer", "type", "what", "output shape", "parameters")]
    shape: tuple[Any, ...] = (None, *arguments.sizes("image_shape", image_shape, "(H, W, C)"))
    for layer in check_chain(layers):
        if not layer.built:
            raise ValueError(f"layers must be built, received {layer!r}: build a DCGMM of them")
        shape = layer.compute_output_shape(shape)
        what = getattr(layer, "description", "")
        rows.append((layer.name, type(layer).__name__, what, str(shape), str(layer.count_params())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(" ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
