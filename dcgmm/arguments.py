"""Checks of arguments. Each returns the value in plain Python, or raises a ValueError with what came and what fits."""

import difflib
import math
import numbers
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

# TensorFlow and NumPy count in 64 bits.
LARGEST_INTEGER = 2**63
# NumPy's and TensorFlow's generators take seeds below this.
SEEDS = 2**32
# Messages show longer values cut.
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxdict = 12
_SHORT.maxstring = _SHORT.maxother = 160


def shown(value: Any) -> str:
    """Return what came, as a message shows it: its repr, or in words where a repr would be long or would mislead.

    Example:
        >>> shown(True), shown("[1, 2]"), shown(np.zeros((3, 4)))
        ('True, which is a truth value', "'[1, 2]', which is text", 'a float64 ndarray of shape (3, 4)')
    """
    if getattr(value, "shape", ()) != () and getattr(value, "dtype", None) is not None:
        kind = str(getattr(value.dtype, "name", value.dtype))
        article = "an" if kind.startswith(("i", "o")) else "a"
        return f"{article} {kind} {type(value).__name__} of shape {tuple(value.shape)}"
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        text = "an integer of thousands of digits"
    if isinstance(value, bool | np.bool_):
        return f"{text}, which is a truth value"
    return f"{text}, which is text" if isinstance(value, str) else text


def refusal(name: str, expected: str, value: Any) -> ValueError:
    """Return the error for a value that does not fit.

    Example:
        >>> raise refusal("steps", "a positive integer", 0.5)
        Traceback (most recent call last):
        ValueError: steps must be a positive integer, received 0.5
    """
    return ValueError(f"{name} must be {expected}, received {shown(value)}")


def is_number(value: Any) -> bool:
    """Return whether a value is a real number: neither a truth value, nor text, nor an array.

    Example:
        >>> [is_number(value) for value in (2, np.float32(0.5), float("nan"), True, "2", np.zeros(1))]
        [True, True, True, False, False, False]
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def integer(name: str, value: Any, at_least: int | None = None, at_most: int | None = None) -> int:
    """Return an integer of Python or NumPy as an `int`; 2.0 is none.

    Args:
        name: what the message calls the argument.
        value: the value.
        at_least: the smallest value that fits. Default: no bound.
        at_most: the largest value that fits. Default: no bound.

    Raises:
        ValueError: if the value is no integer, or out of its range.

    Example:
        >>> integer("layer", np.int64(1), at_least=0)
        1
        >>> integer("layer", 2.5, at_least=0, at_most=3)
        Traceback (most recent call last):
        ValueError: layer must be an integer from 0 to 3, received 2.5
    """
    whole = isinstance(value, numbers.Integral) and is_number(value)
    low, high = (-math.inf if at_least is None else at_least), (math.inf if at_most is None else at_most)
    if whole and abs(value) >= LARGEST_INTEGER:
        raise refusal(name, "an integer of at most 63 bits", value)
    if not whole or not low <= value <= high:
        if at_least is not None and at_most is not None:
            expected = f"an integer from {at_least} to {at_most}"
        else:
            bounds = [f"{sign} {bound}" for sign, bound in ((">=", at_least), ("<=", at_most)) if bound is not None]
            expected = "a positive integer" if at_least == 1 else " ".join(["an integer", *bounds])
        raise refusal(name, expected, value)
    return int(value)


def positive_integer(name: str, value: Any) -> int:
    """Return an integer of at least one as an `int`.

    Raises:
        ValueError: if the value is none.

    Example:
        >>> positive_integer("n_components", True)
        Traceback (most recent call last):
        ValueError: n_components must be a positive integer, received True, which is a truth value
    """
    return integer(name, value, at_least=1)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return a finite number as an `int` or a `float`, whichever it is.

    Args:
        name: what the message calls the argument.
        value: the value.
        above: the value is larger than this. Default: no bound.
        at_least: the value is not smaller than this. Default: no bound.
        below: the value is smaller than this. Default: no bound.
        at_most: the value is not larger than this. Default: no bound.

    Raises:
        ValueError: if the value is no number, not finite, or out of its range.

    Example:
        >>> number("rate", np.float64(0.5), above=0, at_most=1), number("rate", 1)
        (0.5, 1)
        >>> number("rate", float("nan"), above=0, at_most=1)
        Traceback (most recent call last):
        ValueError: rate must be a finite number > 0 and <= 1, received nan
    """
    fits = is_number(value) and -math.inf < value < math.inf
    fits = fits and (above is None or value > above) and (at_least is None or value >= at_least)
    fits = fits and (below is None or value < below) and (at_most is None or value <= at_most)
    if not fits:
        limits = ((">", above), (">=", at_least), ("<", below), ("<=", at_most))
        bounds = " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        if at_least is not None and at_most is not None:
            bounds = f"from {at_least:g} to {at_most:g}"
        raise refusal(name, f"a finite number {bounds}".strip(), value)
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def truth(name: str, value: Any) -> bool:
    """Return True or False, of Python or NumPy, as a `bool`; text, 0 and 1 are none.

    Raises:
        ValueError: if the value is neither.

    Example:
        >>> truth("merge_prior", "no")
        Traceback (most recent call last):
        ValueError: merge_prior must be True or False, received 'no', which is text
    """
    if not isinstance(value, bool | np.bool_):
        raise refusal(name, "True or False", value)
    return bool(value)


