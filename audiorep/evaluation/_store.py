"""Results on disk, one line each, so that a run that was cut goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import joblib
import numpy as np
from torch import Tensor, nn

from audiorep._clips import as_sequence

Record = dict[str, Any]

# Parameters that say how much is printed and how many processes help, not what comes out.
_WITHOUT_EFFECT = {"verbose", "n_jobs"}

# What is its representation and no more.
_PLAIN = (bool, int, float, complex, str, bytes, np.generic, PurePath)

# What torch keeps in every module, beside what a subclass puts there.
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


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
        """Return all results; of those with the same key only the last.

        Raises
        ------
        ValueError
            When the file holds something else.
        """
        if not self.path.exists():
            return []
        records: dict[str, Record] = {}
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                if line.startswith("{") or not line.strip("\0 "):
                    continue  # it was cut
                record = None
            if not isinstance(record, dict) or not isinstance(record.get("key"), str):
                raise ValueError(
                    f"Line {number} of {str(self.path)!r} is no result; take another file to store "
                    "results in."
                )
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
        for name, value in estimator.get_params(deep=False).items()
        if name not in _WITHOUT_EFFECT
    }
    return {"class": _text(type(estimator)), **parameters}


def _text(value: Any, above: tuple[int, ...] = ()) -> str:
    """Return what tells a parameter from others, as text.

    Of an object or a function that is what is in it: two lambdas have one name, and objects often
    one representation. One that shows no more than its address is told from all others, and what
    was stored with it is not found again. Of a class it is the name.

    Parameters
    ----------
    value : object
    above : tuple of int, default=()
        Identities of the objects that the value is in, for it may hold one of these.
    """
    if value is None or isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in above:
        return "itself"
    within = partial(_text, above=(*above, id(value)))
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, ModuleType):
        return value.__name__
    if hasattr(value, "get_params"):
        return within(describe(value))
    if isinstance(value, nn.Module):
        own = {k: v for k, v in vars(value).items() if k not in _OF_EVERY_MODULE}
        tensors = [*value.named_parameters(recurse=False), *value.named_buffers(recurse=False)]
        return within(type(value)) + within([own, tensors, list(value.named_children())])
    if isinstance(value, FunctionType):
        parts = [value.__code__, value.__defaults__, value.__kwdefaults__, _held_by(value)]
        return f"{value.__module__}.{value.__qualname__}" + within(parts)
    if isinstance(value, MethodType):
        return within([value.__func__, value.__self__])
    if isinstance(value, CodeType):
        return within([value.co_code.hex(), value.co_names, value.co_consts])
    if isinstance(value, partial):
        return within([value.func, value.args, value.keywords])
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(within, value)) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(within, value))) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {within(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    kind: Any = type(value)
    inside = ""
    if kind.__repr__ is object.__repr__ and hasattr(value, "__dict__"):
        inside = within(vars(value))
    try:
        shown = str(joblib.hash(value))  # which knows functions by their names
    except Exception:  # there are many ways in which something cannot be pickled
        shown = "" if inside else repr(value)
    return within(kind) + inside + shown


def _held_by(function: FunctionType) -> list[Any]:
    """Return what a function takes from around it, as far as that is there already."""
    held = []
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # it is empty
            continue
    return held


def fingerprint(X: Any, y: Iterable[Any]) -> str:
    """Return a fingerprint of clips and labels.

    Of a file its name and its bytes count, not where it lies.
    """
    total = hashlib.sha256()
    clips = as_sequence(X)
    for clip in np.asarray(X) if clips is None else clips:
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
