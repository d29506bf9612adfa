"""What does each part of the encoders bring? One thing is changed at a time.

Every row is an encoder with default parameters but for one part. A row's score is the mean over
the folds that were run; the last column is the mean over the sets, less that of the defaults on
the same folds. Rows that differ in what is read out alone share one training; they are in
_ablation_rows.py. Every result is stored in benchmarks/results/ablation as soon as it is there::

    python benchmarks/ablation.py --sets esc10 fsdd drums --folds 2 s2
    python benchmarks/ablation.py --table
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _ablation_rows import entries, groups
from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    Marked,
    Record,
    Rows,
    commit,
    head,
    line,
    made_by,
    metric_name,
    names_of,
    parser,
    set_arguments,
    stored,
)

from audiorep.evaluation import ResultStore, linear_evaluation

RESULTS = ROOT / "benchmarks" / "results" / "ablation"
PLACE = Marked("<!-- ablation: begin -->", "<!-- ablation: end -->")
COMMAND = "python benchmarks/ablation.py"
FOLDS = ("2", "s2")  # one a set; the defaults were chosen by looking at others too


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    command_line = parser(__doc__)
    options = command_line.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    options.folds = options.folds or list(FOLDS)
    encoders = chosen_entries(names_of(options.encoders))
    for encoder in encoders.values():
        encoder.set_params(device=options.device)
    for name in options.sets:
        run(name, encoders, options)
    return 0


def chosen_entries(names: Sequence[str] | None) -> dict[str, Any]:
    """Return the rows of these names, or all."""
    found = entries()
    for name in names or ():
        if name not in found:
            raise ValueError(f"There is no row {name!r}; choose among {', '.join(found)}.")
    return {name: encoder for name, encoder in found.items() if names is None or name in names}


def run(name: str, encoders: dict[str, Any], options: argparse.Namespace) -> None:
    """Evaluate on one set, store every result, print the table."""
    arguments = set_arguments(name, options)
    if arguments is None:
        return
    result = linear_evaluation(
        encoders,
        **arguments,
        random_states=range(options.seeds),
        n_jobs=options.jobs,
        store=ResultStore(RESULTS / f"{name}.jsonl", notes={"commit": commit()}),
        verbose=1,
    )
    print(f"\n{DATA_SETS[name].title}\n\n{result}\n", flush=True)


# ---------------------------------------------------------------------- the table


def render(results: Path = RESULTS) -> str:
    """Return the README's table, made from stored results alone."""
    found = stored(results)
    if not found:
        return NOTHING_STORED
    titles = [f"{DATA_SETS[name].title}, {metric_name(name)}" for name in found]
    lines = head(["", *titles, "mean, less that of the defaults"])
    records: list[Record] = []
    for group in map(list, groups()):
        shown = {name: _of_one_commit(rows, group) for name, rows in found.items()}
        lines += _lines(shown, group)
        records += [r for rows in shown.values() for row in rows.values() for r in row]
    folds = sorted({record["fold"] for record in records})
    seeds = sorted({record["seed"] for record in records})
    remarks = (
        f"Linear evaluation as above, but of the folds {', '.join(folds)} only, seeds "
        f"{', '.join(map(str, seeds))}. One fold is a small sample: differences below about two "
        "points are noise. Defaults were chosen by looking at these folds among others. The last "
        "column is the mean over the sets that a row was run on."
    )
    return "\n".join(
        [*lines, "", remarks, "", made_by(f"`{COMMAND}` and `{COMMAND} --table`", records)]
    )


def _lines(found: dict[str, Rows], group: list[str]) -> list[str]:
    """Return the lines of a group of rows, of which the first is the defaults."""
    defaults = group[0]
    lines = []
    for row in group:
        cells = ["" if score is None else f"{score:.1f}" for score in _scores(found, row)]
        difference = "" if row == defaults else _difference(found, row, defaults)
        name = f"**{row}**, defaults" if row == defaults else row
        if any(cells):
            lines.append(line([name, *cells, difference]))
    return lines


def _of_one_commit(rows: Rows, group: list[str]) -> Rows:
    """Return the rows of a group that are of the commit of its defaults, the first row.

    Others are left out until they are run again, for code may have changed between the two.
    """
    of_group = {row: rows[row] for row in group if row in rows}
    if group[0] not in rows:
        return of_group
    commits = {_commit(record) for record in rows[group[0]]}
    alike = {row: [r for r in some if _commit(r) in commits] for row, some in of_group.items()}
    return {row: some for row, some in alike.items() if some}


def _commit(record: Record) -> str:
    return str(record.get("notes", {}).get("commit", "unknown"))


def _scores(found: dict[str, Rows], row: str) -> list[float | None]:
    """Return the mean score of a row on every set, in percent."""
    return [
        100 * float(np.mean([record[DATA_SETS[name].metric] for record in rows[row]]))
        if row in rows
        else None
        for name, rows in found.items()
    ]


def _difference(found: dict[str, Rows], row: str, defaults: str) -> str:
    """Return how much better a row is on the folds and seeds that both have, the mean over sets."""
    differences = []
    for name, rows in found.items():
        scores, base = (
            {(r["fold"], r["seed"]): r[DATA_SETS[name].metric] for r in rows.get(which, [])}
            for which in (row, defaults)
        )
        if both := scores.keys() & base.keys():
            differences.append(np.mean([scores[key] - base[key] for key in sorted(both)]))
    return f"{100 * np.mean(differences):+.1f}" if differences else ""


if __name__ == "__main__":
    sys.exit(main())
