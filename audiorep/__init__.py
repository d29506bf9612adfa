"""Features for sound, learned without labels, behind the scikit-learn API."""

__version__ = "0.1.0"
