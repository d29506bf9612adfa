"""Peers that are installed with pip: what they need, their environments, and running them."""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import _peer_worker
import numpy as np
import numpy.typing as npt

from audiorep.evaluation._store import digest

CACHE = Path.home() / ".cache" / "audiorep-benchmarks"
_OPENSMILE = ("opensmile==2.6.0",)
_READING = ("soundfile>=0.13", "soxr>=0.5")


class Peer(NamedTuple):
    """A row of the tables."""

    title: str
    packages: tuple[str, ...]  # as pip takes them
    learns: bool = False  # from training clips, so that every fold has its own features

    @property
    def requirements(self) -> tuple[str, ...]:
        """All that pip is asked for."""
        return (*self.packages, *_READING)


PEERS = {
    "mfcc": Peer("MFCC, deltas: librosa", ("librosa==0.11.0",)),
    "egemaps": Peer("eGeMAPS: openSMILE", _OPENSMILE),
    "compare": Peer("ComParE 2016: openSMILE", _OPENSMILE),
    "scattering": Peer("scattering: kymatio", ("kymatio==0.3.0", "scipy<1.17")),
    "minirocket": Peer("MiniRocket: aeon", ("aeon==1.6.0",), learns=True),
}


class PeerError(RuntimeError):
    """A peer could not be installed or run."""


class Extracted(NamedTuple):
    """Features of clips, and what they cost."""

    features: npt.NDArray[np.float32]  # (n_clips, n_features)
    facts: dict[str, Any]


def describe(name: str) -> dict[str, Any]:
    """Return what the features of a peer depend on: the packages and our code around them."""
    kind = _peer_worker.PEERS[name]
    parts = [*inspect.getmro(kind)[:-1], _peer_worker.read]
    code = [inspect.getsource(part) for part in parts]
    return {"requirements": PEERS[name].requirements, "code": digest(code)}


def environment(name: str, cache: Path) -> Path:
    """Return the Python of a peer's environment, which is made when it is not there yet.

    Raises
    ------
    PeerError
        When it cannot be made. What pip said last is in the message.
    """
    peer = PEERS[name]
    library = peer.packages[0].split("==")[0]
    folder = cache.absolute() / "environments" / f"{library}-{digest(peer.requirements)[:8]}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    complete = folder / "complete"
    if not complete.exists():
        print(f"{name}: making an environment with {', '.join(peer.packages)}", file=sys.stderr)
        _call(
            f"making the environment of {name}", [sys.executable, "-m", "venv", "--clear", folder]
        )
        _call(f"installing {name}", [python, "-m", "pip", "install", "-q", *peer.requirements])
        complete.touch()
    return python


def extract(
    name: str, files: Sequence[str], train: Sequence[str], cache: Path, *, n_threads: int = 1
) -> Extracted:
    """Return the features of files by a peer that learns from `train`, if it learns at all.

    Raises
    ------
    PeerError
        When the peer cannot be installed or fails. What it said last is in the message.
    """
    python = environment(name, cache)
    with tempfile.TemporaryDirectory() as folder:
        job, out = Path(folder) / "job.json", Path(folder) / "features.npz"
        used = list(map(str, train)) if PEERS[name].learns else []
        described = {"peer": name, "files": [*map(str, files)], "train": used, "out": str(out)}
        job.write_text(json.dumps(described))
        # Isolated, so that no package of ours takes the place of one of theirs.
        worker = [python, "-I", _peer_worker.__file__, job]
        _call(f"running {name}", worker, threads(n_threads))
        return _loaded(out)


def kept(
    name: str, files: Sequence[str], train: Sequence[str], data: str, cache: Path
) -> Extracted:
    """Return what `extract` does, kept in the cache for other folds and later runs.

    `data` is a fingerprint of the files.
    """
    used = [Path(path).name for path in train] if PEERS[name].learns else []
    path = cache / "features" / f"{name}-{digest([describe(name), data, used])}.npz"
    if not path.exists():
        found = extract(name, files, train, cache)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, features=found.features, facts=json.dumps(found.facts))
        unfinished.replace(path)
    return _loaded(path)


def _loaded(path: Path) -> Extracted:
    with np.load(path) as found:
        return Extracted(found["features"], json.loads(str(found["facts"])))


def threads(count: int) -> dict[str, str]:
    """Return the environment variables that bound the threads of numerical libraries.

    How these wait is left as it is by default: told to sleep, they would take twice as long for one
    spectrogram.
    """
    return {f"{name}_NUM_THREADS": str(count) for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def _call(what: str, command: Sequence[Any], variables: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
        )
    except OSError as error:
        raise PeerError(f"{what} failed: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise PeerError(f"{what} failed (status {done.returncode}): " + "\n".join(said[-8:]))
