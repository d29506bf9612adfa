"""Linear evaluation on five sets of real recordings; writes the table that the README shows.

Every result is stored in benchmarks/results/linear_evaluation as soon as it is there. A run that
was cut goes on when it is started again, and parts can be run one by one::

    python benchmarks/linear_evaluation.py --sets esc10 --folds 1 --encoders "contrastive"
    python benchmarks/linear_evaluation.py --full
    python benchmarks/linear_evaluation.py --table
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from audiorep.datasets import load_audio_folder
from audiorep.evaluation import ResultStore, linear_evaluation, protocol_splits
from audiorep.evaluation._result import CHANCE, score_text, summarise

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "linear_evaluation"
README = ROOT / "README.md"
BEGIN = "<!-- linear evaluation: begin -->"
END = "<!-- linear evaluation: end -->"
COMMAND = "python benchmarks/linear_evaluation.py"


class DataSet(NamedTuple):
    """One column of the table."""

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

# BYOL-A (Niizumi et al., 2021), 512 features, pretrained by its authors on two million clips of
# AudioSet: mean over the same folds of the same files with a linear classifier. Measured once
# outside this repository, for its licence allows evaluation only; no script here makes them.
ELSEWHERE = "BYOL-A, pretrained on AudioSet \\*"
BYOL_A = {"esc10": 92.3, "fsdd": 69.2, "drums": 69.6, "instruments": 97.3, "ravdess": 57.6}

SUPERVISED = "supervised"

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
UNTIMED = (CHANCE, "contrastive untrained", "VQ-transformer untrained")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    if options.table:
        write_table(README, RESULTS)
        return 0
    for name in options.sets:
        data_set = DATA_SETS[name]
        n_seeds = max(options.seeds, data_set.n_seeds if options.full else 1)
        run(name, data_set, options, n_seeds)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    add("--sets", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS), metavar="SET")
    add("--encoders", metavar="NAME,NAME", help="rows of the table, parted by commas")
    add("--folds", nargs="+", metavar="FOLD", help="named after what is held out; default: all")
    add("--seeds", type=int, default=1, help="seeds 0 to N - 1 (default: 1)")
    add("--full", action="store_true", help="3 seeds for ESC-10 and FSDD")
    add("--device", default="auto")
    add("--jobs", type=int, default=1, help="folds at the same time; distorts the seconds")
    add("--table", action="store_true", help="run nothing; write the README's table")
    return parser


def run(name: str, data_set: DataSet, options: argparse.Namespace, n_seeds: int) -> None:
    """Evaluate on one set, store every result, print the table."""
    # Late, so that --table works where an encoder does not.
    from audiorep.evaluation._entries import standard_entries

    rows = options.encoders and [row.strip() for row in options.encoders.split(",")]
    encoders, unions = standard_entries(rows, device=options.device)
    data = load_audio_folder(options.data / data_set.folder)
    splits = protocol_splits(data, data_set.protocol)
    if tuple(splits) != data_set.folds:
        raise ValueError(f"{name} should have the folds {data_set.folds}, not {tuple(splits)}.")
    chosen = [fold for fold in splits if options.folds is None or fold in options.folds]
    if not chosen:
        print(f"{name}: none of the folds {', '.join(options.folds)}", file=sys.stderr)
        return
    result = linear_evaluation(
        encoders,
        data.data,
        data.target,
        groups=None if data_set.protocol == "official" else data.groups,
        cv={fold: splits[fold] for fold in chosen},
        unions=unions,
        random_states=range(n_seeds),
        n_jobs=options.jobs,
        store=ResultStore(RESULTS / f"{name}.jsonl", notes={"commit": commit()}),
        verbose=1,
    )
    print(f"\n{data_set.title}\n\n{result}\n", flush=True)


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


# ---------------------------------------------------------------------- the table


def stored(results: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the records of each set and row: of the last settings and machine only."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in DATA_SETS:
        rows: dict[str, list[dict[str, Any]]] = {}
        for record in ResultStore(results / f"{name}.jsonl").read():
            rows.setdefault(record["encoder"], []).append(record)
        if rows:
            found[name] = {row: _last(records) for row, records in rows.items()}
    return found


def _last(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    settings = records[-1]["settings"]
    latest = {(r["fold"], r["seed"]): r for r in records if r["settings"] == settings}
    return list(latest.values())


def render(results: Path = RESULTS) -> str:
    """Return the README's table, made from stored results alone."""
    found = stored(results)
    if not found:
        return "No results are stored yet."
    names = {row for rows in found.values() for row in rows}
    order = [row for row in ROWS if row in names] + sorted(names - set(ROWS))
    lines = _head([""] + [DATA_SETS[name].title for name in found])
    lines.append(_line(["*score, in percent*"] + [_metric(name) for name in found]))
    for row in order:
        cells = [_score(name, rows.get(row)) for name, rows in found.items()]
        if row == "contrastive":
            lines.append(_byol_a(found))
        lines.append(_line([row, *cells]))
    timed = [row for row in order if row not in UNTIMED]
    seconds = _head(["seconds to fit one fold"] + [DATA_SETS[name].title for name in found])
    for row in timed:
        cells = [_seconds(name, rows.get(row)) for name, rows in found.items()]
        seconds.append(_line([row, *cells]))
    return "\n".join([*lines, "", *seconds, "", *_legend(found)])


