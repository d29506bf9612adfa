"""From the windows of a clip to statistics over time, of the whole clip and of its parts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiorep._log_mels import Window


@dataclass
class WindowStatistics:
    """Sums and maxima over time, of the clip, of its parts, and of the changes in between.

    Parameters
    ----------
    count : ndarray of shape (n_parts, 1)
    total : ndarray of shape (n_parts, n_channels)
    squares, maximum : ndarray of shape (n_channels,)
    n_changes : ndarray of shape (1,)
    change : ndarray of shape (n_channels,)
        Sum of the absolute differences from one position to the next.
    """

    count: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]
    n_changes: npt.NDArray[np.float64]
    change: npt.NDArray[np.float64]

    def add(self, other: "WindowStatistics") -> None:
        """Add the statistics of the clip's next window."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        np.maximum(self.maximum, other.maximum, out=self.maximum)
        self.n_changes += other.n_changes
        self.change += other.change

    def blocks(self) -> list[npt.NDArray[np.float64]]:
        """Return the clip's statistics.

        They are standard deviation, maximum and mean absolute change, each of shape
        (n_channels,), and the means of its parts, of shape (n_parts * n_channels,). A part
        without a position of its own (in a clip of a few frames) takes the clip's mean.
        """
        count, total = self.count.sum(0), self.total.sum(0)
        mean = total / count
        variance = np.maximum(self.squares / count - mean**2, 0.0)
        parts = np.where(self.count > 0, self.total / np.maximum(self.count, 1), mean)
        change = self.change / np.maximum(self.n_changes, 1)
        return [np.sqrt(variance), self.maximum, change, parts.ravel()]


def position_parts(
    windows: list[Window], n_frames: list[int], centres: Tensor, n_parts: int
) -> Tensor:
    """Tell to which part of its clip each position of a feature map belongs.

    Parameters
    ----------
    windows : list of Window
    n_frames : list of int
        Length of each window's clip, in frames.
    centres : Tensor of shape (n_positions,)
        The frames of a window that the positions are centred on.
    n_parts : int
        Equal parts that a clip is cut into.

    Returns
    -------
    Tensor of shape (n_windows, n_parts, n_positions)
        1.0 where a position belongs to a part, and zero for padding behind the clip's end.
    """
    start = torch.tensor([float(window.start) for window in windows])[:, None]
    n_valid = torch.tensor([float(window.n_valid) for window in windows])[:, None]
    length = torch.tensor([float(n) for n in n_frames])[:, None]
    part = ((start + centres) / length * n_parts).long().clamp(0, n_parts - 1)
    valid = centres < n_valid
    valid[:, 0] = True
    belongs = part[:, None, :] == torch.arange(n_parts)[None, :, None]
    return (belongs & valid[:, None, :]).float()


def window_statistics(features: Tensor, parts: Tensor) -> list[WindowStatistics]:
    """Reduce feature maps over time.

    Parameters
    ----------
    features : Tensor of shape (n_windows, n_channels, n_positions)
    parts : Tensor of shape (n_windows, n_parts, n_positions)
        As `position_parts` gives it.

    Returns
    -------
    list of WindowStatistics
        One per window.
    """
    parts = parts.to(features.device)
    valid = parts.sum(1)
    # Most windows lie within their clip, and need no copy.
    inside = features
    if not valid.all():
        inside = features.masked_fill(valid[:, None] == 0, -torch.inf)
    both_valid = valid[:, 1:] * valid[:, :-1]
    changes = (features[:, :, 1:] - features[:, :, :-1]).abs_()
    reduced = (
        parts.sum(2, keepdim=True),
        torch.bmm(parts, features.transpose(1, 2)),
        torch.bmm(features.square(), valid[:, :, None])[:, :, 0],
        inside.amax(2),
        both_valid.sum(1, keepdim=True),
        torch.bmm(changes, both_valid[:, :, None])[:, :, 0],
    )
    arrays = [tensor.double().cpu().numpy() for tensor in reduced]
    return [WindowStatistics(*(array[i] for array in arrays)) for i in range(len(features))]