def text(name: str, value: Any, example: str) -> str:
    """Return a text that is not empty.

    Args:
        name: what the message calls the argument.
        value: the value.
        example: what would fit, for the message.

    Raises:
        ValueError: if the value is no text, or blank.

    Example:
        >>> text("spec", 5, example="F(8,8,2,2) G(25)")
        Traceback (most recent call last):
        ValueError: spec must be text such as 'F(8,8,2,2) G(25)', received 5
    """
    if not isinstance(value, str) or not value.strip():
        received = shown(value) if not isinstance(value, str) else f"{value!r}"
        raise ValueError(f"{name} must be text such as {example!r}, received {received}")
    return value


def nearest(value: Any, options: Iterable[str]) -> str:
    """Return a question for the most similar option, to end a message, or nothing if none is similar.

    Example:
        >>> nearest("rat", ["rate", "decay"]), nearest("x", ["rate"])
        ("; did you mean 'rate'?", '')
    """
    by_lower = {option.lower(): option for option in options}
    found = difflib.get_close_matches(str(value).lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""


def one_of(name: str, value: Any, options: Iterable[str]) -> str:
    """Return a text that is one of the options.

    Raises:
        ValueError: if the value is none of them.

    Example:
        >>> one_of("damage", "blak", ("black", "white"))
        Traceback (most recent call last):
        ValueError: damage must be one of black, white, received 'blak'; did you mean 'black'?
    """
    options = tuple(options)
    if not isinstance(value, str):
        raise refusal(name, f"one of {', '.join(options)}", value)
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, received {value!r}{nearest(value, options)}")
    return value


def known_keys(name: str, value: Any, options: Iterable[str]) -> dict[str, Any]:
    """Return a dict, or another mapping as one, whose keys are some of the options.

    Raises:
        ValueError: if the value is no mapping, or has another key.

    Example:
        >>> known_keys("annealing", {"rat": 0.1}, ("sigma_end", "rate"))
        Traceback (most recent call last):
        ValueError: annealing has the unknown key 'rat', expected some of sigma_end, rate; did you mean 'rate'?
    """
    options = tuple(options)
    if not isinstance(value, Mapping):
        raise refusal(name, f"a dict with some of the keys {', '.join(options)}", value)
    for key in value:
        if key not in options:
            raise ValueError(
                f"{name} has the unknown key {key!r}, expected some of {', '.join(options)}{nearest(key, options)}"
            )
    return dict(value)


def seed(name: str, value: Any) -> int | None:
    """Return the seed of a random generator: an integer from 0 to 2³² − 1, or None for a fresh one each time.

    Raises:
        ValueError: if the value is neither.

    Example:
        >>> seed("seed", -1)
        Traceback (most recent call last):
        ValueError: seed must be an integer from 0 to 4294967295 or None, received -1
    """
    if value is None:
        return None
    try:
        return integer(name, value, 0, SEEDS - 1)
    except ValueError:
        raise refusal(name, f"an integer from 0 to {SEEDS - 1} or None", value) from None


def items(value: Any, sets: bool = False) -> list[Any] | None:
    """Return the items of a list, a tuple, an array or another sequence; None for text, a mapping or a single value.

    Args:
        value: the value.
        sets: whether a set counts, although its items have no order. Default False.

    Example:
        >>> items((1, 2)), items("12"), items(12), items({1, 2}), items({1, 2}, sets=True)
        ([1, 2], None, None, None, [1, 2])
    """
    if isinstance(value, str | bytes | Mapping) or (isinstance(value, Set) and not sets):
        return None
    try:
        return list(value)
    except (TypeError, ValueError):  # a single value, or a shape of unknown rank
        return None


def sizes(name: str, value: Any, *axes: str) -> tuple[int, ...]:
    """Return a shape of positive integers as a tuple.

    Args:
        name: what the message calls the argument.
        value: the shape: a list, a tuple, an array or a shape of TensorFlow.
        *axes: the axes, such as `"(H, W, C)"`; of several, the shape may have any.

    Raises:
        ValueError: if the shape has another length, or a size is no positive integer.

    Example:
        >>> sizes("input_shape", [28, 28, 1], "(H, W, C)")
        (28, 28, 1)
        >>> sizes("input_shape", (28.5, 28, 1), "(H, W, C)")
        Traceback (most recent call last):
        ValueError: input_shape must be positive integers (H, W, C), received (28.5, 28, 1)
    """
    found = items(value)
    lengths = [axis.count(",") + 1 for axis in axes]
    if found is None or len(found) not in lengths or not all(_is_size(size) for size in found):
        raise refusal(name, f"positive integers {' or '.join(axes)}", value)
    return tuple(int(size) for size in found)


def _is_size(value):
    return isinstance(value, numbers.Integral) and is_number(value) and 0 < value < LARGEST_INTEGER


def array(
    name: str, value: Any, axes: str, *, finite: bool = True, truths: bool = False, empty: bool = False
) -> np.ndarray:
    """Return an array of real numbers, of the type it has.

    Args:
        name: what the message calls the argument.
        value: an array, a tensor, or nested lists.
        axes: its axes, such as `"(N, H, W, C)"`; with "...", there may be more of them.
        finite: whether NaN and infinity are refused. Default True.
        truths: whether truth values count as numbers. Default False.
        empty: whether it may have no elements. Default False.

    Raises:
        ValueError: if the value does not fit.

    Example:
        >>> array("scores", [1, 2.5], "(N,)").tolist()
        [1.0, 2.5]
        >>> array("scores", [1, float("nan")], "(N,)")
        Traceback (most recent call last):
        ValueError: scores must be finite, but 1 of 2 numbers are not: the first is nan at index (1,)
    """
    found = _as_array(name, value, f"an array of numbers {axes}")
    if found.dtype.kind == "O" and all(is_number(element) for element in found.flat):
        found = found.astype("float64")
    ranks = axes.count(",") + (not axes.endswith(",)"))
    fits = found.ndim >= ranks - 1 if "..." in axes else found.ndim == ranks
    if not fits or found.dtype.kind not in ("iufb" if truths else "iuf"):
        raise refusal(name, f"an array of numbers {axes}", value)
    if not found.size and not empty:
        raise ValueError(f"{name} must have at least one element {axes}, received none: shape {found.shape}")
    if finite and found.dtype.kind == "f" and not np.all(valid := np.isfinite(found)):
        first = tuple(int(i) for i in np.argwhere(~valid)[0])
        raise ValueError(
            f"{name} must be finite, but {np.sum(~valid)} of {found.size} numbers are not: the first is "
            f"{found[first]} at index {first}"
        )
    return found


def _as_array(name, value, expected):
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked values, received {shown(value)}: fill them or leave them out")
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:  # rows of different lengths, or a symbolic tensor
        raise refusal(name, expected, value) from error


def labels(name: str, value: Any, n: int | None = None, of: str = "points") -> np.ndarray:
    """Return labels as an array (N,): integers, finite numbers, truth values or text.

    Args:
        name: what the message calls the argument.
        value: the labels.
        n: how many there must be. Default None: any number, but at least one.
        of: what has these labels, for the message. Default "points".

    Raises:
        ValueError: if the labels do not fit.

    Example:
        >>> labels("labels", [0, 1], n=3)
        Traceback (most recent call last):
        ValueError: labels must be one label for each of 3 points, received 2 labels
    """
    expected = f"one label for each of {'the' if n is None else n} {of}"
    found = _as_array(name, value, expected)
    of_text = found.dtype.kind == "O" and all(isinstance(label, str) for label in found.flat)
    if found.ndim != 1 or not (found.dtype.kind in "iufbUS" or of_text):
        raise refusal(name, f"{expected}, (N,)", value)
    if len(found) == 0 or (n is not None and len(found) != n):
        raise ValueError(f"{name} must be {expected}, received {len(found)} labels")
    if found.dtype.kind == "f" and not np.all(np.isfinite(found)):
        raise ValueError(f"{name} must be finite, received {found[~np.isfinite(found)][0]} among them")
    return found


def tensor(name: str, value: Any, axes: str, shape: Sequence[int | None], floats: bool = True) -> Any:
    """Return a tensor or an array as it came, if its shape fits as far as it is known.

    Args:
        name: what the message calls the argument.
        value: a tensor or an array.
        axes: its axes, such as `"(N, h, w, K)"`.
        shape: their sizes; None where any size fits.
        floats: whether its numbers must be floating-point numbers. Default True.

    Raises:
        ValueError: if it does not fit.

    Example:
        >>> tensor("control", np.zeros((2, 3)), "(N, K)", (None, 4))
        Traceback (most recent call last):
        ValueError: control must be a tensor of floats (N, K) = (any, 4), received a float64 ndarray of shape (2, 3)
    """
    found = getattr(value, "shape", ())
    if getattr(found, "rank", 0) is None:  # in a graph, TensorFlow may not know the shape
        return value
    fits = len(found) == len(shape) and all(
        None in (have, want) or have == want for have, want in zip(found, shape, strict=True)
    )
    kind = str(getattr(getattr(value, "dtype", ""), "name", getattr(value, "dtype", "")))
    if not fits or (floats and "float" not in kind):
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise refusal(name, f"a tensor of {'floats' if floats else 'numbers'} {axes} = ({sizes})", value)
    return value


def memory(size: str, what: str, n_bytes: int) -> None:
    """Refuse a size that needs more memory than the machine has, before the memory is asked for.

    Args:
        size: the argument and the size that came.
        what: what would take the memory.
        n_bytes: how many bytes it would take.

    Raises:
        ValueError: if it is more than the machine has.

    Example:
        >>> memory("K = 100,000,000", "a table of K × K numbers", 4 * 10**16)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: K = 100,000,000 is too large: a table of K × K numbers takes 35.5 PiB, ...
    """
    if n_bytes > (available := _memory_of_machine()):
        raise ValueError(
            f"{size} is too large: {what} takes {_bytes_text(n_bytes)}, and this machine has "
            f"{_bytes_text(available)} of memory"
        )


def _memory_of_machine():
    """Return the bytes of the machine's memory, or a pebibyte where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**50


def _bytes_text(n):
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(int(math.log2(max(n, 1))) // 10, len(units) - 1)
    return f"{n / 1024**power:,.3g} {units[power]}" if power else f"{n} B"
