"""Other labels of the same recordings: tasks that no default was chosen by.

Defaults were chosen with five sets and their labels in view. Here the clips of three of them have
other labels: who speaks, which family an instrument is of, which note it plays. What is told apart
by is held out: the speakers say other words, the family and the note are those of instruments that
were not heard. Some of these tasks ask for what the contrastive encoder learns to overlook, for it
takes a sound and the same sound a little higher for one. Each half of what can be held out is held
out once. Results are stored in benchmarks/results/other_labels as soon as they are there::

    python benchmarks/other_labels.py
    python benchmarks/other_labels.py --tasks speaker --encoders "contrastive"
    python benchmarks/other_labels.py --table
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from _common import (
    NOTHING_STORED,
    README,
    ROOT,
    UAR,
    Marked,
    Rows,
    commit,
    convergence,
    head,
    line,
    made_by,
    names_of,
    stored,
)

from audiorep.datasets import load_audio_folder
from audiorep.evaluation import ResultStore, linear_evaluation
from audiorep.evaluation._entries import SUPERVISED, standard_entries
from audiorep.evaluation._result import CHANCE, score_text, summarise

RESULTS = ROOT / "benchmarks" / "results" / "other_labels"
PLACE = Marked("<!-- other labels: begin -->", "<!-- other labels: end -->")
COMMAND = "python benchmarks/other_labels.py"

CONTROLS = ("log-mel statistics", "MFCC statistics", SUPERVISED)
LEARNED = ("contrastive", "VQ-transformer", "both")
BESIDE = "contrastive, log-mel statistics"
ROWS = (CHANCE, *CONTROLS[:2], "contrastive untrained", SUPERVISED, *LEARNED, BESIDE)

Column = npt.NDArray[Any]
Columns = Mapping[str, Column]
FOLDS = ("first half", "second half")


class Task(NamedTuple):
    """Other labels of a set."""

    title: str
    folder: str
    target: Callable[[Columns], Column]
    # What is held out, in the order in which it goes to one half and the other in turn.
    held_out: Callable[[Columns], Column]
    what_is_held_out: str


def _instruments(columns: Columns) -> Column:
    """Return the instruments after their families, so that both halves have each of these."""
    pairs = zip(columns["family"], columns["label"], strict=True)
    return np.array([f"{family} {label}" for family, label in pairs])


TASKS = {
    "speaker": Task(
        "FSDD: who of 6 speaks",
        "fsdd",
        lambda columns: columns["group"],
        lambda columns: columns["label"],
        "digits",
    ),
    "actor": Task(
        "RAVDESS: who of 24 speaks",
        "ravdess",
        lambda columns: columns["group"],
        lambda columns: columns["statement"],
        "sentences",
    ),
    "family": Task(
        "instruments: which of 4 families",
        "instruments",
        lambda columns: columns["family"],
        _instruments,
        "instruments",
    ),
    "note": Task(
        "instruments: which of 12 notes",
        "instruments",
        lambda columns: columns["midi"].astype(int) % 12,
        _instruments,
        "instruments",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    add("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="TASK")
    add("--encoders", metavar="NAME,NAME", help="rows of the table, parted by commas")
    add("--device", default="auto")
    add("--table", action="store_true", help="run nothing; write the README's table")
    options = made.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    for name in options.tasks:
        run(name, options)
    return 0


def run(name: str, options: argparse.Namespace) -> None:
    """Evaluate on one task, store every result, print the table."""
    task = TASKS[name]
    wanted = names_of(options.encoders) or [row for row in ROWS if row != CHANCE]
    encoders, unions = standard_entries([row for row in wanted if row != BESIDE])
    if BESIDE in wanted:
        members = tuple(BESIDE.split(", "))
        encoders |= standard_entries(list(members))[0]
        unions[BESIDE] = members
    data = load_audio_folder(options.data / task.folder)
    columns = {
        "label": np.asarray(data.target_names)[data.target],
        "group": data.groups,
        **data.metadata,
    }
    result = linear_evaluation(
        encoders,
        data.data,
        task.target(columns),
        cv=halves(task.held_out(columns)),
        unions=unions,
        store=ResultStore(RESULTS / f"{name}.jsonl", notes={"commit": commit()}),
        verbose=1,
    )
    print(f"\n{task.title}\n\n{result}\n", flush=True)


def halves(held_out: Column) -> dict[str, tuple[Column, Column]]:
    """Return two folds, named: each half of the values is held out once, taken in turn."""
    _, number = np.unique(held_out, return_inverse=True)
    sides = np.flatnonzero(number % 2 == 0), np.flatnonzero(number % 2 == 1)
    return {name: (sides[1 - i], sides[i]) for i, name in enumerate(FOLDS)}


def render(results: Path = RESULTS) -> str:
    """Return the README's table, made from stored results alone."""
    found = stored(results, TASKS)
    if not found:
        return NOTHING_STORED
    lines = head(["UAR, in percent", *(TASKS[name].title for name in found)])
    for row in ROWS:
        if any(row in rows for rows in found.values()):
            lines.append(line([row, *(_cell(rows.get(row, [])) for rows in found.values())]))
    records = [r for rows in found.values() for row in rows.values() for r in row]
    held_out = "; ".join(f"{TASKS[name].title}, {TASKS[name].what_is_held_out}" for name in found)
    legend = (
        "Mean ± standard deviation over two folds, each half held out once; 1 seed. Held out: "
        f"{held_out}. Encoders with default parameters, fitted without labels on the training "
        "clips; `LogisticRegression()` with default parameters on their features, "
        f"{convergence(records)}. Supervised: with the views of the contrastive encoder, shifts in "
        "pitch among them, which no network that is to tell notes would be given. The last row is "
        "a `FeatureUnion`. UAR: unweighted average recall."
    )
    commands = f"`{COMMAND}` and `{COMMAND} --table`"
    return "\n".join([*lines, "", _ahead(found), "", legend, "", made_by(commands, records)])


def _ahead(found: Mapping[str, Rows]) -> str:
    """Return a sentence that says where a control is ahead of both encoders."""
    texts = []
    for name, rows in found.items():
        scores = {row: summarise(records, [UAR])[f"{UAR}_mean"] for row, records in rows.items()}
        best = max((scores[row] for row in LEARNED if row in scores), default=np.inf)
        texts += [f"{row} ({TASKS[name].title})" for row in CONTROLS if scores.get(row, 0.0) > best]
    return f"Ahead of every encoder: {', '.join(texts) or 'none of the controls'}."


def _cell(records: Sequence[dict[str, Any]]) -> str:
    if not records:
        return ""
    summary = summarise(records, [UAR])
    missing = len(FOLDS) - summary["n_folds"]
    return score_text(summary, UAR) + (" (one fold)" if missing else "")


if __name__ == "__main__":
    sys.exit(main())
