"""Trials → the weights of the LLR map, by logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb.calibration.model import Calibration, LlrMap, terms
from speakerdb.calibration.tail import Tail

Floats = npt.NDArray[np.float64]

PRIOR = 0.1
"""The share of targets that the fit weighs for: costs at priors of 0.01 to 0.5 are what matters (docs/LOG.md)."""

RIDGE = 1e-5
"""Pull of the weights towards 0, in trials of one condition: it decides what the trials leave open, no more."""

STEPS, DONE = 100, 1e-9


@dataclass(frozen=True)
class Trials:
    """Trials of one condition, such as three recordings enrolled and a second of speech asked about.

    Attributes: scores, probe_s, enrolled_s: float64 [n]; target: bool [n], both kinds among them.
    """

    scores: Floats
    probe_s: Floats
    enrolled_s: Floats
    target: npt.NDArray[np.bool_]


def fit(conditions: Sequence[Trials], origin: str, search: Tail | None = None) -> Calibration:
    """The calibration under which these trials are likeliest; every condition counts the same.

    Args: origin: one line that says where the trials come from; search: the tail of searches, where it is not that of these trials.
    Raises: ValueError for a condition of one kind of trials alone, for too few strangers, or where a higher score
        does not make one speaker likelier.
    """
    rows = np.concatenate([terms(trials.scores, trials.probe_s, trials.enrolled_s) for trials in conditions])
    target = np.concatenate([trials.target for trials in conditions])
    weights = np.concatenate([_weights(trials.target) for trials in conditions])
    # fitted to posterior odds at PRIOR; the LLR is those odds less the prior's
    found = logistic(rows, target, weights, RIDGE)
    found[0] -= np.log(PRIOR / (1.0 - PRIOR))
    llr = LlrMap.parse(found)
    ratios = [llr(trials.scores, trials.probe_s, trials.enrolled_s) for trials in conditions]
    steps = np.linspace(0.0, 100.0, 51)
    quantiles = {
        name: np.percentile(
            np.concatenate([r[t.target == kind] for r, t in zip(ratios, conditions, strict=True)]), steps
        )
        for name, kind in (("target", True), ("nontarget", False))
    }
    tail = Tail.measured([trials.scores[~trials.target] for trials in conditions])
    shown = {name: tuple(values.tolist()) for name, values in quantiles.items()}
    return Calibration(llr, tail, search or tail, origin, shown)


def logistic(rows: Floats, target: npt.NDArray[np.bool_], weights: Floats, ridge: float) -> Floats:
    """Weighted logistic regression by Newton's method with halved steps (Hastie et al., "Elements", 4.4.1).

    Args: rows: [n, k], the first column 1; weights: positive [n]; ridge: on all but the first weight.
    Returns: [k], log-odds of a target = rows @ it.
    """
    penalty = np.full(rows.shape[1], ridge)
    penalty[0] = 0.0
    found, sign = np.zeros(rows.shape[1]), np.where(target, 1.0, -1.0)

    def loss(candidate: Floats) -> float:
        return float(weights @ np.logaddexp(0.0, -sign * (rows @ candidate)) + 0.5 * penalty @ candidate**2)

    for _ in range(STEPS):
        share = 1.0 / (1.0 + np.exp(-np.clip(rows @ found, -500, 500)))
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


def _weights(target: npt.NDArray[np.bool_]) -> Floats:
    """One condition's trials weigh 1 together, its targets PRIOR."""
    targets = int(target.sum())
    if not 0 < targets < len(target):
        raise ValueError("a calibration needs trials of one speaker and of two")
    return np.where(target, PRIOR / targets, (1.0 - PRIOR) / (len(target) - targets))
