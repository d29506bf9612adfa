"""What the benchmarks share: data sets, stored results, tables, and their place in the README."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiorep.datasets import load_audio_folder
from audiorep.evaluation import ResultStore, protocol_splits
from audiorep.evaluation._entries import SUPERVISED
from audiorep.evaluation._environment import machine, versions
from audiorep.evaluation._result import score_text, summarise

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
NOTHING_STORED = "No results are stored yet."

Record = dict[str, Any]
Rows = dict[str, list[Record]]  # by the name of the encoder


class DataSet(NamedTuple):
    """One column of the tables."""

    title: str
    folder: str
    protocol: str
    metric: str
    folds: tuple[str, ...]
    n_seeds: int  # with --full
    held_out: str


ONE_TO_FIVE = ("1", "2", "3", "4", "5")
SPEAKERS = ("s1", "s2", "s3", "s4", "s5", "s6")
UAR = "balanced_accuracy"
DATA_SETS = {
    "esc10": DataSet("ESC-10", "esc10", "folds", "accuracy", ONE_TO_FIVE, 3, "5 published folds"),
    "fsdd": DataSet("FSDD, speakers", "fsdd", "groups", "accuracy", SPEAKERS, 3, "each speaker"),
    "fsdd_official": DataSet(
        "FSDD, official", "fsdd", "official", "accuracy", ("test",), 3, "the published test takes"
    ),
    "drums": DataSet("drums", "drums", "folds", UAR, ONE_TO_FIVE, 1, "5 folds of whole kits"),
    "instruments": DataSet(
        "instruments", "instruments", "folds", "accuracy", ONE_TO_FIVE, 1, "5 folds of pitches"
    ),
    "ravdess": DataSet(
        "RAVDESS", "ravdess", "folds", UAR, (*ONE_TO_FIVE, "6"), 1, "6 folds of 4 actors"
    ),
}
# The columns of the tables; what else there is, is run where it is asked for.
SETS = ("esc10", "fsdd", "drums", "instruments", "ravdess")


# ---------------------------------------------------------------------- running


def parser(
    description: str | None,
    sets: Sequence[str] = SETS,
    choices: Iterable[str] = DATA_SETS,
) -> Any:
    """Return a command line with the options of every benchmark; `sets` are run by default."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    add("--sets", nargs="+", choices=list(choices), default=list(sets), metavar="SET")
    add("--encoders", metavar="NAME,NAME", help="rows of the table, parted by commas")
    add("--folds", nargs="+", metavar="FOLD", help="named after what is held out; default: all")
    add("--seeds", type=int, default=1, help="seeds 0 to N - 1 (default: 1)")
    add("--device", default="auto")
    add("--jobs", type=int, default=1, help="folds at the same time; distorts the seconds")
    add("--table", action="store_true", help="run nothing; write the README's table")
    return made


