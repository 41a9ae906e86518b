"""Vectors of clips in a file that grows as they come, so that a stopped run goes on and memory bounds nothing.

Two files under one name, both append-only:

    NAME.f32    float32 [clips, dimension], the vectors one after the other
    NAME.tsv    a line that says of which encoder and source they are, then `CLIP SECONDS CRC-32` a clip, tab-separated

A vector is fsynced before its line is. What a kill leaves behind its last whole line is cut off when the file is opened
again; a vector that differs from its checksum ends what is believed, and it and all behind it are computed anew. Two
processes may open the same files, and one of them write: the other is told when it has something to write, or looks up
what it has not looked at yet.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from speakerdb.durable import take_lock
from speakerdb.embedding import Vector

FORM = "speakerdb-embeddings/1"
ROW = re.compile(r"(?P<clip>[^\t]+)\t(?P<seconds>\d+\.\d+)\t(?P<checksum>[0-9a-f]{8})\n")
KEPT_AFTER = 256
"""Clips after which all that came is fsynced: what a kill costs at most."""
LOCKED_S = 10.0
"""Longer than anybody takes to write, or to read what there is."""
ANOTHER = "another process writes there; wait for it, or use another folder"


class Embeddings(Mapping[str, Vector]):
    """Clip → float32 [dimension], unit length, looked up in the file.

    Args:
        stem: the files' path without their endings.
        encoder, source: of whose vectors, and of which clips; files of others are begun anew.
    """

    def __init__(self, stem: Path, encoder: str, dimension: int, source: str) -> None:
        self._table, self._matrix = stem.with_name(f"{stem.name}.tsv"), stem.with_name(f"{stem.name}.f32")
        self._dimension, self._row_bytes = dimension, 4 * dimension
        fields = (FORM, encoder, str(dimension), f"{zlib.crc32(source.encode()):08x}")
        self._header = "\t".join(fields) + "\n"
        self._rows: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self._unwritten: list[tuple[str, float, bytes]] = []
        self._written = 0, 0
        self._view = np.zeros((0, dimension), np.float32)
        stem.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (self._matrix, self._table):
            _append(path, b"")
        with self._locked():
            self._resume()
            self._written = self._sizes()

    def __getitem__(self, clip: str) -> Vector:
        row = self._rows[clip]
        if row >= len(self._view):
            self.flush()
            with self._locked():
                self._require_ours()
                self._view = np.asarray(np.memmap(self._matrix, np.float32, "r").reshape(-1, self._dimension))
        return self._view[row]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, clip: str, seconds: float, vector: Vector) -> None:
        """Add a clip that is not there yet; on disk after `KEPT_AFTER` more at the latest, or a `flush`."""
        self._unwritten.append((clip, seconds, vector.astype("<f4").tobytes()))
        self._rows[clip], self.seconds[clip] = len(self._rows), seconds
        if len(self._unwritten) >= KEPT_AFTER:
            self.flush()

    def flush(self) -> None:
        """Write and fsync what came: vectors first, then their lines.

        Raises: ValueError where another process wrote to the files since.
        """
        if not self._unwritten:
            return
        with self._locked():
            self._require_ours()
            _append(self._matrix, b"".join(content for _, _, content in self._unwritten))
            lines = [f"{clip}\t{s:.3f}\t{zlib.crc32(content):08x}\n" for clip, s, content in self._unwritten]
            _append(self._table, "".join(lines).encode())
            self._unwritten, self._written = [], self._sizes()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else reads what there is, or writes, meanwhile. Raises: ValueError where another does for long."""
        with self._table.open("rb") as table:
            if not take_lock(table.fileno(), LOCKED_S):
                raise ValueError(f"{self._table}: {ANOTHER}")
            yield

    def _require_ours(self) -> None:
        """Raise ValueError where the files are not as this object left them, or of another source by now."""
        if next(_whole_lines(self._table), None) != self._header or self._sizes() != self._written:
            raise ValueError(f"{self._table}: {ANOTHER}")

    def _sizes(self) -> tuple[int, int]:
        return self._matrix.stat().st_size, self._table.stat().st_size

    def _resume(self) -> None:
        """Read what is whole and belongs here; cut off the rest."""
        lines = _whole_lines(self._table)
        if next(lines, None) != self._header:
            self._matrix.unlink()  # not cut: who looks into it would be killed
            _append(self._matrix, b"")
            os.truncate(self._table, 0)
            _append(self._table, self._header.encode())
            return
        kept = len(self._header.encode())
        with self._matrix.open("rb") as vectors:
            for line in lines:
                row, content = ROW.fullmatch(line), vectors.read(self._row_bytes)
                if not row or len(content) < self._row_bytes or f"{zlib.crc32(content):08x}" != row["checksum"]:
                    break
                self._rows[row["clip"]], self.seconds[row["clip"]] = len(self._rows), float(row["seconds"])
                kept += len(line.encode())
        os.truncate(self._matrix, len(self._rows) * self._row_bytes)
        os.truncate(self._table, kept)


def _whole_lines(path: Path) -> Iterator[str]:
    """Lines of three or more fields up to the first that is cut or no text."""
    with path.open("rb") as lines:
        for line in lines:
            try:
                text = line.decode()
            except UnicodeDecodeError:
                return
            if not text.endswith("\n") or text.count("\t") < 2:
                return
            yield text


def _append(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with os.fdopen(descriptor, "ab", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
