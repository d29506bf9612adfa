"""Filters, batch norm and rectifier: what convolutional networks here are made of."""

from torch import Tensor, nn


def as_image(log_mel: Tensor) -> Tensor:
    """Return log-mels, (batch, n_mels, n_frames), as images of one channel for convolutions.

    The channel is the last axis in memory, and so it is for the filters of all maps: on a
    processor, convolutions and what follows take less time. ``contiguous(memory_format=...)`` would
    not tell, for of one channel both layouts are the same.
    """
    return log_mel.contiguous()[..., None].permute(0, 3, 1, 2)


class ConvBlock(nn.Sequential):
    """A strided convolution, batch norm and ReLU.

    Outside training the norm is folded into the filters: one pass over the map instead of two.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    kernel_size : int
        Height and width of the filters; half of it is padded on every side.
    stride : int
        Step of the filters, along both axes.
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the map of `x`, (batch, n_in, n_bands, n_positions)."""
        filters, norm, rectifier = self
        if self.training:
            return rectifier(norm(filters(x)))
        assert isinstance(filters, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        assert norm.running_mean is not None
        # By hand, for torch's own fuse_conv_bn_weights cuts the gradients.
        gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = filters.weight * gain[:, None, None, None]
        bias = norm.bias - norm.running_mean * gain
        padding = filters.kernel_size[0] // 2
        return rectifier(nn.functional.conv2d(x, weight, bias, filters.stride, padding))
