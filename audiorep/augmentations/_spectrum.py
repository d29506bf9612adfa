"""What a recording chain does to a spectrum: equaliser and gain."""

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

    def augment(self, x: Tensor) -> Tensor:
        """Filter log-mel power."""
        batch, n_mels, _ = x.shape
        nodes = torch.randn(batch, 1, self.n_nodes, device=x.device, dtype=x.dtype)
        curve = nn.functional.interpolate(nodes, n_mels, mode="linear", align_corners=True)
        curve = curve.transpose(1, 2) * uniform(x, 0.0, self.strength)
        slope = torch.linspace(-1, 1, n_mels, device=x.device)[:, None]
        return x + (curve + slope * normal(x, self.tilt)) * DECIBEL


class RandomGain(Augmentation):
    """Make every clip louder or quieter.

    Log-mel power of shape (batch, n_mels, n_frames) in and out.

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

    def augment(self, x: Tensor) -> Tensor:
        """Amplify log-mel power."""
        return x + normal(x, self.strength) * DECIBEL
