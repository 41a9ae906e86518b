"""An index on disk: written whole or not at all, believed only where everything agrees.

One file, `index/voiceprints.index`: a line of JSON (the header), a line feed, the index's bytes. The header holds the
format, the kind, the gallery's uuid, the encoder's hash, the generation that the index stands at, the count of
speakers, a number by chance, and the SHA-256 of the header's other fields and the bytes. FAISS itself reads most
damaged files without complaint, so the checksum is ours.

The database keeps the number of the snapshot that is its own. Generations alone would not do: where a backup is brought
back, or a copy goes on by itself, two histories of one gallery count the same generations.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from speakerdb import settings
from speakerdb.durable import fsync_folder, take_lock
from speakerdb.errors import GalleryLocked
from speakerdb.index.engine import load_index
from speakerdb.index.protocol import VectorIndex

FORMAT = "speakerdb-index/3"
FILE = "voiceprints.index"
PARTIAL = "voiceprints.index.partial"
LOCK = "lock"
MAX_HEADER_BYTES = 4096
UNREADABLE = (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading a file of any content can raise."""


@dataclass(frozen=True)
class Binding:
    """What a snapshot must agree with: the gallery, the encoder, the vectors' dimension and the kind of index."""

    gallery_uuid: str
    encoder_sha256: str
    dimension: int
    kind: str


@dataclass(frozen=True)
class Snapshot:
    """What is written of an index: its bytes, how many voices they hold, and the generation that it stood at."""

    binding: Binding
    generation: int
    count: int
    content: bytes | memoryview


def taken(index: VectorIndex, binding: Binding, generation: int) -> Snapshot:
    """The index as it is; what changes in it from now on is not in the snapshot."""
    return Snapshot(binding, generation, len(index), index.to_bytes())


def save(
    folder: Path,
    snapshot: Snapshot,
    current_generation: Callable[[], int],
    owned: Callable[[int], AbstractContextManager[None]],
) -> bool:
    """Write the snapshot beside, fsync, rename, fsync the folder, all on disk before the database calls it its own.

    Nothing is written, and False returned, where another process holds the lock or the gallery has moved on from
    the snapshot's generation: a voice removed meanwhile must not come back to the disk.
    Args: owned: a transaction that keeps the new snapshot's number. It has begun before the renaming and ends after it:
        whoever cannot begin it leaves the snapshot that was there; a kill between leaves one that nobody believes.
    Raises: OSError where the disk refuses: up to the renaming the snapshot that was there stays, from there on there is
        none. What `owned` raises.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with _lock(folder, wait_s=0.0) as held:
        if not held or current_generation() != snapshot.generation:
            return False
        number = int.from_bytes(os.urandom(4), "big") >> 1 or 1  # what SQLite's user_version takes; 0 is none
        counts = {"generation": snapshot.generation, "count": snapshot.count, "number": number}
        fields = {"format": FORMAT, **asdict(snapshot.binding), **counts}
        header = json.dumps({**fields, "sha256": _digest(fields, snapshot.content)}).encode() + b"\n"
        partial, written = folder / PARTIAL, folder / PARTIAL
        try:
            partial.unlink(missing_ok=True)  # left by a kill, or a link that lay in wait
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(header)
                file.write(snapshot.content)
                file.flush()
                os.fsync(file.fileno())
            with owned(number):
                written = partial.replace(folder / FILE)
                fsync_folder(folder)
        except BaseException:
            written.unlink(missing_ok=True)
            raise
    return True


def load(folder: Path, binding: Binding, number: int) -> tuple[VectorIndex, int] | None:
    """The index and its generation, or None where the file is missing or anything in it does not agree.

    Args: number: of the gallery's own snapshot.
    """
    try:
        with _opened(folder / FILE) as file:
            fields = _header(file)
            claimed = fields.pop("sha256")
            known = {"format": FORMAT, "number": number, **asdict(binding)}
            agrees = all(fields.get(name) == value for name, value in known.items())
            content = file.read() if agrees else b""
        if not agrees or claimed != _digest(fields, content):
            return None
        index = load_index(binding.kind, content, binding.dimension)
        return (index, int(fields["generation"])) if len(index) == fields["count"] else None
    except UNREADABLE:
        return None


def size_bytes(folder: Path) -> int:
    """Of the snapshot; 0 where there is none."""
    try:
        return (folder / FILE).stat().st_size
    except OSError:
        return 0


def drop_foreign(folder: Path, number: Callable[[], int]) -> None:
    """Delete a snapshot that is not the gallery's own, or that a killed process was writing: it may hold voices of whom
    the gallery knows nothing.

    Where another process holds the lock, it is about to own the file, or to delete it.
    Args: number: of the gallery's own snapshot, as of now.
    Raises: OSError where the disk refuses.
    """
    if _foreign(folder, number) or os.path.lexists(folder / PARTIAL):
        with _lock(folder, wait_s=0.0) as held:
            if held:
                (folder / PARTIAL).unlink(missing_ok=True)
                if _foreign(folder, number):
                    (folder / FILE).unlink(missing_ok=True)


def cut_off(folder: Path) -> bool:
    """Whether a write was cut off that nobody has cleared away; a write that is under way is none."""
    if not os.path.lexists(folder / PARTIAL):
        return False
    try:
        with _lock(folder, wait_s=0.0) as held:
            return held and os.path.lexists(folder / PARTIAL)
    except OSError:  # it cannot be locked by who may only read
        return True


def _foreign(folder: Path, number: Callable[[], int]) -> bool:
    try:
        with _opened(folder / FILE) as file:
            found = _header(file).get("number")
    except FileNotFoundError:
        return False
    except UNREADABLE:
        return True
    return bool(found != number())


@contextlib.contextmanager
def erased(folder: Path) -> Iterator[None]:
    """Delete the snapshot, and keep anyone from writing one until the block ends.

    A removal commits inside: killed before the commit, only a snapshot is lost, which is made again; killed after
    it, no file holds the voice any more.
    Raises: OSError where the disk refuses; GalleryLocked where another process holds the lock too long.
    """
    folder.mkdir(mode=0o700, exist_ok=True)  # for the lock: others may be about to write their first snapshot
    with _lock(folder, settings.BUSY_TIMEOUT_S) as held:
        if not held:
            raise GalleryLocked(str(folder), settings.BUSY_TIMEOUT_S)
        for name in (FILE, PARTIAL):
            (folder / name).unlink(missing_ok=True)
        fsync_folder(folder)
        yield


def _opened(file: Path) -> IO[bytes]:
    """Raises: OSError, and ValueError for what is no file: a pipe would be waited for."""
    opened = os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise ValueError("not a file")
    return opened


def _header(file: IO[bytes]) -> dict[str, Any]:
    fields = json.loads(file.readline(MAX_HEADER_BYTES))
    if not isinstance(fields, dict):
        raise ValueError("the header is no object")
    return fields


def _digest(fields: dict[str, Any], content: bytes | memoryview) -> str:
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(content)
    return digest.hexdigest()


@contextlib.contextmanager
def _lock(folder: Path, wait_s: float) -> Iterator[bool]:
    """Hold the folder's lock; yields False where another process holds it for longer than `wait_s`."""
    how = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for a pipe
    descriptor = os.open(folder / LOCK, how, 0o600)
    try:
        yield take_lock(descriptor, wait_s)
    finally:
        os.close(descriptor)
