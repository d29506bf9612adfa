"""The supervised control: the encoders' network, trained with labels."""

import math
from collections.abc import Iterator
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import Tags, assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from audiorep._base import BaseAudioEstimator
from audiorep._clips import Clips
from audiorep._contrastive import MAX_TIME_STRETCH, check_window_frames
from audiorep._dtype import undisturbed
from audiorep._embedding import iter_overlapping, on_device
from audiorep._log_mels import LogMels
from audiorep._training import (
    History,
    ProgressLine,
    n_training_steps,
    resolve_device,
    train,
)
from audiorep.evaluation._classification import ClassificationObjective, ConvWindowClassifier
from audiorep.nn import WindowEncoder

_N_CROPS = 2  # of every clip of a batch, as in contrastive learning


class SupervisedAudioClassifier(ClassifierMixin, BaseAudioEstimator):
    """The network of `ContrastiveAudioEncoder`, trained with labels.

    This is the bar that features learned without labels are measured by. Spectrograms, network,
    augmentation, optimiser and budget are those of the contrastive encoder; two crops of each clip,
    from anywhere in it, go through a linear layer, whose outputs are averaged, and the objective is
    the cross-entropy with the clips' labels. A clip's probabilities are those of its windows,
    averaged as logarithms, and hold for classes that are equally frequent, whatever their share of
    the training clips.

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
        Width of the windows that the network sees, in frames: a multiple of 16. Shorter clips
        are padded behind their end.
    width : int, default=32
        Channels of the network's first stage; all other widths are multiples of it.
    n_epochs : int or "auto", default="auto"
        How many times every clip is seen. "auto" takes 800 steps of the optimiser in all (with
        fewer than 400 clips, two for each clip) but sees every clip ten times at least, so that
        from 5000 clips on time grows with their number. 0 gives random weights.
    batch_size : int, default=64
        Clips per step.
    learning_rate : float, default=2e-3
        Peak learning rate of AdamW.
    weight_decay : float, default=0.1
        Weight decay of AdamW: more than without labels, which are soon learned by heart.
    on_error : {"raise", "skip"}, default="raise"
        What `fit` does with a clip that cannot be used: raise an error that names it, or leave
        it out and warn.
    device : str, default="auto"
        Where to compute, as torch names devices. "auto" takes a GPU where there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What training computes in. "auto" takes bfloat16 where the processor is fast at it.
        Probabilities are computed in float32 always; on a GPU, convolutions round to TF32 unless
        ``torch.backends.cudnn.allow_tf32`` is off.
    verbose : int, default=0
        1 shows progress on standard error.
    random_state : int, RandomState instance or None, default=None
        Source of all chance. The same seed gives the same probabilities on the same machine.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    module_ : ConvWindowClassifier
        The trained network.
    history_ : dict of str to list of float
        What training went like, one value for every step: "loss", in nats; "learning_rate"; and
        "accuracy", the part of the step's clips whose augmented crops were classified right.
        Without epochs there is no accuracy, and the other lists are empty.
    loss_curve_ : list of float
        The loss of every step, as in `history_`.
    n_features_in_ : int
        Timesteps of a clip, when X was a 2-D array.

    See Also
    --------
    audiorep.ContrastiveAudioEncoder : The same network, trained without labels.
    linear_evaluation : Takes classifiers beside encoders.

    Notes
    -----
    scikit-learn's common checks ask classifiers for 83 % on points of a plane, and points are no
    sound: clips of two timesteps whose spectrum does not change with their sign. The tag
    `poor_score` says so.

    Examples
    --------
    >>> from audiorep.datasets import make_instrument_notes
    >>> from audiorep.evaluation import SupervisedAudioClassifier
    >>> notes = make_instrument_notes(12, random_state=0)
    >>> classifier = SupervisedAudioClassifier(n_epochs=1, width=8, random_state=0)
    >>> probabilities = classifier.fit(notes.data, notes.target).predict_proba(notes.data)
    >>> probabilities.shape == (12, len(classifier.classes_))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAudioEstimator._parameter_constraints,
        "window_frames": [Interval(Integral, 16, None, closed="left")],
        "width": [Interval(Integral, 4, None, closed="left")],
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
        n_epochs: int | str = "auto",
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.1,
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
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.on_error = on_error
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    # ------------------------------------------------------------------ fit

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Self:
        """Learn to tell clips apart as their labels do.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            Mono waveforms at `sample_rate` as rows of an array; or 1-D arrays of any lengths at
            `sample_rate`; or paths of audio files of any rate, channel count and length.
            Clips of more than a minute are levelled in equal parts of a minute at most.
        y : array-like of shape (n_clips,)
            Labels, of two classes at least.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            When a label is missing or there is one class only; or when a clip is empty, holds
            NaN, infinity or unsigned integers, has more than one dimension, is cut off or cannot
            be decoded; the message names the clip. With ``on_error="skip"`` such clips and their
            labels are left out instead, with a warning that names them.
        FileNotFoundError
            When a file does not exist.
        """
        with self._unchanged_by_failure(), undisturbed():
            self._fit(X, y)
        return self

    def _fit(self, X: Any, y: Any) -> None:
        clips = self._check_fit(X)
        labels = self._check_labels(y, clips)
        training_set = self._read_training_set(clips)
        classes, targets = _classes(labels[training_set.used])
        settings = {
            "n_mels": self.n_mels,
            "n_frames": self.window_frames,
            "width": self.width,
            "n_classes": len(classes),
        }
        train_with_labels = partial(self._train, targets=targets)
        module, history = self._trained(training_set, settings, train_with_labels)
        self._log_mel_settings, self._module_settings = training_set.log_mel_settings, settings
        self.history_, self.loss_curve_ = history, history["loss"]
        self.classes_, self.module_ = classes, module

    def _check_parameters(self) -> None:
        check_window_frames(self.window_frames)

    def _check_labels(self, y: Any, clips: Clips) -> npt.NDArray[Any]:
        """Return the labels of `clips` as an array, or raise a ValueError."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        check_known(y)
        labels: npt.NDArray[Any] = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y", estimator_name=type(self).__name__)
        check_consistent_length(clips, labels)
        check_classification_targets(labels)
        _classes(labels)
        return labels

    @staticmethod
    def _build(settings: dict[str, Any]) -> WindowEncoder:
        return ConvWindowClassifier(**settings)

    def _train(
        self,
        module: ConvWindowClassifier,
        log_mels: LogMels,
        device: torch.device,
        dtype: torch.dtype,
        *,
        targets: Tensor,
    ) -> History:
        """Train the module in place and return the history of it."""
        module.scaler.set_statistics(*log_mels.mean_and_scale())
        shares = torch.bincount(targets).float() / len(targets)
        return train(
            ClassificationObjective(module, shares).to(device),
            self._batches(log_mels, targets.to(device)),
            n_steps=n_training_steps(self.n_epochs, len(log_mels), self.batch_size),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            dtype=dtype,
            progress=ProgressLine(type(self).__name__) if self.verbose else None,
        )

    def _batches(
        self, log_mels: LogMels, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield crops of clips, how much of each belongs to its clip, and classes, for ever."""
        for which in log_mels.positions(self.batch_size):
            # Anywhere, for every window of a clip is heard when it is classified.
            crops, n_valid = log_mels.random_crops(
                which.repeat(_N_CROPS), self.window_frames, MAX_TIME_STRETCH, by_loudness=False
            )
            yield crops, n_valid, targets[which]

    # ------------------------------------------------------------------ predict

    @undisturbed()
    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return how probable each class is.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
            Columns as in ``classes_``. A clip's row depends on that clip alone.

        Raises
        ------
        ValueError
            When a clip is empty, holds NaN, infinity or unsigned integers, has more than one
            dimension, is cut off or cannot be decoded; the message names the clip.
        FileNotFoundError
            When a file does not exist.
        """
        check_is_fitted(self, "module_")
        device = resolve_device(self.device)
        module = on_device(self.module_, device)
        owners: list[int] = []
        log_p: list[Tensor] = []
        for batch in iter_overlapping(module, self._sources(X)):
            with torch.inference_mode():
                log_p.append(module(*batch.tensors(device)).cpu().double().log_softmax(1))
            owners += batch.owners
        owner = torch.tensor(owners)
        owner, windows = owner[owner >= 0], torch.cat(log_p)[owner >= 0]
        count = torch.bincount(owner).double()
        total = torch.zeros(len(count), windows.shape[1], dtype=torch.double)
        mean = total.index_add_(0, owner, windows) / count[:, None]
        probabilities: npt.NDArray[np.float64] = mean.softmax(1).numpy()
        return probabilities

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each clip.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_clips,)
            Labels out of ``classes_``.
        """
        best = self.predict_proba(X).argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


def check_known(y: Any, what_it_is: str = "label") -> None:
    """Raise a ValueError where a label is None, NaN or pandas' NA, which cannot be sorted."""
    for i, label in enumerate(np.asarray(y, dtype=object).ravel()):
        is_nan = isinstance(label, (float, np.floating)) and np.isnan(label)
        if label is None or is_nan or type(label).__name__ == "NAType":
            what = "NaN" if is_nan else label
            raise ValueError(
                f"The {what_it_is} of clip {i} is {what}; leave out clips without a {what_it_is}."
            )


