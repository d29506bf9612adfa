"""How many labels are needed? Curves on five sets of real recordings, for the README.

For every fold an encoder is fitted on all training clips without labels, then a linear classifier
on few labelled ones; the supervised network is trained on these few, for as many steps as it would
be on all training clips. Every result is stored in benchmarks/results/label_efficiency as soon as
it is there. A run that was cut goes on when it is started again, and parts can be run one by one::

    python benchmarks/label_efficiency.py --sets esc10 --folds 1 --draws 3
    python benchmarks/label_efficiency.py --folds 1 s1 --labels 5 --encoders "supervised"
    python benchmarks/label_efficiency.py --figure label_efficiency.png
    python benchmarks/label_efficiency.py --table
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    SUPERVISED,
    Marked,
    Record,
    Rows,
    commit,
    convergence,
    head,
    line,
    made_by,
    metric_name,
    names_of,
    parser,
    seed_counts,
    set_arguments,
    stored,
)

from audiorep.evaluation import (
    LabelEfficiencyCurve,
    LabelEfficiencyDisplay,
    ResultStore,
    label_efficiency_curve,
)
from audiorep.evaluation._entries import standard_entries
from audiorep.evaluation._result import CHANCE, score_text

RESULTS = ROOT / "benchmarks" / "results" / "label_efficiency"
PLACE = Marked("<!-- label efficiency: begin -->", "<!-- label efficiency: end -->")
COMMAND = "python benchmarks/label_efficiency.py"
_LEARNED = ("contrastive", "VQ-transformer", "both")  # without labels
ENCODERS = ("log-mel statistics", SUPERVISED, *_LEARNED)
ROWS = (CHANCE, *ENCODERS)
N_LABELS = (1, 2, 5, 10)
N_LABELS_OF_SUPERVISED = (5,)  # a training for every draw


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    command_line = parser(__doc__)
    add = command_line.add_argument
    few = ", ".join(map(str, N_LABELS_OF_SUPERVISED))
    add(
        "--labels",
        nargs="+",
        type=int,
        help=f"labels per class (default: {', '.join(map(str, N_LABELS))}; supervised: {few})",
    )
    add("--draws", type=int, default=3, help="draws of labelled clips (default: 3)")
    add("--figure", type=Path, help="run nothing; draw the stored curves to this file")
    options = command_line.parse_args(arguments)
    if options.figure:
        draw(options.figure, RESULTS)
    if options.table:
        PLACE.write(README, render())
    if not options.figure and not options.table:
        for name in options.sets:
            run(name, options)
    return 0


def run(name: str, options: argparse.Namespace) -> None:
    """Evaluate on one set, store every result, print the tables."""
    names = names_of(options.encoders) or list(ENCODERS)
    arguments = set_arguments(name, options)
    if arguments is None:
        return
    for rows, n_labels in (
        ([row for row in names if row != SUPERVISED], N_LABELS),
        ([row for row in names if row == SUPERVISED], N_LABELS_OF_SUPERVISED),
    ):
        if not rows:
            continue
        encoders, unions = standard_entries(rows, device=options.device)
        result = label_efficiency_curve(
            encoders,
            **arguments,
            n_labels=options.labels or n_labels,
            n_draws=options.draws,
            unions=unions,
            random_states=range(options.seeds),
            n_jobs=options.jobs,
            store=ResultStore(RESULTS / f"{name}.jsonl", notes={"commit": commit()}),
            verbose=1,
        )
        print(f"\n{DATA_SETS[name].title}\n\n{result}\n", flush=True)


# ---------------------------------------------------------------------- the table and the figure


def curves(results: Path) -> dict[str, LabelEfficiencyCurve]:
    """Return the stored curves of each set."""
    found = {}
    for name, rows in stored(results).items():
        order = [row for row in ROWS if row in rows] + sorted(set(rows) - set(ROWS))
        records = [record for row in order for record in rows[row]]
        found[name] = LabelEfficiencyCurve(records, order, [DATA_SETS[name].metric])
    return found


def render(results: Path = RESULTS) -> str:
    """Return the README's table, made from stored results alone."""
    found = curves(results)
    if not found:
        return NOTHING_STORED
    summaries = {name: curve.summary() for name, curve in found.items()}
    cells: dict[tuple[int, str, str], str] = {}
    for name, summary in summaries.items():
        for row, points in summary.items():
            for point in points:
                cells[point["n_labels"], row, name] = score_text(point, DATA_SETS[name].metric)
    names = {row for _, row, _ in cells}
    order = [row for row in ROWS if row in names] + sorted(names - set(ROWS))
    lines = head(["labels per class", ""] + [DATA_SETS[name].title for name in found], n_left=2)
    lines.append(line(["", "*score, in percent*"] + [metric_name(name) for name in found]))
    for n_labels in sorted({count for count, _, _ in cells}):
        shown = [row for row in order if any((n_labels, row, name) in cells for name in found)]
        for row in shown:
            scores = [cells.get((n_labels, row, name), "") for name in found]
            lines.append(line([str(n_labels) if row == shown[0] else "", row, *scores]))
    return "\n".join([*lines, "", *_verdicts(summaries), *_legend(stored(results))])


