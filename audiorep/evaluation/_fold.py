"""One fold at one seed: encoders fitted on its training clips, judged on its test clips."""

import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing

from audiorep.evaluation._neighbors import FEATURE_METRICS
from audiorep.evaluation._protocols import Indices
from audiorep.evaluation._result import CHANCE
from audiorep.evaluation._store import Record
from audiorep.evaluation._supervised import with_steps_for

FloatArray = npt.NDArray[Any]


class Subset(NamedTuple):
    """Which training clips have labels: so many of each class, as a numbered draw has them."""

    n_labels: int
    draw: int | None  # None where all labels are known, but the result stands beside the others


class Features(NamedTuple):
    """Both sides of a fold seen through a fitted encoder."""

    train: FloatArray
    test: FloatArray
    fit_seconds: float  # with the training clips' features
    transform_seconds: float  # of the test clips


class Fold:
    """The clips of both sides of a fold, and the features found so far."""

    def __init__(
        self,
        X: Any,
        y: npt.NDArray[Any],
        split: tuple[Indices, Indices],
        *,
        seed: int,
        encoders: Mapping[str, Any],
        unions: Mapping[str, Sequence[str]],
        classifier: Any,
        metrics: Sequence[str],
    ) -> None:
        train, test = self.train, self.test = split
        self.X_train, self.X_test = _safe_indexing(X, train), _safe_indexing(X, test)
        self.y_train, self.y_test = y[train], y[test]
        self.seed = seed
        self.encoders, self.unions, self.classifier = encoders, unions, classifier
        self.metrics = [metric for metric in metrics if metric not in FEATURE_METRICS]
        self.feature_metrics = [metric for metric in metrics if metric in FEATURE_METRICS]
        self.found: dict[str, Features] = {}

    def judged(self, name: str, subset: Subset | None = None) -> Record:
        """Return the scores of one entry, with its costs.

        Parameters
        ----------
        name : str
            An encoder, a classifier, a union, or chance.
        subset : Subset, default=None
            The training clips whose labels are known. None means all.

        Returns
        -------
        dict
        """
        labelled = self._labelled(subset)
        found: Record = {} if subset is None else {**subset._asdict(), "n_labelled": len(labelled)}
        if name == CHANCE:
            zeros = np.zeros((len(self.y_train), 1)), np.zeros((len(self.y_test), 1))
            features = Features(*zeros, fit_seconds=0.0, transform_seconds=0.0)
            scores = self._judged_features(DummyClassifier(), features, labelled)
            return {**found, **scores, "n_features": None}
        if name not in self.unions and is_classifier(self.encoders[name]):
            return {**found, **self._judged_classifier(self._fresh(name), labelled)}
        features = self._features(name)
        return {**found, **self._judged_features(clone(self.classifier), features, labelled)}

    def _labelled(self, subset: Subset | None) -> Indices:
        if subset is None or subset.draw is None:
            return np.arange(len(self.y_train))
        return draw_labelled(self.y_train, subset.n_labels, subset.draw)

    # ------------------------------------------------------------------ features

    def _features(self, name: str) -> Features:
        if name in self.unions:
            members = [self._features(member) for member in self.unions[name]]
            return Features(
                np.hstack([member.train for member in members]),
                np.hstack([member.test for member in members]),
                sum(member.fit_seconds for member in members),
                sum(member.transform_seconds for member in members),
            )
        if name not in self.found:
            # Entries are judged one after the other; only members of unions are wanted later.
            wanted = {member for members in self.unions.values() for member in members}
            self.found = {n: f for n, f in self.found.items() if n in wanted}
            self.found[name] = self._compute_features(self._fresh(name))
        return self.found[name]

    def _compute_features(self, encoder: Any) -> Features:
        started = time.perf_counter()
        with _numbered_as_in_all(self.train):
            # The rows are the same either way, but fit_transform reads files less often.
            if hasattr(encoder, "fit_transform"):
                train = _dense(encoder.fit_transform(self.X_train))
            else:
                train = _dense(encoder.fit(self.X_train).transform(self.X_train))
        fitted = time.perf_counter()
        with _numbered_as_in_all(self.test):
            test = _dense(encoder.transform(self.X_test))
        return Features(train, test, fitted - started, time.perf_counter() - fitted)

    def _fresh(self, name: str) -> Any:
        """Return an unfitted copy with the seed in place."""
        encoder = clone(self.encoders[name])
        return encoder.set_params(**dict.fromkeys(random_state_names(encoder), self.seed))

    # ------------------------------------------------------------------ judgement

    def _judged_features(self, classifier: Any, features: Features, labelled: Indices) -> Record:
        train, y_train = features.train[labelled], self.y_train[labelled]
        n_not_converged = _fit(classifier, train, y_train)
        of_features = dict.fromkeys(self.feature_metrics)
        if np.isin(self.y_test, y_train).any():  # else there is nothing to be found
            with _absent_classes():
                of_features = {
                    metric: FEATURE_METRICS[metric](features.test, self.y_test, train, y_train)
                    for metric in self.feature_metrics
                }
        return {
            **self._scored(classifier, features.test),
            **of_features,
            "fit_seconds": features.fit_seconds,
            "transform_seconds": features.transform_seconds,
            "n_features": features.train.shape[1],
            "n_not_converged": n_not_converged,
        }

    def _judged_classifier(self, classifier: Any, labelled: Indices) -> Record:
        classifier = with_steps_for(classifier, len(self.y_train), len(labelled))
        started = time.perf_counter()
        clips = _safe_indexing(self.X_train, labelled)
        with _numbered_as_in_all(self.train[labelled]):
            n_not_converged = _fit(classifier, clips, self.y_train[labelled])
        fitted = time.perf_counter()
        with _numbered_as_in_all(self.test):
            scores = self._scored(classifier, self.X_test)
        return {
            **scores,
            **dict.fromkeys(self.feature_metrics),  # it has no features
            "fit_seconds": fitted - started,
            "transform_seconds": time.perf_counter() - fitted,
            "n_features": None,
            "n_not_converged": n_not_converged,
        }

    def _scored(self, classifier: Any, X_test: Any) -> dict[str, float]:
        scorer = check_scoring(classifier, scoring=self.metrics)  # predicts once for all
        with _absent_classes():
            scores = scorer(classifier, X_test, self.y_test)
        return {metric: float(score) for metric, score in scores.items()}


