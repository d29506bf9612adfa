"""Plots, as scikit-learn's Display classes make them; matplotlib is imported when one is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from audiorep.evaluation._result import CHANCE, LabelEfficiencyCurve, metric_label, metric_scale


def _pyplot(display: Any) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} draws with matplotlib, which is not installed; install it "
            "with: pip install matplotlib"
        ) from error
    return plt


class LabelEfficiencyDisplay:
    """Scores against the number of labels per class.

    Use `from_result` to make one.

    Parameters
    ----------
    curves : dict of str to dict
        For each entry `n_labels`, `mean` and `std`, arrays of shape (n_points,); shares of clips
        in percent.
    score_name : str
        What the scores are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.
    lines_ : dict of str to matplotlib Line2D
        The line of each entry.
    bands_ : dict of str to matplotlib collection
        The spread around each line, one standard deviation to either side.

    See Also
    --------
    label_efficiency_curve : Compute what is drawn.

    Examples
    --------
    >>> from audiorep.datasets import make_instrument_notes
    >>> from audiorep.evaluation import (
    ...     LabelEfficiencyDisplay, LogMelStatistics, label_efficiency_curve)
    >>> notes = make_instrument_notes(60, duration=0.25, random_state=0)
    >>> curve = label_efficiency_curve(
    ...     {"log-mel": LogMelStatistics()}, notes.data, notes.target, n_labels=[1, 8], cv=3)
    >>> display = LabelEfficiencyDisplay.from_result(curve)
    >>> sorted(display.lines_)
    ['chance', 'log-mel']
    """

    def __init__(self, curves: Mapping[str, Mapping[str, Any]], score_name: str) -> None:
        self.curves = curves
        self.score_name = score_name

    @classmethod
    def from_result(
        cls, result: LabelEfficiencyCurve, *, metric: str | None = None, ax: Any = None
    ) -> Self:
        """Draw the result of `label_efficiency_curve`.

        Parameters
        ----------
        result : LabelEfficiencyCurve
            What was found.
        metric : str, default=None
            The score to draw. None means the first of the result's.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        LabelEfficiencyDisplay
        """
        if not isinstance(result, LabelEfficiencyCurve):
            raise TypeError(
                f"result is a {type(result).__name__}; pass what label_efficiency_curve returned."
            )
        metric = result.metrics[0] if metric is None else metric
        if metric not in result.metrics:
            raise ValueError(f"metric={metric!r} is none of {', '.join(result.metrics)}.")
        curves = {}
        for name, points in result.summary().items():
            shown = [point for point in points if point[f"{metric}_mean"] is not None]
            if shown:
                curves[name] = {
                    "n_labels": np.array([point["n_labels"] for point in shown]),
                    "mean": metric_scale(metric) * _column(shown, f"{metric}_mean"),
                    "std": metric_scale(metric) * _column(shown, f"{metric}_std"),
                }
        if not curves:
            raise ValueError(f"There is no {metric} to draw; no entry has a result.")
        return cls(curves, metric_label(metric)).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        LabelEfficiencyDisplay
        """
        plt = _pyplot(self)
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_: dict[str, Any] = {}
        self.bands_: dict[str, Any] = {}
        for name, curve in self.curves.items():
            look: dict[str, Any] = {"marker": "o"}
            if name == CHANCE:
                look = {"color": "grey", "linestyle": "--"}
            n_labels, mean, std = curve["n_labels"], curve["mean"], curve["std"]
            (self.lines_[name],) = ax.plot(n_labels, mean, label=name, **look)
            color = self.lines_[name].get_color()
            self.bands_[name] = ax.fill_between(
                n_labels, mean - std, mean + std, alpha=0.15, color=color, linewidth=0
            )
        ticks = sorted({int(n) for curve in self.curves.values() for n in curve["n_labels"]})
        ax.set_xscale("log")
        ax.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        ax.set_xticks([], minor=True)
        ax.set(xlabel="labels per class", ylabel=self.score_name)
        ax.legend([*self.lines_.values()], [*self.lines_])
        return self


def _column(points: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.float64]:
    return np.array([point[name] for point in points], dtype=np.float64)