def _verdicts(summaries: dict[str, dict[str, list[Record]]]) -> list[str]:
    """Tell on which sets the supervised network is ahead, by the labels that it was given."""
    lines: list[str] = []
    for n_labels in sorted(N_LABELS):
        found = {name: _scores_at(n_labels, name, rows) for name, rows in summaries.items()}
        found = {name: scores for name, scores in found.items() if SUPERVISED in scores}
        if found:
            ahead = [
                DATA_SETS[name].title
                for name, scores in found.items()
                if scores[SUPERVISED] >= max(scores.get(row, 0.0) for row in _LEARNED)
            ]
            lines += [
                f"At {n_labels} per class, the supervised network is ahead of every encoder on "
                f"{len(ahead)} of {len(found)} sets{': ' * bool(ahead)}{', '.join(ahead)}.",
                "",
            ]
    return lines


def _scores_at(n_labels: int, name: str, rows: dict[str, list[Record]]) -> dict[str, float]:
    metric = DATA_SETS[name].metric
    return {
        row: point[f"{metric}_mean"]
        for row, points in rows.items()
        for point in points
        if point["n_labels"] == n_labels
    }


def _legend(found: dict[str, Rows]) -> list[str]:
    records = [r for rows in found.values() for row in rows.values() for r in row]
    protocols = "; ".join(
        f"{DATA_SETS[name].title}: {DATA_SETS[name].held_out}, {_counts(name, rows)}"
        for name, rows in found.items()
    )
    return [
        "Mean ± standard deviation over folds and draws of labelled clips. Held out: "
        f"{protocols}. Encoders with default parameters, fitted on all training clips of each "
        "fold without labels; `LogisticRegression()` with default parameters on the features of "
        f"the labelled clips alone, {convergence(records)}. "
        "Supervised: the network and views of the contrastive encoder, trained on the labelled "
        "clips alone, for as many steps as on all training clips. Draws are the same in every row. "
        "Chance: the class that is largest among all training clips. UAR: unweighted average "
        "recall.",
        "",
        made_by(f"`{COMMAND}` and `{COMMAND} --table`", records),
    ]


def _counts(name: str, rows: Rows) -> str:
    """Return how many folds, draws and seeds stand behind a column."""
    records = [record for row in rows.values() for record in row]
    n_folds = len({record["fold"] for record in records})
    draws = {
        row: len({record["draw"] for record in records} - {None}) for row, records in rows.items()
    }
    n_draws = max(draws.values())
    fewer = [f"{row}: {count}" for row, count in draws.items() if 0 < count < n_draws]
    text = f"{n_draws} draw{'s' * (n_draws > 1)}"
    text += f" ({', '.join(fewer)})" * bool(fewer) + f", {seed_counts(rows)}"
    n_all = len(DATA_SETS[name].folds)
    return text if n_folds == n_all else f"{n_folds} of {n_all} folds, {text}"


def draw(path: Path, results: Path) -> None:
    """Draw the curves of all sets, one panel each."""
    import matplotlib.pyplot as plt

    found = curves(results)
    if not found:
        raise ValueError(f"{NOTHING_STORED} So there is nothing to draw.")
    figure, axes = plt.subplots(
        1, len(found), figsize=(3.4 * len(found), 3.8), layout="constrained", squeeze=False
    )
    for ax, (name, curve) in zip(axes[0], found.items(), strict=True):
        LabelEfficiencyDisplay.from_result(curve, ax=ax)
        ax.set_title(DATA_SETS[name].title)
        ax.get_legend().remove()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
