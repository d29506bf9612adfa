"""From log-mels to pooled statistics: what is heard, and in which order it comes out."""

import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from threadpoolctl import threadpool_limits

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder, _embedding
from audiorep._contrastive import ConvWindowEncoder
from audiorep._embedding import (
    _groups,
    clip_frames,
    iter_fitting_batches,
    pool_clips,
    pool_groups,
)
from audiorep._hearing import Heard, hear, level, part_counts
from audiorep._sources import Source
from audiorep._texture import BLOCK_WEIGHTS, texture_blocks, texture_sums
from audiorep._vq_window_encoder import VQWindowEncoder
from audiorep.evaluation import LogMelStatistics, MFCCStatistics, SupervisedAudioClassifier
from audiorep.nn import WindowEncoder

CPU = torch.device("cpu")


class TwoMaps(WindowEncoder):
    """Its maps are the log-mels as they come, and the same upside down."""

    def __init__(self, banded_map=None):
        super().__init__(n_frames=16, grid=4, banded_map=banded_map)

    def centres(self, n_positions):
        return torch.arange(n_positions)

    def feature_maps(self, log_mel, n_valid):
        return [log_mel, -log_mel]


def levelled(n_frames, seed=0, n_mels=3):
    """A log-mel of some 100 decibels from the quietest to the loudest value."""
    generator = torch.Generator().manual_seed(seed)
    return level(4 * torch.randn(n_mels, n_frames, generator=generator)).half()


def hear_alone(clip, n_parts):
    """Hear one block, and return what is heard of it without the axis of blocks."""
    log_mel, shares, textures, texture_weights = hear(clip[None], n_parts)
    return Heard(log_mel[0], shares[0], textures[:, 0], texture_weights[:, 0])


def weightings(heard, n_parts):
    """Return what frames count, for each weighting (n_parts, n_frames)."""
    return np.split(heard.shares.astype(float), np.cumsum(part_counts(n_parts))[:-1])


def weighted_statistics(log_mel, shares):
    """Return those of frames, (n_frames, n_mels), that count as `shares` says."""
    x, whole = log_mel.astype(float), shares.sum(0)
    mean = np.average(x, axis=0, weights=whole)
    change_weights = np.sqrt(whole[1:] * whole[:-1])
    statistics = [
        0.5 * np.log(np.average((x - mean) ** 2, axis=0, weights=whole) + 0.01),
        np.average(np.abs(np.diff(x, axis=0)), axis=0, weights=change_weights),
        mean,
    ]
    if len(shares) > 1:
        contour = np.stack([np.average(x, axis=0, weights=part) for part in shares]) - mean
        contour /= np.sqrt((contour**2).mean(axis=1, keepdims=True) + 0.08**2)
        n = len(shares)
        along = np.pi * (np.arange(n) + 0.5) / n
        cosines = [np.cos(k * along) * np.sqrt(2 / n) for k in range(1, min(n, 4))]
        statistics.append((np.array(cosines) @ contour).ravel())
    return statistics


def textures_of(heard):
    sums = texture_sums(heard.textures, heard.texture_weights)
    return [block[0] for of_floor in sums for block in texture_blocks(of_floor[None])]


def test_blocks_are_those_of_maps_and_weightings_then_textures():
    clip = levelled(16)
    pooled = pool_clips(TwoMaps(), [Source(16, [clip])], CPU, n_parts=5)
    heard = hear_alone(clip, n_parts=5)
    assert np.abs(heard.log_mel - clip.T.numpy()).max() > 1
    expected = [
        block
        for feature_map in (heard.log_mel, -heard.log_mel)
        for shares in weightings(heard, 5)
        for block in weighted_statistics(feature_map, shares)
    ]
    n_of_maps = sum(map(len, expected))
    expected += textures_of(heard)
    assert pooled.block_sizes == [len(block) for block in expected]
    assert pooled.block_sizes[:28] == [*[3, 3, 3, 9] * 2, *[3, 3, 3] * 2] * 2
    assert pooled.block_weights == [1.0] * 28 + 2 * list(BLOCK_WEIGHTS)
    found = pooled.rows[0]
    np.testing.assert_allclose(found[:n_of_maps], np.concatenate(expected[:28]), atol=1e-4)
    np.testing.assert_allclose(found[n_of_maps:], np.concatenate(expected[28:]), atol=1e-5)


