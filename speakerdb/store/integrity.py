"""What the file itself says about whether it is whole: SQLite's own checks, the schema, and columns' types."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sqlalchemy import Connection, select, text

from speakerdb.errors import printable
from speakerdb.store.fields import DamagedRow, described
from speakerdb.store.records import BATCH_ROWS
from speakerdb.store.schema import ENROLLMENT, METADATA

OBJECTS = text("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
MOST_ODD = 20
"""Recordings of which is told."""


def faults(connection: Connection) -> Iterator[str]:
    """A line each; none where all is well."""
    for [line] in connection.execute(text("PRAGMA integrity_check(20)")):
        if line != "ok":
            yield str(line)
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"foreign key of {row[0]}"
    indexes = {str(index.name) for table in METADATA.tables.values() for index in table.indexes}
    known = {("table", name) for name in (*METADATA.tables, "alembic_version")} | {("index", name) for name in indexes}
    for kind, name in connection.execute(OBJECTS):
        if (kind, name) not in known:
            yield f"{kind} {printable(str(name))!r} is not of speakerdb; it may change what is written"
    yield from itertools.islice(_odd_recordings(connection), MOST_ODD)


def _odd_recordings(connection: Connection) -> Iterator[str]:
    """SQLite keeps in a column whatever another program writes there."""
    columns = (ENROLLMENT.c[name] for name in ("source", "audio_sha256", "net_speech_s", "quality", "created"))
    statement = select(ENROLLMENT.c.id, *columns).execution_options(yield_per=BATCH_ROWS)
    for enrollment, *known in connection.execute(statement):
        try:
            described(*known)
        except DamagedRow as error:
            out = f"`speakerdb remove-enrollment {enrollment}` takes it out"
            yield f"recording {enrollment} is not what was written ({error}); {out}"
