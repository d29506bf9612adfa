"""The rows of the ablation: encoders with default parameters but for one part.

What the classes do is not part of the key that results are stored under: to change one means to
delete its results.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self
from unittest.mock import patch

import joblib
import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder, _log_mels
from audiorep._base import BaseAudioEncoder
from audiorep._log_mels import loudness_shares
from audiorep._readout import FloatArray, ReadOut
from audiorep._texture import BLOCK_WEIGHTS
from audiorep._vq_window_encoder import VQWindowEncoder
from audiorep.augmentations import (
    BackgroundMixing,
    RandomEqualizer,
    RandomFloor,
    RandomResample,
    StyleMixing,
    ViewAugmentation,
)
from audiorep.evaluation import SupervisedAudioClassifier
from audiorep.nn import WindowEncoder

# Blocks are pooled in this order: at each floor, of each map, logarithm of the deviation, maximum,
# change, mean and contour; then, at each floor, those of the log-mels' texture.
_FLOORS, _STATISTICS, _TEXTURES = 2, 5, len(BLOCK_WEIGHTS)


# ---------------------------------------------------------------------- one training, many rows

_TRAINED: dict[str, tuple[dict[str, Tensor], Any]] = {}


class SharedTraining(BaseAudioEncoder):
    """Trains once for all rows with the same parameters and clips."""

    def _trained(self, training_set: Any, settings: Any, train: Any) -> Any:
        frames = training_set.log_mels.frames.numpy()
        key = joblib.hash((self.get_params(), sorted(settings.items()), frames))
        if key not in _TRAINED:
            module, history = super()._trained(training_set, settings, train)
            _TRAINED[key] = module.state_dict(), history
        weights, history = _TRAINED[key]
        module = self._build(settings)
        module.load_state_dict(weights)
        return module.eval().requires_grad_(False), history


class ChosenBlocks(ReadOut):
    """Read out some statistics of some maps at some floors.

    Parameters
    ----------
    n_maps : int
        Feature maps of the encoder.
    maps, floors, statistics : sequence of int, default=None
        Which are kept; None means all.
    textures : bool, default=True
        Whether textures are kept, of the floors that are.
    power : float, default=0.25
        As for `ReadOut`.
    """

    def __init__(
        self,
        n_maps: int,
        maps: Sequence[int] | None = None,
        floors: Sequence[int] | None = None,
        statistics: Sequence[int] | None = None,
        textures: bool = True,
        power: float = 0.25,
    ) -> None:
        super().__init__(power=power)
        self.n_maps, self.maps, self.floors = n_maps, maps, floors
        self.statistics, self.textures = statistics, textures

    def fit(
        self,
        pooled: FloatArray,
        block_sizes: Sequence[int] | None = None,
        block_weights: Sequence[float] | None = None,
    ) -> "ChosenBlocks":
        """Learn from the chosen blocks."""
        assert block_sizes is not None
        assert block_weights is not None
        n_of_maps = _FLOORS * self.n_maps * _STATISTICS
        assert len(block_sizes) == n_of_maps + _FLOORS * _TEXTURES
        of_maps = np.arange(n_of_maps).reshape(_FLOORS, self.n_maps, _STATISTICS)
        of_textures = np.arange(n_of_maps, len(block_sizes)).reshape(_FLOORS, _TEXTURES)
        floors, maps, statistics = (
            list(range(n) if kept is None else kept)
            for kept, n in zip(
                (self.floors, self.maps, self.statistics), of_maps.shape, strict=True
            )
        )
        chosen = of_maps[np.ix_(floors, maps, statistics)].ravel()
        if self.textures:
            chosen = np.concatenate((chosen, of_textures[floors].ravel()))
        columns = np.split(np.arange(pooled.shape[1]), np.cumsum(block_sizes)[:-1])
        self.columns: npt.NDArray[np.int64] = np.concatenate([columns[i] for i in chosen])
        super().fit(
            pooled[:, self.columns],
            [block_sizes[i] for i in chosen],
            [block_weights[i] for i in chosen],
        )
        return self

    def transform(self, pooled: FloatArray) -> FloatArray:
        """Return features from the chosen blocks."""
        return super().transform(pooled[:, self.columns])


# ---------------------------------------------------------------------- ContrastiveAudioEncoder


class Contrastive(SharedTraining, ContrastiveAudioEncoder):
    """The encoder, with a read-out that a row may choose: maps are log-mels and three stages."""

    _read_out: ClassVar[dict[str, Any]] = {}

    def _make_readout(self) -> ReadOut:
        return ChosenBlocks(4, **self._read_out)


class SpectrogramOnly(Contrastive):
    """Features of the log-mels alone: nothing of the network."""

    _read_out: ClassVar[dict[str, Any]] = {"maps": [0]}


class DeepestOnly(Contrastive):
    """Features of the deepest stage alone."""

    _read_out: ClassVar[dict[str, Any]] = {"maps": [3], "textures": False}


class WithoutContours(Contrastive):
    """Of every map, nothing about how its beginning, middle and end differ."""

    _read_out: ClassVar[dict[str, Any]] = {"statistics": [0, 1, 2, 3]}


class WithoutTextures(Contrastive):
    """Nothing of how the log-mel's bands rise and fall, and which together."""

    _read_out: ClassVar[dict[str, Any]] = {"textures": False}


