"""The supervised control: a classifier that keeps the contract, with the encoders' means."""

import pickle
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from audiorep import ContrastiveAudioEncoder
from audiorep.datasets import load_audio_folder, make_instrument_notes
from audiorep.evaluation import SupervisedAudioClassifier, _entries, linear_evaluation
from audiorep.evaluation._classification import ClassificationObjective, ConvWindowClassifier
from audiorep.evaluation._environment import code_fingerprint

TINY = SupervisedAudioClassifier(
    width=4, window_frames=32, n_epochs=3, batch_size=8, learning_rate=1e-2, random_state=0
)
LABELS = ["b", "a", "c"] * 4


@pytest.fixture
def classifier():
    return clone(TINY)


@pytest.fixture
def fitted(waveforms):
    return clone(TINY).fit(waveforms, LABELS)


@parametrize_with_checks([TINY])
def test_common_checks(estimator, check):
    check(estimator)


def test_what_it_shares_with_the_contrastive_encoder():
    """The bar and what is measured by it differ in the objective, and what suits it."""
    ours, theirs = SupervisedAudioClassifier(), ContrastiveAudioEncoder()
    shared = ours.get_params().keys() - {"weight_decay"}
    assert {n: getattr(ours, n) for n in shared} == {n: getattr(theirs, n) for n in shared}
    network = theirs._build(theirs._settings())
    classifier = ours._build({**theirs._settings(), "n_classes": 3})
    weights = {n: w.shape for n, w in network.state_dict().items()}
    assert weights.items() <= {n: w.shape for n, w in classifier.state_dict().items()}.items()


def test_it_takes_as_many_steps_as_the_contrastive_encoder(waveforms):
    encoder = ContrastiveAudioEncoder(width=4, window_frames=32, batch_size=8)
    classifier = clone(TINY).set_params(n_epochs="auto").fit(waveforms, LABELS)
    assert len(classifier.loss_curve_) == len(encoder.fit(waveforms).loss_curve_)


def test_another_default_dtype_of_torch_changes_nothing(fitted, waveforms):
    plain = fitted.predict_proba(waveforms)
    torch.set_default_dtype(torch.float64)
    try:
        others = clone(TINY).fit(waveforms, LABELS).predict_proba(waveforms)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(plain, others)


def test_a_clips_probabilities_are_the_geometric_mean_over_its_windows(fitted):
    clip = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    (source,) = fitted._sources([clip])
    (log_mel,) = source.blocks
    n_frames = log_mel.shape[1]
    assert n_frames == 101
    windows = [log_mel[:, start : start + 32] for start in (0, 16, 32, 48, 64)]
    # The last window starts at a multiple of 16 and is padded.
    windows.append(torch.nn.functional.pad(log_mel[:, 80:], (0, 11)))
    product = np.ones(3)
    for window, n_valid in zip(windows, [32] * 5 + [21], strict=True):
        logits = fitted.module_(window[None].float(), torch.tensor([n_valid]))
        product *= logits.softmax(1)[0].numpy().astype(float) ** (1 / 6)
    np.testing.assert_allclose(fitted.predict_proba([clip])[0], product / product.sum(), rtol=1e-4)


def test_a_clip_does_not_depend_on_its_company(fitted, waveforms):
    together = fitted.predict_proba(waveforms)
    np.testing.assert_array_equal(fitted.predict_proba(waveforms[::-1])[::-1], together)
    for i in (0, 5, 11):
        np.testing.assert_array_equal(fitted.predict_proba(waveforms[i : i + 1])[0], together[i])


def test_arrays_and_files_are_classified_the_same(fitted, waveforms, audio_files):
    probabilities = fitted.predict_proba(waveforms)
    np.testing.assert_array_equal(fitted.predict_proba(audio_files), probabilities)
    from_files = clone(fitted).fit(audio_files, LABELS)
    np.testing.assert_array_equal(from_files.predict_proba(waveforms), probabilities)
    assert not hasattr(from_files, "n_features_in_")


@pytest.mark.parametrize("labels", [LABELS, np.repeat([7, 3], 6), np.repeat([True, False], 6)])
def test_labels_are_given_back_as_they_came(classifier, waveforms, labels):
    classifier.fit(waveforms, labels)
    np.testing.assert_array_equal(classifier.classes_, np.unique(labels))
    best = classifier.predict_proba(waveforms).argmax(axis=1)
    np.testing.assert_array_equal(classifier.predict(waveforms), classifier.classes_[best])
    hits = classifier.predict(waveforms) == np.asarray(labels)
    assert classifier.score(waveforms, labels) == hits.mean()


