"""Augmentations of log-mels: what physics asks of each."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from audiorep.augmentations import (
    Augmentation,
    BackgroundMixing,
    FrequencyMask,
    LogMelNoise,
    RandomCrop,
    RandomEqualizer,
    RandomFade,
    RandomFloor,
    RandomGain,
    RandomResample,
    ReverberantSmear,
    StyleMixing,
    TimeMask,
    ViewAugmentation,
)
from audiorep.augmentations._views import FrozenChain

SIMPLE = [
    BackgroundMixing,
    FrequencyMask,
    LogMelNoise,
    RandomCrop,
    RandomEqualizer,
    RandomFade,
    RandomFloor,
    RandomGain,
    RandomResample,
    ReverberantSmear,
    StyleMixing,
    TimeMask,
    ViewAugmentation,
]

# Those that need other clips of the batch.
MIXING = [BackgroundMixing, StyleMixing]


def sound(batch=6, seed=0):
    return torch.randn(batch, 64, 120, generator=torch.Generator().manual_seed(seed))


def wide_sound(batch=6):
    """Some 150 decibels from the quietest to the loudest value."""
    return 4 * sound(batch)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", SIMPLE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_and_dtype_are_kept_and_every_clip_is_drawn_anew(kind, dtype):
    # Five dimensions of chance are drawn per clip, so equal clips must come out different.
    x = wide_sound(64) if kind in MIXING else wide_sound(1).repeat(64, 1, 1)
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


@pytest.mark.parametrize("kind", SIMPLE)
def test_same_seed_same_view(kind):
    views = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        views.append(kind()(wide_sound()))
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


@pytest.mark.parametrize("kind", SIMPLE)
def test_autocast_changes_nothing(kind):
    altered = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            altered.append(kind()(wide_sound()))
    assert torch.equal(*altered)


@pytest.mark.parametrize("kind", SIMPLE)
def test_what_is_no_batch_of_log_mels_is_refused(kind):
    unusable = torch.zeros(64, 96), torch.zeros(2, 64, 96).long(), torch.zeros(2, 64, 96).numpy()
    for x in unusable:
        with pytest.raises(ValueError, match=r"of shape \(batch, n_mels, n_frames\) of float"):
            kind()(x)
    assert kind()(torch.zeros(0, 64, 96)).shape == (0, 64, 96)


@pytest.mark.parametrize("kind", SIMPLE)
def test_one_clip_of_one_frame_will_do_and_no_gradient_is_asked_for(kind):
    y = kind()(sound(1)[:, :, :1])
    assert torch.isfinite(y).all()
    assert y.shape == (1, 64, 1)
    assert not y.requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", SIMPLE)
def test_it_works_where_the_batch_is(kind):
    y = kind()(sound().cuda())
    assert y.is_cuda
    assert torch.isfinite(y).all()


def test_printing_tells_settings_apart():
    assert repr(RandomGain(2.0)) == "RandomGain(strength=2.0)"
    assert repr(RandomResample(1.0, 0.0, 0.5)) != repr(RandomResample())


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (BackgroundMixing, {"max_ratio": -1}, "max_ratio=-1 must be a number from 0 on"),
        (BackgroundMixing, {"probability": 7}, "probability=7 must be a number from 0 to 1"),
        (LogMelNoise, {"strength": math.nan}, "strength=nan must be"),
        (FrequencyMask, {"max_width": -5}, "max_width=-5 must be"),
        (TimeMask, {"max_width": "wide"}, "max_width='wide' must be a number"),
        (RandomFloor, {"min_range": 90.0}, r"min_range=90.0 must not be above max_range=80.0"),
        (RandomFloor, {"max_range": math.nan}, "min_range=40.0 must not be above max_range=nan"),
        (RandomFloor, {"min_range": -1.0}, "min_range=-1.0 must be"),
        (RandomCrop, {"min_share": 1.5}, "min_share=1.5 must be a number from 0 to 1"),
        (RandomResample, {"max_time_stretch": -2}, "max_time_stretch=-2 must be"),
        (RandomEqualizer, {"n_nodes": 0}, "n_nodes=0 must be a whole number from 1 on"),
        (RandomEqualizer, {"n_nodes": 1.5}, "n_nodes=1.5 must be a whole number"),
        (RandomEqualizer, {"tilt": -1}, "tilt=-1 must be"),
        (RandomGain, {"strength": -1}, "strength=-1 must be"),
        (RandomFade, {"max_depth": -1}, "max_depth=-1 must be"),
        (ReverberantSmear, {"max_share": 2}, "max_share=2 must be"),
        (ReverberantSmear, {"max_decay_time": -2}, "max_decay_time=-2 must be"),
        (StyleMixing, {"max_weight": 3}, "max_weight=3 must be"),
        (StyleMixing, {"floor": -3}, "floor=-3 must be"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=f"^{kind.__name__}: {message}"):
        kind(**settings)


def test_an_augmentation_that_does_nothing_cannot_be_made():
    class Nothing(Augmentation):
        pass

    with pytest.raises(TypeError, match=r"abstract class Nothing .*augment"):
        Nothing()


@pytest.mark.parametrize("kind", [RandomCrop, RandomResample])
def test_long_clips_take_memory_in_proportion(kind):
    """Not with the square of their length: no tensor is much larger than the clips."""
    largest = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            made = function(*arguments, **(keywords or {}))
            largest.append(made.numel() if isinstance(made, torch.Tensor) else 0)
            return made

    x = torch.randn(2, 16, 4000)
    with Sizes():
        kind()(x)
    assert max(largest) <= x.numel()


def test_shift_moves_a_tone_by_at_most_max_shift_and_spreads_over_the_range():
    x = torch.full((400, 64, 20), -10.0)
    x[:, 30] = 0.0
    resample = RandomResample(3.0, 0.0, 0.0)
    y = resample(x)
    # The centre of gravity of what rises above the floor is where the tone went.
    weight = y[:, :, 5] + 10
    centre = (weight * torch.arange(64)).sum(1) / weight.sum(1)
    moved = centre - 30
    torch.testing.assert_close(moved, resample.drawn[:, 0], atol=1e-3, rtol=0)
    assert moved.abs().max() <= 3.0 + 1e-3
    assert moved.min() < -2.8
    assert moved.max() > 2.8


def test_mel_stretch_moves_a_tone_in_proportion_to_its_band():
    x = torch.full((400, 64, 4), -10.0)
    x[:, [16, 48]] = 0.0
    resample = RandomResample(0.0, 0.2, 0.0)
    weight = resample(x)[:, :, 0] + 10
    bands = torch.arange(64.0)
    low = (weight[:, :32] * bands[:32]).sum(1) / weight[:, :32].sum(1)
    high = (weight[:, 32:] * bands[32:]).sum(1) / weight[:, 32:].sum(1)
    inside = high < 58  # and not cut at the axis' end
    assert (high / low - 3).abs()[inside].max() < 0.06
    torch.testing.assert_close((low / 16).log(), -resample.drawn[:, 1], atol=0.02, rtol=0)
    assert low.min() >= 16 * math.exp(-0.2) - 0.1
    assert low.max() <= 16 * math.exp(0.2) + 0.1
    assert low.max() - low.min() > 5


def test_time_stretch_moves_every_click_in_proportion_to_its_time():
    x = torch.full((300, 64, 120), -10.0)
    x[:, :, [30, 60]] = 0.0
    resample = RandomResample(0.0, 0.0, 0.25)
    y = resample(x)[:, 0] + 10
    frames = torch.arange(120.0)
    middle = (y * frames).sum(1) / y.sum(1)  # the mean of both clicks' times
    first = torch.where(frames < middle[:, None], y, 0)
    early = (first * frames).sum(1) / first.sum(1)
    assert (middle / early - 1.5).abs().max() < 0.08
    torch.testing.assert_close((early / 30).log(), -resample.drawn[:, 2], atol=0.02, rtol=0)
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
    module = RandomGain(3.0)
    gain = module(x) - x
    torch.testing.assert_close(gain, gain[:, :1, :1].expand_as(gain), atol=1e-5, rtol=0)
    decibels = gain[:, 0, 0] * 10 / torch.log(torch.tensor(10.0))
    assert decibels.std().item() == pytest.approx(3.0, rel=0.05)
    torch.testing.assert_close(decibels, module.drawn[:, 0], atol=1e-5, rtol=0)


def test_equalizer_is_a_smooth_curve_over_frequency_and_constant_in_time():
    equalizer = RandomEqualizer()
    change = equalizer(sound()) - sound()
    torch.testing.assert_close(change, change[:, :, :1].expand_as(change), atol=1e-5, rtol=0)
    curve = change[:, :, 0]
    # Pieces of straight line: the second difference vanishes nearly everywhere.
    bends = curve.diff(n=2, dim=1).abs() > 1e-4
    assert bends.float().mean() < 0.2
    assert curve.std() > 0.1
    # Its ends are the first and the last node, and the slope.
    nodes, tilt = equalizer.drawn[:, :-1], equalizer.drawn[:, -1]
    torch.testing.assert_close(decibels(curve[:, 0]), nodes[:, 0] - tilt, atol=1e-4, rtol=0)
    torch.testing.assert_close(decibels(curve[:, -1]), nodes[:, -1] + tilt, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "axis", "width"), [(FrequencyMask, 1, 8), (TimeMask, 2, 10)])
def test_a_mask_is_one_stretch_of_bounded_width(kind, axis, width):
    x = sound(200)
    changed = (kind(width)(x) != x).all(dim=3 - axis)
    count = changed.sum(1)
    assert count.max() <= width
    assert count.max() >= width - 2
    edges = changed.int().diff(dim=1).abs().sum(1)
    assert edges.max() <= 2


def decibels(change):
    return change * 10 / math.log(10)


def test_a_floor_lifts_what_is_quiet_and_keeps_the_mean_and_what_is_louder():
    x = wide_sound(400).double()
    y = RandomFloor(min_range=40.0, max_range=60.0)(x)
    torch.testing.assert_close(y.mean((1, 2)), x.mean((1, 2)))
    below_loudest = decibels(x.amax((1, 2), keepdim=True) - x)
    now = decibels(y.amax((1, 2), keepdim=True) - y)
    floor = now.amax((1, 2), keepdim=True)
    torch.testing.assert_close(now, torch.minimum(below_loudest, floor))
    assert 40 <= floor.min() < 40.5
    assert 59.5 < floor.max() <= 60


def test_a_floor_below_all_changes_nothing():
    x = sound()
    torch.testing.assert_close(RandomFloor(min_range=200.0, max_range=200.0)(x), x)


def test_a_crop_is_a_stretch_of_the_clip_spread_over_its_width():
    x = torch.arange(120.0).expand(500, 64, 120)
    y = RandomCrop(min_share=0.5)(x)
    torch.testing.assert_close(y, y[:, :1].expand_as(y))
    first, last = y[:, 0, 0], y[:, 0, -1]
    straight = torch.lerp(first[:, None], last[:, None], torch.linspace(0, 1, 120))
    torch.testing.assert_close(y[:, 0], straight, atol=1e-3, rtol=0)
    assert first.min() >= 0
    assert last.max() <= 119 + 1e-4
    share = (last - first) / 119
    assert 0.5 <= share.min() < 0.52
    assert 0.98 < share.max() <= 1
    assert first.max() > 45  # of 59.5
    assert last.min() < 74


def test_a_crop_of_the_whole_clip_changes_nothing():
    torch.testing.assert_close(RandomCrop(min_share=1.0)(sound()), sound())


def test_fades_are_straight_in_decibels_and_leave_the_middle_alone():
    x = sound(1).double().repeat(400, 1, 1)
    change = decibels(RandomFade(max_width=30, max_depth=12.0)(x) - x)
    torch.testing.assert_close(change, change[:, :1].expand_as(change))
    gain = change[:, 0]
    assert gain.max() < 1e-9
    assert gain[:, 30:-30].abs().max() < 1e-9
    # A fade is one straight line and then none, so no more than two frames lie at its end's bend.
    bends = gain.diff(n=2, dim=1).abs() > 1e-9
    assert bends[:, :40].sum(1).max() <= 2
    assert bends[:, -40:].sum(1).max() <= 2
    for edge, inner in ((gain[:, 0], gain[:, 1]), (gain[:, -1], gain[:, -2])):
        assert -12 <= edge.min() < -11.5
        assert (edge <= inner).all()
    longest = (gain[:, :60] < -1e-9).sum(1)
    assert longest.max() >= 28
    # In and out are drawn apart.
    assert torch.corrcoef(torch.stack((gain[:, 0], gain[:, -1])))[0, 1].abs() < 0.2


def test_a_fade_is_no_longer_than_the_clip():
    x = torch.zeros(50, 4, 10)
    assert (RandomFade(max_width=1000)(x)[:, 0, 5] != 0).any()
    gain_of_the_fade_in = RandomFade(max_width=1000, max_depth=5.0)(x)[:, 0, 0]
    assert decibels(gain_of_the_fade_in).min() >= -10


def smear_of_a_click(n_clips, **settings):
    """Return power over time, decay per frame and share in the tail, of smeared clicks."""
    click = torch.full((n_clips, 64, 120), -300.0, dtype=torch.float64)
    click[:, :, 20] = 0.0
    power = ReverberantSmear(**settings)(click)[:, 0].exp()
    decay = power[:, 22] / power[:, 21]
    return power, decay, power[:, 21] / (decay * (1 - decay))


def test_a_smear_falls_by_60_decibels_in_its_decay_time():
    power, decay, share = smear_of_a_click(400, max_decay_time=50.0, max_share=0.4)
    decay_time = 60 / -decibels(decay.log())
    assert 0 < decay_time.min() < 2
    assert 49 < decay_time.max() <= 50
    assert 0 <= share.min() < 0.01
    assert 0.39 < share.max() <= 0.4 + 1e-6
    # Straight in decibels all along, and nothing comes before the click.
    long = decay_time > 25
    tail = decibels(power[long, 21:].log())
    slope = (-60 / decay_time[long])[:, None]
    torch.testing.assert_close(tail.diff(dim=1), slope.expand(-1, 98), atol=1e-6, rtol=0)
    assert power[:, :20].max() < 1e-100
    torch.testing.assert_close(power[:, 20], 1 - share * decay)


def test_a_smear_is_the_sum_over_all_earlier_frames():
    torch.manual_seed(5)
    _, decay, share = smear_of_a_click(6)
    torch.manual_seed(5)
    x = sound(6).double()
    smeared = ReverberantSmear()(x).exp()
    for i in range(6):
        lingering = torch.zeros(64, dtype=torch.float64)
        for frame in range(120):
            power = x[i, :, frame].exp()
            lingering = lingering * decay[i] + power * (1 - decay[i])
            expected = (1 - share[i]) * power + share[i] * lingering
            torch.testing.assert_close(smeared[i, :, frame], expected)


def test_a_smear_keeps_the_level_of_a_steady_sound_and_the_energy_of_a_click():
    steady = torch.full((50, 64, 120), 3.0)
    torch.testing.assert_close(
        ReverberantSmear(max_decay_time=30.0)(steady)[:, :, 60:], steady[:, :, 60:]
    )
    power, *_ = smear_of_a_click(50, max_decay_time=30.0)
    torch.testing.assert_close(power.sum(1), torch.ones_like(power[:, 0]))


def test_a_smear_of_any_loudness_is_finite_and_moves_with_it():
    x = sound() * 30
    smeared = []
    for level in (-300.0, 0.0, 300.0):  # exp(300) is beyond float32
        torch.manual_seed(2)
        smeared.append(ReverberantSmear()(x + level) - level)
    assert torch.isfinite(smeared[2]).all()
    torch.testing.assert_close(smeared[0], smeared[1], atol=1e-3, rtol=0)
    torch.testing.assert_close(smeared[2], smeared[1], atol=1e-3, rtol=0)


def moments(x):
    return x.mean(dim=2), x.std(dim=2, correction=0)


def test_style_moves_between_that_of_two_clips_and_what_happens_stays():
    x = sound(2).double()
    x = x * torch.linspace(0.1, 3, 64)[:, None] + torch.linspace(-5, 5, 64)[:, None]
    x[1] = x[1].flip(0)
    (mean, spread), weights = moments(x), []
    for _ in range(200):
        y = StyleMixing(probability=1.0)(x)
        new_mean, new_spread = moments(y)
        weight = ((new_mean - mean) / (mean.flip(0) - mean)).mean(1, keepdim=True)
        weights.append(weight)
        torch.testing.assert_close(new_mean, torch.lerp(mean, mean.flip(0), weight))
        factor = torch.lerp(spread + 0.3, spread.flip(0) + 0.3, weight) / (spread + 0.3)
        torch.testing.assert_close(new_spread, factor * spread)
        torch.testing.assert_close(
            (y - new_mean[:, :, None]) / new_spread[:, :, None],
            (x - mean[:, :, None]) / spread[:, :, None],
        )
    weights = torch.stack(weights)
    assert 0 <= weights.min() < 0.02
    assert 0.98 < weights.max() <= 1
    # So at a weight of 1 the mean is the other clip's, and at 0 the clip's own.
    assert (weights[:, 0] - weights[:, 1]).abs().mean() > 0.2  # each clip has its own


def test_max_weight_bounds_how_far_style_moves():
    x = torch.stack((torch.zeros(64, 120), torch.ones(64, 120))).repeat(100, 1, 1)
    moved = (StyleMixing(probability=1.0, max_weight=0.25)(x) - x).abs()
    assert 0.2 < moved.max() <= 0.25


def test_near_silence_is_not_blown_up():
    x = torch.stack((sound(1)[0] * 0.01, sound(1, seed=1)[0] * 3))

    def growth(floor):
        mixing = StyleMixing(probability=1.0, floor=floor)
        return torch.stack([mixing(x).std(2)[0] / x.std(2)[0] for _ in range(50)]).max()

    assert 8 < growth(0.3) < 14  # (3 + 0.3) / (0.01 + 0.3)
    assert growth(0.0) > 250


def test_style_is_mixed_into_the_stated_share_of_clips():
    x = sound(1000)[:, :4]
    altered = (StyleMixing(probability=0.3)(x) != x).any(dim=(1, 2))
    assert altered.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(StyleMixing(probability=0.0)(x), x)
    assert torch.equal(StyleMixing(probability=1.0)(x[:1]), x[:1])


def test_log_mels_whose_sum_overflows_are_finite_all_the_same():
    loud = torch.full((2, 64, 96), 1e36)
    assert torch.isinf(loud.sum())
    assert torch.equal(FrozenChain([torch.nn.Identity()])(loud), loud)
    for what in (math.nan, math.inf):
        loud[1, 3, 5] = what
        with pytest.raises(ValueError, match="Identity made NaN or infinity"):
            FrozenChain([torch.nn.Identity()])(loud)
