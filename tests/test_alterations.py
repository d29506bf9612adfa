"""Clips as another recording of the same might be."""

import math

import numpy as np
import pytest
import torch

from audiorep._alterations import choose_clips, cut_short, halved, played_otherwise
from audiorep._clips import Clips
from audiorep.nn import LogMel

TIME = np.arange(16000, dtype=np.float32) / 16000


def tone(frequency):
    return np.sin(2 * math.pi * frequency * TIME)


def joined(source):
    return torch.cat(list(source.blocks), dim=1)


def test_clips_are_played_in_other_ways_in_turn():
    """Every way differs from all others in pitch or tempo, and none is that of the clip."""
    clips = Clips([tone(100), *[tone(800)] * 5], 16000)
    sources = played_otherwise(clips, range(1, 6), LogMel())
    heard = [joined(source) for source in sources]
    assert [source.n_frames for source in sources] == [block.shape[1] for block in heard]
    peaks = [int(block.float().mean(1).argmax()) for block in heard]
    ways = list(zip(peaks, [block.shape[1] for block in heard], strict=True))
    assert len(set(ways[:4])) == 4
    assert ways[4] == ways[0]
    as_it_is = int(LogMel()(torch.from_numpy(tone(800))).mean(1).argmax())
    assert min(peaks) > as_it_is


def test_a_clip_of_one_timestep_can_be_played_otherwise():
    clips = Clips([np.ones(1, np.float32)] * 4, 16000)
    for source in played_otherwise(clips, range(4), LogMel()):
        assert joined(source).shape == (64, 1)


def test_blocks_are_cut_one_by_one_in_turn():
    frames = torch.arange(100.0)[None].repeat(3, 1)
    sources = cut_short([[frames, frames[:, :10]]] * 5)
    parts = [[(int(block[0, 0]), int(block[0, -1])) for block in s.blocks] for s in sources]
    assert parts[0] == [(0, 69), (0, 6)]
    assert parts[1] == [(30, 99), (3, 9)]
    assert parts[2] == [(10, 89), (1, 8)]
    assert parts[3] == [(20, 79), (2, 7)]
    assert parts[4] == parts[0]
    assert [source.n_frames for source in sources] == [77, 77, 88, 66, 77]


def test_halves_are_equally_loud_and_come_in_turn():
    """Loud frames are twice as loud as others; silence hardly counts."""
    frames = torch.zeros(2, 100)
    frames[:, 40:60] = 5.0
    frames[:, 60:70] = 10.0
    frames[1] += 0.5 * torch.arange(100) / 100
    sources = halved([[frames, frames[:, 40:60]]] * 3)
    parts = [[block.shape[1] for block in s.blocks] for s in sources]
    assert torch.equal(torch.cat((sources[0].blocks[0], sources[1].blocks[0][:, 1:]), 1), frames)
    assert 57 < parts[0][0] < 63
    assert parts[0][0] + parts[1][0] == 101
    assert parts[0][1] in (10, 11)
    assert parts[2] == parts[0]
    assert [source.n_frames for source in sources] == [sum(of_blocks) for of_blocks in parts]


@pytest.mark.parametrize("alter", [cut_short, halved])
@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_of_a_click_something_is_left(alter, n_frames):
    for source in alter([[torch.zeros(2, n_frames)]] * 4):
        assert 1 <= joined(source).shape[1] == source.n_frames <= n_frames


def test_clips_of_more_than_a_minute_are_played_in_blocks():
    rng = np.random.default_rng(0)
    clips = Clips([rng.normal(size=1000 * 130).astype(np.float32)], 1000)
    (source,) = played_otherwise(clips, [0], LogMel(1000, 128, 40, 16))
    lengths = [block.shape[1] for block in source.blocks]
    assert len(lengths) == 3
    assert sum(lengths) == source.n_frames == 130000 // 36 + 1


@pytest.mark.parametrize(
    ("n_clips", "n_frames", "n_chosen"),
    [(2, 50, 2), (320, 500, 320), (5000, 40, 1024), (900, 6000, 174), (500, 360000, 16)],
)
def test_many_clips_or_long_ones_are_not_all_altered(n_clips, n_frames, n_chosen):
    """But clips from the first to the last, each once."""
    chosen = choose_clips(np.full(n_clips, n_frames))
    assert len(set(chosen)) == len(chosen) == n_chosen
    assert (chosen[0], chosen[-1]) == (0, n_clips - 1)
