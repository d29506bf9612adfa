import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from audiorep._torchaudio import torchaudio
from audiorep.nn import ComparisonHead, ConvBackbone, LogMel, NTXentLoss, ProjectionHead
from audiorep.nn._conv_block import ConvBlock
from audiorep.nn._log_mel import POWER_FLOOR


def naive_nt_xent(first, second, temperature, decoupled):
    z = torch.nn.functional.normalize(torch.cat((first, second)), dim=1)
    n, total = len(first), 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        denominator = 0.0
        for j in range(2 * n):
            if j == i or (decoupled and j == partner):
                continue
            denominator += math.exp(float(z[i] @ z[j]) / temperature)
        total += math.log(denominator) - float(z[i] @ z[partner]) / temperature
    return total / (2 * n)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("temperature", [0.15, 1.0])
def test_nt_xent_equals_double_loop(temperature, decoupled):
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 7)
    loss = NTXentLoss(temperature, decoupled)(first, second)
    assert loss.item() == pytest.approx(
        naive_nt_xent(first, second, temperature, decoupled), rel=1e-5
    )


@pytest.mark.parametrize("shape", [(1,), (777,), (2, 3, 8000)])
def test_log_mel_is_the_logarithm_of_torchaudios_mel_spectrogram(shape):
    waveform = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mel_spectrogram = torchaudio.transforms.MelSpectrogram(
        16000, n_fft=512, hop_length=160, n_mels=64, f_min=60.0, pad_mode="constant"
    )
    expected = torch.log(mel_spectrogram(waveform) + POWER_FLOOR)
    torch.testing.assert_close(LogMel()(waveform), expected, rtol=1e-5, atol=1e-4)


def test_log_mel_has_gradients():
    waveform = torch.randn(700, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(LogMel().double(), waveform.requires_grad_())


@pytest.mark.parametrize(("n_fft", "are_deaf"), [(512, True), (2048, False)])
def test_mel_bands_that_hear_nothing_are_counted(n_fft, are_deaf, recwarn):
    noise = torch.randn(44100, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel(sample_rate=44100, n_fft=n_fft, n_mels=128)(noise)
    n_deaf = int((log_mel.amax(1) < -20).sum())
    told = [str(warning.message) for warning in recwarn]
    assert [text.split(",")[0] for text in told] == (
        [f"{n_deaf} of n_mels=128 mel bands hear nothing"] if are_deaf else []
    )


@pytest.mark.parametrize("shapes", [((1, 4), (1, 4)), ((3, 4), (2, 4)), ((4,), (4,))])
def test_nt_xent_needs_two_views_of_two_clips(shapes):
    with pytest.raises(ValueError, match="two clips at least"):
        NTXentLoss()(*map(torch.ones, shapes))


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "message"),
    [(513, 160, "n_fft=513 is odd"), (256, 300, "hop_length=300 is larger than n_fft=256")],
)
def test_frames_must_not_leave_gaps(n_fft, hop_length, message):
    with pytest.raises(ValueError, match=message):
        LogMel(n_fft=n_fft, hop_length=hop_length)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int16])
def test_a_spectrogram_of_any_dtype_is_in_single_precision(dtype):
    waveform = (100 * torch.randn(2, 4000)).to(dtype)
    expected = LogMel()(waveform.float())
    assert torch.equal(LogMel()(waveform), expected)
    assert torch.equal(torch.cat(list(LogMel().stream([waveform[0]])), dim=1), expected[0])


def test_threads_that_make_spectrograms_leave_the_callers_settings_alone():
    before = torch.get_default_dtype(), list(warnings.filters)
    torch.set_default_dtype(torch.float64)
    try:
        with ThreadPoolExecutor(4) as executor:
            made = list(executor.map(lambda n: LogMel(n_mels=16 + n % 40).filters, range(400)))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before[0])
    assert warnings.filters == before[1]
    assert {filters.dtype for filters in made} == {torch.float32}


@pytest.mark.parametrize("f_min", [-1.0, 8000.0])
def test_bands_are_below_half_the_sample_rate(f_min):
    with pytest.raises(ValueError, match=r"f_min=.* must be at least 0, and less than f_max=8000"):
        LogMel(f_min=f_min)


def test_a_backbone_in_double_precision():
    backbone = ConvBackbone(width=8).eval()
    x, n_valid = torch.randn(2, 64, 96), torch.tensor([96, 50])
    expected = backbone(x, n_valid)
    found = backbone.double()(x.double(), n_valid)
    torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=1e-4)


def test_nt_xent_does_not_care_which_view_comes_first():
    torch.manual_seed(0)
    first, second = torch.randn(2, 6, 4)
    loss = NTXentLoss()
    torch.testing.assert_close(loss(first, second), loss(second, first))


def test_nt_xent_ignores_length_and_prefers_matching_views():
    torch.manual_seed(0)
    view, other = torch.randn(2, 8, 16)
    loss = NTXentLoss()
    torch.testing.assert_close(loss(view, other), loss(5 * view, other))
    assert loss(view, view) < loss(view, other)


def test_nt_xent_of_orthogonal_rows_in_closed_form():
    view = torch.eye(4)
    # Each row: six negatives with similarity 0, one positive with similarity 1.
    expected = math.log(6 + math.exp(2.0)) - 2.0
    loss = NTXentLoss(temperature=0.5, decoupled=False)(view, view)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n_mels", "n_frames"), [(64, 96), (40, 96), (64, 50)])
