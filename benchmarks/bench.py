"""`make bench`: the cost of training, sampling and sharpening on this machine, as ratios measured in one run.

Every instance runs in a process of its own, so that its peak memory is its own. It prints its tables and writes them to
results/bench.csv and to bench_*.csv beside it.
"""

import heapq
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

from dcgmm import ARCHITECTURES, DCGMM, Sharpening, load_dataset, use_cores
from dcgmm.architectures import resolve
from dcgmm.experiments import provenance

REFERENCE_GFLOPS = 390  # rate of large products on the machine that the targets were set on
TARGETS_MS = {"1L": 0.5, "2L-a": 1, "2L-b": 1, "2L-c": 2.7, "2L-d": 0.5, "2L-e": 2.7, "3L-a": 7.5, "3L-b": 1}


def seconds(function, repeat=3):
    """Return the time of the shortest of some runs, after a first run that compiles."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def bench_large_product():
    """Return the rate of large products on all cores; the library uses one core for an operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(os.cpu_count())
    a = tf.random.stateless_uniform((4096, 4096), (0, 0))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    return 2 * 4096**3 / seconds(lambda: product().numpy()) / 1e9


def products_per_step(model, batch_size=100):
    """Return the floating-point operations of a step: two products a layer, each forwards and backwards."""
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
    """Return three times: the first epoch, which compiles, the shortest of the others, and the rest of a whole fit."""
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
    gflops = in_own_process("large product")
    rate = products_per_step(model) / (epoch / 600) / 1e9
    return {
        "ms/step": 1e3 * epoch / 600,
        "target": TARGETS_MS[name] * max(1, REFERENCE_GFLOPS / gflops),
        "GFLOP/s": rate,
        "of large product": rate / gflops,
        "large product GFLOP/s": gflops,
        "compile s": first - epoch,
        "25 epochs s": first + 24 * epoch + rest,
        "sample 100 s": seconds(lambda: model.sample(100, top_s=1, seed=0)),
        "sharpen 100 s": seconds(lambda: model.sample(100, top_s=1, sharpening=Sharpening(), seed=0), repeat=1),
        "GB over the data": peak,
    }


def bench_with_use_cores(name, cores):
    """Return the time of a step of `fit` in ms, with `use_cores()` ("with") or without it ("without")."""
    if cores == "with":
        use_cores()
    x, *_ = load_dataset("mnist")
    model = DCGMM.from_spec(name)
    model.compile()
    return 1e3 * epoch_seconds(model, x[:20_000])[1] / 200


def bench_threads():
    """Return the time of a step with one thread, in ms, for every trained architecture and for smaller batches."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    x, *_ = load_dataset("mnist")

    def ms(name, batch_size=100, steps=200):
        model = DCGMM.from_spec(name)
        model.compile()
        clock = Clock()
        model.fit(x[: steps * batch_size], epochs=3, batch_size=batch_size, verbose=0, callbacks=[clock])
        return 1e3 * min(clock.seconds[1:]) / steps

    asked = paper_scale()
    names = [*asked["architectures"], *(name for ablation in asked["ablations"] for name in ablation["architectures"])]
    cells = [(name, n) for name in ("1L", "2L-c", "3L-a") for n in (100, 50, 25, 10)]
    batches = [{"instance": name, "batch": n, "ms/step": ms(name, n)} for name, n in cells]
    return {"ms": {spec: ms(spec) for spec in dict.fromkeys(map(without_classifier, names))}, "batches": batches}


def paper_scale():
    return yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())["paper"]


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
        """Leaves the evaluation on held-out images out of the time, and stops the training at the target."""

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
    """Time a step at several numbers of components, and an epoch at several numbers of images."""
    x, *_ = load_dataset("mnist")
    rows = []
    for k, n in ((25, 60000), (100, 60000), (400, 60000), (25, 30000), (25, 15000)):
        model = DCGMM.from_spec(f"F(28,28,1,1) G({k})")
        model.compile()
        _, epoch, _ = epoch_seconds(model, x[:n])
        rows.append({"K": k, "images": n, "epoch s": epoch, "µs per image and component": 1e6 * epoch / n / k})
    return rows


def bench_memory():
    """Return the peak memory of a process after few and after many epochs of one fit."""
    x, *_ = load_dataset("mnist")
    model = DCGMM.from_spec("1L")
    model.compile()
    peaks = []

    class Watch(keras.callbacks.Callback):
        """Notes the peak memory at the end of some epochs."""

        def on_epoch_end(self, epoch, logs=None):
            if epoch + 1 in (2, 20, 60):
                peaks.append({"epochs": epoch + 1, "peak GB": peak_gb()})

    reset_peak()
    model.fit(x, epochs=60, verbose=0, callbacks=[Watch()])
    return peaks


GRID = {"architectures": ["2L-c", "2L-e", "1L"], "ablations": [], "epochs": 3, "repetitions": 2}


def bench_grid(threads, workers):
    """Time a grid of short trainings, and measure the peak memory of its largest process."""
    root = Path(__file__).parents[1]
    block = paper_scale() | GRID | {"threads": int(threads)}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "dvc.yaml", folder)
        Path(folder, "params.yaml").write_text(yaml.safe_dump({"quick": block}))
        command = [sys.executable, "-m", "dcgmm.experiments", "grid", "--dataset", "mnist", "--classes", "all"]
        start = time.perf_counter()
        subprocess.run([*command, f"--workers={workers}"], cwd=folder, check=True, capture_output=True)
        spent = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"threads": int(threads), "workers": int(workers), "s": spent, "peak GB of a process": peak}


def plan(ms, overhead, efficiency, workers=(1, 2, 8, 64, 1000)):
    """Return the time of the paper's ten repetitions on some numbers of workers, if the longest trainings start first.

    Args:
        ms: time of a training step with one thread, by specification.
        overhead: the time of a training beside its steps, in seconds.
        efficiency: the share of its speed that a core keeps while the others work.
        workers: the numbers of workers.
    """
    block = paper_scale()
    steps = {"all": 600, "0-4": 300}  # in an epoch
    cells = [(name, classes, {}) for name in block["architectures"] for classes in steps]
    cells += [
        (name, ablation.get("classes", "0-4"), ablation.get("changes", {}))
        for ablation in block["ablations"]
        for name in ablation["architectures"]
    ]
    hours = []
    for name, classes, changes in cells:
        times = without_classifier(name).count("G") if changes.get("layerwise") else 1
        seconds = overhead + times * block["epochs"] * steps[classes] * ms[without_classifier(name)] / 1e3
        hours += 2 * 10 * [seconds / 3600]  # data sets, repetitions
    rows = []
    for n in workers:
        ends = [0.0] * n
        for spent in sorted(hours, reverse=True):
            heapq.heapreplace(ends, ends[0] + (spent if n == 1 else spent / efficiency))
        rows.append(
            {"workers": n, "trainings": len(hours), "hours": max(ends), "times as fast": sum(hours) / max(ends)}
        )
    return rows


def without_classifier(name):
    return resolve(name).split(" C(")[0]


def machine():
    """Return this machine's processor in words."""
    return f"{os.cpu_count()} cores ({provenance.processor()})"