class EmbeddingDisplay:
    """A map of clips: their features in two dimensions, coloured by label.

    Use `from_estimator` or `from_features` to make one.

    Parameters
    ----------
    positions : ndarray of shape (n_clips, 2)
        Where each clip lies.
    labels : ndarray of shape (n_clips,), default=None
        What each clip is coloured by.
    axis_names : sequence of two str, default=("", "")
        What the axes are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.
    scatters_ : dict of object to matplotlib collection
        The points of each label; of None, where there are no labels.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : Which classes are taken for which.

    Examples
    --------
    >>> from audiorep.datasets import make_instrument_notes
    >>> from audiorep.evaluation import EmbeddingDisplay, LogMelStatistics
    >>> notes = make_instrument_notes(30, n_timbres=3, duration=0.25, random_state=0)
    >>> statistics = LogMelStatistics().fit(notes.data)
    >>> display = EmbeddingDisplay.from_estimator(statistics, notes.data, notes.target)
    >>> display.positions.shape
    (30, 2)
    >>> len(display.scatters_)
    3
    """

    def __init__(
        self,
        positions: npt.NDArray[Any],
        labels: npt.NDArray[Any] | None = None,
        axis_names: Sequence[str] = ("", ""),
    ) -> None:
        self.positions = positions
        self.labels = labels
        self.axis_names = axis_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        method: str = "pca",
        random_state: Any = 0,
        ax: Any = None,
    ) -> Self:
        """Draw a map of clips as a fitted encoder sees them.

        Parameters
        ----------
        estimator : estimator
            Fitted; its ``transform(X)`` are the features.
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            Clips, as the estimator takes them.
        y : array-like of shape (n_clips,), default=None
            Labels to colour by.
        method : {"pca", "tsne"}, default="pca"
            "pca" shows the plane in which the features differ most. "tsne" keeps neighbours
            together; distances between groups mean little.
        random_state : int, RandomState instance or None, default=0
            Of both methods.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        EmbeddingDisplay
        """
        features = estimator.transform(X)
        return cls.from_features(features, y, method=method, random_state=random_state, ax=ax)

    @classmethod
    def from_features(
        cls,
        features: Any,
        y: Any = None,
        *,
        method: str = "pca",
        random_state: Any = 0,
        ax: Any = None,
    ) -> Self:
        """Draw a map of clips whose features are at hand.

        Parameters
        ----------
        features : array-like of shape (n_clips, n_features)
            One row per clip.
        y : array-like of shape (n_clips,), default=None
            Labels to colour by.
        method : {"pca", "tsne"}, default="pca"
            As for `from_estimator`.
        random_state : int, RandomState instance or None, default=0
            Of both methods.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        EmbeddingDisplay
        """
        features = np.asarray(features)
        labels = None if y is None else np.asarray(y)
        if labels is not None and len(labels) != len(features):
            raise ValueError(f"There are {len(features)} clips, but {len(labels)} labels.")
        if features.ndim != 2 or min(features.shape) < 2:
            raise ValueError(
                f"features has shape {features.shape}, but a map in two dimensions needs two "
                "clips and two features at least."
            )
        names: tuple[str, str] = ("t-SNE 1", "t-SNE 2")
        if method == "pca":
            pca = PCA(2, random_state=random_state)
            with np.errstate(invalid="ignore"):  # where all clips have the same features
                positions = pca.fit_transform(features)
            first, second = 100 * np.nan_to_num(pca.explained_variance_ratio_)
            names = (f"PC 1 ({first:.0f} % of variance)", f"PC 2 ({second:.0f} % of variance)")
        elif method == "tsne":
            perplexity = min(30.0, (len(features) - 1) / 3)
            tsne = TSNE(perplexity=perplexity, metric="cosine", random_state=random_state)
            positions = tsne.fit_transform(features)
        else:
            raise ValueError(f"method={method!r} is neither 'pca' nor 'tsne'.")
        return cls(positions, labels, names).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        EmbeddingDisplay
        """
        plt = _pyplot(self)
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.scatters_: dict[Any, Any] = {}
        if self.labels is None:
            self.scatters_[None] = ax.scatter(*self.positions.T, s=12)
        else:
            classes, numbers = _classes(self.labels)
            # Ten colours that are told apart well; of more classes, shades all around.
            colors = plt.get_cmap("tab10" if len(classes) <= 10 else "hsv")
            for i, label in enumerate(classes):
                color = colors(i if len(classes) <= 10 else i / len(classes))
                points = self.positions[numbers == i].T
                self.scatters_[label] = ax.scatter(*points, s=12, color=color)
            # Not by the artists' own labels, of which those that begin with "_" are left out.
            names = [str(label) for label in classes]
            place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
            ax.legend([*self.scatters_.values()], names, **place)
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1], xticks=[], yticks=[])
        return self


def _classes(labels: npt.NDArray[Any]) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """Return the classes, and the number of each label's, also where some have no order."""
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError:  # such as None among text
        names = [str(label) for label in labels]
        _, first, numbers = np.unique(names, return_index=True, return_inverse=True)
        classes = labels[first]
    return classes.tolist(), numbers


