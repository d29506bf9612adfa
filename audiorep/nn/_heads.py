"""Heads: what stands on a backbone during training and is thrown away after."""

import torch
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Two linear layers between an embedding and the space where views are compared.

    What goes into either is standardised over the batch.

    Parameters
    ----------
    embedding_dim : int
        Length of the embeddings.
    hidden_dim : int, default=256
        Length of the hidden layer.
    projection_dim : int, default=128
        Length of the projections.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import ProjectionHead
    >>> ProjectionHead(32)(torch.randn(4, 32)).shape
    torch.Size([4, 128])
    """

    def __init__(
        self, embedding_dim: int, hidden_dim: int = 256, projection_dim: int = 128
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(embedding_dim),
            nn.Linear(embedding_dim, hidden_dim, bias=False),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, projection_dim),
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """Project embeddings of shape (batch, embedding_dim) to (batch, projection_dim)."""
        return self.layers(embedding)


class ComparisonHead(nn.Module):
    """Tell from the embeddings of two views how they differ.

    Parameters
    ----------
    embedding_dim : int
        Length of the embeddings.
    n_outputs : int
        Numbers that tell a difference.
    hidden_dim : int, default=256
        Length that each embedding is reduced to, and of the hidden layer.

    References
    ----------
    Lee et al., Improving Transferability of Representations via Augmentation-Aware
    Self-Supervision, 2021, arXiv:2111.09613.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import ComparisonHead
    >>> ComparisonHead(32, n_outputs=3)(torch.randn(4, 32), torch.randn(4, 32)).shape
    torch.Size([4, 3])
    """

    def __init__(self, embedding_dim: int, n_outputs: int, hidden_dim: int = 256) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.BatchNorm1d(embedding_dim),
            nn.Linear(embedding_dim, hidden_dim, bias=False),
            nn.BatchNorm1d(hidden_dim),
        )
        self.compare = nn.Sequential(
            nn.ReLU(),
            nn.Linear(2 * hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, n_outputs),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare embeddings of shape (batch, embedding_dim), to (batch, n_outputs)."""
        both = self.reduce(torch.cat((first, second))).chunk(2)
        return self.compare(torch.cat(both, dim=1))
