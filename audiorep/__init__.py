"""Features for sound, learned without labels, behind the scikit-learn API."""

from audiorep._contrastive import ContrastiveAudioEncoder

__all__ = ["ContrastiveAudioEncoder"]
__version__ = "0.1.0"
