"""What tells a good set of embeddings from a collapsed one."""

import math

import torch
from torch import Tensor, nn


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Return how far two views of the same things are apart on the unit sphere.

    Rows are scaled to length one. 0 is the least, where both views agree; 2 is what vectors that
    have nothing to do with each other have on average; 4 the most.

    Parameters
    ----------
    first, second : Tensor of shape (n, dim)
        Embeddings of two views; row i of both is the same thing.

    Returns
    -------
    Tensor of shape ()
        Mean squared distance, float32.

    Raises
    ------
    ValueError
        When shapes differ or are not those of rows of vectors.

    References
    ----------
    Wang and Isola, Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere, 2020, arXiv:2005.10242.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import alignment
    >>> alignment(torch.eye(3), 5 * torch.eye(3)), alignment(torch.eye(3), torch.eye(3).flip(0))
    (tensor(0.), tensor(1.3333))
    """
    _check_rows(first, at_least=1)
    if first.shape != second.shape:
        raise ValueError(
            f"The views have shapes {tuple(first.shape)} and {tuple(second.shape)}; row i of both "
            "must be the same thing, so they must be alike."
        )
    return (_on_sphere(first) - _on_sphere(second)).square().sum(1).mean()


def uniformity(vectors: Tensor, t: float = 2.0) -> Tensor:
    """Return how evenly vectors are spread over the unit sphere: the lower, the more evenly.

    Rows are scaled to length one. The value is the logarithm of the mean of
    ``exp(-t * squared_distance)`` over all pairs: 0 where all rows are the same, and near
    ``-2 * t`` where they are uniform in many dimensions.

    Parameters
    ----------
    vectors : Tensor of shape (n, dim)
        Two rows at least.
    t : float, default=2.0
        The greater, the more close pairs count.

    Returns
    -------
    Tensor of shape ()
        The logarithm, float32.

    Raises
    ------
    ValueError
        When there are fewer than two rows.

    References
    ----------
    Wang and Isola, Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere, 2020, arXiv:2005.10242.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import uniformity
    >>> uniformity(torch.eye(3)), uniformity(torch.ones(3, 3)).abs() < 1e-5
    (tensor(-4.), tensor(True))
    """
    _check_rows(vectors, at_least=2)
    z = _on_sphere(vectors)
    squares = z.square().sum(1)
    with torch.autocast(z.device.type, enabled=False):
        product = z @ z.T
    squared_distance = (squares[:, None] + squares - 2 * product).clamp_min(0)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    of_pairs = (-t * squared_distance).masked_fill(itself, -torch.inf)
    return of_pairs.logsumexp((0, 1)) - math.log(len(z) * (len(z) - 1))


@torch.no_grad()
def effective_rank(vectors: Tensor) -> Tensor:
    """Return in how many directions vectors vary, weighed by how much.

    This is the exponential of the entropy of the singular values of the centred rows, scaled to
    sum to one: ``k`` where rows vary in ``k`` directions equally, and between 1 and ``k`` where
    they do unequally. It is 0 where all rows are the same, but for rounding in single precision.

    Parameters
    ----------
    vectors : Tensor of shape (n, dim)
        One row at least.

    Returns
    -------
    Tensor of shape ()
        On the CPU, float64, at most ``min(n - 1, dim)``. It carries no gradient.

    Raises
    ------
    ValueError
        When `vectors` does not hold rows.

    References
    ----------
    Roy and Vetterli, The Effective Rank: A Measure of Effective Dimensionality, 2007.
    Garrido et al., RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised
    Representations by Their Rank, 2023, arXiv:2210.02885.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import effective_rank
    >>> cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(effective_rank(cross).item(), 3)
    2.0
    >>> round(effective_rank(cross * torch.tensor([1.0, 0.1])).item(), 3)
    1.356
    """
    _check_rows(vectors, at_least=1)
    x = vectors.cpu().double()
    rounding = max(x.shape) * torch.finfo(torch.float32).eps * x.norm()
    x = x - x.mean(0)
    # The small Gram matrix has the squares of the singular values. Double precision makes up for
    # the digits that squaring costs.
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    singular = singular[singular > rounding]
    if not len(singular):
        return torch.zeros((), dtype=torch.double)
    return torch.special.entr(singular / singular.sum()).sum().exp()


def _on_sphere(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors.float(), dim=1)


def _check_rows(vectors: Tensor, at_least: int) -> None:
    if vectors.ndim != 2 or len(vectors) < at_least:
        raise ValueError(
            f"Vectors of shape {tuple(vectors.shape)} came, but (n, dim) is needed, with "
            f"n >= {at_least}."
        )
