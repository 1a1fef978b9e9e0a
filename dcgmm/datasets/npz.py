"""The arrays of an `.npz` file, read in blocks, so that memory holds little more than what is kept of them."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from dcgmm.datasets.images import seems_to_be

BLOCK = 2**24  # bytes


class Header(NamedTuple):
    """What an array's file says of it.

    Example:
        >>> Header((6, 8, 8), False, np.dtype("uint8")).shape
        (6, 8, 8)
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


class Archive:
    """The arrays of an `.npz` file by their names; pickled objects are never read.

    Args:
        path: the path of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no `.npz` file, or a damaged one; the message says what it seems to be.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.npz")
        >>> np.savez(path, x=np.arange(6).reshape(2, 3))
        >>> archive = Archive(path)
        >>> archive.names, archive.header("x").shape, archive.read("x").tolist()
        (['x'], (2, 3), [[0, 1, 2], [3, 4, 5]])
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; expected an .npz file (for a folder of images: `folder: path`)")
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.namelist()
        except zipfile.BadZipFile as error:
            with path.open("rb") as file:
                kind = seems_to_be(file.read(512))
            if kind == "is a zip archive":
                kind = "is a zip archive that is damaged or was cut off"
            raise ValueError(
                f"{path} is no .npz file, as np.savez writes it: it {kind or 'is of no kind that is known here'}"
            ) from error
        self.names = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
        if not self.names:
            found = ", ".join(members[:3]) or "nothing"
            raise ValueError(f"{path} is a zip archive without arrays: it holds {found}; expected what np.savez writes")

    def header(self, name: str) -> Header:
        """Return shape, order and type of an array.

        Raises:
            ValueError: if its file is damaged, or if it holds Python objects.
        """
        with self._open(name) as stream:
            return self._header(stream, name)

    def read(self, name: str) -> np.ndarray:
        """Return a whole array."""
        blocks = [block for _, block in self.blocks(name)]
        return np.concatenate(blocks) if blocks else np.zeros(self.header(name).shape, self.header(name).dtype)

    def blocks(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row's number and the rows of each block of an array of at least one dimension."""
        with self._open(name) as stream:
            shape, fortran, dtype = self._header(stream, name)
            if not shape:
                raise ValueError(f"{self.path}: {name} is a single value; expected an array")
            row = dtype.itemsize * math.prod(shape[1:])
            step = shape[0] if fortran else max(1, BLOCK // max(row, 1))
            for start in range(0, shape[0], max(step, 1)):
                rows = min(step, shape[0] - start)
                content = stream.read(rows * row)
                if len(content) < rows * row:
                    raise EOFError("it ends too early")
                yield start, np.frombuffer(content, dtype).reshape((rows, *shape[1:]), order="F" if fortran else "C")

    def _header(self, stream: IO[bytes], name: str) -> Header:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        header = Header(*readers[np.lib.format.read_magic(stream)](stream))
        if header.dtype.hasobject:
            raise ValueError(
                f"{self.path}: {name} holds Python objects, which are not read because pickles can run code: convert "
                "it to numbers (or, for class_names, to text: np.array(names, dtype=str)) and save it again"
            )
        return header

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as stream:
                yield stream
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{self.path}: array {name} cannot be read, the file is damaged: {error}") from error
