"""How fast is training, and where does the time of a fit go?

Two figures, both from one run on the same machine and thread count:

- Views per second of a training step of `ContrastiveAudioEncoder` with default parameters, beside
  those of what research code usually does: a float32 network of three convolutions of 64 channels
  at full resolution, whose views are augmented clip by clip in a Python loop.
- The share of one `fit` that is spent in the network itself, by the standard library's profiler.

What it prints is also written, as JSON, to benchmarks/results/training_speed.json::

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --table
"""

import argparse
import cProfile
import inspect
import itertools
import json
import math
import pstats
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    NOTHING_STORED,
    README,
    ROOT,
    Marked,
    environment,
    head,
    line,
    made_by,
    read_json,
    write_json,
)
from sklearn.base import clone
from torch import Tensor, nn

from audiorep import ContrastiveAudioEncoder
from audiorep._alterations import played_otherwise
from audiorep._contrastive import MAX_TIME_STRETCH, ContrastiveObjective, ConvWindowEncoder
from audiorep._encoder import BaseAudioEncoder
from audiorep._log_mels import LogMels
from audiorep._training import autocast, resolve_precision, seeded
from audiorep.augmentations._views import FrozenChain, make_augmentation
from audiorep.nn import NTXentLoss, ProjectionHead

RESULT = ROOT / "benchmarks" / "results" / "training_speed.json"
PLACE = Marked("<!-- training speed: begin -->", "<!-- training speed: end -->")
COMMAND = "python benchmarks/training_speed.py"
N_CLIPS, SECONDS, SAMPLE_RATE = 320, 5, 16000  # like the training side of a fold of ESC-10
CPU = torch.device("cpu")

# ---------------------------------------------------------------------- the usual way


class FullResolutionNetwork(nn.Module):
    """Three convolutions of 64 channels without stride, averaged over time and frequency."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, 64, 64, 64)
        self.layers = nn.Sequential()
        for n_in, n_out in itertools.pairwise(channels):
            self.layers += nn.Sequential(
                nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()
            )
        self.head = ProjectionHead(64)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return projections of log-mels of shape (batch, n_mels, n_frames)."""
        return self.head(self.layers(log_mel[:, None]).mean((2, 3)))


def one_view(log_mel: Tensor, width: int) -> Tensor:
    """Crop, stretch, shift, filter and mask one clip's log-mel of shape (n_mels, n_frames)."""
    n_mels, n_frames = log_mel.shape
    speed = float(torch.empty(1).uniform_(0.8, 1.25))
    length = min(n_frames, round(width * speed))
    first = int(torch.randint(n_frames - length + 1, ()))
    crop = log_mel[:, first : first + length][None].float()
    view = nn.functional.interpolate(crop, width, mode="linear")[0]
    view = torch.roll(view, int(torch.randint(-3, 4, ())), 0)
    curve = nn.functional.interpolate(torch.randn(1, 1, 6), n_mels, mode="linear")[0, 0]
    view = view + 1.5 * curve[:, None] + 0.5 * torch.randn(())
    view = view + 0.1 * torch.randn_like(view)
    band, frame = int(torch.randint(n_mels - 8, ())), int(torch.randint(width - 10, ()))
    view[band : band + 8] = view.mean()
    view[:, frame : frame + 10] = view.mean()
    return view


def usual_step(log_mels: LogMels, batch_size: int, width: int) -> Callable[[], Any]:
    """Return a function that does one training step the usual way."""
    network, loss = FullResolutionNetwork(), NTXentLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step() -> None:
        chosen = torch.randperm(len(log_mels))[:batch_size].tolist()
        clips = [log_mels.clip(i) for i in chosen] * 2
        projections = network(torch.stack([one_view(clip, width) for clip in clips]))
        value = loss(*projections.chunk(2))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


# ---------------------------------------------------------------------- ours


