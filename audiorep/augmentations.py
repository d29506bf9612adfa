"""Augmentations: log-mel power in, log-mel power out.

All take the natural logarithm of mel-band power, before any standardisation, of shape (batch,
n_mels, n_frames). All draw for every clip anew, in one vectorised operation, keep shape and dtype,
and do nothing in ``eval()``.
"""

import math

import torch
from torch import Tensor, nn

__all__ = [
    "BackgroundMixing",
    "FrequencyMask",
    "LogMelNoise",
    "RandomEqualizer",
    "RandomGain",
    "RandomResample",
    "TimeMask",
    "ViewAugmentation",
]

_DECIBEL = math.log(10.0) / 10.0  # one decibel of power, in natural logarithm


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """Draw one number per clip, of shape (batch, 1, 1)."""
    return torch.rand(len(x), 1, 1, device=x.device) * (high - low) + low


class RandomResample(nn.Module):
    """Shift and stretch the mel axis, and stretch time, in one resampling.

    A mel axis is nearly logarithmic, so a shift along it is a change of pitch; a stretch of it is
    a change of vocal-tract length.

    Parameters
    ----------
    max_shift : float, default=3.0
        Largest shift, up or down, in mel bands.
    max_mel_stretch : float, default=0.1
        The mel axis is scaled by up to ``exp(max_mel_stretch)``, or down by as much.
    max_time_stretch : float, default=0.25
        The duration is scaled by up to ``1 + max_time_stretch``, or down by as much.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomResample
    >>> log_mel, n_valid = RandomResample()(torch.zeros(2, 64, 120), torch.tensor([120, 60]))
    >>> log_mel.shape
    torch.Size([2, 64, 120])
    """

    def __init__(
        self,
        max_shift: float = 3.0,
        max_mel_stretch: float = 0.1,
        max_time_stretch: float = 0.25,
    ) -> None:
        super().__init__()
        self.max_shift = max_shift
        self.max_mel_stretch = max_mel_stretch
        self.max_time_stretch = max_time_stretch

    def forward(self, log_mel: Tensor, n_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Resample.

        Parameters
        ----------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
        n_valid : Tensor of shape (batch,)
            Frames that belong to the clip.

        Returns
        -------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
            A clip made faster ends with its last frame repeated.
        n_valid : Tensor of shape (batch,)
            Frames that belong to the clip now.
        """
        if not self.training:
            return log_mel, n_valid
        n_mels, n_frames = log_mel.shape[1:]
        shift = _uniform(log_mel, -self.max_shift, self.max_shift)
        mel_scale = _uniform(log_mel, -self.max_mel_stretch, self.max_mel_stretch).exp()
        limit = math.log1p(self.max_time_stretch)
        speed = _uniform(log_mel, -limit, limit).exp()
        bands = torch.arange(n_mels, device=log_mel.device).float()
        frames = torch.arange(n_frames, device=log_mel.device).float()
        mixing = _interpolation((bands - shift) * mel_scale, n_mels)
        source = _interpolation((frames * speed).expand(len(log_mel), 1, -1), n_frames)
        moved = mixing.transpose(1, 2) @ log_mel.float() @ source
        n_left = (n_valid / speed[:, 0, 0]).ceil().long().clamp(1, n_frames)
        return moved.to(log_mel.dtype), n_left


def _interpolation(position: Tensor, size: int) -> Tensor:
    """Return the matrices (batch, size, n) that read `size` values at `position` (batch, 1, n)."""
    index = torch.arange(size, device=position.device)[:, None]
    return (1 - (position.clamp(0, size - 1) - index).abs()).clamp_min(0)


class RandomEqualizer(nn.Module):
    """Filter every clip by a smooth random curve over frequency.

    Parameters
    ----------
    strength : float, default=11.0
        Standard deviation of the curve's nodes, in decibels, of the most strongly filtered clips.
    tilt : float, default=2.2
        Standard deviation of a slope over the mel axis: the gain at its top, in decibels.
    n_nodes : int, default=6
        Nodes of the curve, evenly spread over the mel axis.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomEqualizer
    >>> RandomEqualizer()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    def __init__(self, strength: float = 11.0, tilt: float = 2.2, n_nodes: int = 6) -> None:
        super().__init__()
        self.strength = strength
        self.tilt = tilt
        self.n_nodes = n_nodes

    def forward(self, log_mel: Tensor) -> Tensor:
        """Filter log-mel power of shape (batch, n_mels, n_frames)."""
        if not self.training:
            return log_mel
        batch, n_mels, _ = log_mel.shape
        nodes = torch.randn(batch, 1, self.n_nodes, device=log_mel.device)
        curve = nn.functional.interpolate(nodes, n_mels, mode="linear", align_corners=True)
        curve = curve.transpose(1, 2) * _uniform(log_mel, 0.0, self.strength)
        slope = torch.linspace(-1, 1, n_mels, device=log_mel.device)[:, None]
        curve = curve + slope * torch.randn(batch, 1, 1, device=log_mel.device) * self.tilt
        return (log_mel + curve * _DECIBEL).to(log_mel.dtype)


class RandomGain(nn.Module):
    """Make every clip louder or quieter.

    Parameters
    ----------
    strength : float, default=4.3
        Standard deviation of the gain, in decibels.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomGain
    >>> RandomGain()(torch.zeros(2, 64, 96)).std(dim=(1, 2))
    tensor([0., 0.])
    """

    def __init__(self, strength: float = 4.3) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, log_mel: Tensor) -> Tensor:
        """Amplify log-mel power of shape (batch, n_mels, n_frames)."""
        if not self.training:
            return log_mel
        gain = torch.randn(len(log_mel), 1, 1, device=log_mel.device)
        return (log_mel + gain * self.strength * _DECIBEL).to(log_mel.dtype)


