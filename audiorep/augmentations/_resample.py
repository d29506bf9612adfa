"""RandomResample: pitch and tempo."""

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

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomResample
    >>> RandomResample()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
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

    def augment(self, x: Tensor) -> Tensor:
        """Resample log-mel power."""
        _, n_mels, n_frames = x.shape
        if self.max_shift or self.max_mel_stretch:
            shift = uniform(x, -self.max_shift, self.max_shift)
            scale = uniform(x, -self.max_mel_stretch, self.max_mel_stretch).exp()
            bands = torch.arange(n_mels, device=x.device)
            x = _interpolation((bands - shift) * scale, n_mels).transpose(1, 2) @ x
        if self.max_time_stretch:
            limit = math.log1p(self.max_time_stretch)
            frames = torch.arange(n_frames, device=x.device)
            x = x @ _interpolation(frames * uniform(x, -limit, limit).exp(), n_frames)
        return x


def _interpolation(position: Tensor, size: int) -> Tensor:
    """Return the matrices (batch, size, n) that read `size` values at `position` (batch, 1, n)."""
    index = torch.arange(size, device=position.device)[:, None]
    return (1 - (position.clamp(0, size - 1) - index).abs()).clamp_min(0)
