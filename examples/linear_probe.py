"""How good are features learned without labels? A linear classifier tells.

An encoder learns from notes of eight synthetic instruments without being told which is which. Then
a linear classifier is trained on its features, and has to name the instrument of notes whose
pitch neither has heard. The control is the same encoder with random weights.

Run with ``python examples/linear_probe.py``.
"""

# %%
# Notes of one pitch are one group: a pitch is either trained on or tested on.
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from audiorep import ContrastiveAudioEncoder
from audiorep.datasets import make_instrument_notes

notes = make_instrument_notes(150, n_timbres=8, noise=1.0, random_state=0)
print(f"{len(notes.data)} notes of {', '.join(notes.target_names)}")

# %%
# The encoder is one step of a pipeline, so it learns from the training folds only.
for name, n_epochs in [("random weights", 0), ("trained", 40)]:
    model = make_pipeline(
        ContrastiveAudioEncoder(n_epochs=n_epochs, random_state=0), LogisticRegression()
    )
    scores = cross_val_score(model, notes.data, notes.target, groups=notes.groups, cv=GroupKFold(3))
    print(f"{name}: accuracy {scores.mean():.3f} ± {scores.std():.3f} over 3 folds")
