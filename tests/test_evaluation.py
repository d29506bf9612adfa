"""Linear evaluation: what encoders get to see, what is stored, what is told."""

import functools
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold, PredefinedSplit
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Bunch
from sklearn.utils.estimator_checks import parametrize_with_checks

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder
from audiorep.evaluation import (
    LinearEvaluation,
    LogMelStatistics,
    MFCCStatistics,
    ResultStore,
    _store,
    label_efficiency_curve,
    linear_evaluation,
    protocol_splits,
)
from audiorep.evaluation._store import describe, fingerprint
from audiorep.nn import LogMel

N_CLIPS = 24


class Spy(TransformerMixin, BaseEstimator):
    """Three noisy columns; remembers, for the whole class, the clips that it was fitted on."""

    fits: list = []  # noqa: RUF012
    labels: list = []  # noqa: RUF012

    def __init__(self, random_state=None, noise=0.1):
        self.random_state = random_state
        self.noise = noise

    def fit(self, X, y=None):
        Spy.labels.append(y)
        Spy.fits.append((self.random_state, X[:, 0].astype(int).tolist()))
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        rng = np.random.default_rng(self.random_state)
        return X[:, 1:4] + self.noise * rng.normal(size=(len(X), 3))


class Majority(ClassifierMixin, BaseEstimator):
    """Predicts the largest class of the labels that it was fitted on."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.largest_ = max(self.classes_, key=list(y).count)
        return self

    def predict(self, X):
        return np.full(len(X), self.largest_)


class WithoutTransform(BaseEstimator):
    """An estimator that has nothing to offer here."""

    def fit(self, X, y=None):
        return self


class Named(TransformerMixin, BaseEstimator):
    """Refuses clips of zeros by their number among those that it is given."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        for i, clip in enumerate(X):
            if not np.any(clip):
                raise ValueError(f"clip {i} is silent; record it again.")
        return csr_array(X)


@pytest.fixture(autouse=True)
def _forget():
    Spy.fits.clear()
    Spy.labels.clear()


@pytest.fixture
def clips():
    """Rows whose first entry is their number and whose second tells the class, and groups."""
    rng = np.random.default_rng(0)
    y = np.arange(N_CLIPS) % 3
    X = rng.normal(size=(N_CLIPS, 6))
    X[:, 0] = np.arange(N_CLIPS)
    X[:, 1] += 3 * (y == 1)
    X[:, 2] += 3 * (y == 2)
    return X, y, np.arange(N_CLIPS) // 6


def scores(result, name):
    return [r["accuracy"] for r in result.records if r["encoder"] == name]


# ---------------------------------------------------------------------- baselines


@parametrize_with_checks([LogMelStatistics(n_mels=20), MFCCStatistics(n_mels=20, n_mfcc=5)])
def test_baselines_keep_the_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("statistics", [LogMelStatistics(), MFCCStatistics()])
def test_features_depend_on_the_clip_alone(statistics, tmp_path):
    rng = np.random.default_rng(0)
    waveforms = [0.1 * rng.normal(size=n).astype(np.float32) for n in (16000, 300, 9000)]
    paths = [tmp_path / f"{i}.flac" for i in range(3)]
    for path, waveform in zip(paths, waveforms, strict=True):
        soundfile.write(path, waveform, 16000, subtype="PCM_24")
    features = statistics.fit_transform(waveforms)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(statistics.transform(waveforms), features)
    np.testing.assert_array_equal(statistics.transform(waveforms[2:]), features[2:])
    np.testing.assert_allclose(statistics.transform(paths), features, atol=0.05)
    assert len(statistics.get_feature_names_out()) == features.shape[1]
    assert not hasattr(statistics, "n_features_in_")


def test_log_mel_statistics_are_what_their_names_say():
    rng = np.random.default_rng(0)
    X = 0.1 * rng.normal(size=(3, 8000)).astype(np.float32)
    statistics = LogMelStatistics().fit(X)
    features = statistics.transform(X) * statistics.scale_ + statistics.mean_
    log_mel = LogMel()(torch.from_numpy(X)).double().numpy()
    column = statistics.get_feature_names_out().tolist().index
    np.testing.assert_allclose(features[:, column("mel7_mean")], log_mel[:, 7].mean(1), rtol=1e-4)
    np.testing.assert_allclose(features[:, column("mel7_std")], log_mel[:, 7].std(1), rtol=1e-3)
    np.testing.assert_allclose(features[:, column("mel7_max")], log_mel[:, 7].max(1), rtol=1e-4)


