"""Label efficiency: encoders fitted on all training clips, classifiers on a few labelled ones."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

from audiorep.evaluation._fold import Subset
from audiorep.evaluation._result import CHANCE, LabelEfficiencyCurve
from audiorep.evaluation._runs import EvaluationRun, check_listed
from audiorep.evaluation._store import Record


def label_efficiency_curve(
    encoders: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    n_labels: Sequence[int] = (1, 2, 5, 10, 20),
    n_draws: int = 5,
    groups: Any = None,
    cv: Any = None,
    classifier: Any = None,
    unions: Mapping[str, Sequence[str]] | None = None,
    random_states: Sequence[int] = (0,),
    metrics: Sequence[str] = ("accuracy", "balanced_accuracy"),
    n_jobs: int | None = None,
    store: Any = None,
    verbose: int = 0,
) -> LabelEfficiencyCurve:
    """Judge encoders when few clips have labels.

    For every fold and seed, each encoder is fitted once, on all training clips without their
    labels. Then a few clips of every class are drawn; a linear classifier is fitted on the features
    of these alone, and scored on those of all test clips. A supervised control is fitted on
    the drawn clips alone.

    All entries see the same draws, on every seed. A draw of more labels holds the clips of the
    same draw of fewer.

    Parameters
    ----------
    encoders : dict of str to estimator
        Transformers, which are cloned. An entry that is a classifier is a supervised control. A
        `SupervisedAudioClassifier` with ``n_epochs="auto"`` takes as many steps on the drawn clips
        as it would on all training clips, so that it is not stopped early.
    X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
        Clips, as the encoders take them.
    y : array-like of shape (n_clips,)
        Labels.
    n_labels : sequence of int, default=(1, 2, 5, 10, 20)
        Labels per class. A class that has fewer training clips gives all.
    n_draws : int, default=5
        How many times clips are drawn, for every number of labels.
    groups : array-like of shape (n_clips,), default=None
        No fold may have clips of one group on both sides.
    cv : int, splitter, iterable or dict, default=None
        As for `linear_evaluation`.
    classifier : estimator, default=None
        Cloned. None means ``LogisticRegression()`` with its default parameters.
    unions : dict of str to sequence of str, default=None
        Names of encoders whose features are judged together.
    random_states : sequence of int, default=(0,)
        Seeds of the encoders and supervised controls; the draws do not depend on them.
    metrics : sequence of str, default=("accuracy", "balanced_accuracy")
        As for `linear_evaluation`.
    n_jobs : int, default=None
        Folds and seeds to evaluate at the same time.
    store : str, path-like or ResultStore, default=None
        File of JSON lines to which each result is added as soon as it is there, as for
        `linear_evaluation`. More draws or numbers of labels can be asked for later; what is
        stored is not computed again.
    verbose : int, default=0
        From 1 on, a line on standard error for every result.

    Returns
    -------
    LabelEfficiencyCurve
        The results. Chance is a guess of the class that is largest among all training clips.

    Raises
    ------
    ValueError
        As for `linear_evaluation`; and when `n_labels` or `n_draws` are not whole numbers from 1
        on.

    See Also
    --------
    linear_evaluation : With all labels.
    LabelEfficiencyDisplay : Draw the curves.

    Examples
    --------
    >>> from audiorep.datasets import make_instrument_notes
    >>> from audiorep.evaluation import LogMelStatistics, label_efficiency_curve
    >>> notes = make_instrument_notes(60, duration=0.25, random_state=0)
    >>> curve = label_efficiency_curve(
    ...     {"log-mel": LogMelStatistics()}, notes.data, notes.target, n_labels=[1, 8], cv=3)
    >>> one, eight = curve.summary()["log-mel"]
    >>> one["accuracy_mean"] < eight["accuracy_mean"]
    True
    """
    run = LabelEfficiencyRun(
        encoders,
        X,
        y,
        n_labels=n_labels,
        n_draws=n_draws,
        groups=groups,
        cv=cv,
        classifier=classifier,
        unions=unions,
        random_states=random_states,
        metrics=metrics,
        store=store,
    )
    return run.result(run.run(n_jobs=n_jobs, verbose=verbose))


class LabelEfficiencyRun(EvaluationRun):
    """A label-efficiency curve that yields its results one by one; see its function."""

    def __init__(
        self, *arguments: Any, n_labels: Sequence[int], n_draws: int, **others: Any
    ) -> None:
        super().__init__(*arguments, **others)
        counts = list(check_listed("n_labels", n_labels))
        if not counts or not all(isinstance(n, Integral) and int(n) >= 1 for n in counts):
            raise ValueError(f"n_labels={counts} must hold whole numbers from 1 on.")
        if not isinstance(n_draws, Integral) or n_draws < 1:
            raise ValueError(f"n_draws={n_draws} must be a whole number, 1 at least.")
        self.n_labels: list[int] = sorted({int(n) for n in counts})
        self.n_draws: int = int(n_draws)

    def _subsets(self, name: str) -> list[Subset]:
        draws: Iterable[int | None] = [None] if name == CHANCE else range(self.n_draws)
        return [Subset(count, draw) for count in self.n_labels for draw in draws]

    def result(self, records: Iterable[Record]) -> LabelEfficiencyCurve:
        """Put records together, however many there are."""
        return LabelEfficiencyCurve(records, self.names, self.metrics)
