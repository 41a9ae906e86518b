"""Trials → the weights of the LLR map, by logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb.calibration.model import Basis, Calibration, LlrMap, terms
from speakerdb.calibration.tail import Tail

Floats = npt.NDArray[np.float64]

PRIOR = 0.1
"""The share of targets that the fit weighs for: costs at priors of 0.01 to 0.5 are what matters (docs/LOG.md)."""

RIDGE = 1e-5
"""Pull of the weights towards 0, in trials of one condition: it decides what the trials leave open, no more."""

PRIOR_LOG_ODDS = float(np.log(PRIOR / (1.0 - PRIOR)))

DOUBT = (1.0, 10.0)
"""Pull of a gallery's shift and stretch towards none, in trials: where its trials are parted without an error, as ten
clean recordings are, they say nothing about a stretch."""

STEPS, DONE = 100, 1e-9


@dataclass(frozen=True)
class Trials:
    """Trials of one condition, such as three recordings enrolled and a second of speech asked about.

    Attributes: scores: float64 [n]; basis: arrays of [n]; target: bool [n], both kinds among them. weight: of the
        condition among others.
    """

    scores: Floats
    basis: Basis
    target: npt.NDArray[np.bool_]
    weight: float = 1.0


def fit(
    conditions: Sequence[Trials], origin: str, search: Tail | None = None, search_of_words: Tail | None = None
) -> Calibration:
    """The calibration under which these trials are likeliest; every condition counts as its weight says.

    Args: origin: one line that says where the trials come from; search, search_of_words: the tails of
        searches, where they are not that of these trials.
    Raises: ValueError for a condition of one kind of trials alone, for too few strangers, or where a higher score
        does not make one speaker likelier.
    """
    rows = np.concatenate([terms(trials.scores, trials.basis) for trials in conditions])
    target = np.concatenate([trials.target for trials in conditions])
    weights = np.concatenate([trials.weight * _weights(trials.target) for trials in conditions])
    # fitted to posterior odds at PRIOR; the LLR is those odds less the prior's
    found = logistic(rows, target, weights, RIDGE)
    found[0] -= PRIOR_LOG_ODDS
    llr = LlrMap.parse(found)
    tail = Tail.measured([trials.scores[~trials.target] for trials in conditions])
    return Calibration(llr, tail, search or tail, origin, _quantiles(llr, conditions), search_of_words)


def refit(base: Calibration, own: Trials, said: Trials | None, origin: str) -> Calibration:
    """The encoder's calibration, moved to what few trials of a gallery show.

    Its LLRs are stretched and shifted, less the fewer trials there are (`DOUBT`); its tails give way to those of the
    gallery's own trials as far as these go, and follow shifted beyond.
    Args: said: of answers that users judged. They say nothing about tails: who asks, and about whom, is not drawn
        by chance.
    Raises: ValueError as `fit`.
    """
    conditions = [own] if said is None else [own, said]
    ratios = np.concatenate([base.llr(trials.scores, trials.basis) for trials in conditions])
    target = np.concatenate([trials.target for trials in conditions])
    weights = np.concatenate([_weights(trials.target) * _worth(trials.target) for trials in conditions])
    rows = np.stack([np.ones(len(ratios)), ratios], axis=1)
    shift, stretch = logistic(rows, target, weights, np.array(DOUBT), ratios + PRIOR_LOG_ODDS)
    found = np.array(base.llr.weights) * (1.0 + stretch)
    found[0] += shift
    llr = LlrMap.parse(found)
    measured = Tail.measured([own.scores[~own.target]])
    tail, search = (measured.followed_by(known) for known in (base.tail, base.search))
    words = measured.followed_by(base.search_of_words) if base.search_of_words else None
    return Calibration(llr, tail, search, origin, _quantiles(llr, conditions), words)


def logistic(
    rows: Floats,
    target: npt.NDArray[np.bool_],
    weights: Floats,
    ridge: float | Floats,
    offset: float | Floats = 0.0,
) -> Floats:
    """Weighted logistic regression by Newton's method with halved steps (Hastie et al., "Elements", 4.4.1).

    Args: rows: [n, k], the first column 1; weights: positive [n]; ridge: on all but the first weight, or [k];
        offset: added to the log-odds.
    Returns: [k], log-odds of a target = rows @ it + offset.
    """
    penalty = np.full(rows.shape[1], ridge)
    if np.ndim(ridge) == 0:
        penalty[0] = 0.0
    found, sign = np.zeros(rows.shape[1]), np.where(target, 1.0, -1.0)

    def loss(candidate: Floats) -> float:
        log_odds = rows @ candidate + offset
        return float(weights @ np.logaddexp(0.0, -sign * log_odds) + 0.5 * penalty @ candidate**2)

    for _ in range(STEPS):
        share = 1.0 / (1.0 + np.exp(-np.clip(rows @ found + offset, -500, 500)))
        gradient = rows.T @ (weights * (share - target)) + penalty * found
        curvature = (rows * (weights * share * (1.0 - share))[:, None]).T @ rows + np.diag(penalty + 1e-12)
        step = np.linalg.solve(curvature, gradient)
        size, before = 1.0, loss(found)
        while loss(found - size * step) > before and size > 1e-6:
            size /= 2.0
        found = found - size * step
        if np.max(np.abs(size * step)) < DONE:
            break
    return found


def _quantiles(llr: LlrMap, conditions: Sequence[Trials]) -> dict[str, tuple[float, ...]]:
    """LLRs at 0, 2, 4, …, 100 % of the trials of either kind."""
    ratios = [llr(trials.scores, trials.basis) for trials in conditions]
    found = {}
    for name, kind in (("target", True), ("nontarget", False)):
        own = np.concatenate([r[t.target == kind] for r, t in zip(ratios, conditions, strict=True)])
        found[name] = tuple(np.percentile(own, np.linspace(0.0, 100.0, 51)).tolist())
    return found


def _weights(target: npt.NDArray[np.bool_]) -> Floats:
    """One condition's trials weigh 1 together, its targets PRIOR."""
    targets = int(target.sum())
    if not 0 < targets < len(target):
        raise ValueError("a calibration needs trials of one speaker and of two")
    return np.where(target, PRIOR / targets, (1.0 - PRIOR) / (len(target) - targets))


def _worth(target: npt.NDArray[np.bool_]) -> float:
    """What one condition's trials weigh together so that none weighs more than 1, however many of the other kind."""
    targets = int(target.sum())
    return min(targets / PRIOR, (len(target) - targets) / (1.0 - PRIOR))
