"""From the windows of a clip to statistics over time, of the whole clip and of its parts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import dct
from torch import Tensor

FloatArray = npt.NDArray[np.floating[Any]]
DoubleArray = npt.NDArray[np.float64]

# Added to deviations before their logarithm, and to differences that are scaled to one size; of
# maps whose values are about one. What is smaller hardly matters.
_SMALL_DEVIATION, _SMALL_DIFFERENCE = 0.1, 0.08
# Cosines that a contour is made of, at most: those that swing faster hardly tell more.
_MOST_COSINES = 3
# Filters that are compared with each other, at most; and squared values of a map, added to how much
# a filter varies from band to band: little beside what trained filters do, some 0.06.
_MOST_FILTERS, _SMALL_VARIANCE = 64, 0.005


@dataclass
class Sums:
    """What statistics over time are made of: weighted sums, of a window or several.

    Those of several feature maps stand side by side, so that adding a window is one operation.

    Parameters
    ----------
    n_channels : list of int
        Channels of each map.
    n_parts : list of int
        Parts that each weighting of the frames is cut into.
    added : ndarray of shape (..., n_sums)
        float32 of windows, float64 of clips.
        For each map: the weights of all parts (n_parts,), and those of the changes of every
        weighting (n_weightings,); then, for every channel, the sums of all parts
        (n_parts, n_channels), and of every weighting those of squares and of absolute differences
        from one position to the next (n_weightings, n_channels).
    """

    n_channels: list[int]
    n_parts: list[int]
    added: FloatArray

    def of_clips(self, n_clips: int) -> "Sums":
        """Return those of clips, of which no window was added yet."""
        return replace(self, added=np.zeros((n_clips, self.added.shape[1])))

    def add(self, clip: int, others: "Sums", i: int) -> None:
        """Add those of a window out of several: the clip's next."""
        self.added[clip] += others.added[i]

    def blocks(self) -> list[DoubleArray]:
        """Return the statistics of clips, of which all windows were added.

        They are, for each map and each weighting, the logarithm of the standard deviation, the mean
        absolute change and the mean, each of shape (n_clips, n_channels); and, where there are
        several parts, the contour, (n_clips, n_cosines * n_channels): how the mean of each part
        differs from that of the whole, whatever the size of the difference, told by how much there
        is in it of a few cosines that run from the first part to the last.
        """
        blocks = []
        ends = np.cumsum(self.n_parts).tolist()
        for i_map in range(len(self.n_channels)):
            weights, change_weights, totals, squares, changes = self._pieces(i_map)
            # A clip of one position does not change.
            change = changes / np.where(change_weights > 0, change_weights, 1.0)
            for i, (n_parts, end) in enumerate(zip(self.n_parts, ends, strict=True)):
                parts, weight = (x[:, end - n_parts : end] for x in (totals, weights))
                mean = parts.sum(1) / weight.sum(1)
                variance = np.maximum(squares[:, i] / weight.sum(1) - mean**2, 0.0)
                blocks += [0.5 * np.log(variance + _SMALL_DEVIATION**2), change[:, i], mean]
                if n_parts > 1:
                    contour = parts / weight - mean[:, None]
                    size = np.sqrt((contour**2).mean(2, keepdims=True) + _SMALL_DIFFERENCE**2)
                    cosines = _cosines(n_parts) @ (contour / size)
                    blocks.append(cosines.reshape(len(contour), -1))
        return blocks

    def mean(self, i_map: int) -> DoubleArray:
        """Return the mean of one map by the first weighting, (n_clips, n_channels)."""
        weights, _, totals, *_ = self._pieces(i_map)
        n_parts = self.n_parts[0]
        mean: DoubleArray = totals[:, :n_parts].sum(1) / weights[:, :n_parts].sum(1)
        return mean

    def _pieces(self, i_map: int) -> list[FloatArray]:
        """Return what `added` holds of one map, each of shape (n_clips, n, 1 or n_channels)."""
        sizes = [sum(self._sizes(n)) for n in self.n_channels]
        added = np.split(self.added, np.cumsum(sizes)[:-1], axis=1)[i_map]
        n = self.n_channels[i_map]
        pieces = np.split(added, np.cumsum(self._sizes(n))[:-1], axis=1)
        channels = (1, 1, n, n, n)
        return [
            piece.reshape(len(added), -1, width)
            for piece, width in zip(pieces, channels, strict=True)
        ]

    def _sizes(self, n: int) -> list[int]:
        """Return the lengths of what `added` holds of a map of `n` channels."""
        n_parts, n_weightings = sum(self.n_parts), len(self.n_parts)
        return [n_parts, n_weightings, n_parts * n, n_weightings * n, n_weightings * n]


