"""What does each part of ContrastiveAudioEncoder bring? One thing is changed at a time.

Every row is the encoder with default parameters but for one part. A row's score is the mean over
the folds that were run; the last column is the mean over the sets, less that of the defaults.
What the classes below do is not part of the key that results are stored under: to change one means
to delete its results. Every result is stored in benchmarks/results/ablation as soon as it is
there::

    python benchmarks/ablation.py --sets esc10 fsdd drums --folds 2 s2
    python benchmarks/ablation.py --table
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    Marked,
    Rows,
    commit,
    head,
    line,
    made_by,
    metric_name,
    names_of,
    parser,
    set_arguments,
    stored,
)
from torch import Tensor

from audiorep import ContrastiveAudioEncoder
from audiorep._contrastive import ConvWindowEncoder
from audiorep._readout import ReadOut
from audiorep.augmentations import (
    BackgroundMixing,
    RandomEqualizer,
    RandomResample,
    StyleMixing,
    ViewAugmentation,
)
from audiorep.evaluation import ResultStore, linear_evaluation
from audiorep.evaluation._result import CHANCE
from audiorep.nn import WindowEncoder

RESULTS = ROOT / "benchmarks" / "results" / "ablation"
PLACE = Marked("<!-- ablation: begin -->", "<!-- ablation: end -->")
COMMAND = "python benchmarks/ablation.py"
DEFAULTS = "defaults"
FOLDS = ("2", "s2")  # one a set; the defaults were chosen by looking at others too


class StandardisedStatistics(ContrastiveAudioEncoder):
    """The read-out leaves the spread along principal axes as it is."""

    def _make_readout(self) -> ReadOut:
        return ReadOut(power=0.0)


class WhitenedStatistics(ContrastiveAudioEncoder):
    """The read-out makes the spread along all principal axes equal."""

    def _make_readout(self) -> ReadOut:
        return ReadOut(power=1.0)


class WholeClipMeans(ContrastiveAudioEncoder):
    """Means over the whole clip instead of its thirds."""

    _n_parts = 1


class DeepestMap(ConvWindowEncoder):
    """Features of the deepest stage alone."""

    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return the last map only."""
        return super().feature_maps(log_mel, n_valid)[-1:]


class DeepestOnly(ContrastiveAudioEncoder):
    """Features of the deepest stage alone."""

    @staticmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        return DeepestMap(**settings)


def _views_without(kind: type) -> list[Any]:
    return [part for part in ViewAugmentation() if not isinstance(part, kind)]


def entries() -> dict[str, Any]:
    """Return the encoder with default parameters, and its variants; no name has a comma."""
    encoder = ContrastiveAudioEncoder
    return {
        DEFAULTS: encoder(),
        "random weights": encoder(n_epochs=0),
        "crops only": encoder(augmentation=[]),
        "without pitch shift": encoder(augmentation=_views_without(RandomResample)),
        "without equaliser": encoder(augmentation=_views_without(RandomEqualizer)),
        "without background": encoder(augmentation=_views_without(BackgroundMixing)),
        "with style mixing": encoder(augmentation=[*ViewAugmentation(), StyleMixing()]),
        "temperature 0.5": encoder(temperature=0.5),
        "NT-Xent not decoupled": encoder(decoupled=False),
        "width 64": encoder(width=64),
        "deepest stage only": DeepestOnly(),
        "means of the whole clip": WholeClipMeans(),
        "principal axes not levelled": StandardisedStatistics(),
        "principal axes whitened": WhitenedStatistics(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    command_line = parser(__doc__, ("esc10", "fsdd", "drums", "instruments", "ravdess"))
    options = command_line.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    options.folds = options.folds or list(FOLDS)
    encoders = chosen_entries(names_of(options.encoders))
    for name in options.sets:
        run(name, encoders, options)
    return 0


def chosen_entries(names: Sequence[str] | None) -> dict[str, Any]:
    """Return the rows of these names, or all."""
    found = entries()
    for name in names or ():
        if name not in found:
            raise ValueError(f"There is no row {name!r}; choose among {', '.join(found)}.")
    return {name: encoder for name, encoder in found.items() if names is None or name in names}


def run(name: str, encoders: dict[str, Any], options: argparse.Namespace) -> None:
    """Evaluate on one set, store every result, print the table."""
    arguments = set_arguments(name, options)
    if arguments is None:
        return
    result = linear_evaluation(
        encoders,
        **arguments,
        random_states=range(options.seeds),
        n_jobs=options.jobs,
        store=ResultStore(RESULTS / f"{name}.jsonl", notes={"commit": commit()}),
        verbose=1,
    )
    print(f"\n{DATA_SETS[name].title}\n\n{result}\n", flush=True)


# ---------------------------------------------------------------------- the table


def render(results: Path = RESULTS) -> str:
    """Return the README's table, made from stored results alone."""
    found = stored(results)
    if not found:
        return NOTHING_STORED
    titles = [f"{DATA_SETS[name].title}, {metric_name(name)}" for name in found]
    lines = head(["ContrastiveAudioEncoder", *titles, "mean, less that of the defaults"])
    base = _scores(found, DEFAULTS)
    for row in entries():
        scores = _scores(found, row)
        cells = ["" if score is None else f"{score:.1f}" for score in scores]
        lines.append(line([row, *cells, _difference(row, scores, base)]))
    records = [r for rows in found.values() for row in rows.values() for r in row]
    folds = sorted({record["fold"] for record in records})
    seeds = sorted({r["seed"] for r in records if r["encoder"] != CHANCE})
    remarks = (
        f"Linear evaluation as above, but of the folds {', '.join(folds)} only, seeds "
        f"{', '.join(map(str, seeds))}. One fold is a small sample: differences below about two "
        "points are noise."
    )
    return "\n".join(
        [*lines, "", remarks, "", made_by(f"`{COMMAND}` and `{COMMAND} --table`", records)]
    )


def _scores(found: dict[str, Rows], row: str) -> list[float | None]:
    """Return the mean score of a row on every set, in percent."""
    return [
        100 * float(np.mean([record[DATA_SETS[name].metric] for record in rows[row]]))
        if row in rows
        else None
        for name, rows in found.items()
    ]


def _difference(row: str, scores: list[float | None], base: list[float | None]) -> str:
    pairs = [(a, b) for a, b in zip(scores, base, strict=True) if a is not None and b is not None]
    if row == DEFAULTS or not pairs:
        return ""
    return f"{np.mean([a - b for a, b in pairs]):+.1f}"


if __name__ == "__main__":
    sys.exit(main())
