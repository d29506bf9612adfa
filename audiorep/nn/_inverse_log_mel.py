"""Log-mel spectrogram to waveform."""

import torch
from torch import Tensor

from audiorep._torchaudio import torchaudio
from audiorep.nn._log_mel import LogMel

_TINY = 1e-30


def mel_to_linear(mel: Tensor, filters: Tensor, n_iterations: int = 50) -> Tensor:
    """Find a power spectrogram whose mel bands are those given.

    Many have the same mel bands. Richardson and Lucy's iteration starts from power spread over
    each band, keeps it positive, and brings the quiet bands as near as the loud ones.

    Parameters
    ----------
    mel : Tensor of shape (..., n_mels, n_frames)
        Power of the mel bands.
    filters : Tensor of shape (n_freqs, n_mels)
        The mel filter bank.
    n_iterations : int, default=50
        Steps of the iteration.

    Returns
    -------
    Tensor of shape (..., n_freqs, n_frames)
        Power.
    """
    # A frequency that no filter hears stays silent.
    gain = filters.sum(1, keepdim=True).clamp_min(_TINY)
    power = filters @ mel / gain
    for _ in range(n_iterations):
        heard = (filters.T @ power).clamp_min(_TINY)
        power = power * (filters @ (mel / heard)) / gain
    return power


def inverse_log_mel(log_mel: Tensor, transform: LogMel, n_iterations: int = 32) -> Tensor:
    """Find a waveform whose log-mel spectrogram is close to the one given.

    The phase is lost; Griffin and Lim's iteration finds one that fits overlapping frames. It
    starts from phase zero, so that the same log-mel always gives the same waveform.

    Parameters
    ----------
    log_mel : Tensor of shape (..., n_mels, n_frames)
        Natural logarithm of power.
    transform : LogMel
        What log-mels were made with. Its frames must overlap by half at least.
    n_iterations : int, default=32
        Steps of Griffin and Lim's iteration.

    Returns
    -------
    Tensor of shape (..., n_frames * hop_length)

    References
    ----------
    Griffin and Lim, Signal Estimation from Modified Short-Time Fourier Transform, 1984.
    Perraudin, Balazs and Søndergaard, A Fast Griffin-Lim Algorithm, 2013.
    """
    n_fft, hop_length = transform.n_fft, transform.hop_length
    if 2 * hop_length > n_fft:
        raise ValueError(
            f"hop_length={hop_length} is more than half of n_fft={n_fft}, and no phase can be "
            "found for frames that overlap so little; use hop_length <= n_fft // 2."
        )
    n_timesteps = log_mel.shape[-1] * hop_length
    # The last frame goes on for a while, so that what is cut off below is no part of the sound.
    held = log_mel[..., -1:].expand(*log_mel.shape[:-1], n_fft // hop_length + 1)
    power = mel_to_linear(torch.cat((log_mel, held), dim=-1).exp(), transform.filters)
    waveform = torchaudio.functional.griffinlim(
        power,
        window=transform.window,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=n_fft,
        power=2.0,
        n_iter=n_iterations,
        momentum=0.99,
        length=None,
        rand_init=False,
    )
    return waveform[..., :n_timesteps]