def _metric(name: str) -> str:
    return "accuracy" if DATA_SETS[name].metric == "accuracy" else "UAR"


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line(["---"] + ["---:"] * (len(cells) - 1))]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _score(name: str, records: list[dict[str, Any]] | None) -> str:
    if not records:
        return ""
    data_set = DATA_SETS[name]
    summary = summarise(records, [data_set.metric])
    text = score_text(summary, data_set.metric)
    if summary["n_folds"] < len(data_set.folds):
        text += f" ({summary['n_folds']} of {len(data_set.folds)} folds)"
    return text


def _seconds(name: str, records: list[dict[str, Any]] | None) -> str:
    if not records:
        return ""
    return f"{summarise(records, [DATA_SETS[name].metric])['fit_seconds']:.0f}"


def _byol_a(found: Iterable[str]) -> str:
    cells = [f"{BYOL_A[name]:.1f}" if name in BYOL_A else "" for name in found]
    return _line([ELSEWHERE, *cells])


def _legend(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    records = [r for rows in found.values() for row in rows.values() for r in row]
    protocols = "; ".join(
        f"{DATA_SETS[name].title}: {DATA_SETS[name].held_out}, {_seed_counts(rows)}"
        for name, rows in found.items()
    )
    linear = [record for record in records if record["encoder"] != SUPERVISED]
    not_converged = sum(record["n_not_converged"] for record in linear)
    supervised = ""
    if len(linear) < len(records):
        supervised = (
            "Supervised: the network, views and budget of the contrastive encoder, trained with "
            "the labels of the training clips. "
        )
    machines = _distinct(
        f"{m['processor']}, {m['n_cores']} cores" for m in (r["machine"] for r in records)
    )
    versions = _distinct(
        ", ".join(f"{name} {version}" for name, version in r["versions"].items()) for r in records
    )
    commits = _distinct(r.get("notes", {}).get("commit", "unknown") for r in records)
    return [
        f"Mean ± standard deviation over folds. Held out: {protocols}. Encoders with default "
        "parameters, fitted without labels on the training clips of each fold; "
        "`LogisticRegression()` with default parameters on their features, which did not "
        f"converge in {not_converged} of {len(linear)} fits. {supervised}"
        "UAR: unweighted average recall.",
        "",
        "\\* Measured elsewhere on the same files and folds, not by the script below.",
        "",
        f"Made by `{COMMAND}` and `python benchmarks/linear_evaluation.py --table` on {machines}; "
        f"{versions}; commit {commits}.",
    ]


def _seed_counts(rows: dict[str, list[dict[str, Any]]]) -> str:
    counts = {len({r["seed"] for r in records} - {None}) for records in rows.values()} - {0}
    if not counts:
        return "no seed"
    low, high = min(counts), max(counts)
    text = str(high) if low == high else f"{low} to {high}"
    return f"{text} seed{'s' * (high > 1)}"


def _distinct(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(texts))


def write_table(readme: Path, results: Path) -> None:
    """Put the table between its markers."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme.name} lacks the lines {BEGIN!r} and {END!r}.")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    table = render(results)
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def shown(readme: Path) -> str | None:
    """Return the table that stands between the markers, None without them."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    if BEGIN not in text or END not in text:
        return None
    return text.split(BEGIN, 1)[1].split(END, 1)[0].strip("\n")


if __name__ == "__main__":
    sys.exit(main())
