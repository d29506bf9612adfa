"""Resampling a waveform that comes in blocks, in bounded memory."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from audiorep._torchaudio import torchaudio

_FILTER_WIDTH = 16  # zero crossings of the windowed sinc on each side
_ROLLOFF = 0.99
# Above this the polyphase kernel outgrows memory (11127 Hz to 16000 Hz would take 700 MB), so the
# ratio of the rates is approximated, to two parts in 100,000 or better.
_LARGEST_FACTOR = 1000
# Timesteps that one matrix product makes of a stretch of the waveform, about: with more, most of
# its factors would be zero, as no filter reaches over the whole stretch.
_AT_ONCE = 32
_NOTHING = 1e-12  # factors below this are zeros that were rounded


@lru_cache(maxsize=64)
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
    """Resample a whole waveform of shape (n_timesteps,)."""
    filters = _filters(up, down)
    n_timesteps = ceil(len(waveform) * up / down)
    n_rows = max(1, ceil(n_timesteps / filters.n_made))
    n_padded = (n_rows - 1) * filters.step + filters.reach
    # Behind the waveform, too; or without its end, if nothing depends on that.
    n_behind = n_padded - filters.n_before - len(waveform)
    padded = nn.functional.pad(waveform, (filters.n_before, n_behind))
    parts = []
    for start, matrix in filters.parts:
        end = n_padded - filters.reach + start + len(matrix)
        parts.append(padded[start:end].unfold(0, len(matrix), filters.step) @ matrix)
    return torch.cat(parts, dim=1).flatten()[:n_timesteps]


class _Filters(NamedTuple):
    """Filters of a polyphase resampler, side by side in matrices."""

    parts: list[tuple[int, Tensor]]  # where a stretch begins, and (n_stretch, n_at_once) factors
    reach: int  # timesteps that all parts see together
    step: int  # timesteps from where they see to where they see next
    n_made: int  # timesteps that they make together
    n_before: int  # zeros before the waveform


@lru_cache(maxsize=8)
def _filters(up: int, down: int) -> _Filters:
    """Return the filters of torchaudio's resampler for matrix products.

    Its own convolution takes 2 to 8 times as long: it makes `up` timesteps of a stretch, however
    few these are, and of a stretch that is the same for all of them, where few are not zero.
    """
    with torch.inference_mode(False), torch.device("cpu"):
        resampler = torchaudio.transforms.Resample(
            down, up, lowpass_filter_width=_FILTER_WIDTH, rolloff=_ROLLOFF, dtype=torch.float32
        )
        kernel = resampler.kernel[:, 0]  # (up, width)
        width = kernel.shape[1]
        n_periods = max(1, _AT_ONCE // up)
        reach = (n_periods - 1) * down + width
        wide = torch.zeros(n_periods, up, reach)
        for i in range(n_periods):
            wide[i, :, i * down : i * down + width] = kernel
        wide = wide.flatten(0, 1)
        parts = []
        for few in np.array_split(np.arange(len(wide)), max(1, round(len(wide) / _AT_ONCE))):
            rows = wide[few[0] : few[-1] + 1]
            # A window closes the sinc; what is left beyond is rounding noise.
            within = (rows.abs().amax(0) > _NOTHING).nonzero()
            start, end = int(within[0]), int(within[-1]) + 1
            parts.append((start, rows[:, start:end].T.contiguous()))
    return _Filters(parts, reach, n_periods * down, n_periods * up, resampler.width)
