"""Confidence intervals of the figures, by drawing speakers anew.

Trials are not independent: a speaker takes part in hundreds of them, and a voice that is hard to recognise is hard in
all. So speakers are drawn, not trials: as many as there are, with replacement, a thousand times. In one draw a speaker
has been drawn c times (0, 1, 2 …), and

    a target trial counts c times: each copy of the speaker brings its trials, and two copies are two people
    a nontarget trial counts c_a · c_b times: every copy of one meets every copy of the other

The figure of the draw is that of the list in which each trial stands as often as it counts; the interval runs between
the percentiles of the draws, at a level of 95 % unless said otherwise. After Bolle, Ratha & Pankanti, "Error analysis
of pattern recognition systems: the subsets bootstrap", Computer Vision and Image Understanding, 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb.metrics.error_counts import ErrorCounts, FloatArray, IntArray, distinct_thresholds, finite
from speakerdb.metrics.identification import tpir_at_fpir, tpir_of

DRAWS = 1000
LEVEL = 0.95
MOST_WITHOUT = 0.05
"""A draw without any target or nontarget has no figure; where more of them lack one, neither has the interval."""

Watch = Callable[[Iterable[int]], Iterable[int]]
"""Wraps the draws to show how far they are."""


@dataclass(frozen=True)
class Interval:
    """The ends between which the middle draws lie, in the figure's own unit."""

    low: float
    high: float


def verification_intervals(
    target: npt.ArrayLike,
    nontarget: npt.ArrayLike,
    target_speakers: npt.ArrayLike,
    nontarget_speakers: npt.ArrayLike,
    figures: Mapping[str, Callable[[ErrorCounts], float]],
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
    watch: Watch = iter,
) -> dict[str, Interval | None]:
    """Intervals of figures of same- and different-speaker trials.

    Args:
        target: finite real [targets]. nontarget: finite real [nontargets]; scores, higher is more alike.
        target_speakers: whole [targets], whose trial it is. nontarget_speakers: whole [nontargets, 2].
        figures: name → the figure of a draw's counts, such as `ErrorCounts.roc_auc`.
        draws: at least 1. level: above 0 and below 1. seed: of the draws; the same seed gives the same intervals.
    Returns: an interval a figure; None for all where too few draws have both classes.
    Raises: ValueError for an empty class, a wrong shape, NaN, infinity, or a nontarget trial of one speaker.
    """
    _require_drawn(draws, level)
    same, different = finite(target, "target scores"), finite(nontarget, "nontarget scores")
    of_same, of_different = np.asarray(target_speakers), np.asarray(nontarget_speakers)
    if of_same.shape != same.shape or of_different.shape != (len(different), 2):
        raise ValueError("speakers are [targets] and [nontargets, 2]")
    if np.any(of_different[:, 0] == of_different[:, 1]):
        raise ValueError("a nontarget trial has one speaker on both sides")
    _, ids = np.unique(np.concatenate([of_same, of_different.ravel()]), return_inverse=True)
    of_same, of_different = ids[: len(same)], ids[len(same) :].reshape(-1, 2)
    thresholds = distinct_thresholds(same, different)
    targets, nontargets = _Ordered.of(same, thresholds), _Ordered.of(different, thresholds)
    of_same, of_different = of_same[targets.order], of_different[nontargets.order]

    found: dict[str, list[float]] = {name: [] for name in figures}
    for times in _speaker_draws(int(ids.max()) + 1, draws, seed, watch):
        counts = _counts(thresholds, targets, times[of_same], nontargets, times[of_different].prod(axis=1))
        if counts is not None:
            for name, figure in figures.items():
                found[name].append(figure(counts))
    return {name: _interval(values, draws, level) for name, values in found.items()}


