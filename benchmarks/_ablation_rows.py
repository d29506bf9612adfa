"""The rows of the ablation: encoders with default parameters but for one part.

What the classes do is not part of the key that results are stored under: to change one means to
delete its results.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self
from unittest.mock import patch

import joblib
import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder, _hearing, _pooling
from audiorep._encoder import BaseAudioEncoder
from audiorep._hearing import loudness_shares
from audiorep._readout import Changes, FloatArray, ReadOut
from audiorep._texture import BLOCK_WEIGHTS
from audiorep._vq_window_encoder import _MAP_BANDS, VQWindowEncoder
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
from audiorep.nn._backbone import fold_bands

# Blocks are pooled in this order: of each map and each weighting, logarithm of the deviation,
# change and mean, and, but for the last two weightings, the contour; then the correlations of
# filters, if there are any; then, at two floors, those of the log-mels' texture.
_OF_WEIGHTINGS = ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10], [11, 12, 13])
_LOUDNESS, _PROMINENCE, _DULL, _BRIGHT = range(4)
_CONTOURS = [3, 7]
_OF_MAP, _OF_TEXTURES = 14, 2 * len(BLOCK_WEIGHTS)
# Frequency bands that are kept of the VQ-transformer's stages.
_STAGE_BANDS = 4


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
    """Read out some statistics of some maps.

    Parameters
    ----------
    n_maps : int
        Feature maps of the encoder.
    maps, weightings : sequence of int, default=None
        Which are kept; None means all.
    contours, filters, textures : bool, default=True
        Whether they are kept.
    **scaling : object
        Parameters of `ReadOut`.
    """

    def __init__(
        self,
        n_maps: int,
        maps: Sequence[int] | None = None,
        weightings: Sequence[int] | None = None,
        contours: bool = True,
        filters: bool = True,
        textures: bool = True,
        **scaling: Any,
    ) -> None:
        super().__init__(**scaling)
        self.n_maps, self.maps, self.weightings = n_maps, maps, weightings
        self.contours, self.filters, self.textures = contours, filters, textures

    def fit(
        self,
        pooled: FloatArray,
        block_sizes: Sequence[int] | None = None,
        block_weights: Sequence[float] | None = None,
        changes: Iterable[Changes] = (),
    ) -> "ChosenBlocks":
        """Learn from the chosen blocks."""
        assert block_sizes is not None
        assert block_weights is not None
        n_of_maps = self.n_maps * _OF_MAP
        first_texture = len(block_sizes) - _OF_TEXTURES
        assert first_texture - n_of_maps in (0, 1)
        maps = range(self.n_maps) if self.maps is None else self.maps
        weightings = range(len(_OF_WEIGHTINGS)) if self.weightings is None else self.weightings
        statistics = [i for weighting in weightings for i in _OF_WEIGHTINGS[weighting]]
        if not self.contours:
            statistics = [i for i in statistics if i not in _CONTOURS]
        chosen = [_OF_MAP * of_map + i for of_map in maps for i in statistics]
        if self.filters:
            chosen += range(n_of_maps, first_texture)
        if self.textures:
            chosen += range(first_texture, len(block_sizes))
        columns = np.split(np.arange(pooled.shape[1]), np.cumsum(block_sizes)[:-1])
        self.columns: npt.NDArray[np.int64] = np.concatenate([columns[i] for i in chosen])
        super().fit(
            pooled[:, self.columns],
            [block_sizes[i] for i in chosen],
            [block_weights[i] for i in chosen],
            (Changes(rows.take(self.columns, axis=1), weight) for rows, weight in changes),
        )
        return self

    def transform(self, pooled: FloatArray) -> FloatArray:
        """Return features from the chosen blocks."""
        return super().transform(pooled[:, self.columns])


# ---------------------------------------------------------------------- ContrastiveAudioEncoder


class Contrastive(SharedTraining, ContrastiveAudioEncoder):
    """The encoder, with a read-out that a row may choose: maps are log-mels and two stages."""

    _read_out: ClassVar[dict[str, Any]] = {}

    def _make_readout(self) -> ReadOut:
        return ChosenBlocks(3, **self._read_out)


class SpectrogramOnly(Contrastive):
    """Features of the log-mels alone: nothing of the network."""

    _read_out: ClassVar[dict[str, Any]] = {"maps": [0], "filters": False}


class DeepestOnly(Contrastive):
    """Features of the deepest stage alone."""

    _read_out: ClassVar[dict[str, Any]] = {"maps": [2], "filters": False, "textures": False}


class WithoutContours(Contrastive):
    """Of every map, nothing about how its beginning, middle and end differ."""

    _read_out: ClassVar[dict[str, Any]] = {"contours": False}


class WithoutFilters(Contrastive):
    """Nothing of which filters answer in the same frequency bands."""

    _read_out: ClassVar[dict[str, Any]] = {"filters": False}


class WithoutTextures(Contrastive):
    """Nothing of how the log-mel's bands rise and fall, and which together."""

    _read_out: ClassVar[dict[str, Any]] = {"textures": False}


