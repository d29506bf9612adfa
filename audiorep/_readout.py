"""From pooled statistics to the features that `transform` returns."""

from typing import Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class ReadOut:
    """Standardise pooled statistics and scale them for a linear classifier.

    Every column gets mean zero and the same spread, such that the mean squared length of a row is
    `squared_length`: with it the default penalty of ``LogisticRegression`` is about right, however
    many features there are.

    Parameters
    ----------
    squared_length : float, default=64.0
        Mean squared Euclidean length of the fitted rows.
    """

    def __init__(self, squared_length: float = 64.0) -> None:
        self.squared_length = squared_length

    def fit(self, pooled: FloatArray) -> Self:
        """Learn from the rows of the training clips, of shape (n_clips, n_statistics)."""
        self.mean = pooled.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = pooled.std(axis=0, dtype=np.float64)
        # A column that hardly varies holds rounding noise, which must not be blown up.
        floor = 0.05 * spread.mean() + 1e-6
        length = np.sqrt(self.squared_length / pooled.shape[1])
        self.factor = (length / (spread + floor)).astype(np.float32)
        return self

    def transform(self, pooled: FloatArray) -> FloatArray:
        """Return standardised rows, of shape (n_clips, n_features_out)."""
        features: FloatArray = (pooled - self.mean) * self.factor
        return features

    @property
    def n_features_out(self) -> int:
        """Number of columns that `transform` returns."""
        return len(self.mean)
