"""How long does a fit take, when nothing else is running?

Fits the training clips of the first fold of every set, with default parameters and all threads,
one fit after the other; reading the files counts, too. Leave the machine alone meanwhile. Every
result is written, as JSON, to benchmarks/results/fit_time.json as soon as it is there, in place of
what was there of its set, row and processor; a part can be run again, or all on another processor::

    python benchmarks/fit_time.py
    python benchmarks/fit_time.py --sets esc10 --encoders contrastive
    python benchmarks/fit_time.py --table
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    Marked,
    Record,
    environment,
    head,
    line,
    made_by,
    names_of,
    read_json,
    set_arguments,
    write_json,
)

from audiorep._training import resolve_device, resolve_precision
from audiorep.evaluation._entries import SUPERVISED, standard_entries

RESULT = ROOT / "benchmarks" / "results" / "fit_time.json"
PLACE = Marked("<!-- fit time: begin -->", "<!-- fit time: end -->")
COMMAND = "python benchmarks/fit_time.py"
ROWS = ("contrastive", "VQ-transformer", SUPERVISED)
SETS = tuple(name for name, data_set in DATA_SETS.items() if data_set.protocol != "official")


def run(options: argparse.Namespace) -> None:
    """Time every row on every set, and store what it took."""
    encoders, unions = standard_entries(
        names_of(options.encoders) or list(ROWS), device=options.device
    )
    if unions:
        raise ValueError(f"{', '.join(unions)} has no fit of its own; ask for its members.")
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
            done = {"set": name, "fold": fold, "n_clips": len(X), "row": row, "seconds": seconds}
            device = resolve_device(options.device)
            precision = str(resolve_precision("auto", device)).removeprefix("torch.")
            done |= {"precision": precision, **environment()}
            if device.type == "cuda":
                done["machine"]["gpu"] = torch.cuda.get_device_name(device)
            _store({**done, "threads": torch.get_num_threads()})


def _store(result: Record) -> None:
    results = (read_json(RESULT) or {"results": []})["results"]
    others = [r for r in results if _key(r) != _key(result)]
    write_json(RESULT, {"results": [*others, result]})


def _key(result: Record) -> tuple[str, str, str]:
    return _computer(result), result["row"], result["set"]


def _computer(result: Record) -> str:
    """Return what decides how long a fit takes: the processor or GPU, and the precision."""
    machine = result["machine"]
    parts = [machine.get("gpu") or machine["processor"], result.get("precision")]
    return ", ".join(filter(None, parts))


# ---------------------------------------------------------------------- the table


def render(result: Path = RESULT) -> str:
    """Return the README's table, made from the stored results alone."""
    found = read_json(result)
    if found is None:
        return NOTHING_STORED
    results = found["results"]
    n_clips = {r["set"]: r["n_clips"] for r in results}
    names = [name for name in SETS if name in n_clips]
    seconds = {_key(r): r["seconds"] for r in results}
    timed = dict.fromkeys(r["row"] for r in results)
    rows = [row for row in ROWS if row in timed] + [row for row in timed if row not in ROWS]
    lines = head(["seconds to fit one fold", *(DATA_SETS[name].title for name in names)])
    lines.append(line(["*training clips*", *(str(n_clips[name]) for name in names)]))
    computers = sorted({_computer(r) for r in results})
    for computer in computers:
        if len(computers) > 1:
            lines.append(line([f"**{computer}**", *("" for _ in names)]))
        for row in rows:
            found_here = [seconds.get((computer, row, name)) for name in names]
            if any(found_here):
                lines.append(line([row, *(f"{s:.0f}" if s else "" for s in found_here)]))
    threads = " or ".join(map(str, sorted({r["threads"] for r in results})))
    legend = (
        "Default parameters, reading the files included; the first fold of each set, once, one fit "
        f"at a time on a machine that was left alone; {threads} threads. What trainings compute in "
        "goes by what the processor is fast at."
    )
    return "\n".join(
        [*lines, "", legend, "", made_by(f"`{COMMAND}` and `{COMMAND} --table`", results)]
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
