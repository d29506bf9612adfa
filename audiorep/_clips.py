"""What a user may hand in as X, turned into waveforms."""

import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data
from torch import Tensor

from audiorep._resampling import resample_blocks, resampled_length

_BLOCK_SECONDS = 60
_MOST_TIMES = 1000  # that the rate of a file may be above or below `sample_rate`
_LEAST_SHARE = 0.9  # of what a header claims, that a file must have
_MP3_BEGINNING = 1 << 22  # bytes in which the header of an MP3 is, behind its pictures
# How libsndfile notes a size in a header that it corrected, and sizes that stand for "unknown", as
# of a stream.
_CORRECTED = re.compile(r": (\d+) \(should be (\d+)\)")
_UNKNOWN_SIZE = 0x7FFFF000
_UNSIGNED = (
    "holds unsigned integers, in which silence is half the greatest number; subtract it, or pass "
    "the path of the file."
)
_MASKED = "has masked values, which would be heard; fill them, as by filled(0)."


class Clips:
    """Clips that passed validation, each a waveform in memory or an audio file.

    Parameters
    ----------
    items : sequence of ndarray of shape (n_timesteps,) or path-like
        Waveforms at `sample_rate`, or audio files of any rate.
    sample_rate : int
        Rate of the waveforms that come out, in hertz.
    first : int, default=0
        Number of the first item in messages.
    folder : str, default=""
        What paths are relative to. Empty means the working directory.
    """

    def __init__(
        self, items: Sequence[Any], sample_rate: int, first: int = 0, folder: str = ""
    ) -> None:
        self.items = items
        self.sample_rate = sample_rate
        self.first = first
        self.folder = folder

    def __len__(self) -> int:
        return len(self.items)

    def name(self, i: int) -> str:
        """Return what to call item `i` in a message."""
        item = self.items[i]
        path = f" ({str(os.fspath(item))!r})" if _is_path(item) else ""
        return f"clip {self.first + i}{path}"

    def part(self, start: int, end: int) -> "Clips":
        """Return the items from `start` to `end`, which is excluded, for another process.

        There, too, they have their names, and relative paths are those of this working directory.
        """
        folder = self.folder or os.getcwd()
        return Clips(self.items[start:end], self.sample_rate, self.first + start, folder)

    def _path(self, i: int) -> str:
        path = os.path.expanduser(os.fspath(self.items[i]))
        return os.path.join(self.folder, path) if self.folder else path

    def check(self, i: int) -> int:
        """Return the length of item `i` at `sample_rate`, of a file as its header claims it.

        Raises
        ------
        ValueError or OSError
            When the item is no usable clip. Of files, only the headers are read.
        """
        if _is_path(self.items[i]):
            with self._open(i) as file:
                self._raise_if_cut_off(i, file.extra_info)
                n_timesteps = resampled_length(file.frames, file.samplerate, self.sample_rate)
        else:
            n_timesteps = len(self._waveform(i))
        if n_timesteps == 0:
            raise ValueError(f"{self.name(i)} is empty; leave it out or record it again.")
        return n_timesteps

    def blocks(self, i: int) -> Iterator[Tensor]:
        """Yield item `i` as consecutive float32 blocks at `sample_rate`.

        Raises
        ------
        ValueError
            When the file turns out to be broken, empty, or to hold NaN or infinity.
        """
        if not _is_path(self.items[i]):
            waveform = torch.from_numpy(self._waveform(i))
            length = _block_length(len(waveform), self.sample_rate)
            yield from (waveform[n : n + length] for n in range(0, len(waveform), length))
            return
        with self._open(i) as file:
            yield from resample_blocks(self._read(i, file), file.samplerate, self.sample_rate)

    def blocks_together(self, which: Iterable[int]) -> list[list[Tensor]]:
        """Return what `blocks` yields of several items: all are read, then all are resampled."""
        as_recorded = [self._blocks_as_recorded(i) for i in which]
        return [
            list(resample_blocks(blocks, rate, self.sample_rate)) for blocks, rate in as_recorded
        ]

    def _blocks_as_recorded(self, i: int) -> tuple[list[Tensor], int]:
        """Return item `i` in blocks, and their sample rate."""
        if not _is_path(self.items[i]):
            return list(self.blocks(i)), self.sample_rate
        with self._open(i) as file:
            return list(self._read(i, file)), file.samplerate

    def _read(self, i: int, file: soundfile.SoundFile) -> Iterator[Tensor]:
        n_read = 0
        block_length = _block_length(file.frames, file.samplerate)
        if block_length == file.frames:
            block_length += 1  # of one block, what is missing tells at once that no other follows
        while True:
            try:
                block = file.read(block_length, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise ValueError(
                    f"{self.name(i)} cannot be decoded past timestep {n_read}: {error}; "
                    "mend the file or leave it out."
                ) from error
            n_read += len(block)
            mono = block.shape[1] == 1
            waveform = block[:, 0] if mono else block.mean(axis=1, dtype=np.float32)
            if not np.isfinite(waveform).all():
                raise ValueError(_not_finite(self.name(i)))
            if len(block):
                yield torch.from_numpy(waveform)
            if len(block) < block_length:
                break
        if n_read == 0:
            raise ValueError(f"{self.name(i)} is empty; leave it out or record it again.")
        if n_read < _LEAST_SHARE * file.frames < 2**62 and not self._is_estimated(i, file):
            raise ValueError(
                f"{self.name(i)} ends after {n_read} of {file.frames} timesteps; mend the file "
                "or leave it out."
            )

    def _open(self, i: int) -> soundfile.SoundFile:
        path = self._path(i)
        try:
            file = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
            self._raise_if_no_file(i, Path(path))
            raise ValueError(
                f"{self.name(i)} cannot be read as audio: {error}; convert it to a format that "
                "soundfile reads (WAV, FLAC, OGG, MP3)."
            ) from error
        if not 1 / _MOST_TIMES <= file.samplerate / self.sample_rate <= _MOST_TIMES:
            file.close()
            raise ValueError(
                f"{self.name(i)} has a rate of {file.samplerate} Hz, which is more than "
                f"{_MOST_TIMES} times off sample_rate={self.sample_rate}; correct the file's "
                "header, or choose another sample_rate."
            )
        return file

    def _raise_if_no_file(self, i: int, path: Path) -> None:
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except OSError as error:  # such as a name that is too long for one, or no permission
            raise type(error)(error.errno, f"{self.name(i)}: {error.strerror}.") from error
        if is_folder:
            raise ValueError(
                f"{self.name(i)} is a folder; pass the files in it, for instance by "
                "audiorep.datasets.load_audio_folder."
            )
        if not exists:
            raise FileNotFoundError(
                f"{self.name(i)}: no such file; paths are taken relative to the working directory."
            )

    def _is_estimated(self, i: int, file: soundfile.SoundFile) -> bool:
        """Tell whether the length of a file is a guess from its size: of an MP3 without a header.

        Where its bit rate varies, the guess may be far off.
        """
        if file.format != "MP3":
            return False
        with open(self._path(i), "rb") as opened:
            beginning = opened.read(_MP3_BEGINNING)
        return not any(name in beginning for name in (b"Xing", b"Info", b"VBRI"))

    def _raise_if_cut_off(self, i: int, log: str) -> None:
        """Raise a ValueError where a header claims far more bytes than the file has.

        libsndfile corrects the length of such a file and notes it in its log alone.
        """
        for corrected in _CORRECTED.finditer(log):
            claimed, found = map(int, corrected.groups())
            if found < _LEAST_SHARE * claimed and claimed < _UNKNOWN_SIZE:
                raise ValueError(
                    f"{self.name(i)} is cut off: its header claims {claimed} bytes, but there are "
                    f"{found}; copy it again or leave it out."
                )

    def _waveform(self, i: int) -> npt.NDArray[np.float32]:
        item = self.items[i]
        if np.ma.is_masked(item):
            raise ValueError(f"{self.name(i)} {_MASKED}")
        if issparse(item):
            raise ValueError(f"{self.name(i)} is sparse; pass a dense array, as by toarray().")
        try:
            waveform = np.asarray(item)
        except (TypeError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.name(i)} cannot be made an array: {error}; pass a waveform of one "
                "dimension, or the path of a file."
            ) from error
        if waveform.ndim == 0:
            raise ValueError(
                f"{self.name(i)} is {reprlib.repr(item)}, neither a waveform nor the path of a "
                "file (str or os.PathLike); leave it out."
            )
        if waveform.ndim != 1:
            raise ValueError(
                f"{self.name(i)} has shape {waveform.shape}, but a clip has one dimension; mix "
                "its channels to mono first, or pass a sequence of such arrays."
            )
        if waveform.dtype.kind in "mMV":
            raise ValueError(f"{self.name(i)} does not hold numbers, but {waveform.dtype}.")
        if waveform.dtype.kind == "u":
            raise ValueError(f"{self.name(i)} {_UNSIGNED}")
        if np.iscomplexobj(waveform):
            raise ValueError(f"{self.name(i)}: Complex data not supported; pass a real waveform.")
        try:
            with np.errstate(over="ignore"):
                single = np.ascontiguousarray(waveform, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.name(i)} does not hold numbers: {error}") from error
        if not np.isfinite(single).all():
            if np.isfinite(waveform.astype(np.float64)).all():
                raise ValueError(f"{self.name(i)} is too loud for float32; scale it to [-1, 1].")
            raise ValueError(_not_finite(self.name(i)))
        return single if single.flags.writeable else single.copy()


