"""Warnings that point at who called audiorep, through whatever layers."""

import sys
import warnings

# Between a caller and what warns: our own code, scikit-learn's wrappers and pipelines, decorators.
_LAYERS = {"audiorep", "sklearn", "contextlib", "joblib"}


def warn(message: str) -> None:
    """Warn, as if the line of the user's code that led here did."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _LAYERS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
