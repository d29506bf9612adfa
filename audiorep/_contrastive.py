"""ContrastiveAudioEncoder and its objective."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn

from audiorep._encoder import BaseAudioEncoder
from audiorep._health import count_sounds, warn_of_collapse, warn_of_small_batch
from audiorep._log_mels import LogMels
from audiorep._training import History, Objective, ProgressLine, n_training_steps, train
from audiorep.augmentations._views import FrozenChain, check_augmentation, make_augmentation
from audiorep.nn import (
    ComparisonHead,
    ConvBackbone,
    LogMelScaler,
    NTXentLoss,
    ProjectionHead,
    WindowEncoder,
    alignment,
    effective_rank,
    uniformity,
)

_TIME_STRIDE = 16  # frames between positions of the backbone's deepest map
MAX_TIME_STRETCH = 0.25  # of the crops that views are made of


class ConvWindowEncoder(WindowEncoder):
    """A scaler and a convolutional backbone.

    Parameters
    ----------
    n_mels : int
        Number of mel bands.
    n_frames : int
        Width of a window, in frames.
    width : int
        Channels of the backbone's first stage.
    """

    def __init__(self, n_mels: int, n_frames: int, width: int) -> None:
        backbone = ConvBackbone(n_mels=n_mels, width=width)
        # Of the maps below, the stage in the middle, which has twice as many filters as the first.
        stride = backbone.time_stride
        # A position sees a stride to both sides, less one frame.
        super().__init__(n_frames, stride, banded_map=(1, 2 * width), n_beyond=stride - 1)
        self.scaler = LogMelScaler()
        self.backbone = backbone

    def forward(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Return embeddings of shape (batch, embedding_dim)."""
        return self.backbone(self.scaler(log_mel, n_valid), n_valid)

    def centres(self, n_positions: int) -> Tensor:
        """Return the frames that positions are centred on: filters are padded on both sides."""
        return torch.arange(n_positions) * (self.n_frames / n_positions)

    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return the standardised log-mels, then the map of every stage but the first.

        That one tells little that the log-mels beside it and their textures do not.
        """
        scaled = self.scaler(log_mel, n_valid)
        return [scaled, *self.backbone.feature_maps(scaled, first=1)]


class ContrastiveObjective(Objective):
    """Two views of every clip must find each other among all views of a batch.

    Beside it, what the augmentations did to one more than to the other must be told from the
    embeddings of both: what views do not share, such as pitch and level, is not forgotten.

    Parameters
    ----------
    encoder : ConvWindowEncoder
        What is trained.
    augmentation : FrozenChain
        Makes a view of each crop.
    projection_dim : int
        Length of the projections that are compared.
    temperature : float
        Of the loss.
    decoupled : bool
        Whether the loss is the decoupled one.
    awareness : float
        Weight of telling what the augmentations did.
    """

    def __init__(
        self,
        encoder: ConvWindowEncoder,
        augmentation: FrozenChain,
        projection_dim: int,
        temperature: float,
        decoupled: bool,
        awareness: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.augmentation = augmentation
        dim = encoder.backbone.embedding_dim
        self.head = ProjectionHead(dim, projection_dim=projection_dim)
        self.loss = NTXentLoss(temperature, decoupled)
        self.awareness = awareness if augmentation.telling else 0.0
        if self.awareness:
            n_drawn = sum(part.n_drawn for part in augmentation.telling)
            self.comparison = ComparisonHead(dim, n_drawn)

    def forward(self, crops: Tensor, n_valid: Tensor) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        crops : Tensor of shape (2 * batch, n_mels, n_frames)
            Log-mel power; rows ``i`` and ``batch + i`` are crops of one clip.
        n_valid : Tensor of shape (2 * batch,)
            Frames of each crop that belong to the clip.

        Returns
        -------
        Tensor of shape ()
        """
        embeddings = self.encoder(self.augmentation(crops), n_valid)
        projections = self.head(embeddings)
        told = self.comparison(*embeddings.chunk(2)) if self.awareness else None
        # Similarities in bfloat16 would be too coarse for a temperature well below one.
        with torch.autocast(projections.device.type, enabled=False):
            first, second = projections.float().chunk(2)
            self._views = first.detach(), second.detach()
            loss = self.loss(first, second)
            if told is None:
                return loss
            error = _comparison_error(told.float(), self.augmentation.told(len(crops)))
            self._error = error.detach()
            return loss + self.awareness * error

    def diagnostics(self) -> dict[str, float]:
        """Return how the projections of the last batch lie on the sphere, and what was told."""
        first, second = self._views
        found = {
            "alignment": alignment(first, second).item(),
            "uniformity": (uniformity(first).item() + uniformity(second).item()) / 2,
            # Of one view: half of the rows in an eighth of the time.
            "effective_rank": effective_rank(nn.functional.normalize(first, dim=1)).item(),
        }
        if self.awareness:
            found["comparison_error"] = self._error.item()
        return found


