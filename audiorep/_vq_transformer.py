"""VQTransformerEncoder: sound as codes, and features from predicting them."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from audiorep._encoder import BaseAudioEncoder
from audiorep._health import count_sounds, warn_of_dead_codes
from audiorep._log_mels import LogMels
from audiorep._readout import ReadOut
from audiorep._training import History, ProgressLine, n_training_steps, train
from audiorep._vq_language_model import CodeLanguageModel
from audiorep._vq_window_encoder import CodePredictionObjective, VQWindowEncoder, fit_next_codes
from audiorep.nn import WindowEncoder

_HEAD_DIM = 64
_MAX_TIME_STRETCH = 0.2  # of the crops whose codes are predicted


class VQTransformerEncoder(CodeLanguageModel, BaseAudioEncoder):
    """Features from predicting sound, patch by patch.

    Patches of the spectrogram become discrete codes (an autoencoder, and k-means on its
    bottleneck). A causal transformer hears an altered view of a clip and predicts the codes of
    the clean clip: the one of now, the next, and the one after. The features are made of statistics
    over time of the spectrogram, of the filters that listen for the transformer, and of the states
    of its first block, all of it down to 60 dB below a clip's loudest value, and of textures of the
    spectrogram. (Later blocks hardly tell a linear classifier more, and cost time;
    `transform_frames` gives the states of the last one.) Louder frames count more, and dull ones
    and bright ones are also summed up apart. What changes most as a training clip is played at
    another pitch and tempo, cut short or halved, or differs most from its nearest neighbour, counts
    for less. How loud a recording is as a whole does not count, as long as it is well above the
    quantisation noise of 16 bits: ``clip`` and ``0.1 * clip`` have the same features and
    likelihoods, but for rounding.

    Hearing codes alone, the transformer is a language model of sound. Its states and the counts of
    what codes follow each other tell how likely a clip is (`score_samples`, `perplexity`), and new
    clips can be drawn (`sample`). Sound becomes codes by `tokenize` and comes back by `detokenize`.

    Parameters
    ----------
    sample_rate : int, default=16000
        Rate at which sound is analysed, in hertz. Files of other rates are resampled.
    n_fft : int, default=512
        Length of the Fourier transform and of its window, in timesteps.
    hop_length : int, default=160
        Timesteps from one spectrogram frame to the next.
    n_mels : int, default=64
        Number of mel bands, a multiple of `n_bands`.
    window_frames : int, default=96
        Width of the windows that the network is trained on, in frames; a multiple of 8, the
        frames of one step. It is the transformer's context, too: how far each block looks back.
        Shorter clips are padded behind their end; for the features of longer ones, windows are
        twice as wide.
    n_codes : int, default=256
        Size of the codebook. Counts of pairs of codes take memory that grows with its square: 2 MB
        at 256, 470 MB at 4096, and eight times as much for a while at the end of `fit`.
    n_bands : int, default=4
        Patches that a step is cut into along frequency; all share the codebook.
    bottleneck_dim : int, default=64
        Length of a compressed patch.
    width : int, default=192
        Length of the transformer's tokens, a multiple of 64.
    n_layers : int, default=3
        Blocks of the transformer. `transform` reads the first one; the others serve training,
        likelihoods, and `transform_frames`.
    n_epochs : int or "auto", default="auto"
        How many times every clip is seen. "auto" takes 500 steps of the optimiser in all (with
        fewer than 250 clips, two for each clip) but sees every clip three times at least, so that
        from 5000 clips on time grows with their number. 0 gives a random transformer over random
        patches: the cheapest control.
    batch_size : int, default=32
        Clips per step.
    learning_rate : float, default=1.5e-3
        Peak learning rate of AdamW.
    weight_decay : float, default=5e-2
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
        The tokenizer, the transformer, and the counts of codes.
    codebook_ : ndarray of shape (n_codes_in_use, bottleneck_dim)
        The k-means centres, in the autoencoder's bottleneck: `n_codes`, or as many as there were
        different patches where these were fewer.
    readout_ : ReadOut
        What turns statistics over time into features.
    history_ : dict of str to list of float
        What training went like. One value for every step of the transformer: "loss", in nats;
        "learning_rate"; "codes_in_use" and "perplexity", of the codes of training clips that it
        was to predict up to that step (as many codes as "perplexity" says, used equally, would
        be as uncertain). The loss is the sum over three predictions: of the code heard now, the
        next, and the one after. And of trainings of their own: "tokenizer_loss", the autoencoder's
        mean squared error; "next_codes_loss", of what makes likelihoods, in nats per code. `fit`
        warns where few codes live. Without epochs there are no diagnostics, and the other lists
        are empty.
    loss_curve_ : list of float
        The transformer's loss of every step, as in `history_`.
    n_features_in_ : int
        Timesteps of a clip, when X was a 2-D array.

    See Also
    --------
    ContrastiveAudioEncoder : Features that tell clips apart.

    References
    ----------
    Verma and Smith, A Framework for Contrastive and Generative Learning of Audio
    Representations, 2020, arXiv:2010.11459.

    Examples
    --------
    >>> from audiorep import VQTransformerEncoder
    >>> from audiorep.datasets import make_instrument_notes
    >>> notes = make_instrument_notes(12, random_state=0)
    >>> encoder = VQTransformerEncoder(n_epochs=1, n_codes=16, width=64, random_state=0)
    >>> encoder.fit_transform(notes.data).shape[0]
    12
    >>> encoder.tokenize(notes.data)[0].shape
    (13, 4)
    >>> waveforms, codes = encoder.sample(2, duration=0.4)
    >>> waveforms.shape, codes.shape
    ((2, 6400), (2, 5, 4))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAudioEncoder._parameter_constraints,
        "window_frames": [Interval(Integral, 16, None, closed="left")],
        "n_codes": [Interval(Integral, 2, None, closed="left")],
        "n_bands": [Interval(Integral, 1, None, closed="left")],
        "bottleneck_dim": [Interval(Integral, 1, None, closed="left")],
        "width": [Interval(Integral, _HEAD_DIM, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
    }
    module_: VQWindowEncoder

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        n_mels: int = 64,
        window_frames: int = 96,
        n_codes: int = 256,
        n_bands: int = 4,
        bottleneck_dim: int = 64,
        width: int = 192,
        n_layers: int = 3,
        n_epochs: int | str = "auto",
        batch_size: int = 32,
        learning_rate: float = 1.5e-3,
        weight_decay: float = 5e-2,
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
        self.n_codes = n_codes
        self.n_bands = n_bands
        self.bottleneck_dim = bottleneck_dim
        self.width = width
        self.n_layers = n_layers
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
        if self.n_mels % self.n_bands:
            raise ValueError(f"n_mels={self.n_mels} must be a multiple of n_bands={self.n_bands}.")
        for name, divisor in (("window_frames", 8), ("width", _HEAD_DIM)):
            value = getattr(self, name)
            if value % divisor:
                raise ValueError(f"{name}={value} must be a multiple of {divisor}.")

    def _settings(self) -> dict[str, Any]:
        return {
            "n_mels": self.n_mels,
            "n_frames": self.window_frames,
            "n_bands": self.n_bands,
            "n_codes": self.n_codes,
            "bottleneck_dim": self.bottleneck_dim,
            "dim": self.width,
            "n_layers": self.n_layers,
            "n_heads": self.width // _HEAD_DIM,
        }

    @staticmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        return VQWindowEncoder(**settings)

    def _make_readout(self) -> ReadOut:
        # Longer rows are no better, and would count for too much beside the contrastive encoder's.
        return ReadOut(row_length=8.0)

    def _train(
        self, module: WindowEncoder, log_mels: LogMels, device: torch.device, dtype: torch.dtype
    ) -> History:
        assert isinstance(module, VQWindowEncoder)
        module.scaler.set_statistics(*log_mels.mean_and_scale())
        n_steps = n_training_steps(
            self.n_epochs, len(log_mels), self.batch_size, budget=500, n_times=3
        )
        name = type(self).__name__
        # What is learned sooner than the transformer takes fewer steps.
        tokenizer_losses = module.tokenizer.fit(
            self._heard(module, log_mels),
            n_steps=min(300, n_steps),
            dtype=dtype,
            progress=ProgressLine(f"{name}, tokenizer") if self.verbose else None,
        )
        objective = CodePredictionObjective(module).to(device)
        history = train(
            objective,
            log_mels.batches(
                self.batch_size, self.window_frames, max_time_stretch=_MAX_TIME_STRETCH
            ),
            n_steps=n_steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            max_gradient_norm=1.0,
            dtype=dtype,
            progress=ProgressLine(name) if self.verbose else None,
        )
        next_codes_losses = fit_next_codes(
            module,
            log_mels,
            batch_size=self.batch_size,
            n_steps=min(150, n_steps),
            max_time_stretch=_MAX_TIME_STRETCH,
            dtype=dtype,
        )
        n_coded, n_sounds = int(objective.code_counts.sum()), count_sounds(log_mels.lengths)
        warn_of_dead_codes(history, self.n_codes, n_coded, n_sounds)
        return {
            **history,
            "tokenizer_loss": tokenizer_losses,
            "next_codes_loss": next_codes_losses,
        }

    def _heard(self, module: VQWindowEncoder, log_mels: LogMels) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield windows as the tokenizer hears them, for ever: half at their clip's level."""
        for crops, n_valid in log_mels.batches(self.batch_size, self.window_frames):
            in_clip = torch.rand(len(crops), 1, 1, device=crops.device) < 0.5
            by_clip = module.listen_in_clip(crops, n_valid)
            yield torch.where(in_clip, by_clip, module.listen(crops, n_valid)), n_valid
