"""From log-mels to features with a trained module: windows, batches of one fixed shape, pooling."""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from itertools import chain, groupby, islice, pairwise
from operator import itemgetter
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiorep._hearing import hear, heard_by_network, part_counts
from audiorep._log_mels import Window, iter_windows
from audiorep._pooling import Sums, filter_correlations, window_sums
from audiorep._sources import ClipSources, Source
from audiorep._texture import BLOCK_WEIGHTS, DoubleArray, texture_blocks, texture_sums
from audiorep._threads import on_threads, one_blas_thread
from audiorep.nn import WindowEncoder

FloatArray = npt.NDArray[np.float32]
Positions = npt.NDArray[np.intp]
_Module = TypeVar("_Module", bound=WindowEncoder)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Windows that pass the module together, or half as many where they are twice as wide. The last
# batch is filled up, so that every product has the same shape and a clip's features never depend
# on its company, not even in the last bit. Of narrow windows there are no more than of others: a
# group of words would hardly fill a second batch.
_BATCH = 32
# Clips of a group, which one thread works on: many would leave threads idle and take memory (of
# short clips, beside long ones, there may be twice as many), and the last batches of few would be
# filled up in vain.
_MOST_CLIPS = 64
_FEWEST_CLIPS = 8
# Frames that are listened to together, in blocks of one length. Few words have the same, so that
# blocks of fewer frames than this are lengthened to a multiple of these.
_FRAMES_TOGETHER = 4096
_SHORT_BLOCK, _BLOCK_GRID = 128, 16
# What correlations of filters count for beside statistics of feature maps.
_FILTERS_WEIGHT = 2.0


