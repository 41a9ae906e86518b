"""Which index runs here: FAISS where it is installed, NumPy elsewhere."""

from __future__ import annotations

import importlib.util

from speakerdb.index.protocol import VectorIndex

KINDS = ("auto", "faiss-flat", "numpy")


def make_index(kind: str, dimension: int) -> VectorIndex:
    """An empty index of a kind. Raises: ValueError for a kind that is not known."""
    if resolve(kind) == "numpy":
        from speakerdb.index.numpy_index import NumpyIndex

        return NumpyIndex(dimension)
    from speakerdb.index.faiss_index import FaissIndex

    return FaissIndex(dimension)


def load_index(kind: str, content: bytes, dimension: int) -> VectorIndex:
    """The index that `to_bytes` of that kind wrote. Raises: ValueError for bytes that are none."""
    if resolve(kind) == "numpy":
        from speakerdb.index import numpy_index

        return numpy_index.from_bytes(content, dimension)
    from speakerdb.index import faiss_index

    return faiss_index.from_bytes(content, dimension)


def resolve(kind: str) -> str:
    """`auto` → the kind that runs here. Raises: ValueError for a kind that is not known."""
    if kind not in KINDS:
        raise ValueError(f"no index of kind {kind!r}; known: {', '.join(KINDS)}")
    if kind != "auto":
        return kind
    return "faiss-flat" if importlib.util.find_spec("faiss") else "numpy"
