"""A causal transformer with rotary positions."""

import torch
from torch import Tensor, nn


class KeyValueCache:
    """The keys and values of the tokens that a transformer has seen, one pair per layer.

    Attributes
    ----------
    n_tokens : int
        Number of tokens seen so far.
    """

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def n_tokens(self) -> int:
        """Number of tokens seen so far."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append new tokens to one layer and return everything it has seen.

        Parameters
        ----------
        layer : int
            Position of the layer, from the bottom.
        key, value : Tensor of shape (batch, n_heads, n_tokens, head_dim)
            Of the new tokens.

        Returns
        -------
        key, value : Tensor of shape (batch, n_heads, n_tokens_so_far, head_dim)
        """
        if layer in self.layers:
            past_key, past_value = self.layers[layer]
            key = torch.cat((past_key, key), dim=2)
            value = torch.cat((past_value, value), dim=2)
        self.layers[layer] = key, value
        return key, value


class CausalSelfAttention(nn.Module):
    """Every token looks at itself and at the tokens before it.

    Parameters
    ----------
    dim : int
        Length of a token.
    n_heads : int
        Number of heads; ``dim / n_heads`` must be an even whole number.
    layer : int, default=0
        Position of the layer in its transformer: where its keys are in a cache.
    """

    def __init__(self, dim: int, n_heads: int, layer: int = 0) -> None:
        super().__init__()
        if dim % (2 * n_heads):
            raise ValueError(
                f"dim={dim} cannot be split into n_heads={n_heads} heads of even length; "
                f"use a multiple of {2 * n_heads}."
            )
        self.n_heads = n_heads
        self.layer = layer
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Mix tokens of shape (batch, n_tokens, dim)."""
        batch, n_tokens, dim = x.shape
        # (batch, n_tokens, 3 * dim) -> three of (batch, n_heads, n_tokens, head_dim)
        split = self.query_key_value(x).view(batch, n_tokens, 3, self.n_heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4).float()
        n_past = 0
        if cache is not None and self.layer in cache.layers:
            n_past = cache.layers[self.layer][0].shape[2]
        query, key = rotate(query, n_past), rotate(key, n_past)
        if cache is not None:
            key, value = cache.extend(self.layer, key, value)
        y = _causal_attention(query, key, value, n_past)
        return self.output(y.transpose(1, 2).reshape(batch, n_tokens, dim))


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
    speed = base ** -(torch.arange(half, device=x.device) / half)
    position = torch.arange(first, first + n_tokens, device=x.device)
    angle = position[:, None] * speed
    cosine, sine = angle.cos(), angle.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), dim=-1)


def _causal_attention(query: Tensor, key: Tensor, value: Tensor, n_past: int) -> Tensor:
    """Attend in float32: on a CPU, bfloat16 is several times slower for short sequences."""
    attention = nn.functional.scaled_dot_product_attention
    with torch.autocast(query.device.type, enabled=False):
        if n_past == 0:
            return attention(query, key, value, is_causal=True)
        seen = torch.arange(key.shape[2], device=key.device)
        now = torch.arange(n_past, key.shape[2], device=key.device)
        return attention(query, key, value, attn_mask=seen <= now[:, None])


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
    """

    def __init__(self, dim: int, n_heads: int, layer: int = 0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = CausalSelfAttention(dim, n_heads, layer)
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

    def __init__(self, dim: int = 192, n_layers: int = 3, n_heads: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(dim, n_heads, i) for i in range(n_layers))
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