def check_clips(
    estimator: Any,
    X: Any,
    *,
    sample_rate: int,
    reset: bool,
    min_clips: int = 1,
) -> Clips:
    """Validate X and tell what kind of input it is.

    A 2-D array goes through scikit-learn's own validation and sets or checks
    ``n_features_in_``. Otherwise only the kind of X is looked at here; `Clips.check` looks at
    the clips, so that a message can name the one that it is about.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` when X is a 2-D array and `reset`.
    X : array-like of shape (n_clips, n_timesteps), or sequence of waveforms or of paths
    sample_rate : int
        Of arrays, in hertz.
    reset : bool
        True in ``fit``.
    min_clips : int, default=1
        Fewest clips that will do.

    Returns
    -------
    Clips
    """
    if np.ma.is_masked(X):
        raise ValueError(f"X {_MASKED}")
    items = as_sequence(X)
    if items is None:
        if isinstance(X, Tensor):
            try:
                X = X.numpy()
            except (TypeError, RuntimeError) as error:  # bfloat16, on a GPU, or with a gradient
                raise ValueError(
                    f"X cannot be made an array: {error} Pass X.detach().cpu().float()."
                ) from error
        rows = validate_data(
            estimator,
            X,
            ensure_all_finite=False,
            ensure_min_samples=min_clips,
            reset=reset,
        )
        if rows.dtype.kind == "u":
            raise ValueError(f"X {_UNSIGNED}")
        return Clips(list(rows), int(sample_rate))
    if reset:
        for attribute in ("n_features_in_", "feature_names_in_"):
            estimator.__dict__.pop(attribute, None)
    if len(items) < min_clips:
        raise ValueError(
            f"Found {len(items)} clip(s) (n_samples={len(items)}) while a minimum of {min_clips} "
            f"is required by {type(estimator).__name__}."
        )
    return Clips(items, int(sample_rate))


