"""Standardising log-mels with the statistics of the training clips."""

import torch
from torch import Tensor, nn


class LogMelScaler(nn.Module):
    """Bring log-mel power to mean zero and variance one, and mark padding.

    Parameters
    ----------
    padding : float, default=-2.0
        Standardised value of the frames behind a clip's end: as quiet as quiet passages are.

    Attributes
    ----------
    mean, scale : Tensor of shape ()
        Set by `set_statistics`; they are part of the module's state.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import LogMelScaler
    >>> scaler = LogMelScaler()
    >>> scaler.set_statistics(mean=1.0, scale=2.0)
    >>> scaler(torch.tensor([[[-1.0, 3.0, 3.0]]]), torch.tensor([2]))
    tensor([[[-1.,  1., -2.]]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, padding: float = -2.0) -> None:
        super().__init__()
        self.padding = padding
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def set_statistics(self, mean: float, scale: float) -> None:
        """Take mean and standard deviation of the training clips' log-mels."""
        self.mean.fill_(mean)
        self.scale.fill_(scale)

    def forward(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Standardise.

        Parameters
        ----------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
        n_valid : Tensor of shape (batch,)
            Frames that belong to the clip; those behind get the padding's value.

        Returns
        -------
        Tensor of shape (batch, n_mels, n_frames)
        """
        frame = torch.arange(log_mel.shape[-1], device=log_mel.device)
        outside = frame >= n_valid[:, None, None]
        # In place from the second step on: half of the time is that of new memory.
        return (log_mel - self.mean).div_(self.scale).masked_fill_(outside, self.padding)
