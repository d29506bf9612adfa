"""How long does a fit take, when nothing else is running?

Fits the training clips of the first fold of every set, with default parameters and all threads,
one fit after the other; reading the files counts, too. Leave the machine alone meanwhile. The
result is written, as JSON, to benchmarks/results/fit_time.json after every fit::

    python benchmarks/fit_time.py
    python benchmarks/fit_time.py --table
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    Marked,
    environment,
    head,
    line,
    made_by,
    names_of,
    read_json,
    set_arguments,
    write_json,
)

from audiorep.evaluation._entries import SUPERVISED, standard_entries

RESULT = ROOT / "benchmarks" / "results" / "fit_time.json"
PLACE = Marked("<!-- fit time: begin -->", "<!-- fit time: end -->")
COMMAND = "python benchmarks/fit_time.py"
ROWS = ("contrastive", "VQ-transformer", SUPERVISED)
SETS = tuple(name for name, data_set in DATA_SETS.items() if data_set.protocol != "official")


def run(options: argparse.Namespace) -> None:
    """Time every row on every set, and store what it took."""
    encoders, _ = standard_entries(names_of(options.encoders) or list(ROWS), device=options.device)
    results: list[dict[str, Any]] = []
    for name in options.sets:
        fold = DATA_SETS[name].folds[0]
        clips = set_arguments(name, argparse.Namespace(data=options.data, folds=[fold]))
        if clips is None:
            raise ValueError(f"{name} has no fold {fold}.")
        training, _ = clips["cv"][fold]
        X, y = [clips["X"][i] for i in training], clips["y"][training]
        for row, encoder in encoders.items():
            if "random_state" in encoder.get_params():
                encoder.set_params(random_state=0)
            started = time.perf_counter()
            encoder.fit(X, y)
            seconds = time.perf_counter() - started
            print(f"{name}, fold {fold}, {len(X)} clips, {row}: {seconds:.1f} s", flush=True)
            results.append(
                {"set": name, "fold": fold, "n_clips": len(X), "row": row, "seconds": seconds}
            )
            write_json(
                RESULT, {"threads": torch.get_num_threads(), "results": results, **environment()}
            )


def render(result: Path = RESULT) -> str:
    """Return the README's table, made from the stored result alone."""
    found = read_json(result)
    if found is None:
        return NOTHING_STORED
    n_clips = {r["set"]: r["n_clips"] for r in found["results"]}
    seconds = {(r["row"], r["set"]): r["seconds"] for r in found["results"]}
    lines = head(["seconds to fit one fold", *(DATA_SETS[name].title for name in n_clips)])
    lines.append(line(["*training clips*", *(str(count) for count in n_clips.values())]))
    for row in dict.fromkeys(row for row, _ in seconds):
        cells = [f"{seconds[row, n]:.0f}" if (row, n) in seconds else "" for n in n_clips]
        lines.append(line([row, *cells]))
    threads = found["threads"]
    legend = (
        "Default parameters, reading the files included; the first fold of each set, once, with "
        f"nothing else running, {threads} thread{'s' * (threads > 1)}."
    )
    return "\n".join(
        [*lines, "", legend, "", made_by(f"`{COMMAND}` and `{COMMAND} --table`", [found])]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    add("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    add("--encoders", metavar="NAME,NAME", help="rows of the table, parted by commas")
    add("--device", default="auto")
    add("--table", action="store_true", help="run nothing; write the README's table")
    options = parser.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    run(options)
    print(render(RESULT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
