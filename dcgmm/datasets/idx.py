"""The IDX format of the original MNIST and FashionMNIST files."""

import math
import os
from pathlib import Path

import numpy as np


def load(folder: str | os.PathLike) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the images and labels of four IDX files in a folder, as `load_dataset` returns those of MNIST.

    Example:
        >>> from dcgmm.datasets import fetch
        >>> [part.shape for part in load(fetch("fashion_mnist"))]
        [(60000, 28, 28, 1), (60000,), (10000, 28, 28, 1), (10000,)]
    """
    train, test = ((f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k"))
    return *_read_part(Path(folder), *train), *_read_part(Path(folder), *test)


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Return the array of an IDX file of unsigned bytes.

    The file holds the bytes 0, 0, 8 and the rank, the sizes as big-endian int32, and the values.

    Raises:
        ValueError: if the first bytes differ from these, or the file's length does not fit the sizes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "idx")
        >>> _ = path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
        >>> read_idx(path).tolist()
        [[7, 8, 9]]
    """
    content = np.fromfile(path, np.uint8)
    head, rank = content[:3].tolist(), int(content[3]) if content.size > 3 else 0
    if head != [0, 0, 8] or content.size < 4 + 4 * rank:
        raise ValueError(f"{path} is no IDX file of unsigned bytes: it starts with {content[:4].tobytes()!r}")
    shape, values = content[4 : 4 + 4 * rank].view(">i4").tolist(), content[4 + 4 * rank :]
    if min(shape, default=0) < 0 or values.size != math.prod(shape):
        raise ValueError(f"{path}: sizes {shape} do not fit the {values.size} values that follow them")
    return values.reshape(shape)


def _read_part(folder: Path, images: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    x = read_idx(folder / images)[..., np.newaxis].astype(np.float32)
    x /= 255
    return x, read_idx(folder / labels).astype(np.int64)
