"""The SQLite file's connections and transactions.

The file is in WAL mode; `SETTINGS` are those of every connection. A write is
`BEGIN IMMEDIATE`, so it waits at its begin for another writer and never fails half-way for one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import QueuePool

from speakerdb import settings
from speakerdb.errors import (
    GalleryDamaged,
    StorageError,
    printable,
)
from speakerdb.store.driver import Driver, driver
from speakerdb.store.failures import meaning, of_writing, translated
from speakerdb.store.forking import GATE

FILE = "gallery.sqlite"
WRITE = "BEGIN IMMEDIATE"
FIXED = "mode=ro&immutable=1"
"""SQLite looks at the file once and never again: it lies where this process cannot write, and nobody else does."""

SETTINGS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",  # no copy of voices in the system's temporary folder
)

ROUND_MS = 3
"""Of waiting for the write lock: SQLite asks after 1 and 2 ms, and in a longer round after 5, 10, 15 and 20 more."""


class Database:
    """The connection pool of one gallery file."""

    def __init__(self, path: Path, options: str = "mode=rw") -> None:
        self.path = path
        self._engine = _engine(path, options)
        self.fixed = options == FIXED
        self._log = log_of(path)
        self._file: tuple[int, ...] | None = None
        GATE.watch(self)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Connection]:
        """A connection to the file that was opened, and to none that has come into its place."""
        with translated(self.path), GATE.passed(), self._engine.connect() as connection:
            self._require_the_same()
            beneath = driver(connection)
            try:
                yield connection
            finally:
                beneath.end_session()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout."""
        with self._session() as connection:
            driver(connection).execute("BEGIN")  # closing ends it: the pool rolls back what it is given back
            try:
                yield connection
            finally:
                if self.fixed:
                    self._require_the_same()

    @contextlib.contextmanager
    def writing(self, wait_s: float | None = None) -> Iterator[Connection]:
        """A transaction that holds the write lock; commits at the end, rolls back on any error.

        On leaving without an error the commit has been fsynced.
        Args: wait_s: for other writers, and 3 ms more; left out, `settings.BUSY_TIMEOUT_S`.
        """
        with self._session() as connection, connection.begin():
            _begin_writing(driver(connection), settings.BUSY_TIMEOUT_S if wait_s is None else wait_s)
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
                    _begin_writing(raw, settings.BUSY_TIMEOUT_S)
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
            file += found.st_size, found.st_mtime_ns
        if self._file is None:
            self._file = file
        if self._file != file or (self.fixed and size_of(self._log)):
            name = printable(self.path, 200)
            what = "changed" if self.fixed else "replaced"
            raise StorageError(f"{name} was {what} while it was open; open the gallery again", path=str(self.path))

    def erase_deleted(self) -> bool:
        """Leave nothing of deleted rows in the file or its log; False where that could not be done now.

        `secure_delete` zeroes a row where it lies, but not the copies that stay behind where SQLite moved rows
        between pages (measured: 1 name in 300 removals). Writing the file anew leaves those out.
        """
        rewritten = truncated = False
        with contextlib.suppress(StorageError, OSError, MemoryError):  # locked, or no room: the rows are gone
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


def log_of(path: Path) -> Path:
    """Where SQLite keeps what is committed and not in the file yet: beside the file itself, where this is a link."""
    return _beside(path, "-wal")


def journal_of(path: Path) -> Path:
    """As `log_of`, of a file that is not in WAL mode."""
    return _beside(path, "-journal")


def memory_of(path: Path) -> Path:
    """What those who use the log share; as long as it is there, somebody does."""
    return _beside(path, "-shm")


def _beside(path: Path, suffix: str) -> Path:
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.name}{suffix}")


def size_of(file: Path) -> int:
    """In bytes; 0 where there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _engine(path: Path, options: str) -> Engine:
    return create_engine(
        "sqlite://",
        creator=lambda: _connect(path, options),
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=28,
    )


def _begin_writing(connection: sqlite3.Connection, wait_s: float) -> None:
    """Take the write lock, asking for it every few milliseconds: whoever asks seldom starves among busy writers.

    SQLite's own waiting asks ever more seldom, up to every 100 ms. Eight writers on two busy cores kept one waiting for
    more than 10 s so, and on two quicker ones where it was begun anew every 50 ms: 120 times a second. Begun anew every
    3 ms it asks 600 times a second.
    """
    give_up = time.monotonic() + wait_s
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
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * _usual_wait_s())}")


def _usual_wait_s() -> float:
    """Of what is no write: copying the log into the file, writing that anew."""
    return min(settings.BUSY_TIMEOUT_S, settings.READERS_TIMEOUT_S)


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=_usual_wait_s(),
        isolation_level=None,
        check_same_thread=False,
        factory=Driver,
    )
    try:
        for pragma in SETTINGS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
