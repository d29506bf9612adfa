"""Plain torch modules, usable without scikit-learn."""

from audiorep.nn._backbone import ConvBackbone
from audiorep.nn._heads import ProjectionHead
from audiorep.nn._log_mel import LogMel
from audiorep.nn._losses import NTXentLoss
from audiorep.nn._scaling import LogMelScaler
from audiorep.nn._window_encoder import WindowEncoder

__all__ = [
    "ConvBackbone",
    "LogMel",
    "LogMelScaler",
    "NTXentLoss",
    "ProjectionHead",
    "WindowEncoder",
]
