"""Every example runs to its end."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What an example prints, and the files that it writes when it is run without arguments.
PRINTS = {
    "anomaly_detection.py": "area under the ROC curve",
    "views_of_a_clip.py": "views_of_a_clip.png",
}
WRITES = {
    "label_efficiency.py": ("label_efficiency.png",),
    "views_of_a_clip.py": ("views_of_a_clip.png",),
    "codes_of_sound.py": (
        "codebook.png",
        "tokens.png",
        "note.wav",
        "reconstructed.wav",
        "drawn.wav",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_example(path, tmp_path):
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert PRINTS.get(path.name, "accuracy") in done.stdout
    assert {file.name for file in tmp_path.iterdir()} == set(WRITES.get(path.name, ()))
    assert all(file.stat().st_size > 1000 for file in tmp_path.iterdir())


@pytest.mark.slow
def test_roc_curves_are_drawn(tmp_path):
    picture = tmp_path / "roc.png"
    script = ROOT / "examples" / "anomaly_detection.py"
    subprocess.run([sys.executable, script, picture], check=True)
    assert picture.stat().st_size > 1000
