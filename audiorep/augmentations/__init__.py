"""Augmentations: log-mel power in, log-mel power out.

All take the natural logarithm of mel-band power, before any standardisation, of shape (batch,
n_mels, n_frames), on any device. All draw for every clip anew, in one vectorised operation, keep
shape and dtype, and do nothing in ``eval()``.

Those of :mod:`audiorep.augmentations.waveform` take and return waveforms.
"""

from audiorep.augmentations._augmentation import Augmentation
from audiorep.augmentations._masks import FrequencyMask, RandomFloor, TimeMask
from audiorep.augmentations._mixing import BackgroundMixing, LogMelNoise, StyleMixing
from audiorep.augmentations._resample import RandomCrop, RandomResample
from audiorep.augmentations._spectrum import RandomEqualizer, RandomGain
from audiorep.augmentations._time import RandomFade, ReverberantSmear
from audiorep.augmentations._views import ViewAugmentation

__all__ = [
    "Augmentation",
    "BackgroundMixing",
    "FrequencyMask",
    "LogMelNoise",
    "RandomCrop",
    "RandomEqualizer",
    "RandomFade",
    "RandomFloor",
    "RandomGain",
    "RandomResample",
    "ReverberantSmear",
    "StyleMixing",
    "TimeMask",
    "ViewAugmentation",
]
