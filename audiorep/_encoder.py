"""What both encoders do: learn features, and read them out of clips."""

import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from audiorep._alterations import choose_clips, cut_short, halved, played_otherwise
from audiorep._base import BaseAudioEstimator, TrainingSet
from audiorep._dtype import undisturbed
from audiorep._embedding import (
    ClipFrames,
    FloatArray,
    Pooled,
    clip_frames,
    pool_clips,
    pool_groups,
)
from audiorep._health import count_sounds, warn_of_equal_clips
from audiorep._log_mels import LogMels
from audiorep._parallel import share
from audiorep._readout import Changes, ReadOut
from audiorep._sources import ClipSources, Source
from audiorep._training import History, resolve_device
from audiorep.nn import WindowEncoder

_Result = TypeVar("_Result")

# Clips whose statistics the read-out is fitted on (its axes, on half as many): those of many more
# would fill the memory, some 0.1 MB each, and hardly change it.
_MOST_FOR_READOUT = 4096
# How much counts, beside what changes with pitch and tempo, what changes as a clip is cut short,
# and as half of it is left.
_CUT_WEIGHT, _HALF_WEIGHT = 0.25, 0.3


class BaseAudioEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseAudioEstimator):
    """Base class of the encoders.

    A subclass describes a `WindowEncoder` (`_settings`), makes it (`_build`) and trains it
    (`_train`); all else is here.
    """

    # Parts of a clip (or of its minutes, where it is longer), equally loud; contours are theirs.
    _n_parts: ClassVar[int] = 6

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Return the constructor arguments of the module, as plain numbers."""

    @abstractmethod
    def _train(
        self, module: WindowEncoder, log_mels: LogMels, device: torch.device, dtype: torch.dtype
    ) -> History:
        """Train the module in place and return the history of it."""

    def _make_readout(self) -> ReadOut:
        return ReadOut()

    # ------------------------------------------------------------------ fit

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn features from clips, without labels.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            Mono waveforms at `sample_rate` as rows of an array; or 1-D arrays of any lengths at
            `sample_rate`; or paths of audio files of any rate, channel count and length.
            Clips of more than a minute are levelled in equal parts of a minute at most, and their
            statistics are averages over these. Long recordings had better be cut into clips: how
            long training takes, and how many features there are at most, goes by the number of
            clips. Up to 1024 files are read twice, the second time as if they were played at
            another pitch and tempo. What that changes counts for less in the features; so do
            differences between parts of a clip, and between nearest neighbours.
        y : None
            Ignored; here for scikit-learn's sake.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            When a clip is empty, holds NaN, infinity or unsigned integers, has more than one
            dimension, is cut off or cannot be decoded; the message names the clip. With
            ``on_error="skip"`` such clips are left out instead, with a warning that names them
            (but `fit_transform`, which must return a row for each, raises).
        FileNotFoundError
            When a file does not exist.
        """
        with self._unchanged_by_failure(), undisturbed():
            self._fit(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> FloatArray:
        """Learn features from clips and return theirs; no file is read more often than by `fit`.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_clips, n_features_out)
            The same as ``fit(X).transform(X)``.
        """
        with self._unchanged_by_failure(), undisturbed():
            sources, seen, pooled = self._fit(X, every_clip=True)
            of_seen = self.readout_.transform(pooled.rows)
            others = np.setdiff1d(np.arange(len(sources)), seen)
            if not len(others):
                return of_seen
            del pooled
            features = np.empty((len(sources), of_seen.shape[1]), of_seen.dtype)
            features[seen] = of_seen
            features[others] = self._features([sources[i] for i in others])
            return features

    def _fit(
        self, X: Any, every_clip: bool = False
    ) -> tuple[list[Source], npt.NDArray[np.intp], Pooled]:
        """Fit; return the clips that were used, which of them the read-out saw, and as what.

        It sees all, or as many as it may, evenly spread.
        """
        clips = self._check_fit(X)
        training_set = self._read_training_set(clips, every_clip)
        log_mels = training_set.log_mels
        n_seen = min(len(log_mels), _MOST_FOR_READOUT)
        seen = np.linspace(0, len(log_mels) - 1, n_seen).astype(np.intp)
        chosen = choose_clips(log_mels.lengths.numpy()[seen])
        # Now, so that a file that has changed meanwhile is found before training.
        positions = [training_set.used[i] for i in seen[chosen]]
        played = played_otherwise(clips, positions, training_set.log_mel)
        module_settings = self._settings()
        module, history = self._trained(training_set, module_settings, self._train)
        started = time.monotonic()
        sources = [
            Source(int(n_frames), log_mels.blocks(i)) for i, n_frames in enumerate(log_mels.lengths)
        ]
        pooled = self._pool(module, [sources[i] for i in seen], training_set.device)
        changes = self._changes(module, training_set, seen, chosen, pooled.rows, played)
        readout = self._make_readout().fit(*pooled, changes)
        self._log_mel_settings = training_set.log_mel_settings
        self._module_settings = module_settings
        self.history_, self.loss_curve_ = history, history["loss"]
        self.module_, self.readout_ = module, readout
        if self.readout_.all_alike:
            warn_of_equal_clips(count_sounds(log_mels.lengths))
        if self.verbose:
            print(
                f"{type(self).__name__}: heard {n_seen} clips, and {len(chosen)} of them altered, "
                f"in {time.monotonic() - started:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        return sources, seen, pooled

    def _changes(
        self,
        module: WindowEncoder,
        training_set: TrainingSet,
        seen: npt.NDArray[np.intp],
        chosen: npt.NDArray[np.intp],
        pooled: FloatArray,
        played: list[Source],
    ) -> Iterator[Changes]:
        """Yield what altering clips does to their statistics, for each kind of alteration.

        Parameters
        ----------
        module : WindowEncoder
        training_set : TrainingSet
        seen : ndarray of shape (n_seen,)
            Which of the training set the read-out sees.
        chosen : ndarray of shape (n_chosen,)
            Which of these are altered.
        pooled : ndarray of shape (n_seen, n_statistics)
            Statistics of what it sees.
        played : list of Source
            The chosen ones, played otherwise.
        """

        def changes(altered: list[Source], weight: float) -> Changes:
            rows = self._pool(module, altered, training_set.device).rows
            rows -= pooled[chosen]
            return Changes(rows, weight)

        yield changes(played, 1.0)
        log_mels = [training_set.log_mels.blocks(i) for i in seen[chosen]]
        yield changes(cut_short(log_mels), _CUT_WEIGHT)
        yield changes(halved(log_mels), _HALF_WEIGHT)

    def _pool(self, module: WindowEncoder, sources: list[Source], device: torch.device) -> Pooled:
        """Return the statistics of training clips, or of altered ones."""
        pooled = pool_clips(module, sources, device, self._n_parts)
        if not np.isfinite(pooled.rows).all():
            raise FloatingPointError(
                "The features of the training clips are not finite; lower "
                f"learning_rate={self.learning_rate}."
            )
        return pooled

    # ------------------------------------------------------------------ transform

    @undisturbed()
    def transform(self, X: Any) -> FloatArray:
        """Return the features of clips.

        Groups of clips are worked on at the same time, on as many threads as torch has
        (``torch.get_num_threads()``). Meanwhile, as in `fit`, numpy's matrix products have one
        thread in the whole process. On the processor, 64 clips or more are shared among processes
        within ``joblib.parallel_config(n_jobs=...)``, and among machines with one of joblib's
        backends for these, but not with "multiprocessing", whose processes hang where torch had
        threads. Features do not depend on how many there are.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_clips, n_features_out)
            float32, in 384 columns, or one fewer than there were clips to fit where that is
            less: principal axes, those along which clips differ most first. Rows are standardised
            with the statistics of the clips that were fitted (4096 at most, evenly spread), and
            scaled to one length, so that ``LogisticRegression()`` does well with its defaults; a
            clip that is next to their mean has a shorter row. A clip's row depends on that clip
            alone, and not on how loud it is as a whole; on a GPU, its last digits may depend on
            what is beside it.

        Raises
        ------
        ValueError
            When a clip is empty, holds NaN, infinity or unsigned integers, has more than one
            dimension, is cut off or cannot be decoded; the message names the clip.
        FileNotFoundError
            When a file does not exist.
        """
        check_is_fitted(self, "readout_")
        return np.concatenate(self._shared(self._features, X))

    def _shared(self, work: Callable[[ClipSources], _Result], X: Any) -> list[_Result]:
        """Return what `work` makes of all clips, or of parts of them in several processes."""
        sources = self._sources(X)
        # On a GPU, each process would need a place of its own.
        on_cpu = resolve_device(self.device).type == "cpu"
        return share(work, sources) if on_cpu else [work(sources)]

    def _features(self, sources: Iterable[Source]) -> FloatArray:
        """Return the features of clips; statistics are let go, group by group."""
        groups = pool_groups(
            self.module_,
            sources,
            resolve_device(self.device),
            self._n_parts,
            lambda pooled: self.readout_.transform(pooled.rows),
        )
        n_clips = sum(len(positions) for positions, _ in groups)
        features = np.empty((n_clips, self.readout_.n_features_out), np.float32)
        for positions, of_group in groups:
            features[positions] = of_group
        return features

    @undisturbed()
    def transform_frames(self, X: Any) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return features over time: the deepest feature map, or the last block of the transformer.

        By default there is a row for every 160 ms of the contrastive encoder, and for every 80 ms
        of the VQ-transformer. Unlike those of `transform`, rows are neither standardised nor
        scaled; a `StandardScaler` may help. Processes share the work as in `transform`.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        features : list of ndarray of shape (n_frames, n_features)
            One float32 array per clip. A clip's array depends on that clip alone.
        times : list of ndarray of shape (n_frames,)
            The centre of each frame, in seconds from the start of the clip, evenly spaced.
        """
        check_is_fitted(self, "readout_")
        settings = self._log_mel_settings
        frames = list(chain.from_iterable(self._shared(self._frames, X)))
        seconds = np.float32(settings["hop_length"] / settings["sample_rate"])
        return [f.features for f in frames], [f.centres * seconds for f in frames]

    def _frames(self, sources: Iterable[Source]) -> list[ClipFrames]:
        return clip_frames(self.module_, sources, resolve_device(self.device))

    @property
    def _n_features_out(self) -> int:
        return self.readout_.n_features_out

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
