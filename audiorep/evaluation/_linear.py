"""Linear evaluation: fit on training clips, freeze, classify linearly, score on test clips."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from audiorep.evaluation._result import LinearEvaluation
from audiorep.evaluation._runs import EvaluationRun
from audiorep.evaluation._store import Record


def linear_evaluation(
    encoders: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = None,
    classifier: Any = None,
    unions: Mapping[str, Sequence[str]] | None = None,
    random_states: Sequence[int] = (0,),
    metrics: Sequence[str] = ("accuracy", "balanced_accuracy"),
    n_jobs: int | None = None,
    store: Any = None,
    verbose: int = 0,
) -> LinearEvaluation:
    """Judge encoders by a linear classifier on their frozen features.

    For every fold and seed, each encoder is fitted on the training clips without their labels
    and then left as it is; a linear classifier is fitted on the training clips' features and
    scored on those of the test clips. Chance is a guess of the class that is largest among the
    training clips.

    Parameters
    ----------
    encoders : dict of str to estimator
        Transformers, which are cloned. An entry that is a classifier is fitted with labels and
        predicts by itself: a supervised control.
    X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
        Clips, as the encoders take them.
    y : array-like of shape (n_clips,)
        Labels.
    groups : array-like of shape (n_clips,), default=None
        No fold may have clips of one group on both sides.
    cv : int, splitter, iterable or dict, default=None
        As in scikit-learn; or a dict of (train, test) by the name of the fold, as
        `protocol_splits` returns it. None holds out each group once (with more than ten, five
        folds of groups); without groups, five stratified folds.
    classifier : estimator, default=None
        Cloned. None means ``LogisticRegression()`` with its default parameters. Others do as
        well, such as ``KNeighborsClassifier(5, metric="cosine")``.
    unions : dict of str to sequence of str, default=None
        Names of encoders whose features are judged together, as a `FeatureUnion` would, without
        fitting them once more.
    random_states : sequence of int, default=(0,)
        Seeds, given to every parameter `random_state` of an encoder, nested ones too. An
        encoder without such a parameter is evaluated once per fold.
    metrics : sequence of str, default=("accuracy", "balanced_accuracy")
        Names of scikit-learn's scorers, one at least. Beside them, what the features tell without
        a classifier, by cosine similarity: ``"neighbor_accuracy"`` and
        ``"neighbor_balanced_accuracy"`` (each test clip takes the label of its nearest training
        clip), and ``"mean_average_precision"`` (each test clip searches the training clips for
        others of its class). A supervised control has no features, and so none of these.
    n_jobs : int, default=None
        Folds and seeds to evaluate at the same time.
    store : str, path-like or ResultStore, default=None
        File of JSON lines to which each result is added as soon as it is there. Results that it
        already holds, of the same clips, folds, parameters, seeds and versions, are not
        computed again. Of an estimator's class only the name counts: take another file after a
        change of your own one.
    verbose : int, default=0
        From 1 on, a line on standard error for every result.

    Returns
    -------
    LinearEvaluation
        The results.

    Raises
    ------
    ValueError
        When arguments do not fit each other, a label or group is missing, a fold has clips of one
        group on both sides or nothing to tell apart, or `store` is another kind of file; and when
        a clip cannot be used, which is named by its position in `X`, or by its path.

    See Also
    --------
    label_efficiency_curve : The same with few labels.
    mean_average_precision : Retrieval with features at hand.
    protocol_splits : The folds of a data set.

    Notes
    -----
    Which classes are taken for which? ``sklearn.metrics.ConfusionMatrixDisplay.from_estimator``
    draws it for a pipeline of an encoder and a classifier, and its ``from_predictions`` for what
    `sklearn.model_selection.cross_val_predict` returns.

    Examples
    --------
    >>> from audiorep.datasets import make_instrument_notes
    >>> from audiorep.evaluation import LogMelStatistics, linear_evaluation
    >>> notes = make_instrument_notes(60, duration=0.25, random_state=0)
    >>> result = linear_evaluation({"log-mel": LogMelStatistics()}, notes.data, notes.target, cv=3)
    >>> summary = result.summary()
    >>> summary["log-mel"]["accuracy_mean"] > summary["chance"]["accuracy_mean"]
    True
    """
    run = LinearEvaluationRun(
        encoders,
        X,
        y,
        groups=groups,
        cv=cv,
        classifier=classifier,
        unions=unions,
        random_states=random_states,
        metrics=metrics,
        store=store,
    )
    return run.result(run.run(n_jobs=n_jobs, verbose=verbose))


class LinearEvaluationRun(EvaluationRun):
    """A linear evaluation that yields its results one by one; see `linear_evaluation`."""

    def _subsets(self, name: str) -> list[None]:
        return [None]

    def result(self, records: Iterable[Record]) -> LinearEvaluation:
        """Put records together, however many there are."""
        return LinearEvaluation(records, self.names, self.metrics)
