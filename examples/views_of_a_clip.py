"""What does an encoder see of a clip? Views: pictures of one clip, altered in many ways.

The contrastive encoder learns that all views of a clip are the same thing, so what the views do
not keep, the features will not tell. Look at each augmentation before leaving one out, or adding
one, with the encoder's parameter ``augmentation``.

Run with ``python examples/views_of_a_clip.py [PICTURE]``, where PICTURE is the PNG file to write:
``views_of_a_clip.png`` in the current folder by default. It needs matplotlib.
"""

# %%
# Every clip is three short notes, one after the other. The first clip is the one to look at; the
# others are there for what mixes clips.
import sys
from functools import partial

import matplotlib.pyplot as plt
import torch

from audiorep import augmentations
from audiorep.augmentations import waveform
from audiorep.datasets import make_instrument_notes
from audiorep.nn import LogMel

notes = make_instrument_notes(48, duration=0.5, noise=0.02, random_state=0)
rate = notes.sample_rate
clips = torch.from_numpy(notes.data).reshape(16, -1)
log_mel = LogMel(sample_rate=rate)
original = log_mel(clips)
torch.manual_seed(0)

# %%
# The clip, and what each augmentation of log-mels makes of it: of twenty draws the one
# that altered it most.


def most_altered(alter, n_draws=20):
    """Return the log-mel of the first clip, of shape (n_mels, n_frames), altered most."""
    draws = [alter()[0] for _ in range(n_draws)]
    return max(draws, key=lambda picture: float((picture - original[0]).abs().mean()))


pictures = [("the clip", original[0])]
for augmentation in (
    augmentations.RandomResample(),
    augmentations.RandomCrop(),
    augmentations.RandomEqualizer(),
    augmentations.RandomGain(),
    augmentations.RandomFade(),
    augmentations.ReverberantSmear(),
    augmentations.BackgroundMixing(),
    augmentations.StyleMixing(),
    augmentations.LogMelNoise(),
    augmentations.FrequencyMask(),
    augmentations.TimeMask(),
    augmentations.RandomFloor(),
):
    picture = most_altered(partial(augmentation, original))
    pictures.append((type(augmentation).__name__, picture))

# %%
# Augmentations of the waveform, which come before the log-mel. The last leaves no trace:
# no spectrum of power tells which way up a waveform was.
for augmentation in (
    waveform.RandomPitchShift(),
    waveform.RandomSpeed(),
    waveform.RandomBandFilter(),
    waveform.RandomReverberation(),
    waveform.ColouredNoise(),
    waveform.RandomPolarity(probability=1.0),
):
    picture = most_altered(partial(torch.nn.Sequential(augmentation, log_mel), clips[:1]))
    pictures.append((f"waveform.{type(augmentation).__name__}", picture))

# %%
# What the encoder makes by default: many at once, drawn anew each time.
view = augmentations.ViewAugmentation()
pictures += [(f"ViewAugmentation, view {i}", view(original)[0]) for i in range(1, 7)]

# %%
# All in decibels below the clip's loudest value, on one scale. A band is named after the frequency
# that it lets through best.
DECIBELS = 4.343  # in one unit of the natural logarithm of power
RANGE = 60
best = log_mel.filters.argmax(dim=0) * rate / log_mel.n_fft
hertz = [250, 1000, 4000]
bands = [int((best - frequency).abs().argmin()) for frequency in hertz]
seconds = clips.shape[1] / rate

figure, axes = plt.subplots(5, 5, figsize=(13, 11), sharex=True, sharey=True, layout="constrained")
for axis, (title, picture) in zip(axes.flat, pictures, strict=True):
    image = axis.imshow(
        (picture - original[0].max()) * DECIBELS,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-RANGE,
        vmax=0,
        extent=(0, seconds, -0.5, len(best) - 0.5),
    )
    axis.set_title(title, fontsize=9)
    axis.set_yticks(bands, [f"{frequency} Hz" for frequency in hertz])
for axis in axes[-1]:
    axis.set_xlabel("time in seconds")
figure.colorbar(image, ax=axes, shrink=0.5, extend="both", label="power in dB")
path = sys.argv[1] if len(sys.argv) > 1 else "views_of_a_clip.png"
figure.savefig(path, dpi=100)
print(f"{len(pictures)} pictures in {path}")
