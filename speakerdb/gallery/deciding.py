"""Judgements → what `identify` and `verify` answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speakerdb.calibration import Basis
from speakerdb.decision.criterion import Criterion
from speakerdb.decision.judging import Judge, Judgement, Scores
from speakerdb.embedding import Vector
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import SeveralVoices
from speakerdb.gallery.answers import Candidate, Identification, Verification
from speakerdb.gallery.feedback import KEPT, Compared, Decision
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.found import Found

ACCEPTED, REJECTED, UNKNOWN, INCONCLUSIVE = "accepted", "rejected", "unknown", "inconclusive"


def ranked(
    judge: Judge, line: Criterion, probe: Vector, probe_s: float, found: Sequence[Found]
) -> list[tuple[Candidate, Judgement]]:
    """Speakers of the gallery beside a probe, the likeliest first."""
    scores = judge.scores(probe, np.stack([one.voiceprint for one in found]))
    rows = scores.order()
    return candidates(judge, line, scores.of(rows), probe_s, [found[i] for i in rows])


def candidates(
    judge: Judge, line: Criterion, scores: Scores, probe_s: float, found: Sequence[Found]
) -> list[tuple[Candidate, Judgement]]:
    """Speakers as they are listed, and how each is judged. Args: as `judgements`."""
    judged = judgements(judge, line, scores, probe_s, found)
    return [(_candidate(one, its), its) for one, its in zip(found, judged, strict=True)]


def judgements(
    judge: Judge, line: Criterion, scores: Scores, probe_s: float, found: Sequence[Found]
) -> list[Judgement]:
    """How each speaker is judged. Args: scores: of a probe beside them, row by row; probe_s: its net speech."""
    enrolled = [one.enrolled for one in found]
    basis = Basis(probe_s, [one.net_speech_s for one in enrolled], [one.recordings for one in enrolled])
    return judge.judge(scores, basis, line)


def warnings_of(probe: Utterance, made_of_it: str = "The answer is") -> list[str]:
    """A line for each thing in a recording by which what is made of it may mislead."""
    if not probe.changes_s:
        return probe.warnings
    several = SeveralVoices.told(probe.name, probe.changes_s)
    return [*probe.warnings, f"{several}. {made_of_it} about all of it together; cut it there"]


def identification(
    probe: Utterance,
    found: Sequence[tuple[Candidate, Judgement]],
    margin: float,
    top: int,
    gallery: GalleryIdentity,
) -> Identification:
    """The likeliest speaker is named where the probe lies within the threshold; a margin may leave it open."""
    best, judged = found[0]
    ahead = found[1][0].distance - best.distance if len(found) > 1 else None
    outcome = {"near": ACCEPTED, "far": UNKNOWN}.get(judged.side, INCONCLUSIVE)
    if outcome == ACCEPTED and margin and ahead is not None and ahead < margin:
        outcome = INCONCLUSIVE
    compared = tuple(Compared(one.id, its.score, one.net_speech_s, one.recordings) for one, its in found[:KEPT])
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
        Decision("identify", outcome, probe.quality.net_speech_s, compared).id(gallery),
        warnings_of(probe),
    )


def verification(probe: Utterance, claimed: Found, judged: Judgement, gallery: GalleryIdentity) -> Verification:
    """Accepted, rejected or left open."""
    enrolled = claimed.enrolled
    outcome = {"near": ACCEPTED, "far": REJECTED}.get(judged.side, INCONCLUSIVE)
    compared = (Compared(claimed.id, judged.score, enrolled.net_speech_s, enrolled.recordings),)
    return Verification(
        probe.name,
        claimed.speaker,
        outcome,
        outcome == ACCEPTED,
        judged.distance,
        judged.llr,
        judged.threshold,
        judged.threshold_llr,
        enrolled.recordings,
        enrolled.net_speech_s,
        probe.quality,
        Decision("verify", outcome, probe.quality.net_speech_s, compared).id(gallery),
        warnings_of(probe),
    )


def _candidate(found: Found, judged: Judgement) -> Candidate:
    name, row, enrolled, _ = found
    return Candidate(
        name, row, judged.distance, judged.llr, judged.threshold.distance, enrolled.recordings, enrolled.net_speech_s
    )
