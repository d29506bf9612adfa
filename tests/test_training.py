"""The training loop, its schedule and its randomness."""

import threading
from itertools import pairwise

import pytest
import torch
from torch import nn

from audiorep._training import resolve_precision, seeded, train, warm_up_cosine


class Parabola(nn.Module):
    """Squared distance of a weight from what the batch says."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 1))

    def forward(self, target):
        return (self.weight - target).square().mean()


def forever(target):
    while True:
        yield (target,)


def test_finds_the_minimum():
    parabola, target = Parabola(), torch.tensor([[1.0], [2.0], [3.0]])
    losses = train(parabola, forever(target), n_steps=300, learning_rate=0.1, weight_decay=0.0)
    assert len(losses) == 300
    assert losses[-1] < 1e-3
    assert not parabola.training


def test_a_diverging_loss_is_told():
    with pytest.raises(FloatingPointError, match=r"lower learning_rate=0\.1"):
        train(
            Parabola(),
            forever(torch.tensor([[torch.nan]])),
            n_steps=3,
            learning_rate=0.1,
            weight_decay=0.0,
        )


def test_schedule_rises_then_falls():
    factors = [warm_up_cosine(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert all(a >= b for a, b in pairwise(factors[9:]))
    assert factors[-1] < 0.01


def test_seeded_blocks_are_alike_and_leave_no_trace():
    state = torch.random.get_rng_state()
    with seeded(7):
        first = torch.rand(3)
    with seeded(7):
        again = torch.rand(3)
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_threads_do_not_disturb_each_other():
    def draw(results, i):
        with seeded(7):
            results[i] = torch.stack([torch.rand(100) for _ in range(200)])

    results = {}
    threads = [threading.Thread(target=draw, args=(results, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(results[0], results[i]) for i in range(4))


def test_precision_is_taken_as_told():
    cpu = torch.device("cpu")
    assert resolve_precision("float32", cpu) == torch.float32
    assert resolve_precision("bfloat16", cpu) == torch.bfloat16
    assert resolve_precision("auto", cpu) in (torch.float32, torch.bfloat16)
