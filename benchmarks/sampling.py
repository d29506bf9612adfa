"""How much faster does a key-value cache make drawing codes?

Draws 1,000 codes (250 steps of 4) with the cache, as `VQTransformerEncoder.sample` does, and
without, where every step hears all codes from the beginning again. Codes only: making sound of
them costs the same either way. Both must draw the same codes from the same seed. The weights are
those of the default encoder before training, for time does not depend on them::

    python benchmarks/sampling.py
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audiorep import VQTransformerEncoder
from audiorep._vq_generation import CodeChoice, Listener, generate
from audiorep.datasets import make_instrument_notes


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codes", type=int, default=1000, help="how many to draw")
    parser.add_argument("--repeats", type=int, default=3, help="the median counts")
    options = parser.parse_args(arguments)
    notes = make_instrument_notes(60, random_state=0)
    module = VQTransformerEncoder(n_epochs=0, random_state=0).fit(notes.data).module_
    seconds: dict[type, float] = {}
    drawn: dict[type, Tensor] = {}
    for listener in (Listener, Recomputed):
        runs = [timed_draw(module, listener, options.codes) for _ in range(options.repeats)]
        drawn[listener] = runs[0][0]
        seconds[listener] = statistics.median(run[1] for run in runs)
    same = torch.equal(drawn[Listener], drawn[Recomputed])
    print(f"{options.codes} codes, {len(drawn[Listener].unique())} of them different")
    print(f"with the cache    {seconds[Listener]:7.2f} s")
    print(f"without           {seconds[Recomputed]:7.2f} s")
    print(f"faster by         {seconds[Recomputed] / seconds[Listener]:7.1f} times")
    print(f"the same codes    {'yes' if same else 'NO'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