def test_a_louder_clip_moves_the_first_cepstral_mean_only():
    X = 0.01 * np.random.default_rng(0).normal(size=(4, 8000)).astype(np.float32)
    statistics = MFCCStatistics().fit(X)
    moved = (statistics.transform(3 * X) - statistics.transform(X)) * statistics.scale_
    assert statistics.get_feature_names_out()[0] == "mfcc0_mean"
    # every log-mel rises by 2 log 3, and the first cosine is constant: 1 / sqrt(64) each
    np.testing.assert_allclose(moved[:, 0], 2 * np.log(3) * 8, rtol=1e-3)
    np.testing.assert_allclose(moved[:, 1:], 0, atol=0.01)


def test_more_coefficients_than_bands_are_refused():
    with pytest.raises(ValueError, match="n_mfcc=30 is larger than n_mels=20"):
        MFCCStatistics(n_mels=20, n_mfcc=30).fit(np.zeros((3, 800)))


# ---------------------------------------------------------------------- linear evaluation


def test_an_encoder_never_sees_test_clips(clips):
    X, y, groups = clips
    linear_evaluation({"spy": Spy()}, X, y, groups=groups)
    for group, (_, seen) in zip(np.unique(groups), Spy.fits, strict=True):
        assert seen == np.flatnonzero(groups != group).tolist()
    assert Spy.labels == [None] * 4


def test_scores_are_those_of_a_pipeline(clips):
    X, y, groups = clips
    result = linear_evaluation({"spy": Spy()}, X, y, groups=groups)
    expected = []
    for group in np.unique(groups):
        train, test = groups != group, groups == group
        model = make_pipeline(Spy(random_state=0), LogisticRegression()).fit(X[train], y[train])
        expected.append(accuracy_score(y[test], model.predict(X[test])))
    assert scores(result, "spy") == expected


class InTwoSteps(BaseEstimator):
    """An encoder that has no fit_transform."""

    def __init__(self, encoder, random_state=None):
        self.encoder = encoder
        self.random_state = random_state

    def fit(self, X):
        self.encoder_ = clone(self.encoder).set_params(random_state=self.random_state).fit(X)
        return self

    def transform(self, X):
        return self.encoder_.transform(X)


@pytest.mark.parametrize(
    "encoder",
    [
        ContrastiveAudioEncoder(width=4, window_frames=32, n_epochs=2),
        VQTransformerEncoder(width=64, n_layers=1, n_codes=8, window_frames=32, n_epochs=2),
    ],
    ids=["contrastive", "VQ-transformer"],
)
def test_files_are_read_less_often_and_nothing_changes(encoder, audio_files, monkeypatch):
    """Features of fit_transform give the same scores as those of fit and transform."""
    y, probability = [0, 1] * 6, ["accuracy", "neg_log_loss"]
    reads = []
    read = soundfile.SoundFile.__init__
    monkeypatch.setattr(
        soundfile.SoundFile, "__init__", lambda *a, **k: (reads.append(a[1]), read(*a, **k))[0]
    )
    counts, found = [], []
    for entry in (encoder, InTwoSteps(encoder)):
        reads.clear()
        result = linear_evaluation({"a": entry}, audio_files, y, cv=2, metrics=probability)
        counts.append(len(reads))
        found.append([record["neg_log_loss"] for record in result.records])
    assert found[0] == found[1]
    assert counts[0] < counts[1]


def test_a_union_equals_a_feature_union_and_fits_nothing_twice(clips):
    X, y, groups = clips
    a, b = Spy(noise=2.0), LogMelStatistics()
    together = FeatureUnion([("a", a), ("b", b)])
    result = linear_evaluation(
        {"a": a, "b": b, "FeatureUnion": together},
        X,
        y,
        groups=groups,
        unions={"union": ("a", "b")},
    )
    assert scores(result, "union") == scores(result, "FeatureUnion")
    assert len(Spy.fits) == 2 * 4
    found = result.summary()
    assert found["union"]["n_features"] == 3 + 192
    parts = found["a"]["fit_seconds"] + found["b"]["fit_seconds"]
    assert found["union"]["fit_seconds"] == pytest.approx(parts)