class Batch(NamedTuple):
    """Windows of one or several clips."""

    owners: list[int]  # position of each window's clip; -1 where the batch was filled up
    windows: list[Window]

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return windows (n_windows, n_rows, width), float32, and valid frames (n_windows,)."""
        # Frames stay first in memory.
        log_mel = torch.stack([window.log_mel.T for window in self.windows]).transpose(1, 2)
        n_valid = torch.tensor([window.n_valid for window in self.windows])
        return log_mel.to(device).float(), n_valid.to(device)


def iter_batches(sources: Iterable[Source], width: int, hop: int, grid: int) -> Iterator[Batch]:
    """Cut clips into windows, as `iter_windows` does, in batches of one fixed size."""
    windows = (
        (owner, window)
        for owner, source in enumerate(sources)
        for window in iter_windows(source.blocks, width, hop, grid)
    )
    while group := list(islice(windows, _BATCH)):
        yield _batch(group, _BATCH)


def iter_fitting_batches(
    clips: Iterable[Iterable[Tensor]], module: WindowEncoder
) -> Iterator[Batch]:
    """Cut clips into windows side by side, of a width that suits each clip.

    They are twice as wide as those of training where a clip is longer than these, and two thirds
    as wide where one is so short that nothing is missed.

    Clips come in blocks. How long a clip is, is told by what is read of it; a header may err.
    """
    width = module.n_frames
    narrow = -(-2 * width // 3 // module.grid) * module.grid
    groups: dict[int, list[tuple[int, Window]]] = {narrow: [], width: [], 2 * width: []}
    sizes = {narrow: _BATCH, width: _BATCH, 2 * width: _BATCH // 2}
    for owner, of_clip in enumerate(clips):
        blocks = iter(of_clip)
        first = list(islice(blocks, 2))
        n_frames = first[0].shape[1] if len(first) == 1 else 2 * width
        if n_frames + module.n_beyond <= narrow:
            chosen = narrow
        else:
            chosen = width if n_frames <= width else 2 * width
        group = groups[chosen]
        for window in iter_windows(chain(first, blocks), chosen, chosen, module.grid):
            group.append((owner, window))
            if len(group) == sizes[chosen]:
                yield _batch(group, sizes[chosen])
                group.clear()
    for chosen, group in groups.items():
        if group:
            yield _batch(group, sizes[chosen])


def _batch(group: list[tuple[int, Window]], size: int) -> Batch:
    filled = [*group, *[(-1, group[-1][1])] * (size - len(group))]
    owners, windows = (list(column) for column in zip(*filled, strict=True))
    return Batch(owners, windows)


def iter_overlapping(module: WindowEncoder, sources: Iterable[Source]) -> Iterator[Batch]:
    """Cut clips into windows that suit a module, half a window apart."""
    width = module.n_frames
    hop = max(1, width // 2 // module.grid) * module.grid
    return iter_batches(sources, width, hop, module.grid)


def on_device(module: _Module, device: torch.device) -> _Module:
    """Return the module, or a copy where it has to move."""
    return module if device.type == "cpu" else copy.deepcopy(module).to(device)


class Pooled(NamedTuple):
    """Statistics over time of clips."""

    rows: FloatArray  # (n_clips, n_statistics)
    # Width of each statistic: of each depth and weighting, of filters, then of the textures.
    block_sizes: list[int]
    block_weights: list[float]  # how much each block counts


def pool_clips(
    module: WindowEncoder, sources: Iterable[Source], device: torch.device, n_parts: int
) -> Pooled:
    """Return the statistics over time of every clip; see `pool_groups`."""
    groups = pool_groups(module, sources, device, n_parts, lambda pooled: pooled)
    n_clips = sum(len(positions) for positions, _ in groups)
    _, sizes, weights = groups[0][1]
    rows = np.empty((n_clips, sum(sizes)), dtype=np.float32)
    while groups:  # each is let go, so that there are never two copies of all
        positions, of_group = groups.pop()
        rows[positions] = of_group.rows
    return Pooled(rows, sizes, weights)


def pool_groups(
    module: WindowEncoder,
    sources: ClipSources | Iterable[Source],
    device: torch.device,
    n_parts: int,
    finish: Callable[[Pooled], _Result],
) -> list[tuple[Positions, _Result]]:
    """Return what `finish` makes of the statistics of clips, group by group: of which, and what.

    Statistics are those over time of a clip's feature maps, correlations of filters of one map, and
    the texture of its log-mel. Of many clips together they would fill the memory. `finish` is
    called in the thread that works on the group.

    Windows are twice as wide as those of training, where a clip is longer than these: at the edge
    of a window, a map misses what is beyond. Of clips so short that nothing is missed, they are
    narrower. They stand side by side (but the last, which ends with the clip): overlap would double
    the work, and brought nothing on the folds of three sets on which it was tried.

    Groups of eight clips or more are worked on at the same time, on as many threads as torch has:
    threads that share the work on one small batch spend more time waiting for each other. Clips of
    one length are in one group, where they can be listened to together.
    """
    stopped = threading.Event()
    on_its_device = on_device(module, device)
    n_frames, take = _by_position(sources)

    def pool(group: Positions) -> tuple[Positions, _Result]:
        pooled = _pool_group(on_its_device, len(group), take(group), device, n_parts, stopped)
        return group, finish(pooled)

    with one_blas_thread():
        return _each(pool, _groups(n_frames), stopped)


def _by_position(
    sources: ClipSources | Iterable[Source],
) -> tuple[Sequence[int], Callable[[Positions], Iterable[Source]]]:
    """Return the lengths of clips, and what gives some of them by their positions."""
    if isinstance(sources, ClipSources):
        return sources.n_frames, sources.take
    listed = list(sources)
    return [source.n_frames for source in listed], lambda group: (listed[i] for i in group)


def _each(
    work: Callable[[_Item], _Result], items: list[_Item], stopped: threading.Event
) -> list[_Result]:
    """Work on all items, on as many threads as torch has; set `stopped` when one fails."""
    n_threads = torch.get_num_threads()
    n_workers = min(n_threads, len(items))
    if n_workers == 1:
        return list(map(work, items))
    with ThreadPoolExecutor(n_workers, "audiorep") as executor:
        on_its_threads = partial(on_threads, n_threads // n_workers, work)
        try:
            first = executor.submit(on_its_threads, items[0])
        except RuntimeError:  # the main thread has ended, and no executor takes work any more
            return list(map(work, items))
        others = [executor.submit(on_its_threads, item) for item in items[1:]]
        futures = (first, *others)
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            # A failure first, which must not wait for long groups before it.
            for future in done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            executor.shutdown(cancel_futures=True)
            raise


def _groups(n_frames: Sequence[int]) -> list[Positions]:
    """Sort clips into groups, the longest first, that keep threads busy and fill batches.

    Groups have about as many frames each, but none has very many clips.
    """
    n_rounds = -(-len(n_frames) // (_MOST_CLIPS * torch.get_num_threads()))
    n_groups = min(n_rounds * torch.get_num_threads(), -(-len(n_frames) // _FEWEST_CLIPS))
    lengths = np.array(n_frames, dtype=np.float64)
    order = (-lengths).argsort(kind="stable")
    groups: list[Positions] = []
    for start, end in equal_parts(lengths[order], n_groups):
        groups += np.array_split(order[start:end], -(-(end - start) // (2 * _MOST_CLIPS)))
    return groups


def equal_parts(n_frames: Sequence[int] | DoubleArray, n_parts: int) -> list[tuple[int, int]]:
    """Cut clips into consecutive parts of about as many frames, where each begins and ends."""
    lengths = np.array(n_frames, dtype=np.float64)
    # A clip is in the part in which its middle is; a long one may leave parts empty.
    middles = lengths.cumsum() - lengths / 2
    shares = lengths.sum() * np.arange(1, n_parts) / n_parts
    borders = np.searchsorted(middles, shares, side="right")
    parts = pairwise([0, *borders.tolist(), len(lengths)])
    return [(start, end) for start, end in parts if start < end]


def _pool_group(
    module: WindowEncoder,
    n_clips: int,
    sources: Iterable[Source],
    device: torch.device,
    n_parts: int,
    stopped: threading.Event,
) -> Pooled:
    textures = [np.float64(0.0)] * n_clips

    def listened() -> Iterator[tuple[int, Tensor]]:
        for alike in _alike(_blocks_until(stopped, sources)):
            owners, blocks = zip(*alike, strict=True)
            rows, sums = _listen(blocks, n_parts)
            for owner, of_block, of_texture in zip(owners, rows, sums, strict=True):
                textures[owner] = textures[owner] + of_texture
                yield owner, of_block

    heard = ((block for _, block in blocks) for _, blocks in groupby(listened(), itemgetter(0)))
    sums = _sums_of_clips(module, n_clips, heard, device, part_counts(n_parts))
    blocks = sums.blocks()
    block_weights = [1.0] * len(blocks)
    if module.banded_map is not None:
        i_map, n_filters = module.banded_map
        blocks.append(filter_correlations(sums.mean(i_map), n_filters))
        block_weights.append(_FILTERS_WEIGHT)
    for of_floor in np.stack(textures[: len(blocks[0])], axis=1):
        blocks += texture_blocks(of_floor)
        block_weights += BLOCK_WEIGHTS
    rows = np.concatenate(blocks, axis=1, dtype=np.float32)
    return Pooled(rows, [block.shape[1] for block in blocks], block_weights)


def _blocks_until(
    stopped: threading.Event, sources: Iterable[Source]
) -> Iterator[tuple[int, Tensor]]:
    """Yield the blocks of clips, with the clip's position, until another thread has failed."""
    for owner, source in enumerate(sources):
        for block in source.blocks:
            if stopped.is_set():
                return
            yield owner, block


