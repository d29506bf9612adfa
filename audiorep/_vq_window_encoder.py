"""VQWindowEncoder and its objective: sound becomes codes, and a transformer predicts them."""

import math
from collections.abc import Iterator
from itertools import cycle, islice

import torch
from torch import Tensor, nn

from audiorep._log_mels import LogMels
from audiorep._next_codes import Counts, NextCodes
from audiorep._tokenizer import PatchTokenizer, remove_level
from audiorep._training import Objective, autocast
from audiorep.augmentations import (
    BackgroundMixing,
    FrequencyMask,
    LogMelNoise,
    RandomEqualizer,
    RandomGain,
    RandomResample,
    TimeMask,
)
from audiorep.augmentations._views import FrozenChain
from audiorep.nn import LogMelScaler, WindowEncoder
from audiorep.nn._backbone import fold_bands
from audiorep.nn._patches import PatchStem, valid_steps
from audiorep.nn._transformer import CausalTransformer, KeyValueCache

# Steps ahead that are predicted: the code heard now (denoised), the next, and the one after.
HORIZONS = (0, 1, 2)

# Frequency bands that are kept of the stem's last stage.
_MAP_BANDS = 2

# How often every step is counted, with other neighbours in its patch each time, and at most in
# how many batches.
_COUNTS_OF_A_STEP = 4
_MAX_COUNTED_BATCHES = 1000


