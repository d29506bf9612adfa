"""The convolutional backbone: log-mels to embeddings, and to feature maps of every depth."""

import itertools
import operator

import torch
from torch import Tensor, nn

from audiorep.nn._conv_block import ConvBlock, as_image

_N_STATISTICS = 5  # of every channel: maximum, standard deviation, three means


class ConvBackbone(nn.Module):
    """A small strided convolutional network.

    The first filters look at 7 by 7 bins and step by 4, the others at 3 by 3 and step by 2: most
    of the work is done at low resolution, so that a step of training is cheap.

    Parameters
    ----------
    n_mels : int, default=64
        Number of mel bands of the input.
    width : int, default=32
        Channels of the first stage; every further stage has twice as many.
    n_stages : int, default=3
        Number of stages.
    n_bands : int, default=4
        Frequency bands that are kept of every map; bands of finer maps are averaged.

    Attributes
    ----------
    embedding_dim : int
        Length of an embedding: five statistics of every channel and band of every stage.
    time_stride : int
        Frames from one position of the deepest map to the next.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import ConvBackbone
    >>> backbone = ConvBackbone(n_mels=64, width=8).eval()
    >>> [tuple(m.shape) for m in backbone.feature_maps(torch.zeros(2, 64, 96))]
    [(2, 32, 24), (2, 64, 12), (2, 128, 6)]
    >>> backbone(torch.zeros(2, 64, 96)).shape
    torch.Size([2, 1120])
    """

    def __init__(
        self, n_mels: int = 64, width: int = 32, n_stages: int = 3, n_bands: int = 4
    ) -> None:
        super().__init__()
        self.n_bands = n_bands
        channels = [width * 2**i for i in range(n_stages)]
        stages = [ConvBlock(1, width, kernel_size=7, stride=4)]
        for n_in, n_out in itertools.pairwise(channels):
            stages.append(ConvBlock(n_in, n_out, kernel_size=3, stride=2))
        self.stages = nn.ModuleList(stages)
        self.time_stride = 4 * 2 ** (n_stages - 1)
        bands = [min(n_bands, -(-n_mels // (4 * 2**i))) for i in range(n_stages)]
        self.embedding_dim = _N_STATISTICS * sum(map(operator.mul, channels, bands))

    def feature_maps(self, x: Tensor, first: int = 0) -> list[Tensor]:
        """Return the output of the stages, from shallow to deep.

        Parameters
        ----------
        x : Tensor of shape (batch, n_mels, n_frames)
            Standardised log-mels.
        first : int, default=0
            The stage to begin with.

        Returns
        -------
        list of Tensor of shape (batch, n_channels, n_positions)
            Frequency is folded into the channels: channel ``c * n_bands + b`` is filter ``c`` in
            band ``b``.
        """
        maps = self._stage_maps(x)[first:]
        return [fold_bands(stage_map.float(), self.n_bands) for stage_map in maps]

    def _stage_maps(self, x: Tensor) -> list[Tensor]:
        """Return the output of every stage, (batch, n_filters, n_bands, n_positions)."""
        maps = []
        x = as_image(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor, n_valid: Tensor | None = None) -> Tensor:
        """Return embeddings: statistics over time of the maps of all stages.

        They are maximum, standard deviation, and means in the first, middle and last part, which
        overlap. An objective that sees every depth trains every depth.

        Parameters
        ----------
        x : Tensor of shape (batch, n_mels, n_frames)
            Standardised log-mels.
        n_valid : Tensor of shape (batch,), default=None
            Frames that belong to the clip; None means all.

        Returns
        -------
        Tensor of shape (batch, embedding_dim)
        """
        valid = torch.ones(len(x), dtype=torch.float32, device=x.device)
        if n_valid is not None:
            valid = n_valid.float() / x.shape[-1]
        return torch.cat([_statistics(m, valid) for m in self.feature_maps(x)], dim=1)


def fold_bands(stage_map: Tensor, n_bands: int) -> Tensor:
    """Average frequency bands where there are too many, and fold them into the channels.

    Parameters
    ----------
    stage_map : Tensor of shape (batch, n_filters, n_map_bands, n_positions)
    n_bands : int
        Bands that are kept, at most.

    Returns
    -------
    Tensor of shape (batch, n_filters * min(n_bands, n_map_bands), n_positions)
    """
    n_map_bands, n_positions = stage_map.shape[2:]
    if n_map_bands > n_bands and n_map_bands % n_bands:
        stage_map = nn.functional.adaptive_avg_pool2d(stage_map, (n_bands, n_positions))
    # Filters last, as convolutions on a processor like them: what follows takes half the time.
    folded = stage_map.permute(0, 2, 3, 1)
    if n_map_bands > n_bands and n_map_bands % n_bands == 0:
        # Slices are added: a mean over an axis inside takes twice as long.
        slices = torch.unflatten(folded, 1, (n_bands, -1)).unbind(2)
        folded = sum(slices[1:], slices[0]) / len(slices)
    return folded.permute(0, 2, 3, 1).flatten(2).transpose(1, 2)


def _statistics(feature_map: Tensor, valid: Tensor) -> Tensor:
    """Return statistics over the first part of a map, (batch, 5 * n_channels).

    They are maximum, standard deviation, and means of three overlapping parts. A part weighs
    positions by a triangle around its centre, so nothing jumps at a border.

    Parameters
    ----------
    feature_map : Tensor of shape (batch, n_channels, n_positions), float32
    valid : Tensor of shape (batch,)
        Share of the positions that belong to the clip.
    """
    n_positions = feature_map.shape[-1]
    position = torch.arange(n_positions, device=feature_map.device)
    counts = (valid * n_positions).ceil().clamp(1, n_positions)[:, None]
    inside = position < counts
    centre = (torch.arange(3, dtype=counts.dtype, device=counts.device) + 0.5) / 3
    distance = ((position / counts)[:, None] - centre[:, None]).abs()
    triangles = (1 - 3 * distance).clamp_min(0) + 1e-6  # (batch, 3, n_positions)
    weight = torch.cat((torch.ones_like(triangles[:, :1]), triangles), dim=1) * inside[:, None]
    weight = weight / weight.sum(2, keepdim=True)
    steps = feature_map.transpose(1, 2)
    with torch.autocast(steps.device.type, enabled=False):
        whole, parts = torch.split(torch.bmm(weight, steps), [1, 3], dim=1)
        # Detached, for the mean is where the variance is least: its gradient is zero.
        variance = torch.bmm(weight[:, :1], (steps - whole.detach()).square())
    deviation = (variance + 1e-4).sqrt()  # where nothing varies, the root alone has no gradient
    maximum = steps.masked_fill(~inside[:, :, None], -torch.inf).amax(1)
    return torch.cat((maximum, deviation.flatten(1), parts.flatten(1)), dim=1)
