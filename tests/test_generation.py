"""Laws of the generative side of VQTransformerEncoder."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from audiorep import VQTransformerEncoder
from audiorep._vq_generation import CodeChoice, code_log_likelihoods, generate
from audiorep._vq_window_encoder import CodePredictionObjective
from audiorep.nn import LogMel

RATE = 16000
TINY = VQTransformerEncoder(
    width=64, n_layers=2, n_codes=12, bottleneck_dim=8, n_epochs=2, random_state=0
)


def tone(frequency, seconds=1.0, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE + rng.uniform()
    noise = 1e-3 * rng.standard_normal(len(t))
    return (0.3 * np.sin(2 * np.pi * frequency * t) + noise).astype(np.float32)


def pitch(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return spectrum.argmax() * RATE / len(waveform)


def noises(lengths=(3000, 9000, 15000, 24000, 52000, 160000)):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(n).astype(np.float32) * 0.1 for n in lengths]


@pytest.fixture(scope="module")
def encoder():
    rng = np.random.default_rng(0)
    chirps = [tone(200 * 2 ** (i / 2), seed=i) * np.hanning(RATE) for i in range(6)]
    return clone(TINY).fit([*chirps, *(rng.standard_normal((6, 9000)) * 0.1).astype(np.float32)])


@pytest.mark.parametrize("p_codes", [0.0, 0.25, 1.0])
def test_training_hears_the_stated_part_of_clips_through_their_codes(encoder, p_codes):
    module = encoder.module_
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective = CodePredictionObjective(module, p_codes)
        heard, codes = objective._make_task(torch.randn(300, 64, 96), torch.full((300,), 96))
    through_codes = (heard == module.tokenizer.decode(codes)).all(dim=(1, 2))
    assert through_codes.float().mean().item() == pytest.approx(p_codes, abs=0.06)


class Recomputed:
    """Hears all codes from the beginning at each step: the naive twin of `Listener`."""

    def __init__(self, module, prompt):
        self.module, self.heard = module, prompt
        self.begun = not prompt.shape[1]

    def __call__(self, newest):
        if self.begun:
            self.heard = torch.cat((self.heard, newest), dim=1)
        self.begun = True  # what comes first is the prompt, or its end
        return self.module.code_states(self.heard)[:, -1:]


@pytest.mark.parametrize("n_prompt", [0, 1, 15, 150])
def test_a_cache_changes_no_code(encoder, n_prompt):
    prompt = np.random.default_rng(0).integers(12, size=(n_prompt, 4))
    _, codes = encoder.sample(
        3, duration=60 * 0.08, prompt=prompt if n_prompt else None, random_state=5
    )
    seed = int(np.random.RandomState(5).randint(np.iinfo(np.int32).max))
    choose = CodeChoice(1.0, None, torch.Generator().manual_seed(seed))
    module = encoder.module_
    start = torch.from_numpy(prompt).expand(3, -1, -1)
    naive = generate(module, start, 60, choose, Recomputed(module, start))
    np.testing.assert_array_equal(codes, naive.numpy())
    # They are worth comparing: it is not one code again and again.
    assert len(np.unique(codes)) > 3


def test_same_seed_same_sound(encoder):
    waveforms, codes = encoder.sample(2, random_state=1)
    again, same_codes = encoder.sample(2, random_state=1)
    np.testing.assert_array_equal(codes, same_codes)
    np.testing.assert_array_equal(waveforms, again)
    assert (codes[0] != codes[1]).any()
    assert (encoder.sample(2, random_state=2)[1] != codes).any()
    # The estimator's own seed is the default.
    np.testing.assert_array_equal(encoder.sample()[1], encoder.sample(random_state=0)[1])


def test_the_callers_random_states_are_left_alone(encoder):
    torch_state, numpy_state = torch.get_rng_state(), check_random_state(None).get_state()
    encoder.sample(2)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(check_random_state(None).get_state()) == str(numpy_state)


def test_shapes_and_duration(encoder):
    waveforms, codes = encoder.sample(2)
    assert codes.shape == (2, 12, 4)  # a window of 96 frames
    assert waveforms.shape == (2, 12 * 1280)
    assert waveforms.dtype == np.float32
    np.testing.assert_allclose(np.abs(waveforms).max(axis=1), 0.5, rtol=1e-5)
    for seconds, n_steps in [(1e-9, 1), (0.08, 1), (0.081, 2), (0.24, 3), (2, 25)]:
        assert encoder.sample(duration=seconds)[1].shape == (1, n_steps, 4)


@pytest.mark.parametrize("n_windows", [1, 2])
def test_what_hardly_reaches_into_a_window_is_no_step_of_it(encoder, n_windows):
    n_timesteps = n_windows * 96 * 160
    drawn, codes = encoder.sample(2, duration=n_timesteps / RATE)
    assert drawn.shape == (2, n_timesteps)
    counts = [len(clip) for clip in encoder.tokenize(drawn)]
    assert counts == [codes.shape[1]] * 2 == [n_windows * 12] * 2
    longer = np.zeros((1, n_timesteps + 4 * 160))
    assert len(encoder.tokenize(longer)[0]) == n_windows * 12 + 1
    assert len(encoder.reconstruct(drawn)[0]) == n_timesteps


def test_a_prompt_comes_first(encoder, tmp_path):
    clip = tone(400.0, 0.5)
    codes = encoder.tokenize([clip])[0]
    for prompt in (clip, codes, codes.tolist()):
        waveforms, drawn = encoder.sample(2, duration=0.4, prompt=prompt)
        assert drawn.shape == (2, len(codes) + 5, 4)
        assert (drawn[:, : len(codes)] == codes).all()
        assert waveforms.shape[1] == drawn.shape[1] * 1280


def test_temperature_and_top_k(encoder):
    def draw(**settings):
        return encoder.sample(6, duration=1.2, **settings)[1]

    likeliest = draw(top_k=1, random_state=0)
    np.testing.assert_array_equal(draw(top_k=1, random_state=1), likeliest)
    np.testing.assert_array_equal(draw(temperature=1e-300, random_state=1), likeliest)
    np.testing.assert_array_equal(draw(top_k=12), draw())

    def mean_score(codes):
        return np.mean(code_log_likelihoods(encoder.module_, list(codes), torch.device("cpu")))

    assert mean_score(draw(temperature=0.3)) > mean_score(draw()) > mean_score(draw(temperature=5))
    assert mean_score(draw(top_k=2)) > mean_score(draw())


@pytest.mark.parametrize("temperature", [1e30, 1e300])
def test_however_hot_codes_are_drawn_alike_and_only_those_in_use(temperature):
    logits = torch.tensor([[0.0, 3.0, -torch.inf, -5.0]]).expand(3000, -1)
    choose = CodeChoice(temperature, None, torch.Generator().manual_seed(0))
    counts = torch.bincount(choose(logits), minlength=4)
    assert counts[2] == 0
    assert counts[[0, 1, 3]].min() > 900


def test_a_prompt_may_be_of_another_length_than_the_rows_of_fit():
    rows = np.stack([tone(300.0, 0.3, seed=i) for i in range(3)])
    encoder = clone(TINY).set_params(n_epochs=0).fit(rows)
    clip = tone(300.0, 0.2)
    _, expected = encoder.sample(prompt=clip)
    np.testing.assert_array_equal(encoder.sample(prompt=clip.tolist())[1], expected)


def test_a_broken_prompt_is_called_so(encoder):
    with pytest.raises(ValueError, match=r"^prompt contains NaN"):
        encoder.sample(prompt=np.full(4000, np.nan))


def test_of_equally_likely_codes_top_k_takes_no_more_than_asked_for():
    choose = CodeChoice(1.0, 2, torch.Generator().manual_seed(0))
    drawn = choose(torch.tensor([[3.0, 2.0, 2.0, 2.0, 1.0]]).repeat(500, 1))
    assert len(drawn.unique()) == 2


def test_top_k_draws_from_the_likeliest():
    logits = torch.tensor([[0.0, 3.0, -1.0, 2.9]]).expand(500, -1)
    choose = CodeChoice(1.0, 2, torch.Generator().manual_seed(0))
    assert set(choose(logits).tolist()) == {1, 3}


def test_codes_are_drawn_as_often_as_they_are_likely():
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(20000, -1)
    choose = CodeChoice(1.0, None, torch.Generator().manual_seed(0))
    frequency = torch.bincount(choose(logits), minlength=3) / 20000
    torch.testing.assert_close(frequency, torch.tensor([0.1, 0.2, 0.7]), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_clips": 0}, ValueError, "n_clips=0 must be finite and above 0"),
        ({"n_clips": 1.5}, TypeError, "n_clips=1.5 is a float; pass a whole number"),
        ({"duration": 0.0}, ValueError, "duration=0.0 must be"),
        ({"duration": np.inf}, ValueError, "duration=inf must be finite"),
        ({"duration": "long"}, TypeError, "duration='long' is a str"),
        ({"temperature": 0}, ValueError, "temperature=0 must be"),
        ({"temperature": np.nan}, ValueError, "temperature=nan must be"),
        ({"top_k": 0}, ValueError, "top_k=0 must be"),
        ({"top_k": 13}, ValueError, "top_k=13 is more than the 12 codes in use"),
        ({"top_k": True}, TypeError, "top_k=True is a bool"),
        ({"prompt": [[0, 1]]}, ValueError, r"prompt has shape \(1, 2\), but .*\(n_steps, 4\)"),
        ({"prompt": np.zeros((0, 4), int)}, ValueError, "one step at least"),
        ({"prompt": [[0, 1, 2, 12]]}, ValueError, "holds the code 12, .* from 0 to 11"),
        ({"prompt": [[0, 1, 2, -1]]}, ValueError, "holds the code -1"),
        ({"prompt": np.zeros((2, 4))}, ValueError, "holds float64, but codes are whole numbers"),
        ({"prompt": "nowhere.wav"}, FileNotFoundError, "nowhere.wav"),
        ({"prompt": ["nowhere.wav"]}, ValueError, "prompt is a sequence of .*; pass one clip"),
        ({"prompt": [[[0, 1, 2, 3]], [[0, 1, 2, 3]] * 2]}, ValueError, "prompt cannot be made"),
        ({"prompt": [0, 1, 2, 3]}, ValueError, r"prompt has shape \(4,\).*pass \[prompt\]"),
        ({"prompt": []}, ValueError, "prompt is empty"),
    ],
)
def test_unusable_settings(encoder, settings, error, message):
    with pytest.raises(error, match=message):
        encoder.sample(**settings)


def test_unusable_codes(encoder):
    codes = np.zeros((3, 4), dtype=int)
    with pytest.raises(ValueError, match=r"one array of shape \(3, 4\).*pass \[codes\]"):
        encoder.detokenize(codes)
    with pytest.raises(ValueError, match=r"codes\[1\] holds the code 99"):
        encoder.detokenize([codes, codes + 99])
    with pytest.raises(ValueError, match=r"codes\[0\] has shape"):
        encoder.detokenize([codes[:, :2]])
    assert encoder.detokenize([]) == []


@pytest.mark.parametrize("method", ["tokenize", "detokenize", "reconstruct", "perplexity"])
def test_not_fitted(method):
    with pytest.raises(NotFittedError):
        getattr(clone(TINY), method)([np.zeros(100)])
    with pytest.raises(NotFittedError):
        clone(TINY).sample()


def test_frames_that_hardly_overlap_make_no_sound():
    encoder = clone(TINY).set_params(n_fft=256, hop_length=200).fit(noises())
    with pytest.raises(ValueError, match="hop_length=200 is more than half of n_fft=256"):
        encoder.sample()


def test_few_patches_leave_codes_unused():
    encoder = clone(TINY).set_params(n_codes=64, n_epochs=0).fit([np.zeros(1000), np.zeros(90)])
    n_in_use = int(encoder.module_.tokenizer.in_use.sum())
    assert n_in_use < 64
    assert encoder.sample(5)[1].max() < n_in_use
    with pytest.raises(ValueError, match=f"more than the {n_in_use} codes in use"):
        encoder.sample(top_k=64)
    with pytest.raises(ValueError, match="holds the code 63"):
        encoder.sample(prompt=[[63, 0, 0, 0]])


# ---------------------------------------------------------------------- likelihood


def test_likelihood_depends_on_the_clip_alone(encoder):
    clips = noises()
    scores = encoder.score_samples(clips)
    np.testing.assert_array_equal(encoder.score_samples(clips[::-1])[::-1], scores)
    for i in range(len(clips)):
        np.testing.assert_array_equal(encoder.score_samples([clips[i]]), scores[i : i + 1])


@pytest.mark.parametrize("n_steps", [1, 11, 12, 13, 60, 61, 300])
def test_segments_tell_the_likelihood_of_the_whole(encoder, n_steps):
    codes = np.random.default_rng(0).integers(12, size=(n_steps, 4))
    whole = encoder.module_.log_likelihood(torch.from_numpy(codes)[None])[0]
    (log_p,) = code_log_likelihoods(encoder.module_, [codes], torch.device("cpu"))
    np.testing.assert_allclose(log_p, whole.numpy(), atol=1e-4)


def test_a_code_is_given_all_before_it(encoder):
    codes = torch.from_numpy(np.random.default_rng(0).integers(12, size=(1, 20, 4)))
    changed = codes.clone()
    changed[0, 10, 2] = (codes[0, 10, 2] + 1) % 12
    before = encoder.module_.log_likelihood(codes)[0].flatten()
    after = encoder.module_.log_likelihood(changed)[0].flatten()
    torch.testing.assert_close(before[: 10 * 4 + 2], after[: 10 * 4 + 2])
    assert before[10 * 4 + 2] != after[10 * 4 + 2]
    assert before[10 * 4 + 3] != after[10 * 4 + 3]  # the code above, in the same step
    assert (before[11 * 4 : 12 * 4] != after[11 * 4 : 12 * 4]).any()


def test_likelihoods_of_all_next_steps_sum_to_one():
    encoder = clone(TINY).set_params(n_bands=2, n_codes=5).fit(noises())
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    past = torch.tensor([[0, 1], [2, 2], [4, 0]])
    for known in (past[:0], past):
        steps = torch.cat((known.expand(25, -1, -1), pairs[:, None]), dim=1)
        log_p = encoder.module_.log_likelihood(steps)[:, -1].sum(1)
        assert float(log_p.exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_score_and_perplexity(encoder):
    clips = noises()
    scores = encoder.score_samples(clips)
    n_steps = [len(codes) for codes in encoder.tokenize(clips)]
    assert encoder.score(clips) == pytest.approx(scores.mean())
    expected = np.exp(-np.average(scores, weights=n_steps))
    assert encoder.perplexity(clips) == pytest.approx(expected, rel=1e-5)
    assert 1 < encoder.perplexity(clips) < 100


def test_what_was_heard_is_likelier(encoder):
    known = [tone(200 * 2 ** (i / 2), seed=20 + i) * np.hanning(RATE) for i in range(6)]
    rng = np.random.default_rng(0)
    clicks = [np.float32(rng.uniform(size=RATE) > 0.999) for _ in range(6)]
    assert encoder.score_samples(known).min() > encoder.score_samples(clicks).max()


# ---------------------------------------------------------------------- sound


def test_a_steady_tone_is_learned():
    tones = [tone(1000.0, 0.5, seed=i) for i in range(12)]
    encoder = clone(TINY).set_params(n_epochs=100, n_layers=1).fit(tones)
    waveforms, _ = encoder.sample(3, duration=1.5)
    for waveform in (*waveforms, *encoder.reconstruct(tones[:1])):
        assert pitch(waveform) == pytest.approx(1000.0, rel=0.04)


@pytest.fixture(scope="module")
def coloured():
    """Noises of three colours, and an encoder that has learned them."""
    clips = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        spectrum = np.fft.rfft(rng.standard_normal(8000))
        distance = np.linspace(0, 1, len(spectrum)) - (0.1, 0.3, 0.6)[seed % 3]
        spectrum *= np.exp(-((distance / 0.2) ** 2)) + 0.03
        envelope = np.repeat(rng.uniform(0.2, 1.0, 5), 1600)
        clips.append((np.fft.irfft(spectrum) * envelope * 0.3).astype(np.float32))
    encoder = clone(TINY).set_params(n_epochs=60, n_layers=1, n_codes=24).fit(clips)
    return clips, encoder


def test_sound_that_came_from_codes_keeps_most_of_them(coloured):
    clips, encoder = coloured
    codes = encoder.tokenize(clips[:3])
    sound = encoder.reconstruct(clips[:3])
    assert [len(s) for s in sound] == [len(c) * 1280 for c in codes]
    # Not all: the waveform has not quite the log-mels that were asked for.
    kept = np.mean([(a == c).mean() for a, c in zip(encoder.tokenize(sound), codes, strict=True)])
    assert kept > 0.8


def test_log_mels_of_drawn_sound_are_those_of_its_codes(coloured):
    _, encoder = coloured
    waveforms, codes = encoder.sample(2, duration=2.0)
    wanted = encoder.module_.tokenizer.decode(torch.from_numpy(codes))
    found = LogMel()(torch.from_numpy(waveforms))[:, :, : wanted.shape[2]]
    for i in range(2):
        own = np.corrcoef(found[i].flatten(), wanted[i].flatten())[0, 1]
        other = np.corrcoef(found[i].flatten(), wanted[1 - i].flatten())[0, 1]
        assert own > 0.9
        assert own > other


def test_loud_and_quiet_passages_stay_so():
    rng = np.random.default_rng(0)
    clips = (rng.standard_normal((12, 32000)) * 0.3).astype(np.float32)
    clips[:, 16000:] *= 0.01  # longer than a window, so that no window holds both
    encoder = clone(TINY).set_params(n_epochs=60).fit(clips)
    sound = encoder.reconstruct(clips[:1])[0]
    loud, quiet = sound[2000:14000].std(), sound[18000:30000].std()
    assert loud / quiet > 30


def test_how_loud_a_clip_is_does_not_show(encoder):
    clip = tone(500.0)
    np.testing.assert_array_equal(
        encoder.tokenize([clip])[0], encoder.tokenize([clip * np.float32(0.25)])[0]
    )
    assert np.abs(encoder.reconstruct([clip * 0.01])[0]).max() == pytest.approx(0.5)