class LoudnessOnly(Contrastive):
    """Every frame counts by its loudness alone; frames of textures count as ever."""

    _read_out: ClassVar[dict[str, Any]] = {"weightings": [_LOUDNESS]}


class WithoutProminence(Contrastive):
    """No statistics in which frames count by what stands out, but those of textures."""

    _read_out: ClassVar[dict[str, Any]] = {"weightings": [_LOUDNESS, _DULL, _BRIGHT]}


class WithoutTilts(Contrastive):
    """No statistics of dull frames and of bright ones."""

    _read_out: ClassVar[dict[str, Any]] = {"weightings": [_LOUDNESS, _PROMINENCE]}


class MoreFeatures(Contrastive):
    """Up to 512 features; the 320 training clips of ESC-10 have no more than 319."""

    _read_out: ClassVar[dict[str, Any]] = {"n_features": 512}


class NotLevelled(Contrastive):
    """The read-out leaves the spread along principal axes as it is."""

    _read_out: ClassVar[dict[str, Any]] = {"saturation": np.inf}


class Whitened(Contrastive):
    """The read-out makes the spread along all principal axes equal."""

    _read_out: ClassVar[dict[str, Any]] = {"saturation": 1e-6}


class ChangesInFull(Contrastive):
    """What altering a clip changes counts as much as all else."""

    _read_out: ClassVar[dict[str, Any]] = {"tolerance": np.inf}


class WithoutNeighbors(Contrastive):
    """In what a clip differs from its nearest neighbour counts as much as all else."""

    _read_out: ClassVar[dict[str, Any]] = {"neighbor_tolerance": np.inf}


class SomeChanges(Contrastive):
    """Only what some ways of altering clips change counts for less."""

    _left_out: ClassVar[int]

    def _changes(self, *of_fit: Any) -> Iterator[Changes]:
        for i, kind in enumerate(super()._changes(*of_fit)):
            if i != self._left_out:
                yield kind
            del kind


class WithoutPlayed(SomeChanges):
    """What pitch and tempo change counts as much as all else."""

    _left_out: ClassVar[int] = 0


class WithoutCuts(SomeChanges):
    """What changes when a clip is cut short counts as much as all else."""

    _left_out: ClassVar[int] = 1


class WithoutHalves(SomeChanges):
    """In what halves of a clip differ from it counts as much as all else."""

    _left_out: ClassVar[int] = 2


class ShorterRows(Contrastive):
    """The same features, half as long: `LogisticRegression` penalises them more."""

    _read_out: ClassVar[dict[str, Any]] = {"row_length": ReadOut().row_length / 2}


class HeardOtherwise(Contrastive):
    """Clips are heard, or what is heard is summed up, otherwise after training."""

    _where: ClassVar[Any] = _hearing
    _otherwise: ClassVar[dict[str, Any]] = {}

    def _fit(self, X: Any, every_clip: bool = False) -> Any:
        with patch.multiple(self._where, **self._otherwise):
            return super()._fit(X, every_clip)

    def transform(self, X: Any) -> FloatArray:
        """Return the features of clips."""
        with patch.multiple(self._where, **self._otherwise):
            return super().transform(X)


