"""Pooling windows equals pooling the clip at once."""

import numpy as np
import pytest
import torch

from audiorep._log_mels import Window, iter_windows
from audiorep._pooling import position_parts, window_statistics


def pooled(clip, width, n_parts):
    """Pool a clip of which every frame is a position, cut into windows that do not overlap."""
    windows = list(iter_windows([clip], width, width))
    maps = torch.stack([window.log_mel for window in windows])
    parts = position_parts(windows, [clip.shape[1]] * len(windows), torch.arange(width), n_parts)
    first, *others = window_statistics(maps, parts)
    for other in others:
        first.add(other)
    return first.blocks()


@pytest.mark.parametrize("n_frames", [24, 240])
def test_equals_the_plain_statistics(n_frames):
    clip = torch.randn(5, n_frames, generator=torch.Generator().manual_seed(0))
    x = clip.double().numpy()
    std, maximum, change, parts = pooled(clip, 24, 3)
    np.testing.assert_allclose(std, x.std(1), atol=1e-6)
    np.testing.assert_allclose(maximum, x.max(1), atol=1e-6)
    np.testing.assert_allclose(
        parts, np.concatenate([part.mean(axis=1) for part in np.split(x, 3, axis=1)]), atol=1e-6
    )
    # Changes across the border of two windows are not seen.
    steps = np.abs(np.diff(x, axis=1))
    inside = np.arange(1, n_frames) % 24 != 0
    np.testing.assert_allclose(change, steps[:, inside].mean(axis=1), atol=1e-6)


def test_padding_has_no_say():
    clip = torch.randn(5, 10, generator=torch.Generator().manual_seed(0)) - 10
    for padded, plain in zip(pooled(clip, 24, 1), pooled(clip, 10, 1), strict=True):
        np.testing.assert_allclose(padded, plain, atol=1e-6)


def test_a_part_without_a_frame_takes_the_mean():
    clip = torch.tensor([[1.0, 3.0]])
    std, maximum, change, parts = pooled(clip, 2, 4)
    assert (std, maximum, change) == (1, 3, 2)
    assert parts.tolist() == [1.0, 2.0, 3.0, 2.0]


def test_positions_are_assigned_by_their_centre():
    window = Window(torch.zeros(1, 8), start=8, n_valid=5)
    parts = position_parts([window], [16], torch.tensor([0, 2, 4, 6]), n_parts=4)[0]
    # centred on 8, 10, 12, 14 of 16 frames; the clip ends 5 frames into the window
    assert parts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]
