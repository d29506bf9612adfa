"""What all augmentations share."""

import inspect
import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

DECIBEL = math.log(10.0) / 10.0  # one decibel of power, in natural logarithm


class Augmentation(nn.Module):
    """Base class of the augmentations: nothing happens in ``eval()``, the dtype is kept.

    A subclass stores the arguments of its constructor under their own names, and draws for every
    clip anew in `augment`, in one vectorised operation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Alter a batch.

        Parameters
        ----------
        x : Tensor of shape (batch, ...)
            One clip per row, of any floating dtype.

        Returns
        -------
        Tensor of shape (batch, ...)
            Of the same shape and dtype; in ``eval()`` the very same tensor.
        """
        if not self.training:
            return x
        return self.augment(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)

    @abstractmethod
    def augment(self, x: Tensor) -> Tensor:
        """Alter a batch in float32 or float64, without changing `x` itself."""

    def extra_repr(self) -> str:
        """Return the constructor's arguments, so that printing tells two settings apart."""
        names = inspect.signature(type(self)).parameters
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def uniform(x: Tensor, low: float, high: float) -> Tensor:
    """Draw one number per clip, of shape (batch, 1, ...), with as many axes as `x`."""
    shape = (len(x),) + (1,) * (x.ndim - 1)
    return torch.rand(shape, device=x.device, dtype=x.dtype) * (high - low) + low


def normal(x: Tensor, scale: float) -> Tensor:
    """Draw one number per clip, of shape (batch, 1, ...), with standard deviation `scale`."""
    shape = (len(x),) + (1,) * (x.ndim - 1)
    return torch.randn(shape, device=x.device, dtype=x.dtype) * scale


def partners(x: Tensor) -> Tensor:
    """Give every clip of a batch, of two or more, another one; each is given once."""
    return x.roll(int(torch.randint(1, len(x), ())), 0)
