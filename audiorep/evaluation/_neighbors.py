"""How good features are without any classifier: the nearest neighbour, and retrieval."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.utils import check_consistent_length, gen_batches

_N_QUERIES = 256  # ranked at the same time, so that memory does not grow with their number


def mean_average_precision(queries: Any, y_queries: Any, database: Any, y_database: Any) -> float:
    """Return how well clips find others of their class by cosine similarity.

    Every query ranks the whole database. Its average precision is the mean, over all clips of its
    class, of the share of that class among the clips ranked no lower. Clips that are equally
    similar share a rank, as in `sklearn.metrics.average_precision_score`.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_features)
        Features of the clips that search.
    y_queries : array-like of shape (n_queries,)
        Their labels.
    database : array-like of shape (n_clips, n_features)
        Features of the clips that are searched.
    y_database : array-like of shape (n_clips,)
        Their labels.

    Returns
    -------
    float
        Mean over the queries whose class is in the database; 1 is perfect. Features that tell
        nothing reach the share of the query's class in the database, on average.

    Raises
    ------
    ValueError
        When no query has a clip of its class in the database.

    See Also
    --------
    linear_evaluation : Takes ``"mean_average_precision"`` among its metrics.

    Examples
    --------
    >>> from audiorep.evaluation import mean_average_precision
    >>> database, y_database = [[1, 0], [0, 1], [-1, 0]], ["low", "low", "high"]
    >>> mean_average_precision([[3, 1]], ["low"], database, y_database)
    1.0
    >>> mean_average_precision([[3, 1]], ["high"], database, y_database)
    0.3333333333333333
    """
    queries, database = np.asarray(queries), np.asarray(database)
    y_queries, y_database = np.asarray(y_queries), np.asarray(y_database)
    check_consistent_length(queries, y_queries)
    check_consistent_length(database, y_database)
    has_some = np.isin(y_queries, y_database)
    if not has_some.any():
        raise ValueError("No query has a clip of its class in the database.")
    queries, y_queries = queries[has_some], y_queries[has_some]
    precisions = [
        _average_precisions(
            cosine_similarity(queries[part], database), y_queries[part, None] == y_database
        )
        for part in gen_batches(len(queries), _N_QUERIES)
    ]
    return float(np.mean(np.concatenate(precisions)))


def _average_precisions(
    similarity: npt.NDArray[Any], relevant: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the average precision of each row; both arrays are (n_queries, n_clips)."""
    order = np.argsort(-similarity, axis=1)
    similarity = np.take_along_axis(similarity, order, axis=1)
    relevant = np.take_along_axis(relevant, order, axis=1)
    n_clips = similarity.shape[1]
    # The last position with the same similarity: the first that is last of its kind, from there on.
    is_last = np.ones(similarity.shape, dtype=bool)
    is_last[:, :-1] = similarity[:, 1:] != similarity[:, :-1]
    last = np.where(is_last, np.arange(n_clips), n_clips)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    precision = relevant.cumsum(axis=1) / np.arange(1, n_clips + 1)
    at_ties = np.take_along_axis(precision, last, axis=1)
    return np.sum(at_ties * relevant, axis=1) / relevant.sum(axis=1)


def _nearest_labels(test: Any, train: Any, y_train: Any) -> npt.NDArray[Any]:
    """Return the label of each test clip's most similar training clip.

    Of several that are as similar, the most frequent label counts.
    """
    classes, codes = np.unique(y_train, return_inverse=True)
    is_class = np.eye(len(classes))[codes]  # (n_train, n_classes)
    best = []
    for part in gen_batches(len(test), _N_QUERIES):
        similarity = cosine_similarity(test[part], train)
        is_nearest = similarity == similarity.max(axis=1, keepdims=True)
        best.append((is_nearest @ is_class).argmax(axis=1))
    labels: npt.NDArray[Any] = classes[np.concatenate(best)]
    return labels


def _neighbor_accuracy(test: Any, y_test: Any, train: Any, y_train: Any) -> float:
    return float(accuracy_score(y_test, _nearest_labels(test, train, y_train)))


def _neighbor_balanced_accuracy(test: Any, y_test: Any, train: Any, y_train: Any) -> float:
    return float(balanced_accuracy_score(y_test, _nearest_labels(test, train, y_train)))


# Scores of the features themselves, called as (test, y_test, train, y_train).
FEATURE_METRICS: dict[str, Callable[[Any, Any, Any, Any], float]] = {
    "neighbor_accuracy": _neighbor_accuracy,
    "neighbor_balanced_accuracy": _neighbor_balanced_accuracy,
    "mean_average_precision": mean_average_precision,
}
