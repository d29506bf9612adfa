"""Laws of the tokenizer."""

import itertools

import pytest
import torch

from audiorep._tokenizer import PatchTokenizer, remove_level


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    log_mel = torch.randn(8, 16, 32, generator=generator)
    return log_mel, torch.tensor([32, 32, 32, 32, 20, 20, 9, 1])


@pytest.fixture(scope="module")
def tokenizer(batch):
    torch.manual_seed(0)
    tokenizer = PatchTokenizer(n_mels=16, n_bands=2, n_codes=6, bottleneck_dim=4)
    tokenizer.fit(itertools.repeat(batch), n_steps=20)
    return tokenizer


def test_quantizing_twice_is_once(tokenizer, batch):
    codes = tokenizer.encode(batch[0])
    assert torch.equal(tokenizer.quantize(tokenizer.codebook[codes]), codes)


def test_code_is_the_nearest(tokenizer, batch):
    vectors = tokenizer.bottleneck(batch[0])
    distance = (vectors[..., None, :] - tokenizer.codebook).square().sum(-1)
    assert torch.equal(tokenizer.quantize(vectors), distance.argmin(-1))


def test_codes_are_the_same_in_a_training_in_bfloat16(tokenizer):
    log_mel = torch.randn(200, 16, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert tokenizer.bottleneck(log_mel).dtype == torch.bfloat16
        codes = tokenizer.encode(log_mel)
    assert torch.equal(codes, tokenizer.encode(log_mel))


def test_shapes(tokenizer, batch):
    codes = tokenizer.encode(batch[0])
    assert codes.shape == (8, 4, 2)
    assert tokenizer.decode(codes).shape == batch[0].shape


def test_code_depends_on_its_patch_alone(tokenizer, batch):
    changed = batch[0].clone()
    changed[:, :8, :8] += 3.0
    same = tokenizer.encode(batch[0]) == tokenizer.encode(changed)
    assert same.flatten(1)[:, 1:].all()


def test_training_lowers_the_error(batch):
    torch.manual_seed(0)
    tokenizer = PatchTokenizer(n_mels=16, n_bands=2, n_codes=4, bottleneck_dim=8)
    losses = tokenizer.fit(itertools.repeat(batch), n_steps=50)
    assert losses[-1] < 0.9 * losses[0]


def test_fewer_patches_than_codes():
    torch.manual_seed(0)
    tokenizer = PatchTokenizer(n_mels=16, n_bands=1, n_codes=64, bottleneck_dim=4)
    batch = torch.randn(2, 16, 16), torch.tensor([16, 16])
    tokenizer.fit(itertools.repeat(batch), n_steps=1)
    assert tokenizer.in_use.sum() == 4
    assert tokenizer.encode(batch[0]).max() < 4


def test_level_is_removed():
    log_mel = torch.randn(2, 16, 32)
    n_valid = torch.tensor([32, 10])
    flat = remove_level(log_mel, n_valid)
    torch.testing.assert_close(flat, remove_level(log_mel + 5.0, n_valid), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.sum((1, 2)), torch.zeros(2), atol=1e-3, rtol=0)
    assert (flat[1, :, 10:] == 0).all()


def test_bands_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="n_mels=16 is not a multiple of n_bands=3"):
        PatchTokenizer(n_mels=16, n_bands=3)
