"""Augmentations: log-mel power in, log-mel power out.

All take the natural logarithm of mel-band power, before any standardisation, of shape (batch,
n_mels, n_frames), on any device. All draw for every clip anew, in one vectorised operation, keep
shape and dtype, and do nothing in ``eval()``.
"""

from audiorep.augmentations._masks import FrequencyMask, TimeMask
from audiorep.augmentations._mixing import BackgroundMixing, LogMelNoise
from audiorep.augmentations._resample import RandomResample
from audiorep.augmentations._spectrum import RandomEqualizer, RandomGain
from audiorep.augmentations._views import ViewAugmentation

__all__ = [
    "BackgroundMixing",
    "FrequencyMask",
    "LogMelNoise",
    "RandomEqualizer",
    "RandomGain",
    "RandomResample",
    "TimeMask",
    "ViewAugmentation",
]
