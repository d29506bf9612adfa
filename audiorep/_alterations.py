"""Clips altered as another recording of the same thing might be, from which the read-out learns."""

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from audiorep._clips import Clips
from audiorep._embedding import Source
from audiorep._log_mels import levelled_blocks
from audiorep.nn import LogMel

# By how much frequencies rise, and how much faster all is: what is played faster by an eighth or by
# a quarter, and then stretched or compressed in time by a quarter.
_PLAYED = ((1.125, 0.9), (1.25, 1.5625), (1.125, 1.40625), (1.25, 1.0))
# Where a part of a clip begins and ends, as shares of the clip.
_PARTS = ((0.0, 0.7), (0.3, 1.0), (0.1, 0.9), (0.2, 0.8))


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
        One of each clip, levelled.
    """
    ways = [log_mel.played(*way) for way in _PLAYED]
    sources = []
    for turn, i in enumerate(which):
        way = ways[turn % len(ways)]
        n_frames = clips.check(i) // way.hop_length + 1
        sources.append(Source(n_frames, levelled_blocks(clips, i, way)))
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
