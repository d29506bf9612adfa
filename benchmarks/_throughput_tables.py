"""The tables and the picture that throughput.py makes of what it measured."""

from collections.abc import Callable, Sequence
from pathlib import Path

import _peers
import numpy as np
from _common import Record, head, line, made_by

COMMAND = "python benchmarks/throughput.py"
FLOOR = "files, one mel spectrogram"
ENCODERS = ("contrastive", "VQ-transformer")
TASKS = {"transform": "transform", "fit": "fit of one epoch"}  # of what grows
GROWING = [
    (FLOOR, "transform"),
    *((row, "transform") for row in ENCODERS),
    *((row, "fit") for row in ENCODERS),
]


def tables(found: Record) -> str:
    """Return the tables of one run, and what is to be known of it."""
    blocks = [speed_table(found, part) for part in ("transform", "fit")]
    blocks += [
        wide_table(found, "calls", "clips per second, by clips per call", _calls),
        wide_table(found, "batches", "clips per second of fit, four epochs", _variant),
    ]
    if many := of_part(found, "processes"):
        corner = f"clips per second, of {many[0]['n_clips']} clips"
        blocks.append(wide_table(found, "processes", corner, _sharing, (FLOOR, *ENCODERS)))
    if of_part(found, "number"):
        blocks.append(growth_table(found))
    return "\n\n".join([*("\n".join(block) for block in blocks), _legend(found)])


def rate(result: Record) -> float:
    """Return the clips per second of a result, by the median of its rounds."""
    return result["n_clips"] / float(np.median(result["seconds"]))


def title(row: str) -> str:
    """Return what a row is called."""
    return _peers.PEERS[row].title if row in _peers.PEERS else row


def of_part(found: Record, part: str) -> list[Record]:
    """Return the results of one part of the report."""
    return [result for result in found["results"] if result["part"] == part]


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


def wide_table(
    found: Record,
    part: str,
    corner: str,
    column: Callable[[Record], str],
    rows: Sequence[str] = ENCODERS,
) -> list[str]:
    """Return a table with a column for each variant of the same work."""
    results = of_part(found, part)
    columns = list(dict.fromkeys(column(result) for result in results))
    lines = head([corner, *columns])
    for row in rows:
        cells = {column(r): f"{rate(r):.1f}" for r in results if r["row"] == row}
        lines.append(line([row, *(cells.get(name, "") for name in columns)]))
    return lines


def _calls(result: Record) -> str:
    return str(result["per_call"])


def _sharing(result: Record) -> str:
    kind = "threads" if result["processes"] == 1 else "processes"
    return f"{result[kind]} {kind}"


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
    compared = ", batch sizes and growth" if of_part(found, "number") else " and batch sizes"
    devices = {result["device"] for result in of_part(found, "calls")}
    where = "the GPU" if "cuda" in devices else "the processor"
    many = of_part(found, "processes")
    shared = (
        f" Of {many[0]['n_clips']} clips: each {many[0]['n_clips'] // found['n_clips']} times; "
        "processes have one thread each, and had been started."
        if many
        else ""
    )
    apart = ", a GPU's left out" if "cuda" in devices else ""
    peers = ", ".join(f"{name} {version}" for name, version in found["peer_versions"].items())
    return (
        f"{found['n_clips']} clips of {found['clip_seconds']:.1f} s on average, "
        f"{found['source']}, as files; clips per call{compared} with one thread on {where}. "
        "Every figure from a process of its own, after a few clips that do not count; the median "
        f"of {rounds} rounds in which all took turns, but fits with default parameters once; of "
        "times beside the floor, the median of what each round had. Four "
        f"epochs: of clips of 1 s, reading and read-out included.{shared} Memory: the most "
        f"that the process held{apart}. Peers: {peers or 'none'}; failed: "
        f"{', '.join(map(title, found['left_out'])) or 'none'}.\n\n"
        + made_by(f"`{' '.join([COMMAND, *found['sizes']])}` and `{COMMAND} --table`", [found])
    )


def draw(found: Record, path: Path) -> None:
    """Draw how cost grows with the number and the length of clips."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    labels = {"number": "clips", "length": "seconds of each clip"}
    for ax, (part, label) in zip(axes, labels.items(), strict=True):
        for row in (FLOOR, *ENCODERS):
            color = f"C{[FLOOR, *ENCODERS].index(row)}"
            for (name, task), points in curves(found, part).items():
                if name == row:
                    style = "o-" if task == "transform" else "o--"
                    ax.plot(*points, style, color=color, label=f"{row}, {TASKS[task]}")
        ax.set(xlabel=label, ylabel="seconds", xlim=(0, None), ylim=(0, None))
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