class LowFloorOnly(Contrastive):
    """Every clip is heard once, with its floor 80 dB down."""

    _read_out: ClassVar[dict[str, Any]] = {"floors": [0]}


class RaisedFloorOnly(Contrastive):
    """Every clip is heard once, with its floor 50 dB down."""

    _read_out: ClassVar[dict[str, Any]] = {"floors": [1]}


class NotLevelled(Contrastive):
    """The read-out leaves the spread along principal axes as it is."""

    _read_out: ClassVar[dict[str, Any]] = {"power": 0.0}


class Whitened(Contrastive):
    """The read-out makes the spread along all principal axes equal."""

    _read_out: ClassVar[dict[str, Any]] = {"power": 1.0}


def shares_by_the_clock(log_mel: Tensor, n_parts: int, dynamic_range: float) -> Tensor:
    """Stand in for `loudness_shares`: all frames count alike, and parts are equally long."""
    return loudness_shares(torch.zeros_like(log_mel), n_parts, dynamic_range)


class ByTheClock(Contrastive):
    """Statistics in which all frames count alike, however loud, and means of parts equally long."""

    def _pool(self, *arguments: Any) -> Any:
        with patch.object(_log_mels, "loudness_shares", shares_by_the_clock):
            return super()._pool(*arguments)