def test_correlations_of_filters_stand_between_maps_and_textures():
    clip = levelled(16, n_mels=12)

    class OneOfThem(TwoMaps):
        """Its second map is another function of the log-mels than the first."""

        def feature_maps(self, log_mel, n_valid):
            return [log_mel, log_mel.square()]

    without = pool_clips(OneOfThem(), [Source(16, [clip])], CPU, n_parts=2)
    pooled = pool_clips(OneOfThem((1, 3)), [Source(16, [clip])], CPU, n_parts=2)
    sizes = without.block_sizes
    assert pooled.block_sizes == [*sizes[:28], 3, *sizes[28:]]
    assert pooled.block_weights[28] == 2.0
    end = sum(sizes[:28])
    np.testing.assert_array_equal(np.delete(pooled.rows, range(end, end + 3), axis=1), without.rows)
    heard = hear_alone(clip, n_parts=2)
    loudness = weightings(heard, 2)[0].sum(0)
    mean = np.average(heard.log_mel.astype(float) ** 2, axis=0, weights=loudness)
    expected = np.corrcoef(mean.reshape(3, 4))[np.triu_indices(3, 1)]
    np.testing.assert_allclose(pooled.rows[0, end : end + 3], expected, atol=1e-2)


def test_floor_and_parts_are_those_of_a_block_not_of_the_clip_or_a_window():
    """Each block has the same parts, and over the blocks these are averaged."""
    fading, quiet = levelled(32), levelled(32, seed=1) - 12  # 12 nats are 52 dB
    fading[:, 16:] -= 12
    pooled = pool_clips(TwoMaps(), [Source(64, iter([fading, quiet]))], CPU, n_parts=2)
    found = np.split(pooled.rows[0], np.cumsum(pooled.block_sizes))[6:8]
    blocks = [hear_alone(block, 2) for block in (fading, quiet)]
    log_mel = np.concatenate([heard.log_mel for heard in blocks])
    shares = np.concatenate([weightings(heard, 2)[1] for heard in blocks], axis=1)
    *_, mean, contour = weighted_statistics(log_mel, shares)
    np.testing.assert_allclose(found[0], mean, atol=1e-4)
    np.testing.assert_allclose(found[1], contour, atol=1e-3)


@pytest.mark.parametrize("n_frames", [5, 15, 17, 33, 40])
def test_every_frame_counts_once_whatever_the_length(n_frames):
    """The last window ends with the clip, but does not count again what the one before has."""
    clip = levelled(n_frames)
    pooled = pool_clips(TwoMaps(), [Source(n_frames, [clip])], CPU, n_parts=1)
    heard = hear_alone(clip, n_parts=1)
    deviation, _, mean = weighted_statistics(heard.log_mel, weightings(heard, 1)[0])
    np.testing.assert_allclose(pooled.rows[0, :3], deviation, atol=1e-4)
    np.testing.assert_allclose(pooled.rows[0, 6:9], mean, atol=1e-4)


def test_frames_are_heard_with_the_floor_that_statistics_are_made_with():
    clip = levelled(16)
    (frames,) = clip_frames(TwoMaps(), [Source(16, [clip])], CPU)
    np.testing.assert_allclose(frames.features, -hear_alone(clip, 1).log_mel, atol=1e-5)
    assert np.abs(frames.features + clip.T.numpy()).max() > 1


def test_frames_are_those_of_the_deepest_map():
    class Deeper(TwoMaps):
        def deepest_map(self, log_mel, n_valid):
            return 3 * log_mel

    clips = [Source(40, [levelled(40)])]
    (deepest,), (last) = clip_frames(Deeper(), clips, CPU), clip_frames(TwoMaps(), clips, CPU)
    np.testing.assert_allclose(deepest.features, -3 * last[0].features, rtol=1e-6)


def test_textures_of_blocks_are_added():
    """A long clip comes in blocks, and none is forgotten or counted twice."""
    blocks = [levelled(64), levelled(48, seed=1), levelled(33, seed=2)]
    pooled = pool_clips(TwoMaps(), [Source(145, iter(blocks))], CPU, n_parts=2)
    heard = [hear_alone(block, 2) for block in blocks]
    sums = sum(texture_sums(each.textures, each.texture_weights) for each in heard)
    expected = np.concatenate(texture_blocks(sums[1:]), axis=1)[0]
    np.testing.assert_allclose(pooled.rows[0, -len(expected) :], expected, atol=1e-5)


