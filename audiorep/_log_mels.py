"""Log-mels of many clips: computing them, holding them compactly, cutting windows and crops."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiorep._clips import Clips
from audiorep._hearing import frame_loudness, level
from audiorep.nn import LogMel

_CHUNK = 1 << 16  # frames that are converted to double precision together
CROP_RANGE = 50.0  # decibels below the loudest value in which crops find a frame loud


def levelled_blocks(clips: Clips, i: int, log_mel: LogMel) -> Iterator[Tensor]:
    """Yield the log-mels of one clip in blocks of shape (n_mels, n_frames), float16.

    Each block is levelled (see `level`). A clip of up to a minute is one block, a longer one has
    equal blocks of a minute at most.

    Raises
    ------
    ValueError
        When the clip cannot be read or its power overflows.
    """
    for block in log_mel_blocks(clips, i, log_mel):
        yield level(block).half()


def log_mel_blocks(clips: Clips, i: int, log_mel: LogMel) -> Iterator[Tensor]:
    """Yield the log-mels of one clip as recorded, in blocks of shape (n_mels, n_frames).

    Raises
    ------
    ValueError
        When the clip cannot be read or its power overflows.
    """
    for block in log_mel.stream(clips.blocks(i)):
        _raise_if_infinite(clips, i, block)
        yield block


def levelled_together(clips: Clips, which: Sequence[int], log_mel: LogMel) -> list[list[Tensor]]:
    """Return what `levelled_blocks` yields of several clips, of which all are in memory.

    All are read, then all resampled, and so on: for words that takes much less time than to go from
    step to step with each, which seems to empty the processor's caches over and over.
    """
    log_mels = [list(log_mel.stream(blocks)) for blocks in clips.blocks_together(which)]
    for i, blocks in zip(which, log_mels, strict=True):
        for block in blocks:
            _raise_if_infinite(clips, i, block)
    return [[level(block).half() for block in blocks] for blocks in log_mels]


def _raise_if_infinite(clips: Clips, i: int, log_mel: Tensor) -> None:
    if not log_mel.sum().isfinite():  # a logarithm is either small or infinite
        raise ValueError(
            f"{clips.name(i)} is so loud that its power overflows; scale it to [-1, 1]."
        )


class Window(NamedTuple):
    """A stretch of one clip's log-mel, of the fixed width that backbones see."""

    log_mel: Tensor  # (n_rows, n_frames), rows as in the blocks; zeros behind the clip's end
    start: int  # frame of the clip where the window begins
    n_valid: int  # frames of the window that belong to the clip


