"""How do I use it on a folder of my own recordings?

Give the folder as an argument: either it holds one folder per class, or a file ``labels.csv`` with
the columns ``file`` and ``label``. Without an argument a small folder is made first.

Run with ``python examples/own_folder.py [FOLDER]``.
"""

# %%
# Files may have any rate, length and number of channels; nothing is read before it is needed.
import sys
import tempfile
from pathlib import Path

import joblib
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from audiorep import ContrastiveAudioEncoder
from audiorep.datasets import load_audio_folder, make_instrument_notes


def write_small_folder(folder):
    """Write 60 synthetic notes as FLAC files, one folder per instrument."""
    notes = make_instrument_notes(60, random_state=0)
    for i, (waveform, label) in enumerate(zip(notes.data, notes.target, strict=True)):
        path = folder / notes.target_names[label] / f"{i:03}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, waveform, notes.sample_rate)


scratch = tempfile.TemporaryDirectory()
if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
else:
    folder = Path(scratch.name) / "recordings"
    folder.mkdir()
    write_small_folder(folder)

recordings = load_audio_folder(folder)
print(f"{len(recordings.data)} files, classes: {', '.join(recordings.target_names)}")

# %%
# The pipeline takes the paths. All files teach the encoder, for it needs no labels; here it
# learns from the training files only, so that the score is honest.
train, test, y_train, y_test = train_test_split(
    recordings.data, recordings.target, test_size=0.3, stratify=recordings.target, random_state=0
)
model = make_pipeline(ContrastiveAudioEncoder(verbose=1, random_state=0), LogisticRegression())
model.fit(train, y_train)
print(f"accuracy on {len(test)} files: {model.score(test, y_test):.2f}")

# %%
# The fitted pipeline is one file, to be loaded wherever audiorep is installed.
saved = Path(scratch.name) / "model.joblib"
joblib.dump(model, saved)
again = joblib.load(saved)
print(f"saved in {saved.stat().st_size / 1e6:.1f} MB")
for path, label in zip(test[:3], again.predict(test[:3]), strict=True):
    print(f"{Path(path).name}: {recordings.target_names[label]}")
scratch.cleanup()
