"""Independent calls, each in a child process, on this machine or on a Dask cluster.

What has to be set before TensorFlow starts can be set in a child, and a child that is killed costs its own call only,
which is made again. Children end with the process that started them, however that ends. The standard library's pools
do neither: one killed worker loses them all that was running, and killed parents leave orphans.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pkgutil import resolve_name

import joblib
import psutil
from tqdm import tqdm

ATTEMPTS = 3
IDLE_SECONDS = 60
WORKER_BYTES = 2 * 2**30

_thread = threading.local()


class Child:
    """A Python process that makes one call after the other.

    Args:
        threads: how many it may use, in NumPy, SciPy and scikit-learn; TensorFlow's are set by what is called.
    """

    def __init__(self, threads):
        self.threads = threads
        limits = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"], str(threads))
        self.process = subprocess.Popen(
            # As a file, which unlike a module of the package starts without TensorFlow; -P: not from the file's folder.
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **limits, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # Ctrl-C is for the parent, whose end the child notices
        )

    def call(self, function, arguments, report):
        """Return what a function returns; it is given the arguments and `report`, to be called with a text."""
        try:
            pickle.dump((function, arguments), self.process.stdin)
            self.process.stdin.flush()
            while (answer := pickle.load(self.process.stdout))[0] == "report":
                report(answer[1])
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ChildProcessError(f"its process ended with code {self.process.wait()}") from error
        if answer[0] == "error":
            raise RuntimeError(answer[1])
        return answer[1]

    def close(self):
        """End the process, whatever it does."""
        self.process.kill()
        self.process.communicate()

    def __del__(self):
        self.close()  # with its thread


def in_child(function, arguments, threads=1, report=lambda text: None):
    """Call a function in this thread's child process, again in a new one where that was killed.

    Args:
        function: `"package.module:name"`.
        arguments: a tuple, which pickle must know.
        threads: see `Child`; a child is not used for calls with other numbers of threads. Default 1.
        report: called with each text that the function reports. Default: nothing.

    Raises:
        RuntimeError: with the function's error, if it raised one.
        ChildProcessError: if the process was killed three times.
    """
    for attempt in range(1, ATTEMPTS + 1):
        child = getattr(_thread, "child", None)
        if child is None or child.threads != threads or child.process.poll() is not None:
            close_child()
            _thread.child = child = Child(threads)
        try:
            return child.call(function, arguments, report)
        except ChildProcessError as error:
            if attempt == ATTEMPTS:
                raise ChildProcessError(f"{error}, {ATTEMPTS} times (killed for its memory?)") from error
        except RuntimeError:
            raise
        except BaseException:
            close_child()  # it is still busy
            raise


def close_child():
    """End this thread's child, where there is one."""
    if child := _thread.__dict__.pop("child", None):
        child.close()


def workers_that_fit(threads):
    """Return how many children this machine's free cores and memory have room for, at least one."""
    return max(1, min(joblib.cpu_count() // threads, psutil.virtual_memory().available // WORKER_BYTES))


def run(function, calls, keep, workers=1, scheduler=None):
    """Make all calls, as many at a time as there are workers, and show their progress.

    Args:
        function: see `in_child`.
        calls: a dict of (arguments, threads) by name, in the order in which they are to start.
        keep: called with the name and the result of each as it comes in.
        workers: on this machine. Default 1.
        scheduler: address of a Dask cluster to use instead, such as `"tcp://10.0.0.1:8786"`. Default None.

    Returns:
        The errors of those that failed, a dict by name.
    """
    progress, failed, running = tqdm(total=len(calls), unit="training", disable=None), {}, {}

    def show(name, text):
        running[name] = text
        first = ", ".join(f"{name}{text}" for name, text in [*running.items()][:4])
        progress.set_postfix_str(first + (f" and {len(running) - 4} more" if len(running) > 4 else ""))

    if scheduler:
        from distributed import Client
        from distributed import as_completed as completed

        pool = Client(scheduler)
        names = {pool.submit(in_child, function, *call): name for name, call in calls.items()}
        close = pool.close
    else:
        completed = as_completed
        pool = ThreadPoolExecutor(workers)
        names = {pool.submit(_reporting, show, name, function, *call): name for name, call in calls.items()}
        # Not waiting: after Ctrl-C, the children are to end with this process and not when they are done.
        close = partial(pool.shutdown, wait=False, cancel_futures=True)
    try:
        for future in completed(list(names)):
            name = names.pop(future)
            try:
                keep(name, future.result())
            except Exception as error:
                failed[name] = error
            running.pop(name, None)
            progress.update()
            progress.write(f"{'failed' if name in failed else 'done'}: {name}", file=sys.stderr)
    finally:
        close()
        progress.close()
    return failed


def _reporting(show, name, function, arguments, threads):
    show(name, "")
    return in_child(function, arguments, threads, report=partial(show, name))


def serve():
    """Be a child: make the calls that come in, until no more can come or none came for a while."""
    calls = queue.SimpleQueue()

    def listen():
        try:
            while True:
                calls.put(pickle.load(sys.stdin.buffer))
        except EOFError:
            os._exit(1)  # the parent is gone, and what it asked for is of no use to anyone

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no answer

    def answer(kind, content):
        pickle.dump((kind, content), answers)
        answers.flush()

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            function, arguments = calls.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            return
        try:
            result = "result", resolve_name(function)(*arguments, report=partial(answer, "report"))
        except Exception as error:
            traceback.print_exc()
            result = "error", f"{type(error).__name__}: {error}"
        answer(*result)


if __name__ == "__main__":
    serve()
