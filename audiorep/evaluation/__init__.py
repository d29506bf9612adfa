"""How good features are: linear evaluation on training folds only, with its controls."""

from audiorep.evaluation._baselines import LogMelStatistics, MFCCStatistics
from audiorep.evaluation._linear import linear_evaluation
from audiorep.evaluation._protocols import protocol_splits
from audiorep.evaluation._result import LinearEvaluation
from audiorep.evaluation._store import ResultStore
from audiorep.evaluation._supervised import SupervisedAudioClassifier

__all__ = [
    "LinearEvaluation",
    "LogMelStatistics",
    "MFCCStatistics",
    "ResultStore",
    "SupervisedAudioClassifier",
    "linear_evaluation",
    "protocol_splits",
]