def test_it_learns():
    notes = make_instrument_notes(48, n_timbres=4, duration=0.4, random_state=0)
    # Batches large enough that the loss of ten steps is no matter of luck.
    classifier = SupervisedAudioClassifier(width=8, n_epochs=24, batch_size=16, random_state=0)
    classifier.fit(notes.data, notes.target)
    assert np.mean(classifier.loss_curve_[-10:]) < np.mean(classifier.loss_curve_[:10]) - 0.4
    assert classifier.score(notes.data, notes.target) > 0.8


def test_same_seed_same_bits(classifier, waveforms):
    first = clone(classifier).fit(waveforms, LABELS).predict_proba(waveforms)
    again = clone(classifier).fit(waveforms, LABELS).predict_proba(waveforms)
    other = clone(classifier).set_params(random_state=1).fit(waveforms, LABELS)
    np.testing.assert_array_equal(first, again)
    assert np.abs(other.predict_proba(waveforms) - first).max() > 1e-3


def test_a_saved_classifier_predicts_the_same(fitted, waveforms, tmp_path):
    joblib.dump(fitted, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    expected = fitted.predict_proba(waveforms)
    np.testing.assert_array_equal(loaded.predict_proba(waveforms), expected)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(fitted)).predict_proba(waveforms), expected
    )
    assert all(isinstance(w, np.ndarray) for w in fitted.__getstate__()["module_"].values())


def test_broken_clips_are_left_out_with_their_labels(classifier, audio_files, tmp_path):
    mixed = [audio_files[0], "nowhere.wav", *audio_files[1:]]
    labels = [LABELS[0], "heard nowhere else", *LABELS[1:]]
    with pytest.raises(FileNotFoundError, match="clip 1 "):
        classifier.fit(mixed, labels)
    classifier.set_params(on_error="skip")
    with pytest.warns(UserWarning, match=r"(?s)1 of 13 clips were left out.*nowhere") as caught:
        probabilities = classifier.fit(mixed, labels).predict_proba(audio_files)
    assert caught[0].filename == __file__
    assert list(classifier.classes_) == ["a", "b", "c"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = clone(classifier).fit(audio_files, LABELS).predict_proba(audio_files)
    np.testing.assert_array_equal(probabilities, expected)


def test_a_failed_fit_changes_nothing(fitted, waveforms):
    before = fitted.predict_proba(waveforms)
    with pytest.raises(FileNotFoundError):
        fitted.fit(["nowhere.wav", "nor here.wav"], ["x", "y"])
    np.testing.assert_array_equal(fitted.predict_proba(waveforms), before)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 12, "y has 1 class, a, but a classifier needs two"),
        (["a", "b"], "inconsistent numbers of samples"),
        (np.linspace(0, 1, 12), "Unknown label type"),
        ([0, 1, np.nan] * 4, "label of clip 2 is NaN"),
        (None, "requires y to be passed"),
        (["a", "b", None] * 4, "label of clip 2 is None; leave out"),
        (pd.Series(["a", "b", pd.NA] * 4, dtype="string"), "label of clip 2 is <NA>"),
        (pd.Series(["a", "b", float("nan")] * 4, dtype=object), "label of clip 2 is NaN"),
    ],
)
def test_wrong_labels_are_refused_before_clips_are_read(classifier, labels, message):
    with pytest.raises(ValueError, match=message):
        classifier.fit(["nowhere.wav"] * 12, labels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window_frames": 100}, "window_frames=100 must be a multiple of 16"),
        ({"hop_length": 600}, "frames would leave gaps"),
        ({"width": 0}, "'width' parameter"),
    ],
)
def test_bad_parameters(classifier, waveforms, parameters, message):
    with pytest.raises(ValueError, match=message):
        classifier.set_params(**parameters).fit(waveforms, LABELS)