def _listen(blocks: Sequence[Tensor], n_parts: int) -> tuple[list[Tensor], DoubleArray]:
    """Listen to blocks that are of one length when short ones are lengthened.

    Parameters
    ----------
    blocks : sequence of Tensor of shape (n_mels, n_frames)
    n_parts : int

    Returns
    -------
    rows : list of Tensor of shape (n_rows, n_frames)
        What the network hears of each block, with what each frame counts below it.
    sums : ndarray of shape (n_blocks, 2, ...)
        Of the texture of each block, at both floors.
    """
    n_frames = np.array([block.shape[1] for block in blocks])
    # Frames come first in memory, as they do in what `LogMel` gives.
    levelled = torch.stack([_lengthened(block.T) for block in blocks]).transpose(1, 2)
    heard = hear(levelled, n_parts, n_frames)
    textures, weights = (
        x.reshape(-1, *x.shape[2:]) for x in (heard.textures, heard.texture_weights)
    )
    sums = texture_sums(textures, weights, np.tile(n_frames, 2))
    rows = np.concatenate((heard.log_mel, heard.shares.transpose(0, 2, 1)), axis=2)
    by_block = sums.reshape(2, len(blocks), *sums.shape[1:]).swapaxes(0, 1)
    of_blocks = (of_block[:n] for of_block, n in zip(rows, n_frames, strict=True))
    return [torch.from_numpy(of_block).T for of_block in of_blocks], by_block


