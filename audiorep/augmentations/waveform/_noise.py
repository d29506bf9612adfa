"""ColouredNoise: noise of any colour between bounds, at a given level."""

import math

import torch
from torch import Tensor

from audiorep._torchaudio import torchaudio
from audiorep.augmentations._augmentation import uniform
from audiorep.augmentations.waveform._waveform import WaveformAugmentation

_DECIBELS_PER_OCTAVE = 20 * math.log10(2.0)  # of an amplitude in proportion to frequency


class ColouredNoise(WaveformAugmentation):
    """Add noise of a random colour and level to every clip.

    The level is relative to the clip's power over its whole duration; a silent clip stays
    silent. Waveforms of shape (batch, n_timesteps) in and out.

    Parameters
    ----------
    min_snr, max_snr : float, default=5.0, 30.0
        Range of the ratio of the clip's power to the noise's, in decibels.
    min_tilt, max_tilt : float, default=-6.0, 0.0
        Range of the slope of the noise's spectrum, in decibels per octave: 0 is white noise, -3
        pink, -6 brown. The lowest hundredth of the spectrum is flat.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import waveform
    >>> noisy = waveform.ColouredNoise(min_snr=10, max_snr=10)(torch.ones(2, 16000))
    >>> (noisy - 1).square().mean(dim=1)
    tensor([0.1000, 0.1000])
    """

    def __init__(
        self,
        min_snr: float = 5.0,
        max_snr: float = 30.0,
        min_tilt: float = -6.0,
        max_tilt: float = 0.0,
    ) -> None:
        super().__init__()
        self.min_snr = min_snr
        self.max_snr = max_snr
        self.min_tilt = min_tilt
        self.max_tilt = max_tilt
        self._check_order("min_snr", "max_snr")
        self._check_order("min_tilt", "max_tilt")

    def augment(self, x: Tensor) -> Tensor:
        """Add noise to waveforms."""
        snr = uniform(x, self.min_snr, self.max_snr)[:, 0]
        noisy: Tensor = torchaudio.functional.add_noise(x, self._noise(x), snr)
        return noisy

    def _noise(self, x: Tensor) -> Tensor:
        """Draw noise of the shape of `x`, at any level."""
        exponent = uniform(x, self.min_tilt, self.max_tilt) / _DECIBELS_PER_OCTAVE
        spectrum = torch.fft.rfft(torch.randn_like(x))
        n_bins = spectrum.shape[1]
        position = torch.arange(n_bins, device=x.device).clamp_min(1 + n_bins // 100)
        return torch.fft.irfft(spectrum * (exponent * position.log()).exp(), n=x.shape[1])
