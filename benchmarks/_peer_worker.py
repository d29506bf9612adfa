"""Features of a peer, computed by the Python of the peer's own environment.

``python _peer_worker.py JOB.json`` reads a job and writes a .npz with `features`, a row for each
file, and `facts`, what they cost, as JSON. Nothing but numpy and soundfile is imported until a
peer needs it; audiorep is not needed at all.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

Waveform = npt.NDArray[np.float32]
Features = npt.NDArray[np.float32]

SAMPLE_RATE = 16000
SHORTEST = 1600  # timesteps; openSMILE finds nothing in less. Shorter clips get silence behind.


class MFCCStatistics:
    """Mean and deviation over time of 20 MFCCs, their deltas, and the deltas of these."""

    libraries = ("librosa",)

    def fit(self, waveforms: Sequence[Waveform]) -> None:
        """Nothing is learned."""

    def row(self, waveform: Waveform) -> Features:
        """Return the features of a clip."""
        import librosa

        mfcc = librosa.feature.mfcc(
            y=waveform, sr=SAMPLE_RATE, n_mfcc=20, n_fft=512, hop_length=160, n_mels=64
        )
        deltas = [librosa.feature.delta(mfcc, order=n, mode="nearest") for n in (1, 2)]
        frames = np.concatenate((mfcc, *deltas))
        return np.concatenate((frames.mean(axis=1), frames.std(axis=1)))


class EGeMAPS:
    """Functionals of openSMILE's extended Geneva minimalistic acoustic parameter set."""

    libraries = ("opensmile",)
    feature_set = "eGeMAPSv02"

    def __init__(self) -> None:
        import opensmile

        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[self.feature_set],
            feature_level=opensmile.FeatureLevel.Functionals,
        )

    def fit(self, waveforms: Sequence[Waveform]) -> None:
        """Nothing is learned."""

    def row(self, waveform: Waveform) -> Features:
        """Return the features of a clip."""
        return self.smile.process_signal(waveform, SAMPLE_RATE).to_numpy()[0]


class ComParE(EGeMAPS):
    """Functionals of openSMILE's set of the Computational Paralinguistics Challenge, 2016."""

    feature_set = "ComParE_2016"


class LogScattering:
    """Mean and deviation over time of the logarithm of scattering coefficients of both orders.

    As in kymatio's example of spoken digits: each clip is scaled to a largest value of one, and a
    millionth is added before the logarithm. A clip is filled up with zeros to a power of two, for
    which filters are made once; frames behind the clip's end do not count. On parts of two sets
    this scale was better than one of 2^9 timesteps, and with deviations than without.
    """

    libraries = ("kymatio", "scipy")
    scale, quality = 12, 8  # averages over 2^12 timesteps, a quarter of a second
    longest = 2**17  # longer clips are cut into pieces

    def __init__(self) -> None:
        self.transforms: dict[int, Any] = {}

    def fit(self, waveforms: Sequence[Waveform]) -> None:
        """Nothing is learned."""

    def row(self, waveform: Waveform) -> Features:
        """Return the features of a clip."""
        waveform = waveform / max(np.abs(waveform).max(), 1e-9)
        starts = range(0, len(waveform), self.longest)
        pieces = [self._frames(waveform[start : start + self.longest]) for start in starts]
        frames = np.concatenate(pieces, axis=1)
        return np.concatenate((frames.mean(axis=1), frames.std(axis=1)))

    def _frames(self, piece: Waveform) -> Features:
        from kymatio.numpy import Scattering1D

        length = max(2 ** (self.scale + 1), 2 ** (len(piece) - 1).bit_length())
        if length not in self.transforms:
            self.transforms[length] = Scattering1D(J=self.scale, shape=length, Q=self.quality)
        scattered = self.transforms[length](np.pad(piece, (0, length - len(piece))))
        return np.log(np.abs(scattered[:, : -(-len(piece) // 2**self.scale)]) + 1e-6)


class MiniRocket:
    """Shares of positive values after 9,996 convolutions, of kernels drawn once.

    Its authors' data sets have rows of one length, with mean zero and variance one. So each clip
    is standardised, then filled up with zeros, or cut, to a length that 99 of 100 training clips
    do not exceed. Thresholds are drawn from the training clips.
    """

    libraries = ("aeon", "numba")

    def fit(self, waveforms: Sequence[Waveform]) -> None:
        """Learn the common length, and draw thresholds from clips."""
        from aeon.transformations.collection.convolution_based import MiniRocket

        lengths = [len(waveform) for waveform in waveforms]
        self.length = int(np.quantile(lengths, 0.99, method="higher"))
        self.transformer = MiniRocket(random_state=0, n_jobs=1)
        self.transformer.fit(np.stack([self._row_of_one_length(w) for w in waveforms]))

    def row(self, waveform: Waveform) -> Features:
        """Return the features of a clip."""
        return self.transformer.transform(self._row_of_one_length(waveform)[None])[0]

    def _row_of_one_length(self, waveform: Waveform) -> Waveform:
        cut = waveform[: self.length]
        standardised = (cut - cut.mean()) / max(cut.std(), 1e-9)
        return np.pad(standardised, (0, self.length - len(cut)))[None]


PEERS: dict[str, type[Any]] = {
    "mfcc": MFCCStatistics,
    "egemaps": EGeMAPS,
    "compare": ComParE,
    "scattering": LogScattering,
    "minirocket": MiniRocket,
}


def read(path: str) -> Waveform:
    """Return a file as one channel at 16 kHz."""
    waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = waveform.mean(axis=1)
    if rate != SAMPLE_RATE:
        import soxr

        waveform = soxr.resample(waveform, rate, SAMPLE_RATE)
    return np.pad(waveform, (0, max(0, SHORTEST - len(waveform))))


def peak_memory() -> float:
    """Return the most memory that this process has held, in MB.

    Where the system tells it for the program alone: `getrusage` also counts what the process held
    that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # not there on Windows

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def warmed_up(kind: type[Any]) -> Any:
    """Return a new extractor, after another one has compiled what it needs."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, SAMPLE_RATE)).astype(np.float32)
    first = kind()
    first.fit(noise)
    first.row(noise[0])
    return kind()


def extract(kind: type[Any], train: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    """Fit on files, then return the features of others and what it cost."""
    extractor = warmed_up(kind)
    started = time.perf_counter()
    extractor.fit([read(path) for path in train])
    fitted = time.perf_counter()
    rows, n_timesteps = [], 0
    for path in files:
        waveform = read(path)
        n_timesteps += len(waveform)
        rows.append(np.asarray(extractor.row(waveform), dtype=np.float32))
    facts = {
        "fit_seconds": fitted - started if train else 0.0,
        "transform_seconds": time.perf_counter() - fitted,
        "audio_seconds": n_timesteps / SAMPLE_RATE,
        "peak_memory": peak_memory(),
        "peer_versions": {name: version(name) for name in (*kind.libraries, "numpy")},
    }
    return {"features": np.stack(rows), "facts": json.dumps(facts)}


def main(path: str) -> None:
    """Do the job that a file of JSON describes."""
    job = json.loads(Path(path).read_text())
    warnings.filterwarnings("ignore", module="numba")
    found = extract(PEERS[job["peer"]], job["train"], job["files"])
    unfinished = job["out"] + ".part.npz"
    np.savez(unfinished, **found)
    os.replace(unfinished, job["out"])


if __name__ == "__main__":
    main(*sys.argv[1:])