def _lengthened(block: Tensor) -> Tensor:
    """Repeat the last frame of a block, (n_frames, n_mels), as often as it takes."""
    n_more = _listening_length(len(block)) - len(block)
    return torch.cat((block, block[-1:].expand(n_more, -1))) if n_more else block


def _listening_length(n_frames: int) -> int:
    """Return at what length a block is listened to: by its own length alone."""
    return -(-n_frames // _BLOCK_GRID) * _BLOCK_GRID if n_frames < _SHORT_BLOCK else n_frames


def _sums_of_clips(
    module: WindowEncoder,
    n_clips: int,
    heard: Iterable[Iterable[Tensor]],
    device: torch.device,
    counts: list[int],
) -> Sums:
    """Sum up the feature maps of clips, window by window."""
    of_clips: Sums | None = None
    with torch.inference_mode():
        for batch in iter_fitting_batches(heard, module):
            windows, n_valid = batch.tensors(device)
            counted = _is_counted(batch, windows.shape[2]).to(device)
            log_mel, shares = windows.tensor_split([-sum(counts)], dim=1)
            maps = module.feature_maps(log_mel, n_valid)
            sums = window_sums(maps, shares * counted, counts)
            of_clips = of_clips or sums.of_clips(n_clips)
            for i, owner in enumerate(batch.owners):
                if owner >= 0:
                    of_clips.add(owner, sums, i)
    assert of_clips is not None
    return of_clips


def _alike(blocks: Iterable[tuple[int, Tensor]]) -> Iterator[list[tuple[int, Tensor]]]:
    """Put blocks together that follow each other and are listened to at one length.

    What is done to several at once takes less time, and less of the time in which only one thread
    can work.
    """
    for n_frames, alike in groupby(blocks, lambda pair: _listening_length(pair[1].shape[1])):
        n_blocks = max(1, _FRAMES_TOGETHER // n_frames)
        while together := list(islice(alike, n_blocks)):
            yield together


def _is_counted(batch: Batch, width: int) -> Tensor:
    """Tell which frames no window before has, (n_windows, 1, width).

    All windows but the last of a clip begin at a multiple of their width.
    """
    start = torch.tensor([window.start for window in batch.windows])
    return torch.arange(width) >= (-start % width)[:, None, None]


class ClipFrames(NamedTuple):
    """Features of one clip over time."""

    features: FloatArray  # (n_positions, n_channels)
    centres: FloatArray  # (n_positions,), in frames

    def between(self, begin: float, end: float) -> "ClipFrames":
        """Return those that are centred in an interval, its end excluded."""
        keep = (self.centres >= begin) & (self.centres < end)
        return ClipFrames(self.features[keep], self.centres[keep])


def clip_frames(
    module: WindowEncoder, sources: Iterable[Source], device: torch.device
) -> list[ClipFrames]:
    """Return the deepest feature map of each clip, joined over its windows.

    Where windows overlap, the cut is in the middle of what they share, far from both edges.
    """
    module = on_device(module, device)
    sources = (Source(n_frames, map(heard_by_network, blocks)) for n_frames, blocks in sources)
    width = module.n_frames
    parts: dict[int, list[ClipFrames]] = {}
    cuts: dict[int, float] = {}  # where the newest window ends, if it is not the last
    for batch in iter_overlapping(module, sources):
        with torch.inference_mode():
            deepest_map = module.deepest_map(*batch.tensors(device))
        deepest = deepest_map.transpose(1, 2).cpu().numpy()
        offsets = module.centres(deepest.shape[1]).numpy()
        for i, owner in enumerate(batch.owners):
            if owner < 0:
                break
            window = batch.windows[i]
            centres = window.start + offsets
            before = parts.setdefault(owner, [])
            begin = cuts.get(owner, 0.0)
            if before:  # which was not the last
                before[-1] = before[-1].between(0.0, begin)
            # A clip of a few frames keeps its first position, wherever its centre is.
            end = max(window.start + window.n_valid, centres[0] + 1e-6)
            frames = ClipFrames(deepest[i], centres.astype(np.float32))
            before.append(frames.between(begin, end))
            cuts[owner] = window.start + 0.75 * width
    return [
        ClipFrames(*(np.concatenate(column) for column in zip(*parts[i], strict=True)))
        for i in sorted(parts)
    ]
