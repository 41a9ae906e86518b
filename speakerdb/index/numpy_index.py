"""The exact index in NumPy alone: what runs without FAISS, and what FAISS is tested against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors
from speakerdb.index.protocol import MISSING, Ids, check_batch, check_search

SCORES_AT_ONCE = 1 << 21
"""Cosines that are in memory at a time, 16 bytes each while they are put in order."""


class NumpyIndex:
    """Rows in one array with room to grow; a removed row is filled by the last one."""

    kind = "numpy"

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._vectors = np.empty((0, dimension), np.float32)
        self._ids = np.empty(0, np.int64)
        self._row_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """See `VectorIndex.add`."""
        check_batch(ids, vectors, self.dimension)
        self._reserve(len(self) + len(ids))
        for speaker, vector in zip(ids.tolist(), vectors, strict=True):
            row = self._row_of.setdefault(speaker, len(self._row_of))
            self._ids[row], self._vectors[row] = speaker, vector

    def remove(self, ids: Ids) -> int:
        """See `VectorIndex.remove`."""
        before = len(self)
        for speaker in ids.tolist():
            row = self._row_of.pop(speaker, None)
            if row is None:
                continue
            last = len(self._row_of)
            if row != last:
                self._ids[row], self._vectors[row] = self._ids[last], self._vectors[last]
                self._row_of[int(self._ids[row])] = row
            self._vectors[last] = 0.0
        return before - len(self)

    def search(self, queries: Vectors, count: int) -> tuple[Ids, npt.NDArray[np.float32]]:
        """See `VectorIndex.search`."""
        check_search(queries, count, self.dimension)
        found = np.full((len(queries), count), MISSING, np.int64)
        cosines = np.full((len(queries), count), -np.inf, np.float32)
        if len(self):
            at_once = max(1, SCORES_AT_ONCE // len(self))
            for start in range(0, len(queries), at_once):
                rows = slice(start, start + at_once)
                self._nearest(queries[rows], found[rows], cosines[rows])
        return found, cosines

    def _nearest(self, queries: Vectors, found: Ids, cosines: npt.NDArray[np.float32]) -> None:
        """Fill in whom a search finds. Args: found, cosines: [q, count], views of what it returns."""
        size = len(self)
        kept = min(found.shape[1], size)
        all_cosines = queries @ self._vectors[:size].T
        part = np.argpartition(-all_cosines, kept - 1, axis=1)[:, :kept]
        values = np.take_along_axis(all_cosines, part, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found[:, :kept] = self._ids[np.take_along_axis(part, order, axis=1)]
        cosines[:, :kept] = np.take_along_axis(values, order, axis=1)

    def to_bytes(self) -> bytes:
        """Ids, then vectors, both little-endian."""
        size = len(self)
        return self._ids[:size].astype("<i8").tobytes() + self._vectors[:size].astype("<f4").tobytes()

    def _reserve(self, size: int) -> None:
        if size > len(self._ids):
            room = max(size, 2 * len(self._ids), 64)
            vectors, ids = np.zeros((room, self.dimension), np.float32), np.zeros(room, np.int64)
            vectors[: len(self)], ids[: len(self)] = self._vectors[: len(self)], self._ids[: len(self)]
            self._vectors, self._ids = vectors, ids


def from_bytes(content: bytes, dimension: int) -> NumpyIndex:
    """The index that `to_bytes` wrote. Raises: ValueError where the length fits no index of that dimension."""
    row = 8 + 4 * dimension
    if len(content) % row:
        raise ValueError(f"{len(content)} bytes are not a multiple of {row}")
    size = len(content) // row
    ids = np.frombuffer(content, "<i8", size).astype(np.int64)
    vectors = np.frombuffer(content, "<f4", size * dimension, offset=8 * size).astype(np.float32)
    index = NumpyIndex(dimension)
    index.add(ids, vectors.reshape(size, dimension))
    return index
