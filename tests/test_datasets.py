"""Data sets: synthetic notes keep the physics they promise; loaders give back what is on disk."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import audiorep.datasets
from audiorep.datasets import (
    fetch_speech_commands,
    load_audio_folder,
    load_esc50,
    load_fsdd,
    make_instrument_notes,
)
from audiorep.datasets._instrument_notes import TIMBRES

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def write_clip(path, *, n_timesteps=160, sample_rate=16000, value=0.25):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(n_timesteps, value, dtype=np.float32), sample_rate)


def write_table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


# --- make_instrument_notes ---


def fundamental(clip, sample_rate):
    """Hz: the first high peak of the autocorrelation, computed at eight times the rate."""
    power = np.abs(np.fft.rfft(clip, 2 * len(clip))) ** 2
    correlation = np.fft.irfft(power, 16 * len(clip))[: 4 * len(clip)]
    inside = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inside > correlation[:-2]) & (inside >= correlation[2:]))
    first = peaks[correlation[peaks] > 0.85 * correlation[peaks].max()][0]
    return 8 * sample_rate / first


@pytest.mark.parametrize("timbre", [t.name for t in TIMBRES if t.name != "marimba"])
def test_pitch_is_the_fundamental(timbre):
    notes = make_instrument_notes(48, n_timbres=len(TIMBRES), noise=0, random_state=0)
    chosen = notes.target == notes.target_names.index(timbre)
    for clip, midi in zip(notes.data[chosen], notes.pitch[chosen], strict=True):
        measured = 69 + 12 * np.log2(fundamental(clip, notes.sample_rate) / 440)
        assert abs(measured - midi) < 0.5


def test_marimba_is_loudest_at_its_pitch():
    # its partials are no multiples of the fundamental, so the waveform has no period
    notes = make_instrument_notes(48, n_timbres=6, noise=0, random_state=0)
    chosen = notes.target == notes.target_names.index("marimba")
    for clip, midi in zip(notes.data[chosen], notes.pitch[chosen], strict=True):
        peak = np.argmax(np.abs(np.fft.rfft(clip))) * notes.sample_rate / len(clip)
        assert abs(69 + 12 * np.log2(peak / 440) - midi) < 0.5


@pytest.mark.parametrize(("pitch", "n_partials"), [(69, 9), (105, 1)])
def test_partials_stop_below_half_the_sample_rate(pitch, n_partials):
    # at 8000 Hz partial 10 of 440 Hz, or 2 of 3520 Hz, would come back as a lower tone
    notes = make_instrument_notes(
        30, sample_rate=8000, pitch_range=(pitch, pitch), noise=0, random_state=0
    )
    clips = notes.data[notes.target == notes.target_names.index("trumpet")]
    spectrum = (np.abs(np.fft.rfft(clips * np.hanning(8000))) ** 2).mean(axis=0)
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    number = np.arange(8000 // 2 + 1) / frequency
    near = np.abs(number - np.round(number)) * frequency < 60
    tones = near & (np.round(number) >= 1) & (np.round(number) <= n_partials)
    assert spectrum[tones].sum() > 20 * spectrum[~tones].sum()


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050])
def test_notes_shapes_and_labels(sample_rate):
    notes = make_instrument_notes(
        13, duration=0.3, sample_rate=sample_rate, n_timbres=4, pitch_range=(50, 55), random_state=0
    )
    assert notes.data.shape == (13, round(0.3 * sample_rate))
    assert notes.data.dtype == np.float32
    peaks = np.abs(notes.data).max(axis=1)
    assert np.all((peaks > 0.1) & (peaks <= 1))
    assert sorted(np.bincount(notes.target)) == [3, 3, 3, 4]
    assert notes.target_names == ["flute", "clarinet", "trumpet", "violin"]
    assert np.all((notes.pitch >= 50) & (notes.pitch <= 55))
    np.testing.assert_array_equal(notes.groups, notes.pitch)
    assert notes.sample_rate == sample_rate
    assert "13 clips" in notes.DESCR


@pytest.mark.parametrize("duration", [0.001, 0.0025, 0.05, 200.0])
def test_notes_of_any_duration(duration):
    clips = make_instrument_notes(
        8, duration=duration, sample_rate=1000, n_timbres=8, pitch_range=(48, 60), random_state=0
    ).data
    assert clips.shape == (8, round(1000 * duration))
    assert np.isfinite(clips).all()


def test_pitch_range_includes_both_ends():
    notes = make_instrument_notes(60, duration=0.01, pitch_range=(60, 62), random_state=0)
    assert set(notes.pitch) == {60, 61, 62}


def test_notes_same_seed_same_bits():
    first = make_instrument_notes(6, duration=0.2, random_state=3)
    again = make_instrument_notes(6, duration=0.2, random_state=np.random.RandomState(3))
    other = make_instrument_notes(6, duration=0.2, random_state=4)
    np.testing.assert_array_equal(first.data, again.data)
    np.testing.assert_array_equal(first.target, again.target)
    assert not np.array_equal(first.data, other.data)
    X, y = make_instrument_notes(6, duration=0.2, random_state=3, return_X_y=True)
    np.testing.assert_array_equal(X, first.data)
    np.testing.assert_array_equal(y, first.target)


def test_notes_leave_the_global_random_state_alone():
    before = np.random.get_state()  # noqa: NPY002
    make_instrument_notes(3, duration=0.1, random_state=0)
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


@pytest.mark.parametrize("seed", range(10))
def test_noise_level(seed):
    # the first clip is the same note with and without noise, up to its level
    [clean] = make_instrument_notes(1, noise=0, random_state=seed).data
    [noisy] = make_instrument_notes(1, noise=0.5, random_state=seed).data
    note = clean * (noisy @ clean) / (clean @ clean)
    ratio = np.linalg.norm(noisy - note) / np.linalg.norm(note)
    assert 0.9 * 0.5 / 30 < ratio < 1.1 * 0.5


def log_spectrum_statistics(clips):
    """Mean, deviation and maximum over time of 32 bands of equal width in octaves."""
    frames = np.lib.stride_tricks.sliding_window_view(clips, 512, axis=1)[:, ::160]
    power = np.abs(np.fft.rfft(frames * np.hanning(512))) ** 2
    edges = np.unique(np.geomspace(2, 257, 33).astype(int))
    bands = np.log(np.add.reduceat(power[..., : edges[-1]], edges[:-1], axis=2) + 1e-5)
    return np.hstack([bands.mean(axis=1), bands.std(axis=1), bands.max(axis=1)])


def test_timbre_is_learnable_but_not_trivial():
    notes = make_instrument_notes(random_state=0)
    X = log_spectrum_statistics(notes.data)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scores = cross_val_score(model, X, notes.target, groups=notes.groups, cv=GroupKFold(5))
    assert 0.6 < scores.mean() < 0.95


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_clips": 0}, "'n_clips' parameter"),
        ({"n_timbres": 9}, "'n_timbres' parameter"),
        ({"noise": -1.0}, "'noise' parameter"),
        ({"duration": 1e-6}, "less than one timestep"),
        ({"pitch_range": (60, 50)}, r"must be \(lowest, highest\)"),
        ({"pitch_range": (60.0, 62.0)}, "two MIDI note numbers"),
        ({"pitch_range": (60,)}, "two MIDI note numbers"),
        ({"pitch_range": (60, 84), "sample_rate": 2000}, "use pitches <= 82"),
    ],
)
def test_notes_reject_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_instrument_notes(**parameters)


# --- load_audio_folder ---


@pytest.fixture
def listed_folder(tmp_path):
    for k, name in enumerate(["z.wav", "deep/a.flac", "m.ogg"]):
        write_clip(tmp_path / "audio" / name, n_timesteps=160 * (k + 1))
    write_table(
        tmp_path / "labels.csv",
        ["file", "label", "group", "split", "family"],
        ["audio/z.wav", "oboe", "p1", "2", "wind"],
        ["audio/deep/a.flac", "banjo", "p2", "1", "string"],
        ["audio/m.ogg", "oboe", "p2", "1", "wind"],
    )
    return tmp_path


def test_listed_folder(listed_folder):
    bunch = load_audio_folder(listed_folder)
    assert [Path(p).name for p in bunch.data] == ["z.wav", "a.flac", "m.ogg"]
    assert all(Path(p).is_file() for p in bunch.data)
    assert bunch.target_names == ["banjo", "oboe"]
    np.testing.assert_array_equal(bunch.target, [1, 0, 1])
    np.testing.assert_array_equal(bunch.groups, ["p1", "p2", "p2"])
    np.testing.assert_array_equal(bunch.split, ["2", "1", "1"])
    assert list(bunch.metadata) == ["family"]
    np.testing.assert_array_equal(bunch.metadata["family"], ["wind", "string", "wind"])
    assert bunch.sample_rate == 16000
    assert "3 clips, 2 classes (banjo, oboe)" in bunch.DESCR
    X, y = load_audio_folder(str(listed_folder), return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)


def test_listed_folder_content(listed_folder):
    bunch = load_audio_folder(listed_folder, load_content=True)
    assert [clip.shape for clip in bunch.data] == [(160,), (320,), (480,)]
    assert {clip.dtype for clip in bunch.data} == {np.dtype(np.float32)}
    np.testing.assert_allclose(bunch.data[0], 0.25, atol=1e-4)
    assert bunch.data[bunch.split == "1"].shape == (2,)
    assert [Path(p).name for p in bunch.filenames] == ["z.wav", "a.flac", "m.ogg"]


def test_clips_of_equal_length_stay_a_sequence(tmp_path):
    for name in ["x/a.wav", "x/b.wav"]:
        write_clip(tmp_path / name)
    assert load_audio_folder(tmp_path, load_content=True).data.shape == (2,)


def test_stereo_is_mixed_to_mono(tmp_path):
    (tmp_path / "x").mkdir()
    soundfile.write(tmp_path / "x" / "a.wav", np.tile([0.5, 0.0], (10, 1)), 8000)
    clip = load_audio_folder(tmp_path, load_content=True).data[0]
    np.testing.assert_allclose(clip, np.full(10, 0.25), atol=1e-4)


def test_other_target_columns(listed_folder):
    bunch = load_audio_folder(listed_folder, target_column="family")
    assert bunch.target_names == ["string", "wind"]
    assert list(bunch.metadata) == ["label"]
    unlabelled = load_audio_folder(listed_folder, target_column=None)
    assert unlabelled.target is None
    assert unlabelled.target_names is None
    assert set(unlabelled.metadata) == {"label", "family"}


def test_class_folders(tmp_path):
    for name in ["b/2.wav", "b/deep/1.WAV", "a/1.flac", "a/.2.wav", ".git/3.wav"]:
        write_clip(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("not audio")
    (tmp_path / "README.md").write_text("Two classes.")
    bunch = load_audio_folder(tmp_path)
    names = [Path(p).relative_to(tmp_path).as_posix() for p in bunch.data]
    assert names == ["a/1.flac", "b/2.wav", "b/deep/1.WAV"]
    assert bunch.target_names == ["a", "b"]
    np.testing.assert_array_equal(bunch.target, [0, 1, 1])
    assert bunch.groups is None
    assert bunch.split is None
    assert bunch.metadata == {}
    assert bunch.DESCR == "Two classes."


def test_files_without_labels(tmp_path):
    for name in ["1.wav", "deep/2.wav"]:
        write_clip(tmp_path / name)
    with pytest.raises(ValueError, match=r"1 of the 2 audio files .* are in no class folder"):
        load_audio_folder(tmp_path)
    bunch = load_audio_folder(tmp_path, target_column=None)
    assert len(bunch.data) == 2
    assert bunch.target is None


def test_mixed_sample_rates(tmp_path):
    write_clip(tmp_path / "x" / "a.wav", sample_rate=8000)
    write_clip(tmp_path / "x" / "b.wav", sample_rate=16000)
    assert load_audio_folder(tmp_path).sample_rate is None
    with pytest.raises(ValueError, match=r"differ in sample rate: 8000 Hz in .*a\.wav"):
        load_audio_folder(tmp_path, load_content=True)


def test_broken_file(tmp_path):
    write_clip(tmp_path / "x" / "a.wav", sample_rate=8000)
    (tmp_path / "x" / "b.wav").write_bytes(b"no audio")
    # a path is for the encoder to judge; content must be there
    bunch = load_audio_folder(tmp_path)
    assert len(bunch.data) == 2
    assert bunch.sample_rate == 8000
    with pytest.raises(ValueError, match=r"Could not read .*b\.wav"):
        load_audio_folder(tmp_path, load_content=True)


def test_a_file_that_does_not_tell_its_rate_is_left_to_the_reader(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\na.raw,x\n")
    (tmp_path / "a.raw").write_bytes(bytes(100))
    assert load_audio_folder(tmp_path).sample_rate is None
    with pytest.raises(ValueError, match=r"Could not read .*a\.raw"):
        load_audio_folder(tmp_path, load_content=True)


def test_links_to_folders_are_followed_but_not_round_in_circles(tmp_path):
    for name in ("real", "elsewhere"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.zeros(10), 8000)
    root = tmp_path / "root"
    root.mkdir()
    for link, target in (("one", "real"), ("two", "elsewhere"), ("three", "elsewhere")):
        (root / link).symlink_to(tmp_path / target)
    (tmp_path / "real" / "round").symlink_to(root)
    found = load_audio_folder(root)
    assert found.target_names == ["one", "three", "two"]
    assert len(found.data) == 3


def test_a_table_in_another_encoding_or_with_a_column_twice_is_named(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_bytes("file,label\na.wav,caf\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"labels.csv' is not in UTF-8"):
        load_audio_folder(tmp_path)
    table.write_text("file,label,label\na.wav,x,y\n")
    with pytest.raises(ValueError, match=r"several columns 'label'"):
        load_audio_folder(tmp_path)


@pytest.mark.parametrize("column", ["group", "split"])
def test_a_cell_without_a_value_is_named_and_a_column_without_any_left_out(tmp_path, column):
    for name in "abc":
        write_clip(tmp_path / f"{name}.wav")
    table = tmp_path / "labels.csv"
    table.write_text(f"file,label,{column}\na.wav,x,1\nb.wav,y,\nc.wav,y,\n")
    message = f"2 of the 3 clips in .* have no '{column}', the first of them 'b.wav'; fill it in"
    with pytest.raises(ValueError, match=message):
        load_audio_folder(tmp_path)
    table.write_text(f"file,label,{column}\na.wav,x,\nb.wav,y,\nc.wav,y,\n")
    found = load_audio_folder(tmp_path)
    assert found.groups is None
    assert found.split is None


def test_a_table_that_is_none_and_one_file_by_two_names(tmp_path):
    write_clip(tmp_path / "a.wav")
    table = tmp_path / "labels.csv"
    table.write_text(f"file,label\na.wav,x\n{tmp_path / 'a.wav'},y\n")
    with pytest.raises(ValueError, match="more than once"):
        load_audio_folder(tmp_path)
    table.write_text("file,label\na.wav," + "x" * 200_000 + "\n")
    with pytest.raises(ValueError, match=r"Line 2 of .* is no CSV: field larger"):
        load_audio_folder(tmp_path)
    with pytest.raises(ValueError, match="target_column='file' names the column of the files"):
        load_audio_folder(tmp_path, target_column="file")


def test_folder_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        load_audio_folder(tmp_path / "nowhere")
    write_clip(tmp_path / "a.wav")
    with pytest.raises(NotADirectoryError, match=r"a\.wav' is a file"):
        load_audio_folder(tmp_path / "a.wav")


def test_folder_without_audio(tmp_path):
    with pytest.raises(ValueError, match=r"neither a labels\.csv nor any audio file"):
        load_audio_folder(tmp_path)
    with pytest.raises(ValueError, match=r"target_column='family' needs a file labels\.csv"):
        load_audio_folder(tmp_path, target_column="family")


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([], ValueError, r"no column 'file', 'label'; its columns are none"),
        ([["file", "name"]], ValueError, r"no column 'label'; its columns are 'file', 'name'"),
        ([["file", "label"]], ValueError, "lists no files"),
        ([["file", "label"], ["a.wav"]], ValueError, "Line 2 .* has 1 fields, but .* has 2"),
        (
            [["file", "label"], ["a.wav", "x"], ["./a.wav", "y"]],
            ValueError,
            r"lists '\./a\.wav' more than once",
        ),
        (
            [["file", "label"], ["a.wav", "x"], ["b.wav", "x"], ["c.wav", "x"]],
            FileNotFoundError,
            r"2 of the 3 files listed in .* do not exist, the first of them .*b\.wav",
        ),
        ([["file", "label"], ["a.wav", ""]], ValueError, r"1 of the 1 clips .* have no 'label'"),
    ],
)
def test_bad_labels_file(tmp_path, rows, error, message):
    write_clip(tmp_path / "a.wav")
    write_table(tmp_path / "labels.csv", *rows)
    with pytest.raises(error, match=message):
        load_audio_folder(tmp_path)


def test_labels_file_of_a_spreadsheet(tmp_path):
    # byte order mark, Windows line ends, an empty last line
    write_clip(tmp_path / "a.wav")
    (tmp_path / "labels.csv").write_bytes("\ufefffile,label\r\na.wav,é\r\n\r\n".encode())
    assert load_audio_folder(tmp_path).target_names == ["é"]


# --- load_esc50, load_fsdd ---


@pytest.fixture
def esc50(tmp_path):
    rows = [
        ["1-100032-A-0.wav", "1", "0", "dog", "True", "100032", "A"],
        ["1-100038-A-14.wav", "1", "14", "chirping_birds", "False", "100038", "A"],
        ["2-100210-A-38.wav", "2", "38", "clock_tick", "True", "100210", "A"],
        ["2-100210-B-38.wav", "2", "38", "clock_tick", "True", "100210", "B"],
    ]
    for row in rows:
        write_clip(tmp_path / "audio" / row[0], sample_rate=44100)
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    write_table(tmp_path / "meta" / "esc50.csv", header, *rows)
    return tmp_path


def test_esc50(esc50):
    bunch = load_esc50(esc50)
    assert bunch.target_names == ["dog", "chirping_birds", "clock_tick"]
    np.testing.assert_array_equal(bunch.target, [0, 1, 2, 2])
    np.testing.assert_array_equal(bunch.split, ["1", "1", "2", "2"])
    np.testing.assert_array_equal(bunch.groups, ["100032", "100038", "100210", "100210"])
    np.testing.assert_array_equal(bunch.metadata["target"], ["0", "14", "38", "38"])
    assert bunch.sample_rate == soundfile.info(bunch.data[0]).samplerate
    assert "Piczak" in bunch.DESCR


def test_esc10(esc50):
    X, y = load_esc50(esc50, only_esc10=True, return_X_y=True)
    assert [Path(p).name[0] for p in X] == ["1", "2", "2"]
    np.testing.assert_array_equal(y, [0, 1, 1])


def test_esc50_errors(esc50):
    with pytest.raises(FileNotFoundError, match=r"no 'meta/esc50\.csv'.*clone of https"):
        load_esc50(esc50 / "audio")
    (esc50 / "audio" / "1-100032-A-0.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 4 files .* do not exist"):
        load_esc50(esc50)


def test_fsdd(tmp_path):
    for name in ["7_theo_10.wav", "7_theo_9.wav", "7_theo_4.wav", "0_de_la_rue_5.wav", "other.wav"]:
        write_clip(tmp_path / "recordings" / name, sample_rate=8000)
    bunch = load_fsdd(tmp_path)
    names = [Path(p).stem for p in bunch.data]
    assert names == ["0_de_la_rue_5", "7_theo_4", "7_theo_9", "7_theo_10"]
    assert bunch.target_names == ["0", "7"]
    np.testing.assert_array_equal(bunch.target, [0, 1, 1, 1])
    np.testing.assert_array_equal(bunch.groups, ["de_la_rue", "theo", "theo", "theo"])
    np.testing.assert_array_equal(bunch.split, ["train", "test", "train", "train"])
    assert bunch.sample_rate == soundfile.info(bunch.data[0]).samplerate


def test_fsdd_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no 'recordings/\{digit\}_.*clone of https"):
        load_fsdd(tmp_path)


# --- fetch_speech_commands ---


@pytest.fixture
def speech_commands(tmp_path):
    folder = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
    for name in ["yes/aa_nohash_0.wav", "yes/aa_nohash_1.wav", "no/bb_nohash_0.wav"]:
        write_clip(folder / name)
    write_clip(folder / "yes" / "cc_nohash_0.wav")
    write_clip(folder / "_background_noise_" / "pink_noise.wav")
    (folder / "validation_list.txt").write_text("no/bb_nohash_0.wav\n")
    (folder / "testing_list.txt").write_text("yes/cc_nohash_0.wav\n")
    return tmp_path


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_speech_commands_on_disk(speech_commands, download_if_missing):
    bunch = fetch_speech_commands(speech_commands, download_if_missing=download_if_missing)
    assert bunch.target_names == ["no", "yes"]
    np.testing.assert_array_equal(bunch.target, [0, 1, 1, 1])
    np.testing.assert_array_equal(bunch.groups, ["bb", "aa", "aa", "cc"])
    np.testing.assert_array_equal(bunch.split, ["validation", "training", "training", "testing"])
    np.testing.assert_array_equal(bunch.metadata["utterance"], ["0", "0", "1", "0"])
    assert all(Path(p).is_file() for p in bunch.data)
    assert bunch.sample_rate == 16000


@pytest.mark.parametrize(("subset", "n"), [("training", 2), ("validation", 1), ("testing", 1)])
def test_speech_commands_subsets(speech_commands, subset, n):
    X, y = fetch_speech_commands(speech_commands, subset=subset, return_X_y=True)
    assert len(X) == len(y) == n


def test_speech_commands_same_files_as_torchaudio(speech_commands):
    from audiorep._torchaudio import torchaudio

    for subset in ["training", "validation", "testing"]:
        theirs = torchaudio.datasets.SPEECHCOMMANDS(speech_commands, subset=subset)
        expected = [
            str(speech_commands / "SpeechCommands" / theirs.get_metadata(n)[0])
            for n in range(len(theirs))
        ]
        assert list(fetch_speech_commands(speech_commands, subset=subset).data) == expected


def test_speech_commands_missing(tmp_path, monkeypatch):
    from audiorep._torchaudio import torchaudio

    module = sys.modules[torchaudio.datasets.SPEECHCOMMANDS.__module__]
    calls = []

    def no_network(url, archive, hash_prefix):
        calls.append((url, hash_prefix))
        raise OSError("no network")

    monkeypatch.setattr(module, "download_url_to_file", no_network)
    with pytest.raises(OSError, match=r"v0\.01 is not in .*`download_if_missing` is False"):
        fetch_speech_commands(tmp_path, version="v0.01", download_if_missing=False)
    assert calls == []
    with pytest.raises(OSError, match="no network"):
        fetch_speech_commands(tmp_path, version="v0.01")
    [(url, checksum)] = calls
    assert url.endswith("speech_commands_v0.01.tar.gz")
    assert len(checksum) == 64  # torchaudio checks a SHA-256


def test_speech_commands_incomplete(speech_commands):
    folder = speech_commands / "SpeechCommands" / "speech_commands_v0.02"
    (folder / "testing_list.txt").unlink()
    with pytest.raises(OSError, match=r"no 'testing_list\.txt'"):
        fetch_speech_commands(speech_commands)


# --- all of them ---


def test_datasets_stand_alone():
    """They import nothing of audiorep, but for torchaudio's module inside the one fetcher."""
    imported = set()
    for path in Path(audiorep.datasets.__file__).parent.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            match = re.match(r"\s*(?:from|import) (audiorep[.\w]*)", line)
            if match and not match[1].startswith("audiorep.datasets"):
                imported.add((path.name, match[1]))
    assert imported == {("_speech_commands.py", "audiorep._torchaudio")}


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "n_clips", "n_classes", "n_groups", "sample_rate"),
    [
        ("drums", 663, 9, 16, 16000),
        ("esc10", 400, 10, 303, 16000),
        ("fsdd", 3000, 10, 6, 8000),
        ("instruments", 1194, 15, 80, 16000),
        ("ravdess", 1440, 8, 24, 16000),
    ],
)
def test_shared_data(name, n_clips, n_classes, n_groups, sample_rate):
    if not (SHARED_DATA / name).is_dir():
        pytest.skip(f"there are no recordings in ../shared/data/{name}")
    bunch = load_audio_folder(SHARED_DATA / name)
    assert len(bunch.data) == len(bunch.target) == n_clips
    assert len(bunch.target_names) == n_classes
    assert len(np.unique(bunch.groups)) == n_groups
    assert bunch.sample_rate == sample_rate
    assert bunch.DESCR.startswith("#")