class TrainingCurveDisplay:
    """The loss of a training, and its diagnostics where it kept some, one panel each.

    Use `from_estimator` to make one.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_points,)
        Each spread over the whole training: one value per step, or fewer.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_curves,)
        The panels, in the order of the curves.
    figure_ : matplotlib Figure
        The figure of the panels.
    lines_ : list of matplotlib Line2D
        The line of each panel.

    Examples
    --------
    >>> from audiorep import ContrastiveAudioEncoder
    >>> from audiorep.datasets import make_instrument_notes
    >>> from audiorep.evaluation import TrainingCurveDisplay
    >>> notes = make_instrument_notes(12, duration=0.25, random_state=0)
    >>> encoder = ContrastiveAudioEncoder(width=8, n_epochs=4, random_state=0).fit(notes.data)
    >>> display = TrainingCurveDisplay.from_estimator(encoder)
    >>> len(display.curves["loss"]) == len(encoder.loss_curve_)
    True
    """

    def __init__(self, curves: Mapping[str, npt.NDArray[Any]]) -> None:
        self.curves = curves

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw what a fitted encoder or classifier kept of its training.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``loss_curve_``, ``history_`` (a dict of lists) or both.
        ax : matplotlib Axes, or array of them, default=None
            One panel per curve; or a single one, for the loss alone. None makes a figure.

        Returns
        -------
        TrainingCurveDisplay
        """
        curves = {"loss": getattr(estimator, "loss_curve_", [])}
        curves.update(getattr(estimator, "history_", {}))
        shown = {name: np.asarray(curve, dtype=float) for name, curve in curves.items()}
        shown = {name: curve for name, curve in shown.items() if curve.ndim == 1 and curve.size}
        if not shown:
            raise ValueError(
                f"This {type(estimator).__name__} has no curve to draw: it is not fitted, or was "
                "not trained for a single step."
            )
        return cls(shown).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, or array of them, default=None
            One panel per curve; or a single one, for the first curve alone. None makes a figure.

        Returns
        -------
        TrainingCurveDisplay
        """
        plt = _pyplot(self)
        n_curves = len(self.curves)
        if ax is None:
            n_columns = min(n_curves, 3)
            n_rows = -(-n_curves // n_columns)
            _, ax = plt.subplots(
                n_rows,
                n_columns,
                figsize=(6.4, 4.8) if n_curves == 1 else (3.2 * n_columns, 2.4 * n_rows),
                layout="constrained",
                squeeze=False,
            )
            for unused in ax.ravel()[n_curves:]:
                unused.remove()
            ax = ax.ravel()[:n_curves]
        axes = np.ravel(np.asarray(ax, dtype=object))
        if len(axes) not in (1, n_curves):
            raise ValueError(f"There are {n_curves} curves, but {len(axes)} axes to draw them on.")
        self.axes_, self.figure_ = axes, axes[0].figure
        n_steps = max(map(len, self.curves.values()))
        self.lines_ = []
        for panel, (name, curve) in zip(axes, self.curves.items(), strict=False):
            steps = np.arange(1, len(curve) + 1) * n_steps / len(curve)
            self.lines_ += panel.plot(steps, curve)
            panel.set(xlabel="step", ylabel=name.replace("_", " "))
        return self
