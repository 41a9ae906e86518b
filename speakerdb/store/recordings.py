"""All recordings of a gallery at once, for what goes through it; and a recording's move to another speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, select, update

from speakerdb.embedding import Vectors, average
from speakerdb.store.fields import blob_crc32, checked_blob, duration, from_blob, typed, vectors_of
from speakerdb.store.schema import ENROLLMENT, STAGED_VECTOR

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


def recordings(connection: Connection, speaker: int | None = None) -> Recordings | None:
    """All recordings, or one speaker's; None where there are none."""
    statement = select(
        ENROLLMENT.c.id,
        ENROLLMENT.c.speaker_id,
        ENROLLMENT.c.net_speech_s,
        ENROLLMENT.c.source,
        ENROLLMENT.c.vector,
        ENROLLMENT.c.vector_crc32,
    ).order_by(ENROLLMENT.c.id)
    if speaker is not None:
        statement = statement.where(ENROLLMENT.c.speaker_id == speaker)
    found = connection.execute(statement).all()
    if not found:
        return None
    return Recordings(
        np.array([row.id for row in found], np.int64),
        np.array([typed(row.speaker_id, int) for row in found], np.int64),
        np.array([duration(row.net_speech_s) for row in found], np.float64),
        vectors_of([checked_blob(row.vector, row.vector_crc32, row.speaker_id) for row in found]),
        [typed(row.source, str) for row in found],
    )


def move_recording(connection: Connection, enrollment: int, speaker: int) -> None:
    """Give a recording to another speaker; both voiceprints are made anew by `voiceprints.refresh`."""
    own = ENROLLMENT.c.id == enrollment
    vector = select(ENROLLMENT.c.vector, ENROLLMENT.c.vector_crc32, ENROLLMENT.c.speaker_id).where(own)
    row = connection.execute(vector).one()
    from_blob(*row)
    values = {"speaker_id": speaker, "vector_crc32": blob_crc32(row.vector, speaker)}
    connection.execute(update(ENROLLMENT).where(own).values(values))
    connection.execute(delete(STAGED_VECTOR).where(STAGED_VECTOR.c.enrollment_id == enrollment))  # its checksum is old
