"""The index as a view of the database: it catches up before every search and is never asked what exists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from speakerdb import settings
from speakerdb.embedding import Vector
from speakerdb.errors import StorageError
from speakerdb.index import snapshot
from speakerdb.index.engine import make_index, resolve
from speakerdb.index.protocol import MISSING, VectorIndex
from speakerdb.store import records
from speakerdb.store.database import translated
from speakerdb.store.records import DamagedRow, GalleryIdentity

FOLDER = "index"
SPARE = 8
"""Searched beyond what is asked for: float32 cosines confuse voices whose distances differ by less than 0.0005."""


class IndexView:
    """The index of one gallery in memory. Not safe for use from several threads at once: the gallery locks."""

    def __init__(self, gallery_folder: Path, kind: str) -> None:
        self.kind = resolve(kind)
        self._folder = gallery_folder / FOLDER
        self._index: VectorIndex | None = None
        self._binding: snapshot.Binding | None = None
        self._generation = -1
        self._changed_since_saved = 0

    def nearest(
        self, session: Session, identity: GalleryIdentity, query: Vector, count: int
    ) -> list[tuple[int, str, Vector]]:
        """Id, name and voiceprint of the speakers nearest to a unit vector as of the session's state, and a few more.

        Raises: DamagedRow where the database has lost a row.
        """
        for index in (self.caught_up, self.rebuild):  # the second where the first knows somebody who is not there
            found = _search(index(session, identity), query, count + SPARE)
            names, prints = records.names_of(session, found), records.voiceprints_of(session, found)
            if names.keys() == prints.keys() == set(found):
                return [(speaker, names[speaker], prints[speaker]) for speaker in found]
        raise DamagedRow("a voiceprint has no speaker")

    def caught_up(self, session: Session, identity: GalleryIdentity) -> VectorIndex:
        """The index at the session's generation: loaded, replayed from the change log, or built from SQL."""
        binding = snapshot.Binding(identity.uuid, identity.encoder.sha256, identity.encoder.dimension, self.kind)
        if self._index is None or self._binding != binding or self._generation > identity.generation:
            self._binding = binding
            loaded = snapshot.load(self._folder, binding)
            if loaded is None or loaded[1] > identity.generation:
                return self.rebuild(session, identity)
            self._index, self._generation = loaded
            self._changed_since_saved = 0
        if self._generation < identity.generation:
            changed = records.changes_since(session, self._generation)
            present = records.voiceprints_of(session, changed)
            gone = np.array([speaker for speaker in changed if speaker not in present], np.int64)
            self._index.remove(gone)
            if present:
                self._index.add(np.array(list(present), np.int64), np.stack(list(present.values())))
            self._generation = identity.generation
            self._changed_since_saved += len(changed)
        return self._index

    def rebuild(self, session: Session, identity: GalleryIdentity) -> VectorIndex:
        """The index made anew from SQL. Raises: DamagedRow where there are speakers without voiceprint."""
        index = make_index(self.kind, identity.encoder.dimension)
        for speakers, vectors in records.all_voiceprints(session):
            index.add(np.array(speakers, np.int64), vectors)
        known = records.count_speakers(session)
        if len(index) != known:
            raise DamagedRow(f"{known} speakers have {len(index)} voiceprints")
        self._index, self._generation = index, identity.generation
        self._changed_since_saved = max(1, len(index))
        return index

    def save(self, current_generation: Callable[[], int]) -> None:
        """Write a snapshot where enough has changed. A disk that refuses costs time at the next start, no data."""
        if self._index is None or self._binding is None or not self._changed_since_saved:
            return
        if self._changed_since_saved < settings.SNAPSHOT_STALE_SHARE * len(self._index):
            return
        with contextlib.suppress(OSError, StorageError):
            if snapshot.save(self._folder, self._index, self._binding, self._generation, current_generation):
                self._changed_since_saved = 0

    def drop_later(self, generation: int) -> None:
        """Delete a snapshot of a later state than the database's."""
        with translated(self._folder):
            snapshot.drop_later(self._folder, generation)

    @contextlib.contextmanager
    def erased(self) -> Iterator[None]:
        """No snapshot on disk, nor a new one, until the block ends. Raises: StorageError where the disk refuses."""
        with translated(self._folder), snapshot.erased(self._folder):
            yield

    def forget(self) -> None:
        """Drop the index in memory; the next search loads or builds it."""
        self._index, self._generation = None, -1


def _search(index: VectorIndex, query: Vector, count: int) -> list[int]:
    if not len(index):
        return []
    found, _ = index.search(query[None], min(count, len(index)))
    return [int(speaker) for speaker in found[0] if speaker != MISSING]
