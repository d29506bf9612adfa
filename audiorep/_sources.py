"""Clips on their way to features: log-mels that are computed when they are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from audiorep._clips import Clips
from audiorep._log_mels import levelled_blocks, levelled_together
from audiorep.nn import LogMel

# Seconds of clips that are read together; longer clips are read alone, block by block.
_SECONDS_TOGETHER = 40.0


class Source(NamedTuple):
    """A clip on its way to features: its length in frames, and its log-mel in blocks.

    In pooling, rows below the log-mel say what each frame counts; see `Heard`.
    """

    n_frames: int
    blocks: Iterable[Tensor]


class ClipSources:
    """Clips that are not read yet: another process can do that, too.

    Parameters
    ----------
    clips : Clips
    n_frames : sequence of int
        Length of each clip, in frames.
    log_mel : LogMel
    """

    def __init__(self, clips: Clips, n_frames: Sequence[int], log_mel: LogMel) -> None:
        self.clips = clips
        self.n_frames = n_frames
        self.log_mel = log_mel

    def __len__(self) -> int:
        return len(self.n_frames)

    def __iter__(self) -> Iterator[Source]:
        return self.take(range(len(self)))

    def part(self, start: int, end: int) -> "ClipSources":
        """Return those from `start` to `end`, which is excluded; messages number all clips."""
        return ClipSources(self.clips.part(start, end), self.n_frames[start:end], self.log_mel)

    def take(self, positions: Iterable[int]) -> Iterator[Source]:
        """Yield clips in the order of `positions`; short ones are read several at a time."""
        for together in self._together(positions):
            if len(together) == 1:
                blocks: Iterable[Iterable[Tensor]] = [
                    levelled_blocks(self.clips, together[0], self.log_mel)
                ]
            else:
                blocks = levelled_together(self.clips, together, self.log_mel)
            for i, of_clip in zip(together, blocks, strict=True):
                yield Source(self.n_frames[i], of_clip)

    def _together(self, positions: Iterable[int]) -> Iterator[list[int]]:
        """Cut positions into those of clips that are read together."""
        n_most = _SECONDS_TOGETHER * self.clips.sample_rate / self.log_mel.hop_length
        together: list[int] = []
        n_frames = 0
        for i in positions:
            if together and n_frames + self.n_frames[i] > n_most:
                yield together
                together, n_frames = [], 0
            together.append(i)
            n_frames += self.n_frames[i]
        if together:
            yield together
