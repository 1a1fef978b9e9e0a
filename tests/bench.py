"""`make bench`: what training, sampling and sharpening cost on this machine, as ratios measured in one run.

Every instance runs in a process of its own, so that its peak memory is its own. Prints four tables and writes them to
results/bench.csv, bench_em.csv, bench_scaling.csv and bench_grid.csv.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import yaml
from sklearn.mixture import GaussianMixture

from dcgmm import ARCHITECTURES, DCGMM, Sharpening, load_dataset

REFERENCE_GFLOPS = 390  # rate of large products on the machine that the targets were set on
TARGETS_MS = {"1L": 0.5, "2L-a": 1, "2L-b": 1, "2L-c": 2.7, "2L-d": 0.5, "2L-e": 2.7, "3L-a": 7.5, "3L-b": 1}


def seconds(function, repeat=3):
    """Return the shortest of some runs, after one that compiles."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def large_product_gflops():
    import tensorflow as tf

    a = tf.random.stateless_uniform((4096, 4096), (0, 0))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    return 2 * 4096**3 / seconds(lambda: product().numpy()) / 1e9


def products_per_step(model, batch_size=100):
    """Return the floating-point operations of a step's matrix products or convolutions: two, forwards and backwards."""
    return sum(
        2 * 2 * 2 * batch_size * np.prod(layer.output_plane) * layer.n_features * layer.n_components
        for layer in model.gmm_layers
    )


class Clock(keras.callbacks.Callback):
    """Takes the time of every epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def epoch_seconds(model, x, epochs=4):
    """Return the time of the first epoch, which compiles, the shortest of the others, and the rest of a whole fit."""
    clock, start = Clock(), time.perf_counter()
    model.fit(x, epochs=epochs, verbose=0, callbacks=[clock])
    return clock.seconds[0], min(clock.seconds[1:]), time.perf_counter() - start - sum(clock.seconds)


def reset_peak():
    Path("/proc/self/clear_refs").write_text("5")


def peak_gb():
    """Return the largest resident memory since `reset_peak` (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def bench_instance(name):
    x, *_ = load_dataset("mnist")
    model = DCGMM.from_spec(name)
    model.compile()
    reset_peak()
    before = peak_gb()
    first, epoch, rest = epoch_seconds(model, x)
    peak = peak_gb() - before
    step = epoch / 600
    gflops = large_product_gflops()
    rate = products_per_step(model) / step / 1e9
    return {
        "ms/step": 1e3 * step,
        "target": TARGETS_MS[name] * max(1, REFERENCE_GFLOPS / gflops),
        "GFLOP/s": rate,
        "of large product": rate / gflops,
        "compile s": first - epoch,
        "25 epochs s": first + 24 * epoch + rest,
        "sample 100 s": seconds(lambda: model.sample(100, top_s=1, seed=0)),
        "sharpen 100 s": seconds(lambda: model.sample(100, top_s=1, sharpening=Sharpening(), seed=0), repeat=1),
        "GB over the data": peak,
    }


def bench_em():
    """Time 1L until it reaches the held-out likelihood of scikit-learn's EM, at equal variance floors."""
    x, _, x_test, _ = load_dataset("mnist")
    flat, flat_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    start = time.perf_counter()
    em = GaussianMixture(25, covariance_type="diag", random_state=0).fit(flat)
    em_seconds = time.perf_counter() - start
    em.precisions_cholesky_ = np.minimum(em.precisions_cholesky_, np.sqrt(20))
    target = em.score(flat_test)

    class Race(Clock):
        """Stops the clock while it looks at the held-out images, and the training where it has won."""

        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch)
            self.nats = self.model.score_samples(x_test).mean()
            self.model.stop_training = self.nats >= target

    rows = {"EM": {"s": em_seconds, "nats": target}}
    fast = {"annealing": {"rate": 0.05}, "centroid_phase": 0.0}
    for label, arguments, rate in (("1L, defaults", {}, 0.05), ("1L, fast annealing, one step, ε = 0.1", fast, 0.1)):
        model, race = DCGMM.from_spec("1L", **arguments), Race()
        model.compile(learning_rate=rate)
        model.fit(x, epochs=25, verbose=0, callbacks=[race])
        spent = sum(race.seconds)
        rows[label] = {"s": spent, "nats": race.nats, "epochs": len(race.seconds), "of EM's s": spent / em_seconds}
    return rows


