"""Features for sound, learned without labels, behind the scikit-learn API."""

from audiorep._contrastive import ContrastiveAudioEncoder
from audiorep._vq_transformer import VQTransformerEncoder

__all__ = ["ContrastiveAudioEncoder", "VQTransformerEncoder"]
__version__ = "0.1.0"