def _classes(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Tensor]:
    """Return the sorted classes, and the position of each label's class among them."""
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y has {len(classes)} class, {classes[0]!s}, but a classifier needs two at least."
        )
    return classes, torch.from_numpy(targets.astype(np.int64))


def with_steps_for(classifier: Any, n_clips: int, n_labelled: int) -> Any:
    """Let a classifier take as many steps on few labelled clips as it would on all clips.

    Its own choice, ``n_epochs="auto"``, is short for a handful of clips, so that the common checks
    end soon; where it is compared with what learned from all clips, it gets the same budget. A
    classifier whose epochs were chosen otherwise stays as it is.

    Parameters
    ----------
    classifier : estimator
        Changed in place where it is a `SupervisedAudioClassifier`.
    n_clips : int
        Training clips, with and without labels.
    n_labelled : int
        Those that it will be fitted on.

    Returns
    -------
    estimator
    """
    if isinstance(classifier, SupervisedAudioClassifier) and classifier.n_epochs == "auto":
        batch_size = classifier.batch_size
        n_steps = n_training_steps("auto", n_clips, batch_size)
        if n_labelled < n_clips:
            n_epochs = math.ceil(n_steps * min(batch_size, n_labelled) / n_labelled)
            classifier.set_params(n_epochs=n_epochs)
    return classifier
