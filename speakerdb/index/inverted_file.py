"""The index for many: an inverted file in FAISS, a byte a number, with ids of its own.

Voices lie in lists around centres that were found in the gallery itself; a search goes through the nearest lists
alone, and through more of them where nobody stands out in those. Cosines are of vectors rounded to bytes: they choose
candidates, whose exact distances come from the database. `IDMap2` around an inverted file gives wrong ids after a
removal, and HNSW cannot remove at all; this can both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors
from speakerdb.index.byte_codes import Codes, codes, cosines
from speakerdb.index.protocol import MISSING, Ids, check_batch, check_search
from speakerdb.index.searching import Searching, gpu, threads_for

TRAINED_ON = 64
"""Voices for each list from which the centres are found; FAISS asks for 39 at least."""

ROUNDS = 10
"""Of k-means; more find no more neighbours (measured at a million)."""

FIRST, FURTHER = 3, 15
"""Lists that are searched, times the root of their number, so that a query's cost grows with the root of the gallery:
at first, and where nobody stood out (docs/LOG.md)."""

CROWD = 18
AHEAD = 0.2
"""A nearest voice whose squared distance is not by this share less than the 18th's is one of a crowd: others may lie
nearer, in lists that were not searched. Who has a recording in the gallery stands out, and is found in the first few
lists. A share, since encoders lay strangers at different distances."""

ITSELF = 0.98
"""Beyond this cosine the nearest is the voice that is asked with (`doctor` does), and the second has to stand out."""

MOST_LISTS = 2048
"""That FAISS searches on a GPU."""

LISTS = 4
"""Lists of a gallery, times the root of its size."""

LONGER = 2
"""Times as many lists would be made for the gallery now: it is two to eight times as large as it was."""

HASHTABLE = 2
"""`faiss::DirectMap::Hashtable`, which FAISS's stubs do not know: an id is found without going through all lists."""


class InvertedFile:
    """Made for a number of voices, and trained before anything is added."""

    kind = "faiss-ivf"

    def __init__(self, dimension: int, index: Any) -> None:
        self.dimension = dimension
        self._index = index
        root = math.sqrt(index.nlist)
        self._first, self._further = (_lists(index, min(factor * root, MOST_LISTS)) for factor in (FIRST, FURTHER))
        self._all = _lists(index, index.nlist)
        self._searching = Searching(index, gpu())

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def outgrown(self) -> bool:
        """Whether it holds so many that other centres would do better."""
        return LISTS * math.sqrt(len(self)) >= LONGER * int(self._index.nlist)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """See `VectorIndex.add`."""
        check_batch(ids, vectors, self.dimension)
        self.remove(ids)  # FAISS would keep both
        with threads_for(len(ids)):
            self._index.add_with_ids(codes(vectors), np.ascontiguousarray(ids, np.int64))
        self._searching.changed()

    def remove(self, ids: Ids) -> int:
        """See `VectorIndex.remove`."""
        import faiss

        if not len(self) or not len(ids):
            return 0
        wanted = np.ascontiguousarray(ids, np.int64)
        gone = int(self._index.remove_ids(faiss.IDSelectorArray(len(wanted), faiss.swig_ptr(wanted))))
        self._searching.changed()
        return gone

    def search(self, queries: Vectors, count: int) -> tuple[Ids, npt.NDArray[np.float32]]:
        """See `VectorIndex.search`; the cosines are of the rounded vectors."""
        check_search(queries, count, self.dimension)
        coded, wanted = codes(queries), max(count, CROWD)
        few = count <= 2 * CROWD
        ids, near = self._nearest(coded, wanted, self._first if few else self._further)
        if few and (rows := _crowded(near)).any():
            ids[rows], near[rows] = self._nearest(coded[rows], wanted, self._further)
        lacking = np.count_nonzero(ids != MISSING, axis=1) < min(wanted, len(self))
        if lacking.any():  # few are left in it, or nearly all are asked for
            ids[lacking], near[lacking] = self._nearest(coded[lacking], wanted, self._all)
        return ids[:, :count], near[:, :count]

    def _nearest(self, coded: Codes, count: int, lists: Any) -> tuple[Ids, npt.NDArray[np.float32]]:
        search = self._searching.search_here if lists is self._all else self._searching.search
        ids, squared = search(coded, count, lists)
        near = cosines(squared, self.dimension)
        near[ids == MISSING] = -np.inf
        return ids, near

    def to_bytes(self) -> memoryview:
        """FAISS's own format."""
        import faiss

        written: Any = faiss.serialize_index(self._index)
        return memoryview(written)


