"""What all augmentations share."""

import inspect
import math
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

DECIBEL = math.log(10.0) / 10.0  # one decibel of power, in natural logarithm


class Augmentation(nn.Module, ABC):
    """Base class of the augmentations: nothing happens in ``eval()``, the dtype is kept.

    A subclass stores the arguments of its constructor under their own names, and draws for every
    clip anew in `augment`, in one vectorised operation. It takes log-mel power, unless it names
    other `_axes`.

    One that changes every clip as a whole may tell by how much, so that an encoder can learn to
    tell it, too (`augmentation_awareness`): `n_drawn` numbers per clip, which `augment` leaves in
    `drawn`.

    Attributes
    ----------
    n_drawn : int
        Numbers that tell how a clip was changed; 0 where nothing is told.
    drawn : Tensor of shape (batch, n_drawn) or None
        Those of the last batch, None where nothing was done. They are not pickled.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import Augmentation
    >>> class Lift(Augmentation):
    ...     n_drawn = 1
    ...
    ...     def augment(self, x):
    ...         self.drawn = torch.rand(len(x), 1, device=x.device)
    ...         return x + self.drawn[:, :, None]
    >>> Lift()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])
    """

    _axes: ClassVar[tuple[str, ...]] = ("batch", "n_mels", "n_frames")
    n_drawn: int = 0
    drawn: Tensor | None = None

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Alter a batch.

        Parameters
        ----------
        x : Tensor of shape (batch, n_mels, n_frames), or (batch, n_timesteps) for waveforms
            One clip per row, of any floating dtype.

        Returns
        -------
        Tensor
            Of the same shape and dtype; in ``eval()`` the very same tensor.

        Raises
        ------
        ValueError
            When `x` is anything else.
        """
        if not isinstance(x, Tensor) or x.ndim != len(self._axes) or not x.is_floating_point():
            came = type(x).__name__
            if isinstance(x, Tensor):
                came = f"one of shape {tuple(x.shape)}, {x.dtype}"
            raise ValueError(
                f"{type(self).__name__} takes a tensor of shape ({', '.join(self._axes)}) of "
                f"floating numbers, but got {came}; use torch.from_numpy(clips) for an array of "
                "clips, and clip[None] for a single one."
            )
        self.drawn = None
        if not self.training or not x.numel():
            return x
        with torch.autocast(x.device.type, enabled=False):
            return self.augment(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)

    @abstractmethod
    def augment(self, x: Tensor) -> Tensor:
        """Alter a batch in float32 or float64, without changing `x` itself."""

    def _check_range(
        self, *names: str, low: float = 0.0, high: float = math.inf, kind: Any = Real
    ) -> None:
        """Raise a ValueError where one of these arguments is no number in a range."""
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, kind) or not low <= value <= high:
                number = "a whole number" if kind is Integral else "a number"
                limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"from {low:g} on"
                raise ValueError(
                    f"{type(self).__name__}: {name}={value!r} must be {number} {limits}."
                )

    def _check_order(self, lowest: str, highest: str) -> None:
        """Raise a ValueError where one argument is above another that bounds the same range."""
        low, high = getattr(self, lowest), getattr(self, highest)
        if not low <= high:  # NaN neither
            raise ValueError(
                f"{type(self).__name__}: {lowest}={low!r} must not be above {highest}={high!r}."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "drawn"}

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


def partners(*of_clips: Tensor) -> list[Tensor]:
    """Give every clip of a batch, of two or more, what is another one's; each is given once."""
    offset = int(torch.randint(1, len(of_clips[0]), ()))
    return [x.roll(offset, 0) for x in of_clips]
