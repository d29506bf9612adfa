"""What estimators share: parameters, reading, training, pickling; and what both encoders do."""

import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from audiorep._alterations import choose_clips, cut_short, played_otherwise
from audiorep._clips import Clips, check_clips
from audiorep._dtype import undisturbed
from audiorep._embedding import (
    ClipFrames,
    FloatArray,
    Pooled,
    Source,
    clip_frames,
    pool_clips,
    pool_groups,
)
from audiorep._health import count_sounds, warn_of_equal_clips
from audiorep._log_mels import LogMels, levelled_blocks
from audiorep._parallel import ClipSources, share
from audiorep._readout import Changes, ReadOut
from audiorep._training import History, resolve_device, resolve_precision, seeded
from audiorep._warn import warn
from audiorep.nn import LogMel, WindowEncoder

_FORMAT_VERSION = 8
# Clips whose statistics the read-out is fitted on (its axes, on half as many): those of many more
# would fill the memory, some 0.1 MB each, and hardly change it.
_MOST_FOR_READOUT = 4096
# How much it counts, beside what changes with pitch and tempo, what changes as a clip is cut short.
_CUT_WEIGHT = 0.25


class TrainingSet(NamedTuple):
    """The clips of a fit, read and checked, and where to compute."""

    log_mels: LogMels
    used: list[int]  # positions in X of the clips that log_mels holds
    log_mel_settings: dict[str, int]
    log_mel: LogMel  # made of the settings
    device: torch.device
    dtype: torch.dtype


