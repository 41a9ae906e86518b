"""Making an index from the database: at once, or beside whatever goes on, in a thread of its own or the caller's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
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

REPLAYED = 10_000
"""Changes that are always taken over one by one: an import can bring more than there was."""

AGAIN_S = 600.0
"""An index that could not be made beside another is tried again after so long."""


@dataclass(frozen=True)
class Made:
    """An index, and the gallery at the index's state."""

    index: VectorIndex
    identity: GalleryIdentity


class Plan(NamedTuple):
    """An index to be made: its kind, for so many voices, and voices to train it on where it has to be trained."""

    kind: str
    dimension: int
    size: int
    sample: Vectors | None


def build(connection: Connection, identity: GalleryIdentity, asked: str) -> VectorIndex:
    """The index of all voiceprints, of the kind that is asked for or fits their number, in one transaction.

    Raises: DamagedRow where there are speakers without voiceprint.
    """
    index = fill(empty(plan(connection, identity, asked)), voiceprints.in_batches(connection))
    return _complete(connection, index)


def make_beside(reading: Reading, asked: str, wanted: Callable[[], bool] = lambda: True) -> Made:
    """As `build`, beside whatever goes on: a transaction for each few thousand voices, none for the training.

    One that lasts would keep removals from leaving SQLite's log, and forks waiting. What changes meanwhile is taken
    over at the end.
    Raises: StorageError; RuntimeError where it is `wanted` no more.
    """
    with reading() as connection:
        begun = binding.required_identity(connection)
        planned = plan(connection, begun, asked)
    index = fill(empty(planned), _batches(reading, planned.dimension, wanted))
    with reading() as connection:
        identity = binding.required_identity(connection)
        if identity.encoder == begun.encoder and replay(connection, index, begun.generation) is not None:
            return Made(_complete(connection, index), identity)
    return make_beside(reading, asked, wanted)  # it moved to another encoder, or grew by more than it was


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


def fill(index: VectorIndex, batches: Iterable[tuple[list[int], Vectors]]) -> VectorIndex:
    """Add everybody. Args: batches: speaker ids and their voiceprints."""
    for speakers, vectors in batches:
        index.add(np.array(speakers, np.int64), vectors)
    return index


def replay(connection: Connection, index: VectorIndex, since: int) -> int | None:
    """Take over who has changed or gone after a generation; how many these were.

    None, and nothing taken over, where they are more than the index holds: it is sooner made anew.
    """
    changed = binding.changes_since(connection, since)
    if len(changed) > max(len(index), REPLAYED):
        return None
    present = voiceprints.of_speakers(connection, changed)
    index.remove(np.array([speaker for speaker in changed if speaker not in present], np.int64))
    if present:
        index.add(np.array(list(present), np.int64), np.stack(list(present.values())))
    return len(changed)


class Successor:
    """An index that is being made in a thread of its own."""

    def __init__(self, reading: Reading, asked: str) -> None:
        self._reading, self._asked = reading, asked
        self._made: Made | None = None
        self._wanted = True
        self._process, self._begun = os.getpid(), time.monotonic()
        self._thread = threading.Thread(target=self._make, name="speakerdb-index", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> bool:
        """Whether it is not finished yet."""
        return self._thread.is_alive()

    @property
    def in_vain(self) -> bool:
        """Whether another one should be begun: the thread stayed behind at a fork, or failed some time ago."""
        if self.under_way or self._made is not None:
            return False
        return os.getpid() != self._process or time.monotonic() - self._begun > AGAIN_S

    def wait(self, seconds: float) -> None:
        """Until it is finished, or not so long."""
        self._thread.join(seconds)

    def stop(self) -> None:
        """Nobody will take it: what is not begun is not begun."""
        self._wanted = False

    def taken(self) -> Made | None:
        """The index and the gallery as it was then; None where it could not be made: the old one goes on."""
        return self._made

    def _make(self) -> None:
        try:
            self._made = make_beside(self._reading, self._asked, lambda: self._wanted)
        except (StorageError, ValueError, MemoryError, RuntimeError):  # told by whoever needs the database itself
            self._made = None


def _batches(reading: Reading, dimension: int, wanted: Callable[[], bool]) -> Iterator[tuple[list[int], Vectors]]:
    """All voiceprints, each batch as of its own transaction; the rest is passed over where another encoder's come."""
    last = 0
    while True:
        if not wanted():
            raise RuntimeError("nobody wants the index any more")
        with reading() as connection:
            batch = voiceprints.next_batch(connection, last)
        if batch is None or batch[1].shape[1] != dimension:
            return
        yield batch
        last = batch[0][-1]


def _complete(connection: Connection, index: VectorIndex) -> VectorIndex:
    """The index. Raises: DamagedRow where there are speakers without voiceprint."""
    known = records.count_speakers(connection)
    if len(index) != known:
        raise DamagedRow(f"{known} speakers have {len(index)} voiceprints")
    return index