def _block_length(n_timesteps: int, sample_rate: int) -> int:
    """Return the length of equal blocks of a minute at most: none is a mere rest."""
    n_blocks = max(1, -(-n_timesteps // (_BLOCK_SECONDS * sample_rate)))
    return max(1, -(-n_timesteps // n_blocks))


def as_sequence(X: Any) -> list[Any] | None:
    """Return the clips of a sequence, or None where X is for scikit-learn to validate."""
    if isinstance(X, (str, bytes, os.PathLike)):
        raise ValueError(f"X is one path, {X!r}, but should hold many clips; pass [path].")
    if issparse(X):
        return None
    if isinstance(X, (Iterator, Set, Mapping, ValuesView)):
        raise ValueError(f"X is a {type(X).__name__}, but should be a sequence; pass list(X).")
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        X = X.to_numpy()
    # Only arrays of objects and of text can hold clips; a search through numbers would be long.
    may_hold_clips = isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OUT"
    if may_hold_clips and any(_is_path(item) or np.ndim(item) for item in X.flat):
        if X.shape[1] != 1:
            what = "paths" if any(_is_path(item) for item in X.flat) else "waveforms"
            raise ValueError(f"X has {X.shape[1]} columns and holds {what}; pass one column.")
        return list(X[:, 0])
    if isinstance(X, Sequence):
        return list(X) if _is_sequence_of_clips(X) else None
    if getattr(X, "ndim", None) == 1 or hasattr(X, "to_list"):
        items = list(X)
        is_path = any(_is_path(item) for item in items)
        is_number = bool(items) and isinstance(items[0], Number)
        return items if is_path or not is_number else None
    return None


def _is_sequence_of_clips(X: Sequence[Any]) -> bool:
    """Tell clips from nested lists that stand for one array of numbers."""
    if X and all(isinstance(item, Number) for item in X):
        return False
    if not all(isinstance(item, (list, tuple)) for item in X):
        return True
    if any(isinstance(value, (np.ndarray, Tensor)) for item in X for value in item[:2]):
        return True
    return len({len(item) for item in X}) != 1


def _is_path(item: Any) -> bool:
    return isinstance(item, (str, os.PathLike))


def _not_finite(name: str) -> str:
    return f"{name} contains NaN or infinity; mend it, for instance with numpy.nan_to_num."