def bench_scaling():
    """Time a step at several numbers of components, and an epoch at several numbers of images; watch the memory."""
    x, *_ = load_dataset("mnist")
    rows = []
    for k, n in ((25, 60000), (100, 60000), (400, 60000), (25, 30000), (25, 15000)):
        model = DCGMM.from_spec(f"F(28,28,1,1) G({k})")
        model.compile()
        _, epoch, _ = epoch_seconds(model, x[:n])
        rows.append({"K": k, "images": n, "epoch s": epoch, "µs per image and component": 1e6 * epoch / n / k})
    model = DCGMM.from_spec("1L")
    model.compile()
    peaks = []
    for epochs in (2, 20):
        reset_peak()
        model.fit(x, epochs=epochs, verbose=0)
        peaks.append(peak_gb())
    return {"rows": rows, "peak GB in 2 and in 20 epochs": peaks}


def bench_grid(threads, workers):
    """Time a grid of four short trainings, and watch the largest of its processes."""
    root = Path(__file__).parents[1]
    block = yaml.safe_load((root / "params.yaml").read_text())["quick"]
    block |= {"architectures": ["2L-c", "1L"], "ablations": [], "epochs": 3, "repetitions": 2, "threads": int(threads)}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "dvc.yaml", folder)
        Path(folder, "params.yaml").write_text(yaml.safe_dump({"quick": block}))
        command = [sys.executable, "-m", "dcgmm.experiments", "grid", "--dataset", "mnist", "--classes", "all"]
        start = time.perf_counter()
        subprocess.run([*command, f"--workers={workers}"], cwd=folder, check=True, capture_output=True)
        spent = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"threads": int(threads), "workers": int(workers), "s": spent, "peak GB of a process": peak}


def in_own_process(*arguments):
    run = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def main():
    if len(sys.argv) > 1:
        name, *arguments = sys.argv[1:]
        what = {"em": bench_em, "scaling": bench_scaling, "grid": bench_grid}.get(name, lambda: bench_instance(name))
        print(json.dumps(what(*arguments), default=float))
        return
    table_rows = {}
    for name in ARCHITECTURES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        table_rows[name] = in_own_process(name)
    table = pd.DataFrame(table_rows).T
    table["on target"] = np.where(table["ms/step"] <= table.target, "yes", "no")
    print(table.round(2).to_string())
    folder = Path(__file__).parents[1] / "results"
    table.round(4).to_csv(folder / "bench.csv", index_label="instance", lineterminator="\n")
    print("\nTime to the held-out likelihood of scikit-learn's EM, 25 diagonal components, precisions clipped at 20:")
    em = pd.DataFrame(in_own_process("em")).T
    print(em.round(2).to_string())
    em.round(4).to_csv(folder / "bench_em.csv", index_label="fit", lineterminator="\n")
    scaling = in_own_process("scaling")
    print("\nScaling of 1L:")
    rows = pd.DataFrame(scaling.pop("rows"))
    print(rows.round(3).to_string(index=False))
    rows.round(4).to_csv(folder / "bench_scaling.csv", index=False, lineterminator="\n")
    print(scaling, f"cores: {os.cpu_count()}")
    cores = str(os.cpu_count())
    grid = pd.DataFrame([in_own_process("grid", *sizes) for sizes in (("1", "1"), ("1", cores), (cores, "1"))])
    print(f"\nA grid of 2L-c and 1L, three epochs, two repetitions:\n{grid.round(2).to_string(index=False)}")
    grid.round(4).to_csv(folder / "bench_grid.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