def shares_by_the_clock(loudness: FloatArray, n_parts: int) -> Any:
    """Stand in for `loudness_shares`: all frames count alike, and parts are equally long."""
    is_frame = loudness > 0  # what stands behind a short clip is none
    return loudness_shares(is_frame.astype(loudness.dtype), n_parts)


class ByTheClock(HeardOtherwise):
    """Instead of by loudness or by what stands out, all frames count alike, in equally long parts.

    Dull and bright frames, and those of textures, count as ever.
    """

    _otherwise: ClassVar[dict[str, Any]] = {"loudness_shares": shares_by_the_clock}


class ContoursOfParts(HeardOtherwise):
    """A contour is how each of six parts differs, instead of a few cosines over these."""

    _where: ClassVar[Any] = _pooling
    _otherwise: ClassVar[dict[str, Any]] = {"_cosines": np.eye}


class LowFloor(HeardOtherwise):
    """After training, sound counts for network and tilts down to 80 dB below the loudest value."""

    _otherwise: ClassVar[dict[str, Any]] = {"_NETWORK_FLOOR": 80.0}


class HighFloor(HeardOtherwise):
    """After training, sound counts for network and tilts down to 40 dB below the loudest value."""

    _otherwise: ClassVar[dict[str, Any]] = {"_NETWORK_FLOOR": 40.0}


class TrainedWithLabels(ClassifierMixin, Contrastive):
    """The network is trained as the supervised one, with all labels, and read out as ever.

    It tells how much another objective might bring.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train with labels, then fit the read-out and a linear classifier on it."""
        alike = ("n_epochs", "width", "device", "random_state")
        given = {name: getattr(self, name) for name in alike}
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


def training_entries() -> dict[str, Any]:
    """Return the contrastive encoder with default parameters, and others that train otherwise."""
    return {
        "contrastive": Contrastive(),
        "random weights": Contrastive(n_epochs=0),
        "views not compared": Contrastive(augmentation_awareness=0.0),
        "crops only": Contrastive(augmentation=[]),
        "without random floor": Contrastive(augmentation=_views_without(RandomFloor)),
        "without pitch shift": Contrastive(augmentation=_views_without(RandomResample)),
        "without equaliser": Contrastive(augmentation=_views_without(RandomEqualizer)),
        "without background": Contrastive(augmentation=_views_without(BackgroundMixing)),
        "with style mixing": Contrastive(augmentation=[*ViewAugmentation(), StyleMixing()]),
        "temperature 0.5": Contrastive(temperature=0.5),
        "NT-Xent not decoupled": Contrastive(decoupled=False),
        "trained with all labels": TrainedWithLabels(),
    }


def read_out_entries() -> dict[str, Any]:
    """Return contrastive encoders of the same training as that with default parameters."""
    return {
        "spectrogram alone": SpectrogramOnly(),
        "deepest stage alone": DeepestOnly(),
        "frames count by loudness alone": LoudnessOnly(),
        "without prominence": WithoutProminence(),
        "without dull and bright": WithoutTilts(),
        "without contours": WithoutContours(),
        "contours of six parts": ContoursOfParts(),
        "without filters together": WithoutFilters(),
        "without textures": WithoutTextures(),
        "frames count alike": ByTheClock(),
        "floor at 80 dB": LowFloor(),
        "floor at 40 dB": HighFloor(),
        "512 features": MoreFeatures(),
        "principal axes not levelled": NotLevelled(),
        "principal axes whitened": Whitened(),
        "rows half as long": ShorterRows(),
        "altered clips ignored": ChangesInFull(),
        "not played otherwise": WithoutPlayed(),
        "not cut short": WithoutCuts(),
        "not halved": WithoutHalves(),
        "neighbours ignored": WithoutNeighbors(),
    }


# ---------------------------------------------------------------------- VQTransformerEncoder


class VQ(SharedTraining, VQTransformerEncoder):
    """The encoder; what it trains is shared with rows that read it out otherwise."""


