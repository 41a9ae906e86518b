"""Small snapshots of the index, saved and loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speakerdb.embedding import normalize
from speakerdb.index import snapshot
from speakerdb.index.engine import make_index
from speakerdb.index.protocol import VectorIndex
from speakerdb.index.snapshot import Binding

DIMENSION = 4
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no flock, no modes and no SIGKILL")


def binding_of(kind: str, **changes: Any) -> Binding:
    fields = {"gallery_uuid": "ab" * 16, "encoder_sha256": "0" * 64, "dimension": DIMENSION, "kind": kind}
    return Binding(**(fields | changes))


def filled(kind: str, people: int = 5) -> VectorIndex:
    index = make_index(kind, DIMENSION)
    vectors = normalize(np.random.default_rng(people).normal(size=(people, DIMENSION)))
    index.add(np.arange(1, people + 1), vectors)
    return index


def save(folder: Path, kind: str, generation: int = 7, people: int = 5) -> bool:
    return save_as_own(folder, filled(kind, people), binding_of(kind), generation, lambda: generation)


def save_as_own(folder: Path, index: VectorIndex, binding: Binding, generation: int, now: Callable[[], int]) -> bool:
    """As a gallery does; its database is the file `own` beside the folder."""
    taken = snapshot.taken(index, binding, generation)
    return snapshot.save(folder, taken, now, lambda number: _keeping(folder, number))


def load(folder: Path, kind: str) -> tuple[int, int] | None:
    """Speakers and generation of what is loaded."""
    loaded = snapshot.load(folder, binding_of(kind), own(folder))
    return (len(loaded[0]), loaded[1]) if loaded else None


def own(folder: Path) -> int:
    """The number of the snapshot that is the gallery's own."""
    kept = folder.parent / "own"
    return int(kept.read_text()) if kept.exists() else 0


@contextmanager
def _keeping(folder: Path, number: int) -> Iterator[None]:
    yield
    (folder.parent / "own").write_text(str(number))
