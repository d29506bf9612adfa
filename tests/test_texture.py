"""Textures: modulation is told by its rate, bands that change together by their correlation."""

import numpy as np
import pytest
import torch

from audiorep._texture import N_BANDS, N_RATES, texture_blocks, texture_sums

FRAME_RATE = 100.0  # frames per second, of default parameters


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def texture(log_mel, weight=None, n_valid=None):
    """Return modulation, (1 + N_RATES, n_bands), and correlation, (n_pairs,), of one window."""
    n_frames = log_mel.shape[1]
    inside = torch.arange(n_frames) < (n_frames if n_valid is None else n_valid)
    weight = inside.float() if weight is None else weight
    sums = texture_sums(log_mel[None], weight[None], inside[None]).double().numpy()
    modulation, correlation = texture_blocks(sums)
    return modulation.reshape(N_RATES + 1, -1), correlation[0]


def trembling(rate, n_frames=384):
    """Return log-mels of 16 bands that all go up and down, `rate` times per second."""
    time = torch.arange(n_frames) / FRAME_RATE
    return torch.sin(2 * torch.pi * rate * time).expand(16, -1)


def test_fast_modulation_is_in_the_first_rates_and_slow_in_the_last():
    rates = (25.0, 12.5, 6.25, 3.125, 1.5625, 0.78125)
    loudest = [texture(trembling(rate))[0][:, 0].argmax() for rate in rates]
    assert loudest == [0, 1, 2, 3, 4, 5]
    assert texture(trembling(0.2, 2000))[0][:, 0].argmax() == N_RATES


def test_modulation_is_that_of_the_band():
    log_mel = torch.zeros(16, 384)
    log_mel[5] = trembling(12.5)[0]
    modulation, _ = texture(log_mel)
    assert modulation[1].argmax() == 5
    others = np.delete(modulation, 5, axis=1)
    np.testing.assert_allclose(others, np.log(0.02), atol=1e-6)


def test_twice_the_modulation_is_the_same_step_at_every_rate():
    once, twice = (texture(factor * random(16, 384))[0] for factor in (10, 20))
    np.testing.assert_allclose(twice - once, np.log(2), atol=0.01)


def test_correlations_are_those_of_numpy():
    log_mel = 5 * random(16, 200)
    log_mel[3] += log_mel[2]
    log_mel[9] -= 2 * log_mel[2]
    _, correlation = texture(log_mel + 3)
    expected = np.corrcoef(log_mel.double().numpy())[np.triu_indices(16, 1)]
    np.testing.assert_allclose(correlation, expected, atol=1e-3)
    assert correlation.max() > 0.5
    assert correlation.min() < -0.5


def test_a_band_that_does_not_change_is_correlated_with_none():
    log_mel = 5 * random(16, 200)
    log_mel[4:8] = 2.0
    _, correlation = texture(log_mel)
    first, second = np.triu_indices(16, 1)
    still = np.isin(first, [4, 5, 6, 7]) | np.isin(second, [4, 5, 6, 7])
    np.testing.assert_allclose(correlation[still], 0, atol=1e-4)
    assert np.abs(correlation[~still]).min() > 1e-4


@pytest.mark.parametrize("n_valid", [1, 2, 3, 50, 95])
def test_what_is_behind_the_end_has_no_say(n_valid):
    log_mel = 5 * random(64, 96)
    weight = random(96, seed=1).abs()
    weight[n_valid:] = 0
    other = log_mel.clone()
    other[:, n_valid:] = 7.0
    for padded, clean in zip(
        texture(log_mel, weight, n_valid), texture(other, weight, n_valid), strict=True
    ):
        np.testing.assert_allclose(padded, clean, atol=1e-6)
        assert np.isfinite(padded).all()


def test_a_frame_counts_as_its_weight_says():
    calm, wild = 0.1 * random(16, 192), 5 * random(16, 192)
    log_mel = torch.cat((calm, wild), dim=1)
    weight = torch.ones(384)
    weight[180:] = 1e-6
    modulation, _ = texture(log_mel, weight)
    whole, _ = texture(log_mel)
    assert (whole[0] - modulation[0]).min() > 1


def test_windows_are_added():
    log_mel, weight = random(3, 64, 192), random(3, 192, seed=1).abs()
    inside = torch.ones(3, 192, dtype=torch.bool)
    together = texture_sums(log_mel, weight, inside).sum(0, keepdim=True).double().numpy()
    modulation, correlation = texture_blocks(together)
    whole = log_mel.transpose(0, 1).flatten(1)
    expected_modulation, expected_correlation = texture(whole, weight.flatten())
    np.testing.assert_allclose(correlation[0], expected_correlation, atol=1e-5)
    # Windows do not see each other's frames.
    of_rates = modulation.reshape(expected_modulation.shape)
    np.testing.assert_allclose(of_rates[:3], expected_modulation[:3], atol=0.1)


@pytest.mark.parametrize("n_mels", [1, 2, 15, 16, 40, 64, 128])
def test_any_number_of_mel_bands(n_mels):
    modulation, correlation = texture(random(n_mels, 96))
    n_bands = min(N_BANDS, n_mels)
    assert modulation.shape == (N_RATES + 1, n_bands)
    assert correlation.shape == (n_bands * (n_bands - 1) // 2,)