def _dense(features: Any) -> FloatArray:
    return np.asarray(features.toarray() if issparse(features) else features)


@contextmanager
def _numbered_as_in_all(positions: Indices) -> Iterator[None]:
    """Let an error that names a clip by its position among those at `positions` name it in all."""
    try:
        yield
    except (ValueError, OSError) as error:
        named = re.match(r"clip (\d+)\b(?! m?s\b)(?s:(.*))", str(error))
        is_ours = type(error) in (ValueError, FileNotFoundError)
        if not is_ours or named is None or int(named[1]) >= len(positions):
            raise
        raise type(error)(f"clip {positions[int(named[1])]}{named[2]}") from error


@contextmanager
def _absent_classes() -> Iterator[None]:
    """Expect that a class has no clip in this fold, and so no recall to be averaged."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        yield


def draw_labelled(y: npt.NDArray[Any], n_labels: int, draw: int) -> Indices:
    """Draw clips of every class, without replacement.

    The same draw of more labels holds all clips of the draw of fewer.

    Parameters
    ----------
    y : ndarray of shape (n_clips,)
        Labels.
    n_labels : int
        Clips to draw per class. A class that has fewer gives all.
    draw : int
        Number of the draw.

    Returns
    -------
    ndarray of shape (n_drawn,)
        Positions of the clips, sorted.
    """
    rng = np.random.default_rng(draw)
    chosen = [rng.permutation(np.flatnonzero(y == label))[:n_labels] for label in np.unique(y)]
    return np.sort(np.concatenate(chosen))


def random_state_names(estimator: Any) -> list[str]:
    """Return the names of the parameters that take a seed, nested ones too."""
    names = estimator.get_params(deep=True)
    return [name for name in names if name.split("__")[-1] == "random_state"]


def _fit(classifier: Any, X: Any, y: Any) -> int:
    """Fit, and return 1 instead of a warning when the classifier has not converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(X, y)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return int(any(issubclass(w.category, ConvergenceWarning) for w in caught))
