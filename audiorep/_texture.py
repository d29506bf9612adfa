"""What a log-mel is like as a texture: how its bands rise and fall, how fast, and which together.

References
----------
McDermott and Simoncelli, Sound Texture Perception via Statistics of the Auditory Periphery, 2011:
variances and correlations of modulated bands are what listeners tell textures apart by.
"""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
DoubleArray = npt.NDArray[np.float64]

N_BANDS = 16  # that mel bands are averaged to, at most
N_WIDE_BANDS = 8  # of which one is compared with what another does later
LAGS = (1, 2)  # steps of an octave
N_OCTAVES = 6  # of modulation: the first from frame to frame, the last over 64 frames
# What each block counts for beside statistics of feature maps.
BLOCK_WEIGHTS = (1.0, 1.0, *[3.0**0.5] * (1 + len(LAGS)))

_QUIET = 4e-4  # squared nats; modulation with less than this is alike
_UNCHANGING = 0.01  # squared nats; added to the variance of a band
# Products that BLAS is asked for at once. Up to 2^18 it works with one thread, whatever it may use:
# more would wait for each other, and round differently by how many there are.
_MOST_PRODUCTS = 256_000
_FEW_STEPS = 8.0  # with which a correlation is drawn halfway to zero


def texture_sums(log_mels: FloatArray, weights: FloatArray) -> DoubleArray:
    """Reduce log-mels over time to weighted sums, which those of other blocks can be added to.

    A pyramid takes the bands apart into octaves of modulation: what a smoothed band lacks is the
    first octave, every second step of it makes the next.

    Parameters
    ----------
    log_mels : ndarray of shape (n_hearings, n_frames, n_mels)
        A block of a clip, as heard in several ways.
    weights : ndarray of shape (n_hearings, n_frames)
        How much each frame counts.

    Returns
    -------
    ndarray of shape (n_hearings, n_sums)
        With ``n`` bands and ``m`` wide bands: the weight (1,), bands (n,) and products of two
        (n * n,); of each octave the weight (1,) and its squares (1,), products (n * n,), and for
        each lag products of wide bands (m * m,); of the rest as of the whole.
    """
    bands: FloatArray = _times(log_mels, _averages(log_mels.shape[2], N_BANDS))
    wide = _averages(bands.shape[2], N_WIDE_BANDS)
    sums: list[FloatArray] = _sums_of_bands(bands, weights)
    for _ in range(N_OCTAVES):
        smooth = _smooth(bands)
        octave = bands - smooth
        sums += [weights.sum(1, keepdims=True), (weights**2).sum(1, keepdims=True)]
        sums.append(_products(octave, weights))
        grouped = _times(octave, wide)
        sums += [_products(grouped, weights, lag) for lag in LAGS]
        bands = smooth[:, ::2]
        # Every step counts for two, but an odd last one.
        even = weights[:, : weights.shape[1] // 2 * 2].reshape(len(weights), -1, 2).sum(2)
        weights = np.concatenate((even, weights[:, even.shape[1] * 2 :]), axis=1)
    sums += _sums_of_bands(bands, weights)
    return np.concatenate(sums, axis=1, dtype=np.float64)


def _sums_of_bands(bands: FloatArray, weights: FloatArray) -> list[FloatArray]:
    # Bands may be far from zero, and change little: single precision would be too coarse.
    exact, weights = bands.astype(np.float64), weights.astype(np.float64)
    return [
        weights.sum(1, keepdims=True),
        (exact * weights[:, :, None]).sum(1),
        _products(exact, weights),
    ]


def _times(bands: FloatArray, group: FloatArray) -> FloatArray:
    """Return averages of bands, (n_hearings, n_steps, n_averages)."""
    averages = np.empty((*bands.shape[:2], group.shape[1]), bands.dtype)
    step = _MOST_PRODUCTS // group.size
    for start in range(0, bands.shape[1], step):
        end = start + step
        np.matmul(bands[:, start:end], group, out=averages[:, start:end])
    return averages


def _products(bands: FloatArray, weights: FloatArray, lag: int = 0) -> FloatArray:
    """Return sums of products of every band and every band `lag` steps later, (n_hearings, n * n).

    A pair of steps weighs the geometric mean of both.
    """
    n_pairs = max(0, bands.shape[1] - lag)
    if lag:
        weights = np.sqrt(weights[:, :n_pairs] * weights[:, lag:])
    earlier = (bands[:, :n_pairs] * weights[:, :, None]).transpose(0, 2, 1)
    later = bands[:, lag:]
    step = _MOST_PRODUCTS // bands.shape[2] ** 2
    total = earlier[:, :, :step] @ later[:, :step]
    for start in range(step, n_pairs, step):
        total += earlier[:, :, start : start + step] @ later[:, start : start + step]
    return total.reshape(len(total), -1)


def _smooth(bands: FloatArray) -> FloatArray:
    """Average five steps around every one, by 1, 4, 6, 4 and 1; the first and last go on."""
    first, last = bands[:, :1], bands[:, -1:]
    padded = np.concatenate((first, first, bands, last, last), axis=1)
    threes = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    smooth: FloatArray = (threes[:, :-2] + 2 * threes[:, 1:-1] + threes[:, 2:]) / 16
    return smooth


@functools.cache
def _averages(n: int, n_averages: int) -> npt.NDArray[np.float32]:
    """Return what averages neighbouring bands, (n, min(n, n_averages))."""
    n_averages = min(n, n_averages)
    group = np.arange(n) * n_averages // n == np.arange(n_averages)[:, None]
    return (group / group.sum(1, keepdims=True)).T.astype(np.float32)


def texture_blocks(sums: DoubleArray) -> list[DoubleArray]:
    """Return what describes the texture of clips.

    Parameters
    ----------
    sums : ndarray of shape (n_clips, n_sums)
        As `texture_sums` gives them, of all blocks of each clip.

    Returns
    -------
    list of ndarray
        With ``n`` bands and ``m`` wide bands: the logarithm of how much every band is modulated, in
        each octave and more slowly, (n_clips, (N_OCTAVES + 1) * n); the correlations of all pairs
        of bands, (n_clips, n * (n - 1) / 2); those of each octave side by side; and for each lag,
        those of every wide band with every one that much later, again of each octave,
        (n_clips, N_OCTAVES * m * m). A band that hardly changes is correlated with none, and what
        few steps of an octave tell of a correlation counts little.
    """
    n = next(n for n in range(1, N_BANDS + 1) if sum(_sizes(n)) == sums.shape[1])
    parts = np.split(sums, np.cumsum(_sizes(n))[:-1], axis=1)
    whole, rest = (_covariance(*three) for three in (parts[:3], parts[-3:]))
    modulations, correlations = [], []
    lagged: list[list[DoubleArray]] = [[] for _ in LAGS]
    pairs = (slice(None), *np.triu_indices(n, 1))
    group = _averages(n, N_WIDE_BANDS)
    for start in range(3, len(parts) - 3, 3 + len(LAGS)):
        weight, squares, *products = parts[start : start + 3 + len(LAGS)]
        # As many steps as there would be, if all of them weighed the same.
        n_steps = (weight**2 / squares)[:, :, None]
        trust = n_steps / (n_steps + _FEW_STEPS)
        # An octave has no mean: what is slow is in others.
        covariance, *later = (_square(product / weight) for product in products)
        modulations.append(_variance(covariance))
        correlations.append((trust * _correlation(covariance, covariance, _QUIET))[pairs])
        wide = group.T @ covariance @ group
        for of_lag, product in zip(lagged, later, strict=True):
            correlation = trust * _correlation(product, wide, _QUIET)
            of_lag.append(correlation.reshape(len(sums), -1))
    modulations.append(_variance(rest))
    return [
        0.5 * np.log(np.concatenate(modulations, axis=1) + _QUIET),
        _correlation(whole, whole, _UNCHANGING)[pairs],
        *(np.concatenate(found, axis=1) for found in (correlations, *lagged)),
    ]


def _sizes(n: int) -> list[int]:
    """Return the lengths of the sums that `texture_sums` puts side by side, for `n` bands."""
    of_bands, of_lag = [1, n, n * n], min(n, N_WIDE_BANDS) ** 2
    return [*of_bands, *[1, 1, n * n, *[of_lag] * len(LAGS)] * N_OCTAVES, *of_bands]


def _covariance(weight: DoubleArray, total: DoubleArray, products: DoubleArray) -> DoubleArray:
    mean = total / weight
    return _square(products / weight) - mean[:, :, None] * mean[:, None]


def _square(products: DoubleArray) -> DoubleArray:
    n = math.isqrt(products.shape[1])
    return products.reshape(-1, n, n)


def _variance(covariance: DoubleArray) -> DoubleArray:
    return np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0)


def _correlation(products: DoubleArray, covariance: DoubleArray, least: float) -> DoubleArray:
    """Return products, (n_clips, n, n), in units of deviations, each a little greater than it is.

    The pairs of steps that are missing at a lag, at the end, count as zero.
    """
    deviation = np.sqrt(_variance(covariance) + least)
    return products / (deviation[:, :, None] * deviation[:, None])
