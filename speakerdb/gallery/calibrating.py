"""What scores mean in one gallery: by its own recordings, a list of trials, and what users said of answers.

Each recording is held to the average of its speaker's others, and to everybody else's voiceprint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb import settings
from speakerdb.calibration import Basis, Calibration, Norms, normalised
from speakerdb.calibration.fit import Trials, fit, refit
from speakerdb.calibration.tail import RATES, ROUNDING, shown_by
from speakerdb.decision.judging import Judge
from speakerdb.embedding import average
from speakerdb.errors import StateError, TooFewTrials
from speakerdb.gallery.answers import CalibratedRate, ChangedAnswer
from speakerdb.store.decisions import Said
from speakerdb.store.recordings import Recordings

MOST_RECORDINGS, MOST_PEOPLE = 3000, 3000
"""Drawn from larger galleries: nine million comparisons say enough."""

MOST_TRIALS = 1e15
"""More are as far away."""

LEAST_STRANGERS = round(settings.LEAST_ERRORS / RATES[1])
"""Trials of two speakers that a tail is measured by, at least."""


@dataclass(frozen=True)
class OwnTrials:
    """Trials of a gallery's own; `names` and `sources`: of each trial, the speaker and the recording.

    Attributes: warnings: of recordings that were heard for them.
    """

    trials: Trials
    names: Sequence[str]
    sources: Sequence[str]
    warnings: Sequence[str] = ()

    @property
    def targets(self) -> int:
        """Trials of one speaker."""
        return int(self.trials.target.sum())

    @property
    def nontargets(self) -> int:
        """Trials of two."""
        return len(self.trials.target) - self.targets


def left_out(judge: Judge, held: Recordings, names: dict[int, str], seed: int = 0) -> OwnTrials:
    """Every recording beside its speaker's others, and beside the other speakers."""
    rng = np.random.default_rng(seed)
    probes = _drawn(len(held.ids), MOST_RECORDINGS, rng)
    people = _drawn(len(held.people), MOST_PEOPLE, rng)
    heard = judge.norms(held.vectors[probes])
    own = _beside_the_others(judge, held, probes, heard)
    stored = judge.norms(held.voiceprints[people])
    cosines = held.vectors[probes].astype(np.float64) @ held.voiceprints[people].T.astype(np.float64)
    by_probe = Norms(heard.mean[:, None], heard.spread[:, None])
    scores = normalised(cosines, by_probe, stored)
    apart = held.speakers[probes][:, None] != held.people[people]
    of_probe, of_person = np.nonzero(apart)
    rows, target_scores, others_s, others = own
    basis = Basis(
        np.concatenate([held.speech_s[rows], held.speech_s[probes][of_probe]]),
        np.concatenate([others_s, held.enrolled_s[people][of_person]]),
        np.concatenate([others, np.array([len(own) for own in held.rows])[people][of_person]]),
    )
    target = np.arange(len(rows) + len(of_probe)) < len(rows)
    trials = Trials(np.concatenate([target_scores, scores[apart]]), basis, target)
    shown = [names[int(speaker)] for speaker in held.speakers[rows]]
    return OwnTrials(trials, shown, [held.sources[row] for row in rows])


