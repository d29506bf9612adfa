"""What do the codes of sound look like, and what do they sound like?

An encoder turns notes of synthetic instruments into codes. Two pictures show its codebook (each
code as the patch of spectrogram that it stands for) and the codes of one note on top of its
spectrogram. Two WAV files let one hear what codes keep of that note, and a note that was drawn
from the language model of codes.

Run with ``python examples/codes_of_sound.py FOLDER``; the files go into that folder, by default
the current one.
"""

# %%
# Notes are steady and of one level, so a small encoder learns them in seconds.
import sys
from pathlib import Path

import matplotlib
import numpy as np
import soundfile
import torch

from audiorep import VQTransformerEncoder
from audiorep.datasets import make_instrument_notes
from audiorep.nn import LogMel

matplotlib.use("Agg")
import matplotlib.pyplot as plt

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
folder.mkdir(parents=True, exist_ok=True)
notes = make_instrument_notes(100, noise=0.02, random_state=0)
encoder = VQTransformerEncoder(
    n_epochs=40, n_codes=64, width=64, n_layers=2, batch_size=16, random_state=0
)
encoder.fit(notes.data)

# %%
# The codebook. A patch is 16 mel bands by 8 frames (80 ms); the lightest is the loudest. Codes
# are sorted from quiet to loud.
tokenizer = encoder.module_.tokenizer
with torch.no_grad():
    patches = tokenizer.autoencoder.decode(tokenizer.codebook)
patches = patches.unflatten(1, (tokenizer.patch_mels, tokenizer.patch_frames)).numpy()
patches = patches[patches.mean(axis=(1, 2)).argsort()]
figure, grid = plt.subplots(4, 16, figsize=(10, 5.2))
for axes, patch in zip(grid.flat, patches, strict=True):
    axes.imshow(patch, origin="lower", aspect="auto", vmin=patches.min(), vmax=patches.max())
    axes.set(xticks=[], yticks=[])
figure.suptitle("The codebook, decoded: 16 mel bands by 80 ms each, from quiet to loud")
figure.savefig(folder / "codebook.png", dpi=120, bbox_inches="tight")

# %%
# The codes of one note on its spectrogram: a number for each patch.
note = notes.data[0]
codes = encoder.tokenize([note])[0]
log_mel = LogMel()(torch.from_numpy(note)).numpy()
figure, axes = plt.subplots(figsize=(10, 4.5))
axes.imshow(log_mel, origin="lower", aspect="auto", vmin=log_mel.max() - 14)
n_steps, n_bands = codes.shape
for step in range(n_steps):
    for band in range(n_bands):
        centre = 8 * step + 3.5, 16 * band + 7.5
        axes.text(*centre, codes[step, band], color="white", ha="center", va="center")
axes.set_xticks(np.arange(n_steps + 1) * 8 - 0.5, np.arange(n_steps + 1) * 80)
axes.set_yticks(np.arange(n_bands + 1) * 16 - 0.5, np.arange(n_bands + 1) * 16)
axes.grid(color="white", linewidth=0.5)
axes.set(xlabel="milliseconds", ylabel="mel band", title="A note and its codes")
figure.savefig(folder / "tokens.png", dpi=120, bbox_inches="tight")

# %%
# What codes keep, and something new. Low temperature: the drawn note takes few risks.
(reconstructed,) = encoder.reconstruct([note])
drawn, _ = encoder.sample(duration=2.0, temperature=0.7)
for name, waveform in [("note", note), ("reconstructed", reconstructed), ("drawn", drawn[0])]:
    soundfile.write(folder / f"{name}.wav", waveform, notes.sample_rate)

# %%
# How sure is the model of the next code? Among as many equally likely ones as the perplexity
# says; and how often has a code survived decoding, Griffin and Lim, and coding again?
again = encoder.tokenize([reconstructed])[0]
print(f"perplexity {encoder.perplexity(notes.data):.1f} of 64 codes, on notes it has heard")
print(f"accuracy of codes that went through sound: {(again == codes).mean():.2f}")
print("wrote codebook.png, tokens.png, note.wav, reconstructed.wav and drawn.wav")
