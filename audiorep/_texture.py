"""What a log-mel is like as a texture: how fast its bands rise and fall, and which do together."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

FloatArray = npt.NDArray[np.floating[Any]]
DoubleArray = npt.NDArray[np.float64]

N_BANDS = 16  # that mel bands are averaged to, at most
N_RATES = 6  # octaves of modulation, from changes within 2 frames to changes within 32
_QUIET = 0.02  # nats; rates with less than this are alike
_UNCHANGING = 0.01  # squared nats; the variance that a band has at least


def texture_sums(log_mel: Tensor, weight: Tensor, inside: Tensor) -> Tensor:
    """Reduce log-mels over time to weighted sums, which those of other windows can be added to.

    Parameters
    ----------
    log_mel : Tensor of shape (n_windows, n_mels, n_frames)
    weight : Tensor of shape (n_windows, n_frames)
        How much each frame counts: zero behind the clip's end, and where another window has it.
    inside : Tensor of shape (n_windows, n_frames)
        Which frames belong to the clip.

    Returns
    -------
    Tensor of shape (n_windows, n_sums)
        With ``n`` bands: the weight (1,), sums (n,) and products of two bands (n * n,); of every
        rate weight (1,) and squared differences (n,); of what is slower, weight (1,), sums (n,)
        and squares (n,).
    """
    steps = log_mel.transpose(1, 2) @ _averages(log_mel.shape[1]).to(log_mel.device)
    weighted = steps * weight[:, :, None]
    sums = [
        weight.sum(1, keepdim=True),
        weighted.sum(1),
        torch.bmm(weighted.transpose(1, 2), steps).flatten(1),
    ]
    inside = inside[:, :, None].to(steps.dtype)
    for _ in range(N_RATES):
        slower = _smooth(steps * inside) / _smooth(inside).clamp_min(1e-6)
        sums += [weight.sum(1, keepdim=True), _total(weight, (steps - slower).square())]
        steps, inside = slower[:, ::2], inside[:, ::2]
        even = nn.functional.pad(weight, (0, weight.shape[1] % 2))
        weight = even[:, ::2] + even[:, 1::2]
    sums += [weight.sum(1, keepdim=True), _total(weight, steps), _total(weight, steps.square())]
    return torch.cat(sums, dim=1)


def texture_blocks(sums: FloatArray) -> list[DoubleArray]:
    """Return what describes the texture of clips.

    Parameters
    ----------
    sums : ndarray of shape (n_clips, n_sums)
        As `texture_sums` gives them, of all windows of each clip.

    Returns
    -------
    list of ndarray
        The logarithm of how much each band changes at each rate, and of how much it changes more
        slowly, (n_clips, (1 + N_RATES) * n_bands); and the correlations of all pairs of bands,
        (n_clips, n_bands * (n_bands - 1) / 2). A band that hardly changes is correlated with none.
    """
    n = _n_bands(sums.shape[1])
    weight, total, products, *rates, slow_weight, slow, slow_squares = np.split(
        sums, np.cumsum([1, n, n * n, *[1, n] * N_RATES, 1, n]), axis=1
    )
    energies = [
        squares / np.where(of_rate > 0, of_rate, 1.0)
        for of_rate, squares in zip(rates[::2], rates[1::2], strict=True)
    ]
    slow_weight = np.where(slow_weight > 0, slow_weight, 1.0)
    energies.append(np.maximum(slow_squares / slow_weight - (slow / slow_weight) ** 2, 0.0))
    modulation = 0.5 * np.log(np.concatenate(energies, axis=1) + _QUIET**2)
    mean = total / weight
    covariance = (products / weight).reshape(-1, n, n) - mean[:, :, None] * mean[:, None]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    deviation = np.sqrt(np.maximum(variance, 0.0) + _UNCHANGING)
    first, second = np.triu_indices(n, 1)
    correlation = covariance[:, first, second] / (deviation[:, first] * deviation[:, second])
    return [modulation, correlation]


def _total(weight: Tensor, steps: Tensor) -> Tensor:
    return torch.bmm(weight[:, None], steps)[:, 0]


def _smooth(steps: Tensor) -> Tensor:
    """Average every step with two before and two behind it, (n_windows, n_steps, n_bands)."""
    padded = nn.functional.pad(steps, (0, 0, 2, 2))
    threes = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return (threes[:, :-2] + 2 * threes[:, 1:-1] + threes[:, 2:]) / 16


def _averages(n_mels: int) -> Tensor:
    """Return what averages neighbouring mel bands, (n_mels, n_bands)."""
    n = min(N_BANDS, n_mels)
    band = torch.arange(n_mels) * n // n_mels
    one_of = nn.functional.one_hot(band, n).float()
    return one_of / one_of.sum(0)


def _n_bands(n_sums: int) -> int:
    """Tell from the number of sums how many bands there are."""
    # n_sums = n * n + (N_RATES + 3) * n + N_RATES + 2
    half = (N_RATES + 3) / 2
    return round((half**2 + n_sums - N_RATES - 2) ** 0.5 - half)
