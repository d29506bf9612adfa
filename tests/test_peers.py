"""benchmarks/peers.py: features come from elsewhere, all else is judged as ours is."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiorep.datasets import make_instrument_notes

FACTS = {
    "fit_seconds": 2.0,
    "transform_seconds": 3.0,
    "audio_seconds": 36.0,
    "peak_memory": 100.0,
    "peer_versions": {"abacus": "1.0", "numpy": "0"},
}


@pytest.fixture(scope="module")
def peers(benchmark_script):
    return benchmark_script("peers")


@pytest.fixture(scope="module")
def worker(benchmark_script):
    return benchmark_script("_peer_worker")


@pytest.fixture
def extracted(peers, monkeypatch, tmp_path):
    """The calls for features, which are levels of bands, with a column that is never known."""
    calls = []

    def extract(name, files, train, cache, **options):
        calls.append((name, len(files), len(train)))
        spectra = [np.abs(np.fft.rfft(soundfile.read(path)[0]))[1:1601] for path in files]
        levels = np.log(np.reshape(spectra, (len(files), 40, 40)).mean(axis=2))
        missing = np.full((len(files), 1), np.nan)
        features = np.hstack((levels, missing)).astype(np.float32)
        return peers._peers.Extracted(features, FACTS)

    monkeypatch.setattr(peers._peers, "extract", extract)
    monkeypatch.setattr(peers, "RESULTS", tmp_path / "results")
    return calls


@pytest.fixture
def data(tmp_path):
    """A folder of sets that holds one, of synthetic notes in five folds."""
    folder = tmp_path / "sets" / "esc10"
    folder.mkdir(parents=True)
    notes = make_instrument_notes(40, n_timbres=2, duration=0.2, random_state=0)
    lines = ["file,label,group,split"]
    for i, (waveform, label) in enumerate(zip(notes.data, notes.target, strict=True)):
        soundfile.write(folder / f"{i}.wav", waveform, notes.sample_rate)
        lines.append(f"{i}.wav,{label},{i},{i // 2 % 5 + 1}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "sets"


def call(data, *others):
    return ["--data", str(data), "--sets", "esc10", "--cache", str(data / "cache"), *others]


def test_results_are_stored_and_a_run_goes_on(peers, extracted, data):
    assert peers.main(call(data, "--peers", "mfcc", "--folds", "1")) == 0
    before = (peers.RESULTS / "esc10.jsonl").read_text()
    assert peers.main(call(data, "--peers", "mfcc")) == 0
    after = (peers.RESULTS / "esc10.jsonl").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 5 * len(peers.PENALTIES)
    assert extracted == [("mfcc", 40, 32)]  # once for all folds
    assert str(data) not in after
    records = [json.loads(line) for line in after.splitlines()]
    assert np.mean([record["accuracy"] for record in records]) > 0.7
    table = peers.render(peers.RESULTS, data / "none")
    assert "| 2 | 300 | 100 |" in table
    assert "Peers: abacus 1.0. Made by" in table


def test_what_is_learned_is_learned_on_each_fold(peers, extracted, data):
    peers.main(call(data, "--peers", "minirocket", "--folds", "1", "2"))
    assert extracted == [("minirocket", 40, 32)] * 2


def test_a_peer_that_fails_does_not_stop_the_others(peers, extracted, data, monkeypatch, capsys):
    extract = peers._peers.extract

    def fail(name, *arguments):
        if name == "egemaps":
            raise peers._peers.PeerError("installing egemaps failed: no such package")
        return extract(name, *arguments)

    monkeypatch.setattr(peers._peers, "extract", fail)
    assert peers.main(call(data, "--peers", "egemaps", "mfcc", "--folds", "1")) == 1
    assert "ESC-10: installing egemaps failed: no such package" in capsys.readouterr().err
    assert [name for name, *_ in extracted] == ["mfcc"]


def stored_score(peers, store, row, scores, **others):
    for fold, score in zip("12345", scores, strict=True):
        found = {"accuracy": score, "balanced_accuracy": score, "n_features": 3}
        found |= {"n_not_converged": 0, "n_train": 32, "n_test": 8, "settings": row, "seed": None}
        found |= {"versions": {"audiorep": "0"}, "machine": {"processor": "abacus", "n_cores": 2}}
        store.append({"encoder": row, "fold": fold, "key": row + fold, **found, **FACTS, **others})


def test_the_table_says_where_a_peer_is_ahead(peers, tmp_path):
    theirs = peers.ResultStore(tmp_path / "peers" / "esc10.jsonl")
    for penalty, score in zip(peers.PENALTIES, (0.7, 0.9), strict=True):
        stored_score(peers, theirs, peers.row_name("mfcc", penalty), [score] * 5)
    ours = peers.ResultStore(tmp_path / "ours" / "esc10.jsonl")
    table = peers.render(tmp_path / "peers", tmp_path / "ours")
    assert "On no set is one of these peers ahead" in table
    stored_score(peers, ours, "contrastive", [0.8] * 5)
    stored_score(peers, ours, "both", [0.95] * 5)
    table = peers.render(tmp_path / "peers", tmp_path / "ours")
    title = peers._peers.PEERS["mfcc"].title
    # The better penalty counts.
    assert f"| {title} | 90.0 ± 0.0 | 90.0 | 2 | 300 | 100 |" in table
    assert "| contrastive | 80.0 ± 0.0 | 80.0 |  |  |  |" in table
    assert f"On ESC-10, {title} (90.0) is ahead of contrastive (80.0).\n" in table


def test_incomplete_rows_are_not_compared(peers, tmp_path):
    theirs = peers.ResultStore(tmp_path / "peers" / "esc10.jsonl")
    for penalty in peers.PENALTIES:
        stored_score(peers, theirs, peers.row_name("mfcc", penalty), [0.9] * 5)
    lines = theirs.path.read_text().splitlines(keepends=True)
    theirs.path.write_text("".join(line for line in lines if '"fold": "5"' not in line))
    stored_score(peers, peers.ResultStore(tmp_path / "ours" / "esc10.jsonl"), "both", [0.5] * 5)
    table = peers.render(tmp_path / "peers", tmp_path / "ours")
    assert "90.0 ± 0.0 (4 of 5 folds) |  |" in table
    assert "On no set is one of these peers ahead" in table


# ---------------------------------------------------------------------- the worker


class Lengths:
    """Learns the mean length of clips, and compares others with it."""

    libraries = ("numpy",)

    def fit(self, waveforms):
        self.mean = np.mean([len(waveform) for waveform in waveforms])

    def row(self, waveform):
        return np.array([len(waveform) / self.mean, waveform.max()])


def test_a_worker_fits_on_training_files_only(worker, tmp_path):
    paths = [str(tmp_path / f"{i}.wav") for i in range(3)]
    for path, n in zip(paths, (3200, 6400, 9600), strict=True):
        soundfile.write(path, np.full((n, 2), (0.25, 0.5)), 16000, subtype="FLOAT")
    found = worker.extract(Lengths, paths[:1], paths)
    np.testing.assert_allclose(found["features"], [[1, 0.375], [2, 0.375], [3, 0.375]])
    facts = json.loads(found["facts"])
    assert facts["audio_seconds"] == pytest.approx(1.2)
    assert facts["peak_memory"] > 10
    assert facts["peer_versions"]["numpy"] == np.__version__


def test_very_short_clips_get_silence_behind(worker, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.ones(10) / 2, 16000)
    waveform = worker.read(str(tmp_path / "short.wav"))
    assert len(waveform) == worker.SHORTEST
    assert np.count_nonzero(waveform) == 10


def test_rows_of_one_length(worker):
    rocket = worker.MiniRocket()
    rocket.length = 100
    short = rocket._row_of_one_length(np.linspace(0, 5, 60, dtype=np.float32))
    assert short.shape == (1, 100)
    assert short[0, :60].std() == pytest.approx(1, rel=1e-5)
    assert not short[0, 60:].any()
    assert rocket._row_of_one_length(np.ones(300, dtype=np.float32)).shape == (1, 100)


def test_a_peer_runs_in_a_process_and_says_why_it_failed(peers, monkeypatch, tmp_path):
    """The worker does not know the peer; what it says last is in the message."""
    monkeypatch.setitem(peers._peers.PEERS, "abacus", peers._peers.Peer("abacus", ("abacus",)))
    monkeypatch.setattr(peers._peers, "environment", lambda name, cache: Path(sys.executable))
    with pytest.raises(
        peers._peers.PeerError, match=r"(?s)running abacus failed .*KeyError: 'abacus'"
    ):
        peers._peers.extract("abacus", ["a.wav"], [], tmp_path)


def test_an_environment_that_cannot_be_made_is_told(peers, monkeypatch, tmp_path):
    monkeypatch.setattr(peers._peers.sys, "executable", "/no/python")
    with pytest.raises(peers._peers.PeerError, match="making the environment of mfcc failed"):
        peers._peers.environment("mfcc", tmp_path)
