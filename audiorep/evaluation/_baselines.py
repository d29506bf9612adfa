"""Hand-made features that learned ones must beat: statistics over time of log-mels and of MFCCs."""

from abc import abstractmethod
from collections.abc import Iterable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted
from torch import Tensor

from audiorep._clips import Clips, check_clips
from audiorep._dtype import undisturbed
from audiorep._log_mels import log_mel_blocks
from audiorep._torchaudio import torchaudio
from audiorep.nn import LogMel

FloatArray = npt.NDArray[np.float32]

# Spread, in natural logarithm of power, below which a statistic holds little but rounding noise.
_SPREAD_FLOOR = 0.01

# Mean squared length of the fitted rows. With it LogisticRegression() converges by default and
# its default penalty does about as well as the best; with unit variance it does neither.
_SQUARED_LENGTH = 12.0


class _Moments:
    """Mean, standard deviation and maximum over time of frames that come in blocks."""

    def __init__(self, n_rows: int) -> None:
        self.count = 0
        self.total = np.zeros(n_rows)
        self.squares = np.zeros(n_rows)
        self.maximum = np.full(n_rows, -np.inf)

    def add(self, block: npt.NDArray[np.float64]) -> None:
        """Add a block of shape (n_rows, n_frames)."""
        if block.shape[1] == 0:
            return
        self.count += block.shape[1]
        self.total += block.sum(axis=1)
        self.squares += np.square(block).sum(axis=1)
        np.maximum(self.maximum, block.max(axis=1), out=self.maximum)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        return self.total / max(self.count, 1)

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Zero where there was no frame."""
        return np.sqrt(np.maximum(self.squares / max(self.count, 1) - self.mean**2, 0.0))


class _BaseStatistics(TransformerMixin, BaseEstimator):
    """Base class of the statistics: a subclass says what to compute from one log-mel."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sample_rate": [Interval(Integral, 1000, None, closed="left")],
        "n_fft": [Interval(Integral, 16, None, closed="left")],
        "hop_length": [Interval(Integral, 1, None, closed="left")],
        "n_mels": [Interval(Integral, 1, None, closed="left")],
    }

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int

    @abstractmethod
    def _statistics(self, blocks: Iterable[Tensor]) -> npt.NDArray[np.float64]:
        """Return the statistics of a log-mel in blocks of shape (n_mels, n_frames)."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Return the name of each statistic."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean and spread of every statistic.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            Mono waveforms at `sample_rate` as rows of an array; or 1-D arrays of any lengths at
            `sample_rate`; or paths of audio files of any rate, channel count and length.
        y : None
            Ignored; here for scikit-learn's sake.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        self._fit(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> FloatArray:
        """Learn from clips and return their statistics; every file is read once.

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
        return self._scaled(self._fit(X))

    @undisturbed()
    def transform(self, X: Any) -> FloatArray:
        """Return the statistics of clips.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_clips, n_features_out)
            float32, standardised with the statistics of the fitted clips, and scaled for a linear
            classifier. A clip's row depends on that clip alone.
        """
        check_is_fitted(self)
        clips = check_clips(self, X, sample_rate=self.sample_rate, reset=False)
        return self._scaled(self._raw(clips))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the name of each feature.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names of the fitted columns.

        Returns
        -------
        ndarray of str objects
            Such as ``"mel12_std"``; bands and coefficients count from 0.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        return np.array(self._names(), dtype=object)

    @undisturbed()
    def _fit(self, X: Any) -> FloatArray:
        clips = check_clips(self, X, sample_rate=self.sample_rate, reset=True, min_clips=2)
        raw = self._raw(clips)
        self.mean_ = raw.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = raw.std(axis=0, dtype=np.float64)
        length = np.sqrt(raw.shape[1] / _SQUARED_LENGTH)
        self.scale_ = (length * np.sqrt(spread**2 + _SPREAD_FLOOR**2)).astype(np.float32)
        return raw

    def _raw(self, clips: Clips) -> FloatArray:
        for i in range(len(clips)):
            clips.check(i)
        log_mel = LogMel(self.sample_rate, self.n_fft, self.hop_length, self.n_mels)
        rows = [self._statistics(log_mel_blocks(clips, i, log_mel)) for i in range(len(clips))]
        return np.stack(rows).astype(np.float32)

    def _scaled(self, raw: FloatArray) -> FloatArray:
        scaled: FloatArray = (raw - self.mean_) / self.scale_
        return scaled

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class LogMelStatistics(_BaseStatistics):
    """Mean, standard deviation and maximum over time of each log-mel band.

    The front end is that of the encoders, so that what they learn is what is compared.

    Parameters
    ----------
    sample_rate : int, default=16000
        Timesteps per second of arrays, and the rate that files are resampled to, in hertz.
    n_fft : int, default=512
        Length of a frame, in timesteps.
    hop_length : int, default=160
        Timesteps from one frame to the next.
    n_mels : int, default=64
        Number of mel bands.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_out,)
        Mean of each statistic over the fitted clips.
    scale_ : ndarray of shape (n_features_out,)
        What each statistic is divided by: its standard deviation over the fitted clips, times
        what makes rows as long as suits ``LogisticRegression()`` with its defaults.
    n_features_in_ : int
        Timesteps of a clip; only when X was a 2-D array.

    See Also
    --------
    MFCCStatistics : Statistics of cepstral coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> from audiorep.evaluation import LogMelStatistics
    >>> clips = np.random.default_rng(0).normal(size=(4, 8000))
    >>> statistics = LogMelStatistics()
    >>> statistics.fit_transform(clips).shape
    (4, 192)
    >>> str(statistics.get_feature_names_out()[64])
    'mel0_std'
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        n_mels: int = 64,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels

    def _statistics(self, blocks: Iterable[Tensor]) -> npt.NDArray[np.float64]:
        moments = _Moments(self.n_mels)
        for block in blocks:
            moments.add(block.double().numpy())
        return np.concatenate((moments.mean, moments.std, moments.maximum))

    def _names(self) -> list[str]:
        return [f"mel{i}_{name}" for name in ("mean", "std", "max") for i in range(self.n_mels)]


class MFCCStatistics(_BaseStatistics):
    """Mel-frequency cepstral coefficients: mean, deviation, and deviation of their differences.

    Parameters
    ----------
    sample_rate : int, default=16000
        Timesteps per second of arrays, and the rate that files are resampled to, in hertz.
    n_fft : int, default=512
        Length of a frame, in timesteps.
    hop_length : int, default=160
        Timesteps from one frame to the next.
    n_mels : int, default=64
        Number of mel bands.
    n_mfcc : int, default=20
        Number of coefficients, the first of which is the level; at most `n_mels`.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_out,)
        Mean of each statistic over the fitted clips.
    scale_ : ndarray of shape (n_features_out,)
        What each statistic is divided by: its standard deviation over the fitted clips, times
        what makes rows as long as suits ``LogisticRegression()`` with its defaults.
    n_features_in_ : int
        Timesteps of a clip; only when X was a 2-D array.

    See Also
    --------
    LogMelStatistics : Statistics of the log-mel bands themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from audiorep.evaluation import MFCCStatistics
    >>> clips = np.random.default_rng(0).normal(size=(4, 8000))
    >>> statistics = MFCCStatistics()
    >>> statistics.fit_transform(clips).shape
    (4, 60)
    >>> str(statistics.get_feature_names_out()[-1])
    'mfcc19_difference_std'
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_BaseStatistics._parameter_constraints,
        "n_mfcc": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        n_mels: int = 64,
        n_mfcc: int = 20,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.n_mfcc = n_mfcc

    def _fit(self, X: Any) -> FloatArray:
        if self.n_mfcc > self.n_mels:
            raise ValueError(
                f"n_mfcc={self.n_mfcc} is larger than n_mels={self.n_mels}; use n_mfcc <= n_mels."
            )
        return super()._fit(X)

    def _statistics(self, blocks: Iterable[Tensor]) -> npt.NDArray[np.float64]:
        cosines = torchaudio.functional.create_dct(self.n_mfcc, self.n_mels, norm="ortho")
        moments, differences = _Moments(self.n_mfcc), _Moments(self.n_mfcc)
        last = torch.empty(self.n_mfcc, 0, dtype=torch.double)
        for block in blocks:
            mfcc = cosines.double().T @ block.double()
            moments.add(mfcc.numpy())
            # The first difference of a block is to the last frame of the one before.
            differences.add(torch.diff(torch.cat((last, mfcc), dim=1)).numpy())
            last = mfcc[:, -1:]
        return np.concatenate((moments.mean, moments.std, differences.std))

    def _names(self) -> list[str]:
        statistics = ("mean", "std", "difference_std")
        return [f"mfcc{i}_{name}" for name in statistics for i in range(self.n_mfcc)]