class TrainedWithLabels(ClassifierMixin, Contrastive):
    """The network is trained as the supervised one, with all labels, and read out as ever.

    What is below it, no objective without labels can be expected to bring.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train with labels, then fit the read-out and a linear classifier on it."""
        given = {"n_epochs": self.n_epochs, "width": self.width, "random_state": self.random_state}
        labelled = SupervisedAudioClassifier(**given).fit(X, y).module_
        self._weights = {
            name: tensor
            for name, tensor in labelled.state_dict().items()
            if not name.startswith("head.")
        }
        super().fit(X)
        self.classifier_ = LogisticRegression().fit(self.transform(X), y)
        self.classes_ = self.classifier_.classes_
        return self

    def _trained(self, training_set: Any, settings: Any, train: Any) -> Any:
        module = self._build(settings)
        module.load_state_dict(self._weights)
        return module.eval().requires_grad_(False), {"loss": []}

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each clip."""
        found: npt.NDArray[Any] = self.classifier_.predict(self.transform(X))
        return found


def _views_without(kind: type) -> list[Any]:
    # What is left out is not told, either.
    return [part for part in ViewAugmentation() if not isinstance(part, kind)]


def contrastive_entries() -> dict[str, Any]:
    """Return the encoder with default parameters, and its variants; no name has a comma."""
    return {
        "contrastive": Contrastive(),
        "random weights": Contrastive(n_epochs=0),
        "spectrogram alone": SpectrogramOnly(),
        "deepest stage alone": DeepestOnly(),
        "low floor alone": LowFloorOnly(),
        "raised floor alone": RaisedFloorOnly(),
        "without contours": WithoutContours(),
        "without textures": WithoutTextures(),
        "frames count alike": ByTheClock(),
        "principal axes not levelled": NotLevelled(),
        "principal axes whitened": Whitened(),
        "views not compared": Contrastive(augmentation_awareness=0.0),
        "crops only": Contrastive(augmentation=[]),
        "without random floor": Contrastive(augmentation=_views_without(RandomFloor)),
        "without pitch shift": Contrastive(augmentation=_views_without(RandomResample)),
        "without equaliser": Contrastive(augmentation=_views_without(RandomEqualizer)),
        "without background": Contrastive(augmentation=_views_without(BackgroundMixing)),
        "with style mixing": Contrastive(augmentation=[*ViewAugmentation(), StyleMixing()]),
        "temperature 0.5": Contrastive(temperature=0.5),
        "NT-Xent not decoupled": Contrastive(decoupled=False),
        "width 64": Contrastive(width=64),
        "trained with all labels": TrainedWithLabels(),
    }


# ---------------------------------------------------------------------- VQTransformerEncoder


class VQ(SharedTraining, VQTransformerEncoder):
    """The encoder, with a read-out that a row may choose.

    Its maps are log-mels, the bottleneck, the stem's three stages, the tokens, and the first and
    the last block of the transformer.
    """

    _n_maps: ClassVar[int] = 8
    _maps: ClassVar[list[int] | None] = None
    _textures: ClassVar[bool] = True

    def _make_readout(self) -> ReadOut:
        return ChosenBlocks(self._n_maps, self._maps, textures=self._textures, power=0.5)


class BottleneckOnly(VQ):
    """Features of the bottleneck of the autoencoder alone."""

    _maps: ClassVar[list[int] | None] = [1]
    _textures: ClassVar[bool] = False


class StemOnly(VQ):
    """Features of the stem's stages alone."""

    _maps: ClassVar[list[int] | None] = [2, 3, 4]
    _textures: ClassVar[bool] = False


class TransformerOnly(VQ):
    """Features of the tokens and of the blocks alone."""

    _maps: ClassVar[list[int] | None] = [5, 6, 7]
    _textures: ClassVar[bool] = False


class LastBlockOnly(VQ):
    """Features of the last block alone."""

    _maps: ClassVar[list[int] | None] = [7]
    _textures: ClassVar[bool] = False


class Histogram(VQWindowEncoder):
    """What is pooled over time is which codes there are, and nothing else."""

    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return the share of each code among the bands of a step, (batch, n_codes, n_steps)."""
        codes = self.tokenizer.encode(self.listen(log_mel, n_valid))
        one_hot = torch.nn.functional.one_hot(codes, len(self.tokenizer.codebook))
        return [one_hot.float().mean(2).transpose(1, 2)]


class CodesOnly(VQ):
    """Features of the codes alone."""

    _n_maps: ClassVar[int] = 1
    _textures: ClassVar[bool] = False

    @staticmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        return Histogram(**settings)


def vq_entries() -> dict[str, Any]:
    """Return the encoder with default parameters, and its variants; no name has a comma."""
    return {
        "VQ-transformer": VQ(),
        "VQ: random weights": VQ(n_epochs=0),
        "VQ: codes alone": CodesOnly(),
        "VQ: bottleneck alone": BottleneckOnly(),
        "VQ: stem alone": StemOnly(),
        "VQ: tokens and blocks alone": TransformerOnly(),
        "VQ: last block alone": LastBlockOnly(),
    }


def groups() -> list[dict[str, Any]]:
    """Return the rows of each encoder; the first of a group are the defaults."""
    return [contrastive_entries(), vq_entries()]


def entries() -> dict[str, Any]:
    """Return all rows."""
    return {name: encoder for group in groups() for name, encoder in group.items()}
