"""One-to-many: how often a search of a gallery finds the right speaker, and a stranger somebody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb.metrics.error_counts import ErrorCounts, FloatArray, finite


@dataclass(frozen=True)
class TpirAtFpir:
    """The share of mated searches that find their speaker (0 to 1), at a threshold set by strangers.

    `fpir_observed` is the share of strangers that the threshold lets through: at most what was asked.
    """

    tpir: float
    threshold: float
    fpir_observed: float


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
    scores, ranks = finite(mated_scores, "mated scores"), _ranks(mated_ranks)
    if len(scores) != len(ranks):
        raise ValueError(f"{len(scores)} mated scores but {len(ranks)} ranks")
    return tpir_of(ErrorCounts.of(scores, finite(nonmated_scores, "nonmated scores")), scores, ranks == 1, fpir)


def tpir_of(
    counts: ErrorCounts,
    scores: FloatArray,
    first: npt.NDArray[np.bool_],
    fpir: float,
    weights: npt.NDArray[np.int64] | None = None,
) -> TpirAtFpir:
    """`tpir_at_fpir` from counts with the mated searches as targets and the strangers' as nontargets.

    Args: scores: float64 [mated]. first: bool [mated], who ranks first. weights: whole [mated], 1 each if left out.
    """
    shares = counts.false_matches / counts.nontargets
    lowest = int(np.argmax(shares <= fpir))
    hits = first & (scores >= counts.thresholds[lowest])
    found = int(np.count_nonzero(hits) if weights is None else hits @ weights)
    return TpirAtFpir(found / counts.targets, float(counts.thresholds[lowest]), float(shares[lowest]))


def _ranks(ranks: npt.ArrayLike) -> FloatArray:
    """Ranks as [n], n ≥ 1, all whole and at least 1; ValueError otherwise."""
    values = finite(ranks, "ranks")
    if np.any(values < 1) or np.any(values != np.floor(values)):
        raise ValueError("ranks are whole numbers from 1")
    return values
