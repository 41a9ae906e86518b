"""The index as a view of the database: it catches up before every search and is never asked what exists.

When a gallery has outgrown its index, another is made in a thread of its own; until it is there, the old one answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from speakerdb import settings
from speakerdb.embedding import Vector
from speakerdb.errors import StorageError
from speakerdb.gallery.building import Reading, Successor, build
from speakerdb.index import snapshot
from speakerdb.index.engine import outgrown, possible, resolve
from speakerdb.index.protocol import MISSING, VectorIndex
from speakerdb.store import records
from speakerdb.store.database import translated
from speakerdb.store.records import DamagedRow, GalleryIdentity

FOLDER = "index"


class IndexView:
    """The index of one gallery in memory. Not safe for use from several threads at once: the gallery locks."""

    def __init__(self, gallery_folder: Path, kind: str, reading: Reading) -> None:
        resolve(kind)  # a kind that is not known is refused here
        self._asked = kind
        self._reading = reading
        self._folder = gallery_folder / FOLDER
        self._index: VectorIndex | None = None
        self._binding: snapshot.Binding | None = None
        self._generation = -1
        self._changed_since_saved = 0
        self._successor: Successor | None = None

    def nearest(
        self, session: Session, identity: GalleryIdentity, query: Vector, count: int
    ) -> list[tuple[int, str, Vector]]:
        """Id, name and voiceprint of the speakers nearest to a unit vector as of the session's state, and a few more.

        Raises: DamagedRow where the database has lost a row.
        """
        for index in (self.caught_up, self.rebuild):  # the second where the first knows somebody who is not there
            found = _search(index(session, identity), query, count)
            names, prints = records.names_of(session, found), records.voiceprints_of(session, found)
            if names.keys() == prints.keys() == set(found):
                return [(speaker, names[speaker], prints[speaker]) for speaker in found]
        raise DamagedRow("a voiceprint has no speaker")

    def caught_up(self, session: Session, identity: GalleryIdentity) -> VectorIndex:
        """The index at the session's generation: loaded, replayed from the change log, or built from SQL."""
        binding = snapshot.Binding(identity.uuid, identity.encoder.sha256, identity.encoder.dimension, "")
        if self._index is None or self._binding != binding or self._generation > identity.generation:
            self._binding, self._successor = binding, None
            loaded = self._loaded(binding)
            if loaded is None or loaded[1] > identity.generation:
                return self.rebuild(session, identity)
            self._index, self._generation = loaded
            self._changed_since_saved = 0
        self._succeed(binding, identity.generation)
        self._replay(self._index, session, identity.generation)
        if self._successor is None and outgrown(self._asked, self._index):
            self._successor = Successor(self._reading, self._asked)
        return self._index

    def rebuild(self, session: Session, identity: GalleryIdentity) -> VectorIndex:
        """The index made anew from SQL. Raises: DamagedRow where there are speakers without voiceprint."""
        self._index, self._generation = build(session, identity, self._asked), identity.generation
        self._successor = None
        self._changed_since_saved = max(1, len(self._index))
        return self._index

    def save(self, current_generation: Callable[[], int]) -> None:
        """Write a snapshot where enough has changed. A disk that refuses costs time at the next start, no data."""
        if self._index is None or self._binding is None or not self._changed_since_saved:
            return
        if self._changed_since_saved < settings.SNAPSHOT_STALE_SHARE * len(self._index):
            return
        binding = replace(self._binding, kind=self._index.kind)
        with contextlib.suppress(OSError, StorageError):
            if snapshot.save(self._folder, self._index, binding, self._generation, current_generation):
                self._changed_since_saved = 0

    def _loaded(self, binding: snapshot.Binding) -> tuple[VectorIndex, int] | None:
        """The snapshot that agrees with the binding, of whichever kind the gallery had."""
        for kind in possible(self._asked):
            loaded = snapshot.load(self._folder, replace(binding, kind=kind))
            if loaded is not None:
                return loaded
        return None

    def _replay(self, index: VectorIndex, session: Session, generation: int) -> None:
        """Take over what has changed since the index's generation."""
        if self._generation == generation:
            return
        changed = records.changes_since(session, self._generation)
        present = records.voiceprints_of(session, changed)
        index.remove(np.array([speaker for speaker in changed if speaker not in present], np.int64))
        if present:
            index.add(np.array(list(present), np.int64), np.stack(list(present.values())))
        self._generation = generation
        self._changed_since_saved += len(changed)

    def _succeed(self, binding: snapshot.Binding, generation: int) -> None:
        """Put the index that was made beside in the place of the one that was outgrown."""
        made = None if self._successor is None or self._successor.under_way else self._successor.taken()
        if made is None:
            return
        index, then = made
        agrees = (then.uuid, then.encoder.sha256) == (binding.gallery_uuid, binding.encoder_sha256)
        if agrees and then.generation > generation:
            return  # this session began before that of the other thread
        self._successor = None
        if agrees:
            self._index, self._generation = index, then.generation
            self._changed_since_saved = max(1, len(index))

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
        self._index, self._generation, self._successor = None, -1, None


def _search(index: VectorIndex, query: Vector, count: int) -> list[int]:
    if not len(index):
        return []
    found, _ = index.search(query[None], min(count + index.spare, len(index)))
    return [int(speaker) for speaker in found[0] if speaker != MISSING]
