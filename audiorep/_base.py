"""What estimators share: parameters, reading, training, pickling."""

import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from audiorep._clips import Clips, check_clips
from audiorep._log_mels import LogMels, levelled_blocks
from audiorep._sources import ClipSources
from audiorep._training import History, resolve_device, resolve_precision, seeded
from audiorep._warn import warn
from audiorep.nn import LogMel, WindowEncoder

_FORMAT_VERSION = 10


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
                    if self.on_error == "skip":
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
        """Validate X, and return its clips, to be read as they are asked for."""
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
