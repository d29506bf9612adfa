"""What both encoders promise, as scikit-learn and DESIGN.md ask for it."""

import copy
import os
import pickle
import re
import subprocess
import sys
import warnings
import weakref
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from torch import nn

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder, _alterations, _base, _encoder
from audiorep._contrastive import ConvWindowEncoder
from audiorep._log_mels import levelled_blocks
from audiorep._resampling import resample_blocks
from audiorep.augmentations import RandomGain, TimeMask, ViewAugmentation
from audiorep.datasets import load_audio_folder, make_instrument_notes

TINY = {
    "contrastive": ContrastiveAudioEncoder(width=8, n_epochs=1, random_state=0),
    "vq": VQTransformerEncoder(
        width=64, n_layers=1, n_codes=8, bottleneck_dim=8, n_epochs=1, random_state=0
    ),
}


@pytest.fixture(params=TINY)
def encoder(request):
    return clone(TINY[request.param])


@pytest.fixture(params=TINY, scope="module")
def fitted(request):
    rng = np.random.default_rng(1)
    return clone(TINY[request.param]).fit(rng.standard_normal((12, 9000)).astype(np.float32))


@parametrize_with_checks(list(TINY.values()))
def test_common_checks(estimator, check):
    check(estimator)


def test_features_are_standardised_float32(fitted):
    rng = np.random.default_rng(1)
    features = fitted.transform(rng.standard_normal((12, 9000)).astype(np.float32))
    assert features.dtype == np.float32
    assert features.shape == (12, len(fitted.get_feature_names_out()))
    # Rows get one length after the mean was taken away, so it is only nearly zero: of few clips
    # those that are next to the mean, and now count as much as others, may be on one side of it.
    length = np.linalg.norm(features, axis=1).mean()
    assert np.linalg.norm(features.mean(axis=0)) < 0.15 * length


def test_a_clip_does_not_depend_on_its_company(fitted, waveforms):
    fitted = copy.copy(fitted).set_params(device="cpu")
    together = fitted.transform(waveforms)
    np.testing.assert_array_equal(fitted.transform(waveforms[::-1])[::-1], together)
    for i in (0, 5, 11):
        np.testing.assert_array_equal(fitted.transform(waveforms[i : i + 1])[0], together[i])


def test_arrays_and_files_give_the_same_features(fitted, waveforms, audio_files):
    np.testing.assert_array_equal(fitted.transform(audio_files), fitted.transform(waveforms))


