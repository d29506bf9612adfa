"""Other labels of the same recordings: tasks that no default was chosen by.

Defaults were chosen with five sets and their labels in view. Here the clips of three of them have
other labels: who speaks, which family an instrument is of, which note it plays. What is told apart
by is held out: the speakers say other words, the family and the note are those of instruments that
were not heard. Some of these tasks ask for what the contrastive encoder learns to overlook, for it
takes a sound and the same sound a little higher for one. Read-outs in which the plain spectrum
counts for more were compared on these labels later; none was taken, for what they gain here they
lose on the five sets. Each half of what can be held out is held out once. Results are stored in
benchmarks/results/other_labels as soon as they are there::

    python benchmarks/other_labels.py
    python benchmarks/other_labels.py --sets speaker --encoders "contrastive"
    python benchmarks/other_labels.py --table
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
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
    parser,
    seed_counts,
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
BESIDE = ("contrastive", "log-mel statistics")
UNION = ", ".join(BESIDE)
ROWS = (
    CHANCE,
    "log-mel statistics",
    "MFCC statistics",
    "contrastive untrained",
    SUPERVISED,
    *LEARNED,
    UNION,
)
FOLDS = ("first half", "second half")

Column = npt.NDArray[Any]


class Task(NamedTuple):
    """Other labels of a set: columns, as `columns_of` returns them."""

    title: str
    folder: str
    target: str
    held_out: str
    what_is_held_out: str


TASKS = {
    "speaker": Task("FSDD: who of 6 speaks", "fsdd", "group", "label", "digits"),
    "actor": Task("RAVDESS: who of 24 speaks", "ravdess", "group", "statement", "sentences"),
    "family": Task(
        "instruments: which of 4 families", "instruments", "family", "instrument", "instruments"
    ),
    "note": Task(
        "instruments: which of 12 notes", "instruments", "note", "instrument", "instruments"
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = parser(__doc__, tuple(TASKS), TASKS).parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    for name in options.sets:
        run(name, options)
    return 0


def run(name: str, options: argparse.Namespace) -> None:
    """Evaluate on one task, store every result, print the table."""
    task = TASKS[name]
    wanted = names_of(options.encoders) or [row for row in ROWS if row not in (CHANCE, UNION)]
    encoders, unions = standard_entries(wanted, device=options.device)
    if set(BESIDE) <= set(wanted):
        unions[UNION] = BESIDE
    chosen = [fold for fold in FOLDS if options.folds is None or fold in options.folds]
    if not chosen:
        print(f"{name}: none of the folds {', '.join(options.folds)}", file=sys.stderr)
        return
    data = load_audio_folder(options.data / task.folder)
    columns = columns_of(data)
    splits = halves(columns[task.held_out])
    result = linear_evaluation(
        encoders,
        data.data,
        columns[task.target],
        cv={fold: splits[fold] for fold in chosen},
        unions=unions,
        random_states=range(options.seeds),
        n_jobs=options.jobs,
        store=ResultStore(RESULTS / f"{name}.jsonl", notes={"commit": commit()}),
        verbose=1,
    )
    print(f"\n{task.title}\n\n{result}\n", flush=True)


def columns_of(data: Any) -> dict[str, Column]:
    """Return all that a folder says of its clips, and what follows from it.

    An instrument is named after its family, so that in sorted order those of a family stand
    together, and both halves have each family.
    """
    label = np.asarray(data.target_names)[data.target]
    columns = {"label": label, "group": data.groups, **data.metadata}
    if "family" in columns:
        pairs = zip(columns["family"], label, strict=True)
        columns["instrument"] = np.array([" ".join(pair) for pair in pairs])
    if "midi" in columns:
        columns["note"] = columns["midi"].astype(int) % 12
    return columns


def halves(held_out: Column) -> dict[str, tuple[Column, Column]]:
    """Return two folds, named: values go to one half and the other in turn, in sorted order."""
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
    held_out = "; ".join(
        f"{TASKS[name].title}, half of the {TASKS[name].what_is_held_out}, {seed_counts(rows)}"
        for name, rows in found.items()
    )
    legend = (
        "Mean ± standard deviation over two folds, in which each half is held out once: "
        f"{held_out}. Encoders with default parameters, fitted without labels on the training "
        "clips; `LogisticRegression()` with default parameters on their features, "
        f"{convergence(records)}. Supervised: with the views of the contrastive encoder, shifts in "
        "pitch among them, which no network that is to tell notes would be given. The last row is "
        "a `FeatureUnion`. UAR: unweighted average recall."
    )
    commands = f"`{COMMAND}` and `{COMMAND} --table`"
    return "\n".join([*lines, "", _ahead(found), "", legend, "", made_by(commands, records)])


def _ahead(found: Mapping[str, Rows]) -> str:
    """Return a sentence that says where a control is ahead of every encoder."""
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
