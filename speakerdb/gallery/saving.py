"""The index's snapshot on disk, which the database calls its own, and none while somebody's voice goes.

Nothing here asks for the gallery's lock: other threads may search meanwhile, and a fork, which holds it, waits for the
end, since a child would inherit the snapshot's lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from speakerdb.index import snapshot
from speakerdb.store import binding
from speakerdb.store.database import Database
from speakerdb.store.failures import translated
from speakerdb.store.forking import GATE

FOLDER = "index"
"""Of a gallery's."""


def write(folder: Path, taken: snapshot.Snapshot, store: Database, wait_s: float | None = None) -> bool:
    """Write a snapshot; False where the gallery has moved on from it, or somebody else writes one or removes.

    Args: folder: the index's; wait_s: for other writers; left out, `settings.BUSY_TIMEOUT_S`.
    Raises: StorageError where the disk refuses, or somebody writes for longer.
    """
    with GATE.passed(), translated(folder):
        return snapshot.save(folder, taken, partial(_generation, store), partial(_owned, store, wait_s))


@contextlib.contextmanager
def erased(folder: Path) -> Iterator[None]:
    """No snapshot on disk, nor a new one, until the block ends. Raises: StorageError where the disk refuses."""
    with GATE.passed(), translated(folder), snapshot.erased(folder):
        yield


def drop_foreign(folder: Path, store: Database) -> None:
    """Delete a snapshot of another history than the database's, where that may be done: nobody believes it."""
    with contextlib.suppress(OSError):
        snapshot.drop_foreign(folder, partial(_number, store))


def _generation(store: Database) -> int:
    with store.reading() as connection:
        return binding.generation(connection)


def _number(store: Database) -> int:
    with store.reading() as connection:
        return binding.snapshot_number(connection)


@contextlib.contextmanager
def _owned(store: Database, wait_s: float | None, number: int) -> Iterator[None]:
    """The number is the gallery's own from the end of the block on."""
    with store.writing(wait_s=wait_s) as connection:
        yield
        binding.own_snapshot(connection, number)
