"""ViewAugmentation, and what a user puts in its place."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiorep.augmentations._augmentation import Augmentation
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
        found = (part for part in self.modules() if isinstance(part, Augmentation))
        self.telling = [part for part in found if part.n_drawn]  # of what they have drawn

    def told(self, n_clips: int) -> list[Tensor]:
        """Return what they have drawn for the last batch, each (n_clips, n_drawn).

        Zeros stand for one that was not called, or not with the whole batch.

        Raises
        ------
        ValueError
            When what is told has another shape, or is not finite.
        """
        return [_told_by(part, n_clips) for part in self.telling]

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
        for telling in self.telling:
            telling.drawn = None  # perhaps not all are called
        with torch.autocast(log_mel.device.type, enabled=False):
            for part in self.parts:
                altered = part(log_mel)
                _check_alike(altered, log_mel, part)
                log_mel = altered
        return log_mel


def _told_by(part: Augmentation, n_clips: int) -> Tensor:
    drawn = part.drawn
    if drawn is None or (isinstance(drawn, Tensor) and drawn.ndim and len(drawn) != n_clips):
        return torch.zeros(n_clips, part.n_drawn)
    shape = (n_clips, part.n_drawn)
    if not isinstance(drawn, Tensor) or drawn.shape != shape or not torch.isfinite(drawn).all():
        came = f"{tuple(drawn.shape)}" if isinstance(drawn, Tensor) else type(drawn).__name__
        raise ValueError(
            f"{type(part).__name__}.drawn must be a tensor of {shape}, finite numbers that tell "
            f"how each clip was changed, but is {came}; n_drawn = 0 tells nothing."
        )
    return drawn.float()


def _check_alike(altered: object, log_mel: Tensor, module: nn.Module) -> None:
    came = type(altered).__name__
    if isinstance(altered, Tensor):
        if altered.shape == log_mel.shape and altered.dtype == log_mel.dtype:
            # A sum takes a tenth of the time; it may overflow where no value does.
            if not torch.isfinite(altered.sum()) and not torch.isfinite(altered).all():
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
    """Check that an augmentation, or all entries of a list, are modules that can be called.

    Raises
    ------
    TypeError
        When one is not; the message names it.
    """
    named = {"augmentation": augmentation}
    if isinstance(augmentation, Sequence):
        named = {f"augmentation[{i}]": entry for i, entry in enumerate(augmentation)}
    for name, entry in named.items():
        # A ModuleList is a module, but has no forward of its own.
        forward = getattr(entry, "forward", None)
        has_none = getattr(forward, "__func__", forward) is nn.Module.forward
        can_be_called = isinstance(entry, nn.Module) and not has_none
        if augmentation is not None and not can_be_called:
            raise TypeError(
                f"{name} is {entry!r}, but must be an instance of torch.nn.Module that takes and "
                "returns log-mels, such as those of audiorep.augmentations, or a list of them."
            )


def make_augmentation(augmentation: nn.Module | Sequence[nn.Module] | None) -> FrozenChain:
    """Return what makes views: None stands for `ViewAugmentation`."""
    if augmentation is None:
        augmentation = ViewAugmentation()
    return FrozenChain([augmentation] if isinstance(augmentation, nn.Module) else augmentation)
