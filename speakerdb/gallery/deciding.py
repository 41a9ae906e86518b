"""Judgements → what `identify` and `verify` answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speakerdb.decision.criterion import Criterion
from speakerdb.decision.judging import Judge, Judgement, order
from speakerdb.embedding import Vector
from speakerdb.encoder.utterance import Utterance
from speakerdb.gallery.results import Candidate, Identification, Verification
from speakerdb.store.records import Enrolled

ACCEPTED, REJECTED, UNKNOWN, INCONCLUSIVE = "accepted", "rejected", "unknown", "inconclusive"

Found = tuple[str, Enrolled, Vector]
"""A speaker of the gallery: name, what is enrolled, voiceprint."""


def ranked(
    judge: Judge, line: Criterion, probe: Vector, probe_s: float, found: Sequence[Found]
) -> list[tuple[Candidate, Judgement]]:
    """Speakers of the gallery beside a probe, the likeliest first."""
    prints = np.stack([voiceprint for _, _, voiceprint in found])
    judged = judge.judge(probe, probe_s, prints, [enrolled.net_speech_s for _, enrolled, _ in found], line)
    return [(_candidate(found[i], judged[i]), judged[i]) for i in order(judged)]


def identification(
    probe: Utterance, found: Sequence[tuple[Candidate, Judgement]], margin: float, top: int
) -> Identification:
    """The likeliest speaker is named where the probe lies within the threshold; a margin may leave it open."""
    best, judged = found[0]
    ahead = found[1][0].distance - best.distance if len(found) > 1 else None
    outcome = {"near": ACCEPTED, "far": UNKNOWN}.get(judged.side, INCONCLUSIVE)
    if outcome == ACCEPTED and margin and ahead is not None and ahead < margin:
        outcome = INCONCLUSIVE
    return Identification(
        probe.name,
        outcome,
        best.speaker if outcome == ACCEPTED else None,
        judged.distance,
        judged.llr,
        judged.threshold,
        judged.threshold_llr,
        ahead,
        [candidate for candidate, _ in found[:top]],
        probe.quality,
        probe.warnings,
    )


def verification(probe: Utterance, speaker: str, enrolled: Enrolled, judged: Judgement) -> Verification:
    """Accepted, rejected or left open."""
    outcome = {"near": ACCEPTED, "far": REJECTED}.get(judged.side, INCONCLUSIVE)
    return Verification(
        probe.name,
        speaker,
        outcome,
        outcome == ACCEPTED,
        judged.distance,
        judged.llr,
        judged.threshold,
        judged.threshold_llr,
        enrolled.recordings,
        enrolled.net_speech_s,
        probe.quality,
        probe.warnings,
    )


def _candidate(found: Found, judged: Judgement) -> Candidate:
    name, enrolled, _ = found
    return Candidate(
        name, judged.distance, judged.llr, judged.threshold.distance, enrolled.recordings, enrolled.net_speech_s
    )
