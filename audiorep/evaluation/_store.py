"""Results on disk, one line each, so that a run that was cut goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np

Record = dict[str, Any]

# Parameters that say how much is printed and how many processes help, not what comes out.
_WITHOUT_EFFECT = {"verbose", "n_jobs"}


class ResultStore:
    """Append results to a file of JSON lines, and find them again.

    Several processes may append at once. A line that was cut in the middle is left aside.

    Parameters
    ----------
    path : str or path-like
        The file. It is made, with its folder, when the first result comes.
    notes : mapping of str to object, default=None
        What to write with every result under ``"notes"``, such as the revision of the code.

    Examples
    --------
    >>> import os, tempfile
    >>> from audiorep.evaluation import ResultStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ResultStore(os.path.join(folder, "results.jsonl"))
    ...     store.append({"key": "a", "accuracy": 0.5})
    ...     store.read()
    [{'key': 'a', 'accuracy': 0.5}]
    """

    def __init__(
        self, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None
    ) -> None:
        self.path = Path(path)
        self.notes = dict(notes or {})

    def read(self) -> list[Record]:
        """Return all results; of those with the same key only the last."""
        if not self.path.exists():
            return []
        records: dict[str, Record] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            records.pop(record["key"], None)
            records[record["key"]] = record
        return list(records.values())

    def append(self, record: Record) -> None:
        """Write one result, at once and in one piece."""
        if self.notes:
            record = {**record, "notes": self.notes}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(record) + "\n").encode()
        with open(self.path, "a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) and not _ends_a_line(file):
                line = b"\n" + line
            file.write(line)


def _ends_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def digest(value: Any) -> str:
    """Return a short fingerprint of something that JSON can hold."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe(estimator: Any) -> dict[str, str]:
    """Return class and parameters, of nested estimators too, as text."""
    parameters = {
        name: _text(value)
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] not in _WITHOUT_EFFECT
    }
    return {"class": _text(type(estimator)), **parameters}


def _text(value: Any) -> str:
    if hasattr(value, "get_params") and not isinstance(value, type):
        value = type(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return str(joblib.hash(value)) if isinstance(value, np.ndarray) else repr(value)


def fingerprint(X: Iterable[Any], y: Iterable[Any]) -> str:
    """Return a fingerprint of clips and labels.

    Of a file its name and its bytes count, not where it lies.
    """
    total = hashlib.sha256()
    for clip in X:
        if isinstance(clip, (str, os.PathLike)):
            path = Path(clip).expanduser()
            total.update(f"{path.name}:{_digest_of_file(path)}\n".encode())
        else:
            array = np.ascontiguousarray(clip)
            total.update(f"{array.dtype}{array.shape}\n".encode())
            total.update(array.tobytes())
    total.update(json.dumps([str(label) for label in y]).encode())
    return total.hexdigest()[:16]


def _digest_of_file(path: Path) -> str:
    if not path.is_file():
        return ""  # whoever reads the clip says so
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
