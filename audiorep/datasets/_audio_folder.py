"""Load recordings from a folder: described by a labels.csv, or sorted into one folder per class."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from audiorep.datasets._files import (
    SUFFIXES,
    check_files_exist,
    common_sample_rate,
    encode,
    files_bunch,
    folder_at,
    read_table,
    read_waveforms,
)
from audiorep.datasets._parameters import check_parameters


class Listing(NamedTuple):
    """What a folder says about its files, in one order."""

    paths: Sequence[str]
    labels: Sequence[str] | None
    groups: Sequence[str] | None
    split: Sequence[str] | None
    metadata: dict[str, Sequence[str]]


@check_parameters(
    {
        "path": [str, os.PathLike],
        "target_column": [str, None],
        "load_content": ["boolean"],
        "return_X_y": ["boolean"],
    }
)
def load_audio_folder(
    path: str | os.PathLike[str],
    *,
    target_column: str | None = "label",
    load_content: bool = False,
    return_X_y: bool = False,
) -> Any:
    """Load the recordings of a folder, with their labels.

    The folder has one of two layouts:

    - It holds a file `labels.csv` with a header and one row per clip: the column `file` is the
      path of the clip, relative to the folder, `label` its class. The columns `group` (clips of
      one group must stay on one side of a split) and `split` are optional, and so are others.
      The order of the clips is that of the rows.
    - It holds one folder per class, named like the class, with audio files at any depth. The
      clips are in sorted order. Other files, and hidden ones, are ignored.

    Parameters
    ----------
    path : str or path-like
        The folder.

    target_column : str or None, default="label"
        The column of `labels.csv` to use as the target. With None the clips have no target, and
        the audio files of the second layout may lie anywhere in the folder.

    load_content : bool, default=False
        Whether to read the files. If False, `data` holds their paths, which the encoders read
        and resample by themselves. If True, `data` holds the waveforms, mixed to mono; all
        files must have the same sample rate, which an encoder has to be told
        (``sample_rate=recordings.sample_rate``), for it cannot hear it.

    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_clips,)
            Paths (str), or with `load_content=True` waveforms: float32 arrays of shape
            (n_timesteps,), each of its own length.
        target : ndarray of shape (n_clips,) or None
            The class of each clip, an index into `target_names`.
        target_names : list of str or None
            The names of the classes, sorted.
        groups : ndarray of shape (n_clips,) or None
            The column `group`, as str.
        split : ndarray of shape (n_clips,) or None
            The column `split`, as str.
        metadata : dict of str to ndarray of shape (n_clips,)
            The other columns, as str.
        filenames : ndarray of shape (n_clips,)
            The paths.
        sample_rate : int or None
            Timesteps per second; None if the files differ.
        DESCR : str
            The text of `README.md` in the folder, or a summary where there is none.

    (data, target) : tuple if ``return_X_y=True``
        The clips and their classes.

    See Also
    --------
    load_esc50 : Load a copy of the ESC-50 repository.
    load_fsdd : Load a copy of the Free Spoken Digit Dataset.
    make_instrument_notes : Make synthetic notes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import soundfile
    >>> from audiorep.datasets import load_audio_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ["dog/a.wav", "dog/b.wav", "cat/c.wav"]:
    ...         (Path(folder) / name).parent.mkdir(exist_ok=True)
    ...         soundfile.write(Path(folder) / name, np.zeros(800), 8000)
    ...     animals = load_audio_folder(folder, load_content=True)
    >>> animals.target_names
    ['cat', 'dog']
    >>> animals.target
    array([0, 1, 1])
    >>> animals.data[0].shape, animals.sample_rate
    ((800,), 8000)
    """
    folder = folder_at(path)
    labels_file = folder / "labels.csv"
    if labels_file.is_file():
        listing = _listed(labels_file, target_column)
    else:
        listing = _found(folder, target_column)
    target, target_names = None, None
    if listing.labels is not None:
        target, target_names = encode(listing.labels)
    waveforms = None
    sample_rate: int | None
    if load_content:
        waveforms, sample_rate = read_waveforms(listing.paths)
    else:
        sample_rate = common_sample_rate(listing.paths)
    bunch = files_bunch(
        listing.paths,
        target=target,
        target_names=target_names,
        groups=listing.groups,
        split=listing.split,
        metadata=listing.metadata,
        sample_rate=sample_rate,
        description=_description(folder, len(listing.paths), target_names),
        waveforms=waveforms,
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _listed(labels_file: Path, target_column: str | None) -> Listing:
    """The first layout: what labels.csv lists."""
    if target_column == "file":
        raise ValueError("target_column='file' names the column of the files, not of the labels.")
    required = ["file"] if target_column is None else ["file", target_column]
    table = read_table(labels_file, required)
    files = table.pop("file")
    if not files:
        raise ValueError(f"{str(labels_file)!r} lists no files.")
    seen: set[str] = set()
    paths = [os.path.join(labels_file.parent, file) for file in files]
    for file, path in zip(files, map(os.path.abspath, paths), strict=True):
        if path in seen:
            raise ValueError(f"{str(labels_file)!r} lists {file!r} more than once.")
        seen.add(path)
    check_files_exist(paths, labels_file)
    labels = None
    if target_column is not None:
        labels = table.pop(target_column)
        if "" in labels:
            raise ValueError(
                f"{labels.count('')} of the {len(labels)} clips in {str(labels_file)!r} have no "
                f"{target_column!r}, the first of them {files[labels.index('')]!r}; label them, "
                "or use target_column=None to load clips without labels."
            )
    told: dict[str, list[str] | None] = {}
    for name in ("group", "split"):
        column = table.pop(name, [])
        if "" in column and any(column):
            raise ValueError(
                f"{column.count('')} of the {len(column)} clips in {str(labels_file)!r} have no "
                f"{name!r}, the first of them {files[column.index('')]!r}; fill it in for all, or "
                "remove the column."
            )
        told[name] = column if any(column) else None
    return Listing(paths, labels, told["group"], told["split"], dict(table))


def _found(folder: Path, target_column: str | None) -> Listing:
    """The second layout: one folder per class."""
    if target_column not in ("label", None):
        raise ValueError(
            f"target_column={target_column!r} needs a file labels.csv, and there is none in "
            f"{str(folder)!r}."
        )
    relative = sorted(
        file.relative_to(folder)
        for file in _files_below(folder)
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )
    if not relative:
        raise ValueError(
            f"There is neither a labels.csv nor any audio file in {str(folder)!r}; files with "
            f"these endings count: {', '.join(sorted(SUFFIXES))}."
        )
    labels = None
    if target_column is not None:
        outside = [file for file in relative if len(file.parts) == 1]
        if outside:
            raise ValueError(
                f"{len(outside)} of the {len(relative)} audio files in {str(folder)!r} are in no "
                f"class folder, the first of them {outside[0].name!r}; move them into one, write "
                "a labels.csv, or use target_column=None to load clips without labels."
            )
        labels = [file.parts[0] for file in relative]
    return Listing([os.path.join(folder, file) for file in relative], labels, None, None, {})


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder and those below, also where these are links."""
    for root, folders, names in os.walk(folder, followlinks=True):
        inside = Path(root)
        # A link to a folder that it is in would be followed for ever.
        above = {os.path.realpath(p) for p in (inside, *inside.parents) if p.is_relative_to(folder)}
        folders[:] = [name for name in folders if os.path.realpath(inside / name) not in above]
        yield from (inside / name for name in names)


def _description(folder: Path, n_clips: int, target_names: list[str] | None) -> str:
    readme = folder / "README.md"
    if readme.is_file():
        return readme.read_text(encoding="utf-8", errors="replace")
    classes = "no labels"
    if target_names is not None:
        classes = f"{len(target_names)} classes ({', '.join(target_names)})"
    return f"Recordings in {str(folder)!r}: {n_clips} clips, {classes}."
