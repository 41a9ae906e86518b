"""Figures of a list of trials: how often a system errs, and at which threshold. NumPy only.

Scores: the higher, the more alike. For distances, which speakerdb decides on, pass the distance times −1 and
read a threshold the same way. One tie rule holds everywhere: accept when score ≥ threshold.

    FMR   false match rate: nontargets accepted ÷ nontargets            = 1 − specificity
    FNMR  false non-match rate: targets rejected ÷ targets              = 1 − sensitivity
    FPIR  share of strangers' searches that return anybody at all       (one-to-many)
    TPIR  share of enrolled people's searches that return them, first   = 1 − FNIR (one-to-many)

Terms after ISO/IEC 19795-1. A rate changes only where a score lies, so every function tries each distinct
score as a threshold, and the two ends −inf (accept all) and +inf (reject all); equal scores make one step.
The order of trials never matters. A class without trials, NaN and infinity raise ValueError: no figure is
invented.
"""

from speakerdb.metrics.bootstrap import Interval, search_intervals, verification_intervals
from speakerdb.metrics.error_counts import EqualErrorRate, ErrorCounts, ErrorRates, MinDcf, OperatingPoint
from speakerdb.metrics.identification import TpirAtFpir, rank_one_rate, tpir_at_fpir
from speakerdb.metrics.likelihood_ratios import act_dcf, cllr, min_cllr
from speakerdb.metrics.verification import (
    equal_error_rate,
    error_rates,
    min_dcf,
    roc_auc,
    sensitivity_at_specificity,
    sensitivity_specificity,
)

__all__ = [
    "EqualErrorRate",
    "ErrorCounts",
    "ErrorRates",
    "Interval",
    "MinDcf",
    "OperatingPoint",
    "TpirAtFpir",
    "act_dcf",
    "cllr",
    "equal_error_rate",
    "error_rates",
    "min_cllr",
    "min_dcf",
    "rank_one_rate",
    "roc_auc",
    "search_intervals",
    "sensitivity_at_specificity",
    "sensitivity_specificity",
    "tpir_at_fpir",
    "verification_intervals",
]
