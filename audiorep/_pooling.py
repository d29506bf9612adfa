"""From the windows of a clip to statistics over time, of the whole clip and of its parts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass
class WindowStatistics:
    """Weighted sums and maxima over time, of the clip, its parts, and the changes in between.

    Parameters
    ----------
    weight : ndarray of shape (n_parts, 1)
    total : ndarray of shape (n_parts, n_channels)
    squares, maximum : ndarray of shape (n_channels,)
    change_weight : ndarray of shape (1,)
    change : ndarray of shape (n_channels,)
        Sum of the absolute differences from one position to the next.
    """

    weight: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]
    change_weight: npt.NDArray[np.float64]
    change: npt.NDArray[np.float64]

    def add(self, other: "WindowStatistics") -> None:
        """Add the statistics of the clip's next window."""
        self.weight += other.weight
        self.total += other.total
        self.squares += other.squares
        np.maximum(self.maximum, other.maximum, out=self.maximum)
        self.change_weight += other.change_weight
        self.change += other.change

    def blocks(self) -> list[npt.NDArray[np.float64]]:
        """Return the clip's statistics.

        They are standard deviation, maximum and mean absolute change, each of shape
        (n_channels,), and the means of its parts, of shape (n_parts * n_channels,).
        """
        weight = self.weight.sum(0)
        mean = self.total.sum(0) / weight
        variance = np.maximum(self.squares / weight - mean**2, 0.0)
        # A clip of one position does not change.
        change = self.change / np.where(self.change_weight > 0, self.change_weight, 1.0)
        parts = self.total / self.weight
        return [np.sqrt(variance), self.maximum, change, parts.ravel()]


def window_statistics(features: Tensor, shares: Tensor) -> list[WindowStatistics]:
    """Reduce feature maps over time.

    Parameters
    ----------
    features : Tensor of shape (n_windows, n_channels, n_positions)
    shares : Tensor of shape (n_windows, n_parts, n_frames)
        How much each frame counts in each part of its clip: zero behind the clip's end, and where
        another window has it. The number of frames is a multiple of that of positions.

    Returns
    -------
    list of WindowStatistics
        One per window. A position weighs what its frames do, a change the geometric mean of both
        its positions.
    """
    parts = shares.reshape(*shares.shape[:2], features.shape[2], -1).sum(3)
    weight = parts.sum(1)
    # Most windows lie within their clip, and need no copy.
    inside = features
    if not weight.all():
        inside = features.masked_fill(weight[:, None] == 0, -torch.inf)
    change_weight = (weight[:, 1:] * weight[:, :-1]).sqrt_()
    changes = (features[:, :, 1:] - features[:, :, :-1]).abs_()
    reduced = (
        parts.sum(2, keepdim=True),
        torch.bmm(parts, features.transpose(1, 2)),
        torch.bmm(features.square(), weight[:, :, None])[:, :, 0],
        inside.amax(2),
        change_weight.sum(1, keepdim=True),
        torch.bmm(changes, change_weight[:, :, None])[:, :, 0],
    )
    arrays = [tensor.double().cpu().numpy() for tensor in reduced]
    return [WindowStatistics(*(array[i] for array in arrays)) for i in range(len(features))]
