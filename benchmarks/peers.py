"""What users would pick instead, on the same files and folds, with the same linear classifier.

Each peer has an environment of its own, which this script makes with pip in ``--cache``. There its
features are computed, once for each set, or once for each fold where they are learned from the
training clips. They are standardised with the mean and deviation of the training clips, missing
values filled with the mean, and `LogisticRegression` is fitted on the training clips with two
penalties. The table shows the one that is better on the mean over the sets, in the peer's favour.

Every result is stored in benchmarks/results/peers as soon as it is there, so that a run that was
cut goes on when it is started again. A peer that cannot be installed or run is left out, and what
went wrong is said. The table also has audiorep's own results, those of linear_evaluation.py::

    python benchmarks/peers.py --sets esc10 --peers mfcc egemaps
    python benchmarks/peers.py --cache PEERS
    python benchmarks/peers.py --table
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _peers
import numpy as np
import numpy.typing as npt
from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    SETS,
    Marked,
    Record,
    Rows,
    convergence,
    environment,
    head,
    is_complete,
    line,
    made_by,
    mean_cell,
    mean_score,
    metric_name,
    score_cell,
    set_arguments,
    stored,
)
from linear_evaluation import COMMAND as OUR_COMMAND
from linear_evaluation import RESULTS as OUR_RESULTS
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from audiorep.evaluation import ResultStore
from audiorep.evaluation._fold import Fold
from audiorep.evaluation._store import digest, fingerprint

RESULTS = ROOT / "benchmarks" / "results" / "peers"
PLACE = Marked("<!-- peers: begin -->", "<!-- peers: end -->")
COMMAND = "python benchmarks/peers.py"
OURS = ("contrastive", "VQ-transformer", "both")
METRICS = ["accuracy", "balanced_accuracy"]
MAX_ITER = 2000
# The second amounts to rows of the mean squared length that audiorep's own hand-made statistics
# have, whatever their number: with it the default penalty does about as well as the best.
PENALTIES = {"C = 1": lambda n_features: 1.0, "C = 12 / features": lambda n: 12.0 / n}


# ---------------------------------------------------------------------- running


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the status is 1 when a peer failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    names = list(_peers.PEERS)
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    add("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    add("--peers", nargs="+", choices=names, default=names, metavar="PEER", help=", ".join(names))
    add("--folds", nargs="+", metavar="FOLD", help="named after what is held out; default: all")
    add("--cache", type=Path, default=_peers.CACHE, help="folder for environments and features")
    add("--table", action="store_true", help="run nothing; write the README's table")
    options = parser.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    succeeded = [run(name, options) for name in options.sets]
    return 0 if all(succeeded) else 1


def run(name: str, options: argparse.Namespace) -> bool:
    """Evaluate peers on one set, store every result, and return whether all succeeded."""
    arguments = set_arguments(name, options)
    if arguments is None:
        return True
    arguments["data"] = fingerprint(arguments["X"], arguments["y"])
    succeeded = True
    for peer in options.peers:
        try:
            evaluate(name, peer, arguments, options.cache)
        except _peers.PeerError as error:
            print(f"{DATA_SETS[name].title}: {error}", file=sys.stderr, flush=True)
            succeeded = False
    return succeeded


def evaluate(name: str, peer: str, arguments: dict[str, Any], cache: Path) -> None:
    """Find and store the results of a peer on a set that are not there yet."""
    store = ResultStore(RESULTS / f"{name}.jsonl")
    known = {record["key"] for record in store.read()}
    files, data = np.asarray(arguments["X"], dtype=object), arguments["data"]
    for fold, split in arguments["cv"].items():
        for penalty in PENALTIES:
            settings = digest([_peers.describe(peer), penalty, MAX_ITER])
            key = digest([settings, data, *(part.tolist() for part in split)])
            if key in known:
                continue
            found = _peers.kept(peer, files, files[split[0]], data, cache)
            record = {
                "encoder": row_name(peer, penalty),
                "fold": fold,
                "seed": None,
                **judged(found.features, arguments["y"], split, penalty),
                **found.facts,
                "n_train": len(split[0]),
                "n_test": len(split[1]),
                "settings": settings,
                "key": key,
                **environment(),
            }
            store.append(record)
            score = 100 * record[DATA_SETS[name].metric]
            print(f"{name}, fold {fold}, {record['encoder']}: {score:.1f}", flush=True)


def row_name(peer: str, penalty: str) -> str:
    """Return the name under which results are stored."""
    return f"{_peers.PEERS[peer].title}, {penalty}"


def judged(
    rows: npt.NDArray[np.float32], y: Any, split: tuple[Any, Any], penalty: str
) -> dict[str, Any]:
    """Return the scores of features on a fold, found as those of audiorep's encoders are."""
    fold = Fold(
        np.where(np.isfinite(rows), rows, np.nan),
        np.asarray(y),
        split,
        seed=0,
        encoders={"peer": make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())},
        unions={},
        classifier=LogisticRegression(C=PENALTIES[penalty](rows.shape[1]), max_iter=MAX_ITER),
        metrics=METRICS,
    )
    return fold.judged("peer")


# ---------------------------------------------------------------------- the table


