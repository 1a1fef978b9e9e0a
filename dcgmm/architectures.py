"""Tables I and II of the paper as data: the eight instances, each a chain of layers, and how well they cluster."""

import re

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


def resolve(name_or_spec):
    """Return a specification in full.

    Args:
        name_or_spec: a key of `ARCHITECTURES` such as `"2L-c"`, a specification such as `"F(8,8,2,2) G(25)"`, or a key
            with more layers on top, such as `"2L-c C(10)"`.

    Raises:
        ValueError: if it is none of these.
    """
    name, *more = name_or_spec.split(maxsplit=1) or [""]
    if name in ARCHITECTURES:
        return " ".join([ARCHITECTURES[name], *more])
    if "(" in name:
        return name_or_spec
    raise ValueError(
        f"unknown architecture {name_or_spec!r}: expected one of {', '.join(ARCHITECTURES)}, "
        "or a specification such as 'F(8,8,2,2) G(25) F(11,11,1,1) G(36)'"
    )


def file_name(name_or_spec):
    """Return an architecture's name in a form that fits a file's: `"2L-c C(10)"` becomes `"2L-c-C-10"`."""
    return re.sub(r"[^\w-]+", "-", name_or_spec).strip("-")