def set_arguments(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Return the clips, labels, groups and folds of a set, as the evaluations take them.

    None where none of the folds was asked for, which is said on standard error.
    """
    data_set = DATA_SETS[name]
    data = load_audio_folder(options.data / data_set.folder)
    splits = protocol_splits(data, data_set.protocol)
    if tuple(splits) != data_set.folds:
        raise ValueError(f"{name} should have the folds {data_set.folds}, not {tuple(splits)}.")
    chosen = [fold for fold in splits if options.folds is None or fold in options.folds]
    if not chosen:
        print(f"{name}: none of the folds {', '.join(options.folds)}", file=sys.stderr)
        return None
    return {
        "X": data.data,
        "y": data.target,
        "groups": None if data_set.protocol == "official" else data.groups,
        "cv": {fold: splits[fold] for fold in chosen},
    }


def names_of(text: str | None) -> list[str] | None:
    """Return the names that stand in a text, parted by commas."""
    return [name.strip() for name in text.split(",")] if text else None


def commit() -> str:
    """Return the revision of the code, marked where the package differs from it."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + ("+" if _git("status", "--porcelain", "--", "audiorep") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


# ---------------------------------------------------------------------- stored results


def stored(results: Path, names: Iterable[str] = DATA_SETS) -> dict[str, Rows]:
    """Return the records of each set and row: of the last settings and machine only."""
    found: dict[str, Rows] = {}
    for name in names:
        rows: Rows = {}
        for record in ResultStore(results / f"{name}.jsonl").read():
            rows.setdefault(record["encoder"], []).append(record)
        if rows:
            found[name] = {row: _last(records) for row, records in rows.items()}
    return found


def _last(records: list[Record]) -> list[Record]:
    settings = records[-1]["settings"]
    which = ("fold", "seed", "n_labels", "draw")
    latest = {
        tuple(record.get(name) for name in which): record
        for record in records
        if record["settings"] == settings
    }
    return list(latest.values())


def environment() -> Record:
    """Return what made a result that is not stored by an evaluation."""
    return {"versions": versions(), "machine": machine(), "notes": {"commit": commit()}}


def write_json(path: Path, result: Record) -> None:
    """Store a benchmark's one result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Record | None:
    """Return a benchmark's one result, None where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


# ---------------------------------------------------------------------- tables


def head(cells: Sequence[str], n_left: int = 1) -> list[str]:
    """Return the first two lines of a table; the first columns are aligned to the left."""
    return [line(cells), line(["---"] * n_left + ["---:"] * (len(cells) - n_left))]


def line(cells: Iterable[str]) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(cells) + " |"


def score_cell(name: str, records: list[Record] | None) -> str:
    """Return the score of a row on a set, and on how many folds, where some are missing."""
    if not records:
        return ""
    data_set = DATA_SETS[name]
    summary = summarise(records, [data_set.metric])
    text = score_text(summary, data_set.metric)
    if summary["n_folds"] < len(data_set.folds):
        text += f" ({summary['n_folds']} of {len(data_set.folds)} folds)"
    return text


def metric_name(name: str) -> str:
    """Return what the scores of a set are."""
    return "accuracy" if DATA_SETS[name].metric == "accuracy" else "UAR"


def mean_score(name: str, records: list[Record]) -> float:
    """Return the mean score on a set, in percent."""
    metric = DATA_SETS[name].metric
    mean: float = 100 * summarise(records, [metric])[f"{metric}_mean"]
    return mean


def is_complete(name: str, records: list[Record]) -> bool:
    """Tell whether there is every fold of a set."""
    return {record["fold"] for record in records} == set(DATA_SETS[name].folds)


def mean_cell(row: str, found: Mapping[str, Rows]) -> str:
    """Return the mean over the sets, where there is every fold of every set."""
    if any(row not in rows or not is_complete(name, rows[row]) for name, rows in found.items()):
        return ""
    return f"{np.mean([mean_score(name, rows[row]) for name, rows in found.items()]):.1f}"


def convergence(records: Iterable[Record]) -> str:
    """Return a clause that tells of how many linear fits the classifier converged."""
    linear = [record for record in records if record["encoder"] != SUPERVISED]
    count = sum(record["n_not_converged"] for record in linear)
    if not count:
        return f"which converged in all of {len(linear)} fits"
    return f"which did not converge in {count} of {len(linear)} fits"


def made_by(commands: str, records: Sequence[Record]) -> str:
    """Return the line that says how, where and with what records were made."""
    machines = _distinct(
        ", ".join([m["processor"], f"{m['n_cores']} cores", *filter(None, [m.get("gpu")])])
        for m in (r["machine"] for r in records)
    )
    versions = _distinct(
        ", ".join(f"{name} {version}" for name, version in r["versions"].items()) for r in records
    )
    return f"Made by {commands} on {machines}; {versions}; commit {_commits(records)}."


def seed_counts(rows: Rows) -> str:
    """Return how many seeds the rows of a set have, and which rows where they differ."""
    counts: dict[int, list[str]] = {}
    for row, records in rows.items():
        if seeds := {r["seed"] for r in records} - {None}:
            counts.setdefault(len(seeds), []).append(row)
    texts = [
        f"{count} seed{'s' * (count > 1)}" + f" of {', '.join(counts[count])}" * (len(counts) > 1)
        for count in sorted(counts, reverse=True)
    ]
    return " and ".join(texts) or "no seed"


def _commits(records: Iterable[Record]) -> str:
    return _distinct(r.get("notes", {}).get("commit", "unknown") for r in records)


def _distinct(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(texts))


class Marked(NamedTuple):
    """A part of the README that a script writes."""

    begin: str
    end: str

    def write(self, readme: Path, text: str) -> None:
        """Put a text between the markers."""
        whole = readme.read_text(encoding="utf-8")
        if self.begin not in whole or self.end not in whole:
            raise ValueError(f"{readme.name} lacks the lines {self.begin!r} and {self.end!r}.")
        before, rest = whole.split(self.begin, 1)
        after = rest.split(self.end, 1)[1]
        readme.write_text(f"{before}{self.begin}\n{text}\n{self.end}{after}", encoding="utf-8")

    def read(self, readme: Path) -> str | None:
        """Return the text between the markers, None without them."""
        whole = readme.read_text(encoding="utf-8") if readme.exists() else ""
        if self.begin not in whole or self.end not in whole:
            return None
        return whole.split(self.begin, 1)[1].split(self.end, 1)[0].strip("\n")
