"""From the windows of a clip to statistics over time, of the whole clip and of its parts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FloatArray = npt.NDArray[np.floating[Any]]
DoubleArray = npt.NDArray[np.float64]

# Added to deviations before their logarithm, and to differences that are scaled to one size; of
# maps whose values are about one. What is smaller hardly matters.
_SMALL_DEVIATION, _SMALL_DIFFERENCE = 0.1, 0.08


@dataclass
class Sums:
    """What statistics over time are made of: weighted sums and maxima, of a window or several.

    Those of several feature maps stand side by side, so that adding a window is two operations.

    Parameters
    ----------
    n_channels : list of int
        Channels of each map.
    n_parts : int
        Parts of a clip.
    added : ndarray of shape (..., n_sums)
        float32 of windows, float64 of clips.
        For each map: the weights of the parts (n_parts,) and of the changes (1,); the sums of the
        parts (n_parts * n_channels,), of the squares (n_channels,), and of the absolute
        differences from one position to the next (n_channels,).
    maxima : ndarray of shape (..., sum(n_channels))
    """

    n_channels: list[int]
    n_parts: int
    added: FloatArray
    maxima: FloatArray

    def window(self, i: int) -> "Sums":
        """Return those of one window out of several, to which others can be added."""
        added, maxima = (np.array(sums[i], np.float64) for sums in (self.added, self.maxima))
        return replace(self, added=added, maxima=maxima)

    def add(self, others: "Sums", i: int) -> None:
        """Add those of a window out of several: the clip's next."""
        self.added += others.added[i]
        np.maximum(self.maxima, others.maxima[i], out=self.maxima)

    @staticmethod
    def stack(sums: Sequence["Sums"]) -> "Sums":
        """Put those of several clips side by side."""
        added = np.stack([of_clip.added for of_clip in sums])
        maxima = np.stack([of_clip.maxima for of_clip in sums])
        return replace(sums[0], added=added, maxima=maxima)

    def blocks(self) -> list[DoubleArray]:
        """Return the statistics of clips, of which all windows were added.

        They are, for each map, the logarithm of the standard deviation, the maximum, the mean
        absolute change and the mean, each of shape (n_clips, n_channels), and the contour,
        (n_clips, n_parts * n_channels): how the mean of each part differs from that of the whole,
        whatever the size of the difference.
        """
        blocks = []
        n_parts = self.n_parts
        sizes = [n_parts + 1 + (n_parts + 2) * n for n in self.n_channels]
        of_maps = np.split(self.added, np.cumsum(sizes)[:-1], axis=1)
        maxima = np.split(self.maxima, np.cumsum(self.n_channels)[:-1], axis=1)
        for n, added, maximum in zip(self.n_channels, of_maps, maxima, strict=True):
            cuts = np.cumsum([n_parts, 1, n_parts * n, n])
            weights, change_weight, totals, squares, changes = np.split(added, cuts, axis=1)
            weight = weights.sum(1, keepdims=True)
            totals = totals.reshape(-1, n_parts, n)
            mean = totals.sum(1) / weight
            variance = np.maximum(squares / weight - mean**2, 0.0)
            # A clip of one position does not change.
            change = changes / np.where(change_weight > 0, change_weight, 1.0)
            contour = totals / weights[:, :, None] - mean[:, None]
            size = np.sqrt((contour**2).mean(2, keepdims=True) + _SMALL_DIFFERENCE**2)
            contour = (contour / size).reshape(len(contour), -1)
            deviation = 0.5 * np.log(variance + _SMALL_DEVIATION**2)
            blocks += [deviation, maximum, change, mean, contour]
        return blocks


def window_sums(maps: Iterable[tuple[Tensor, Tensor]]) -> Sums:
    """Reduce feature maps over time.

    Parameters
    ----------
    maps : iterable of (Tensor, Tensor)
        Each a feature map, (n_windows, n_channels, n_positions), and how much each frame counts in
        each part of its clip, (n_windows, n_parts, n_frames): zero behind the clip's end, and
        where another window has it. The number of frames is a multiple of that of positions.

    Returns
    -------
    Sums
        Of every window. A position weighs what its frames do, a change the geometric mean of both
        its positions.
    """
    n_channels, added, maxima = [], [], []
    for features, shares in maps:
        # With channels last, all that follows takes half the time.
        steps = features.transpose(1, 2).contiguous()
        n_windows, n_positions, n = steps.shape
        parts = shares.reshape(n_windows, -1, n_positions, shares.shape[2] // n_positions).sum(3)
        weight = parts.sum(1)
        maximum = steps.amax(1)
        # Most windows lie within their clip, and need no copy.
        rows = (weight == 0).any(1).nonzero()[:, 0]
        if len(rows):
            outside = weight[rows, :, None] == 0
            maximum[rows] = steps[rows].masked_fill(outside, -torch.inf).amax(1)
        change_weight = (weight[:, 1:] * weight[:, :-1]).sqrt_()
        changes = (steps[:, 1:] - steps[:, :-1]).abs_()
        n_channels.append(n)
        maxima.append(maximum)
        added += [
            parts.sum(2),
            change_weight.sum(1, keepdim=True),
            torch.bmm(parts, steps).flatten(1),
            torch.bmm(weight[:, None], steps.square())[:, 0],
            torch.bmm(change_weight[:, None], changes)[:, 0],
        ]
    both = (torch.cat(tensors, dim=1).cpu().numpy() for tensors in (added, maxima))
    return Sums(n_channels, parts.shape[1], *both)