def test_backbone_dimensions(n_mels, n_frames):
    backbone = ConvBackbone(n_mels=n_mels, width=8).eval()
    x = torch.randn(3, n_mels, n_frames)
    assert backbone(x).shape == (3, backbone.embedding_dim)
    assert backbone.feature_maps(x)[-1].shape[-1] == -(-n_frames // backbone.time_stride)


def test_backbone_without_lengths_means_all_frames():
    backbone = ConvBackbone(width=8).eval()
    x = torch.randn(2, 64, 96)
    torch.testing.assert_close(backbone(x), backbone(x, torch.tensor([96, 96])))


def test_backbone_pools_only_what_belongs_to_the_clip():
    # The deepest position p sees frames up to 16 p + 27, so frame 64 is beyond positions 0 and 1.
    backbone = ConvBackbone(width=8).eval()
    x = torch.randn(2, 64, 96)
    changed = x.clone()
    changed[..., 64:] += 10.0
    n_valid = torch.tensor([32, 20])
    torch.testing.assert_close(backbone(x, n_valid), backbone(changed, n_valid))
    assert not torch.allclose(backbone(x), backbone(changed))


def test_backbone_of_a_single_valid_frame_is_finite():
    backbone = ConvBackbone(width=8).eval()
    assert torch.isfinite(backbone(torch.randn(1, 64, 96), torch.tensor([1]))).all()


def test_embedding_is_statistics_over_the_positions_of_the_clip():
    """Against the plain way, for one stage: of each channel over the first positions only."""
    backbone = ConvBackbone(width=8, n_stages=1).eval()
    x, n_valid = torch.randn(2, 64, 96), torch.tensor([96, 40])
    (feature_map,) = backbone.feature_maps(x)
    for row, own_map, n in zip(backbone(x, n_valid), feature_map, n_valid // 4, strict=True):
        maximum, deviation, thirds = row.split([32, 32, 96])
        own = own_map[:, :n]
        torch.testing.assert_close(maximum, own.amax(1))
        torch.testing.assert_close(deviation, (own.var(1, correction=0) + 1e-4).sqrt())
        for part, mean in enumerate(thirds.split(32)):
            weight = [max(0.0, 1 - abs(3 * t / int(n) - part - 0.5)) + 1e-6 for t in range(n)]
            expected = (own * torch.tensor(weight)).sum(1) / sum(weight)
            torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_stages", [1, 2, 4])
def test_every_stage_halves_time_and_doubles_the_channels(n_stages):
    backbone = ConvBackbone(width=4, n_stages=n_stages).eval()
    x = torch.randn(1, 64, 96)
    maps = backbone.feature_maps(x)
    assert [m.shape[2] for m in maps] == [24, 12, 6, 3][:n_stages]
    others = backbone.feature_maps(x, first=1)
    assert len(others) == n_stages - 1
    assert all(a.equal(b) for a, b in zip(others, maps[1:], strict=True))
    assert backbone.time_stride == 96 // maps[-1].shape[2]
    filters = [stage[0].out_channels for stage in backbone.stages]
    assert filters == [4, 8, 16, 32][:n_stages]


def test_embedding_knows_the_order_of_time():
    backbone = ConvBackbone(width=8).eval()
    x = torch.randn(1, 64, 96)
    assert not torch.allclose(backbone(x), backbone(x.flip(-1)), atol=1e-3)


def test_backbone_and_head_get_gradients_everywhere():
    backbone = ConvBackbone(width=8)
    head = ProjectionHead(backbone.embedding_dim, hidden_dim=16, projection_dim=8)
    z = head(backbone(torch.randn(8, 64, 96)))
    NTXentLoss()(*z.chunk(2)).backward()
    for parameter in [*backbone.parameters(), *head.parameters()]:
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_feature_maps_average_bands_of_the_stages():
    backbone = ConvBackbone(width=8, n_bands=4).eval()
    fine = ConvBackbone(width=8, n_bands=16).eval()
    fine.load_state_dict(backbone.state_dict())
    x = torch.randn(2, 64, 96)
    folded, full = backbone.feature_maps(x)[0], fine.feature_maps(x)[0]
    expected = full.unflatten(1, (8, 4, 4)).mean(3).flatten(1, 2)
    torch.testing.assert_close(folded, expected)


def test_folding_the_norm_changes_nothing_but_rounding():
    torch.manual_seed(0)
    block = ConvBlock(3, 5, kernel_size=3, stride=2)
    for _ in range(3):
        block(2 + 3 * torch.randn(8, 3, 16, 12))  # statistics that are not the initial ones
    with torch.no_grad():
        block[1].weight.uniform_(0.5, 2.0)
        block[1].bias.normal_()
    block.eval()
    x = torch.randn(2, 3, 17, 12)
    folded, plain = block(x), torch.nn.Sequential(*block)(x)
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-5)
    # Gradients reach filters and norm in either case.
    gradients = [
        torch.autograd.grad(y.square().sum(), list(block.parameters())) for y in (folded, plain)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_a_comparison_learns_how_one_embedding_differs_from_the_other():
    torch.manual_seed(0)
    head = ComparisonHead(8, n_outputs=2, hidden_dim=16)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(300):
        first, second = torch.randn(2, 64, 8)
        error = (head(first, second) - (first - second)[:, :2]).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error < 0.3  # of a variance of 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_neither_log_mels_nor_the_loss(dtype):
    waveform = torch.sin(torch.arange(8000) * 0.3)
    views = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    log_mel, loss = LogMel(), NTXentLoss(temperature=0.05)
    expected = log_mel(waveform), loss(*views)
    with torch.autocast("cpu", dtype):
        found = log_mel(waveform), loss(*views)
        coarse = loss(*views.to(dtype))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert coarse.dtype == torch.float32
