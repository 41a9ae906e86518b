"""Making an index from the database: at once, or in a thread of its own while an older one answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from speakerdb.embedding import Vectors
from speakerdb.errors import StorageError
from speakerdb.index.engine import kind_for, make_index
from speakerdb.index.protocol import VectorIndex
from speakerdb.store import binding, records, voiceprints
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.fields import DamagedRow

Reading = Callable[[], AbstractContextManager[Connection]]
"""Begins a connection that sees one state of the database."""


class Plan(NamedTuple):
    """An index to be made: its kind, for so many voices, and voices to train it on where it has to be trained."""

    kind: str
    dimension: int
    size: int
    sample: Vectors | None


def build(connection: Connection, identity: GalleryIdentity, asked: str) -> VectorIndex:
    """The index of all voiceprints, of the kind that is asked for or fits their number.

    Raises: DamagedRow where there are speakers without voiceprint.
    """
    return fill(connection, empty(plan(connection, identity, asked)))


def plan(connection: Connection, identity: GalleryIdentity, asked: str) -> Plan:
    """What suits the gallery as it is."""
    size = records.count_speakers(connection)
    kind, sample = kind_for(asked, size), None
    if kind == "faiss-ivf":
        from speakerdb.index.inverted_file import training_size

        sample = voiceprints.sample(connection, training_size(size), size)
    return Plan(kind, identity.encoder.dimension, size, sample)


def empty(planned: Plan) -> VectorIndex:
    """An index without voices, trained where it has to be: half a minute for a million."""
    if planned.sample is None:
        return make_index(planned.kind, planned.dimension)
    from speakerdb.index import inverted_file

    return inverted_file.trained(planned.sample, planned.size)


def fill(connection: Connection, index: VectorIndex) -> VectorIndex:
    """Add everybody. Raises: DamagedRow where there are speakers without voiceprint."""
    for speakers, vectors in voiceprints.in_batches(connection):
        index.add(np.array(speakers, np.int64), vectors)
    known = records.count_speakers(connection)
    if len(index) != known:
        raise DamagedRow(f"{known} speakers have {len(index)} voiceprints")
    return index


class Successor:
    """An index that is being made in a thread of its own.

    It is trained outside of any transaction: one that lasts so long would keep removals from leaving SQLite's log.
    """

    def __init__(self, reading: Reading, asked: str) -> None:
        self._reading, self._asked = reading, asked
        self._made: tuple[VectorIndex, GalleryIdentity] | None = None
        self._wanted = True
        self._thread = threading.Thread(target=self._make, name="speakerdb-index", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> bool:
        """Whether it is not finished yet."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Until it is finished, or not so long."""
        self._thread.join(seconds)

    def stop(self) -> None:
        """Nobody will take it: what is not begun is not begun."""
        self._wanted = False

    def taken(self) -> tuple[VectorIndex, GalleryIdentity] | None:
        """The index and the gallery as it was then; None where it could not be made: the old one goes on."""
        return self._made

    def _make(self) -> None:
        try:
            with self._reading() as connection:
                planned = plan(connection, _bound(connection), self._asked)
            index = empty(planned)
            if not self._wanted:
                return
            with self._reading() as connection:
                identity = _bound(connection)
                if identity.encoder.dimension == planned.dimension:
                    self._made = fill(connection, index), identity
        except (StorageError, ValueError, MemoryError, RuntimeError):  # told by whoever needs the database itself
            self._made = None


def _bound(connection: Connection) -> GalleryIdentity:
    identity = binding.identity(connection)
    if identity is None:
        raise DamagedRow("the gallery's own row is gone")
    return identity
