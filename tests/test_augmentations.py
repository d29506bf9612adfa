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
    TimeMask,
]


def sound(batch=6, seed=0):
    return torch.randn(batch, 64, 120, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", SIMPLE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_are_kept_and_every_clip_is_drawn_anew(kind, dtype):
    # Five dimensions of chance are drawn per clip, so equal clips must come out different.
    x = sound(2).to(dtype)[:1].repeat(64, 1, 1) if kind is not BackgroundMixing else sound(64)
    x = x.to(dtype)
    before = x.clone()
    y = kind()(x)
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert torch.equal(x, before)
    assert len(torch.unique((y - x).flatten(1).double(), dim=0)) > 16


@pytest.mark.parametrize("kind", SIMPLE)
def test_nothing_happens_in_eval(kind):
    assert torch.equal(kind().eval()(sound()), sound())


def test_compositions_do_nothing_in_eval():
    n_valid = torch.tensor([120, 60, 1, 5, 80, 120])
    for kind in (RandomResample, ViewAugmentation):
        y, n = kind().eval()(sound(), n_valid)
        assert torch.equal(y, sound())
        assert torch.equal(n, n_valid)


def test_same_seed_same_view():
    n_valid = torch.full((6,), 120)
    views = []
    for _ in range(2):
        torch.manual_seed(3)
        views.append(ViewAugmentation()(sound(), n_valid)[0])
    assert torch.equal(*views)


def test_shift_moves_a_tone_by_at_most_max_shift_and_spreads_over_the_range():
    x = torch.full((400, 64, 20), -10.0)
    x[:, 30] = 0.0
    y, _ = RandomResample(3.0, 0.0, 0.0)(x, torch.full((400,), 20))
    # The centre of gravity of what rises above the floor is where the tone went.
    weight = y[:, :, 5] + 10
    centre = (weight * torch.arange(64)).sum(1) / weight.sum(1)
    moved = centre - 30
    assert moved.abs().max() <= 3.0 + 1e-3
    assert moved.min() < -2.8
    assert moved.max() > 2.8


def test_time_stretch_moves_a_click_as_it_moves_the_end():
    x = torch.full((300, 64, 120), -10.0)
    x[:, :, 40] = 0.0
    y, n_valid = RandomResample(0.0, 0.0, 0.25)(x, torch.full((300,), 80))
    weight = y[:, 0] + 10
    place = (weight * torch.arange(120)).sum(1) / weight.sum(1)
    assert (place / n_valid - 0.5).abs().max() < 0.02
    assert place.min() >= 40 / 1.25 - 1
    assert place.max() <= 40 * 1.25 + 1
    assert place.max() - place.min() > 12


def test_without_amplitude_resampling_is_the_identity():
    n_valid = torch.full((6,), 70)
    y, n = RandomResample(0.0, 0.0, 0.0)(sound(), n_valid)
    torch.testing.assert_close(y, sound())
    assert torch.equal(n, n_valid)


def test_crop_of_120_frames_fills_a_window_of_96_at_any_speed():
    x = torch.arange(120.0).expand(300, 64, 120)
    y, n_valid = RandomResample()(x, torch.full((300,), 120))
    assert n_valid.min() >= 96
    # No frame of the window repeats the one before it.
    assert (y[:, 0, 1:96] > y[:, 0, :95]).all()


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
