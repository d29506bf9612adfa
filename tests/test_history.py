"""What training leaves behind and shows: `history_`, warnings, progress."""

import contextlib
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder
from audiorep._contrastive import (
    ContrastiveObjective,
    ConvWindowEncoder,
    _comparison_error,
)
from audiorep._health import warn_of_collapse
from audiorep._vq_window_encoder import CodePredictionObjective, VQWindowEncoder
from audiorep.augmentations import Augmentation, RandomEqualizer, RandomGain, TimeMask
from audiorep.augmentations._views import FrozenChain
from audiorep.datasets import make_instrument_notes
from audiorep.evaluation import SupervisedAudioClassifier

CONTRASTIVE = ContrastiveAudioEncoder(width=8, window_frames=32, n_epochs=3, random_state=0)
VQ = VQTransformerEncoder(
    width=64, window_frames=32, n_layers=1, n_codes=8, n_epochs=3, batch_size=4, random_state=0
)
SUPERVISED = SupervisedAudioClassifier(width=8, window_frames=32, n_epochs=3, random_state=0)
OF_THEIR_OWN = {"tokenizer_loss", "next_codes_loss"}  # of trainings beside the main one
KEYS = {
    "contrastive": {
        "loss",
        "learning_rate",
        "alignment",
        "uniformity",
        "effective_rank",
        "comparison_error",
    },
    "vq": {"loss", "learning_rate", "codes_in_use", "perplexity", *OF_THEIR_OWN},
    "supervised": {"loss", "learning_rate", "accuracy"},
}
LABELS = ["b", "a", "c"] * 4


@pytest.fixture(params=KEYS)
def name(request):
    return request.param


@pytest.fixture
def estimator(name):
    return clone({"contrastive": CONTRASTIVE, "vq": VQ, "supervised": SUPERVISED}[name])


@pytest.fixture(scope="module")
def notes():
    """Many clips, short ones, for a healthy training."""
    return make_instrument_notes(48, duration=0.5, random_state=0).data


# ---------------------------------------------------------------------- history_


def test_every_step_is_remembered(name, estimator, waveforms):
    history = estimator.fit(waveforms, LABELS).history_
    assert type(history) is dict
    assert history.keys() == KEYS[name]
    assert history["loss"] == estimator.loss_curve_
    n_steps = 9 if name == "vq" else 3
    assert {key: len(values) for key, values in history.items()} == dict.fromkeys(
        KEYS[name], n_steps
    )
    assert all(type(v) is float and math.isfinite(v) for vs in history.values() for v in vs)
    assert max(history["learning_rate"]) == estimator.learning_rate
    assert pickle.loads(pickle.dumps(estimator)).history_ == history


def test_two_clips_have_a_history(name, estimator, waveforms):
    history = estimator.set_params(batch_size=2).fit(waveforms[:2], ["a", "b"]).history_
    assert len(history["loss"]) == 3
    assert np.isfinite([value for values in history.values() for value in values]).all()


def test_no_epochs_no_history(name, estimator, waveforms):
    history = estimator.set_params(n_epochs=0).fit(waveforms, LABELS).history_
    assert history.keys() == {"loss", "learning_rate"} | (OF_THEIR_OWN & KEYS[name])
    assert not any(history.values())


def test_what_a_failed_fit_leaves(name, estimator, waveforms):
    """Whether it fails at once or after training; and a first fit leaves nothing."""
    diverging = clone(estimator).set_params(learning_rate=1e30, precision="float32")
    with pytest.raises(FloatingPointError):
        diverging.fit(np.random.default_rng(0).standard_normal((12, 9000)), LABELS)
    assert vars(diverging).keys() == diverging.get_params().keys()
    estimator.fit(waveforms, LABELS)
    before = dict(vars(estimator)) | {"learning_rate": 1e30}
    estimator.set_params(learning_rate=1e30)
    with pytest.raises(FloatingPointError):
        estimator.fit(np.random.default_rng(0).standard_normal((12, 9000)), LABELS)
    assert vars(estimator) == before


