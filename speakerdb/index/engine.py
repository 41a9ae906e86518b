"""Which index runs here: an exact scan for few, lists for many; NumPy's scan where FAISS is not installed."""

from __future__ import annotations

import importlib.util
import os
import sys

from speakerdb.errors import InputError, printable
from speakerdb.index.protocol import VectorIndex

KINDS = ("auto", "faiss-flat", "faiss-ivf", "numpy")

EXACT_UP_TO = 20_000
"""Voices that `auto` scans one by one: two milliseconds on one core."""

LEAST_IN_LISTS = 1000
"""Voices below which nothing is put into lists, whatever is asked for: there are too few to find centres in."""


def make_index(kind: str, dimension: int) -> VectorIndex:
    """An empty exact index of a kind. Raises: ValueError for one that has to be trained; InputError as `resolve`."""
    if resolve(kind) == "numpy":
        from speakerdb.index.numpy_index import NumpyIndex

        return NumpyIndex(dimension)
    if kind == "faiss-ivf":
        raise ValueError("an inverted file is trained (`inverted_file.trained`)")
    from speakerdb.index.faiss_index import FaissIndex

    return FaissIndex(dimension)


def load_index(kind: str, content: bytes, dimension: int) -> VectorIndex:
    """The index that `to_bytes` of that kind wrote. Raises: ValueError for bytes that are none."""
    if resolve(kind) == "numpy":
        from speakerdb.index import numpy_index

        return numpy_index.from_bytes(content, dimension)
    if kind == "faiss-ivf":
        from speakerdb.index import inverted_file

        return inverted_file.from_bytes(content, dimension)
    from speakerdb.index import faiss_index

    return faiss_index.from_bytes(content, dimension)


def resolve(kind: str) -> str:
    """`auto` → the kind that a small gallery has here. Raises: InputError for a kind that cannot be had here."""
    if kind not in KINDS:
        raise InputError(f"no index of kind {printable(kind)!r}; known: {', '.join(KINDS)}")
    installed = importlib.util.find_spec("faiss") is not None
    if kind.startswith("faiss") and not installed:
        install = "run: pip install 'speakerdb[cpu]'"
        raise InputError(f"the index {kind} needs FAISS, which is not installed; {install}, or choose numpy")
    if kind != "auto":
        return kind
    return "faiss-flat" if installed else "numpy"


def possible(asked: str) -> tuple[str, ...]:
    """The kinds that a gallery can have, small or large, where this one is asked for."""
    kind = resolve(asked)
    if kind == "faiss-ivf" or (asked == "auto" and kind == "faiss-flat"):
        return ("faiss-flat", "faiss-ivf")
    return (kind,)


def kind_for(asked: str, size: int) -> str:
    """The kind for so many voices, where this one is asked for."""
    if len(possible(asked)) == 1:
        return resolve(asked)
    exact_up_to = EXACT_UP_TO if asked == "auto" else LEAST_IN_LISTS - 1
    return "faiss-ivf" if size > exact_up_to else "faiss-flat"


def outgrown(asked: str, index: VectorIndex) -> bool:
    """Whether an index holds so many that a new one would be quicker by much; one that has shrunk stays."""
    if index.kind == "faiss-ivf":
        from speakerdb.index.inverted_file import InvertedFile

        return isinstance(index, InvertedFile) and index.outgrown
    return kind_for(asked, len(index)) != index.kind


def _after_fork() -> None:
    """In a child, FAISS would wait for ever for the parent's OpenMP threads; with one thread it waits for none."""
    faiss = sys.modules.get("faiss")
    if faiss is not None:
        faiss.omp_set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
