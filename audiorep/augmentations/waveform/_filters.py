"""What stands between a sound and its recording: wiring, bandwidth, a room."""

import math
from numbers import Integral

import torch
from torch import Tensor

from audiorep._torchaudio import torchaudio
from audiorep.augmentations._augmentation import uniform
from audiorep.augmentations.waveform._waveform import WaveformAugmentation

_LOWEST_CUT = 20.0  # hertz; below it nothing is heard


class RandomPolarity(WaveformAugmentation):
    """Turn some clips upside down, as a swapped pair of wires does.

    No power spectrum tells the difference, nor does any log-mel: it is of use to networks that
    look at waveforms. Waveforms of shape (batch, n_timesteps) in and out.

    Parameters
    ----------
    probability : float, default=0.5
        Share of the clips that are inverted.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import waveform
    >>> waveform.RandomPolarity(probability=1.0)(torch.ones(1, 3))
    tensor([[-1., -1., -1.]])
    """

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__()
        self.probability = probability
        self._check_range("probability", high=1.0)

    def augment(self, x: Tensor) -> Tensor:
        """Invert waveforms."""
        return torch.where(uniform(x, 0.0, 1.0) < self.probability, -x, x)


class RandomBandFilter(WaveformAugmentation):
    """Take away the lowest and the highest frequencies of every clip, as small speakers do.

    The gains are those of Butterworth filters, without their delay. Waveforms of shape (batch,
    n_timesteps) in and out.

    Parameters
    ----------
    sample_rate : int, default=16000
        Timesteps per second, in hertz.
    max_low_cut : float, default=400.0
        Highest lower cut-off, in hertz; the lowest is 20 Hz. At a cut-off the power is halved.
    min_high_cut : float, default=2000.0
        Lowest upper cut-off, in hertz; the highest is half the sample rate. Cut-offs are drawn
        uniformly in octaves.
    order : int, default=2
        Beyond a cut-off the gain falls by ``6 * order`` decibels per octave.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import waveform
    >>> filtered = waveform.RandomBandFilter()(torch.ones(2, 16000))
    >>> bool(filtered[:, 8000].abs().max() < 1e-3)
    True
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        max_low_cut: float = 400.0,
        min_high_cut: float = 2000.0,
        order: int = 2,
    ) -> None:
        super().__init__()
        if not _LOWEST_CUT <= max_low_cut < min_high_cut <= sample_rate / 2:
            raise ValueError(
                f"max_low_cut={max_low_cut} and min_high_cut={min_high_cut} must lie, in this "
                f"order, between {_LOWEST_CUT} Hz and half of sample_rate={sample_rate}."
            )
        self.sample_rate = sample_rate
        self.max_low_cut = max_low_cut
        self.min_high_cut = min_high_cut
        self.order = order
        self._check_range("order", low=1, kind=Integral)

    def augment(self, x: Tensor) -> Tensor:
        """Filter waveforms."""
        n_timesteps = x.shape[1]
        low = uniform(x, math.log(_LOWEST_CUT), math.log(self.max_low_cut))
        high = uniform(x, math.log(self.min_high_cut), math.log(self.sample_rate / 2))
        # Twice the length, so that what rings beyond one end does not come in at the other.
        n_fft = 2 * n_timesteps
        frequency = torch.fft.rfftfreq(n_fft, 1 / self.sample_rate, device=x.device, dtype=x.dtype)
        log_frequency = frequency.log()  # -inf at 0 Hz, where the gain is then 0
        slope = 2 * self.order
        power_gain = torch.sigmoid(slope * (log_frequency - low))
        power_gain = power_gain * torch.sigmoid(slope * (high - log_frequency))
        filtered = torch.fft.irfft(torch.fft.rfft(x, n_fft) * power_gain.sqrt(), n_fft)
        return filtered[:, :n_timesteps]


class RandomReverberation(WaveformAugmentation):
    """Convolve every clip with the impulse response of a room of its own.

    A response is the direct sound and, behind it, white noise that decays exponentially.
    Waveforms of shape (batch, n_timesteps) in and out.

    Parameters
    ----------
    sample_rate : int, default=16000
        Timesteps per second, in hertz.
    min_decay_time, max_decay_time : float, default=0.1, 0.8
        Range of the time in which the tail falls by 60 decibels, in seconds.
    max_share : float, default=0.5
        Largest share of a response's energy that is in its tail.

    See Also
    --------
    audiorep.augmentations.ReverberantSmear : What it does to power, on log-mels.

    Notes
    -----
    A response has an energy of 1, so noise keeps its level on average, though not a pure tone,
    which a room may weaken or strengthen. What lingers beyond a clip's end is lost.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import waveform
    >>> waveform.RandomReverberation()(torch.zeros(2, 16000)).shape
    torch.Size([2, 16000])
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        min_decay_time: float = 0.1,
        max_decay_time: float = 0.8,
        max_share: float = 0.5,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.min_decay_time = min_decay_time
        self.max_decay_time = max_decay_time
        self.max_share = max_share
        self._check_range("sample_rate", low=1)
        self._check_range("min_decay_time")
        self._check_order("min_decay_time", "max_decay_time")
        self._check_range("max_share", high=1.0)

    def augment(self, x: Tensor) -> Tensor:
        """Convolve waveforms."""
        wet: Tensor = torchaudio.functional.fftconvolve(x, self._responses(x))
        return wet[:, : x.shape[1]]

    def _responses(self, x: Tensor) -> Tensor:
        """Draw a response per clip, of shape (batch, max_decay_time)."""
        decay_time = uniform(x, self.min_decay_time, self.max_decay_time) * self.sample_rate
        share = uniform(x, 0.0, self.max_share)
        n_timesteps = 1 + math.ceil(self.max_decay_time * self.sample_rate)
        noise = torch.randn(len(x), n_timesteps, device=x.device, dtype=x.dtype)
        times = torch.arange(n_timesteps, device=x.device)
        tail = noise * (-math.log(1000.0) * times / decay_time).exp()
        tail[:, 0] = 0.0
        tail = tail * share.sqrt() / torch.linalg.vector_norm(tail, dim=1, keepdim=True)
        tail[:, :1] = (1 - share).sqrt()
        return tail
