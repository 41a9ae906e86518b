"""Two voices → distance, score, LLR, and on which side of the line they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from speakerdb.calibration import Basis, Calibration, Cohort, Norms, cosine_at, normalised, unnormalised
from speakerdb.decision.criterion import Criterion
from speakerdb.decision.threshold import Threshold
from speakerdb.embedding import Vector, Vectors, cosine_to_distance, distance_to_cosine, distances

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Side = Literal["near", "far", "inconclusive"]

PAIRS_AT_ONCE = 1 << 16
"""Whose vectors are in memory: a list may have millions of few recordings."""


@dataclass(frozen=True)
class Judgement:
    """One voice beside another.

    Attributes:
        distance: 0 to 2. score: normalised by the cohort (the cosine where there is none), the higher the more alike.
        llr: natural log-likelihood ratio of one speaker to two; None where nobody has calibrated the encoder.
        threshold: for these two voices; threshold_llr: the LLR there. side: of it.
    """

    distance: float
    score: float
    llr: float | None
    threshold: Threshold
    threshold_llr: float | None
    side: Side


@dataclass(frozen=True)
class Scores:
    """A probe beside voiceprints: enough to know who is likeliest, whatever is asked.

    Attributes: distances, values (the scores themselves): float64 [n]; heard, stored: norms of probe and voiceprints.
    """

    distances: Floats
    values: Floats
    heard: Norms
    stored: Norms

    def order(self) -> list[int]:
        """Rows from the likeliest to the least likely: by score, and by distance where scores are equal."""
        rows: list[int] = np.lexsort((self.distances, -self.values)).tolist()
        return rows

    def of(self, rows: list[int]) -> Scores:
        """These rows alone, in this order."""
        stored = Norms(self.stored.mean[rows], self.stored.spread[rows])
        return Scores(self.distances[rows], self.values[rows], self.heard, stored)


@dataclass(frozen=True)
class Judge:
    """What scores are made by, and what they mean.

    Attributes: cohort: the encoder's. calibration: the gallery's own, else the encoder's.
    """

    cohort: Cohort | None
    calibration: Calibration | None

    def scores(self, probe: Vector, voiceprints: Vectors) -> Scores:
        """A probe [dimension] beside each of the voiceprints [n, dimension]."""
        mean, spread = self.norms(np.concatenate([probe[None], voiceprints]))
        heard, stored = Norms(mean[:1], spread[:1]), Norms(mean[1:], spread[1:])
        apart = distances(probe, voiceprints)
        return Scores(apart, normalised(distance_to_cosine(apart), heard, stored), heard, stored)

    def judge(self, scores: Scores, basis: Basis, line: Criterion) -> list[Judgement]:
        """Where each row lies beside the line, and its LLR. Args: basis: of each row."""
        limits = self._limits(scores, line)
        at_limits = normalised(distance_to_cosine(limits), scores.heard, scores.stored)
        ratios, limit_ratios = self._ratios(np.array([scores.values, at_limits]), basis)
        judgements = []
        for i, (apart, score) in enumerate(zip(scores.distances.tolist(), scores.values.tolist(), strict=True)):
            threshold = Threshold(limits[i], line.origin, line.fmr, line.fpir)
            side = _side(apart, threshold, line.margin)
            judgements.append(Judgement(apart, score, ratios[i], threshold, limit_ratios[i], side))
        return judgements

    def scores_of_pairs(self, voices: Vectors, of_voice: Rows, others: Vectors, of_other: Rows) -> Floats:
        """Of pairs, given by rows of both: float64 [pairs]. A voice is normalised once, in however many pairs it is."""
        first, second = self.norms(voices), self.norms(others)
        cosines = np.empty(len(of_voice))
        for start in range(0, len(of_voice), PAIRS_AT_ONCE):
            rows = slice(start, start + PAIRS_AT_ONCE)
            left, right = voices[of_voice[rows]].astype(np.float64), others[of_other[rows]].astype(np.float64)
            cosines[rows] = np.einsum("nd,nd->n", left, right)
        by_first = Norms(first.mean[of_voice], first.spread[of_voice])
        return normalised(cosines, by_first, Norms(second.mean[of_other], second.spread[of_other]))

    def beside(self, voices: Vectors, others: Vectors, basis: Basis) -> tuple[list[float], list[float]]:
        """Pairs of voices, row by row, without a line: distances and LLRs.

        Raises: ValueError where nobody has calibrated the encoder.
        """
        if self.calibration is None:
            raise ValueError("there is no calibration")
        cosines = np.einsum("nd,nd->n", voices.astype(np.float64), others.astype(np.float64))
        scores = normalised(cosines, self.norms(voices), self.norms(others))
        apart: list[float] = cosine_to_distance(cosines).tolist()
        ratios: list[float] = self.calibration.llr(scores, basis).tolist()
        return apart, ratios

    def _ratios(self, scores: Floats, basis: Basis) -> list[list[float | None]]:
        """Of scores [sets, n]."""
        if self.calibration is None:
            return [[None] * scores.shape[1] for _ in scores]
        found: list[list[float | None]] = self.calibration.llr(scores, basis).tolist()
        return found

    def norms(self, voices: Vectors) -> Norms:
        """How near voices [n, dimension] are to strangers."""
        return self.cohort.norms(voices) if self.cohort else unnormalised(len(voices))

    def _limits(self, scores: Scores, line: Criterion) -> list[float]:
        if line.score is None:
            return [float(line.distance or 0.0)] * len(scores.values)
        limits: list[float] = cosine_to_distance(cosine_at(line.score, scores.heard, scores.stored)).tolist()
        return limits


def _side(distance: float, threshold: Threshold, margin: float) -> Side:
    if margin and abs(distance - threshold.distance) < margin:
        return "inconclusive"
    return "near" if threshold.accepts(distance) else "far"
