"""Deep Convolutional Gaussian Mixture Models: a companion to A. Gepperth and B. Pfülb, IJCNN 2021."""

import os

# TensorFlow leaves oneDNN off on x86-64 CPUs without AVX-512, where training is two to three times as fast with it. The
# setting has an effect only before TensorFlow is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from dcgmm.keras_settings import use_tensorflow

use_tensorflow()

from dcgmm.architectures import ARCHITECTURES
from dcgmm.datasets import load_dataset
from dcgmm.layers import GMM, Folding, LinearClassifier, MaxPooling
from dcgmm.model import DCGMM
from dcgmm.parallel import use_cores
from dcgmm.saving import load_pretrained
from dcgmm.sharpening import Sharpening

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
    "use_cores",
]
