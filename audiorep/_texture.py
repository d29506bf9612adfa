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


def texture_sums(
    log_mels: FloatArray, weights: FloatArray, n_frames: npt.NDArray[np.intp] | None = None
) -> DoubleArray:
    """Reduce log-mels over time to weighted sums, which those of other blocks can be added to.

    A pyramid takes the bands apart into octaves of modulation: what a smoothed band lacks is the
    first octave, every second step of it makes the next.

    Parameters
    ----------
    log_mels : ndarray of shape (n_hearings, n_frames, n_mels)
        Blocks of one length, each as heard in one way.
    weights : ndarray of shape (n_hearings, n_frames)
        How much each frame counts.
    n_frames : ndarray of shape (n_hearings,), default=None
        How many frames each has. Those behind them repeat the last one, and have no weight. None
        means that all have as many.

    Returns
    -------
    ndarray of shape (n_hearings, n_sums)
        With ``n`` bands and ``m`` wide bands: the weight (1,), bands (n,) and products of two
        (n * n,); of each octave the weight (1,) and its squares (1,), products (n * n,), and for
        each lag products of wide bands (m * m,), a pair of steps of which weighs the geometric mean
        of both; of the rest as of the whole.
    """
    bands = average_bands(log_mels, N_BANDS)
    sums: list[FloatArray] = _sums_of_bands(bands, weights)
    for _ in range(N_OCTAVES):
        smooth = _smooth(bands)
        # Of what is weighed by a root, products are weighed as they should be, at every lag.
        octave = (bands - smooth) * np.sqrt(weights)[:, :, None]
        grouped = average_bands(octave, N_WIDE_BANDS)
        sums += [weights.sum(1, keepdims=True), (weights * weights).sum(1, keepdims=True)]
        sums += [_products(octave, octave)]
        sums += [_products(grouped[:, :-lag], grouped[:, lag:]) for lag in LAGS]
        bands = smooth[:, ::2]
        if n_frames is not None:
            n_frames = (n_frames + 1) // 2
            bands = _with_last_repeated(bands, n_frames)
        # Every step counts for two, but an odd last one.
        after = weights[:, 1::2]
        weights = weights[:, ::2].copy()
        weights[:, : after.shape[1]] += after
    sums += _sums_of_bands(bands, weights)
    return np.concatenate(sums, axis=1, dtype=np.float64)


def _sums_of_bands(bands: FloatArray, weights: FloatArray) -> list[FloatArray]:
    # Bands may be far from zero, and change little: single precision would be too coarse.
    exact, weights = bands.astype(np.float64), weights.astype(np.float64)
    weighted = exact * weights[:, :, None]
    return [weights.sum(1, keepdims=True), weighted.sum(1), _products(weighted, exact)]


def average_bands(bands: FloatArray, n_averages: int) -> FloatArray:
    """Return averages of neighbouring bands.

    Parameters
    ----------
    bands : ndarray of shape (..., n_steps, n_bands)
    n_averages : int
        How many, at most.

    Returns
    -------
    ndarray of shape (..., n_steps, min(n_bands, n_averages))
    """
    group = _averages(bands.shape[-1], n_averages)
    averages = np.empty((*bands.shape[:-1], group.shape[1]), bands.dtype)
    step = max(1, _MOST_PRODUCTS // group.size)
    for start in range(0, bands.shape[-2], step):
        end = start + step
        np.matmul(bands[..., start:end, :], group, out=averages[..., start:end, :])
    return averages


def _products(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return sums over steps of products of every band and every other, (n_hearings, n * n)."""
    turned = left.transpose(0, 2, 1)
    step = _MOST_PRODUCTS // right.shape[2] ** 2
    total = turned[:, :, :step] @ right[:, :step]
    for start in range(step, right.shape[1], step):
        total += turned[:, :, start : start + step] @ right[:, start : start + step]
    return total.reshape(len(total), -1)


def _smooth(bands: FloatArray) -> FloatArray:
    """Average five steps around every one, by 1, 4, 6, 4 and 1; the first and last go on."""
    first, last = bands[:, :1], bands[:, -1:]
    smooth = np.concatenate((first, first, bands, last, last), axis=1)
    smooth *= 0.0625
    for _ in range(4):  # binomial: pairs of neighbours four times
        smooth = smooth[:, 1:] + smooth[:, :-1]
    return smooth


def _with_last_repeated(bands: FloatArray, n_steps: npt.NDArray[np.intp]) -> FloatArray:
    """Put the last step of each hearing in place of what is behind it."""
    if n_steps.min() == bands.shape[1]:
        return bands
    step = np.minimum(np.arange(bands.shape[1]), n_steps[:, None] - 1)
    return bands[np.arange(len(bands))[:, None], step]


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
