"""How a clip is heard: which floors of silence it has, and how much each frame counts."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import Tensor

from audiorep._texture import average_bands

FloatArray = npt.NDArray[np.floating[Any]]

_NATS_PER_DECIBEL = math.log(10.0) / 10.0
_QUIETEST = 0.02  # what the quietest frame counts, beside the loudest
# Decibels below the loudest value: floors of what is there at all, of what the network hears, of
# the second texture, and of what stands out.
_LOWEST_FLOOR, _NETWORK_FLOOR, _TEXTURE_FLOOR, _PROMINENT = 80.0, 60.0, 50.0, 30.0
# How sharply dull frames are told from bright ones, and nats; tilts that differ less are alike.
_SHARPNESS, _SMALL_TILT = 8.0, 0.2


def level(log_mel: Tensor, dynamic_range: float = _LOWEST_FLOOR) -> Tensor:
    """Take away what depends on how loud a clip was recorded.

    Parameters
    ----------
    log_mel : Tensor of shape (n_mels, n_frames)
        Natural logarithm of power.
    dynamic_range : float, default=80.0
        What lies further than this below the loudest value, in decibels, is silence, and raised
        to that floor: digital zeros would otherwise dominate every statistic.

    Returns
    -------
    Tensor of shape (n_mels, n_frames)
        With mean zero.
    """
    # amax, for max copies what is transposed.
    floor = log_mel.amax() - dynamic_range * _NATS_PER_DECIBEL
    raised = torch.maximum(log_mel, floor)
    # Band by band: a mean over all would be rounded as threads share the sum.
    return raised - raised.mean(1).mean()


class Heard(NamedTuple):
    """Blocks of clips as they are heard."""

    log_mel: FloatArray  # (n_blocks, n_frames, n_mels), for the network
    shares: FloatArray  # (n_blocks, sum(part_counts(n_parts)), n_frames), what each frame counts
    textures: FloatArray  # (2, n_blocks, n_frames, n_mels), at two floors
    texture_weights: FloatArray  # (2, n_blocks, n_frames), what each frame counts there


def part_counts(n_parts: int) -> list[int]:
    """Return the parts that each weighting of the frames is cut into.

    The first two, by loudness and by what stands out, are cut (see `loudness_shares`); the others,
    of dull frames and of bright ones (see `tilt_weights`), are not.
    """
    return [n_parts, n_parts, 1, 1]


def hear(levelled: Tensor, n_parts: int, n_frames: npt.NDArray[np.intp] | None = None) -> Heard:
    """Listen to blocks of clips, each by itself.

    How a note decays and how quiet a voice is, tells much, and so does what is heard where hiss and
    hum are kept out; no single floor of silence shows both. The network has one in between, and
    textures, which cost little, have both: at the lower floor a frame counts by all that is in it,
    at the raised one by what stands out.

    Parameters
    ----------
    levelled : Tensor of shape (n_blocks, n_mels, n_frames)
        As `level` gives them, on the processor.
    n_parts : int
        As for `loudness_shares`.
    n_frames : ndarray of shape (n_blocks,), default=None
        How many frames each block has. Those behind them repeat the last one, and count for
        nothing. None means that all have as many.

    Returns
    -------
    Heard
    """
    # One layout always, for in another sums would be rounded otherwise.
    log_mel = np.ascontiguousarray(levelled.float().transpose(1, 2).numpy())
    depths = [_LOWEST_FLOOR, _TEXTURE_FLOOR, _PROMINENT, _NETWORK_FLOOR]
    loudest = log_mel.max((1, 2))
    floors = loudest - np.array(depths, np.float32)[:, None] * np.float32(_NATS_PER_DECIBEL)
    raised = np.maximum(log_mel, floors[:, :, None, None])
    inside = np.ones_like(log_mel[:, :, 0])
    if n_frames is not None:
        inside[:] = np.arange(inside.shape[1]) < n_frames[:, None]
    weights = _with_mean_one(_above(raised[:3:2], floors[:3:2], 1)[..., 0], inside)
    network = raised[3]
    shares = (
        *(loudness_shares(of_floor, n_parts) for of_floor in weights),
        tilt_weights(network, floors[3], inside),
    )
    mean = (average_bands(network, 1)[:, :, 0] * inside).sum(1) / inside.sum(1)
    return Heard(
        network - mean[:, None, None],  # as `heard_by_network`, but the maximum is known
        np.concatenate(shares, axis=1),
        raised[:2],
        weights.astype(np.float32),
    )


def heard_by_network(levelled: Tensor) -> Tensor:
    """Return the log-mel that the network hears of a block, (n_mels, n_frames), float32."""
    return level(levelled.float(), _NETWORK_FLOOR)


def frame_loudness(log_mel: FloatArray, dynamic_range: float) -> FloatArray:
    """Tell how loud every frame is, beside the others.

    Parameters
    ----------
    log_mel : ndarray of shape (n_frames, n_mels)
        Natural logarithm of power, float32.
    dynamic_range : float
        Loudness is the mean over the bands of how far they are above a floor this far below the
        loudest value, in decibels.

    Returns
    -------
    ndarray of shape (n_frames,)
        float64. Silence has 0.02 of what the loudest frame has; the mean is 1, so that of parts of
        a clip that were levelled apart none counts for more than others.
    """
    floor = log_mel.max() - np.float32(dynamic_range * _NATS_PER_DECIBEL)
    above = _above(np.maximum(log_mel, floor), floor, 1)[:, 0]
    return _with_mean_one(above, np.ones_like(above))


def _above(raised: FloatArray, floors: FloatArray, n_bands: int) -> FloatArray:
    """Return how far wide bands are above floors (...), (..., n_frames, n_bands), float64."""
    bands = average_bands(raised, n_bands).astype(np.float64)
    return bands - floors[..., None, None]


def _with_mean_one(weights: FloatArray, inside: FloatArray) -> FloatArray:
    """Let nothing be far below the greatest weight of a row, and make the mean of the row 1.

    What is not `inside`, where that is 0 instead of 1, has no weight.
    """
    weights = np.maximum(weights, _QUIETEST * weights.max(-1, keepdims=True)) * inside
    weights *= inside.sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
    return weights


def loudness_shares(loudness: FloatArray, n_parts: int) -> FloatArray:
    """Cut blocks into parts of equal loudness, and tell how much each frame counts in each.

    A frame counts as much as it is loud. Parts follow the sound rather than the clock: the silence
    before a word or behind it hardly counts, and a word that is spoken slowly has the same
    beginning, middle and end as one that is spoken fast.

    Parameters
    ----------
    loudness : ndarray of shape (..., n_frames)
        As `frame_loudness` gives it.
    n_parts : int
        Number of parts.

    Returns
    -------
    ndarray of shape (..., n_parts, n_frames)
        float32. The sum over parts is a frame's loudness, the sum over frames the same for every
        part: a frame on a border is divided.
    """
    loudness = loudness[..., None, :]
    end = loudness.cumsum(-1)
    border = np.arange(n_parts + 1)[:, None] * (end[..., -1:] / n_parts)
    until = np.minimum(end, border[..., 1:, :])
    since = np.maximum(end - loudness, border[..., :-1, :])
    return np.maximum(until - since, 0.0).astype(np.float32)


def tilt_weights(raised: FloatArray, floor: FloatArray, inside: FloatArray) -> FloatArray:
    """Tell dull frames from bright ones: how much each counts among either.

    Dull is a frame of which the lower half of the bands is further above the upper half than in
    the mean of the block. So vowels part from hisses and a stroke from its ring, whatever the
    recording is like as a whole.

    Parameters
    ----------
    raised : ndarray of shape (..., n_frames, n_mels)
        Natural logarithm of power, float32, nowhere below the floor.
    floor : ndarray of shape (...)
        That of silence, of each block.
    inside : ndarray of shape (..., n_frames)
        1 for the frames of a block, 0 for what is behind them.

    Returns
    -------
    ndarray of shape (..., 2, n_frames)
        float32: what a frame counts among the dull, and what among the bright. Loud frames count
        for more; each half of the bands has the same say. The mean of either is 1.
    """
    halves = _above(raised, floor, 2)
    low, high = halves[..., 0], halves[..., 1]
    loudness = _with_mean_one(low + high, inside)
    n_frames = inside.sum(-1, keepdims=True)
    tilt = low - high
    tilt -= (tilt * loudness).sum(-1, keepdims=True) / n_frames
    deviation = np.sqrt((tilt * tilt * loudness).sum(-1, keepdims=True) / n_frames)
    is_dull = expit(tilt * (_SHARPNESS / (deviation + _SMALL_TILT)))
    both = np.stack((is_dull, 1.0 - is_dull), axis=-2)
    return _with_mean_one(both * loudness[..., None, :], inside[..., None, :]).astype(np.float32)
