"""Augmentations of waveforms: waveform in, waveform out.

All take a tensor of shape (batch, n_timesteps), of any floating dtype, on any device. All draw for
every clip anew, without a loop over clips, keep shape and dtype, and do nothing in ``eval()``.

The encoders make their views out of log-mels that are computed once, so their ``augmentation=``
takes the modules of :mod:`audiorep.augmentations`, not these. These are for altering recordings
before an estimator sees them: to train it on more kinds of sound, or to find out how well it
stands noise, rooms and shifts. To an encoder an altered copy is one more clip, and the contrastive
encoder learns to tell it apart from its original. So there, let the classifier alone learn from
copies:

>>> import numpy as np
>>> import torch
>>> from sklearn.linear_model import LogisticRegression
>>> from audiorep import ContrastiveAudioEncoder
>>> from audiorep.augmentations import waveform
>>> from audiorep.datasets import make_instrument_notes
>>> clips, y = make_instrument_notes(12, return_X_y=True, random_state=0)
>>> alter = torch.nn.Sequential(waveform.RandomPitchShift(), waveform.ColouredNoise())
>>> more_clips = np.concatenate((clips, alter(torch.from_numpy(clips)).numpy()))
>>> encoder = ContrastiveAudioEncoder(n_epochs=1, width=8, random_state=0).fit(clips)
>>> classifier = LogisticRegression().fit(encoder.transform(more_clips), np.tile(y, 2))
>>> classifier.predict(encoder.transform(clips)).shape
(12,)

An encoder that learns to predict sound is simply fitted to ``more_clips``.
"""

from audiorep.augmentations.waveform._filters import (
    RandomBandFilter,
    RandomPolarity,
    RandomReverberation,
)
from audiorep.augmentations.waveform._noise import ColouredNoise
from audiorep.augmentations.waveform._speed import RandomPitchShift, RandomSpeed

__all__ = [
    "ColouredNoise",
    "RandomBandFilter",
    "RandomPitchShift",
    "RandomPolarity",
    "RandomReverberation",
    "RandomSpeed",
]