class BaseAudioEstimator(BaseEstimator):
    """Base class of what trains a `WindowEncoder` on clips.

    A subclass makes the module from plain numbers (`_build`); reading, training and pickling are
    here.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sample_rate": [Interval(Integral, 1000, None, closed="left")],
        "n_fft": [Interval(Integral, 16, None, closed="left")],
        "hop_length": [Interval(Integral, 1, None, closed="left")],
        "n_mels": [Interval(Integral, 16, None, closed="left")],
        "n_epochs": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "on_error": [StrOptions({"raise", "skip"})],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }
    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    n_epochs: int | str
    batch_size: int
    learning_rate: float
    weight_decay: float
    on_error: str
    device: str
    precision: str
    verbose: int
    random_state: Any
    module_: Any
    history_: History
    loss_curve_: list[float]

    @staticmethod
    @abstractmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        """Return the module that `settings` describes, with fresh weights."""

    @abstractmethod
    def _check_parameters(self) -> None:
        """Raise a ValueError where several parameters do not go together."""

    # ------------------------------------------------------------------ fit

    @contextmanager
    def _unchanged_by_failure(self) -> Iterator[None]:
        """Give the estimator the attributes back that it had, when the block raises."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _check_fit(self, X: Any) -> Clips:
        """Check the parameters and what kind of input X is."""
        self._check_parameters()
        resolve_device(self.device)
        return check_clips(self, X, sample_rate=self.sample_rate, reset=True, min_clips=2)

    def _read_training_set(self, clips: Clips, every_clip: bool = False) -> TrainingSet:
        """Read all clips; with `every_clip`, to leave one out is an error."""
        device = resolve_device(self.device)
        dtype = resolve_precision(self.precision, device)
        settings = {
            name: int(getattr(self, name))
            for name in ("sample_rate", "n_fft", "hop_length", "n_mels")
        }
        log_mel = LogMel(**settings)
        log_mels, used = self._read(clips, log_mel, every_clip)
        return TrainingSet(log_mels, used, settings, log_mel, device, dtype)

    def _trained(
        self,
        training_set: TrainingSet,
        settings: dict[str, Any],
        train: Callable[[Any, LogMels, torch.device, torch.dtype], History],
    ) -> tuple[WindowEncoder, History]:
        """Build the module that `settings` describes, and let `train` train it."""
        log_mels, device = training_set.log_mels, training_set.device
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        with seeded(seed, device):
            module = self._build(settings).to(device)
            history = train(module, log_mels.to(device), device, training_set.dtype)
        log_mels.to(torch.device("cpu"))
        return module.to("cpu").eval().requires_grad_(False), history

    def _read(self, clips: Clips, log_mel: LogMel, every_clip: bool) -> tuple[LogMels, list[int]]:
        """Compute the log-mels of clips, and tell of which: broken ones may be left out."""
        started = time.monotonic()
        if self.on_error == "raise":
            # All headers first: a missing file is found before an hour of work.
            for i in range(len(clips)):
                clips.check(i)
        used: list[int] = []
        errors: list[str] = []

        def usable() -> Iterator[list[Tensor]]:
            for i in range(len(clips)):
                try:
                    clips.check(i)
                    blocks = list(levelled_blocks(clips, i, log_mel))
                except (ValueError, OSError) as error:
                    if self.on_error == "raise":
                        raise
                    errors.append(str(error))
                else:
                    used.append(i)
                    yield blocks

        log_mels = LogMels(usable())
        if errors and every_clip:
            raise ValueError(
                f"{len(errors)} of {len(clips)} clips cannot be used, and fit_transform (which a "
                "Pipeline calls) must return a row for each; leave these clips out:\n"
                + "\n".join(errors)
            )
        if errors:
            warn(f"{len(errors)} of {len(clips)} clips were left out:\n" + "\n".join(errors))
        if len(log_mels) < 2:
            raise ValueError(
                f"Only {len(log_mels)} of {len(clips)} clips can be used, and learning needs two "
                "at least."
            )
        if self.verbose:
            seconds = len(log_mels.frames) * self.hop_length / self.sample_rate
            print(
                f"{type(self).__name__}: read {len(log_mels)} clips, {seconds:.0f} s of sound, "
                f"in {time.monotonic() - started:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        return log_mels, used

    def _sources(self, X: Any) -> ClipSources:
        """Validate X, and return its clips, to be read one by one."""
        settings = self._log_mel_settings
        clips = check_clips(self, X, sample_rate=settings["sample_rate"], reset=False)
        lengths = [clips.check(i) // settings["hop_length"] + 1 for i in range(len(clips))]
        return ClipSources(clips, lengths, LogMel(**settings))

    # ------------------------------------------------------------------ state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "module_" in state:
            weights = state["module_"].state_dict()
            state["module_"] = {name: tensor.numpy() for name, tensor in weights.items()}
            state["_format_version"] = _FORMAT_VERSION
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        version = state.pop("_format_version", _FORMAT_VERSION)
        if version != _FORMAT_VERSION:
            raise ValueError(
                f"This {type(self).__name__} was saved in format {version}, but this version of "
                f"audiorep reads format {_FORMAT_VERSION}; load it with the version that saved it."
            )
        if "module_" in state:
            state = dict(state)
            # Nothing is drawn on this device: torch's random state stays as it was.
            with torch.device("meta"):
                module = self._build(state["_module_settings"])
            # Copied, for joblib may have mapped the arrays from a file that must not change.
            weights = {
                name: torch.tensor(array, device="cpu") for name, array in state["module_"].items()
            }
            module.load_state_dict(weights, assign=True)
            state["module_"] = module.eval().requires_grad_(False)
        super().__setstate__(state)


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
            another pitch and tempo: what that changes counts for less in the features.
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
        yield changes(cut_short(map(training_set.log_mels.blocks, seen[chosen])), _CUT_WEIGHT)

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
        thread in the whole process. 64 clips or more are shared among processes within
        ``joblib.parallel_config(n_jobs=...)``, and among machines with one of joblib's backends for
        these. Features do not depend on how many there are.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_clips, n_features_out)
            float32, in 512 columns, or one fewer than there were clips to fit where these were
            fewer: principal axes, those along which clips differ most first. Rows are standardised
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
        return np.concatenate(share(self._features, self._sources(X)))

    def _features(self, sources: Iterable[Source]) -> FloatArray:
        """Return the features of clips; statistics are let go, group by group."""
        groups = pool_groups(
            self.module_,
            sources,
            resolve_device(self.device),
            self._n_parts,
            lambda pooled: self.readout_.transform(pooled.rows),
        )
        return np.concatenate(groups)

    @undisturbed()
    def transform_frames(self, X: Any) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return features over time: the deepest feature map.

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
        frames = list(chain.from_iterable(share(self._frames, self._sources(X))))
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
