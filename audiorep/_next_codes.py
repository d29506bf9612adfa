"""NextCodes: how likely the codes of a step are, given the steps before."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from audiorep._training import Objective, train

# A code that was seen this many times before others is trusted as much as what holds in general.
_PRIOR_STRENGTH = 20.0


class Counts(NamedTuple):
    """What was counted; see `NextCodes`."""

    common: Tensor
    along_time: Tensor
    across_bands: Tensor


class NextCodes(Objective):
    """The distribution of a step's codes, given the steps before.

    The codes of a step are drawn one after another, from low to high frequencies. What has been
    counted says most: how common a code is, what follows it along time, and what goes with the
    code below it. A linear layer on the transformer's state adds what counts do not know::

        log p = common + followed * along_time + stacked * across_bands + linear(state)

    Parameters
    ----------
    n_bands : int
        Codes of a step.
    n_codes : int
        Size of the codebook.
    dim : int
        Length of a state.

    Attributes
    ----------
    common : Tensor of shape (n_bands, n_codes)
        Logarithm of how often a band has a code; minus infinity for codes that are not in use.
    along_time : Tensor of shape (n_bands, n_codes, n_codes)
        How much more likely (in nats) the last index is a step after the one before it.
    across_bands : Tensor of shape (n_bands - 1, n_codes, n_codes)
        How much more likely (in nats) the last index is above the one before it.
    """

    common: Tensor
    along_time: Tensor
    across_bands: Tensor

    def __init__(self, n_bands: int, n_codes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("common", torch.zeros(n_bands, n_codes))
        self.register_buffer("along_time", torch.zeros(n_bands, n_codes, n_codes))
        self.register_buffer("across_bands", torch.zeros(n_bands - 1, n_codes, n_codes))
        self.followed = nn.Parameter(torch.ones(n_bands))
        self.stacked = nn.Parameter(torch.ones(n_bands - 1))
        self.first = nn.Parameter(torch.zeros(n_bands, n_codes))
        self.linear = nn.Linear(dim, n_bands * n_codes)
        with torch.no_grad():
            self.linear.weight.zero_()  # counts are all that is known at first
            self.linear.bias.zero_()

    def first_logits(self) -> Tensor:
        """Return what is known of the first step: logits of shape (n_bands, n_codes)."""
        return self.common + self.first

    def later_logits(self, states: Tensor, codes: Tensor) -> Tensor:
        """Return what steps tell of the ones after them.

        Parameters
        ----------
        states : Tensor of shape (batch, n_steps, dim)
            The transformer's.
        codes : Tensor of shape (batch, n_steps, n_bands), int64

        Returns
        -------
        Tensor of shape (batch, n_steps, n_bands, n_codes)
            Logits of the codes one step later, as long as the bands below are not known.
        """
        band = torch.arange(codes.shape[2], device=codes.device)
        learned = self.linear(states).float().unflatten(-1, self.common.shape)
        counted = self.followed[:, None] * self.along_time[band, codes]
        return self.common + counted + learned

    def logits_above(self, codes: Tensor, band: int | Tensor) -> Tensor:
        """Return what the codes of `band` add to the logits of the band above it.

        Parameters
        ----------
        codes : Tensor of shape (...), int64
        band : int, or Tensor of a shape that goes with (...)

        Returns
        -------
        Tensor of shape (..., n_codes)
        """
        return self.stacked[band][..., None] * self.across_bands[band, codes]

    def logits(self, states: Tensor, codes: Tensor) -> Tensor:
        """Return the logits of every code given all before it.

        Parameters
        ----------
        states : Tensor of shape (batch, n_steps, dim)
            The transformer's; each knows the codes up to its step.
        codes : Tensor of shape (batch, n_steps, n_bands), int64

        Returns
        -------
        Tensor of shape (batch, n_steps, n_bands, n_codes)
        """
        first = self.first_logits().expand(len(codes), 1, -1, -1)
        later = self.later_logits(states[:, :-1], codes[:, :-1])
        band = torch.arange(codes.shape[2] - 1, device=codes.device)
        above = self.logits_above(codes[:, :, :-1], band)
        # The lowest band has none below it.
        return torch.cat((first, later), dim=1) + nn.functional.pad(above, (0, 0, 1, 0))

    def forward(self, states: Tensor, codes: Tensor, valid: Tensor) -> Tensor:
        """Return the mean negative log-likelihood over valid steps, in nats per code."""
        logits = self.logits(states, codes)[valid]
        return nn.functional.cross_entropy(logits.flatten(0, 1), codes[valid].flatten())

    @torch.no_grad()
    def count(
        self, batches: Iterator[tuple[Tensor, Tensor]], n_steps: int, in_use: Tensor
    ) -> Counts:
        """Count codes, and return the logarithms of their smoothed frequencies.

        Parameters
        ----------
        batches : iterator of (codes, valid)
            Codes of shape (batch, n_steps, n_bands), and which of their steps are to be counted.
            It may show a step many times.
        n_steps : int
            Steps that are really there: how much the counts are trusted.
        in_use : Tensor of shape (n_codes,), bool
            The codes that there are.

        Returns
        -------
        Counts
        """
        n_bands, n_codes = self.common.shape
        total, n_seen = self.common.new_zeros(n_bands, n_codes), 0
        after, above = torch.zeros_like(self.along_time), torch.zeros_like(self.across_bands)
        for codes, valid in batches:
            n_seen += int(valid.sum())
            both = valid[:, 1:] & valid[:, :-1]
            for band in range(n_bands):
                now = codes[:, :, band]
                total[band] += torch.bincount(now[valid], minlength=n_codes)
                after[band] += _pairs(now[:, :-1][both], now[:, 1:][both], n_codes)
                if band:
                    below = codes[:, :, band - 1]
                    above[band - 1] += _pairs(below[valid], now[valid], n_codes)
        weight = n_steps / n_seen
        common = (weight * total + 1) * in_use
        common /= common.sum(1, keepdim=True)
        return Counts(
            common.log(),
            _log_ratio(weight * after, common),
            _log_ratio(weight * above, common[1:]),
        )

    def set_counts(self, counts: Counts) -> None:
        """Take what was counted."""
        self.common.copy_(counts.common)
        self.along_time.copy_(counts.along_time)
        self.across_bands.copy_(counts.across_bands)

    def fit(
        self,
        batches: Iterator[tuple[Tensor, Tensor, Tensor]],
        *,
        n_steps: int = 300,
        learning_rate: float = 2e-3,
        dtype: torch.dtype = torch.float32,
    ) -> list[float]:
        """Learn what the states add to the counts.

        Parameters
        ----------
        batches : iterator of (states, codes, valid)
            As for `forward`.
        n_steps : int, default=300
            Steps of the optimiser.
        learning_rate : float, default=2e-3
            Its peak.
        dtype : torch.dtype, default=torch.float32
            What matrix products are computed in.

        Returns
        -------
        list of float
            The loss of every step, in nats per code.
        """
        return train(
            self,
            batches,
            n_steps=n_steps,
            learning_rate=learning_rate,
            weight_decay=0.05,
            dtype=dtype,
        )["loss"]


def _pairs(first: Tensor, second: Tensor, n_codes: int) -> Tensor:
    """Count pairs of codes; the result has shape (n_codes, n_codes)."""
    return torch.bincount(first * n_codes + second, minlength=n_codes**2).view(n_codes, n_codes)


def _log_ratio(pairs: Tensor, common: Tensor) -> Tensor:
    """Return the logarithm of how much more likely pairs make their second code.

    Few pairs say little: the frequencies are those of the counts and of `_PRIOR_STRENGTH` codes
    as they are common.
    """
    prior = _PRIOR_STRENGTH * common[:, None]
    smoothed = (pairs + prior) / (pairs.sum(2, keepdim=True) + _PRIOR_STRENGTH)
    return (smoothed / common[:, None]).log().nan_to_num(0.0, neginf=0.0)
