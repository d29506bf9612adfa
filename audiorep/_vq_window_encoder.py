"""VQWindowEncoder and its objective: sound becomes codes, and a transformer predicts them."""

import torch
from torch import Tensor, nn

from audiorep._tokenizer import PatchTokenizer, remove_level
from audiorep._training import Objective
from audiorep.augmentations import (
    BackgroundMixing,
    FrequencyMask,
    LogMelNoise,
    RandomEqualizer,
    RandomGain,
    RandomResample,
    TimeMask,
)
from audiorep.nn import LogMelScaler, WindowEncoder
from audiorep.nn._patches import PatchStem, valid_steps
from audiorep.nn._transformer import CausalTransformer

# Steps ahead that are predicted: the code heard now (denoised), the next, and the one after.
HORIZONS = (0, 1, 2)


class VQWindowEncoder(WindowEncoder):
    """A tokenizer, and a causal transformer over steps of sound that predicts codes.

    The transformer listens to log-mels. Those of a recording make features; those decoded from
    codes make a language model: what it says of step ``t + 1`` depends on the codes up to ``t``.
    Training mixes both, so that one network serves both.

    Parameters
    ----------
    n_mels : int
        Number of mel bands, a multiple of `n_bands`.
    n_frames : int
        Width of a window, in frames; a multiple of 8.
    n_bands : int
        Codes per step.
    n_codes : int
        Size of the codebook.
    bottleneck_dim : int
        Length of a compressed patch.
    dim : int
        Length of a token.
    n_layers, n_heads : int
        Blocks of the transformer, and their attention heads.
    """

    scaler: LogMelScaler
    tokenizer: PatchTokenizer

    def __init__(
        self,
        n_mels: int,
        n_frames: int,
        n_bands: int,
        n_codes: int,
        bottleneck_dim: int,
        dim: int,
        n_layers: int,
        n_heads: int,
    ) -> None:
        stem = PatchStem(n_mels, dim)
        super().__init__(n_frames=n_frames, grid=stem.patch_frames)
        self.n_bands = n_bands
        self.scaler = LogMelScaler()
        self.tokenizer = PatchTokenizer(n_mels, n_bands, stem.patch_frames, n_codes, bottleneck_dim)
        self.stem = stem
        self.transformer = CausalTransformer(dim, n_layers, n_heads)
        self.heads = nn.ModuleList(nn.Linear(dim, n_bands * n_codes) for _ in HORIZONS)
        self.first = nn.Parameter(torch.zeros(n_bands * n_codes))  # logits of a first step
        for head in self.heads:
            with torch.no_grad():
                head.get_parameter("weight").mul_(0.3)

    def listen(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Standardise and take the level away: what tokenizer and stem work on."""
        return remove_level(self.scaler(log_mel, n_valid), n_valid)

    def states(self, heard: Tensor) -> list[Tensor]:
        """Return tokens of shape (batch, n_steps, dim): the stem's, then every block's."""
        return self.transformer.hidden_states(self.stem(heard))

    def centres(self, n_positions: int) -> Tensor:
        """Return the frames that positions are centred on: the middle of a step."""
        step = self.n_frames / n_positions
        return torch.arange(n_positions) * step + (step - 1) / 2

    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return the log-mels, the bottleneck, the stem, the first and the last block."""
        heard = self.listen(log_mel, n_valid)
        states = self.states(heard)
        bottleneck = self.tokenizer.bottleneck(heard).flatten(2)
        # With one block, the first is the last.
        chosen = (states[i] for i in sorted({0, 1, len(states) - 1}))
        return [heard, *(tokens.float().transpose(1, 2) for tokens in (bottleneck, *chosen))]

    def logits(self, state: Tensor, horizon: int) -> Tensor:
        """Return logits of shape (batch, n_steps, n_bands, n_codes) for `horizon` steps ahead."""
        flat = self.heads[HORIZONS.index(horizon)](state).float()
        return flat.unflatten(-1, (self.n_bands, -1)).masked_fill(
            ~self.tokenizer.in_use, -torch.inf
        )

    def first_logits(self) -> Tensor:
        """Return the logits of the first step, of shape (n_bands, n_codes)."""
        return self.first.view(self.n_bands, -1).masked_fill(~self.tokenizer.in_use, -torch.inf)

    def log_likelihood(self, codes: Tensor) -> Tensor:
        """Return the log-probability of every code given the steps before, in nats.

        Parameters
        ----------
        codes : Tensor of shape (batch, n_steps, n_bands), int64

        Returns
        -------
        Tensor of shape (batch, n_steps, n_bands)
        """
        state = self.states(self.tokenizer.decode(codes))[-1]
        later = self.logits(state[:, :-1], 1)
        first = self.first_logits().expand(len(codes), 1, -1, -1)
        log_p = torch.cat((first, later), dim=1).log_softmax(-1)
        return log_p.gather(-1, codes[..., None])[..., 0]


class CodePredictionObjective(Objective):
    """Hear an altered view, or only its codes, and predict the codes of the clean clip.

    Parameters
    ----------
    encoder : VQWindowEncoder
        What is trained; its tokenizer is fitted already.
    p_codes : float, default=0.25
        Part of the clips that are heard through their codes.

    Attributes
    ----------
    code_counts : Tensor of shape (n_codes,), int64
        How often each code was to be predicted so far.
    """

    code_counts: Tensor

    def __init__(self, encoder: VQWindowEncoder, p_codes: float = 0.25) -> None:
        super().__init__()
        self.encoder = encoder
        self.p_codes = p_codes
        n_codes = len(encoder.tokenizer.codebook)
        self.register_buffer("code_counts", torch.zeros(n_codes, dtype=torch.int64))
        # Nothing that stretches time, which crops did before the codes were read: the codes and
        # what is heard stay aligned.
        self.augmentation = nn.Sequential(
            RandomResample(max_time_stretch=0.0),
            RandomEqualizer(),
            RandomGain(),
            BackgroundMixing(),
            LogMelNoise(),
            FrequencyMask(max_width=6.0),
            TimeMask(max_width=6.0),
        )

    def forward(self, crops: Tensor, n_valid: Tensor) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        crops : Tensor of shape (batch, n_mels, n_frames)
            Log-mel power.
        n_valid : Tensor of shape (batch,)
            Frames of each crop that belong to the clip.

        Returns
        -------
        Tensor of shape ()
        """
        encoder = self.encoder
        heard, codes = self._make_task(crops, n_valid)
        state = encoder.states(heard)[-1]
        valid = valid_steps(n_valid, codes.shape[1], encoder.grid)
        self.code_counts += torch.bincount(codes[valid].flatten(), minlength=len(self.code_counts))
        first = encoder.first_logits().expand(len(codes), -1, -1)
        loss = nn.functional.cross_entropy(first.flatten(0, 1), codes[:, 0].flatten())
        for horizon in HORIZONS:
            inside = valid[:, horizon:]
            if inside.any():
                known = state[:, : codes.shape[1] - horizon]
                loss = loss + _cross_entropy(
                    encoder.logits(known[inside][:, None], horizon)[:, 0],
                    codes[:, horizon:][inside],
                )
        return loss

    def diagnostics(self) -> dict[str, float]:
        """Return how many codes were to be predicted so far, and how evenly."""
        counts = self.code_counts.double().cpu()
        return {
            "codes_in_use": float((counts > 0).sum()),
            "perplexity": torch.special.entr(counts / counts.sum()).sum().exp().item(),
        }

    @torch.no_grad()
    def _make_task(self, crops: Tensor, n_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is heard, and the codes to predict."""
        encoder = self.encoder
        codes = encoder.tokenizer.encode(encoder.listen(crops, n_valid))
        heard = encoder.listen(self.augmentation(crops), n_valid)
        decoded = encoder.tokenizer.decode(codes)
        through_codes = torch.rand(len(crops), 1, 1, device=crops.device) < self.p_codes
        frame = torch.arange(encoder.n_frames, device=crops.device)
        inside = frame < n_valid[:, None, None]
        return torch.where(through_codes, decoded, heard) * inside, codes


def _cross_entropy(logits: Tensor, codes: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, -2), codes.flatten())
