"""Waveform to log-mel spectrogram."""

import copy
import threading
import warnings
from collections.abc import Iterable, Iterator
from functools import cache

import torch
from torch import Tensor, nn

from audiorep._dtype import float32_by_default
from audiorep._torchaudio import torchaudio
from audiorep._warn import warn

# Added to the power before the logarithm: far below the quantisation noise of 16-bit audio.
POWER_FLOOR = 1e-10

_MOST_TIMES = 1000  # that something may be played as high, or as fast

# Filters of warnings are those of the whole process, so one thread at a time may change them.
_WARNINGS_LOCK = threading.Lock()


class LogMel(nn.Module):
    """Logarithm of the mel-band power of waveforms.

    A frame is centred every `hop_length` timesteps, the first on timestep 0; the waveform is
    extended by zeros on both sides, so that even a clip of one timestep has a frame.

    Parameters
    ----------
    sample_rate : int, default=16000
        Timesteps per second, in hertz.
    n_fft : int, default=512
        Length of the Hann window and of the Fourier transform, in timesteps. Must be even.
    hop_length : int, default=160
        Timesteps from one frame to the next, at most `n_fft`.
    n_mels : int, default=64
        Number of mel bands.
    f_min : float, default=60.0
        Lower edge of the lowest band, in hertz.
    f_max : float, default=None
        Upper edge of the highest band, in hertz. None means half the sample rate.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import LogMel
    >>> LogMel()(torch.zeros(2, 16000)).shape
    torch.Size([2, 64, 101])
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        n_mels: int = 64,
        f_min: float = 60.0,
        f_max: float | None = None,
    ) -> None:
        super().__init__()
        if hop_length > n_fft:
            raise ValueError(
                f"hop_length={hop_length} is larger than n_fft={n_fft}, so frames would leave "
                "gaps; use hop_length <= n_fft."
            )
        if n_fft % 2:
            raise ValueError(f"n_fft={n_fft} is odd; use an even number.")
        f_max = sample_rate / 2 if f_max is None else f_max
        if not 0 <= f_min < f_max:
            raise ValueError(f"f_min={f_min} must be at least 0, and less than f_max={f_max}.")
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        with _WARNINGS_LOCK:
            filters = _mel_filters(sample_rate, n_fft, n_mels, f_min, f_max)
        window = torch.hann_window(n_fft, dtype=torch.float32)
        n_deaf = int((filters.amax(0) == 0).sum())
        if n_deaf:
            warn(
                f"{n_deaf} of n_mels={n_mels} mel bands hear nothing, for they are narrower than "
                f"the {sample_rate / n_fft:.0f} Hz from one frequency to the next; take "
                f"n_fft={2 * n_fft} or more, or fewer bands."
            )
        self.register_buffer("window", window, persistent=False)
        # A copy, for others are made of the same.
        self.register_buffer("filters", filters.clone().to(window.device), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Turn waveforms into log-mel power.

        Parameters
        ----------
        waveform : Tensor of shape (..., n_timesteps)
            Of any dtype of real numbers; computed in float32, or what the module was cast to.

        Returns
        -------
        Tensor of shape (..., n_mels, n_frames)
            Natural logarithm of power; ``n_frames = n_timesteps // hop_length + 1``.
        """
        half = self.n_fft // 2
        return self._frames(nn.functional.pad(waveform.to(self.window.dtype), (half, half)))

    def stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Turn a waveform that comes in blocks into blocks of log-mel power.

        Parameters
        ----------
        blocks : iterable of Tensor of shape (n_timesteps,)
            Consecutive parts of one waveform, of any lengths.

        Yields
        ------
        Tensor of shape (n_mels, n_frames)
            Consecutive frames; together as many as `forward` gives for the whole waveform.
        """
        half = self.window.new_zeros(self.n_fft // 2)
        rest, held = half, None
        for block in (block.to(self.window.dtype) for block in blocks):
            if held is not None:
                rest = torch.cat((rest, held))
                n_frames = (len(rest) - self.n_fft) // self.hop_length + 1
                if n_frames > 0:
                    yield self._frames(rest[: self.n_fft + (n_frames - 1) * self.hop_length])
                    rest = rest[n_frames * self.hop_length :]
            held = block
        # The last block comes with the zeros behind it, so that a short clip stays in one piece.
        rest = torch.cat((rest, half) if held is None else (rest, held, half))
        if len(rest) >= self.n_fft:  # else, where frames are far apart, all are there
            yield self._frames(rest)

    def played(self, pitch: float, tempo: float) -> "LogMel":
        """Return what hears a waveform as if it were played at another pitch and tempo.

        Its window is longer by `pitch`, and what it finds at a frequency is taken for what would
        be at one higher by as much. So nothing has to be resampled.

        Parameters
        ----------
        pitch : float
            By what all frequencies are multiplied, from 1 to 1000: with less than 1, nothing would
            be left for the highest bands.
        tempo : float
            How many times as fast, 1000 times at most.

        Returns
        -------
        LogMel
            With the same bands.

        Raises
        ------
        ValueError
            When `pitch` or `tempo` is out of range.

        Notes
        -----
        Both are rounded, so that the window is of an even number of timesteps and frames are whole
        timesteps apart, but never further than a window is long.

        Examples
        --------
        >>> import math
        >>> import torch
        >>> from audiorep.nn import LogMel
        >>> tone = torch.sin(2 * math.pi * 800 / 16000 * torch.arange(16000))
        >>> higher = torch.sin(2 * math.pi * 1000 / 16000 * torch.arange(16000))
        >>> heard = LogMel().played(pitch=1.25, tempo=2.0)(tone)
        >>> heard.shape
        torch.Size([64, 51])
        >>> bool(heard.mean(1).argmax() == LogMel()(higher).mean(1).argmax())
        True
        """
        if not 1 <= pitch <= _MOST_TIMES:
            raise ValueError(f"pitch={pitch} must be from 1 to {_MOST_TIMES}.")
        if not 0 < tempo <= _MOST_TIMES:
            raise ValueError(f"tempo={tempo} must be positive, and {_MOST_TIMES} at most.")
        n_fft = 2 * round(self.n_fft * pitch / 2)
        played = copy.deepcopy(self)
        played.n_fft = n_fft
        played.hop_length = min(max(1, round(self.hop_length * tempo)), n_fft)
        played.window = torch.hann_window(n_fft, dtype=self.window.dtype, device=self.window.device)
        # As far apart as before, after what all frequencies were multiplied by; the bands end
        # where they did.
        n_more = n_fft // 2 - self.n_fft // 2
        played.filters = nn.functional.pad(self.filters, (0, 0, 0, n_more))
        return played

    def _frames(self, padded: Tensor) -> Tensor:
        # As torchaudio's spectrogram, but with fewer passes over memory.
        frames = padded.unfold(-1, self.n_fft, self.hop_length) * self.window
        parts = torch.view_as_real(torch.fft.rfft(frames)).square_()
        power = parts[..., 0] + parts[..., 1]
        with torch.autocast(power.device.type, enabled=False):  # half precision would overflow
            mel = torch.matmul(power, self.filters)
        return mel.add_(POWER_FLOOR).log_().transpose(-1, -2)


@cache
def _mel_filters(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Return the weights of frequencies in mel bands, (n_fft / 2 + 1, n_mels), float32."""
    with torch.device("cpu"), float32_by_default(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filterbank")  # `LogMel` says it itself
        filters: Tensor = torchaudio.functional.melscale_fbanks(
            n_freqs=n_fft // 2 + 1,
            f_min=f_min,
            f_max=f_max,
            n_mels=n_mels,
            sample_rate=sample_rate,
        )
    return filters.float()
