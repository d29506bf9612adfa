"""How fast are the encoders, beside peers and beside the floor, and how does cost grow?

The floor is what no feature from a spectrogram can do without: reading the files with soundfile,
and one log-mel spectrogram of each, by audiorep's own front end. Measured are

- `transform`, from files to features: by threads, devices, and clips per call; beside the floor,
  and beside librosa's MFCC statistics and openSMILE's eGeMAPS, in environments that `peers.py`
  would make, too; and of eight times as many files, shared among threads or among processes;
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
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import _peers
import joblib
import numpy as np
import soundfile
import torch
from _common import NOTHING_STORED, README, ROOT, Marked, Record, environment, read_json, write_json
from _peer_worker import peak_memory
from _throughput_tables import ENCODERS, FLOOR, GROWING, draw, tables

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder
from audiorep.datasets import load_audio_folder, make_instrument_notes
from audiorep.nn import LogMel

RESULT = ROOT / "benchmarks" / "results" / "throughput.json"
RESULT_OF_GPU = RESULT.with_name("throughput_gpu.json")
FIGURE = RESULT.with_suffix(".png")
PLACE = Marked("<!-- throughput: begin -->", "<!-- throughput: end -->")

KINDS = dict(zip(ENCODERS, (ContrastiveAudioEncoder, VQTransformerEncoder), strict=True))
PER_CALL = (1, 8, 64)
BATCH_SIZES = (32, 64, 128)
PRECISIONS = ("float32", "bfloat16")
N_EPOCHS = 4
FACTORS = (1, 2, 4, 8)  # by which clips become more, and longer
MANY = 8  # times as many files are shared among processes: each of the main ones so often
SAMPLE_RATE = 16000


class Job(NamedTuple):
    """One thing to measure."""

    part: str  # of the report
    row: str
    task: str  # transform or fit
    clips: str  # which files
    n_clips: int
    threads: int = 1
    processes: int = 1  # of one thread each, if there are several
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
            places = "main", n, threads, 1, device
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
            Job(
                *("batches", row, "fit", "1", n),
                device=first,
                parameters={"n_epochs": N_EPOCHS, **variant},
            )
            for variant in variants
        ]
    if first != "cpu":
        return found
    n_cores = max(options.threads)
    for threads, processes in ((n_cores, 1), (1, n_cores)) if n_cores > 1 else ():
        found += [
            Job("processes", row, "transform", "main", MANY * n, threads, processes)
            for row in (FLOOR, *ENCODERS)
        ]
    for factor in FACTORS:
        for row, task in GROWING:
            parameters = {"n_epochs": 1} if task == "fit" else None
            few = n * factor // FACTORS[-1]
            found.append(Job("number", row, task, "main", few, parameters=parameters))
            found.append(Job("length", row, task, str(factor), n // 2, parameters=parameters))
    return found


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


def clip_files(
    folder: Path, options: argparse.Namespace, wanted: Sequence[Job]
) -> dict[str, list[str]]:
    """Return the files of each kind of clips: the main ones, and notes by their seconds."""
    seconds = sorted({job.clips for job in wanted} - {"main"})
    found = {s: write_notes(folder / s, options.clips, float(s)) for s in seconds}
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
        files = clip_files(Path(name), options, wanted)
        saved = save_encoders(Path(name), files["main"])
        for turn in range(options.repeats):
            for i, job in enumerate(wanted):
                if (turn and job.once) or job.row in left_out:
                    continue
                try:
                    clips = list(islice(cycle(files[job.clips]), job.n_clips))
                    found[i].append(measured(job, clips, saved, options))
                    shown = f"{job.part}, {job.row}, {job.task}: {found[i][-1]['seconds']:.2f} s"
                except _peers.PeerError as error:
                    left_out.append(job.row)
                    shown = f"{job.row} failed and is left out: {error}"
                print(f"round {turn + 1}, {i + 1}/{len(wanted)}: {shown}", file=sys.stderr)
        durations = [soundfile.info(path).duration for path in files["main"]]
    made = environment()
    if "cuda" in options.devices:
        made["machine"]["gpu"] = torch.cuda.get_device_name()
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
        **made,
    }


def sizes(options: argparse.Namespace) -> list[str]:
    """Return the arguments that say how much is measured."""
    threads = map(str, options.threads)
    counts = ["--clips", str(options.clips), "--repeats", str(options.repeats)]
    return [*counts, "--threads", *threads, "--devices", *options.devices]


def save_encoders(folder: Path, files: list[str]) -> dict[str, str]:
    """Save fitted encoders: time does not depend on what the weights are."""
    saved = {}
    for row, kind in KINDS.items():
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
    n_first = 4 if job["processes"] == 1 else 64 * job["processes"]
    first = {"parameters": {"n_epochs": 1}, "files": job["files"][:n_first]}
    with joblib.parallel_config(n_jobs=job["processes"]):
        work_of({**job, **first})()  # what is set up once does not count, processes included
        work = work_of(job)
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_memory": peak_memory()}


def work_of(job: Record) -> Callable[[], Any]:
    """Return the function that is measured."""
    files = job["files"]
    if job["row"] == FLOOR:
        if job["processes"] == 1:
            return lambda: read_and_see(files)
        parts = np.array_split(files, 2 * job["processes"])
        return lambda: joblib.Parallel()(joblib.delayed(read_and_see)(part) for part in parts)
    if job["task"] == "fit":
        parameters = {"random_state": 0, "device": job["device"], **(job["parameters"] or {})}
        encoder = KINDS[job["row"]](**parameters)
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


def render(result: Path = RESULT) -> str:
    """Return the README's tables, made from the stored results alone, a GPU's beside `result`."""
    both = (result, result.with_name(RESULT_OF_GPU.name))
    texts = [tables(found) for path in both if (found := read_json(path))]
    return "\n\n".join(texts) or NOTHING_STORED


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
    add("--devices", nargs="+", choices=devices, default=devices)
    add("--peers", nargs="*", choices=list(_peers.PEERS), default=["mfcc", "egemaps"])
    add("--cache", type=Path, default=_peers.CACHE, help="folder for the peers' environments")
    add("--table", action="store_true", help="run nothing; write the README's tables")
    add("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.devices = sorted(set(options.devices))  # the processor comes first
    if options.measure:
        print(json.dumps(measure(json.load(sys.stdin))))
    elif options.table:
        PLACE.write(README, render())
    else:
        if options.devices[0] == "cpu" and options.clips < 2 * FACTORS[-1]:
            parser.error(f"--clips {options.clips}: at least {2 * FACTORS[-1]}, to see growth")
        found = run(options)
        if options.devices[0] == "cpu":
            write_json(RESULT, found)
            draw(found, FIGURE)
        else:
            write_json(RESULT_OF_GPU, found)
        print(tables(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
