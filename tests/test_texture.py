"""Textures: modulation is told by its rate, bands that change together by their correlation."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from audiorep._texture import BLOCK_WEIGHTS, LAGS, N_BANDS, N_OCTAVES, texture_blocks, texture_sums

FRAME_RATE = 100.0  # frames per second, of default parameters
FIRST, SECOND = np.triu_indices(16, 1)


def random(n_frames, n_mels=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n_frames, n_mels)).astype(np.float32)


def sums_of(log_mel, weight=None):
    weight = np.ones(len(log_mel), np.float32) if weight is None else weight
    return texture_sums(log_mel[None].astype(np.float32), weight[None])


def texture(log_mel, weight=None):
    """Return the blocks of one clip, with octaves first."""
    modulation, correlation, *of_octaves = (
        block[0] for block in texture_blocks(sums_of(log_mel, weight))
    )
    octaves = [block.reshape(N_OCTAVES, -1) for block in of_octaves]
    return modulation.reshape(N_OCTAVES + 1, -1), correlation, *octaves


def trembling(rate, n_frames=384):
    """Go up and down `rate` times per second."""
    time = np.arange(n_frames) / FRAME_RATE
    return np.sin(2 * np.pi * rate * time).astype(np.float32)


def test_fast_modulation_is_in_the_first_octaves_and_slow_in_the_last():
    rates = (25.0, 12.5, 6.25, 3.125, 1.5625, 0.78125)
    clips = [np.repeat(trembling(rate)[:, None], 16, axis=1) for rate in rates]
    assert [texture(clip)[0][:, 0].argmax() for clip in clips] == [0, 1, 2, 3, 4, 5]
    slow = np.repeat(trembling(0.2, 2000)[:, None], 16, axis=1)
    assert texture(slow)[0][:, 0].argmax() == N_OCTAVES


def test_modulation_is_that_of_the_band():
    log_mel = np.zeros((384, 16), np.float32)
    log_mel[:, 5] = trembling(12.5)
    modulation, *_ = texture(log_mel)
    assert modulation[1].argmax() == 5
    others = np.delete(modulation, 5, axis=1)
    np.testing.assert_allclose(others, np.log(0.02), atol=1e-6)


def test_twice_the_modulation_is_the_same_step_in_every_octave():
    once, twice = (texture(factor * random(384)) for factor in (10, 20))
    np.testing.assert_allclose(twice[0] - once[0], np.log(2), atol=0.01)
    for a, b in zip(once[1:], twice[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=0.01)


def test_correlations_are_those_of_numpy():
    log_mel = 5 * random(200)
    log_mel[:, 3] += log_mel[:, 2]
    log_mel[:, 9] -= 2 * log_mel[:, 2]
    _, correlation, *_ = texture(log_mel + 3)
    expected = np.corrcoef(log_mel.T)[FIRST, SECOND]
    np.testing.assert_allclose(correlation, expected, atol=1e-3)
    assert correlation.max() > 0.5
    assert correlation.min() < -0.5


def test_bands_that_tremble_together_are_correlated_in_that_octave():
    log_mel = 0.1 * random(384)
    log_mel[:, 2] += trembling(12.5)
    log_mel[:, 7] += trembling(12.5)
    log_mel[:, 9] -= trembling(12.5)
    _, _, of_octaves, *_ = texture(log_mel)
    together, against = ((FIRST == 2) & (other == SECOND) for other in (7, 9))
    assert of_octaves[1, together] > 0.85
    assert of_octaves[1, against] < -0.85
    # Few steps of the last octave: little is told, whatever they say.
    assert np.abs(of_octaves[5]).max() < 0.6
    assert np.abs(of_octaves[:, FIRST == 12][:3]).max() < 0.6


def test_what_comes_later_is_told_at_its_lag():
    """Noise that the highest bands repeat after two frames, and the lowest do not."""
    noise = random(402, n_mels=1)[:, 0]
    log_mel = 0.01 * random(400)
    log_mel[:, :2] += noise[2:, None]
    log_mel[:, -2:] += noise[:-2, None]
    *_, at_one, at_two = texture(log_mel)
    at_one, at_two = (block.reshape(N_OCTAVES, 8, 8) for block in (at_one, at_two))
    assert at_two[0, 0, 7] > 0.9
    assert abs(at_two[0, 7, 0]) < 0.3
    assert at_one[0, 0, 7] < 0.1


def test_a_band_that_does_not_change_is_correlated_with_none():
    log_mel = 5 * random(200)
    log_mel[:, 4:8] = 2.0
    _, correlation, of_octaves, *lagged = texture(log_mel)
    still = np.isin(FIRST, [4, 5, 6, 7]) | np.isin(SECOND, [4, 5, 6, 7])
    np.testing.assert_allclose(correlation[still], 0, atol=1e-4)
    assert np.abs(correlation[~still]).min() > 1e-4
    np.testing.assert_allclose(of_octaves[:, still], 0, atol=1e-4)
    for block in lagged:
        by_bands = block.reshape(N_OCTAVES, 8, 8)
        np.testing.assert_allclose(by_bands[:, 2:4], 0, atol=1e-4)
        np.testing.assert_allclose(by_bands[:, :, 2:4], 0, atol=1e-4)
        assert np.abs(by_bands[0, 0, 0]) > 1e-3


@pytest.mark.parametrize("n_frames", [1, 2, 3, 5, 31, 32, 33, 1000, 1001, 2500])
def test_any_length(n_frames):
    weight = np.abs(random(n_frames, 1, seed=1))[:, 0] + 0.02
    for block in texture(5 * random(n_frames), weight):
        assert np.isfinite(block).all()


def test_few_steps_tell_little_of_a_correlation():
    """Two frames are always correlated, one way or the other."""
    assert np.abs(texture(5 * random(2))[2][0]).max() < 0.25
    two, many = (np.abs(texture(np.repeat(random(n, 1), 16, 1))[2][0]).min() for n in (2, 200))
    assert two < 0.25 < 0.9 < many


@pytest.mark.parametrize("n_frames", [500, 6000, 60_000])
def test_what_never_changes_is_still_however_loud_and_long(n_frames):
    log_mel = np.full((n_frames, 16), 15.3, np.float32)
    modulation, correlation, *others = texture(log_mel)
    np.testing.assert_allclose(modulation, np.log(0.02), atol=1e-4)
    for block in (correlation, *others):
        np.testing.assert_allclose(block, 0, atol=1e-4)


def test_a_clip_has_the_same_texture_in_any_company():
    sums = np.concatenate([sums_of(3 * random(90 + 7 * i, 64, seed=i)) for i in range(9)])
    together = texture_blocks(sums)
    for i in range(9):
        for block, alone in zip(together, texture_blocks(sums[i : i + 1]), strict=True):
            np.testing.assert_array_equal(block[i], alone[0])


def test_long_sums_are_cut_and_put_together():
    log_mel, weight = 3 * random(2500), np.abs(random(2500, 1, seed=1))[:, 0]
    sums = sums_of(log_mel, weight)[0]
    expected = (log_mel * weight[:, None]).astype(np.float64).T @ log_mel
    np.testing.assert_allclose(sums[17 : 17 + 256], expected.ravel(), rtol=1e-5, atol=1e-2)


def test_a_frame_counts_as_its_weight_says():
    calm, wild = 0.1 * random(192), 5 * random(192, seed=1)
    log_mel = np.concatenate((calm, wild))
    weight = np.ones(384, np.float32)
    weight[180:] = 1e-6
    modulation, *_ = texture(log_mel, weight)
    whole, *_ = texture(log_mel)
    assert (whole[0] - modulation[0]).min() > 1


def test_hearings_are_reduced_side_by_side():
    log_mels = 3 * np.stack((random(150), random(150, seed=1)))
    weights = np.abs(random(150, n_mels=2, seed=2)).T
    together = texture_sums(log_mels, weights)
    apart = [
        texture_sums(*pair)[0] for pair in zip(log_mels[:, None], weights[:, None], strict=True)
    ]
    np.testing.assert_allclose(together, np.stack(apart), rtol=1e-5, atol=1e-4)


def test_frames_behind_a_hearing_change_nothing():
    lengths = np.array([64, 63, 49, 33, 2, 1])
    weights = np.abs(random(64, n_mels=6, seed=2)).T * (np.arange(64) < lengths[:, None])
    log_mels = [3 * random(n, seed=n) for n in lengths]
    lengthened = [np.pad(x, ((0, 64 - len(x)), (0, 0)), mode="edge") for x in log_mels]
    together = texture_sums(np.stack(lengthened), weights, lengths)
    apart = [sums_of(x, weight[: len(x)])[0] for x, weight in zip(log_mels, weights, strict=True)]
    np.testing.assert_allclose(together, np.stack(apart), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("n_frames", "n_mels"), [(6000, 64), (100_003, 16), (20_000, 128)])
def test_sums_do_not_depend_on_the_number_of_threads(n_frames, n_mels):
    log_mel = 3 * random(n_frames, n_mels)
    with threadpool_limits(1):
        alone = sums_of(log_mel)
    for n_threads in (2, 4):
        with threadpool_limits(n_threads):
            np.testing.assert_array_equal(sums_of(log_mel), alone)


@pytest.mark.parametrize("n_mels", [1, 2, 7, 8, 15, 16, 40, 64, 128])
def test_any_number_of_mel_bands(n_mels):
    blocks = texture_blocks(sums_of(random(96, n_mels)))
    n = min(N_BANDS, n_mels)
    pairs = n * (n - 1) // 2
    of_lag = N_OCTAVES * min(n, 8) ** 2
    expected = [(N_OCTAVES + 1) * n, pairs, N_OCTAVES * pairs, *[of_lag] * len(LAGS)]
    assert [block.shape[1] for block in blocks] == expected
    assert len(blocks) == len(BLOCK_WEIGHTS)
