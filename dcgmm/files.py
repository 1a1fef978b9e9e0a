"""Files that are complete or absent, and archives whose bytes depend on their content alone."""

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

FilePath = str | os.PathLike[str]


def project_folder() -> Path | None:
    """Return the project's folder: the nearest one with params.yaml and dvc.yaml above the working folder.

    If there is none, the one above this package counts, as in an editable installation, or else None.

    Example:
        >>> folder = project_folder()
        >>> folder is None or (folder / "params.yaml").exists()
        True
    """
    for start in (Path.cwd(), Path(__file__).parent):
        for folder in (start, *start.parents):
            if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
                return folder
    return None


def from_project(path: FilePath) -> Path:
    """Return a path as an absolute one: `~` is the home, and a relative one counts from the project's folder.

    Outside a project, it counts from the working folder. So a folder in an environment variable means the same in a
    script, a stage of the pipeline and a notebook, which work in different folders.

    Example:
        >>> from_project("/data").as_posix()
        '/data'
    """
    return (project_folder() or Path.cwd()) / Path(path).expanduser()


@contextmanager
def replacing(path: FilePath) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing, and rename it to `path` when all of it is on the disk.

    The temporary file is named `.<name>.<process id>`. After an error it is removed, and `path` is as it was.

    Args:
        path: the file to write; its folder is created if it is missing.

    Yields:
        The binary file to write to.

    Raises:
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "numbers.txt")
        >>> with replacing(path) as file:
        ...     _ = file.write(b"1 2 3")
        >>> path.read_text()
        '1 2 3'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut may leave the name without the content
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write(path: FilePath, content: str | bytes) -> None:
    """Write a text (as UTF-8) or bytes to a file by `replacing`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "note.txt")
        >>> write(path, "σ = 0.5")
        >>> path.read_text("utf-8")
        'σ = 0.5'
    """
    with replacing(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def write_archive(path: FilePath, members: Mapping[str, bytes]) -> None:
    """Write a compressed zip archive that holds no times, so that equal members give equal bytes.

    Args:
        path: the archive.
        members: the content of each member by its name.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a.zip", "b.zip"):
        ...     write_archive(folder / name, {"greeting.txt": b"hello"})
        >>> (folder / "a.zip").read_bytes() == (folder / "b.zip").read_bytes()
        True
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, compresslevel=9)