class BackgroundMixing(nn.Module):
    """Add another clip of the batch, quietly, in linear power.

    Parameters
    ----------
    max_ratio : float, default=0.1
        Largest mean power of the background, relative to the clip's.
    probability : float, default=0.7
        Share of the clips that get a background.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import BackgroundMixing
    >>> mixed = BackgroundMixing(max_ratio=0.5)(torch.zeros(2, 64, 96))
    >>> bool((mixed >= 0).all() and (mixed < 0.41).all())
    True
    """

    def __init__(self, max_ratio: float = 0.1, probability: float = 0.7) -> None:
        super().__init__()
        self.max_ratio = max_ratio
        self.probability = probability

    def forward(self, log_mel: Tensor) -> Tensor:
        """Mix log-mel power of shape (batch, n_mels, n_frames)."""
        if not self.training or len(log_mel) < 2:
            return log_mel
        offset = int(torch.randint(1, len(log_mel), ()))
        background = log_mel.roll(offset, 0)
        ratio = _uniform(log_mel, 0.0, self.max_ratio)
        ratio = ratio * (_uniform(log_mel, 0.0, 1.0) < self.probability)
        # The logarithm of zero is -inf, and logaddexp then leaves the clip as it was.
        level = _mean_power(log_mel) - _mean_power(background) + ratio.log()
        return torch.logaddexp(log_mel, (background + level).to(log_mel.dtype))


def _mean_power(log_mel: Tensor) -> Tensor:
    """Logarithm of the mean power of each clip, of shape (batch, 1, 1)."""
    n_values = log_mel.shape[1] * log_mel.shape[2]
    return log_mel.logsumexp(dim=(1, 2), keepdim=True) - math.log(n_values)


class LogMelNoise(nn.Module):
    """Add Gaussian noise to the logarithm, of a random strength per clip.

    Parameters
    ----------
    strength : float, default=0.25
        Largest standard deviation, in natural logarithm of power.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import LogMelNoise
    >>> LogMelNoise()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    def __init__(self, strength: float = 0.25) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, log_mel: Tensor) -> Tensor:
        """Disturb log-mel power of shape (batch, n_mels, n_frames)."""
        if not self.training:
            return log_mel
        return log_mel + torch.randn_like(log_mel) * _uniform(log_mel, 0.0, self.strength).to(
            log_mel.dtype
        )


def _band(x: Tensor, size: int, max_width: float) -> Tensor:
    """Draw a stretch of an axis per clip, as a Boolean tensor of shape (batch, 1, size)."""
    width = _uniform(x, 0.0, min(max_width, size))
    first = _uniform(x, 0.0, 1.0) * (size - width)
    index = torch.arange(size, device=x.device)
    return (index >= first) & (index < first + width)


class FrequencyMask(nn.Module):
    """Replace a stretch of mel bands by the clip's mean.

    Parameters
    ----------
    max_width : float, default=8.0
        Largest width, in mel bands.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import FrequencyMask
    >>> FrequencyMask()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    def __init__(self, max_width: float = 8.0) -> None:
        super().__init__()
        self.max_width = max_width

    def forward(self, log_mel: Tensor) -> Tensor:
        """Mask log-mel power of shape (batch, n_mels, n_frames)."""
        if not self.training:
            return log_mel
        masked = _band(log_mel, log_mel.shape[1], self.max_width).transpose(1, 2)
        return torch.where(masked, log_mel.mean(dim=(1, 2), keepdim=True), log_mel)


class TimeMask(nn.Module):
    """Replace a stretch of frames by the clip's mean.

    Parameters
    ----------
    max_width : float, default=10.0
        Largest width, in frames.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import TimeMask
    >>> TimeMask()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    def __init__(self, max_width: float = 10.0) -> None:
        super().__init__()
        self.max_width = max_width

    def forward(self, log_mel: Tensor) -> Tensor:
        """Mask log-mel power of shape (batch, n_mels, n_frames)."""
        if not self.training:
            return log_mel
        masked = _band(log_mel, log_mel.shape[2], self.max_width)
        return torch.where(masked, log_mel.mean(dim=(1, 2), keepdim=True), log_mel)


class ViewAugmentation(nn.Module):
    """The composition that makes a view for contrastive learning.

    In this order: resampling, equaliser, gain, background, noise, and the two masks.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import ViewAugmentation
    >>> view, n_valid = ViewAugmentation()(torch.zeros(2, 64, 120), torch.tensor([120, 60]))
    >>> view.shape
    torch.Size([2, 64, 120])
    """

    def __init__(self) -> None:
        super().__init__()
        self.resample = RandomResample()
        self.filters = nn.Sequential(
            RandomEqualizer(),
            RandomGain(),
            BackgroundMixing(),
            LogMelNoise(),
            FrequencyMask(),
            TimeMask(),
        )

    def forward(self, log_mel: Tensor, n_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Make a view.

        Parameters
        ----------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
        n_valid : Tensor of shape (batch,)
            Frames that belong to the clip.

        Returns
        -------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
        n_valid : Tensor of shape (batch,)
        """
        log_mel, n_valid = self.resample(log_mel, n_valid)
        return self.filters(log_mel), n_valid
