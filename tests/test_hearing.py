"""What of a clip is heard, and how much each of its frames counts."""

import math

import numpy as np
import pytest
import torch

from audiorep._hearing import (
    Heard,
    frame_loudness,
    hear,
    level,
    loudness_shares,
    part_counts,
    tilt_weights,
)

DECIBEL = math.log(10) / 10  # in nats


def random(n_frames, n_mels=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n_frames, n_mels)).astype(np.float32)


def hear_alone(levelled, n_parts):
    """Hear one block, and return what is heard of it without the axis of blocks."""
    log_mel, shares, textures, texture_weights = hear(levelled[None], n_parts)
    return Heard(log_mel[0], shares[0], textures[:, 0], texture_weights[:, 0])


def heard(decibels, n_parts=3):
    """Hear a clip of which each row is a band."""
    return hear_alone(level(torch.tensor(decibels) * DECIBEL), n_parts)


def below_the_loudest(log_mel):
    """Return how far values are below the loudest, in decibels, in ascending order."""
    return np.sort((log_mel.max() - log_mel).ravel()) / DECIBEL


def test_the_network_hears_down_to_sixty_decibels_and_textures_to_eighty_and_fifty():
    clip = heard([[0.0, -20.0, -45.0], [-55.0, -70.0, -90.0]])
    expected = [0, 20, 45, 55, 60, 60]
    assert below_the_loudest(clip.log_mel).tolist() == pytest.approx(expected, abs=1e-3)
    assert clip.log_mel.mean() == pytest.approx(0, abs=1e-5)
    low, raised = map(below_the_loudest, clip.textures)
    assert low.tolist() == pytest.approx([0, 20, 45, 55, 70, 80], abs=1e-3)
    assert raised.tolist() == pytest.approx([0, 20, 45, 50, 50, 50], abs=1e-3)


def test_frames_count_by_loudness_by_what_stands_out_and_as_dull_or_bright():
    clip = torch.from_numpy(8 * random(30).T)
    levelled = level(clip)
    log_mel, shares, _, texture_weights = hear_alone(levelled, 6)
    assert log_mel.shape == (30, 4)
    loudness, prominence, *tilts = np.split(shares, np.cumsum(part_counts(6))[:-1])
    for found, dynamic_range in ((loudness, 80.0), (prominence, 30.0)):
        expected = frame_loudness(levelled.T.numpy(), dynamic_range)
        np.testing.assert_allclose(found, loudness_shares(expected, 6), atol=1e-5)
    np.testing.assert_allclose(texture_weights, [loudness.sum(0), prominence.sum(0)], atol=1e-5)
    assert np.abs(loudness.sum(0) - prominence.sum(0)).max() > 0.1
    expected = tilt_weights(log_mel, log_mel.min(), np.ones(30, np.float32))
    np.testing.assert_allclose(np.concatenate(tilts), expected, atol=1e-4)


def test_frames_behind_a_block_count_for_nothing():
    lengths = np.array([40, 33, 1])
    blocks = [level(torch.from_numpy(8 * random(n, seed=n).T)) for n in lengths]
    lengthened = [torch.cat((b, b[:, -1:].expand(-1, 40 - b.shape[1])), dim=1) for b in blocks]
    together = hear(torch.stack(lengthened), 6, lengths)
    for i, (block, n) in enumerate(zip(blocks, lengths, strict=True)):
        log_mel, shares, textures, texture_weights = hear_alone(block, 6)
        np.testing.assert_allclose(together.log_mel[i, :n], log_mel, atol=1e-5)
        np.testing.assert_allclose(together.shares[i, :, :n], shares, atol=1e-5)
        np.testing.assert_allclose(together.shares[i, :, n:], 0.0, atol=1e-6)
        np.testing.assert_allclose(together.textures[:, i, :n], textures, atol=1e-5)
        np.testing.assert_allclose(together.texture_weights[:, i, :n], texture_weights, atol=1e-5)
        assert not together.texture_weights[:, i, n:].any()


def test_each_block_is_heard_by_itself():
    blocks = [
        level(torch.from_numpy(scale * random(301, 40, i).T)) for i, scale in enumerate((8, 1, 30))
    ]
    together = hear(torch.stack(blocks), 6)
    for i, block in enumerate(blocks):
        log_mel, shares, textures, texture_weights = hear_alone(block, 6)
        np.testing.assert_array_equal(together.log_mel[i], log_mel)
        np.testing.assert_array_equal(together.shares[i], shares)
        np.testing.assert_array_equal(together.textures[:, i], textures)
        np.testing.assert_array_equal(together.texture_weights[:, i], texture_weights)


