"""The README's Python runs as it is printed, one block after the other."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile

README = Path(__file__).resolve().parent.parent / "README.md"
# Encoders are small here and keep random weights: what is tested is that the code fits together.
AS_PRINTED, SMALL = "Encoder(random_state=0)", "Encoder(random_state=0, n_epochs=0, width=4)"


@pytest.fixture
def write_labels(tmp_path):
    """Function that makes the README's folder of eight clips, with these labels."""
    folder = tmp_path / "path" / "to" / "folder"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(8):
        hiss = rng.normal(size=4000)
        waveform = np.convolve(hiss, np.hanning(31), "same") if i % 2 else hiss
        soundfile.write(folder / f"{i}.wav", waveform / np.abs(waveform).max(), 16000)

    def write(labels):
        lines = ["file,label", *(f"{i}.wav,{label}" for i, label in enumerate(labels))]
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")

    return write


def blocks():
    """Return the README's blocks of Python."""
    text = README.read_text(encoding="utf-8")
    found = re.findall(r"^ *```python\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def test_the_readmes_code_runs(write_labels, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    evaluate, save, few_labels, share = (
        compile(block.replace(AS_PRINTED, SMALL), f"README, block {i}", "exec")
        for i, block in enumerate(blocks(), 1)
    )
    names = {}
    exec(evaluate, names)
    assert 1 / 8 < float(capsys.readouterr().out) <= 1
    write_labels(["hiss", "rumble"] * 4)
    exec(save, names)
    assert (tmp_path / "model.joblib").exists()
    write_labels(["hiss", "rumble"] * 2 + [""] * 4)
    exec(few_labels, names)
    assert list(names["guesses"]) == ["hiss", "rumble"] * 2
    names["encoder"] = names["model"][0]
    of_all = names.pop("features")
    exec(share, names)
    assert names["features"].shape == of_all.shape == (8, 7)


def test_encoders_are_small_in_these_tests():
    printed = "".join(blocks())
    assert printed.count("Encoder(") == printed.count(AS_PRINTED) > 0
