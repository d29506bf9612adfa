"""Laws of the causal transformer."""

import math

import pytest
import torch

from audiorep.nn._transformer import (
    CausalSelfAttention,
    CausalTransformer,
    KeyValueCache,
    rotate,
)


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return CausalTransformer(dim=16, n_layers=2, n_heads=2).eval()


@pytest.fixture
def tokens():
    return torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(1))


def test_future_changes_no_past_state(transformer, tokens):
    changed = tokens.clone()
    changed[:, 5:, 0] += 1.0
    pairs = zip(transformer.hidden_states(tokens), transformer.hidden_states(changed), strict=True)
    for before, after in pairs:
        torch.testing.assert_close(before[:, :5], after[:, :5])
        assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1)])
def test_other_dtypes(transformer, tokens, dtype, tolerance):
    expected = transformer(tokens)
    states = transformer.to(dtype)(tokens.to(dtype))
    assert states.dtype == dtype
    torch.testing.assert_close(states.float(), expected, atol=tolerance, rtol=tolerance)


def test_past_changes_every_later_state(transformer, tokens):
    changed = tokens.clone()
    changed[:, 0, 0] += 1.0
    difference = (transformer(tokens) - transformer(changed)).abs().amax(2)
    assert (difference > 1e-6).all()


def test_attention_equals_explicit_softmax(tokens):
    torch.manual_seed(0)
    attention = CausalSelfAttention(dim=16, n_heads=2)
    expected = torch.zeros_like(tokens)
    query, key, value = attention.query_key_value(tokens).chunk(3, dim=2)
    for head in range(2):
        part = slice(8 * head, 8 * head + 8)
        q, k, v = rotate(query[:, :, part]), rotate(key[:, :, part]), value[:, :, part]
        for t in range(tokens.shape[1]):
            score = (q[:, t, None] * k[:, : t + 1]).sum(2) / math.sqrt(8)
            weight = score.softmax(1)[:, :, None]
            expected[:, t, part] = (weight * v[:, : t + 1]).sum(1).detach()
    torch.testing.assert_close(attention(tokens), attention.output(expected))


def test_rotation_depends_on_distance_alone():
    q, k = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    near = (rotate(q, 3) * rotate(k, 1)).sum()
    far = (rotate(q, 103) * rotate(k, 101)).sum()
    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)
    assert not torch.isclose(near, (rotate(q, 3) * rotate(k, 2)).sum())


def test_rotation_keeps_lengths(tokens):
    torch.testing.assert_close(rotate(tokens).norm(dim=2), tokens.norm(dim=2))


@pytest.mark.parametrize("block_length", [1, 3])
def test_cache_gives_the_same_states(transformer, tokens, block_length):
    cache = KeyValueCache()
    parts = [transformer(block, cache) for block in tokens.split(block_length, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), transformer(tokens))
    assert cache.n_tokens == tokens.shape[1]


@pytest.mark.parametrize("context", [1, 3, 8])
@pytest.mark.parametrize("block_length", [1, 3])
def test_a_cache_that_forgets_gives_the_same_states(tokens, context, block_length):
    torch.manual_seed(0)
    transformer = CausalTransformer(dim=16, n_layers=2, n_heads=2, context=context).eval()
    cache = KeyValueCache()
    parts = [transformer(block, cache) for block in tokens.split(block_length, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), transformer(tokens))
    assert cache.n_tokens == tokens.shape[1]
    assert all(key.shape[2] == context - 1 for key, _ in cache.layers.values())


@pytest.mark.parametrize("context", [1, 2, 3])
def test_context_is_as_far_as_a_token_sees(tokens, context):
    torch.manual_seed(0)
    transformer = CausalTransformer(dim=16, n_layers=2, n_heads=2, context=context).eval()
    changed = tokens.clone()
    changed[:, 1] += torch.randn(16)
    difference = (transformer(tokens) - transformer(changed)).abs().amax((0, 2))
    reach = 2 * (context - 1)  # each of the two blocks looks back
    seen = torch.arange(8).sub(1)
    assert ((difference > 1e-6) == ((seen >= 0) & (seen <= reach))).all()


def test_a_context_that_holds_all_changes_nothing(transformer, tokens):
    wide = CausalTransformer(dim=16, n_layers=2, n_heads=2, context=8).eval()
    wide.load_state_dict(transformer.state_dict())
    assert torch.equal(wide(tokens), transformer(tokens))


def test_rows_do_not_meet(transformer, tokens):
    torch.testing.assert_close(transformer(tokens)[:1], transformer(tokens[:1]))


def test_heads_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"use a multiple of 6"):
        CausalTransformer(dim=16, n_layers=1, n_heads=3)
