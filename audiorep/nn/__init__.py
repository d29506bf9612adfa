"""Plain torch modules, usable without scikit-learn."""

from audiorep.nn._log_mel import LogMel
from audiorep.nn._scaling import LogMelScaler

__all__ = ["LogMel", "LogMelScaler"]
