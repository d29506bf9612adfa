"""ViewAugmentation, and what a user puts in its place."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiorep.augmentations._masks import FrequencyMask, RandomFloor, TimeMask
from audiorep.augmentations._mixing import BackgroundMixing, LogMelNoise
from audiorep.augmentations._resample import RandomResample
from audiorep.augmentations._spectrum import RandomEqualizer, RandomGain


class ViewAugmentation(nn.Sequential):
    """The composition that makes a view for contrastive learning.

    In this order: floor, pitch, equaliser, gain, background, noise, and the two masks. It does not
    stretch time: crops come stretched already. Log-mel power of shape (batch, n_mels, n_frames)
    in and out.

    Examples
    --------
    >>> import torch
    >>> from audiorep.augmentations import RandomGain, ViewAugmentation
    >>> ViewAugmentation()(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 64, 96])

    Being a sequence, it can be taken apart:

    >>> without_gain = [part for part in ViewAugmentation() if not isinstance(part, RandomGain)]
    >>> len(without_gain)
    7
    """

    def __init__(self) -> None:
        super().__init__(
            RandomFloor(),
            RandomResample(max_time_stretch=0.0),
            RandomEqualizer(),
            RandomGain(),
            BackgroundMixing(),
            LogMelNoise(),
            FrequencyMask(),
            TimeMask(),
        )


class FrozenChain(nn.Module):
    """Copies of modules, applied in order, that training does not train.

    Parameters
    ----------
    modules : sequence of nn.Module
        Each takes and returns log-mels of shape (batch, n_mels, n_frames).
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(copy.deepcopy(list(modules))).requires_grad_(False)
        # Those that tell what they have drawn.
        self.telling: list[Any] = [
            part for part in self.parts.modules() if getattr(part, "n_drawn", 0)
        ]

    def drawn(self, like: Tensor) -> list[Tensor]:
        """Return what they have drawn for the last batch, each (batch, n_drawn).

        Zeros stand for one that was not called with the whole batch.
        """
        return [
            like.new_zeros(len(like), part.n_drawn)
            if part.drawn is None or len(part.drawn) != len(like)
            else part.drawn
            for part in self.telling
        ]

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Tensor:
        """Alter log-mels of shape (batch, n_mels, n_frames).

        Raises
        ------
        ValueError
            When a module does not return a tensor of the same shape and dtype, or one that is
            not finite.
        """
        # Full precision: what comes out is the data, whatever the network computes in.
        for part in self.telling:
            part.drawn = None
        with torch.autocast(log_mel.device.type, enabled=False):
            for part in self.parts:
                altered = part(log_mel)
                _check_alike(altered, log_mel, part)
                log_mel = altered
        return log_mel


def _check_alike(altered: object, log_mel: Tensor, module: nn.Module) -> None:
    came = type(altered).__name__
    if isinstance(altered, Tensor):
        if altered.shape == log_mel.shape and altered.dtype == log_mel.dtype:
            if not torch.isfinite(altered).all():
                raise ValueError(
                    f"{type(module).__name__} made NaN or infinity of log-mels that are finite; "
                    "look at the parameters of the augmentation."
                )
            return
        came = f"{tuple(altered.shape)}, {altered.dtype}"
    raise ValueError(
        f"An augmentation must return log-mels of the shape and dtype that it gets, but of "
        f"{tuple(log_mel.shape)}, {log_mel.dtype}, {type(module).__name__} made {came}."
    )


def check_augmentation(augmentation: object) -> None:
    """Check that all entries of a list are modules.

    Raises
    ------
    TypeError
        When one is not; the message names it.
    """
    for i, entry in enumerate(augmentation if isinstance(augmentation, Sequence) else ()):
        if not isinstance(entry, nn.Module):
            raise TypeError(
                f"augmentation[{i}] is {entry!r}, but must be an instance of torch.nn.Module that "
                "takes and returns log-mels, such as those of audiorep.augmentations."
            )


def make_augmentation(augmentation: nn.Module | Sequence[nn.Module] | None) -> FrozenChain:
    """Return what makes views: None stands for `ViewAugmentation`."""
    if augmentation is None:
        augmentation = ViewAugmentation()
    return FrozenChain([augmentation] if isinstance(augmentation, nn.Module) else augmentation)