def _require_whole(index: Any, dimension: int) -> None:
    """Raise ValueError where parts of an index do not fit: FAISS reads beyond what is there, or counts what is not."""
    import faiss

    centres, lists = faiss.downcast_index(index.quantizer), index.invlists
    if not isinstance(centres, faiss.IndexFlatL2) or (centres.d, centres.ntotal) != (dimension, index.nlist):
        raise ValueError("centres that are not of these lists")
    if (index.sq.d, index.code_size, lists.code_size, index.by_residual) != (dimension, dimension, dimension, False):
        raise ValueError("codes of another length")
    if lists.nlist != index.nlist or sum(map(lists.list_size, range(lists.nlist))) != index.ntotal:
        raise ValueError("lists that do not hold what is announced")


def _crowded(near: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The rows of cosines, nearest first, in which nobody stands out."""
    best = np.where(near[:, 0] > ITSELF, near[:, 1], near[:, 0])
    with np.errstate(invalid="ignore"):  # nobody is as near as nobody
        last = near[:, CROWD - 1]
        return ~(best - last >= AHEAD * (1.0 - last))


def _lists(index: Any, count: float) -> Any:
    """FAISS's word for: search so many lists."""
    import faiss

    how: Any = faiss.SearchParametersIVF()
    how.nprobe = min(index.nlist, round(count))
    return how


def lists_for(size: int) -> int:
    """How many lists a gallery of this size gets: a power of two."""
    return int(2 ** round(math.log2(LISTS * math.sqrt(max(size, 1)))))


def training_size(size: int) -> int:
    """How many voices of a gallery the centres are found in."""
    return min(size, TRAINED_ON * lists_for(size))


def trained(sample: Vectors, size: int) -> InvertedFile:
    """An empty index for a gallery of some size.

    Args: sample: float32 [n, dimension], voices of the gallery, about `training_size(size)`, unit length.
    Raises: ValueError where the sample is smaller than the number of lists.
    """
    import faiss

    lists, dimension = lists_for(size), sample.shape[1]
    if len(sample) < lists:
        raise ValueError(f"{len(sample)} voices are too few for {lists} lists")
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(dimension),
        dimension,
        lists,
        faiss.ScalarQuantizer.QT_8bit_direct,  # bytes as they come, compared without making floats of them
        faiss.METRIC_L2,
        False,  # of the vectors themselves, not of what is left of them beside their centre
    )
    index.cp.niter = ROUNDS
    index.cp.min_points_per_centroid = 1  # or it speaks of it on stderr
    index.cp.max_points_per_centroid = 2 * TRAINED_ON  # that the sample is the whole sample
    index.train(codes(sample))
    index.set_direct_map_type(HASHTABLE)
    return InvertedFile(dimension, index)


def from_bytes(content: bytes, dimension: int) -> InvertedFile:
    """The index that `to_bytes` wrote. Raises: ValueError where FAISS cannot read it or it is of another kind."""
    import faiss

    try:
        index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
    except (RuntimeError, ValueError) as error:
        raise ValueError("FAISS cannot read it") from error
    if not isinstance(index, faiss.IndexIVFScalarQuantizer) or index.d != dimension:
        raise ValueError("not an index of this kind and dimension")
    if index.sq.qtype != faiss.ScalarQuantizer.QT_8bit_direct or index.metric_type != faiss.METRIC_L2:
        raise ValueError("an inverted file of other codes")
    if not index.is_trained or index.direct_map.type != HASHTABLE:
        raise ValueError("an inverted file that cannot remove")
    _require_whole(index, dimension)
    return InvertedFile(dimension, index)