def test_diagnostics_of_the_contrastive_batch():
    """They are those of the projections that the loss was computed of."""
    torch.manual_seed(0)
    encoder = ConvWindowEncoder(n_mels=16, n_frames=32, width=4)
    objective = ContrastiveObjective(encoder, FrozenChain([]), 8, 0.5, True, awareness=1.0)
    crops, n_valid = torch.randn(12, 16, 32), torch.full((12,), 32)
    crops[6:] = crops[:6]
    objective(crops, n_valid)
    found = objective.diagnostics()
    assert found["alignment"] == pytest.approx(0, abs=1e-6)
    assert found["uniformity"] < -1
    assert 2 < found["effective_rank"] <= 5
    crops[:] = crops[0]
    objective(crops, n_valid)
    found = objective.diagnostics()
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-5)


def test_diagnostics_count_the_codes_that_were_predicted():
    torch.manual_seed(0)
    encoder = VQWindowEncoder(16, 32, 2, 16, 4, 64, 1, 1)
    objective = CodePredictionObjective(encoder)
    crops, n_valid = torch.randn(3, 16, 32), torch.tensor([32, 16, 1])
    codes = encoder.tokenizer.encode(encoder.listen(crops, n_valid))
    # What is behind a clip's end is not counted; a clip has one step at least.
    counted = torch.cat((codes[0], codes[1, :2], codes[2, :1])).flatten()
    p = torch.bincount(counted, minlength=16) / len(counted)
    expected = {
        "codes_in_use": len(counted.unique()),
        "perplexity": math.exp(-sum(x * math.log(x) for x in p.tolist() if x > 0)),
    }
    for _ in range(2):  # the same codes once more change nothing
        objective(crops, n_valid)
        assert objective.diagnostics() == pytest.approx(expected)
    assert int(objective.code_counts.sum()) == 2 * len(counted)


def test_training_spreads_clips_and_draws_views_together(notes):
    history = clone(CONTRASTIVE).set_params(n_epochs=24).fit(notes).history_
    assert np.mean(history["alignment"][-6:]) < 0.8 * history["alignment"][0]
    assert np.mean(history["uniformity"][-6:]) < -2
    assert np.mean(history["effective_rank"][-6:]) > 5


def test_what_was_done_to_views_is_told_from_their_embeddings(notes):
    encoder = clone(CONTRASTIVE).set_params(
        n_epochs=60, augmentation_awareness=3.0, augmentation=[RandomEqualizer(), TimeMask()]
    )
    error = encoder.fit(notes).history_["comparison_error"]
    assert np.mean(error[:3]) == pytest.approx(2, abs=0.25)  # that of a guess
    assert np.mean(error[-12:]) < 1


def test_the_error_of_a_comparison_is_in_standard_deviations():
    drawn = [torch.randn(400, 1), 30 * torch.randn(400, 2), torch.ones(400, 3)]
    numbers = torch.cat([d / d.std(0).clamp_min(1e-6) for d in drawn], dim=1)
    first, second = numbers.chunk(2)
    assert _comparison_error(first - second, drawn) == pytest.approx(0, abs=1e-6)
    # A guess: 2 where something varies, nothing where not; parts count alike.
    guess = _comparison_error(torch.zeros(200, 6), drawn)
    assert guess.item() == pytest.approx(4 / 3, rel=0.15)


class OnHalf(nn.Module):
    """Amplify some clips of a batch only, so that nobody knows which."""

    def __init__(self):
        super().__init__()
        self.gain = RandomGain()

    def forward(self, log_mel):
        n = len(log_mel) // 2
        return torch.cat((self.gain(log_mel[:n]), log_mel[n:]))


class Tell(Augmentation):
    """Raise clips, and tell by how much, or something else."""

    n_drawn = 2

    def __init__(self, change=None):
        super().__init__()
        self.change = change

    def augment(self, x):
        drawn = torch.rand(len(x), 2)
        self.drawn = drawn if self.change is None else self.change(drawn)
        return x + drawn[:, :1, None]


def test_augmentations_tell_what_they_drew():
    x = torch.zeros(6, 16, 8)
    chain = FrozenChain([TimeMask(), nn.Sequential(RandomGain(), OnHalf()), Tell()]).train()
    y = chain(x)
    gain, nothing, told = chain.told(6)
    assert gain.shape == (6, 1)
    assert gain.std() > 0.1
    assert torch.equal(nothing, torch.zeros(6, 1))
    assert told.shape == (6, 2)
    assert y.shape == x.shape
    # What was drawn for a batch is neither told of the next, nor pickled, nor kept in eval().
    chain(x[:4])
    assert [d.shape for d in chain.told(4)] == [(4, 1), (4, 1), (4, 2)]
    module = RandomGain()
    module(x)
    assert module.drawn is not None
    assert pickle.loads(pickle.dumps(module)).drawn is None
    module.eval()(x)
    assert module.drawn is None
    assert FrozenChain([TimeMask()]).telling == []


