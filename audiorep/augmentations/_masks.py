"""Masks over frequency and time."""

import torch
from torch import Tensor

from audiorep.augmentations._augmentation import Augmentation, uniform


def _band(x: Tensor, size: int, max_width: float) -> Tensor:
    """Draw a stretch of an axis per clip, as a Boolean tensor of shape (batch, 1, size)."""
    width = uniform(x, 0.0, min(max_width, size))
    first = uniform(x, 0.0, 1.0) * (size - width)
    index = torch.arange(size, device=x.device)
    return (index >= first) & (index < first + width)


class FrequencyMask(Augmentation):
    """Replace a stretch of mel bands by the clip's mean.

    Log-mel power of shape (batch, n_mels, n_frames) in and out.

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

    def augment(self, x: Tensor) -> Tensor:
        """Mask log-mel power."""
        masked = _band(x, x.shape[1], self.max_width).transpose(1, 2)
        return torch.where(masked, x.mean(dim=(1, 2), keepdim=True), x)


class TimeMask(Augmentation):
    """Replace a stretch of frames by the clip's mean.

    Log-mel power of shape (batch, n_mels, n_frames) in and out.

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

    def augment(self, x: Tensor) -> Tensor:
        """Mask log-mel power."""
        masked = _band(x, x.shape[2], self.max_width)
        return torch.where(masked, x.mean(dim=(1, 2), keepdim=True), x)
