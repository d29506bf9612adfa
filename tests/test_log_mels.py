"""Log-mels, and the windows and crops cut out of them."""

import math
from itertools import islice, pairwise

import pytest
import torch

from audiorep._hearing import frame_loudness, level
from audiorep._log_mels import LogMels, iter_windows
from audiorep.nn import LogMel


def ramp(n_frames):
    return torch.arange(float(n_frames)).repeat(3, 1)


@pytest.mark.parametrize("frequency", [250.0, 1000.0, 4000.0])
def test_a_tone_lights_its_band(frequency):
    t = torch.arange(16000) / 16000
    log_mel = LogMel()(torch.sin(2 * torch.pi * frequency * t))[:, 50]
    edges = 2595 * torch.log10(1 + torch.tensor([60.0, frequency, 8000.0]) / 700)
    band = (edges[1] - edges[0]) / (edges[2] - edges[0]) * 65 - 1
    assert abs(int(log_mel.argmax()) - band) <= 1


def test_doubling_the_amplitude_adds_six_decibels():
    waveform = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    difference = LogMel()(2 * waveform) - LogMel()(waveform)
    torch.testing.assert_close(difference, torch.full_like(difference, 1.3863), atol=1e-3, rtol=0)


def tones(*frequencies, seconds=1.0):
    time = torch.arange(int(16000 * seconds)) / 16000
    return sum(torch.sin(2 * math.pi * f * time) for f in frequencies)


@pytest.mark.parametrize("pitch", [1.0, 1.125, 1.25, 1.3])
def test_played_higher_a_tone_is_where_a_higher_one_is(pitch):
    """Next to exactly so: windows are cut to whole timesteps."""
    heard = LogMel().played(pitch, 1.0)(tones(500, 3000))
    higher = LogMel()(tones(500 * pitch, 3000 * pitch))
    assert heard.shape == higher.shape
    loud = higher[:, 20:80] > higher.amax() - 5
    level = (heard - higher)[:, 20:80][loud].mean()  # a longer window sums up more
    assert (heard - higher - level)[:, 20:80][loud].abs().max() < 0.25


@pytest.mark.parametrize(("tempo", "n_frames"), [(0.5, 201), (1.0, 101), (1.6, 63), (9.0, 32)])
def test_played_faster_there_are_fewer_frames(tempo, n_frames):
    """But no timestep is skipped: frames are never further apart than a window is long."""
    assert LogMel().played(1.0, tempo)(torch.zeros(16000)).shape == (64, n_frames)


def test_played_as_it_is_nothing_changes():
    waveform = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel(n_fft=400, n_mels=40)
    played = log_mel.played(1.0, 1.0)
    assert torch.equal(played(waveform), log_mel(waveform))
    log_mel.played(1.25, 1.25)
    assert (log_mel.n_fft, log_mel.hop_length) == (400, 160)


@pytest.mark.parametrize(
    ("pitch", "tempo", "message"),
    [(0.9, 1.0, "pitch=0.9"), (math.nan, 1.0, "pitch=nan"), (1.0, 0.0, "tempo=0.0")],
)
def test_what_cannot_be_played(pitch, tempo, message):
    with pytest.raises(ValueError, match=message):
        LogMel().played(pitch, tempo)


