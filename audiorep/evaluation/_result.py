"""What an evaluation found: records, their means and spreads, a table."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from audiorep.evaluation._store import Record

CHANCE = "chance"

_PERCENT = {
    "accuracy",
    "balanced_accuracy",
    "neighbor_accuracy",
    "neighbor_balanced_accuracy",
    "mean_average_precision",
}
_HEADERS = {
    "balanced_accuracy": "UAR",
    "neighbor_balanced_accuracy": "neighbor UAR",
    "mean_average_precision": "mAP",
}
_EXPLAINED = {
    "balanced_accuracy": "UAR: unweighted average recall, also called balanced accuracy.",
    "neighbor_accuracy": "neighbor: by the nearest training clip, in cosine similarity.",
    "neighbor_balanced_accuracy": "neighbor: by the nearest training clip, in cosine similarity.",
    "mean_average_precision": "mAP: mean average precision of searching the training clips.",
}


class _Evaluation:
    """Base class of results: the records, and what they turn into."""

    def __init__(
        self, records: Iterable[Record], names: Sequence[str], metrics: Sequence[str]
    ) -> None:
        order = {name: i for i, name in enumerate(names)}
        self.names = list(names)
        self.metrics = list(metrics)
        self.records = sorted(records, key=lambda record: order[record["encoder"]])

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return means and spreads per encoder."""

    def to_frame(self) -> Any:
        """Return the records as a pandas DataFrame, one row each."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__}.to_frame needs pandas; install it with: pip install pandas"
            ) from error
        return pd.DataFrame(self.records)

    def to_dict(self) -> dict[str, Any]:
        """Return records and summary as plain lists and dicts, which JSON can hold."""
        return {"metrics": self.metrics, "summary": self.summary(), "records": self.records}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.names)} entries, {len(self.records)} results>"

    def _of(self, name: str) -> list[Record]:
        return [record for record in self.records if record["encoder"] == name]


class LinearEvaluation(_Evaluation):
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
        `fit_seconds` (of the encoder, with the features of the training clips),
        `transform_seconds` (features of the test clips), `n_features`, `n_not_converged` (1 if
        the classifier warned that it had not converged), `n_train`, `n_test`. A supervised
        control has None for metrics of features; its seconds are those of its own fit and
        predictions.

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
    fit: with the training clips' features; transform: the test clips.
    """

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
        found = {name: self._of(name) for name in self.names}
        return {
            name: summarise(records, self.metrics) for name, records in found.items() if records
        }

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
        found[f"{metric}_mean"] = _mean(over_folds)
        found[f"{metric}_std"] = _std(over_seeds)
        found[f"{metric}_seed_std"] = _std(over_folds) if len(over_folds) > 1 else None
    return found


def _means(records: Sequence[Record], metric: str, by: Callable[[Record], Any]) -> list[float]:
    """Return the mean of each part of the records that have the metric."""
    values: dict[Any, list[float]] = {}
    for record in records:
        if record[metric] is not None:
            values.setdefault(by(record), []).append(record[metric])
    return [float(np.mean(part)) for part in values.values()]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values)) if values else None


def score_text(found: Mapping[str, Any], metric: str) -> str:
    """Return mean ± spread of a summary; shares of clips in percent."""
    mean, std = found[f"{metric}_mean"], found[f"{metric}_std"]
    if mean is None:
        return ""
    factor, digits = metric_scale(metric), 1 if metric in _PERCENT else 3
    text = f"{factor * mean:.{digits}f}"
    if found.get("n_draws", 1) * found["n_folds"] > 1:
        text += f" ± {factor * std:.{digits}f}"
    return text


def metric_scale(metric: str) -> int:
    """Return what a score is multiplied by before it is shown."""
    return 100 if metric in _PERCENT else 1


def metric_label(metric: str) -> str:
    """Return the name of a score for the axis of a plot."""
    return f"{_header(metric)} (%)" if metric in _PERCENT else _header(metric)


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
    counts = _plural(n_folds, "fold")
    if n_folds > 1:
        counts = f"mean ± standard deviation over {counts}"
    if n_seeds > 1:
        counts += f", mean over {n_seeds} seeds"
    remarks = [f"{' and '.join(shown)} in percent; {counts}." if shown else f"{counts}."]
    remarks += _explanations(metrics)
    remarks.append("fit: with the training clips' features; transform: the test clips.")
    for name, found in summary.items():
        if found["n_not_converged"]:
            remarks.append(
                f"{name}: the classifier did not converge in {found['n_not_converged']} of "
                f"{found['n_results']} fits."
            )
        if found["n_folds"] < n_folds and found["n_folds"] > 0:
            remarks.append(f"{name}: {found['n_folds']} of {n_folds} folds only.")
    return remarks


def _explanations(metrics: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(_EXPLAINED[metric] for metric in metrics if metric in _EXPLAINED))


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count > 1)}"


# ---------------------------------------------------------------------- few labels