def _beside_the_others(
    judge: Judge, held: Recordings, probes: npt.NDArray[np.int64], heard: Norms
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Recordings whose speaker has others: rows, scores beside the average of those, their net speech and number."""
    place = {int(row): i for i, row in enumerate(probes)}
    rows, prints, seconds, counts = [], [], [], []
    for own in held.rows:
        if len(own) < 2:
            continue
        for row in own:
            if int(row) in place:
                others = own[own != row]
                rows.append(int(row))
                prints.append(average(held.vectors[others]))
                seconds.append(float(held.speech_s[others].sum()))
                counts.append(len(others))
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    at, stacked = np.array([place[row] for row in rows]), np.stack(prints)
    stored = judge.norms(stacked)
    cosines = np.einsum("nd,nd->n", held.vectors[rows].astype(np.float64), stacked.astype(np.float64))
    scores = normalised(cosines, Norms(heard.mean[at], heard.spread[at]), stored)
    return np.array(rows), scores, np.array(seconds), np.array(counts)


def said_trials(said: Sequence[Said]) -> Trials:
    """What users said, as trials."""
    basis = Basis(
        np.array([one.probe_s for one in said], np.float64),
        np.array([one.enrolled_s for one in said], np.float64),
        np.array([one.recordings for one in said], np.float64),
    )
    target = np.array([one.target for one in said], np.bool_)
    return Trials(np.array([one.score for one in said], np.float64), basis, target)


def enough(said: Trials) -> bool:
    """Whether what users said counts: thirty comparisons of either kind."""
    targets = int(said.target.sum())
    return min(targets, len(said.target) - targets) >= settings.LEAST_ERRORS


def fitted(base: Calibration | None, own: Trials, said: Trials | None, fmr: float, origin: str) -> Calibration:
    """The gallery's calibration.

    Args: base: the encoder's; said: what users said of answers, which moves that and makes none; fmr: the rate that it
        shall serve.
    Raises: TooFewTrials by the rule of 30; StateError where a higher score does not make one speaker likelier.
    """
    targets = int(own.target.sum())
    strangers = len(own.target) - targets
    if targets < settings.LEAST_ERRORS:
        raise TooFewTrials("one speaker", targets, settings.LEAST_ERRORS)
    needed = max(math.ceil(min(settings.LEAST_ERRORS / fmr, MOST_TRIALS) - ROUNDING), LEAST_STRANGERS)
    if strangers < needed:
        raise TooFewTrials("two speakers", strangers, needed, fmr, _rarest(strangers))
    try:
        return (fit([own], origin) if base is None else refit(base, own, said, origin)).kept()
    except ValueError as error:
        raise StateError(f"these trials calibrate nothing: {error}; are the names in the gallery right?") from error


def _rarest(strangers: int) -> float | None:
    """The rarest rate, of two digits, that so many trials show; None where they are too few for any."""
    if strangers < LEAST_STRANGERS:
        return None
    rate = settings.LEAST_ERRORS / strangers
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return math.ceil(rate / step - ROUNDING) * step


def reach(own: OwnTrials) -> str:
    """Down to which FMR the trials of strangers show what happens, and what goes on from there."""
    last = min((rate for rate in RATES if shown_by(own.nontargets, rate)), default=1.0)
    return f"an FMR below {100 * last:g} % by the encoder's own trials"


def rates(own: OwnTrials, before: Calibration | None, after: Calibration, fmr: float) -> list[CalibratedRate]:
    """At the rate that was asked for, and at a tenth of it and ten times it: what both calibrations do."""
    scores, target, strangers = own.trials.scores, own.trials.target, own.nontargets

    def errors(calibration: Calibration, rate: float) -> tuple[float, float]:
        line = calibration.tail.score_at(rate)
        return float(np.mean(scores[~target] >= line)), float(np.mean(scores[target] < line))

    found = []
    for rate in (min(0.5, 10 * fmr), fmr, fmr / 10):
        old_fmr, old_fnmr = errors(before, rate) if before else (None, None)
        new_fmr, new_fnmr = errors(after, rate)
        found.append(CalibratedRate(rate, shown_by(strangers, rate), old_fmr, new_fmr, old_fnmr, new_fnmr))
    return found


def changed(own: OwnTrials, before: Calibration | None, after: Calibration, fmr: float) -> list[ChangedAnswer]:
    """Recordings that would be accepted as their speaker's by one calibration and rejected by the other."""
    if before is None:
        return []
    scores = own.trials.scores[own.trials.target]
    old, new = scores >= before.tail.score_at(fmr), scores >= after.tail.score_at(fmr)
    words = {True: "accepted", False: "rejected"}
    return [
        ChangedAnswer(name, source, words[bool(was)], words[bool(is_now)])
        for name, source, was, is_now in zip(own.names, own.sources, old, new, strict=True)
        if was != is_now
    ]


def _drawn(count: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.sort(rng.permutation(count)[:most])
