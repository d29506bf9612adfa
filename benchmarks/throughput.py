"""How fast are the encoders, beside peers and beside the floor, and how does cost grow?

The floor is what no feature from a spectrogram can do without: reading the files with soundfile,
and one log-mel spectrogram of each, by audiorep's own front end. Measured are

- `transform`, from files to features: by threads, devices, and clips per call; beside the floor,
  and beside librosa's MFCC statistics and openSMILE's eGeMAPS, in environments that `peers.py`
  would make, too;
- `fit`: with default parameters, and for four epochs by batch size and precision;
- how both grow with the number and the length of clips, which is also drawn.

Everything is measured in one run, each time in a fresh process, after a few clips that do not
count, which also tells the memory. What is compared takes turns for ``--repeats`` rounds, and the
median counts; only fits with default parameters, which take minutes, are measured once. The clips
are WAV files of synthetic notes, or those of a folder. Writes throughput.json and throughput.png
to benchmarks/results, and without the processor, which then gives the floor alone, and without
growth, throughput_gpu.json::

    python benchmarks/throughput.py
    python benchmarks/throughput.py --devices cuda --clips 1000
    python benchmarks/throughput.py --data FOLDER --peers
    python benchmarks/throughput.py --table
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import _peers
import joblib
import numpy as np
import soundfile
import torch
from _common import (
    NOTHING_STORED,
    README,
    ROOT,
    Marked,
    Record,
    environment,
    head,
    line,
    made_by,
    read_json,
    write_json,
)
from _peer_worker import peak_memory

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder
from audiorep.datasets import load_audio_folder, make_instrument_notes
from audiorep.nn import LogMel

RESULT = ROOT / "benchmarks" / "results" / "throughput.json"
RESULT_OF_GPU = RESULT.with_name("throughput_gpu.json")
FIGURE = RESULT.with_suffix(".png")
PLACE = Marked("<!-- throughput: begin -->", "<!-- throughput: end -->")
COMMAND = "python benchmarks/throughput.py"

FLOOR = "files, one mel spectrogram"
ENCODERS = {"contrastive": ContrastiveAudioEncoder, "VQ-transformer": VQTransformerEncoder}
PER_CALL = (1, 8, 64)
BATCH_SIZES = (32, 64, 128)
PRECISIONS = ("float32", "bfloat16")
N_EPOCHS = 4
FACTORS = (1, 2, 4, 8)  # by which clips become more, and longer
SAMPLE_RATE = 16000
TASKS = {"transform": "transform", "fit": "fit of one epoch"}  # of what grows


class Job(NamedTuple):
    """One thing to measure."""

    part: str  # of the report
    row: str
    task: str  # transform or fit
    clips: str  # which files
    n_clips: int
    threads: int = 1
    device: str = "cpu"
    per_call: int | None = None  # clips; None means all at once
    parameters: dict[str, Any] | None = None  # of a fit

    @property
    def once(self) -> bool:
        """Whether one round is enough."""
        return self.part == "fit"


# ---------------------------------------------------------------------- what to measure


def jobs(options: argparse.Namespace) -> list[Job]:
    """Return all that is measured, in the order of a round."""
    n = options.clips
    found = []
    if "cpu" not in options.devices:
        found.append(Job("transform", FLOOR, "transform", "main", n, options.threads[0]))
    for device in options.devices:
        rows = [FLOOR, *ENCODERS, *options.peers] if device == "cpu" else list(ENCODERS)
        # With a number of threads that the floor was measured with, too.
        for threads in options.threads if device == "cpu" else options.threads[:1]:
            places = "main", n, threads, device
            found += [Job("transform", row, "transform", *places) for row in rows]
            found += [Job("fit", row, "fit", *places) for row in ENCODERS]
    first = options.devices[0]
    for row in ENCODERS:
        found += [
            Job("calls", row, "transform", "main", n, device=first, per_call=per_call)
            for per_call in PER_CALL
        ]
        variants = [{"batch_size": size} for size in BATCH_SIZES]
        variants += [{"precision": precision} for precision in PRECISIONS]
        found += [
            Job("batches", row, "fit", "1", n, 1, first, None, {"n_epochs": N_EPOCHS, **variant})
            for variant in variants
        ]
    if first != "cpu":
        return found
    for factor in FACTORS:
        for row, task in GROWING:
            parameters = {"n_epochs": 1} if task == "fit" else None
            few = n * factor // FACTORS[-1]
            found.append(Job("number", row, task, "main", few, parameters=parameters))
            found.append(Job("length", row, task, str(factor), n // 2, parameters=parameters))
    return found


GROWING = [
    (FLOOR, "transform"),
    *((row, "transform") for row in ENCODERS),
    *((row, "fit") for row in ENCODERS),
]


def write_notes(folder: Path, n_clips: int, duration: float) -> list[str]:
    """Write synthetic notes as WAV files and return their paths."""
    folder.mkdir(parents=True)
    notes = make_instrument_notes(
        n_clips, duration=duration, sample_rate=SAMPLE_RATE, random_state=0
    )
    paths = [str(folder / f"{i}.wav") for i in range(n_clips)]
    for path, waveform in zip(paths, notes.data, strict=True):
        soundfile.write(path, waveform, SAMPLE_RATE)
    return paths


def clip_files(folder: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the files of each kind of clips: the main ones, and notes by their seconds."""
    found = {
        str(factor): write_notes(folder / str(factor), options.clips, factor) for factor in FACTORS
    }
    if options.data is None:
        main = write_notes(folder / "main", options.clips, options.duration)
    else:
        main = [str(path) for path in load_audio_folder(options.data).data][: options.clips]
    if len(main) < options.clips:
        raise ValueError(f"{options.data} has {len(main)} clips; use --clips {len(main)} or fewer.")
    return {**found, "main": main}


