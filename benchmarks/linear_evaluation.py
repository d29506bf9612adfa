"""Linear evaluation on five sets of real recordings; writes the table that the README shows.

Every result is stored in benchmarks/results/linear_evaluation as soon as it is there. A run that
was cut goes on when it is started again, and parts can be run one by one::

    python benchmarks/linear_evaluation.py --sets esc10 --folds 1 --encoders "contrastive"
    python benchmarks/linear_evaluation.py --full
    python benchmarks/linear_evaluation.py --table
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    SUPERVISED,
    Marked,
    Rows,
    commit,
    commits_by_set,
    head,
    line,
    made_by,
    metric_name,
    names_of,
    not_converged,
    parser,
    score_cell,
    seed_counts,
    set_arguments,
    stored,
)

from audiorep.evaluation import ResultStore, linear_evaluation
from audiorep.evaluation._entries import standard_entries
from audiorep.evaluation._result import CHANCE

RESULTS = ROOT / "benchmarks" / "results" / "linear_evaluation"
PLACE = Marked("<!-- linear evaluation: begin -->", "<!-- linear evaluation: end -->")
COMMAND = "python benchmarks/linear_evaluation.py"

# BYOL-A (Niizumi et al., 2021), 512 features, pretrained by its authors on two million clips of
# AudioSet: mean over the same folds of the same files with a linear classifier. Measured once
# outside this repository, for its licence allows evaluation only; no script here makes them.
ELSEWHERE = "BYOL-A, pretrained on AudioSet \\*"
BYOL_A = {"esc10": 92.3, "fsdd": 69.2, "drums": 69.6, "instruments": 97.3, "ravdess": 57.6}

# The rows, from controls to what is judged; others that are stored follow.
ROWS = (
    CHANCE,
    "log-mel statistics",
    "MFCC statistics",
    "contrastive untrained",
    "VQ-transformer untrained",
    SUPERVISED,
    "contrastive",
    "VQ-transformer",
    "both",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    command_line = parser(__doc__)
    command_line.add_argument("--full", action="store_true", help="3 seeds for ESC-10 and FSDD")
    options = command_line.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    for name in options.sets:
        run(name, options)
    return 0


def run(name: str, options: argparse.Namespace) -> None:
    """Evaluate on one set, store every result, print the table."""
    encoders, unions = standard_entries(names_of(options.encoders), device=options.device)
    arguments = set_arguments(name, options)
    if arguments is None:
        return
    n_seeds = max(options.seeds, DATA_SETS[name].n_seeds if options.full else 1)
    result = linear_evaluation(
        encoders,
        **arguments,
        unions=unions,
        random_states=range(n_seeds),
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
    names = {row for rows in found.values() for row in rows}
    order = [row for row in ROWS if row in names] + sorted(names - set(ROWS))
    lines = head([""] + [DATA_SETS[name].title for name in found])
    lines.append(line(["*score, in percent*"] + [metric_name(name) for name in found]))
    for row in order:
        cells = [score_cell(name, rows.get(row)) for name, rows in found.items()]
        if row == "contrastive":
            lines.append(_byol_a(found))
        lines.append(line([row, *cells]))
    return "\n".join([*lines, "", *_legend(found)])


def _byol_a(found: Iterable[str]) -> str:
    cells = [f"{BYOL_A[name]:.1f}" if name in BYOL_A else "" for name in found]
    return line([ELSEWHERE, *cells])


def _legend(found: dict[str, Rows]) -> list[str]:
    records = [r for rows in found.values() for row in rows.values() for r in row]
    protocols = "; ".join(
        f"{DATA_SETS[name].title}: {DATA_SETS[name].held_out}, {seed_counts(rows)}"
        for name, rows in found.items()
    )
    supervised = ""
    if any(record["encoder"] == SUPERVISED for record in records):
        supervised = (
            "Supervised: the network, views and budget of the contrastive encoder, trained with "
            "the labels of the training clips. "
        )
    return [
        f"Mean ± standard deviation over folds. Held out: {protocols}. Encoders with default "
        "parameters, fitted without labels on the training clips of each fold; "
        "`LogisticRegression()` with default parameters on their features, which did not "
        f"converge in {not_converged(records)}. {supervised}"
        f"UAR: unweighted average recall. {commits_by_set(found)}",
        "",
        "\\* Measured elsewhere on the same files and folds, not by the script below.",
        "",
        made_by(f"`{COMMAND}` and `python benchmarks/linear_evaluation.py --table`", records),
    ]


if __name__ == "__main__":
    sys.exit(main())
