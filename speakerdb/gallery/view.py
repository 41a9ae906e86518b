"""The index as a view of the database: it catches up before every search and is never asked what exists.

When a gallery has outgrown its index, another is made in a thread of its own; until it is there, the old one answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection

from speakerdb import settings
from speakerdb.embedding import Vector
from speakerdb.errors import EmptyGallery, StorageError
from speakerdb.gallery import saving
from speakerdb.gallery.building import Made, Successor, build, make_beside, replay
from speakerdb.index import snapshot
from speakerdb.index.engine import outgrown, possible, resolve
from speakerdb.index.protocol import MISSING, VectorIndex
from speakerdb.index.snapshot import Snapshot
from speakerdb.store import binding
from speakerdb.store.binding import Changes, GalleryIdentity
from speakerdb.store.database import Database
from speakerdb.store.fields import DamagedRow
from speakerdb.store.found import Near, prints_of

KEPT_FROM_BYTES = 16 << 20
"""A snapshot beyond this is sooner loaded than made anew."""

WAITED_FOR, WAIT_S = 100_000, 5.0
"""Closing waits for the new index of a gallery up to this size, which takes seconds, and at most so long."""

SPARE = 8
"""Searched beyond what is asked for: float32 cosines confuse voices whose distances differ by less than 0.0005, and
those of bytes voices whose cosines differ by less than 0.01."""


class IndexView:
    """The index of one gallery in memory. Not safe for use from several threads at once: the gallery locks."""

    def __init__(self, folder: Path, kind: str, store: Callable[[], Database]) -> None:
        resolve(kind)  # a kind that cannot be had is refused here
        self._asked = kind
        self._store = store
        self._folder = folder
        self._index: VectorIndex | None = None
        self._binding: snapshot.Binding | None = None
        self._generation = -1
        self._last: Changes = {}  # up to that generation; none where the database has not been asked
        self._changed_since_saved = 0
        self._successor: Successor | None = None

    def nearest(self, connection: Connection, identity: GalleryIdentity, query: Vector, count: int) -> Near:
        """The speakers nearest to a unit vector as of the connection's state, and a few more.

        Raises: EmptyGallery; DamagedRow where the database has lost a row.
        """
        for index in (self.caught_up, self.rebuild):  # the second where the first knows somebody who is not there
            searched = index(connection, identity)
            if not len(searched):
                raise EmptyGallery
            ids = _search(searched, query, count)
            prints = prints_of(connection, ids) if ids else None  # an index that finds nobody is none of ours
            if prints is not None:
                self._begin_successor()
                return Near(ids, prints, len(searched))
        raise DamagedRow("a speaker of the index has no voiceprint")

    def caught_up(self, connection: Connection, identity: GalleryIdentity) -> VectorIndex:
        """The index at the connection's generation: loaded, replayed from the change log, or built from SQL."""
        bound = _binding(identity)
        if self._index is None or self._binding != bound or not self._continued(connection, identity):
            self._binding, self._index, self._successor = bound, None, None  # where building fails, none is left
            loaded = self._loaded(identity)
            if loaded is None:
                return self.rebuild(connection, identity)
            self._put(*loaded)
            self._changed_since_saved = 0
        self._succeed(bound, identity.generation)
        index = self._index
        if index is None or not self._replay(index, connection, identity.generation):
            return self.rebuild(connection, identity)
        return index

    def _continued(self, connection: Connection, identity: GalleryIdentity) -> bool:
        """Whether the database is a later state of the one that the index stands at, and not a restored one."""
        return self._generation <= identity.generation and binding.continues(connection, self._generation, self._last)

    def _put(self, index: VectorIndex, generation: int) -> None:
        """This index from now on, which stands at a generation; to be saved."""
        self._index, self._generation, self._last = index, generation, {}
        self._changed_since_saved = max(1, len(index))

    def rebuild(self, connection: Connection, identity: GalleryIdentity) -> VectorIndex:
        """The index made anew from SQL. Raises: DamagedRow where there are speakers without voiceprint."""
        index = build(connection, identity, self._asked)
        self._put(index, identity.generation)
        self._last, self._successor = binding.last_changes(connection, identity.generation), None
        return index

    def made_beside(self) -> Made:
        """An index made anew without any lock; `replaced` puts it in the place of the one that answers meanwhile."""
        return make_beside(self._store().reading, self._asked)

    def replaced(self, made: Made, connection: Connection, identity: GalleryIdentity) -> VectorIndex:
        """The index that was made beside, at the connection's generation."""
        self.forget()
        self._binding = _binding(made.identity)
        self._put(made.index, made.identity.generation)
        return self.caught_up(connection, identity)

    def save(self) -> None:
        """Write a snapshot where enough has changed, and wait for nobody.

        A disk that refuses costs time at the next start, no data.
        """
        taken = self.taken()
        if taken is not None:
            with contextlib.suppress(StorageError):
                saving.write(self._folder, taken, self._store(), wait_s=0.0)

    def taken(self) -> Snapshot | None:
        """The index as it is to be written; None where too little has changed."""
        index, changed = self._index, self._changed_since_saved
        if index is None or self._binding is None or not changed:
            return None
        if changed < settings.SNAPSHOT_STALE_SHARE * len(index):
            return None
        return snapshot.taken(index, replace(self._binding, kind=index.kind), self._generation)

    def written(self, taken: Snapshot) -> None:
        """That snapshot is on disk; what has changed since is in none."""
        if self._generation == taken.generation:
            self._changed_since_saved = 0

    def _loaded(self, identity: GalleryIdentity) -> tuple[VectorIndex, int] | None:
        """The gallery's own snapshot, of whichever kind it is; None where it is of a later state than this one."""
        for kind in possible(self._asked):
            loaded = snapshot.load(self._folder, replace(_binding(identity), kind=kind), identity.snapshot)
            if loaded is not None:
                return loaded if loaded[1] <= identity.generation else None
        return None

    def _replay(self, index: VectorIndex, connection: Connection, generation: int) -> bool:
        """Take over what has changed since the index's generation; False where that is more than the index holds."""
        if self._generation == generation and self._last:
            return True
        changed = replay(connection, index, self._generation)
        if changed is None:
            return False
        self._generation, self._last = generation, binding.last_changes(connection, generation)
        self._changed_since_saved += changed
        return True

    def _begin_successor(self) -> None:
        """Where the gallery has outgrown its index; by searches alone, since closing has no use for another one."""
        if self._successor is not None and not self._successor.in_vain:
            return
        if self._index is not None and outgrown(self._asked, self._index):
            self._successor = Successor(self._store().reading, self._asked)

    def _succeed(self, binding: snapshot.Binding, generation: int) -> None:
        """Put the index that was made beside in the place of the one that was outgrown."""
        made = None if self._successor is None or self._successor.under_way else self._successor.taken()
        if made is None:
            return
        index, then = made.index, made.identity
        agrees = (then.uuid, then.encoder.sha256) == (binding.gallery_uuid, binding.encoder_sha256)
        if agrees and then.generation > generation:
            return  # this connection began before that of the other thread
        self._successor = None
        if agrees:
            self._put(index, then.generation)

    def keep(self, identity: GalleryIdentity) -> None:
        """Somebody is about to be removed, and the snapshot with them: what took long to make is not thrown away.

        A large snapshot is loaded, and `save` writes it again without whoever was removed.
        """
        if self._index is None and snapshot.size_bytes(self._folder) > KEPT_FROM_BYTES:
            self._binding = _binding(identity)
            loaded = self._loaded(identity)
            if loaded is not None:
                self._put(*loaded)
        if self._index is not None:
            self._changed_since_saved = max(1, len(self._index))

    def settle(self, connection: Connection, identity: GalleryIdentity) -> None:
        """Catch up before the last `save`; an index that is about to be there is waited for."""
        if self._index is None:
            return
        if self._successor is not None and len(self._index) <= WAITED_FOR:
            self._successor.wait(WAIT_S)
        self.caught_up(connection, identity)

    def forget(self) -> None:
        """Drop the index in memory; the next search loads or builds it."""
        if self._successor is not None:
            self._successor.stop()
        self._index, self._generation, self._successor = None, -1, None


def _binding(identity: GalleryIdentity) -> snapshot.Binding:
    """What a snapshot of the gallery must agree with; of which kind it is, is open."""
    return snapshot.Binding(identity.uuid, identity.encoder.sha256, identity.encoder.dimension, "")


def _search(index: VectorIndex, query: Vector, count: int) -> list[int]:
    ids, _ = index.search(query[None], min(max(count + SPARE, settings.RESCORED), len(index)))
    return [speaker for speaker in ids[0].tolist() if speaker != MISSING]
