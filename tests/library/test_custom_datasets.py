"""Images in folders and arrays in files are data sets like any other, and a longer stream takes no more memory."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from dcgmm.datasets.custom import ImageFolder, NpzFile, from_settings

RNG = np.random.default_rng(0)


def arrays(n=30, **changed):
    x, y = RNG.integers(0, 256, (n, 6, 8), dtype="uint8"), np.arange(n) % 3
    return {"x_train": x, "y_train": y, "x_test": x[:10], "y_test": y[:10], **changed}


def write_images(folder, n, size=(6, 8), channels=1):
    for i in range(n):
        path = folder / f"class-{i % 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(path, RNG.integers(0, 256, (*size, channels)), scale=False)


def test_npz_files_are_scaled_and_get_a_channel(tmp_path):
    given = arrays()
    np.savez(tmp_path / "a.npz", **given)
    source = NpzFile(tmp_path / "a.npz")
    x, y, x_test, y_test = source.load()
    assert (x.shape, x.dtype, x_test.shape, y_test.dtype) == ((30, 6, 8, 1), "float32", (10, 6, 8, 1), "int64")
    np.testing.assert_array_equal(x[..., 0], given["x_train"].astype("float32") / np.float32(255))
    assert source.classes() == [0, 1, 2]
    before = source.fingerprint()
    np.savez(tmp_path / "a.npz", **arrays())
    assert source.fingerprint() != before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": np.full((30, 6, 8), 200.0)}, r"float64 from 200.0 to 200.0.*0 to 1"),
        ({"x_train": np.full((30, 6, 8), np.nan)}, "from nan to nan"),
        ({"x_train": np.zeros((30, 48))}, r"must be images .* is of shape \(30, 48\)"),
        ({"x_test": np.zeros((10, 5, 8))}, r"x_test \(10, 5, 8, 1\) does not fit"),
        ({"y_train": np.zeros(29, int)}, r"does not fit y_train \(29,\)"),
        ({"y_train": np.zeros(30)}, "must be integers"),
    ],
)
def test_npz_files_that_do_not_fit_are_refused(tmp_path, changed, message):
    np.savez(tmp_path / "a.npz", **arrays(**changed))
    with pytest.raises(ValueError, match=message):
        NpzFile(tmp_path / "a.npz").load()


def test_npz_files_need_all_four_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 6, 8)))
    with pytest.raises(ValueError, match="has no x_test, y_test, y_train; it has x_train"):
        NpzFile(tmp_path / "a.npz").load()


@pytest.mark.parametrize("channels", [1, 3])
def test_folders_are_read_and_split_by_class(tmp_path, channels):
    write_images(tmp_path, 30, channels=channels)
    (tmp_path / ".ipynb_checkpoints").mkdir()  # as Jupyter leaves it
    source = ImageFolder(tmp_path, size=(6, 8), channels=channels)
    x, y, x_test, y_test = source.load()
    assert (x.shape, x_test.shape) == ((24, 6, 8, channels), (6, 6, 8, channels))
    assert x.dtype == "float32" and 0.9 < x.max() <= 1
    assert sorted(y_test) == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(x, source.load()[0])
    assert source.classes() == [0, 1, 2]

    parts = ImageFolder(tmp_path, size=(3, 4), channels=channels, test=tmp_path)
    assert parts.load()[2].shape == (30, 3, 4, channels)
    assert parts.fingerprint() != source.fingerprint()
    before = source.fingerprint()
    write_images(tmp_path, 1, channels=channels)
    assert source.fingerprint() != before


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"folder": "gone", "size": [6, 8]}, FileNotFoundError, "there is no folder .*gone"),
        ({"folder": "empty", "size": [6, 8]}, ValueError, "has no folders with images"),
        ({"npz": "gone.npz"}, FileNotFoundError, "gone.npz"),
        ({"folder": "empty"}, ValueError, "missing 1 required positional argument: 'size'"),
        ({"folder": "empty", "size": [6, 8, 1]}, ValueError, "broadcast"),
        ({"folder": "empty", "size": [6, 8], "colour": True}, ValueError, "unexpected keyword argument 'colour'"),
        ({"folder": "empty", "size": [6, 8], "test": 2}, ValueError, "share of the images between 0 and 1"),
        ({"folder": "empty", "size": [6, 8], "channels": 2}, ValueError, "channels is 1 or 3"),
        ({"size": [6, 8]}, ValueError, "expected `npz: path` or `folder: path`"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, error, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        from_settings(settings, tmp_path).classes()


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
    peaks = []
    for n in (270, 2700):
        write_images(tmp_path, n, (64, 64), 3)
        command = [sys.executable, "-c", STREAM, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    held = 2430 * 64 * 64 * 3 * 4 / 2**20  # MB that the additional images would take
    assert peaks[1] - peaks[0] < held / 3, peaks
