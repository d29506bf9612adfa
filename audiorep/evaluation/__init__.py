"""How good features are: on training folds only, with controls, with many labels and with few."""

from audiorep.evaluation._baselines import LogMelStatistics, MFCCStatistics
from audiorep.evaluation._displays import (
    EmbeddingDisplay,
    LabelEfficiencyDisplay,
    TrainingCurveDisplay,
)
from audiorep.evaluation._label_efficiency import label_efficiency_curve
from audiorep.evaluation._linear import linear_evaluation
from audiorep.evaluation._neighbors import mean_average_precision
from audiorep.evaluation._protocols import protocol_splits
from audiorep.evaluation._result import LabelEfficiencyCurve, LinearEvaluation
from audiorep.evaluation._store import ResultStore
from audiorep.evaluation._supervised import SupervisedAudioClassifier

__all__ = [
    "EmbeddingDisplay",
    "LabelEfficiencyCurve",
    "LabelEfficiencyDisplay",
    "LinearEvaluation",
    "LogMelStatistics",
    "MFCCStatistics",
    "ResultStore",
    "SupervisedAudioClassifier",
    "TrainingCurveDisplay",
    "label_efficiency_curve",
    "linear_evaluation",
    "mean_average_precision",
    "protocol_splits",
]
