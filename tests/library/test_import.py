"""`import dcgmm` changes nothing in its process."""

import subprocess
import sys

import pytest

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
