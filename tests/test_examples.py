"""Every example runs to its end."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What an example says in the end, where it is not an accuracy; a file is in the current folder.
SAYS = {"views_of_a_clip.py": "views_of_a_clip.png"}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_example(path, tmp_path):
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = SAYS.get(path.name, "accuracy")
    assert said in done.stdout
    if said.endswith(".png"):
        assert (tmp_path / said).read_bytes().startswith(b"\x89PNG")
