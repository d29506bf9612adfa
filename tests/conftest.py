"""Fixtures that several test modules use."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

# Workers of pytest-xdist share the cores: with several threads each, these would mostly wait for
# each other. It has to be said before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data():
    """Folder of the real recordings, which are not shipped with the package."""
    if not _SHARED.is_dir():
        pytest.skip("needs the recordings in ../shared/data, which are not shipped")
    return _SHARED


@pytest.fixture(scope="session")
def benchmark_script():
    """Function that returns a benchmark as a module, its folder looked into as when it is run."""

    def script(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(Path(__file__).resolve().parent.parent / "benchmarks")
            return importlib.import_module(name)

    return script


@pytest.fixture
def waveforms():
    """Twelve clips of noise, filtered and shaped differently, of different lengths."""
    rng = np.random.default_rng(0)
    clips = []
    for i in range(12):
        noise = rng.standard_normal(3000 + 1700 * i).astype(np.float32)
        kernel = np.hanning(3 + 4 * (i % 3)).astype(np.float32)
        clips.append(np.convolve(noise, kernel / kernel.sum(), "same") * np.float32(0.3))
    return clips


@pytest.fixture
def audio_files(tmp_path, waveforms):
    """The same clips as WAV files."""
    paths = []
    for i, waveform in enumerate(waveforms):
        path = tmp_path / f"clip{i:02}.wav"
        soundfile.write(path, waveform, 16000, subtype="FLOAT")
        paths.append(str(path))
    return paths
