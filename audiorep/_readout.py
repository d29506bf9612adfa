"""From pooled statistics to the features that `transform` returns."""

import ctypes
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from audiorep._threads import on_threads

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

# Clips that the projection is learned from; more would cost time and hardly change it.
_MAX_CLIPS = 2048
# Rows that are projected together, on at least so many columns, by one thread of torch: one shape
# always, so that no row depends on its company. With numpy, and with fewer columns, it does on
# processors without AVX-512, in its last digits: its place in the product decides on them.
_ROWS = 32
_FEWEST_COLUMNS = 16
# Columns whose spread is computed together.
_COLUMNS_OF_SPREAD = 2048
# A row shorter than this, relative to the training clips, is next to the mean clip: its direction
# is rounding noise, and it stays short.
_SHORTEST = 0.05
# Length of rows, typically, below which clips differ by rounding alone; else one of each block.
_ALIKE = 0.05
# Statistics are about one; a spread far below this is rounding noise.
_HARDLY = 1e-3


class Changes(NamedTuple):
    """What altering clips did to their statistics."""

    rows: FloatArray  # (n_clips, n_statistics), those of the altered clip less those of the clip
    weight: float  # how much these changes count, beside others


class ReadOut:
    """Standardise pooled statistics, rotate them to principal axes, level these, unify lengths.

    What a block of statistics (one statistic of one feature map) weighs does not depend on how wide
    it is. The variance along a principal axis saturates: the few directions in which clips differ
    most (how bright they are as a whole, who speaks) no longer drown the rest, while the many weak
    ones stay weak. Directions in which a clip moves when it is altered, as another recording of the
    same thing might be, count for less: what is left tells clips apart whoever speaks, and wherever
    the recording begins. So do directions in which a clip differs from its nearest neighbour, which
    is taken for one of its kind. Every row is scaled to one length: unusual clips no longer decide
    where a linear classifier cuts, and with a length of 16 the default penalty of
    ``LogisticRegression`` is about right.

    Parameters
    ----------
    n_features : int, default=384
        Largest number of features.
    saturation : float, default=1/32
        Share of the variance along all axes that are kept, at which that along one saturates: a
        share ``v`` becomes ``v / (1 + v / saturation)``. Infinity keeps the spread of every axis,
        a number close to zero makes all equal (whitening).
    tolerance : float, default=1/2
        Mean square of changes at which they begin to count, in units of what the variance along a
        levelled axis is on average: a direction along which alterations move clips by ``c`` of
        these is scaled by ``(1 + c / tolerance) ** -0.5``. Infinity ignores changes.
    neighbor_tolerance : float, default=4.0
        As `tolerance`, for differences between neighbours, in units of what their mean square along
        an axis is on average. Neighbours are looked for after changes were weighed, among clips
        that were scaled to one length; a copy of a clip is none. Infinity ignores neighbours.
    row_length : float, default=16.0
        Euclidean length of every row.

    Notes
    -----
    Weighing directions by what varies within a class, which is thought to be noise, is known from
    linear discriminant analysis and, in speaker recognition, as within-class covariance
    normalisation (Hatch, Kajarekar and Stolcke, 2006). Here no class is known: a clip and its
    altered copy stand for one, and so do neighbours, as in locality preserving projections (He and
    Niyogi, 2003).
    """

    def __init__(
        self,
        n_features: int = 384,
        saturation: float = 1 / 32,
        tolerance: float = 1 / 2,
        neighbor_tolerance: float = 4.0,
        row_length: float = 16.0,
    ) -> None:
        self.n_features = n_features
        self.saturation = saturation
        self.tolerance = tolerance
        self.neighbor_tolerance = neighbor_tolerance
        self.row_length = row_length

    def fit(
        self,
        pooled: FloatArray,
        block_sizes: Sequence[int] | None = None,
        block_weights: Sequence[float] | None = None,
        changes: Iterable[Changes] = (),
    ) -> Self:
        """Learn from the training clips.

        Parameters
        ----------
        pooled : ndarray of shape (n_clips, n_statistics)
        block_sizes : sequence of int, default=None
            Widths of the blocks, whose sum is n_statistics. None means a single block.
        block_weights : sequence of float, default=None
            How much each block counts. None means that all count the same.
        changes : iterable of Changes, default=()
            One of each kind of alteration. They are let go, one by one; where all clips are alike,
            none is asked for.
        """
        self.mean = pooled.mean(axis=0, dtype=np.float64).astype(np.float32)
        # Column by column, or all would be there once more in float64.
        columns = np.array_split(pooled, -(-pooled.shape[1] // _COLUMNS_OF_SPREAD), axis=1)
        spread = np.concatenate([some.std(axis=0, dtype=np.float64) for some in columns])
        sizes = [pooled.shape[1]] if block_sizes is None else list(block_sizes)
        blocks = np.split(spread, np.cumsum(sizes)[:-1])
        weights = [1.0] * len(sizes) if block_weights is None else block_weights
        factors = [w * _block_factor(block) for w, block in zip(weights, blocks, strict=True)]
        self.factor = np.concatenate(factors)
        chosen = np.linspace(0, len(pooled) - 1, min(len(pooled), _MAX_CLIPS)).astype(int)
        rows = (pooled[chosen] - self.mean) * self.factor
        variance, axes = _principal_axes(rows, self.n_features)
        total = max(float(variance.sum()), 1e-30)
        self.all_alike = total < _ALIKE**2
        gain = (1 + variance / total / self.saturation) ** -0.5
        axes, variance = axes * gain, variance * gain**2
        clips = (rows @ axes.astype(np.float32)).astype(np.float64)
        del rows
        # Copies of clips bring axes without variance, which are not to count.
        n_varied = max(1, int((variance > 1e-6 * variance.max()).sum()))
        average = max(float(variance.sum()) / n_varied, 1e-30)
        moved = np.zeros((len(variance), len(variance)))
        for kind in () if self.all_alike else changes:
            along = ((kind.rows * self.factor) @ axes.astype(np.float32)).astype(np.float64)
            moved += kind.weight / len(along) / average * (along.T @ along)
            del kind, along
        turn, variance = _steadied(variance, moved / self.tolerance)
        axes, clips = axes @ turn, clips @ turn
        if not self.all_alike:
            between = n_varied * _between_neighbors(clips)
            turn, variance = _steadied(variance, between / self.neighbor_tolerance)
            axes = axes @ turn
        axes /= max(np.sqrt(variance.sum()), 1e-15)  # mean squared length of rows: 1
        if self.all_alike:
            axes *= 0.0
        self.projection = axes.astype(np.float32)
        return self

    def transform(self, pooled: FloatArray) -> FloatArray:
        """Return features, of shape (n_clips, n_features_out)."""
        return on_threads(1, self._projected, pooled)

    def _projected(self, pooled: FloatArray) -> FloatArray:
        starts = range(0, len(pooled), _ROWS)
        return np.concatenate([self._project(pooled[i : i + _ROWS]) for i in starts])

    def _project(self, few: FloatArray) -> FloatArray:
        rows = torch.zeros(_ROWS, few.shape[1], dtype=torch.float32, device="cpu")
        rows.numpy()[: len(few)] = (few - self.mean) * self.factor
        projection = _tensor_of(self.projection)
        n_more = _FEWEST_COLUMNS - self.n_features_out
        if n_more > 0:
            projection = nn.functional.pad(projection, (0, n_more))
        product = rows @ projection
        projected = product.numpy()[: len(few), : self.n_features_out]
        length = np.linalg.norm(projected, axis=1, keepdims=True)
        return projected * (self.row_length / np.maximum(length, _SHORTEST)).astype(np.float32)

    @property
    def n_features_out(self) -> int:
        """Number of columns that `transform` returns."""
        return self.projection.shape[1]


def _tensor_of(array: FloatArray) -> Tensor:
    """Return a tensor in the memory of an array, which nobody writes to.

    torch warns of arrays that must not be written to, as those are that joblib maps from a file.
    """
    array = np.ascontiguousarray(array)
    pointer = array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return torch.from_numpy(np.ctypeslib.as_array(pointer, array.shape))


def _block_factor(spread: npt.NDArray[np.float64]) -> FloatArray:
    """Return what brings the columns of a block to about the same size.

    The mean squared length of a row of the block is then one. What varies less than other columns
    stays a little smaller than these. Rounding noise, of a block that hardly varies, is not blown
    up.
    """
    typical = spread.mean()
    relative = spread / (spread + typical + 1e-30)
    size = max(np.sqrt((relative**2).mean()), 1e-3)
    factor: FloatArray = (
        1.0 / ((spread + typical + _HARDLY) * size * np.sqrt(len(spread)))
    ).astype(np.float32)
    return factor


def _steadied(variance: DoubleArray, moved: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Scale directions by what moves along them, and find principal axes again.

    Parameters
    ----------
    variance : ndarray of shape (n_axes,)
        Of clips along each axis; along different axes they are not correlated.
    moved : ndarray of shape (n_axes, n_axes)
        Mean products of changes along axes; a direction with ``c`` is scaled by
        ``(1 + c) ** -0.5``.

    Returns
    -------
    turn : ndarray of shape (n_axes, n_axes)
        What axes, or clips along them, are to be multiplied with.
    variance : ndarray of shape (n_axes,)
        Along the new axes, largest first.
    """
    if not moved.any():
        return np.eye(len(variance)), variance
    values, vectors = np.linalg.eigh(moved)
    turn = vectors * (1 + np.maximum(values, 0.0)) ** -0.5
    left, vectors = np.linalg.eigh((turn.T * variance) @ turn)
    return turn @ vectors[:, ::-1], np.maximum(left[::-1], 0.0)


def _between_neighbors(rows: DoubleArray) -> DoubleArray:
    """Return products of differences between clips and their nearest neighbours.

    Parameters
    ----------
    rows : ndarray of shape (n_clips, n_axes)
        Of which only directions count. What is next to the mean has none.

    Returns
    -------
    ndarray of shape (n_axes, n_axes)
        As shares: the trace is 1, or next to 0 where all clips are copies of one.
    """
    length = np.linalg.norm(rows, axis=1)
    has_direction = length > _SHORTEST * np.sqrt((length**2).mean())
    rows = rows[has_direction] / length[has_direction, None]
    likeness = rows @ rows.T
    # Neither a clip itself nor its copies, which differ by rounding alone.
    likeness[likeness > 1 - _HARDLY**2 / 2] = -np.inf
    difference = rows - rows[likeness.argmax(axis=1)]
    products: DoubleArray = difference.T @ difference
    return products / max(float(np.trace(products)), _HARDLY**2 * len(difference))


def _principal_axes(rows: FloatArray, n_axes: int) -> tuple[DoubleArray, DoubleArray]:
    """Return variances (n_axes,) and unit axes (n_columns, n_axes), largest variance first."""
    n, n_columns = rows.shape
    n_axes = max(1, min(n_axes, n - 1, n_columns))
    wide = n <= n_columns
    # The smaller of the two Gram matrices has the same eigenvalues.
    gram = (rows @ rows.T if wide else rows.T @ rows).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values[::-1][:n_axes], 0.0)
    axes = vectors[:, ::-1][:, :n_axes]
    if wide:
        axes = rows.T.astype(np.float64) @ axes
        norm = np.sqrt((axes**2).sum(axis=0))
        # Axes without variance are left out; dividing by their length would divide by nothing.
        tiny = norm <= 1e-6 * max(float(norm.max()), 1e-30)
        axes = np.where(tiny, 0.0, axes / np.where(tiny, 1.0, norm))
    variance = values / n
    return variance, axes