def test_shares_are_loudness_cut_where_it_adds_up_to_a_part():
    decibels = np.array(
        [[0.0, -10.0, -20.0, -70.0, 0.0], [0.0, -50.0, -20.0, -90.0, -20.0]], np.float32
    )
    shares = loudness_shares(frame_loudness(decibels.T * np.float32(DECIBEL), 40.0), n_parts=2)
    # Above the floor are 40 + 40, 30 + 0, 20 + 20, 0 + 0 and 40 + 20 decibels.
    loudness = np.array([80.0, 30.0, 40.0, 0.02 * 80, 60.0])
    loudness /= loudness.mean()
    np.testing.assert_allclose(shares.sum(0), loudness, rtol=1e-5)
    half = loudness.sum() / 2
    assert shares.sum(1).tolist() == pytest.approx([half, half])
    np.testing.assert_allclose(shares[0, :2], [loudness[0], half - loudness[0]], rtol=1e-5)
    assert shares[0, 2:].tolist() == [0, 0, 0]


def test_silence_hardly_counts():
    word = 3 * random(30)
    silence = np.full((50, 4), word.min() - 10, np.float32)
    loudness = frame_loudness(np.concatenate((silence, word)), 30.0)
    np.testing.assert_allclose(loudness[:50] / loudness.max(), np.full(50, 0.02), rtol=1e-6)
    of_word = frame_loudness(word, 30.0)
    np.testing.assert_allclose(loudness[50:] / loudness.max(), of_word / of_word.max(), rtol=1e-5)


def test_a_slow_word_has_the_parts_of_a_fast_one():
    word = 3 * random(30)
    fast, slow = (
        loudness_shares(frame_loudness(np.repeat(word, n, axis=0), 30.0), 3)
        .reshape(3, 30, n)
        .mean(2)
        for n in (1, 2)
    )
    np.testing.assert_allclose(fast, slow, atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_shares_of_silence_are_equal(n_frames):
    clip = hear_alone(torch.zeros(4, n_frames), 6)
    loudness, prominence, *tilts = np.split(clip.shares, np.cumsum(part_counts(6))[:-1])
    for shares in (loudness, prominence):
        np.testing.assert_allclose(shares.sum(0), np.ones(n_frames), rtol=1e-5)
        np.testing.assert_allclose(shares.sum(1), np.full(6, n_frames / 6), rtol=1e-5)
    np.testing.assert_allclose(tilts, np.ones((2, 1, n_frames)), rtol=1e-5)


def tilted(n_dull, n_bright, steepness=20.0):
    """Frames whose lower bands are louder, then such whose upper bands are, as decibels."""
    slope = np.linspace(0.5, -0.5, 16, dtype=np.float32) * steepness
    return np.concatenate((np.tile(slope, (n_dull, 1)), np.tile(-slope, (n_bright, 1))))


def tilts_of(decibels):
    log_mel = decibels * np.float32(DECIBEL)
    inside = np.ones(len(log_mel), np.float32)
    return tilt_weights(log_mel, log_mel.max() - 60 * DECIBEL, inside)


@pytest.mark.parametrize(("n_dull", "n_bright"), [(10, 10), (30, 10)])
def test_dull_frames_count_among_the_dull_and_bright_ones_among_the_bright(n_dull, n_bright):
    dull, bright = tilts_of(tilted(n_dull, n_bright))
    for weights in (dull, bright):
        assert weights.mean() == pytest.approx(1)
    assert dull[n_dull:].max() < 0.05 * dull[:n_dull].min()
    assert bright[:n_dull].max() < 0.05 * bright[n_dull:].min()


def test_what_is_dull_is_so_beside_the_rest_of_the_clip():
    """A recording that is duller as a whole has the same dull frames."""
    clip = tilted(10, 10)
    muffled = clip + np.linspace(5, -5, 16, dtype=np.float32)
    np.testing.assert_allclose(tilts_of(clip), tilts_of(muffled), atol=0.02)


def test_where_nothing_differs_frames_are_dull_and_bright_alike():
    noise = tilted(20, 0) + 0.01 * random(20, 16)
    np.testing.assert_allclose(tilts_of(noise), np.ones((2, 20)), atol=0.1)


def test_loud_frames_count_more_among_their_like():
    clip = tilted(10, 10)
    clip[:5] -= 25
    dull, _ = tilts_of(clip)
    assert 1.3 * dull[:5].mean() < dull[5:10].mean()
