"""`import dcgmm` changes nothing in its process."""

import json
import os
import subprocess
import sys

import pytest

from dcgmm.keras_settings import use_tensorflow

# TensorFlow and Keras use these packages if they are installed. If not, the library must not ask for them.
WITHOUT = """
import gc, os, sys

asked = []

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("matplotlib", "pandas", "yaml", "IPython", "distributed", "dask", "seaborn"):
            frame = sys._getframe(1)
            while "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            if frame.f_globals["__name__"].partition(".")[0] == "dcgmm":
                asked.append(name)
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
thresholds = gc.get_threshold()
import sklearn
import tensorflow as tf
environment = dict(os.environ)  # after these imports, because they set variables of their own
import numpy as np
import dcgmm, dcgmm.sklearn
threads = tf.config.threading
assert threads.get_intra_op_parallelism_threads() == threads.get_inter_op_parallelism_threads() == 0
assert gc.isenabled() and gc.get_freeze_count() == 0 and gc.get_threshold() == thresholds
assert set(os.environ.items()) - set(environment.items()) <= {("TF_ENABLE_ONEDNN_OPTS", "1")}
model = dcgmm.DCGMM.from_spec("F(4,4,4,4) G(4)", (8, 8, 1))
model.compile()
model.fit(np.zeros((20, 8, 8, 1)), epochs=1, verbose=0)
model.summary()
print(asked)
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


def test_import_changes_nothing_and_the_library_needs_none_of_the_experiments_packages():
    assert run(WITHOUT)[-1] == "[]"


QUIET = """
import numpy as np
from dcgmm import DCGMM
x = np.random.default_rng(0).random((20, 8, 8, 1), dtype="float32")
for _ in range(8):
    model = DCGMM.from_spec("F(4,4,4,4) G(4)", (8, 8, 1))
    model.compile()
    model.fit(x, epochs=1, verbose=0)
    model.calibrate(x)
    model.score_samples(x)
    model.sample(3, seed=0)
"""


@pytest.mark.slow
def test_many_models_in_one_process_write_nothing():
    usual = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True, env=usual)
    assert done.stdout + done.stderr == ""


@pytest.mark.slow
def test_a_second_call_of_use_cores_freezes_nothing_more():
    program = """
import gc
from dcgmm import use_cores
use_cores()
frozen = gc.get_freeze_count()
kept = [[] for _ in range(1000)]
use_cores()
print(0 < frozen == gc.get_freeze_count())
"""
    assert run(program) == ["True"]


BACKEND = """
import json, os, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    before = os.environ.get("KERAS_BACKEND")
    import dcgmm, keras
assert os.environ.get("KERAS_BACKEND") == before
print(json.dumps([keras.config.backend(), [str(w.message) for w in caught if "KERAS_BACKEND" in str(w.message)]]))
"""


def with_settings(program, tmp_path, json_backend="tensorflow", **environment):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": json_backend}))
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment = {**inherited, "KERAS_HOME": str(tmp_path), **environment}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["keras.json", "environment"])
def test_keras_gets_tensorflow_whatever_backend_is_set(setting, tmp_path):
    if setting == "keras.json":
        done = with_settings(BACKEND, tmp_path, json_backend="torch")
    else:
        done = with_settings(BACKEND, tmp_path, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr[-3000:]
    backend, warned = json.loads(done.stdout.splitlines()[-1])
    assert backend == "tensorflow"
    assert len(warned) == (setting == "environment")
    assert all("KERAS_BACKEND=jax is set, but dcgmm works with TensorFlow alone" in text for text in warned)


@pytest.mark.parametrize("setting", ["keras.json", "environment"])
def test_keras_that_is_imported_with_another_backend_gives_one_line(setting, monkeypatch, tmp_path):
    monkeypatch.setattr("keras.config.backend", lambda: "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if setting == "environment":
        monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ImportError) as caught:
        use_tensorflow()
    origin = "KERAS_BACKEND=torch sets" if setting == "environment" else f"{tmp_path / 'keras.json'} sets"
    assert "the backend 'torch'" in str(caught.value) and origin in str(caught.value)
    assert "\n" not in str(caught.value)


TRAINING = """
import numpy as np
from dcgmm import DCGMM
model = DCGMM.from_spec("F(4,4,4,4) G(4)", (8, 8, 1))
model.compile()
model.fit(np.zeros((20, 8, 8, 1)), epochs=1, verbose=0)
"""
LINES = """
import os
from dcgmm.quiet import without_start_up_lines
with without_start_up_lines():
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
    os.write(2, b"I0000 00:00:1795825328.141672    3267 cudart_stub.cc:31] Could not find cuda drivers\\n")
    os.write(2, b"2026-01-01 00:00:00.1: I external/tsl/cuda/cudart_stub.cc:32] Could not find cuda drivers\\n")
    os.write(2, b"E0000 00:00:1795825328.141672    3267 model.cc:31] kept\\n")
    raise SystemExit("kept, too")
"""


@pytest.mark.parametrize(
    ("program", "stderr"),
    [(TRAINING, ""), (LINES, "E0000 00:00:1795825328.141672    3267 model.cc:31] kept\nkept, too\n")],
)
def test_start_up_lines_of_tensorflow_do_not_appear_and_others_do(program, stderr):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stderr == stderr
