"""All recordings of a gallery at once, for what goes through it; and a recording's move to another speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from speakerdb.embedding import Vectors, average
from speakerdb.store.records import blob_crc32, from_blob
from speakerdb.store.schema import EnrollmentRow

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Recordings:
    """Enrolled recordings, a row each, by speaker.

    Attributes: ids, speakers: int64 [n]. speech_s: float64 [n]. vectors: float32 [n, dimension]. sources: [n].
    """

    ids: Ids
    speakers: Ids
    speech_s: npt.NDArray[np.float64]
    vectors: Vectors
    sources: Sequence[str]

    @cached_property
    def people(self) -> Ids:
        """Speakers, each once, rising."""
        return np.unique(self.speakers)

    @cached_property
    def rows(self) -> list[Ids]:
        """The rows of each of `people`."""
        order = np.argsort(self.speakers, kind="stable")
        starts = np.searchsorted(self.speakers[order], self.people)
        return [np.sort(rows) for rows in np.split(order, starts[1:])]

    @cached_property
    def voiceprints(self) -> Vectors:
        """Of each of `people`, the average of all their recordings: float32 [people, dimension]."""
        return np.stack([average(self.vectors[rows]) for rows in self.rows])

    @cached_property
    def enrolled_s(self) -> npt.NDArray[np.float64]:
        """Net speech of each of `people`."""
        return np.array([self.speech_s[rows].sum() for rows in self.rows])


def recordings(session: Session, speaker: int | None = None) -> Recordings | None:
    """All recordings, or one speaker's; None where there are none."""
    statement = select(
        EnrollmentRow.id,
        EnrollmentRow.speaker_id,
        EnrollmentRow.net_speech_s,
        EnrollmentRow.source,
        EnrollmentRow.vector,
        EnrollmentRow.vector_crc32,
    ).order_by(EnrollmentRow.id)
    if speaker is not None:
        statement = statement.where(EnrollmentRow.speaker_id == speaker)
    found = session.execute(statement).all()
    if not found:
        return None
    return Recordings(
        np.array([row.id for row in found], np.int64),
        np.array([row.speaker_id for row in found], np.int64),
        np.array([row.net_speech_s for row in found], np.float64),
        np.stack([from_blob(row.vector, row.vector_crc32, row.speaker_id) for row in found]),
        [str(row.source) for row in found],
    )


def move_recording(session: Session, enrollment: int, speaker: int) -> None:
    """Give a recording to another speaker; both voiceprints are made anew by `refresh_voiceprint`."""
    row = session.get_one(EnrollmentRow, enrollment)
    from_blob(row.vector, row.vector_crc32, row.speaker_id)
    row.speaker_id, row.vector_crc32 = speaker, blob_crc32(row.vector, speaker)
    session.flush()
