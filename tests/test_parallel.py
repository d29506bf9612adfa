"""Sharing clips among processes: the same features, whoever works on them."""

import os
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile
import torch

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder, _encoder, _parallel
from audiorep._clips import Clips
from audiorep._sources import ClipSources
from audiorep.nn import LogMel

RATE = 16000


class Notebook(os.PathLike):
    """The path of a file, that notes in another one which processes ask for it."""

    def __init__(self, path, notes):
        self.path, self.notes = path, notes

    def __fspath__(self):
        with open(self.notes, "a") as notes:
            notes.write(f"{os.getpid()}\n")
        return str(self.path)

    def readers(self):
        return {int(line) for line in Path(self.notes).read_text().split()}


@pytest.fixture(scope="module")
def clips():
    """Seventy clips, of unequal lengths."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(2000 + 90 * i).astype(np.float32) for i in range(70)]


@pytest.fixture(scope="module", params=[ContrastiveAudioEncoder, VQTransformerEncoder])
def fitted(request, clips):
    return request.param(n_epochs=0, device="cpu", random_state=0).fit(clips[:20])


@pytest.fixture(scope="module")
def encoder(clips):
    return ContrastiveAudioEncoder(n_epochs=0, device="cpu", random_state=0).fit(clips[:20])


@pytest.fixture
def files(clips, tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(len(clips))]
    for path, clip in zip(paths, clips, strict=True):
        soundfile.write(path, clip, RATE, subtype="FLOAT")
    return paths


def test_features_are_the_same(fitted, clips):
    expected, expected_frames = fitted.transform(clips), fitted.transform_frames(clips)
    with joblib.parallel_config(n_jobs=2):
        features, frames = fitted.transform(clips), fitted.transform_frames(clips)
    np.testing.assert_array_equal(features, expected)
    for found, wanted in zip(frames, expected_frames, strict=True):
        assert len(found) == len(clips)
        assert all(map(np.array_equal, found, wanted))


def test_other_processes_read_the_files(encoder, files, tmp_path):
    noting = [Notebook(path, tmp_path / "readers") for path in files]
    encoder.transform(noting)
    assert noting[0].readers() == {os.getpid()}
    with joblib.parallel_config(n_jobs=2):
        encoder.transform(noting)
    assert len(noting[0].readers()) > 1


@pytest.mark.parametrize(
    ("config", "n_clips"),
    [
        ({}, 70),
        ({"n_jobs": 1}, 70),
        ({"backend": "threading", "n_jobs": 2}, 70),
        ({"backend": "multiprocessing", "n_jobs": 2}, 70),
        ({"n_jobs": 2}, 9),
    ],
)
def test_one_process_does_alone(encoder, clips, monkeypatch, config, n_clips):
    monkeypatch.setattr(_parallel, "Parallel", None)
    with joblib.parallel_config(**config):
        assert len(encoder.transform(clips[:n_clips])) == n_clips


def test_a_bad_clip_is_named_by_its_place_among_all(encoder, files, clips):
    files[66] = files[0].with_name("bad.wav")
    soundfile.write(files[66], np.full(4000, np.nan), RATE, subtype="FLOAT")
    with (
        joblib.parallel_config(n_jobs=2),
        pytest.raises(ValueError, match=r"clip 66 \('.*bad.wav'\) contains NaN"),
    ):
        encoder.transform(files)
    with (
        joblib.parallel_config(n_jobs=2),
        pytest.raises(FileNotFoundError, match=r"clip 3 .*no such file"),
    ):
        encoder.transform([*files[:3], "nowhere.wav", *files[4:]])
    with joblib.parallel_config(n_jobs=2):  # nothing is lost
        assert len(encoder.transform(clips)) == len(clips)


def test_relative_paths_are_those_of_the_caller(encoder, files, clips, tmp_path, monkeypatch):
    """Processes that were started elsewhere have another working directory."""
    names = [path.name for path in files]
    monkeypatch.chdir(tmp_path)
    with joblib.parallel_config(n_jobs=2):
        here = encoder.transform(names)
    (tmp_path / "elsewhere").mkdir()
    for name, clip in zip(names, clips[::-1], strict=True):
        soundfile.write(tmp_path / "elsewhere" / name, clip, RATE, subtype="FLOAT")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with joblib.parallel_config(n_jobs=2):
        there = encoder.transform(names)
    np.testing.assert_array_equal(there, here[::-1])


@pytest.mark.parametrize(
    ("n_jobs", "n_clips", "n_parts"), [(2, 64, 2), (2, 100, 2), (2, 1000, 4), (3, 150, 3)]
)
def test_each_process_has_as_many_parts(monkeypatch, n_jobs, n_clips, n_parts):
    monkeypatch.setattr(_parallel, "effective_n_jobs", lambda n: n_jobs)
    clips = Clips([np.ones(160, np.float32)] * n_clips, RATE)
    sources = ClipSources(clips, [2] * n_clips, LogMel())
    with joblib.parallel_config(n_jobs=1):
        sizes = _parallel.share(len, sources)
    assert len(sizes) == n_parts
    assert sum(sizes) == n_clips


def test_a_gpu_is_not_shared(encoder, clips, monkeypatch):
    monkeypatch.setattr(_parallel, "Parallel", None)
    monkeypatch.setattr(_encoder, "resolve_device", lambda device: torch.device("meta"))
    with joblib.parallel_config(n_jobs=2):
        assert encoder._shared(len, clips) == [len(clips)]


def test_parts_are_named_as_in_the_whole(clips):
    part = Clips(clips, RATE).part(10, 20)
    assert len(part) == 10
    assert part.name(3) == "clip 13"
    assert part.part(2, 4).name(0) == "clip 12"
    assert part.check(3) == len(clips[13])
