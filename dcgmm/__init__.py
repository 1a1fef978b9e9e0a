"""Deep Convolutional Gaussian Mixture Models: a companion to A. Gepperth and B. Pfülb, IJCNN 2021."""

import gc
import os
import sys

# TensorFlow leaves oneDNN off on x86-64 CPUs without AVX-512, where it trains two to three times as fast with it. This
# counts where TensorFlow is not imported yet.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# TensorFlow's import makes a million objects that stay. To look for garbage among them takes a quarter of its time, and
# most of the time of every later collection.
if "tensorflow" not in sys.modules and gc.isenabled():
    gc.collect()  # what is garbage by now would be kept, too
    gc.disable()
    try:
        import tensorflow  # noqa: F401
    finally:
        gc.enable()
    gc.freeze()

from dcgmm.architectures import ARCHITECTURES
from dcgmm.datasets import load_dataset
from dcgmm.layers import GMM, Folding, LinearClassifier, MaxPooling
from dcgmm.model import DCGMM
from dcgmm.parallel import one_thread_an_operation
from dcgmm.pretrained import load_pretrained
from dcgmm.sampling import Sharpening

one_thread_an_operation()

__all__ = [
    "ARCHITECTURES",
    "DCGMM",
    "GMM",
    "Folding",
    "LinearClassifier",
    "MaxPooling",
    "Sharpening",
    "load_dataset",
    "load_pretrained",
]
