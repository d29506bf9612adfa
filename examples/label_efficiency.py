"""How many labels do I need?

To listen to recordings and name what one hears takes time; recordings themselves cost little. Here
an encoder learns from all training notes without labels, and then a linear classifier has to
name their instruments from one, three or ten labelled notes of each. Beside it stand statistics of
the spectrogram, and the same network trained on the labelled notes alone, which is what one would
do without the encoder. The fewer the labels, the more it helps to have learned without them.

Run with ``python examples/label_efficiency.py [PICTURE.png]``.
"""

# %%
# Notes of one pitch are one group: a pitch is either trained on or tested on.
import sys

from sklearn.model_selection import GroupShuffleSplit

from audiorep import ContrastiveAudioEncoder
from audiorep.datasets import make_instrument_notes
from audiorep.evaluation import (
    LabelEfficiencyDisplay,
    LogMelStatistics,
    SupervisedAudioClassifier,
    label_efficiency_curve,
)

notes = make_instrument_notes(160, n_timbres=8, duration=0.5, random_state=0)
split = GroupShuffleSplit(1, test_size=0.3, random_state=0)

# %%
# Small networks, so that it ends within a minute; both take the same number of steps. The labelled
# notes are drawn twice, for with so few it matters which they are.
curve = label_efficiency_curve(
    {
        "log-mel statistics": LogMelStatistics(),
        "supervised network": SupervisedAudioClassifier(width=16, batch_size=32),
        "contrastive encoder": ContrastiveAudioEncoder(width=16, batch_size=32),
    },
    notes.data,
    notes.target,
    groups=notes.groups,
    cv=split,
    n_labels=[1, 3, 10],
    n_draws=2,
    metrics=["accuracy"],
    verbose=1,
)
print(curve)

# %%
# The band around each curve is the spread over the draws.
path = sys.argv[1] if len(sys.argv) > 1 else "label_efficiency.png"
display = LabelEfficiencyDisplay.from_result(curve)
display.figure_.savefig(path, dpi=120)
print(f"drawn to {path}")
