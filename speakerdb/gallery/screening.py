"""Before anything is enrolled: is it one voice, does it sound like its speaker's others, is the new speaker new?

All of it by LLRs, so that it holds for any encoder that is calibrated; another one is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from speakerdb import settings
from speakerdb.calibration import Basis
from speakerdb.decision.criterion import Asked, criterion
from speakerdb.decision.judging import Judge, Judgement
from speakerdb.embedding import Vectors, average, normalize
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import OutlierRecording, PossibleDuplicate
from speakerdb.gallery.deciding import ranked
from speakerdb.gallery.view import IndexView
from speakerdb.store import records
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.found import Found, speakers
from speakerdb.store.recordings import recordings
from speakerdb.store.records import Enrolled

Floats = npt.NDArray[np.float64]


def outliers(
    connection: Connection | None, judge: Judge, speaker: str, heard: Sequence[Utterance], known: Set[str]
) -> dict[int, OutlierRecording]:
    """New recordings that do not sound like the speaker's others, by their place in `heard`.

    The worst goes first, and the rest are held to one another again. Recordings that are enrolled already are never
    refused; the worst of them is left out of the average that the new ones are held to. Audio that is enrolled already
    is passed over: what is wrong with it is said when it is written.
    Args: connection: None before the first enrollment. known: hashes of audio that is enrolled, for whomever.
    """
    places = [place for place, utterance in enumerate(heard) if utterance.sha256 not in known]
    if judge.calibration is None or not places:
        return {}
    heard = [heard[place] for place in places]
    row = records.speaker_id(connection, speaker) if connection else None
    stored = recordings(connection, row) if connection and row is not None else None
    vectors = np.stack([utterance.vector for utterance in heard])
    seconds = np.array([utterance.quality.net_speech_s for utterance in heard])
    before = 0
    if stored is not None:
        before = len(stored.ids)
        vectors, seconds = np.concatenate([stored.vectors, vectors]), np.concatenate([stored.speech_s, seconds])
    kept, found = list(range(len(vectors))), {}
    while len(kept) > 1:
        apart, ratios = beside_the_others(judge, vectors[kept], seconds[kept])
        worst = int(np.argmin(ratios))
        if ratios[worst] >= settings.OUTLIER_LLR:
            break
        if len(kept) == 2:
            worst = 1  # of two that disagree nobody knows which is wrong: the later one is not taken in
        at = kept.pop(worst)
        if at >= before:
            name = heard[at - before].name
            found[places[at - before]] = OutlierRecording(name, speaker, len(kept), apart[worst], ratios[worst])
    return found


def beside_the_others(judge: Judge, vectors: Vectors, seconds: Floats) -> tuple[list[float], list[float]]:
    """Each of a speaker's recordings beside the average of the rest: distances and LLRs. Two recordings or more."""
    others = normalize(vectors.sum(axis=0, dtype=np.float64) - vectors)
    return judge.beside(vectors, others, Basis(seconds, seconds.sum() - seconds, len(vectors) - 1))


def pending(speaker: str, heard: Sequence[Utterance]) -> Found:
    """Somebody who is about to be enrolled, as the gallery would find them."""
    seconds = sum(utterance.quality.net_speech_s for utterance in heard)
    voice = average(np.stack([utterance.vector for utterance in heard]))
    return Found(speaker, 0, Enrolled(len(heard), seconds), voice)


def require_new(
    connection: Connection | None,
    identity: GalleryIdentity | None,
    view: IndexView,
    judge: Judge,
    newcomer: Found,
    waiting: Sequence[Found],
) -> None:
    """Raise PossibleDuplicate where a new speaker would be taken for an enrolled one, or one of those `waiting`.

    Args: connection, identity: None before the first enrollment.
    """
    speaker, _, enrolled, voice = newcomer
    others = [other for other in waiting if other.speaker != speaker]
    searched = len(others)
    if connection is not None and identity is not None and records.anybody(connection):
        if records.speaker_id(connection, speaker) is not None:
            return
        near = view.nearest(connection, identity, voice, 1)
        others += speakers(connection, near, list(range(len(near.ids))))
        searched += near.searched
    if judge.calibration is None or not others:
        return
    line = criterion(Asked(fpir=settings.DUPLICATE_FPIR), judge.calibration, None, "", searched)
    best, judged = ranked(judge, line, voice, enrolled.net_speech_s, others)[0]
    if same_person(judged):
        raise PossibleDuplicate(speaker, best.speaker, judged.distance, judged.threshold.distance, judged.llr or 0.0)


def same_person(judged: Judgement) -> bool:
    """Whether two speakers, at the line for a search, are so alike that somebody should look."""
    return judged.side == "near" and judged.llr is not None and judged.llr >= settings.DUPLICATE_LLR
