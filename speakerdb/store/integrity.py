"""What the file itself says about whether it is whole: SQLite's own checks, the schema, and columns' types."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from speakerdb.errors import printable
from speakerdb.store.schema import METADATA

OBJECTS = text("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
ODD = text("""
    SELECT id FROM enrollment
    WHERE typeof(net_speech_s) <> 'real' OR net_speech_s NOT BETWEEN 0.0 AND 1e7
       OR typeof(source) <> 'text' OR typeof(created) <> 'text' OR typeof(audio_sha256) <> 'text'
       OR length(audio_sha256) <> 64 OR typeof(quality) <> 'text' OR NOT json_valid(quality)
    LIMIT 20
""")
"""SQLite keeps in a column whatever another program writes there."""


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
    for [enrollment] in connection.execute(ODD):
        yield f"recording {enrollment} is not what was written; `speakerdb remove-enrollment {enrollment}` takes it out"
