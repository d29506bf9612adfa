"""What a user may hand in, and what it is told when that will not do."""

import re
from collections import deque
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import soundfile
import torch
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator

from audiorep._clips import Clips, check_clips


def check(X, **options):
    return check_clips(BaseEstimator(), X, sample_rate=16000, reset=True, **options)


def read(X):
    clips = check(X)
    for i in range(len(clips)):
        clips.check(i)
    return [torch.cat(list(clips.blocks(i))).numpy() for i in range(len(clips))]


def test_rows_of_an_array_are_clips():
    X = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32)
    estimator = BaseEstimator()
    clips = check_clips(estimator, X, sample_rate=16000, reset=True)
    assert estimator.n_features_in_ == 50
    np.testing.assert_array_equal(np.stack([next(clips.blocks(i)) for i in range(3)]), X)


@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        deque,
        lambda clips: pd.DataFrame({"clip": clips}),
        lambda clips: pl.DataFrame({"clip": [clip.tolist() for clip in clips]}),
        lambda clips: np.array([*clips, None], dtype=object)[:-1],
        lambda clips: pd.Series(clips, index=range(5, 5 + len(clips))),
        lambda clips: [torch.from_numpy(clip) for clip in clips],
    ],
)
def test_sequences_of_waveforms(container, waveforms):
    for got, expected in zip(read(container(waveforms)), waveforms, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "container",
    [
        list,
        np.array,
        deque,
        lambda paths: np.array(paths, dtype=object),
        lambda paths: np.array(paths, dtype=object)[:, None],
        lambda paths: [Path(path) for path in paths],
        pd.Series,
        lambda paths: pd.DataFrame({"file": paths}),
        lambda paths: pl.Series(paths),
    ],
)
def test_sequences_of_paths(container, audio_files, waveforms):
    for got, expected in zip(read(container(audio_files)), waveforms, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_sequence_has_no_number_of_features(waveforms):
    estimator = BaseEstimator()
    check_clips(estimator, np.zeros((2, 9)), sample_rate=16000, reset=True)
    check_clips(estimator, waveforms, sample_rate=16000, reset=True)
    assert not hasattr(estimator, "n_features_in_")


def test_channels_are_averaged(tmp_path):
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (800, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", stereo, 16000, subtype="FLOAT")
    (mono,) = read([tmp_path / "a.wav"])
    np.testing.assert_allclose(mono, stereo.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_formats_and_rates(tmp_path, extension, rate):
    path = tmp_path / f"tone.{extension}"
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    soundfile.write(path, tone, rate)
    clips = check([path])
    (waveform,) = read([path])
    assert len(waveform) == clips.check(0)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert abs(spectrum.argmax() * 16000 / len(waveform) - 1000) < 2
    assert abs(np.abs(waveform[4000:12000]).max() - 0.5) < 0.03


def test_the_length_is_that_of_what_is_read(audio_files, waveforms):
    clips = check(audio_files)
    assert [clips.check(i) for i in range(12)] == [len(w) for w in waveforms]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("clip.wav", r"pass \[path\]"),
        (Path("clip.wav"), r"pass \[path\]"),
        (iter([np.zeros(9)]), r"pass list\(X\)"),
        ({"a.wav": 1}, r"X is a dict.*pass list\(X\)"),
        ({"a": np.zeros(9)}.values(), r"X is a dict_values.*pass list\(X\)"),
        (pd.DataFrame([[np.zeros(9), np.zeros(8)]]), "X has 2 columns and holds waveforms"),
        (np.array([["a.wav", "b.wav"]]), "X has 2 columns and holds paths; pass one column"),
        (np.zeros(9), "Expected 2D array, got 1D array"),
        (np.zeros((2, 3, 4)), "dim 3"),
        ([1.0, 2.0], "Expected 2D array, got 1D array"),
        (np.array([[1.0 + 1j, 2.0]]), "Complex data not supported"),
    ],
)
def test_wrong_kinds_of_input(X, message):
    with pytest.raises(ValueError, match=message):
        check(X)


GOOD = np.ones(9, dtype=np.float32)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros(0), "clip 1 is empty"),
        (np.zeros((2, 9)), r"clip 1 has shape \(2, 9\).*mix its channels"),
        (np.array([0.0, np.nan]), "clip 1 contains NaN or infinity"),
        (np.array([0.0, np.inf]), "clip 1 contains NaN or infinity"),
        (np.array([1j, 2.0]), "clip 1: Complex data"),
        (np.array(["a", "b"]), "clip 1 does not hold numbers"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "clip 1 does not hold numbers, but datetime64"),
        (np.zeros(9, dtype=[("left", "f4")]), "clip 1 does not hold numbers"),
        (None, "clip 1 is None, neither a waveform nor the path"),
        (np.array([1e300]), "clip 1 is too loud for float32"),
    ],
)
def test_a_bad_clip_is_named(clip, message):
    with pytest.raises(ValueError, match=message):
        read([GOOD, clip])


@pytest.mark.parametrize("kind", [np.asarray, list, torch.from_numpy, pd.DataFrame])
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "clip 1 contains NaN or infinity; mend"), (1e300, "clip 1 is too loud for float32")],
)
def test_a_bad_row_is_named(kind, value, message):
    rows = np.ones((3, 9))
    rows[1, 4] = value
    with pytest.raises(ValueError, match=message):
        read(kind(rows))


