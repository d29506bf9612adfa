"""A causal transformer with rotary positions."""

import torch
from torch import Tensor, nn


class KeyValueCache:
    """The keys and values of the tokens that a transformer has seen, one pair per layer.

    Attributes
    ----------
    n_tokens : int
        Number of tokens seen so far, those that were forgotten included.
    """

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.n_seen: dict[int, int] = {}

    @property
    def n_tokens(self) -> int:
        """Number of tokens seen so far, those that were forgotten included."""
        return self.n_seen.get(0, 0)

    def extend(
        self, layer: int, key: Tensor, value: Tensor, context: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Append new tokens to one layer and return all that they may see.

        Parameters
        ----------
        layer : int
            Position of the layer, from the bottom.
        key, value : Tensor of shape (batch, n_heads, n_tokens, head_dim)
            Of the new tokens.
        context : int, default=None
            Tokens that a token sees, itself included; those that no later one will see are
            forgotten. None means all.

        Returns
        -------
        key, value : Tensor of shape (batch, n_heads, n_kept + n_tokens, head_dim)
            Of the tokens that were kept, at most ``context - 1``, and of the new ones.
        """
        self.n_seen[layer] = self.n_seen.get(layer, 0) + key.shape[2]
        if layer in self.layers:
            past_key, past_value = self.layers[layer]
            key = torch.cat((past_key, key), dim=2)
            value = torch.cat((past_value, value), dim=2)
        n_old = 0 if context is None else max(0, key.shape[2] - context + 1)
        self.layers[layer] = key[:, :, n_old:], value[:, :, n_old:]
        return key, value


class CausalSelfAttention(nn.Module):
    """Every token looks at itself and at tokens before it.

    Parameters
    ----------
    dim : int
        Length of a token.
    n_heads : int
        Number of heads; ``dim / n_heads`` must be an even whole number.
    layer : int, default=0
        Position of the layer in its transformer: where its keys are in a cache.
    context : int, default=None
        Tokens that a token looks at, itself included. None means all before it.
    """

    def __init__(self, dim: int, n_heads: int, layer: int = 0, context: int | None = None) -> None:
        super().__init__()
        if dim % (2 * n_heads):
            raise ValueError(
                f"dim={dim} cannot be split into n_heads={n_heads} heads of even length; "
                f"use a multiple of {2 * n_heads}."
            )
        self.n_heads = n_heads
        self.layer = layer
        self.context = context
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Mix tokens of shape (batch, n_tokens, dim)."""
        batch, n_tokens, dim = x.shape
        # (batch, n_tokens, 3 * dim) -> three of (batch, n_heads, n_tokens, head_dim)
        split = self.query_key_value(x).view(batch, n_tokens, 3, self.n_heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4).float()
        first = 0 if cache is None else cache.n_seen.get(self.layer, 0)
        query, key = rotate(query, first), rotate(key, first)
        if cache is not None:
            key, value = cache.extend(self.layer, key, value, self.context)
        y = _causal_attention(query, key, value, self.context)
        return self.output(y.transpose(1, 2).reshape(batch, n_tokens, dim).to(x.dtype))


def rotate(x: Tensor, first: int = 0, base: float = 100.0) -> Tensor:
    """Turn pairs of coordinates by angles proportional to the token's position.

    The product of a rotated query and a rotated key depends on their distance alone, so a
    transformer may read sequences longer than those it was trained on.

    Parameters
    ----------
    x : Tensor of shape (..., n_tokens, head_dim)
        Queries or keys; `head_dim` is even.
    first : int, default=0
        Position of the first token.
    base : float, default=100.0
        The slowest pair of coordinates turns once in ``2 * pi * base`` tokens.

    Returns
    -------
    Tensor of shape (..., n_tokens, head_dim)

    References
    ----------
    Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.
    """
    n_tokens, half = x.shape[-2], x.shape[-1] // 2
    speed = base ** -(torch.arange(half, dtype=torch.float32, device=x.device) / half)
    position = torch.arange(first, first + n_tokens, device=x.device)
    angle = position[:, None] * speed
    cosine, sine = angle.cos(), angle.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), dim=-1)


