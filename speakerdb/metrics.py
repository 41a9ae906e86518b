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

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ErrorRates:
    """Both error rates at every threshold that makes a difference.

    Attributes: thresholds: float64 [points], rising from −inf to +inf, each distinct score between.
        fmr: float64 [points], falling from 1 to 0; fnmr: float64 [points], rising from 0 to 1.
    """

    thresholds: FloatArray
    fmr: FloatArray
    fnmr: FloatArray


@dataclass(frozen=True)
class EqualErrorRate:
    """The rate (0 to 1) at which FMR and FNMR meet, and a finite threshold that comes nearest to it."""

    rate: float
    threshold: float


@dataclass(frozen=True)
class MinDcf:
    """The least detection cost (0 to 1, normalised) that any threshold reaches, and that threshold."""

    cost: float
    threshold: float


@dataclass(frozen=True)
class OperatingPoint:
    """What one threshold does: the share of targets accepted and of nontargets rejected (both 0 to 1)."""

    threshold: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class TpirAtFpir:
    """The share of mated searches that find their speaker (0 to 1), at a threshold set by strangers.

    `fpir_observed` is the share of strangers that the threshold lets through: at most what was asked.
    """

    tpir: float
    threshold: float
    fpir_observed: float


def error_rates(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> ErrorRates:
    """FMR and FNMR as functions of the threshold: the points of a DET or ROC curve.

    Args:
        target: finite real [targets], scores of same-speaker trials.
        nontarget: finite real [nontargets], scores of different-speaker trials.
    Returns: `ErrorRates`, one point a distinct score and the two ends. A threshold between two scores does
        what the upper one does, and the lowest score what −inf does.
    Raises: ValueError for an empty class, a wrong shape, NaN or infinity.
    """
    targets, nontargets = _sorted_scores(target, "target"), _sorted_scores(nontarget, "nontarget")
    thresholds, false_matches, false_non_matches = _count_errors(targets, nontargets)
    return ErrorRates(thresholds, false_matches / len(nontargets), false_non_matches / len(targets))


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
    targets, nontargets = _sorted_scores(target, "target"), _sorted_scores(nontarget, "nontarget")
    thresholds, false_matches, false_non_matches = _count_errors(targets, nontargets)
    # FNMR − FMR times both counts: whole numbers, so equality is exact.
    gaps = false_non_matches * len(nontargets) - false_matches * len(targets)
    upper = int(np.argmax(gaps >= 0))
    lower = upper - 1
    share = -int(gaps[lower]) / int(gaps[upper] - gaps[lower])
    rate = (false_matches[lower] + share * (false_matches[upper] - false_matches[lower])) / len(nontargets)
    nearest = lower if -gaps[lower] <= gaps[upper] else upper
    return EqualErrorRate(rate=float(rate), threshold=float(thresholds[nearest]))


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
    if not 0.0 < p_target < 1.0:
        raise ValueError(f"p_target is {p_target}, not above 0 and below 1")
    for name, cost in (("cost_miss", cost_miss), ("cost_false_alarm", cost_false_alarm)):
        if not 0.0 < cost < np.inf:
            raise ValueError(f"{name} is {cost}, not a number above 0")
    rates = error_rates(target, nontarget)
    miss, false_alarm = cost_miss * p_target, cost_false_alarm * (1.0 - p_target)
    costs = (miss * rates.fnmr + false_alarm * rates.fmr) / min(miss, false_alarm)
    best = len(costs) - 1 - int(np.argmin(costs[::-1]))
    return MinDcf(cost=float(costs[best]), threshold=float(rates.thresholds[best]))


def roc_auc(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> float:
    """The chance that a random target scores above a random nontarget, a tie counting half.

    The area under the ROC curve, as the Mann–Whitney U statistic ÷ (targets · nontargets); O(n log n).

    Args: target, nontarget: as in `error_rates`.
    Returns: 0 to 1; 0.5 where all scores are tied.
    Raises: ValueError as in `error_rates`.
    """
    targets, nontargets = _sorted_scores(target, "target"), _sorted_scores(nontarget, "nontarget")
    below = np.searchsorted(nontargets, targets, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(nontargets, targets, side="right").sum(dtype=np.int64)
    return int(below + not_above) / (2 * len(targets) * len(nontargets))


def sensitivity_specificity(target: npt.ArrayLike, nontarget: npt.ArrayLike, threshold: float) -> OperatingPoint:
    """The share of targets accepted (score ≥ threshold) and of nontargets rejected (score < threshold).

    Args:
        target, nontarget: as in `error_rates`.
        threshold: a score; −inf accepts all, +inf rejects all.
    Raises: ValueError as in `error_rates`, and for a threshold that is NaN.
    """
    if np.isnan(threshold):
        raise ValueError("the threshold is not a number")
    targets, nontargets = _sorted_scores(target, "target"), _sorted_scores(nontarget, "nontarget")
    accepted = len(targets) - int(np.searchsorted(targets, threshold, side="left"))
    rejected = int(np.searchsorted(nontargets, threshold, side="left"))
    return OperatingPoint(float(threshold), accepted / len(targets), rejected / len(nontargets))


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
    if not 0.0 <= specificity <= 1.0:
        raise ValueError(f"specificity is {specificity}, not within 0 to 1")
    targets, nontargets = _sorted_scores(target, "target"), _sorted_scores(nontarget, "nontarget")
    thresholds, false_matches, _ = _count_errors(targets, nontargets)
    # A quotient of counts is the same float as the decimal asked for; 1 − FMR is not always.
    rejected = (len(nontargets) - false_matches) / len(nontargets)
    lowest = int(np.argmax(rejected >= specificity))
    return sensitivity_specificity(targets, nontargets, float(thresholds[lowest]))


def rank_one_rate(mated_ranks: npt.ArrayLike) -> float:
    """The share of mated searches whose true speaker comes first, whatever the score.

    Args: mated_ranks: whole [searches], the true speaker's rank, 1 the nearest. A speaker tied with another
        should carry the worse rank: only one of the two can be returned.
    Returns: 0 to 1.
    Raises: ValueError without searches, for a wrong shape, or for ranks that are not whole numbers from 1.
    """
    return float(np.mean(_ranks(mated_ranks) == 1))


def tpir_at_fpir(
    mated_scores: npt.ArrayLike,
    mated_ranks: npt.ArrayLike,
    nonmated_scores: npt.ArrayLike,
    fpir: float = 0.01,
) -> TpirAtFpir:
    """Open-set identification: how many enrolled people are found while few strangers are taken for one.

    A mated search hits when the true speaker ranks first and scores ≥ threshold. A search by a stranger errs
    when its top score is ≥ threshold. The threshold is the lowest with FPIR at most `fpir`: with fewer than
    1 ÷ fpir strangers it lies above all of them, and says little. After ISO/IEC 19795-1 and NIST FRTE 1:N.

    Args:
        mated_scores: finite real [mated], the true speaker's score in each search.
        mated_ranks: whole [mated], the true speaker's rank, 1 the nearest, as in `rank_one_rate`.
        nonmated_scores: finite real [nonmated], the gallery's top score in each search by a stranger.
        fpir: 0 to 1, the largest share of strangers to let through.
    Returns: `TpirAtFpir`; the threshold is an observed score, +inf where none will do, −inf where any will.
    Raises: ValueError for an empty class, a wrong shape, unequal lengths, NaN, infinity, ranks that are not
        whole numbers from 1, or an `fpir` out of its range.
    """
    if not 0.0 <= fpir <= 1.0:
        raise ValueError(f"fpir is {fpir}, not within 0 to 1")
    scores, ranks = _finite(mated_scores, "mated scores"), _ranks(mated_ranks)
    if len(scores) != len(ranks):
        raise ValueError(f"{len(scores)} mated scores but {len(ranks)} ranks")
    strangers = _sorted_scores(nonmated_scores, "nonmated")
    thresholds, false_positives, _ = _count_errors(np.sort(scores), strangers)
    shares = false_positives / len(strangers)
    lowest = int(np.argmax(shares <= fpir))
    hits = (ranks == 1) & (scores >= thresholds[lowest])
    return TpirAtFpir(float(np.mean(hits)), float(thresholds[lowest]), float(shares[lowest]))


def _count_errors(targets: FloatArray, nontargets: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Sorted scores → rising thresholds, and the false matches and false non-matches at each."""
    distinct = np.unique(np.concatenate([targets, nontargets]))
    thresholds = np.concatenate([[-np.inf], distinct, [np.inf]])
    false_matches = len(nontargets) - np.searchsorted(nontargets, thresholds, side="left").astype(np.int64)
    false_non_matches = np.searchsorted(targets, thresholds, side="left").astype(np.int64)
    return thresholds, false_matches, false_non_matches


def _sorted_scores(scores: npt.ArrayLike, name: str) -> FloatArray:
    return np.sort(_finite(scores, f"{name} scores"))


def _ranks(ranks: npt.ArrayLike) -> FloatArray:
    """Ranks as [n], n ≥ 1, all whole and at least 1; ValueError otherwise."""
    values = _finite(ranks, "ranks")
    if np.any(values < 1) or np.any(values != np.floor(values)):
        raise ValueError("ranks are whole numbers from 1")
    return values


def _finite(numbers: npt.ArrayLike, name: str) -> FloatArray:
    """Numbers as float64 [n], n ≥ 1, all finite; ValueError otherwise."""
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} have shape {values.shape}, not one dimension")
    if len(values) == 0:
        raise ValueError(f"no {name}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} hold NaN or infinity")
    return values
