"""What SQLite, SQLAlchemy and the system raise, in one line for the user."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from speakerdb import settings
from speakerdb.errors import GalleryDamaged, GalleryFull, GalleryLocked, GalleryReadOnly, StorageError, printable
from speakerdb.store.fields import DamagedRow

FULL_BELOW_BYTES = 1 << 20
"""SQLite tells a full disk as an I/O error in places; with less than this free, that is what it was."""

LONGEST_PATH = 475
"""Bytes of a path: SQLite's 512 less the names that it makes of it."""

OF_WRITING = (
    "SQLITE_FULL",
    *(f"SQLITE_IOERR_{call}" for call in ("WRITE", "FSYNC", "DIR_FSYNC", "TRUNCATE", "DELETE")),
)


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that is being written into one line; what a database says is not of it."""
    try:
        yield
    except OSError as error:
        raise _meaning_of_os(path, error) from error


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLAlchemy, SQLite and the system raise into one line for the user."""
    try:
        yield
    except DamagedRow as error:
        raise GalleryDamaged(str(path), str(error)) from error
    except DBAPIError as error:
        raise meaning(path, error.orig) from error
    except UnicodeDecodeError as error:  # in the driver, on a message that quotes damaged bytes
        raise GalleryDamaged(str(path), "its text cannot be read") from error
    except PoolTimeout as error:  # more threads than connections
        raise GalleryLocked(str(path), settings.BUSY_TIMEOUT_S) from error
    except SQLAlchemyError as error:  # a row that must be there is not
        raise GalleryDamaged(str(path), str(error)) from error
    except sqlite3.Error as error:
        raise meaning(path, error) from error
    except OSError as error:
        raise _meaning_of_os(path, error) from error


def of_writing(error: sqlite3.Error) -> bool:
    """Whether it is about the file that was written, of two."""
    return str(getattr(error, "sqlite_errorname", "")).startswith(OF_WRITING)


def meaning(path: Path, error: BaseException | None) -> StorageError:
    """What an error of SQLite's means to who uses the file."""
    name = str(getattr(error, "sqlite_errorname", ""))
    shown = str(path)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        return GalleryLocked(shown, settings.BUSY_TIMEOUT_S)
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return GalleryFull(shown)
    if name.startswith("SQLITE_CANTOPEN"):
        return _of_opening(path)
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return GalleryReadOnly(shown)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA")) or not name.startswith("SQLITE_IOERR"):
        return GalleryDamaged(shown, str(error))
    what = f"the disk reports an error ({error}); what was under way was not written"
    return StorageError(f"{printable(path, 200)}: {what}", path=shown)


def _of_opening(path: Path) -> StorageError:
    """SQLite does not say why it could not open a file, so the system is asked."""
    if len(os.fsencode(path.absolute())) > LONGEST_PATH:
        return StorageError(f"{printable(path, 200)}: a longer path than SQLite takes", path=str(path))
    try:
        os.close(os.open(path.parent, os.O_RDONLY))
    except OSError as error:
        return _meaning_of_os(path, error)
    if hasattr(os, "statvfs"):
        disk = os.statvfs(path.parent)
        if disk.f_files and not disk.f_favail:  # of new files; some file systems do not count them
            return GalleryFull(str(path))
    return GalleryReadOnly(str(path))


def _meaning_of_os(path: Path, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return GalleryFull(str(path))
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return GalleryReadOnly(str(path))
    return StorageError(f"{printable(path, 200)}: {error.strerror or error}", path=str(path))


def _is_full(path: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return False
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize < FULL_BELOW_BYTES
