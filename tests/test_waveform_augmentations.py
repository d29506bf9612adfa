"""Augmentations of waveforms: what physics asks of each."""

import math

import numpy as np
import pytest
import torch

from audiorep.augmentations import waveform
from audiorep.augmentations.waveform import (
    ColouredNoise,
    RandomBandFilter,
    RandomPitchShift,
    RandomPolarity,
    RandomReverberation,
    RandomSpeed,
)
from audiorep.datasets import make_instrument_notes
from audiorep.nn import LogMel

KINDS = [getattr(waveform, name) for name in waveform.__all__]
RATE = 16000


def noise(batch=4, n_timesteps=RATE, seed=0):
    return torch.randn(batch, n_timesteps, generator=torch.Generator().manual_seed(seed)) * 0.1


def tone(frequency, n_timesteps=RATE):
    """A sine of `frequency` hertz, a number or a tensor of shape (batch, 1), in float64."""
    times = torch.arange(n_timesteps, dtype=torch.float64) / RATE
    return torch.sin(2 * math.pi * torch.as_tensor(frequency) * times)


def frequencies(waveforms):
    """Frequency of each waveform's strongest partial in hertz, between the bins."""
    spectrum = torch.fft.rfft(waveforms * torch.hann_window(waveforms.shape[1])).abs().log()
    rows = torch.arange(len(waveforms))
    peak = spectrum.argmax(1)
    before, top, after = (spectrum[rows, peak + i] for i in (-1, 0, 1))
    offset = 0.5 * (before - after) / (before - 2 * top + after)
    return (peak + offset) * RATE / waveforms.shape[1]


def power(waveforms):
    return waveforms.square().mean(dim=1)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_and_dtype_are_kept_and_every_clip_is_drawn_anew(kind, dtype):
    x = noise(1, 4000).to(dtype).repeat(32, 1)
    before = x.clone()
    y = kind()(x)
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert torch.isfinite(y).all()
    assert torch.equal(x, before)
    n_kinds = 2 if kind is RandomPolarity else 10
    assert len(torch.unique(y.double(), dim=0)) >= n_kinds


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 4000), (2, 0)])
def test_nothing_is_made_of_nothing(kind, shape):
    assert kind()(torch.zeros(shape)).shape == shape


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_happens_in_eval(kind):
    x = noise()
    assert kind().eval()(x) is x


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_clips(kind):
    altered = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        altered.append(kind()(noise(8)))
    assert torch.equal(altered[0], altered[1])
    assert not torch.equal(altered[0], altered[2])


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_changes_nothing(kind):
    altered = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            altered.append(kind()(noise(8)))
    assert torch.equal(*altered)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_timesteps", [1, 100, 5001])
def test_one_clip_of_any_length_will_do_and_no_gradient_is_asked_for(kind, n_timesteps):
    y = kind()(noise(1, n_timesteps))
    assert y.shape == (1, n_timesteps)
    assert torch.isfinite(y).all()
    assert not y.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_silence_stays_silent(kind):
    assert kind()(torch.zeros(8, 3000)).abs().max() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_it_works_where_the_batch_is(kind):
    y = kind()(noise().cuda())
    assert y.is_cuda
    assert torch.isfinite(y).all()


@pytest.mark.parametrize(
    ("clips", "came"),
    [
        (torch.zeros(16000), r"shape \(16000,\), torch.float32"),
        (torch.zeros(2, 3, 16000), r"shape \(2, 3, 16000\)"),
        (torch.zeros(2, 16000, dtype=torch.int16), "torch.int16"),
        (np.zeros((2, 16000)), "ndarray"),
    ],
)
def test_what_is_no_batch_of_waveforms_is_refused(clips, came):
    with pytest.raises(ValueError, match=f"RandomSpeed takes .* but got .*{came}.* use torch"):
        RandomSpeed()(clips)


def test_speed_moves_frequency_and_time_together():
    x = tone(1000.0).repeat(300, 1)
    x[:, :4000] = 0.0  # the tone begins after a quarter of a second
    y = RandomSpeed(max_change=0.25)(x)
    speed = frequencies(y) / 1000
    begins = (y.abs() > 0.3).int().argmax(1)
    torch.testing.assert_close(begins * speed, torch.full_like(speed, 4005), atol=12, rtol=0)
    torch.testing.assert_close(100 * speed, (100 * speed).round(), atol=0.2, rtol=0)
    assert 0.795 < speed.min() < 0.82
    assert 1.23 < speed.max() < 1.255
    assert len(speed.mul(100).round().unique()) > 30
    # What is faster ends in silence, and the level stays.
    ends = (RATE / speed[speed > 1.02]).ceil().int().tolist()
    for clip, end in zip(y[speed > 1.02], ends, strict=True):
        assert clip[end + 20 :].abs().sum() == 0
        assert clip[6000 : end - 50].square().mean().item() == pytest.approx(0.5, rel=0.02)


