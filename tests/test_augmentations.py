"""Augmentations of log-mels: what physics asks of each."""

import math

import pytest
import torch

from audiorep.augmentations import (
    BackgroundMixing,
    FrequencyMask,
    LogMelNoise,
    RandomEqualizer,
    RandomGain,
    RandomResample,
    TimeMask,
    ViewAugmentation,
)

SIMPLE = [
    BackgroundMixing,
    FrequencyMask,
    LogMelNoise,
    RandomEqualizer,
    RandomGain,
    RandomResample,
    TimeMask,
    ViewAugmentation,
]


def sound(batch=6, seed=0):
    return torch.randn(batch, 64, 120, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", SIMPLE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_and_dtype_are_kept_and_every_clip_is_drawn_anew(kind, dtype):
    # Five dimensions of chance are drawn per clip, so equal clips must come out different.
    x = sound(2).to(dtype)[:1].repeat(64, 1, 1) if kind is not BackgroundMixing else sound(64)
    x = x.to(dtype)
    before = x.clone()
    y = kind()(x)
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert torch.isfinite(y).all()
    assert torch.equal(x, before)
    assert len(torch.unique((y - x).flatten(1).double(), dim=0)) > 16


@pytest.mark.parametrize("kind", SIMPLE)
def test_nothing_happens_in_eval(kind):
    assert torch.equal(kind().eval()(sound()), sound())


def test_same_seed_same_view():
    views = []
    for _ in range(2):
        torch.manual_seed(3)
        views.append(ViewAugmentation()(sound()))
    assert torch.equal(*views)


def test_printing_tells_settings_apart():
    assert repr(RandomGain(2.0)) == "RandomGain(strength=2.0)"
    assert repr(RandomResample(1.0, 0.0, 0.5)) != repr(RandomResample())


def test_shift_moves_a_tone_by_at_most_max_shift_and_spreads_over_the_range():
    x = torch.full((400, 64, 20), -10.0)
    x[:, 30] = 0.0
    y = RandomResample(3.0, 0.0, 0.0)(x)
    # The centre of gravity of what rises above the floor is where the tone went.
    weight = y[:, :, 5] + 10
    centre = (weight * torch.arange(64)).sum(1) / weight.sum(1)
    moved = centre - 30
    assert moved.abs().max() <= 3.0 + 1e-3
    assert moved.min() < -2.8
    assert moved.max() > 2.8


def test_mel_stretch_moves_a_tone_in_proportion_to_its_band():
    x = torch.full((400, 64, 4), -10.0)
    x[:, [16, 48]] = 0.0
    weight = RandomResample(0.0, 0.2, 0.0)(x)[:, :, 0] + 10
    bands = torch.arange(64.0)
    low = (weight[:, :32] * bands[:32]).sum(1) / weight[:, :32].sum(1)
    high = (weight[:, 32:] * bands[32:]).sum(1) / weight[:, 32:].sum(1)
    inside = high < 58  # and not cut at the axis' end
    assert (high / low - 3).abs()[inside].max() < 0.06
    assert low.min() >= 16 * math.exp(-0.2) - 0.1
    assert low.max() <= 16 * math.exp(0.2) + 0.1
    assert low.max() - low.min() > 5


def test_time_stretch_moves_every_click_in_proportion_to_its_time():
    x = torch.full((300, 64, 120), -10.0)
    x[:, :, [30, 60]] = 0.0
    y = RandomResample(0.0, 0.0, 0.25)(x)[:, 0] + 10
    frames = torch.arange(120.0)
    middle = (y * frames).sum(1) / y.sum(1)  # the mean of both clicks' times
    first = torch.where(frames < middle[:, None], y, 0)
    early = (first * frames).sum(1) / first.sum(1)
    assert (middle / early - 1.5).abs().max() < 0.08
    assert early.min() >= 30 / 1.25 - 0.5
    assert early.max() <= 30 * 1.25 + 0.5
    assert early.max() - early.min() > 10


def test_a_clip_made_faster_ends_with_its_last_frame():
    x = torch.arange(120.0).expand(300, 64, 120)
    y = RandomResample(max_time_stretch=0.25)(x)[:, 0]
    faster = y[:, 1] > 1
    assert (y[faster, -1] == 119).all()
    assert (y[~faster, -1] < 120).all()
    assert (y.diff(dim=1) >= 0).all()


def test_without_amplitude_resampling_is_the_identity():
    torch.testing.assert_close(RandomResample(0.0, 0.0, 0.0)(sound()), sound())
    torch.testing.assert_close(RandomResample(1e-9, 0.0, 1e-9)(sound()), sound())


def test_powers_add():
    x = sound(2)
    y = BackgroundMixing(max_ratio=0.5, probability=1.0)(x).double().exp()
    power = x.double().exp()
    added, background = y - power, power.flip(0)
    factor = added / background
    # One factor per clip, and the mean power rises by at most the ratio.
    torch.testing.assert_close(
        factor, factor.mean((1, 2), keepdim=True).expand_as(factor), rtol=1e-3, atol=1e-4
    )
    ratio = added.mean((1, 2)) / power.mean((1, 2))
    assert (ratio > 0).all()
    assert (ratio < 0.5).all()


def test_no_clip_is_its_own_background_and_none_is_mixed_at_probability_zero():
    assert torch.equal(BackgroundMixing(probability=0.0)(sound()), sound())
    assert torch.equal(BackgroundMixing()(sound(1)), sound(1))
    x = torch.stack([torch.full((64, 120), v) for v in (0.0, 50.0)])
    x[0, 0] = 9.0
    x[1, 5] = 59.0
    difference = BackgroundMixing(probability=1.0)(x) - x
    assert difference[0, 5].mean() > 10 * difference[0, 0].mean()


def test_gain_is_one_number_per_clip_of_the_stated_spread():
    x = sound(4000)[:, :2, :2]
    gain = RandomGain(3.0)(x) - x
    torch.testing.assert_close(gain, gain[:, :1, :1].expand_as(gain), atol=1e-5, rtol=0)
    decibels = gain[:, 0, 0] * 10 / torch.log(torch.tensor(10.0))
    assert decibels.std().item() == pytest.approx(3.0, rel=0.05)


def test_equalizer_is_a_smooth_curve_over_frequency_and_constant_in_time():
    change = RandomEqualizer()(sound()) - sound()
    torch.testing.assert_close(change, change[:, :, :1].expand_as(change), atol=1e-5, rtol=0)
    curve = change[:, :, 0]
    # Pieces of straight line: the second difference vanishes nearly everywhere.
    bends = curve.diff(n=2, dim=1).abs() > 1e-4
    assert bends.float().mean() < 0.2
    assert curve.std() > 0.1


@pytest.mark.parametrize(("kind", "axis", "width"), [(FrequencyMask, 1, 8), (TimeMask, 2, 10)])
def test_a_mask_is_one_stretch_of_bounded_width(kind, axis, width):
    x = sound(200)
    changed = (kind(width)(x) != x).all(dim=3 - axis)
    count = changed.sum(1)
    assert count.max() <= width
    assert count.max() >= width - 2
    edges = changed.int().diff(dim=1).abs().sum(1)
    assert edges.max() <= 2
