"""The exact index in FAISS: a flat inner-product scan under ids of our own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors
from speakerdb.index.protocol import MISSING, Ids, check_batch, check_search
from speakerdb.index.searching import Searching, gpu, threads_for


class FaissIndex:
    """`IDMap2` around `Flat`: removal keeps the ids right (it would not around an inverted file)."""

    kind = "faiss-flat"

    def __init__(self, dimension: int, index: Any = None) -> None:
        import faiss

        self.dimension = dimension
        # FAISS's stubs know none of the array forms of its methods.
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension)) if index is None else index
        self._searching = Searching(self._index, gpu())

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """See `VectorIndex.add`."""
        check_batch(ids, vectors, self.dimension)
        self.remove(ids)  # FAISS would keep both
        with threads_for(len(ids)):
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(ids, np.int64))
        self._searching.changed()

    def remove(self, ids: Ids) -> int:
        """See `VectorIndex.remove`."""
        gone = int(self._index.remove_ids(np.ascontiguousarray(ids, np.int64))) if len(self) else 0
        self._searching.changed()
        return gone

    def search(self, queries: Vectors, count: int) -> tuple[Ids, npt.NDArray[np.float32]]:
        """See `VectorIndex.search`."""
        check_search(queries, count, self.dimension)
        ids, cosines = self._searching.search(queries, count)
        cosines[ids == MISSING] = -np.inf
        return ids, cosines

    def to_bytes(self) -> memoryview:
        """FAISS's own format."""
        import faiss

        written: Any = faiss.serialize_index(self._index)
        return memoryview(written)


def from_bytes(content: bytes, dimension: int) -> FaissIndex:
    """The index that `to_bytes` wrote. Raises: ValueError where FAISS cannot read it or it is of another kind."""
    import faiss

    try:
        index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
    except (RuntimeError, ValueError) as error:
        raise ValueError("FAISS cannot read it") from error
    if not isinstance(index, faiss.IndexIDMap2) or index.d != dimension:
        raise ValueError("not an index of this kind and dimension")
    inner, ids = faiss.downcast_index(index.index), index.id_map.size()
    if not isinstance(inner, faiss.IndexFlatIP) or inner.d != dimension or {inner.ntotal, ids} != {index.ntotal}:
        raise ValueError("its parts do not fit")
    return FaissIndex(dimension, index)
