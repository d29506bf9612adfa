"""What changes power over time: fades and reverberation."""

import math

import torch
from torch import Tensor, nn

from audiorep.augmentations._augmentation import DECIBEL, Augmentation, uniform


class RandomFade(Augmentation):
    """Fade every clip in and out: gains that are straight lines over time, in decibels.

    Both fades of a clip have a width and a depth of their own. Log-mel power of shape (batch,
    n_mels, n_frames) in and out.

    Parameters
    ----------
    max_width : float, default=48.0
        Largest duration of a fade, in frames; a fade is never longer than the clip.
    max_depth : float, default=20.0
        Largest attenuation, in decibels: that of the first frame when fading in, of the last
        when fading out.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomFade
    >>> faded = RandomFade(max_width=10)(torch.zeros(2, 64, 96))
    >>> bool((faded[:, :, 0] < 0).all()), bool((faded[:, :, 10:-10] == 0).all())
    (True, True)
    """

    def __init__(self, max_width: float = 48.0, max_depth: float = 20.0) -> None:
        super().__init__()
        self.max_width = max_width
        self.max_depth = max_depth
        self._check_range("max_width", "max_depth")

    def augment(self, x: Tensor) -> Tensor:
        """Fade log-mel power."""
        since_start = torch.arange(x.shape[2], device=x.device)
        return x + self._fade(x, since_start) + self._fade(x, since_start.flip(0))

    def _fade(self, x: Tensor, distance: Tensor) -> Tensor:
        """Gain in natural logarithm, (batch, 1, n_frames), deepest at a distance of 0 frames."""
        width = uniform(x, 0.0, min(self.max_width, len(distance))).clamp_min(1e-3)
        depth = uniform(x, 0.0, self.max_depth)
        return -depth * DECIBEL * (1 - distance / width).clamp_min(0)


class ReverberantSmear(Augmentation):
    """Smear every clip along time in linear power, as the sound of a room lingers.

    Of the power of every frame, a share is spread over that frame and those behind it, in
    proportions that decay exponentially; the rest stays. Log-mel power of shape (batch, n_mels,
    n_frames) in and out.

    Parameters
    ----------
    max_decay_time : float, default=60.0
        Largest time in which the tail falls by 60 decibels, in frames.
    max_share : float, default=0.5
        Largest share of the power that goes into the tail.

    Notes
    -----
    A tail holds as much power as was taken for it, so a steady sound keeps its level, and a clip
    loses only what lingers beyond its end. Before the clip there is silence. No frame loses more
    than the share that is spread.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import ReverberantSmear
    >>> click = torch.full((2, 64, 96), -20.0)
    >>> click[:, :, 10] = 0.0
    >>> smeared = ReverberantSmear()(click)
    >>> bool((smeared[:, :, 10] < click[:, :, 10]).all())
    True

    Power is moved, not lost:

    >>> torch.allclose(smeared.exp().sum(dim=2), click.exp().sum(dim=2), rtol=1e-3)
    True
    """

    def __init__(self, max_decay_time: float = 60.0, max_share: float = 0.5) -> None:
        super().__init__()
        self.max_decay_time = max_decay_time
        self.max_share = max_share
        self._check_range("max_decay_time")
        self._check_range("max_share", high=1.0)

    def augment(self, x: Tensor) -> Tensor:
        """Smear log-mel power."""
        decay_time = uniform(x, 0.0, self.max_decay_time).clamp_min(1e-3)
        share = uniform(x, 0.0, self.max_share)
        log_decay = -60 * DECIBEL / decay_time
        # Relative to the loudest frame of each band, so that no power overflows.
        loudest = x.amax(dim=2, keepdim=True)
        tail = _decaying_sum((x - loudest).exp(), log_decay) * -torch.expm1(log_decay)
        # A tail may be too quiet for a number beside the loudest frame, and is -inf then; what
        # stays in place never leaves the logarithm.
        return torch.logaddexp(x + torch.log1p(-share), (share * tail).log() + loudest)


def _decaying_sum(power: Tensor, log_decay: Tensor) -> Tensor:
    """Add to each frame all earlier ones, weighted by ``exp(log_decay * distance)``.

    A sum over twice as many frames is two sums, so there are log2(n_frames) steps; nothing is
    ever subtracted, so quiet frames stay as exact as loud ones.
    """
    for k in range(math.ceil(math.log2(power.shape[-1]))):
        n = 2**k
        earlier = nn.functional.pad(power[..., :-n], (n, 0))
        power = power + earlier * (n * log_decay).exp()
    return power
