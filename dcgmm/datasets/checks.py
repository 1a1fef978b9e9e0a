"""The arguments of own data sets: each is refused by its name and value."""

import math
import os
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from dcgmm.datasets.images import FITS

UNIT_INTERVAL = math.nextafter(0, -1), math.nextafter(1, 2)  # so that 0 and 1 lie between the bounds


def expanded(name: str, path: Any) -> Path:
    """Return a path with `~` and environment variables replaced.

    Raises:
        ValueError: if it is no path.

    Example:
        >>> os.environ["DCGMM_EXAMPLE"] = "data"
        >>> expanded("npz", "$DCGMM_EXAMPLE/a.npz").as_posix()
        'data/a.npz'
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ValueError(f"{name} is a path, received {path!r}")
    try:
        return Path(os.path.expandvars(os.fspath(path))).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name}: {os.fspath(path)!r} names the home folder of somebody who has none here") from error


def number(name: str, value: Any, low: float, high: float, meaning: str) -> float:
    """Return a number between two bounds, without the bounds.

    Raises:
        ValueError: if it is none; the message has the name, the meaning and the value.

    Example:
        >>> number("scale", 255, 0, math.inf, "the value that becomes 1")
        255.0
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low < float(value) < high:
        raise ValueError(f"{name} is {meaning}, received {value!r}")
    return float(value)


def scale(value: Any) -> float | None:
    """Return the value that becomes 1, or None.

    Example:
        >>> scale(4095)
        4095.0
    """
    meaning = "the value that becomes 1, a number above 0"
    return None if value is None else number("scale", value, 0, math.inf, meaning)


def size(value: Any) -> tuple[int, int] | None:
    """Return (H, W), also of one integer for squares, or None.

    Example:
        >>> size(28), size([20, 30])
        ((28, 28), (20, 30))
    """
    if value is None:
        return None
    sides = (value, value) if isinstance(value, Integral) else value
    if not isinstance(sides, Iterable) or isinstance(sides, str | bytes | dict) or len(sides := tuple(sides)) != 2:
        raise ValueError(f"size is (H, W) in pixels, or one integer for squares, received {value!r}")
    if not all(isinstance(side, Integral) and not isinstance(side, bool) and int(side) > 0 for side in sides):
        raise ValueError(f"size is (H, W), two integers of at least 1, received {value!r}")
    return int(sides[0]), int(sides[1])


def channels(value: Any) -> int:
    """Return 1 or 3.

    Example:
        >>> channels(3)
        3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value not in (1, 3):
        raise ValueError(f"channels is 1 or 3, received {value!r}")
    return int(value)


def background(value: Any, channels: int) -> float | tuple[float, float, float]:
    """Return a value in [0, 1], or three for colour.

    Example:
        >>> background(1, channels=1), background([0, 0.5, 1], channels=3)
        (1.0, (0.0, 0.5, 1.0))
    """
    meaning = "a value from 0, black, to 1, white" + (", or three of them" if channels == 3 else "")
    if channels == 3 and isinstance(value, list | tuple) and len(value) == 3:
        red, green, blue = (number("background", each, *UNIT_INTERVAL, meaning) for each in value)
        return red, green, blue
    return number("background", value, *UNIT_INTERVAL, meaning)


def fit(value: Any) -> str:
    """Return "stretch", "crop" or "pad".

    Example:
        >>> fit("crop")
        'crop'
    """
    if not isinstance(value, str) or value not in FITS:
        raise ValueError(f"fit is {', '.join(map(repr, FITS))}, received {value!r}")
    return value


def share(value: Any) -> float:
    """Return a share of test images.

    Example:
        >>> share(0.2)
        0.2
    """
    return number("test", value, 0, 1, "a share of the images between 0 and 1")


def test_part(value: Any) -> Path | float:
    """Return a folder of test images, or a share of test images.

    Example:
        >>> test_part(0.2), test_part("data/test").name
        (0.2, 'test')
    """
    if isinstance(value, str) and _is_number(value):
        raise ValueError(
            f"test is a folder or a share of the images between 0 and 1, received the text {value!r}: write the number "
            f"without quotes for a share, or ./{value} for a folder"
        )
    if isinstance(value, str | os.PathLike):
        return expanded("test", value)
    return number("test", value, 0, 1, "a folder or a share of the images between 0 and 1")


def _is_number(text: str) -> bool:
    try:
        float(text.strip().rstrip("%"))
    except ValueError:
        return False
    return True


def known(value: Any) -> Any:
    """Return labels or names of known classes, or None.

    Example:
        >>> known(["cat", 2])
        ('cat', 2)
    """
    several = isinstance(value, list | tuple | range | set)
    each = tuple(value) if several else (value,)
    if value is not None and not (each and all(_is_label(one) for one in each)):
        raise ValueError(
            f'known is labels or names of classes, such as [0, 1], "0-4" or [cat, dog], received {value!r}'
        )
    return each if several else value


def _is_label(value: Any) -> bool:
    return isinstance(value, str | Integral) and not isinstance(value, bool)


def title(value: Any) -> str | None:
    """Return a text, or None.

    Example:
        >>> title("My letters")
        'My letters'
    """
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError(f"title is a text for captions, received {value!r}")
    return value
