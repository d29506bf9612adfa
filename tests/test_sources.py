"""Clips on their way to features: the same log-mels, however many are read together."""

import numpy as np
import pytest
import soundfile
import torch

from audiorep import _sources
from audiorep._clips import Clips
from audiorep._log_mels import levelled_blocks
from audiorep._sources import ClipSources
from audiorep.nn import LogMel

RATE = 16000


@pytest.fixture
def clips(tmp_path):
    """Files at two rates, of one channel or two, and waveforms; one is longer than a minute."""
    rng = np.random.default_rng(0)
    items = []
    for i, seconds in enumerate([0.3, 0.7, 0.5, 61.0, 0.3, 0.001, 0.4]):
        rate = (RATE, 8000)[i % 2]
        waveform = rng.standard_normal((int(seconds * rate), 1 + i % 3 // 2)) / 4
        soundfile.write(tmp_path / f"{i}.wav", waveform, rate, subtype="FLOAT")
        items.append(tmp_path / f"{i}.wav")
    return Clips([*items, rng.standard_normal(5000).astype(np.float32)], RATE)


@pytest.fixture
def sources(clips):
    n_frames = [clips.check(i) // 160 + 1 for i in range(len(clips))]
    return ClipSources(clips, n_frames, LogMel())


@pytest.mark.parametrize("n_together", [1, 60, 4096, 1 << 20])
def test_log_mels_do_not_depend_on_what_is_read_with_them(sources, clips, monkeypatch, n_together):
    monkeypatch.setattr(_sources, "_SECONDS_TOGETHER", n_together / 100)
    order = [6, 3, 0, 7, 1, 5, 2, 4]
    taken = list(sources.take(order))
    assert [source.n_frames for source in taken] == [sources.n_frames[i] for i in order]
    for i, (n_frames, blocks) in zip(order, taken, strict=True):
        found, alone = list(blocks), list(levelled_blocks(clips, i, LogMel()))
        assert sum(block.shape[1] for block in found) == n_frames
        assert [block.dtype for block in found] == [torch.float16] * len(alone)
        assert all(map(torch.equal, found, alone))
        # In memory, too, or what follows would round otherwise.
        assert [block.stride() for block in found] == [block.stride() for block in alone]
    assert len(list(sources)) == len(sources)


def test_few_clips_are_read_ahead_and_long_ones_block_by_block(sources, clips, monkeypatch):
    monkeypatch.setattr(_sources, "_SECONDS_TOGETHER", 1.0)
    read = []
    read_of_clips = Clips._read

    def noted(self, i, file):
        for block in read_of_clips(self, i, file):
            read.append(i)
            yield block

    monkeypatch.setattr(Clips, "_read", noted)
    taken = sources.take(range(7))
    list(next(taken).blocks)
    assert read == [0]  # 31 frames, and the next has 71
    list(next(taken).blocks)
    list(next(taken).blocks)
    long = next(taken)
    assert read == [0, 1, 2]
    blocks = iter(long.blocks)
    next(blocks)
    assert read == [0, 1, 2, 3, 3]  # one block more, which tells that the clip goes on
    assert len(list(blocks)) == 1
    next(taken)
    assert read[5:] == [4, 5, 6]


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "contains NaN or infinity"), (1e30, "is so loud that its power overflows")],
)
def test_a_bad_clip_among_others_is_named(sources, clips, value, message):
    soundfile.write(clips.items[4], np.full(4800, value, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=rf"clip 4 \('.*4.wav'\) {message}"):
        list(sources.take([0, 1, 4, 5]))
    assert len(list(sources.take([0, 1, 5]))) == 3
