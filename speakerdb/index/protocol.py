"""What every vector index can do: a view of the voiceprints, never the truth."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors

Ids: TypeAlias = npt.NDArray[np.int64]
"""int64 [n], positive speaker ids."""

MISSING = -1
"""The id in a result's place for which nobody is left."""


class VectorIndex(Protocol):
    """Unit vectors under ids; a search gives the nearest by cosine. Not safe for use from several threads at once.

    Attributes: kind: the engine's name, in snapshots. dimension: of all vectors.
    """

    kind: str
    dimension: int

    def __len__(self) -> int:
        """How many ids are in it."""

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Put vectors under ids; an id that is there already gets the new vector.

        Args: ids: int64 [n], each once; vectors: float32 [n, dimension], unit length; neither is kept or changed.
        Raises: ValueError for other shapes.
        """

    def remove(self, ids: Ids) -> int:
        """Take ids out; how many were there. Ids that are not there are passed over."""

    def search(self, queries: Vectors, count: int) -> tuple[Ids, npt.NDArray[np.float32]]:
        """The nearest of each query.

        Args: queries: float32 [q, dimension], unit length; count: how many to find, at least 1.
        Returns: ids int64 [q, count] from nearest to farthest, `MISSING` where fewer are in the index, and their
            cosines float32 [q, count] (−inf there). Equal cosines come in no set order.
        Raises: ValueError for other shapes.
        """

    def to_bytes(self) -> bytes | memoryview:
        """The whole index; `from_bytes` of its module makes it again."""


def check_batch(ids: Ids, vectors: Vectors, dimension: int) -> None:
    """Raise ValueError unless there are as many distinct ids as vectors of the dimension."""
    if ids.ndim != 1 or vectors.shape != (len(ids), dimension):
        raise ValueError(f"ids {list(ids.shape)} need vectors [n, {dimension}], not {list(vectors.shape)}")
    if len(np.unique(ids)) != len(ids):
        raise ValueError("an id stands twice in one call")


def check_search(queries: Vectors, count: int, dimension: int) -> None:
    """Raise ValueError unless the queries have the dimension and something is asked for."""
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise ValueError(f"queries must be [q, {dimension}], not {list(queries.shape)}")
    if count < 1:
        raise ValueError(f"{count} to find; at least 1")
