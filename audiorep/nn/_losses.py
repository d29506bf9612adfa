"""Contrastive losses."""

import torch
from torch import Tensor, nn


class NTXentLoss(nn.Module):
    """Normalised temperature-scaled cross-entropy between two views of a batch.

    Every row has one positive, the other view of its clip, and as negatives both views of all
    other clips.

    Parameters
    ----------
    temperature : float, default=0.5
        Divides the cosine similarities.
    decoupled : bool, default=True
        Leave the positive out of the denominator, so that easy rows still teach in small batches.

    References
    ----------
    Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020.
    Yeh et al., Decoupled Contrastive Learning, 2022.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import NTXentLoss
    >>> view = torch.eye(2)
    >>> round(NTXentLoss(temperature=1.0, decoupled=False)(view, view).item(), 4)
    0.5514
    """

    def __init__(self, temperature: float = 0.5, decoupled: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.decoupled = decoupled

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the mean loss over all rows of both views.

        Parameters
        ----------
        first, second : Tensor of shape (batch, dim)
            Projections of two views; row i of both is the same clip.

        Returns
        -------
        Tensor of shape ()

        Raises
        ------
        ValueError
            When both have not the same shape, or there is one row only, which has no negatives.
        """
        if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
            raise ValueError(
                f"Views have the shapes {tuple(first.shape)} and {tuple(second.shape)}, but should "
                "both be (batch, dim), with two clips at least."
            )
        n = len(first)
        z = nn.functional.normalize(torch.cat((first, second)).float(), dim=1)
        # Similarities in bfloat16 would be too coarse for a temperature well below one.
        with torch.autocast(z.device.type, enabled=False):
            similarity = z @ z.T / self.temperature
        row = torch.arange(2 * n, device=z.device)
        partner = (row + n) % (2 * n)
        positive = similarity[row, partner]
        excluded = row[:, None] == row
        if self.decoupled:
            excluded = excluded | (partner[:, None] == row)
        denominator = similarity.masked_fill(excluded, -torch.inf).logsumexp(1)
        return (denominator - positive).mean()