def test_cross_validation_and_grid_search(classifier, audio_files):
    assert len(cross_val_score(classifier, audio_files, LABELS, cv=2, scoring="neg_log_loss")) == 2
    search = GridSearchCV(classifier, {"width": [4, 8]}, cv=2)
    search.fit(audio_files, LABELS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_verbose_shows_progress(classifier, waveforms, capsys):
    classifier.set_params(verbose=1).fit(waveforms, LABELS)
    shown = capsys.readouterr().err
    assert "read 12 clips" in shown
    assert "loss" in shown


# ---------------------------------------------------------------------- the objective


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ConvWindowClassifier(n_mels=16, n_frames=32, width=4, n_classes=3)


def test_the_loss_is_the_cross_entropy_of_mean_logits_and_shares(network):
    """In eval() nothing is augmented, and the closed form holds."""
    shares = torch.tensor([0.2, 0.3, 0.5])
    objective = ClassificationObjective(network, shares).eval()
    first, second = torch.randn(2, 4, 16, 32)
    targets = torch.tensor([0, 2, 1, 1])
    loss = objective(torch.cat((first, second)), torch.tensor([32] * 8), targets)
    expected = 0.0
    for i in range(4):
        logits = [network(c[i : i + 1], torch.tensor([32]))[0] for c in (first, second)]
        log_p = ((logits[0] + logits[1]) / 2 + shares.log()).log_softmax(0)
        expected -= log_p[targets[i]].item() / 4
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_shares_of_classes_are_no_evidence(network):
    """Clips that all look the same: the loss is least where every class is as likely."""
    labels = torch.tensor([0] * 9 + [1] * 3 + [2] * 6)
    shares = torch.bincount(labels) / len(labels)
    objective = ClassificationObjective(network, shares).eval()
    linear = network.head[1]
    crops, n_valid = torch.zeros(18, 16, 32), torch.full((18,), 32)
    gradients = []
    for bias in (torch.zeros(3), shares.log()):
        linear.weight.data.zero_()
        linear.bias.data.copy_(bias)
        objective.zero_grad()
        objective(crops, n_valid, labels).backward()
        gradients.append(linear.bias.grad.abs().max().item())
    assert gradients[0] < 1e-6
    assert gradients[1] > 0.05


# ---------------------------------------------------------------------- beside the encoders


def test_it_is_a_row_of_the_evaluation(waveforms, tmp_path):
    encoders, unions = _entries.standard_entries(["supervised"], n_epochs=3)
    assert not unions
    entry = encoders["supervised"].set_params(**TINY.get_params())
    arguments = {"cv": 2, "random_states": (0, 1), "store": tmp_path / "results.jsonl"}
    result = linear_evaluation({"supervised": entry}, waveforms, LABELS, **arguments)
    assert result.summary()["supervised"]["n_seeds"] == 2
    expected = []
    for seed in (0, 1):
        model = clone(TINY).set_params(random_state=seed)
        expected += list(cross_val_score(model, waveforms, LABELS, cv=2))
    found = [r["accuracy"] for r in result.records if r["encoder"] == "supervised"]
    assert sorted(found) == sorted(expected)
    again = linear_evaluation({"supervised": entry}, waveforms, LABELS, **arguments)
    assert again.to_dict() == result.to_dict()


def test_results_know_the_code_of_the_classifier(monkeypatch):
    read = Path.read_bytes
    before = code_fingerprint.__wrapped__()
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: read(self) + b"#" * (self.name == "_supervised.py")
    )
    assert code_fingerprint.__wrapped__() != before


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(fitted, waveforms):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_cpu = fitted.set_params(device="cpu").predict_proba(waveforms)
    on_gpu = fitted.set_params(device="cuda").predict_proba(waveforms)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-2)


@pytest.mark.slow
def test_common_checks_at_full_size():
    # One epoch: the checks fit many times, and how long training takes is no concern of theirs.
    classifier = SupervisedAudioClassifier(n_epochs=1, random_state=0)
    for estimator, check in estimator_checks_generator(classifier):
        if "array_api" not in str(check):
            check(estimator)


@pytest.mark.slow
@pytest.mark.shared_data
def test_it_is_no_straw_man(shared_data):
    """Far above hand-made statistics, which stand at 78 %."""
    folder = load_audio_folder(shared_data / "esc10")
    train, test = np.isin(folder.split, ["3", "4", "5"]), folder.split == "2"
    model = SupervisedAudioClassifier(random_state=0).fit(folder.data[train], folder.target[train])
    assert model.score(folder.data[test], folder.target[test]) > 0.82
