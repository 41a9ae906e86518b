"""The SQLite file: making, opening, transactions, and what its errors mean to a user.

WAL, `synchronous=FULL`, foreign keys and `secure_delete` are set on every connection. A write is `BEGIN IMMEDIATE`,
so it waits at its begin for another writer and never fails half-way for one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from speakerdb import settings
from speakerdb.errors import (
    GalleryDamaged,
    GalleryFull,
    GalleryLocked,
    GalleryReadOnly,
    GalleryTooNew,
    StateError,
    StorageError,
)
from speakerdb.store.records import DamagedVector
from speakerdb.store.schema import OLDER_REVISIONS, REVISION, Base

FILE = "gallery.sqlite"
FULL_BELOW_BYTES = 1 << 20
"""SQLite tells a full disk as an I/O error in places; with less than this free, that is what it was."""


class Database:
    """The connection pool of one gallery file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database throughout."""
        with self._session("BEGIN") as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that holds the write lock; commits at the end, rolls back on any error.

        On leaving without an error the commit has been fsynced.
        """
        with self._session("BEGIN IMMEDIATE") as session:
            yield session

    @contextlib.contextmanager
    def _session(self, begin: str) -> Iterator[Session]:
        with (
            translated(self.path),
            self._engine.connect().execution_options(speakerdb_begin=begin) as connection,
            Session(connection) as session,
            session.begin(),
        ):
            yield session

    def truncate_wal(self) -> bool:
        """Move the log into the database and cut it to nothing; False where a reader elsewhere needs it still."""
        with translated(self.path), self._engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def integrity(self) -> list[str]:
        """What SQLite's own checks find; empty where all is well."""
        with self.reading() as session:
            found = [str(row[0]) for row in session.execute(text("PRAGMA integrity_check(20)"))]
            found += [f"foreign key of {row[0]}" for row in session.execute(text("PRAGMA foreign_key_check"))]
        return [line for line in found if line != "ok"]

    def close(self) -> None:
        """Close all connections; the last process to do so folds the log into the database."""
        self._engine.dispose()


def create(path: Path) -> Database:
    """Make the folder (0700) and the file (0600) with empty tables of the newest revision.

    Another process may do the same at the same moment: every statement bears that.
    """
    with translated(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives -wal and -shm the same mode
    database = Database(path)
    with database.writing() as session:
        Base.metadata.create_all(session.connection(), checkfirst=True)
        session.execute(
            text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
        session.execute(text("INSERT OR IGNORE INTO alembic_version VALUES (:revision)"), {"revision": REVISION})
    return database


def open_existing(path: Path) -> Database:
    """Open a gallery's file and check that this program can read it.

    Raises: GalleryDamaged, GalleryTooNew, StateError where `speakerdb db upgrade` is due, other StorageErrors.
    """
    database = Database(path)
    revision = read_revision(database)
    if revision == REVISION:
        return database
    database.close()
    if revision is None:
        raise GalleryDamaged(str(path), "not a gallery: its tables are missing")
    if revision in OLDER_REVISIONS:
        raise StateError(f"{path} has schema {revision}, {REVISION} is needed; run `speakerdb db upgrade`")
    raise GalleryTooNew(str(path), revision)


def read_revision(database: Database) -> str | None:
    """The schema's revision, None where the file holds no gallery."""
    with database.reading() as session:
        known = text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
        if session.execute(known).first() is None:
            return None
        row = session.execute(text("SELECT version_num FROM alembic_version")).first()
        return str(row[0]) if row else None


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLAlchemy, SQLite and the system raise into one line for the user."""
    try:
        yield
    except DamagedVector as error:
        raise GalleryDamaged(str(path), "a vector's checksum does not agree") from error
    except DatabaseError as error:
        raise _meaning(path, error.orig) from error
    except sqlite3.Error as error:
        raise _meaning(path, error) from error
    except OSError as error:
        raise _meaning_of_os(path, error) from error


def _meaning(path: Path, error: BaseException | None) -> StorageError:
    name = str(getattr(error, "sqlite_errorname", ""))
    shown = str(path)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        return GalleryLocked(shown, settings.BUSY_TIMEOUT_S)
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return GalleryFull(shown)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return GalleryReadOnly(shown)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA")) or not name.startswith("SQLITE_IOERR"):
        return GalleryDamaged(shown, str(error))
    return StorageError(f"{shown}: the disk reports an error ({error}); nothing was changed", path=shown)


def _meaning_of_os(path: Path, error: OSError) -> StorageError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return GalleryFull(str(path))
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return GalleryReadOnly(str(path))
    return StorageError(f"{path}: {error.strerror or error}; choose another folder with --gallery", path=str(path))


def _is_full(path: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return False
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize < FULL_BELOW_BYTES


def _engine(path: Path) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path),
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=28,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:  # the driver would begin only at the first write, and never IMMEDIATE
        connection.exec_driver_sql(connection.get_execution_options().get("speakerdb_begin", "BEGIN"))

    return engine


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=settings.BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
