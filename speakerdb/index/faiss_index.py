"""The exact index in FAISS: a flat inner-product scan under ids of our own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors
from speakerdb.index.protocol import Ids, check_batch, check_search


class FaissIndex:
    """`IDMap2` around `Flat`: removal keeps the ids right (it would not around an inverted file)."""

    kind = "faiss-flat"

    def __init__(self, dimension: int, index: Any = None) -> None:
        import faiss

        self.dimension = dimension
        # FAISS's stubs know none of the array forms of its methods.
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension)) if index is None else index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """See `VectorIndex.add`."""
        check_batch(ids, vectors, self.dimension)
        self.remove(ids)  # FAISS would keep both
        with threads_for(len(ids)):
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(ids, np.int64))

    def remove(self, ids: Ids) -> int:
        """See `VectorIndex.remove`."""
        return int(self._index.remove_ids(np.ascontiguousarray(ids, np.int64))) if len(self) else 0

    def search(self, queries: Vectors, count: int) -> tuple[Ids, npt.NDArray[np.float32]]:
        """See `VectorIndex.search`."""
        check_search(queries, count, self.dimension)
        return searched(self._index, queries, count)

    def to_bytes(self) -> memoryview:
        """FAISS's own format."""
        import faiss

        written: Any = faiss.serialize_index(self._index)
        return memoryview(written)


@contextlib.contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """One voice is searched or added on this thread alone.

    OpenMP's others would not make it quicker, and go on spinning for milliseconds after it, on the cores that the
    encoder needs next: a quarter of what `identify_many` took, and 5 ms of what it took to add one to a million.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if rows == 1 else threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def searched(index: Any, queries: Vectors, count: int) -> tuple[Ids, npt.NDArray[np.float32]]:
    """What an index of FAISS's finds: ids, -1 where it has no more, and cosines."""
    with threads_for(len(queries)):
        cosines, found = index.search(np.ascontiguousarray(queries, np.float32), count)
    cosines[found < 0] = -np.inf
    return found, cosines


def from_bytes(content: bytes, dimension: int) -> FaissIndex:
    """The index that `to_bytes` wrote. Raises: ValueError where FAISS cannot read it or it is of another kind."""
    import faiss

    try:
        index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
    except (RuntimeError, ValueError) as error:
        raise ValueError("FAISS cannot read it") from error
    if not isinstance(index, faiss.IndexIDMap2) or index.d != dimension:
        raise ValueError("not an index of this kind and dimension")
    return FaissIndex(dimension, index)
