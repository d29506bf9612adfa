"""Resampling in blocks is resampling."""

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from audiorep._resampling import _filters, rate_ratio, resample_blocks, resampled_length
from audiorep._torchaudio import torchaudio


@pytest.mark.parametrize("rate", [8000, 11127, 22050, 44100, 48000])
@pytest.mark.parametrize("block_length", [100, 7001])
def test_blocks_make_no_difference(rate, block_length):
    waveform = torch.randn(30011, generator=torch.Generator().manual_seed(0))
    whole = torch.cat(list(resample_blocks([waveform], rate, 16000)))
    blocks = torch.cat(list(resample_blocks(waveform.split(block_length), rate, 16000)))
    assert len(whole) == resampled_length(len(waveform), rate, 16000)
    torch.testing.assert_close(blocks, whole, atol=3e-6, rtol=0)


def test_same_rate_changes_nothing():
    blocks = [torch.randn(5), torch.randn(7)]
    assert all(a is b for a, b in zip(resample_blocks(blocks, 16000, 16000), blocks, strict=True))


@pytest.mark.parametrize("n_timesteps", [1, 2, 50, 5000])
@pytest.mark.parametrize(
    "rate", [500, 8000, 11025, 11127, 15984, 22050, 32000, 44100, 48000, 96001]
)
def test_does_what_torchaudio_does(rate, n_timesteps):
    _filters.cache_clear()
    ratio = rate_ratio(rate, 16000)
    with torch.device("meta"):  # a caller's, which is not where blocks are
        _filters(ratio.numerator, ratio.denominator)
    waveform = torch.randn(n_timesteps, generator=torch.Generator().manual_seed(0))
    blocks = [*resample_blocks([waveform], rate, 16000)]
    expected = torchaudio.functional.resample(
        waveform, ratio.denominator, ratio.numerator, lowpass_filter_width=16, rolloff=0.99
    )
    torch.testing.assert_close(torch.cat(blocks), expected, atol=3e-6, rtol=0)
    assert _filters.cache_info().currsize == 1


@pytest.mark.parametrize("rate", [8000, 44100])
def test_agrees_with_scipy_below_both_nyquist_frequencies(rate):
    t = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 440 * t) + 0.5 * np.sin(2 * np.pi * 2500 * t)
    ratio = rate_ratio(rate, 16000)
    expected = resample_poly(tone, ratio.numerator, ratio.denominator)
    got = torch.cat(list(resample_blocks([torch.from_numpy(tone).float()], rate, 16000)))
    assert np.abs(got.numpy() - expected)[1000:-1000].max() < 0.02


@pytest.mark.parametrize("rate", [11127, 22255, 96001])
def test_odd_rates_are_approximated_closely(rate):
    ratio = rate_ratio(rate, 16000)
    assert max(ratio.numerator, ratio.denominator) <= 1000
    assert abs(float(ratio) * rate / 16000 - 1) < 2e-5
