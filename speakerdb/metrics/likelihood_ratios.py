"""How far log-likelihood ratios can be taken at their word.

An LLR is ln(P(score | same speaker) ÷ P(score | two speakers)). Whoever believes it decides at the least cost by
accepting where LLR ≥ ln(C_fa·(1 − P) ÷ (C_miss·P)), whatever the prior P of a target is.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from speakerdb.metrics.error_counts import ErrorCounts, error_costs, finite

LN2 = math.log(2.0)


def cllr(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> float:
    """The cost of log-likelihood ratios in bits, over all priors: ½·(mean log₂(1 + e^−t) + mean log₂(1 + e^n)).

    After Brümmer and du Preez, "Application-independent evaluation of speaker detection" (2006). 0 for a perfect
    system, 1 for one that always says 0; above 1 it misleads.

    Args:
        target: finite real [targets], LLRs (natural logarithm) of same-speaker trials.
        nontarget: finite real [nontargets], of different-speaker trials.
    Raises: ValueError for an empty class, a wrong shape, NaN or infinity.
    """
    missed = np.logaddexp(0.0, -finite(target, "target LLRs")).mean()
    matched = np.logaddexp(0.0, finite(nontarget, "nontarget LLRs")).mean()
    return float(missed + matched) / (2.0 * LN2)


def min_cllr(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> float:
    """The `cllr` left after the best map of these very scores that keeps their order: what no calibration removes.

    Pool adjacent violators: neighbouring scores are pooled until the share of targets rises from pool to pool. A
    pool's likelihood ratio is its share of all targets ÷ its share of all nontargets.

    Args: target, nontarget: scores of any scale, the higher the more alike; else as `cllr`.
    Raises: as `cllr`.
    """
    counts = ErrorCounts.of(target, nontarget)
    targets = np.diff(counts.false_non_matches)
    nontargets = -np.diff(counts.false_matches)
    pools: list[tuple[int, int]] = []
    for t, n in zip(targets.tolist(), nontargets.tolist(), strict=True):
        while pools and pools[-1][0] * (t + n) >= t * sum(pools[-1]):
            before = pools.pop()
            t, n = t + before[0], n + before[1]
        pools.append((t, n))
    cost = 0.0
    for t, n in pools:
        of_targets, of_nontargets = t / counts.targets, n / counts.nontargets
        if t and n:
            cost += of_targets * math.log2(1.0 + of_nontargets / of_targets)
            cost += of_nontargets * math.log2(1.0 + of_targets / of_nontargets)
    return cost / 2.0


def act_dcf(
    target: npt.ArrayLike,
    nontarget: npt.ArrayLike,
    p_target: float = 0.05,
    cost_miss: float = 1.0,
    cost_false_alarm: float = 1.0,
) -> float:
    """The detection cost of deciding at the threshold that the LLRs themselves name, normalised as in `min_dcf`.

    Args: target, nontarget: LLRs, as in `cllr`; the others as in `min_dcf`. It may exceed 1.
    Raises: ValueError as `min_dcf`.
    """
    miss, false_alarm = error_costs(p_target, cost_miss, cost_false_alarm)
    threshold = math.log(false_alarm / miss)
    fnmr = float(np.mean(finite(target, "target LLRs") < threshold))
    fmr = float(np.mean(finite(nontarget, "nontarget LLRs") >= threshold))
    return (miss * fnmr + false_alarm * fmr) / min(miss, false_alarm)
