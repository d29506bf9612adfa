"""Warnings of a training that ran but learned little: too few negatives, collapse, dead codes."""

import numpy as np
from torch import Tensor

from audiorep._training import History
from audiorep._warn import warn

# So few clips may well be alike, or be there to try something out.
_FEW_CLIPS = 16
_SHORT_CLIP = 8  # frames: a click, which there may be nothing to learn from
_SMALL_BATCH = 8
# After so many clips, a training that goes well has left its start behind, and the means over
# its last quarter are steady.
_ENOUGH_SEEN = 1000
_COLLAPSED_RANK = 2.0
_RANK_TO_EXPECT = 7
_COLLAPSED_SPREAD = 0.05
# Of the distance between clips, the distance between views of one clip: near 0.9 at the start,
# below 0.7 after a few dozen steps on sound of any kind, 1 where views tell nothing.
_NO_CLOSER = 0.95
_LEAST_PART_OF_CODES = 0.05


def count_sounds(lengths: Tensor) -> int:
    """Return how many clips are long enough, in frames, that training should tell them apart."""
    return int((lengths >= _SHORT_CLIP).sum())


def warn_of_small_batch(batch_size: int, n_clips: int) -> None:
    """Warn where contrastive learning has few other clips to tell a clip from."""
    if batch_size < _SMALL_BATCH and n_clips >= _FEW_CLIPS:
        warn(
            f"batch_size={batch_size} leaves few clips to tell a clip from at each step: "
            f"{batch_size - 1} of {n_clips - 1}, which teaches little; use "
            f"batch_size={_SMALL_BATCH} at least, better 64."
        )


def warn_of_collapse(history: History, batch_size: int, projection_dim: int, n_clips: int) -> None:
    """Warn where, at the end of contrastive learning, projections tell clips apart badly.

    There are three ways: all are one point; they differ in a direction or two; or they differ,
    but views of one clip as much as different clips.
    """
    n_seen = len(history["loss"]) * min(batch_size, n_clips)
    if n_seen < _ENOUGH_SEEN or n_clips < _FEW_CLIPS:
        return
    within = _at_the_end(history, "alignment")
    # The squared distance of all pairs that would give this uniformity.
    spread = -_at_the_end(history, "uniformity") / 2
    rank = _at_the_end(history, "effective_rank")
    has_room = min(batch_size - 1, projection_dim) >= _RANK_TO_EXPECT
    low_rank = rank < _COLLAPSED_RANK and has_room
    if spread < _COLLAPSED_SPREAD or low_rank or within > _NO_CLOSER * spread:
        warn(
            f"The representation collapsed: at the end of training, the projections of the "
            f"{n_clips} clips hardly tell one from another. They differ in {rank:.1f} directions "
            f"(effective rank), by {spread:.2f} (squared distance on the unit sphere), and two "
            f"views of one clip by {within:.2f}. Look whether clips are silent or copies of each "
            "other, and whether the augmentation leaves anything to know a clip by; else lower "
            "learning_rate, or raise batch_size and n_epochs."
        )


def warn_of_equal_clips(n_clips: int) -> None:
    """Warn that features tell nothing, for all clips that they were learned from are alike."""
    if n_clips >= _FEW_CLIPS:
        warn(
            f"The {n_clips} clips sound alike, so nothing can be learned from them, and all "
            "features are zero. Look whether clips are silent or copies of each other."
        )


def warn_of_dead_codes(history: History, n_codes: int, n_coded: int, n_clips: int) -> None:
    """Warn where nearly all of `n_coded` patches got one of a few codes."""
    if not history["loss"] or n_clips < _FEW_CLIPS or n_coded < n_codes:
        return
    perplexity = history["perplexity"][-1]
    if perplexity < _LEAST_PART_OF_CODES * n_codes:
        warn(
            f"Few codes live: {history['codes_in_use'][-1]:.0f} of n_codes={n_codes} are in use, "
            f"as unevenly as if they were {perplexity:.1f} (perplexity), so tokens tell little of "
            "the sound. Look whether clips are silent or copies of each other; else use fewer "
            "codes."
        )


def _at_the_end(history: History, name: str) -> float:
    """Return the mean over the last quarter of the steps."""
    values = history[name]
    return float(np.mean(values[-max(1, len(values) // 4) :]))