class EveryMap(VQWindowEncoder):
    """Read out what the encoder leaves out, too."""

    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return the log-mels, bottleneck, stages, tokens, first and last block, what is left.

        That is the last stage once more, in as few bands as the encoder keeps.
        """
        heard = self.listen(log_mel, n_valid)
        stage_maps = self.stem.stage_maps(heard)
        states = self.transformer.hidden_states(self.stem.embed_map(stage_maps[-1]))
        over_time = (self.tokenizer.bottleneck(heard).flatten(2), states[0], states[1], states[-1])
        bottleneck, *of_transformer = (x.float().transpose(1, 2) for x in over_time)
        folded = [fold_bands(stage_map.float(), _STAGE_BANDS) for stage_map in stage_maps]
        last = fold_bands(stage_maps[-1].float(), _MAP_BANDS)
        return [heard, bottleneck, *folded, *of_transformer, last]


class AllMaps(VQ):
    """Features of all maps, or of those that a row may choose."""

    _maps: ClassVar[list[int]] = list(range(8))
    _textures: ClassVar[bool] = True

    @staticmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        return EveryMap(**settings)

    def _make_readout(self) -> ReadOut:
        return _chosen(super()._make_readout(), 9, maps=self._maps, textures=self._textures)


def _chosen(usual: ReadOut, n_maps: int, **which: Any) -> ReadOut:
    names = ("n_features", "saturation", "tolerance", "neighbor_tolerance", "row_length")
    return ChosenBlocks(n_maps, **which, **{name: getattr(usual, name) for name in names})


class BottleneckOnly(AllMaps):
    """Features of the bottleneck of the autoencoder alone."""

    _maps: ClassVar[list[int]] = [1]
    _textures: ClassVar[bool] = False


class StemOnly(AllMaps):
    """Features of the stem's stages alone."""

    _maps: ClassVar[list[int]] = [2, 3, 4]
    _textures: ClassVar[bool] = False


class TransformerOnly(AllMaps):
    """Features of the tokens and of the blocks alone."""

    _maps: ClassVar[list[int]] = [5, 6, 7]
    _textures: ClassVar[bool] = False


class LastBlockOnly(AllMaps):
    """Features of the last block alone."""

    _maps: ClassVar[list[int]] = [7]
    _textures: ClassVar[bool] = False


class LastBlockToo(AllMaps):
    """Features of the log-mels, the last stage, the first block, and also of the last one."""

    _maps: ClassVar[list[int]] = [0, 8, 6, 7]


class LogMelsAndFirstBlock(AllMaps):
    """Features of the log-mels and of the first block alone."""

    _maps: ClassVar[list[int]] = [0, 6]


class Histogram(VQWindowEncoder):
    """What is pooled over time is which codes there are, and nothing else."""

    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return the share of each code among the bands of a step, (batch, n_codes, n_steps)."""
        codes = self.tokenizer.encode(self.listen(log_mel, n_valid))
        one_hot = torch.nn.functional.one_hot(codes, len(self.tokenizer.codebook))
        return [one_hot.float().mean(2).transpose(1, 2)]


class CodesOnly(VQ):
    """Features of the codes alone."""

    @staticmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        return Histogram(**settings)

    def _make_readout(self) -> ReadOut:
        return _chosen(super()._make_readout(), 1, textures=False)


def vq_entries() -> dict[str, Any]:
    """Return the encoder with default parameters, and its variants; no name has a comma."""
    return {
        "VQ-transformer": VQ(),
        "VQ: random weights": VQ(n_epochs=0),
        "VQ: all maps": AllMaps(),
        "VQ: last block too": LastBlockToo(),
        "VQ: without last stage": LogMelsAndFirstBlock(),
        "VQ: codes alone": CodesOnly(),
        "VQ: bottleneck alone": BottleneckOnly(),
        "VQ: stem alone": StemOnly(),
        "VQ: tokens and blocks alone": TransformerOnly(),
        "VQ: last block alone": LastBlockOnly(),
    }


def groups() -> list[dict[str, Any]]:
    """Return groups of rows, each of one encoder; the first of a group are the defaults."""
    return [{**training_entries(), **read_out_entries()}, vq_entries()]


def entries() -> dict[str, Any]:
    """Return all rows."""
    return {name: encoder for group in groups() for name, encoder in group.items()}