# ---------------------------------------------------------------------- measuring


def run(options: argparse.Namespace) -> Record:
    """Measure everything, in rounds."""
    wanted = jobs(options)
    found: dict[int, list[Record]] = {i: [] for i in range(len(wanted))}
    left_out: list[str] = []  # peers that failed
    with tempfile.TemporaryDirectory() as name:
        files = clip_files(Path(name), options)
        saved = save_encoders(Path(name), files["main"])
        for turn in range(options.repeats):
            for i, job in enumerate(wanted):
                if (turn and job.once) or job.row in left_out:
                    continue
                try:
                    found[i].append(measured(job, files[job.clips][: job.n_clips], saved, options))
                    shown = f"{job.part}, {job.row}, {job.task}: {found[i][-1]['seconds']:.2f} s"
                except _peers.PeerError as error:
                    left_out.append(job.row)
                    shown = f"{job.row} failed and is left out: {error}"
                print(f"round {turn + 1}, {i + 1}/{len(wanted)}: {shown}", file=sys.stderr)
        durations = [soundfile.info(path).duration for path in files["main"]]
    return {
        "source": "synthetic notes" if options.data is None else options.data.name,
        "sizes": sizes(options),
        "n_clips": options.clips,
        "clip_seconds": float(np.mean(durations)),
        "results": [
            {
                **job._asdict(),
                "seconds": [record["seconds"] for record in found[i]],
                "peak_memory": max(record["peak_memory"] for record in found[i]),
            }
            for i, job in enumerate(wanted)
            if job.row not in left_out
        ],
        "left_out": left_out,
        "peer_versions": {
            name: version
            for records in found.values()
            if records
            for name, version in records[0].get("peer_versions", {}).items()
            if name != "numpy"
        },
        **environment(),
    }


def sizes(options: argparse.Namespace) -> list[str]:
    """Return the arguments that say how much is measured."""
    threads = map(str, options.threads)
    counts = ["--clips", str(options.clips), "--repeats", str(options.repeats)]
    of_gpu = ["--devices", *options.devices] if options.devices[0] != "cpu" else []
    return [*counts, "--threads", *threads, *of_gpu]


def save_encoders(folder: Path, files: list[str]) -> dict[str, str]:
    """Save fitted encoders: time does not depend on what the weights are."""
    saved = {}
    for row, kind in ENCODERS.items():
        saved[row] = str(folder / f"{row}.joblib")
        joblib.dump(kind(n_epochs=0, device="cpu", random_state=0).fit(files), saved[row])
    return saved


