"""Does the transformer know more of sound than a table of pairs? Bits per code on held-out clips.

For each set the encoder is fitted, with its defaults, on the training clips of a fold. The codes
of the held-out clips are then predicted by

- the encoder: each code from all before it;
- a bigram: each code from the one a step before in the same band. Pairs are counted in the codes
  of the training clips and smoothed in two ways: by adding one to each count, and by adding 20
  codes as they are common. The better way counts, chosen on the held-out clips, in its favour;
- a unigram: how common a code is in its band, one added to each count.

The first step of a clip, which has no past, is predicted by the unigram in both tables. Results are
stored in benchmarks/results/code_likelihood as soon as they are there::

    python benchmarks/code_likelihood.py
    python benchmarks/code_likelihood.py --sets esc10 drums --folds 2 3
    python benchmarks/code_likelihood.py --table
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import (
    DATA_SETS,
    NOTHING_STORED,
    README,
    ROOT,
    SETS,
    Marked,
    commit,
    head,
    line,
    made_by,
)

from audiorep import VQTransformerEncoder
from audiorep.datasets import load_audio_folder
from audiorep.evaluation import ResultStore, protocol_splits
from audiorep.evaluation._environment import machine, versions

RESULTS = ROOT / "benchmarks" / "results" / "code_likelihood"
PLACE = Marked("<!-- code likelihood: begin -->", "<!-- code likelihood: end -->")
COMMAND = "python benchmarks/code_likelihood.py"
COLUMNS = ("encoder", "bigram", "unigram")
PRIOR_STRENGTH = 20.0

Codes = list[npt.NDArray[np.int64]]
Table = npt.NDArray[np.float64]


def unigram(codes: Codes, n_codes: int) -> Table:
    """Return the probability of each code in each band, of shape (n_bands, n_codes)."""
    every = np.concatenate(codes)
    counts = [np.bincount(band, minlength=n_codes) + 1.0 for band in every.T]
    return np.stack([c / c.sum() for c in counts])


def bigrams(codes: Codes, common: Table) -> dict[str, Table]:
    """Return the probability of a code given the one before, for each way to smooth counts.

    The tables have shape (n_bands, n_codes, n_codes): band, code before, code.
    """
    n_bands, n_codes = common.shape
    counts = np.zeros((n_bands, n_codes, n_codes))
    for clip in codes:
        for band in range(n_bands):
            np.add.at(counts[band], (clip[:-1, band], clip[1:, band]), 1.0)
    total = counts.sum(2, keepdims=True)
    interpolated = (counts + PRIOR_STRENGTH * common[:, None]) / (total + PRIOR_STRENGTH)
    return {"add one": (counts + 1) / (total + n_codes), "interpolated": interpolated}


def bits_by_tables(codes: Codes, first: Table, later: Table) -> float:
    """Return the bits per code of clips: their first steps by one table, the others by another.

    `later` has the shape of `bigrams`, or that of `unigram` where the code before does not matter.
    """
    bits, n = 0.0, 0
    band = np.arange(len(first))
    for clip in codes:
        p = later[band, clip[1:]] if later.ndim == 2 else later[band, clip[:-1], clip[1:]]
        bits -= np.log2(first[band, clip[0]]).sum() + np.log2(p).sum()
        n += clip.size
    return float(bits / n)


def evaluate(
    train: Sequence[str], test: Sequence[str], encoder: VQTransformerEncoder
) -> dict[str, Any]:
    """Fit on training clips and return bits per code on held-out clips."""
    started = time.perf_counter()
    encoder.fit(train)
    seconds = time.perf_counter() - started
    known, asked = encoder.tokenize(train), encoder.tokenize(test)
    common = unigram(known, encoder.n_codes)
    pairs = {
        name: bits_by_tables(asked, common, table) for name, table in bigrams(known, common).items()
    }
    return {
        "encoder": float(np.log2(encoder.perplexity(test))),
        "bigram": min(pairs.values()),
        **{f"bigram, {name}": bits for name, bits in pairs.items()},
        "unigram": bits_by_tables(asked, common, common),
        "codes_used": len(np.unique(np.concatenate(asked))),
        "fit_seconds": seconds,
    }


def run(name: str, options: argparse.Namespace) -> None:
    """Evaluate on the folds of one set, and store what comes out."""
    data = load_audio_folder(options.data / DATA_SETS[name].folder)
    splits = protocol_splits(data, DATA_SETS[name].protocol)
    paths = np.asarray(data.data, dtype=object)
    for fold in options.folds or list(splits)[:1]:
        if fold not in splits:
            print(f"{name}: no fold {fold}", file=sys.stderr)
            continue
        train, test = splits[fold]
        encoder = VQTransformerEncoder(device=options.device, random_state=0)
        found = evaluate(list(paths[train]), list(paths[test]), encoder)
        store = ResultStore(RESULTS / f"{name}.jsonl", notes={"commit": commit()})
        record = {"key": f"{name}-{fold}", "set": name, "fold": fold, "seed": 0, **found}
        store.append({**record, "versions": versions(), "machine": machine()})
        shown = ", ".join(f"{column} {found[column]:.2f}" for column in COLUMNS)
        print(f"{name}, fold {fold}, bits per code: {shown}", flush=True)


def render(results: Path = RESULTS) -> str:
    """Return the README's table, made from stored results alone: means over folds."""
    found = {name: ResultStore(results / f"{name}.jsonl").read() for name in SETS}
    every = [record for records in found.values() for record in records]
    if not every:
        return NOTHING_STORED
    lines = head(["bits per code", "folds", *COLUMNS], n_left=2)
    for name, records in found.items():
        if records:
            folds = ", ".join(record["fold"] for record in records)
            means = [np.mean([record[column] for record in records]) for column in COLUMNS]
            lines.append(line([DATA_SETS[name].title, folds, *(f"{mean:.2f}" for mean in means)]))
    legend = (
        "Codes of held-out clips: the fewer bits, the better they are predicted. Encoder: each "
        "code from all before it. Bigram: from the one before it in its band, by counts of pairs. "
        "Unigram: by how common it is."
    )
    return "\n".join([*lines, "", legend, "", made_by(f"`{COMMAND}`", every)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    add("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    add("--folds", nargs="+", metavar="FOLD", help="named after what is held out; default: first")
    add("--device", default="auto")
    add("--table", action="store_true", help="run nothing; write the README's table")
    options = parser.parse_args(arguments)
    if options.table:
        PLACE.write(README, render())
        return 0
    for name in options.sets:
        run(name, options)
    print(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