def _causal_attention(query: Tensor, key: Tensor, value: Tensor, context: int | None) -> Tensor:
    """Attend in float32: on a CPU, bfloat16 is several times slower for short sequences."""
    attention = nn.functional.scaled_dot_product_attention
    n_past, n_tokens = key.shape[2] - query.shape[2], key.shape[2]
    with torch.autocast(query.device.type, enabled=False):
        if n_past == 0 and (context is None or n_tokens <= context):
            return attention(query, key, value, is_causal=True)
        seen = torch.arange(n_tokens, device=key.device)
        distance = seen[n_past:, None] - seen
        mask = distance >= 0
        if context is not None:
            mask &= distance < context
        return attention(query, key, value, attn_mask=mask)


class TransformerBlock(nn.Module):
    """Attention, then two linear layers on every token; both add to what came in.

    Parameters
    ----------
    dim : int
        Length of a token.
    n_heads : int
        Number of heads.
    layer : int, default=0
        Position of the block in its transformer.
    context : int, default=None
        Tokens that a token looks at, itself included. None means all before it.
    """

    def __init__(self, dim: int, n_heads: int, layer: int = 0, context: int | None = None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = CausalSelfAttention(dim, n_heads, layer, context)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, 4 * dim)
        self.mlp_out = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Transform tokens of shape (batch, n_tokens, dim)."""
        x = x + self.attention(self.attention_norm(x), cache)
        # The squared rectifier learns as well as GELU here and costs a third.
        return x + self.mlp_out(self.mlp_in(self.mlp_norm(x)).relu().square())


class CausalTransformer(nn.Module):
    """A pre-norm transformer in which a token sees only itself and its past.

    Parameters
    ----------
    dim : int, default=192
        Length of a token.
    n_layers : int, default=3
        Number of blocks.
    n_heads : int, default=3
        Attention heads of a block; ``dim / n_heads`` must be an even whole number.
    context : int, default=None
        Tokens that a token looks at in each block, itself included. What is older reaches it only
        through the tokens in between. None means all before it.

    See Also
    --------
    KeyValueCache : Makes one token after another cheap.

    References
    ----------
    Vaswani et al., Attention Is All You Need, 2017.
    So et al., Primer: Searching for Efficient Transformers for Language Modeling, 2021.

    Examples
    --------
    >>> import torch
    >>> from audiorep.nn import CausalTransformer
    >>> transformer = CausalTransformer(dim=16, n_layers=2, n_heads=2)
    >>> tokens = torch.randn(4, 10, 16)
    >>> transformer(tokens).shape
    torch.Size([4, 10, 16])
    >>> len(transformer.hidden_states(tokens))
    3
    """

    def __init__(
        self, dim: int = 192, n_layers: int = 3, n_heads: int = 3, context: int | None = None
    ) -> None:
        super().__init__()
        self.context = context
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, n_heads, i, context) for i in range(n_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self._shrink_residuals()

    def _shrink_residuals(self) -> None:
        # The sum over blocks keeps its scale, however many there are (as in GPT-2).
        for name, weight in self.named_parameters():
            if name.endswith(("attention.output.weight", "mlp_out.weight")):
                with torch.no_grad():
                    weight.mul_((2 * len(self.blocks)) ** -0.5)

    def hidden_states(self, x: Tensor, cache: KeyValueCache | None = None) -> list[Tensor]:
        """Return the tokens as they come in and as they leave every block.

        Parameters
        ----------
        x : Tensor of shape (batch, n_tokens, dim)
        cache : KeyValueCache, default=None
            What came before `x`; `x` is added to it. None means that `x` is the beginning.

        Returns
        -------
        list of Tensor of shape (batch, n_tokens, dim)
            ``n_layers + 1`` of them; the last one is normalised, as `forward` returns it.
        """
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1], cache))
        states[-1] = self.norm(states[-1])
        return states

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Return the normalised states of the last block, of shape (batch, n_tokens, dim).

        Parameters
        ----------
        x : Tensor of shape (batch, n_tokens, dim)
        cache : KeyValueCache, default=None
            What came before `x`; `x` is added to it. None means that `x` is the beginning.

        Returns
        -------
        Tensor of shape (batch, n_tokens, dim)
        """
        return self.hidden_states(x, cache)[-1]
