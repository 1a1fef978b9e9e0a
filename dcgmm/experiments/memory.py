"""The memory that a training takes, and the memory that is free on this machine or in this container."""

from pathlib import Path, PurePosixPath

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
# The files of a limit, of the use and of its cache, which the kernel gives back: version 2 of cgroups, and version 1.
FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


# Measured with 2L-c on 20,000 and 200,000 images of 28×28 pixels: 0.8 GiB, and 3.1 times the images (read, selected,
# trained on). Larger models and their mini-batches take more.
BYTES_OF_TRAINING = 1.25 * 2**30
TIMES_THE_IMAGES = 3.5


def bytes_of_training(n_bytes: int) -> int:
    """Return the bytes that a process takes which trains on a data set, about.

    Args:
        n_bytes: the bytes of all its images, as `datasets.describe(name).n_bytes`.

    Example:
        >>> round(bytes_of_training(4 * 70_000 * 784) / 2**30, 1)
        2.0
    """
    return int(BYTES_OF_TRAINING + TIMES_THE_IMAGES * n_bytes)


def free_bytes() -> int:
    """Return the bytes that processes can still take: the machine's, or fewer if a container sets a lower limit."""
    return min([psutil.virtual_memory().available, *_free_in_containers()])


def _free_in_containers():
    """Yield the free bytes of each control group around this process that limits memory; Linux only."""
    for version, folder in _control_groups():
        limit_name, use_name, cache_name = FILES[version]
        try:
            limit = int((folder / limit_name).read_text("ascii"))  # "max" means no limit
            used = int((folder / use_name).read_text("ascii"))
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
        except (OSError, ValueError):
            continue
        yield max(0, limit - (used - int(statistics.get(cache_name, 0))))


def _control_groups():
    """Yield (version, folder) for the control group of this process and those around it, by /proc/self/cgroup."""
    try:
        lines = OWN_CGROUP.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version, top = (1, CGROUPS / "memory") if controllers else (2, CGROUPS)
        path = PurePosixPath(place.lstrip("/"))
        # In a container, the own group may be mounted as the top; the longer paths then do not exist.
        for part in dict.fromkeys((path, *path.parents)):
            yield version, top / part