def iter_windows(blocks: Iterable[Tensor], width: int, hop: int, grid: int = 1) -> Iterator[Window]:
    """Cut a clip that comes in blocks into windows.

    Windows start every `hop` frames, and overlap where that is less than `width`; the last one
    starts as soon as it reaches the clip's end from a multiple of `grid`, so it may overlap the
    one before, and fewer than `grid` frames of it are padding. A clip shorter than a window gives
    one window, padded behind its end.

    Parameters
    ----------
    blocks : iterable of Tensor of shape (n_mels, n_frames)
        Consecutive parts of one log-mel spectrogram.
    width : int
        Frames of a window.
    hop : int
        Frames from one window to the next, a multiple of `grid`.
    grid : int, default=1
        Windows start at multiples of this many frames.

    Yields
    ------
    Window
    """
    rest: Tensor | None = None
    first = 0  # frame of the clip where `rest` begins
    start = 0  # frame of the clip where the next window begins
    last = -1  # where the last window began
    for block in blocks:
        rest = block if rest is None else torch.cat((rest, block), dim=1)
        end = first + rest.shape[1]
        while start + width <= end:
            yield Window(rest[:, start - first : start - first + width], start, width)
            last, start = start, start + hop
        # The final window may begin up to `width` frames before the end.
        n_past = max(0, min(start - first, rest.shape[1] - width))
        rest, first = rest[:, n_past:], first + n_past
    if rest is None:
        return
    end = first + rest.shape[1]
    if last >= 0 and last + width >= end:
        return
    start = max(0, -(-(end - width) // grid) * grid)
    final = rest[:, start - first :]
    n_valid = final.shape[1]
    yield Window(torch.nn.functional.pad(final, (0, width - n_valid)), start, n_valid)


class _Joined:
    """Arrays joined in one that grows as they come.

    Where the system can let it grow in place, as Linux does, all are in memory but once. In a list,
    each would have a place of its own among short-lived ones, and memory would be left in pieces.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._held, self._end = np.zeros(0, dtype), 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Put rows, of shape (n_rows, ...), behind those that are there."""
        if not self._end:
            self._held = np.zeros((0, *rows.shape[1:]), self._held.dtype)
        end = self._end + len(rows)
        if end > len(self._held):
            self._resize(end + end // 8)
        self._held[self._end : end] = rows
        self._end = end

    def rows(self) -> npt.NDArray[Any]:
        """Return what was joined; nothing may follow."""
        self._resize(self._end)
        return self._held

    def _resize(self, n_rows: int) -> None:
        self._held.resize((n_rows, *self._held.shape[1:]), refcheck=False)


class LogMels:
    """The log-mels of many clips in one float16 tensor.

    Parameters
    ----------
    clips : iterable of sequence of Tensor of shape (n_mels, n_frames)
        Of each clip, the parts that were levelled apart, of any lengths. They are let go, clip
        by clip.
    """

    def __init__(self, clips: Iterable[Sequence[Tensor]]) -> None:
        self.block_lengths: list[list[int]] = []
        frames, loudness = _Joined(np.float16), _Joined(np.int64)
        for blocks in clips:
            self.block_lengths.append([block.shape[1] for block in blocks])
            for block in blocks:
                # Frames come first, so that cutting a crop is one gather of rows.
                rows = block.half().T.contiguous()
                frames.append(rows.numpy())
                of_frames = frame_loudness(rows.float().numpy(), CROP_RANGE)
                # In whole numbers: long sums stay exact.
                loudness.append(np.rint(1000 * of_frames).astype(np.int64))
        self.lengths = torch.tensor([sum(lengths) for lengths in self.block_lengths])
        self.starts = torch.cumsum(self.lengths, 0) - self.lengths
        self.frames = torch.from_numpy(frames.rows())
        # Loudness up to and with every frame.
        heard = loudness.rows()
        self.heard = torch.from_numpy(np.cumsum(heard, out=heard))

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device) -> "LogMels":
        """Move to a device, in place."""
        self.lengths, self.starts = self.lengths.to(device), self.starts.to(device)
        self.frames, self.heard = self.frames.to(device), self.heard.to(device)
        return self

    def clip(self, i: int) -> Tensor:
        """Return the log-mel of clip `i`, of shape (n_mels, n_frames)."""
        start = int(self.starts[i])
        return self.frames[start : start + int(self.lengths[i])].T

    def blocks(self, i: int) -> Sequence[Tensor]:
        """Return the log-mel of clip `i` in the parts that were levelled apart."""
        return torch.split(self.clip(i), self.block_lengths[i], dim=1)

    def mean_and_scale(self) -> tuple[float, float]:
        """Return mean and standard deviation over all values."""
        total, squares = 0.0, 0.0
        for start in range(0, len(self.frames), _CHUNK):
            values = self.frames[start : start + _CHUNK].cpu().double()
            total += float(values.sum())
            squares += float(values.square().sum())
        mean = total / self.frames.numel()
        variance = squares / self.frames.numel() - mean**2
        # A set of one value repeated has no spread; its rounding noise must not be blown up.
        return mean, max(variance, 1e-6) ** 0.5

    def crops(
        self, which: Tensor, first: Tensor, width: int, speed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cut one crop out of each of the clips `which`.

        Parameters
        ----------
        which : Tensor of shape (batch,)
            Positions of the clips.
        first : Tensor of shape (batch,)
            Frame of the clip where each crop begins.
        width : int
            Frames of a crop.
        speed : Tensor of shape (batch,), default=None
            Frames of the clip from one frame of the crop to the next; what lies in between is
            interpolated. None means 1.

        Returns
        -------
        crops : Tensor of shape (batch, n_mels, width)
            float32; behind the clip's end its last frame is repeated.
        n_valid : Tensor of shape (batch,)
            Frames of each crop that belong to the clip.
        """
        start, n_left = (self.starts[which] + first)[:, None], self.lengths[which] - first
        step, last = torch.arange(width, device=first.device), n_left[:, None] - 1
        if speed is None:
            rows = self.frames[start + torch.minimum(step, last)].float()
            return rows.transpose(1, 2), n_left.clamp(max=width)
        offset = step * speed[:, None]
        before = offset.long()
        rows = torch.lerp(
            self.frames[start + torch.minimum(before, last)].float(),
            self.frames[start + torch.minimum(before + 1, last)].float(),
            (offset - before)[:, :, None],
        )
        return rows.transpose(1, 2), (n_left / speed).ceil().long().clamp(max=width)

    def batches(
        self, batch_size: int, width: int, n_crops: int = 1, max_time_stretch: float = 0.0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield random crops of the clips in random order, epoch after epoch, for ever.

        Where in its clip a crop is, is drawn by loudness; see `random_crops`.

        Parameters
        ----------
        batch_size : int
            Clips of a batch; when there are fewer, a batch holds all.
        width : int
            Frames of a crop. Crops lie within their clip where that is long enough.
        n_crops : int, default=1
            Crops of every clip, drawn independently.
        max_time_stretch : float, default=0.0
            The duration of every crop is scaled by up to ``1 + max_time_stretch``, or down by as
            much, uniformly in the logarithm.

        Yields
        ------
        crops : Tensor of shape (n_crops * batch_size, n_mels, width)
            All first crops, then all second crops and so on; clips in the same order.
        n_valid : Tensor of shape (n_crops * batch_size,)
            Frames of each crop that belong to the clip.
        """
        for which in self.positions(batch_size):
            yield self.random_crops(which.repeat(n_crops), width, max_time_stretch)

    def positions(self, batch_size: int) -> Iterator[Tensor]:
        """Yield the positions of the clips of a batch, of shape (batch_size,), for ever.

        The order is random in each epoch; when there are fewer clips, a batch holds all.
        """
        device = self.lengths.device
        batch_size = min(batch_size, len(self))
        order = torch.randperm(len(self), device=device)
        while True:
            if len(order) < batch_size:
                # What is left of an epoch opens the next, and no clip is twice in a batch.
                others = torch.randperm(len(self), device=device)
                others = others[~torch.isin(others, order)]
                order = torch.cat((order, others, order))
            yield order[:batch_size]
            order = order[batch_size:]

    def random_crops(
        self,
        which: Tensor,
        width: int,
        max_time_stretch: float = 0.0,
        by_loudness: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Cut a crop out of each of the clips `which`, at random; see `batches` and `crops`.

        A crop is where a frame drawn by loudness is, anywhere in it: two crops of silence would
        teach nothing. With `by_loudness=False` it is anywhere in the clip.
        """
        limit = math.log1p(max_time_stretch)
        chance = torch.rand(3, len(which), device=which.device)
        speed = ((2 * chance[0] - 1) * limit).exp()
        # Whole frames, so that an unstretched crop is not interpolated.
        room = (self.lengths[which] - 1 - speed * (width - 1)).clamp_min(0).floor()
        if by_loudness:
            inside = self._draw_by_loudness(which, chance[2])
            first = (inside - chance[1] * speed * (width - 1)).round().clamp_min(0)
        else:
            first = (chance[1] * (room + 1)).floor()
        first = torch.minimum(first, room).long()
        return self.crops(which, first, width, speed if limit else None)

    def _draw_by_loudness(self, which: Tensor, chance: Tensor) -> Tensor:
        """Return a frame of each clip, (batch,), the sooner the louder it is."""
        start = self.starts[which]
        end = start + self.lengths[which]
        before = torch.where(start > 0, self.heard[start - 1], 0)
        whole = self.heard[end - 1] - before
        mark = before + torch.minimum((chance * whole).long(), whole - 1)
        return torch.searchsorted(self.heard, mark, right=True) - start