@cache
def _cosines(n_parts: int) -> DoubleArray:
    """Return the first cosines of the discrete cosine transform, as rows (n_cosines, n_parts).

    The constant is none of them: of differences from the whole, it is next to nothing.
    """
    n = min(_MOST_COSINES, n_parts - 1)
    transform: DoubleArray = dct(np.eye(n_parts), axis=0, norm="ortho")
    return transform[1 : n + 1]


def window_sums(maps: Iterable[Tensor], shares: Tensor, n_parts: Sequence[int]) -> Sums:
    """Reduce feature maps over time.

    Parameters
    ----------
    maps : iterable of Tensor of shape (n_windows, n_channels, n_positions)
        The number of frames is a multiple of that of positions.
    shares : Tensor of shape (n_windows, sum(n_parts), n_frames)
        How much each frame counts in each part of each weighting: zero behind the clip's end, and
        where another window has it.
    n_parts : sequence of int
        Parts of each weighting.

    Returns
    -------
    Sums
        Of every window. A position weighs what its frames do, a change the geometric mean of both
        its positions.
    """
    n_channels, added = [], []
    for features in maps:
        # With channels last, all that follows takes half the time.
        steps = features.transpose(1, 2).contiguous()
        n_positions, n = steps.shape[1:]
        parts = shares.reshape(*shares.shape[:2], n_positions, -1).sum(3)
        of_weightings = torch.split(parts, list(n_parts), dim=1)
        weights = torch.stack([of_parts.sum(1) for of_parts in of_weightings], dim=1)
        change_weights = (weights[:, :, 1:] * weights[:, :, :-1]).sqrt_()
        changes = (steps[:, 1:] - steps[:, :-1]).abs_()
        n_channels.append(n)
        added += [
            parts.sum(2),
            change_weights.sum(2),
            torch.bmm(parts, steps).flatten(1),
            torch.bmm(weights, steps.square()).flatten(1),
            torch.bmm(change_weights, changes).flatten(1),
        ]
    return Sums(n_channels, list(n_parts), torch.cat(added, dim=1).cpu().numpy())


def filter_correlations(mean: DoubleArray, n_filters: int) -> DoubleArray:
    """Tell which filters of a map answer in the same frequency bands, of all pairs of filters.

    As the products of a texture, they tell what goes together, here along frequency: filters that
    answer to parts of one shape answer in the same bands, whichever these are.

    Parameters
    ----------
    mean : ndarray of shape (n_clips, n_channels)
        Mean over time of a map whose channel ``c * n_bands + b`` is filter ``c`` in band ``b``.
    n_filters : int
        Filters of the map. Of more than 64 the first are looked at, for pairs grow with the square,
        and one filter is as good as another.

    Returns
    -------
    ndarray of shape (n_clips, n * (n - 1) / 2)
        With ``n`` filters, 64 at most. One that answers in all bands alike is correlated with none.
    """
    filters = mean.reshape(len(mean), n_filters, -1)[:, :_MOST_FILTERS]
    by_band = np.ascontiguousarray(filters.transpose(0, 2, 1))
    by_band = by_band - by_band.mean(1, keepdims=True)
    by_band /= np.sqrt((by_band**2).mean(1, keepdims=True) + _SMALL_VARIANCE)
    products = by_band.transpose(0, 2, 1) @ by_band / by_band.shape[1]
    return products[(slice(None), *np.triu_indices(products.shape[1], 1))]
