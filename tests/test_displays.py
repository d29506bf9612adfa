"""Displays: what is drawn is what was found."""

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from audiorep import ContrastiveAudioEncoder
from audiorep.evaluation import (
    EmbeddingDisplay,
    LabelEfficiencyCurve,
    LabelEfficiencyDisplay,
    LinearEvaluation,
    TrainingCurveDisplay,
)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def curve():
    """Chance and an encoder, whose scores rise with the labels and differ between draws."""
    records = [
        {
            "encoder": name,
            "fold": "1",
            "seed": None,
            "n_labels": n_labels,
            "draw": draw,
            "n_labelled": n_labels,
            "n_not_converged": 0,
            "accuracy": score + 0.1 * draw,
            "mean_average_precision": None if name == "chance" else 0.5,
        }
        for n_labels in (1, 2, 10)
        for name, score, draws in (("chance", 0.1, (0,)), ("a", 0.3 + 0.02 * n_labels, (0, 1)))
        for draw in draws
    ]
    return LabelEfficiencyCurve(records, ["chance", "a"], ["accuracy", "mean_average_precision"])


@pytest.fixture
def groups_of_points():
    """Features of three classes that lie far from each other."""
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 20)
    return rng.normal(size=(60, 8)) + 9 * rng.normal(size=(3, 8)).repeat(20, axis=0), y


# ---------------------------------------------------------------------- label efficiency


def test_the_curve_shows_means_and_spreads(curve):
    display = LabelEfficiencyDisplay.from_result(curve)
    x, y = display.lines_["a"].get_data()
    np.testing.assert_array_equal(x, [1, 2, 10])
    np.testing.assert_allclose(y, [37, 39, 55])
    band = display.bands_["a"].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((32, 60))
    np.testing.assert_allclose(display.lines_["chance"].get_ydata(), 10)
    assert display.lines_["chance"].get_linestyle() == "--"
    assert display.ax_.get_xscale() == "log"
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == ["1", "2", "10"]
    assert display.ax_.get_ylabel() == "accuracy (%)"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["chance", "a"]


def test_the_curve_takes_axes_and_a_metric(curve):
    _, ax = plt.subplots()
    display = LabelEfficiencyDisplay.from_result(curve, metric="mean_average_precision", ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert list(display.lines_) == ["a"]  # the other has no such score
    np.testing.assert_allclose(display.lines_["a"].get_ydata(), 50)
    assert ax.get_ylabel() == "mAP (%)"
    with pytest.raises(ValueError, match="metric='recall' is none of accuracy, mean_average"):
        LabelEfficiencyDisplay.from_result(curve, metric="recall")
    with pytest.raises(ValueError, match="There is no accuracy to draw"):
        LabelEfficiencyDisplay.from_result(LabelEfficiencyCurve([], ["a"], ["accuracy"]))


# ---------------------------------------------------------------------- embedding


@pytest.mark.parametrize(
    "labels",
    [[0.5, np.nan, np.nan, 2], ["_silence_", None, "_silence_", "yes"], ["a", pd.NA, "b", pd.NA]],
)
def test_every_clip_is_drawn_and_every_label_in_the_legend(labels):
    labels = np.array(labels, dtype=object if isinstance(labels[0], str) else None)
    display = EmbeddingDisplay.from_features(np.eye(4), labels)
    assert sum(len(points.get_offsets()) for points in display.scatters_.values()) == 4
    shown = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert sorted(shown) == sorted({str(label) for label in labels})


def test_the_map_is_the_plane_of_most_variance(groups_of_points):
    features, y = groups_of_points
    _, ax = plt.subplots()
    display = EmbeddingDisplay.from_features(features, y, ax=ax)
    assert display.ax_ is ax
    expected = PCA(2, random_state=0).fit_transform(features)
    np.testing.assert_allclose(display.positions, expected)
    assert list(display.scatters_) == ["a", "b", "c"]
    np.testing.assert_allclose(display.scatters_["b"].get_offsets(), expected[20:40])
    assert len({tuple(s.get_facecolor()[0]) for s in display.scatters_.values()}) == 3
    assert "% of variance" in ax.get_xlabel()


def test_tsne_keeps_neighbours_and_its_seed(groups_of_points):
    features, y = groups_of_points
    display = EmbeddingDisplay.from_features(features, y, method="tsne")
    nearest = NearestNeighbors(n_neighbors=1).fit(display.positions).kneighbors()[1][:, 0]
    assert np.mean(y[nearest] == y) > 0.95
    again = EmbeddingDisplay.from_features(features, y, method="tsne")
    np.testing.assert_array_equal(again.positions, display.positions)
    assert display.ax_.get_xlabel() == "t-SNE 1"


def test_an_estimator_is_asked_for_its_features(groups_of_points):
    features, _ = groups_of_points
    kmeans = KMeans(4, random_state=0, n_init=1).fit(features)
    display = EmbeddingDisplay.from_estimator(kmeans, features)
    expected = EmbeddingDisplay.from_features(kmeans.transform(features))
    np.testing.assert_array_equal(display.positions, expected.positions)
    assert list(display.scatters_) == [None]
    assert display.ax_.get_legend() is None


def test_many_classes_have_different_colours():
    features = np.random.default_rng(0).normal(size=(26, 3))
    display = EmbeddingDisplay.from_features(features, np.repeat(np.arange(13), 2))
    assert len({tuple(s.get_facecolor()[0]) for s in display.scatters_.values()}) == 13


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "umap"}, "method='umap' is neither 'pca' nor 'tsne'"),
        ({"y": ["a"]}, "There are 60 clips, but 1 labels"),
    ],
)
def test_a_map_that_cannot_be_is_refused(groups_of_points, arguments, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingDisplay.from_features(groups_of_points[0], **arguments)


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (5,)])
def test_too_little_for_a_map_is_told(method, shape):
    with pytest.raises(ValueError, match="needs two clips and two features"):
        EmbeddingDisplay.from_features(np.ones(shape), method=method)


