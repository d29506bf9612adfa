"""From log-mels to pooled statistics: what is heard, and in which order it comes out."""

import numpy as np
import pytest
import torch

from audiorep._embedding import Source, pool_clips
from audiorep._log_mels import at_two_floors, level
from audiorep.nn import WindowEncoder

CPU = torch.device("cpu")


class TwoMaps(WindowEncoder):
    """Its maps are the log-mels as they come, and the same upside down."""

    def __init__(self):
        super().__init__(n_frames=16, grid=4)

    def centres(self, n_positions):
        return torch.arange(n_positions)

    def feature_maps(self, log_mel, n_valid):
        return [log_mel, -log_mel]


def levelled(n_frames, seed=0):
    """A log-mel of some 100 decibels from the quietest to the loudest value."""
    generator = torch.Generator().manual_seed(seed)
    return level(4 * torch.randn(3, n_frames, generator=generator)).half()


def plain_statistics(log_mel):
    x = log_mel.double().numpy()
    return [x.std(1), x.max(1), np.abs(np.diff(x)).mean(1), x.mean(1)]


def test_blocks_are_those_of_the_lower_floor_then_of_the_raised_map_by_map():
    clip = levelled(16)
    pooled = pool_clips(TwoMaps(), [Source(16, [clip])], CPU, n_parts=1)
    low, raised = at_two_floors(clip).chunk(2)
    assert (low - raised).abs().max() > 1
    heard = [m for x in (low, raised) for m in (x, -x)]
    expected = [block for m in heard for block in plain_statistics(m)]
    assert pooled.block_sizes == [3] * len(expected)
    np.testing.assert_allclose(pooled.rows[0], np.concatenate(expected), atol=1e-5)


def test_the_raised_floor_is_that_of_a_block_not_of_the_clip_or_a_window():
    fading, quiet = levelled(32), levelled(32, seed=1) - 12  # 12 nats are 52 dB
    fading[:, 16:] -= 12
    pooled = pool_clips(TwoMaps(), [Source(64, iter([fading, quiet]))], CPU, n_parts=2)
    raised_means = pooled.rows[0, pooled.rows.shape[1] // 2 :][9:15].reshape(2, 3)
    for means, block in zip(raised_means, (fading, quiet), strict=True):
        expected = at_two_floors(block)[3:].float().mean(1)
        np.testing.assert_allclose(means, expected, atol=1e-5)


@pytest.mark.parametrize("n_frames", [5, 15, 17, 33, 40])
def test_every_frame_counts_whatever_the_length(n_frames):
    """A peak is heard wherever it is: the last window ends with the clip."""
    for where in (0, n_frames // 2, n_frames - 1):
        clip = torch.zeros(3, n_frames).half()
        clip[1, where] = 9
        pooled = pool_clips(TwoMaps(), [Source(n_frames, [clip])], CPU, n_parts=1)
        assert pooled.rows[0, 3:6].tolist() == [0, 9, 0]
