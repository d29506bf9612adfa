"""Load a copy of the Free Spoken Digit Dataset."""

import os
import re
from typing import Any

from audiorep.datasets._files import encode, files_bunch, folder_at
from audiorep.datasets._parameters import check_parameters

DESCRIPTION = """\
Free Spoken Digit Dataset (FSDD)

Recordings (8 kHz, mono) of the English digits 0 to 9, trimmed close to the word: in its present
version 3000 from 6 speakers, 50 of each digit from each speaker. Recordings 0 to 4 of each digit
and speaker are the official test set (`split`); leaving one speaker (`groups`) out is harder.

Licence: CC BY-SA 4.0. https://github.com/Jakobovski/free-spoken-digit-dataset
"""

NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>.+)_(?P<index>[0-9]+)\.wav")


@check_parameters({"path": [str, os.PathLike], "return_X_y": ["boolean"]})
def load_fsdd(path: str | os.PathLike[str], *, return_X_y: bool = False) -> Any:
    """Load a copy of the Free Spoken Digit Dataset.

    =================   ==============
    Classes                         10
    Clips                         3000
    Speakers                         6
    Sample rate                  8 kHz
    =================   ==============

    Parameters
    ----------
    path : str or path-like
        The folder of a clone (or of the unpacked archive) of
        https://github.com/Jakobovski/free-spoken-digit-dataset, with
        `recordings/{digit}_{speaker}_{index}.wav` in it.

    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_clips,)
            Paths (str) of the clips, sorted by digit, speaker and index.
        target : ndarray of shape (n_clips,)
            The digit of each clip, an index into `target_names`.
        target_names : list of str
            The digits.
        groups : ndarray of shape (n_clips,)
            The speaker of each clip, as str.
        split : ndarray of shape (n_clips,)
            The official split: "test" for the indices 0 to 4, "train" for the others.
        metadata : dict of str to ndarray of shape (n_clips,)
            The `index` of each clip among those of its digit and speaker, as str.
        filenames : ndarray of shape (n_clips,)
            The paths.
        sample_rate : int
            8000.
        DESCR : str
            A description of the data set.

    (data, target) : tuple if ``return_X_y=True``
        The clips and their digits.

    See Also
    --------
    load_audio_folder : Load recordings from any folder.
    fetch_speech_commands : Download a larger data set of spoken words.

    Examples
    --------
    A copy with three clips:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import soundfile
    >>> from audiorep.datasets import load_fsdd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "recordings").mkdir()
    ...     for name in ["7_jackson_4.wav", "7_jackson_32.wav", "1_theo_0.wav"]:
    ...         soundfile.write(Path(folder) / "recordings" / name, np.zeros(100), 8000)
    ...     digits = load_fsdd(folder)
    >>> digits.target_names
    ['1', '7']
    >>> digits.groups
    array(['theo', 'jackson', 'jackson'], dtype='<U7')
    >>> digits.split
    array(['test', 'test', 'train'], dtype='<U5')
    """
    recordings = folder_at(path) / "recordings"
    names = os.listdir(recordings) if recordings.is_dir() else []
    clips = sorted(
        (match["digit"], match["speaker"], int(match["index"]), match[0])
        for match in map(NAME.fullmatch, names)
        if match
    )
    if not clips:
        raise FileNotFoundError(
            f"There is no 'recordings/{{digit}}_{{speaker}}_{{index}}.wav' in {str(path)!r}; pass "
            "the folder of a clone of https://github.com/Jakobovski/free-spoken-digit-dataset."
        )
    target, target_names = encode([digit for digit, _, _, _ in clips])
    bunch = files_bunch(
        [os.path.join(recordings, name) for _, _, _, name in clips],
        target=target,
        target_names=target_names,
        groups=[speaker for _, speaker, _, _ in clips],
        split=["test" if index < 5 else "train" for _, _, index, _ in clips],
        metadata={"index": [str(index) for _, _, index, _ in clips]},
        sample_rate=8000,
        description=DESCRIPTION,
    )
    return (bunch.data, bunch.target) if return_X_y else bunch
