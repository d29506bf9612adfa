"""Imports point downwards, and torchaudio stays in its room."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "audiorep"
BASES = ("audiorep._base", "audiorep._encoder")
ENCODERS = ("audiorep._contrastive", "audiorep._vq")

# What may not be imported by the modules whose names start with the key.
FORBIDDEN = {
    "nn": ("sklearn", *BASES, "audiorep._clips", "audiorep.evaluation"),
    "augmentations": ("sklearn", *BASES, "audiorep.evaluation"),
    "_training": ("sklearn", *BASES, "audiorep.nn", "audiorep.evaluation"),
    "_health": ("sklearn", *BASES, *ENCODERS, "audiorep.evaluation"),
    "_log_mels": (*BASES, *ENCODERS, "audiorep.evaluation"),
    "_hearing": ("sklearn", *BASES, *ENCODERS, "audiorep.evaluation"),
    "_threads": ("sklearn", "audiorep"),
    "_texture": (*BASES, *ENCODERS, "audiorep.evaluation"),
    "_pooling": (*BASES, *ENCODERS, "audiorep.evaluation"),
    "_embedding": (*BASES, *ENCODERS, "audiorep.evaluation"),
    "_alterations": (*BASES, *ENCODERS, "audiorep.evaluation"),
    "_readout": (*BASES, *ENCODERS, "audiorep.evaluation"),
    "_sources": ("sklearn", *BASES, *ENCODERS, "audiorep.evaluation"),
    "_parallel": ("sklearn", *BASES, *ENCODERS, "audiorep.evaluation"),
    "_base": ("audiorep._encoder", *ENCODERS, "audiorep.evaluation", "audiorep.datasets"),
    "_encoder": (*ENCODERS, "audiorep.evaluation", "audiorep.datasets"),
    "_contrastive": ("audiorep._vq", "audiorep.evaluation", "audiorep.datasets"),
    "_tokenizer": (*BASES, *ENCODERS, "audiorep.evaluation"),
    "_next_codes": ("sklearn", *BASES, *ENCODERS, "audiorep.evaluation"),
    "_vq": ("audiorep._contrastive", "audiorep.evaluation", "audiorep.datasets"),
    "datasets": tuple(  # they stand alone, but for what downloads
        f"audiorep.{path.stem}"
        for path in PACKAGE.iterdir()
        if path.stem not in ("datasets", "_torchaudio")
    ),
}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    room = str(path.relative_to(PACKAGE))
    names = set(imported(path))
    for prefix, forbidden in FORBIDDEN.items():
        if room.startswith(prefix):
            assert not [n for n in names if n.startswith(forbidden)]
    if room != "_torchaudio.py":
        assert not [n for n in names if n.split(".")[0] == "torchaudio"]


@pytest.mark.parametrize("failure", ["OSError", "RuntimeError", "ImportError", "AttributeError"])
def test_torchaudio_imports_when_its_extension_does_not(failure):
    """Whatever this machine's torch build is, the extension is made to fail."""
    code = f"""
import importlib.abc, sys

class Breaks(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchaudio._extension":
            raise {failure}("not for this build of torch")

sys.meta_path.insert(0, Breaks())
import audiorep
from audiorep._torchaudio import torchaudio
assert torchaudio.functional.melscale_fbanks(9, 0.0, 8000.0, 4, 16000).shape == (9, 4)
assert not torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE
try:
    torchaudio.functional.forced_align(*[None] * 4)
except RuntimeError as error:
    assert "compiled extension" in str(error)
else:
    raise AssertionError("forced_align needs the extension")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