def measured(
    job: Job, files: list[str], saved: dict[str, str], options: argparse.Namespace
) -> Record:
    """Return the seconds and the memory of one job, done in a process of its own."""
    if job.row in _peers.PEERS:
        facts = _peers.extract(job.row, files, [], options.cache, n_threads=job.threads).facts
        return {**facts, "seconds": facts["transform_seconds"]}
    described = {**job._asdict(), "files": files, "encoder": saved.get(job.row)}
    done = subprocess.run(
        [sys.executable, __file__, "--measure"],
        input=json.dumps(described),
        env={**os.environ, **_peers.threads(job.threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def measure(job: Record) -> Record:
    """Return the seconds and the memory of a job, in this process."""
    torch.set_num_threads(job["threads"])
    first = {"parameters": {"n_epochs": 1}, "files": job["files"][:4]}
    work_of({**job, **first})()  # what is set up once does not count
    work = work_of(job)
    started = time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - started, "peak_memory": peak_memory()}


def work_of(job: Record) -> Callable[[], Any]:
    """Return the function that is measured."""
    files = job["files"]
    if job["row"] == FLOOR:
        return lambda: read_and_see(files)
    if job["task"] == "fit":
        parameters = {"random_state": 0, "device": job["device"], **(job["parameters"] or {})}
        encoder = ENCODERS[job["row"]](**parameters)
        return lambda: encoder.fit(files)
    encoder = joblib.load(job["encoder"]).set_params(device=job["device"])
    size = job["per_call"] or len(files)
    return lambda: [encoder.transform(files[i : i + size]) for i in range(0, len(files), size)]


def read_and_see(files: Iterable[str]) -> None:
    """Read files, and compute one log-mel spectrogram of each."""
    log_mel = LogMel()
    with torch.inference_mode():
        for path in files:
            waveform, _ = soundfile.read(path, dtype="float32", always_2d=True)
            log_mel(torch.from_numpy(waveform.mean(axis=1)))


# ---------------------------------------------------------------------- the table and the figure


def rate(result: Record) -> float:
    """Return the clips per second of a result, by the median of its rounds."""
    return result["n_clips"] / float(np.median(result["seconds"]))


def title(row: str) -> str:
    """Return what a row is called."""
    return _peers.PEERS[row].title if row in _peers.PEERS else row


def of_part(found: Record, part: str) -> list[Record]:
    """Return the results of one part of the report."""
    return [result for result in found["results"] if result["part"] == part]


def render(result: Path = RESULT, of_gpu: Path = RESULT_OF_GPU) -> str:
    """Return the README's tables, made from the stored results alone."""
    texts = [_tables(found) for path in (result, of_gpu) if (found := read_json(path))]
    return "\n\n".join(texts) or NOTHING_STORED


def _tables(found: Record) -> str:
    blocks = [speed_table(found, part) for part in ("transform", "fit")]
    blocks += [
        wide_table(found, "calls", "clips per second, by clips per call", _calls),
        wide_table(found, "batches", "clips per second of fit, four epochs", _variant),
    ]
    if of_part(found, "number"):
        blocks.append(growth_table(found))
    return "\n\n".join([*("\n".join(block) for block in blocks), _legend(found)])


def speed_table(found: Record, part: str) -> list[str]:
    """Return the table of one task: a line for each row, device and number of threads."""
    floors = {r["threads"]: r for r in of_part(found, "transform") if r["row"] == FLOOR}
    columns = ["clips/s", "hours of audio/s", "memory, MB"]
    columns += ["time, floor = 1"] if part == "transform" else ["seconds"]
    lines = head([part, "device", "threads", *columns], n_left=2)
    for result in of_part(found, part):
        ratios = np.divide(
            result["seconds"], floors[result["threads"]]["seconds"][: len(result["seconds"])]
        )
        last = np.median(ratios if part == "transform" else result["seconds"])
        hours = rate(result) * found["clip_seconds"] / 3600
        cells = [f"{rate(result):.1f}", f"{hours:.4f}", f"{result['peak_memory']:.0f}"]
        where = [title(result["row"]), result["device"], str(result["threads"])]
        lines.append(line([*where, *cells, f"{last:.1f}"]))
    return lines


def wide_table(found: Record, part: str, corner: str, column: Callable[[Record], str]) -> list[str]:
    """Return a table with a column for each variant of the encoders' work."""
    results = of_part(found, part)
    columns = list(dict.fromkeys(column(result) for result in results))
    lines = head([corner, *columns])
    for row in ENCODERS:
        cells = {column(r): f"{rate(r):.1f}" for r in results if r["row"] == row}
        lines.append(line([row, *(cells.get(name, "") for name in columns)]))
    return lines


def _calls(result: Record) -> str:
    return str(result["per_call"])


def _variant(result: Record) -> str:
    (text,) = (
        f"{name} {value}" for name, value in result["parameters"].items() if name != "n_epochs"
    )
    return text


def curves(found: Record, part: str) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """Return how seconds grow: for each row and task, how much there is, and the seconds."""
    lines: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for result in of_part(found, part):
        amounts, seconds = lines.setdefault((result["row"], result["task"]), ([], []))
        amounts.append(float(result["n_clips"] if part == "number" else result["clips"]))
        seconds.append(float(np.median(result["seconds"])))
    return lines


def growth_table(found: Record) -> list[str]:
    """Return the table of how many times longer more, and longer, clips take."""
    grown = {
        part: {name: (x[-1] / x[0], y[-1] / y[0]) for name, (x, y) in curves(found, part).items()}
        for part in ("number", "length")
    }
    (more, *_), (longer, *_) = (list(of_part.values()) for of_part in grown.values())
    titles = [f"{more[0]:.1f} times as many clips", f"{longer[0]:.1f} times as long clips"]
    lines = head(["time grows by the factor, with", *titles])
    for row, task in GROWING:
        lines.append(
            line(
                [
                    f"{row}, {TASKS[task]}",
                    *(f"{of_part[row, task][1]:.1f}" for of_part in grown.values()),
                ]
            )
        )
    return lines


def _legend(found: Record) -> str:
    rounds = max(len(result["seconds"]) for result in found["results"])
    growth = bool(of_part(found, "number"))
    where = {result["device"] for result in of_part(found, "calls")} - {"cpu"} or {"the processor"}
    peers = ", ".join(f"{name} {version}" for name, version in found["peer_versions"].items())
    return (
        f"{found['n_clips']} clips of {found['clip_seconds']:.1f} s on average, "
        f"{found['source']}, as files; clips per call, batch sizes{' and growth' * growth} with "
        f"one thread on {', '.join(where)}. Every figure from a process of its own, after a few "
        f"clips that do not count; the median of {rounds} rounds in which all took turns, but fits "
        "with default parameters once. Four epochs: of clips of 1 s, reading and read-out "
        f"included. Memory: the most that the process held. Peers: {peers or 'none'}; failed: "
        f"{', '.join(map(title, found['left_out'])) or 'none'}.\n\n"
        + made_by(f"`{' '.join([COMMAND, *found['sizes']])}` and `{COMMAND} --table`", [found])
    )


def draw(found: Record, path: Path) -> None:
    """Draw how cost grows with the number and the length of clips."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    labels = {"number": "clips", "length": "seconds of each clip"}
    for ax, (part, label) in zip(axes, labels.items(), strict=True):
        for row in (FLOOR, *ENCODERS):
            color = f"C{[FLOOR, *ENCODERS].index(row)}"
            for (name, task), points in curves(found, part).items():
                if name == row:
                    style = "o-" if task == "transform" else "o--"
                    ax.plot(*points, style, color=color, label=f"{row}, {TASKS[task]}")
        ax.set(xlabel=label, ylabel="seconds", xlim=(0, None), ylim=(0, None))
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    cores = joblib.cpu_count()
    add("--data", type=Path, help="folder of clips, as load_audio_folder reads them")
    add("--clips", type=int, default=200, help="how many (default: 200)")
    add("--duration", type=float, default=5.0, help="seconds of a synthetic clip (default: 5)")
    add("--repeats", type=int, default=3, help="rounds (default: 3)")
    add("--threads", type=int, nargs="+", default=sorted({1, min(2, cores)}), metavar="N")
    devices = ["cpu", *["cuda"] * torch.cuda.is_available()]
    add("--devices", nargs="+", choices=("cpu", "cuda"), default=devices)
    add("--peers", nargs="*", choices=list(_peers.PEERS), default=["mfcc", "egemaps"])
    add("--cache", type=Path, default=_peers.CACHE, help="folder for the peers' environments")
    add("--table", action="store_true", help="run nothing; write the README's tables")
    add("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(json.load(sys.stdin))))
    elif options.table:
        PLACE.write(README, render())
    else:
        if options.clips < 2 * FACTORS[-1]:
            parser.error(f"--clips {options.clips}: at least {2 * FACTORS[-1]}, to see growth")
        found = run(options)
        if options.devices[0] == "cpu":
            write_json(RESULT, found)
            draw(found, FIGURE)
        else:
            write_json(RESULT_OF_GPU, found)
        print(_tables(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