@pytest.mark.parametrize("n_timesteps", [1, 159, 160, 161, 5000])
@pytest.mark.parametrize("block_length", [64, 1000])
def test_streaming_makes_no_difference(n_timesteps, block_length):
    waveform = torch.randn(n_timesteps, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel()
    whole = log_mel(waveform)
    assert whole.shape == (64, n_timesteps // 160 + 1)
    blocks = torch.cat(list(log_mel.stream(waveform.split(block_length))), dim=1)
    torch.testing.assert_close(blocks, whole)


@pytest.mark.parametrize("hop_length", [1, 100, 129, 200, 256])
def test_streaming_makes_no_difference_wherever_blocks_end_and_frames_begin(hop_length):
    """Frames may be so far apart that a short last block brings none."""
    log_mel = LogMel(n_fft=256, hop_length=hop_length, n_mels=16)
    waveform = torch.randn(700, generator=torch.Generator().manual_seed(0))
    whole = log_mel(waveform)
    for end in range(1, 700):
        blocks = list(log_mel.stream([waveform[:end], waveform[end:]]))
        torch.testing.assert_close(torch.cat(blocks, dim=1), whole)


def test_a_short_clip_streams_in_one_piece():
    assert len(list(LogMel().stream([torch.randn(5000)]))) == 1


@pytest.mark.parametrize("n_frames", [1, 5, 95, 96, 97, 144, 145, 1003])
@pytest.mark.parametrize("grid", [1, 16])
def test_windows_cover_the_clip(n_frames, grid):
    windows = list(iter_windows([ramp(n_frames)], 96, 48, grid))
    covered = set()
    for window in windows:
        assert window.log_mel.shape == (3, 96)
        assert window.start % grid == 0
        valid = window.log_mel[0, : window.n_valid]
        torch.testing.assert_close(valid, torch.arange(window.n_valid) + float(window.start))
        assert (window.log_mel[:, window.n_valid :] == 0).all()
        covered.update(range(window.start, window.start + window.n_valid))
    assert covered == set(range(n_frames))
    assert all(b.start > a.start for a, b in pairwise(windows))
    if n_frames >= 96:
        assert all(window.n_valid > 96 - grid for window in windows)


@pytest.mark.parametrize("n_frames", [5, 96, 97, 1003])
@pytest.mark.parametrize("block_length", [1, 7, 96, 200])
def test_windows_do_not_depend_on_blocks(n_frames, block_length):
    whole = list(iter_windows([ramp(n_frames)], 96, 48, 16))
    blocks = list(iter_windows(ramp(n_frames).split(block_length, dim=1), 96, 48, 16))
    assert [w[1:] for w in whole] == [w[1:] for w in blocks]
    assert all(torch.equal(a.log_mel, b.log_mel) for a, b in zip(whole, blocks, strict=True))


def test_crops():
    log_mels = LogMels([[ramp(5)], [ramp(50) + 100]])
    which, first = torch.tensor([1, 0, 1]), torch.tensor([10, 2, 45])
    crops, n_valid = log_mels.crops(which, first, 8)
    assert n_valid.tolist() == [8, 3, 5]
    assert crops[0, 0].tolist() == list(range(110, 118))
    assert crops[1, 0].tolist() == [2, 3, 4, 4, 4, 4, 4, 4]
    assert crops[2, 1].tolist() == [145, 146, 147, 148, 149, 149, 149, 149]


def test_crops_at_a_speed_read_between_frames():
    log_mels = LogMels([[ramp(5)], [ramp(50) + 100]])
    which, first = torch.tensor([1, 0, 1]), torch.tensor([10, 2, 44])
    crops, n_valid = log_mels.crops(which, first, 8, torch.tensor([1.25, 0.5, 1.0]))
    assert crops[0, 0].tolist() == [110, 111.25, 112.5, 113.75, 115, 116.25, 117.5, 118.75]
    assert crops[1, 0].tolist() == [2, 2.5, 3, 3.5, 4, 4, 4, 4]
    assert crops[2, 1].tolist() == [144, 145, 146, 147, 148, 149, 149, 149]
    assert n_valid.tolist() == [8, 6, 6]


def test_crops_at_speed_one_are_crops():
    log_mels = LogMels([[torch.randn(3, n)] for n in (5, 50)])
    which, first = torch.tensor([1, 0, 1]), torch.tensor([10, 2, 45])
    plain = log_mels.crops(which, first, 8)
    read = log_mels.crops(which, first, 8, torch.ones(3))
    assert all(torch.equal(a, b) for a, b in zip(plain, read, strict=True))


@pytest.mark.parametrize("by_loudness", [True, False])
def test_crops_stretch_time_evenly_in_the_logarithm_and_stay_inside(by_loudness):
    torch.manual_seed(0)
    # Values tell where a frame is, and are so close together that all are equally loud.
    log_mels = LogMels([[ramp(500) / 512]] * 64)
    which = torch.arange(64).repeat(40)
    crops, n_valid = log_mels.random_crops(which, 96, 0.25, by_loudness)
    read = crops[:, 0] * 512
    assert read.shape == (2560, 96)
    assert (n_valid == 96).all()
    speed = read.diff(dim=1)
    torch.testing.assert_close(speed, speed[:, :1].expand_as(speed), atol=1e-3, rtol=0)
    where = speed[:, 0].log() / math.log(1.25)
    assert torch.histc(where, 4, -1, 1).min() > 0.2 * len(where)
    assert where.abs().max() <= 1 + 1e-3
    assert read.min() == 0
    assert read.max() > 498


@pytest.mark.parametrize("by_loudness", [True, False])
def test_crops_are_where_a_clip_is_loud(by_loudness):
    torch.manual_seed(0)
    log_mel = torch.full((3, 1000), -30.0)
    log_mel[:, 700:710] = 0.0
    log_mels = LogMels([[torch.zeros(3, 70)], [log_mel], [torch.zeros(3, 3)]])
    crops, _ = log_mels.random_crops(torch.ones(2000, dtype=torch.long), 100, 0.0, by_loudness)
    loud = crops[:, 0] == 0
    # Silence is 990 frames that count 0.02, beside 10 that count 1, and 108 of 901 crops have one.
    expected = 10 / 29.8 if by_loudness else 0.0
    by_chance = (1 - expected) * 108 / 901
    assert loud.any(1).float().mean().item() == pytest.approx(expected + by_chance, abs=0.03)
    # What is loud is anywhere in them.
    position = loud.nonzero()[:, 1].float()
    assert torch.histc(position, 4, 0, 100).min() > 0.2 * len(position)


def test_every_clip_once_an_epoch_and_never_twice_in_a_batch():
    torch.manual_seed(0)
    log_mels = LogMels([[torch.full((1, 3), float(i))] for i in range(10)])
    batches = list(islice(log_mels.batches(4, 2), 10))
    seen = torch.cat([crops[:, 0, 0] for crops, _ in batches])
    assert all(len(set(crops[:, 0, 0].tolist())) == 4 for crops, _ in batches)
    assert torch.bincount(seen.long()).tolist() == [4] * 10


@pytest.mark.parametrize("n_frames", [1, 40, 80, 96, 100])
def test_short_clips_begin_at_their_start_and_say_how_long_they_are(n_frames):
    torch.manual_seed(0)
    log_mels = LogMels([[ramp(n_frames)]] * 2)
    for crops, n_valid in islice(log_mels.batches(2, 96, 2, 0.25), 20):
        inside = n_valid < 96
        assert (crops[inside, 0, 0] == 0).all()
        assert (crops[inside, 0, -1] == n_frames - 1).all()
        if n_frames > 2:
            # The second value of a ramp is the speed at which it was read.
            assert n_valid[inside].tolist() == (n_frames / crops[inside, 0, 1]).ceil().tolist()


def test_mean_and_scale():
    a, b = torch.randn(4, 30).half(), torch.randn(4, 70).half() + 3
    mean, scale = LogMels([[a], [b]]).mean_and_scale()
    both = torch.cat((a, b), dim=1).double()
    assert mean == pytest.approx(float(both.mean()))
    assert scale == pytest.approx(float(both.std(correction=0)))


def test_levelling_forgets_the_gain_but_not_the_shape():
    log_mel = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    levelled = level(log_mel)
    torch.testing.assert_close(level(log_mel + 5), levelled)
    torch.testing.assert_close(levelled - levelled[0, 0], log_mel - log_mel[0, 0])


def test_digital_silence_is_raised_to_the_floor():
    log_mel = torch.tensor([[0.0, -2.0, -23.0]])
    levelled = level(log_mel, dynamic_range=40.0)
    assert (levelled[0] - levelled[0, 0]).tolist() == pytest.approx([0.0, -2.0, -9.2103], abs=1e-3)


def test_a_silent_minute_counts_no_more_than_others():
    """Levelled apart, it would be as loud in every frame as what is loudest in the others."""
    calls = torch.full((4, 1000), -9.0)
    calls[:, ::50] = 0.0
    silence = torch.zeros(4, 1000)
    weight = [frame_loudness(block.T.numpy(), 30.0).sum() for block in (calls, silence)]
    assert weight == pytest.approx([1000, 1000])
    log_mels = LogMels([[calls, silence]])
    drawn = log_mels._draw_by_loudness(torch.zeros(4000, dtype=torch.long), torch.rand(4000))
    assert (drawn < 1000).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_clips_come_back_in_the_blocks_that_were_levelled():
    clips = [torch.randn(4, n).half() for n in (5, 9)]
    log_mels = LogMels([[clips[0]], torch.split(clips[1], (6, 3), dim=1)])
    assert torch.equal(log_mels.blocks(0)[0], clips[0])
    first, second = log_mels.blocks(1)
    assert torch.equal(first, clips[1][:, :6])
    assert torch.equal(second, clips[1][:, 6:])
    assert torch.equal(log_mels.clip(1), clips[1])


def test_clips_come_back():
    clips = [torch.randn(4, n).half() for n in (3, 1, 9, 200)]  # few, then many
    log_mels = LogMels([clip] for clip in clips)
    assert len(log_mels.frames) == len(log_mels.heard) == sum(log_mels.lengths) == 213
    assert all(torch.equal(log_mels.clip(i), clip) for i, clip in enumerate(clips))
