"""The command line."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import audiorep
from audiorep.__main__ import main
from audiorep.evaluation import LogMelStatistics, MFCCStatistics, _entries

QUICK = ["--encoders", "log-mel statistics, MFCC statistics"]


@pytest.fixture
def folder(tmp_path):
    """Twelve clips of two classes, quiet and loud, with folds and groups."""
    rng = np.random.default_rng(0)
    lines = ["file,label,group,split"]
    for i in range(12):
        loudness = (0.01, 0.3)[i % 2]
        waveform = np.clip(loudness * rng.normal(size=2000), -1, 1)
        soundfile.write(tmp_path / f"{i}.wav", waveform, 16000)
        lines.append(f"{i}.wav,{('quiet', 'loud')[i % 2]},g{i // 2},{1 + i // 4}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_evaluate_prints_a_table_and_writes_figures(folder, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(folder), *QUICK, "--json", str(figures)]) == 0
    out, err = capsys.readouterr()
    assert "12 clips, 2 classes, held out: 1, 2, 3\n" in out
    for row in ("chance", "log-mel statistics", "MFCC statistics"):
        assert f"\n{row} " in out
        assert row in err
    assert "100.0 ± 0.0" in out
    written = json.loads(figures.read_text())
    assert written["settings"]["folds"] == ["1", "2", "3"]
    assert written["versions"]["audiorep"] == audiorep.__version__
    assert len(written["records"]) == 9
    assert str(folder.parent) not in figures.read_text()


def test_every_row_of_the_standard_table(folder, capsys, monkeypatch):
    encoders, unions = _entries.standard_entries(n_epochs=3)
    for name, encoder in encoders.items():
        if hasattr(encoder, "n_epochs"):
            assert encoder.n_epochs == (0 if name.endswith(" untrained") else 3)
    quick = {name: LogMelStatistics(n_mels=16 + i) for i, name in enumerate(encoders)}
    monkeypatch.setattr(_entries, "standard_entries", lambda *_, **__: (quick, unions))
    assert main(["evaluate", str(folder), "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert not err
    lines = out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("chance"))
    names = ["chance", *encoders, "both"]
    for name, line in zip(names, lines[first:], strict=False):
        assert line.startswith(name)


def test_the_built_in_set_needs_no_folder(capsys):
    assert main(["evaluate", "--encoders", "MFCC statistics"]) == 0
    out = capsys.readouterr().out
    assert "Synthetic notes of instruments, pitches held out" in out
    assert "12 epochs instead of the default" in out
    assert "over 3 folds" in out


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_first_look_leaves_the_supervised_row_out(folder, with_folder, capsys, monkeypatch):
    entries = {"statistics": LogMelStatistics(), "supervised": MFCCStatistics()}
    monkeypatch.setattr(_entries, "standard_entries", lambda *_, **__: (dict(entries), {}))
    data = [str(folder)] if with_folder else []
    assert main(["evaluate", *data, "--quiet"]) == 0
    assert ("\nsupervised " in capsys.readouterr().out) == with_folder
    assert main(["evaluate", *data, "--quiet", "--encoders", "supervised"]) == 0
    assert "\nsupervised " in capsys.readouterr().out


def test_a_protocol_can_be_chosen(folder, capsys):
    assert main(["evaluate", str(folder), *QUICK, "--protocol", "groups"]) == 0
    assert "held out: g0, g1, g2, g3, g4, g5" in capsys.readouterr().out


def test_an_interrupt_prints_what_is_done(folder, capsys, monkeypatch):
    class Interrupted(MFCCStatistics):
        def fit_transform(self, X, y=None):
            raise KeyboardInterrupt

    entries = {"done": LogMelStatistics(), "cut": Interrupted()}
    monkeypatch.setattr(_entries, "standard_entries", lambda *_, **__: (entries, {}))
    assert main(["evaluate", str(folder)]) == 130
    out = capsys.readouterr().out
    assert "\ndone " in out
    assert "Interrupted: 2 of 9 results are there." in out


def test_a_store_is_used_again(folder, tmp_path, capsys):
    arguments = ["evaluate", str(folder), *QUICK, "--store", str(tmp_path / "store.jsonl")]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == first
    assert "9 of 9 results are there already" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/folder"], "no/such/folder"),
        (["--encoders", "magic"], "There is no encoder 'magic'"),
        (["--protocol", "folds"], "protocol='folds' needs splits"),
        (["--json", "no/such/folder/figures.json"], "There is no folder to write"),
        (["--json", "."], "'.' is a folder; name a file to write"),
        (["--device", "abacus"], "device='abacus' cannot be used here"),
    ],
)
def test_an_error_of_the_user_is_one_line(arguments, message, capsys):
    assert main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("audiorep: error: ")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("--seeds", "0", "'0' is not a whole number of at least 1"),
        ("--seeds", "two", "'two' is not a whole number of at least 1"),
        ("--jobs", "0", "'0' is not a whole number of at least 1, or -1"),
        ("--n-epochs", "many", "'many' is not a whole number of at least 0, or auto"),
        ("--n-epochs", "-1", "'-1' is not a whole number of at least 0, or auto"),
    ],
)
def test_a_number_that_is_none_is_named(option, text, expected, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", option, text])
    assert exit_.value.code == 2
    assert f"argument {option}: {expected}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["evaluate", "--seeds", "0"], ["sing"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_version_and_help(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--version"])
    assert error.value.code == 0
    assert capsys.readouterr().out.strip() == f"audiorep {audiorep.__version__}"
    command = [sys.executable, "-m", "audiorep", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "evaluate" in done.stdout
