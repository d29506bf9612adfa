"""Fetch Speech Commands: one-second recordings of spoken words."""

import os
from pathlib import Path
from typing import Any

from sklearn.datasets import get_data_home
from sklearn.utils._param_validation import StrOptions

from audiorep.datasets._files import encode, files_bunch
from audiorep.datasets._parameters import check_parameters

DESCRIPTION = """\
Speech Commands

Recordings of at most one second (16 kHz, mono) of single English words by many speakers: version
v0.01 has about 65 000 clips of 30 words, v0.02 about 106 000 clips of 35. The published lists put
each speaker (`groups`) into one of training, validation and testing (`split`).

Licence: CC BY 4.0.

P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018.
https://arxiv.org/abs/1804.03209
"""


@check_parameters(
    {
        "data_home": [str, os.PathLike, None],
        "version": [StrOptions({"v0.01", "v0.02"})],
        "subset": [StrOptions({"training", "validation", "testing"}), None],
        "download_if_missing": ["boolean"],
        "return_X_y": ["boolean"],
    }
)
def fetch_speech_commands(
    data_home: str | os.PathLike[str] | None = None,
    *,
    version: str = "v0.02",
    subset: str | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Load Speech Commands, single spoken words; download it if necessary.

    =================   =================
    Classes                      35 (v0.02)
    Clips               about 106 000 (v0.02)
    Duration             at most 1 s, 16 kHz
    Download               2.3 GiB (v0.02)
    =================   =================

    The download is torchaudio's, which checks the archive's SHA-256. The files are laid out as
    by `torchaudio.datasets.SPEECHCOMMANDS`, so that a copy downloaded by either serves both.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder for downloads. By default that of scikit-learn, `~/scikit_learn_data`.

    version : {"v0.01", "v0.02"}, default="v0.02"
        The version of the data set.

    subset : {"training", "validation", "testing"} or None, default=None
        The part to load; None for all of it.

    download_if_missing : bool, default=True
        If False, raise an OSError if the data is not there instead of downloading it.

    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_clips,)
            Paths (str) of the clips, sorted.
        target : ndarray of shape (n_clips,)
            The word of each clip, an index into `target_names`.
        target_names : list of str
            The words, sorted.
        groups : ndarray of shape (n_clips,)
            The speaker of each clip, as str.
        split : ndarray of shape (n_clips,)
            The published split: "training", "validation" or "testing".
        metadata : dict of str to ndarray of shape (n_clips,)
            The `utterance` of each clip: its number among those of its word and speaker, as str.
        filenames : ndarray of shape (n_clips,)
            The paths.
        sample_rate : int
            16000.
        DESCR : str
            A description of the data set.

    (data, target) : tuple if ``return_X_y=True``
        The clips and their words.

    See Also
    --------
    load_fsdd : Load a smaller data set of spoken digits.

    References
    ----------
    .. [1] P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition",
       2018. https://arxiv.org/abs/1804.03209

    Examples
    --------
    >>> from audiorep.datasets import fetch_speech_commands
    >>> words = fetch_speech_commands(subset="testing")  # doctest: +SKIP
    >>> len(words.target_names)  # doctest: +SKIP
    35
    """
    home = Path(get_data_home(data_home))
    folder = home / "SpeechCommands" / f"speech_commands_{version}"
    if not folder.is_dir() and not download_if_missing:
        raise OSError(
            f"Speech Commands {version} is not in {str(home)!r} and `download_if_missing` is False."
        )
    # torchaudio is slow to import, and only this function needs it
    from audiorep._torchaudio import torchaudio

    dataset = torchaudio.datasets.SPEECHCOMMANDS(
        home, url=f"speech_commands_{version}", download=download_if_missing
    )
    listed = _published_lists(folder)
    paths, words, speakers, split, utterances = [], [], [], [], []
    for index in range(len(dataset)):
        path, _, word, speaker, utterance = dataset.get_metadata(index)
        part = listed.get(f"{word}/{Path(path).name}", "training")
        if subset in (None, part):
            paths.append(str(folder.parent / path))
            words.append(word)
            speakers.append(speaker)
            split.append(part)
            utterances.append(str(utterance))
    if not paths:
        raise OSError(f"No {subset or 'audio'} clips in {str(folder)!r}; remove it to start over.")
    target, target_names = encode(words)
    bunch = files_bunch(
        paths,
        target=target,
        target_names=target_names,
        groups=speakers,
        split=split,
        metadata={"utterance": utterances},
        sample_rate=16000,
        description=DESCRIPTION,
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _published_lists(folder: Path) -> dict[str, str]:
    """The part, "validation" or "testing", of the clips (`word/name.wav`) that have one listed."""
    listed = {}
    for part in ("validation", "testing"):
        path = folder / f"{part}_list.txt"
        if not path.is_file():
            raise OSError(
                f"There is no {path.name!r} in {str(folder)!r}, so the copy is not complete; "
                "remove the folder to start over."
            )
        for line in path.read_text(encoding="utf-8").splitlines():
            listed[line.strip()] = part
    return listed
