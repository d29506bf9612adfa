"""What moves a sound along its axes: pitch, tempo, and where a clip begins and ends."""

import math

import torch
from torch import Tensor

from audiorep.augmentations._augmentation import Augmentation, uniform


class RandomResample(Augmentation):
    """Shift and stretch the mel axis, and stretch time, in one resampling.

    A mel axis is nearly logarithmic, so a shift along it is a change of pitch; a stretch of it is
    a change of vocal-tract length. Log-mel power of shape (batch, n_mels, n_frames) in and out.

    Parameters
    ----------
    max_shift : float, default=3.0
        Largest shift, up or down, in mel bands.
    max_mel_stretch : float, default=0.1
        The mel axis is scaled by up to ``exp(max_mel_stretch)``, or down by as much.
    max_time_stretch : float, default=0.25
        The duration is scaled by up to ``1 + max_time_stretch``, or down by as much. A clip
        made faster ends with its last frame repeated; one made slower loses its end.

    Attributes
    ----------
    drawn : Tensor of shape (batch, 3)
        Of the last batch: shift upwards in bands, and the logarithms of the steps in which the mel
        axis and time are read.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomResample
    >>> RandomResample()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    n_drawn = 3

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
        self._check_range("max_shift", "max_mel_stretch", "max_time_stretch")

    def augment(self, x: Tensor) -> Tensor:
        """Resample log-mel power."""
        _, n_mels, n_frames = x.shape
        shift = uniform(x, -self.max_shift, self.max_shift)
        mel_stretch = uniform(x, -self.max_mel_stretch, self.max_mel_stretch)
        if self.max_shift or self.max_mel_stretch:
            bands = torch.arange(n_mels, device=x.device)
            position = (bands - shift) * mel_stretch.exp()
            x = _interpolation(position, n_mels).transpose(1, 2) @ x  # few bands: one product
        limit = math.log1p(self.max_time_stretch)
        speed = uniform(x, -limit, limit)
        if self.max_time_stretch:
            frames = torch.arange(n_frames, device=x.device)
            x = _read(x, frames * speed.exp())
        self.drawn = torch.cat((shift, mel_stretch, speed), dim=1)[:, :, 0]
        return x


class RandomCrop(Augmentation):
    """Cut a random stretch out of every clip, and spread it over the clip's whole width.

    The shape is kept, so a crop is also a slowing down: by up to ``1 / min_share``. Log-mel
    power of shape (batch, n_mels, n_frames) in and out.

    Parameters
    ----------
    min_share : float, default=0.6
        Shortest stretch, as a share of the clip's duration. The longest is the whole clip.

    Notes
    -----
    It is for training loops of one's own. The encoders of audiorep cut crops, where a clip is loud,
    and stretch them in time, before their `augmentation` sees them.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomCrop
    >>> RandomCrop()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    def __init__(self, min_share: float = 0.6) -> None:
        super().__init__()
        self.min_share = min_share
        self._check_range("min_share", high=1.0)

    def augment(self, x: Tensor) -> Tensor:
        """Crop log-mel power."""
        n_frames = x.shape[2]
        share = uniform(x, self.min_share, 1.0)
        first = uniform(x, 0.0, 1.0) * (1 - share) * (n_frames - 1)
        frames = torch.arange(n_frames, device=x.device)
        return _read(x, first + frames * share)


def _read(x: Tensor, position: Tensor) -> Tensor:
    """Read `x` at positions (batch, 1, n) along its last axis, between values by interpolation."""
    position = position.clamp(0, x.shape[2] - 1).expand(-1, x.shape[1], -1)
    before = position.long()
    after = (before + 1).clamp_max(x.shape[2] - 1)
    return torch.lerp(x.gather(2, before), x.gather(2, after), position - before)


def _interpolation(position: Tensor, size: int) -> Tensor:
    """Return the matrices (batch, size, n) that read `size` values at `position` (batch, 1, n)."""
    index = torch.arange(size, device=position.device)[:, None]
    return (1 - (position.clamp(0, size - 1) - index).abs()).clamp_min(0)
