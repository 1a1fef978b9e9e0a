"""What is held in memory: an array of images once more, and of a stream a few batches."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

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
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a process's memory")
@pytest.mark.parametrize(
    ("method", "options"),
    [("fit", {"epochs": 1, "verbose": 0}), ("evaluate", {"verbose": 0}), ("score_samples", {}), ("calibrate", {})],
)
def test_a_method_holds_its_images_once_beside_the_caller_s_array(method, options):
    command = [sys.executable, "-c", ARRAY, method, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) < 1.6  # what remains is for mini-batches, whatever the number of images
