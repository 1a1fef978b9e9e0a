"""Deep Convolutional Gaussian Mixture Models: a companion to A. Gepperth and B. Pfülb, IJCNN 2021."""

from dcgmm.architectures import ARCHITECTURES
from dcgmm.datasets import load_dataset
from dcgmm.layers import GMM, Folding, MaxPooling
from dcgmm.model import DCGMM

__all__ = ["ARCHITECTURES", "DCGMM", "GMM", "Folding", "MaxPooling", "load_dataset"]
