"""Nearest neighbours and retrieval: equal to the slow way, and columns of the evaluation."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier

from audiorep.evaluation import linear_evaluation, mean_average_precision
from audiorep.evaluation._neighbors import FEATURE_METRICS


class Columns(TransformerMixin, BaseEstimator):
    """Features are the clip's own timesteps."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


@pytest.fixture
def features():
    """Queries and a database in which classes are told apart, but not well."""
    rng = np.random.default_rng(0)
    y_queries, y_database = rng.integers(4, size=600), rng.integers(4, size=90)
    centres = rng.normal(size=(4, 5))
    queries = centres[y_queries] + rng.normal(size=(600, 5))
    return queries, y_queries, centres[y_database] + rng.normal(size=(90, 5)), y_database


def slow_mean_average_precision(queries, y_queries, database, y_database):
    """Two loops: walk down the ranking, and note the precision at every hit."""
    precisions = []
    for query, label in zip(queries, y_queries, strict=True):
        lengths = np.linalg.norm(database, axis=1) * np.linalg.norm(query)
        hits, at_hits = 0, []
        for rank, i in enumerate(np.argsort(-(database @ query) / lengths), start=1):
            if y_database[i] == label:
                hits += 1
                at_hits.append(hits / rank)
        precisions.append(np.mean(at_hits))
    return np.mean(precisions)


def test_retrieval_is_the_slow_loop(features):
    slow = slow_mean_average_precision(*features)
    assert 0.3 < slow < 0.9
    assert mean_average_precision(*features) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("n_digits", [8, 0])
def test_retrieval_is_scikit_learns_average_precision(features, n_digits):
    """With no digit many clips are equally similar, and share a rank."""
    queries, y_queries, database, y_database = features
    queries, database = queries.round(n_digits), database.round(n_digits)
    similarity = cosine_similarity(queries, database)
    if n_digits == 0:
        assert len(np.unique(similarity[0])) < len(database)
    expected = [
        average_precision_score(y_database == label, row)
        for row, label in zip(similarity, y_queries, strict=True)
    ]
    found = mean_average_precision(queries, y_queries, database, y_database)
    assert found == pytest.approx(np.mean(expected), rel=1e-12)


def test_features_that_tell_nothing_reach_the_share_of_the_class():
    y = np.array([0] * 3 + [1] * 9)
    assert mean_average_precision(np.ones((1, 2)), [0], np.ones((12, 2)), y) == 0.25


def test_queries_of_other_classes_are_left_out(features):
    queries, y_queries, database, y_database = features
    expected = mean_average_precision(*features)
    with_strangers = np.append(y_queries, [7, 8])
    more = np.vstack([queries, queries[:2]])
    assert mean_average_precision(more, with_strangers, database, y_database) == expected
    with pytest.raises(ValueError, match="No query has a clip of its class"):
        mean_average_precision(queries, np.full(600, 7), database, y_database)


def test_the_nearest_neighbour_is_scikit_learns(features):
    queries, y_queries, database, y_database = features
    neighbors = KNeighborsClassifier(1, metric="cosine").fit(database, y_database)
    found = FEATURE_METRICS["neighbor_accuracy"](*features)
    assert found == neighbors.score(queries, y_queries)
    balanced = balanced_accuracy_score(y_queries, neighbors.predict(queries))
    assert FEATURE_METRICS["neighbor_balanced_accuracy"](*features) == balanced
    assert balanced != found


def test_among_equal_neighbours_the_most_frequent_label_counts():
    database, y = [[1, 0], [1, 0], [1, 0], [0, 1]], ["b", "a", "b", "c"]
    assert FEATURE_METRICS["neighbor_accuracy"]([[2, 0.1]], ["b"], database, y) == 1.0


def test_the_evaluation_has_them_as_columns(features):
    X, y, _, _ = (part[:60] for part in features)
    metrics = ["accuracy", *FEATURE_METRICS]
    entries = {"columns": Columns(), "supervised": LogisticRegression()}
    result = linear_evaluation(entries, X, y, cv={"one": (range(40), range(40, 60))})
    extended = linear_evaluation(
        entries, X, y, cv={"one": (range(40), range(40, 60))}, metrics=metrics
    )
    found = {record["encoder"]: record for record in extended.records}
    for metric in FEATURE_METRICS:
        expected = FEATURE_METRICS[metric](X[40:], y[40:], X[:40], y[:40])
        assert found["columns"][metric] == expected
        assert found["supervised"][metric] is None
    assert found["chance"]["neighbor_accuracy"] == found["chance"]["accuracy"]
    shares = [np.mean(y[:40] == label) for label in y[40:]]
    assert found["chance"]["mean_average_precision"] == pytest.approx(np.mean(shares))
    before = {record["encoder"]: record["accuracy"] for record in result.records}
    assert {name: record["accuracy"] for name, record in found.items()} == before
    header, _, *rows = str(extended).splitlines()
    assert "neighbor accuracy  neighbor UAR   mAP" in header
    assert len(rows[2].split()) == len(rows[1].split()) - 4  # blank, as the number of features
    assert "mAP: mean average precision" in str(extended)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["acuracy"], "There is no metric 'acuracy'; take one of neighbor_accuracy"),
        (["mean_average_precision"], "needs one of scikit-learn's at least"),
    ],
)
def test_wrong_metrics_are_refused_before_work(features, metrics, message):
    X, y, _, _ = features
    with pytest.raises(ValueError, match=message):
        linear_evaluation({"columns": Columns()}, X, y, metrics=metrics)


def test_labels_of_other_clips_are_refused():
    for labels in (["a"], ["a", "b"]), (["a", "b"], ["a"]):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            mean_average_precision(np.eye(2), labels[0], np.eye(2), labels[1])
