"""Missing pixels: NaN in an image means that this pixel was not observed.

Covariances are diagonal, so the marginal density of the seen pixels is a product over the seen pixels alone. The lowest
GMM layer computes this exact marginal (`GMM.log_scores`), so the layers above never see a NaN.
"""

import tensorflow as tf


def seen_and_missing(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return images with 0 where a pixel is missing, and 1 where it is missing, else 0; both (N, H, W, C).

    Example:
        >>> seen, missing = seen_and_missing(tf.constant([[[[0.5]], [[float("nan")]]]]))
        >>> seen.numpy().squeeze().tolist(), missing.numpy().squeeze().tolist()
        ([0.5, 0.0], [0.0, 1.0])
    """
    missing = tf.math.is_nan(x)
    return tf.where(missing, tf.zeros_like(x), x), tf.cast(missing, x.dtype)