def _comparison_error(told: Tensor, drawn: Sequence[Tensor]) -> Tensor:
    """Return the mean squared error of what is told of the difference between two views.

    Parameters
    ----------
    told : Tensor of shape (batch, n)
    drawn : sequence of Tensor of shape (2 * batch, n_i), whose n_i add up to n
        By what each augmentation changed all views. Differences are told in standard deviations
        of these: of a number that varies, a guess has an error of 2, of one that does not, none.
        Augmentations count alike, however many numbers they draw.
    """
    errors = []
    parts = torch.split(told, [numbers.shape[1] for numbers in drawn], dim=1)
    for part, numbers in zip(parts, drawn, strict=True):
        first, second = (numbers / numbers.std(0).clamp_min(1e-6)).to(told.device).chunk(2)
        errors.append((part - (first - second)).square().mean())
    return torch.stack(errors).mean()


class ContrastiveAudioEncoder(BaseAudioEncoder):
    """Features learned by matching altered views of the same clip.

    Two views of every clip are made: crops, with the floor of silence raised, shifted in pitch,
    stretched, filtered, mixed with others, masked. A small convolutional network learns to tell
    which views are of one clip, and to predict how differently the two were altered. The features
    are statistics over time of the spectrogram and of the network's feature maps, both down to
    60 dB below a clip's loudest value; correlations between its filters; and textures of the
    spectrogram. Louder frames count more, and dull ones and bright ones are also summed up apart.
    What changes most as a training clip is played at another pitch and tempo, cut short or halved,
    or differs most from its nearest neighbour, counts for less.

    How loud a recording is as a whole does not count, as long as it is well above the quantisation
    noise of 16 bits: ``clip`` and ``0.1 * clip`` have the same features, but for rounding.

    Parameters
    ----------
    sample_rate : int, default=16000
        Rate at which sound is analysed, in hertz. Files of other rates are resampled.
    n_fft : int, default=512
        Length of the Fourier transform and of its window, in timesteps.
    hop_length : int, default=160
        Timesteps from one spectrogram frame to the next.
    n_mels : int, default=64
        Number of mel bands.
    window_frames : int, default=96
        Width of the windows that the network is trained on, in frames: a multiple of 16. Shorter
        clips are padded behind their end; for the features of longer ones, windows are twice as
        wide.
    width : int, default=32
        Channels of the network's first stage; all other widths are multiples of it.
    projection_dim : int, default=128
        Length of the projections that the objective compares.
    temperature : float, default=0.2
        Temperature of the contrastive loss.
    decoupled : bool, default=True
        Leave the positive out of the loss's denominator, which suits small batches; False gives
        the loss of SimCLR.
    augmentation_awareness : float, default=1.0
        Weight of a second task: to predict from two views of one clip how differently they were
        altered (in pitch, spectral balance, level). The contrastive task alone teaches a network to
        ignore these; this one keeps them in its feature maps. 0 turns the task off. Augmentations
        that do not tell what they drew take no part; one's own tell it as
        :class:`~audiorep.augmentations.Augmentation` describes.
    augmentation : nn.Module, list of nn.Module or None, default=None
        Makes the views out of crops, which are drawn where a clip is loud and stretched in time
        by up to a quarter already: takes and returns log-mel power, natural logarithm, of shape
        (batch, n_mels, n_frames), float32. The modules of a list are applied in order; an empty
        list leaves the crops as they are. None means
        :class:`~audiorep.augmentations.ViewAugmentation`. Copies are used, in training mode, and
        their parameters, if any, are not trained.
    n_epochs : int or "auto", default="auto"
        How many times every clip is seen. "auto" takes 800 steps of the optimiser in all (with
        fewer than 400 clips, two for each clip) but sees every clip ten times at least, so that
        from 5000 clips on time grows with their number. 0 gives random weights: the cheapest
        control.
    batch_size : int, default=64
        Clips per step.
    learning_rate : float, default=2e-3
        Peak learning rate of AdamW.
    weight_decay : float, default=1e-2
        Weight decay of AdamW.
    on_error : {"raise", "skip"}, default="raise"
        What `fit` does with a clip that cannot be used: raise an error that names it, or leave
        it out and warn. `transform` and `fit_transform` always raise, since every clip has a row
        there; so does `fit` of a `Pipeline`, which calls `fit_transform`.
    device : str, default="auto"
        Where to compute, as torch names devices. "auto" takes a GPU where there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What training computes in. "auto" takes bfloat16 where the processor is fast at it. The
        features are computed in float32 always; on a GPU, convolutions round to TF32 unless
        ``torch.backends.cudnn.allow_tf32`` is off.
    verbose : int, default=0
        1 shows progress on standard error.
    random_state : int, RandomState instance or None, default=None
        Source of all chance. The same seed gives the same features on the same machine.

    Attributes
    ----------
    module_ : WindowEncoder
        The trained network.
    readout_ : ReadOut
        What turns statistics over time into features.
    history_ : dict of str to list of float
        What training went like, one value for every step: "loss"; "learning_rate"; and, of the
        projections of the step's clips on the unit sphere, "alignment" (mean squared distance
        of two views of a clip: low where views are alike, as is wanted), "uniformity" (of one
        view: 0 where all clips are one point, the lower the more evenly they are spread) and
        "effective_rank" (of one view: directions in which clips differ). See
        :func:`~audiorep.nn.alignment`, :func:`~audiorep.nn.uniformity` and
        :func:`~audiorep.nn.effective_rank`. With `augmentation_awareness`, "comparison_error",
        too: the mean squared error in telling what the augmentations did, in units in which a
        guess has 2 for what varies (1.8 for the default augmentation). `fit` warns of a
        collapse. Without epochs there are no diagnostics, and the other lists are empty.
    loss_curve_ : list of float
        The loss of every step, as in `history_`.
    n_features_in_ : int
        Timesteps of a clip, when X was a 2-D array.

    See Also
    --------
    VQTransformerEncoder : Features from predicting sound.

    References
    ----------
    Verma and Smith, A Framework for Contrastive and Generative Learning of Audio
    Representations, 2020, arXiv:2010.11459.
    Lee et al., Improving Transferability of Representations via Augmentation-Aware
    Self-Supervision, 2021, arXiv:2111.09613.

    Examples
    --------
    >>> from audiorep import ContrastiveAudioEncoder
    >>> from audiorep.datasets import make_instrument_notes
    >>> notes = make_instrument_notes(12, random_state=0)
    >>> encoder = ContrastiveAudioEncoder(n_epochs=1, width=8, random_state=0)
    >>> encoder.fit_transform(notes.data).shape[0]
    12
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAudioEncoder._parameter_constraints,
        "window_frames": [Interval(Integral, 16, None, closed="left")],
        "width": [Interval(Integral, 4, None, closed="left")],
        "projection_dim": [Interval(Integral, 2, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "decoupled": ["boolean"],
        "augmentation_awareness": [Interval(Real, 0, None, closed="left")],
        "augmentation": [nn.Module, list, tuple, None],
    }

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        n_mels: int = 64,
        window_frames: int = 96,
        width: int = 32,
        projection_dim: int = 128,
        temperature: float = 0.2,
        decoupled: bool = True,
        augmentation_awareness: float = 1.0,
        augmentation: nn.Module | Sequence[nn.Module] | None = None,
        n_epochs: int | str = "auto",
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        on_error: str = "raise",
        device: str = "auto",
        precision: str = "auto",
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.window_frames = window_frames
        self.width = width
        self.projection_dim = projection_dim
        self.temperature = temperature
        self.decoupled = decoupled
        self.augmentation_awareness = augmentation_awareness
        self.augmentation = augmentation
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.on_error = on_error
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self) -> None:
        check_window_frames(self.window_frames)
        check_augmentation(self.augmentation)

    def _settings(self) -> dict[str, Any]:
        return {"n_mels": self.n_mels, "n_frames": self.window_frames, "width": self.width}

    @staticmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        return ConvWindowEncoder(**settings)

    def _train(
        self, module: WindowEncoder, log_mels: LogMels, device: torch.device, dtype: torch.dtype
    ) -> History:
        assert isinstance(module, ConvWindowEncoder)
        n_steps = n_training_steps(self.n_epochs, len(log_mels), self.batch_size)
        n_sounds = count_sounds(log_mels.lengths)
        if n_steps:
            warn_of_small_batch(self.batch_size, n_sounds)
        module.scaler.set_statistics(*log_mels.mean_and_scale())
        objective = ContrastiveObjective(
            module,
            make_augmentation(self.augmentation),
            self.projection_dim,
            self.temperature,
            self.decoupled,
            self.augmentation_awareness,
        )
        history = train(
            objective.to(device),
            log_mels.batches(
                self.batch_size,
                self.window_frames,
                n_crops=2,
                max_time_stretch=MAX_TIME_STRETCH,
            ),
            n_steps=n_steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            dtype=dtype,
            progress=ProgressLine(type(self).__name__) if self.verbose else None,
        )
        warn_of_collapse(history, self.batch_size, self.projection_dim, n_sounds)
        return history


def check_window_frames(window_frames: int) -> None:
    """Raise a ValueError where positions of the deepest map would not fill a window."""
    if window_frames % _TIME_STRIDE:
        raise ValueError(f"window_frames={window_frames} must be a multiple of {_TIME_STRIDE}.")
