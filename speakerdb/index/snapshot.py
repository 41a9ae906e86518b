"""An index on disk: written whole or not at all, believed only where everything agrees.

One file, `index/voiceprints.index`: a line of JSON (the header), a line feed, the index's bytes. The header holds the
format, the kind, the gallery's uuid, the encoder's hash, the generation that the index stands at, the number of
speakers, and the SHA-256 of the header's other fields and the bytes. FAISS itself reads most damaged files without
complaint, so the checksum is ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from speakerdb.index.engine import load_index
from speakerdb.index.protocol import VectorIndex

FORMAT = "speakerdb-index/1"
FILE = "voiceprints.index"
PARTIAL = "voiceprints.index.partial"
LOCK = "lock"
MAX_HEADER_BYTES = 4096


@dataclass(frozen=True)
class Binding:
    """What a snapshot must agree with: the gallery, the encoder, the vectors' dimension and the kind of index."""

    gallery_uuid: str
    encoder_sha256: str
    dimension: int
    kind: str


def save(
    folder: Path,
    index: VectorIndex,
    binding: Binding,
    generation: int,
    current_generation: Callable[[], int],
) -> bool:
    """Write the snapshot beside, fsync, rename, fsync the folder.

    Nothing is written, and False returned, where another process holds the lock or the gallery has moved on from
    `generation`: a voice removed meanwhile must not come back to the disk.
    Raises: OSError where the disk refuses; the snapshot that was there stays.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with _lock(folder, wait=False) as held:
        if not held or current_generation() != generation:
            return False
        content = index.to_bytes()
        fields = {"format": FORMAT, **asdict(binding), "generation": generation, "count": len(index)}
        header = json.dumps({**fields, "sha256": _digest(fields, content)}).encode() + b"\n"
        partial = folder / PARTIAL
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(header)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / FILE)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        _fsync_folder(folder)
    return True


def load(folder: Path, binding: Binding) -> tuple[VectorIndex, int] | None:
    """The index and its generation, or None where the file is missing or anything in it does not agree."""
    try:
        with (folder / FILE).open("rb") as file:
            header = file.readline(MAX_HEADER_BYTES)
            content = file.read()
        fields = json.loads(header)
        claimed = fields.pop("sha256")
        agrees = fields.get("format") == FORMAT and all(
            fields.get(name) == value for name, value in asdict(binding).items()
        )
        if not agrees or claimed != _digest(fields, content):
            return None
        index = load_index(binding.kind, content, binding.dimension)
        return (index, int(fields["generation"])) if len(index) == fields["count"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextlib.contextmanager
def erased(folder: Path) -> Iterator[None]:
    """Delete the snapshot, and keep anyone from writing one until the block ends.

    A removal commits inside: killed before the commit, only a snapshot is lost, which is made again; killed after
    it, no file holds the voice any more.
    """
    if not folder.is_dir():
        yield
        return
    with _lock(folder, wait=True):
        for name in (FILE, PARTIAL):
            (folder / name).unlink(missing_ok=True)
        _fsync_folder(folder)
        yield


def _digest(fields: dict[str, Any], content: bytes) -> str:
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(content)
    return digest.hexdigest()


@contextlib.contextmanager
def _lock(folder: Path, wait: bool) -> Iterator[bool]:
    """Hold the folder's lock; without `wait` yields False at once where another process holds it."""
    descriptor = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        yield _take_lock(descriptor, wait)
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, wait: bool) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            mode = msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK  # type: ignore[attr-defined,unused-ignore]
            msvcrt.locking(descriptor, mode, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except PermissionError:  # Windows says so where another process holds it
        if wait or os.name != "nt":
            raise
        return False
    return True


def _fsync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
