"""Files that are there whole or not at all: made in a folder beside, on disk, and given their names at the end.

What a killed process was making is nobody's, and may hold voices. A draft is locked as long as its maker lives; the
others are deleted by the next that is made beside them, and whenever somebody is removed from a gallery. The lock is on
a file in the draft: folders cannot be locked across machines, or on Windows at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MAKING = ".speakerdb-making-"
"""How folders begin in which something is being made."""

LOCK, NAMING = "lock", ".speakerdb-naming"
NAMING_S, POLL_S = 10.0, 0.02
LOOKED_AT_S = 0.2
"""Who looks whether a draft's maker lives holds its lock for a moment."""
NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP)
"""What file systems say that do not take a folder's fsync: there is nothing else that could be done for its names."""


@contextlib.contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A new folder (0700) in this one, gone at the end of the block. Raises: OSError where the disk refuses."""
    clear(folder)
    made, lock = _draft(folder.absolute())  # wherever this process goes meanwhile
    try:
        yield made
    finally:
        _delete(made, lock)


def clear(folder: Path) -> bool:
    """Delete what processes that are gone were making here; False where a draft is left, be its maker alive."""
    done = True
    for left in _drafts(folder):
        try:
            lock = _opened(left / LOCK, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            continue  # made whole, or cleared by somebody else, by now
        except OSError:  # somebody else's
            done = False
            continue
        if _taken(lock):
            _delete(left, lock)
        else:
            os.close(lock)
        done = done and not left.exists()
    return done


def left_over(folder: Path) -> list[Path]:
    """What processes that are gone were making here, as far as it can be seen."""
    found = []
    for left in _drafts(folder):
        try:
            lock = _opened(left / LOCK, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        except FileNotFoundError:  # killed while it deleted, unless it has gone by now
            found += [left] if left.exists() else []
            continue
        except OSError:
            continue
        found += [left] if _taken(lock) else []
        os.close(lock)
    return found


def _drafts(folder: Path) -> list[Path]:
    """Folders alone: a link may lead anywhere."""
    return [left for left in folder.glob(f"{MAKING}*") if left.is_dir() and not left.is_symlink()]


def _taken(lock: int) -> bool:
    """Whether nobody held it. Where there are no locks somebody may."""
    try:
        return take_lock(lock)
    except OSError:
        return False


def give_name(draft: Path, file: Path) -> None:
    """Give a file that is on disk its name, on disk too; what has that name already stays.

    Raises: FileExistsError where there is something; another OSError where the disk refuses.
    """
    try:
        file.hardlink_to(draft)  # renaming would replace what came meanwhile
    except FileExistsError:
        if not (file.exists() and file.samefile(draft)):  # NFS says so, too, of a link that it has just made
            raise
    except OSError:  # no hard links here
        _rename(draft, file)
    fsync_folder(file.absolute().parent)


def make_folder(folder: Path) -> None:
    """Make a folder of mode 0700, and those above it, on disk: what is promised inside is worth no more than its entry.

    One that is there and empty gets that mode, too; in those that are made above it nobody else may write.
    """
    if folder.is_dir():
        if not any(folder.iterdir()):
            folder.chmod(0o700)
        with contextlib.suppress(PermissionError):  # who made it, and was killed, may not have come so far
            fsync_folder(folder.parent)
        return
    for missing in reversed([parent for parent in folder.parents if not parent.is_dir()]):
        missing.mkdir(0o755, exist_ok=True)
        fsync_folder(missing.parent)
    folder.mkdir(0o700, exist_ok=True)
    fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """What was made or named in a folder is on disk."""
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def take_lock(descriptor: int, wait_s: float = 0.0) -> bool:
    """Lock a file until its descriptor is closed; False where another process, or descriptor, holds it for longer."""
    give_up = time.monotonic() + wait_s
    while not (held := _lock_now(descriptor)) and time.monotonic() < give_up:
        time.sleep(POLL_S)
    return held


def _lock_now(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except PermissionError:  # Windows says so where another process holds it
        if os.name != "nt":
            raise
        return False
    return True


def _draft(folder: Path) -> tuple[Path, int]:
    """A new folder and its locked file."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # cleared before it was locked
            lock = _opened(made / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            with contextlib.suppress(OSError):  # no locks here: nothing is cleared, either
                if not take_lock(lock, LOOKED_AT_S) or not (made / LOCK).exists():
                    _delete(made, lock)
                    continue
            return made, lock


def _opened(lock: Path, how: int) -> int:
    nothing_else = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(lock, how | nothing_else, 0o600)


def _delete(made: Path, lock: int) -> None:
    if os.name == "nt":
        os.close(lock)  # a file that is open cannot be deleted there
    with contextlib.suppress(RecursionError):  # of folders that somebody else has put there
        shutil.rmtree(made, ignore_errors=True)
    if os.name != "nt":
        os.close(lock)


def _rename(draft: Path, file: Path) -> None:
    """As `hardlink_to`, one process at a time: between looking and renaming another one could give that name."""
    lock = _opened(file.absolute().parent / NAMING, os.O_RDWR | os.O_CREAT)
    try:
        take_lock(lock, NAMING_S)  # one that is held for longer is a hung process's: naming takes no time
        if os.path.lexists(file):
            raise FileExistsError(file)
        draft.rename(file)
    finally:
        os.close(lock)