def our_step(log_mels: LogMels, batch_size: int, width: int) -> Callable[[], Any]:
    """Return a function that does one training step as the encoder's `fit` does."""
    defaults = ContrastiveAudioEncoder()
    encoder = ConvWindowEncoder(defaults.n_mels, width, defaults.width)
    encoder.scaler.set_statistics(*log_mels.mean_and_scale())
    objective = ContrastiveObjective(
        encoder,
        make_augmentation(None),
        defaults.projection_dim,
        defaults.temperature,
        defaults.decoupled,
        defaults.augmentation_awareness,
    )
    batches = log_mels.batches(batch_size, width, n_crops=2, max_time_stretch=MAX_TIME_STRETCH)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    dtype = resolve_precision("auto", CPU)

    def step() -> None:
        batch = next(batches)
        with autocast(dtype, CPU):
            value = objective(*batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(objective.parameters(), math.inf)
        optimizer.step()
        value.item()
        objective.diagnostics()

    return step


def seconds_per_step(steps: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each step, taken in turn after one that does not count."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


# ---------------------------------------------------------------------- one fit


def profile_of_a_fit(waveforms: np.ndarray) -> dict[str, float]:
    """Return the seconds of one fit with default parameters, and of its parts.

    What a process imports when it fits for the first time does not count.
    """
    encoder = ContrastiveAudioEncoder(device="cpu", random_state=0)
    clone(encoder).set_params(n_epochs=1).fit(waveforms[:64])
    profiler = cProfile.Profile()
    profiler.runcall(encoder.fit, waveforms)
    found = pstats.Stats(profiler)
    augmentation = seconds_in(found, FrozenChain.forward)
    return {
        # The objective's forward calls the augmentation, the network, the head and the loss.
        "network in training": seconds_in(found, ContrastiveObjective.forward)
        - augmentation
        + seconds_in(found, Tensor.backward),
        "network for the read-out": seconds_in(found, ConvWindowEncoder.feature_maps),
        "augmentation": augmentation,
        "crops": seconds_in(found, LogMels.random_crops),
        "optimiser": seconds_in(found, torch.optim.AdamW.step),
        "reading, log-mels": seconds_in(found, BaseAudioEncoder._read)
        + seconds_in(found, played_otherwise),
        "all": float(found.total_tt),
    }


def seconds_in(found: Any, function: Callable[..., Any]) -> float:
    """Return the seconds that a profile has of a function, with all that it calls."""
    code = inspect.unwrap(function).__code__
    cumulative = 3  # after two counts of calls, and the time in the function alone
    return float(found.stats[code.co_filename, code.co_firstlineno, code.co_name][cumulative])


# ---------------------------------------------------------------------- the table


def render(result: Path = RESULT) -> str:
    """Return the README's tables, made from the stored result alone."""
    found = read_json(result)
    if found is None:
        return NOTHING_STORED
    rates, parts = found["views_per_second"], dict(found["fit_seconds"])
    lines = head(["a training step", "views per second"])
    lines.append(line(["full resolution, views clip by clip", f"{rates['usual']:.0f}"]))
    lines.append(line(["contrastive, default parameters", f"{rates['ours']:.0f}"]))
    lines += ["", *head(["where the time of one fit goes", "seconds", "share"])]
    whole = parts.pop("all")
    parts["else"] = whole - sum(parts.values())
    lines += [line([n, f"{s:.1f}", f"{100 * s / whole:.1f} %"]) for n, s in parts.items()]
    legend = (
        f"Faster by {found['ratio']:.1f} times, {found['threads']} thread"
        f"{'s' * (found['threads'] > 1)}, {found['precision'].removeprefix('torch.')}. Of the "
        f"{whole:.1f} s of a fit {100 * found['share_of_network']:.1f} % are the network's."
    )
    return "\n".join(
        [*lines, "", legend, "", made_by(f"`{COMMAND}` and `{COMMAND} --table`", [found])]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="steps of each kind (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--table", action="store_true", help="measure nothing; write the tables")
    options = parser.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    torch.set_num_threads(options.threads)
    waveforms = np.random.default_rng(0).normal(0, 0.1, (N_CLIPS, SECONDS * SAMPLE_RATE))
    defaults = ContrastiveAudioEncoder()
    with seeded(0, torch.device("cpu")):
        frames = SECONDS * SAMPLE_RATE // defaults.hop_length
        log_mels = LogMels([[torch.randn(defaults.n_mels, frames)] for _ in range(N_CLIPS)])
        batches = (log_mels, defaults.batch_size, defaults.window_frames)
        seconds = seconds_per_step(
            {"ours": our_step(*batches), "usual": usual_step(*batches)}, options.repeats
        )
    parts = profile_of_a_fit(waveforms.astype(np.float32))
    n_views = 2 * defaults.batch_size
    network = parts["network in training"] + parts["network for the read-out"]
    result = {
        "views_per_second": {name: n_views / value for name, value in seconds.items()},
        "ratio": seconds["usual"] / seconds["ours"],
        "fit_seconds": parts,
        "share_of_network": network / parts["all"],
        "threads": options.threads,
        "precision": str(resolve_precision("auto", CPU)),
        **environment(),
    }
    write_json(RESULT, result)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
