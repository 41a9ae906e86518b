"""One-to-one: how often two voices are taken for one, and one for two."""

from __future__ import annotations

import numpy.typing as npt

from speakerdb.metrics.error_counts import EqualErrorRate, ErrorCounts, ErrorRates, MinDcf, OperatingPoint


def error_rates(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> ErrorRates:
    """FMR and FNMR as functions of the threshold: the points of a DET or ROC curve.

    Args:
        target: finite real [targets], scores of same-speaker trials.
        nontarget: finite real [nontargets], scores of different-speaker trials.
    Returns: `ErrorRates`, one point a distinct score and the two ends. A threshold between two scores does
        what the upper one does, and the lowest score what −inf does.
    Raises: ValueError for an empty class, a wrong shape, NaN or infinity.
    """
    return ErrorCounts.of(target, nontarget).rates()


def equal_error_rate(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> EqualErrorRate:
    """The rate at which as many targets are rejected as nontargets accepted.

    FNMR − FMR rises from −1 to 1 with the threshold. Its first point not below 0 and the point before it are
    joined by a straight line in the (FMR, FNMR) plane; `rate` is where that line has FMR = FNMR. A point at
    exactly 0 is itself the answer, so perfectly separated scores have 0, all scores tied 0.5, and perfectly
    wrong ones 1. `rate` keeps its value under any strictly rising function of the scores.

    `threshold` is the end of that line at which the two rates lie nearer to each other, and the lower end
    where both are equally far: a finite, observed score.

    Args: target, nontarget: as in `error_rates`.
    Raises: ValueError as in `error_rates`.
    """
    return ErrorCounts.of(target, nontarget).equal_error_rate()


def min_dcf(
    target: npt.ArrayLike,
    nontarget: npt.ArrayLike,
    p_target: float = 0.05,
    cost_miss: float = 1.0,
    cost_false_alarm: float = 1.0,
) -> MinDcf:
    """The detection cost at the best threshold for these very trials.

    (C_miss·P·FNMR + C_fa·(1 − P)·FMR) ÷ min(C_miss·P, C_fa·(1 − P)), as in NIST's Speaker Recognition
    Evaluations. 1 is what accepting all or rejecting all costs, whichever is cheaper; the thresholds −inf and
    +inf take part, so no system costs more.

    Args:
        target, nontarget: as in `error_rates`.
        p_target: the prior of a target, above 0 and below 1.
        cost_miss, cost_false_alarm: what one rejected target and one accepted nontarget cost, above 0.
    Returns: `MinDcf`; of several thresholds at the least cost the highest (+inf: reject all).
    Raises: ValueError as in `error_rates`, and for a prior or cost out of its range.
    """
    return ErrorCounts.of(target, nontarget).min_dcf(p_target, cost_miss, cost_false_alarm)


def roc_auc(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> float:
    """The chance that a random target scores above a random nontarget, a tie counting half.

    The area under the ROC curve, as the Mann–Whitney U statistic ÷ (targets · nontargets); O(n log n).

    Args: target, nontarget: as in `error_rates`.
    Returns: 0 to 1; 0.5 where all scores are tied.
    Raises: ValueError as in `error_rates`.
    """
    return ErrorCounts.of(target, nontarget).roc_auc()


def sensitivity_specificity(target: npt.ArrayLike, nontarget: npt.ArrayLike, threshold: float) -> OperatingPoint:
    """The share of targets accepted (score ≥ threshold) and of nontargets rejected (score < threshold).

    Args:
        target, nontarget: as in `error_rates`.
        threshold: a score; −inf accepts all, +inf rejects all.
    Raises: ValueError as in `error_rates`, and for a threshold that is NaN.
    """
    return ErrorCounts.of(target, nontarget).at(threshold)


def sensitivity_at_specificity(
    target: npt.ArrayLike, nontarget: npt.ArrayLike, specificity: float = 0.983
) -> OperatingPoint:
    """The largest sensitivity among the thresholds whose specificity is at least what is asked.

    Nothing is interpolated: the point is one that the threshold returned reaches on these trials.

    Args:
        target, nontarget: as in `error_rates`.
        specificity: 0 to 1, the least share of nontargets to reject.
    Returns: `OperatingPoint` at the lowest such threshold (−inf where 0 is asked).
    Raises: ValueError as in `error_rates`, and for a specificity out of its range.
    """
    return ErrorCounts.of(target, nontarget).at_specificity(specificity)
