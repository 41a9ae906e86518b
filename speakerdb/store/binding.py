"""The gallery's own row: which encoder it is bound to, how many changes there were, and of whom.

Every function takes the connection of a running transaction.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects.sqlite import insert

from speakerdb.errors import printable
from speakerdb.store.driver import driver
from speakerdb.store.fields import MOST_DIMENSIONS, DamagedRow, cardinal, now, typed
from speakerdb.store.schema import CHANGE, ENCODER, GALLERY

CHANGED = insert(CHANGE)
CHANGED = CHANGED.on_conflict_do_update(index_elements=["speaker_id"], set_={"generation": CHANGED.excluded.generation})
IDENTITY = """
    SELECT gallery.uuid, gallery.generation, gallery.created,
           encoder.name, encoder.version, encoder.sha256, encoder.dimension, user_version
    FROM pragma_user_version, gallery JOIN encoder ON encoder.id = gallery.encoder_id
"""

LAST = """
    SELECT change.speaker_id, change.generation, voiceprint.vector_crc32
    FROM change LEFT JOIN voiceprint ON voiceprint.speaker_id = change.speaker_id
"""
LAST_UP_TO = f"{LAST} WHERE change.generation <= ? ORDER BY change.generation DESC LIMIT 8"
LAST_OF = f"{LAST} WHERE change.speaker_id IN (SELECT value FROM json_each(?))"

Changes = dict[int, tuple[int, int | None]]
"""By speaker id: the generation of the last change, and the checksum of the voiceprint that it left, if any."""


@dataclass(frozen=True)
class EncoderIdentity:
    """The encoder as a gallery remembers it."""

    name: str
    version: str
    sha256: str
    dimension: int

    @property
    def shown(self) -> str:
        """What a message calls it by."""
        return f"{printable(self.name)} {printable(self.version)} ({self.sha256[:8]})"

    def gives_those_of(self, other: EncoderIdentity) -> bool:
        """Whether its vectors are another's, whatever their names and versions are."""
        return (self.sha256, self.dimension) == (other.sha256, other.dimension)


@dataclass(frozen=True)
class GalleryIdentity:
    """The gallery's own row with its encoder.

    `snapshot` is the number of its own snapshot of the index, SQLite's `user_version`: 0 for none.
    """

    uuid: str
    generation: int
    created: str
    encoder: EncoderIdentity
    snapshot: int


def bind(connection: Connection, encoder: EncoderIdentity) -> None:
    """Make the gallery's one row, bound to an encoder."""
    row = add_encoder(connection, encoder)
    values = {"id": 1, "uuid": uuid.uuid4().hex, "encoder_id": row, "generation": 0, "created": now()}
    connection.execute(insert(GALLERY), values)


def add_encoder(connection: Connection, encoder: EncoderIdentity) -> int:
    """A new encoder's id."""
    return inserted(connection, ENCODER, asdict(encoder))


def inserted(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """A new row's id."""
    key: Any = connection.execute(insert(table), values).inserted_primary_key
    return int(key[0])


def identity(connection: Connection) -> GalleryIdentity | None:
    """The gallery's row, None before the first enrollment."""
    found = driver(connection).execute(IDENTITY).fetchone()
    if found is None:
        return None
    values = [typed(value, kind) for value, kind in zip(found, (str, int, str, str, str, str, int, int), strict=True)]
    uuid_, generation, created, name, version, sha256, dimension, number = values
    encoder = EncoderIdentity(name, version, sha256, cardinal(dimension, MOST_DIMENSIONS))
    return GalleryIdentity(uuid_, cardinal(generation), created, encoder, number)


def required_identity(connection: Connection) -> GalleryIdentity:
    """The gallery's row, where somebody is enrolled. Raises: DamagedRow where it is gone."""
    found = identity(connection)
    if found is None:
        raise DamagedRow("the gallery's own row is gone")
    return found


def generation(connection: Connection) -> int:
    """The gallery's generation: how many changes were committed."""
    return connection.scalar(select(GALLERY.c.generation)) or 0


def snapshot_number(connection: Connection) -> int:
    """Of the gallery's own snapshot of its index; 0 for none."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def own_snapshot(connection: Connection, number: int) -> None:
    """This is the gallery's own snapshot from now on."""
    connection.exec_driver_sql(f"PRAGMA user_version = {number:d}")


def record_change(connection: Connection, speaker_ids: list[int]) -> None:
    """Raise the generation by one and note that these speakers changed (or went) with it."""
    generation = cardinal(connection.execute(select(GALLERY.c.generation)).scalar_one()) + 1
    connection.execute(update(GALLERY).values(generation=generation))
    if speaker_ids:
        connection.execute(CHANGED, [{"speaker_id": one, "generation": generation} for one in speaker_ids])


def changes_since(connection: Connection, since: int) -> list[int]:
    """Ids of the speakers that changed or went after a generation."""
    return list(connection.scalars(select(CHANGE.c.speaker_id).where(CHANGE.c.generation > since)))


def last_changes(connection: Connection, generation: int) -> Changes:
    """The last few speakers to change up to a generation: what `continues` knows the database's history by."""
    return _changes(connection, LAST_UP_TO, generation)


def continues(connection: Connection, generation: int, last: Changes) -> bool:
    """Whether the database has gone on from a generation at which these were the last to change.

    One that was restored in place, and then written, counts the same generations again, of other changes.
    """
    now = _changes(connection, LAST_OF, str([*last]))
    return all(
        speaker in now and (now[speaker] == was or now[speaker][0] > generation) for speaker, was in last.items()
    )


def _changes(connection: Connection, statement: str, asked: int | str) -> Changes:
    found = driver(connection).execute(statement, (asked,))
    return {speaker: (typed(generation, int), vector_crc32) for speaker, generation, vector_crc32 in found}
