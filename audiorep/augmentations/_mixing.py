"""What comes to a sound from elsewhere: background, noise, and another clip's style."""

import math

import torch
from torch import Tensor

from audiorep.augmentations._augmentation import Augmentation, partners, uniform


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
        self._check_range("max_ratio")
        self._check_range("probability", high=1.0)

    def augment(self, x: Tensor) -> Tensor:
        """Mix log-mel power."""
        if len(x) < 2:
            return x
        power = _mean_power(x)
        background, of_background = partners(x, power)
        ratio = uniform(x, 0.0, self.max_ratio)
        ratio = ratio * (uniform(x, 0.0, 1.0) < self.probability)
        # The logarithm of zero is -inf, and logaddexp then leaves the clip as it was.
        level = power - of_background + ratio.log()
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
        self._check_range("strength")

    def augment(self, x: Tensor) -> Tensor:
        """Disturb log-mel power."""
        return torch.randn_like(x).mul_(uniform(x, 0.0, self.strength)).add_(x)


class StyleMixing(Augmentation):
    """Move the level and spread of every mel band towards those of another clip of the batch.

    Mean and standard deviation over time tell of the microphone, the room and the background
    more than of what happens; they are mixed with another clip's, and what happens stays.
    Log-mel power of shape (batch, n_mels, n_frames) in and out.

    Parameters
    ----------
    probability : float, default=0.5
        Share of the clips that are altered.
    max_weight : float, default=1.0
        Largest weight of the other clip's style, at most 1; weights are drawn uniformly from 0
        up to it. At a weight of 1 every band has exactly the other clip's mean.
    floor : float, default=0.3
        Added to all standard deviations, in natural logarithm of power, so that a band of near
        silence is not blown up to the spread of a lively one.

    References
    ----------
    Zhou, Yang, Qiao and Xiang, Domain Generalization with MixStyle, 2021, arXiv:2104.02008.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import StyleMixing
    >>> x = torch.stack((torch.zeros(64, 96), torch.ones(64, 96)))
    >>> mixed = StyleMixing(probability=1.0)(x)
    >>> bool((mixed > 0).all() and (mixed < 1).all())
    True
    """

    def __init__(
        self, probability: float = 0.5, max_weight: float = 1.0, floor: float = 0.3
    ) -> None:
        super().__init__()
        self.probability = probability
        self.max_weight = max_weight
        self.floor = floor
        self._check_range("probability", "max_weight", high=1.0)
        self._check_range("floor")

    def augment(self, x: Tensor) -> Tensor:
        """Mix the styles of log-mel power."""
        if len(x) < 2:
            return x
        weight = uniform(x, 0.0, self.max_weight)
        weight = weight * (uniform(x, 0.0, 1.0) < self.probability)
        mean = x.mean(dim=2, keepdim=True)
        spread = x.std(dim=2, keepdim=True, correction=0) + self.floor
        style = torch.cat((mean, spread), 2)  # (batch, n_mels, 2)
        new_style = torch.lerp(style, partners(style)[0], weight)
        new_mean, new_spread = new_style[:, :, :1], new_style[:, :, 1:]
        # Written so that a weight of 0 changes nothing, not even the last bit.
        return x + (x - mean) * (new_spread / spread - 1) + (new_mean - mean)
