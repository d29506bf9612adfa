"""The command line: ``python -m audiorep evaluate [DATA]``."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import audiorep

INTERRUPTED = 130  # what a shell reports after Ctrl-C
_SYNTHETIC_CLIPS = 240
_SYNTHETIC_FOLDS = 3
_SYNTHETIC_EPOCHS = 12  # a first look, in a minute or two


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    arguments : sequence of str, default=None
        Without the program's name. None means those of the process.

    Returns
    -------
    int
        0, or 2 after an error of the user, or 130 after an interrupt.
    """
    options = _parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"audiorep: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audiorep", description="Features for sound, learned without labels."
    )
    parser.add_argument("--version", action="version", version=f"audiorep {audiorep.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    evaluate = commands.add_parser(
        "evaluate",
        help="how good the features are on a data set, beside their controls",
        description=(
            "Fit each encoder on the training clips of every fold, without labels; classify its "
            "features by logistic regression; print accuracy and unweighted average recall on "
            "the test clips, beside those of hand-made features, of untrained networks, and of the "
            "same network trained with labels."
        ),
    )
    add = evaluate.add_argument
    add(
        "data",
        nargs="?",
        metavar="DATA",
        help="folder with a labels.csv (file, label and, optionally, group, split), or with one "
        "folder of audio files per class; left out: synthetic notes of instruments",
    )
    add(
        "--protocol",
        choices=["auto", "folds", "groups", "official"],
        default="auto",
        help="what is held out. folds: each value of the column split in turn; groups: each group "
        "in turn; official: the split 'test', with the split 'train' to learn from (default: folds "
        "if the column split has others than these, else groups, else official, else random folds)",
    )
    add("--json", metavar="FILE", type=Path, help="write all figures to this file")
    add(
        "--store",
        metavar="FILE",
        type=Path,
        help="save each result here at once, so that a run that was stopped can go on",
    )
    add("--seeds", metavar="N", type=_positive, default=1, help="seeds 0 to N - 1 (default: 1)")
    add(
        "--encoders",
        metavar="NAME,NAME",
        help="some rows of the table only, by name, parted by commas, such as 'log-mel statistics, "
        "contrastive' (default: all; with the synthetic notes, all but supervised)",
    )
    add(
        "--n-epochs",
        metavar="N",
        type=_epochs,
        help="for how long to train (default: auto; with the synthetic notes, "
        f"{_SYNTHETIC_EPOCHS} epochs)",
    )
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add(
        "--jobs",
        metavar="N",
        type=_jobs,
        default=1,
        help="folds at the same time, -1 for as many as there are cores (default: 1)",
    )
    add("--quiet", action="store_true", help="no progress")
    return parser


def _positive(text: str) -> int:
    return _number(text, at_least=1)


def _epochs(text: str) -> int | str:
    return text if text == "auto" else _number(text, at_least=0, other="auto")


def _jobs(text: str) -> int:
    return -1 if text == "-1" else _number(text, at_least=1, other="-1")


def _number(text: str, at_least: int, other: str | None = None) -> int:
    try:
        number = int(text)
    except ValueError:
        number = at_least - 1
    if number < at_least:
        expected = f"a whole number of at least {at_least}" + f", or {other}" * bool(other)
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return number


def _evaluate(options: argparse.Namespace) -> int:
    # Imported late, so that --help and --version come at once.
    from audiorep._training import resolve_device
    from audiorep.evaluation._entries import SUPERVISED, standard_entries
    from audiorep.evaluation._environment import machine, versions
    from audiorep.evaluation._linear import LinearEvaluationRun

    if options.json and not options.json.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder to write {str(options.json)!r} to.")
    if options.json and options.json.is_dir():
        raise IsADirectoryError(f"{str(options.json)!r} is a folder; name a file to write.")
    resolve_device(options.device)
    names = None
    if options.encoders is not None:
        names = [name.strip() for name in options.encoders.split(",")]
    n_epochs = options.n_epochs
    if n_epochs is None:
        n_epochs = _SYNTHETIC_EPOCHS if options.data is None else "auto"
    encoders, unions = standard_entries(names, n_epochs=n_epochs, device=options.device)
    if names is None and options.data is None:
        encoders.pop(SUPERVISED, None)  # a first look should not take long
    title, data, groups, splits = _load(options.data, options.protocol)
    evaluation = LinearEvaluationRun(
        encoders,
        data.data,
        data.target,
        groups=groups,
        cv=splits,
        unions=unions,
        random_states=range(options.seeds),
        store=options.store,
    )
    n_clips, n_classes = len(data.target), len(set(data.target))
    title = f"{title}: {n_clips} clips, {n_classes} classes, held out: {', '.join(splits)}"
    if n_epochs != "auto":
        title += f"; {n_epochs} epochs instead of the default"
    if not options.quiet:
        print(title, file=sys.stderr, flush=True)
    records: list[dict[str, Any]] = []
    finished = True
    try:
        for record in evaluation.run(n_jobs=options.jobs, verbose=not options.quiet):
            records.append(record)
    except KeyboardInterrupt:
        finished = False
    result = evaluation.result(records)
    print(title, result, sep="\n\n")
    if not finished:
        print(f"Interrupted: {len(records)} of {len(evaluation.units)} results are there.")
    if options.json:
        settings = {
            "data": None if options.data is None else Path(options.data).resolve().name,
            "protocol": options.protocol,
            "folds": list(splits),
            "seeds": list(range(options.seeds)),
            "n_epochs": n_epochs,
            "device": options.device,
            "finished": finished,
        }
        figures = {"settings": settings, "versions": versions(), "machine": machine()}
        _write(options.json, {**figures, **result.to_dict()})
    return 0 if finished else INTERRUPTED


def _load(folder: str | None, protocol: str) -> tuple[str, Any, Any, dict[str, Any]]:
    """Return a title, the data set, the groups that folds must not cut, and the folds."""
    from audiorep.datasets import load_audio_folder, make_instrument_notes
    from audiorep.evaluation import protocol_splits

    if folder is None:
        title = "Synthetic notes of instruments, pitches held out"
        data = make_instrument_notes(_SYNTHETIC_CLIPS, n_timbres=8, noise=1.0, random_state=0)
        splits = protocol_splits(data, protocol, n_folds=_SYNTHETIC_FOLDS)
    else:
        title = Path(folder).resolve().name
        data = load_audio_folder(folder)
        splits = protocol_splits(data, protocol)
    # A published split into training and test clips may cut groups, and is taken as it is.
    groups = None if protocol == "official" else data.get("groups")
    if groups is not None and len(set(groups)) == 1:
        groups = None  # one group tells nothing apart
    return title, data, groups, splits


def _write(path: Path, figures: dict[str, Any]) -> None:
    """Write all or nothing."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
