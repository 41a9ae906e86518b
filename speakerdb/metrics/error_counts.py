"""How many trials err at every threshold, and every figure that follows from these counts.

Counts are whole numbers, so that equality is exact. Where trials have weights (whole numbers too, as a bootstrap
gives them), a count is the sum of weights: the same as listing a trial that many times.
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


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """Errors at every threshold that makes a difference. `speakerdb.metrics.verification` explains each figure.

    Attributes:
        thresholds: float64 [points], rising from −inf to +inf, each distinct score between.
        false_matches: int64 [points], nontargets at or above the threshold.
        false_non_matches: int64 [points], targets below it.
        targets, nontargets: how many there are of each, at least one.
    """

    thresholds: FloatArray
    false_matches: IntArray
    false_non_matches: IntArray
    targets: int
    nontargets: int

    @staticmethod
    def of(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> ErrorCounts:
        """Count. Raises: ValueError for an empty class, a wrong shape, NaN or infinity."""
        targets, nontargets = sorted_scores(target, "target"), sorted_scores(nontarget, "nontarget")
        thresholds = distinct_thresholds(targets, nontargets)
        false_matches = len(nontargets) - np.searchsorted(nontargets, thresholds, side="left").astype(np.int64)
        false_non_matches = np.searchsorted(targets, thresholds, side="left").astype(np.int64)
        return ErrorCounts(thresholds, false_matches, false_non_matches, len(targets), len(nontargets))

    def rates(self) -> ErrorRates:
        """FMR and FNMR at every threshold."""
        return ErrorRates(self.thresholds, self.false_matches / self.nontargets, self.false_non_matches / self.targets)

    def equal_error_rate(self) -> EqualErrorRate:
        """Where both rates meet."""
        # FNMR − FMR times both counts: whole numbers, so equality is exact.
        gaps = self.false_non_matches * self.nontargets - self.false_matches * self.targets
        upper = int(np.argmax(gaps >= 0))
        lower = upper - 1
        share = -int(gaps[lower]) / int(gaps[upper] - gaps[lower])
        at_lower, at_upper = int(self.false_matches[lower]), int(self.false_matches[upper])
        rate = (at_lower + share * (at_upper - at_lower)) / self.nontargets
        nearest = lower if -gaps[lower] <= gaps[upper] else upper
        return EqualErrorRate(rate=float(rate), threshold=float(self.thresholds[nearest]))

    def min_dcf(self, p_target: float, cost_miss: float = 1.0, cost_false_alarm: float = 1.0) -> MinDcf:
        """The least detection cost. Raises: ValueError for a prior or cost out of its range."""
        miss, false_alarm = error_costs(p_target, cost_miss, cost_false_alarm)
        rates = self.rates()
        costs = (miss * rates.fnmr + false_alarm * rates.fmr) / min(miss, false_alarm)
        best = len(costs) - 1 - int(np.argmin(costs[::-1]))
        return MinDcf(cost=float(costs[best]), threshold=float(self.thresholds[best]))

    def roc_auc(self) -> float:
        """The area under the ROC curve."""
        here = np.diff(self.false_non_matches)  # targets whose score is the lower end of each step
        beaten_twice = 2 * self.nontargets - self.false_matches[:-1] - self.false_matches[1:]
        return int(here @ beaten_twice) / (2 * self.targets * self.nontargets)

    def at(self, threshold: float) -> OperatingPoint:
        """Sensitivity and specificity at a threshold. Raises: ValueError for one that is NaN."""
        if np.isnan(threshold):
            raise ValueError("the threshold is not a number")
        return self._point(int(np.searchsorted(self.thresholds, threshold, side="left")), float(threshold))

    def at_specificity(self, specificity: float) -> OperatingPoint:
        """The lowest threshold with that specificity. Raises: ValueError for one out of 0 to 1."""
        if not 0.0 <= specificity <= 1.0:
            raise ValueError(f"specificity is {specificity}, not within 0 to 1")
        # A quotient of counts is the same float as the decimal asked for; 1 − FMR is not always.
        rejected = (self.nontargets - self.false_matches) / self.nontargets
        lowest = int(np.argmax(rejected >= specificity))
        return self._point(lowest, float(self.thresholds[lowest]))

    def _point(self, row: int, threshold: float) -> OperatingPoint:
        sensitivity = (self.targets - int(self.false_non_matches[row])) / self.targets
        specificity = (self.nontargets - int(self.false_matches[row])) / self.nontargets
        return OperatingPoint(threshold, sensitivity, specificity)


def error_costs(p_target: float, cost_miss: float, cost_false_alarm: float) -> tuple[float, float]:
    """What FNMR and FMR cost: C_miss·P and C_fa·(1 − P). Raises: ValueError for a prior or cost out of its range."""
    if not 0.0 < p_target < 1.0:
        raise ValueError(f"p_target is {p_target}, not above 0 and below 1")
    for name, cost in (("cost_miss", cost_miss), ("cost_false_alarm", cost_false_alarm)):
        if not 0.0 < cost < np.inf:
            raise ValueError(f"{name} is {cost}, not a number above 0")
    return cost_miss * p_target, cost_false_alarm * (1.0 - p_target)


def distinct_thresholds(target: FloatArray, nontarget: FloatArray) -> FloatArray:
    """Each distinct score, rising, between −inf and +inf."""
    return np.concatenate([[-np.inf], np.unique(np.concatenate([target, nontarget])), [np.inf]])


def sorted_scores(scores: npt.ArrayLike, name: str) -> FloatArray:
    """Scores as float64 [n], n ≥ 1, rising; ValueError as `finite`."""
    return np.sort(finite(scores, f"{name} scores"))


def finite(numbers: npt.ArrayLike, name: str) -> FloatArray:
    """Numbers as float64 [n], n ≥ 1, all finite; ValueError otherwise."""
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} have shape {values.shape}, not one dimension")
    if len(values) == 0:
        raise ValueError(f"no {name}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} hold NaN or infinity")
    return values
