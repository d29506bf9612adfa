"""Masks over frequency, over time, and of what is quiet."""

import torch
from torch import Tensor

from audiorep.augmentations._augmentation import DECIBEL, Augmentation, uniform


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
        self._check_range("max_width")

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
        self._check_range("max_width")

    def augment(self, x: Tensor) -> Tensor:
        """Mask log-mel power."""
        masked = _band(x, x.shape[2], self.max_width)
        return torch.where(masked, x.mean(dim=(1, 2), keepdim=True), x)


class RandomFloor(Augmentation):
    """Raise what lies far below the loudest value of a clip to a floor drawn at random.

    The hiss of a microphone, the hum of a room and what a codec left in bands without sound are
    the same in all crops of a recording, and would tell recordings apart without regard to what is
    heard. The clip's mean is kept. Log-mel power of shape (batch, n_mels, n_frames) in and out.

    Parameters
    ----------
    min_range : float, default=40.0
        Smallest distance from the loudest value down to the floor, in decibels.
    max_range : float, default=80.0
        Largest distance; distances are drawn uniformly in between.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomFloor
    >>> RandomFloor()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    def __init__(self, min_range: float = 40.0, max_range: float = 80.0) -> None:
        super().__init__()
        self.min_range = min_range
        self.max_range = max_range
        self._check_range("min_range")
        self._check_order("min_range", "max_range")

    def augment(self, x: Tensor) -> Tensor:
        """Raise quiet log-mel power."""
        distance = uniform(x, self.min_range, self.max_range) * DECIBEL
        raised = torch.maximum(x, x.amax((1, 2), keepdim=True) - distance)
        return raised - (raised - x).mean((1, 2), keepdim=True)
