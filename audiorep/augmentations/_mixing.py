"""What comes to a sound from elsewhere: background and noise."""

import math

import torch
from torch import Tensor

from audiorep.augmentations._augmentation import Augmentation, uniform


class BackgroundMixing(Augmentation):
    """Add another clip of the batch, quietly, in linear power.

    Log-mel power of shape (batch, n_mels, n_frames) in and out.

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

    def augment(self, x: Tensor) -> Tensor:
        """Mix log-mel power."""
        if len(x) < 2:
            return x
        background = x.roll(int(torch.randint(1, len(x), ())), 0)
        ratio = uniform(x, 0.0, self.max_ratio)
        ratio = ratio * (uniform(x, 0.0, 1.0) < self.probability)
        # The logarithm of zero is -inf, and logaddexp then leaves the clip as it was.
        level = _mean_power(x) - _mean_power(background) + ratio.log()
        return torch.logaddexp(x, background + level)


def _mean_power(log_mel: Tensor) -> Tensor:
    """Logarithm of the mean power of each clip, of shape (batch, 1, 1)."""
    n_values = log_mel.shape[1] * log_mel.shape[2]
    return log_mel.logsumexp(dim=(1, 2), keepdim=True) - math.log(n_values)


class LogMelNoise(Augmentation):
    """Add Gaussian noise to the logarithm, of a random strength per clip.

    Log-mel power of shape (batch, n_mels, n_frames) in and out.

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

    def augment(self, x: Tensor) -> Tensor:
        """Disturb log-mel power."""
        return x + torch.randn_like(x) * uniform(x, 0.0, self.strength)
