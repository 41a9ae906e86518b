"""How often a stranger's score reaches a value: false match rate ↔ score."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb import settings

RATES = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
"""Rates at which a tail is measured, as far as there are strangers enough."""

LEAST_RATE = 1e-300
"""A smaller rate counts as this: the least that can be asked for is 0 when it is divided among a gallery's speakers."""


MODERATE = 1e6
"""Beyond it no score, LLR or weight lies: what is computed of such numbers stays finite."""


ROUNDING = 1e-9
"""What a number of trials times, or divided by, a rate of decimal digits may be wrong by."""


def shown_by(trials: int, rate: float) -> bool:
    """Whether so many trials of strangers show so rare a rate: by the rule of 30."""
    return rate * trials >= settings.LEAST_ERRORS - ROUNDING


def moderate(raw: Any) -> npt.NDArray[np.float64]:
    """Numbers that something can be computed of. Raises: ValueError or TypeError for what is not, or is no number."""
    found = np.array(raw, np.float64)
    if not np.all(np.abs(found) <= MODERATE):  # nor for what is none, NaN
        raise ValueError(f"numbers between -{MODERATE:g} and {MODERATE:g} are needed")
    return found


@dataclass(frozen=True)
class Tail:
    """Scores that strangers reach at falling rates; straight lines of score over ln(rate) between and beyond.

    Attributes: scores: rising; rates: falling, below 1; both of two points or more.
    """

    scores: tuple[float, ...]
    rates: tuple[float, ...]

    def score_at(self, rate: float) -> float:
        """The score that strangers reach at this rate, 0 < rate < 1."""
        return _line(-math.log(max(rate, LEAST_RATE)), self._depths, self.scores)

    @cached_property
    def _depths(self) -> tuple[float, ...]:
        """−ln(rate): rising, as the scores."""
        return tuple(-math.log(rate) for rate in self.rates)

    def to_json(self) -> dict[str, Any]:
        """`scores` and `rates`, as the card holds them."""
        return {"scores": [round(score, 4) for score in self.scores], "rates": list(self.rates)}

    @staticmethod
    def parse(raw: Any) -> Tail:
        """The tail of its JSON. Raises: ValueError, TypeError or KeyError for anything else."""
        scores, rates = moderate(raw["scores"]), moderate(raw["rates"])
        if scores.shape != rates.shape or scores.ndim != 1 or not 2 <= len(scores) <= 100:
            raise ValueError("a tail needs as many scores as rates, two to a hundred")
        rising = np.all(np.diff(scores) > 0) and np.all(np.diff(rates) < 0)
        if not (rising and rates[-1] > 0.0 and rates[0] < 1.0):
            raise ValueError("a tail's scores rise while its rates fall between 1 and 0")
        return Tail(tuple(scores.tolist()), tuple(rates.tolist()))

    @staticmethod
    def measured(nontarget: list[npt.NDArray[np.float64]]) -> Tail:
        """The tail of strangers' scores under several conditions, each of which counts the same.

        Args: nontarget: scores of each condition, [n], 300 or more in the mean.
        Raises: ValueError where no two of `RATES` have 30 errors in the mean of the conditions, or two scores.
        """
        ordered = [np.sort(scores) for scores in nontarget]
        trials = int(np.mean([len(scores) for scores in ordered]))
        rates = [rate for rate in RATES if shown_by(trials, rate)]
        if len(rates) < 2:
            raise ValueError(f"{trials} trials of strangers; {round(settings.LEAST_ERRORS / RATES[1])} are needed")
        every = np.unique(np.concatenate(ordered))
        reached = np.mean([1.0 - np.searchsorted(scores, every) / len(scores) for scores in ordered], axis=0)
        first = np.searchsorted(-reached, -np.array(rates))  # where no more than the rate reach it
        known = first < len(every)  # so many may share the highest score that no score has the rate
        scores = every[first[known]]
        rising = np.diff(scores, prepend=-np.inf) > 0.0  # ties may give one score two rates
        if rising.sum() < 2:
            raise ValueError("too many of the strangers' scores are the same")
        return Tail.parse({"scores": scores[rising], "rates": np.array(rates)[known][rising]})

    def followed_by(self, other: Tail) -> Tail:
        """This tail as far as it goes, and beyond it the other's shape."""
        last = self.rates[-1]
        further = [rate for rate in other.rates if rate < last]
        shift = self.scores[-1] - other.score_at(last)
        scores = (*self.scores, *(other.score_at(rate) + shift for rate in further))
        return Tail(scores, (*self.rates, *further))


def _line(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Linear between the points, and on beyond both ends. NumPy would take ten times as long for so few numbers."""
    i = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    return ys[i - 1] + (ys[i] - ys[i - 1]) * (x - xs[i - 1]) / (xs[i] - xs[i - 1])
