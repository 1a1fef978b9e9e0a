"""The claims of the paper. Exactly one notebook has the numbers of each claim."""

CLAIMS = {
    "C1": "A DCGMM is better than a flat GMM at clustering, sampling and outlier detection; a flat one needs very many "
    "components to describe images well (Abstract).",
    "C2": "The best outlier detector is a deep convolutional instance (Sec. III-C).",
    "C3": "The deep instances without convolution, 2L-d and 3L-b, detect outliers worst (Sec. III-C).",
    "C4": "Deep instances without convolution cluster best, convolutional ones worse (Sec. III-D).",
    "C5": "As the first filter shrinks, samples become sharper and more diverse (Sec. III-E a).",
    "C6": "Smaller first filters come at essentially no additional computational cost (Sec. III-E a).",
    "C7": "Instances without convolution produce duplicate samples (Fig. 4).",
    "C8": "A larger S makes more diverse but also more corrupted samples; the good S depends on the problem "
    "(Sec. III-E b).",
    "C9": "Sharpening makes outlines sharper and does not change the overall shape (Sec. III-E c).",
    "C10": "The centroids of upper layers are very sparse, and can be read (Sec. III-B).",
    "C11": "A random start suffices: no k-means initialisation is needed (Sec. I-A).",
    "C12": "Layers can be optimised independently of each other (Sec. V).",
    "C13": "Adam and RMSProp seem incompatible with GMM optimisation (Sec. II-B1).",
    "C14": "A typical training run takes about 2 minutes on a GeForce GTX 1080 (Sec. VI).",
    "C15": "A layer has S to the number of its positions distinct control signals, and an instance the product over "
    "its layers as distinct patterns (Sec. VI).",
    "C16": "Lower layers can tell which parts of an image are outliers (Sec. II-B2).",
    "C17": "Parts of an image that are outliers can be repaired, without being told where they are (Sec. II-B5).",
}
