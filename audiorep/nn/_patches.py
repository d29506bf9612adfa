"""Patches of log-mels: cutting, putting together, compressing, and turning into tokens."""

import torch
from torch import Tensor, nn

from audiorep.nn._conv_block import ConvBlock, as_image


def patchify(log_mel: Tensor, patch_mels: int, patch_frames: int) -> Tensor:
    """Cut log-mels into patches that do not overlap.

    Parameters
    ----------
    log_mel : Tensor of shape (batch, n_mels, n_frames)
        `n_mels` is a multiple of `patch_mels`, `n_frames` of `patch_frames`.
    patch_mels : int
        Mel bands of a patch.
    patch_frames : int
        Frames of a patch.

    Returns
    -------
    Tensor of shape (batch, n_steps, n_bands, patch_mels * patch_frames)
        Steps go along time, bands along frequency.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import patchify
    >>> patchify(torch.zeros(2, 64, 96), patch_mels=16, patch_frames=8).shape
    torch.Size([2, 12, 4, 128])
    """
    batch, n_mels, n_frames = log_mel.shape
    if n_mels % patch_mels or n_frames % patch_frames:
        raise ValueError(
            f"{n_mels} mel bands by {n_frames} frames cannot be cut into patches of {patch_mels} "
            f"by {patch_frames}; use multiples."
        )
    grid = log_mel.view(
        batch, n_mels // patch_mels, patch_mels, n_frames // patch_frames, patch_frames
    )
    return grid.permute(0, 3, 1, 2, 4).flatten(3)


def unpatchify(patches: Tensor, patch_mels: int, patch_frames: int) -> Tensor:
    """Put patches together: the inverse of `patchify`.

    Parameters
    ----------
    patches : Tensor of shape (batch, n_steps, n_bands, patch_mels * patch_frames)
        As `patchify` cuts them.
    patch_mels : int
        Mel bands of a patch.
    patch_frames : int
        Frames of a patch.

    Returns
    -------
    Tensor of shape (batch, n_bands * patch_mels, n_steps * patch_frames)

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import unpatchify
    >>> unpatchify(torch.zeros(2, 12, 4, 128), patch_mels=16, patch_frames=8).shape
    torch.Size([2, 64, 96])
    """
    batch, n_steps, n_bands, _ = patches.shape
    grid = patches.view(batch, n_steps, n_bands, patch_mels, patch_frames)
    return grid.permute(0, 2, 3, 1, 4).reshape(batch, n_bands * patch_mels, n_steps * patch_frames)


class PatchAutoencoder(nn.Module):
    """Three fully connected layers down to a bottleneck, and three back up.

    Parameters
    ----------
    patch_size : int
        Numbers in a patch: mel bands times frames.
    bottleneck_dim : int, default=64
        Length of a compressed patch.
    hidden_dim : int, default=256
        Length of the hidden layers.

    References
    ----------
    Verma and Smith, A Framework for Contrastive and Generative Learning of Audio
    Representations, 2020.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import PatchAutoencoder
    >>> autoencoder = PatchAutoencoder(patch_size=128)
    >>> autoencoder.encode(torch.zeros(10, 128)).shape
    torch.Size([10, 64])
    >>> autoencoder(torch.zeros(10, 128)).shape
    torch.Size([10, 128])
    """

    def __init__(self, patch_size: int, bottleneck_dim: int = 64, hidden_dim: int = 256) -> None:
        super().__init__()
        self.encoder = _three_layers(patch_size, hidden_dim, bottleneck_dim)
        self.decoder = _three_layers(bottleneck_dim, hidden_dim, patch_size)

    def encode(self, patches: Tensor) -> Tensor:
        """Compress patches of shape (..., patch_size) to (..., bottleneck_dim)."""
        return self.encoder(patches)

    def decode(self, bottleneck: Tensor) -> Tensor:
        """Expand vectors of shape (..., bottleneck_dim) to patches (..., patch_size)."""
        return self.decoder(bottleneck)

    def forward(self, patches: Tensor) -> Tensor:
        """Return what comes through the bottleneck, of shape (..., patch_size)."""
        return self.decode(self.encode(patches))


def _three_layers(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, n_hidden),
        nn.GELU(),
        nn.Linear(n_hidden, n_hidden),
        nn.GELU(),
        nn.Linear(n_hidden, n_out),
    )


class PatchStem(nn.Module):
    """Turn log-mels into one token per step, by convolutions that never look ahead of the step.

    A filter of width 3, stride 2 and one column of padding reads, for output ``t``, the inputs
    ``2 * t - 1`` to ``2 * t + 1``: the pair of columns that it replaces, and one before. A stack of
    them is causal in steps of ``2 ** n_stages`` frames, and its token sees almost a step of past.

    Parameters
    ----------
    n_mels : int, default=64
        Number of mel bands.
    dim : int, default=192
        Length of a token.
    n_channels : tuple of int, default=(16, 32, 128)
        Channels of the stages; each halves time and frequency.

    Attributes
    ----------
    patch_frames : int
        Frames of a step.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import PatchStem
    >>> PatchStem(n_mels=64, dim=192)(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 12, 192])
    """

    def __init__(
        self, n_mels: int = 64, dim: int = 192, n_channels: tuple[int, ...] = (16, 32, 128)
    ) -> None:
        super().__init__()
        channels = (1, *n_channels)
        self.stages = nn.Sequential(
            *(
                ConvBlock(n_in, n_out, kernel_size=3, stride=2)
                for n_in, n_out in zip(channels, n_channels, strict=False)
            )
        )
        self.patch_frames = 2 ** len(n_channels)
        n_bands = -(-n_mels // self.patch_frames)
        self.embed = nn.Linear(n_channels[-1] * n_bands, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Embed log-mels.

        Parameters
        ----------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
            Standardised; `n_frames` is a multiple of `patch_frames`.

        Returns
        -------
        Tensor of shape (batch, n_steps, dim)
        """
        return self.embed_map(self.stage_maps(log_mel)[-1])

    def stage_maps(self, log_mel: Tensor) -> list[Tensor]:
        """Return the output of every stage, each (batch, n_filters, n_bands, n_positions)."""
        maps = []
        x = as_image(log_mel)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def embed_map(self, last_map: Tensor) -> Tensor:
        """Turn the last stage's (batch, n_filters, n_bands, n_steps) into tokens.

        They have the shape (batch, n_steps, dim).
        """
        return self.norm(self.embed(last_map.permute(0, 3, 1, 2).flatten(2)))


def valid_steps(n_valid: Tensor, n_steps: int, patch_frames: int) -> Tensor:
    """Tell which steps belong to the clip: those that are at least half within it, and the first.

    Parameters
    ----------
    n_valid : Tensor of shape (batch,)
        Frames that belong to the clip.
    n_steps : int
        Steps of the window.
    patch_frames : int
        Frames of a step.

    Returns
    -------
    Tensor of shape (batch, n_steps), bool
    """
    step = torch.arange(n_steps, device=n_valid.device)
    return (step * patch_frames + patch_frames // 2 <= n_valid[:, None]) | (step == 0)
