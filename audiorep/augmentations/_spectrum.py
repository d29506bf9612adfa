"""What a recording chain does to a spectrum: equaliser and gain."""

from numbers import Integral

import torch
from torch import Tensor, nn

from audiorep.augmentations._augmentation import DECIBEL, Augmentation, normal, uniform


class RandomEqualizer(Augmentation):
    """Filter every clip by a smooth random curve over frequency.

    Log-mel power of shape (batch, n_mels, n_frames) in and out.

    Parameters
    ----------
    strength : float, default=11.0
        Standard deviation of the curve's nodes, in decibels, of the most strongly filtered clips.
    tilt : float, default=2.2
        Standard deviation of a slope over the mel axis: the gain at its top, in decibels.
    n_nodes : int, default=6
        Nodes of the curve, evenly spread over the mel axis.

    Attributes
    ----------
    drawn : Tensor of shape (batch, n_nodes + 1)
        Of the last batch, in decibels: the curve at its nodes, and the slope's gain at the top.

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
        self._check_range("strength", "tilt")
        self._check_range("n_nodes", low=1, kind=Integral)
        self.n_drawn = n_nodes + 1

    def augment(self, x: Tensor) -> Tensor:
        """Filter log-mel power."""
        batch, n_mels, _ = x.shape
        nodes = torch.randn(batch, 1, self.n_nodes, device=x.device, dtype=x.dtype)
        nodes, tilt = nodes * uniform(x, 0.0, self.strength), normal(x, self.tilt)
        curve = nn.functional.interpolate(nodes, n_mels, mode="linear", align_corners=True)
        slope = torch.linspace(-1, 1, n_mels, device=x.device)[:, None]
        self.drawn = torch.cat((nodes[:, 0], tilt[:, 0]), dim=1)
        return x + (curve.transpose(1, 2) + slope * tilt) * DECIBEL


class RandomGain(Augmentation):
    """Make every clip louder or quieter.

    Log-mel power of shape (batch, n_mels, n_frames) in and out.

    Parameters
    ----------
    strength : float, default=4.3
        Standard deviation of the gain, in decibels.

    Attributes
    ----------
    drawn : Tensor of shape (batch, 1)
        Gains of the last batch, in decibels.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomGain
    >>> RandomGain()(torch.zeros(2, 64, 96)).std(dim=(1, 2))
    tensor([0., 0.])
    """

    n_drawn = 1

    def __init__(self, strength: float = 4.3) -> None:
        super().__init__()
        self.strength = strength
        self._check_range("strength")

    def augment(self, x: Tensor) -> Tensor:
        """Amplify log-mel power."""
        gain = normal(x, self.strength)
        self.drawn = gain[:, 0]
        return x + gain * DECIBEL
