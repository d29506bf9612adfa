"""Laws of patches, their autoencoder and their stem."""

import pytest
import torch

from audiorep.nn._patches import (
    PatchAutoencoder,
    PatchStem,
    patchify,
    unpatchify,
    valid_steps,
)


@pytest.fixture
def log_mel():
    return torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("patch_mels", "patch_frames"), [(4, 8), (16, 4), (1, 1), (16, 32)])
def test_round_trip(log_mel, patch_mels, patch_frames):
    patches = patchify(log_mel, patch_mels, patch_frames)
    assert torch.equal(unpatchify(patches, patch_mels, patch_frames), log_mel)


def test_patch_is_a_rectangle(log_mel):
    patches = patchify(log_mel, 4, 8)
    assert torch.equal(patches[1, 2, 3].view(4, 8), log_mel[1, 12:16, 16:24])


def test_ragged_patches_raise(log_mel):
    with pytest.raises(ValueError, match=r"16 mel bands by 32 frames .* 5 by 8"):
        patchify(log_mel, 5, 8)


def test_autoencoder_has_three_layers_each_way():
    autoencoder = PatchAutoencoder(patch_size=32, bottleneck_dim=4, hidden_dim=8)
    linear = [m for m in autoencoder.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in linear] == [8, 8, 4, 8, 8, 32]


def test_stem_does_not_look_ahead(log_mel):
    stem = PatchStem(n_mels=16, dim=8, n_channels=(4, 4, 4)).eval()
    changed = log_mel.clone()
    changed[:, :, 16:] += 1.0
    before, after = stem(log_mel), stem(changed)
    assert before.shape == (3, 4, 8)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_stem_looks_back(log_mel):
    stem = PatchStem(n_mels=16, dim=8, n_channels=(4, 4, 4)).eval()
    changed = log_mel.clone()
    changed[:, :, 7] += 1.0
    assert not torch.allclose(stem(log_mel)[:, 1], stem(changed)[:, 1])


def test_valid_steps_are_half_inside():
    valid = valid_steps(torch.tensor([1, 8, 11, 12, 32]), n_steps=4, patch_frames=8)
    assert valid.sum(1).tolist() == [1, 1, 1, 2, 4]
