"""Laws of NextCodes: what was counted is what is likely."""

import math

import pytest
import torch

from audiorep._next_codes import NextCodes


@pytest.fixture
def head():
    """Two bands: the lower one goes 0, 1, 2, 0, ...; the upper one is the lower one's twin."""
    torch.manual_seed(0)
    head = NextCodes(n_bands=2, n_codes=4, dim=3)
    lower = torch.arange(120).remainder(3)
    codes = torch.stack((lower, lower), dim=1)[None]
    in_use = torch.tensor([True, True, True, False])
    valid = torch.ones(1, 120, dtype=torch.bool)
    head.set_counts(head.count(iter([(codes, valid)]), 120, in_use))
    return head


def test_common_codes(head):
    expected = torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0])
    torch.testing.assert_close(head.common.exp(), expected.expand(2, -1))


def test_what_follows(head):
    codes = torch.tensor([[[0, 0]]])
    logits = head.later_logits(torch.zeros(1, 1, 3), codes)[0, 0]
    # 40 pairs beside a prior of 20: of 60, 40 and a third of 20 are a 1.
    p = (40 + 20 / 3) / 60
    assert logits.softmax(-1)[:, 1].tolist() == pytest.approx([p, p], rel=0.02)
    assert (logits[:, 3] == -math.inf).all()


def test_what_goes_with_the_band_below(head):
    above = head.logits_above(torch.tensor([0, 2]), 0)
    assert above.argmax(-1).tolist() == [0, 2]
    torch.testing.assert_close(above[0, 0], torch.tensor(3 * (40 + 20 / 3) / 60).log())


def test_steps_shown_twice_count_once():
    codes = torch.randint(5, (3, 40, 2), generator=torch.Generator().manual_seed(0))
    valid = torch.arange(40) < torch.tensor([40, 30, 1])[:, None]
    tables = []
    for n_times in (1, 3):
        head = NextCodes(2, 5, 3)
        in_use = torch.ones(5, dtype=torch.bool)
        tables.append(head.count(iter([(codes, valid)] * n_times), 71, in_use))
    for once, thrice in zip(*tables, strict=True):
        torch.testing.assert_close(once, thrice)


def test_steps_behind_the_end_do_not_count():
    codes = torch.randint(5, (2, 20, 2), generator=torch.Generator().manual_seed(0))
    valid = torch.arange(20) < torch.tensor([20, 7])[:, None]
    changed = torch.where(valid[:, :, None], codes, 4)
    tables = []
    for seen in (codes, changed):
        head = NextCodes(2, 5, 3)
        tables.append(head.count(iter([(seen, valid)]), 27, torch.ones(5, dtype=torch.bool)))
    for table, other in zip(*tables, strict=True):
        torch.testing.assert_close(table, other)


def test_states_are_learned_from(head):
    """The state tells the next code, which counts cannot."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(3, (16, 10, 2), generator=generator)
    states = torch.nn.functional.one_hot(codes.roll(-1, 1)[:, :, 0], 3).float() * 3
    valid = torch.ones(16, 10, dtype=torch.bool)
    losses = head.fit(iter([(states, codes, valid)] * 200), n_steps=200, learning_rate=0.05)
    assert losses[-1] < 0.6 * losses[0]


def test_one_band_has_none_above():
    head = NextCodes(1, 4, 3)
    assert head.logits(torch.zeros(2, 5, 3), torch.zeros(2, 5, 1).long()).shape == (2, 5, 1, 4)
