"""Plain torch modules, usable without scikit-learn."""

from audiorep.nn._backbone import ConvBackbone
from audiorep.nn._diagnostics import alignment, effective_rank, uniformity
from audiorep.nn._heads import ComparisonHead, ProjectionHead
from audiorep.nn._log_mel import LogMel
from audiorep.nn._losses import NTXentLoss
from audiorep.nn._patches import PatchAutoencoder, PatchStem, patchify, unpatchify
from audiorep.nn._scaling import LogMelScaler
from audiorep.nn._transformer import CausalTransformer, KeyValueCache
from audiorep.nn._window_encoder import WindowEncoder

__all__ = [
    "CausalTransformer",
    "ComparisonHead",
    "ConvBackbone",
    "KeyValueCache",
    "LogMel",
    "LogMelScaler",
    "NTXentLoss",
    "PatchAutoencoder",
    "PatchStem",
    "ProjectionHead",
    "WindowEncoder",
    "alignment",
    "effective_rank",
    "patchify",
    "uniformity",
    "unpatchify",
]
