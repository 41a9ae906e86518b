"""Making an index from the database: at once, or in a thread of its own while an older one answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from sqlalchemy.orm import Session

from speakerdb.errors import StorageError
from speakerdb.index.engine import kind_for, make_index
from speakerdb.index.protocol import VectorIndex
from speakerdb.store import records
from speakerdb.store.records import DamagedRow, GalleryIdentity

Reading = Callable[[], AbstractContextManager[Session]]
"""Begins a session that sees one state of the database."""


def build(session: Session, identity: GalleryIdentity, asked: str) -> VectorIndex:
    """The index of all voiceprints, of the kind that is asked for or fits their number.

    Raises: DamagedRow where there are speakers without voiceprint.
    """
    known = records.count_speakers(session)
    index = _empty(session, identity, kind_for(asked, known), known)
    for speakers, vectors in records.all_voiceprints(session):
        index.add(np.array(speakers, np.int64), vectors)
    if len(index) != known:
        raise DamagedRow(f"{known} speakers have {len(index)} voiceprints")
    return index


def _empty(session: Session, identity: GalleryIdentity, kind: str, size: int) -> VectorIndex:
    if kind != "faiss-ivf":
        return make_index(kind, identity.encoder.dimension)
    from speakerdb.index import inverted_file

    sample = records.some_voiceprints(session, inverted_file.training_size(size), size)
    return inverted_file.trained(sample, size)


class Successor:
    """An index that is being made in a thread of its own, from a state of the database that it sees throughout."""

    def __init__(self, reading: Reading, asked: str) -> None:
        self._reading, self._asked = reading, asked
        self._made: tuple[VectorIndex, GalleryIdentity] | None = None
        self._thread = threading.Thread(target=self._make, name="speakerdb-index", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> bool:
        """Whether it is not finished yet."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Until it is finished, or not so long."""
        self._thread.join(seconds)

    def taken(self) -> tuple[VectorIndex, GalleryIdentity] | None:
        """The index and the gallery as it was then; None where it could not be made: the old one goes on."""
        return self._made

    def _make(self) -> None:
        try:
            with self._reading() as session:
                identity = records.identity(session)
                if identity is not None:
                    self._made = build(session, identity, self._asked), identity
        except (StorageError, ValueError, MemoryError, RuntimeError):  # told by whoever needs the database itself
            self._made = None
