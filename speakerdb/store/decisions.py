"""What a gallery keeps about its decisions: its own calibration, and what users said of answers.

Statements alone, as in `records`. Scores belong to the encoder that made them: `forget` when it changes.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from speakerdb.calibration import Calibration
from speakerdb.store.records import DamagedRow, now
from speakerdb.store.schema import CalibrationRow, FeedbackRow

KEPT = select(CalibrationRow.content, CalibrationRow.content_crc32)


@dataclass(frozen=True)
class Said:
    """One comparison of which a user said whether it was of one speaker.

    Attributes: score: of the probe beside the speaker; probe_s, enrolled_s: net speech; recordings: enrolled.
    """

    speaker: int
    target: bool
    score: float
    probe_s: float
    enrolled_s: float
    recordings: int


def calibration(session: Session) -> Calibration | None:
    """The gallery's own; None where it has none. Raises: DamagedRow where it is not what was written."""
    row = session.execute(KEPT).first()
    if row is None:
        return None
    try:
        if zlib.crc32(row.content.encode()) != row.content_crc32:
            raise DamagedRow("the calibration's checksum does not agree")
        return Calibration.parse(json.loads(row.content))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedRow("the calibration is not what was written") from error


def keep_calibration(session: Session, found: Calibration | None) -> None:
    """Put it in the place of the one before; None takes it out."""
    session.execute(delete(CalibrationRow))
    if found is not None:
        content = json.dumps(found.to_json(), ensure_ascii=False)
        crc32 = zlib.crc32(content.encode())
        session.add(CalibrationRow(id=1, content=content, content_crc32=crc32, created=now()))
        session.flush()


def keep_feedback(session: Session, decision: str, said: list[Said]) -> None:
    """What was said of a decision; what was said of it before is forgotten."""
    session.execute(delete(FeedbackRow).where(FeedbackRow.decision == decision))
    for one in said:
        values = {"target": one.target, "score": one.score, "probe_s": one.probe_s, "enrolled_s": one.enrolled_s}
        row = {"decision": decision, "speaker_id": one.speaker, "recordings": one.recordings, "created": now()}
        session.execute(insert(FeedbackRow).values(**row, **values))


def feedback(session: Session) -> list[Said]:
    """All that was said. Raises: DamagedRow for a row that holds something else."""
    found = []
    for row in session.scalars(select(FeedbackRow).order_by(FeedbackRow.decision, FeedbackRow.speaker_id)):
        numbers = (row.score, row.probe_s, row.enrolled_s)
        finite = all(isinstance(value, float) and math.isfinite(value) for value in numbers)
        if not finite or not isinstance(row.recordings, int):
            raise DamagedRow("feedback holds what is no number")
        found.append(Said(row.speaker_id, bool(row.target), *numbers, row.recordings))
    return found


def forget(session: Session) -> None:
    """Scores mean nothing any more: the gallery moves to another encoder."""
    session.execute(delete(CalibrationRow))
    session.execute(delete(FeedbackRow))
