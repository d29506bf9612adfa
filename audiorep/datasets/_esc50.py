"""Load a copy of the ESC-50 repository: environmental sounds."""

import os
from typing import Any

import numpy as np

from audiorep.datasets._files import check_files_exist, files_bunch, folder_at, read_table
from audiorep.datasets._parameters import check_parameters

DESCRIPTION = """\
ESC-50: Dataset for Environmental Sound Classification

2000 field recordings of 5 seconds (44.1 kHz, mono) in 50 classes of 40. The subset ESC-10 has 400
recordings in 10 classes. Clips were cut from recordings of the Freesound project; clips cut from
the same recording (`groups`) are in the same of 5 folds (`split`), which are meant for
cross-validation.

Licence: CC BY-NC; ESC-10: CC BY. The repository's LICENSE file names the author of each clip.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", Proceedings of the 23rd
Annual ACM Conference on Multimedia, 2015. https://doi.org/10.1145/2733373.2806390
"""


@check_parameters(
    {"path": [str, os.PathLike], "only_esc10": ["boolean"], "return_X_y": ["boolean"]}
)
def load_esc50(
    path: str | os.PathLike[str], *, only_esc10: bool = False, return_X_y: bool = False
) -> Any:
    """Load a copy of ESC-50, 50 classes of environmental sounds.

    =================   =================
    Classes                      50 or 10
    Clips                     2000 or 400
    Duration                  5 s, 44.1 kHz
    Folds                               5
    =================   =================

    Parameters
    ----------
    path : str or path-like
        The folder of a clone (or of the unpacked archive) of
        https://github.com/karolpiczak/ESC-50, with `meta/esc50.csv` and `audio/*.wav` in it.

    only_esc10 : bool, default=False
        Whether to load only ESC-10, the subset of 10 classes.

    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_clips,)
            Paths (str) of the clips, in the order of `meta/esc50.csv`.
        target : ndarray of shape (n_clips,)
            The class of each clip, an index into `target_names`: for ESC-50 the published
            numbers, for ESC-10 their ranks.
        target_names : list of str
            The names of the classes, in the order of the published numbers.
        groups : ndarray of shape (n_clips,)
            The recording each clip was cut from (column `src_file`), as str.
        split : ndarray of shape (n_clips,)
            The fold, "1" to "5".
        metadata : dict of str to ndarray of shape (n_clips,)
            The columns `target` (published number), `esc10` and `take`, as str.
        filenames : ndarray of shape (n_clips,)
            The paths.
        sample_rate : int
            44100.
        DESCR : str
            A description of the data set.

    (data, target) : tuple if ``return_X_y=True``
        The clips and their classes.

    See Also
    --------
    load_audio_folder : Load recordings from any folder.

    References
    ----------
    .. [1] K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", Proceedings of the
       23rd Annual ACM Conference on Multimedia, 2015.

    Examples
    --------
    A copy with two clips:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import soundfile
    >>> from audiorep.datasets import load_esc50
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ["meta", "audio"]:
    ...         (Path(folder) / name).mkdir()
    ...     for name in ["1-1-A-0.wav", "1-2-A-14.wav"]:
    ...         soundfile.write(Path(folder) / "audio" / name, np.zeros(100), 44100)
    ...     _ = (Path(folder) / "meta" / "esc50.csv").write_text(
    ...         "filename,fold,target,category,esc10,src_file,take\\n"
    ...         "1-1-A-0.wav,1,0,dog,True,1,A\\n"
    ...         "1-2-A-14.wav,1,14,chirping_birds,False,2,A\\n"
    ...     )
    ...     esc10 = load_esc50(folder, only_esc10=True)
    >>> esc10.target_names
    ['dog']
    >>> esc10.groups
    array(['1'], dtype='<U1')
    """
    folder = folder_at(path)
    meta = folder / "meta" / "esc50.csv"
    if not meta.is_file():
        raise FileNotFoundError(
            f"There is no 'meta/esc50.csv' in {str(folder)!r}; pass the folder of a clone of "
            "https://github.com/karolpiczak/ESC-50."
        )
    columns = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    table = read_table(meta, columns)
    if only_esc10:
        chosen = [index for index, value in enumerate(table["esc10"]) if value == "True"]
        table = {name: [column[index] for index in chosen] for name, column in table.items()}
    if not table["filename"]:
        raise ValueError(f"{str(meta)!r} lists no files.")
    paths = [os.path.join(folder, "audio", name) for name in table["filename"]]
    check_files_exist(paths, meta)
    category = dict(zip(map(int, table["target"]), table["category"], strict=True))
    numbers, target = np.unique(np.asarray(table["target"], dtype=int), return_inverse=True)
    bunch = files_bunch(
        paths,
        target=target,
        target_names=[category[number] for number in numbers],
        groups=table["src_file"],
        split=table["fold"],
        metadata={name: table[name] for name in ("target", "esc10", "take")},
        sample_rate=44100,
        description=DESCRIPTION,
    )
    return (bunch.data, bunch.target) if return_X_y else bunch
