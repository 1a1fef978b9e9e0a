"""Files that are complete or absent, and archives whose bytes depend on their content alone."""

import errno
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FilePath = str | os.PathLike[str]
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""The errors of a disk that is full, by quota or size, or read-only."""


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
def naming(path: FilePath) -> Iterator[None]:
    """Name the file that is being written in the error of a full or read-only disk, and say what to do.

    The system's own error names no file, or the temporary one.

    Args:
        path: the file.

    Raises:
        OSError: with the system's error number.

    Example:
        >>> with naming("m.keras"):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device; nothing was changed: make room, or choose another folder: 'm.keras'
    """
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        advice = "nothing was changed: make room, or choose another folder"
        raise OSError(error.errno, f"{os.strerror(error.errno)}; {advice}", os.fspath(path)) from error


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
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # otherwise a power cut may leave the name without the content
            os.replace(beside, path)
            _keep_name(path.parent)
        finally:
            beside.unlink(missing_ok=True)


def _keep_name(folder):
    """Put a folder's names on the disk: otherwise a power cut may undo the renaming."""
    with suppress(OSError):  # Windows and some network disks refuse this
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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


def damage(path: FilePath) -> str | None:
    """Return what is wrong with an archive of `write_archive`, or None if nothing is.

    Every member is read and compared with its checksum. A member may also be lost: a wrong length makes the next one a
    part of its comment, and there are no comments.

    Args:
        path: the archive.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.zip")
        >>> write_archive(path, {"greeting.txt": b"hello"})
        >>> damage(path)
        >>> _ = path.write_bytes(path.read_bytes()[:-5])
        >>> damage(path)
        'File is not a zip file'
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.comment or member.extra for member in archive.infolist()):
                return "its list of members is wrong"
            member = archive.testzip()
        return f"the checksum of {member} is wrong" if member else None
    except Exception as error:  # wrong bytes raise errors of many kinds
        return str(error) or type(error).__name__