def render(results: Path = RESULTS, ours: Path = OUR_RESULTS) -> str:
    """Return the README's table, made from stored results alone."""
    peers = in_their_favour(stored(results))
    if not peers:
        return NOTHING_STORED
    own = {
        name: {row: rows[row] for row in OURS if row in rows}
        for name, rows in stored(ours).items()
        if name in peers
    }
    found = {name: {**rows, **own.get(name, {})} for name, rows in peers.items()}
    titles = [*(peer.title for peer in _peers.PEERS.values()), *OURS]
    lines = head(["", *(DATA_SETS[name].title for name in found), "mean", *COSTS])
    lines.append(line(["*score, in percent*", *map(metric_name, found), *[""] * (1 + len(COSTS))]))
    for row in titles:
        records = {name: rows[row] for name, rows in found.items() if row in rows}
        if records:
            cells = [score_cell(name, records.get(name)) for name in found]
            costs = ["" if row in OURS else cost(records) for cost in COSTS.values()]
            lines.append(line([row, *cells, mean_cell(row, found), *costs]))
    return "\n".join([*lines, "", ahead(found), "", *_legend(peers, own)])


def in_their_favour(found: dict[str, Rows]) -> dict[str, Rows]:
    """Return each peer's records with the penalty that is better on the mean over the sets."""
    better: dict[str, Rows] = {name: {} for name in found}
    for peer in _peers.PEERS:
        variants = [row_name(peer, penalty) for penalty in PENALTIES]
        sets = [name for name in found if all(variant in found[name] for variant in variants)]
        means = [
            sum(mean_score(name, found[name][variant]) for name in sets) for variant in variants
        ]
        chosen = variants[int(np.argmax(means))]
        for name in sets:
            better[name][_peers.PEERS[peer].title] = found[name][chosen]
    return {name: rows for name, rows in better.items() if rows}


def ahead(found: dict[str, Rows]) -> str:
    """Return the sentences that say on which set a peer is ahead of audiorep."""
    sentences = []
    for name, rows in found.items():
        scores = {row: mean_score(name, rows[row]) for row in rows if is_complete(name, rows[row])}
        for peer in [row for row in scores if row not in OURS]:
            behind = [row for row in OURS if row in scores and scores[row] < scores[peer]]
            if behind:
                listed = ", ".join(f"{row} ({scores[row]:.1f})" for row in behind)
                title = DATA_SETS[name].title
                sentences.append(f"On {title}, {peer} ({scores[peer]:.1f}) is ahead of {listed}.")
    return " ".join(sentences or ["On no set is one of these peers ahead of a row of audiorep."])


# ---------------------------------------------------------------------- what it costs


def transform_cost(records: dict[str, list[Record]]) -> str:
    """Return the seconds of work for an hour of audio, over all sets."""
    seconds, audio = (
        sum(record[column] for of_set in records.values() for record in of_set)
        for column in ("transform_seconds", "audio_seconds")
    )
    return f"{3600 * seconds / audio:.0f}"


def fit_cost(records: dict[str, list[Record]]) -> str:
    """Return the mean seconds of fitting one fold, over all sets."""
    means = [np.mean([record["fit_seconds"] for record in of_set]) for of_set in records.values()]
    return f"{np.mean(means):.0f}"


def memory_cost(records: dict[str, list[Record]]) -> str:
    """Return the most memory, in MB."""
    return f"{max(r['peak_memory'] for of_set in records.values() for r in of_set):.0f}"


# Of peers alone: what an encoder costs is measured by fit_time.py and throughput.py, on a machine
# that does nothing else.
COSTS: dict[str, Callable[[dict[str, list[Record]]], str]] = {
    "fit, s": fit_cost,
    "transform, s per hour": transform_cost,
    "memory, MB": memory_cost,
}


def _legend(peers: dict[str, Rows], own: dict[str, Rows]) -> list[str]:
    records = [r for rows in peers.values() for row in rows.values() for r in row]
    our_records = [r for rows in own.values() for row in rows.values() for r in row]
    penalties = "; ".join(dict.fromkeys(r["encoder"].replace(": ", " of ", 1) for r in records))
    versions = dict.fromkeys(
        f"{name} {version}"
        for record in records
        for name, version in record["peer_versions"].items()
        if name != "numpy"
    )
    lines = [
        "Mean ± standard deviation over the folds of the linear evaluation. Peers: features of the "
        "same files at 16 kHz, standardised by the training clips; `LogisticRegression` with "
        f"`max_iter={MAX_ITER}`, {convergence(records)}, and that of "
        f"{' or '.join(PENALTIES)} which is better on the mean over the sets: {penalties}. "
        "Fit: what is learned without labels from the training clips of a fold, the mean over "
        "folds and sets. Transform: from files to features, for an hour of audio, on one thread. "
        "Memory: the most that the process held. What audiorep takes stands in the tables of fits "
        "and of speed.",
        "",
        f"Peers: {', '.join(versions)}. {made_by(f'`{COMMAND}` and `{COMMAND} --table`', records)}",
    ]
    if our_records:
        lines += ["", f"audiorep: {made_by(f'`{OUR_COMMAND}`', our_records)}"]
    return lines


if __name__ == "__main__":
    sys.exit(main())