def test_clips_that_are_all_alike_are_one_point():
    display = EmbeddingDisplay.from_features(np.ones((5, 3)))
    assert np.abs(display.positions).max() == 0
    assert display.axis_names[0] == "PC 1 (0 % of variance)"


def test_the_curve_of_another_result_is_refused():
    with pytest.raises(TypeError, match=r"result is a LinearEvaluation; .*label_efficiency_curve"):
        LabelEfficiencyDisplay.from_result(LinearEvaluation([], [], ["accuracy"]))


# ---------------------------------------------------------------------- training


class Trained:
    """What was trained, and kept something of it."""

    def __init__(self, **kept):
        vars(self).update(kept)


def test_the_loss_of_an_encoder_is_drawn(waveforms):
    encoder = ContrastiveAudioEncoder(width=4, window_frames=32, n_epochs=3, random_state=0)
    display = TrainingCurveDisplay.from_estimator(encoder.fit(waveforms))
    steps, loss = display.lines_[0].get_data()
    np.testing.assert_allclose(loss, encoder.loss_curve_)
    np.testing.assert_allclose(steps, np.arange(1, len(encoder.loss_curve_) + 1))
    assert display.axes_[0].get_ylabel() == "loss"


def test_diagnostics_have_panels_and_span_the_training():
    history = {"alignment": [0.5, 0.2], "effective_rank": [3.0] * 8, "empty": [], "n_clips": 12}
    trained = Trained(loss_curve_=list(range(8)), history_=history)
    display = TrainingCurveDisplay.from_estimator(trained)
    labels = [ax.get_ylabel() for ax in display.axes_]
    assert labels == ["loss", "alignment", "effective rank"]
    np.testing.assert_array_equal(display.lines_[1].get_xdata(), [4, 8])
    np.testing.assert_array_equal(display.lines_[2].get_xdata(), np.arange(1, 9))
    assert all(ax.figure is display.figure_ for ax in display.axes_)
    more = Trained(history_={name: [1.0, 2.0] for name in "abcd"})
    assert len(TrainingCurveDisplay.from_estimator(more).figure_.axes) == 4


def test_training_is_drawn_on_axes_at_hand():
    trained = Trained(loss_curve_=[1.0, 0.5], history_={"alignment": [0.5, 0.2]})
    _, axes = plt.subplots(2)
    display = TrainingCurveDisplay.from_estimator(trained, ax=axes)
    assert list(display.axes_) == list(axes)
    _, ax = plt.subplots()
    alone = TrainingCurveDisplay.from_estimator(trained, ax=ax)
    assert [line.get_ydata().tolist() for line in alone.lines_] == [[1.0, 0.5]]
    with pytest.raises(ValueError, match="There are 2 curves, but 3 axes"):
        TrainingCurveDisplay.from_estimator(trained, ax=plt.subplots(3)[1])


@pytest.mark.parametrize("trained", [Trained(), Trained(loss_curve_=[])])
def test_what_was_not_trained_has_no_curve(trained):
    with pytest.raises(ValueError, match="This Trained has no curve to draw"):
        TrainingCurveDisplay.from_estimator(trained)


# ---------------------------------------------------------------------- without matplotlib


@pytest.mark.parametrize(
    "make",
    [
        lambda: LabelEfficiencyDisplay({}, "accuracy").plot(),
        lambda: EmbeddingDisplay(np.zeros((2, 2))).plot(),
        lambda: TrainingCurveDisplay({"loss": np.ones(2)}).plot(),
    ],
)
def test_without_matplotlib_the_error_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="Display draws with matplotlib, which is not installed"):
        make()