def test_seeds_differ_and_what_has_none_is_fitted_once(clips):
    X, y, groups = clips
    encoders = {"seeded": Spy(noise=3.0), "fixed": LogMelStatistics()}
    result = linear_evaluation(encoders, X, y, groups=groups, random_states=(0, 1, 2))
    assert sorted({seed for seed, _ in Spy.fits}) == [0, 1, 2]
    assert {r["seed"] for r in result.records if r["encoder"] == "fixed"} == {None}
    by_seed = {}
    for record in result.records:
        if record["encoder"] == "seeded":
            by_seed.setdefault(record["seed"], []).append(record["accuracy"])
    assert len({tuple(values) for values in by_seed.values()}) > 1
    found = result.summary()["seeded"]
    means = [np.mean(values) for values in by_seed.values()]
    assert found["accuracy_mean"] == pytest.approx(np.mean(means))
    assert found["accuracy_seed_std"] == pytest.approx(np.std(means))
    assert found["accuracy_std"] == pytest.approx(np.std(np.mean(list(by_seed.values()), axis=0)))


def test_a_store_goes_on_where_it_was_cut(clips, tmp_path):
    X, y, groups = clips
    store = tmp_path / "results" / "set.jsonl"
    arguments = {"groups": groups, "store": store, "unions": {"both": ("a", "b")}}
    encoders = {"a": Spy(), "b": Spy(noise=1.0)}
    first = linear_evaluation(encoders, X, y, **arguments)
    assert len(Spy.fits) == 8
    again = linear_evaluation(encoders, X, y, **arguments)
    assert len(Spy.fits) == 8
    assert again.to_dict() == first.to_dict()

    lines = store.read_text().splitlines()
    store.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20] + "\n\0\0")  # killed
    Spy.fits.clear()
    resumed = linear_evaluation(encoders, X, y, **arguments)
    assert len(Spy.fits) == 2  # the last union wants its members
    assert resumed.summary()["both"]["accuracy_mean"] == first.summary()["both"]["accuracy_mean"]
    assert len(ResultStore(store).read()) == len(lines)