def test_blocks_of_about_one_length_are_heard_together_but_no_more_frames_than_memory_should_hold(
    monkeypatch,
):
    """Whatever they are heard with, each has the same statistics."""
    lengths = [*[1000] * 6, 40, 33, 48, 49, 1000, *[7000] * 2]
    clips = [levelled(n, seed, n_mels=40) for seed, n in enumerate(lengths)]
    shapes = []

    def listen(levelled, n_parts, n_frames):
        shapes.append((levelled.shape[0], levelled.shape[2]))
        return hear(levelled, n_parts, n_frames)

    monkeypatch.setattr(_embedding, "hear", listen)
    sources = [Source(n, [clip]) for n, clip in zip(lengths, clips, strict=True)]
    # The last clip has two blocks.
    sources[-1] = Source(8000, [clips[-1], clips[0]])
    together = pool_clips(TwoMaps(), sources, CPU, n_parts=2).rows
    assert sorted(shapes) == [
        *[(1, 64), (1, 1000), (1, 7000), (1, 7000)],  # 49 frames are listened to as 64
        *[(3, 48), (3, 1000), (4, 1000)],
    ]
    alone = [pool_clips(TwoMaps(), [source], CPU, 2).rows[0] for source in sources]
    np.testing.assert_array_equal(together, alone)


class Listener(TwoMaps):
    """Remembers which shapes it got."""

    def feature_maps(self, log_mel, n_valid):
        self.heard.add(tuple(log_mel.shape))
        return super().feature_maps(log_mel, n_valid)


