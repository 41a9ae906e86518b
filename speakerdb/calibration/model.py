"""Score and seconds of speech → log-likelihood ratio.

    LLR = a + b·s + c·u + d·v,   u = ln(probe's net speech), v = ln(enrolled net speech)

A logistic regression whose offset follows how much was heard on either side: the quality measures of Mandasari et al.,
"Quality measure functions for calibration of speaker recognition systems" (2013). Seconds beyond the limits count as
the limit, so that nothing is extrapolated. Slopes that follow the seconds too did no better on dev (docs/LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.calibration.tail import Tail

Floats = npt.NDArray[np.float64]

PROBE_S = (0.2, 10.0)
"""Net speech of a probe between which its seconds count."""

ENROLLED_S = (0.2, 12.0)
"""The same of all that a speaker enrolled; more than this made scores no surer on dev."""

LLR_TERMS = 4


def terms(scores: npt.ArrayLike, probe_s: npt.ArrayLike, enrolled_s: npt.ArrayLike) -> Floats:
    """What the weights are multiplied with: [..., 4] of scores and seconds, broadcast together."""
    score = np.asarray(scores, np.float64)
    probe = np.log(np.clip(np.asarray(probe_s, np.float64), *PROBE_S))
    enrolled = np.log(np.clip(np.asarray(enrolled_s, np.float64), *ENROLLED_S))
    return np.stack(np.broadcast_arrays(np.ones(()), score, probe, enrolled), axis=-1)


@dataclass(frozen=True)
class LlrMap:
    """The weights a, b, c, d; the LLR rises with the score: b > 0."""

    weights: tuple[float, ...]

    def __call__(self, scores: npt.ArrayLike, probe_s: npt.ArrayLike, enrolled_s: npt.ArrayLike) -> Floats:
        """LLRs (natural logarithm) of scores and seconds of net speech, broadcast together."""
        llr: Floats = terms(scores, probe_s, enrolled_s) @ np.array(self.weights)
        return llr

    @staticmethod
    def parse(raw: Any) -> LlrMap:
        """The map of its weights. Raises: ValueError or TypeError for what is no map, or one that falls."""
        weights = np.array(raw, np.float64)
        if weights.shape != (LLR_TERMS,) or not np.all(np.isfinite(weights)):
            raise ValueError(f"{LLR_TERMS} finite weights are needed")
        if weights[1] <= 0.0:
            raise ValueError("the LLR must rise with the score")
        return LlrMap(tuple(weights.tolist()))


@dataclass(frozen=True)
class Calibration:
    """What scores mean, and where that was found out.

    Attributes:
        llr: score → LLR.
        tail: score ↔ false match rate of one comparison, many of them with a stranger of the same language.
        search: the same of a comparison in a search, where strangers are of all kinds.
        origin: one line: which trials, how many.
        quantiles: LLRs of the trials at 0, 2, 4, …, 100 %, `target` and `nontarget`: what a picture shows.
    """

    llr: LlrMap
    tail: Tail
    search: Tail
    origin: str
    quantiles: dict[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """As the card, and a gallery's database, hold it."""
        return {
            "llr_weights": [round(weight, 6) for weight in self.llr.weights],
            "tail": self.tail.to_json(),
            "search_tail": self.search.to_json(),
            "origin": self.origin,
            "llr_quantiles": {name: [round(value, 2) for value in values] for name, values in self.quantiles.items()},
        }

    @staticmethod
    def parse(raw: Any) -> Calibration:
        """A calibration of its JSON. Raises: ValueError, TypeError or KeyError for anything else."""
        origin = raw["origin"]
        if not isinstance(origin, str) or not origin.isprintable() or not 0 < len(origin) <= 500:
            raise ValueError("a calibration's origin is a short text")
        quantiles = {name: np.array(raw["llr_quantiles"][name], np.float64) for name in ("target", "nontarget")}
        for values in quantiles.values():
            if values.ndim != 1 or not 2 <= len(values) <= 1000 or not np.all(np.diff(values) >= 0.0):
                raise ValueError("quantiles rise")
        return Calibration(
            LlrMap.parse(raw["llr_weights"]),
            Tail.parse(raw["tail"]),
            Tail.parse(raw["search_tail"]),
            origin,
            {name: tuple(values.tolist()) for name, values in quantiles.items()},
        )
