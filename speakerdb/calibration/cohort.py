"""Score normalisation: how near two voices are, beside how near either is to strangers.

Adaptive symmetric normalisation (s-norm) after Matějka et al., "Analysis of score normalization in multilingual
speaker recognition" (Interspeech 2017): a cosine, less the mean and over the spread of the cosines to the nearest
voices of a cohort, from both sides, and the mean of both. A hoarse line or a common voice raises all its cosines; its
score it does not raise.

An encoder whose vectors say by themselves how near a voice is to all others needs less of it: then a share of the mean
is taken off, and divided by a power of the spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors
from speakerdb.product import product

Floats = npt.NDArray[np.float64]

LEAST_SPREAD = 1e-3
"""Cosines to the cohort that are all alike have no spread to divide by."""

USUAL_SPREAD = 0.06
"""Of the cosines to a cohort: by less than the whole spread scores stay about as large as by all of it."""

AT_ONCE = 256
"""Voices whose cosines to the cohort are in memory together: a recording of hours has thousands."""


class Norms(NamedTuple):
    """How near voices are to their nearest strangers: what is taken off a cosine, and what it is divided by.

    The mean and the spread of the cosines to them, float64 [n] each, or as much of either as `Cohort` says.
    """

    mean: Floats
    spread: Floats


@dataclass(frozen=True)
class Cohort:
    """Voiceprints of people who are in no gallery.

    Attributes:
        vectors: float32 [speakers, dimension], unit length. nearest: how many of them a voice is held to.
        mean_share: of the mean of its cosines to these, that is taken off. spread_share: the power of their spread
            that the rest is divided by. 0 to 1 each; both 1 for an s-norm as published.
    """

    vectors: Vectors
    nearest: int
    mean_share: float = 1.0
    spread_share: float = 1.0

    @cached_property
    def _columns(self) -> Vectors:
        return np.ascontiguousarray(self.vectors.T, np.float32)

    def norms(self, voices: Vectors) -> Norms:
        """Of unit vectors [n, dimension], each by itself."""
        found = Norms(np.empty(len(voices)), np.empty(len(voices)))
        for start in range(0, len(voices), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            cosines = product(np.asarray(voices[rows], np.float32), self._columns)
            cosines.partition(-self.nearest, axis=1)
            nearest = cosines[:, -self.nearest :]
            found.mean[rows] = self.mean_share * nearest.mean(axis=1, dtype=np.float64)
            spread = np.maximum(nearest.std(axis=1, dtype=np.float64), LEAST_SPREAD)
            found.spread[rows] = spread**self.spread_share * USUAL_SPREAD ** (1.0 - self.spread_share)
        return found


def unnormalised(count: int) -> Norms:
    """Where an encoder has no cohort: the cosine itself is the score."""
    return Norms(np.zeros(count), np.ones(count))


def normalised(cosines: npt.ArrayLike, first: Norms, second: Norms) -> Floats:
    """Cosines and the norms of both sides, broadcast together → scores, about −6 to 12 with a cohort."""
    cosines = np.asarray(cosines, np.float64)
    score: Floats = ((cosines - first.mean) / first.spread + (cosines - second.mean) / second.spread) / 2.0
    return score


def cosine_at(score: npt.ArrayLike, first: Norms, second: Norms) -> Floats:
    """The cosine that `normalised` gives this score; beyond ±1 where no two vectors reach it."""
    weight = 1.0 / first.spread + 1.0 / second.spread
    offset = first.mean / first.spread + second.mean / second.spread
    cosine: Floats = (2.0 * np.asarray(score, np.float64) + offset) / weight
    return cosine
