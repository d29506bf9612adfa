"""How much faster does a key-value cache make drawing codes?

Draws 1,000 codes (250 steps of 4) with the cache, as `VQTransformerEncoder.sample` does, and
without, where every step hears all codes from the beginning again. Codes only: making sound of
them costs the same either way. Both must draw the same codes from the same seed. The weights are
those of the default encoder before training, for time does not depend on them. The result is
written, as JSON, to benchmarks/results/sampling.json::

    python benchmarks/sampling.py
    python benchmarks/sampling.py --table
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from torch import Tensor

from audiorep import VQTransformerEncoder
from audiorep._vq_generation import CodeChoice, Listener, generate
from audiorep.datasets import make_instrument_notes

RESULT = ROOT / "benchmarks" / "results" / "sampling.json"
PLACE = Marked("<!-- sampling: begin -->", "<!-- sampling: end -->")
COMMAND = "python benchmarks/sampling.py"


class Recomputed:
    """Hears all codes from the beginning at each step: the naive twin of `Listener`."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.heard: Tensor | None = None

    def __call__(self, newest: Tensor) -> Tensor:
        """Return the state after all codes so far, of shape (batch, 1, dim)."""
        self.heard = newest if self.heard is None else torch.cat((self.heard, newest), dim=1)
        return self.module.code_states(self.heard)[:, -1:]


def timed_draw(
    module: torch.nn.Module, listener: Callable[..., Callable[[Tensor], Tensor]], n_codes: int
) -> tuple[Tensor, float]:
    """Draw `n_codes` codes, and return them and the seconds that it took."""
    nothing = torch.zeros((1, 0, module.n_bands), dtype=torch.int64)
    choose = CodeChoice(1.0, None, torch.Generator().manual_seed(0))
    started = time.perf_counter()
    with torch.inference_mode():
        codes = generate(module, nothing, n_codes // module.n_bands, choose, listener(module))
    return codes, time.perf_counter() - started


def run(n_codes: int, n_repeats: int) -> dict[str, Any]:
    """Draw codes in both ways, in turn, and return what it took."""
    notes = make_instrument_notes(60, random_state=0)
    module = VQTransformerEncoder(n_epochs=0, random_state=0).fit(notes.data).module_
    listeners = {"with the cache": Listener, "without": Recomputed}
    seconds: dict[str, list[float]] = {name: [] for name in listeners}
    drawn: dict[str, Tensor] = {}
    for _ in range(n_repeats):
        for name, listener in listeners.items():
            drawn[name], duration = timed_draw(module, listener, n_codes)
            seconds[name].append(duration)
    medians = {name: statistics.median(durations) for name, durations in seconds.items()}
    return {
        "n_codes": n_codes,
        "n_different": len(drawn["without"].unique()),
        "n_repeats": n_repeats,
        "seconds": medians,
        "ratio": medians["without"] / medians["with the cache"],
        "same": torch.equal(*drawn.values()),
        "threads": torch.get_num_threads(),
        **environment(),
    }


def render(result: Path = RESULT) -> str:
    """Return the README's table, made from the stored result alone."""
    found = read_json(result)
    if found is None:
        return NOTHING_STORED
    lines = head([f"drawing {found['n_codes']} codes", "seconds"])
    lines += [line([name, f"{value:.2f}"]) for name, value in found["seconds"].items()]
    legend = (
        f"Faster by {found['ratio']:.1f} times; the codes are "
        f"{'the same' if found['same'] else 'NOT the same'}, {found['n_different']} of them "
        f"different. Median of {found['n_repeats']}, {found['threads']} "
        f"thread{'s' * (found['threads'] > 1)}."
    )
    return "\n".join(
        [*lines, "", legend, "", made_by(f"`{COMMAND}` and `{COMMAND} --table`", [found])]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the status is 1 when the codes differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codes", type=int, default=1000, help="how many to draw")
    parser.add_argument("--repeats", type=int, default=3, help="the median counts")
    parser.add_argument("--table", action="store_true", help="run nothing; write the table")
    options = parser.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    result = run(options.codes, options.repeats)
    write_json(RESULT, result)
    print(render(RESULT))
    return 0 if result["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