def test_another_default_dtype_of_torch_changes_nothing(encoder, waveforms, tmp_path):
    path = tmp_path / "other rate.wav"
    soundfile.write(path, waveforms[0], 22050)

    def everything():
        found = [encoder.fit_transform(waveforms), encoder.transform([path])]
        found += pickle.loads(pickle.dumps(encoder)).transform_frames(waveforms[:2])[0]
        if isinstance(encoder, VQTransformerEncoder):
            found += [encoder.score_samples(waveforms), *encoder.reconstruct(waveforms[:2])]
            found += encoder.sample(2, random_state=0)
        return found

    plain = everything()
    torch.set_default_dtype(torch.float64)
    try:
        others = everything()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(plain, others, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_parameters_may_be_short_integers_of_numpy(fitted, tmp_path):
    # A minute, in timesteps, is more than 16 bits hold.
    clips = list(np.random.default_rng(0).standard_normal((2, 61 * 2000)))
    soundfile.write(tmp_path / "a.wav", 0.1 * clips[0], 2000)
    clips.append(tmp_path / "a.wav")
    encoder = clone(fitted).set_params(sample_rate=2000, n_mels=16, hop_length=20, n_fft=64)
    expected = encoder.fit_transform(clips)
    names = ("sample_rate", "n_mels", "hop_length", "n_fft")
    short = {name: np.int16(getattr(encoder, name)) for name in names}
    np.testing.assert_array_equal(encoder.set_params(**short).fit_transform(clips), expected)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_a_file_of_another_rate_is_the_array_resampled(fitted, tmp_path, rate):
    # A fading clip would show it if its end were levelled by itself.
    t = np.arange(rate) / rate
    fading = np.exp(-5 * t) * np.random.default_rng(0).standard_normal(rate) * 0.1
    soundfile.write(tmp_path / "fading.wav", fading, rate, subtype="FLOAT")
    (resampled,) = resample_blocks([torch.from_numpy(fading).float()], rate, 16000)
    np.testing.assert_allclose(
        fitted.transform([tmp_path / "fading.wav"]), fitted.transform([resampled]), atol=1e-3
    )


def test_long_arrays_and_files_are_the_same(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("audiorep._clips._BLOCK_SECONDS", 2)
    loud_at_the_end = np.random.default_rng(0).standard_normal(16000 * 5).astype(np.float32) * 0.01
    loud_at_the_end[16000 * 4 :] *= 30
    soundfile.write(tmp_path / "long.wav", loud_at_the_end, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(
        fitted.transform([tmp_path / "long.wav"]), fitted.transform([loud_at_the_end])
    )


@pytest.mark.parametrize(("name", "tolerance"), [("contrastive", 4.0), ("vq", 0.5)])
def test_a_position_sees_the_frames_it_is_centred_on(name, tolerance):
    """The gradient tells which frames a position depends on.

    Of a step of the transformer that is its patch. (What listens for it sees the past, too.)
    """
    torch.manual_seed(0)
    encoder = TINY[name]
    module = encoder._build(encoder._settings()).eval()
    log_mel = torch.randn(1, 64, 96).requires_grad_()
    n_valid = torch.tensor([96])
    if name == "vq":
        patches = module.tokenizer.bottleneck(module.listen(log_mel, n_valid))
        feature_map = patches.flatten(2).transpose(1, 2)
    else:
        feature_map = module.feature_maps(log_mel, n_valid)[-1]
    centres = module.centres(feature_map.shape[-1])
    for position in range(2, feature_map.shape[-1] - 2):
        (gradient,) = torch.autograd.grad(
            feature_map[..., position].sum(), log_mel, retain_graph=True
        )
        # Taking the level away makes all frames matter a little.
        seen = gradient.abs().sum(dim=(0, 1))
        seen = (seen - seen.median()).clamp_min(0)
        middle = float((seen * torch.arange(96)).sum() / seen.sum())
        assert middle == pytest.approx(float(centres[position]), abs=tolerance)


def test_a_long_file_is_read_in_blocks(fitted, tmp_path, monkeypatch):
    waveform = np.random.default_rng(0).standard_normal(16000 * 7).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "long.wav", waveform, 16000, subtype="FLOAT")
    whole = fitted.transform([tmp_path / "long.wav"])
    monkeypatch.setattr("audiorep._clips._BLOCK_SECONDS", 2)
    # Each block is levelled and has parts by itself; this noise is alike throughout.
    distance = np.linalg.norm(fitted.transform([tmp_path / "long.wav"]) - whole)
    assert distance < 0.2 * np.linalg.norm(whole)
    waveform[16000 * 6 :] = 0
    soundfile.write(tmp_path / "other.wav", waveform, 16000, subtype="FLOAT")
    assert np.linalg.norm(fitted.transform([tmp_path / "other.wav"]) - whole) > 2 * distance


def test_fit_transform_is_fit_then_transform_for_clips_of_more_than_a_minute(encoder):
    # Their blocks are levelled apart: a quiet minute has a floor of its own.
    loudness = np.repeat([1.0, 1e-4], 16000 * 50)
    noise = np.random.default_rng(0).normal(size=len(loudness)) * loudness * 0.1
    clips = [noise, noise[::-1].copy(), noise[:8000]]
    expected = clone(encoder).fit(clips).transform(clips)
    np.testing.assert_array_equal(clone(encoder).fit_transform(clips), expected)


def test_fitting_lets_go_of_the_blocks_that_a_clip_came_in(encoder, waveforms, monkeypatch):
    """Their copies in one array are all that grows with the number of clips."""
    blocks, n_held = [], []

    def recorded(*arguments):
        n_held.append(sum(block() is not None for block in blocks))
        for block in levelled_blocks(*arguments):
            blocks.append(weakref.ref(block))
            yield block
            del block

    monkeypatch.setattr("audiorep._clips._BLOCK_SECONDS", 1)
    monkeypatch.setattr(_base, "levelled_blocks", recorded)
    log_mels = encoder._read_training_set(encoder._check_fit(waveforms)).log_mels
    assert len(blocks) == sum(map(len, log_mels.block_lengths)) > len(n_held) == len(waveforms)
    # The last clip's blocks are in the hands of whoever reads.
    assert max(n_held) <= max(map(len, log_mels.block_lengths))


def test_fit_transform_is_fit_then_transform(encoder, audio_files):
    np.testing.assert_array_equal(
        clone(encoder).fit_transform(audio_files), encoder.fit(audio_files).transform(audio_files)
    )


def test_fit_transform_is_fit_then_transform_where_a_header_claims_too_much(
    encoder, waveforms, tmp_path
):
    # What is read counts, in both, and not what the header claims.
    paths = [tmp_path / f"{i}.mp3" for i in range(len(waveforms))]
    for path, waveform in zip(paths, waveforms, strict=True):
        soundfile.write(path, waveform, 16000)
    cut = paths[-1].read_bytes()
    paths[-1].write_bytes(cut[: int(0.94 * len(cut))])
    claimed, n_read = soundfile.info(paths[-1]).frames, len(soundfile.read(paths[-1])[0])
    if claimed == n_read:
        pytest.skip("this libsndfile looks how long an MP3 file is")
    encoder.set_params(n_epochs=0)
    expected = clone(encoder).fit(paths).transform(paths)
    np.testing.assert_array_equal(encoder.fit_transform(paths), expected)


def test_the_readout_is_fitted_on_some_of_many_clips(encoder, audio_files, monkeypatch):
    """Statistics of all would fill the memory; every clip has its row all the same."""
    n_pooled = []

    def counted(function):
        def counting(module, sources, *rest):
            sources = list(sources)
            n_pooled.append(len(sources))
            return function(module, sources, *rest)

        return counting

    of_all = clone(encoder).fit(audio_files)
    monkeypatch.setattr(_encoder, "_MOST_FOR_READOUT", 5)
    for name in ("pool_clips", "pool_groups"):
        monkeypatch.setattr(_encoder, name, counted(getattr(_encoder, name)))
    expected = encoder.fit(audio_files).transform(audio_files)
    assert expected.shape == (len(audio_files), 4)
    assert len(audio_files) > 5
    # All three kinds of altered clips are those of clips that it sees.
    assert n_pooled == [5, 5, 5, 5, len(audio_files)]
    np.testing.assert_array_equal(clone(encoder).fit_transform(audio_files), expected)
    assert n_pooled[5:] == [5, 5, 5, 5, len(audio_files) - 5]
    # What is learned by training is of all.
    for name, weights in of_all.module_.state_dict().items():
        torch.testing.assert_close(encoder.module_.state_dict()[name], weights, rtol=0, atol=0)
    seen = [audio_files[i] for i in np.linspace(0, len(audio_files) - 1, 5).astype(int)]
    assert np.abs(encoder.transform(seen).mean(0)).max() < np.abs(expected.mean(0)).max()


def test_altered_clips_are_compared_with_the_same_clips(
    encoder, audio_files, tmp_path, monkeypatch
):
    """Altered into what they were, they do not change, whichever of them are looked at."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    monkeypatch.setattr(_encoder, "_MOST_FOR_READOUT", 5)
    monkeypatch.setattr(_alterations, "_MOST", 3)
    kinds, weights = [], []
    changes_of = type(encoder)._changes

    def noted(*of_fit):
        for changes in changes_of(*of_fit):
            kinds.append(np.abs(changes.rows).max(axis=1))
            weights.append(changes.weight)
            yield changes

    monkeypatch.setattr(type(encoder), "_changes", noted)
    encoder.set_params(on_error="skip")

    def fit():
        kinds.clear()
        with pytest.warns(UserWarning, match="1 of 13 clips were left out"):
            encoder.fit([broken, *audio_files])
        assert [len(of_clips) for of_clips in kinds] == [3, 3, 3]
        return np.stack(kinds)

    assert (fit() > 0.01).all()
    assert weights == [1.0, 0.25, 0.3]
    monkeypatch.setattr(_alterations, "_PLAYED", ((1.0, 1.0),))
    played, *others = fit()
    assert not played.any()
    assert (np.stack(others) > 0.01).all()
    monkeypatch.setattr(_alterations, "_PARTS", ((0.0, 1.0),))
    monkeypatch.setattr(_alterations, "_halves", lambda block: (block, block))
    assert not fit().any()


def test_a_file_that_changes_while_it_is_read_is_found_before_training(
    encoder, audio_files, monkeypatch
):
    def vanishing(*of_reading):
        found = type(encoder)._read_training_set(encoder, *of_reading)
        os.remove(audio_files[2])
        return found

    monkeypatch.setattr(encoder, "_read_training_set", vanishing, raising=False)
    monkeypatch.setattr(type(encoder), "_train", lambda *of_fit: pytest.fail("trained"))
    with pytest.raises(FileNotFoundError, match="clip 2 "):
        encoder.fit(audio_files)


def played_faster(note):
    """The note, played faster by an eighth."""
    positions = np.arange(0, len(note) - 1, 1.125)
    return np.interp(positions, np.arange(len(note)), note)


def cut_short(note):
    """The note without its first quarter."""
    return note[len(note) // 4 :]


def halved(note):
    """The second half of the note."""
    return note[len(note) // 2 :]


@pytest.mark.parametrize(("kind", "alter"), [(0, played_faster), (1, cut_short), (2, halved)])
def test_what_changes_as_a_clip_is_altered_counts_for_less(encoder, kind, alter, monkeypatch):
    """A clip and its altered copy are closer to each other than they would be."""
    notes = make_instrument_notes(40, random_state=0).data
    altered = [alter(note) for note in notes]
    changes_of = type(encoder)._changes

    def distance(kinds):
        monkeypatch.setattr(type(encoder), "_changes", kinds)
        fitted = clone(encoder)
        features = fitted.fit_transform(notes)
        moved = fitted.transform(altered) - features
        return np.linalg.norm(moved, axis=1).mean() / np.linalg.norm(features, axis=1).mean()

    counted = distance(lambda *of_fit: [list(changes_of(*of_fit))[kind]])
    assert counted < 0.9 * distance(lambda *of_fit: ())


def test_same_seed_same_bits(encoder, waveforms):
    first = clone(encoder).set_params(random_state=3).fit_transform(waveforms)
    again = clone(encoder).set_params(random_state=3).fit_transform(waveforms)
    other = clone(encoder).set_params(random_state=4).fit_transform(waveforms)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_the_callers_random_state_is_left_alone(encoder, waveforms):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    encoder.fit(waveforms)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_it_learns_where_the_caller_switched_gradients_off(encoder, waveforms, switched_off):
    expected = clone(encoder).fit_transform(waveforms)
    with switched_off():
        np.testing.assert_array_equal(encoder.fit_transform(waveforms), expected)
        assert not torch.is_grad_enabled()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_features_that_are_not_finite_are_refused(waveforms):
    encoder = clone(TINY["contrastive"]).set_params(learning_rate=1e9)
    with pytest.raises(FloatingPointError, match=r"not finite; lower learning_rate=1000000000\.0"):
        encoder.fit(waveforms)


def test_no_epochs_means_random_weights(encoder, waveforms):
    encoder.set_params(n_epochs=0).fit(waveforms)
    assert encoder.loss_curve_ == []
    assert np.isfinite(encoder.transform(waveforms)).all()


def test_training_lowers_the_loss(encoder):
    notes = make_instrument_notes(32, random_state=0)
    curve = encoder.set_params(n_epochs=20).fit(notes.data).loss_curve_
    assert np.mean(curve[-4:]) < np.mean(curve[:4]) - 0.1


def test_loudness_of_the_whole_set_changes_nothing(encoder, waveforms):
    encoder.set_params(n_epochs=0)
    quiet = clone(encoder).fit_transform(waveforms)
    loud = clone(encoder).fit_transform([2 * w for w in waveforms])
    # Principal axes may turn when rounding differs; what the clips are to each other may not.
    np.testing.assert_allclose(
        loud @ loud.T, quiet @ quiet.T, atol=0.02 * np.abs(quiet**2).sum(1).mean()
    )


def test_transform_frames(fitted, waveforms):
    features, times = fitted.transform_frames([*waveforms, np.zeros(40000), np.ones(3)])
    assert len(features) == len(times) == len(waveforms) + 2
    for clip_features, clip_times in zip(features, times, strict=True):
        assert clip_features.dtype == np.float32
        assert len(clip_features) == len(clip_times)
    np.testing.assert_allclose(np.diff(times[-2]), np.diff(times[-2])[0], rtol=1e-4)
    assert times[-2][-1] == pytest.approx(2.5, abs=0.2)
    assert len(features[-1]) == 1
    alone, _ = fitted.transform_frames(waveforms[4:5])
    np.testing.assert_array_equal(alone[0], features[4])


def test_frames_of_a_file_whose_header_claims_more(fitted, tmp_path):
    path = tmp_path / "cut.mp3"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 160000), 16000)
    path.write_bytes(path.read_bytes()[: int(0.95 * path.stat().st_size)])
    waveform, _ = soundfile.read(path, dtype="float32")
    assert 0.9 * 160000 < len(waveform) < 0.98 * 160000
    of_file, of_array = (fitted.transform_frames(X) for X in ([path], [waveform]))
    np.testing.assert_array_equal(of_file[1][0], of_array[1][0])
    # Decoding rounds by how much is decoded at once.
    np.testing.assert_allclose(of_file[0][0], of_array[0][0], atol=1e-2)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(fitted, container):
    X = np.random.default_rng(0).standard_normal((3, 9000))
    frame = clone(fitted).fit(X).set_output(transform=container).transform(X)
    assert list(frame.columns) == list(fitted.get_feature_names_out())[: frame.shape[1]]


def test_set_output_keeps_the_index_of_a_series_of_paths(fitted, audio_files):
    paths = pd.Series(audio_files[:3], index=["a", "b", "c"])
    model = clone(fitted).set_output(transform="pandas").fit(paths)
    assert list(model.transform(paths).index) == ["a", "b", "c"]


def test_cross_validation_with_paths_and_groups(encoder, audio_files):
    model = make_pipeline(encoder, LogisticRegression())
    labels, groups = [0, 1] * 6, np.repeat([0, 1, 2], 4)
    scores = cross_val_score(model, audio_files, labels, groups=groups, cv=LeaveOneGroupOut())
    assert len(scores) == 3


def test_grid_search_with_two_workers(encoder, audio_files):
    model = make_pipeline(encoder, LogisticRegression())
    step = model.steps[0][0]
    search = GridSearchCV(model, {f"{step}__n_mels": [32, 64]}, cv=2, n_jobs=2)
    search.fit(audio_files, [0, 1] * 6)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_feature_union(audio_files):
    union = FeatureUnion([(name, clone(encoder)) for name, encoder in TINY.items()])
    assert union.fit_transform(audio_files).shape[0] == 12


def test_a_saved_pipeline_predicts_the_same_in_a_new_process(encoder, audio_files, tmp_path):
    model = make_pipeline(encoder, LogisticRegression()).fit(audio_files, [0, 1] * 6)
    joblib.dump((model, audio_files), tmp_path / "model.joblib")
    code = (
        "import joblib, numpy, sys; model, X = joblib.load(sys.argv[1]);"
        "numpy.save(sys.argv[2], model.decision_function(X))"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.joblib", tmp_path / "scores.npy"],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    expected = model.decision_function(audio_files)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), expected)


def test_a_saved_encoder_holds_no_torch_objects(fitted):
    weights = fitted.__getstate__()["module_"]
    assert all(isinstance(array, np.ndarray) for array in weights.values())


def test_a_file_of_another_format_is_refused(fitted):
    state = fitted.__getstate__() | {"_format_version": 99}
    with pytest.raises(ValueError, match="saved in format 99"):
        clone(fitted).__setstate__(state)


def test_a_broken_clip_is_named(encoder, audio_files):
    with pytest.raises(FileNotFoundError, match=r"clip 12 .*no such file"):
        encoder.fit([*audio_files, "nowhere.wav"])


def test_broken_clips_can_be_left_out(encoder, audio_files, tmp_path):
    (tmp_path / "broken.wav").write_text("no sound")
    mixed = [audio_files[0], "nowhere.wav", *audio_files[1:], tmp_path / "broken.wav"]
    encoder.set_params(on_error="skip")
    with pytest.warns(UserWarning, match=r"(?s)2 of 14 clips were left out.*nowhere.*broken.wav"):
        features = encoder.fit(mixed).transform(audio_files)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = clone(encoder).fit(audio_files).transform(audio_files)
    np.testing.assert_array_equal(features, expected)
    with pytest.raises(FileNotFoundError, match="clip 1 "):
        encoder.transform(mixed)
    with pytest.raises(ValueError, match=r"2 of 14 clips .*must return a row"):
        encoder.fit_transform(mixed)


def test_broken_rows_can_be_left_out(encoder):
    X = np.random.default_rng(0).standard_normal((6, 9000))
    X[2, 5] = np.nan
    with pytest.warns(UserWarning, match=r"(?s)1 of 6 clips were left out.*clip 2 contains NaN"):
        encoder.set_params(on_error="skip").fit(X)
    assert encoder.transform(X[:2]).shape[0] == 2


def test_a_failed_fit_changes_nothing(fitted, waveforms):
    encoder = joblib.hash(fitted.transform(waveforms))
    again = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(FileNotFoundError):
        again.set_params(sample_rate=8000).fit(["nowhere.wav", "nor here.wav"])
    assert joblib.hash(again.transform(waveforms)) == encoder


def test_a_device_that_is_not_there(encoder, waveforms):
    with pytest.raises(ValueError, match="device='nonsense' cannot be used here"):
        encoder.set_params(device="nonsense").fit(waveforms)


def test_the_form_of_the_loss_matters(waveforms):
    decoupled, plain = (
        clone(TINY["contrastive"]).set_params(decoupled=value, n_epochs=3).fit(waveforms)
        for value in (True, False)
    )
    assert decoupled.loss_curve_ != plain.loss_curve_


class Recorder(nn.Module):
    """Remembers, for all its copies, what passed through."""

    seen: ClassVar[list] = []

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm1d(64)

    def forward(self, log_mel):
        self.norm(log_mel)
        self.seen.append((log_mel.shape, log_mel.dtype, self.training, self.weight.item()))
        return log_mel * self.weight


def test_augmentations_see_log_mels_and_are_not_trained(waveforms):
    Recorder.seen.clear()
    recorder = Recorder().eval()
    before = joblib.hash(recorder.state_dict())
    encoder = clone(TINY["contrastive"]).set_params(
        augmentation=recorder, n_epochs=3, precision="bfloat16"
    )
    encoder.fit(waveforms)
    assert set(Recorder.seen) == {(torch.Size([24, 64, 96]), torch.float32, True, 1.0)}
    assert encoder.augmentation is recorder
    assert joblib.hash(recorder.state_dict()) == before
    assert not recorder.training
    assert recorder.weight.requires_grad
    assert recorder.weight.grad is None


def test_augmentations_are_applied_in_order_and_have_an_effect(waveforms):
    def curve(augmentation):
        encoder = clone(TINY["contrastive"]).set_params(augmentation=augmentation)
        return encoder.fit(waveforms).loss_curve_

    gain, mask = RandomGain(10.0), TimeMask(50.0)
    curves = [curve(a) for a in ([], gain, [gain, mask], [mask, gain], None)]
    assert len({tuple(c) for c in curves}) == len(curves)
    assert curve([gain]) == curve((gain,)) == curve(gain)
    assert curve(ViewAugmentation()) == curve([*ViewAugmentation()]) == curve(None)


@pytest.mark.parametrize(
    ("augmentation", "name"),
    [
        (torch.nn.ModuleList([RandomGain()]), "augmentation"),
        ([RandomGain(), torch.nn.ModuleList()], "augmentation[1]"),
        ([RandomGain], "augmentation[0]"),
    ],
)
def test_what_cannot_be_called_is_no_augmentation(waveforms, augmentation, name):
    encoder = clone(TINY["contrastive"]).set_params(augmentation=augmentation)
    with pytest.raises(TypeError, match=re.escape(f"{name} is ") + "(?s:.*)or a list of them"):
        encoder.fit(waveforms)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_modules_are_augmentations(waveforms):
    class Double(nn.Module):
        def forward(self, x):
            return 2 * x

    encoders = [
        clone(TINY["contrastive"]).set_params(augmentation=augmentation).fit(waveforms)
        for augmentation in (Double(), torch.jit.trace(Double(), torch.zeros(2, 4, 4)))
    ]
    assert encoders[0].loss_curve_ == encoders[1].loss_curve_


def test_augmentation_as_scikit_learn_wants_it(audio_files):
    encoder = clone(TINY["contrastive"]).set_params(augmentation=[RandomGain(2.0), TimeMask()])
    assert "RandomGain(strength=2.0)" in repr(encoder)
    copy = clone(encoder)
    assert [type(part) for part in copy.augmentation] == [RandomGain, TimeMask]
    assert copy.augmentation[0] is not encoder.augmentation[0]
    fitted = pickle.loads(pickle.dumps(encoder.fit(audio_files)))
    np.testing.assert_array_equal(fitted.transform(audio_files), encoder.transform(audio_files))
    model = make_pipeline(encoder, LogisticRegression())
    choices = [None, RandomGain(), [RandomGain(), TimeMask()], []]
    search = GridSearchCV(
        model, {"contrastiveaudioencoder__augmentation": choices}, cv=2, n_jobs=2, refit=False
    )
    search.fit(audio_files, [0, 1] * 6)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("augmentation", "error", "message"),
    [
        ("noise", TypeError, "'augmentation' parameter"),
        (RandomGain, TypeError, "'augmentation' parameter"),
        ([RandomGain(), torch.sin], TypeError, r"augmentation\[1\] is .*sin.*torch.nn.Module"),
        ([RandomGain], TypeError, r"augmentation\[0\] is <class"),
        (nn.Flatten(), ValueError, r"of \(24, 64, 96\), .*, Flatten made \(24, 6144\)"),
        ([RandomGain(), nn.Flatten(0)], ValueError, "Flatten made"),
        (nn.GRU(96, 96), ValueError, "GRU made tuple"),
        (nn.Threshold(1e9, np.nan), ValueError, "Threshold made NaN or infinity"),
    ],
)
def test_unusable_augmentations(waveforms, augmentation, error, message):
    with pytest.raises(error, match=message):
        clone(TINY["contrastive"]).set_params(augmentation=augmentation).fit(waveforms)


def test_codes_and_likelihoods(waveforms):
    encoder = clone(TINY["vq"]).fit(waveforms)
    codes = encoder.tokenize(waveforms)
    # A step is 80 ms, and belongs to the clip when half of it does.
    n_frames = [len(w) // 160 + 1 for w in waveforms]
    assert [len(c) for c in codes] == [max(1, (n + 4) // 8) for n in n_frames]
    assert all(c.shape[1] == 4 for c in codes)
    assert 0 <= min(c.min() for c in codes) <= max(c.max() for c in codes) < 8
    scores = encoder.score_samples(waveforms)
    np.testing.assert_array_equal(encoder.score_samples(waveforms[::-1])[::-1], scores)
    assert (scores < 0).all()
    assert encoder.score(waveforms) == pytest.approx(float(scores.mean()))
    assert encoder.codebook_.shape == (8, encoder.bottleneck_dim)
    encoder.codebook_[:] = 0
    assert np.abs(encoder.codebook_).max() > 0


def test_a_codebook_holds_what_is_in_use():
    encoder = clone(TINY["vq"]).fit(np.random.default_rng(0).standard_normal((2, 1)))
    codes = np.concatenate(encoder.tokenize(np.zeros((3, 1))))
    assert codes.max() < len(encoder.codebook_) < encoder.n_codes


def test_loading_leaves_the_callers_random_state_alone(fitted):
    saved, state = pickle.dumps(fitted), torch.get_rng_state()
    pickle.loads(saved)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_left_to_learn_from(encoder, audio_files):
    encoder.set_params(on_error="skip")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="Only 1 of 2"),
    ):
        encoder.fit([audio_files[0], "nowhere.wav"])


def test_overflowing_power_is_refused(encoder, waveforms):
    with pytest.raises(ValueError, match="clip 0 is so loud"):
        encoder.fit([waveforms[0] * 1e25, *waveforms[1:]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hop_length": 600}, "frames would leave gaps"),
        ({"n_fft": 511}, "n_fft=511 is odd"),
        ({"window_frames": 100}, "window_frames=100 must be a multiple"),
        ({"n_epochs": "many"}, "n_epochs"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_bad_parameters(encoder, waveforms, parameters, message):
    with pytest.raises(ValueError, match=message):
        encoder.set_params(**parameters).fit(waveforms)


def test_verbose_shows_progress(encoder, waveforms, capsys):
    encoder.set_params(verbose=1).fit(waveforms)
    shown = capsys.readouterr().err
    assert "read 12 clips" in shown
    assert "heard 12 clips, and 12 of them altered, in" in shown
    assert "loss" in shown


def test_the_map_whose_filters_are_compared():
    module = ConvWindowEncoder(n_mels=64, n_frames=32, width=4)
    i_map, n_filters = module.banded_map
    log_mel = torch.randn(2, 64, 32, generator=torch.Generator().manual_seed(0))
    n_valid = torch.tensor([32, 20])
    found = module.eval().feature_maps(log_mel, n_valid)[i_map]
    second_stage = module.backbone.feature_maps(module.scaler(log_mel, n_valid), first=1)[0]
    assert torch.equal(found, second_stage)
    assert found.shape[1] == n_filters * 4


def test_the_maps_that_features_are_read_from():
    """Those of clips from the first block at the most, those over time from the last."""
    module = TINY["vq"]._build({**TINY["vq"]._settings(), "n_layers": 3}).eval()
    log_mel = torch.randn(2, 64, 96, generator=torch.Generator().manual_seed(0))
    n_valid = torch.tensor([96, 50])
    tokens = module.stem(module.listen(log_mel, n_valid))
    states = module.transformer.hidden_states(tokens)
    assert len(states) == 4
    heard, last_stage, first_block = module.feature_maps(log_mel, n_valid)
    assert torch.equal(heard, module.listen(log_mel, n_valid))
    low, high = module.stem.stage_maps(heard)[-1].chunk(2, dim=2)
    in_two = torch.stack((low.mean(2), high.mean(2)), dim=2).flatten(1, 2)
    torch.testing.assert_close(last_stage, in_two)
    assert torch.equal(first_block, states[1].transpose(1, 2))
    assert torch.equal(module.deepest_map(log_mel, n_valid), states[-1].transpose(1, 2))


def test_beside_the_contrastive_encoder_the_transformer_counts_for_less(waveforms):
    lengths = [
        np.linalg.norm(clone(TINY[name]).fit_transform(waveforms), axis=1)
        for name in ("contrastive", "vq")
    ]
    np.testing.assert_allclose(lengths[0], 16, rtol=1e-4)
    np.testing.assert_allclose(lengths[1], 8, rtol=1e-4)


def test_silence_is_no_reason_to_fail(encoder):
    features = encoder.fit_transform([np.zeros(100), np.zeros(30000), np.zeros(1)])
    assert np.isfinite(features).all()


PRECISIONS = ["float32", "bfloat16"]
FIRST, LAST = slice(5), slice(-5, None)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision(encoder, waveforms, precision):
    features = encoder.set_params(precision=precision).fit_transform(waveforms)
    assert np.isfinite(features).all()
    assert all(p.dtype == torch.float32 for p in encoder.module_.parameters())


@pytest.mark.slow  # where bfloat16 is emulated
def test_bfloat16_learns_as_float32_does(encoder):
    notes = make_instrument_notes(24, random_state=0)
    encoder.set_params(n_epochs=40, device="cpu")
    curves = [encoder.set_params(precision=p).fit(notes.data).loss_curve_ for p in PRECISIONS]
    start, end = (np.array([np.mean(curve[part]) for curve in curves]) for part in (FIRST, LAST))
    assert (end < start).all()
    np.testing.assert_allclose((start - end)[1], (start - end)[0], rtol=0.15)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(fitted, waveforms):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_cpu = copy.copy(fitted).set_params(device="cpu").transform(waveforms)
    fitted = copy.copy(fitted).set_params(device="cuda")
    on_gpu = fitted.transform(waveforms)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-2)
    np.testing.assert_allclose(fitted.transform(waveforms[::-1])[::-1], on_gpu, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("encoder_class", [ContrastiveAudioEncoder, VQTransformerEncoder])
def test_common_checks_with_default_parameters(encoder_class):
    for estimator, check in estimator_checks_generator(encoder_class(random_state=0)):
        if "array_api" not in str(check):
            check(estimator)


@pytest.mark.slow
@pytest.mark.shared_data
def test_contrastive_learning_beats_random_weights(shared_data):
    """With three labels per class; with all, little is left to be learned on so small a set."""
    folder = load_audio_folder(shared_data / "esc10")
    train, test = np.isin(folder.split, ["2", "3"]), np.isin(folder.split, ["4", "5"])
    labels = folder.target[train]
    scores = []
    for n_epochs in (0, 120):
        encoder = ContrastiveAudioEncoder(n_epochs=n_epochs, random_state=0)
        features = encoder.fit_transform(folder.data[train])
        held_out = encoder.transform(folder.data[test])
        of_draws = []
        for draw in range(10):
            order = np.random.default_rng(draw).permutation(len(labels))
            few = np.concatenate([order[labels[order] == c][:3] for c in np.unique(labels)])
            classifier = LogisticRegression().fit(features[few], labels[few])
            of_draws.append(classifier.score(held_out, folder.target[test]))
        scores.append(np.mean(of_draws))
    assert scores[1] > scores[0]


@pytest.mark.slow
@pytest.mark.shared_data
def test_code_prediction_learns_what_sound_is_like(shared_data):
    folder = load_audio_folder(shared_data / "esc10")
    train, test = np.isin(folder.split, ["2", "3"]), folder.split == "4"
    encoder = VQTransformerEncoder(n_epochs=40, random_state=0).fit(folder.data[train])
    # A nat better than to know nothing, on clips it has not heard.
    assert encoder.score(folder.data[test]) > 1 - np.log(256)