class LabelEfficiencyCurve(_Evaluation):
    """Results of `label_efficiency_curve`; prints as one table for every metric.

    Parameters
    ----------
    records : iterable of dict
        One per fold, seed, encoder, number of labels and draw.
    names : sequence of str
        The encoders, in the order in which they are shown.
    metrics : sequence of str
        The scores that every record has.

    Attributes
    ----------
    records : list of dict
        As those of `LinearEvaluation`, and with `n_labels` (per class, as asked for), `draw` (None
        for chance) and `n_labelled` (clips with a label, of all classes).

    See Also
    --------
    label_efficiency_curve : Evaluate encoders with few labels.
    LabelEfficiencyDisplay : Draw the curves.

    Examples
    --------
    >>> from audiorep.evaluation import LabelEfficiencyCurve
    >>> records = [{"encoder": "noise", "fold": "1", "seed": None, "n_labels": n, "draw": draw,
    ...             "n_labelled": 2 * n, "n_classes": 2, "accuracy": 0.5 + 0.1 * n * draw,
    ...             "n_not_converged": 0} for n in (1, 2) for draw in (0, 1)]
    >>> print(LabelEfficiencyCurve(records, ["noise"], ["accuracy"]))
    accuracy, with so many labels per class
    <BLANKLINE>
    encoder           1            2
    --------------------------------
    noise    55.0 ± 5.0  60.0 ± 10.0
    <BLANKLINE>
    accuracy in percent; mean ± standard deviation over 1 fold and 2 draws of labelled clips.
    """

    def summary(self) -> dict[str, list[dict[str, Any]]]:
        """Return means and spreads per encoder and number of labels.

        Returns
        -------
        dict of str to list of dict
            For each encoder that has results a dict per number of labels, in rising order:
            `n_labels` (per class), `n_labelled` (clips with a label, a mean over folds), for each
            metric `<metric>_mean` and `<metric>_std`, the standard deviation over folds and draws
            (of the mean over seeds), and `n_folds`, `n_draws`, `n_seeds`, `n_results`,
            `n_not_converged` (a sum).
        """
        found = {name: self._of(name) for name in self.names}
        return {name: _points(records, self.metrics) for name, records in found.items() if records}

    def __str__(self) -> str:
        summary = self.summary()
        if not summary:
            return "No result yet."
        n_labels = sorted({point["n_labels"] for points in summary.values() for point in points})
        lines: list[str] = []
        for metric in self.metrics:
            rows = [_curve_row(name, points, n_labels, metric) for name, points in summary.items()]
            lines += [f"{_header(metric)}, with so many labels per class", ""]
            lines += [*_aligned([["encoder", *map(str, n_labels)], *rows]), ""]
        return "\n".join([*lines, *_curve_remarks(summary, self.metrics)])


def _points(records: Sequence[Record], metrics: Sequence[str]) -> list[dict[str, Any]]:
    by_count: dict[int, list[Record]] = {}
    for record in records:
        by_count.setdefault(record["n_labels"], []).append(record)
    return [_point(by_count[n_labels], metrics) for n_labels in sorted(by_count)]


def _point(records: Sequence[Record], metrics: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "n_labels": records[0]["n_labels"],
        "n_labelled": float(np.mean([record["n_labelled"] for record in records])),
        "n_folds": len({record["fold"] for record in records}),
        "n_draws": len({record["draw"] for record in records}),
        "n_seeds": len({record["seed"] for record in records}),
        "n_results": len(records),
        "n_not_converged": sum(record["n_not_converged"] for record in records),
    }
    for metric in metrics:
        over_seeds = _means(records, metric, lambda record: (record["fold"], record["draw"]))
        found[f"{metric}_mean"], found[f"{metric}_std"] = _mean(over_seeds), _std(over_seeds)
    return found


def _curve_row(
    name: str, points: Sequence[Mapping[str, Any]], n_labels: Sequence[int], metric: str
) -> list[str]:
    by_count = {point["n_labels"]: score_text(point, metric) for point in points}
    return [name, *(by_count.get(count, "") for count in n_labels)]


def _curve_remarks(
    summary: Mapping[str, Sequence[Mapping[str, Any]]], metrics: Sequence[str]
) -> list[str]:
    points = [point for points in summary.values() for point in points]
    n_folds, n_draws, n_seeds = (
        max(point[name] for point in points) for name in ("n_folds", "n_draws", "n_seeds")
    )
    counts = f"{_plural(n_folds, 'fold')} and {_plural(n_draws, 'draw')} of labelled clips"
    if n_folds * n_draws > 1:
        counts = f"mean ± standard deviation over {counts}"
    if n_seeds > 1:
        counts += f", mean over {n_seeds} seeds"
    shown = [_header(metric) for metric in metrics if metric in _PERCENT]
    remarks = [f"{' and '.join(shown)} in percent; {counts}." if shown else f"{counts}."]
    remarks += _explanations(metrics)
    for name, of_encoder in summary.items():
        if n_failed := sum(point["n_not_converged"] for point in of_encoder):
            n_fits = sum(point["n_results"] for point in of_encoder)
            remarks.append(
                f"{name}: the classifier did not converge in {n_failed} of {n_fits} fits."
            )
    return remarks
