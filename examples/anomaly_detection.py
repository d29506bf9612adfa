"""Which sounds are strange? The likelihood of a clip tells.

An encoder learns from the normal hums of a machine, and then tells how likely new clips are: some
normal, some with clicks, as of a worn bearing, some of a machine it has never heard. Clips that are
less likely than usual are worth a look.

Run with ``python examples/anomaly_detection.py``; with a path, as in ``anomaly_detection.py
roc.png``, the ROC curves are drawn there.
"""

# %%
# Every hum has a speed, a balance of harmonics, and a noise of flowing air. Clicks last a
# hundredth of a second.
import sys

import numpy as np
from sklearn.metrics import RocCurveDisplay, roc_auc_score

from audiorep import VQTransformerEncoder

SAMPLE_RATE = 16000


def hum(rng):
    """Return a second of a machine that runs well."""
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    speed = rng.uniform(95, 105)
    harmonics = range(1, 13)
    tones = [
        rng.uniform(0.5, 1.0) / k * np.sin(2 * np.pi * (k * speed * t + rng.uniform()))
        for k in harmonics
    ]
    air = 0.1 * np.convolve(rng.standard_normal(len(t)), np.hanning(8), "same")
    return 0.2 * (np.sum(tones, axis=0) + air)


def clicking(rng):
    """Return a hum with two to six clicks."""
    clip, length = hum(rng), SAMPLE_RATE // 100
    for start in rng.integers(len(clip) - length, size=rng.integers(2, 7)):
        burst = rng.standard_normal(length) * np.exp(-np.linspace(0, 5, length))
        clip[start : start + length] += rng.uniform(0.1, 0.5) * burst
    return clip


def siren(rng):
    """Return a second of another machine: a tone that goes up and down."""
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    bend = rng.uniform(100, 300) * np.sin(2 * np.pi * rng.uniform(2, 5) * t)
    phase = np.cumsum(rng.uniform(600, 1200) + bend) / SAMPLE_RATE
    return 0.2 * np.sin(2 * np.pi * phase) + 0.02 * rng.standard_normal(len(t))


rng = np.random.default_rng(0)
good = np.array([hum(rng) for _ in range(100)], dtype=np.float32)
tested = {
    "normal": np.array([hum(rng) for _ in range(40)], dtype=np.float32),
    "clicking": np.array([clicking(rng) for _ in range(40)], dtype=np.float32),
    "siren": np.array([siren(rng) for _ in range(40)], dtype=np.float32),
}

# %%
# The encoder hears good hums only. A smaller one than the default is enough for these.
encoder = VQTransformerEncoder(
    n_epochs=40, n_codes=64, width=64, n_layers=2, batch_size=16, random_state=0
)
encoder.fit(good)
scores = {name: encoder.score_samples(clips) for name, clips in tested.items()}
for name, score in scores.items():
    print(f"{name:9} {score.mean():6.2f} ± {score.std():.2f} nats per code")

# %%
# How well does a threshold tell strange clips from normal ones? The area under the ROC curve is the
# chance that a strange clip is less likely than a normal one: 0.5 is guessing, and 1 is perfect.
curves = {}
for name in ("clicking", "siren"):
    is_strange = np.repeat([0, 1], [len(scores["normal"]), len(scores[name])])
    strangeness = -np.concatenate((scores["normal"], scores[name]))
    curves[name] = is_strange, strangeness
    print(f"{name:9} area under the ROC curve {roc_auc_score(is_strange, strangeness):.3f}")
    assert scores[name].mean() < scores["normal"].mean()

# %%
# The picture, where a path was given.
if len(sys.argv) > 1:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4.5))
    for name, (is_strange, strangeness) in curves.items():
        RocCurveDisplay.from_predictions(is_strange, strangeness, name=name, ax=axes)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.set(title="Strange hums, found by likelihood", xlabel="false alarms", ylabel="found")
    figure.savefig(sys.argv[1], dpi=150, bbox_inches="tight")
    print(f"wrote {sys.argv[1]}")
