"""Which clips are for training and which for testing."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import (
    GroupKFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    check_cv,
)

from audiorep.evaluation._supervised import check_known

Indices = npt.NDArray[np.intp]
Splits = dict[str, tuple[Indices, Indices]]

PROTOCOLS = ("auto", "folds", "groups", "official")
# What published splits call their parts.
_TRAINING, _TESTING = {"train", "training"}, {"test", "testing"}
_PARTS = _TRAINING | _TESTING | {"val", "valid", "validation", "dev"}
_MOST_GROUPS = 10  # beyond which groups are put together into folds
_N_FOLDS = 5


def protocol_splits(data: Any, protocol: str = "auto", *, n_folds: int = _N_FOLDS) -> Splits:
    """Split a data set the way its publishers, or its groups, want it split.

    Parameters
    ----------
    data : Bunch
        With `target` and, as the protocol needs it, `split` and `groups`, as the functions of
        `audiorep.datasets` return it.
    protocol : {"auto", "folds", "groups", "official"}, default="auto"
        - "folds": each value of `split` is the test set once.
        - "groups": each group is the test set once; with more than ten groups, they are put
          together into `n_folds` folds.
        - "official": the clips whose `split` is "train" or "training", and those whose `split` is
          "test" or "testing". Clips for validation are left out.
        - "auto": "folds" if `split` has several values other than these; otherwise "groups", if
          there are any; otherwise "official", if there are both parts; otherwise `n_folds` random
          stratified folds, or as many as the largest class has clips.
    n_folds : int, default=5
        Number of folds where the data set does not say it.

    Returns
    -------
    dict of str to (train, test)
        For each fold, the indices of its clips. It is named after what is held out; folds of
        several groups have numbers ("1", ...), and random ones, too ("random 1", ...). Its values
        serve as `cv` in scikit-learn.

    Raises
    ------
    ValueError
        When the data set lacks what the protocol needs.

    Examples
    --------
    >>> from sklearn.utils import Bunch
    >>> from audiorep.evaluation import protocol_splits
    >>> data = Bunch(target=[0, 1, 0, 1], groups=["ann", "ann", "bob", "bob"])
    >>> for name, (train, test) in protocol_splits(data, "groups").items():
    ...     print(name, train, test)
    ann [2 3] [0 1]
    bob [0 1] [2 3]
    """
    split, groups = data.get("split"), data.get("groups")
    y = data.get("target")
    if y is None:
        raise ValueError("The data set has no labels, and an evaluation needs them.")
    if protocol == "auto":
        parts = set() if split is None else set(map(str, split))
        if len(parts) > 1 and not parts <= _PARTS:
            protocol = "folds"
        elif groups is not None and len(set(groups)) > 1:
            protocol = "groups"
        elif parts & _TRAINING and parts & _TESTING:
            protocol = "official"
        else:
            most = int(np.unique(y, return_counts=True)[1].max())
            if most < 2:
                raise ValueError("No class has two clips, so none can be held out.")
            random = StratifiedKFold(min(n_folds, most), shuffle=True, random_state=0)
            return _numbered(random.split(np.zeros(len(y)), y), len(y), "random ")
    if protocol == "groups":
        if groups is None:
            raise ValueError(
                "protocol='groups' needs groups, and the data set has none; add a column "
                "'group' to labels.csv or choose another protocol."
            )
        return _group_splits(_known_groups(groups), n_folds)
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol={protocol!r} is none of {', '.join(PROTOCOLS)}.")
    if split is None:
        raise ValueError(
            f"protocol={protocol!r} needs splits, and the data set has none; add a column "
            "'split' to labels.csv or choose another protocol."
        )
    split = np.asarray(split)
    values = [str(value) for value in np.unique(split)]
    if protocol == "official":
        train, test = (np.isin(split, [*names]) for names in (_TRAINING, _TESTING))
        if not (train.any() and test.any()):
            raise ValueError(
                "protocol='official' needs the splits 'train' and 'test', but the data set has "
                f"{', '.join(values)}; try protocol='folds'."
            )
        return {"test": (np.flatnonzero(train), np.flatnonzero(test))}
    if len(values) < 2 or set(values) <= _PARTS:
        raise ValueError(
            "protocol='folds' needs two splits at least, other than 'train' and 'test', but the "
            f"data set has {', '.join(values)}; try protocol='official' or 'groups'."
        )
    return _held_out(split)


def _group_splits(groups: npt.NDArray[Any], n_folds: int = _N_FOLDS) -> Splits:
    """Hold out each group once, or folds of groups where there are many."""
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError("All clips are of one group, so none can be held out.")
    if n_groups <= _MOST_GROUPS:
        return _held_out(groups)
    folds = GroupKFold(min(n_folds, n_groups)).split(np.zeros(len(groups)), groups=groups)
    return _numbered(folds, len(groups))


def resolve_splits(cv: Any, y: Any, groups: Any) -> Splits:
    """Turn what `linear_evaluation` takes as `cv` into named folds, and check them."""
    if groups is not None:
        groups = _known_groups(groups)
    if isinstance(cv, Mapping):
        n = len(y)
        splits = {str(name): (_indices(a, n), _indices(b, n)) for name, (a, b) in cv.items()}
    elif cv is None and groups is not None:
        splits = _group_splits(groups)
    else:
        splitter = check_cv(cv, y, classifier=True)
        with warnings.catch_warnings():
            # Whether groups are cut is looked at below.
            warnings.filterwarnings("ignore", "The groups parameter is ignored")
            splits = _numbered(splitter.split(np.zeros(len(y)), y, groups), len(y))
    if not splits:
        raise ValueError(f"cv={cv!r} has no folds.")
    for name, (train, test) in splits.items():
        if len(train) == 0 or len(test) == 0 or np.intersect1d(train, test).size:
            raise ValueError(f"Fold {name!r} must have clips for training and others for testing.")
        lowest, highest = (f(np.concatenate((train, test))) for f in (np.min, np.max))
        if lowest < 0 or highest >= len(y):
            raise ValueError(
                f"Fold {name!r} has clip {lowest if lowest < 0 else highest}, but clips are "
                f"numbered from 0 to {len(y) - 1}."
            )
        if len(np.unique(y[train])) < 2:
            raise ValueError(
                f"All training clips of fold {name!r} are of class {y[train][0]!s}, so there is "
                "nothing to tell apart; choose other folds."
            )
        if groups is not None:
            cut = np.intersect1d(groups[train], groups[test])
            if cut.size:
                raise ValueError(
                    f"Fold {name!r} has clips of group {cut[0]!s} on both sides, so that to know "
                    "the group would help; use cv=None, GroupKFold or LeaveOneGroupOut (on the "
                    "command line, --protocol groups)."
                )
    return splits


def _known_groups(groups: Any) -> npt.NDArray[Any]:
    """Return groups as an array, or raise a ValueError where one is missing or has no order."""
    check_known(groups, "group")
    groups = np.asarray(groups)
    try:
        np.unique(groups)
    except TypeError as error:
        raise ValueError(f"groups cannot be compared: {error}; make all of them text.") from error
    return groups


def _indices(which: Any, n_clips: int) -> Indices:
    """Return positions, also where a mask tells them."""
    which = np.asarray(which)
    if which.dtype != bool:
        return which
    if which.shape != (n_clips,):
        raise ValueError(f"A mask of cv has shape {which.shape}, but there are {n_clips} clips.")
    return np.flatnonzero(which)


def _held_out(values: npt.NDArray[Any]) -> Splits:
    folds = LeaveOneGroupOut().split(values, groups=values)
    return {str(values[test[0]]): (train, test) for train, test in folds}


def _numbered(folds: Iterable[tuple[Indices, Indices]], n_clips: int, kind: str = "") -> Splits:
    numbered = enumerate(folds, start=1)
    return {f"{kind}{i}": (_indices(a, n_clips), _indices(b, n_clips)) for i, (a, b) in numbered}
