"""Laws of the way back from log-mels to waveforms."""

import math

import pytest
import torch

from audiorep.nn import LogMel
from audiorep.nn._inverse_log_mel import inverse_log_mel, mel_to_linear


@pytest.fixture
def noise():
    return torch.randn(16000, generator=torch.Generator().manual_seed(0)) * 0.1


def test_linear_power_has_the_mel_bands_asked_for(noise):
    transform = LogMel()
    # Bands of which some are much quieter than others.
    mel = transform(noise).exp() * torch.logspace(0, -5, 64)[:, None]
    power = mel_to_linear(mel, transform.filters, n_iterations=100)
    assert (power >= 0).all()
    error = ((transform.filters.T @ power) / mel).log().abs()
    assert float(error.median()) < 0.02
    assert float(error.max()) < 0.5


@pytest.mark.parametrize("frequency", [220.0, 1000.0, 5000.0])
def test_a_tone_keeps_its_pitch(frequency):
    t = torch.arange(16000) / 16000
    transform = LogMel()
    waveform = inverse_log_mel(transform(torch.sin(2 * math.pi * frequency * t)), transform)
    spectrum = torch.fft.rfft(waveform).abs()
    found = float(spectrum.argmax()) * 16000 / len(waveform)
    assert found == pytest.approx(frequency, rel=0.03)


def test_log_mels_come_back(noise):
    transform = LogMel()
    log_mel = transform(noise)
    errors = []
    for n_iterations in (0, 8, 32):
        waveform = inverse_log_mel(log_mel, transform, n_iterations)
        again = transform(waveform)[:, : log_mel.shape[1]]
        errors.append(float((again - log_mel).square().mean().sqrt()))
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.7  # nats: 3 decibels


@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 160), (512, 1), (128, 64), (400, 130)])
def test_length(n_fft, hop_length):
    transform = LogMel(n_fft=n_fft, hop_length=hop_length, n_mels=16)
    for n_frames in (1, 8):
        waveform = inverse_log_mel(torch.zeros(2, 16, n_frames), transform, 2)
        assert waveform.shape == (2, n_frames * hop_length)
        assert waveform.isfinite().all()


def test_frames_must_overlap():
    transform = LogMel(n_fft=256, hop_length=129)
    with pytest.raises(ValueError, match="use hop_length <= n_fft // 2"):
        inverse_log_mel(torch.zeros(64, 8), transform)
