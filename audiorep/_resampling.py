"""Resampling a waveform that comes in blocks, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from math import ceil

import torch
from torch import Tensor

from audiorep._torchaudio import torchaudio

_FILTER_WIDTH = 16  # zero crossings of the windowed sinc on each side
_ROLLOFF = 0.99
# Above this the polyphase kernel outgrows memory (11127 Hz to 16000 Hz would take 700 MB), so the
# ratio of the rates is approximated, to two parts in 100,000 or better.
_LARGEST_FACTOR = 1000


def rate_ratio(rate: int, new_rate: int) -> Fraction:
    """Return the ratio ``new_rate / rate`` that `resample_blocks` uses."""
    ratio = Fraction(new_rate, rate)
    if max(ratio.numerator, ratio.denominator) <= _LARGEST_FACTOR:
        return ratio
    if ratio <= 1:
        return ratio.limit_denominator(_LARGEST_FACTOR)
    return 1 / (1 / ratio).limit_denominator(_LARGEST_FACTOR)


def resampled_length(n_timesteps: int, rate: int, new_rate: int) -> int:
    """Return how many timesteps `resample_blocks` makes of `n_timesteps`."""
    return ceil(n_timesteps * rate_ratio(rate, new_rate))


def resample_blocks(blocks: Iterable[Tensor], rate: int, new_rate: int) -> Iterator[Tensor]:
    """Resample consecutive blocks of one waveform.

    Parameters
    ----------
    blocks : iterable of Tensor of shape (n_timesteps,)
        Consecutive parts of one waveform.
    rate, new_rate : int
        Sample rate of the blocks and of the result, in hertz.

    Yields
    ------
    Tensor of shape (n_timesteps,)
        Consecutive parts of the resampled waveform: the same as if it had come in one block.
    """
    ratio = rate_ratio(rate, new_rate)
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        yield from blocks
        return
    # A multiple of `down` timesteps that covers the filter on one side of a block.
    reach = ceil(_FILTER_WIDTH * down / (min(up, down) * _ROLLOFF)) + down
    context = ceil(reach / down) * down
    past = pending = torch.zeros(0, dtype=torch.float32)
    held: Tensor | None = None
    for block in blocks:
        if held is not None:
            pending = torch.cat((pending, held))
            n_done = (len(pending) - context) // down * down
            if n_done > context:
                joined = torch.cat((past, pending[: n_done + context]))
                start = len(past) // down * up
                yield _resample(joined, up, down)[start : start + n_done // down * up]
                past = pending[n_done - context : n_done]
                pending = pending[n_done:]
        held = block
    # The last block goes with what the filter still waited for, so that one block stays one.
    if held is not None:
        joined = torch.cat((past, pending, held))
        yield _resample(joined, up, down)[len(past) // down * up :]


def _resample(waveform: Tensor, up: int, down: int) -> Tensor:
    resampled: Tensor = _resampler(up, down)(waveform)
    return resampled


@lru_cache(maxsize=8)
def _resampler(up: int, down: int) -> Callable[[Tensor], Tensor]:
    """Return the function that resamples; its kernel takes longer than a short clip."""
    with torch.inference_mode(False), torch.device("cpu"):
        resampler: Callable[[Tensor], Tensor] = torchaudio.transforms.Resample(
            down, up, lowpass_filter_width=_FILTER_WIDTH, rolloff=_ROLLOFF, dtype=torch.float32
        )
    return resampler