def test_windows_are_as_wide_as_suits_a_clip_and_all_keep_their_order():
    lengths = [40, 16, 3, 17, 90, 1] * 8
    clips = [levelled(n, seed) for seed, n in enumerate(lengths)]
    module = Listener()
    rows = []
    for chosen in (range(48), range(47, -1, -1), [i for i in range(48) if lengths[i] > 16]):
        module.heard = set()
        sources = (Source(lengths[i], [clips[i]]) for i in chosen)
        rows.append(pool_clips(module, sources, CPU, n_parts=2).rows)
        # As many windows in a batch, or half as many where they are wide.
        shapes = {(16, 3, 32)}
        if len(chosen) == 48:
            shapes |= {(32, 3, 16), (32, 3, 12)}
        assert module.heard == shapes
    together, reversed_, long_ones = rows
    np.testing.assert_array_equal(together, reversed_[::-1])
    np.testing.assert_array_equal(together[np.array(lengths) > 16], long_ones)
    pairs = zip(lengths, clips, strict=True)
    alone = [pool_clips(module, [Source(n, [c])], CPU, 2).rows[0] for n, c in pairs]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    "module",
    [
        ConvWindowEncoder(n_mels=16, n_frames=96, width=8),
        VQWindowEncoder(16, 96, 2, 4, 8, dim=64, n_layers=2, n_heads=1),
    ],
)
def test_narrow_windows_miss_nothing_of_short_clips(module):
    """Maps of a clip are the same as in a window of training, wherever it ends."""
    module.eval().requires_grad_(False)
    module.scaler.set_statistics(1.0, 3.0)
    widths = set()
    for n_frames in range(1, 97):
        clip = levelled(n_frames, n_mels=16).float()
        (batch,) = iter_fitting_batches([[clip]], module)
        windows, n_valid = batch.tensors(CPU)
        widths.add((n_frames, windows.shape[2]))
        padded = torch.nn.functional.pad(clip, (0, 96 - n_frames))[None]
        expected = module.feature_maps(padded, torch.tensor([n_frames]))
        for found, whole in zip(module.feature_maps(windows, n_valid), expected, strict=True):
            n = -(-n_frames * whole.shape[2] // 96)
            torch.testing.assert_close(found[:1, :, :n], whole[:, :, :n], atol=1e-5, rtol=1e-4)
    narrow = 64 - module.n_beyond
    assert widths == {(n, 64 if n <= narrow else 96) for n in range(1, 97)}


@pytest.fixture
def n_threads():
    """Set torch's number of threads, and put it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_statistics_of_many_clips_are_never_there_together(n_threads):
    """What is made of them is, in the order of the clips."""
    n_threads(2)
    lengths = [20 + seed % 3 for seed in range(300)]
    sources = [Source(n, [levelled(n, seed)]) for seed, n in enumerate(lengths)]
    groups = pool_groups(TwoMaps(), sources, CPU, 2, lambda pooled: pooled.rows.copy())
    assert max(len(rows) for _, rows in groups) <= 64
    together = pool_clips(TwoMaps(), sources, CPU, 2).rows
    for positions, rows in groups:
        np.testing.assert_array_equal(rows, together[positions])
    positions = np.concatenate([positions for positions, _ in groups])
    assert sorted(positions) == list(range(300))
    # Those of one length together.
    assert [lengths[i] for i in positions] == sorted(lengths, reverse=True)


class Worker(TwoMaps):
    """Waits until all workers are there, and remembers them and their numbers of threads."""

    def __init__(self, n_workers):
        super().__init__()
        self.workers = {}
        self.all_there = threading.Barrier(n_workers, timeout=60)

    def feature_maps(self, log_mel, n_valid):
        if threading.current_thread() not in self.workers:
            self.workers[threading.current_thread()] = torch.get_num_threads()
            self.all_there.wait()
        return super().feature_maps(log_mel, n_valid)


@pytest.mark.parametrize(("n", "n_workers"), [(1, 1), (2, 2), (3, 3), (9, 4)])
def test_groups_of_clips_are_worked_on_by_as_many_threads_as_torch_has(n_threads, n, n_workers):
    """Eight clips make a group at least; threads that are left over help."""
    lengths = [40, 16, 3, 17, 90] * 6
    clips = [levelled(n, seed) for seed, n in enumerate(lengths)]
    rows = {}
    for module in (TwoMaps(), Worker(n_workers)):
        n_threads(1 if type(module) is TwoMaps else n)
        n_running = threading.active_count()
        sources = [Source(n, [clip]) for n, clip in zip(lengths, clips, strict=True)]
        rows[type(module)] = pool_clips(module, sources, CPU, n_parts=2).rows
        assert threading.active_count() == n_running
    np.testing.assert_array_equal(rows[TwoMaps], rows[Worker])
    assert list(module.workers.values()) == [n // n_workers] * n_workers
    assert (threading.current_thread() in module.workers) == (n_workers == 1)
    # Neither this thread nor those that are yet to come have another number than before.
    assert torch.get_num_threads() == n
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(torch.get_num_threads).result() == n


@pytest.mark.parametrize(
    ("n_frames", "n_groups"),
    [
        ([10] * 200, [50] * 4),
        ([10, 10, 1_000_000, *[10] * 30], [1, 32]),
        ([1_000_000, *[10] * 30], [1, 30]),
        ([*[10] * 30, 1 << 62, 10], [1, 31]),  # as some headers claim
        ([*[10] * 30, 1 << 70], [1, 30]),
        ([30, 20, 10] * 10, [10, 20]),
        # Statistics of very many would fill the memory.
        ([*[10] * 300, 1_000_000], [1, 100, 100, 100]),
        ([10] * 8, [8]),
    ],
)
def test_groups_of_two_threads_take_about_as_long(n_threads, n_frames, n_groups):
    n_threads(2)
    groups = _groups(n_frames)
    assert [len(group) for group in groups] == n_groups
    positions = np.concatenate(groups).tolist()
    assert positions == sorted(range(len(n_frames)), key=lambda i: -n_frames[i])


@pytest.mark.parametrize("kind", [ContrastiveAudioEncoder, VQTransformerEncoder])
def test_features_depend_neither_on_company_nor_on_threads(n_threads, kind):
    """Nor do those of clips so long that torch shares a sum among threads."""
    rng = np.random.default_rng(0)
    short = rng.integers(500, 16_000, size=40).tolist()  # in windows of two widths
    lengths = (100_000, 170_000, 160_000, 8_000, *[30_000] * 14, *short)
    clips = [rng.standard_normal(n) for n in lengths]
    for clip in clips[:3]:
        clip *= np.exp(np.linspace(0, -9, len(clip)))
    n_threads(1)
    encoder = kind(n_epochs=0, random_state=0)
    with threadpool_limits(3, user_api="blas"):
        fitted = encoder.fit_transform(clips)
    for n in (1, 2, 5):
        n_threads(n)
        np.testing.assert_array_equal(encoder.transform(clips), fitted)
        np.testing.assert_array_equal(encoder.transform(clips[:3]), fitted[:3])
    for i in (18, 30, 57):
        np.testing.assert_array_equal(encoder.transform(clips[i : i + 1]), fitted[i : i + 1])


@pytest.mark.parametrize("n", [1, 2])
def test_the_first_clip_that_fails_is_told_and_the_others_are_let_be(n_threads, n):
    """Whoever finds one first."""
    read = set()

    def failing(i):
        if i == 0:
            time.sleep(0.2)
            raise OSError(f"clip {i}")
        for _ in range(100):
            time.sleep(0.02)
            read.add(i)
            yield levelled(16)

    n_threads(n)
    sources = [Source(16, failing(i)) for i in range(400)]
    started = time.monotonic()
    with pytest.raises(OSError, match="clip 0"):
        pool_clips(TwoMaps(), sources, CPU, n_parts=1)
    assert len(read) < 50, time.monotonic() - started
    assert torch.get_num_threads() == n


def test_transform_goes_on_when_the_main_thread_has_ended(tmp_path):
    """As in a script whose last line starts a thread."""
    script = f"""
import threading, numpy as np, torch
from audiorep import ContrastiveAudioEncoder
torch.set_num_threads(2)
clips = np.random.default_rng(0).standard_normal((20, 20000))
encoder = ContrastiveAudioEncoder(n_epochs=0, width=4, random_state=0).fit(clips)
def work():
    threading.main_thread().join()
    np.save({str(tmp_path / "rows.npy")!r}, encoder.transform(clips))
threading.Thread(target=work).start()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert np.load(tmp_path / "rows.npy").shape[0] == 20


@contextmanager
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield
        assert torch.is_autocast_enabled("cpu")


# On the device "meta" there are shapes and no values: what is made there by mistake fails.
MODES = {"autocast": autocast, "default device": partial(torch.device, "meta")}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("kind", [ContrastiveAudioEncoder, VQTransformerEncoder])
def test_a_callers_modes_have_no_effect(kind, mode, tmp_path):
    """On clips of more than a minute, which are read in blocks, and on what is resampled, too."""
    rng = np.random.default_rng(0)
    paths = []
    for i, (n_timesteps, rate) in enumerate([(61 * 2000, 2000), (88_200, 44_100)]):
        paths.append(tmp_path / f"{i}.wav")
        soundfile.write(paths[-1], 0.1 * rng.standard_normal(n_timesteps), rate)
    encoder = kind(sample_rate=2000, n_mels=16, n_epochs=1, window_frames=32, random_state=0)
    encoder.set_params(precision="float32")
    used = ["transform", "transform_frames"]
    if kind is VQTransformerEncoder:
        encoder.set_params(n_codes=8, n_layers=1, width=64)
        used += ["tokenize", "reconstruct", "score_samples", "perplexity"]
    expected = [encoder.fit_transform(paths), *(getattr(encoder, name)(paths) for name in used)]
    with mode():
        found = [encoder.fit_transform(paths)]
        encoder = pickle.loads(pickle.dumps(encoder))
        found += [getattr(encoder, name)(paths) for name in used]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_a_callers_modes_have_no_effect_on_what_is_drawn_or_told(mode):
    clips = np.random.default_rng(0).standard_normal((4, 20000))
    network = {"window_frames": 32, "n_epochs": 1, "precision": "float32", "random_state": 0}
    classifier = SupervisedAudioClassifier(width=4, **network).fit(clips, [0, 1, 0, 1])
    encoder = VQTransformerEncoder(n_codes=8, n_layers=1, width=64, **network).fit(clips)

    def results():
        statistics = [kind().fit_transform(clips) for kind in (LogMelStatistics, MFCCStatistics)]
        drawn = encoder.sample(2, random_state=0)
        return [classifier.predict_proba(clips), *drawn, *statistics]

    expected = results()
    with mode():
        torch.testing.assert_close(results(), expected, rtol=0, atol=0)


def test_a_header_that_claims_too_much_does_not_widen_windows():
    clip, module = levelled(14), Listener()
    module.heard = set()
    pool_clips(module, [Source(40, [clip])], CPU, n_parts=1)
    assert module.heard == {(32, 3, 16)}
