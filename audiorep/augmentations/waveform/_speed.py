"""Speed and pitch, by resampling at ratios of small whole numbers."""

import math
from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

from audiorep._torchaudio import torchaudio
from audiorep.augmentations._augmentation import uniform
from audiorep.augmentations.waveform._waveform import WaveformAugmentation


class RandomSpeed(WaveformAugmentation):
    """Play every clip faster or slower, as a tape: pitch and tempo go together.

    Waveforms of shape (batch, n_timesteps) in and out.

    Parameters
    ----------
    max_change : float, default=0.1
        The speed is multiplied by up to ``1 + max_change``, or divided by as much, and rounded
        to whole hundredths. A clip made faster ends in silence; one made slower loses its end.

    References
    ----------
    Ko, Peddinti, Povey and Khudanpur, Audio augmentation for speech recognition, Interspeech
    2015.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import waveform
    >>> waveform.RandomSpeed()(torch.zeros(2, 16000)).shape
    torch.Size([2, 16000])
    """

    def __init__(self, max_change: float = 0.1) -> None:
        super().__init__()
        self.max_change = max_change
        self._check_range("max_change")

    def augment(self, x: Tensor) -> Tensor:
        """Resample waveforms."""
        limit = math.log1p(self.max_change)
        return _at_percentages(x, uniform(x, -limit, limit).exp(), _faster)


class RandomPitchShift(WaveformAugmentation):
    """Shift the pitch of every clip and keep its tempo.

    A phase vocoder stretches the clip, with its phases locked around every peak of the spectrum,
    and resampling brings it back to its duration. Waveforms of shape (batch, n_timesteps) in and
    out.

    Parameters
    ----------
    max_shift : float, default=3.0
        Largest shift, up or down, in semitones. What frequencies are multiplied by is rounded to
        whole hundredths.
    n_fft : int, default=1024
        Length of the vocoder's windows, in timesteps. Longer ones suit steady tones, shorter ones
        sharp onsets.

    Notes
    -----
    What is shifted beyond half the sample rate is lost; when all is shifted down, the top of the
    spectrum is left empty. Tones keep their level; noise loses about half of its power, for its
    phases do not add up again.

    References
    ----------
    Laroche and Dolson, Improved phase vocoder time-scale modification of audio, IEEE Transactions
    on Speech and Audio Processing 7(3), 1999.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import waveform
    >>> waveform.RandomPitchShift()(torch.zeros(2, 16000)).shape
    torch.Size([2, 16000])
    """

    def __init__(self, max_shift: float = 3.0, n_fft: int = 1024) -> None:
        super().__init__()
        self.max_shift = max_shift
        self.n_fft = n_fft
        self._check_range("max_shift")
        self._check_range("n_fft", low=4, kind=Integral)

    def augment(self, x: Tensor) -> Tensor:
        """Shift waveforms."""
        factor = torch.exp2(uniform(x, -self.max_shift, self.max_shift) / 12)
        return _at_percentages(x, factor, self._higher)

    def _higher(self, waveforms: Tensor, percent: int) -> Tensor:
        """Multiply frequencies by ``percent / 100``; what comes back is as long, or longer."""
        hop = self.n_fft // 4
        window = torch.hann_window(self.n_fft, device=waveforms.device, dtype=waveforms.dtype)
        padded = torch.nn.functional.pad(waveforms, (0, self.n_fft))
        spectrum = torch.stft(
            padded, self.n_fft, hop, window=window, pad_mode="constant", return_complex=True
        )
        advance = torch.linspace(
            0, math.pi * hop, len(window) // 2 + 1, device=window.device, dtype=window.dtype
        )
        rate = 100 / percent
        stretched = torchaudio.functional.phase_vocoder(spectrum, rate, advance[:, None])
        frames = torch.arange(0, spectrum.shape[2], rate, device=window.device, dtype=window.dtype)
        locked = _lock_phases(stretched, spectrum[:, :, frames.long()])
        return _faster(torch.istft(locked, self.n_fft, hop, window=window), percent)


def _lock_phases(stretched: Tensor, original: Tensor) -> Tensor:
    """Give the bins around a peak the phases that they had, relative to the peak.

    A vocoder lets the phases of neighbouring bins drift apart, so that they cancel each other
    where frames are added up. Both spectra, and the result, are of shape (batch, n_bins,
    n_frames).
    """
    magnitude = original.abs()
    highest = torch.nn.functional.max_pool2d(magnitude, (5, 1), stride=1, padding=(2, 0))
    n_bins = magnitude.shape[1]
    bins = torch.arange(n_bins, device=magnitude.device)[:, None].expand_as(magnitude)
    below = torch.where(magnitude == highest, bins, -n_bins).cummax(1).values
    above = torch.where(magnitude == highest, bins, 2 * n_bins).flip(1).cummin(1).values.flip(1)
    peak = torch.where(bins - below <= above - bins, below, above)
    phase = original.sgn()
    turn = (stretched.sgn() * phase.conj()).gather(1, peak)
    return stretched.abs() * phase * turn


def _faster(waveforms: Tensor, percent: int) -> Tensor:
    """Play waveforms (batch, n_timesteps) at ``percent / 100`` of their speed."""
    # Other ratios than those of small whole numbers would need a kernel of gigabytes.
    resampled: Tensor = torchaudio.functional.resample(waveforms, percent, 100)
    return resampled


def _at_percentages(
    x: Tensor, factors: Tensor, function: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Apply ``function(x, percent)`` with a percentage per clip, once for each percentage drawn.

    What it returns is cut, or filled up with silence, to the length of `x` (batch, n_timesteps);
    `factors` has the shape (batch, 1).
    """
    percents = (100 * factors[:, 0]).round().long()
    y = x.clone()
    for percent in sorted(set(percents.tolist())):
        if percent != 100:
            rows = percents == percent
            altered = function(x[rows], percent)[:, : x.shape[1]]
            y[rows] = torch.nn.functional.pad(altered, (0, x.shape[1] - altered.shape[1]))
    return y