class CodeCache(KeyValueCache):
    """What there is to keep of codes that were heard, so that more can be heard cheaply.

    Attributes
    ----------
    last_heard : Tensor of shape (batch, n_mels, patch_frames) or None
        The last step as log-mels: the stem's filters reach back into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_heard: Tensor | None = None


class VQWindowEncoder(WindowEncoder):
    """A tokenizer, and a causal transformer over steps of sound that predicts codes.

    The transformer listens to log-mels. Those of a recording make features; those decoded from
    codes make a language model: what it says of step ``t + 1`` depends on the codes up to ``t``.
    Training mixes both, so that one network serves both. A step looks back by as many steps as a
    window has, in each block, so that sequences of any length are heard as those of training were.

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
        self.context = n_frames // self.grid
        self.transformer = CausalTransformer(dim, n_layers, n_heads, self.context)
        self.heads = nn.ModuleList(nn.Linear(dim, n_bands * n_codes) for _ in HORIZONS)
        self.next_codes = NextCodes(n_bands, n_codes, dim)
        for head in self.heads:
            with torch.no_grad():
                head.get_parameter("weight").mul_(0.3)

    @property
    def n_past(self) -> int:
        """Steps that what is said of the next one depends on; those further back have no effect.

        Each block of the transformer looks back by its context, the stem by one step, and a state
        tells of the step after it.
        """
        return len(self.transformer.blocks) * (self.context - 1) + 2

    def listen(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Standardise and take the level of the window away: what features are made from."""
        return remove_level(self.scaler(log_mel, n_valid), n_valid)

    def listen_in_clip(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Standardise, with zeros behind the end: what the codes of a clip are made from.

        The level is that of the clip, which was levelled as a whole, so that codes tell its loud
        passages from its quiet ones.
        """
        frame = torch.arange(log_mel.shape[-1], device=log_mel.device)
        return self.scaler(log_mel, n_valid) * (frame < n_valid[:, None, None])

    def state(self, heard: Tensor) -> Tensor:
        """Return the states of the last block, of shape (batch, n_steps, dim)."""
        return self.transformer(self.stem(heard))

    def centres(self, n_positions: int) -> Tensor:
        """Return the frames that positions are centred on: the middle of a step."""
        step = self.n_frames / n_positions
        return torch.arange(n_positions) * step + (step - 1) / 2

    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return the log-mels, the stem's last stage in two wide bands, and the first block.

        The other maps hardly tell what these do not, and most of the time would be theirs: the
        bottleneck, the first stages, the last one band by band, the tokens, and the later blocks.
        """
        heard = self.listen(log_mel, n_valid)
        last_stage = self.stem.stage_maps(heard)[-1]
        first_block = self.transformer.blocks[0](self.stem.embed_map(last_stage))
        folded = fold_bands(last_stage.float(), _MAP_BANDS)
        return [heard, folded, first_block.float().transpose(1, 2)]

    def deepest_map(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Return the states of the last block, with which codes are predicted."""
        return self.state(self.listen(log_mel, n_valid)).float().transpose(1, 2)

    def logits(self, state: Tensor, horizon: int) -> Tensor:
        """Return logits of shape (batch, n_steps, n_bands, n_codes) for `horizon` steps ahead."""
        flat = self.heads[HORIZONS.index(horizon)](state).float()
        return flat.unflatten(-1, (self.n_bands, -1)).masked_fill(
            ~self.tokenizer.in_use, -torch.inf
        )

    def code_states(self, codes: Tensor, cache: CodeCache | None = None) -> Tensor:
        """Return the states of the transformer when it hears codes.

        Parameters
        ----------
        codes : Tensor of shape (batch, n_steps, n_bands), int64
        cache : CodeCache, default=None
            What was heard before; `codes` are added to it. None means that they are the beginning.

        Returns
        -------
        Tensor of shape (batch, n_steps, dim)
        """
        heard = self.tokenizer.decode(codes)
        if cache is not None:
            if cache.last_heard is not None:
                heard = torch.cat((cache.last_heard, heard), dim=2)
            cache.last_heard = heard[..., -self.grid :]
        tokens = self.stem(heard)[:, -codes.shape[1] :]
        return self.transformer(tokens, cache)

    def log_likelihood(self, codes: Tensor) -> Tensor:
        """Return the log-probability of every code given all before it, in nats.

        Parameters
        ----------
        codes : Tensor of shape (batch, n_steps, n_bands), int64

        Returns
        -------
        Tensor of shape (batch, n_steps, n_bands)
        """
        log_p = self.next_codes.logits(self.code_states(codes), codes).log_softmax(-1)
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
        self.augmentation = FrozenChain(
            [
                RandomResample(max_time_stretch=0.0),
                RandomEqualizer(),
                RandomGain(),
                BackgroundMixing(),
                LogMelNoise(),
                FrequencyMask(max_width=6.0),
                TimeMask(max_width=6.0),
            ]
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
        state = encoder.state(heard)
        valid = valid_steps(n_valid, codes.shape[1], encoder.grid)
        self.code_counts += torch.bincount(codes[valid].flatten(), minlength=len(self.code_counts))
        loss = state.new_zeros(())
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
        counts = self.code_counts.cpu().double()
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


def fit_next_codes(
    encoder: VQWindowEncoder,
    log_mels: LogMels,
    *,
    batch_size: int,
    n_steps: int,
    max_time_stretch: float,
    dtype: torch.dtype,
) -> list[float]:
    """Fit what turns the states of a trained transformer into likelihoods; nothing else changes.

    What a clip's own codes were counted in is no measure of how far to trust counts. So each half
    of the clips learns with the counts of the other half, and in the end all are counted.

    Parameters
    ----------
    encoder : VQWindowEncoder
    log_mels : LogMels
        Of the clips to learn from.
    batch_size : int
        Crops of a batch. They are up to two windows long, so that most steps have a full past.
    n_steps : int
        Steps of the optimiser.
    max_time_stretch : float
        As for `LogMels.batches`.
    dtype : torch.dtype
        What matrix products are computed in.

    Returns
    -------
    list of float
        The loss of every step, in nats per code.
    """
    longest = math.ceil(int(log_mels.lengths.max()) / encoder.grid) * encoder.grid
    width = min(2 * encoder.n_frames, longest)
    position = torch.arange(len(log_mels), device=log_mels.lengths.device)
    halves = (position[::2], position[1::2])

    def batches(clips: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            which = clips[torch.randint(len(clips), (batch_size,), device=clips.device)]
            # Anywhere, for a likelihood is that of whole clips, silence included.
            yield log_mels.random_crops(which, width, max_time_stretch, by_loudness=False)

    def count(clips: Tensor) -> Counts:
        n_frames = int(log_mels.lengths[clips].sum())
        n_batches = math.ceil(_COUNTS_OF_A_STEP * n_frames / (batch_size * width))
        return encoder.next_codes.count(
            islice(_iter_codes(encoder, batches(clips)), min(n_batches, _MAX_COUNTED_BATCHES)),
            n_steps=max(1, n_frames // encoder.grid),
            in_use=encoder.tokenizer.in_use,
        )

    def crossed() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        counts = [count(clips) for clips in halves]
        states = [_iter_states(encoder, batches(clips), dtype) for clips in halves]
        for half in cycle((0, 1)):
            encoder.next_codes.set_counts(counts[1 - half])
            yield next(states[half])

    losses = encoder.next_codes.fit(crossed(), n_steps=n_steps, dtype=dtype)
    encoder.next_codes.set_counts(count(position))
    return losses


def _iter_codes(
    encoder: VQWindowEncoder, batches: Iterator[tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the codes of crops, and which of their steps belong to the clips."""
    for crops, n_valid in batches:
        with torch.no_grad():
            codes = encoder.tokenizer.encode(encoder.listen_in_clip(crops, n_valid))
        yield codes, valid_steps(n_valid, codes.shape[1], encoder.grid)


def _iter_states(
    encoder: VQWindowEncoder, batches: Iterator[tuple[Tensor, Tensor]], dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield what the transformer makes of codes, the codes, and which steps are valid."""
    for codes, valid in _iter_codes(encoder, batches):
        with torch.no_grad(), autocast(dtype, codes.device):
            states = encoder.code_states(codes)
        yield states, codes, valid