def in_own_process(*arguments):
    run = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def keep(table, name, text, **options):
    """Print a table and write it, with this machine's name, into results."""
    print(f"\n{text}:\n{table.round(3).to_string()}", flush=True)
    path = Path(__file__).parents[1] / "results" / f"{name}.csv"
    table.round(4).assign(machine=machine()).to_csv(path, lineterminator="\n", **options)


def on_this_machine():
    """Measure what one training costs."""
    rows = {}
    for name in ARCHITECTURES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows[name] = in_own_process(name)
    table = pd.DataFrame(rows).T
    table["on target"] = np.where(table["ms/step"] <= table.target, "yes", "no")
    keep(table, "bench", "Instances", index_label="instance")
    em = pd.DataFrame(in_own_process("em")).T
    text = "Time to the held-out likelihood of scikit-learn's EM, 25 diagonal components, precisions clipped at 20"
    keep(em, "bench_em", text, index_label="fit")
    keep(pd.DataFrame(in_own_process("scaling")), "bench_scaling", "Scaling of 1L", index=False)
    keep(pd.DataFrame(in_own_process("memory")), "bench_memory", "Memory of 1L, data included", index=False)


def with_and_without_use_cores():
    """Compare `fit` with and without `use_cores()`, the two in turn."""
    rows = []
    for name in ("1L", "2L-c", "3L-a"):
        ms = {cores: in_own_process("use_cores", name, cores) for cores in ("without", "with")}
        rows.append({"instance": name, **{f"ms/step {cores} use_cores()": value for cores, value in ms.items()}})
    table = pd.DataFrame(rows)
    keep(table, "bench_use_cores", "A step of fit without and with use_cores()", index=False)


def past_this_machine():
    """Measure how trainings share cores and batches, and estimate from it the time of the paper's scale."""
    measured = in_own_process("threads")
    ms, batch = measured["ms"], pd.DataFrame(measured["batches"])
    batch["times as fast"] = batch.groupby("instance")["ms/step"].transform("first") / batch["ms/step"]
    text = "A batch shared by 1, 2, 4 and 10 workers with one thread, without communication"
    keep(batch, "bench_batch", text, index=False)

    cores = str(os.cpu_count())
    grid = pd.DataFrame([in_own_process("grid", *sizes) for sizes in (("1", "1"), ("1", cores), (cores, "1"))])
    grid["times as fast"] = grid.s.iloc[0] / grid.s
    trainings = len(GRID["architectures"]) * GRID["repetitions"]
    keep(grid, "bench_grid", f"A grid of {trainings} trainings of {', '.join(GRID['architectures'])}", index=False)

    steps = 600 * GRID["epochs"] * GRID["repetitions"] * sum(ms[ARCHITECTURES[name]] for name in GRID["architectures"])
    overhead = max(0, grid.s.iloc[0] - steps / 1e3) / trainings
    planned = pd.DataFrame(plan(ms, overhead, grid["times as fast"].iloc[1] / os.cpu_count()))
    text = f"The paper's ten repetitions; {overhead:.1f} s a training beside its steps"
    keep(planned, "bench_plan", text, index=False)


PARTS = {
    "large product": bench_large_product,
    "em": bench_em,
    "scaling": bench_scaling,
    "grid": bench_grid,
    "threads": bench_threads,
    "memory": bench_memory,
    "use_cores": bench_with_use_cores,
}


def main():
    if len(sys.argv) > 1:
        name, *arguments = sys.argv[1:]
        if name != "use_cores":
            use_cores()
        print(json.dumps(PARTS.get(name, lambda: bench_instance(name))(*arguments), default=float))
        return
    on_this_machine()
    with_and_without_use_cores()
    past_this_machine()


if __name__ == "__main__":
    main()
