"""A copy of a gallery that is in use: SQLite's online backup, whole or not there at all."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from speakerdb.durable import make_folder, making
from speakerdb.errors import GalleryDamaged, StateError, printable
from speakerdb.store.database import FILE, Database
from speakerdb.store.failures import translated
from speakerdb.store.gallery_file import give_gallerys_name


def backup(database: Database, folder: Path) -> int:
    """Copy the database as it is at one moment into a folder that is a gallery then; its size in bytes.

    Others may read and write meanwhile. The copy is checked and on disk before it has its name.
    Raises: StateError where the folder holds a gallery already; GalleryDamaged where SQLite's check finds the copy, and
        so the original, damaged; StorageError where the disk refuses, or the folder holds a log that would be applied.
    """
    target = folder / FILE
    with translated(target):
        if os.path.lexists(target):
            raise StateError(f"{printable(folder, 200)} holds a gallery already; name a new folder")
        make_folder(folder)
        with making(folder) as beside:
            draft = beside / FILE
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            _copy(database, draft, folder)
            size = draft.stat().st_size
            try:
                give_gallerys_name(draft, target)
            except FileExistsError as error:
                raise StateError(f"{printable(folder, 200)} holds a gallery by now; name a new folder") from error
    return size


def _copy(database: Database, draft: Path, folder: Path) -> None:
    copy = sqlite3.connect(draft, isolation_level=None)
    try:
        copy.execute("PRAGMA synchronous = FULL")
        database.copy_to(copy, folder / FILE)
        found = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(5)")]
        if found != ["ok"]:
            raise GalleryDamaged(str(database.path), found[0])
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        copy.close()
    descriptor = os.open(draft, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
