"""What evaluations share: the results they are made of, found one by one, stored, in parallel."""

import sys
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, NamedTuple

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer_names
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed

from audiorep.evaluation._environment import code_fingerprint, machine, versions
from audiorep.evaluation._fold import Fold, Subset, random_state_names
from audiorep.evaluation._neighbors import FEATURE_METRICS
from audiorep.evaluation._protocols import Splits, resolve_splits
from audiorep.evaluation._result import CHANCE
from audiorep.evaluation._store import Record, ResultStore, describe, digest, fingerprint
from audiorep.evaluation._supervised import check_known


class Unit(NamedTuple):
    """One result to find: an encoder on a fold at a seed, with labels of some clips or of all."""

    name: str
    fold: str
    seed: int | None  # None where nothing depends on it
    subset: Subset | None  # None means the labels of all training clips
    settings: str  # fingerprint of the encoder, the classifier and the versions
    key: str  # fingerprint of the settings, the seed, the clips, the fold and the subset


@dataclass
class Task:
    """What is done in one piece: the results of one fold and seed that are not there yet."""

    fold: str
    seed: int
    units: list[Unit]


class EvaluationRun:
    """An evaluation that yields its results one by one.

    A subclass says with which labels every entry is judged (`_subsets`) and puts the records
    together (`result`); all else is here. The arguments are those of `linear_evaluation`.
    """

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
        _check_estimators(encoders)
        self.encoders = dict(encoders)
        self.unions = {
            name: tuple(check_listed(f"unions[{name!r}]", members))
            for name, members in (unions or {}).items()
        }
        if y is None or not hasattr(X, "__len__"):
            what = "y is None" if y is None else f"X is a {type(X).__name__}"
            raise ValueError(f"{what}, but X and y must be sequences with an entry per clip.")
        check_known(y)
        self.X, self.y = X, _plain(_column("y", y))
        check_classification_targets(self.y)
        self.classifier = LogisticRegression() if classifier is None else classifier
        if isinstance(self.classifier, type) or not hasattr(self.classifier, "get_params"):
            raise ValueError(f"classifier={classifier!r}, but should be an estimator.")
        seeds = list(check_listed("random_states", random_states))
        if not all(isinstance(seed, Integral) for seed in seeds):
            raise ValueError(f"random_states={seeds} must hold whole numbers.")
        self.random_states = list(dict.fromkeys(map(int, seeds)))
        self.metrics = list(check_listed("metrics", metrics))
        self.store = (
            store if isinstance(store, ResultStore) or store is None else ResultStore(store)
        )
        if groups is not None:
            check_known(groups, "group")
            groups = _column("groups", groups)
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
            if not members:
                raise ValueError(f"The union {name!r} has no members; name two encoders.")
            for member in members:
                if member not in self.encoders or is_classifier(self.encoders[member]):
                    raise ValueError(
                        f"The union {name!r} has the member {member!r}, which is not among the "
                        f"encoders that transform; they are {', '.join(self.encoders)}."
                    )
        for metric in self.metrics:
            if metric not in FEATURE_METRICS and metric not in get_scorer_names():
                raise ValueError(
                    f"There is no metric {metric!r}; take one of {', '.join(FEATURE_METRICS)}, or "
                    "a name out of sklearn.metrics.get_scorer_names()."
                )
        if not any(metric not in FEATURE_METRICS for metric in self.metrics):
            raise ValueError("metrics needs one of scikit-learn's at least, such as 'accuracy'.")
        if not self.random_states:
            raise ValueError("random_states is empty; pass one seed at least.")

    # ------------------------------------------------------------------ what is to be done

    @abstractmethod
    def _subsets(self, name: str) -> list[Subset] | list[None]:
        """Return the labelled clips with which an entry is judged, on every fold at every seed."""

    @abstractmethod
    def result(self, records: Iterable[Record]) -> Any:
        """Put records together, however many there are."""

    @cached_property
    def units(self) -> list[Unit]:
        """All results that make up the evaluation, fold by fold and seed by seed."""
        # To read all files takes its time, and the keys are the store's alone.
        data = fingerprint(self.X, self.y) if self.store else None
        settings = {name: self._settings(name) for name in self.names}
        units = []
        for fold, (train, test) in self.splits.items():
            split = [train.tolist(), test.tolist()]
            for position, seed in enumerate(self.random_states):
                for name in self.names:
                    if not self._is_seeded(name) and position > 0:
                        continue
                    own_seed = seed if self._is_seeded(name) else None
                    made_of = [settings[name], own_seed, self.metrics, data, split]
                    for subset in self._subsets(name):
                        key = digest([*made_of, subset])
                        units.append(Unit(name, fold, own_seed, subset, settings[name], key))
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
            random_state_names(self.encoders[member]) for member in self.unions.get(name, (name,))
        )

    # ------------------------------------------------------------------ doing it

    def run(self, *, n_jobs: int | None = None, verbose: int = 0) -> Iterator[Record]:
        """Yield the records: first those of the store, then new ones as they come."""
        stored = {r["key"]: r for r in self.store.read()} if self.store else {}
        for unit in self.units:
            if unit.key in stored:
                # Names are no part of the key: an entry or a fold may have had another one.
                yield {**stored[unit.key], "encoder": unit.name, "fold": unit.fold}
        missing = [unit for unit in self.units if unit.key not in stored]
        progress = Progress(len(self.units), len(missing), verbose)
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

    def _evaluate(self, task: Task) -> Iterator[Record]:
        """Evaluate one fold at one seed, each encoder fitted once at most."""
        fold = self._fold(task)
        for unit in task.units:
            record: Record = {
                "encoder": unit.name,
                "fold": unit.fold,
                "seed": unit.seed,
                **fold.judged(unit.name, unit.subset),
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

    def _fold(self, task: Task) -> Fold:
        names = [unit.name for unit in task.units]
        return Fold(
            self.X,
            self.y,
            self.splits[task.fold],
            seed=task.seed,
            encoders=self.encoders,
            unions={name: m for name, m in self.unions.items() if name in names},
            classifier=self.classifier,
            metrics=self.metrics,
        )


def _check_estimators(encoders: Any) -> None:
    if not isinstance(encoders, Mapping):
        raise ValueError(
            f"encoders is a {type(encoders).__name__}, but should be a dict; pass "
            "{'name': encoder}."
        )
    for name, encoder in encoders.items():
        if isinstance(encoder, type) or not hasattr(encoder, "get_params"):
            raise ValueError(f"encoders[{name!r}] is {encoder!r}, but should be an estimator.")
        if not is_classifier(encoder) and not hasattr(encoder, "transform"):
            raise ValueError(
                f"encoders[{name!r}] is {encoder!r}, which neither transforms nor classifies."
            )


def _column(name: str, values: Any) -> npt.NDArray[Any]:
    """Return values with an entry per clip, also where they are the column of a frame."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}, but should have one entry per clip.")
    return array


def _plain(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels that are all text, or all whole numbers, as an array of these."""
    if labels.dtype == object and {type(label) for label in labels} in ({str}, {int}):
        return np.array(labels.tolist())
    return labels


def check_listed(name: str, values: Any) -> Any:
    """Return the values, or raise a ValueError where there is a single one or a text."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name}={values!r} is no list; pass [{values!r}].")
    return values


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
        where = [f"fold {record['fold']}"]
        for title, name in (("seed", "seed"), ("labels", "n_labels"), ("draw", "draw")):
            if record.get(name) is not None:
                where.append(f"{title} {record[name]}")
        scores = [f"{m} {record[m]:.3f}" for m in metrics if record[m] is not None]
        self._print(
            f"[{done}/{self.n_units}] {', '.join([*where, record['encoder']])}: "
            f"{', '.join(scores)}; "
            f"fit {record['fit_seconds']:.1f} s, transform {record['transform_seconds']:.1f} s; "
            f"{time.monotonic() - self.started:.0f} s so far"
        )

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _evaluate_all(run: EvaluationRun, task: Task) -> list[Record]:
    return list(run._evaluate(task))
