"""What is asked of a decision, and the line that follows from it.

A rate asked for is a score that strangers reach so often, and the score is another distance for every two voices: a
voice that is near to everybody has to come nearer.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

from speakerdb import settings
from speakerdb.calibration import Calibration
from speakerdb.errors import InputError, StateError, printable


@dataclass(frozen=True)
class Asked:
    """What a caller asks for; at most one of the first three, and the default for the purpose where all are None.

    Attributes:
        threshold: a distance, 0 to 2. fmr: false match rate of one comparison. fpir: false positive identification rate
            of a search through the whole gallery; both between 0 and 1.
        margin: distances nearer to the threshold than this are inconclusive.
    """

    threshold: float | None = None
    fmr: float | None = None
    fpir: float | None = None
    margin: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, numbers.Real) and (value is not None or name == "margin"):
                raise InputError(f"{name}={printable(repr(value), 50)}; a number is needed")
        if sum(value is not None for value in (self.threshold, self.fmr, self.fpir)) > 1:
            raise InputError("a threshold and a rate decide the same thing; give one of them")
        if self.threshold is not None and not (math.isfinite(self.threshold) and 0.0 <= self.threshold <= 2.0):
            raise InputError(f"a threshold of {self.threshold:g}; distances lie between 0 and 2")
        for name, rate in (("an FMR", self.fmr), ("an FPIR", self.fpir)):
            if rate is not None and not 0.0 < rate < 1.0:
                raise InputError(f"{name} of {rate:g}; rates lie above 0 and below 1")
        if not (math.isfinite(self.margin) and 0.0 <= self.margin <= 2.0):
            raise InputError(f"a margin of {self.margin:g}; distances lie between 0 and 2")


@dataclass(frozen=True)
class Criterion:
    """The line, for any two voices: one distance for all, or one score.

    Attributes: distance, score: one of them is None; origin, fmr, fpir: as in `Threshold`.
    """

    distance: float | None
    score: float | None
    origin: str
    fmr: float | None
    fpir: float | None
    margin: float


def per_comparison(fpir: float, speakers: int) -> float:
    """The FMR at which a search through so many speakers gives a stranger a name at the rate `fpir`.

    1 − (1 − FPIR)^(1/N): the chance of a false match in any of N independent comparisons (ISO/IEC 19795-1, C.3).
    """
    return -math.expm1(math.log1p(-fpir) / max(1, speakers))


def criterion(
    asked: Asked,
    calibration: Calibration | None,
    card_distance: float | None,
    card_origin: str,
    searched: int | None,
    probe_s: float = math.inf,
) -> Criterion:
    """The line for what is asked: the caller's distance, or a rate's score, or the encoder's own distance.

    Args: calibration: of the gallery or the encoder; searched: speakers in the gallery for a search, else None;
        probe_s: net speech that is searched with.
    Raises: StateError where a rate is asked for and nobody has found out which score that is, or where there is
        nothing to decide by: a threshold is not guessed.
    """
    if asked.threshold is not None:
        return Criterion(asked.threshold, None, "given by the caller", None, None, asked.margin)
    if calibration is None:
        if asked.fmr is not None or asked.fpir is not None:
            raise StateError(
                "the encoder has no calibration to find a rate by; run `speakerdb calibrate`, or give --threshold"
            )
        if card_distance is None:
            raise StateError("the encoder has no threshold of its own; run `speakerdb calibrate`, or give --threshold")
        return Criterion(card_distance, None, card_origin, None, None, asked.margin)
    fpir = asked.fpir
    if searched is not None and asked.fmr is None and fpir is None:
        fpir = settings.IDENTIFY_FPIR
    if fpir is not None:
        fmr, tail = per_comparison(fpir, searched or 1), calibration.searched_by(probe_s)
    else:
        fmr, tail = settings.VERIFY_FMR if asked.fmr is None else asked.fmr, calibration.tail
    origin = calibration.origin
    if fmr < tail.rates[-1]:
        origin += f"; extrapolated from an FMR of {tail.rates[-1]:g}"
    return Criterion(None, tail.score_at(fmr), origin, fmr, fpir, asked.margin)
