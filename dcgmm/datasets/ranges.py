"""The value that becomes 1: how pixels of bytes, of 16 bits and of other whole numbers are brought to [0, 1]."""

from collections.abc import Mapping

DEPTHS = (8, 10, 12, 14, 16)
DARK = 128  # bytes below this use less than half of their range


def depth(largest: float) -> int:
    """Return the smallest of 8, 10, 12, 14 and 16 bits that holds a value.

    Cameras and scanners store 10, 12 or 14 bits in 16, and files seldom tell. So the largest value of all images of a
    data set has to.

    Args:
        largest: the largest value of all images, at most 65,535.

    Example:
        >>> depth(255), depth(4000), depth(65535)
        (8, 12, 16)
    """
    return next(bits for bits in DEPTHS if largest < 2**bits)


def unit(largest: Mapping[str, float], deep: bool) -> tuple[float, list[str]]:
    """Return the value that becomes 1 in all parts of a data set, and what to warn about.

    Values of at most 1 stay as they are: they are masks. Bytes are divided by 255, and deeper values by 2^b - 1, where
    b is their `depth`.

    Args:
        largest: the largest value of each part, by the part's name in messages.
        deep: whether values may exceed 255.

    Example:
        >>> unit({"x_train": 255, "x_test": 254}, deep=False)
        (255.0, [])
        >>> unit({"x_train": 1}, deep=False)[0], unit({"x_train": 3000, "x_test": 900}, deep=True)[0]
        (1.0, 4095.0)
    """
    parts, top = ", ".join(f"{name}: {value:g}" for name, value in largest.items()), max(largest.values())
    if top <= 1:
        return 1.0, [
            f"the largest value is {top:g} ({parts}): values are taken as they are, 0 and 1. "
            "If another value should become 1, set `scale`"
        ]
    if deep:
        bits = depth(top)
        said = f"whole numbers of up to {top:g} ({parts}) are taken for {bits} bits, so {2**bits - 1} becomes 1"
        same = min(map(depth, largest.values())) == DEPTHS[-1]
        return 2.0**bits - 1, [] if same else [f"{said}. If another value should, set `scale`"]
    dark = ", ".join(f"{name}: {value:g}" for name, value in largest.items() if value < DARK)
    said = f"the largest byte is far below 255 ({dark}), and 255 becomes 1"
    return 255.0, [f"{said}. If another value should, set `scale`"] if dark else []
