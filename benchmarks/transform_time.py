"""How long does `transform` take on real recordings, beside reading them and one mel spectrogram?

Recordings of every set, evenly chosen, as they lie on the disk, of whatever rate and format; the
floor and peers as in `throughput.py`, which also tells how speed depends on threads, batches and
lengths. Encoders are fitted without training: time does not depend on what the weights are. Each
measurement has a process of its own, and all take turns for ``--repeats`` rounds. Leave the machine
alone meanwhile. Writes benchmarks/results/transform_time.json at the end, anew each time::

    python benchmarks/transform_time.py
    python benchmarks/transform_time.py --clips 100 --repeats 1 --peers
    python benchmarks/transform_time.py --table
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import _peers
import joblib
import numpy as np
import throughput
from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    SETS,
    Marked,
    Record,
    environment,
    head,
    line,
    made_by,
    read_json,
    write_json,
)
from _throughput_tables import ENCODERS, FLOOR, title

from audiorep.datasets import load_audio_folder

RESULT = ROOT / "benchmarks" / "results" / "transform_time.json"
PLACE = Marked("<!-- transform time: begin -->", "<!-- transform time: end -->")
COMMAND = "python benchmarks/transform_time.py"


def run(options: argparse.Namespace) -> Record:
    """Measure every row on every set, in rounds."""
    seconds: dict[tuple[str, str], list[float]] = {}
    left_out: list[str] = []  # peers that failed
    chosen = {name: some_files(options.data / name, options.clips) for name in options.sets}
    with tempfile.TemporaryDirectory() as folder:
        saved = throughput.save_encoders(Path(folder), chosen[options.sets[0]])
        for turn in range(options.repeats):
            for name, files in chosen.items():
                for row in (FLOOR, *ENCODERS, *options.peers):
                    if row in left_out:
                        continue
                    job = throughput.Job(
                        "sets", row, "transform", name, len(files), options.threads
                    )
                    try:
                        took = throughput.measured(job, files, saved, options)["seconds"]
                        shown = f"{took:.2f} s"
                        seconds.setdefault((name, row), []).append(took)
                    except _peers.PeerError as error:
                        left_out.append(row)
                        shown = f"failed and is left out: {error}"
                    print(f"round {turn + 1}, {name}, {row}: {shown}", file=sys.stderr)
    return {
        "sizes": sizes(options),
        "left_out": left_out,
        "threads": options.threads,
        "n_clips": {name: len(files) for name, files in chosen.items()},
        "results": [
            {"set": name, "row": row, "seconds": took}
            for (name, row), took in seconds.items()
            if row not in left_out
        ],
        **environment(),
    }


def sizes(options: argparse.Namespace) -> list[str]:
    """Return the arguments that say what is measured."""
    counts = {name: str(getattr(options, name)) for name in ("clips", "repeats", "threads")}
    given = [text for name, count in counts.items() for text in (f"--{name}", count)]
    return ["--sets", *options.sets, *given]


def some_files(folder: Path, n_most: int) -> list[str]:
    """Return the paths of recordings in a folder: all, or as many as wanted, evenly chosen."""
    paths = load_audio_folder(folder).data
    which = np.linspace(0, len(paths) - 1, min(len(paths), n_most)).astype(int)
    return [str(paths[i]) for i in which]


def render(result: Path = RESULT) -> str:
    """Return the README's table, made from the stored results alone."""
    found = read_json(result)
    if found is None:
        return NOTHING_STORED
    seconds = {(r["set"], r["row"]): np.array(r["seconds"]) for r in found["results"]}
    names = list(found["n_clips"])
    lines = head(["time of transform, floor = 1", *(DATA_SETS[name].title for name in names)])
    speeds = [found["n_clips"][name] / np.median(seconds[name, FLOOR]) for name in names]
    lines.append(line([f"*floor: {FLOOR}; clips/s*", *(f"{speed:.0f}" for speed in speeds)]))
    for row in dict.fromkeys(r["row"] for r in found["results"] if r["row"] != FLOOR):
        ratios = (np.median(seconds[name, row] / seconds[name, FLOOR]) for name in names)
        lines.append(line([title(row), *(f"{ratio:.1f}" for ratio in ratios)]))
    clips = ", ".join(f"{DATA_SETS[name].title} {n}" for name, n in found["n_clips"].items())
    n_rounds = len(found["results"][0]["seconds"])
    legend = (
        f"Recordings as files: {clips}. {found['threads']} threads, on a machine that was left "
        f"alone; the median of {n_rounds} rounds in which all took turns, of times beside the "
        f"floor that of what each round had. Peers that failed: "
        f"{', '.join(map(title, found['left_out'])) or 'none'}."
    )
    commands = f"`{' '.join([COMMAND, *found['sizes']])}` and `{COMMAND} --table`"
    return "\n".join([*lines, "", legend, "", made_by(commands, [found])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    add("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    add("--clips", type=int, default=400, help="of a set, at most (default: 400)")
    add("--repeats", type=int, default=3, help="rounds (default: 3)")
    add("--threads", type=int, default=min(2, joblib.cpu_count()), metavar="N")
    add("--peers", nargs="*", choices=list(_peers.PEERS), default=["mfcc", "egemaps"])
    add("--cache", type=Path, default=_peers.CACHE, help="folder for the peers' environments")
    add("--table", action="store_true", help="run nothing; write the README's table")
    options = parser.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    write_json(RESULT, run(options))
    print(render(RESULT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
