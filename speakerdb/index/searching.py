"""Where an index of FAISS's is searched: as it is, or as a copy on a GPU (`speakerdb[gpu]`).

A GPU's index can neither remove nor be read by two threads at once. So the index itself stays in memory, where voices
are added and removed, and a copy answers while nothing changes; one search at a time goes to it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors
from speakerdb.index.protocol import Ids

COPIED_AFTER = 16
"""Searches without a change in between: a copy of a million voices is 200 MB through the bus, as long as dozens of
searches take, and each change makes it worthless."""


@dataclass(frozen=True)
class Gpu:
    """The first GPU. copied: an index in memory → the same one there; process: the one that began with it."""

    copied: Callable[[Any], Any]
    process: int

    @property
    def usable(self) -> bool:
        """CUDA does not survive a fork."""
        return os.getpid() == self.process


@cache
def gpu() -> Gpu | None:
    """None where there is none, or FAISS was built for processors alone."""
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return None
    resources = faiss.StandardGpuResources()

    def copied(index: Any) -> Any:
        return faiss.index_cpu_to_gpu(resources, 0, index)

    return Gpu(copied, os.getpid())


class Searching:
    """Searches one index of FAISS's, and keeps a copy of it on the GPU where there is one."""

    def __init__(self, index: Any, at: Gpu | None) -> None:
        self._index, self._gpu = index, at
        self._copy: Any = None
        self._searches = 0
        self._lock = threading.Lock()

    def changed(self) -> None:
        """To be called after every change of the index: a copy of what it was must answer no more."""
        with self._lock:
            self._copy, self._searches = None, 0

    def search(self, queries: Vectors, count: int, how: Any = None) -> tuple[Ids, npt.NDArray[np.float32]]:
        """What FAISS finds, by its own `how`; shapes are checked before.

        Returns: ids int64 [q, count], `MISSING` where it has no more, and cosines or squared distances, by its metric.
        """
        if self._gpu is None or not self._gpu.usable:
            return self.search_here(queries, count, how)
        with self._lock:
            self._searches += len(queries)
            if self._copy is None and self._searches >= COPIED_AFTER:
                self._copy = self._copied(self._gpu)
            return _searched(self._index if self._copy is None else self._copy, queries, count, how)

    def search_here(self, queries: Vectors, count: int, how: Any = None) -> tuple[Ids, npt.NDArray[np.float32]]:
        """As `search`, of the index in memory."""
        return _searched(self._index, queries, count, how)

    def _copied(self, at: Gpu) -> Any:
        """The copy; None, and no other try, where the GPU has no room for it."""
        try:
            return at.copied(self._index)
        except RuntimeError as error:
            warnings.warn(f"the index stays off the GPU: {error}", RuntimeWarning, stacklevel=4)
            self._gpu = None
            return None


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


def _searched(index: Any, queries: Vectors, count: int, how: Any) -> tuple[Ids, npt.NDArray[np.float32]]:
    with threads_for(len(queries)):
        near, found = index.search(np.ascontiguousarray(queries, np.float32), count, params=how)
    return found, near
