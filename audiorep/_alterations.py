"""Clips altered as another recording of the same thing might be, from which the read-out learns."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from audiorep._clips import Clips
from audiorep._hearing import frame_loudness
from audiorep._log_mels import CROP_RANGE, levelled_blocks
from audiorep._sources import Source
from audiorep.nn import LogMel

# By what frequencies are multiplied, and how many times as fast all is: a clip is played faster by
# an eighth or by a quarter, which raises both, and its tempo then lowered or raised by 0.8 or 1.25.
_PLAYED = ((1.125, 0.9), (1.25, 1.5625), (1.125, 1.40625), (1.25, 1.0))
# Where a part of a clip begins and ends, as shares of the clip.
_PARTS = ((0.0, 0.7), (0.3, 1.0), (0.1, 0.9), (0.2, 0.8))
# Clips that are altered, and their frames in all, for they are held in memory; of clips of an hour
# there are few, but never fewer than this.
_MOST, _MOST_FRAMES, _FEWEST = 1024, 1 << 20, 16


def choose_clips(n_frames: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return the positions of clips that are to be altered, evenly spread.

    Parameters
    ----------
    n_frames : ndarray of shape (n_clips,)
        How long clips are.
    """
    affordable = max(_FEWEST, int(_MOST_FRAMES / n_frames.mean()))
    n_chosen = min(len(n_frames), _MOST, affordable)
    return np.linspace(0, len(n_frames) - 1, n_chosen).astype(np.intp)


def played_otherwise(clips: Clips, which: Iterable[int], log_mel: LogMel) -> list[Source]:
    """Return clips as if they were played at another pitch and tempo, which differ in turn.

    Another speaker has another voice and another pace, another instrument another register.

    Parameters
    ----------
    clips : Clips
    which : iterable of int
        Positions of the clips.
    log_mel : LogMel
        How clips are heard as they are.

    Returns
    -------
    list of Source
        One of each clip, levelled and in half precision.

    Raises
    ------
    ValueError or OSError
        When a clip cannot be read.
    """
    ways = [log_mel.played(*way) for way in _PLAYED]
    sources = []
    for turn, i in enumerate(which):
        blocks = list(levelled_blocks(clips, i, ways[turn % len(ways)]))
        sources.append(Source(sum(block.shape[1] for block in blocks), blocks))
    return sources


def cut_short(log_mels: Iterable[Sequence[Tensor]]) -> list[Source]:
    """Return parts of clips; which parts differs in turn.

    Where a recording begins and ends is mostly chance.

    Parameters
    ----------
    log_mels : iterable of sequence of Tensor of shape (n_mels, n_frames)
        Of each clip, the blocks that were levelled apart.

    Returns
    -------
    list of Source
        One of each clip, of which no block is empty.
    """
    sources = []
    for turn, blocks in enumerate(log_mels):
        begin, end = _PARTS[turn % len(_PARTS)]
        lengths = [block.shape[1] for block in blocks]
        parts = [
            block[:, int(begin * n) : math.ceil(end * n)]
            for block, n in zip(blocks, lengths, strict=True)
        ]
        sources.append(Source(sum(part.shape[1] for part in parts), parts))
    return sources


def halved(log_mels: Iterable[Sequence[Tensor]]) -> list[Source]:
    """Return halves of clips, equally loud, the first and the second in turn.

    What a recording is of is mostly heard in either half; what is said or played is not.

    Parameters
    ----------
    log_mels : iterable of sequence of Tensor of shape (n_mels, n_frames)
        Of each clip, the blocks that were levelled apart, each of which is halved.

    Returns
    -------
    list of Source
        One of each clip, of which no block is empty: the frame in the middle is in both halves.
    """
    sources = []
    for turn, blocks in enumerate(log_mels):
        halves = [_halves(block)[turn % 2] for block in blocks]
        sources.append(Source(sum(half.shape[1] for half in halves), halves))
    return sources


def _halves(block: Tensor) -> tuple[Tensor, Tensor]:
    loudness = frame_loudness(block.T.float().contiguous().numpy(), CROP_RANGE).cumsum()
    middle = int(np.searchsorted(loudness, loudness[-1] / 2))
    return block[:, : middle + 1], block[:, middle:]