@pytest.mark.parametrize(
    ("change", "came"),
    [
        (lambda drawn: drawn[:, 0], r"\(24,\)"),
        (lambda drawn: drawn[:, :1], r"\(24, 1\)"),
        (lambda drawn: drawn / 0, r"finite"),
        (lambda drawn: drawn.tolist(), "list"),
    ],
)
def test_what_is_told_is_checked(notes, change, came):
    encoder = clone(CONTRASTIVE).set_params(augmentation=Tell(change), batch_size=12)
    with pytest.raises(ValueError, match=rf"(?s)Tell.drawn must be .*\(24, 2\).*{came}"):
        encoder.fit(notes)
    encoder.set_params(augmentation_awareness=0.0).fit(notes)


@pytest.mark.parametrize(
    ("augmentation", "awareness"), [([TimeMask()], 1.0), ([], 1.0), (None, 0.0)]
)
def test_where_nothing_is_told_nothing_is_compared(notes, augmentation, awareness):
    encoder = clone(CONTRASTIVE).set_params(augmentation_awareness=awareness)
    history = encoder.set_params(augmentation=augmentation).fit(notes).history_
    assert history.keys() == KEYS["contrastive"] - {"comparison_error"}


def test_accuracy_rises(notes):
    labels = [np.abs(np.fft.rfft(x)).argmax() > 150 for x in notes]  # above 300 Hz
    history = clone(SUPERVISED).set_params(n_epochs=40, learning_rate=1e-2).fit(notes, labels)
    accuracy = history.history_["accuracy"]
    assert 0 <= min(accuracy) <= max(accuracy) <= 1
    assert np.mean(accuracy[-8:]) > 0.8


# ---------------------------------------------------------------------- warnings


class Destroy(nn.Module):
    """Leave nothing of a clip."""

    def forward(self, log_mel):
        return torch.zeros_like(log_mel)


class Drown(nn.Module):
    """Put noise in the place of a clip."""

    def forward(self, log_mel):
        return torch.randn_like(log_mel)


@pytest.mark.parametrize("augmentation", [Destroy(), Drown()])
def test_views_that_tell_nothing_are_told_of(notes, augmentation):
    encoder = clone(CONTRASTIVE).set_params(augmentation=augmentation, n_epochs=24)
    with pytest.warns(UserWarning, match=r"(?s)representation collapsed.*48 clips.*augment") as w:
        encoder.fit(notes)
    assert w[0].filename == __file__
    assert len(encoder.history_["loss"]) == 24


@pytest.mark.parametrize("clip", ["tone", "silence"])
def test_copies_of_one_clip_are_told_of(clip):
    timestep = np.arange(8000)
    waveform = np.sin(0.3 * timestep) if clip == "tone" else 0.0 * timestep
    alike = pytest.warns(UserWarning, match=r"The 48 clips sound alike.*copies of each other")
    collapsed = r"(?s)representation collapsed.*copies of each other"
    with alike, pytest.warns(UserWarning, match=collapsed):
        clone(CONTRASTIVE).set_params(n_epochs=24).fit(np.tile(waveform, (48, 1)))


@pytest.mark.parametrize(("encoder", "noise"), [(CONTRASTIVE, 0), (CONTRASTIVE, 1e-9), (VQ, 0)])
def test_clips_that_sound_alike_are_told_of(encoder, noise, notes):
    """Also where nothing is trained; and features of them are zero, not noise."""
    clips = np.tile(notes[0].astype(float), (20, 1))
    clips += noise * np.random.default_rng(0).standard_normal(clips.shape)
    encoder = clone(encoder).set_params(n_epochs=0)
    with pytest.warns(UserWarning, match=r"The 20 clips sound alike") as caught:
        encoder.fit(clips)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"The 20 clips sound alike") as caught:
        make_pipeline(clone(encoder), StandardScaler()).fit_transform(clips)
    assert caught[0].filename == __file__
    assert not encoder.transform(clips).any()
    encoder.fit(notes)
    assert np.linalg.norm(encoder.transform(notes), axis=1).min() > 7


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, False),
        ({"alignment": 1.25}, True),  # as far apart as different clips
        ({"uniformity": -0.09, "alignment": 0.01}, True),  # one point
        ({"effective_rank": 1.9}, True),
    ],
)
def test_each_way_to_collapse(changes, told):
    values = {"loss": 3.0, "alignment": 0.5, "uniformity": -2.5, "effective_rank": 20.0} | changes
    # Only the end counts.
    history = {key: [0.0] * 24 + [value] * 8 for key, value in values.items()}
    for batch_size, projection_dim in ((32, 128), (4, 128), (32, 2)):
        low = min(batch_size - 1, projection_dim) < 7  # hence so is any rank
        seen_before = history if batch_size == 32 else {k: v * 8 for k, v in history.items()}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_collapse(seen_before, batch_size, projection_dim, 100)
        assert len(caught) == (told and not (low and "effective_rank" in changes))


