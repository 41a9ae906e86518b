"""Score and seconds of speech → log-likelihood ratio.

    LLR = a + b·s + c·u + d·v + e·w + f·s·u + g·s·w,
    u = ln(probe's net speech), v = ln(enrolled net speech), w = ln(recordings enrolled)

A logistic regression whose offset and slope follow how much was heard: the quality measures of Mandasari et al.,
"Quality measure functions for calibration of speaker recognition systems" (2013). What is beyond the limits counts as
the limit, so that nothing is extrapolated. Chosen on dev among forms with fewer terms (docs/LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from speakerdb.calibration.tail import Tail, moderate

Floats = npt.NDArray[np.float64]

PROBE_S = (0.2, 10.0)
"""Net speech of a probe between which its seconds count."""

ENROLLED_S = (0.2, 12.0)
"""The same of all that a speaker enrolled; more than this made scores no surer on dev."""

RECORDINGS = (1.0, 8.0)
"""Recordings that it was in: one that was made at once holds less than several."""

WORD_S = 0.7
"""A probe with less net speech is a word: 95 % of the one-second words of dev have less, 95 % of seconds cut out of
sentences more. Strangers' words have higher scores than strangers' sentences (docs/LOG.md)."""

LLR_TERMS = 7


class Basis(NamedTuple):
    """What comparisons rest on: net speech of the probe and of what is enrolled, and in how many recordings that is.

    Numbers or float64 arrays that can be broadcast together and with the scores.
    """

    probe_s: npt.ArrayLike
    enrolled_s: npt.ArrayLike
    recordings: npt.ArrayLike


def terms(scores: npt.ArrayLike, basis: Basis) -> Floats:
    """What the weights are multiplied with: [..., 7] of scores and their basis, broadcast together."""
    s = np.asarray(scores, np.float64)
    u, v, w = _logarithms(basis)
    return np.stack(np.broadcast_arrays(1.0, s, u, v, w, s * u, s * w), axis=-1)


def _logarithms(basis: Basis) -> tuple[Floats, Floats, Floats]:
    """u, v and w."""
    u, v, w = (
        np.log(np.minimum(np.maximum(np.asarray(values, np.float64), least), most))
        for values, (least, most) in zip(basis, (PROBE_S, ENROLLED_S, RECORDINGS), strict=True)
    )
    return u, v, w


@dataclass(frozen=True)
class LlrMap:
    """The weights a to g; the LLR rises with the score whatever it rests on."""

    weights: tuple[float, ...]

    def __call__(self, scores: npt.ArrayLike, basis: Basis) -> Floats:
        """LLRs (natural logarithm) of scores, in their shape broadcast with the basis."""
        a, b, c, d, e, f, g = self.weights
        s = np.asarray(scores, np.float64)
        u, v, w = _logarithms(basis)
        llr: Floats = a + c * u + d * v + e * w + s * (b + f * u + g * w)  # `terms` by the weights, in half of the time
        return llr

    @staticmethod
    def parse(raw: Any) -> LlrMap:
        """The map of its weights. Raises: ValueError or TypeError for what is no map, or one that falls somewhere."""
        weights = moderate(raw)
        if weights.shape != (LLR_TERMS,):
            raise ValueError(f"{LLR_TERMS} weights are needed")
        _, slope, _, _, _, by_probe, by_recordings = weights
        corners = [slope + by_probe * np.log(s) + by_recordings * np.log(r) for s in PROBE_S for r in RECORDINGS]
        if min(corners) <= 0.0:
            raise ValueError("the LLR must rise with the score, whatever it rests on")
        return LlrMap(tuple(weights.tolist()))


@dataclass(frozen=True)
class Calibration:
    """What scores mean, and where that was found out.

    Attributes:
        llr: score → LLR.
        tail: score ↔ false match rate of one comparison, many of them with a stranger of the same language.
        search: the same of a comparison in a search, where strangers are of all kinds.
        search_of_words: the same where a probe is a word, with less net speech than `WORD_S`; None: `search`.
        origin: one line: which trials, how many.
        quantiles: LLRs of the trials at 0, 2, 4, …, 100 %, `target` and `nontarget`: what a picture shows.
    """

    llr: LlrMap
    tail: Tail
    search: Tail
    origin: str
    quantiles: dict[str, tuple[float, ...]]
    search_of_words: Tail | None = None

    def searched_by(self, probe_s: float) -> Tail:
        """The tail of a search by a probe of so many seconds of net speech."""
        return self.search_of_words if self.search_of_words and probe_s < WORD_S else self.search

    def to_json(self) -> dict[str, Any]:
        """As the card, and a gallery's database, hold it."""
        words = {"search_tail_of_words": self.search_of_words.to_json()} if self.search_of_words else {}
        return {
            "llr_weights": [round(weight, 6) for weight in self.llr.weights],
            "tail": self.tail.to_json(),
            "search_tail": self.search.to_json(),
            **words,
            "origin": self.origin,
            "llr_quantiles": {name: [round(value, 2) for value in values] for name, values in self.quantiles.items()},
        }

    def kept(self) -> Calibration:
        """With the digits of its JSON, by which it will decide. Raises: ValueError where those make none."""
        return Calibration.parse(self.to_json())

    @staticmethod
    def parse(raw: Any) -> Calibration:
        """A calibration of its JSON. Raises: ValueError, TypeError or KeyError for anything else."""
        origin = raw["origin"]
        if not isinstance(origin, str) or not origin.isprintable() or not 0 < len(origin) <= 500:
            raise ValueError("a calibration's origin is a short text")
        quantiles = {name: moderate(raw["llr_quantiles"][name]) for name in ("target", "nontarget")}
        for values in quantiles.values():
            if values.ndim != 1 or not 2 <= len(values) <= 1000:
                raise ValueError("quantiles are 2 to 1000 numbers")
            if not np.all(np.diff(values) >= 0.0):
                raise ValueError("quantiles rise")
        return Calibration(
            LlrMap.parse(raw["llr_weights"]),
            Tail.parse(raw["tail"]),
            Tail.parse(raw["search_tail"]),
            origin,
            {name: tuple(values.tolist()) for name, values in quantiles.items()},
            Tail.parse(raw["search_tail_of_words"]) if "search_tail_of_words" in raw else None,
        )
