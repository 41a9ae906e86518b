"""Files that are there whole or not at all: made in a folder beside, on disk, and given their names at the end.

What a killed process was making is nobody's, and may hold voices. A folder in which something is being made is locked
as long as its maker lives; the others are deleted by the next that is made beside them, and whenever somebody is
removed from a gallery.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAKING = ".speakerdb-making-"
"""How folders begin in which something is being made."""


@contextlib.contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A new folder (0700) in this one, gone at the end of the block. Raises: OSError where the disk refuses."""
    clear(folder)
    made, lock = _locked(folder)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def clear(folder: Path) -> None:
    """Delete what processes that are gone were making here."""
    for left in folder.glob(f"{MAKING}*"):
        with contextlib.suppress(OSError):  # made whole, or cleared by somebody else, by now
            lock = _lock(left)
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def give_name(draft: Path, file: Path) -> None:
    """Give a file that is on disk its name, on disk too; what has that name already stays.

    Raises: FileExistsError where there is something; another OSError where the disk refuses.
    """
    try:
        file.hardlink_to(draft)  # renaming would replace what came meanwhile
    except FileExistsError:
        raise
    except OSError as error:  # no hard links here
        if file.exists():
            raise FileExistsError(file) from error
        draft.rename(file)
    fsync_folder(file.absolute().parent)


def make_folder(folder: Path) -> None:
    """Make a folder of mode 0700, and those above it, on disk: what is promised inside is worth no more than its entry.

    One that is there and empty gets that mode, too; in those that are made above it nobody else may write.
    """
    if folder.is_dir():
        if not any(folder.iterdir()):
            folder.chmod(0o700)
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
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> tuple[Path, int | None]:
    """A new folder, and its lock, where the system has such locks."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))
        try:
            lock = _lock(made)
        except FileNotFoundError:  # cleared before it was locked
            continue
        except OSError:  # no locks here: nobody else has one either, and nothing is cleared
            return made, None
        if lock is not None and made.exists():
            return made, lock
        if lock is not None:
            os.close(lock)
        elif os.name == "nt":
            return made, None


def _lock(folder: Path) -> int | None:
    """The lock of a folder, a descriptor to close; None where somebody holds it. Raises: OSError where it cannot be."""
    if os.name == "nt":
        return None  # folders cannot be opened there
    import fcntl

    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock
