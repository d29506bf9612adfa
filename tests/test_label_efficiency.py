"""Label-efficiency curves: who sees which labels, what is fitted how often, what is told."""

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from audiorep import ContrastiveAudioEncoder
from audiorep.evaluation import (
    LabelEfficiencyCurve,
    ResultStore,
    SupervisedAudioClassifier,
    label_efficiency_curve,
    linear_evaluation,
)
from audiorep.evaluation._fold import draw_labelled
from audiorep.evaluation._supervised import with_steps_for

N_CLIPS = 48


class Spy(TransformerMixin, BaseEstimator):
    """The columns that tell the class, and noise; remembers the clips that it was fitted on."""

    fits: list = []  # noqa: RUF012

    def __init__(self, random_state=None, noise=0.1):
        self.random_state = random_state
        self.noise = noise

    def fit(self, X, y=None):
        assert y is None
        Spy.fits.append((self.random_state, X[:, 0].astype(int).tolist()))
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        rng = np.random.default_rng(self.random_state)
        return X[:, 1:4] + self.noise * rng.normal(size=(len(X), 3))


class Classifier(ClassifierMixin, BaseEstimator):
    """A linear classifier that remembers its clips and labels."""

    fits: list = []  # noqa: RUF012

    def fit(self, X, y):
        Classifier.fits.append((X[:, 0].astype(int).tolist(), y.tolist()))
        self.model_ = LogisticRegression().fit(X[:, 1:4], y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X[:, 1:4])


@pytest.fixture(autouse=True)
def _forget():
    Spy.fits.clear()
    Classifier.fits.clear()


@pytest.fixture
def clips():
    """Rows whose first entry is their number and whose second tells the class, and groups."""
    rng = np.random.default_rng(0)
    y = np.arange(N_CLIPS) % 3
    X = rng.normal(size=(N_CLIPS, 6))
    X[:, 0] = np.arange(N_CLIPS)
    X[:, 1] += 3 * (y == 1)
    X[:, 2] += 3 * (y == 2)
    return X, y, np.arange(N_CLIPS) // 12


def of(result, name):
    return [record for record in result.records if record["encoder"] == name]


# ---------------------------------------------------------------------- the draws


def test_draws_are_balanced_nested_and_different():
    y = np.random.default_rng(0).permutation(np.repeat(["a", "b", "c"], [30, 30, 4]))
    drawn = {(n, d): draw_labelled(y, n, d) for n in (1, 2, 5, 30) for d in (0, 1, 2)}
    for (n_labels, draw), chosen in drawn.items():
        labels, counts = np.unique(y[chosen], return_counts=True)
        assert labels.tolist() == ["a", "b", "c"]
        assert counts.tolist() == [n_labels, n_labels, min(n_labels, 4)]
        assert np.unique(chosen).size == chosen.size
        assert np.isin(drawn[1, draw], chosen).all()
        np.testing.assert_array_equal(draw_labelled(y, n_labels, draw), chosen)
    assert len({tuple(drawn[5, draw]) for draw in (0, 1, 2)}) == 3
    np.testing.assert_array_equal(drawn[30, 0], np.arange(64))


def test_encoders_learn_from_all_clips_once_and_classifiers_from_few(clips):
    X, y, groups = clips
    entries = {"spy": Spy(), "supervised": Classifier()}
    label_efficiency_curve(entries, X, y, n_labels=(2, 4), n_draws=3, groups=groups)
    assert [seen for _, seen in Spy.fits] == [
        np.flatnonzero(groups != g).tolist() for g in range(4)
    ]
    assert len(Classifier.fits) == 4 * 2 * 3
    for i, (seen, labels) in enumerate(Classifier.fits):
        fold, (n_labels, draw) = i // 6, ((2, 4)[i % 6 // 3], i % 3)
        train = np.flatnonzero(groups != fold)
        assert seen == train[draw_labelled(y[train], n_labels, draw)].tolist()
        assert labels == y[seen].tolist()


def test_scores_are_those_of_a_classifier_on_the_drawn_rows(clips):
    X, y, groups = clips
    result = label_efficiency_curve(
        {"spy": Spy(noise=1.0)}, X, y, n_labels=(1, 3), n_draws=2, groups=groups
    )
    for record in of(result, "spy"):
        held_out = groups == int(record["fold"])
        encoder = Spy(noise=1.0, random_state=0).fit(X[~held_out])
        chosen = draw_labelled(y[~held_out], record["n_labels"], record["draw"])
        model = LogisticRegression()
        model.fit(encoder.transform(X[~held_out])[chosen], y[~held_out][chosen])
        assert record["accuracy"] == model.score(encoder.transform(X[held_out]), y[held_out])
        assert record["n_labelled"] == 3 * record["n_labels"]
        assert record["n_train"] == 36


def test_with_all_labels_it_is_a_linear_evaluation(clips):
    X, y, groups = clips
    entries = {"spy": Spy(noise=1.0), "supervised": Classifier()}
    arguments = {"groups": groups, "metrics": ["accuracy", "neighbor_accuracy"]}
    curve = label_efficiency_curve(entries, X, y, n_labels=[N_CLIPS], n_draws=1, **arguments)
    linear = linear_evaluation(entries, X, y, **arguments)
    for name in ("chance", "spy", "supervised"):
        for metric in arguments["metrics"]:
            expected = [record[metric] for record in of(linear, name)]
            assert [record[metric] for record in of(curve, name)] == expected


def test_a_union_is_a_feature_union_and_fits_nothing_twice(clips):
    X, y, groups = clips
    a, b = Spy(noise=2.0), Spy(noise=0.5)
    entries = {"a": a, "b": b, "FeatureUnion": FeatureUnion([("a", a), ("b", b)])}
    result = label_efficiency_curve(
        entries, X, y, n_labels=(1, 4), n_draws=2, groups=groups, unions={"union": ("a", "b")}
    )
    found = [record["accuracy"] for record in of(result, "union")]
    assert found == [record["accuracy"] for record in of(result, "FeatureUnion")]
    assert len(Spy.fits) == 4 * 4


def test_more_labels_help_and_draws_and_seeds_are_pooled(clips):
    X, y, groups = clips
    result = label_efficiency_curve(
        {"spy": Spy(noise=1.0)}, X, y, n_labels=(8, 1), n_draws=3, groups=groups,
        random_states=(0, 1),
    )  # fmt: skip
    one, eight = result.summary()["spy"]
    assert (one["n_labels"], eight["n_labels"]) == (1, 8)
    assert one["accuracy_mean"] < eight["accuracy_mean"]
    assert (one["n_folds"], one["n_draws"], one["n_seeds"], one["n_results"]) == (4, 3, 2, 24)
    found = {}
    for record in of(result, "spy"):
        if record["n_labels"] == 1:
            found.setdefault((record["fold"], record["draw"]), []).append(record["accuracy"])
    over_seeds = [np.mean(scores) for scores in found.values()]
    assert one["accuracy_mean"] == pytest.approx(np.mean(over_seeds))
    assert one["accuracy_std"] == pytest.approx(np.std(over_seeds))


def test_chance_knows_the_largest_class(clips):
    X, y, groups = clips
    y = np.where(np.arange(N_CLIPS) % 4 == 0, 0, 1)
    result = label_efficiency_curve({"spy": Spy()}, X, y, n_labels=(1, 2), groups=groups)
    assert len(of(result, "chance")) == 4 * 2
    assert {record["accuracy"] for record in of(result, "chance")} == {0.75}


# ---------------------------------------------------------------------- the supervised opponent


@pytest.mark.parametrize("n_labelled", [4, 8, 20, 30])
def test_the_supervised_network_gets_the_steps_of_all_clips(n_labelled):
    clips = np.random.default_rng(0).normal(size=(30, 800)).astype(np.float32)
    tiny = {"width": 4, "window_frames": 16, "batch_size": 8, "random_state": 0}
    classifier = with_steps_for(SupervisedAudioClassifier(**tiny), 30, n_labelled)
    classifier.fit(clips[:n_labelled], np.arange(n_labelled) % 2)
    wanted = len(ContrastiveAudioEncoder(**tiny).fit(clips).loss_curve_)
    assert wanted <= len(classifier.loss_curve_) < wanted + np.ceil(n_labelled / 8)


def test_a_budget_that_was_chosen_stays():
    classifier = SupervisedAudioClassifier(n_epochs=3)
    assert with_steps_for(classifier, 1000, 10).n_epochs == 3
    assert isinstance(with_steps_for(Classifier(), 1000, 10), Classifier)


def test_the_curve_gives_that_budget(monkeypatch, clips):
    X, y, _ = clips
    budgets = []

    def fit(self, X, y):
        budgets.append((len(X), self.n_epochs, self.random_state))
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X))

    monkeypatch.setattr(SupervisedAudioClassifier, "fit", fit)
    monkeypatch.setattr(SupervisedAudioClassifier, "predict", predict)
    entry = {"supervised": SupervisedAudioClassifier()}
    arguments = {"n_labels": (1, 12), "n_draws": 1, "cv": {"one": (range(36), range(36, 48))}}
    label_efficiency_curve(entry, X, y, **arguments, random_states=[5])
    assert budgets == [(3, 72, 5), (36, "auto", 5)]


# ---------------------------------------------------------------------- the store


def test_a_store_goes_on_and_takes_more_draws(clips, tmp_path):
    X, y, groups = clips
    arguments = {"groups": groups, "store": tmp_path / "set.jsonl"}
    entries = {"spy": Spy(), "supervised": Classifier()}
    first = label_efficiency_curve(entries, X, y, n_labels=(1, 2), n_draws=2, **arguments)
    fits = len(Spy.fits), len(Classifier.fits)
    again = label_efficiency_curve(entries, X, y, n_labels=(1, 2), n_draws=2, **arguments)
    assert (len(Spy.fits), len(Classifier.fits)) == fits
    assert again.to_dict() == first.to_dict()
    more = label_efficiency_curve(entries, X, y, n_labels=(1, 2, 4), n_draws=3, **arguments)
    assert len(Classifier.fits) == 4 * 3 * 3  # nothing twice
    assert len(of(more, "spy")) == 4 * 3 * 3
    kept = [r for r in of(more, "supervised") if r["n_labels"] < 4 and r["draw"] < 2]
    assert kept == of(first, "supervised")
    assert len(ResultStore(arguments["store"]).read()) == len(more.records)


def test_processes_change_nothing(clips):
    X, y, groups = clips
    arguments = {"n_labels": (1, 4), "n_draws": 2, "groups": groups}
    # Scaled, so that it converges, and no rounding decides.
    entry = {"supervised": make_pipeline(StandardScaler(), LogisticRegression())}
    one = label_efficiency_curve(entry, X, y, **arguments)
    two = label_efficiency_curve(entry, X, y, **arguments, n_jobs=2)
    assert one.summary() == two.summary()


# ---------------------------------------------------------------------- the result


def test_the_tables_hold_every_entry_and_number_of_labels(clips):
    X, y, groups = clips
    text = str(label_efficiency_curve({"spy": Spy()}, X, y, n_labels=(1, 4), groups=groups))
    assert "accuracy, with so many labels per class" in text
    assert "UAR, with so many labels per class" in text
    table = text.splitlines()[2:6]
    assert table[0].split() == ["encoder", "1", "4"]
    assert [row.split()[0] for row in table[2:]] == ["chance", "spy"]
    assert "mean ± standard deviation over 4 folds and 5 draws of labelled clips." in text


def test_a_result_becomes_json_and_a_frame(clips):
    X, y, groups = clips
    result = label_efficiency_curve({"spy": Spy()}, X, y, n_labels=(1, 4), n_draws=2, groups=groups)
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()
    frame = result.to_frame()
    assert len(frame) == 4 * 2 * (1 + 2)
    means = frame.groupby(["encoder", "n_labels"])["accuracy"].mean()
    assert means["spy", 4] == pytest.approx(result.summary()["spy"][1]["accuracy_mean"])
    assert repr(result) == "<LabelEfficiencyCurve of 2 entries, 24 results>"
    assert str(LabelEfficiencyCurve([], ["a"], ["accuracy"])) == "No result yet."


def test_a_classifier_that_does_not_converge_is_told(clips):
    X, y, groups = clips
    result = label_efficiency_curve(
        {"spy": Spy()}, X, y, n_labels=[4], groups=groups,
        classifier=LogisticRegression(max_iter=1),
    )  # fmt: skip
    assert "spy: the classifier did not converge in 20 of 20 fits." in str(result)


def test_progress_tells_labels_and_draw(clips, capsys):
    X, y, groups = clips
    label_efficiency_curve({"spy": Spy()}, X, y, n_labels=[4], groups=groups, verbose=1)
    assert "fold 3, seed 0, labels 4, draw 4, spy: accuracy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_labels": []}, r"n_labels=\[\] must hold whole numbers from 1 on"),
        ({"n_labels": [0, 1]}, r"n_labels=\[0, 1\] must hold whole numbers from 1 on"),
        ({"n_labels": 5}, r"n_labels=5 is no list; pass \[5\]"),
        ({"n_labels": [1.5]}, r"n_labels=\[1\.5\] must hold whole numbers"),
        ({"n_draws": 0}, "n_draws=0 must be a whole number, 1 at least"),
        ({"n_draws": 2.5}, r"n_draws=2\.5 must be a whole number"),
        ({"metrics": ["acuracy"]}, "There is no metric 'acuracy'"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message, clips):
    X, y, _ = clips
    with pytest.raises(ValueError, match=message):
        label_efficiency_curve({"spy": Spy()}, X, y, **arguments)
