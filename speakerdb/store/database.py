"""The SQLite file: making, opening, transactions.

The file is in WAL mode; `SETTINGS` are those of every connection. A write is
`BEGIN IMMEDIATE`, so it waits at its begin for another writer and never fails half-way for one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import QueuePool

from speakerdb import settings
from speakerdb.durable import fsync_folder, give_name, make_folder, making
from speakerdb.errors import (
    GalleryDamaged,
    GalleryTooNew,
    StateError,
    StorageError,
    printable,
)
from speakerdb.store.driver import driver
from speakerdb.store.failures import meaning, of_writing, translated
from speakerdb.store.forking import GATE
from speakerdb.store.schema import METADATA, OLDER_REVISIONS, REVISION

FILE = "gallery.sqlite"
WRITE = "BEGIN IMMEDIATE"
FIXED = "mode=ro&immutable=1"
"""SQLite looks at the file once and never again: a medium that nobody writes."""

SETTINGS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",  # no copy of voices in the system's temporary folder
)

ROUND_MS = 50
"""Of waiting for the write lock: SQLite asks after 1, 2, 5, 10, 15, 20 ms and ever more seldom from then on."""


class Database:
    """The connection pool of one gallery file."""

    def __init__(self, path: Path, options: str = "mode=rw") -> None:
        self.path = path
        self._engine = _engine(path, options)
        self.fixed = options == FIXED
        self._file: tuple[int, ...] | None = None
        GATE.watch(self)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Connection]:
        """A connection to the file that was opened, and to none that has come into its place."""
        with translated(self.path), GATE.passed(), self._engine.connect() as connection:
            self._require_the_same()
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout."""
        with self._session() as connection:
            driver(connection).execute("BEGIN")  # closing ends it: the pool rolls back what it is given back
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the write lock; commits at the end, rolls back on any error.

        On leaving without an error the commit has been fsynced.
        """
        with self._session() as connection, connection.begin():
            _begin_writing(driver(connection))
            yield connection

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Connection]:
        """As `writing`, with foreign keys checked at the end instead of enforced.

        A migration that makes a table anew drops the old one, which would delete all rows that refer to it.
        """
        with self._session() as connection:
            raw = driver(connection)
            raw.execute("PRAGMA foreign_keys = OFF")  # without effect once a transaction has begun
            try:
                with connection.begin():
                    _begin_writing(raw)
                    yield connection
                    if connection.execute(text("PRAGMA foreign_key_check")).first():
                        raise GalleryDamaged(str(self.path), "rows refer to rows that are not there")
            finally:
                raw.execute("PRAGMA foreign_keys = ON")

    def _require_the_same(self) -> None:
        """Raise StorageError where the file was deleted or replaced since it was opened: what went into the one that is
        open would be in no gallery. One that SQLite takes for unchangeable must not have changed, either."""
        found = self.path.stat()
        file: tuple[int, ...] = found.st_dev, found.st_ino
        if self.fixed:
            file += found.st_size, found.st_mtime_ns, _size(_log(self.path))
        if self._file is None:
            self._file = file
        elif self._file != file:
            name = printable(self.path, 200)
            what = "changed" if self.fixed else "replaced"
            raise StorageError(f"{name} was {what} while it was open; open the gallery again", path=str(self.path))

    def erase_deleted(self) -> bool:
        """Leave nothing of deleted rows in the file or its log; False where that could not be done now.

        `secure_delete` zeroes a row where it lies, but not the copies that stay behind where SQLite moved rows
        between pages (measured: 1 name in 300 removals). Writing the file anew leaves those out.
        """
        rewritten = truncated = False
        with contextlib.suppress(StorageError, OSError):  # locked, or no space: the rows are gone all the same
            if self.path.stat().st_size <= settings.REWRITE_BELOW_BYTES:
                self._rewrite()
            rewritten = True
        with contextlib.suppress(StorageError):  # and what a rewriting that failed has left in the log
            truncated = self.truncate_wal()
        return rewritten and truncated

    def _rewrite(self) -> None:
        with self._session() as connection:
            driver(connection).execute("VACUUM")

    def keep_wal(self) -> None:
        """See to it that the file is in WAL mode; not before it is known to be a gallery, since that writes to it."""
        with self._session() as connection:
            raw = driver(connection)
            raw.execute("PRAGMA journal_mode = WAL")

    def truncate_wal(self) -> bool:
        """Move the log into the database and cut it to nothing; False where a reader elsewhere needs it still."""
        with self._session() as connection:
            raw = driver(connection)
            busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def copy_to(self, target: sqlite3.Connection, file: Path) -> None:
        """Copy the whole database as of this moment by SQLite's online backup; in WAL mode nobody waits for it.

        Args: file: where the target lies; an error names the one of the two whose disk it is.
        """
        with self._session() as connection:
            raw = driver(connection)
            try:
                raw.backup(target)
            except sqlite3.Error as error:
                raise meaning(file if of_writing(error) else self.path, error) from error
            self._require_the_same()

    def close(self) -> None:
        """Close all connections; the last process to do so folds the log into the database."""
        self._engine.dispose()


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
    for log in (_log(path), path.with_name(f"{path.name}-journal")):
        if (
            _size(log) and not path.exists()
        ):  # asked last: a gallery that somebody makes at this moment has its log then
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
    with translated(path):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
    if not stat.S_ISREG(mode):  # a pipe would be waited for
        raise GalleryDamaged(str(path), "not a file")
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
        log = f", or the log beside it ({_log(path).name}) is another file's" if _size(_log(path)) else ""
        raise GalleryDamaged(str(path), f"not a gallery: its tables are missing{log}")
    if revision in OLDER_REVISIONS:
        raise StateError(
            f"{printable(path, 200)} has schema {revision}, {REVISION} is needed; run `speakerdb db upgrade`"
        )
    raise GalleryTooNew(str(path), revision)


def _cannot_change(path: Path) -> bool:
    """Whether a gallery lies on a medium that this machine cannot write, and no log tells that another one does: then
    SQLite needs neither lock nor log to read it, and would have no place for them. An empty log without the memory that
    those who use it share is one that was copied.

    In a folder that only this user may not write others can, and SQLite would not see that they do.
    """
    if not hasattr(os, "statvfs") or not os.statvfs(path).f_flag & getattr(os, "ST_RDONLY", 1):
        return False
    log = _log(path)
    return not log.exists() or (not _size(log) and not path.with_name(f"{path.name}-shm").exists())


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def read_revision(database: Database) -> str | None:
    """The schema's revision, None where the file holds no gallery."""
    with database.reading() as connection:
        known = text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
        if connection.execute(known).first() is None:
            return None
        row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
        return str(row[0]) if row else None


def _engine(path: Path, options: str) -> Engine:
    return create_engine(
        "sqlite://",
        creator=lambda: _connect(path, options),
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=28,
    )


def _begin_writing(connection: sqlite3.Connection) -> None:
    """Take the write lock, asking for it every few milliseconds: whoever asks seldom starves among busy writers.

    SQLite's own waiting asks ever more seldom, up to every 100 ms. Eight writers on two busy cores kept one waiting for
    more than 10 s so; begun anew, its waiting starts at a millisecond again.
    """
    give_up = time.monotonic() + settings.BUSY_TIMEOUT_S
    connection.execute(f"PRAGMA busy_timeout = {ROUND_MS}")
    try:
        while True:
            try:
                connection.execute(WRITE)
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= give_up:
                    raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * settings.BUSY_TIMEOUT_S)}")


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=settings.BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in SETTINGS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