class Factor(torch.nn.Module):
    """Has the same representation whatever it does."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.register_buffer("kept", torch.tensor(factor))


def add(amount):
    return lambda x: x + amount


def test_what_is_stored_of_one_function_or_module_is_not_that_of_another():
    functions = [lambda x: x, lambda x: 0 * x, lambda x, by=2: x * by, lambda x, by=3: x * by]
    parameters = [*functions, add(1), add(2), np.log, np.exp, {"a": add(1)}, {"a": add(2)}]
    parameters += [[Factor(1.0)], [Factor(2.0)], torch.nn.Sequential(Factor(1.0)), torch.ones(2)]
    texts = [describe(FunctionTransformer(parameter))["func"] for parameter in parameters]
    assert len(set(texts)) == len(parameters)
    for again in (add(1), [Factor(2.0)], np.exp):
        assert describe(FunctionTransformer(again))["func"] in texts


def test_what_holds_itself_is_described():
    held = [1]
    held.append(held)

    def recursive(x):
        return recursive(x - 1) if x else held

    assert "itself" in describe(FunctionTransformer(recursive))["func"]


def test_data_are_told_apart_in_a_table_of_one_column(tmp_path):
    for name, value in (("a", 0.1), ("b", 0.2)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(1000, value), 8000)
    tables = [pd.DataFrame({"file": [str(tmp_path / f"{name}.wav")] * 2}) for name in "ab"]
    first, second = (fingerprint(table, [0, 1]) for table in tables)
    assert first != second
    assert first == fingerprint(list(tables[0]["file"]), [0, 1])


def test_what_is_stored_tells_parameters_of_all_that_is_within():
    def search(C, values=(0, 1)):
        choices = {"logisticregression": [LogisticRegression(C=C)]}
        folds = PredefinedSplit(np.repeat(values, 2000))
        return GridSearchCV(make_pipeline(LogisticRegression()), choices, cv=folds)

    first, *others = (describe(search(*a)) for a in ((1.0,), (2.0,), (1.0, (1, 0)), (1.0, (0, 1))))
    assert [first == other for other in others] == [False, False, True]


def test_what_calls_and_objects_hold_is_described():
    class Holder:
        def __init__(self, function, number):
            self.function, self.number = function, number

        def call(self, x):
            return self.function(x)

    holders = [Holder(add(1), 0), Holder(add(2), 0), Holder(add(1), 1)]
    values = [*holders, *(holder.call for holder in holders)]
    values += [functools.partial(add(1), 2), functools.partial(add(2), 2), functools.partial(add)]
    values += [functools.cache(add(1)), functools.cache(add(2)), pd.Series([1]), pd.Series([2])]
    values += [np.random.RandomState(0), np.random.RandomState(1)]
    texts = [describe(FunctionTransformer(value))["func"] for value in values]
    assert len(set(texts)) == len(values)
    for again in (Holder(add(2), 0).call, functools.cache(add(2)), pd.Series([1])):
        assert describe(FunctionTransformer(again))["func"] in texts


def test_a_function_whose_surroundings_are_not_there_yet_is_described():
    def early():
        return late

    assert describe(FunctionTransformer(early))["func"].endswith("[]]")
    late = 1
    assert early() == late


def test_sets_are_described_in_the_same_order_everywhere():
    script = (
        "from audiorep.evaluation._store import _text;"
        "print(_text(lambda x: x in {'a', 'b', 'c', 'd'}), _text({'kept': {'a', 'b', 'c', 'd'}}))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(texts) == 1


@pytest.mark.parametrize("text", ["file,label\na.wav,x\n", '{"key": "a"}\n[1]\n', '{"a": 1}\n'])
def test_a_store_that_is_none_is_left_alone(tmp_path, clips, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    X, y, _ = clips
    with pytest.raises(ValueError, match=r"Line \d of .*labels.csv' is no result; take another"):
        linear_evaluation({"spy": Spy()}, X, y, store=path)
    assert path.read_text() == text


def test_a_clip_is_named_by_its_number_among_all(clips):
    X, y, _ = clips
    X[20] = 0
    halves = np.arange(12), np.arange(12, 24)
    for train, test in (halves, halves[::-1]):
        for encoder in (Named(), make_pipeline(Named(), LogisticRegression())):
            with pytest.raises(ValueError, match=r"^clip 20 is silent; record it again\.$"):
                linear_evaluation({"named": encoder}, X, y, cv={"a": (train, test)})
    few = {"n_labels": [12], "n_draws": 1, "cv": {"a": halves[::-1]}}
    with pytest.raises(ValueError, match=r"^clip 20 is silent"):
        label_efficiency_curve({"named": encoder}, X, y, **few)


def test_features_may_be_sparse_and_folds_masks_and_labels_objects(clips):
    X, y, groups = clips
    names = pd.Series(np.array(["x", "y", "z"])[y], dtype=object)
    first = linear_evaluation({"named": Named()}, X, names, groups=groups, random_states=(0, 0))
    masks = {str(g): (groups != g, groups == g) for g in range(4)}
    again = linear_evaluation({"named": Named()}, X, list(y.astype(object)), cv=masks)
    assert scores(first, "named") == scores(again, "named")
    assert len(scores(first, "named")) == 4


def test_where_no_class_is_known_nothing_can_be_found(clips):
    X, y, _ = clips
    fold = {"new": (np.flatnonzero(y != 2), np.flatnonzero(y == 2))}
    metrics = ["accuracy", "mean_average_precision"]
    (_, record) = linear_evaluation({"named": Named()}, X, y, cv=fold, metrics=metrics).records
    assert record["accuracy"] == 0
    assert record["mean_average_precision"] is None


def test_what_is_stored_may_be_renamed(clips, tmp_path):
    """Neither the name of an entry nor that of a fold is a setting."""
    X, y, _ = clips
    store, half = tmp_path / "set.jsonl", np.arange(N_CLIPS // 2)
    split = half, half + len(half)
    first = linear_evaluation({"a": Spy(), "twin": Spy()}, X, y, cv={"1": split}, store=store)
    Spy.fits.clear()
    again = linear_evaluation({"b": Spy(), "c": Spy()}, X, y, cv={"one": split}, store=store)
    assert not Spy.fits
    assert [r["encoder"] for r in again.records] == ["chance", "b", "c"]
    assert {r["fold"] for r in again.records} == {"one"}
    assert scores(again, "b") == scores(again, "c") == scores(first, "a")


@pytest.mark.parametrize("change", ["parameter", "seed", "labels", "clips", "folds", "classifier"])
def test_what_changes_results_is_computed_again(change, clips, tmp_path):
    X, y, groups = clips
    store = tmp_path / "set.jsonl"
    linear_evaluation({"a": Spy()}, X, y, groups=groups, store=store)
    Spy.fits.clear()
    encoder, arguments = Spy(), {"groups": groups}
    if change == "parameter":
        encoder = Spy(noise=0.2)
    elif change == "seed":
        arguments["random_states"] = [1]
    elif change == "labels":
        y = y[::-1]
    elif change == "clips":
        X = X + 1e-3
    elif change == "folds":
        arguments["cv"] = GroupKFold(2)
    else:
        arguments["classifier"] = LogisticRegression(C=0.1)
    linear_evaluation({"a": encoder}, X, y, store=store, **arguments)
    assert Spy.fits


def test_an_altered_file_is_another_clip(audio_files, tmp_path):
    arguments = {"cv": 2, "store": tmp_path / "set.jsonl"}
    encoders, y = {"log-mel": LogMelStatistics(n_mels=20)}, [0, 1] * 6
    first = linear_evaluation(encoders, audio_files, y, **arguments)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = [shutil.copy(path, elsewhere) for path in audio_files]
    assert linear_evaluation(encoders, moved, y, **arguments).to_dict() == first.to_dict()
    altered = bytearray(Path(moved[3]).read_bytes())
    altered[-2] ^= 1  # of the last timestep; the file stays as long as it was
    Path(moved[3]).write_bytes(altered)
    linear_evaluation(encoders, moved, y, **arguments)
    assert len(ResultStore(arguments["store"]).read()) == 2 * len(first.records)


def test_a_store_keeps_notes(tmp_path, clips):
    X, y, groups = clips
    store = ResultStore(tmp_path / "set.jsonl", notes={"revision": "abc"})
    linear_evaluation({"a": Spy()}, X, y, groups=groups, store=store)
    record = json.loads(store.path.read_text().splitlines()[0])
    assert record["notes"] == {"revision": "abc"}
    assert record["versions"]["audiorep"]
    assert str(tmp_path) not in store.path.read_text()


def test_groups_are_never_cut(clips):
    X, y, groups = clips
    with pytest.raises(ValueError, match="has clips of group 1 on both sides"):
        linear_evaluation({"spy": Spy()}, X, y, groups=groups, cv=3)
    many = np.arange(N_CLIPS) // 2
    linear_evaluation({"spy": Spy()}, X, y, groups=many)
    assert len(Spy.fits) == 5
    for _, seen in Spy.fits:
        assert not set(many[seen]) & set(np.delete(many, seen))


def test_a_classifier_is_fitted_with_labels_and_predicts(clips):
    X, y, groups = clips
    y = np.where(y == 2, 1, y)
    result = linear_evaluation({"supervised": Majority()}, X, y, groups=groups)
    assert scores(result, "supervised") == scores(result, "chance")
    assert result.summary()["supervised"]["n_features"] is None


def test_chance_is_the_largest_class(clips):
    X, y, groups = clips
    found = linear_evaluation({"spy": Spy()}, X, y, groups=groups).summary()["chance"]
    assert found["accuracy_mean"] == found["balanced_accuracy_mean"] == pytest.approx(1 / 3)


def test_a_classifier_that_does_not_converge_is_told(clips):
    X, y, groups = clips
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        result = linear_evaluation(
            {"spy": Spy()}, X, y, groups=groups, classifier=LogisticRegression(max_iter=1)
        )
    assert result.summary()["spy"]["n_not_converged"] == 4
    assert "spy: the classifier did not converge in 4 of 4 fits." in str(result)


def test_processes_change_nothing(clips):
    X, y, groups = clips
    encoders = {"a": LogMelStatistics(n_mels=20)}
    one = linear_evaluation(encoders, X, y, groups=groups)
    two = linear_evaluation(encoders, X, y, groups=groups, n_jobs=2)
    assert sorted(scores(one, "a")) == sorted(scores(two, "a"))


def test_lists_and_paths_are_evaluated(tmp_path):
    rng = np.random.default_rng(0)
    y = [0, 1] * 6
    X = [0.1 * rng.normal(size=4000 + 100 * i) * (1 + 4 * y[i]) for i in range(12)]
    paths = [str(tmp_path / f"{i}.wav") for i in range(12)]
    for path, waveform in zip(paths, X, strict=True):
        soundfile.write(path, waveform / 2, 16000)
    for clips_ in (X, paths, np.array(paths, dtype=object)):
        result = linear_evaluation({"log-mel": LogMelStatistics()}, clips_, y, cv=2)
        assert result.summary()["log-mel"]["accuracy_mean"] == 1.0


def test_progress_goes_to_standard_error(clips, capsys):
    X, y, groups = clips
    linear_evaluation({"spy": Spy()}, X, y, groups=groups, verbose=1)
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 8
    assert "[8/8] fold 3, seed 0, spy: accuracy" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [0, 1]}, "must have one entry per clip, but have 24, 2"),
        ({"unions": {"spy": ("spy",)}}, "must have different names"),
        ({"unions": {"both": ("spy", "other")}}, "has the member 'other'"),
        ({"cv": {"one": ([0, 1], [1, 2])}}, "Fold 'one' must have clips"),
        ({"y": None}, "y is None, but X and y must be"),
        ({"y": ["a", None] * 12}, "label of clip 1 is None"),
        ({"y": np.eye(3)[[0, 1, 2] * 8]}, r"y has shape \(24, 3\), but should have one entry"),
        ({"y": np.linspace(0, 1, 24)}, "Unknown label type: continuous"),
        ({"y": csr_array(np.eye(24))}, r"y has shape \(\), but should have one entry"),
        ({"groups": np.zeros((24, 2))}, r"groups has shape \(24, 2\), but"),
        ({"random_states": [0, None]}, r"random_states=\[0, None\] must hold whole numbers"),
        ({"X": iter(())}, "X is a tuple_iterator, but X and y must be"),
        ({"encoders": Spy()}, "encoders is a Spy, but should be a dict"),
        ({"encoders": {"spy": Spy}}, r"encoders\['spy'\] is .*should be an estimator"),
        ({"metrics": "accuracy"}, r"metrics='accuracy' is no list; pass \['accuracy'\]"),
        ({"random_states": 3}, r"random_states=3 is no list; pass \[3\]"),
        ({"unions": {"both": "spy"}}, r"unions\['both'\]='spy' is no list"),
        ({"unions": {"both": []}}, "The union 'both' has no members"),
        ({"random_states": ()}, "random_states is empty"),
        ({"cv": {}}, "has no folds"),
        ({"cv": {"one": ([0, 1, -1], [22, 23])}}, "Fold 'one' has clip -1, but .* from 0 to 23"),
        ({"cv": {"one": ([0, 1], [24])}}, "Fold 'one' has clip 24"),
        ({"cv": {"one": ([True, False], [False, True])}}, r"mask of cv has shape \(2,\), but"),
        ({"cv": {"one": ([0, 3, 6], [1])}}, "training clips of fold 'one' are of class 0"),
        ({"groups": [np.nan, *range(23)]}, "group of clip 0 is NaN; leave out"),
        ({"groups": ["a", np.nan] * 12}, "group of clip 1 is NaN; leave out"),
        ({"groups": pd.Series(["a", 1] * 12)}, "groups cannot be compared"),
        ({"classifier": "svm"}, "classifier='svm', but should be an estimator"),
        ({"encoders": {"spy": WithoutTransform()}}, "neither transforms nor classifies"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message, clips):
    X, y, _ = clips
    with pytest.raises(ValueError, match=message):
        linear_evaluation(**{"encoders": {"spy": Spy()}, "X": X, "y": y, **arguments})


def test_labels_and_groups_may_be_columns_and_folds_masks(clips):
    X, y, groups = clips
    metrics = ["accuracy", "neighbor_accuracy", "mean_average_precision"]
    spies = {"spy": Spy(random_state=0)}
    plain = linear_evaluation(spies, X, y, groups=groups, metrics=metrics)
    columns = pd.DataFrame({"label": y}), pd.DataFrame({"group": groups})
    framed = linear_evaluation(spies, X, columns[0], groups=columns[1], metrics=metrics)
    cv = [(groups != group, groups == group) for group in range(4)]
    masked = linear_evaluation(spies, X, y, cv=cv, metrics=metrics)
    for metric in metrics:
        expected = [r[metric] for r in plain.records]
        assert [r[metric] for r in framed.records] == expected
        assert [r[metric] for r in masked.records] == expected


def test_files_are_read_for_a_store_alone(tmp_path, monkeypatch):
    """To fingerprint a large folder takes its time."""
    read = []
    digest_of_file = _store._digest_of_file
    monkeypatch.setattr(
        _store, "_digest_of_file", lambda path: read.append(path) or digest_of_file(path)
    )
    paths = [tmp_path / f"{i}.wav" for i in range(12)]
    for i, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 2000), 16000)
    y = [0, 1] * 6
    linear_evaluation({"log-mel": LogMelStatistics()}, paths, y, cv=3)
    assert not read
    linear_evaluation({"log-mel": LogMelStatistics()}, paths, y, cv=3, store=tmp_path / "store")
    assert len(read) == 12


# ---------------------------------------------------------------------- the result


def test_the_table_holds_every_row_and_its_controls(clips):
    X, y, groups = clips
    text = str(linear_evaluation({"spy": Spy()}, X, y, groups=groups))
    header, rule, *rows = text.splitlines()
    assert "UAR" in header
    assert set(rule) == {"-"}
    assert [row.split()[0] for row in rows[:2]] == ["chance", "spy"]
    assert len({len(line) for line in (header, rule, *rows[:2])}) == 1
    assert "mean ± standard deviation over 4 folds" in text


def test_a_result_becomes_json_and_a_frame(clips):
    X, y, groups = clips
    result = linear_evaluation({"spy": Spy()}, X, y, groups=groups)
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()
    frame = result.to_frame()
    assert len(frame) == 8
    assert frame["accuracy"].dtype == float


def test_no_result_is_no_error():
    assert str(LinearEvaluation([], ["a"], ["accuracy"])) == "No result yet."


# ---------------------------------------------------------------------- protocols


def bunch(**columns):
    return Bunch(target=np.arange(12) % 2, **columns)


def test_published_folds_are_held_out_by_name():
    data = bunch(split=np.repeat(["1", "2", "3"], 4), groups=np.arange(12))
    splits = protocol_splits(data)
    assert list(splits) == ["1", "2", "3"]
    assert splits["2"][1].tolist() == [4, 5, 6, 7]
    assert np.intersect1d(*splits["2"]).size == 0


def test_auto_takes_groups_when_there_are_no_folds():
    groups = np.repeat(["ann", "bob", "cyd"], 4)
    assert list(protocol_splits(bunch(split=["train", "test"] * 6, groups=groups))) == [
        "ann",
        "bob",
        "cyd",
    ]
    assert list(protocol_splits(bunch(groups=np.arange(12)), "groups", n_folds=2)) == ["1", "2"]


@pytest.mark.parametrize("columns", [{}, {"split": ["test"] * 12}])
def test_random_folds_are_called_random(columns):
    splits = protocol_splits(bunch(**columns), n_folds=3)
    assert list(splits) == ["random 1", "random 2", "random 3"]
    assert sorted(np.concatenate([test for _, test in splits.values()])) == list(range(12))


def test_the_official_split_is_taken_as_it_is():
    splits = protocol_splits(bunch(split=["train", "test", "test"] * 4), "official")
    assert splits["test"][0].tolist() == [0, 3, 6, 9]
    assert len(splits["test"][1]) == 8


@pytest.mark.parametrize("protocol", ["auto", "official"])
def test_clips_for_validation_are_left_out(protocol):
    splits = protocol_splits(bunch(split=["training", "validation", "testing"] * 4), protocol)
    assert list(splits) == ["test"]
    assert [side.tolist() for side in splits["test"]] == [[0, 3, 6, 9], [2, 5, 8, 11]]


@pytest.mark.parametrize(
    ("protocol", "columns", "message"),
    [
        ("folds", {}, "protocol='folds' needs splits, and the data set has none"),
        ("folds", {"split": ["train", "test"] * 6}, "try protocol='official'"),
        ("folds", {"split": ["training", "dev", "testing"] * 4}, "try protocol='official'"),
        ("official", {"split": ["train", "val"] * 6}, "but the data set has train, val"),
        ("official", {"split": ["1", "2"] * 6}, "but the data set has 1, 2; try protocol='folds'"),
        ("groups", {}, "needs groups, and the data set has none"),
        ("groups", {"groups": ["a"] * 12}, "All clips are of one group"),
        ("nonsense", {}, "is none of auto, folds, groups, official"),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused(protocol, columns, message):
    with pytest.raises(ValueError, match=message):
        protocol_splits(bunch(**columns), protocol)


def test_labels_are_needed():
    with pytest.raises(ValueError, match="has no labels"):
        protocol_splits(Bunch(target=None))
