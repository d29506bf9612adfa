"""From a table of audio files (paths, labels, groups, splits) to the Bunch of a loader."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from sklearn.utils import Bunch

# What soundfile raises: TypeError for a raw file, which does not tell its rate.
UNREADABLE = (soundfile.LibsndfileError, RuntimeError, TypeError)

SUFFIXES = frozenset(
    {
        ".aif",
        ".aiff",
        ".au",
        ".caf",
        ".flac",
        ".mp3",
        ".oga",
        ".ogg",
        ".opus",
        ".rf64",
        ".w64",
        ".wav",
    }
)


def folder_at(path: str | os.PathLike[str]) -> Path:
    """The folder at `path`, which must exist."""
    folder = Path(path).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; pass the folder that holds it.")
    return folder


def check_files_exist(paths: Sequence[str], listed_in: Path) -> None:
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(paths)} files listed in {str(listed_in)!r} do not exist, "
            f"the first of them {missing[0]!r}."
        )


def encode(labels: Sequence[str]) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Labels as integers, and their names in sorted order."""
    names, codes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    return codes.astype(np.intp), [str(name) for name in names]


def files_bunch(
    paths: Sequence[str],
    *,
    target: npt.NDArray[np.intp] | None,
    target_names: list[str] | None,
    groups: Sequence[str] | None,
    split: Sequence[str] | None,
    metadata: dict[str, Sequence[str]],
    sample_rate: int | None,
    description: str,
    waveforms: npt.NDArray[np.object_] | None = None,
) -> Bunch:
    """The Bunch of a data set made of files: columns become arrays, in the order of `paths`."""
    filenames = np.asarray(paths, dtype=np.str_)
    return Bunch(
        data=filenames if waveforms is None else waveforms,
        target=target,
        target_names=target_names,
        groups=None if groups is None else np.asarray(groups, dtype=np.str_),
        split=None if split is None else np.asarray(split, dtype=np.str_),
        metadata={name: np.asarray(column, dtype=np.str_) for name, column in metadata.items()},
        filenames=filenames,
        sample_rate=sample_rate,
        DESCR=description,
    )


def common_sample_rate(paths: Sequence[str]) -> int | None:
    """The rate of all files; None if there are several, or if no file can be read."""
    rates = set()
    for path in paths:
        try:
            rates.add(int(soundfile.info(path).samplerate))
        except UNREADABLE:
            continue  # whoever reads the clip decides what to do with a broken file
        if len(rates) > 1:
            return None
    return rates.pop() if rates else None


def read_waveforms(paths: Sequence[str]) -> tuple[npt.NDArray[np.object_], int]:
    """Mono waveforms, float32, and their common sample rate."""
    waveforms = np.empty(len(paths), dtype=object)
    rates: dict[int, str] = {}
    for index, path in enumerate(paths):
        try:
            waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except UNREADABLE as error:
            raise ValueError(f"Could not read {path!r}: {error}") from error
        waveforms[index] = waveform.mean(axis=1)
        rates.setdefault(int(rate), path)
        if len(rates) > 1:
            raise ValueError(
                "The files differ in sample rate: "
                + ", ".join(f"{rate} Hz in {path!r}" for rate, path in rates.items())
                + "; use load_content=False and let the encoder read and resample them."
            )
    return waveforms, next(iter(rates))


def read_table(path: Path, required: Sequence[str]) -> dict[str, list[str]]:
    """Columns of a CSV file with a header; `required` ones must be there, rows must be whole."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{str(path)!r} is not in UTF-8 ({error.reason} at byte {error.start}); save it as "
            "CSV in UTF-8."
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, [])
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"Line {reader.line_num} of {str(path)!r} is no CSV: {error}.") from error
    missing = [column for column in required if column not in header]
    if missing:
        raise ValueError(
            f"{str(path)!r} has no column {', '.join(map(repr, missing))}; its columns are "
            f"{', '.join(map(repr, header)) or 'none'}."
        )
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise ValueError(f"{str(path)!r} has several columns {', '.join(map(repr, twice))}.")
    columns: list[list[str]] = [[] for _ in header]
    for number, row in rows:
        if not row:
            continue  # an empty line
        if len(row) != len(header):
            raise ValueError(
                f"Line {number} of {str(path)!r} has {len(row)} fields, but the header "
                f"has {len(header)}."
            )
        for column, field in zip(columns, row, strict=True):
            column.append(field)
    return dict(zip(header, columns, strict=True))
