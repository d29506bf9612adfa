"""Pooling windows equals pooling the clip at once, each frame by what it counts."""

import numpy as np
import pytest
import torch

from audiorep._log_mels import iter_windows
from audiorep._pooling import filter_correlations, window_sums


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pooled(clip, shares, width, n_parts=None):
    """Pool a clip of which every frame is a position, cut into windows side by side."""
    windows = list(iter_windows([torch.cat((clip, shares))], width, width))
    stacked = torch.stack([window.log_mel for window in windows])
    maps, of_windows = stacked.split([len(clip), len(shares)], dim=1)
    sums = window_sums([maps], of_windows, n_parts or [len(shares)])
    of_clip = sums.of_clips(1)
    for i in range(len(windows)):
        of_clip.add(0, sums, i)
    return of_one_clip(of_clip)


def of_one_clip(sums):
    return [block[0] for block in sums.blocks()]


def shares_of_thirds(n_frames):
    return torch.eye(3).repeat_interleave(n_frames // 3, dim=1)


def contour_of(parts, mean):
    """Return how parts, (n_parts, n_channels), differ from the whole, for small differences too."""
    difference = np.asarray(parts) - mean
    difference /= np.sqrt((difference**2).mean(axis=1, keepdims=True) + 0.08**2)
    n = len(parts)
    along = (np.arange(n) + 0.5) / n
    cosines = [np.cos(np.pi * k * along) * np.sqrt(2 / n) for k in (1, 2, 3)[: n - 1]]
    return np.array([cosine @ difference for cosine in cosines]).ravel()


@pytest.mark.parametrize("n_frames", [24, 240])
def test_with_equal_weights_they_are_the_plain_statistics(n_frames):
    clip = random(5, n_frames)
    x = clip.double().numpy()
    deviation, change, mean, contour = pooled(clip, shares_of_thirds(n_frames), 24)
    np.testing.assert_allclose(deviation, np.log(np.hypot(x.std(1), 0.1)), atol=1e-6)
    np.testing.assert_allclose(mean, x.mean(1), atol=1e-6)
    parts = [part.mean(axis=1) for part in np.split(x, 3, axis=1)]
    np.testing.assert_allclose(contour, contour_of(parts, x.mean(1)), atol=1e-5)
    # Changes across the border of two windows are not seen.
    steps = np.abs(np.diff(x, axis=1))
    inside = np.arange(1, n_frames) % 24 != 0
    np.testing.assert_allclose(change, steps[:, inside].mean(axis=1), atol=1e-6)


def test_a_frame_counts_as_its_shares_say():
    clip, shares = random(5, 12), random(2, 12, seed=1).abs()
    x, w = clip.double().numpy(), shares.double().numpy()
    deviation, change, mean, contour = pooled(clip, shares, 12)
    whole = w.sum(0)
    expected = np.average(x, axis=1, weights=whole)
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    variance = np.average((x.T - expected) ** 2, axis=0, weights=whole)
    np.testing.assert_allclose(deviation, np.log(np.sqrt(variance + 0.01)), atol=1e-6)
    both = np.sqrt(whole[1:] * whole[:-1])
    np.testing.assert_allclose(
        change, np.average(np.abs(np.diff(x)), axis=1, weights=both), atol=1e-6
    )
    parts = [np.average(x, axis=1, weights=part) for part in w]
    np.testing.assert_allclose(contour, contour_of(parts, expected), atol=1e-5)


def test_a_contour_tells_the_same_whatever_its_size():
    rising = torch.linspace(-1, 1, 24)[None] * torch.tensor([[1.0], [-2.0]])
    *_, little = pooled(3 + rising, shares_of_thirds(24), 24)
    *_, much = pooled(5 + 4 * rising, shares_of_thirds(24), 24)
    np.testing.assert_allclose(little, much, atol=0.02)
    falls, bends = little.reshape(2, 2)  # by each cosine, of each channel
    assert falls[0] < -0.5
    np.testing.assert_allclose(falls[1], -2 * falls[0], rtol=1e-5)
    np.testing.assert_allclose(bends, 0, atol=1e-5)


@pytest.mark.parametrize(("n_parts", "n_cosines"), [(2, 1), (3, 2), (4, 3), (6, 3)])
def test_a_contour_has_no_more_than_three_cosines(n_parts, n_cosines):
    clip, shares = random(5, 12), torch.eye(n_parts).repeat_interleave(12 // n_parts, dim=1)
    *_, contour = pooled(clip, shares, 12)
    assert contour.shape == (5 * n_cosines,)
    x = clip.double().numpy()
    parts = [part.mean(axis=1) for part in np.split(x, n_parts, axis=1)]
    np.testing.assert_allclose(contour, contour_of(parts, x.mean(1)), atol=1e-5)


def test_a_position_has_the_shares_of_its_frames():
    coarse, shares = random(5, 4), random(2, 12, seed=1).abs()
    window = window_sums([coarse[None]], shares[None], [2])
    fine = pooled(coarse.repeat_interleave(3, dim=1), shares, 12)
    for of_positions, of_frames in zip(of_one_clip(window), fine, strict=True):
        if of_frames is not fine[1]:  # changes are told from position to position
            np.testing.assert_allclose(of_positions, of_frames, atol=1e-5)


def test_frames_without_a_share_have_no_say():
    clip, shares = random(5, 10) - 10, torch.ones(1, 10)
    for padded, plain in zip(pooled(clip, shares, 24), pooled(clip, shares, 10), strict=True):
        np.testing.assert_allclose(padded, plain, atol=1e-5)


def test_one_position_does_not_change():
    deviation, *others, contour = pooled(torch.tensor([[3.0]]), torch.full((2, 1), 0.5), 4)
    assert deviation.item() == pytest.approx(np.log(0.1))
    assert [block.item() for block in others] == [0, 3]
    assert contour.tolist() == [0.0]


def test_every_weighting_has_its_own_statistics_and_those_of_one_part_no_contour():
    clip, shares = random(5, 12), random(4, 12, seed=1).abs()
    first, second = pooled(clip, shares[:3], 6), pooled(clip, shares[3:], 6)
    assert len(second) == 3
    together = pooled(clip, shares, 6, n_parts=[3, 1])
    assert len(together) == 7
    for a, b in zip(together, first + second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_several_maps_are_reduced_side_by_side():
    maps = [random(2, n, 12 // step) for n, step in ((5, 1), (2, 3))]
    shares = random(2, 3, 12, seed=2).abs()
    together = window_sums(maps, shares, [2, 1]).blocks()
    one_by_one = [block for each in maps for block in window_sums([each], shares, [2, 1]).blocks()]
    assert len(together) == len(one_by_one) == 14
    for a, b in zip(together, one_by_one, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_mean_of_a_map_is_that_of_the_first_weighting():
    maps = [random(2, n, 12) for n in (5, 2)]
    sums = window_sums(maps, random(2, 3, 12, seed=2).abs(), [2, 1])
    blocks = sums.blocks()
    for i in range(2):
        np.testing.assert_allclose(sums.mean(i), blocks[7 * i + 2])


def test_filters_that_answer_in_the_same_bands_are_correlated():
    one, other = np.array([0.0, 9.0, 0.0, 0.0]), np.array([0.0, 0.0, 4.0, 0.0])
    clip = np.stack((one, 1 + 2 * one, other, -one, np.full(4, 3.0)))
    found = filter_correlations(clip.reshape(1, -1), n_filters=5)[0]
    expected = np.corrcoef(clip[:4])[np.triu_indices(4, 1)]
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    of_others = [k for k, pair in enumerate(pairs) if 4 not in pair]
    np.testing.assert_allclose(found[of_others], expected, atol=2e-3)
    # A filter that answers in all bands alike is correlated with none.
    np.testing.assert_array_equal(np.delete(found, of_others), 0)


def test_what_filters_do_together_is_the_same_wherever_it_is():
    low, high = np.zeros((2, 1, 3, 4))
    low[0, :, 0], high[0, :, 2] = [1.0, 2.0, 5.0], [1.0, 2.0, 5.0]
    tell = [filter_correlations(clip.reshape(1, -1), 3) for clip in (low, high)]
    np.testing.assert_allclose(*tell)


def test_a_filter_that_hardly_varies_counts_little():
    mean = random(1, 8).double().numpy()
    mean[:, 4:] = 1 + 1e-3 * mean[:, 4:]
    assert abs(filter_correlations(mean, 2).item()) < 0.05


def test_of_many_filters_the_first_are_compared():
    mean = random(3, 128 * 4).double().numpy()
    found = filter_correlations(mean, 128)
    np.testing.assert_array_equal(found, filter_correlations(mean[:, : 64 * 4], 64))
    assert found.shape == (3, 64 * 63 // 2)


def test_correlations_of_a_clip_do_not_depend_on_its_company():
    mean = random(20, 64 * 4).double().numpy()
    together = filter_correlations(mean, 64)
    for i in (0, 7, 19):
        np.testing.assert_array_equal(filter_correlations(mean[i : i + 1], 64)[0], together[i])
