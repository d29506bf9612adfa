"""What an evaluation found: records, their means and spreads, a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from audiorep.evaluation._store import Record

CHANCE = "chance"

_PERCENT = {"accuracy", "balanced_accuracy"}
_HEADERS = {"balanced_accuracy": "UAR"}


class LinearEvaluation:
    """Results of `linear_evaluation`; prints as a table.

    Parameters
    ----------
    records : iterable of dict
        One per fold, seed and encoder.
    names : sequence of str
        The encoders, in the order in which they are shown.
    metrics : sequence of str
        The scores that every record has.

    Attributes
    ----------
    records : list of dict
        With `encoder`, `fold`, `seed` (None where chance plays no part), one entry per metric,
        `fit_seconds`, `transform_seconds` (training and test clips), `n_features`,
        `n_not_converged` (1 if the classifier warned that it had not converged), `n_train`,
        `n_test`.

    See Also
    --------
    linear_evaluation : Evaluate encoders.

    Examples
    --------
    >>> from audiorep.evaluation import LinearEvaluation
    >>> record = {"encoder": "noise", "fold": "1", "seed": None, "accuracy": 0.5,
    ...           "fit_seconds": 1.0, "transform_seconds": 2.0, "n_features": 3,
    ...           "n_not_converged": 0, "n_train": 8, "n_test": 4}
    >>> print(LinearEvaluation([record], ["noise"], ["accuracy"]))
    encoder  features  accuracy  fit (s)  transform (s)
    ---------------------------------------------------
    noise           3      50.0      1.0            2.0
    <BLANKLINE>
    accuracy in percent; 1 fold.
    """

    def __init__(
        self, records: Iterable[Record], names: Sequence[str], metrics: Sequence[str]
    ) -> None:
        order = {name: i for i, name in enumerate(names)}
        self.names = list(names)
        self.metrics = list(metrics)
        self.records = sorted(records, key=lambda record: order[record["encoder"]])

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return means and spreads per encoder.

        Returns
        -------
        dict of str to dict
            For each encoder that has results and each metric: `<metric>_mean`, the mean over
            seeds of the mean over folds; `<metric>_std`, the standard deviation over folds (of
            the mean over seeds); `<metric>_seed_std`, that over seeds (of the mean over folds),
            None with one seed. Also `n_folds`, `n_seeds`, `n_results`, `n_features`,
            `fit_seconds` and `transform_seconds` (means) and `n_not_converged` (a sum).
        """
        summary = {}
        for name in self.names:
            records = [record for record in self.records if record["encoder"] == name]
            if records:
                summary[name] = summarise(records, self.metrics)
        return summary

    def to_frame(self) -> Any:
        """Return the records as a pandas DataFrame, one row each."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "LinearEvaluation.to_frame needs pandas; install it with: pip install pandas"
            ) from error
        return pd.DataFrame(self.records)

    def to_dict(self) -> dict[str, Any]:
        """Return records and summary as plain lists and dicts, which JSON can hold."""
        return {"metrics": self.metrics, "summary": self.summary(), "records": self.records}

    def __repr__(self) -> str:
        return f"<LinearEvaluation of {len(self.names)} encoders, {len(self.records)} results>"

    def __str__(self) -> str:
        summary = self.summary()
        if not summary:
            return "No result yet."
        header = ["encoder", "features", *map(_header, self.metrics), "fit (s)", "transform (s)"]
        rows = [_row(name, found, self.metrics) for name, found in summary.items()]
        return "\n".join([*_aligned([header, *rows]), "", *_remarks(summary, self.metrics)])


def summarise(records: Sequence[Record], metrics: Sequence[str]) -> dict[str, Any]:
    """Return means and spreads of one encoder's records; see `LinearEvaluation.summary`."""
    found: dict[str, Any] = {
        "n_folds": len({record["fold"] for record in records}),
        "n_seeds": len({record["seed"] for record in records}),
        "n_results": len(records),
        "n_features": records[-1]["n_features"],
        "fit_seconds": float(np.mean([record["fit_seconds"] for record in records])),
        "transform_seconds": float(np.mean([record["transform_seconds"] for record in records])),
        "n_not_converged": sum(record["n_not_converged"] for record in records),
    }
    for metric in metrics:
        over_folds = _means(records, metric, lambda record: record["seed"])
        over_seeds = _means(records, metric, lambda record: record["fold"])
        found[f"{metric}_mean"] = float(np.mean(over_folds))
        found[f"{metric}_std"] = float(np.std(over_seeds))
        found[f"{metric}_seed_std"] = float(np.std(over_folds)) if len(over_folds) > 1 else None
    return found


def _means(records: Sequence[Record], metric: str, by: Callable[[Record], Any]) -> list[float]:
    values: dict[Any, list[float]] = {}
    for record in records:
        values.setdefault(by(record), []).append(record[metric])
    return [float(np.mean(part)) for part in values.values()]


def score_text(found: Mapping[str, Any], metric: str) -> str:
    """Return mean ± spread of a summary; shares of clips in percent."""
    factor, digits = (100, 1) if metric in _PERCENT else (1, 3)
    text = f"{factor * found[f'{metric}_mean']:.{digits}f}"
    if found["n_folds"] > 1:
        text += f" ± {factor * found[f'{metric}_std']:.{digits}f}"
    return text


def _header(metric: str) -> str:
    return _HEADERS.get(metric, metric.replace("_", " "))


def _row(name: str, found: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    n_features = "" if found["n_features"] is None else str(found["n_features"])
    scores = [score_text(found, metric) for metric in metrics]
    return [
        name,
        n_features,
        *scores,
        f"{found['fit_seconds']:.1f}",
        f"{found['transform_seconds']:.1f}",
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines, the first column to the left and a rule below the first row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _remarks(summary: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> list[str]:
    n_folds = max(found["n_folds"] for found in summary.values())
    n_seeds = max(found["n_seeds"] for found in summary.values())
    shown = [_header(metric) for metric in metrics if metric in _PERCENT]
    counts = f"{n_folds} fold{'s' * (n_folds > 1)}"
    if n_folds > 1:
        counts = f"mean ± standard deviation over {counts}"
    if n_seeds > 1:
        counts += f", mean over {n_seeds} seeds"
    remarks = [f"{' and '.join(shown)} in percent; {counts}." if shown else f"{counts}."]
    if "balanced_accuracy" in metrics:
        remarks.append("UAR: unweighted average recall, also called balanced accuracy.")
    for name, found in summary.items():
        if found["n_not_converged"]:
            remarks.append(
                f"{name}: the classifier did not converge in {found['n_not_converged']} of "
                f"{found['n_results']} fits."
            )
        if found["n_folds"] < n_folds and found["n_folds"] > 0:
            remarks.append(f"{name}: {found['n_folds']} of {n_folds} folds only.")
    return remarks