def test_pitch_moves_by_at_most_max_shift_and_time_stays():
    x = tone(1000.0).repeat(200, 1)
    x[:, :8000] *= 0.01
    y = RandomPitchShift(max_shift=4.0)(x)
    factor = frequencies(y) / 1000
    semitones = 12 * torch.log2(factor)
    assert -4.12 < semitones.min() < -3.6
    assert 3.6 < semitones.max() < 4.12
    torch.testing.assert_close(100 * factor, (100 * factor).round(), atol=0.3, rtol=0)
    assert len(factor.mul(100).round().unique()) > 30
    # Quiet before the middle, as loud as ever behind it.
    quiet, loud = power(y[:, 1000:7000]), power(y[:, 9000:15000])
    assert quiet.max() < 1e-3
    torch.testing.assert_close(loud, torch.full_like(loud, 0.5), rtol=0.02, atol=0)


def test_pitch_shift_keeps_the_level_of_notes():
    # Phases that drift apart within a partial would cancel, by 10 dB and more.
    notes = torch.from_numpy(make_instrument_notes(60, random_state=0).data)
    change = 10 * torch.log10(power(RandomPitchShift(max_shift=4.0)(notes)) / power(notes))
    assert change.median().abs() < 0.3
    assert change.abs().max() < 3


def test_a_shifted_tone_lights_the_mel_band_of_the_tone_at_the_shifted_frequency():
    log_mel = LogMel().double()
    y = RandomPitchShift(max_shift=6.0)(tone(700.0).repeat(20, 1))
    bands = log_mel(y)[:, :, 20:-20].mean(2).argmax(1)
    expected = log_mel(tone(frequencies(y)[:, None]))[:, :, 50].argmax(1)
    assert torch.equal(bands, expected)
    assert len(bands.unique()) > 5


def test_no_shift_and_no_change_of_speed_keep_every_bit():
    assert torch.equal(RandomPitchShift(max_shift=0.0)(noise()), noise())
    assert torch.equal(RandomSpeed(max_change=0.0)(noise()), noise())


def test_polarity_keeps_power_and_turns_the_stated_share():
    x = noise(1000, 100)
    y = RandomPolarity(probability=0.3)(x)
    turned = (y == -x).all(1)
    assert torch.equal(y[~turned], x[~turned])
    assert torch.equal(power(y), power(x))
    assert turned.float().mean().item() == pytest.approx(0.3, abs=0.05)


def gains(order, n_clips=200):
    """Power gains of band filters in decibels, of shape (n_clips, 8001): one per hertz."""
    click = torch.zeros(n_clips, RATE, dtype=torch.float64)
    click[:, 8000] = 1.0
    y = RandomBandFilter(max_low_cut=200.0, min_high_cut=3000.0, order=order)(click)
    assert (y.abs().argmax(1) == 8000).all()  # nothing is delayed
    return 20 * torch.fft.rfft(y).abs().log10()