def test_a_small_batch_is_told_of(notes, waveforms):
    encoder = clone(CONTRASTIVE).set_params(batch_size=4, n_epochs=1)
    with pytest.warns(
        UserWarning, match=r"batch_size=4 .* 3 of 47, .*batch_size=8 at least"
    ) as caught:
        encoder.fit(notes)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    encoder.fit(waveforms)  # of twelve, not much more can be had
    encoder.set_params(n_epochs=0).fit(notes)
    encoder.set_params(n_epochs=1, batch_size=8).fit(notes)


@pytest.mark.parametrize("n_sounding", [0, 1])
def test_dead_codes_are_told_of(n_sounding, notes):
    clips = np.zeros((24, 8000))
    clips[:n_sounding] = notes[:n_sounding]
    encoder = clone(VQ).set_params(n_codes=256, batch_size=24)
    alike = contextlib.nullcontext()
    if n_sounding == 0:
        alike = pytest.warns(UserWarning, match="The 24 clips sound alike")
    few = r"Few codes live: \d+ of n_codes=256 .*use fewer codes"
    with alike, pytest.warns(UserWarning, match=few):
        encoder.fit(clips)
    assert encoder.history_["perplexity"][-1] < 256 / 20
    assert (encoder.history_["codes_in_use"][-1] > 1) == (n_sounding > 0)


@pytest.mark.parametrize("n_epochs", [1, 22])
def test_healthy_training_warns_of_nothing(name, estimator, notes, n_epochs):
    """Warnings are errors here."""
    estimator.set_params(n_epochs=n_epochs, batch_size=24)
    if name == "vq":
        estimator.set_params(n_codes=64)
    estimator.fit(notes, np.arange(48) % 2)


def test_a_handful_of_clips_may_be_alike():
    clips = np.zeros((15, 8000))
    clone(CONTRASTIVE).set_params(n_epochs=70, width=4).fit(clips)
    clone(VQ).set_params(n_codes=256, batch_size=15).fit(clips)


def test_clicks_may_be_alike():
    """As the points of scikit-learn's common checks are: clips of a few timesteps."""
    clips = np.random.default_rng(0).standard_normal((48, 2))
    clone(CONTRASTIVE).set_params(n_epochs=22, batch_size=7).fit(clips)
    clone(VQ).set_params(n_codes=256, batch_size=24).fit(np.zeros((48, 2)))


# ---------------------------------------------------------------------- progress


@pytest.mark.parametrize(
    ("estimator", "shown"),
    [
        (CONTRASTIVE, ["loss", "alignment", "uniformity", "effective rank"]),
        (VQ, ["loss", "codes in use", "perplexity"]),
        (SUPERVISED, ["loss", "accuracy"]),
    ],
)
def test_progress_shows_the_diagnostics(estimator, shown, waveforms, capsys):
    estimator = clone(estimator).set_params(verbose=1).fit(waveforms, LABELS)
    lines = capsys.readouterr().err.splitlines()
    n_steps = len(estimator.history_["loss"])
    last = [line for line in lines if ": step " in line][-1]
    assert last.startswith(f"{type(estimator).__name__}: step {n_steps}/{n_steps}, ")
    for key in shown:
        assert f"{key} {estimator.history_[key.replace(' ', '_')][-1]:.4g}" in last
    assert "learning rate" not in last
    tokenizer = [line for line in lines if "tokenizer: step 9/9" in line]
    assert len(tokenizer) == (estimator.__class__ is VQTransformerEncoder)
    assert all("loss" in line for line in tokenizer)
