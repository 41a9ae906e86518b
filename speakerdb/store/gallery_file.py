"""The gallery's file: made, given its name, and opened where it is one that this program reads."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sqlalchemy import text

from speakerdb.durable import fsync_folder, give_name, make_folder, making
from speakerdb.errors import GalleryDamaged, GalleryTooNew, StateError, StorageError, printable
from speakerdb.store.database import FIXED, Database, journal_of, log_of, memory_of, size_of
from speakerdb.store.failures import translated
from speakerdb.store.fields import DamagedRow
from speakerdb.store.schema import METADATA, OLDER_REVISIONS, REVISION


def create(path: Path) -> Database:
    """Make the folder (0700) and the file (0600) with empty tables of the newest revision.

    The tables are made beside and linked into place: a file of that name is a whole one, even where this process is
    killed or another one does the same at the same moment. A file that is empty is a damaged one, therefore.
    """
    with translated(path):
        make_folder(path.parent)
        with making(path.parent) as beside:
            draft = beside / path.name
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # -wal and -shm get the same mode
            _make_tables(draft)
            try:
                give_gallerys_name(draft, path)
            except FileExistsError:  # another process was faster, and may not have come so far
                fsync_folder(path.parent)
    found = open_existing(path)
    if found is None:
        raise StorageError(f"{printable(path, 200)} is gone again; is somebody deleting the folder?", path=str(path))
    return found


def give_gallerys_name(draft: Path, path: Path) -> None:
    """As `give_name`; not beside the log of a gallery whose file is gone: SQLite applies it to whatever comes there.

    Nor is it deleted: if that file was only moved away, the log holds what it is to have.

    Raises: StorageError where there is such a log; what `give_name` raises.
    """
    for log in (log_of(path), journal_of(path)):
        # Whether the file is there is asked last: one that somebody makes at this moment has its log by then.
        if size_of(log) and not path.exists():
            what = f"{printable(log, 200)} is the log of a gallery whose {path.name} is gone"
            raise StorageError(f"{what}; put that file back, or delete its log", path=str(path))
    give_name(draft, path)


def _make_tables(path: Path) -> None:
    database = Database(path)
    try:
        database.keep_wal()
        with database.writing() as connection:
            METADATA.create_all(connection)
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REVISION})
        if not database.truncate_wal():  # closing would do it too, but say nothing where the disk refuses
            raise StorageError(f"{printable(path, 200)}: the disk did not take the tables", path=str(path))
    finally:
        database.close()


def open_existing(path: Path) -> Database | None:
    """Open a gallery's file and check that this program can read it; None where there is no file.

    Raises: GalleryDamaged, GalleryTooNew, StateError where `speakerdb db upgrade` is due, other StorageErrors.
    """
    if not is_there(path):
        return None
    database = Database(path, FIXED if _cannot_change(path) else "mode=rw")
    try:
        revision = read_revision(database)
        if revision == REVISION:
            if not database.fixed:
                database.keep_wal()
            return database
    except BaseException:
        database.close()
        raise
    database.close()
    if revision is None:
        log = f", or the log beside it ({log_of(path).name}) is another file's" if size_of(log_of(path)) else ""
        raise GalleryDamaged(str(path), f"not a gallery: its tables are missing{log}")
    if revision in OLDER_REVISIONS:
        raise StateError(
            f"{printable(path, 200)} has schema {revision}, {REVISION} is needed; run `speakerdb db upgrade`"
        )
    raise GalleryTooNew(str(path), revision)


def is_there(path: Path) -> bool:
    """Whether there is a gallery's file. Raises: GalleryDamaged for what is no file: a pipe would be waited for."""
    with translated(path):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
    if not stat.S_ISREG(mode):
        raise GalleryDamaged(str(path), "not a file")
    return True


def _cannot_change(path: Path) -> bool:
    """Whether a gallery lies on a medium that this machine cannot write, or in a folder that this user may not, and no
    log tells that others do: then SQLite needs neither lock nor log to read it, and would have no place for them. An
    empty log without the memory that those who use it share is one that was copied.

    Who may write there can begin at any time, and SQLite would not see it: `Database` looks after each reading.
    """
    log = log_of(path)
    if not (_on_a_medium_to_read(path) or _in_a_folder_to_read(log.parent)):
        return False
    return not log.exists() or (not size_of(log) and not memory_of(path).exists())


def _on_a_medium_to_read(path: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & getattr(os, "ST_RDONLY", 1))


def _in_a_folder_to_read(folder: Path) -> bool:
    mine = os.access in os.supports_effective_ids
    return not os.access(folder, os.W_OK, effective_ids=mine)


def read_revision(database: Database) -> str | None:
    """The schema's revision, None where the file holds no gallery."""
    with database.reading() as connection:
        known = text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
        if connection.execute(known).first() is None:
            return None
        rows = connection.execute(text("SELECT version_num FROM alembic_version")).all()
        if len(rows) > 1:
            raise DamagedRow("it has several schemas")
        return str(rows[0][0]) if rows else None
