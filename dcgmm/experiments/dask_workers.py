"""Independent calls on Dask workers: of this machine, or of a given cluster.

A worker is a process with one thread that makes one call after the other, so that the threads of TensorFlow can be set
in it. If a worker dies, only its own call is lost, and another worker makes this call again. Workers of this machine
end with the process that started them, however it ends.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, as_completed, get_worker
from distributed.system import MEMORY_LIMIT
from tqdm import tqdm

from dcgmm.experiments import memory

# A call is given up when this many workers have died during it.
ATTEMPTS = 3
TOPIC = "dcgmm-progress"
FIRST_WAIT, NEXT_WAIT = 3.0, 30.0  # seconds without a worker, before this is said for the first time, and again


def workers_that_fit(threads: int, n_bytes: int) -> int:
    """Return how many workers the cores and the free memory of this machine or container allow, at least one.

    Args:
        threads: how many each uses.
        n_bytes: the memory that each takes.
    """
    return max(1, min(CPU_COUNT // threads, min(MEMORY_LIMIT, memory.free_bytes()) // n_bytes))


@contextmanager
def local_client(workers: int, threads: int = 1) -> Iterator[Client]:
    """Start workers on this machine, and end them.

    Args:
        workers: how many.
        threads: how many each may use in NumPy, SciPy and scikit-learn; the called function sets TensorFlow's.
            Default 1.

    Yields:
        A Dask client of these workers.
    """
    limits = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], threads)
    settings = {
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.nanny.pre-spawn-environ": limits,
    }
    environment = dict(os.environ)  # Dask puts the limits into this process's environment, too
    try:
        with dask.config.set(settings), _local_cluster(workers) as cluster, Client(cluster) as client:
            yield client
    finally:
        os.environ.clear()
        os.environ.update(environment)


def _local_cluster(n):
    try:
        return LocalCluster(
            n_workers=n,
            threads_per_worker=1,
            memory_limit=0,  # no limit: TensorFlow is large, and Dask would stop its worker
            # Dask always opens a page of its state. It has no password, so it is kept to this machine.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise RuntimeError(
            "the workers could not start. A script that trains must keep its own code under "
            "`if __name__ == '__main__':`, because each worker imports the script"
        ) from error


def run(
    function: Callable[..., Any],
    calls: dict[str, tuple[tuple[Any, ...], int]],
    keep: Callable[[str, Any], Any],
    workers: int | None = None,
    scheduler: str | None = None,
    n_bytes: int = memory.bytes_of_training(0),
) -> dict[str, Exception]:
    """Make all calls, as many at a time as there are workers, and show their progress.

    Args:
        function: a function of a module; it is given the arguments and `report`, a function that takes a text.
        calls: a dict of (arguments, threads) by name, in the order in which they are to start.
        keep: called with the name and the result of each call as it comes in.
        workers: the number of workers on this machine. Default: `workers_that_fit`.
        scheduler: address of a Dask cluster to use instead, such as `"tcp://10.0.0.1:8786"`. Default None.
        n_bytes: the memory that a call takes. Default: that of a training on few images.

    Returns:
        The error of each failed call, a dict by name.
    """
    failed: dict[str, Exception] = {}
    with tqdm(total=len(calls), unit="training", disable=None) as progress:
        # A process keeps the number of threads that its first call has set.
        for n in sorted({threads for _, threads in calls.values()}):
            own = {name: arguments for name, (arguments, threads) in calls.items() if threads == n}
            fitting = min(len(own), workers or workers_that_fit(n, n_bytes))
            with _cluster_client(scheduler, progress) if scheduler else local_client(fitting, n) as client:
                failed |= _make_calls(client, function, own, keep, progress)
    return failed


@contextmanager
def _cluster_client(scheduler, progress):
    """Connect to a Dask scheduler, and say from time to time if it has no workers."""
    try:
        client = Client(scheduler)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last two: of a configuration of TLS
        raise ConnectionError(
            f"no Dask scheduler answers at {scheduler!r}: {error}. If it uses TLS, its address begins with tls://, and "
            "DASK_CONFIG names a file with your certificates, see docs/cluster.md"
        ) from error
    ended = threading.Event()
    watch = threading.Thread(target=_name_lack_of_workers, args=(client, scheduler, progress, ended), daemon=True)
    with client:
        watch.start()
        try:
            yield client
        finally:
            ended.set()
            watch.join()


def _name_lack_of_workers(client, scheduler, progress, ended):
    """Print that there are no workers, from time to time while there are none, until the calls have ended."""
    wait = FIRST_WAIT
    while not ended.wait(wait):
        wait = FIRST_WAIT
        if not _has_workers(client):
            progress.write(
                f"waiting for workers at {scheduler}: there are none. Start one for each training at a time, by "
                f"`dask worker {scheduler} --nthreads 1 --nworkers N`",
                file=sys.stderr,
            )
            wait = NEXT_WAIT


def _has_workers(client):
    """Return whether the scheduler has workers; if it does not answer, Dask says so itself."""
    try:
        return client.status != "running" or bool(client.sync(client.scheduler.ncores, callback_timeout=5))
    except OSError:
        return True


def _make_calls(client, function, calls, keep, progress):
    failed, running = {}, {}

    def show(event):
        name, text = event[1]
        if name in calls:
            running[name] = text
            if progress.disable and len(calls) == 1:  # in a notebook: no bar there, so print
                print(f"{name}{text}", file=sys.stderr, flush=True)
            shown = ", ".join(f"{name}{text}" for name, text in [*running.items()][:4])
            progress.set_postfix_str(shown + (f" and {len(running) - 4} more" if len(running) > 4 else ""))

    client.subscribe_topic(TOPIC, show)
    futures = {
        client.submit(_call, name, function, arguments, pure=False, priority=-i): name
        for i, (name, arguments) in enumerate(calls.items())
    }
    for future in as_completed(list(futures)):
        name = futures.pop(future)
        try:
            keep(name, future.result())
        except Exception as error:
            failed[name] = error
        running.pop(name, None)
        progress.update()
        progress.write(f"{'failed' if name in failed else 'done'}: {name}", file=sys.stderr)
    client.unsubscribe_topic(TOPIC)
    return failed


def _call(name, function, arguments):
    """Make a call in a worker, and publish what the function reports."""
    worker = get_worker()
    if worker.state.nthreads != 1:
        raise RuntimeError(
            f"a worker needs one thread, this one has {worker.state.nthreads}: start it with `dask worker ADDRESS "
            "--nthreads 1 --nworkers N` for N trainings at a time"
        )
    return function(*arguments, report=lambda text: worker.log_event(TOPIC, (name, text)))