def test_a_path_is_named_alike_whatever_it_came_in(tmp_path):
    path = tmp_path / "noise.wav"
    path.write_bytes(b"no audio")
    for X in ([path], [str(path)], np.array([str(path)]), pd.Series([str(path)])):
        with pytest.raises(ValueError, match=rf"^clip 0 \('{re.escape(str(path))}'\) cannot be"):
            read(X)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ((GOOD, 16000), "clip 0 cannot be made an array.*pass a waveform"),
        ((16000, GOOD), "clip 0 cannot be made an array.*pass a waveform"),
        ({"array": GOOD, "sampling_rate": 16000}, "clip 0 is {'array'.*neither a waveform nor"),
        (BytesIO(b"RIFF"), "clip 0 is <_io.Byt.*neither a waveform nor"),
        (None, "clip 0 is None, neither a waveform nor"),
        (csr_array(GOOD[None]), r"clip 0 is sparse; .*toarray\(\)"),
        ([GOOD, GOOD], r"clip 0 has shape \(2, 9\)"),
    ],
)
def test_what_is_no_clip_is_named_where_all_are_alike(clip, message):
    with pytest.raises(ValueError, match=message):
        read([clip, clip])


def test_masked_values_are_refused():
    masked = np.ma.masked_greater(np.arange(9.0), 7)
    with pytest.raises(ValueError, match=r"clip 1 has masked values.*filled\(0\)"):
        read([GOOD, masked])
    with pytest.raises(ValueError, match="X has masked values"):
        check(np.ma.stack([masked, masked]))
    np.testing.assert_array_equal(read([np.ma.masked_array(GOOD)])[0], GOOD)


def test_nan_among_paths_is_named(audio_files):
    with pytest.raises(ValueError, match="clip 1 is nan, neither"):
        read(pd.Series([audio_files[0], np.nan], dtype=object))


def test_ragged_sequences_of_anything_with_a_length(waveforms):
    for got, expected in zip(read([pd.Series(w) for w in waveforms]), waveforms, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_folder_is_no_clip(tmp_path):
    with pytest.raises(ValueError, match=r"clip 0 .*is a folder"):
        read([tmp_path])


def test_a_file_cut_short_is_named(tmp_path):
    path = tmp_path / "cut.mp3"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 32000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"clip 0 .*(ends after|cannot be)"):
        read([path])


def test_the_length_of_an_mp3_without_a_header_is_a_guess(tmp_path):
    path = tmp_path / "quiet_then_loud.mp3"
    loud = np.random.default_rng(0).uniform(-0.5, 0.5, 80000)
    settings = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
    soundfile.write(path, np.append(np.zeros(80000), loud), 16000, **settings)
    whole = path.read_bytes()
    # Its first frame holds no sound, but how many frames there are.
    path.write_bytes(whole[whole.index(whole[:2], whole.index(b"Xing")) :])
    with soundfile.SoundFile(path) as file:
        assert file.frames > 200_000
    assert len(read([path])[0]) == pytest.approx(160_000, rel=0.03)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU"])
def test_a_file_with_less_than_its_header_claims_is_named(tmp_path, kind):
    """libsndfile corrects the length by itself, and tells nobody."""
    path = tmp_path / f"cut.{kind.lower()}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 32000), 16000, format=kind)
    whole = path.read_bytes()
    assert len(read([path])[0]) == 32000
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"clip 0 .*cut off: .*claims \d+ bytes"):
        Clips([path], 16000).check(0)


def test_a_wav_file_of_a_stream_does_not_know_its_length(tmp_path):
    path = tmp_path / "stream.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 32000), 16000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    assert Clips([path], 16000).check(0) == 32000


def test_unsigned_integers_are_no_waveform():
    quiet = np.full(4000, 128, np.uint8)
    rows = np.stack([quiet, quiet])
    for X in ([quiet, quiet], rows, torch.from_numpy(rows), pd.DataFrame(rows)):
        with pytest.raises(ValueError, match=r"unsigned integers.*subtract"):
            read(X)


def test_a_missing_file_is_named(audio_files):
    with pytest.raises(FileNotFoundError, match=r"clip 1 \('nowhere.wav'\): no such file"):
        read([audio_files[0], "nowhere.wav"])


def test_what_can_be_no_name_of_a_file_is_named(audio_files):
    with pytest.raises(OSError, match=r"clip 1 \('spoken words .*[Tt]oo long"):
        read([audio_files[0], "spoken words " * 50])


def test_a_file_that_is_no_audio_is_named(tmp_path, audio_files):
    path = tmp_path / "notes.wav"
    path.write_text("these are no samples")
    with pytest.raises(ValueError, match=r"clip 1 .*cannot be read as audio.*WAV, FLAC"):
        read([audio_files[0], path])


@pytest.mark.parametrize("rate", [1, 10, 32_000_000])
def test_a_rate_that_is_out_of_reach_is_named(tmp_path, rate):
    soundfile.write(tmp_path / "odd.wav", GOOD, rate)
    with pytest.raises(ValueError, match=rf"clip 0 .*a rate of {rate} Hz, .*sample_rate=16000"):
        read([tmp_path / "odd.wav"])


def test_an_empty_file_is_named(tmp_path, audio_files):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(ValueError, match=r"clip 1 .*is empty"):
        read([audio_files[0], tmp_path / "empty.wav"])


def test_nan_in_a_file_is_named(tmp_path, audio_files):
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"clip 1 .*contains NaN"):
        read([audio_files[0], tmp_path / "nan.wav"])


@pytest.mark.parametrize("X", [[], (), np.array([]), pd.Series([], dtype=object)])
def test_no_clips_at_all(X):
    with pytest.raises(ValueError, match=r"Found 0 clip\(s\) .*minimum of 1 is required"):
        check(X)


def test_too_few_clips():
    with pytest.raises(ValueError, match="n_samples=1"):
        check([GOOD], min_clips=2)
