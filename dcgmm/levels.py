"""The levels of a chain: each GMM layer paired with the Folding directly below it."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from dcgmm.layers import GMM, Folding


@dataclass(frozen=True, eq=False)
class Level:
    """A GMM layer together with the layers between it and the next GMM layer below it, or the image.

    Args:
        gmm: the GMM layer.
        lower: the layers between, from below, without the folding.
        folding: the Folding directly below the GMM layer. Default None: there is none.

    Example:
        >>> from dcgmm import DCGMM
        >>> level = DCGMM.from_spec("2L-c").levels[0]
        >>> level.log_scores(tf.zeros((3, 28, 28, 1))).shape
        TensorShape([3, 11, 11, 25])
    """

    gmm: GMM
    lower: tuple[keras.layers.Layer, ...] = ()
    folding: Folding | None = None

    def log_scores(self, inputs: tf.Tensor, missing: tf.Tensor | None = None) -> tf.Tensor:
        """Return the log scores (N, h, w, K) of the GMM layer for the level's input (N, H, W, C).

        Args:
            inputs: the level's input.
            missing: 1 where an element of the input is missing, else 0, of the same shape; the input is 0 there.
                Default None: none is missing.
        """
        for layer in self.lower:
            inputs = layer(inputs)
            if missing is not None:  # an output is missing if any input that it is computed from is missing
                missing = tf.cast(layer(missing) > 0, missing.dtype)
        return self.gmm.log_scores(inputs, self.folding, missing)

    @property
    def windows(self) -> tuple[keras.layers.Layer, ...]:
        """The Folding and MaxPooling layers of the level, from below."""
        return (*self.lower, self.folding) if self.folding else self.lower

    def from_window(self, window: keras.layers.Layer) -> "Level":
        """Return the part of the level from one of its `windows` upwards, as a Level."""
        if window is self.folding:
            return Level(self.gmm, (), self.folding)
        return Level(self.gmm, self.lower[self.lower.index(window) :], self.folding)


def pair_levels(layers: Sequence[keras.layers.Layer]) -> list[Level]:
    """Return the levels of a chain of layers, a list of one `Level` for each GMM layer, from the lowest.

    Args:
        layers: the chain, from the image upwards; layers above the highest GMM layer belong to no level.

    Example:
        >>> from dcgmm import MaxPooling
        >>> chain = [Folding(8, 2), GMM(25), MaxPooling(2), Folding(3), GMM(36)]
        >>> [[type(window).__name__ for window in level.windows] for level in pair_levels(chain)]
        [['Folding'], ['MaxPooling', 'Folding']]
    """
    levels: list[Level] = []
    lower: list[keras.layers.Layer] = []
    for layer in layers:
        if not isinstance(layer, GMM):
            lower.append(layer)
            continue
        folding = lower.pop() if lower and isinstance(lower[-1], Folding) else None
        levels.append(Level(layer, tuple(lower), folding))
        lower = []
    return levels
