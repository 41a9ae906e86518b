"""What a gallery keeps about its decisions: its own calibration, and what users said of answers.

Statements alone, as in `records`. Scores belong to the encoder that made them: `forget` when it changes.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, delete, insert, select

from speakerdb.calibration import Calibration
from speakerdb.store.driver import driver
from speakerdb.store.fields import DamagedRow, now
from speakerdb.store.schema import CALIBRATION, FEEDBACK

KEPT = "SELECT content, content_crc32 FROM calibration"


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


def calibration(connection: Connection) -> Calibration | None:
    """The gallery's own; None where it has none. Raises: DamagedRow where it is not what was written."""
    row = driver(connection).execute(KEPT).fetchone()
    return None if row is None else _parsed(*row)


@lru_cache(maxsize=2)
def _parsed(content: str, crc32: int) -> Calibration:
    """Parsed once while it is the same text: most galleries that have a calibration ask for it with every answer."""
    try:
        if zlib.crc32(content.encode()) != crc32:
            raise DamagedRow("the calibration's checksum does not agree")
        return Calibration.parse(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedRow("the calibration is not what was written") from error


def keep_calibration(connection: Connection, found: Calibration) -> None:
    """Put it in the place of the one before. Raises: ValueError for one that could not be read again."""
    content = json.dumps(found.kept().to_json(), ensure_ascii=False)
    connection.execute(delete(CALIBRATION))
    values = {"id": 1, "content": content, "content_crc32": zlib.crc32(content.encode()), "created": now()}
    connection.execute(insert(CALIBRATION), values)


def forget_calibration(connection: Connection) -> bool:
    """Take the gallery's own out, be it damaged; False where it had none."""
    return connection.execute(delete(CALIBRATION)).rowcount > 0


def keep_feedback(connection: Connection, decision: str, said: list[Said]) -> None:
    """What was said of a decision; what was said of it before is forgotten."""
    connection.execute(delete(FEEDBACK).where(FEEDBACK.c.decision == decision))
    for one in said:
        values = {"target": one.target, "score": one.score, "probe_s": one.probe_s, "enrolled_s": one.enrolled_s}
        row = {"decision": decision, "speaker_id": one.speaker, "recordings": one.recordings, "created": now()}
        connection.execute(insert(FEEDBACK).values(**row, **values))


def feedback(connection: Connection) -> list[Said]:
    """All that was said. Raises: DamagedRow for a row that holds something else."""
    found = []
    for row in connection.execute(select(FEEDBACK).order_by(FEEDBACK.c.decision, FEEDBACK.c.speaker_id)):
        numbers = (row.score, row.probe_s, row.enrolled_s)
        finite = all(isinstance(value, float) and math.isfinite(value) for value in numbers)
        if not finite or not isinstance(row.recordings, int):
            raise DamagedRow("feedback holds what is no number")
        found.append(Said(row.speaker_id, bool(row.target), *numbers, row.recordings))
    return found


def forget(connection: Connection) -> None:
    """Scores mean nothing any more: the gallery moves to another encoder."""
    connection.execute(delete(CALIBRATION))
    connection.execute(delete(FEEDBACK))