def search_intervals(
    mated_scores: npt.ArrayLike,
    mated_ranks: npt.ArrayLike,
    nonmated_scores: npt.ArrayLike,
    mated_speakers: npt.ArrayLike,
    nonmated_speakers: npt.ArrayLike,
    fpir: float = 0.01,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
    watch: Watch = iter,
) -> dict[str, Interval | None]:
    """Intervals of `tpir_at_fpir` (under `tpir`) and `rank_one_rate` (under `rank_1`).

    Those who search are drawn; the gallery stays as it is, since its size is a setting and not a sample.

    Args: mated_scores, mated_ranks, nonmated_scores: as in `tpir_at_fpir`.
        mated_speakers: whole [mated]. nonmated_speakers: whole [nonmated]. The rest as in `verification_intervals`.
    Raises: ValueError as `tpir_at_fpir`.
    """
    _require_drawn(draws, level)
    tpir_at_fpir(mated_scores, mated_ranks, nonmated_scores, fpir)  # refuses what it refuses
    scores, strangers = finite(mated_scores, "mated scores"), finite(nonmated_scores, "nonmated scores")
    first = np.asarray(mated_ranks) == 1
    of_mated, of_strangers = np.asarray(mated_speakers), np.asarray(nonmated_speakers)
    if not (first.shape == of_mated.shape == scores.shape and of_strangers.shape == strangers.shape):
        raise ValueError("ranks and speakers are one a search")
    _, ids = np.unique(np.concatenate([of_mated, of_strangers]), return_inverse=True)
    thresholds = distinct_thresholds(scores, strangers)
    mated, nonmated = _Ordered.of(scores, thresholds), _Ordered.of(strangers, thresholds)
    of_mated, of_strangers = ids[: len(scores)][mated.order], ids[len(scores) :][nonmated.order]
    scores, first = scores[mated.order], first[mated.order]

    tpir, rank_1 = [], []
    for times in _speaker_draws(int(ids.max()) + 1, draws, seed, watch):
        weights = times[of_mated]
        counts = _counts(thresholds, mated, weights, nonmated, times[of_strangers])
        if counts is not None:
            tpir.append(tpir_of(counts, scores, first, fpir, weights).tpir)
            rank_1.append(int(first @ weights) / counts.targets)
    return {"tpir": _interval(tpir, draws, level), "rank_1": _interval(rank_1, draws, level)}


def _require_drawn(draws: int, level: float) -> None:
    if draws < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"{draws} draws at a level of {level}; at least one, and a level between 0 and 1")


@dataclass(frozen=True, eq=False)
class _Ordered:
    """One class of trials: the order of rising scores, and how many lie below each threshold."""

    order: npt.NDArray[np.intp]
    below: npt.NDArray[np.intp]

    @staticmethod
    def of(scores: FloatArray, thresholds: FloatArray) -> _Ordered:
        order = np.argsort(scores, kind="stable")
        return _Ordered(order, np.searchsorted(scores[order], thresholds, side="left"))

    def weight_below(self, weights: IntArray) -> tuple[IntArray, int]:
        """The weight below each threshold, and in all; weights are in the order of rising scores."""
        sums = np.concatenate([[0], np.cumsum(weights, dtype=np.int64)])
        return sums[self.below], int(sums[-1])


def _speaker_draws(speakers: int, draws: int, seed: int, watch: Watch) -> Iterator[IntArray]:
    """How often each speaker is drawn: int64 [speakers] a draw."""
    random = np.random.default_rng(seed)
    for _ in watch(range(draws)):
        yield np.bincount(random.integers(speakers, size=speakers), minlength=speakers).astype(np.int64)


def _counts(
    thresholds: FloatArray, targets: _Ordered, target_weights: IntArray, nontargets: _Ordered, weights: IntArray
) -> ErrorCounts | None:
    """The draw's counts; None where it has no targets or no nontargets."""
    false_non_matches, all_targets = targets.weight_below(target_weights)
    below, all_nontargets = nontargets.weight_below(weights)
    if not all_targets or not all_nontargets:
        return None
    return ErrorCounts(thresholds, all_nontargets - below, false_non_matches, all_targets, all_nontargets)


def _interval(values: list[float], draws: int, level: float) -> Interval | None:
    if len(values) < max(1.0, (1.0 - MOST_WITHOUT) * draws):
        return None
    low, high = np.quantile(values, [(1.0 - level) / 2, (1.0 + level) / 2])
    return Interval(float(low), float(high))