@pytest.mark.parametrize("order", [1, 3])
def test_band_filters_cut_where_and_as_steeply_as_they_say(order):
    gain = gains(order)
    passes = gain > -3.1
    low_cut, high_cut = passes.int().argmax(1), 8000 - passes.flip(1).int().argmax(1)
    assert 19 <= low_cut.min() < 23
    assert 180 < low_cut.max() <= 202
    assert 2990 <= high_cut.min() < 3150
    assert high_cut.max() > 7700
    assert gain.max() < 0.1
    for clip, low in zip(gain, low_cut, strict=True):
        if low > 100:
            octave = clip[low // 8] - clip[low // 16]
            assert octave.item() == pytest.approx(6 * order, rel=0.15)


def test_what_rings_at_the_end_does_not_come_in_at_the_beginning():
    click = torch.zeros(50, 4000)
    click[:, -1] = 1.0
    assert RandomBandFilter()(click)[:, :1000].abs().max() < 1e-3


def test_cut_offs_that_cannot_be_are_refused():
    with pytest.raises(
        ValueError, match=r"min_high_cut=2000.0 must lie.* half of sample_rate=3000"
    ):
        RandomBandFilter(sample_rate=3000)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (waveform.ColouredNoise, {"max_snr": 0.0}, "min_snr=5.0 must not be above max_snr=0.0"),
        (waveform.ColouredNoise, {"min_tilt": 3}, "min_tilt=3 must not be above max_tilt=0.0"),
        (waveform.RandomBandFilter, {"order": 0}, "order=0 must be a whole number from 1 on"),
        (waveform.RandomPitchShift, {"n_fft": 3}, "n_fft=3 must be a whole number from 4 on"),
        (waveform.RandomPitchShift, {"max_shift": -1}, "max_shift=-1 must be"),
        (waveform.RandomPolarity, {"probability": 2}, "probability=2 must be"),
        (waveform.RandomReverberation, {"max_share": 1.5}, "max_share=1.5 must be"),
        (waveform.RandomReverberation, {"min_decay_time": 1}, "min_decay_time=1 must not be above"),
        (waveform.RandomSpeed, {"max_change": -2}, "max_change=-2 must be"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=f"^{kind.__name__}: {message}"):
        kind(**settings)


def test_noise_hits_its_ratio_and_powers_add():
    x = noise(500, 4000).double() * torch.logspace(-4, 0, 500)[:, None]
    y = ColouredNoise(min_snr=3.0, max_snr=12.0)(x)
    ratio = 10 * torch.log10(power(x) / power(y - x))
    assert 3 - 1e-6 <= ratio.min() < 3.2
    assert 11.8 < ratio.max() <= 12 + 1e-6
    # Sound and noise know nothing of each other, so their powers add, on average.
    assert (power(y) / (power(x) + power(y - x))).mean().item() == pytest.approx(1, abs=0.01)


def test_noise_has_its_colour():
    x = noise(300, RATE).double()
    added = ColouredNoise(0.0, 0.0, min_tilt=-6.0, max_tilt=3.0)(x) - x
    spectrum = torch.fft.rfft(added).abs().square()
    # Four octaves, from 500 to 8000 Hz, with the mean power of each.
    octaves = [spectrum[:, 500 * 2**k : 1000 * 2**k].mean(1) for k in range(4)]
    tilt = 10 * torch.log10(octaves[3] / octaves[0]) / 3
    assert -6.3 < tilt.min() < -5.5
    assert 2.5 < tilt.max() < 3.3


def responses(n_clips=100, **settings):
    click = torch.zeros(n_clips, RATE, dtype=torch.float64)
    click[:, 0] = 1.0
    return RandomReverberation(**settings)(click)


def decay_times(response):
    """Time in which the energy still to come falls from -5 to -25 dB, times three, in seconds."""
    tail = response[:, 1:]
    left = tail.square().flip(1).cumsum(1).flip(1)
    decibels = 10 * torch.log10(left / left[:, :1])
    return 3 * ((decibels > -25).sum(1) - (decibels > -5).sum(1)) / RATE


def test_a_room_decays_by_60_decibels_in_its_decay_time():
    times = decay_times(responses(min_decay_time=0.4, max_decay_time=0.4))
    torch.testing.assert_close(times, torch.full_like(times, 0.4), rtol=0.1, atol=0)
    times = decay_times(responses(min_decay_time=0.1, max_decay_time=0.7))
    assert 0.09 < times.min() < 0.15
    assert 0.6 < times.max() < 0.77


def test_a_response_has_the_energy_of_the_direct_sound_alone():
    response = responses(max_share=0.3)
    energy = response.square()
    torch.testing.assert_close(energy.sum(1), torch.ones_like(energy[:, 0]))
    share = energy[:, 1:].sum(1)
    assert 0 <= share.min() < 0.02
    assert 0.28 < share.max() <= 0.3 + 1e-6
    x = noise(100).double()
    level = power(RandomReverberation()(x)[:, 8000:]) / power(x[:, 8000:])
    assert level.mean().item() == pytest.approx(1, abs=0.05)


def test_reverberation_is_a_convolution():
    torch.manual_seed(7)
    response = responses(3)
    torch.manual_seed(7)
    x = noise(3).double()
    y = RandomReverberation()(x)
    for clip, kernel, wet in zip(x, response, y, strict=True):
        expected = np.convolve(clip.numpy(), kernel.numpy())[:RATE]
        np.testing.assert_allclose(wet.numpy(), expected, atol=1e-9)
