"""Linear evaluation: fit on training clips, freeze, classify linearly, score on test clips."""

import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed

from audiorep.evaluation._environment import code_fingerprint, machine, versions
from audiorep.evaluation._protocols import Splits, resolve_splits
from audiorep.evaluation._result import CHANCE, LinearEvaluation
from audiorep.evaluation._store import Record, ResultStore, describe, digest, fingerprint

FloatArray = npt.NDArray[Any]


class Unit(NamedTuple):
    """One result to find: an encoder on a fold at a seed."""

    name: str
    fold: str
    seed: int | None  # None where nothing depends on it
    settings: str  # fingerprint of the encoder, the classifier and the versions
    key: str  # fingerprint of the settings, the seed, the clips and the fold


class Features(NamedTuple):
    """Both sides of a fold seen through a fitted encoder."""

    train: FloatArray
    test: FloatArray
    fit_seconds: float
    transform_seconds: float


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
    scored on those of the test clips. The share of the largest class is reported as chance.

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
        Cloned. None means ``LogisticRegression()`` with its default parameters.
    unions : dict of str to sequence of str, default=None
        Names of encoders whose features are judged together, as a `FeatureUnion` would, without
        fitting them once more.
    random_states : sequence of int, default=(0,)
        Seeds, given to every parameter `random_state` of an encoder, nested ones too. An
        encoder without such a parameter is evaluated once per fold.
    metrics : sequence of str, default=("accuracy", "balanced_accuracy")
        Names of scikit-learn's scorers.
    n_jobs : int, default=None
        Folds and seeds to evaluate at the same time.
    store : str, path-like or ResultStore, default=None
        File of JSON lines to which each result is added as soon as it is there. Results that it
        already holds, of the same clips, folds, parameters, seeds and versions, are not
        computed again.
    verbose : int, default=0
        From 1 on, a line on standard error for every result.

    Returns
    -------
    LinearEvaluation
        The results.

    See Also
    --------
    protocol_splits : The folds of a data set.

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
    evaluation = Evaluation(
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
    return evaluation.result(evaluation.run(n_jobs=n_jobs, verbose=verbose))


@dataclass
class Task:
    """What is done in one piece: the results of one fold and seed that are not there yet."""

    fold: str
    seed: int
    units: list[Unit]


class Evaluation:
    """A linear evaluation that yields its results one by one; see `linear_evaluation`."""

    def __init__(
        self,
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
        store: Any = None,
    ) -> None:
        self.encoders = dict(encoders)
        self.unions = {name: tuple(members) for name, members in (unions or {}).items()}
        self.X, self.y = X, np.asarray(y)
        self.classifier = LogisticRegression() if classifier is None else classifier
        self.random_states = [int(seed) for seed in random_states]
        self.metrics = list(metrics)
        self.store = (
            store if isinstance(store, ResultStore) or store is None else ResultStore(store)
        )
        self.names = [CHANCE, *self.encoders, *self.unions]
        self._check(groups)
        self.splits: Splits = resolve_splits(cv, self.y, groups)
        self.environment = {"versions": versions(), "machine": machine()}

    def _check(self, groups: Any) -> None:
        n_clips = len(self.X)
        if len(self.y) != n_clips or (groups is not None and len(groups) != n_clips):
            counts = [str(n_clips), str(len(self.y))]
            counts += [] if groups is None else [str(len(groups))]
            raise ValueError(
                f"X, y and groups must have one entry per clip, but have {', '.join(counts)}."
            )
        if len(set(self.names)) < len(self.names):
            raise ValueError(
                f"Encoders and unions must have different names, other than {CHANCE!r}; "
                f"got {', '.join(self.names[1:])}."
            )
        for name, members in self.unions.items():
            for member in members:
                if member not in self.encoders or is_classifier(self.encoders[member]):
                    raise ValueError(
                        f"The union {name!r} has the member {member!r}, which is not among the "
                        f"encoders that transform; they are {', '.join(self.encoders)}."
                    )
        if not self.random_states:
            raise ValueError("random_states is empty; pass one seed at least.")

    # ------------------------------------------------------------------ what is to be done

    def units(self) -> list[Unit]:
        """Return all results that make up the evaluation, fold by fold and seed by seed."""
        data = fingerprint(self.X, self.y)
        settings = {name: self._settings(name) for name in self.names}
        units = []
        for fold, (train, test) in self.splits.items():
            split = [train.tolist(), test.tolist()]
            for position, seed in enumerate(self.random_states):
                for name in self.names:
                    if not self._is_seeded(name) and position > 0:
                        continue
                    own_seed = seed if self._is_seeded(name) else None
                    key = digest([settings[name], own_seed, self.metrics, data, split])
                    units.append(Unit(name, fold, own_seed, settings[name], key))
        return units

    def _settings(self, name: str) -> str:
        members = [] if name == CHANCE else self.unions.get(name, (name,))
        described = [describe(self.encoders[member]) for member in members]
        kind = "union" if name in self.unions else "chance" if name == CHANCE else "encoder"
        made_by = [self.environment["versions"], code_fingerprint()]
        return digest([kind, described, describe(self.classifier), *made_by])

    def _is_seeded(self, name: str) -> bool:
        if name == CHANCE:
            return False
        return any(
            _random_states(self.encoders[member]) for member in self.unions.get(name, (name,))
        )

    def run(self, *, n_jobs: int | None = None, verbose: int = 0) -> Iterator[Record]:
        """Yield the records: first those of the store, then new ones as they come."""
        units = self.units()
        stored = {r["key"]: r for r in self.store.read()} if self.store else {}
        yield from (stored[unit.key] for unit in units if unit.key in stored)
        missing = [unit for unit in units if unit.key not in stored]
        progress = Progress(len(units), len(missing), verbose)
        for record in self._computed(self._tasks(missing), n_jobs):
            progress(record, self.metrics)
            yield record

    def _tasks(self, units: Iterable[Unit]) -> list[Task]:
        tasks: dict[tuple[str, int], Task] = {}
        for unit in units:
            seed = self.random_states[0] if unit.seed is None else unit.seed
            task = tasks.setdefault((unit.fold, seed), Task(unit.fold, seed, []))
            task.units.append(unit)
        return list(tasks.values())

    def _computed(self, tasks: list[Task], n_jobs: int | None) -> Iterator[Record]:
        if joblib.effective_n_jobs(n_jobs) == 1 or len(tasks) < 2:
            for task in tasks:
                yield from self._evaluate(task)
            return
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        for records in parallel(delayed(_evaluate_all)(self, task) for task in tasks):
            yield from records

    def result(self, records: Iterable[Record]) -> LinearEvaluation:
        """Put records together, however many there are."""
        return LinearEvaluation(records, self.names, self.metrics)

    # ------------------------------------------------------------------ doing it

    def _evaluate(self, task: Task) -> Iterator[Record]:
        """Evaluate one fold at one seed, each encoder fitted once at most."""
        fold = Fold(self, task)
        for unit in task.units:
            record: Record = {
                "encoder": unit.name,
                "fold": unit.fold,
                "seed": unit.seed,
                **fold.scores(unit.name),
                "n_train": len(fold.y_train),
                "n_test": len(fold.y_test),
                "n_classes": len(np.unique(self.y)),
                "settings": unit.settings,
                "key": unit.key,
                **self.environment,
            }
            if self.store:
                self.store.append(record)
            yield record


class Fold:
    """One fold at one seed: the clips of both sides, and the features found so far."""

    def __init__(self, evaluation: Evaluation, task: Task) -> None:
        self.evaluation = evaluation
        self.seed = task.seed
        train, test = evaluation.splits[task.fold]
        self.X_train = _safe_indexing(evaluation.X, train)
        self.X_test = _safe_indexing(evaluation.X, test)
        self.y_train, self.y_test = evaluation.y[train], evaluation.y[test]
        names = [unit.name for unit in task.units]
        self.shared = {m for name in names for m in evaluation.unions.get(name, ())}
        self.found: dict[str, Features] = {}

    def scores(self, name: str) -> Record:
        """Return the scores of one entry, with its costs."""
        if name == CHANCE:
            zeros = (np.zeros((len(self.y_train), 1)), np.zeros((len(self.y_test), 1)))
            features = Features(*zeros, fit_seconds=0.0, transform_seconds=0.0)
            return {**self._judged(DummyClassifier(), features), "n_features": None}
        if name in self.evaluation.unions:
            members = [self._features(m) for m in self.evaluation.unions[name]]
            features = Features(
                np.hstack([member.train for member in members]),
                np.hstack([member.test for member in members]),
                sum(member.fit_seconds for member in members),
                sum(member.transform_seconds for member in members),
            )
        elif is_classifier(self.evaluation.encoders[name]):
            return self._supervised(self._fresh(name))
        else:
            features = self._features(name)
        return self._judged(clone(self.evaluation.classifier), features)

    def _fresh(self, name: str) -> Any:
        """Return an unfitted copy with the seed in place."""
        encoder = clone(self.evaluation.encoders[name])
        return encoder.set_params(**dict.fromkeys(_random_states(encoder), self.seed))

    def _features(self, name: str) -> Features:
        if name in self.found:
            return self.found[name]
        started = time.perf_counter()
        encoder = self._fresh(name).fit(self.X_train)
        fitted = time.perf_counter()
        train = np.asarray(encoder.transform(self.X_train))
        test = np.asarray(encoder.transform(self.X_test))
        done = time.perf_counter()
        features = Features(train, test, fitted - started, done - fitted)
        if name in self.shared:
            self.found[name] = features
        return features

    def _judged(self, classifier: Any, features: Features) -> Record:
        not_converged = _fit(classifier, features.train, self.y_train)
        return {
            **self._scored(classifier, features.test),
            "fit_seconds": features.fit_seconds,
            "transform_seconds": features.transform_seconds,
            "n_features": features.train.shape[1],
            "n_not_converged": not_converged,
        }

    def _supervised(self, classifier: Any) -> Record:
        started = time.perf_counter()
        not_converged = _fit(classifier, self.X_train, self.y_train)
        fitted = time.perf_counter()
        # Every metric predicts anew, so the time is shared out.
        scores = self._scored(classifier, self.X_test)
        return {
            **scores,
            "fit_seconds": fitted - started,
            "transform_seconds": (time.perf_counter() - fitted) / max(1, len(scores)),
            "n_features": None,
            "n_not_converged": not_converged,
        }

    def _scored(self, classifier: Any, X_test: Any) -> dict[str, float]:
        with warnings.catch_warnings():
            # A class without a clip in this fold has no recall to be averaged.
            warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
            return {
                metric: float(get_scorer(metric)(classifier, X_test, self.y_test))
                for metric in self.evaluation.metrics
            }


class Progress:
    """Lines on standard error, one for every new result."""

    def __init__(self, n_units: int, n_missing: int, verbose: int) -> None:
        self.n_units, self.n_missing, self.n_done = n_units, n_missing, 0
        self.verbose = verbose
        self.started = time.monotonic()
        if verbose and n_missing < n_units:
            self._print(f"{n_units - n_missing} of {n_units} results are there already")

    def __call__(self, record: Record, metrics: Sequence[str]) -> None:
        """Say what came."""
        self.n_done += 1
        if not self.verbose:
            return
        done = self.n_units - self.n_missing + self.n_done
        seed = "" if record["seed"] is None else f", seed {record['seed']}"
        scores = ", ".join(f"{metric} {record[metric]:.3f}" for metric in metrics)
        self._print(
            f"[{done}/{self.n_units}] fold {record['fold']}{seed}, {record['encoder']}: {scores}; "
            f"fit {record['fit_seconds']:.1f} s, transform {record['transform_seconds']:.1f} s; "
            f"{time.monotonic() - self.started:.0f} s so far"
        )

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _evaluate_all(evaluation: Evaluation, task: Task) -> list[Record]:
    return list(evaluation._evaluate(task))


def _random_states(estimator: Any) -> list[str]:
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
