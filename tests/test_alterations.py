"""Clips as another recording of the same might be."""

import math

import numpy as np
import pytest
import torch

from audiorep._alterations import cut_short, played_otherwise
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


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_of_a_click_something_is_left(n_frames):
    for source in cut_short([[torch.zeros(2, n_frames)]] * 4):
        assert 1 <= joined(source).shape[1] == source.n_frames <= n_frames
