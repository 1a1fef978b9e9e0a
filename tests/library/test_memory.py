"""What is held in memory: an array of images once more, and of a stream a few batches."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

needs_peak = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a process's memory"
)

STREAM = """
import json, resource, sys
import keras
from dcgmm import DCGMM
images = keras.utils.image_dataset_from_directory(
    sys.argv[1], color_mode="rgb", image_size=(64, 64), batch_size=50, verbose=False
)
model = DCGMM.from_spec("F(64,64,1,1) G(4)", (64, 64, 3))
model.compile()
model.fit(images.map(lambda x, y: x / 255), epochs=2, verbose=0)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10))
"""


@pytest.mark.slow
def test_ten_times_the_images_in_a_folder_take_the_same_memory(tmp_path):
    peaks, pixels = [], np.random.default_rng(0).integers(0, 256, (90, 64, 64, 3))
    for n in (270, 2700):
        for i in range(n):
            (tmp_path / f"class-{i % 3}").mkdir(exist_ok=True)
            keras.utils.save_img(tmp_path / f"class-{i % 3}" / f"{i}.png", pixels[i % 90], scale=False)
        command = [sys.executable, "-c", STREAM, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    held = 2430 * 64 * 64 * 3 * 4 / 2**20  # MB that the additional images would take
    assert peaks[1] - peaks[0] < held / 3, peaks


ARRAY = """
import json, sys
from pathlib import Path
import numpy as np
from dcgmm import DCGMM

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM"))

model = DCGMM.from_spec("F(7,7,7,7) G(4) F(4,4,1,1) G(4)", (28, 28, 1))
model.compile()
call = lambda x: getattr(model, sys.argv[1])(x, **json.loads(sys.argv[2]))
x = np.random.default_rng(0).random((50_000, 28, 28, 1), dtype="float32")
model.fit(x[:1000], epochs=1, verbose=0)
call(x[:1000])
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = peak()
call(x)
print(json.dumps((peak() - before) / (x.nbytes / 2**20)))
"""


@pytest.mark.slow
@needs_peak
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("fit", {"epochs": 1, "verbose": 0}),
        ("evaluate", {"verbose": 0}),
        ("predict", {"verbose": 0}),
        ("score_samples", {}),
        ("calibrate", {}),
    ],
)
def test_a_method_holds_its_images_once_beside_the_caller_s_array(method, options):
    command = [sys.executable, "-c", ARRAY, method, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) < 1.6  # what remains is for mini-batches, whatever the number of images


# The peaks that docs/data.md states, in times the images (4 bytes a value), beside the caller's array and 64 MB.
STATED = {"sample": 2, "variants": 3, "inpaint": 5, "inpaint with a mask": 5}
CALLS = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from dcgmm import DCGMM, datasets, load_dataset

folder, n, buffers = Path(sys.argv[1]), 30_000, 64 * 2**20

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 2**10 for line in lines if line.startswith(key))

def peak(call, *arguments):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    call(*arguments)
    return status("VmHWM") - before - buffers

rng, mask = np.random.default_rng(0), np.zeros((28, 28), bool)
mask[:7] = True
model = DCGMM.from_spec("F(7,7,7,7) G(4) F(4,4,1,1) G(4)", (28, 28, 1))
x = rng.random((n, 28, 28, 1), dtype="float32")
model.calibrate(x[:1000])
methods = {
    "sample": lambda x: model.sample(len(x), seed=0),
    "variants": lambda x: model.variants(x, seed=0),
    "inpaint": lambda x: model.inpaint(x, seed=0),
    "inpaint with a mask": lambda x: model.inpaint(x, mask, seed=0),
}
found = {}
for name, method in methods.items():
    method(x[:1000])
    found[name] = peak(method, x) / x.nbytes
del x

def arrays(n):
    x, y = rng.integers(0, 256, (n, 128, 128), dtype="uint8"), np.arange(n) % 3
    np.savez(folder / f"four{n}.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    np.savez_compressed(folder / f"pair{n}.npz", images=x // 2 * 2, labels=y)
    for i in range(n // 2):
        (folder / f"images{n}" / f"class-{i % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i]).save(folder / f"images{n}" / f"class-{i % 3}" / f"{i}.png", compress_level=0)

loaders = {
    "load_dataset": lambda n: load_dataset("mnist"),
    "NpzFile": lambda n: datasets.NpzFile(folder / f"four{n}.npz").load(),
    "NpzFile of one pair": lambda n: datasets.NpzFile(folder / f"pair{n}.npz").load(),
    "ImageFolder": lambda n: datasets.ImageFolder(folder / f"images{n}").load(),
}
for n in (30, 2000):
    arrays(n)
held = {"load_dataset": 4 * 70_000 * 784, "ImageFolder": 4 * 1000 * 128**2}
for name, load in loaders.items():
    load(30)
    found[name] = peak(load, 2000) / held.get(name, 4 * 2000 * 128**2)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    command = [sys.executable, "-W", "ignore", "-c", CALLS, tmp_path_factory.mktemp("data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@needs_peak
@pytest.mark.parametrize("name", STATED)
def test_what_makes_images_holds_what_is_stated(peaks, name):
    assert peaks[name] < STATED[name]


@pytest.mark.slow
@needs_peak
@pytest.mark.parametrize("name", ["load_dataset", "NpzFile", "NpzFile of one pair", "ImageFolder"])
def test_a_loader_holds_its_images_once_beside_some_megabytes(peaks, name):
    assert peaks[name] < 1.1


STREAMED = """
import json
from pathlib import Path
import tensorflow as tf
from dcgmm import DCGMM

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM"))

def batches(n):
    return tf.data.Dataset.range(n).map(lambda i: tf.random.stateless_uniform((100, 28, 28, 1), [0, i]))

model = DCGMM.from_spec("F(7,7,7,7) G(4) F(4,4,1,1) G(4)", (28, 28, 1))
model.compile()
peaks = {}
for method, options in {"fit": {"epochs": 1, "verbose": 0}, "score_samples": {}}.items():
    peaks[method] = []
    for n in (50, 500):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        getattr(model, method)(batches(n), **options)
        peaks[method].append(peak())
print(json.dumps(peaks))
"""


@pytest.mark.slow
@needs_peak
def test_ten_times_the_images_of_a_stream_take_the_same_memory():
    done = subprocess.run([sys.executable, "-c", STREAMED], capture_output=True, text=True, check=True)
    held = 45_000 * 784 * 4 / 2**20  # MB that the additional images would take
    for method, (few, many) in json.loads(done.stdout.splitlines()[-1]).items():
        assert many < 1.03 * few and many - few < held / 5, (method, few, many)
