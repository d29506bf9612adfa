"""Alignment, uniformity and effective rank: closed forms, slow references, what changes nothing."""

import math

import numpy as np
import pytest
import torch

from audiorep.nn import alignment, effective_rank, uniformity


@pytest.fixture
def vectors():
    return torch.randn(2, 12, 7, generator=torch.Generator().manual_seed(0))


def unit(vector):
    return vector / vector.norm()


def test_alignment_in_closed_form():
    basis = torch.eye(4)
    assert alignment(basis, basis).item() == 0
    assert alignment(basis, basis.roll(1, 0)).item() == pytest.approx(2)
    assert alignment(basis, -basis).item() == pytest.approx(4)


def test_alignment_equals_the_loop(vectors):
    first, second = vectors
    squares = [(unit(a) - unit(b)).square().sum() for a, b in zip(first, second, strict=True)]
    assert alignment(first, second).item() == pytest.approx(np.mean(squares), rel=1e-5)


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_equals_the_double_loop(vectors, t):
    rows = vectors[0]
    total = 0.0
    for i in range(12):
        for j in range(12):
            if i != j:
                total += math.exp(-t * (unit(rows[i]) - unit(rows[j])).square().sum())
    assert uniformity(rows, t).item() == pytest.approx(math.log(total / (12 * 11)), rel=1e-5)


def test_uniformity_in_closed_form():
    assert uniformity(torch.ones(5, 3)).item() == pytest.approx(0, abs=1e-5)
    assert uniformity(torch.eye(5)).item() == pytest.approx(-4)
    assert uniformity(torch.tensor([[1.0], [-1.0]])).item() == pytest.approx(-8)


def test_uniformity_of_points_all_over_the_sphere():
    # In three dimensions the cosine of two of them is uniform from -1 to 1.
    points = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0))
    expected = math.log(math.exp(-4) * math.sinh(4) / 4)
    assert uniformity(points).item() == pytest.approx(expected, abs=0.02)
    # The uniform distribution is the best there is.
    assert uniformity(points + torch.tensor([0.5, 0.0, 0.0])) > uniformity(points) + 0.05


def test_effective_rank_in_closed_form():
    cross = torch.cat((torch.eye(6)[:4], -torch.eye(6)[:4]))
    assert effective_rank(cross).item() == pytest.approx(4)
    # Singular values in proportion 8 : 4 : 2 : 2 have 1.75 bits.
    uneven = cross * torch.tensor([8.0, 4.0, 2.0, 2.0, 0.0, 0.0])
    assert effective_rank(uneven).item() == pytest.approx(2**1.75)


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (2, 5), (64, 128)])
def test_effective_rank_equals_the_singular_values(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) @ torch.diag(
        torch.logspace(0, -2, shape[1])
    )
    singular = np.linalg.svd(x.double().numpy() - x.double().numpy().mean(0), compute_uv=False)
    p = singular / singular.sum()
    expected = math.exp(-(p[p > 1e-9] * np.log(p[p > 1e-9])).sum())
    assert effective_rank(x).item() == pytest.approx(expected, rel=1e-4)
    assert effective_rank(x) <= min(shape[0] - 1, shape[1])


def test_effective_rank_where_nothing_varies():
    assert effective_rank(torch.zeros(8, 5)).item() == 0
    assert effective_rank(torch.ones(1, 5)).item() == 0
    # What rounding leaves of equal rows has every direction, and is nothing.
    row = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    assert effective_rank(row + 1e-8 * noise).item() == 0
    assert effective_rank(row + 1e-2 * noise).item() > 20


def test_what_changes_nothing(vectors):
    first, second = vectors
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(1)))
    lengths = torch.linspace(0.1, 9, 12)[:, None]
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(
        alignment(first @ rotation, lengths * second @ rotation), alignment(first, second), **close
    )
    torch.testing.assert_close(uniformity(lengths * first @ rotation), uniformity(first), **close)
    torch.testing.assert_close(
        effective_rank(5 * first @ rotation + 3), effective_rank(first), **close
    )


def test_gradients_lead_to_alignment_and_uniformity(vectors):
    first, second = (v.clone().requires_grad_() for v in vectors)
    alignment(first, second).backward()
    assert alignment(first - 0.1 * first.grad, second) < alignment(first, second)
    together = torch.ones(4, 3) + 0.1 * torch.eye(4)[:, :3]
    together.requires_grad_()
    uniformity(together).backward()
    assert uniformity(together - 0.1 * together.grad) < uniformity(together)


def test_half_precision_around_them_costs_nothing(vectors):
    first, second = vectors
    expected = alignment(first, second), uniformity(first), effective_rank(first)
    with torch.autocast("cpu", torch.bfloat16):
        found = alignment(first, second), uniformity(first), effective_rank(first)
    assert found == expected
    assert math.isfinite(effective_rank(first.bfloat16()))


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda: alignment(torch.ones(3), torch.ones(3)), r"\(3,\) came, but \(n, dim\)"),
        (lambda: alignment(torch.ones(3, 2), torch.ones(2, 2)), r"\(3, 2\) and \(2, 2\); row i"),
        (lambda: uniformity(torch.ones(1, 4)), "n >= 2"),
        (lambda: effective_rank(torch.ones(0, 4)), "n >= 1"),
    ],
)
def test_what_are_no_rows(compute, message):
    with pytest.raises(ValueError, match=message):
        compute()
